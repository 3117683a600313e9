"""Commands of the offers of a deal: select, create, send, return, accept, decline, cancel, expire."""

from datetime import date
from typing import Annotated
from uuid import UUID

from pydantic import Field

from commands.deals import Amount, Code, Currency, Note, OccurredAt, Remark, decimal
from commands.kernel import Answer, Command, Entity, Work, command
from domain import deals
from domain.deals import DEAL, Deal, Event, OfferId, offers

Months = Annotated[int, Field(ge=1, le=1200)]


class SelectOffer(Command):
    """`id` is the deal's."""

    id: UUID
    amount: Amount | None = None
    currency: Currency | None = Field(default=None, description="The deal's currency when absent.")
    rate: Amount | None = Field(default=None, description="Per cent a year.")
    term_months: Months | None = None
    terms: Note | None = None
    valid_until: date | None = None
    occurred_at: OccurredAt = None


class OfferStep(Command):
    """`id` is the deal's."""

    id: UUID
    offer: UUID
    occurred_at: OccurredAt = None


class SendOffer(OfferStep):
    valid_until: date | None = None


class ReturnOffer(OfferStep):
    remark: Remark | None = None


class DeclineOffer(OfferStep):
    reason_code: Code | None = None
    reason: Remark | None = None


class CancelOffer(OfferStep):
    reason_code: Code | None = None
    reason: Remark | None = None


class CreateOffer(OfferStep):
    pass


class AcceptOffer(OfferStep):
    pass


class ExpireOffer(OfferStep):
    pass


@command(
    "offers.select",
    "POST /deals/{id}/offers",
    permission="deals:write",
    title="Select an offer to be made",
    target=DEAL,
)
async def select(c: SelectOffer, w: Work) -> Answer:
    """Choose an offer for the deal; it is drawn up, sent and settled under the id answered as `offer`."""
    deal = await w.load(DEAL, c.id)
    offer = OfferId(w.new_id())
    selected = offers.select(
        deal.state,
        offer=offer,
        amount=decimal(c.amount),
        currency=c.currency,
        rate=decimal(c.rate),
        term_months=c.term_months,
        terms=c.terms,
        valid_until=c.valid_until,
    )
    w.record(deal, selected, occurred_at=deals.happened(now=w.now, occurred_at=c.occurred_at))
    return {"offer": str(offer)}


@command(
    "offers.create",
    "POST /deals/{id}/offers/{offer}:create",
    permission="deals:write",
    title="Draw an offer up",
    target=DEAL,
)
async def create(c: CreateOffer, w: Work) -> Answer:
    deal = await w.load(DEAL, c.id)
    return _record(c, w, deal, offers.create(deal.state, offer=OfferId(c.offer)))


@command(
    "offers.send",
    "POST /deals/{id}/offers/{offer}:send",
    permission="deals:write",
    title="Send an offer to the client",
    target=DEAL,
)
async def send(c: SendOffer, w: Work) -> Answer:
    deal = await w.load(DEAL, c.id)
    return _record(c, w, deal, offers.send(deal.state, offer=OfferId(c.offer), valid_until=c.valid_until))


@command(
    "offers.return",
    "POST /deals/{id}/offers/{offer}:return",
    permission="deals:write",
    title="The client sent an offer back",
    target=DEAL,
)
async def send_back(c: ReturnOffer, w: Work) -> Answer:
    deal = await w.load(DEAL, c.id)
    return _record(c, w, deal, offers.send_back(deal.state, offer=OfferId(c.offer), remark=c.remark))


@command(
    "offers.accept",
    "POST /deals/{id}/offers/{offer}:accept",
    permission="deals:write",
    title="The client accepts an offer",
    target=DEAL,
)
async def accept(c: AcceptOffer, w: Work) -> Answer:
    """A deal has one accepted offer at most. Accepting does not win the deal."""
    deal = await w.load(DEAL, c.id)
    return _record(c, w, deal, offers.accept(deal.state, offer=OfferId(c.offer)))


@command(
    "offers.decline",
    "POST /deals/{id}/offers/{offer}:decline",
    permission="deals:write",
    title="An offer is declined",
    target=DEAL,
)
async def decline(c: DeclineOffer, w: Work) -> Answer:
    deal = await w.load(DEAL, c.id)
    return _record(c, w, deal, offers.decline(deal.state, offer=OfferId(c.offer), reason_code=c.reason_code, reason=c.reason))


@command(
    "offers.cancel",
    "POST /deals/{id}/offers/{offer}:cancel",
    permission="deals:write",
    title="Cancel an offer",
    target=DEAL,
)
async def cancel(c: CancelOffer, w: Work) -> Answer:
    deal = await w.load(DEAL, c.id)
    return _record(c, w, deal, offers.cancel(deal.state, offer=OfferId(c.offer), reason_code=c.reason_code, reason=c.reason))


@command(
    "offers.expire",
    "POST /deals/{id}/offers/{offer}:expire",
    permission="deals:write",
    title="Let an offer expire",
    target=DEAL,
)
async def expire(c: ExpireOffer, w: Work) -> Answer:
    deal = await w.load(DEAL, c.id)
    return _record(c, w, deal, offers.expire(deal.state, offer=OfferId(c.offer)))


def _record(c: OfferStep, w: Work, deal: Entity[Deal, Event], events: list[Event]) -> Answer:
    w.record(deal, events, occurred_at=deals.happened(now=w.now, occurred_at=c.occurred_at))
    return None
