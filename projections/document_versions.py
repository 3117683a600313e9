"""Every version of every document."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from domain.documents import VersionAdded
from domain.kernel import Personal
from projections.kernel import Recorded, View, view


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentVersionRow:
    """`added_by` is the actor who recorded it (`member/…`), `author` who wrote it where that is said."""

    document: UUID
    number: int
    sha256: str
    size: int
    media_type: str
    file_name: Annotated[str | None, Personal(subject="document")] = None
    author: Annotated[str | None, Personal(subject="document")] = None
    comment: Annotated[str | None, Personal(subject="document")] = None
    source_time: datetime | None = None
    same_content_as: int | None = None
    restored_from: int | None = None
    added_at: datetime
    added_by: str


def keys(r: Recorded) -> Iterable[UUID]:
    return (r.event.version,) if isinstance(r.event, VersionAdded) else ()


def fold(row: DocumentVersionRow | None, _: UUID, r: Recorded) -> DocumentVersionRow | None:
    match r.event:
        case VersionAdded() as e:
            return DocumentVersionRow(
                document=r.stream_id,
                number=e.number,
                sha256=e.sha256,
                size=e.size,
                media_type=e.media_type,
                file_name=e.file_name,
                author=e.author,
                comment=e.comment,
                source_time=e.source_time,
                same_content_as=e.same_content_as,
                restored_from=e.restored_from,
                added_at=r.occurred_at,
                added_by=r.actor,
            )
        case _:
            return row


DOCUMENT_VERSIONS = view(
    View(name="document_versions", version=1, table="views.document_versions", row=DocumentVersionRow, keys=keys, fold=fold)
)
