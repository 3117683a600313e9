"""The group-commit writer of a process: where threads and event loops hand in what is to be appended."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future

import structlog

from infra.database import Database
from infra.record.appender.command import Append, Appended, OutcomeUnknown, Unavailable
from infra.record.appender.insisting import Writer
from infra.record.appender.looping import LoopWriter
from infra.record.appender.waiting import Limits, Queue

log = structlog.get_logger()


class Appender:
    """The group-commit writer of a process: threads submit to a thread that flushes, an event loop flushes what its coroutines append.

    At most `max_waiting` commands and `max_bytes` wait; more are refused with `Busy`. A loop flushes without another thread: it
    makes commands while the server works on the flush before. What it submits in one turn is flushed together; while the server is fast,
    already when half of the last batch is there, so that it decides the other half while the server takes the first.
    """

    def __init__(
        self,
        database: Database,
        *,
        max_waiting: int = 4_096,
        max_bytes: int = 64_000_000,
        batch_commands: int = 512,
        batch_bytes: int = 8_000_000,
        patience: float = 10.0,
    ) -> None:
        self.database = database
        self._limits = Limits(max_waiting, max_bytes, batch_commands, batch_bytes)
        self._stopping = threading.Event()
        self._patience = patience
        self._queue = Queue(self._limits)
        self._wake = threading.Condition()
        self._loops: dict[asyncio.AbstractEventLoop, LoopWriter] = {}
        self._with_it: list[tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = []
        self._thread: threading.Thread | None = None

    # --- submitting

    def submit(self, append: Append) -> None:
        """Queue a command; its `done` is called from the flusher's thread."""
        with self._wake:
            if self._stopping.is_set():
                raise Unavailable
            self._queue.put(append)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="appender", daemon=True)
                self._thread.start()
            self._wake.notify()

    def append(self, append: Append) -> "asyncio.Future[Appended]":
        """Append from an event loop; await what this answers."""
        if self._stopping.is_set():
            raise Unavailable
        loop = asyncio.get_running_loop()
        writer = self._loops.get(loop)
        if writer is None:
            writer = self._loops[loop] = LoopWriter(loop, self.database, self._limits, self._writer())
        return writer.append(append)

    def append_now(self, append: Append, *, timeout: float | None = 60.0) -> Appended:
        """Append from a thread and wait."""
        future: Future[Appended] = Future()

        def done(result: Appended | BaseException) -> None:
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)

        append.done = done
        self.submit(append)
        try:
            return future.result(timeout)
        except TimeoutError as e:
            raise OutcomeUnknown from e

    def close(self) -> None:
        """Write what is waiting, then stop. Called where a loop runs that appends, it writes what is waiting there too."""
        self._stopping.set()
        with self._wake:
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        for loop, close in [*((loop, writer.close) for loop, writer in self._loops.items()), *self._with_it]:
            if not loop.is_running() or loop is _running():
                close()
            else:
                closed = threading.Event()
                loop.call_soon_threadsafe(lambda close=close, c=closed: (close(), c.set()))  # type: ignore[misc]
                closed.wait(self._patience)
        self._loops.clear()
        self._with_it.clear()

    def close_too(self, loop: asyncio.AbstractEventLoop, close: Callable[[], None]) -> None:
        """Call this on its loop when the appender is closed."""
        self._with_it.append((loop, close))

    def _writer(self) -> Writer:
        return Writer(self.database, patience=self._patience, stopping=self._stopping)

    # --- the thread

    def _run(self) -> None:
        writer = self._writer()
        while True:
            with self._wake:
                while not self._queue.waiting:
                    if self._stopping.is_set():
                        writer.drop()
                        return
                    self._wake.wait()
                batch = self._queue.take()
            for a, result in zip(batch, writer.flush(batch), strict=True):
                if a.done is not None:
                    try:
                        a.done(result)
                    except Exception:  # a submitter's mistake must not stop the writer
                        log.exception("append.callback_failed")


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
