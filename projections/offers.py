"""The offers made in deals, each a row of its own."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from domain.deals import (
    OfferAccepted,
    OfferCancelled,
    OfferCreated,
    OfferDeclined,
    OfferExpired,
    OfferReturned,
    OfferSelected,
    OfferSent,
    OfferSetBack,
    OfferStatus,
)
from domain.deals.state import LIVE
from domain.kernel import Personal
from projections.kernel import Recorded, View, view
from projections.rows import replace

Text = Annotated[str | None, Personal(subject="contact_id")]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferRow:
    """An offer of a deal.

    `settled_at` is when it was accepted, declined, cancelled or expired; the other times are the last of their kind.
    """

    deal_id: UUID
    contact_id: UUID | None = None
    status: OfferStatus = "selected"
    amount: Decimal | None = None
    currency: str | None = None
    rate: Decimal | None = None
    term_months: int | None = None
    terms: Text = None
    valid_until: date | None = None
    selected_at: datetime
    drawn_up_at: datetime | None = None
    sent_at: datetime | None = None
    returned_at: datetime | None = None
    settled_at: datetime | None = None
    reason_code: str | None = None
    reason: Text = None
    remark: Text = None
    performer_id: UUID | None = None


def offers_of(r: Recorded) -> Iterable[UUID]:
    return (r.event.offer,) if r.name.startswith("deals.Offer") else ()


def fold_offer(row: OfferRow | None, _id: UUID, r: Recorded) -> OfferRow | None:
    e, at = r.event, r.occurred_at
    if isinstance(e, OfferSelected):
        return OfferRow(
            deal_id=r.stream_id,
            contact_id=e.contact,
            amount=e.amount,
            currency=e.currency,
            rate=e.rate,
            term_months=e.term_months,
            terms=e.terms,
            valid_until=e.valid_until,
            selected_at=at,
            performer_id=e.performer,
        )
    if row is None:
        return None
    row = replace(row, performer_id=e.performer)
    match e:
        case OfferCreated():
            return replace(row, status="created", drawn_up_at=at, settled_at=None)
        case OfferSent():
            return replace(row, status="sent", sent_at=at, settled_at=None, valid_until=e.valid_until or row.valid_until)
        case OfferReturned():
            return replace(row, status="returned", returned_at=at, settled_at=None, remark=e.remark)
        case OfferAccepted():
            return replace(row, status="accepted", settled_at=at)
        case OfferDeclined():
            return replace(row, status="declined", settled_at=at, reason_code=e.reason_code, reason=e.reason)
        case OfferCancelled():
            return replace(row, status="cancelled", settled_at=at, reason_code=e.reason_code, reason=e.reason)
        case OfferSetBack():
            return _set_back(row, e)
        case OfferExpired():
            return replace(row, status="expired", settled_at=at)
        case _:
            return row


def _set_back(row: OfferRow, e: OfferSetBack) -> OfferRow:
    """As before the step that was taken back."""
    row = replace(
        row,
        status=e.status,
        valid_until=e.valid_until,
        drawn_up_at=e.drawn_up_at,
        sent_at=e.sent_at,
        returned_at=e.returned_at,
        remark=row.remark if e.returned_at is not None else None,
    )
    if e.status not in LIVE:
        return replace(row, settled_at=e.since)
    return replace(row, settled_at=None, reason_code=None, reason=None)


OFFERS = view(View(name="offers", version=1, table="views.offers", row=OfferRow, keys=offers_of, fold=fold_offer))
