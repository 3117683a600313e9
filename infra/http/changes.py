"""Live updates: one stream of server-sent events tells of every change in a firm, once its views show it.

S1  A stream that is resumed by `Last-Event-ID` misses nothing and repeats nothing: the last row of a position bears it as the id of the
    stream, so that a position that was told in part is told again whole.
S2  Nobody is told of rows they may not read; a stream ends soon after its key does.
S3  A firm's events are read once for all who listen.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
import psycopg
import structlog
from psycopg_pool import PoolTimeout, TooManyRequests
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from domain.kernel import FirmId
from infra.http.problems import Away, HttpProblem, of
from infra.http.reads import parameters
from infra.http.routing import Endpoint
from infra.http.service import NUMBER, Principal, Service
from infra.reading import Readers
from infra.record.codec import CODECS
from infra.record.reader import FOREIGN
from projections.kernel import Recorded
from queries.kernel import COLLECTIONS

log = structlog.get_logger()

HEARTBEAT = 15.0
BATCH = 500
KEPT = 2_000
COLUMNS = (
    "position, firm_position, stream_type, stream_id, stream_version, event_id, type, occurred_at, recorded_at, command_id, public"
)
SELECT = (
    f"SELECT {COLUMNS} FROM record.events WHERE firm_id = %(firm)s AND firm_position >= %(first)s AND position <= %(until)s"
    " ORDER BY firm_position LIMIT %(limit)s"
)
SELECT_AT = "SELECT position FROM record.events WHERE firm_id = %(firm)s AND firm_position = %(at)s"
SELECT_COUNT = "SELECT firm_position AS count FROM record.firm_heads WHERE firm_id = %(firm)s"


@dataclass(frozen=True, slots=True)
class Change:
    """What one event changed: rows by collection."""

    position: int
    firm_position: int
    type: str
    occurred_at: str
    rows: tuple[tuple[str, str], ...]

    def shown(self, wanted: frozenset[str]) -> bytes:
        """What the stream tells who follows these collections, row by row; empty when there is nothing in it for them."""
        told = [b"event: change\ndata: %b\n" % orjson.dumps(self._row(view, id)) for view, id in self.rows if view in wanted]
        return b"\n".join(told) + b"id: %d\n\n" % self.position if told else b""

    def _row(self, view: str, id: str) -> dict[str, object]:
        return {"position": self.position, "view": view, "type": self.type, "id": id, "occurred_at": self.occurred_at}


def change_of(row: Mapping[str, Any], firm: FirmId) -> Change:
    """Which rows an event touches, by its public part alone: personal values say nothing of that."""
    rows: list[tuple[str, str]] = []
    if row["stream_type"] != FOREIGN:
        leaf = orjson.loads(row["public"])
        recorded = Recorded(
            position=row["position"],
            firm=firm,
            firm_position=row["firm_position"],
            stream_type=row["stream_type"],
            stream_id=row["stream_id"],
            version=row["stream_version"],
            event_id=row["event_id"],
            name=row["type"],
            event=CODECS.decode(row["type"], leaf["data"], {}),
            occurred_at=row["occurred_at"],
            recorded_at=row["recorded_at"],
            actor=leaf["actor"],
            origin=leaf.get("origin"),
            command_id=leaf["commandid"],
        )
        for c in COLLECTIONS.values():
            rows.extend((c.name, str(id)) for id in c.view.keys(recorded))
    return Change(row["position"], row["firm_position"], row["type"], row["occurred_at"].isoformat(), tuple(rows))


@dataclass(slots=True)
class Tail:
    """The latest changes of one firm, shared by its listeners. `begins` is the position behind which nothing is left out."""

    firm: FirmId
    begins: int
    reached: int
    first: int
    listeners: int = 0
    changes: deque[Change] = field(default_factory=deque)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Changes:
    """Follows the firms that have listeners."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._tails: dict[UUID, Tail] = {}
        self.reads = 0

    async def read(self, firm: FirmId, first: int, until: int) -> list[Change]:
        """The firm's changes from its event number `first` on, up to a position."""
        async with self._readers.reading(firm) as r:
            self.reads += 1
            return [change_of(row, firm) for row in await r.all(SELECT, first=first, until=until, limit=BATCH)]

    async def first_after(self, firm: FirmId, position: int) -> int:
        """The number of the firm's first event behind a position, by bisection: both rise together and have no gaps."""
        async with self._readers.reading(firm) as r:
            row = await r.one(SELECT_COUNT)
            low, high = 0, int(row["count"]) if row else 0
            while low < high:
                middle = (low + high) // 2
                at = await r.one(SELECT_AT, at=middle)
                if at is not None and at["position"] > position:
                    high = middle
                else:
                    low = middle + 1
        return low

    async def tail(self, firm: FirmId, position: int) -> Tail:
        tail = self._tails.get(firm)
        if tail is None:
            first = await self.first_after(firm, position)
            tail = self._tails.setdefault(firm, Tail(firm, position, position, first))
        tail.listeners += 1
        return tail

    def leave(self, tail: Tail) -> None:
        tail.listeners -= 1
        if tail.listeners == 0 and self._tails.get(tail.firm) is tail:
            del self._tails[tail.firm]

    async def since(self, tail: Tail, after: int, until: int) -> tuple[list[Change], int]:
        """Some changes behind `after`, in order, and the position up to which they are all: from memory, or read."""
        if after < tail.begins:
            changes = await self.read(tail.firm, await self.first_after(tail.firm, after), until)
            return changes, changes[-1].position if len(changes) == BATCH else until
        async with tail.lock:
            while tail.reached < until and not (tail.changes and tail.changes[-1].position > after):
                changes = await self.read(tail.firm, tail.first, until)
                tail.changes.extend(changes)
                tail.reached = changes[-1].position if len(changes) == BATCH else until
                tail.first = changes[-1].firm_position + 1 if changes else tail.first
            while len(tail.changes) > KEPT:
                tail.begins = tail.changes.popleft().position
            if after < tail.begins:
                return [], after
            return [c for c in tail.changes if c.position > after], max(tail.reached, after)


def route(service: Service) -> Endpoint:
    """`GET /v1/changes`: events named `change` with `{position, view, type, id, occurred_at}`; `Last-Event-ID` or `after` resumes."""
    feed = service.chancery.feed
    changes = Changes(service.chancery.readers)

    async def endpoint(request: Request) -> Response:
        principal = await service.principal(request)
        asked = parameters(request, ("after", "views"))
        text = request.headers.get("last-event-id") or asked.get("after") or str(feed.shown())
        if not NUMBER.fullmatch(text):
            raise HttpProblem(400, "position-malformed", "Last-Event-ID and after take a position: a whole number.")
        named = frozenset(v for v in asked.get("views", "").split(",") if v)
        unknown = sorted(named - set(COLLECTIONS))
        if unknown:
            raise HttpProblem(
                400, "unknown-view", f"There is no collection “{unknown[0][:40]}”. Known are: {', '.join(sorted(COLLECTIONS))}."
            )
        for name in sorted(named):
            principal.need(COLLECTIONS[name].permission)
        after = int(text)
        if after > feed.head:
            await service.known(after)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Chancery-Position": str(min(after, feed.head))}
        if request.method == "HEAD":
            return Response(media_type="text/event-stream", headers=headers)
        room = service.stream(principal.key)
        room.__enter__()
        request.state.long()
        return _Stream(
            _follow(service, changes, request, principal, after, named),
            lambda: room.__exit__(None, None, None),
            headers,
        )

    return endpoint


class _Stream(StreamingResponse):
    """A stream that gives its room back however it ends."""

    def __init__(self, content: AsyncIterator[bytes], leave: Any, headers: Mapping[str, str]) -> None:
        super().__init__(content, media_type="text/event-stream", headers=headers)
        self._content = content
        self._leave = leave

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()
            await self._content.aclose()  # type: ignore[attr-defined]


def _wanted(principal: Principal, named: frozenset[str]) -> frozenset[str]:
    return frozenset(
        c.name for c in COLLECTIONS.values() if c.permission in principal.permissions and (not named or c.name in named)
    )


async def _follow(
    service: Service, changes: Changes, request: Request, principal: Principal, after: int, named: frozenset[str]
) -> AsyncIterator[bytes]:
    feed = service.chancery.feed
    yield b"retry: 2000\n\n"
    tail: Tail | None = None
    try:
        tail = await changes.tail(principal.firm, max(after, feed.shown()))
        while True:
            reached = await feed.moved(after, HEARTBEAT)
            principal = await service.identify(request)  # a key that was revoked since gets no more
            if reached <= after:
                yield b": still here\n\n"
                continue
            wanted = _wanted(principal, named)
            while after < reached:
                batch, after = await changes.since(tail, after, reached)
                out = b"".join(c.shown(wanted) for c in batch)
                if out:
                    yield out
                await asyncio.sleep(0)
    except (Away, PoolTimeout, TooManyRequests, psycopg.OperationalError, psycopg.InterfaceError):
        return  # the caller comes back with Last-Event-ID
    except Exception as e:
        if of(e, request.state.request_id).status_code >= 500:
            log.warning("changes.ended", error=type(e).__name__)
        return
    finally:
        if tail is not None:
            changes.leave(tail)
