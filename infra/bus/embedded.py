"""The bus without Kafka: the log itself. Consumers of a group share the firms that have something for them, woken by the record.

There is no leader and nothing to rebalance: whoever finds a firm that is behind locks the group's place in it, works, and lets go.
A consumer that dies lets go with its connection.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from threading import Event
from typing import Any
from uuid import UUID

import psycopg
import structlog

from infra.bus import positions
from infra.bus.handling import Outcome
from infra.bus.subscription import Subscription
from infra.bus.transport import Task
from infra.database import Database, interrupted
from infra.record.appender import CHANNEL

log = structlog.get_logger()

LOOK = 0.5  # seconds after which the record is looked at though nobody called


class Embedded:
    """The log as a transport."""

    name = "embedded"

    def __init__(self, subscription: Subscription, database: Database) -> None:
        self._subscription = subscription
        self._database = database
        self._turn = threading.Condition()
        self._found: deque[UUID] = deque()
        self._resting: dict[UUID, float] = {}  # firms to be left alone until then
        self._busy: set[UUID] = set()
        self._called = True
        self._looking = False
        self._looked = 0.0

    def follow(self, stop: Event) -> None:
        """Listen for what is recorded until told to stop; the database may go away and come back."""
        pause = 0.1
        while not stop.is_set():
            try:
                with self._database.connect("record") as c:
                    c.execute(f"LISTEN {CHANNEL}")
                    pause = 0.1
                    self.look()
                    while not stop.is_set():
                        for _ in c.notifies(timeout=LOOK, stop_after=1):
                            self.look()
            except psycopg.Error as e:
                interrupted(log, "bus.interrupted", e, group=self._subscription.group)
                stop.wait(pause)
                pause = min(pause * 2, 5.0)

    def look(self) -> None:
        """Something may be new: the record is looked at by the next worker that has time."""
        with self._turn:
            self._called = True
            self._turn.notify()

    def take(self, c: psycopg.Connection[Any], seconds: float) -> Task | None:
        until = time.monotonic() + seconds
        with self._turn:
            while True:
                now = time.monotonic()
                self._awake(now)
                firm = next((f for f in self._found if f not in self._busy), None)
                if firm is not None:
                    self._found.remove(firm)
                    self._busy.add(firm)
                    return Task(firm, ())
                if not self._looking and (self._called or now - self._looked >= LOOK):
                    self._looking, self._called = True, False
                    break
                if now >= until:
                    return None
                self._turn.wait(max(0.001, min([until, *self._resting.values()]) - now))
            besides = list(self._busy | self._resting.keys())
        found: Sequence[tuple[UUID, int, bool]] = ()
        try:
            positions.enroll(c, self._subscription.group)
            found = positions.behind(c, self._subscription.group, besides=besides)
        finally:
            with self._turn:
                self._looking, self._looked = False, time.monotonic()
                known = set(self._found)
                self._found += [f for f, _, _ in found if f not in known and f not in self._busy]
                self._turn.notify_all()
        return None

    def _awake(self, now: float) -> None:
        for firm in [f for f, at in self._resting.items() if at <= now]:
            del self._resting[firm]
            if firm not in self._found:
                self._found.append(firm)

    def done(self, task: Task, outcome: Outcome | None) -> None:
        with self._turn:
            self._busy.discard(task.firm)
            if outcome is not None and outcome.wait > 0:
                self._resting[task.firm] = time.monotonic() + min(outcome.wait, LOOK)
            elif outcome is not None and outcome.more and task.firm not in self._found:
                self._found.append(task.firm)
            self._turn.notify()

    def close(self) -> None:
        return None
