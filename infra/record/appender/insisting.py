"""Appending with patience: while the database is away a batch is tried again, until what became of it is known (R4)."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import psycopg
import structlog

from infra.database import Database
from infra.record.appender.command import Append, Appended, OutcomeUnknown, Unavailable
from infra.record.appender.relieving import relieve
from infra.record.appender.transaction import flush

log = structlog.get_logger()


class Tries:
    """How long a batch is tried again while the database is away: pauses grow, and when a session was ended that held up the others, time
    begins anew."""

    def __init__(self, database: Database, patience: float, stopping: threading.Event | None = None) -> None:
        self._database = database
        self._patience = patience
        self._stopping = stopping
        self._begun = time.monotonic()
        self._until = self._begun + patience
        self._pause = 0.05

    def again(self) -> bool:
        """Wait before the next try; False where there is to be none."""
        if relieve(self._database, time.monotonic() - self._begun):
            self._until = time.monotonic() + self._patience
        if time.monotonic() + self._pause > self._until or (self._stopping is not None and self._stopping.is_set()):
            return False
        time.sleep(self._pause)
        self._pause = min(self._pause * 2, 1.0)
        self._begun = time.monotonic()
        return True


class Writer:
    """Flushes batches, blocking, and tries again while the database is away."""

    def __init__(self, database: Database, *, patience: float, stopping: threading.Event) -> None:
        self._database = database
        self._patience = patience
        self._stopping = stopping
        self._connection: psycopg.Connection[Any] | None = None

    def flush(self, batch: Sequence[Append], *, unknown: bool = False, waited: float = 0.0) -> Sequence[Appended | BaseException]:
        """The batch's results. `unknown`: an earlier attempt, which took `waited` seconds, may have been committed."""
        relieve(self._database, waited)
        tries = Tries(self._database, self._patience, self._stopping)
        while True:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = self._database.connect("record", writing=True)
                return flush(self._connection, batch, again=unknown)
            except BaseException as e:
                if not self._interrupted(e):
                    log.exception("append.failed", commands=len(batch))
                    self.drop()
                    if len(batch) == 1:
                        return [e]
                    # so that one bad command fails alone
                    return [result for one in batch for result in self.flush([one], unknown=unknown)]
                # Anything may have happened to the transaction: the next attempt finds its commands, or writes them.
                unknown = unknown or self._connection is not None
                log.warning("append.interrupted", error=type(e).__name__, commands=len(batch))
                self.drop()
                if not tries.again():
                    return [OutcomeUnknown() if unknown else Unavailable() for _ in batch]

    def _interrupted(self, e: BaseException) -> bool:
        """Whether the database went away, rather than a command being one that can't be written."""
        if isinstance(e, (psycopg.OperationalError, psycopg.InterfaceError)):
            return True
        return isinstance(e, psycopg.Error) and self._connection is not None and self._connection.closed

    def drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
