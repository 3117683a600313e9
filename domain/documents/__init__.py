"""Documents: what a firm keeps, with every version it ever had, and how long it must be kept.

DOC1   Versions are numbered from 1 and keep their number and content for ever; an old one is restored as a new one.
DOC2   A version with the content of an earlier one says which (`same_content_as`, the latest such number); its bytes are kept once.
DOC3   An archived document is not changed until it is restored; holds and retention still apply to it and can still be set.
DOC4   Several holds may stand at once, each under its own id and name; each is lifted by itself, with a reason.
DOC5   While a hold stands, the document is not discarded and its retention is not shortened.
DOC6   A retention date is set and moved later by anybody who may write; it is moved earlier or given up only by a decision of its own,
       with a reason, while no hold stands.
DOC7   A document is discarded only when no hold stands and its retention date, if it has one, lies in the past. That is final.
DOC8   Nothing is put into an archived folder.
DOC9   A file name is a name and no path: no separators, no control or direction marks, no reserved device, at most 255 bytes.
DOC10  Nothing is recorded when nothing changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import assert_never
from uuid import UUID

from domain.documents.events import (
    DocumentAdded,
    DocumentArchived,
    DocumentDescribed,
    DocumentDiscarded,
    DocumentId,
    DocumentLinked,
    DocumentMoved,
    DocumentRenamed,
    DocumentRestored,
    DocumentUnlinked,
    Event,
    HoldId,
    HoldLifted,
    HoldPlaced,
    LinkKind,
    RetentionSet,
    RetentionShortened,
    VersionAdded,
    VersionId,
)
from domain.documents.names import clean_file_name
from domain.kernel import Invalid, NotFound, Refused, Stream

__all__ = [
    "DOCUMENT",
    "MOST_HOLDS",
    "MOST_LINKS",
    "MOST_VERSIONS",
    "Content",
    "Document",
    "DocumentAdded",
    "DocumentArchived",
    "DocumentDescribed",
    "DocumentDiscarded",
    "DocumentId",
    "DocumentIsArchived",
    "DocumentIsDiscarded",
    "DocumentIsOnHold",
    "DocumentLinked",
    "DocumentMoved",
    "DocumentRenamed",
    "DocumentRestored",
    "DocumentUnlinked",
    "Event",
    "FolderTakesNothing",
    "HoldAlreadyStands",
    "HoldId",
    "HoldLifted",
    "HoldPlaced",
    "LinkKind",
    "NoSuchHold",
    "NoSuchVersion",
    "NotShorter",
    "Place",
    "RetentionOnlyExtends",
    "RetentionRuns",
    "RetentionSet",
    "RetentionShortened",
    "TooManyHolds",
    "TooManyLinks",
    "TooManyVersions",
    "Version",
    "VersionAdded",
    "VersionId",
    "add",
    "add_version",
    "archive",
    "describe",
    "discard",
    "evolve",
    "lift_hold",
    "link",
    "move",
    "place_hold",
    "rename",
    "restore",
    "restore_version",
    "retain",
    "shorten_retention",
    "unlink",
]

MOST_VERSIONS = 10_000
MOST_LINKS = 200
MOST_HOLDS = 50

# --- state


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    number: int
    sha256: str
    size: int
    media_type: str
    file_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    title: str | None = None
    folder: UUID | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    language: str | None = None
    versions: tuple[Version, ...] = ()
    links: frozenset[tuple[LinkKind, UUID]] = frozenset()
    holds: tuple[tuple[HoldId, str | None], ...] = ()
    retain_until: date | None = None
    archived: bool = False
    discarded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder a document is to be put into; no id is the top. `archived` also when a folder above it is."""

    id: UUID | None = None
    archived: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Bytes that the firm holds, and what is said of them."""

    sha256: str
    size: int
    media_type: str
    file_name: str
    author: str | None = None
    comment: str | None = None
    source_time: datetime | None = None


# --- refusals


class DocumentIsArchived(Refused):
    """The document is archived. Restore it before changing it."""


class DocumentIsDiscarded(Refused):
    """The document was discarded and takes no further changes."""


class FolderTakesNothing(Refused):
    """That folder, or one above it, is archived and takes nothing new. Restore it or choose another."""


class NoSuchVersion(NotFound):
    """The document has no version of that number."""


class TooManyVersions(Refused):
    """A document can have 10,000 versions at most. Start a new document."""


class TooManyLinks(Refused):
    """A document can be linked to 200 records at most. Undo a link that is no longer needed."""


class TooManyHolds(Refused):
    """Fifty holds can stand on one document at most. Lift one that is no longer needed."""


class HoldAlreadyStands(Refused):
    """A hold of that name already stands on the document."""


class NoSuchHold(NotFound):
    """No hold of that id stands on the document; it may have been lifted already."""


class DocumentIsOnHold(Refused):
    """A legal hold stands on the document: it must be kept as it is. Every hold must be lifted first."""


class RetentionOnlyExtends(Refused):
    """The document must be kept longer than that. Shortening retention is a decision of its own, with a reason."""


class NotShorter(Invalid):
    """The new date is not earlier than the present one. Extend retention instead."""


class RetentionRuns(Refused):
    """The retention date has not passed: the document must be kept through that day."""


# --- decisions


def add(document: Document, *, content: Content, version: VersionId, title: str | None, place: Place) -> list[Event]:
    """A document begins with its first version; without a title it is called as its file is."""
    if place.archived:
        raise FolderTakesNothing(folder=str(place.id))
    first = _version(document, content=content, version=version)
    return [DocumentAdded(title=title or first.file_name, folder=place.id), first]


def add_version(document: Document, *, content: Content, version: VersionId) -> list[Event]:
    _check_changeable(document)
    return [_version(document, content=content, version=version)]


def restore_version(document: Document, *, number: int, version: VersionId, comment: str | None) -> list[Event]:
    _check_changeable(document)
    if not 1 <= number <= len(document.versions):
        raise NoSuchVersion(number=number, latest=len(document.versions))
    old = document.versions[number - 1]
    if old == document.versions[-1]:
        return []
    _check_room(document)
    return [
        VersionAdded(
            version=version,
            number=len(document.versions) + 1,
            sha256=old.sha256,
            size=old.size,
            media_type=old.media_type,
            file_name=old.file_name,
            comment=comment,
            same_content_as=_same_content(document, old.sha256),
            restored_from=number,
        )
    ]


def rename(document: Document, *, title: str) -> list[Event]:
    _check_changeable(document)
    return [] if title == document.title else [DocumentRenamed(title=title)]


def move(document: Document, *, place: Place) -> list[Event]:
    _check_changeable(document)
    if place.id == document.folder:
        return []
    if place.archived:
        raise FolderTakesNothing(folder=str(place.id))
    return [DocumentMoved(folder=place.id)]


def describe(document: Document, *, description: str | None, tags: Sequence[str], language: str | None) -> list[Event]:
    """What is not known is None; tags keep their first order and spelling, whatever their case."""
    _check_changeable(document)
    new = DocumentDescribed(description=description or None, tags=_distinct(tags), language=language)
    same = (new.description, new.tags, new.language) == (document.description, document.tags, document.language)
    return [] if same else [new]


def link(document: Document, *, kind: LinkKind, target: UUID) -> list[Event]:
    _check_changeable(document)
    if (kind, target) in document.links:
        return []
    if len(document.links) >= MOST_LINKS:
        raise TooManyLinks(most=MOST_LINKS)
    return [DocumentLinked(kind=kind, target=target)]


def unlink(document: Document, *, kind: LinkKind, target: UUID) -> list[Event]:
    _check_changeable(document)
    return [DocumentUnlinked(kind=kind, target=target)] if (kind, target) in document.links else []


def place_hold(document: Document, *, hold: HoldId, name: str, reason: str) -> list[Event]:
    if document.discarded:
        raise DocumentIsDiscarded
    same = next((id for id, known in document.holds if known is not None and known.casefold() == name.casefold()), None)
    if same is not None:
        raise HoldAlreadyStands(hold=str(same))
    if len(document.holds) >= MOST_HOLDS:
        raise TooManyHolds(most=MOST_HOLDS)
    return [HoldPlaced(hold=hold, name=name, reason=reason)]


def lift_hold(document: Document, *, hold: HoldId, reason: str) -> list[Event]:
    if hold not in (id for id, _ in document.holds):
        raise NoSuchHold(hold=str(hold))
    return [HoldLifted(hold=hold, reason=reason)]


def retain(document: Document, *, until: date, reason: str | None) -> list[Event]:
    if document.discarded:
        raise DocumentIsDiscarded
    if document.retain_until is not None:
        if until < document.retain_until:
            raise RetentionOnlyExtends(retain_until=document.retain_until.isoformat())
        if until == document.retain_until:
            return []
    return [RetentionSet(until=until, reason=reason)]


def shorten_retention(document: Document, *, until: date | None, reason: str) -> list[Event]:
    if document.discarded:
        raise DocumentIsDiscarded
    if until == document.retain_until:
        return []
    if document.retain_until is None or (until is not None and until > document.retain_until):
        raise NotShorter
    _check_no_hold(document)
    return [RetentionShortened(previous=document.retain_until, until=until, reason=reason)]


def archive(document: Document, *, reason: str | None) -> list[Event]:
    if document.discarded:
        raise DocumentIsDiscarded
    return [] if document.archived else [DocumentArchived(reason=reason)]


def restore(document: Document) -> list[Event]:
    if document.discarded:
        raise DocumentIsDiscarded
    return [DocumentRestored()] if document.archived else []


def discard(document: Document, *, reason: str, now: datetime) -> list[Event]:
    if document.discarded:
        return []
    _check_no_hold(document)
    if document.retain_until is not None and now.astimezone(UTC).date() <= document.retain_until:
        raise RetentionRuns(retain_until=document.retain_until.isoformat())
    return [DocumentDiscarded(reason=reason)]


def _version(document: Document, *, content: Content, version: VersionId) -> VersionAdded:
    _check_room(document)
    return VersionAdded(
        version=version,
        number=len(document.versions) + 1,
        sha256=content.sha256,
        size=content.size,
        media_type=content.media_type,
        file_name=clean_file_name(content.file_name),
        author=content.author,
        comment=content.comment,
        source_time=content.source_time,
        same_content_as=_same_content(document, content.sha256),
    )


def _same_content(document: Document, sha256: str) -> int | None:
    return next((v.number for v in reversed(document.versions) if v.sha256 == sha256), None)


def _check_changeable(document: Document) -> None:
    if document.discarded:
        raise DocumentIsDiscarded
    if document.archived:
        raise DocumentIsArchived


def _check_room(document: Document) -> None:
    if len(document.versions) >= MOST_VERSIONS:
        raise TooManyVersions(most=MOST_VERSIONS)


def _check_no_hold(document: Document) -> None:
    if document.holds:
        raise DocumentIsOnHold(holds=[str(id) for id, _ in document.holds])


def _distinct(tags: Sequence[str]) -> tuple[str, ...]:
    kept: dict[str, str] = {}
    for tag in tags:
        kept.setdefault(tag.casefold(), tag)
    return tuple(kept.values())


# --- evolve


def evolve(document: Document, e: Event) -> Document:
    match e:
        case DocumentAdded():
            return replace(document, title=e.title, folder=e.folder)
        case VersionAdded():
            version = Version(number=e.number, sha256=e.sha256, size=e.size, media_type=e.media_type, file_name=e.file_name)
            return replace(document, versions=(*document.versions, version))
        case DocumentRenamed():
            return replace(document, title=e.title)
        case DocumentMoved():
            return replace(document, folder=e.folder)
        case DocumentDescribed():
            return replace(document, description=e.description, tags=e.tags, language=e.language)
        case DocumentLinked():
            return replace(document, links=document.links | {(e.kind, e.target)})
        case DocumentUnlinked():
            return replace(document, links=document.links - {(e.kind, e.target)})
        case HoldPlaced():
            return replace(document, holds=(*document.holds, (e.hold, e.name)))
        case HoldLifted():
            return replace(document, holds=tuple(h for h in document.holds if h[0] != e.hold))
        case RetentionSet():
            return replace(document, retain_until=e.until)
        case RetentionShortened():
            return replace(document, retain_until=e.until)
        case DocumentArchived():
            return replace(document, archived=True)
        case DocumentRestored():
            return replace(document, archived=False)
        case DocumentDiscarded():
            return replace(document, discarded=True)
        case _:
            assert_never(e)


DOCUMENT = Stream("document", Document(), evolve)
