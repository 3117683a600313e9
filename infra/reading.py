"""Reads for one firm: a read-only transaction of the application role that can see no other firm's rows."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, LiteralString, cast

import psycopg
import structlog
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from domain.kernel import FirmId
from infra.database import Database
from infra.projector.engine import VIEWS_CHANNEL

log = structlog.get_logger()


class PgReader:
    """The reader port over one connection; see `reading`."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], firm: FirmId, permissions: frozenset[str]) -> None:
        self._connection = connection
        self.firm = firm
        self.permissions = permissions
        self.now = datetime.now(UTC)

    async def all(self, sql: str, **params: object) -> Sequence[Mapping[str, Any]]:
        async with self._connection.cursor(row_factory=dict_row, binary=True) as cursor:
            await cursor.execute(cast("LiteralString", sql), {"firm": self.firm, **params})
            return await cursor.fetchall()

    async def one(self, sql: str, **params: object) -> Mapping[str, Any] | None:
        async with self._connection.cursor(row_factory=dict_row, binary=True) as cursor:
            await cursor.execute(cast("LiteralString", sql), {"firm": self.firm, **params})
            return await cursor.fetchone()

    @property
    def connection(self) -> psycopg.AsyncConnection[Any]:
        """For infra's own reads of the record inside the same fence."""
        return self._connection


class Readers:
    """Gives out readers from a pool of connections of role `app`."""

    def __init__(self, database: Database, size: int = 8) -> None:
        self._pool = AsyncConnectionPool(
            database.conninfo("app"),
            min_size=2,
            max_size=size,
            open=False,
            timeout=5.0,
            max_waiting=512,
            kwargs={"autocommit": True, "prepare_threshold": 1},
            name="readers",
        )

    async def open(self) -> None:
        await self._pool.open()

    async def close(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def reading(self, firm: FirmId, permissions: frozenset[str] = frozenset()) -> AsyncIterator[PgReader]:
        """One read-only snapshot of one firm."""
        async with self._pool.connection() as c, c.pipeline():
            await c.execute("BEGIN READ ONLY")
            await c.execute("SELECT set_config('chancery.firm', %s, true)", (str(firm),))
            try:
                yield PgReader(c, firm, permissions)
            finally:
                with suppress(psycopg.OperationalError):
                    await c.execute("ROLLBACK")


class Behind(Exception):
    """The view has not reached that position yet. Try again shortly."""

    def __init__(self, view: str, position: int, reached: int) -> None:
        super().__init__(view)
        self.view = view
        self.position = position
        self.reached = reached


class Feed:
    """Where every view stands, kept by LISTEN: lets a read wait for a position and a stream of changes follow."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.positions: dict[str, int] = {}
        self.stopped: dict[str, int] = {}
        self._moved = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._task = asyncio.create_task(self._follow(), name="feed")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _follow(self) -> None:
        pause = 0.1
        while True:
            try:
                async with await self._database.connect_async("app") as c:
                    await c.execute(f"LISTEN {VIEWS_CHANNEL}")
                    pause = 0.1
                    while True:
                        await self._look(c)
                        async for _ in c.notifies(timeout=1.0, stop_after=1):
                            pass
            except psycopg.OperationalError as e:
                log.warning("feed.interrupted", error=type(e).__name__)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)

    async def _look(self, c: psycopg.AsyncConnection[Any]) -> None:
        rows = await (await c.execute("SELECT name, position, stopped_at FROM chancery.projections")).fetchall()
        positions = {name: position for name, position, _ in rows}
        self.stopped = {name: at for name, _, at in rows if at is not None}
        if positions != self.positions:
            self.positions = positions
            async with self._moved:
                self._moved.notify_all()

    def reached(self, views: Sequence[str]) -> int:
        """The position all of these views have reached."""
        return min((self.positions.get(v, 0) for v in views), default=0)

    async def wait(self, views: Sequence[str], position: int, timeout: float = 5.0) -> None:
        """Return when these views have reached the position; `Behind` when they have not in time or have stopped before it."""
        if self.reached(views) >= position:
            return
        try:
            async with asyncio.timeout(timeout):
                async with self._moved:
                    while self.reached(views) < position:
                        stuck = next((v for v in views if v in self.stopped), None)
                        if stuck is not None:
                            raise Behind(stuck, position, self.positions.get(stuck, 0))
                        await self._moved.wait()
        except TimeoutError:
            slow = min(views, key=lambda v: self.positions.get(v, 0))
            raise Behind(slow, position, self.positions.get(slow, 0)) from None

    async def moved(self, after: int, timeout: float) -> int:
        """The position all views have reached, as soon as it is beyond `after`, or when the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                async with self._moved:
                    while self.reached(list(self.positions)) <= after:
                        await self._moved.wait()
        return self.reached(list(self.positions))
