"""What a subscriber declares: its group, which events it wants, and who handles them.

CS1   An event goes to the first route that matches it, in the order of declaration, and to no other.
CS2   A handler works in a transaction of the framework, in which the group's place in the firm moves too: both are kept or neither.
CS3   Personal values stay sealed unless the subscriber asks for them and has the vault.

    billing = Subscription("billing")

    @billing.on("deals.Won.v1", "deals.Lost.v1")
    def book(c: psycopg.Connection, event: Delivered) -> None:
        c.execute("INSERT INTO ...", ...)
"""

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal
from uuid import UUID

import orjson
import psycopg

from infra.record.reader import EventRow
from projections.kernel import Recorded

_GROUP = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_TYPE = re.compile(r"[a-z][a-z_]*\.(\*|[A-Z][A-Za-z]*\.v[1-9][0-9]*)")
_STREAM = re.compile(r"[a-z][a-z_]*(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?")

Source = Literal["topic", "store"]


class Reject(Exception):
    """Raised by a handler: the event can never be handled, so it goes to the dead letters at once.

    The text stands in the dead letter for people to read, and must hold no personal value.
    """


class BadSubscription(Exception):
    """What was declared can't be subscribed to; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often an event is tried, and how long it rests between: doubling from `first` to `most` seconds, each shortened by up to half."""

    tries: int = 6
    first: float = 0.5
    most: float = 60.0

    def __post_init__(self) -> None:
        if self.tries < 1 or not 0 < self.first <= self.most:
            raise BadSubscription("Retry needs tries of 1 or more and 0 < first <= most.")

    def pause(self, failed: int) -> float:
        """Seconds to wait after so many failures; jitter keeps consumers that failed together from coming back together."""
        return float(min(self.most, self.first * 2 ** min(failed - 1, 60)) * random.uniform(0.5, 1.0))  # noqa: S311 # nosec B311


class Delivered:
    """An event as it is handed to a handler.

    `attempt` counts from 1. `again` says that this group has been past this event before: it is being replayed. `source` tells whether it
    came from the topic or was read from the store. `id` is the same at every delivery: hand it to others as an idempotency key.
    """

    def __init__(
        self, row: EventRow, *, attempt: int, again: bool, source: Source, reading: Callable[[EventRow], Recorded]
    ) -> None:
        self.row = row
        self.attempt = attempt
        self.again = again
        self.source: Source = source
        self._reading = reading

    @property
    def id(self) -> UUID:
        return self.row.event_id

    @property
    def type(self) -> str:
        return self.row.type

    @property
    def firm(self) -> UUID:
        return self.row.firm_id

    @property
    def position(self) -> int:
        return self.row.position

    @property
    def firm_position(self) -> int:
        return self.row.firm_position

    @property
    def stream(self) -> str:
        """`deal/0190…`: the CloudEvents subject."""
        return f"{self.row.stream_type}/{self.row.stream_id}"

    @property
    def occurred_at(self) -> datetime:
        return self.row.occurred_at

    @cached_property
    def leaf(self) -> dict[str, Any]:
        """The public part as JSON, CloudEvents-shaped; personal values are digests in it."""
        found: dict[str, Any] = orjson.loads(self.row.public)
        return found

    @cached_property
    def recorded(self) -> Recorded:
        """The event as its class. Personal values are empty unless the subscription is `personal`, and once they are erased."""
        return self._reading(self.row)


Handler = Callable[["psycopg.Connection[Any]", Delivered], None]


@dataclass(frozen=True, slots=True)
class Route:
    types: tuple[str, ...]
    stream: str | None
    handler: Handler

    def matches(self, type: str, stream_type: str, stream_id: UUID) -> bool:
        if self.stream is not None:
            wanted, _, id = self.stream.partition("/")
            if wanted != stream_type or (id and id != str(stream_id)):
                return False
        return not self.types or any(t == type or (t.endswith("*") and type.startswith(t[:-1])) for t in self.types)


@dataclass(slots=True)
class Subscription:
    """A group and what it wants.

    `group` is its name for ever: consumers of the same group share the work. `firms` narrows it to some firms. `start` says where a group
    begins that has never been before: at the record's beginning, or with what comes after now. `personal` opens personal values.
    `batch` events at most share a transaction. A handler may keep its transaction idle or a statement busy for `seconds`.
    `waiting` and `waiting_bytes` bound what is fetched ahead; beyond them the topic's partitions pause.
    """

    group: str
    firms: frozenset[UUID] | None = None
    start: Literal["beginning", "now"] = "beginning"
    personal: bool = False
    retry: Retry = field(default_factory=Retry)
    workers: int = 4
    batch: int = 100
    seconds: float = 30.0
    waiting: int = 2_000
    waiting_bytes: int = 16_000_000
    routes: list[Route] = field(default_factory=list)
    _chosen: dict[str, Handler | None] = field(default_factory=dict)
    _by_id: bool = False

    def __post_init__(self) -> None:
        if not _GROUP.fullmatch(self.group):
            raise BadSubscription(f"{self.group!r} is no name of a group: a small letter, then at most 62 of a-z, 0-9, _ and -.")
        for name, value in (("workers", self.workers), ("batch", self.batch), ("waiting", self.waiting)):
            if not 1 <= value <= 1_000_000:
                raise BadSubscription(f"{name} is {value}; it needs to be from 1 to 1,000,000.")
        if not 0.1 <= self.seconds <= 3_600:
            raise BadSubscription(f"seconds is {self.seconds}; it needs to be from 0.1 to 3,600.")
        if self.waiting_bytes < 1_000_000:
            raise BadSubscription("waiting_bytes needs to be a million or more: one event may take a tenth of that.")
        if self.firms is not None and not self.firms:
            raise BadSubscription("firms is empty: nobody's events would come. Leave it out for those of every firm.")

    def on(self, *types: str, stream: str | None = None) -> Callable[[Handler], Handler]:
        """Declare who handles events of these types (`deals.Won.v1`, `deals.*`; any when none is named) of a kind of stream (`deal`) or of
        one stream (`deal/0190…`)."""
        for t in types:
            if not _TYPE.fullmatch(t):
                raise BadSubscription(f"{t!r} is no type of event: `deals.Won.v1`, or `deals.*` for all of that context.")
        if stream is not None and not _STREAM.fullmatch(stream):
            raise BadSubscription(f"{stream!r} is no stream: `deal` for every deal, `deal/<id>` for one.")

        def declare(handler: Handler) -> Handler:
            self.routes.append(Route(types, stream, handler))
            self._chosen.clear()
            self._by_id = any("/" in (r.stream or "") for r in self.routes)
            return handler

        return declare

    def handler(self, type: str, stream_type: str, stream_id: UUID) -> Handler | None:
        """Who handles such an event; None when nobody wants it."""
        if self._by_id:
            return self._first(type, stream_type, stream_id)
        key = f"{type} {stream_type}"
        if key not in self._chosen:
            if len(self._chosen) > 10_000:
                self._chosen.clear()
            self._chosen[key] = self._first(type, stream_type, stream_id)
        return self._chosen[key]

    def _first(self, type: str, stream_type: str, stream_id: UUID) -> Handler | None:
        return next((r.handler for r in self.routes if r.matches(type, stream_type, stream_id)), None)

    def wants(self, firm: UUID) -> bool:
        return self.firms is None or firm in self.firms

    @property
    def exact(self) -> list[str] | None:
        """The types it wants, when they can be listed: then the store need not send others."""
        types: Iterable[str] = [t for r in self.routes for t in r.types]
        if any(not r.types for r in self.routes) or any(t.endswith("*") for t in types):
            return None
        return sorted(set(types))
