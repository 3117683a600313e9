"""Event logs as traces: XES (IEEE 1849) by a streaming pull. CSV logs stand in casetables, OCEL in objectlogs.

A trace keeps its events in the order of their times; events of equal time keep the order of the file. Times keep the offset they were written
with. A missing name or time is an error of that event; the others stay.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from itertools import pairwise
from typing import Any, Protocol
from xml.parsers import expat

from infra.imports.rows import FileDefect, RowError, doubt, refusal
from infra.imports.source import Source
from infra.imports.values import is_empty, moment
from infra.imports.xmls import stream

MAX_EVENTS = 50_000
MAX_ATTRIBUTES = 1_000
MAX_TRACE_CHARS = 64 << 20
PLACEHOLDERS = frozenset(
    (
        "",
        "UNKNOWN",
        "__INVALID__",
        "__UNKNOWN__",
        "DEFAULT",
        "string",
        "name",
        "transition",
        "resource",
        "value",
        "0",
        "0.0",
        "undefined",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogColumns:
    """Which column or attribute says what. Names as in the file; None where the log does not say it."""

    case: str = "concept:name"
    activity: str = "concept:name"
    timestamp: str = "time:timestamp"
    start: str | None = None
    resource: str | None = "org:resource"
    lifecycle: str | None = "lifecycle:transition"
    event_id: str | None = None

    @property
    def told(self) -> frozenset[str]:
        """The columns that a step is made of."""
        return frozenset(filter(None, (self.case, self.activity, self.timestamp, self.resource, self.lifecycle, self.start)))


@dataclass(slots=True)
class LogEvent:
    """One event of a trace. `at` is aware; `lifecycle` is lower case; `attributes` are the event's own as they were."""

    line: int
    name: str
    at: datetime
    lifecycle: str | None
    resource: str | None
    attributes: dict[str, str] = field(repr=False)


@dataclass(slots=True)
class Trace:
    """One case. `name` is its id in the source, None where it has none. `changes` are dated values of its attributes (OCEL)."""

    line: int
    number: int
    name: str | None
    attributes: dict[str, str] = field(repr=False)
    events: list[LogEvent] = field(repr=False)
    errors: list[RowError] = field(default_factory=list)
    changes: list[tuple[datetime, str, str]] = field(default_factory=list, repr=False)
    related: list[tuple[str, str]] = field(default_factory=list, repr=False)
    rejected: list[dict[str, str]] = field(default_factory=list, repr=False)

    @property
    def source(self) -> Mapping[str, Any]:
        """The case as it was, JSON-able: its attributes and its events' attributes, left-out events included."""
        out: dict[str, Any] = {"trace": self.attributes, "events": [e.attributes for e in self.events]}
        if self.rejected:
            out["left_out"] = self.rejected
        if self.changes:
            out["changes"] = [[at.isoformat(), name, value] for at, name, value in self.changes]
        if self.related:
            out["objects"] = [list(pair) for pair in self.related]
        return out


class EventLog(Protocol):
    """What every log reader offers: the source with its notes and progress, and its traces."""

    source: Source
    columns: LogColumns

    def __iter__(self) -> Iterator[Trace]: ...


def make_event(
    attributes: dict[str, str],
    line: int,
    columns: LogColumns,
    errors: list[RowError],
    zone: tzinfo | None,
    source: Source,
    form: str = "iso",
) -> LogEvent | None:
    """The event its attributes describe, or None and an error."""
    name = attributes.get(columns.activity)
    if not name or not name.strip():
        errors.append(doubt(line, columns.activity, name or "", "the event has no activity name; it was left out"))
        return None
    text = attributes.get(columns.timestamp)
    if (not text or is_empty(text)) and columns.start:
        text = attributes.get(columns.start)
    if not text:
        errors.append(doubt(line, columns.timestamp, "", "the event has no time; it was left out"))
        return None
    try:
        at: datetime | None = datetime.fromisoformat(text) if form == "iso" else moment(text, form=form, zone=zone or UTC)
    except ValueError:
        at = moment(text, form=form, zone=zone or UTC)
    if at is None:
        errors.append(doubt(line, columns.timestamp, text, "this is not a time that can be read; the event was left out"))
        return None
    if at.tzinfo is None:
        if zone is None:
            source.note("Times without a zone were read as UTC; name a timezone in the import map if they are local.")
        at = at.replace(tzinfo=zone or UTC)
    lifecycle = attributes.get(columns.lifecycle) if columns.lifecycle else None
    return LogEvent(
        line,
        name.strip(),
        at,
        lifecycle.strip().lower() if lifecycle else None,
        attributes.get(columns.resource) if columns.resource else None,
        attributes,
    )


def in_order(trace: Trace) -> Trace:
    """Sort by time when the file did not; equal times keep the order of the file. Same instants in other offsets are equal."""
    events = trace.events
    try:
        if any(a.at > b.at for a, b in pairwise(events)):
            trace.errors.append(
                doubt(trace.line, "", trace.name or "", "its events were not in the order of their times and were sorted")
            )
            events.sort(key=lambda e: e.at)
    except OverflowError:
        trace.errors.append(refusal(trace.line, "", "", "a time at the edge of the calendar cannot be compared"))
    return trace


class XesLog:
    """An XES file. Nested attributes and lists are flattened to `parent/child`; a key that comes twice gets ` (2)`."""

    _STRUCTURE = frozenset(("log", "trace", "event", "global", "extension", "classifier", "values"))

    def __init__(self, source: Source, *, columns: LogColumns | None = None, zone: tzinfo | None = None) -> None:
        self.source = source
        self.columns = columns or LogColumns()
        self.zone = zone
        self.globals: dict[str, dict[str, str]] = {"trace": {}, "event": {}}
        self.attributes: dict[str, str] = {}

    def __iter__(self) -> Iterator[Trace]:
        out: list[Trace] = []
        parsers: list[expat.XMLParserType] = []
        columns, source, structure = self.columns, self.source, self._STRUCTURE
        zone = self.zone
        self.globals = {"trace": {}, "event": {}}
        target: dict[str, str] | None = None
        trace: Trace | None = None
        event: dict[str, str] | None = None
        path: list[str] = []
        event_line = number = chars = seen_log = 0

        def start(tag: str, attributes: dict[str, str]) -> None:
            nonlocal target, trace, event, event_line, number, chars, seen_log
            if ":" in tag:
                tag = tag.rpartition(":")[2]
            if tag not in structure:
                key = attributes.get("key") or tag
                if path:
                    key = f"{path[-1]}/{key}"
                path.append(key)
                value = attributes.get("value")
                if value is None or target is None:
                    return
                if key in target:
                    n = 2
                    while f"{key} ({n})" in target and n < MAX_ATTRIBUTES:
                        n += 1
                    key = f"{key} ({n})"
                if len(target) >= MAX_ATTRIBUTES:
                    if trace is not None and len(trace.errors) < MAX_ATTRIBUTES:
                        trace.errors.append(
                            doubt(
                                parsers[0].CurrentLineNumber,
                                key,
                                value,
                                f"more than {MAX_ATTRIBUTES:,} attributes; the rest were left out",
                            )
                        )
                    return
                target[key] = value
                chars += len(key) + len(value)
            elif tag == "event":
                event = target = {}
                event_line = parsers[0].CurrentLineNumber
            elif tag == "trace":
                number += 1
                chars = 0
                trace = Trace(parsers[0].CurrentLineNumber, number, None, {}, [])
                target = trace.attributes
            elif tag == "global":
                target = self.globals.setdefault(attributes.get("scope") or "event", {})
            elif tag == "log":
                seen_log += 1
                target = self.attributes

        def end(tag: str) -> None:
            nonlocal target, trace, event, chars, number
            if ":" in tag:
                tag = tag.rpartition(":")[2]
            if tag not in structure:
                path.pop()
            elif tag == "event":
                attributes, event = event or {}, None
                if trace is None:
                    number += 1
                    out.append(
                        Trace(
                            event_line,
                            number,
                            None,
                            {},
                            [],
                            [
                                refusal(
                                    event_line, "event", attributes.get(columns.activity, ""), "the event stands outside any trace"
                                )
                            ],
                            rejected=[attributes],
                        )
                    )
                    target = self.attributes
                    return
                target = trace.attributes
                if len(trace.events) >= MAX_EVENTS or chars > MAX_TRACE_CHARS:
                    if not any(e.refused for e in trace.errors):
                        trace.errors.append(
                            refusal(
                                event_line,
                                "event",
                                "",
                                f"the trace has more than {MAX_EVENTS:,} events or {MAX_TRACE_CHARS >> 20} MB",
                            )
                        )
                    return
                read = self._with_globals(attributes, "event")
                made = make_event(read, event_line, columns, trace.errors, zone, source)
                if made is None:
                    if len(trace.rejected) < MAX_ATTRIBUTES:
                        trace.rejected.append(attributes)
                else:
                    made.attributes = attributes
                    trace.events.append(made)
            elif tag == "trace" and trace is not None:
                done, trace, target = trace, None, self.attributes
                name = done.attributes.get(columns.case)
                done.name = name.strip() if name and name.strip() else None
                if done.name is None:
                    done.errors.append(
                        doubt(done.line, columns.case, "", "the trace has no name; its place in the file stands for it")
                    )
                out.append(in_order(done))
            elif tag == "global":
                target = self.attributes

        for _ in stream(source, start, end, parser_out=parsers):
            yield from out
            out.clear()
        if not seen_log:
            raise FileDefect("The XML file is no event log", "it has no <log> element", "Export the log as XES")
        if not number:
            what = "object-centric (OCEL XML)" if "<object-types>" in source.head_text() else "empty"
            source.note(f"The log is {what}: it has no traces. Object-centric logs are read from OCEL JSON.")

    def _with_globals(self, attributes: dict[str, str], scope: str) -> dict[str, str]:
        """Global values stand for missing attributes, except placeholders and times, which would be inventions."""
        missing = [
            (k, v)
            for k, v in self.globals[scope].items()
            if k not in attributes and v not in PLACEHOLDERS and k != self.columns.timestamp
        ]
        return attributes | dict(missing) if missing else attributes
