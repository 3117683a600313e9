"""Event logs: XES, CSV and OCEL as traces, deals and tasks."""
# ruff: noqa: E501 (samples stand in one line as they stand in a file)

import gzip
import time
from collections import Counter
from pathlib import Path
from xml.parsers import expat

import pytest

from infra.imports import FileDefect, load_map, open_import
from infra.imports.eventlogs import Trace, XesLog
from infra.imports.objectlogs import ObjectLog
from infra.imports.source import Source
from tests.shared import shared

MAPS = Path(__file__).resolve().parents[3] / "docs" / "maps"
XES = {
    "bpic2012-loan/split/dev.xes.gz": (5333, 105364),
    "bpic2020-travel/DomesticDeclarations.xes.gz": (10357, 55628),
    "bpic2020-travel/RequestForPayment.xes.gz": (6760, 36072),
    "bpic2013-incidents/bpic2013_closed_problems.xes.gz": (1487, 6660),
    "helpdesk-italian/helpdesk.xes.gz": (4580, 21348),
}

R3 = ["Insert Invoice", "Create Purchase Order", "Set Payment Block", "Remove Payment Block", "Insert Payment"]


def log(folder: Path, body: str, head: str = '<log xes.version="1.0">') -> list[Trace]:
    path = folder / "l.xes"
    path.write_text(f'<?xml version="1.0" encoding="UTF-8"?>{head}{body}</log>')
    return list(XesLog(Source(path)))


def event(name: str, at: str = "2024-01-01T10:00:00+00:00", extra: str = "") -> str:
    return f'<event><string key="concept:name" value="{name}"/><date key="time:timestamp" value="{at}"/>{extra}</event>'


def parsing(path: Path) -> float:
    """How long the parser is at work for a file, whatever is done with it."""
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda _name, _attributes: None
    began = time.thread_time()
    with gzip.open(path) as file:
        parser.ParseFile(file)
    return time.thread_time() - began


@pytest.mark.parametrize("name", XES)
def test_real_logs_read_completely_and_quickly(name: str) -> None:
    path = shared(f"data/{name}")
    began = time.thread_time()
    traces = list(XesLog(Source(path)))
    spent = time.thread_time() - began
    assert (len(traces), sum(len(t.events) for t in traces)) == XES[name]
    assert not any(t.errors for t in traces)
    assert spent < 10 * parsing(path), "the parser alone needs a third of it"


def test_equal_times_keep_the_order_of_the_file_and_offsets_change_with_summer_time() -> None:
    ties, offsets = 0, set()
    for trace in XesLog(Source(shared("data/bpic2012-loan/split/dev.xes.gz"))):
        lines = [e.line for e in trace.events]
        assert lines == sorted(lines)
        ties += sum(a.at == b.at for a, b in zip(trace.events, trace.events[1:], strict=False))
        offsets |= {e.at.utcoffset() for e in trace.events}
    assert ties > 5000
    assert {o.total_seconds() for o in offsets if o} == {3600, 7200}


@pytest.mark.parametrize("given", [True, False])
def test_the_loan_log_has_its_published_outcomes_with_a_map_and_with_a_guess(given: bool) -> None:
    map = load_map(MAPS / "bpic2012.toml") if given else None
    rows = list(open_import(shared("data/bpic2012-loan/split/dev.xes.gz"), "deals", map=map))
    deals = [r.record for r in rows if r.record]
    assert len(deals) == 5333
    assert Counter(d.lost_reason or d.status for d in deals) == {"won": 960, "Declined": 3195, "Cancelled": 1178}
    assert sum(len(d.steps) for d in deals) == 105364
    first = deals[0]
    assert (first.source_id, str(first.amount), first.stage) == ("173688", "20000", "Finalized")
    assert [s.step for s in first.steps if s.role == "offer"] == ["selected", "created", "sent", "sent back", "accepted"]
    assert next(s.name.removeprefix("W_") for s in first.steps if s.role == "task") == "Completeren aanvraag"


def test_a_csv_log_is_grouped_by_case() -> None:
    rows = list(open_import(shared("data/receipt-permits/receipt.csv.gz"), "tasks", map=load_map(MAPS / "receipt-permits.toml")))
    tasks = [r.record for r in rows if r.record]
    assert (len(tasks), sum(len(t.steps) for t in tasks)) == (1434, 8577)
    assert tasks[0].due is not None
    assert Counter(t.status for t in tasks)["completed"] > 1000


def test_the_help_desk_log_becomes_tasks_with_their_course() -> None:
    rows = list(open_import(shared("data/helpdesk-italian/helpdesk.xes.gz"), "tasks", map=load_map(MAPS / "helpdesk.toml")))
    assert len(rows) == 4580
    first = rows[0].record
    assert first is not None
    assert ([s.role for s in first.steps], first.status) == (
        ["assigned", "started", "started", "completed", "completed"],
        "completed",
    )


def test_an_interleaved_csv_log_of_any_tool_is_recognised(tmp_path: Path) -> None:
    headers = {
        "Case ID,Activity,Resource,Start Timestamp,Complete Timestamp": "1,A,x,2024/01/01 09:00:00.000,2024/01/01 10:00:00.000\n2,A,y,,2024/01/02 10:00:00.000\n1,B,x,,2024/01/03 10:00:00.000\n",
        "_CASE_KEY;ACTIVITY_EN;EVENTTIME;USER_NAME": "1;A;2024-01-01 10:00:00;x\n2;A;2024-01-02 10:00:00;y\n1;B;2024-01-03 10:00:00;x\n",
        "case:concept:name,concept:name,time:timestamp": "1,A,2024-01-01 10:00:00+01:00\n2,A,2024-01-02 10:00:00+01:00\n1,B,2024-01-03 10:00:00+01:00\n",
    }
    for head, body in headers.items():
        path = tmp_path / "log.csv"
        path.write_text(f"{head}\n{body}")
        file = open_import(path, "deals")
        rows = list(file)
        assert file.form == "csv-log"
        assert [(r.record.source_id, [s.activity for s in r.record.steps]) for r in rows if r.record] == [
            ("1", ["A", "B"]),
            ("2", ["A"]),
        ]


def test_object_logs_of_both_versions_become_traces_with_dated_changes() -> None:
    new = ObjectLog(Source(shared("data/ocel-logs/ocel20_example.jsonocel")), object_type="Invoice")
    traces = {t.name: t for t in new}
    assert [e.name for e in traces["R3"].events] == R3
    assert [(n, v) for _, n, v in traces["R3"].changes] == [("is_blocked", "Yes"), ("is_blocked", "No")]
    old = ObjectLog(Source(shared("data/ocel-logs/recruiting-red.jsonocel.gz")))
    read = list(old)
    assert (old.object_type, len(read), sum(len(t.events) for t in read)) == ("applications", 916, 6607)
    with pytest.raises(FileDefect, match="No object has the type"):
        list(ObjectLog(Source(shared("data/ocel-logs/ocel20_example.jsonocel")), object_type="Unicorn"))


def test_missing_names_and_times_are_errors_of_their_event(tmp_path: Path) -> None:
    bad = (
        '<event><string key="concept:name" value="x"/></event><event><date key="time:timestamp" value="2024-01-01T10:00:00Z"/></event>'
        + event("y", "yesterday")
    )
    traces = log(tmp_path, f"<trace>{event('ok')}{bad}</trace><trace/>{event('alone')}")
    assert [len(t.events) for t in traces] == [1, 0, 0]
    assert len([e for e in traces[0].errors if not e.refused]) == 4
    assert len(traces[0].source["left_out"]) == 3
    assert traces[2].errors[0].refused


def test_nested_attributes_lists_and_double_keys_are_all_kept(tmp_path: Path) -> None:
    nested = '<list key="l"><values><string key="a" value="1"/><string key="a" value="2"/></values></list><string key="p" value="v"><int key="c" value="3"/></string>'
    (trace,) = log(tmp_path, f"<trace>{nested}{event('x')}</trace>")
    assert trace.attributes == {"l/a": "1", "l/a (2)": "2", "p": "v", "p/c": "3"}


def test_globals_stand_for_missing_values_but_placeholders_and_times_do_not(tmp_path: Path) -> None:
    head = '<log><global scope="event"><string key="concept:name" value="Work"/><string key="org:resource" value="UNKNOWN"/><date key="time:timestamp" value="1970-01-01T00:00:00Z"/></global>'
    (trace,) = log(
        tmp_path, '<trace><event><date key="time:timestamp" value="2024-01-01T10:00:00Z"/></event><event/></trace>', head
    )
    assert [(e.name, e.resource) for e in trace.events] == [("Work", None)]
    assert len(trace.errors) == 2


def test_times_out_of_order_are_sorted_and_said_and_zones_are_compared_as_instants(tmp_path: Path) -> None:
    (trace,) = log(
        tmp_path,
        f"<trace>{event('b', '2024-03-31T03:00:00+02:00')}{event('a', '2024-03-31T01:30:00+01:00')}{event('c', '2024-03-31T01:00:00Z')}</trace>",
    )
    assert [e.name for e in trace.events] == ["a", "b", "c"]
    assert any("sorted" in e.reason for e in trace.errors)


def test_prefixed_elements_and_declared_encodings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "l.xes"
    body = f'<?xml version="1.0" encoding="ISO-8859-1"?><x:log xmlns:x="u"><x:trace>{event("Prüfung").replace("<", "<x:").replace("<x:/", "</x:")}</x:trace></x:log>'
    path.write_bytes(body.encode("latin-1"))
    (trace,) = XesLog(Source(path))
    assert trace.events[0].name == "Prüfung"


def test_naive_times_take_the_zone_of_the_map(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("case,activity,timestamp\n1,A,2024-07-01 10:00\n1,B,2024-12-01 10:00\n")
    from infra.imports import parse_map

    file = open_import(path, "deals", map=parse_map('kind = "deals"\ntimezone = "Europe/Berlin"\n[log]\ncase = "case"'))
    (row,) = file
    assert row.record is not None
    assert [s.at.isoformat() for s in row.record.steps] == ["2024-07-01T10:00:00+02:00", "2024-12-01T10:00:00+01:00"]
