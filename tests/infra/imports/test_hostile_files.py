"""Hostile and broken files: records and errors, or the one exception; never a hang, a crash or the memory."""
# ruff: noqa: E501 (samples stand in one line as they stand in a file)

import gzip
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.imports import FileDefect, open_import
from infra.imports.cardtrees import JcardFile, XcardFile
from infra.imports.casetables import TableLog
from infra.imports.eventlogs import XesLog
from infra.imports.objectlogs import ObjectLog
from infra.imports.rows import RowError
from infra.imports.source import Source
from infra.imports.tables import Table
from infra.imports.vcards import VcardFile

READERS: dict[str, Callable[[Source], Any]] = {
    "table": Table,
    "vcard": VcardFile,
    "jcard": JcardFile,
    "xcard": XcardFile,
    "xes": XesLog,
    "csv-log": lambda s: TableLog(Table(s)),
    "ocel": ObjectLog,
}
SEEDS: dict[str, bytes] = {
    "table": b'name,mail\nAnn,"a@x.org"\n"Bob ""B""",b@x.org\n',
    "vcard": b'BEGIN:VCARD\r\nVERSION:2.1\r\nN;ENCODING=QUOTED-PRINTABLE:=C3=91;x\r\nPHOTO;BASE64:\r\n  AAAA\r\n\r\nitem1.TEL;TYPE="a,b":1\r\nEND:VCARD\r\n',
    "jcard": b'["vcard",[["fn",{},"text","Ann"],["n",{},"text",["a","b","",["x","y"]]]]]',
    "xcard": b"<vcards><vcard><fn><text>Ann</text></fn><n><surname>x</surname></n><tel><parameters><type><text>work</text></type></parameters><uri>tel:1</uri></tel></vcard></vcards>",
    "xes": b'<?xml version="1.0"?><log><global scope="event"><string key="a" value="b"/></global><trace><string key="concept:name" value="1"/><event><string key="concept:name" value="x"/><date key="time:timestamp" value="2024-01-01T10:00:00Z"/></event></trace></log>',
    "csv-log": b"case,activity,timestamp\n1,A,2024-01-01\n2,B,2024-01-02\n1,C,x\n",
    "ocel": b'{"objectTypes":[],"eventTypes":[],"objects":[{"id":"o","type":"t","attributes":[{"name":"a","time":"2024-01-01T00:00:00Z","value":1}]}],"events":[{"id":"e","type":"A","time":"2024-01-01T00:00:00Z","relationships":[{"objectId":"o","qualifier":""}]}]}',
}


def drained(reader: Iterator[Any] | Any) -> int:
    n = 0
    for item in reader:
        n += 1
        assert all(isinstance(e, RowError) for e in item.errors)
        assert item.line >= 0
    return n


def survived(path: Path, kind: str) -> None:
    try:
        drained(READERS[kind](Source(path)))
    except FileDefect as e:
        if not (e.what and e.why and e.do):
            pytest.fail("a defect says what, why and what to do")
    for target in ("contacts", "deals", "tasks"):
        try:
            for row in open_import(path, target):
                assert row.record is not None or any(e.refused for e in row.errors)
        except FileDefect:
            pass


@pytest.mark.parametrize("kind", READERS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(data=st.binary(max_size=400))
def test_any_bytes_are_survived(tmp_path: Path, kind: str, data: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(data)
    survived(path, kind)


@pytest.mark.parametrize("kind", READERS)
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(
    cuts=st.lists(
        st.tuples(
            st.integers(0, 400),
            st.integers(0, 40),
            st.binary(max_size=6)
            | st.sampled_from(
                [b'"', b"\n", b"\0", b"\\", b"<", b"</", b"[", b"{", b":", b";", b"=\n", b"\xff\xfe", b"\xed\xa0\x80", b"]]>"]
            ),
        ),
        max_size=5,
    ),
    zipped=st.booleans(),
)
def test_good_files_gone_bad_are_survived(tmp_path: Path, kind: str, cuts: list[tuple[int, int, bytes]], zipped: bool) -> None:
    data = SEEDS[kind]
    for at, length, new in cuts:
        data = data[:at] + new + data[at + length :]
    path = tmp_path / "bad"
    path.write_bytes(gzip.compress(data) if zipped else data)
    survived(path, kind)


def written(folder: Path, data: bytes) -> Path:
    path = folder / "hostile"
    path.write_bytes(data)
    return path


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b']><log><trace><string key="concept:name" value="&j;"/></trace></log>'
)


@pytest.mark.parametrize("kind", ["xes", "xcard"])
@pytest.mark.parametrize(
    ("data", "what"),
    [
        (LAUGHS, "declares entities"),
        (b'<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]><log>&x;</log>', "declares entities"),
        (b"<log>" + b"<a>" * 200_000, "nested too deeply"),
        (b"<log><trace>", "not well-formed"),
        (b"<log", "not well-formed"),
        (b'<log a="' + b"x" * (20 << 20) + b'"/>', "too long"),
        (b"<html><body/></html>", "has no <"),
    ],
)
def test_hostile_xml_is_refused_with_its_reason(tmp_path: Path, kind: str, data: bytes, what: str) -> None:
    with pytest.raises(FileDefect, match=what):
        drained(READERS[kind](Source(written(tmp_path, data))))


@pytest.mark.parametrize("kind", ["ocel", "jcard"])
@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b'["vcard",[["fn",{},"text","' + b"x" * (30 << 20) + b'"]]]', "too long"),
        (b'{"events":[{"id":"e"', "not valid JSON"),
        (b'{"a":1}}', "not valid JSON"),
        (b"NaN", "not valid JSON"),
    ],
)
def test_hostile_json_is_refused_with_its_reason(tmp_path: Path, kind: str, data: bytes, what: str) -> None:
    with pytest.raises(FileDefect, match=what):
        drained(READERS[kind](Source(written(tmp_path, data))))


@pytest.mark.parametrize("kind", READERS)
def test_a_thousandfold_gzip_costs_neither_time_nor_memory(tmp_path: Path, kind: str) -> None:
    filler = {
        "xes": b"<log>" + b"\n" * (40 << 20),
        "xcard": b"<vcards>" + b"\n" * (40 << 20),
        "ocel": b"{" + b" " * (40 << 20),
        "jcard": b"[" + b" " * (40 << 20),
    }
    path = written(
        tmp_path,
        gzip.compress(filler.get(kind, b"case,activity,timestamp\n" + (b"1,A,2024-01-01" + b" " * 500 + b"\n") * 80_000), 9),
    )
    began = time.thread_time()
    tracemalloc.start()
    with pytest.raises(FileDefect):
        drained(READERS[kind](Source(path)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 20
    assert time.thread_time() - began < 120


@pytest.mark.parametrize("kind", ["table", "vcard", "csv-log"])
def test_one_line_of_100_mb_is_one_error_or_the_defect(tmp_path: Path, kind: str) -> None:
    heads = {
        "table": b"name,mail\nAnn,a@x.org\n",
        "vcard": b"BEGIN:VCARD\nFN:Ann\nNOTE:",
        "csv-log": b"case,activity,timestamp\n1,A,2024-01-01\n",
    }
    path = written(tmp_path, heads[kind] + b"x" * (100 << 20) + b"\nEND:VCARD\n")
    tracemalloc.start()
    found = [i for i in READERS[kind](Source(path)) if i.errors]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found
    assert peak < 120 << 20


def test_deeply_nested_cards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileDefect, match="nested too deeply"):
        drained(VcardFile(Source(written(tmp_path, b"BEGIN:VCARD\nAGENT:\n" * 1000))))


def test_a_trace_beyond_its_limits_is_refused_and_the_next_is_read(tmp_path: Path) -> None:
    event = b'<event><string key="concept:name" value="x"/><date key="time:timestamp" value="2024-01-01T10:00:00Z"/></event>'
    many = b"<trace>" + event * 50_001 + b"</trace>"
    path = written(tmp_path, b"<log>" + many + b'<trace><string key="concept:name" value="2"/>' + event + b"</trace></log>")
    first, second = open_import(path, "deals")
    assert first.record is None
    assert second.record is not None
    assert second.record.source_id == "2"


def test_memory_stays_flat_over_a_long_log(tmp_path: Path) -> None:
    event = '<event><string key="concept:name" value="x{0}"/><date key="time:timestamp" value="2024-01-01T10:00:00Z"/></event>'
    path = tmp_path / "long.xes.gz"
    with gzip.open(path, "wt", compresslevel=1) as f:
        f.write("<log>")
        for n in range(30_000):
            f.write(f'<trace><string key="concept:name" value="{n}"/>{event.format(n % 7) * 3}</trace>')
        f.write("</log>")
    tracemalloc.start()
    assert drained(XesLog(Source(path))) == 30_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 24 << 20


@pytest.mark.parametrize(
    "data", [b"", b"\xef\xbb\xbf", b'{"a": 1}', b"<!doctype html><html></html>", b"[1, 2]", b"\x00\x01\x02\x03" * 100]
)
def test_files_that_are_nothing_we_read_are_refused_at_once(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(FileDefect):
        open_import(written(tmp_path, data), "contacts")
