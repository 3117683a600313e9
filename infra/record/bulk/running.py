"""The thread of an import that decides: tasks in, a batch at a time, outcomes out (B1, B2)."""

import gc
import itertools
import os
from collections import deque
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import orjson

from commands.kernel import Actor, Entity, Work
from domain.kernel import FirmId, Refused, Stream
from infra import ids, turns
from infra.database import Database
from infra.record import codec, wire
from infra.record.appender import statements
from infra.record.bulk.forming import Forming
from infra.record.bulk.tasks import Doing, Key, Outcome, Task, Written, replayed
from infra.record.bulk.writing import Writer
from infra.record.execute import ATTEMPTS, Memory, TooContended, complete_answer, now, read_versions
from infra.record.reader import COLUMNS, EventRow, decode, fetch_keys
from infra.record.vault import Vault, body_mac

LOOK_AHEAD = 1_000
PIECE_EVENTS = 250
HELPERS = max(0, min(3, (os.cpu_count() or 1) - 2))  # what imports use: one core decides, one is the server's
BATCH_EVENTS = 2_000
BATCH_COMMANDS = 2_000
BATCH_BYTES = 4_000_000
ALONE_AFTER = 3  # attempts, then a contended task is written by itself
ENTITIES = 20_000

SELECT_STREAMS = (
    "SELECT e." + COLUMNS.replace(", ", ", e.") + " FROM unnest(%s::uuid[], %s::text[]) u(i, t)"
    " JOIN record.events e ON e.firm_id = %s AND e.stream_id = u.i AND e.stream_type = u.t"
    " ORDER BY e.stream_id, e.stream_type, e.stream_version"
)


@contextmanager
def paced() -> Iterator[None]:
    """The interpreter as an import wants it, for as long as it runs.

    Millions of short-lived values and a large memory of live ones: the collector's default pace costs a third of the time. And one thread
    writes while the other decides.
    """
    threshold = gc.get_threshold()
    gc.set_threshold(50_000, 20, 50)
    try:
        with turns.short():
            yield
    finally:
        gc.set_threshold(*threshold)


class Bulk(Forming):
    """Writes many commands of one firm. Not for several threads at once; close it to let its connections go."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        *,
        firm: FirmId,
        actor: Actor,
        origin: str | None = None,
        correlation_id: str | None = None,
        permissions: frozenset[str] = frozenset(),
        ports: Mapping[str, object] | None = None,
        entities: int = ENTITIES,
        batch_events: int = BATCH_EVENTS,
        patience: float = 10.0,
        helpers: int = 0,
    ) -> None:
        super().__init__(database, vault, firm=firm, actor=actor, origin=origin, correlation_id=correlation_id, helpers=helpers)
        self._decided = 0
        self._permissions = permissions
        self._memory = Memory(entities)
        self._batch_events = batch_events
        self._writer = Writer(database, firm, patience)
        for name, port in (ports or {}).items():
            setattr(self, name, port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Wait for what is under way and let the connections go."""
        self._writer.close()
        super().close()

    # --- what a task needs from outside

    async def load(self, firm: FirmId, stream: Stream[Any, Any], id: UUID) -> Entity[Any, Any]:
        remembered = self._memory.get(firm, stream, id)
        if remembered is not None:
            return remembered
        self._fetch([(stream, id)])
        return self._memory.get(firm, stream, id) or Entity(stream, id, stream.initial)

    def _fetch(self, wanted: Sequence[tuple[Stream[Any, Any], UUID]]) -> None:
        """Read streams into memory; those without events too, so that nobody asks again."""
        found = {(stream.type, id): Entity(stream, id, stream.initial) for stream, id in wanted}
        last: dict[Key, bytes] = {}
        c = self._read_connection()
        with c.transaction(), c.cursor(binary=True) as cursor:
            cursor.execute(SELECT_STREAMS, ([id for _, id in wanted], [s.type for s, _ in wanted], self._firm))
            while batch := cursor.fetchmany(2_000):
                rows = [EventRow(*r) for r in batch]
                keys = fetch_keys(c, self._vault, rows)
                for row in rows:
                    key = (row.stream_type, row.stream_id)
                    entity = found[key]
                    entity.state = entity.stream.evolve(entity.state, decode(row, self._vault, keys).event)
                    entity.version = row.stream_version
                    last[key] = row.public
        for key, leaf in last.items():
            found[key].leaf_hash = codec.leaf_hash(leaf)
        for entity in found.values():
            self._memory.put(self._firm, entity)

    # --- running

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Carry out the tasks; an outcome for each, after it is durable."""
        todo: deque[Doing] = deque()
        again: list[Doing] = []
        source = iter(tasks)
        known: list[Outcome] = []
        writing: Future[Written] | None = None
        try:
            while True:
                todo.extendleft(reversed(again))
                again = []
                batch = self._decide_batch(todo, source, known, alone=writing is None)
                if writing is not None:
                    done, writing = writing, None
                    written = done.result()
                    self._settle(written)
                    again = written.again
                    batch = self._without(batch, written.stale, again)
                    known += written.outcomes
                if batch:
                    for d in batch:
                        d.keys = [k for k in d.keys if (k.subject, k.purpose) in self._unwritten]
                    writing = self._writer.submit(batch)
                yield from known
                known.clear()
                if writing is None and not again and not todo and not self._look_ahead(todo, source, known):
                    yield from known
                    return
        finally:
            if writing is not None:
                self._settle(writing.result())

    def _settle(self, written: Written) -> None:
        for key in written.stale:
            self._memory.drop(self._firm, *key)
        for record in written.keys:
            mine = self._unwritten.pop((record.subject, record.purpose), None)
            if mine is not None:
                self._vault.remember(self._firm, record.subject, record.purpose, mine[0])

    def _without(self, batch: list[Doing], stale: set[Key], again: list[Doing]) -> list[Doing]:
        """The batch without what rests on something that was not written; that goes behind it in `again`."""
        if not stale:
            return batch
        kept = []
        for d in batch:
            if stale.isdisjoint(d.expected):
                kept.append(d)
            else:
                again.append(d.again())
                stale.update(d.written)
        for key in stale:
            self._memory.drop(self._firm, *key)
        return kept

    def _look_ahead(self, todo: deque[Doing], source: Iterator[Task], known: list[Outcome]) -> bool:
        """Take more tasks, answer those that were done before, fetch what the others will read; False when there are no more."""
        tasks = list(itertools.islice(source, LOOK_AHEAD))
        if not tasks:
            return False
        doing = []
        keyed: dict[UUID, Doing] = {}
        for t in tasks:
            d = Doing(t, ids.uuid7(), b"") if t.key is None else Doing(t, self._command_id(t.key), self._mac(t.said))
            doing.append(d)
            if t.key is not None:
                keyed[d.command_id] = d
        done: dict[bytes, tuple[bytes, int, bytes]] = {}
        if keyed:
            firms = wire.uuids([self._firm.bytes] * len(keyed))
            result = wire.pipe(self._read_connection()).ask(statements.COMMANDS, firms, wire.uuids([i.bytes for i in keyed]))
            done = statements.read_commands(result)
        wanted: dict[Key, tuple[Stream[Any, Any], UUID]] = {}
        for d in doing:
            first = done.get(self._firm.bytes + d.command_id.bytes)
            if first is not None:
                known.append(replayed(d, *first))
                continue
            todo.append(d)
            for stream, id in d.task.reads:
                if (stream.type, id) not in wanted and self._memory.get(self._firm, stream, id) is None:
                    wanted[(stream.type, id)] = (stream, id)
        if wanted:
            self._fetch(list(wanted.values()))
        return True

    def _command_id(self, key: str) -> UUID:
        try:
            return UUID(key)
        except ValueError:
            return self._vault.derive_id(self._firm, "command", key)

    def _mac(self, said: bytes) -> bytes:
        return body_mac(self._vault, self._firm, said)

    # --- deciding and encoding

    def _decide_batch(self, todo: deque[Doing], source: Iterator[Task], known: list[Outcome], *, alone: bool) -> list[Doing]:
        batch: list[Doing] = []
        piece: list[Doing] = []
        pieces = events = size = 0
        helped = self._decided >= self._batch_events * 2 and self._helped()  # a small import is done before a crew is ready
        while events < self._batch_events and len(batch) < BATCH_COMMANDS and size < BATCH_BYTES:
            if not todo and not self._look_ahead(todo, source, known):
                break
            if not todo:
                continue
            if todo[0].attempt > ALONE_AFTER and (batch or not alone):
                break  # by itself, on what the database says once everything before it is written
            d = todo.popleft()
            if d.attempt > ATTEMPTS:
                known.append(Outcome(task=d.task, failed=TooContended()))
                continue
            self._elsewhere = helped and not d.here
            self._decide(d)
            batch.append(d)
            count = d.count
            events += count
            size += d.size
            if self._elsewhere and count:
                piece.append(d)
                pieces += count
                if pieces >= PIECE_EVENTS:
                    size += self._hand_over(piece)
                    piece, pieces = [], 0
            if d.attempt > ALONE_AFTER:
                break
        if piece:
            self._hand_over(piece)
        self._seal([d for d in batch if d.encoding is None])
        self._decided += events
        return batch

    def _decide(self, d: Doing) -> None:
        t = d.task
        work = d.work = Work(
            outside=self,
            firm=self._firm,
            actor=self._actor,
            now=now(),
            command_id=str(d.command_id),
            permissions=self._permissions,
            correlation_id=self._correlation_id,
            origin=self._origin,
            target=t.target,
            expected_version=t.expected_version,
            occurred_at=t.occurred_at,
        )
        try:
            d.body = dict(_run_now(t.run(work)) or {})
        except Refused as e:
            d.refused = e
            d.expected = read_versions(work)
            work.made.clear()
            return
        d.expected = read_versions(work)
        for m in work.made:
            d.written[(m.stream_type, m.stream_id)] = m.stream_version
            d.size += len(m.public) + 300
        d.count = len(work.made)
        complete_answer(work, d.body)
        d.answer = orjson.dumps(d.body)
        for entity in work.entities.values():
            self._memory.put(self._firm, entity)


def _run_now(running: Awaitable[Mapping[str, object] | None]) -> Mapping[str, object] | None:
    """Drive a coroutine that never suspends to its end."""
    steps = running.__await__()
    try:
        next(steps)
    except StopIteration as end:
        answer: Mapping[str, object] | None = end.value
        return answer
    raise RuntimeError("a bulk task waited for something; it may only load entities")
