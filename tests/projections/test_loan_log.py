"""A bank's real loan log, carried by the decisions of deals and read back from their views."""

import gzip
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from defusedxml.ElementTree import iterparse

from domain.deals import DEAL, ActivityRecorded, Deal, DealMoved, OfferId, StageAt, arrive, offers, open_deal
from domain.deals.offers import Step, offer_meant
from domain.deals.state import LIVE
from domain.kernel import FirmId, Refused
from domain.pipelines import StageKind
from projections.deals import DEALS, DealRow
from projections.kernel import Recorded
from projections.offers import OFFERS, OfferRow
from tests.shared import shared

LOANS = uuid4()
KINDS: dict[StageKind, list[str]] = {
    "open": ["A_SUBMITTED", "A_PARTLYSUBMITTED", "A_PREACCEPTED", "A_ACCEPTED", "A_FINALIZED"],
    "won": ["A_APPROVED", "A_REGISTERED", "A_ACTIVATED"],
    "lost": ["A_DECLINED", "A_CANCELLED"],
}
STAGES = {name: StageAt(pipeline=LOANS, id=uuid4(), name=name, kind=kind) for kind, names in KINDS.items() for name in names}
STEPS: dict[str, tuple[Step, Callable[..., Any]]] = {
    "O_CREATED": ("created", offers.create),
    "O_SENT": ("sent", offers.send),
    "O_SENT_BACK": ("returned", offers.send_back),
    "O_ACCEPTED": ("accepted", offers.accept),
    "O_DECLINED": ("declined", offers.decline),
    "O_CANCELLED": ("cancelled", offers.cancel),
}


def cases(path: Path) -> Iterator[tuple[dict[str, str], list[dict[str, str]]]]:
    with gzip.open(path) as log:
        for _, element in iterparse(log):
            if element.tag.rpartition("}")[2] == "trace":
                parts = [(child.tag.rpartition("}")[2], child) for child in element]
                attributes = {child.get("key"): child.get("value") for tag, child in parts if tag != "event"}
                events = [{x.get("key"): x.get("value") for x in child} for tag, child in parts if tag == "event"]
                yield attributes, events
                element.clear()


class Replay:
    """One application: what the log says, decided with and without the firm's rules, and folded into the views."""

    def __init__(self, case: dict[str, str]) -> None:
        self.case = case
        self.id = uuid4()
        self.deal: Deal = DEAL.initial
        self.row: DealRow | None = None
        self.offers: dict[UUID, OfferRow | None] = {}
        self.kinds: list[type] = []
        self.against_the_rules = 0

    def say(self, said: dict[str, str]) -> None:
        name, at = said["concept:name"], datetime.fromisoformat(said["time:timestamp"])
        if name.startswith("W_"):
            return
        decided = list(self.decide(name, at))
        assert len(decided) == 1, "each event of the log is one event of the deal"
        (e,) = decided
        self.kinds.append(type(e))
        self.deal = DEAL.evolve(self.deal, e)
        r = Recorded(
            position=1,
            firm=FirmId(LOANS),
            firm_position=0,
            stream_type="deal",
            stream_id=self.id,
            version=len(self.kinds),
            event_id=uuid4(),
            name=f"deals.{type(e).__name__}.v1",
            event=e,
            occurred_at=at.astimezone(UTC),
            recorded_at=at,
            actor="system/import",
            origin=None,
            command_id="import",
        )
        self.row = DEALS.fold(self.row, self.id, r)
        for key in OFFERS.keys(r):
            self.offers[key] = OFFERS.fold(self.offers.get(key), key, r)

    def decide(self, name: str, at: datetime) -> list[Any]:
        if not self.kinds:
            return open_deal(
                self.deal,
                stage=STAGES[name],
                title=self.case["concept:name"],
                amount=Decimal(self.case["AMOUNT_REQ"]),
                currency="EUR",
            )
        if name in STAGES:
            return arrive(self.deal, stage=STAGES[name], on=at.date())
        if name == "O_SELECTED":
            offer = OfferId(uuid4())
            return self.both(offers.select, offer)
        step, decision = STEPS[name]
        meant = offer_meant(self.deal, step)
        assert meant is not None, "every step has an offer it can mean"
        return self.both(decision, meant)

    def both(self, decision: Callable[..., Any], offer: OfferId) -> list[Any]:
        recorded = decision(self.deal, offer=offer, imported=True)
        try:
            if decision(self.deal, offer=offer) != recorded:
                self.against_the_rules += 1
        except Refused:
            self.against_the_rules += 1
        return list(recorded)


@pytest.fixture(scope="module")
def replays() -> list[Replay]:
    done = []
    for case, said in cases(shared("data/bpic2012-loan/split/dev.xes.gz")):
        replay = Replay(case)
        for event in said:
            replay.say(event)
        done.append(replay)
    return done


@pytest.mark.invariant("D9")
def test_every_event_of_a_real_loan_log_is_carried_and_the_outcomes_agree(replays: list[Replay]) -> None:
    rows = [r.row for r in replays if r.row is not None]
    assert len(rows) == 5333
    assert Counter(r.status for r in rows) == {"lost": 4373, "won": 960}
    assert Counter(r.stage_name for r in rows if r.status == "lost") == {"A_DECLINED": 3195, "A_CANCELLED": 1178}
    assert Counter(k.__name__ for r in replays for k in r.kinds) == {
        "DealOpened": 5333,
        "DealMoved": 5333 + 2917 + 2035 + 1997 + 2 * 960,
        "DealWon": 960,
        "DealLost": 4373,
        "OfferSelected": 2699,
        "OfferCreated": 2699,
        "OfferSent": 2699,
        "OfferReturned": 1406,
        "OfferAccepted": 958,
        "OfferDeclined": 326,
        "OfferCancelled": 1413,
    }
    assert not any(ActivityRecorded in r.kinds for r in replays)


@pytest.mark.invariant("D11")
def test_the_bank_did_nothing_with_its_offers_that_the_rules_forbid(replays: list[Replay]) -> None:
    assert sum(r.against_the_rules for r in replays) == 0


@pytest.mark.invariant("D10")
def test_every_offer_of_the_log_is_accounted_for(replays: list[Replay]) -> None:
    rows = [o for r in replays for o in r.offers.values() if o is not None]
    assert Counter(o.status for o in rows) == {"cancelled": 1413, "accepted": 958, "declined": 326, "sent": 1, "returned": 1}
    for replay in replays:
        assert replay.row is not None
        assert [o.status for o in replay.row.offers] == [o.status for o in replay.offers.values() if o is not None]
        if replay.deal.status == "lost":
            assert not any(o.status in LIVE for o in replay.deal.offers)


def test_the_times_in_all_stages_add_up_to_the_life_of_the_deal(replays: list[Replay]) -> None:
    for replay in replays:
        row = replay.row
        assert row is not None
        assert row.closed_at is not None
        lived = (row.stage_since - row.opened_at).total_seconds()
        stays = 1 + sum(k is DealMoved for k in replay.kinds) + 1
        assert 0 <= lived - sum(row.stage_seconds.values()) < stays
