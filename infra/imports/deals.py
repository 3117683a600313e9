"""Deals out of table rows and out of the traces of event logs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from infra.imports.activities import Activities, Step, extra_of, flat
from infra.imports.binding import Bound
from infra.imports.contacts import digest
from infra.imports.eventlogs import LogColumns, Trace
from infra.imports.rows import Mapped, doubt, refusal
from infra.imports.tables import TableRow

_STATUS: dict[str, Literal["open", "won", "lost"]] = {
    **dict.fromkeys(
        ("won", "closed won", "gewonnen", "gagné", "gagne", "ganado", "ganada", "vinto", "ganho", "success", "successful"), "won"
    ),
    **dict.fromkeys(
        (
            "lost",
            "closed lost",
            "verloren",
            "perdu",
            "perdido",
            "perdida",
            "perso",
            "abandoned",
            "cancelled",
            "canceled",
            "declined",
            "rejected",
            "disqualified",
        ),
        "lost",
    ),
    **dict.fromkeys(("open", "active", "offen", "ouvert", "abierto", "aperto", "aberto", "in progress"), "open"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DealRecord:
    """One deal. From a table it has a stage and a status; from a log it has its whole history in `steps`, oldest first.

    `contact` and `organisation` are names as in the source. `currency` is upper case, unchecked. `changes` are dated attribute values.
    """

    source_id: str
    id_given: bool
    title: str = field(repr=False)
    pipeline: str | None = None
    stage: str | None = None
    status: Literal["open", "won", "lost"] = "open"
    amount: Decimal | None = None
    currency: str | None = None
    probability: Decimal | None = None
    opened_at: datetime | None = None
    expected_close: date | None = None
    closed_at: datetime | None = None
    lost_reason: str | None = None
    source: str | None = None
    owner: str | None = None
    contact: str | None = field(default=None, repr=False)
    contact_email: str | None = field(default=None, repr=False)
    organisation: str | None = None
    product: str | None = None
    notes: str | None = field(default=None, repr=False)
    tags: tuple[str, ...] = ()
    steps: tuple[Step, ...] = field(default=(), repr=False)
    changes: tuple[tuple[datetime, str, str], ...] = field(default=(), repr=False)
    custom: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra: Mapping[str, str] = field(default_factory=dict, repr=False)


class DealMapper:
    """Rows and traces to deals, by a bound map. `columns` are those of the log, for traces."""

    def __init__(self, bound: Bound, columns: LogColumns | None = None) -> None:
        self.bound = bound
        self.activities = Activities(bound.map)
        self.used = bound.used | (columns.told if columns is not None else frozenset())

    def map(self, row: TableRow) -> Mapped[DealRecord]:
        errors = list(row.errors)
        if any(e.refused for e in errors):
            return Mapped(line=row.line, number=row.number, record=None, source=row.source, errors=tuple(errors))
        b, values, line = self.bound, row.values, row.line
        given = self._fields(values, line, errors)
        stage, status_text = given["stage"], b.text(values, "status", line, errors)
        status = _STATUS.get((status_text or "").casefold())
        if status_text and status is None and "status" in b.map.fields:
            errors.append(doubt(line, "status", status_text, "status is none of open, won, lost; the deal was taken as open"))
        given["status"] = status or _STATUS.get((stage or "").casefold(), "open")
        id = b.text(values, "id", line, errors)
        title = b.text(values, "title", line, errors) or id
        if not title and not any(e.refused for e in errors):
            errors.append(refusal(line, "title", "", "the row names no deal: it has neither a title nor an id"))
        if given["opened_at"] and given["closed_at"] and given["closed_at"] < given["opened_at"]:
            errors.append(doubt(line, "closed_at", given["closed_at"].isoformat(), "the deal was closed before it was opened"))
        refused = any(e.refused for e in errors)
        record = None
        if not refused:
            record = DealRecord(
                source_id=id or digest(values),
                id_given=id is not None,
                title=title or "",
                custom=b.custom(values, line, errors),
                extra=b.leftover(values),
                **given,
            )
        return Mapped(line=line, number=row.number, record=record, source=values, errors=tuple(errors))

    def trace(self, trace: Trace) -> Mapped[DealRecord]:
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
        closing = next((s for s in reversed(steps) if s.role in {"won", "lost", "stage"}), None)
        status: Literal["open", "won", "lost"] = (
            "won" if closing and closing.role == "won" else "lost" if closing and closing.role == "lost" else "open"
        )
        given["status"] = status
        given["stage"] = given["stage"] or next((s.name for s in reversed(steps) if s.role == "stage"), None)
        given["opened_at"] = min(filter(None, (given["opened_at"], steps[0].at)))
        if status != "open" and closing:
            first = closing
            for s in reversed(steps):
                if s.role == "stage":
                    break
                if s.role == status:
                    first = s
            given["closed_at"] = first.at
            if status == "lost":
                given["lost_reason"] = given["lost_reason"] or first.reason or first.name
        record = DealRecord(
            source_id=source_id,
            id_given=id is not None,
            title=b.text(values, "title", line, errors) or source_id,
            steps=steps,
            changes=tuple(trace.changes),
            custom=b.custom(values, line, errors),
            extra=extra_of(trace, self.used),
            **given,
        )
        return Mapped(line=line, number=trace.number, record=record, source=source, errors=tuple(errors))

    def _fields(self, values: Mapping[str, str], line: int, errors: list[Any]) -> dict[str, Any]:
        b = self.bound
        given: dict[str, Any] = {
            n: b.text(values, n, line, errors)
            for n in (
                "pipeline",
                "stage",
                "lost_reason",
                "source",
                "owner",
                "contact",
                "contact_email",
                "organisation",
                "product",
                "notes",
            )
        }
        given |= {n: b.number(values, n, line, errors) for n in ("amount", "probability")}
        given |= {n: b.moment(values, n, line, errors) for n in ("opened_at", "closed_at")}
        given["expected_close"] = b.day(values, "expected_close", line, errors)
        currency = b.text(values, "currency", line, errors)
        given["currency"] = currency.upper() if currency else None
        given["tags"] = b.texts(values, "tags", line, errors)
        return given
