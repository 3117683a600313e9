"""Notices: the texts that tell people what their data is used for, version by version, each fixed by its digest.

NO1  A version is never changed; a correction is a new version. A translation is added to a version, once per language.
NO2  The digest is that of the text itself, or of the file where the text lives in a file; exactly one of the two is given.
NO3  A version is material when it gives purposes a new meaning; it names them, those never named before among them.
NO4  Consent is asked for and given on a version that names its purposes, in a language the version has.
NO5  Once a material version gives a purpose a new meaning, no consent to it is taken on an earlier version.
NO6  A retired notice is not shown any more, and takes no further version.
NO7  Nothing is recorded when nothing changes.
NO8  A version is not published before the one it follows.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never
from uuid import UUID

from domain.kernel import Invalid, NotFound, Refused, Stream, event

LONGEST = 40_000
VERSIONS = 500
LANGUAGES = 60

# --- events


@event("notices.Published.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class NoticePublished:
    """Version `notice_version` of a notice, in its first language. `sha256` is lower-case hex over the UTF-8 bytes of `text`, or
    over the file that `document` holds. `new_purposes` are those to which a material version gives a new meaning."""

    notice_version: int
    title: str
    language: str
    sha256: str
    media_type: str
    published_at: datetime
    text: str | None = None
    document: UUID | None = None
    material: bool
    purposes: tuple[str, ...]
    new_purposes: tuple[str, ...] = ()


@event("notices.Translated.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeTranslated:
    notice_version: int
    language: str
    sha256: str
    media_type: str
    text: str | None = None
    document: UUID | None = None


@event("notices.Retired.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRetired:
    retired_at: datetime


Event = NoticePublished | NoticeTranslated | NoticeRetired

# --- state


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    language: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    number: int
    published_at: datetime
    material: bool
    purposes: tuple[str, ...]
    new_purposes: tuple[str, ...]
    texts: tuple[Text, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    title: str = ""
    versions: tuple[Version, ...] = ()
    retired_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a person saw: one version in one language."""

    version: int
    language: str
    sha256: str


# --- refusals


class TextOrFile(Invalid):
    """A notice is a text or a file. Give `text`, or `document` together with `sha256`, and not both."""


class FileIsAnother(Invalid):
    """No version of the document has these bytes. Give the SHA-256 of one that does."""


class TextTooLong(Invalid):
    """The text is longer than 40,000 bytes as it is recorded. Store it as a document and give its id and sha256."""


class MaterialWithoutNewPurposes(Invalid):
    """A material version gives some purposes a new meaning. Name them in `new_purposes`."""


class NewPurposesNotNamed(Invalid):
    """`new_purposes` are among the purposes the version names, and only a material version has them."""


class LanguageIsThere(Refused):
    """This version has another text in this language, and a version is never changed. Publish a new version."""


class NoticeIsRetired(Refused):
    """The notice is retired. Publish a new notice."""


class TooManyVersions(Refused):
    """A notice has at most 500 versions and a version at most 60 languages. Publish a new notice."""


class PublishedOutOfOrder(Invalid):
    """A later version was published after that time already. Give a time after it, or none."""


class NoSuchVersion(NotFound):
    """The notice had no such version then, or not in this language. Look at its versions."""


class NoticeNamesOthers(Refused):
    """The notice does not name these purposes, so nobody who read it could consent to them. Show one that does."""


class NoticeOutdated(Refused):
    """A newer version gives these purposes a new meaning. Consent to them is taken on that version."""


# --- decisions: `held` are the digests of the versions of the document that is named


def publish(
    notice: Notice,
    *,
    title: str,
    language: str,
    media_type: str,
    text: str | None,
    document: UUID | None,
    sha256: str | None,
    held: frozenset[str] = frozenset(),
    material: bool,
    purposes: tuple[str, ...],
    new_purposes: tuple[str, ...],
    now: datetime,
) -> list[Event]:
    if notice.retired_at is not None:
        raise NoticeIsRetired
    digest = _digest(text, document, sha256, held)
    purposes = tuple(dict.fromkeys(purposes))
    before = notice.versions[-1] if notice.versions else None
    if (
        before is not None
        and title == notice.title
        and before.purposes == purposes
        and Text(language=language, sha256=digest) in before.texts
    ):
        return []
    if len(notice.versions) >= VERSIONS:
        raise TooManyVersions
    if before is not None and now < before.published_at:
        raise PublishedOutOfOrder(published_at=before.published_at.isoformat())
    if not set(new_purposes) <= set(purposes) or (new_purposes and not material):
        raise NewPurposesNotNamed
    if material:
        first_named = [p for p in purposes if before is None or p not in before.purposes]
        new_purposes = tuple(p for p in purposes if p in first_named or p in new_purposes)
        if not new_purposes:
            raise MaterialWithoutNewPurposes
    return [
        NoticePublished(
            notice_version=len(notice.versions) + 1,
            title=title,
            language=language,
            sha256=digest,
            media_type=media_type,
            published_at=now,
            text=text,
            document=document,
            material=material,
            purposes=purposes,
            new_purposes=new_purposes,
        )
    ]


def translate(
    notice: Notice,
    *,
    version: int,
    language: str,
    media_type: str,
    text: str | None,
    document: UUID | None,
    sha256: str | None,
    held: frozenset[str] = frozenset(),
) -> list[Event]:
    if notice.retired_at is not None:
        raise NoticeIsRetired
    if not 1 <= version <= len(notice.versions):
        raise NoSuchVersion(version=version)
    digest = _digest(text, document, sha256, held)
    texts = notice.versions[version - 1].texts
    there = next((t for t in texts if t.language == language), None)
    if there is not None:
        if there.sha256 == digest:
            return []
        raise LanguageIsThere(language=language)
    if len(texts) >= LANGUAGES:
        raise TooManyVersions
    return [
        NoticeTranslated(
            notice_version=version, language=language, sha256=digest, media_type=media_type, text=text, document=document
        )
    ]


def retire(notice: Notice, *, now: datetime) -> list[Event]:
    return [] if notice.retired_at is not None else [NoticeRetired(retired_at=now)]


def show(notice: Notice, *, version: int | None, language: str | None, purposes: tuple[str, ...], at: datetime) -> Shown:
    """The text a person saw at a moment (the version then in force, its first language, unless said otherwise), if consent to
    these purposes may rest on it."""
    if notice.retired_at is not None and notice.retired_at <= at:
        raise NoticeIsRetired
    in_force = [v for v in notice.versions if v.published_at <= at]
    seen = next((v for v in reversed(in_force) if version in {None, v.number}), None)
    if seen is None:
        raise NoSuchVersion(version=version)
    text = next((t for t in seen.texts if language in {None, t.language}), None)
    if text is None:
        raise NoSuchVersion(version=seen.number, language=language)
    unnamed = [p for p in purposes if p not in seen.purposes]
    if unnamed:
        raise NoticeNamesOthers(purposes=unnamed)
    newer = {p for v in in_force if v.number > seen.number for p in v.new_purposes}
    outdated = [p for p in purposes if p in newer]
    if outdated:
        raise NoticeOutdated(purposes=outdated, version=in_force[-1].number)
    return Shown(version=seen.number, language=text.language, sha256=text.sha256)


def material_versions(notice: Notice) -> tuple[Version, ...]:
    """The versions that give purposes a new meaning, in order."""
    return tuple(v for v in notice.versions if v.material)


def _digest(text: str | None, document: UUID | None, sha256: str | None, held: frozenset[str]) -> str:
    if text is not None and document is None:
        if len(json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")) > LONGEST:
            raise TextTooLong
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        if sha256 is None or sha256 == digest:
            return digest
    elif text is None and document is not None and sha256 is not None:
        if sha256 not in held:
            raise FileIsAnother
        return sha256
    raise TextOrFile


# --- evolve


def evolve(notice: Notice, e: Event) -> Notice:
    match e:
        case NoticePublished():
            version = Version(
                number=e.notice_version,
                published_at=e.published_at,
                material=e.material,
                purposes=e.purposes,
                new_purposes=e.new_purposes,
                texts=(Text(language=e.language, sha256=e.sha256),),
            )
            return replace(notice, title=e.title, versions=(*notice.versions, version))
        case NoticeTranslated():
            text = Text(language=e.language, sha256=e.sha256)
            return replace(
                notice,
                versions=tuple(replace(v, texts=(*v.texts, text)) if v.number == e.notice_version else v for v in notice.versions),
            )
        case NoticeRetired():
            return replace(notice, retired_at=e.retired_at)
        case _:
            assert_never(e)


NOTICE = Stream("notice", Notice(), evolve)
