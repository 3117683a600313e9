"""One firm's events in their order: what is late is dropped, what is missing is read from the store before anything goes on.

CS7   From a place on, every event of the firm is seen exactly once and in order, whatever a topic sends: doubled, old, lost, mangled.
CS8   Of what nobody wants, the number alone is seen.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from infra.bus.messages import Message
from infra.bus.subscription import Source, Subscription
from infra.record.codec import leaf_hash
from infra.record.reader import COLUMNS, EventRow

WINDOW = 5_000  # places looked through at once
ROWS = 200  # events fetched at once


@dataclass(frozen=True, slots=True)
class Sent:
    """A message as it came from a topic."""

    message: Message
    topic: str
    partition: int
    offset: int
    size: int

    @property
    def firm_position(self) -> int:
        return self.message.firm_position


@dataclass(frozen=True, slots=True)
class Item:
    """The event at a place of the firm's sequence; the row is None when nobody wants it."""

    firm_position: int
    row: EventRow | None
    source: Source
    place: dict[str, Any]


Told = Callable[[str, int], None]
"""Told of a "duplicate", a "gap" or a "mangled" message, and of how many events."""


def in_order(
    c: psycopg.Connection[Any],
    subscription: Subscription,
    firm: UUID,
    start: int,
    until: int,
    sent: Sequence[Sent],
    told: Told,
) -> Iterator[Item]:
    """The firm's events from `start` on: those that were sent, and from the store whatever is missing between. Without any that were
    sent, from the store alone, up to but not including `until`."""
    at = start
    if not sent:
        yield from from_store(c, subscription, firm, start, until)
        return
    for s in sent:
        if s.firm_position < at:
            told("duplicate", 1)
            continue
        if s.firm_position > at:
            told("gap", s.firm_position - at)
            yield from from_store(c, subscription, firm, at, s.firm_position)
        at = s.firm_position + 1
        m = s.message
        if subscription.handler(m.type, m.stream_type, m.stream_id) is None:
            yield Item(s.firm_position, None, "topic", {})
        elif (row := whole(m)) is None:
            told("mangled", 1)
            yield from from_store(c, subscription, firm, s.firm_position, at)
        else:
            yield Item(s.firm_position, row, "topic", {"topic": s.topic, "partition": s.partition, "offset": s.offset})


def whole(message: Message) -> EventRow | None:
    """The row that was sent, when its public part is the one that was recorded."""
    try:
        row = message.row
    except (ValueError, TypeError):
        return None
    return row if leaf_hash(row.public) == message.leaf_hash else None


def from_store(c: psycopg.Connection[Any], subscription: Subscription, firm: UUID, start: int, end: int) -> Iterator[Item]:
    """The firm's events from place `start` up to but not including `end`, as the store has them, in bounded memory."""
    wanted = subscription.exact
    while start < end:
        high = min(end, start + WINDOW)
        rows = read(c, firm, start, high, wanted)
        for row in rows:
            held = subscription.handler(row.type, row.stream_type, row.stream_id) is not None
            yield Item(row.firm_position, row if held else None, "store", {"store": row.position})
        start = high if len(rows) < ROWS else rows[-1].firm_position + 1
        if len(rows) < ROWS and (not rows or rows[-1].firm_position < high - 1):
            yield Item(high - 1, None, "store", {})


def read(c: psycopg.Connection[Any], firm: UUID, start: int, end: int, types: list[str] | None = None) -> list[EventRow]:
    """Rows of a firm from a place on, in order, at most ROWS; of these types alone when they are given."""
    cursor = c.cursor(binary=True)
    cursor.execute(
        f"SELECT {COLUMNS} FROM record.events WHERE firm_id = %(firm)s AND firm_position >= %(start)s AND firm_position < %(end)s"
        + (" AND type = ANY(%(types)s)" if types is not None else "")
        + " ORDER BY firm_position LIMIT %(most)s",
        {"firm": firm, "start": start, "end": end, "types": types, "most": ROWS},
    )
    return [EventRow(*row) for row in cursor.fetchall()]
