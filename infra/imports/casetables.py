"""CSV event logs: rows are events, grouped by case whatever the order of the file; the columns are recognised by their names."""

from collections.abc import Iterator
from datetime import tzinfo

from infra.imports.eventlogs import MAX_EVENTS, LogColumns, Trace, in_order, make_event
from infra.imports.rows import FileDefect, doubt, refusal
from infra.imports.spill import Spill
from infra.imports.tables import Table, normal
from infra.imports.values import clean, date_form

_CASES = (
    "case concept name",
    "case id",
    "caseid",
    "case key",
    "case",
    "case number",
    "trace id",
    "traceid",
    "trace",
    "process instance id",
    "instance id",
    "ticket id",
    "ticket",
    "application id",
    "order id",
    "incident id",
    "sr number",
    "vorgang",
    "vorgangsnummer",
    "fall id",
    "dossier",
    "zaak id",
)
_ACTIVITIES = (
    "concept name",
    "activity",
    "activity name",
    "activity en",
    "activityid",
    "activity id",
    "event name",
    "event",
    "task",
    "action",
    "aktivität",
    "activiteit",
    "activité",
    "actividad",
    "ocel activity",
    "status",
)
_TIMES = (
    "time timestamp",
    "complete timestamp",
    "completetimestamp",
    "end timestamp",
    "timestamp",
    "eventtime",
    "event time",
    "time",
    "datetime",
    "date time",
    "date",
    "end time",
    "endtime",
    "complete time",
    "change date time",
    "zeitstempel",
    "zeitpunkt",
    "horodatage",
    "tijdstip",
    "created at",
    "occurred at",
)
_STARTS = ("start timestamp", "starttimestamp", "time start timestamp", "start time", "starttime", "start date", "begin")
_RESOURCES = (
    "org resource",
    "resource",
    "user",
    "user name",
    "username",
    "performer",
    "originator",
    "agent",
    "employee",
    "bearbeiter",
    "owner",
    "case owner",
    "medewerker",
)
_LIFECYCLES = ("lifecycle transition", "lifecycle", "transition", "event type", "eventtype", "state transition")
_EVENT_IDS = ("event id", "eventid", "eid", "ocel eid", "concept instance")


def guess_columns(columns: tuple[str, ...]) -> LogColumns | None:
    """The columns of a CSV log by their names (pm4py, Disco, Celonis and plain ones), None when case, activity or time is missing."""
    by_name: dict[str, str] = {}
    for name in columns:
        by_name.setdefault(normal(name), name)

    def find(names: tuple[str, ...], *, but: tuple[str | None, ...] = ()) -> str | None:
        return next((by_name[n] for n in names if n in by_name and by_name[n] not in but), None)

    case = find(_CASES)
    activity = find(_ACTIVITIES, but=(case,))
    timestamp = find(_TIMES, but=(case, activity))
    start = find(_STARTS, but=(timestamp,))
    if case is None or activity is None or (timestamp is None and start is None):
        return None
    return LogColumns(
        case=case,
        activity=activity,
        timestamp=timestamp or start or "",
        start=start if timestamp else None,
        resource=find(_RESOURCES, but=(case, activity)),
        lifecycle=find(_LIFECYCLES, but=(case, activity)),
        event_id=find(_EVENT_IDS, but=(case,)),
    )


class TableLog:
    """A CSV log: rows are events, grouped by case in order of first appearance, whatever the order of the file.

    Columns named `case:…` or `(case)…` and those that never change within the case stand as its attributes.
    """

    def __init__(
        self, table: Table, *, columns: LogColumns | None = None, zone: tzinfo | None = None, form: str | None = None
    ) -> None:
        self.table = table
        self.source = table.source
        self.zone = zone
        guessed = columns or guess_columns(table.columns)
        if guessed is None:
            raise FileDefect(
                "The table is no event log that can be recognised",
                "no columns for case, activity and time were found in its header",
                "Name them in the import map under [log] as case, activity and timestamp",
            )
        missing = [c for c in (guessed.case, guessed.activity, guessed.timestamp) if c not in table.columns]
        if missing:
            raise FileDefect(
                f"The table has no column {missing[0][:80]!r}",
                "the import map names it",
                "Correct the map; the columns are listed by a dry run",
            )
        self.columns = guessed
        if form is None:
            form, sure = date_form(row.get(guessed.timestamp, "") for row in table.sample)
            if not sure:
                self.source.note(
                    f"Dates in {guessed.timestamp!r} do not tell day from month; they were read as day/month. Name a format in the import map if not."
                )
        self.form = form or "iso"

    def __iter__(self) -> Iterator[Trace]:
        case_column = self.columns.case
        with Spill() as spill:
            for row in self.table:
                name = row.values.get(case_column, "").strip()
                if not row.values or not name or any(e.refused for e in row.errors):
                    errors = [e for e in row.errors if e.refused] or [refusal(row.line, case_column, "", "the event names no case")]
                    yield Trace(row.line, row.number, None, {}, [], errors, rejected=[row.values or {"": row.raw[:1000]}])
                    continue
                spill.add(
                    name, row.line, {k: clean(v) for k, v in row.values.items()}, [(e.field, e.value, e.reason) for e in row.errors]
                )
            for number, (name, rows) in enumerate(spill.groups(MAX_EVENTS + 1), 1):
                yield self._trace(number, name, rows)

    def _trace(self, number: int, name: str, rows: list[tuple[int, dict[str, str], list[tuple[str, str, str]]]]) -> Trace:
        first = rows[0][1]
        same = {k for k, v in first.items() if all(r[1].get(k) == v for r in rows)} if len(rows) > 1 else set()
        own = {self.columns.activity, self.columns.timestamp, self.columns.lifecycle, self.columns.resource, self.columns.start}
        attributes = {
            k: v
            for k, v in first.items()
            if k.lower().startswith(("case:", "(case)", "case_")) or k == self.columns.case or (k in same - own)
        }
        trace = Trace(rows[0][0], number, name, attributes, [])
        if len(rows) > MAX_EVENTS:
            trace.errors.append(refusal(trace.line, self.columns.case, name, f"the case has more than {MAX_EVENTS:,} events"))
            rows = rows[:MAX_EVENTS]
        for line, values, errors in rows:
            trace.errors.extend(doubt(line, *e) for e in errors)
            event = make_event(values, line, self.columns, trace.errors, self.zone, self.source, self.form)
            if event is None:
                trace.rejected.append(values)
            else:
                trace.events.append(event)
        return in_order(trace)
