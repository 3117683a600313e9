"""Group commit on an event loop: what its coroutines append is flushed by the loop itself, without another thread."""

import asyncio
import contextlib
import time
from collections.abc import Sequence

import psycopg
import structlog

from infra.database import Database
from infra.record import wire
from infra.record.appender import transaction
from infra.record.appender.command import Append, Appended, OutcomeUnknown
from infra.record.appender.insisting import Writer
from infra.record.appender.waiting import Limits, Queue
from infra.record.conversing import Conversing

log = structlog.get_logger()

SMALL_BATCH = 4
LOOK_AFTER = 8  # commands that a loop adds before it looks whether the server has answered


class LoopWriter(Conversing):
    """Flushes on an event loop: a conversation with the server goes on whenever its socket has something, or a command is added.

    When a flush fails, a `Writer` takes the batch over in another thread, and decides what became of it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, database: Database, limits: Limits, rescuer: Writer) -> None:
        super().__init__(loop)
        self._database = database
        self._queue = Queue(limits)
        self._rescuer = rescuer
        self._batch: list[Append] = []
        self._rescue: asyncio.Task[None] | None = None
        self._due = False
        self._overlapping = False
        self._begun_at = self._landed_at = self._took = 0.0
        self._enough = SMALL_BATCH
        self._since = 0

    def append(self, append: Append) -> "asyncio.Future[Appended]":
        append.future = future = self._loop.create_future()
        self._queue.put(append)
        if self._talk is not None:
            self._since += 1
            if self._since >= LOOK_AFTER:  # the loop is in a long turn: see whether the server waits for us
                self._look()
        elif self._rescue is None:
            if self._overlapping and len(self._queue.waiting) >= self._enough and self._pipe is not None:
                self._begin()
            elif not self._due:
                self._due = True
                self._loop.call_soon(self._turn_is_over)
        return future

    def _turn_is_over(self) -> None:
        self._due = False
        # To begin with half of a turn's commands pays while making them takes about as long as writing them; while the server
        # is slow, one large flush serves more than two small ones.
        self._overlapping = (time.perf_counter() - self._landed_at) * 2 > self._took
        if self._talk is None and self._rescue is None and self._queue.waiting:
            self._begin()

    def _begin(self) -> None:
        self._batch = self._queue.take()
        self._begun_at = time.perf_counter()
        self._enough = max(SMALL_BATCH, len(self._batch) // 2)
        if self._pipe is None:
            self._rescue = self._loop.create_task(self._open(), name="append-open")
        else:
            self._talk = transaction.flushing(self._pipe, self._batch, again=False)
            self._go_on()

    def _look(self) -> None:
        """Go on if the server has answered."""
        assert self._pipe is not None  # noqa: S101 # nosec B101 - there is a conversation
        self._since = 0
        try:
            self._pipe.pg.consume_input()
            if self._pipe.pg.is_busy():
                return
        except psycopg.Error as e:
            self._failed(e)
        else:
            self._go_on()

    def _go_on(self) -> None:
        assert self._talk is not None  # noqa: S101 # nosec B101 - there is a conversation
        self._since = 0
        try:
            wants = next(self._talk)
        except StopIteration as end:
            batch, self._batch, self._talk = self._batch, [], None
            self._watch_room(False)
            self._land(batch, end.value)
        except Exception as e:
            self._failed(e)
        else:
            self._watch_room(wants)

    def _land(self, batch: Sequence[Append], results: Sequence[Appended | BaseException]) -> None:
        for a, result in zip(batch, results, strict=True):
            future = a.future
            if future is None or future.done():
                continue
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits there any more
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result)
        self._landed_at = time.perf_counter()
        self._took = self._landed_at - self._begun_at
        if not self._due:
            self._due = True
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon(self._turn_is_over)

    # --- when something is wrong

    async def _open(self) -> None:
        """Connect, and begin with the batch; let the rescuer wait for a database that is away."""
        try:
            c = await self._database.connect_async("record", writing=True)
        except psycopg.Error:
            await self._hand_over(unknown=False)
            return
        self._rescue = None
        self._talk = transaction.flushing(self._connected(c), self._batch, again=False)
        self._go_on()

    def _failed(self, e: Exception) -> None:
        log.warning("append.interrupted", error=type(e).__name__, commands=len(self._batch))
        self._talk = None
        self._drop()
        waited = time.perf_counter() - self._begun_at
        self._rescue = self._loop.create_task(self._hand_over(unknown=True, waited=waited), name="append-rescue")

    async def _hand_over(self, *, unknown: bool, waited: float = 0.0) -> None:
        batch, self._batch = self._batch, []
        try:
            results = await asyncio.to_thread(self._rescuer.flush, batch, unknown=unknown, waited=waited)
            await asyncio.to_thread(self._rescuer.drop)
        except BaseException:
            results = [OutcomeUnknown() for _ in batch]
            raise
        finally:
            self._rescue = None
            self._land(batch, results)

    def close(self) -> None:
        """Write what is waiting, blocking."""
        if self._rescue is None:
            if self._talk is not None and self._pipe is not None:
                talk, self._talk = self._talk, None
                try:
                    self._land(self._batch, wire.drive(talk, self._fd))
                except psycopg.Error:
                    self._land(self._batch, self._rescuer.flush(self._batch, unknown=True))
            while self._queue.waiting:
                batch = self._queue.take()
                self._land(batch, self._rescuer.flush(batch))
            self._rescuer.drop()
        self._drop()
