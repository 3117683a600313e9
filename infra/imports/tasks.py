"""Tasks out of table rows and out of the traces of event logs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from infra.imports.activities import Activities, Step, extra_of, flat
from infra.imports.binding import Bound
from infra.imports.contacts import digest
from infra.imports.eventlogs import LogColumns, Trace
from infra.imports.rows import Mapped, doubt, refusal
from infra.imports.tables import TableRow

Status = Literal["open", "started", "blocked", "completed", "cancelled"]
_STATUS: dict[str, Status] = {
    **dict.fromkeys(
        (
            "open",
            "new",
            "to do",
            "todo",
            "backlog",
            "created",
            "offen",
            "neu",
            "nouveau",
            "à faire",
            "pendiente",
            "reopened",
            "selected for development",
            "not started",
            "assigned",
        ),
        "open",
    ),
    **dict.fromkeys(
        (
            "in progress",
            "started",
            "doing",
            "active",
            "in review",
            "review",
            "in arbeit",
            "en cours",
            "in behandeling",
            "en curso",
            "in corso",
            "working",
        ),
        "started",
    ),
    **dict.fromkeys(("blocked", "waiting", "on hold", "pending", "suspended", "wartend", "en attente"), "blocked"),
    **dict.fromkeys(
        (
            "done",
            "closed",
            "resolved",
            "completed",
            "complete",
            "finished",
            "fixed",
            "erledigt",
            "geschlossen",
            "abgeschlossen",
            "terminé",
            "fait",
            "klaar",
            "gereed",
            "hecho",
            "completado",
            "chiuso",
        ),
        "completed",
    ),
    **dict.fromkeys(
        (
            "cancelled",
            "canceled",
            "won't do",
            "wont do",
            "won't fix",
            "rejected",
            "duplicate",
            "invalid",
            "abgebrochen",
            "annulé",
            "geannuleerd",
        ),
        "cancelled",
    ),
}
_BECOMES: dict[str, Status] = {
    "created": "open",
    "assigned": "open",
    "reopened": "open",
    "started": "started",
    "blocked": "blocked",
    "completed": "completed",
    "cancelled": "cancelled",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """One task. From a log it has its steps, oldest first.

    `estimate` and `remaining` are as in the source (hours, points: the map's owner knows). `status_text` is the source's own word.
    """

    source_id: str
    id_given: bool
    title: str = field(repr=False)
    description: str | None = field(default=None, repr=False)
    status: Status = "open"
    status_text: str | None = None
    type: str | None = None
    priority: str | None = None
    project: str | None = None
    parent: str | None = None
    assignee: str | None = None
    reporter: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    due: datetime | None = None
    estimate: Decimal | None = None
    remaining: Decimal | None = None
    contact: str | None = field(default=None, repr=False)
    organisation: str | None = None
    tags: tuple[str, ...] = ()
    steps: tuple[Step, ...] = field(default=(), repr=False)
    changes: tuple[tuple[datetime, str, str], ...] = field(default=(), repr=False)
    custom: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra: Mapping[str, str] = field(default_factory=dict, repr=False)


class TaskMapper:
    """Rows and traces to tasks, by a bound map. `columns` are those of the log, for traces."""

    def __init__(self, bound: Bound, columns: LogColumns | None = None) -> None:
        self.bound = bound
        self.activities = Activities(bound.map)
        self.used = bound.used | (columns.told if columns is not None else frozenset())

    def map(self, row: TableRow) -> Mapped[TaskRecord]:
        errors = list(row.errors)
        if any(e.refused for e in errors):
            return Mapped(line=row.line, number=row.number, record=None, source=row.source, errors=tuple(errors))
        b, values, line = self.bound, row.values, row.line
        given = self._fields(values, line, errors)
        text = b.text(values, "status", line, errors)
        status = _STATUS.get((text or "").casefold())
        if text and status is None:
            errors.append(
                doubt(
                    line,
                    "status",
                    text,
                    "the status is unknown; the task was taken by its dates. Name it in a value table of the map",
                )
            )
        given["status"] = status or ("completed" if given["completed_at"] else "started" if given["started_at"] else "open")
        id = b.text(values, "id", line, errors)
        title = b.text(values, "title", line, errors) or id
        if not title and not any(e.refused for e in errors):
            errors.append(refusal(line, "title", "", "the row names no task: it has neither a title nor an id"))
        if any(e.refused for e in errors):
            return Mapped(line=line, number=row.number, record=None, source=values, errors=tuple(errors))
        record = TaskRecord(
            source_id=id or digest(values),
            id_given=id is not None,
            title=title or "",
            status_text=text,
            custom=b.custom(values, line, errors),
            extra=b.leftover(values),
            **given,
        )
        return Mapped(line=line, number=row.number, record=record, source=values, errors=tuple(errors))

    def trace(self, trace: Trace) -> Mapped[TaskRecord]:
        errors = list(trace.errors)
        source = trace.source
        if not any(e.refused for e in errors) and not trace.events:
            errors.append(refusal(trace.line, "", trace.name or "", "the case has no event that can be read"))
        if any(e.refused for e in errors):
            return Mapped(line=trace.line, number=trace.number, record=None, source=source, errors=tuple(errors))
        b, values, line = self.bound, flat(trace), trace.line
        given = self._fields(values, line, errors)
        b.text(values, "status", line, errors)
        id = b.text(values, "id", line, errors) or trace.name
        source_id = id or f"trace {trace.number} {digest(source)}"
        steps = self.activities.steps(trace)
        transitions = _course(steps)
        last = next((t for t in reversed(transitions) if t.to != "assigned"), transitions[-1])
        given["status"] = _BECOMES.get(last.to, "open")
        given["created_at"] = given["created_at"] or steps[0].at
        given["started_at"] = given["started_at"] or next((t.at for t in transitions if t.to == "started"), None)
        if given["status"] == "completed":
            given["completed_at"] = given["completed_at"] or last.at
        given["assignee"] = given["assignee"] or next((s.by for s in reversed(steps) if s.by), None)
        record = TaskRecord(
            source_id=source_id,
            id_given=id is not None,
            title=b.text(values, "title", line, errors) or source_id,
            status_text=steps[-1].activity,
            steps=steps,
            changes=tuple(trace.changes),
            custom=b.custom(values, line, errors),
            extra=extra_of(trace, self.used),
            **given,
        )
        return Mapped(line=line, number=trace.number, record=record, source=source, errors=tuple(errors))

    def _fields(self, values: Mapping[str, str], line: int, errors: list[Any]) -> dict[str, Any]:
        b = self.bound
        names = ("description", "type", "priority", "project", "parent", "assignee", "reporter", "contact", "organisation")
        given: dict[str, Any] = {n: b.text(values, n, line, errors) for n in names}
        given |= {n: b.number(values, n, line, errors) for n in ("estimate", "remaining")}
        given |= {n: b.moment(values, n, line, errors) for n in ("created_at", "started_at", "completed_at", "due")}
        given["tags"] = b.texts(values, "tags", line, errors)
        return given


class _Transition(NamedTuple):
    at: datetime
    to: str


def _course(steps: tuple[Step, ...]) -> list[_Transition]:
    """From creation on; work after a completion reopens first, and what changes nothing is left out."""
    out = [_Transition(steps[0].at, "created")]
    status: Status = "open"
    for s in steps:
        to = "started" if s.role == "task" and s.lifecycle == "start" and status == "open" else s.role
        if to not in _BECOMES or to == "created":
            continue
        if to == "assigned":
            out.append(_Transition(s.at, to))
            continue
        becomes = _BECOMES[to]
        if becomes == status:
            continue
        if status in {"completed", "cancelled"} and to != "reopened":
            out.append(_Transition(s.at, "reopened"))
        out.append(_Transition(s.at, to))
        status = becomes
    return out
