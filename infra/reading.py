"""Reads for one firm: a read-only transaction of the application role that can see no other firm's rows."""

import asyncio
import functools
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID
from weakref import WeakKeyDictionary

import psycopg
import structlog
from psycopg.abc import Transformer as Values
from psycopg.adapt import Transformer
from psycopg.pq.abc import PGresult
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from domain.kernel import FirmId
from infra.database import Database
from infra.record import wire

log = structlog.get_logger()

_VIEWS = re.compile(r"\bviews\.")


@dataclass(frozen=True, slots=True)
class Moment:
    """What a read wants to see: the business time `as_of`, and what was known at a position or a recorded time; None means now, and all."""

    as_of: datetime | None = None
    known_at: int | datetime | None = None

    @property
    def scope(self) -> tuple[str, ...]:
        """What page tokens are bound to."""
        return (str(self.as_of), str(self.known_at)) if self else ()

    def __bool__(self) -> bool:
        return self.as_of is not None or self.known_at is not None


NOW = Moment()
_ENTER = wire.Statement(
    b"reading_enter",
    b"SELECT set_config('chancery.firm', $1, true), set_config('chancery.actor', $2, true), set_config('chancery.now', $3, true)",
    (wire.TEXT, wire.TEXT, wire.TEXT),
)


@functools.cache
def _prepared(sql: str) -> wire.Statement:
    text = sql.replace("%(firm)s", "$1").replace("%(id)s", "$2")
    return wire.Statement(
        b"reading_" + hashlib.sha256(text.encode()).hexdigest()[:20].encode(), text.encode(), (wire.UUID, wire.UUID)
    )


async def enter_firm(c: psycopg.AsyncConnection[Any], firm: FirmId, actor: str) -> datetime:
    """Let the transaction see this firm, as this actor; answers the present as it has it."""
    now = datetime.now(UTC)
    await c.execute(
        "SELECT set_config('chancery.firm', %s, true), set_config('chancery.actor', %s, true), set_config('chancery.now', %s, true)",
        (str(firm), actor, now.isoformat()),
    )
    return now


async def enter(c: psycopg.AsyncConnection[Any], moment: Moment, prefix: str = "") -> None:
    """Let the transaction see this moment: in `at.x`, or with the prefix `vs_` in `before.x`."""
    if not moment:
        return
    known = moment.known_at
    await c.execute(
        f"SELECT set_config('chancery.{prefix}as_of', coalesce(%s::timestamptz::text, ''), true), set_config('chancery.{prefix}known_at',"
        " coalesce(coalesce(%s::bigint, chancery.position_at(%s::timestamptz))::text, ''), true)",
        (moment.as_of, known if isinstance(known, int) else None, known if isinstance(known, datetime) else None),
    )


class Caller(Protocol):
    """Who reads: the actor as the record names it, and the member it is, if it is one."""

    @property
    def actor(self) -> object: ...

    @property
    def member(self) -> UUID | None: ...


Ports = Mapping[str, Callable[["PgReader"], object]]
"""What else a reader has at hand, by name: each is made for the reader, so that it sees the same firm at the same moment."""


class PgReader:
    """The reader port over one connection; see `reading`. Of another moment, it reads `at.x` where the SQL says `views.x`."""

    def __init__(
        self,
        connection: psycopg.AsyncConnection[Any],
        firm: FirmId,
        permissions: frozenset[str],
        moment: Moment = NOW,
        ports: Ports | None = None,
        by: Caller | None = None,
        now: datetime | None = None,
    ) -> None:
        self.actor = str(by.actor) if by is not None else ""
        self.member = by.member if by is not None else None
        self._connection = connection
        self._moment = moment
        self.firm = firm
        self.permissions = permissions
        self.now = moment.as_of or now or datetime.now(UTC)
        for name, made in (ports or {}).items():
            setattr(self, name, made(self))

    @property
    def moment(self) -> Moment:
        """What this reader sees; false when that is the present."""
        return self._moment

    def _at(self, sql: str) -> str:
        return _VIEWS.sub("at.", sql) if self._moment else sql

    async def all(self, sql: str, **params: object) -> Sequence[Mapping[str, Any]]:
        async with self._connection.cursor(row_factory=dict_row, binary=True) as cursor:
            await cursor.execute(self._at(sql), {"firm": self.firm, **params})
            return await cursor.fetchall()

    async def one(self, sql: str, **params: object) -> Mapping[str, Any] | None:
        async with self._connection.cursor(row_factory=dict_row, binary=True) as cursor:
            await cursor.execute(self._at(sql), {"firm": self.firm, **params})
            return await cursor.fetchone()

    @property
    def connection(self) -> psycopg.AsyncConnection[Any]:
        """For infra's own reads of the record inside the same fence."""
        return self._connection


class _Raw:
    """A connection spoken to without psycopg's cursors, and how it reads the answers to its statements."""

    def __init__(self, c: psycopg.AsyncConnection[Any]) -> None:
        self.pipe = wire.Pipe(c.pgconn)
        self._adapters = c.adapters
        self._known: dict[wire.Statement, tuple[Values, tuple[str, ...], list[int]]] = {}

    def row(self, statement: wire.Statement, found: PGresult) -> Mapping[str, Any] | None:
        """The first row."""
        if not found.ntuples:
            return None
        types = [found.ftype(n) for n in range(found.nfields)]
        known = self._known.get(statement)
        fresh = known is None or known[2] != types
        if known is None or fresh:
            names = tuple((found.fname(n) or b"").decode() for n in range(found.nfields))
            known = self._known[statement] = Transformer(self._adapters), names, types
        rows = known[0]
        rows.set_pgresult(found, set_loaders=fresh)
        return dict(zip(known[1], rows.load_row(0, tuple) or (), strict=True))


class Readers:
    """Gives out readers from a pool of connections of role `app`."""

    def __init__(self, database: Database, size: int = 8, ports: Ports | None = None) -> None:
        self._ports = ports
        self._raw: WeakKeyDictionary[psycopg.AsyncConnection[Any], _Raw] = WeakKeyDictionary()
        self._pool = AsyncConnectionPool(
            database.conninfo("app"),
            min_size=2,
            max_size=size,
            open=False,
            timeout=3.0,
            max_waiting=512,
            reconnect_timeout=3.0,
            kwargs={"autocommit": True, "prepare_threshold": 1},
            configure=database.check_session,
            name="readers",
        )

    async def open(self) -> None:
        await self._pool.open()

    async def close(self) -> None:
        await self._pool.close()

    async def check(self) -> None:
        """Replace the connections that broke."""
        await self._pool.check()

    async def one(self, firm: FirmId, sql: str, id: UUID, by: Caller) -> Mapping[str, Any] | None:
        """What `reading` and `one` answer for SQL that knows `firm` and `id` alone, of the present and in one round trip: statements that
        are sent together are one transaction. Each SQL stays prepared, so there must be few of them."""
        statement = _prepared(sql)
        async with self._pool.connection() as c:
            raw = self._raw.get(c)
            if raw is None:
                raw = self._raw[c] = _Raw(c)
            pipe = raw.pipe
            pipe.add(_ENTER, str(firm).encode(), str(by.actor).encode(), datetime.now(UTC).isoformat().encode())
            pipe.add(statement, firm.bytes, id.bytes)
            try:
                _, found = await _converse(pipe.sending(), c.pgconn.socket)
            except psycopg.Error:
                raise
            except BaseException:  # whoever asked has gone: nobody will take the answer
                await c.close()
                raise
            return raw.row(statement, found)

    @asynccontextmanager
    async def reading(
        self,
        firm: FirmId,
        permissions: frozenset[str] = frozenset(),
        moment: Moment = NOW,
        versus: Moment = NOW,
        by: Caller | None = None,
    ) -> AsyncIterator[PgReader]:
        """One read-only transaction in one firm, as it is or as of another moment; `before.x` shows it as of `versus`."""
        async with self._pool.connection() as c, c.pipeline():
            await c.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            actor = str(by.actor) if by is not None else ""
            now = await enter_firm(c, firm, actor)
            await enter(c, moment)
            await enter(c, versus, "vs_")
            try:
                yield PgReader(c, firm, permissions, moment, self._ports, by, now)
            finally:
                with suppress(psycopg.OperationalError, psycopg.InterfaceError):
                    await c.execute("ROLLBACK")


async def _converse(talk: wire.Talk[list[PGresult]], fd: int) -> list[PGresult]:
    """Hold a conversation to its end on the running loop."""
    loop = asyncio.get_running_loop()
    try:
        writing = next(talk)
        while True:
            ready: asyncio.Future[None] = loop.create_future()
            loop.add_reader(fd, _done, ready)
            if writing:
                loop.add_writer(fd, _done, ready)
            try:
                await ready
            finally:
                loop.remove_reader(fd)
                if writing:
                    loop.remove_writer(fd)
            writing = next(talk)
    except StopIteration as end:
        results: list[PGresult] = end.value
        return results


def _done(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
