"""What may be done with the offers of a deal: select, create, send, return, accept, decline, cancel, expire.

Each decision takes `imported=True` for what another system says happened: it is recorded whatever the rules would have said.
"""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from domain.deals.events import (
    Event,
    OfferAccepted,
    OfferCancelled,
    OfferCreated,
    OfferDeclined,
    OfferEvent,
    OfferExpired,
    OfferId,
    OfferReturned,
    OfferSelected,
    OfferSent,
    OfferSetBack,
)
from domain.deals.money import amount_of, money_of
from domain.deals.refusals import (
    AnotherOfferAccepted,
    DealIsArchived,
    DealIsClosed,
    DealIsLost,
    NoSuchOffer,
    OfferIsSettled,
    OfferNotSent,
    TooManyOffers,
)
from domain.deals.state import LIVE, Deal, Offer, OfferStatus, offer_status

MOST_OFFERS = 200

Step = Literal["created", "sent", "returned", "accepted", "declined", "cancelled", "expired"]
Rule = Callable[[Deal, Offer], None]

# --- rules


def deal_in_use(deal: Deal, _offer: Offer) -> None:
    if deal.archived:
        raise DealIsArchived


def deal_open(deal: Deal, _offer: Offer) -> None:
    if deal.status != "open":
        raise DealIsClosed(status=deal.status)


def deal_not_lost(deal: Deal, _offer: Offer) -> None:
    if deal.status == "lost":
        raise DealIsLost


def not_settled(_deal: Deal, offer: Offer) -> None:
    if offer.status not in LIVE:
        raise OfferIsSettled(status=offer.status)


def with_the_client(_deal: Deal, offer: Offer) -> None:
    if offer.status not in {"sent", "returned"}:
        raise OfferNotSent(status=offer.status)


def the_only_one_accepted(deal: Deal, _offer: Offer) -> None:
    if any(o.status == "accepted" for o in deal.offers):
        raise AnotherOfferAccepted


RULES: dict[Step, tuple[Rule, ...]] = {
    "created": (deal_in_use, not_settled, deal_open),
    "sent": (deal_in_use, not_settled, deal_open),
    "returned": (deal_in_use, not_settled, with_the_client, deal_not_lost),
    "accepted": (deal_in_use, not_settled, with_the_client, deal_not_lost, the_only_one_accepted),
    "declined": (deal_in_use, not_settled, with_the_client),
    "cancelled": (deal_in_use, not_settled),
    "expired": (deal_in_use, not_settled),
}

# --- decisions


def select(
    deal: Deal,
    *,
    offer: OfferId,
    amount: Decimal | None = None,
    currency: str | None = None,
    rate: Decimal | None = None,
    term_months: int | None = None,
    terms: str | None = None,
    valid_until: date | None = None,
    performer: UUID | None = None,
    imported: bool = False,
) -> list[Event]:
    """An amount without a currency is in the deal's currency."""
    if any(o.id == offer for o in deal.offers):
        return []
    if len(deal.offers) >= MOST_OFFERS:
        raise TooManyOffers
    if not imported:
        deal_in_use(deal, Offer(id=offer))
        deal_open(deal, Offer(id=offer))
    amount, currency = money_of(amount, currency or (deal.currency if amount is not None else None))
    return [
        OfferSelected(
            offer=offer,
            contact=deal.contact,
            amount=amount,
            currency=currency,
            rate=None if rate is None else amount_of(rate),
            term_months=term_months,
            terms=terms,
            valid_until=valid_until,
            performer=performer,
        )
    ]


def create(deal: Deal, *, offer: OfferId, performer: UUID | None = None, imported: bool = False) -> list[Event]:
    """Draw the offer up. One that was sent has been drawn up."""
    if not imported and _known(deal, offer).status in {"sent", "returned"}:
        return []
    return _step(deal, OfferCreated(offer=offer, performer=performer), "created", imported=imported)


def send(
    deal: Deal, *, offer: OfferId, valid_until: date | None = None, performer: UUID | None = None, imported: bool = False
) -> list[Event]:
    """An offer that came back may be sent again; one that is with the client is not sent twice."""
    return _step(deal, OfferSent(offer=offer, valid_until=valid_until, performer=performer), "sent", imported=imported)


def send_back(
    deal: Deal, *, offer: OfferId, remark: str | None = None, performer: UUID | None = None, imported: bool = False
) -> list[Event]:
    """The client returned it."""
    returned = OfferReturned(offer=offer, contact=deal.contact, remark=remark, performer=performer)
    return _step(deal, returned, "returned", imported=imported)


def accept(deal: Deal, *, offer: OfferId, performer: UUID | None = None, imported: bool = False) -> list[Event]:
    return _step(deal, OfferAccepted(offer=offer, performer=performer), "accepted", imported=imported)


def decline(
    deal: Deal,
    *,
    offer: OfferId,
    reason_code: str | None = None,
    reason: str | None = None,
    performer: UUID | None = None,
    imported: bool = False,
) -> list[Event]:
    declined = OfferDeclined(offer=offer, reason_code=reason_code, contact=deal.contact, reason=reason, performer=performer)
    return _step(deal, declined, "declined", imported=imported)


def cancel(
    deal: Deal,
    *,
    offer: OfferId,
    reason_code: str | None = None,
    reason: str | None = None,
    performer: UUID | None = None,
    imported: bool = False,
) -> list[Event]:
    cancelled = OfferCancelled(offer=offer, reason_code=reason_code, contact=deal.contact, reason=reason, performer=performer)
    return _step(deal, cancelled, "cancelled", imported=imported)


def expire(deal: Deal, *, offer: OfferId, performer: UUID | None = None, imported: bool = False) -> list[Event]:
    return _step(deal, OfferExpired(offer=offer, performer=performer), "expired", imported=imported)


def set_back(
    deal: Deal,
    *,
    offer: OfferId,
    status: OfferStatus,
    since: datetime,
    valid_until: date | None = None,
    drawn_up_at: datetime | None = None,
    sent_at: datetime | None = None,
    returned_at: datetime | None = None,
    performer: UUID | None = None,
) -> list[Event]:
    """The last step was recorded by mistake."""
    known = _known(deal, offer)
    if known.status == status:
        return []
    deal_in_use(deal, known)
    if status == "accepted":
        the_only_one_accepted(deal, known)
    return [
        OfferSetBack(
            offer=offer,
            status=status,
            since=since,
            valid_until=valid_until,
            drawn_up_at=drawn_up_at,
            sent_at=sent_at,
            returned_at=returned_at,
            performer=performer,
        )
    ]


def offer_meant(deal: Deal, step: Step) -> OfferId | None:
    """Which offer a step means that names none, as in logs without offer ids.

    A step forward means the newest offer that is ready for it. Cancelling and expiring mean the oldest live offer that had been
    drawn up, since a new one is selected before the old one is withdrawn; else the oldest live one. None when nothing fits.
    """
    if step in {"cancelled", "expired"}:
        live = [o for o in deal.offers if o.status in LIVE]
        return next((o.id for o in (*(o for o in live if o.status != "selected"), *live)), None)
    return next((o.id for status in _READY[step] for o in reversed(deal.offers) if o.status == status), None)


_READY: dict[Step, tuple[OfferStatus, ...]] = {
    "created": ("selected",),
    "sent": ("created", "selected", "returned"),
    "returned": ("sent",),
    "accepted": ("returned", "sent"),
    "declined": ("returned", "sent"),
}


def _step(deal: Deal, event: OfferEvent, step: Step, *, imported: bool) -> list[Event]:
    offer = _known(deal, event.offer)
    if imported:
        return [event]
    if offer.status == offer_status(event):
        return []
    for rule in RULES[step]:
        rule(deal, offer)
    return [event]


def _known(deal: Deal, offer: OfferId) -> Offer:
    for o in deal.offers:
        if o.id == offer:
            return o
    raise NoSuchOffer(offer=str(offer))
