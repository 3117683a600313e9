"""Legal holds on documents: those that stand and those that were lifted."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated
from uuid import UUID

from domain.documents import HoldLifted, HoldPlaced
from domain.kernel import Personal
from projections.kernel import Recorded, View, view


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentHoldRow:
    document: UUID
    name: Annotated[str | None, Personal(subject="document")] = None
    reason: Annotated[str | None, Personal(subject="document")] = None
    standing: bool = True
    placed_at: datetime
    placed_by: str
    lifted_at: datetime | None = None
    lifted_by: str | None = None
    lift_reason: Annotated[str | None, Personal(subject="document")] = None


def keys(r: Recorded) -> Iterable[UUID]:
    return (r.event.hold,) if isinstance(r.event, HoldPlaced | HoldLifted) else ()


def fold(row: DocumentHoldRow | None, _: UUID, r: Recorded) -> DocumentHoldRow | None:
    match r.event:
        case HoldPlaced() as e:
            return DocumentHoldRow(document=r.stream_id, name=e.name, reason=e.reason, placed_at=r.occurred_at, placed_by=r.actor)
        case HoldLifted() as e if row is not None:
            return replace(row, standing=False, lifted_at=r.occurred_at, lifted_by=r.actor, lift_reason=e.reason)
        case _:
            return row


DOCUMENT_HOLDS = view(
    View(name="document_holds", version=1, table="views.document_holds", row=DocumentHoldRow, keys=keys, fold=fold)
)
