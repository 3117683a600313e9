"""How far the views are, as every process sees it: what was written is waited for, and not asked for."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import structlog

from domain.kernel import EVENTS
from infra.database import Database, interrupted
from infra.projector.engine import VIEWS_CHANNEL
from projections.kernel import VIEWS

log = structlog.get_logger()

IDENTITY = ("keys", "firms")  # the views, and the contexts, that say who a key lets in
LOOK_SECONDS = 5.0
LOOK_EVERY = 1.0  # seconds; what notices do not say is seen then
MOST_WAITING = 200
_WHERE = (
    "SELECT name, CASE WHEN name = 'search' AND (SELECT engine FROM chancery.search_engine) <> %s THEN 0 ELSE position END,"
    " stopped_at, (SELECT position FROM record.head), process FROM chancery.projections"
    " WHERE version > 0"  # a chore has no position (infra.chores)
    " UNION ALL SELECT '', 0, NULL, position, '' FROM record.head WHERE NOT EXISTS (SELECT FROM chancery.projections WHERE version > 0)"
)
_KEYS_OF = "SELECT DISTINCT firm_id FROM record.events WHERE type = ANY(%s) AND position > %s AND position <= %s"


class Behind(Exception):
    """The view has not reached that position yet. Try again shortly."""

    def __init__(self, view: str, position: int, reached: int) -> None:
        super().__init__(view)
        self.view = view
        self.position = position
        self.reached = reached


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Who waits until views have reached a position; told None when they have, else why they won't."""

    views: Sequence[str]
    position: int
    told: "asyncio.Future[Behind | None]"


class Feed:
    """Where the record and every view stand, kept by LISTEN: lets a read wait for a position and a stream of changes follow.

    `away` says that the database does not answer; `epoch` changes when what is known of a firm's keys may be out of date.
    """

    def __init__(
        self,
        database: Database,
        *returned: Callable[[], Awaitable[None]],
        instead: Mapping[str, str] | None = None,
        search: str = "postgres",
    ) -> None:
        """`returned` are called when the database is back after an interruption; `instead` names who serves what a view would. `search`
        is the engine that answers here: how far another one is counts for nothing."""
        self._instead = instead or {}
        self._search = search
        self._database = database
        self._returned = returned
        self.positions: dict[str, int] = {}
        self.stopped: dict[str, int] = {}
        self.processes: dict[str, str] = {}
        self.head = 0
        self.away = False
        self._written = 0
        self._unseen = False
        self._looked = 0.0
        self._keys_at = -1
        self._epoch = 0
        self._epochs: dict[UUID, int] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._following: dict[int, tuple[int, asyncio.Future[None]]] = {}
        self._first = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._task = asyncio.create_task(self._follow(), name="feed")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._first.wait(), 5.0)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _follow(self) -> None:
        pause = 0.05
        while True:
            try:
                async with await self._database.connect_async("record") as c:
                    self._written = 0
                    c.add_notify_handler(lambda notice: self._told(notice.payload))  # what comes while we look
                    async with asyncio.timeout(LOOK_SECONDS):
                        await c.execute(f"LISTEN {VIEWS_CHANNEL}")
                        await self._look(c)
                        for back in self._returned if self._first.is_set() else ():
                            await back()
                    self.away = False
                    self._first.set()
                    pause = 0.05
                    while True:
                        await self._listen(c, self._looked + LOOK_EVERY - time.monotonic())
                        async with asyncio.timeout(LOOK_SECONDS):
                            await self._look(c)
            except (psycopg.Error, OSError, TimeoutError) as e:
                if pause > 0.05:  # one lost connection is not the database's loss: that it can't be had again is
                    self.away = True
                    self._say()
                interrupted(log, "feed.interrupted", e)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)

    async def _listen(self, c: psycopg.AsyncConnection[Any], seconds: float) -> None:
        """Hear what is said, as it comes and without waking anybody else for it, until it is time to look."""
        loop, pg = asyncio.get_running_loop(), c.pgconn
        due: asyncio.Future[None] = loop.create_future()

        def hear() -> None:
            try:
                pg.consume_input()
                for notice in iter(pg.notifies, None):
                    self._told(notice.extra.decode())
                if self._unseen and not due.done():
                    due.set_result(None)
            except Exception as e:
                if not due.done():
                    due.set_exception(e)

        fd = pg.socket
        loop.add_reader(fd, hear)
        try:
            hear()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(seconds, 0)):
                    await due
        finally:
            loop.remove_reader(fd)

    def _told(self, payload: str) -> None:
        """Somebody says how far views are, so that who waits for one need not wait for us to look: `position touched… | untouched…`, where
        `search:engine` names the engine. We must look when nobody is named, or one we don't know, or when who is let in may have changed:
        whose keys did is found out before those views count as moved.
        """
        position, _, names = payload.partition(" ")
        touched, _, others = names.partition("|")
        moved = others.split()
        self._unseen = self._unseen or not names
        for said in touched.split():
            name, _, engine = said.partition(":")
            if name in IDENTITY:
                self._unseen = True
            elif engine in ("", self._search):
                moved.append(name)
        self._unseen = self._unseen or not self.positions.keys() >= set(moved)
        fresh = {name: int(position) for name in moved if self.positions.get(name, 2**63) < int(position)}
        if fresh:
            self.positions = {**self.positions, **fresh}
            self.head = max(self.head, int(position))
            self._say()

    def written(self, position: int) -> None:
        """A write was answered here: the record has this position."""
        self._written = max(self._written, position)
        self.head = max(self.head, position)

    def _say(self) -> None:
        """Let those who wait know what has changed for them."""
        for n, waiting in list(self._waiting.items()):
            self._settle(n, waiting)
        if self._following:
            shown = self.shown()
            for n, (after, told) in list(self._following.items()):
                if shown > after or self.away:
                    del self._following[n]
                    if not told.done():
                        told.set_result(None)

    def _settle(self, n: int, waiting: _Waiting) -> None:
        why: Behind | None = None
        if self.reached(waiting.views) < waiting.position:
            stuck = next((v for v in waiting.views if v in self.stopped), None)
            if stuck is None and not self.away:
                return
            why = self._behind(waiting.views, waiting.position, stuck)
        self._waiting.pop(n, None)
        if not waiting.told.done():
            waiting.told.set_result(why)

    def _behind(self, views: Sequence[str], position: int, view: str | None = None) -> "Behind":
        slow = view if view is not None else min(views, key=lambda v: self.positions.get(v, 0))
        return Behind(slow, position, self.positions.get(slow, 0))

    async def _look(self, c: psycopg.AsyncConnection[Any]) -> None:
        self._unseen = False
        rows = await (await c.execute(_WHERE, (self._search,))).fetchall()
        head = int(rows[0][3]) if rows else 0
        positions = {name: position for name, position, _, _, _ in rows if name}
        stopped = {name: at for name, _, at, _, _ in rows if at is not None}
        self.processes = {name: process for name, _, _, _, process in rows if name}
        await self._look_at_keys(c, min(positions.get(view, 0) for view in IDENTITY))
        changed = positions != self.positions or stopped != self.stopped
        self.head = max(head, self._written)
        self.positions, self.stopped, self._looked = positions, stopped, time.monotonic()
        if changed:
            self._say()

    async def _look_at_keys(self, c: psycopg.AsyncConnection[Any], reached: int) -> None:
        if reached == self._keys_at:
            return
        if reached < self._keys_at or self._keys_at < 0 or len(self._epochs) > 10_000:
            self._epoch += 1
            self._epochs.clear()
        else:
            names = [name for name in EVENTS if name.partition(".")[0] in IDENTITY]
            for (firm,) in await (await c.execute(_KEYS_OF, (names, self._keys_at, reached))).fetchall():
                self._epochs[firm] = self._epochs.get(firm, 0) + 1
        self._keys_at = reached

    def epoch(self, firm: UUID) -> tuple[int, int] | None:
        """Changes when a key or the firm itself has changed as far as their views show it; None when that can't be told now."""
        if self.away or time.monotonic() - self._looked > LOOK_SECONDS:
            return None
        return self._epoch, self._epochs.get(firm, 0)

    def reached(self, views: Sequence[str]) -> int:
        """The position all of these views have reached."""
        views = self._serving(views)
        return min((self.positions.get(v, 0) for v in views), default=self.head)

    def _serving(self, views: Sequence[str]) -> Sequence[str]:
        return tuple(dict.fromkeys(self._instead.get(v, v) for v in views)) if self._instead else views

    def shown(self) -> int:
        """The position all views show, those left out that an event has stopped; what else follows the record holds nobody back."""
        return min((p for v, p in self.positions.items() if v in VIEWS and v not in self.stopped), default=0)

    async def wait(self, views: Sequence[str], position: int, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - callers differ
        """Return when these views have reached the position; `Behind` when they have not in time or have stopped before it."""
        views = self._serving(views)
        if self.reached(views) >= position:
            return
        if len(self._waiting) >= MOST_WAITING:
            raise self._behind(views, position)
        waiting = _Waiting(views, position, asyncio.get_running_loop().create_future())
        n = id(waiting)
        self._waiting[n] = waiting
        try:
            self._settle(n, waiting)
            async with asyncio.timeout(timeout):
                why = await waiting.told
        except TimeoutError:
            raise self._behind(views, position) from None
        finally:
            self._waiting.pop(n, None)
        if why is not None:
            raise why

    async def moved(self, after: int, timeout: float) -> int:  # noqa: ASYNC109 - a heartbeat, not a failure
        """The position all views show, as soon as it is beyond `after`, or when the time is over or the database is away."""
        if self.shown() <= after and not self.away:
            told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._following[id(told)] = after, told
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(timeout):
                        await told
            finally:
                self._following.pop(id(told), None)
        return self.shown()
