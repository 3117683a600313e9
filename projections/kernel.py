"""How a view is declared: a frozen row and a pure fold of events into it; infra does the rest.

V1  A fold is a function of the row before and the recorded event alone, so that live, rebuilt and replayed views are equal.
V2  A view never reads another view.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from domain.kernel import FirmId

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An event as it stands on the record, decoded. `position` is global, `version` its place in its stream (from 1)."""

    position: int
    firm: FirmId
    firm_position: int
    stream_type: str
    stream_id: UUID
    version: int
    event_id: UUID
    name: str
    event: Any
    occurred_at: datetime
    recorded_at: datetime
    actor: str
    origin: str | None
    command_id: str


@dataclass(frozen=True, slots=True)
class Hidden:
    """Marks a column of a row that nobody is shown, `Annotated[str, Hidden()]`: the application alone reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View(Generic[Row]):
    """A read model of one kind of row.

    `row` is a frozen, slotted, keyword-only dataclass; its fields are the columns of `table` beside those every view has
    (`firm_id`, `id`, `version`, `created_at`, `updated_at`, `position`). Column types follow from field types: UUID uuid, str
    text, int bigint, bool boolean, Decimal numeric, datetime timestamptz, date date, tuple[str, ...] text[], tuple[UUID, ...]
    uuid[], anything else jsonb.
    `keys` names the rows an event touches; `fold` gives the row after it, or None when the row is gone.
    `once` marks a view whose rows come of one event each and never change: nobody looks for an earlier one.
    """

    name: str
    version: int
    table: str
    row: type[Row]
    keys: Callable[[Recorded], Iterable[UUID]]
    fold: Callable[[Row | None, UUID, Recorded], Row | None]
    once: bool = False


VIEWS: dict[str, View[Any]] = {}


def view(v: View[Row]) -> View[Row]:
    """Register a view."""
    if v.name in VIEWS:
        raise ValueError(f"view declared twice: {v.name}")
    VIEWS[v.name] = v
    return v


def of_stream(*types: str) -> Callable[[Recorded], Iterable[UUID]]:
    """Rows keyed by the stream's id, for streams of these types."""

    def keys(r: Recorded) -> Iterable[UUID]:
        return (r.stream_id,) if r.stream_type in types else ()

    return keys
