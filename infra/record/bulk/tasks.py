"""What an import is asked to do, what becomes of it, and a task on its way from the one to the other."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from commands.kernel import Actor, Command, Work
from domain.kernel import Refused, Stream
from infra.record.appender import CommandIdReused
from infra.record.encoding import Rows
from infra.record.execute import spec_of
from infra.record.vault import NewKey

Key = tuple[str, UUID]
Run = Callable[[Work], Awaitable[Mapping[str, object] | None]]


@dataclass(slots=True, kw_only=True)
class Task:
    """One command's worth of work.

    `key` names it in this firm for ever: under a key that was used before, the first answer comes back and nothing runs; when
    `said` is then another, the outcome is `CommandIdReused`. Without a key it is a new command each time. `reads` are streams it is
    likely to load: they are fetched for many tasks at once. `label` is the caller's own.
    """

    run: Run
    key: str | None = None
    said: bytes = b""
    target: UUID | None = None
    expected_version: int | None = None
    occurred_at: datetime | None = None
    reads: Sequence[tuple[Stream[Any, Any], UUID]] = ()
    label: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a task: an answer, or why there is none (`refused` by a rule, `failed` otherwise; nothing was written then)."""

    task: Task
    position: int = 0
    answer: Mapping[str, Any] = field(default_factory=dict)
    replayed: bool = False
    refused: Refused | None = None
    failed: Exception | None = None


def command_task(command: Command, *, actor: Actor, key: str | None = None, target: UUID | None = None, **how: Any) -> Task:
    """The task that carries out a command through its handler, as `Executor.execute` would; the same key means the same there."""
    spec = spec_of(command)
    if target is None and spec.target is not None:
        target = getattr(command, "id", None)
    said = "\x00".join((spec.name, str(actor), str(target), command.model_dump_json())).encode() if key is not None else b""

    async def run(work: Work) -> Mapping[str, object] | None:
        return await spec.handler(command, work)

    return Task(run=run, key=key, said=said, target=target, **how)


@dataclass(slots=True, eq=False)
class Doing:
    """A task on its way: what it read, and its rows but for their places."""

    task: Task
    command_id: UUID
    mac: bytes
    attempt: int = 1
    work: Work | None = None
    body: dict[str, Any] = field(default_factory=dict)
    expected: dict[Key, int] = field(default_factory=dict)
    written: dict[Key, int] = field(default_factory=dict)
    count: int = 0  # of its events
    rows: Rows | None = None
    first: int = 0  # its first among the rows
    keys: list[NewKey] = field(default_factory=list)
    answer: bytes = b""
    refused: Refused | None = None
    size: int = 0
    here: bool = False  # encoded by this process, whatever it costs
    encoding: "Future[bytearray] | None" = None
    place: int = 0  # in the piece that is being encoded

    def again(self, *, here: bool = False) -> "Doing":
        return Doing(self.task, self.command_id, self.mac, self.attempt + 1, here=here or self.here)


@dataclass(slots=True)
class Written:
    """The result of one transaction."""

    outcomes: list[Outcome] = field(default_factory=list)
    again: list[Doing] = field(default_factory=list)
    stale: set[Key] = field(default_factory=set)
    keys: list[NewKey] = field(default_factory=list)

    def joined(self, more: "Written") -> "Written":
        self.outcomes += more.outcomes
        self.again += more.again
        self.stale |= more.stale
        self.keys += more.keys
        return self


def replayed(d: Doing, mac: bytes, position: int, answer: bytes) -> Outcome:
    """What becomes of a task whose command stands in the record already."""
    if bytes(mac) != d.mac:
        return Outcome(task=d.task, failed=CommandIdReused())
    return Outcome(task=d.task, position=position, answer=orjson.loads(answer), replayed=True)
