"""What documents are linked to: a row for each link that stands, to be asked from either side."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

from domain.documents import DocumentLinked, DocumentUnlinked
from projections.kernel import Recorded, View, view


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentLinkRow:
    """`kind` is contact, organisation, deal, task or project."""

    document: UUID
    kind: str
    target: UUID
    linked_at: datetime
    linked_by: str


def keys(r: Recorded) -> Iterable[UUID]:
    """A link is known by its two ends."""
    e = r.event
    return (uuid5(r.stream_id, f"{e.kind}/{e.target}"),) if isinstance(e, DocumentLinked | DocumentUnlinked) else ()


def fold(row: DocumentLinkRow | None, _: UUID, r: Recorded) -> DocumentLinkRow | None:
    match r.event:
        case DocumentLinked() as e:
            return DocumentLinkRow(document=r.stream_id, kind=e.kind, target=e.target, linked_at=r.occurred_at, linked_by=r.actor)
        case DocumentUnlinked():
            return None
        case _:
            return row


DOCUMENT_LINKS = view(
    View(name="document_links", version=1, table="views.document_links", row=DocumentLinkRow, keys=keys, fold=fold)
)
