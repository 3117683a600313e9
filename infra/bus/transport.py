"""The port between consumers and whatever brings them events: the log itself, or Kafka."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any, Protocol
from uuid import UUID

import psycopg

from infra.bus.gaps import Sent
from infra.bus.handling import Outcome


@dataclass(frozen=True, slots=True)
class Task:
    """A firm that has something for the group; what was sent of it, in the order it came. Nothing sent: the store has it."""

    firm: UUID
    sent: Sequence[Sent]


class Transport(Protocol):
    """Brings firms that have events. One firm is never with two workers of a process at once."""

    name: str

    def follow(self, stop: Event) -> None:
        """Fetch, until told to stop."""
        ...

    def look(self) -> None:
        """Look at the store: somebody has set the group back."""
        ...

    def take(self, c: psycopg.Connection[Any], seconds: float) -> Task | None:
        """The next task, or None after about so many seconds."""
        ...

    def done(self, task: Task, outcome: Outcome | None) -> None:
        """A task is given back: with what came of it, or None when nothing is known of it."""
        ...

    def close(self) -> None:
        """Give everything back to the group. Workers have ended."""
        ...
