"""What was noted about deals and done for them, one row each: nothing of it ever changes, what was taken back is gone."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from domain.deals import ActivityRecorded, ActivityTakenBack, DealNoted, NoteTakenBack
from domain.kernel import Personal
from projections.kernel import Recorded, View, view


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityRow:
    """`recorded_by` is the actor who recorded it, `performer_id` the member who did it, where that was said."""

    deal_id: UUID
    contact_id: UUID | None = None
    kind: Literal["note", "activity"]
    name: str | None = None
    note: Annotated[str | None, Personal(subject="contact_id")] = None
    details: Annotated[dict[str, str], Personal(subject="contact_id")] = field(default_factory=dict)
    happened_at: datetime
    recorded_by: str
    performer_id: UUID | None = None


def entries(r: Recorded) -> Iterable[UUID]:
    match r.event:
        case DealNoted() | ActivityRecorded():
            return (r.event_id,)
        case NoteTakenBack(note=told) | ActivityTakenBack(activity=told):
            return (told,)
        case _:
            return ()


def fold_entry(row: ActivityRow | None, _id: UUID, r: Recorded) -> ActivityRow | None:
    match r.event:
        case DealNoted():
            return ActivityRow(
                deal_id=r.stream_id,
                contact_id=r.event.contact,
                kind="note",
                note=r.event.note,
                happened_at=r.occurred_at,
                recorded_by=r.actor,
                performer_id=r.event.performer,
            )
        case ActivityRecorded():
            return ActivityRow(
                deal_id=r.stream_id,
                contact_id=r.event.contact,
                kind="activity",
                name=r.event.name,
                details=r.event.details,
                happened_at=r.occurred_at,
                recorded_by=r.actor,
                performer_id=r.event.performer,
            )
        case NoteTakenBack() | ActivityTakenBack():
            return None
        case _:
            return row


DEAL_ACTIVITIES = view(
    View(
        name="deal_activities",
        version=1,
        table="views.deal_activities",
        row=ActivityRow,
        keys=entries,
        fold=fold_entry,
    )
)
