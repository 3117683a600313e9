from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.deals import (
    ActivityRecorded,
    Deal,
    DealAmended,
    DealArchived,
    DealAssigned,
    DealItemised,
    DealLost,
    DealMoved,
    DealNoted,
    DealOpened,
    DealReopened,
    DealRestored,
    DealTransferred,
    DealWon,
    Line,
    Party,
    PartyAdded,
    PartyRemoved,
    StageAt,
    add_party,
    amend,
    archive,
    arrive,
    assign,
    evolve,
    happened,
    itemise,
    lose,
    move,
    note,
    open_deal,
    record_activity,
    remove_party,
    reopen,
    restore,
    transfer,
    win,
)
from domain.deals.money import CURRENCIES, AmountNeedsCurrency, AmountOutOfRange, UnknownCurrency, amount_of
from domain.deals.refusals import (
    AlreadyInPipeline,
    ClosedInTheFuture,
    DealIsArchived,
    DealIsClosed,
    HappenedInTheFuture,
    NoSuchParty,
    OwnerIsInactive,
    StageCloses,
    StageHasAnotherOutcome,
    StageInAnotherPipeline,
    StageIsClosing,
    TooManyAttributes,
    TooManyLines,
    TooManyParties,
)
from domain.kernel import Refused, fold
from tests.story import Story

LOANS, OTHERS = uuid4(), uuid4()
TODAY = date(2026, 3, 1)


def stage(name: str, kind: Any = "open", pipeline: UUID = LOANS) -> StageAt:
    return StageAt(pipeline=pipeline, id=uuid4(), name=name, kind=kind)


ENQUIRY, OFFER = stage("Enquiry"), stage("Offer")
SIGNED, PAID_OUT, LOST = stage("Signed", "won"), stage("Paid out", "won"), stage("Lost", "lost")
ELSEWHERE = stage("First", pipeline=OTHERS)
ANNA = Party(kind="contact", id=uuid4(), role="borrower")
BEN = Party(kind="contact", id=uuid4(), role="guarantor")
ACME = Party(kind="organisation", id=uuid4(), role="introducer")
OPENED = DealOpened(
    stage=ENQUIRY,
    contact=ANNA.id,
    title="House",
    amount=Decimal("20000.00"),
    currency="EUR",
    expected_close=date(2026, 6, 1),
    source="web",
    parties=(ACME, ANNA),
    attributes={"channel": "post"},
)
WON = DealWon(closed_on=TODAY, stage=SIGNED)
LOST_IT = DealLost(closed_on=TODAY, reason_code="price", contact=ANNA.id)
deal = Story(Deal(), evolve)


@pytest.mark.invariant("D7")
def test_a_deal_is_opened_for_its_parties_and_its_text_is_sealed_for_the_first_contact() -> None:
    deal.when(
        open_deal,
        stage=ENQUIRY,
        title="House",
        amount=Decimal("20000.00"),
        currency="EUR",
        expected_close=date(2026, 6, 1),
        source="web",
        parties=[ACME, ANNA, ANNA],
        attributes={"channel": "post"},
    ).then(OPENED)


@pytest.mark.invariant("D4")
def test_a_deal_begins_in_an_open_stage() -> None:
    deal.when(open_deal, stage=SIGNED, title="House").then_refused(StageIsClosing)


def test_a_deal_moves_to_a_stage_of_its_pipeline() -> None:
    deal.given(OPENED).when(move, target=OFFER, reason="papers are in").then(
        DealMoved(origin=ENQUIRY.id, target=OFFER, contact=ANNA.id, reason="papers are in")
    )


@pytest.mark.invariant("D3")
def test_a_deal_moved_to_where_it_stands_records_nothing() -> None:
    deal.given(OPENED).when(move, target=ENQUIRY).then_nothing()
    deal.given(OPENED, WON).when(move, target=SIGNED).then_nothing()


@pytest.mark.invariant("D1")
def test_a_closed_deal_moves_only_among_stages_of_its_outcome() -> None:
    deal.given(OPENED, WON).when(move, target=OFFER).then_refused(DealIsClosed)
    deal.given(OPENED, WON).when(move, target=LOST).then_refused(DealIsClosed)
    deal.given(OPENED, LOST_IT).when(move, target=SIGNED).then_refused(DealIsClosed)
    deal.given(OPENED, WON).when(move, target=PAID_OUT).then(DealMoved(origin=SIGNED.id, target=PAID_OUT, contact=ANNA.id))


@pytest.mark.invariant("D4")
def test_a_deal_does_not_move_into_a_closing_stage_without_being_closed() -> None:
    deal.given(OPENED).when(move, target=SIGNED).then_refused(StageCloses)


@pytest.mark.invariant("D2")
def test_a_deal_does_not_move_into_another_pipeline_but_is_transferred() -> None:
    deal.given(OPENED).when(move, target=ELSEWHERE).then_refused(StageInAnotherPipeline)
    deal.given(OPENED).when(transfer, target=ELSEWHERE, reason="too big").then(
        DealTransferred(origin_pipeline=LOANS, origin=ENQUIRY.id, target=ELSEWHERE, contact=ANNA.id, reason="too big")
    )
    deal.given(OPENED).when(transfer, target=ENQUIRY).then_nothing()
    deal.given(OPENED).when(transfer, target=OFFER).then_refused(AlreadyInPipeline)
    deal.given(OPENED, WON).when(transfer, target=ELSEWHERE).then_refused(DealIsClosed)
    deal.given(OPENED).when(transfer, target=stage("Won", "won", OTHERS)).then_refused(StageIsClosing)


@pytest.mark.invariant("D3")
def test_an_amendment_says_only_what_changed() -> None:
    deal.given(OPENED).when(
        amend, title="House", amount=Decimal(20000), currency="EUR", attributes={"channel": "post"}
    ).then_nothing()
    deal.given(OPENED).when(amend, title="House", amount=Decimal(25000), source="phone").then(
        DealAmended(contact=ANNA.id, amount=Decimal(25000), source="phone")
    )
    deal.given(OPENED).when(amend, attributes={"channel": None, "region": "north", "absent": None}).then(
        DealAmended(contact=ANNA.id, attributes={"region": "north"}, attributes_removed=("channel",))
    )


@pytest.mark.invariant("D6")
def test_clearing_an_amount_clears_its_currency_and_no_amount_stands_alone() -> None:
    cleared = DealAmended(contact=ANNA.id, cleared=("amount", "expected_close"))
    deal.given(OPENED).when(amend, cleared=["amount", "expected_close"]).then(cleared)
    state = deal.given(OPENED, cleared).state()
    assert (state.amount, state.currency, state.expected_close, state.source) == (None, None, None, "web")
    deal.given(OPENED, cleared).when(amend, amount=Decimal(1)).then_refused(AmountNeedsCurrency)
    deal.given(OPENED, cleared).when(amend, cleared=["amount", "expected_close"]).then_nothing()
    deal.when(open_deal, stage=ENQUIRY, title="x", amount=Decimal(1)).then_refused(AmountNeedsCurrency)
    deal.when(open_deal, stage=ENQUIRY, title="x", currency="EUR").then_refused(AmountNeedsCurrency)


@pytest.mark.invariant("D6")
@pytest.mark.parametrize("amount", ["-0.01", "1e15", "NaN", "Infinity", "0.0000000000000000000000001"])
def test_an_impossible_amount_is_refused(amount: str) -> None:
    deal.when(open_deal, stage=ENQUIRY, title="x", amount=Decimal(amount), currency="EUR").then_refused(AmountOutOfRange)


@pytest.mark.invariant("D6")
def test_an_amount_is_written_out_and_a_currency_is_known() -> None:
    assert str(amount_of(Decimal("1.5E+3"))) == "1500"
    assert str(amount_of(Decimal("-0.00"))) == "0.00"
    assert len(CURRENCIES) == 215
    deal.when(open_deal, stage=ENQUIRY, title="x", amount=Decimal(1), currency="ZZZ").then_refused(UnknownCurrency)


def test_a_deal_is_made_of_lines() -> None:
    line = Line(product="GTX Pro", quantity=Decimal(2), unit_price=Decimal("4821"))
    deal.given(OPENED).when(itemise, lines=[line]).then(DealItemised(lines=(line,)))
    deal.given(OPENED, DealItemised(lines=(line,))).when(itemise, lines=[line]).then_nothing()


@pytest.mark.invariant("D7")
def test_a_deal_is_assigned_to_an_active_member_or_to_nobody() -> None:
    eva, tom = uuid4(), uuid4()
    deal.given(OPENED).when(assign, owner=eva).then(DealAssigned(owner=eva))
    deal.given(OPENED, DealAssigned(owner=eva)).when(assign, owner=tom).then(DealAssigned(owner=tom, previous=eva))
    deal.given(OPENED, DealAssigned(owner=eva)).when(assign, owner=None).then(DealAssigned(previous=eva))
    deal.given(OPENED, DealAssigned(owner=eva)).when(assign, owner=eva, owner_active=False).then_nothing()
    deal.given(OPENED).when(assign, owner=eva, owner_active=False).then_refused(OwnerIsInactive)
    deal.when(open_deal, stage=ENQUIRY, title="x", owner=eva, owner_active=False).then_refused(OwnerIsInactive)


@pytest.mark.invariant("D7")
def test_a_party_stands_in_a_role_once_and_the_next_contact_follows_the_first() -> None:
    deal.given(OPENED).when(add_party, party=BEN).then(PartyAdded(party=BEN))
    deal.given(OPENED).when(add_party, party=ANNA).then_nothing()
    deal.given(OPENED).when(remove_party, party=BEN).then_refused(NoSuchParty)
    deal.given(OPENED).when(remove_party, party=replace(ANNA, role="client")).then_refused(NoSuchParty)
    history = (OPENED, PartyAdded(party=BEN), PartyRemoved(party=ANNA))
    deal.given(*history).when(note, text="called").then(DealNoted(contact=BEN.id, note="called"))


@pytest.mark.invariant("D8")
def test_a_deal_is_won_on_a_day_that_has_come_with_its_final_amount() -> None:
    deal.given(OPENED).when(win, closed_on=TODAY, today=TODAY, stage=SIGNED, amount=Decimal(19000)).then(
        DealWon(closed_on=TODAY, stage=SIGNED, amount=Decimal(19000))
    )
    deal.given(OPENED).when(win, closed_on=TODAY, today=TODAY).then(DealWon(closed_on=TODAY))
    deal.given(OPENED).when(win, closed_on=TODAY + timedelta(days=2), today=TODAY).then_refused(ClosedInTheFuture)
    deal.given(OPENED).when(win, closed_on=TODAY, today=TODAY, stage=LOST).then_refused(StageHasAnotherOutcome)
    deal.given(OPENED).when(win, closed_on=TODAY, today=TODAY, stage=stage("W", "won", OTHERS)).then_refused(StageInAnotherPipeline)
    deal.given(OPENED, WON).when(win, closed_on=TODAY, today=TODAY).then_nothing()
    deal.given(OPENED, LOST_IT).when(win, closed_on=TODAY, today=TODAY).then_refused(DealIsClosed)


@pytest.mark.invariant("D8")
def test_a_deal_is_lost_for_a_reason() -> None:
    deal.given(OPENED).when(lose, closed_on=TODAY, today=TODAY, reason_code="price", reason="the bank next door", stage=LOST).then(
        DealLost(closed_on=TODAY, reason_code="price", contact=ANNA.id, reason="the bank next door", stage=LOST)
    )
    deal.given(OPENED, LOST_IT).when(lose, closed_on=TODAY, today=TODAY, reason_code="other").then_nothing()
    deal.given(OPENED, WON).when(lose, closed_on=TODAY, today=TODAY, reason_code="other").then_refused(DealIsClosed)


@pytest.mark.invariant("D4")
def test_a_deal_is_reopened_in_an_open_stage_and_moves_again() -> None:
    again = DealReopened(target=OFFER, contact=ANNA.id, reason="they called back")
    deal.given(OPENED, LOST_IT).when(reopen, stage=OFFER, reason="they called back").then(again)
    deal.given(OPENED, LOST_IT).when(reopen, stage=SIGNED).then_refused(StageIsClosing)
    deal.given(OPENED, LOST_IT).when(reopen, stage=ELSEWHERE).then_refused(StageInAnotherPipeline)
    deal.given(OPENED).when(reopen, stage=OFFER).then_nothing()
    deal.given(OPENED, LOST_IT, again).when(move, target=ENQUIRY).then(DealMoved(origin=OFFER.id, target=ENQUIRY, contact=ANNA.id))
    assert deal.given(OPENED, WON).state().open_stage == ENQUIRY.id


CHANGES: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    (move, {"target": OFFER}),
    (transfer, {"target": ELSEWHERE}),
    (amend, {"title": "Flat"}),
    (itemise, {"lines": [Line(product="x")]}),
    (assign, {"owner": uuid4()}),
    (add_party, {"party": BEN}),
    (remove_party, {"party": ANNA}),
    (note, {"text": "x"}),
    (win, {"closed_on": TODAY, "today": TODAY}),
    (lose, {"closed_on": TODAY, "today": TODAY, "reason_code": "x"}),
    (reopen, {"stage": OFFER}),
]


@pytest.mark.invariant("D5")
@pytest.mark.parametrize(("decide", "how"), CHANGES)
def test_an_archived_deal_changes_only_by_being_restored(decide: Callable[..., Any], how: dict[str, Any]) -> None:
    put_away = DealArchived(contact=ANNA.id, reason="double")
    deal.given(OPENED).when(archive, reason="double").then(put_away)
    deal.given(OPENED, put_away).when(decide, **how).then_refused(DealIsArchived)
    deal.given(OPENED, put_away).when(archive).then_nothing()
    deal.given(OPENED, put_away).when(restore).then(DealRestored())
    deal.given(OPENED).when(restore).then_nothing()


@pytest.mark.invariant("D13")
def test_every_list_has_an_end() -> None:
    parties = [Party(kind="contact", id=uuid4(), role="client") for _ in range(51)]
    deal.when(open_deal, stage=ENQUIRY, title="x", parties=parties).then_refused(TooManyParties)
    full = replace(OPENED, parties=tuple(parties[:50]))
    deal.given(full).when(add_party, party=parties[50]).then_refused(TooManyParties)
    deal.given(OPENED).when(itemise, lines=[Line(product="x")] * 51).then_refused(TooManyLines)
    deal.given(OPENED).when(amend, attributes={f"a{n}": "x" for n in range(50)}).then_refused(TooManyAttributes)
    deal.given(OPENED).when(amend, attributes={f"a{n}": "é" * 1000 for n in range(8)}).then_refused(TooManyAttributes)
    deal.given(OPENED).when(amend, attributes={"channel": "x" * 10_000}).then(
        DealAmended(contact=ANNA.id, attributes={"channel": "x" * 10_000})
    )


def test_what_is_recorded_lies_at_most_a_day_ahead() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert happened(now=now, occurred_at=None) == now
    assert happened(now=now, occurred_at=now + timedelta(hours=20)) == now + timedelta(hours=20)
    with pytest.raises(HappenedInTheFuture):
        happened(now=now, occurred_at=now + timedelta(hours=25))


@pytest.mark.invariant("D9")
def test_what_another_system_says_is_recorded_whatever_the_rules_say() -> None:
    put_away = DealArchived(contact=ANNA.id)
    on = {"on": TODAY}
    deal.given(OPENED).when(arrive, stage=ENQUIRY, **on).then(ActivityRecorded(name="Enquiry", contact=ANNA.id))
    deal.given(OPENED, put_away).when(arrive, stage=OFFER, **on).then(DealMoved(origin=ENQUIRY.id, target=OFFER, contact=ANNA.id))
    deal.given(OPENED).when(arrive, stage=SIGNED, **on).then(WON)
    deal.given(OPENED).when(arrive, stage=SIGNED, amount=Decimal(19000), **on).then(replace(WON, amount=Decimal(19000)))
    deal.given(OPENED, WON).when(arrive, stage=PAID_OUT, **on).then(DealMoved(origin=SIGNED.id, target=PAID_OUT, contact=ANNA.id))
    deal.given(OPENED, WON).when(arrive, stage=OFFER, **on).then(DealReopened(target=OFFER, contact=ANNA.id))
    deal.given(OPENED, WON).when(arrive, stage=LOST, **on).then(
        DealLost(closed_on=TODAY, reason_code="not-stated", contact=ANNA.id, stage=LOST)
    )
    deal.given(OPENED, put_away).when(record_activity, name="Checked", details={"by": "hand"}).then(
        ActivityRecorded(name="Checked", contact=ANNA.id, details={"by": "hand"})
    )


stages = st.sampled_from([ENQUIRY, OFFER, SIGNED, PAID_OUT, LOST])


@pytest.mark.invariant("D9")
@given(st.lists(stages, max_size=20))
def test_each_arrival_is_one_event_and_leaves_the_deal_where_it_is_said_to_be(arrivals: list[StageAt]) -> None:
    state = fold(Deal(), evolve, (OPENED,))
    for target in arrivals:
        (happened,) = arrive(state, stage=target, on=TODAY)
        state = evolve(state, happened)
        assert (state.stage, state.status) == (target, target.kind)


commands = st.sampled_from(CHANGES) | stages.map(lambda s: (move, {"target": s})) | stages.map(lambda s: (reopen, {"stage": s}))


@pytest.mark.invariant("D3")
@given(st.lists(commands.filter(lambda c: c[0] not in {note, remove_party}), max_size=15))
def test_retrying_any_decision_changes_nothing(asked: list[tuple[Callable[..., Any], dict[str, Any]]]) -> None:
    state = fold(Deal(), evolve, (OPENED,))
    for decide, how in asked:
        try:
            decided = decide(state, **how)
        except Refused:
            continue
        for e in decided:
            state = evolve(state, e)
        assert decide(state, **how) == []
        assert state.status == "open" or state.stage is not None
