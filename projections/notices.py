"""Views of notices: each notice with its versions, and the text of every version in every language."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID, uuid5

from domain.notices import NoticePublished, NoticeRetired, NoticeTranslated
from projections.kernel import Recorded, View, of_stream, view


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeVersion:
    number: int
    title: str
    published_at: datetime
    material: bool
    purposes: tuple[str, ...]
    new_purposes: tuple[str, ...]
    languages: tuple[str, ...]
    sha256: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRow:
    """The newest version; `versions` holds all of them, `sha256` in the order of `languages`."""

    title: str
    notice_version: int
    published_at: datetime
    material: bool
    purposes: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    retired: bool = False
    retired_at: datetime | None = None
    versions: tuple[NoticeVersion, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeTextRow:
    """A text, or the document that holds it. `sha256` is over its bytes (UTF-8 for a text)."""

    notice: UUID
    notice_version: int
    language: str
    sha256: str
    media_type: str
    text: str | None = None
    document: UUID | None = None


def _fold(row: NoticeRow | None, _key: UUID, r: Recorded) -> NoticeRow | None:
    match r.event:
        case NoticePublished() as e:
            version = NoticeVersion(
                number=e.notice_version,
                title=e.title,
                published_at=e.published_at,
                material=e.material,
                purposes=e.purposes,
                new_purposes=e.new_purposes,
                languages=(e.language,),
                sha256=(e.sha256,),
            )
            return NoticeRow(
                title=e.title,
                notice_version=e.notice_version,
                published_at=e.published_at,
                material=e.material,
                purposes=e.purposes,
                languages=(e.language,),
                versions=(*(row.versions if row is not None else ()), version),
            )
        case NoticeTranslated() as e if row is not None:
            versions = tuple(
                replace(v, languages=(*v.languages, e.language), sha256=(*v.sha256, e.sha256))
                if v.number == e.notice_version
                else v
                for v in row.versions
            )
            return replace(row, versions=versions, languages=versions[-1].languages)
        case NoticeRetired() as e if row is not None:
            return replace(row, retired=True, retired_at=e.retired_at)
        case _:
            return row


def text_key(notice: UUID, version: int, language: str) -> UUID:
    """The row of one version of a notice in one language."""
    return uuid5(notice, f"{version}/{language}")


def _text_keys(r: Recorded) -> Iterable[UUID]:
    match r.event:
        case NoticePublished() | NoticeTranslated() as e:
            return (text_key(r.stream_id, e.notice_version, e.language),)
        case _:
            return ()


def _fold_text(row: NoticeTextRow | None, _key: UUID, r: Recorded) -> NoticeTextRow | None:
    match r.event:
        case NoticePublished() | NoticeTranslated() as e:
            return NoticeTextRow(
                notice=r.stream_id,
                notice_version=e.notice_version,
                language=e.language,
                sha256=e.sha256,
                media_type=e.media_type,
                text=e.text,
                document=e.document,
            )
        case _:
            return row


NOTICES = view(View(name="notices", version=1, table="views.notices", row=NoticeRow, keys=of_stream("notice"), fold=_fold))
NOTICE_TEXTS = view(
    View(name="notice_texts", version=1, table="views.notice_texts", row=NoticeTextRow, keys=_text_keys, fold=_fold_text)
)
