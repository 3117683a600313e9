"""Replaying the record in several processes at once: each decodes ranges of positions and does its work on them there.

    def count(events: Iterator[Recorded]) -> Counter[str]:      # anywhere that can be imported
        return Counter(r.name for r in events)

    with Replay(database, vault) as replay:
        for counted in replay.run("reports.types:count"):       # in the order of the record
            ...

Events stay where they were decoded: to hand one to another process costs as much as to decode it. So what a full pass over the record
makes of its events (lines of an export, digests, counts) is made in ranges, and what comes back is put together in order. Folding rows
needs every event of a row in order; `infra.projector.filling` shares views out instead, and reads by the same fast path in each process.
"""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from infra.database import Database
from infra.record.crew import Crew, named
from infra.record.reader import replay
from infra.record.vault import Vault
from projections.kernel import Recorded

RANGE = 5_000
MOST = 8

Work = Callable[..., Any]


class Replay:
    """Processes that stand ready to replay ranges; to start one takes about a second. Close it to let them go."""

    def __init__(self, database: Database, vault: Vault, processes: int | None = None) -> None:
        self._database = database
        count = processes or min(MOST, (os.cpu_count() or 1) + 1)  # one of them waits for the server
        self._crew = Crew(count, "infra.record.replay:ready", database.admin_conninfo(), str(vault.folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._crew.close()

    def run(self, work: str, *arguments: Any, after: int = 0, until: int | None = None, size: int = RANGE) -> Iterator[Any]:
        """What `work` (named `module:function`) makes of the events of each range, in order.

        It is called with an iterator of the range's events, and `arguments`; its result must be picklable. Until None: the record as
        it stands now.
        """
        with self._database.connect("record") as c:
            head = int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])
        last = head if until is None else min(until, head)
        return self._crew.map((at, min(at + size, last), work, arguments) for at in range(after, last, size))


def ready(conninfo: str, keys: str) -> Callable[[tuple[int, int, str, tuple[Any, ...]]], Any]:
    """Make a process ready: the registries, a connection and the keys."""
    from infra import registry

    registry.load()
    vault = Vault(Path(keys))
    connection = Database(conninfo).connect("record")
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # events make no cycles

    def work(piece: tuple[int, int, str, tuple[Any, ...]]) -> Any:
        after, until, function, arguments = piece
        events: Iterator[Recorded] = replay(connection, vault, after, until)
        return named(function)(events, *arguments)

    return work
