"""Documents as they stand: the latest version, what they are linked to, and whether and until when they must be kept."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from domain.documents import (
    DocumentAdded,
    DocumentArchived,
    DocumentDescribed,
    DocumentDiscarded,
    DocumentLinked,
    DocumentMoved,
    DocumentRenamed,
    DocumentRestored,
    DocumentUnlinked,
    HoldLifted,
    HoldPlaced,
    RetentionSet,
    RetentionShortened,
    VersionAdded,
)
from domain.kernel import Personal
from projections.kernel import Recorded, View, of_stream, view

Change = Callable[[tuple[UUID, ...]], tuple[UUID, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRow:
    """`status` is active, archived or discarded; `number` is the latest version's, and what follows it is that version's.

    `hold_name` and `hold_reason` are those of the latest placing or lifting; each hold has a row of its own in `document_holds`.
    """

    title: Annotated[str | None, Personal()] = None
    status: str = "active"
    folder: UUID | None = None
    description: Annotated[str | None, Personal()] = None
    tags: tuple[str, ...] = ()
    language: str | None = None
    number: int = 0
    latest: UUID | None = None
    sha256: str | None = None
    size: int | None = None
    media_type: str | None = None
    file_name: Annotated[str | None, Personal()] = None
    author: Annotated[str | None, Personal()] = None
    comment: Annotated[str | None, Personal()] = None
    source_time: datetime | None = None
    same_content_as: int | None = None
    restored_from: int | None = None
    contacts: tuple[UUID, ...] = ()
    organisations: tuple[UUID, ...] = ()
    deals: tuple[UUID, ...] = ()
    tasks: tuple[UUID, ...] = ()
    projects: tuple[UUID, ...] = ()
    on_hold: bool = False
    holds: tuple[UUID, ...] = ()
    hold_name: Annotated[str | None, Personal()] = None
    hold_reason: Annotated[str | None, Personal()] = None
    retain_until: date | None = None
    retention_reason: Annotated[str | None, Personal()] = None
    archived_at: datetime | None = None
    archive_reason: Annotated[str | None, Personal()] = None
    discarded_at: datetime | None = None
    discard_reason: Annotated[str | None, Personal()] = None


def fold(row: DocumentRow | None, _: UUID, r: Recorded) -> DocumentRow | None:
    e = r.event
    if isinstance(e, DocumentAdded):
        return DocumentRow(title=e.title, folder=e.folder)
    if row is None:
        return None
    match e:
        case VersionAdded():
            return replace(
                row,
                number=e.number,
                latest=e.version,
                sha256=e.sha256,
                size=e.size,
                media_type=e.media_type,
                file_name=e.file_name,
                author=e.author,
                comment=e.comment,
                source_time=e.source_time,
                same_content_as=e.same_content_as,
                restored_from=e.restored_from,
            )
        case DocumentRenamed():
            return replace(row, title=e.title)
        case DocumentMoved():
            return replace(row, folder=e.folder)
        case DocumentDescribed():
            return replace(row, description=e.description, tags=e.tags, language=e.language)
        case DocumentLinked():
            return _linked(row, e.kind, lambda ids: (*ids, e.target) if e.target not in ids else ids)
        case DocumentUnlinked():
            return _linked(row, e.kind, lambda ids: tuple(i for i in ids if i != e.target))
        case HoldPlaced():
            return replace(row, on_hold=True, holds=(*row.holds, e.hold), hold_name=e.name, hold_reason=e.reason)
        case HoldLifted():
            standing = tuple(i for i in row.holds if i != e.hold)
            return replace(row, on_hold=bool(standing), holds=standing, hold_reason=e.reason)
        case RetentionSet() | RetentionShortened():
            return replace(row, retain_until=e.until, retention_reason=e.reason)
        case DocumentArchived():
            return replace(row, status="archived", archived_at=r.occurred_at, archive_reason=e.reason)
        case DocumentRestored():
            return replace(row, status="active", archived_at=None, archive_reason=None)
        case DocumentDiscarded():
            return replace(row, status="discarded", discarded_at=r.occurred_at, discard_reason=e.reason)
        case _:
            return row


def _linked(row: DocumentRow, kind: str, change: Change) -> DocumentRow:
    match kind:
        case "contact":
            return replace(row, contacts=change(row.contacts))
        case "organisation":
            return replace(row, organisations=change(row.organisations))
        case "deal":
            return replace(row, deals=change(row.deals))
        case "task":
            return replace(row, tasks=change(row.tasks))
        case "project":
            return replace(row, projects=change(row.projects))
        case _:
            return row


DOCUMENTS = view(View(name="documents", version=1, table="views.documents", row=DocumentRow, keys=of_stream("document"), fold=fold))
