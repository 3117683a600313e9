"""Asking from the event loop without letting an engine that hangs hold anybody up.

Few ask at once, because a reader that asks holds a connection to the database meanwhile; who finds no room soon is sent away. The first who
ask an engine that does not answer wait four seconds at most; after that everybody is told at once, while one in a second tries whether it
is back.
"""

import asyncio
import time
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import structlog

from infra.search.elastic.client import Elastic, Unreachable

log = structlog.get_logger()

PATIENCE = 4.0  # seconds for everything one read asks
AT_ONCE = 4  # who ask: half of the readers' connections
ROOM_SECONDS = 0.5  # that one waits for room
SLOW = 1.0  # seconds without an answer, from which on few may wait
FEW = 2
TRY_AGAIN = 1.0


class Guard:
    """One for a process. `away` says that the engine did not answer when it was last asked."""

    def __init__(self, elastic: Elastic) -> None:
        self._elastic = elastic
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="elasticsearch")
        self._asked: dict[int, float] = {}
        self._room = asyncio.Semaphore(AT_ONCE)
        self._count = 0
        self._answered = 0.0
        self._next_try = 0.0
        self.away = False

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._elastic.close()

    def check(self) -> None:
        """EngineUnusable, in words, when the engine can't be used."""
        self._elastic.check()

    def deadline(self) -> float:
        """Until when one read may ask."""
        return time.monotonic() + PATIENCE

    async def ask(self, method: str, path: str, body: Any, *, until: float, fine: Collection[int] = ()) -> Any:
        """What the engine answers; Unreachable when it does not, or when it is not worth waiting for."""
        now = time.monotonic()
        left = until - now
        if left <= 0.05:
            raise Unreachable("too late")
        trying = self.away
        if trying:
            if now < self._next_try:
                raise Unreachable("away")
            self._next_try = now + max(TRY_AGAIN, left)  # nobody else tries until this try has ended
        elif len(self._asked) >= FEW and self._hanging(now):
            raise Unreachable("hanging")
        try:
            async with asyncio.timeout(min(ROOM_SECONDS, left)):
                await self._room.acquire()
        except TimeoutError:
            raise Unreachable("crowded") from None
        if self.away and not trying:  # it went away while this one waited
            self._room.release()
            raise Unreachable("away")
        self._count += 1
        number = self._count
        self._asked[number] = now = time.monotonic()
        left = until - now
        future = self._threads.submit(self._elastic.ask, method, path, body, timeout=left, fine=fine)
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda f: loop.call_soon_threadsafe(self._done, number, f) if not loop.is_closed() else None)
        answer = asyncio.wrap_future(future)
        answer.add_done_callback(lambda f: f.cancelled() or f.exception())  # nobody may be there any more to be told
        try:
            return await asyncio.wait_for(asyncio.shield(answer), left + 0.25)
        except TimeoutError:
            raise Unreachable("timeout") from None

    def _hanging(self, now: float) -> bool:
        oldest = min(self._asked.values())
        return now - oldest > SLOW and self._answered < oldest

    def _done(self, number: int, future: "Future[Any]") -> None:
        self._asked.pop(number, None)
        self._room.release()
        if future.cancelled():
            return
        error = future.exception()
        now = time.monotonic()
        if isinstance(error, Unreachable):
            self._next_try = now + TRY_AGAIN
            if not self.away:
                log.warning("search.away", engine="elasticsearch", why=str(error))
            self.away = True
            return
        self._answered = now
        if self.away:
            log.info("search.back", engine="elasticsearch")
        self.away = False
