"""Board, funnel and durations of a bank's real loan log at month ends, against figures worked out from the file itself."""

import gzip
import math
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from defusedxml.ElementTree import iterparse

from domain.members import ALL_PERMISSIONS
from infra.database import Database
from infra.reading import Moment, PgReader, Readers
from queries.board import ReadBoard, ReadColumn, board, column
from queries.funnel import ReadDurations, ReadFunnel, durations, funnel
from tests.infra.imports.importing import Firm
from tests.shared import shared

LOANS = "data/bpic2012-loan/split/dev.xes.gz"
NAMES = {
    "A_SUBMITTED": "Submitted",
    "A_PARTLYSUBMITTED": "Partly submitted",
    "A_PREACCEPTED": "Preaccepted",
    "A_ACCEPTED": "Accepted",
    "A_FINALIZED": "Finalized",
}
WON = {"A_APPROVED", "A_REGISTERED", "A_ACTIVATED"}
LOST = {"A_DECLINED", "A_CANCELLED"}
MONTH_ENDS = [datetime(2011, 11, 1, tzinfo=UTC), datetime(2011, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2012, 2, 1, tzinfo=UTC)]
Reading = Callable[..., AbstractAsyncContextManager[PgReader]]


@dataclass
class Case:
    name: str
    amount: Decimal
    steps: list[tuple[str, datetime]]

    def until(self, moment: datetime) -> list[tuple[str, datetime]]:
        return [(stage, at) for stage, at in self.steps if at <= moment]


@pytest.fixture(scope="module")
def told() -> list[Case]:
    cases = []
    with gzip.open(shared(LOANS)) as log:
        for _, element in iterparse(log):
            if element.tag.rpartition("}")[2] != "trace":
                continue
            said = {x.get("key"): x.get("value") for x in element if x.tag.rpartition("}")[2] != "event"}
            events = [{x.get("key"): x.get("value") for x in e} for e in element if e.tag.rpartition("}")[2] == "event"]
            steps = [
                (NAMES.get(e["concept:name"], e["concept:name"]), datetime.fromisoformat(e["time:timestamp"]))
                for e in events
                if e["concept:name"].startswith("A_")
            ]
            cases.append(Case(said["concept:name"], Decimal(said["AMOUNT_REQ"]), steps))
            element.clear()
    return cases


@pytest.fixture(scope="module")
def loans(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Firm:
    firm = Firm(database, tmp_path_factory.mktemp("firm"))
    maps = Path(__file__).parents[2] / "docs" / "maps"
    assert firm.carry(shared(LOANS), "deals", maps / "bpic2012.toml").created == 5333
    firm.see("pipelines", "stages", "deals", "stage_entries")
    return firm


@pytest.fixture(scope="module")
def pipeline(loans: Firm) -> UUID:
    found: UUID = loans.one("SELECT id FROM views.pipelines WHERE firm_id = %s", loans.id)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def reading(loans: Firm) -> AsyncIterator[Reading]:
    readers = Readers(loans.database, size=2)
    await readers.open()

    def at(moment: datetime | None = None) -> AbstractAsyncContextManager[PgReader]:
        return readers.reading(loans.id, ALL_PERMISSIONS, Moment(as_of=moment))

    yield at
    await readers.close()


def stage_kind(name: str) -> str:
    return "won" if name in WON else "lost" if name in LOST else "open"


@pytest.mark.parametrize("moment", MONTH_ENDS, ids=lambda m: m.date().isoformat())
async def test_the_board_of_a_month_end_is_that_of_the_file(
    told: list[Case], reading: Reading, pipeline: UUID, moment: datetime
) -> None:
    want: dict[str, list[Decimal]] = defaultdict(list)
    longest: dict[str, datetime] = {}
    for case in told:
        if steps := case.until(moment):
            stage, since = steps[-1]
            want[stage].append(case.amount)
            longest[stage] = min(longest.get(stage, since), since)
    async with reading(moment) as r:
        answer: Any = await board(ReadBoard(id=pipeline, cards=3), r)
    found = {c["stage"]["name"]: c for c in answer["columns"]}
    assert {name: c["deals"] for name, c in found.items() if c["deals"]} == {name: len(v) for name, v in want.items()}
    for name, amounts in want.items():
        assert [(s["currency"], s["amount"]) for s in found[name]["sums"]] == [("EUR", sum(amounts))]
        assert len(found[name]["cards"]) == min(3, len(amounts))
        assert found[name]["cards"][0]["stage_since"] == longest[name]
        assert found[name]["cards"][0]["seconds_in_stage"] == int((moment - longest[name]).total_seconds())
    assert answer["closed_where_they_stood"] == {}


async def test_the_pages_of_a_column_are_its_deals_once_each(told: list[Case], reading: Reading, pipeline: UUID) -> None:
    moment = MONTH_ENDS[0]
    want = sorted(c.amount for c in told if (steps := c.until(moment)) and steps[-1][0] == "Preaccepted")
    for order in ("resting", "newest", "amount", "expected_close", "touched"):
        async with reading(moment) as r:
            first: Any = await board(ReadBoard(id=pipeline, cards=20, order=order), r)
            start = next(c for c in first["columns"] if c["stage"]["name"] == "Preaccepted")
            cards, token = list(start["cards"]), start["next_page_token"]
            while token:
                page: Any = await column(
                    ReadColumn(id=pipeline, stage=start["stage"]["id"], page_size=50, page_token=token, order=order), r
                )
                cards += page["items"]
                token = page["next_page_token"]
        assert len({c["id"] for c in cards}) == len(cards) == start["deals"]
        assert sorted(c["amount"] for c in cards) == want
        if order == "amount":
            assert [c["amount"] for c in cards] == sorted(want, reverse=True)


@pytest.mark.parametrize("moment", MONTH_ENDS, ids=lambda m: m.date().isoformat())
async def test_the_funnel_at_a_month_end_is_that_of_the_file(
    told: list[Case], reading: Reading, pipeline: UUID, moment: datetime
) -> None:
    since = datetime(2011, 10, 15, tzinfo=UTC)
    async with reading(moment) as r:
        answer: Any = await funnel(ReadFunnel(id=pipeline, since=since), r)
    place = {s["name"]: s["place"] for s in answer["stages"]}
    want: dict[str, Counter[str]] = defaultdict(Counter)
    moves: Counter[tuple[str, str]] = Counter()
    deals = 0
    for case in told:
        steps = case.until(moment)
        within = [n for n, (_, at) in enumerate(steps) if at >= since]
        deals += bool(within)
        for n in within:
            if n:
                moves[(steps[n - 1][0], steps[n][0])] += 1
        for name in {steps[n][0] for n in within}:
            first = min(n for n in within if steps[n][0] == name)
            status = stage_kind(steps[-1][0])
            on = any(stage_kind(s) != "lost" and place[s] > place[name] for s, _ in steps[first + 1 :])
            want[name].update(["entered", *(["went_on"] if on else [{"lost": "lost", "open": "resting"}.get(status, "")])])
            want[name]["won"] += status == "won"
    assert answer["deals"] == deals
    for s in answer["stages"]:
        w = want[s["name"]]
        assert {k: s[k] for k in ("entered", "went_on", "lost", "resting", "won")} == {
            k: w[k] for k in ("entered", "went_on", "lost", "resting", "won")
        }, s["name"]
        if s["kind"] == "open":
            assert s["went_on"] + s["lost"] + s["resting"] == s["entered"]
            rate = round(w["went_on"] / w["entered"], 4) if w["entered"] else None
            assert s["conversion"] == (None if rate is None else pytest.approx(Decimal(rate), abs=Decimal("0.0001")))
    names = {s["id"]: s["name"] for s in answer["stages"]}
    assert {(names[m["origin"]], names[m["target"]]): m["moves"] for m in answer["moves"]} == moves


def percentile(values: list[Fraction], at: Fraction) -> int:
    """By linear interpolation between the two nearest ranks, rounded."""
    ranked = sorted(values)
    place = at * (len(ranked) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ranked) - 1)
    return round(ranked[low] + (ranked[high] - ranked[low]) * (place - low))


@pytest.mark.parametrize("moment", MONTH_ENDS, ids=lambda m: m.date().isoformat())
async def test_the_durations_at_a_month_end_are_those_of_the_file(
    told: list[Case], reading: Reading, pipeline: UUID, moment: datetime
) -> None:
    since, until = datetime(2011, 10, 10, tzinfo=UTC), datetime(2011, 12, 20, tzinfo=UTC)
    stays: dict[str, list[Fraction]] = defaultdict(list)
    going_on: Counter[str] = Counter()
    at_rest: Counter[str] = Counter()
    for case in told:
        steps = case.until(moment)
        for n, (name, entered) in enumerate(steps):
            if not since <= entered < until:
                continue
            last = n == len(steps) - 1
            if last and stage_kind(name) != "open":
                at_rest[name] += 1
                continue
            going_on[name] += last
            left = moment if last else steps[n + 1][1]
            stays[name].append(Fraction((left - entered) // (left - left).resolution, 1_000_000))
    async with reading(moment) as r:
        answer: Any = await durations(ReadDurations(id=pipeline, since=since, until=until), r)
    assert sum(s["stays"] for s in answer["stages"]) == sum(map(len, stays.values())) > 5_000
    for s in answer["stages"]:
        name, of = s["name"], stays[s["name"]]
        assert (s["stays"], s["open"], s["at_rest"]) == (len(of), going_on[name], at_rest[name]), name
        if of:
            assert s["mean_seconds"] == pytest.approx(sum(of) / len(of), abs=1)
            assert s["median_seconds"] == pytest.approx(percentile(of, Fraction(1, 2)), abs=1)
            assert s["p90_seconds"] == pytest.approx(percentile(of, Fraction(9, 10)), abs=1)
        else:
            assert s["median_seconds"] is None


async def test_a_filter_chooses_the_deals_that_are_counted(told: list[Case], reading: Reading, pipeline: UUID) -> None:
    want = sum(1 for case in told if case.amount > 30_000)
    async with reading() as r:
        answer: Any = await funnel(ReadFunnel(id=pipeline, filter="amount > 30000"), r)
    assert answer["deals"] == want
    async with reading() as r:
        answer = await board(ReadBoard(id=pipeline, cards=0, filter="amount > 30000"), r)
    assert sum(c["deals"] for c in answer["columns"]) == want
