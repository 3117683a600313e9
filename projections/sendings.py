"""The view of sendings: whom a message went to, whom it did not, and why."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.sendings import Allowed, SendingDecided, Withheld
from projections.kernel import Recorded, View, of_stream, view


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingRow:
    purpose: str
    channel: str
    message: str | None = None
    decided_at: datetime
    decided_by: str
    allowed_count: int
    withheld_count: int
    contacts: tuple[UUID, ...] = ()
    allowed: tuple[Allowed, ...] = ()
    withheld: tuple[Withheld, ...] = ()


def _fold(row: SendingRow | None, _key: UUID, r: Recorded) -> SendingRow | None:
    match r.event:
        case SendingDecided() as e:
            return SendingRow(
                purpose=e.purpose,
                channel=e.channel,
                message=e.message,
                decided_at=r.occurred_at,
                decided_by=r.actor,
                allowed_count=len(e.allowed),
                withheld_count=len(e.withheld),
                contacts=_contacts(e.allowed, e.withheld),
                allowed=e.allowed,
                withheld=e.withheld,
            )
        case _:
            return row


def _contacts(allowed: Iterable[Allowed], withheld: Iterable[Withheld]) -> tuple[UUID, ...]:
    return (*(a.contact for a in allowed), *(w.contact for w in withheld))


SENDINGS = view(View(name="sendings", version=1, table="views.sendings", row=SendingRow, keys=of_stream("sending"), fold=_fold))
