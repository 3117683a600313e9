from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.deals import (
    Deal,
    DealArchived,
    DealLost,
    DealOpened,
    DealWon,
    Event,
    OfferAccepted,
    OfferCancelled,
    OfferCreated,
    OfferDeclined,
    OfferExpired,
    OfferId,
    OfferReturned,
    OfferSelected,
    OfferSent,
    StageAt,
    evolve,
)
from domain.deals.money import AmountNeedsCurrency
from domain.deals.offers import (
    Step,
    accept,
    cancel,
    create,
    decline,
    expire,
    offer_meant,
    select,
    send,
    send_back,
)
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
from domain.deals.state import LIVE
from domain.kernel import Refused, fold
from tests.story import Story

FIRST, SECOND = OfferId(uuid4()), OfferId(uuid4())
OPENED = DealOpened(stage=StageAt(pipeline=uuid4(), id=uuid4(), name="Offer"), title="House", amount=Decimal(20000), currency="EUR")
SELECTED, SENT, RETURNED = OfferSelected(offer=FIRST), OfferSent(offer=FIRST), OfferReturned(offer=FIRST)
WON, LOST = DealWon(closed_on=date(2026, 1, 1)), DealLost(closed_on=date(2026, 1, 1), reason_code="price")
deal = Story(Deal(), evolve)


@pytest.mark.invariant("D10")
def test_an_offer_is_selected_in_the_deals_currency_and_a_deal_has_many() -> None:
    deal.given(OPENED, SELECTED).when(
        select, offer=SECOND, amount=Decimal(15000), rate=Decimal("3.9"), term_months=60, terms="fixed"
    ).then(OfferSelected(offer=SECOND, amount=Decimal(15000), currency="EUR", rate=Decimal("3.9"), term_months=60, terms="fixed"))
    deal.given(OPENED, SELECTED).when(select, offer=FIRST).then_nothing()
    poor = DealOpened(stage=OPENED.stage)
    deal.given(poor).when(select, offer=FIRST, amount=Decimal(1)).then_refused(AmountNeedsCurrency)


def test_an_offer_goes_its_way() -> None:
    deal.given(OPENED, SELECTED).when(create, offer=FIRST).then(OfferCreated(offer=FIRST))
    deal.given(OPENED, SELECTED).when(send, offer=FIRST, valid_until=date(2026, 4, 1)).then(
        OfferSent(offer=FIRST, valid_until=date(2026, 4, 1))
    )
    deal.given(OPENED, SELECTED, SENT).when(send_back, offer=FIRST, remark="signed").then(
        OfferReturned(offer=FIRST, remark="signed")
    )
    deal.given(OPENED, SELECTED, SENT, RETURNED).when(send, offer=FIRST).then(SENT)
    deal.given(OPENED, SELECTED, SENT, RETURNED).when(accept, offer=FIRST).then(OfferAccepted(offer=FIRST))
    deal.given(OPENED, SELECTED, SENT).when(accept, offer=FIRST).then(OfferAccepted(offer=FIRST))
    deal.given(OPENED, SELECTED, SENT).when(decline, offer=FIRST, reason_code="rate").then(
        OfferDeclined(offer=FIRST, reason_code="rate")
    )
    deal.given(OPENED, SELECTED).when(cancel, offer=FIRST, reason_code="error").then(
        OfferCancelled(offer=FIRST, reason_code="error")
    )
    deal.given(OPENED, SELECTED, SENT).when(expire, offer=FIRST).then(OfferExpired(offer=FIRST))


@pytest.mark.invariant("D12")
@pytest.mark.parametrize("decide", [send_back, accept, decline])
def test_only_an_offer_that_was_sent_comes_back_is_accepted_or_declined(decide: Callable[..., Any]) -> None:
    deal.given(OPENED, SELECTED).when(decide, offer=FIRST).then_refused(OfferNotSent)
    deal.given(OPENED, SELECTED, OfferCreated(offer=FIRST)).when(decide, offer=FIRST).then_refused(OfferNotSent)


@pytest.mark.invariant("D12")
@pytest.mark.parametrize(
    "settled", [OfferAccepted(offer=FIRST), OfferDeclined(offer=FIRST), OfferCancelled(offer=FIRST), OfferExpired(offer=FIRST)]
)
@pytest.mark.parametrize("decide", [create, send, send_back, accept, decline, cancel, expire])
def test_an_offer_is_settled_once(settled: Event, decide: Callable[..., Any]) -> None:
    again = {accept: OfferAccepted, decline: OfferDeclined, cancel: OfferCancelled, expire: OfferExpired}.get(decide)
    outcome = deal.given(OPENED, SELECTED, SENT, settled).when(decide, offer=FIRST)
    if again is type(settled):
        outcome.then_nothing()
    else:
        outcome.then_refused(OfferIsSettled)


@pytest.mark.invariant("D10")
def test_a_deal_has_one_accepted_offer_at_most() -> None:
    both = (OPENED, SELECTED, SENT, OfferSelected(offer=SECOND), OfferSent(offer=SECOND), OfferAccepted(offer=FIRST))
    deal.given(*both).when(accept, offer=SECOND).then_refused(AnotherOfferAccepted)
    deal.given(*both, OfferCancelled(offer=SECOND)).when(cancel, offer=SECOND).then_nothing()


@pytest.mark.invariant("D11")
def test_offers_are_made_while_the_deal_is_open_and_settled_after() -> None:
    deal.given(OPENED, WON).when(select, offer=FIRST).then_refused(DealIsClosed)
    deal.given(OPENED, SELECTED, LOST).when(create, offer=FIRST).then_refused(DealIsClosed)
    deal.given(OPENED, SELECTED, LOST).when(send, offer=FIRST).then_refused(DealIsClosed)
    deal.given(OPENED, SELECTED, SENT, WON).when(accept, offer=FIRST).then(OfferAccepted(offer=FIRST))
    deal.given(OPENED, SELECTED, SENT, LOST).when(accept, offer=FIRST).then_refused(DealIsLost)
    deal.given(OPENED, SELECTED, SENT, LOST).when(send_back, offer=FIRST).then_refused(DealIsLost)
    deal.given(OPENED, SELECTED, SENT, LOST).when(decline, offer=FIRST).then(OfferDeclined(offer=FIRST))
    deal.given(OPENED, SELECTED, SENT, LOST).when(cancel, offer=FIRST).then(OfferCancelled(offer=FIRST))


@pytest.mark.invariant("D5")
def test_the_offers_of_an_archived_deal_rest() -> None:
    deal.given(OPENED, SELECTED, SENT, DealArchived()).when(accept, offer=FIRST).then_refused(DealIsArchived)
    deal.given(OPENED, DealArchived()).when(select, offer=FIRST).then_refused(DealIsArchived)


def test_an_offer_of_another_deal_is_unknown() -> None:
    for decide in (create, send, send_back, accept, decline, cancel, expire):
        deal.given(OPENED, SELECTED).when(decide, offer=SECOND).then_refused(NoSuchOffer)
        deal.given(OPENED, SELECTED).when(decide, offer=SECOND, imported=True).then_refused(NoSuchOffer)


@pytest.mark.invariant("D13")
def test_a_deal_has_at_most_two_hundred_offers() -> None:
    many = [OfferSelected(offer=OfferId(uuid4())) for _ in range(200)]
    deal.given(OPENED, *many).when(select, offer=FIRST).then_refused(TooManyOffers)


@pytest.mark.invariant("D9")
def test_what_another_system_says_of_an_offer_is_recorded_whatever_it_was() -> None:
    gone = (OPENED, SELECTED, OfferCancelled(offer=FIRST), LOST)
    deal.given(*gone).when(accept, offer=FIRST, imported=True).then(OfferAccepted(offer=FIRST))
    deal.given(*gone).when(cancel, offer=FIRST, imported=True).then(OfferCancelled(offer=FIRST))
    deal.given(*gone).when(select, offer=SECOND, imported=True).then(OfferSelected(offer=SECOND))


def test_a_step_that_names_no_offer_means_the_newest_that_is_ready_and_a_withdrawal_the_oldest() -> None:
    state = deal.given(OPENED, SELECTED, SENT, OfferSelected(offer=SECOND)).state()
    meant = {s: offer_meant(state, s) for s in ("created", "sent", "returned", "accepted", "declined", "cancelled", "expired")}
    assert meant == {
        "created": SECOND,
        "sent": SECOND,
        "returned": FIRST,
        "accepted": FIRST,
        "declined": FIRST,
        "cancelled": FIRST,
        "expired": FIRST,
    }
    state = fold(state, evolve, (OfferCancelled(offer=FIRST),))
    assert offer_meant(state, "cancelled") == SECOND
    assert offer_meant(state, "accepted") is None
    assert offer_meant(fold(state, evolve, (OfferCancelled(offer=SECOND),)), "cancelled") is None
    unsent_before = deal.given(OPENED, SELECTED, OfferSelected(offer=SECOND), OfferSent(offer=SECOND)).state()
    assert offer_meant(unsent_before, "cancelled") == SECOND


steps = st.tuples(
    st.sampled_from([select, create, send, send_back, accept, decline, cancel, expire]), st.sampled_from([FIRST, SECOND])
)
STEPS: dict[Callable[..., Any], Step] = {
    create: "created",
    send: "sent",
    send_back: "returned",
    accept: "accepted",
    decline: "declined",
    cancel: "cancelled",
    expire: "expired",
}


@pytest.mark.invariant("D10")
@pytest.mark.invariant("D12")
@given(st.lists(steps, max_size=25))
def test_whatever_is_asked_no_offer_is_settled_twice_and_one_at_most_is_accepted(
    asked: list[tuple[Callable[..., Any], OfferId]],
) -> None:
    state = fold(Deal(), evolve, (OPENED,))
    for decide, offer in asked:
        before = {o.id: o.status for o in state.offers}
        try:
            decided = decide(state, offer=offer)
        except Refused:
            continue
        state = fold(state, evolve, decided)
        after = {o.id: o.status for o in state.offers}
        assert all(after[o] == status for o, status in before.items() if status not in LIVE)
        assert sum(status == "accepted" for status in after.values()) <= 1
        assert decide(state, offer=offer) == []
