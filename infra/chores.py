"""Chores: followers that hold nothing to be read, and look now and then whether there is something to do.

One process of an installation does a chore at a time; others wait for it to go. A chore shows in `chancery.projections` that it is alive and
what went wrong, with the version 0: it has no position that a read could wait for.
"""

import hashlib
from abc import ABC, abstractmethod
from threading import Event
from typing import Any

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from infra.database import DatabaseUnusable, interrupted
from infra.followers import Parts, Progress

log = structlog.get_logger()

VERSION = 0
_SHOW = (
    "INSERT INTO chancery.projections (name, version, position) SELECT %s, %s, position FROM record.head ON CONFLICT (name) DO UPDATE"
    " SET version = excluded.version, position = excluded.position, error = %s, updated_at = now()"
)


class Chore(ABC):
    """`lock` is the advisory lock of whoever does it; `work` does what there is to do."""

    name: str
    lock: int

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @abstractmethod
    def work(self, c: psycopg.Connection[Any]) -> tuple[float, str | None]:
        """Do what is due; answers the seconds until the next look, and what could not be done."""

    @abstractmethod
    def again(self) -> None:
        """What a rebuild means here."""

    def run(self, stop: Event) -> None:
        while not stop.is_set():
            try:
                self._run(stop)
            except (psycopg.Error, PoolTimeout, DatabaseUnusable) as e:  # the database goes away and comes back
                interrupted(log, "chore.interrupted", e, chore=self.name)
                stop.wait(2.0)

    def _run(self, stop: Event) -> None:
        with self._parts.database.connect("record") as c:
            while not (c.execute("SELECT pg_try_advisory_lock(%s)", (self.lock,)).fetchone() or (False,))[0]:
                if stop.wait(1.0):
                    return
            while not stop.is_set():
                pause, error = self.work(c)
                c.execute(_SHOW, (self.name, VERSION, error))
                stop.wait(pause)

    def rebuild(self, *, progress: Progress | None = None) -> int:
        self.again()
        with self._parts.database.connect("record") as c:
            head = int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])
        if progress is not None:
            progress(head, head)
        return head

    def digest(self) -> str:
        """Of nothing."""
        return hashlib.sha256(b"").hexdigest()
