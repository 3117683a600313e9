"""Real event logs, carried whole: every event, its own time, the outcomes as the file tells them."""

import gzip
import itertools
import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from defusedxml.ElementTree import iterparse

from infra.imports.keep import RowStore
from infra.imports.reports import Report
from tests.infra.imports.importing import Firm
from tests.shared import shared

LOANS = "data/bpic2012-loan/split/dev.xes.gz"


@pytest.fixture(scope="module")
def loans(firm: Firm) -> Report:
    report = firm.carry(shared(LOANS), "deals", "bpic2012.toml")
    firm.see("deals", "pipelines", "imports", "tasks")
    return report


@pytest.fixture(scope="module")
def told() -> dict[str, list[tuple[str, str, datetime]]]:
    """What the loan log says, read without our reader: per case, activity, lifecycle and time in the order of the file."""
    cases: dict[str, list[tuple[str, str, datetime]]] = {}
    with gzip.open(shared(LOANS)) as log:
        for _, element in iterparse(log):
            if element.tag.rpartition("}")[2] != "trace":
                continue
            name = next(x.get("value") for x in element if x.get("key") == "concept:name")
            events = [{x.get("key"): x.get("value") for x in e} for e in element if e.tag.rpartition("}")[2] == "event"]
            cases[name] = [
                (e["concept:name"], e["lifecycle:transition"], datetime.fromisoformat(e["time:timestamp"])) for e in events
            ]
            element.clear()
    return cases


def test_every_application_and_every_event_of_the_loan_log_is_carried(firm: Firm, loans: Report, told: dict) -> None:
    assert (loans.status, loans.rows, loans.created, loans.rejected, loans.issues) == ("finished", 5333, 5333, 0, 0)
    assert sum(map(len, told.values())) == 105364
    types = firm.types(loans.import_id)
    of_tasks = sum(n for t, n in types.items() if t.startswith("tasks.")) - types["tasks.Created.v1"]
    of_deals = sum(n for t, n in types.items() if t.startswith("deals."))
    work = sum(1 for case in told.values() for name, _, _ in case if name.startswith("W_"))
    assert of_tasks == work
    assert of_deals == 105364 - work
    assert types["deals.OfferSelected.v1"] == 2699
    assert types["deals.OfferReturned.v1"] == 1406
    assert types["pipelines.Defined.v1"] == 1


def test_the_outcomes_are_those_of_the_file(firm: Firm, loans: Report, told: dict) -> None:
    last: Counter[str] = Counter()
    for case in told.values():
        names = {name for name, _, _ in case}
        last["won" if "A_APPROVED" in names else "declined" if "A_DECLINED" in names else "cancelled"] += 1
    rows = firm.all("SELECT status, stage_name, count(*) FROM views.deals WHERE firm_id = %s GROUP BY 1, 2", firm.id)
    found: Counter[str] = Counter()
    for status, stage, n in rows:
        found["won" if status == "won" else "declined" if stage == "A_DECLINED" else "cancelled"] += n
        assert status != "open"
    assert found == last == {"won": 960, "declined": 3195, "cancelled": 1178}
    assert firm.one("SELECT sum(amount) FROM views.deals WHERE firm_id = %s", firm.id) == sum(
        int(r["trace"]["AMOUNT_REQ"]) for r in _rows(firm, loans)
    )


def _rows(firm: Firm, report: Report) -> list[dict]:
    with firm.database.connect("record") as c:
        store = RowStore(c, firm.vault, firm.id)
        kept = c.execute(
            "SELECT number, key_id, sealed FROM chancery.import_rows WHERE firm_id = %s AND import_id = %s ORDER BY number",
            (firm.id, report.import_id),
        ).fetchall()
        opened = [store.opened(report.import_id, n, k, s) for n, k, s in kept]
    return [o["source"] for o in opened if o]


def test_equal_times_keep_the_order_of_the_file(firm: Firm, loans: Report, told: dict) -> None:
    kinds = {"deals.Opened.v1", "deals.Moved.v1", "deals.Won.v1", "deals.Lost.v1", "deals.Reopened.v1"}
    record: dict[str, list[tuple[str, datetime]]] = {}
    rows = firm.all(
        "SELECT stream_id, type, occurred_at, public FROM record.events WHERE firm_id = %s AND stream_type = 'deal'"
        " ORDER BY stream_id, stream_version",
        firm.id,
    )
    for id, type, at, leaf in rows:
        data = json.loads(leaf)["data"]
        stage = data.get("stage") or data.get("target")
        if type in kinds:
            record.setdefault(id, []).append((stage["name"], at))
    want: Counter[tuple[Any, ...]] = Counter()
    for case in told.values():
        want[tuple((_stage(n), t) for n, _, t in case if n.startswith("A_"))] += 1
    assert Counter(map(tuple, record.values())) == want
    ties = sum(a[2] == b[2] for case in told.values() for a, b in itertools.pairwise(case))
    assert ties > 5000


def _stage(activity: str) -> str:
    named = {
        "A_SUBMITTED": "Submitted",
        "A_PARTLYSUBMITTED": "Partly submitted",
        "A_PREACCEPTED": "Preaccepted",
        "A_ACCEPTED": "Accepted",
        "A_FINALIZED": "Finalized",
    }
    return named.get(activity, activity)


def test_work_items_are_tasks_of_their_deal(firm: Firm, loans: Report, told: dict) -> None:
    scheduled = sum(1 for case in told.values() for name, step, _ in case if name.startswith("W_") and step == "SCHEDULE")
    tasks = firm.one("SELECT count(*) FROM views.tasks WHERE firm_id = %s AND deal IS NOT NULL", firm.id)
    orphans = firm.types(loans.import_id)["tasks.Created.v1"] - scheduled
    assert tasks == scheduled + orphans
    assert 0 <= orphans < 100


def test_the_same_log_again_changes_nothing_and_says_so(firm: Firm, loans: Report) -> None:
    before = firm.head
    again = firm.carry(shared(LOANS), "deals", "bpic2012.toml")
    assert (again.unchanged, again.rows, again.created, again.changed) == (5333, 5333, 0, 0)
    assert again.import_id != loans.import_id
    assert firm.head == before + 3  # started, its map, finished


def test_every_event_of_an_import_names_it_and_its_actor(firm: Firm, loans: Report) -> None:
    rows = firm.all(
        "SELECT DISTINCT convert_from(public, 'UTF8')::jsonb ->> 'actor' FROM record.events WHERE firm_id = %s AND type LIKE 'deals.%%'",
        firm.id,
    )
    assert rows == [("system/operator",)]
    assert sum(firm.types(loans.import_id).values()) == loans.events + 1  # the finish itself was not counted yet
    assert firm.one("SELECT status FROM views.imports WHERE id = %s", loans.import_id) == "finished"


@pytest.mark.parametrize(
    ("path", "kind", "map", "cases", "events"),
    [
        ("helpdesk-italian/helpdesk.xes.gz", "tasks", "helpdesk.toml", 4580, 21348),
        ("receipt-permits/receipt.csv.gz", "tasks", "receipt-permits.toml", 1434, 8577),
    ],
)
def test_logs_of_work_become_tasks_with_every_step(firm: Firm, path: str, kind: str, map: str, cases: int, events: int) -> None:
    other = firm.another()
    report = other.carry(shared(f"data/{path}"), kind, map)
    types = other.types(report.import_id)
    assert (report.created, report.rejected) == (cases, 0)
    assert types["tasks.Created.v1"] == cases
    assert sum(n for t, n in types.items() if t.startswith("tasks.")) == cases + events


@pytest.mark.parametrize(
    ("path", "cases", "events"), [("RequestForPayment.xes.gz", 6760, 36072), ("DomesticDeclarations.xes.gz", 10357, 55628)]
)
def test_travel_declarations_become_deals_with_every_step(firm: Firm, path: str, cases: int, events: int) -> None:
    other = firm.another()
    report = other.carry(shared(f"data/bpic2020-travel/{path}"), "deals", "bpic2020-travel.toml")
    types = other.types(report.import_id)
    assert (report.created, report.rejected) == (cases, 0)
    # a case whose first event is no open stage is opened beside it
    opened_beside = sum(n for t, n in types.items() if t.startswith("deals.")) - events
    assert 0 <= opened_beside <= cases


def test_an_object_centric_log_becomes_deals_with_dated_changes(firm: Firm) -> None:
    other = firm.another()
    report = other.carry(shared("data/ocel-logs/ocel20_example.jsonocel"), "deals")
    assert (report.created, report.rejected) == (3, 0)
    assert other.types(report.import_id)["deals.Amended.v1"] >= 2


def test_logs_of_every_form_become_tasks_as_well_as_deals(firm: Firm, tmp_path: Path) -> None:
    xes = log(
        tmp_path / "work.xes", trace("1", event("Received", "2024-01-01T10:00:00+01:00"), event("Done", "2024-01-02T10:00:00Z"))
    )
    packed = tmp_path / "packed.xes.gz"
    packed.write_bytes(gzip.compress(xes.read_bytes()))
    table = tmp_path / "work.csv"
    table.write_text(
        "case:concept:name,concept:name,time:timestamp\n1,Received,2024-01-01T10:00:00Z\n1,Done,2024-01-02T10:00:00Z\n"
    )
    for path, cases in ((xes, 1), (packed, 1), (table, 1), (shared("data/ocel-logs/ocel20_example.jsonocel"), 3)):
        for kind in ("deals", "tasks"):
            other = firm.another()
            report = other.carry(path, kind)
            assert (report.created, report.rejected) == (cases, 0), (path.name, kind)
            other.see(kind)
            assert other.one(f"SELECT count(*) FROM views.{kind} WHERE firm_id = %s", other.id) == cases
            first, last = other.all(
                "SELECT min(occurred_at), max(occurred_at) FROM record.events WHERE firm_id = %s AND stream_type = %s",
                other.id,
                kind.removesuffix("s"),
            )[0]
            assert first.year == last.year < 2026, (path.name, kind)  # their own times


def event(name: str, at: str) -> str:
    return f'<event><string key="concept:name" value="{name}"/><date key="time:timestamp" value="{at}"/></event>'


def log(path: Path, *traces: str) -> Path:
    path.write_text('<?xml version="1.0"?><log xes.version="1.0">' + "".join(traces) + "</log>")
    return path


def trace(name: str, *events: str) -> str:
    return f'<trace><string key="concept:name" value="{name}"/>{"".join(events)}</trace>'


def test_a_log_that_has_grown_adds_only_what_is_new(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    a, b = event("Received", "2024-01-01T10:00:00+01:00"), event("Checked", "2024-01-02T10:00:00+01:00")
    late, won = event("Asked", "2024-01-01T12:00:00+01:00"), event("Closed won", "2024-01-05T10:00:00+01:00")
    first = other.carry(log(tmp_path / "cases-2024-01.xes", trace("1", a, b), trace("2", a)), "deals")
    assert first.created == 2
    before = other.head
    grown = other.carry(log(tmp_path / "cases-2024-02.xes", trace("1", a, late, b, won), trace("2", a), trace("3", a)), "deals")
    assert (grown.created, grown.changed, grown.unchanged) == (1, 1, 1)
    types = other.types(grown.import_id)
    assert sum(n for t, n in types.items() if t.startswith("deals.")) == 3  # two steps of the first case, the third case
    assert other.head > before
    other.see("deals")
    rows = other.all("SELECT title, status FROM views.deals WHERE firm_id = %s ORDER BY title", other.id)
    assert rows == [("1", "won"), ("2", "open"), ("3", "open")]


def test_more_stages_than_a_pipeline_holds_are_activities(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    steps = [event(f"Step {n:03}", f"2024-01-01T10:{n // 60:02}:{n % 60:02}+00:00") for n in range(120)]
    report = other.carry(log(tmp_path / "wide.xes", trace("1", *steps)), "deals")
    assert (report.created, report.rejected) == (1, 0)
    types = other.types(report.import_id)
    assert sum(n for t, n in types.items() if t.startswith("deals.")) in {120, 121}
    assert types["deals.ActivityRecorded.v1"] > 60
    assert any("at most 50 stages" in n for n in report.notes)
