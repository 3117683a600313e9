"""Each coming of a deal to a stage, and each closing where it stood: what stays in stages are made of.

A row never changes. A stay begins with a row that has a stage and ends with the deal's next row, whatever that is; rows of a deal are in
the order of `number`, its stream's versions, so that what came later in the record follows, also where two have the same time.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from domain.deals import DealLost, DealMoved, DealOpened, DealReopened, DealTransferred, DealWon, StageAt
from projections.kernel import Recorded, View, view

How = Literal["opened", "moved", "transferred", "won", "lost", "reopened"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEntryRow:
    """`stage_id` and what describes the stage are missing where a deal was closed without going anywhere; `entered_by` recorded it,
    `performer_id` did it, where that was said."""

    deal_id: UUID
    number: int
    how: How
    pipeline_id: UUID | None = None
    stage_id: UUID | None = None
    stage_name: str | None = None
    stage_kind: str | None = None
    entered_at: datetime
    entered_by: str
    performer_id: UUID | None = None


def entry(r: Recorded) -> tuple[How, StageAt | None] | None:
    """How a deal came to which stage by this event; None when it went nowhere."""
    match r.event:
        case DealOpened(stage=stage):
            return "opened", stage
        case DealMoved(target=stage):
            return "moved", stage
        case DealTransferred(target=stage):
            return "transferred", stage
        case DealWon(stage=where):
            return "won", where
        case DealLost(stage=where):
            return "lost", where
        case DealReopened(target=stage):
            return "reopened", stage
        case _:
            return None


def keys(r: Recorded) -> Iterable[UUID]:
    return (r.event_id,) if r.stream_type == "deal" and entry(r) is not None else ()


def fold(row: StageEntryRow | None, _key: UUID, r: Recorded) -> StageEntryRow | None:
    came = entry(r)
    if came is None:
        return row
    how, stage = came
    return StageEntryRow(
        deal_id=r.stream_id,
        number=r.version,
        how=how,
        pipeline_id=stage.pipeline if stage is not None else None,
        stage_id=stage.id if stage is not None else None,
        stage_name=stage.name if stage is not None else None,
        stage_kind=stage.kind if stage is not None else None,
        entered_at=r.occurred_at,
        entered_by=r.actor,
        performer_id=getattr(r.event, "performer", None),
    )


STAGE_ENTRIES = view(
    View(name="stage_entries", version=1, table="views.stage_entries", row=StageEntryRow, keys=keys, fold=fold, once=True)
)
