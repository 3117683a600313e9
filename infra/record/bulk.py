"""The record's way in for imports: thousands of commands a second from one plain thread, with the appender's guarantees.

    with Bulk(database, vault, firm=firm, actor=actor, origin=f"import/{id}") as bulk:
        for outcome in bulk.run(Task(run=…, key=f"{id}/{row.number}", said=row.bytes, label=row) for row in rows):
            outcome.answer, outcome.refused, outcome.task.label

`Task.run` is a coroutine function that takes a `Work`, like a command's handler; `command_task` makes a task of a command.
It runs at once and to its end: what it awaits may only be `Work.load` and `Work.find`, which read synchronously here, from memory
where they can. Tasks see what the tasks before them did. Outcomes come in no certain order, each after it is durable, one per task.

R1 to R4 of `infra.record.appender` and X1 to X3 of `infra.record.execute` hold here too, and beyond them:

B1  Tasks of one run that touch the same stream take effect in the order given. A task that rested on events of one that could not
    be written (another writer was faster) is decided again after it.
B2  A refusal is checked like a success: the versions it rests on are compared in the same transaction, else it is decided again.
B3  A data key is written in the transaction of the first command that seals under it, whichever that turns out to be.

While one batch is being written, the next is decided, encoded and sealed: from the third batch on in `helpers` processes beside this
one, piece by piece as it is decided, so that here is only decided and written. An event that turns out there not to be recordable is
decided once more and refused here. Events that carry the hash of the one before (consent) are encoded here. A batch holds the writers'
lock while the server takes it, so its size bounds how long other commands wait. Memory is bounded by the batch, the look-ahead and the
number of entities kept. An exception that is no refusal stops the run after the batch under way; running again with the same keys goes
on from there.
"""

import dataclasses
import gc
import itertools
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import orjson
import psycopg
import structlog

from commands.kernel import Actor, Command, Entity, Made, Work
from domain.kernel import EVENTS, STREAMS, FirmId, Refused, Stream
from infra import ids, turns
from infra.database import Database
from infra.record import codec, wire
from infra.record.appender import CommandIdReused, OutcomeUnknown, Unavailable, statements, stream_key, transaction
from infra.record.crew import Crew, CrewLost, packed, travels
from infra.record.encoding import About, Commanded, Piece, Rests, Told
from infra.record.execute import ATTEMPTS, Making, Memory, TooContended, complete_answer, now, read_versions, spec_of
from infra.record.reader import COLUMNS, EventRow, decode, fetch_keys
from infra.record.vault import SELECT_SUBJECTS, DataKey, NewKey, Vault, body_mac

log = structlog.get_logger()

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


@dataclass(slots=True, eq=False)
class _Doing:
    """A task on its way: what it read, and its rows but for their places."""

    task: Task
    command_id: UUID
    mac: bytes
    attempt: int = 1
    work: Work | None = None
    body: dict[str, Any] = field(default_factory=dict)
    expected: dict[Key, int] = field(default_factory=dict)
    written: dict[Key, int] = field(default_factory=dict)
    rests: list[bytes] = field(default_factory=list)
    keys: list[NewKey] = field(default_factory=list)
    answer: bytes = b""
    refused: Refused | None = None
    size: int = 0
    here: bool = False  # encoded by this process, whatever it costs
    encoding: "Future[list[Rests | None]] | None" = None
    place: int = 0  # in the piece that is being encoded

    def again(self, *, here: bool = False) -> "_Doing":
        return _Doing(self.task, self.command_id, self.mac, self.attempt + 1, here=here or self.here)


@dataclass(slots=True)
class _Written:
    """The result of one transaction."""

    outcomes: list[Outcome] = field(default_factory=list)
    again: list[_Doing] = field(default_factory=list)
    stale: set[Key] = field(default_factory=set)
    keys: list[NewKey] = field(default_factory=list)

    def joined(self, more: "_Written") -> "_Written":
        self.outcomes += more.outcomes
        self.again += more.again
        self.stale |= more.stale
        self.keys += more.keys
        return self


@dataclass(slots=True)
class _Promised:
    """An event whose stored form is made elsewhere; stands where a `Made` does until then."""

    stream_type: str
    stream_id: UUID
    stream_version: int
    event_id: UUID
    type: str
    occurred_at: datetime
    event: Any
    public: bytes = b""
    disclosures: tuple[object, ...] = ()
    leaf_hash: str = ""


def _chained() -> frozenset[str]:
    """The contexts whose events carry the leaf hash of the one before."""
    return frozenset(
        name.partition(".")[0] for name, cls in EVENTS.items() if any(f.name == "prev" for f in dataclasses.fields(cls))
    )


class Bulk(Making):
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
        super().__init__(vault)
        self._helpers = helpers
        self._decided = 0
        self._crew: Crew | None = None
        self._crew_gone = False
        self._chained = _chained() if helpers else frozenset()
        self._names: dict[type, str] = {}
        self._elsewhere = False  # whether the task that is being decided is encoded by the crew
        self._database = database
        self._firm = firm
        self._actor = actor
        self._origin = origin
        self._correlation_id = correlation_id
        self._permissions = permissions
        self._memory = Memory(entities)
        self._batch_events = batch_events
        self._patience = patience
        self._reader: psycopg.Connection[Any] | None = None
        self._writer: psycopg.Connection[Any] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bulk")
        self._unwritten: dict[tuple[UUID, str], tuple[DataKey, NewKey]] = {}
        for name, port in (ports or {}).items():
            setattr(self, name, port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Wait for what is under way and let the connections go."""
        self._thread.shutdown()
        if self._crew is not None:
            self._crew.close()
        for c in (self._reader, self._writer):
            if c is not None:
                c.close()

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

    def _read_connection(self) -> psycopg.Connection[Any]:
        if self._reader is None or self._reader.closed:
            self._reader = self._database.connect("record")
            wire.register(self._reader)
        return self._reader

    # --- running

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Carry out the tasks; an outcome for each, after it is durable."""
        todo: deque[_Doing] = deque()
        again: list[_Doing] = []
        source = iter(tasks)
        known: list[Outcome] = []
        writing: Future[_Written] | None = None
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
                    writing = self._thread.submit(self._encoded_and_written, batch)
                yield from known
                known.clear()
                if writing is None and not again and not todo and not self._look_ahead(todo, source, known):
                    yield from known
                    return
        finally:
            if writing is not None:
                self._settle(writing.result())

    def _settle(self, written: _Written) -> None:
        for key in written.stale:
            self._memory.drop(self._firm, *key)
        for record in written.keys:
            mine = self._unwritten.pop((record.subject, record.purpose), None)
            if mine is not None:
                self._vault.remember(self._firm, record.subject, record.purpose, mine[0])

    def _without(self, batch: list[_Doing], stale: set[Key], again: list[_Doing]) -> list[_Doing]:
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

    def _look_ahead(self, todo: deque[_Doing], source: Iterator[Task], known: list[Outcome]) -> bool:
        """Take more tasks, answer those that were done before, fetch what the others will read; False when there are no more."""
        tasks = list(itertools.islice(source, LOOK_AHEAD))
        if not tasks:
            return False
        doing = []
        keyed: dict[UUID, _Doing] = {}
        for t in tasks:
            d = _Doing(t, ids.uuid7(), b"") if t.key is None else _Doing(t, self._command_id(t.key), self._mac(t.said))
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
                known.append(_replay(d, *first))
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

    def _decide_batch(self, todo: deque[_Doing], source: Iterator[Task], known: list[Outcome], *, alone: bool) -> list[_Doing]:
        batch: list[_Doing] = []
        piece: list[_Doing] = []
        pieces = events = size = 0
        helped = self._helped()
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
            assert d.work is not None  # noqa: S101 # nosec B101 - set by _decide
            count = len(d.work.made)
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

    def _helped(self) -> bool:
        """Whether the crew stands ready. It is called when there is more to do than two batches: to start one takes a second."""
        if not self._helpers or self._crew_gone or self._decided < self._batch_events * 2:
            return False
        if self._crew is None:
            self._crew = Crew(self._helpers, "infra.record.encoding:ready")
        return self._crew.standing

    def make(self, work: Work, entity: Entity[Any, Any], event: Any, occurred_at: datetime) -> Made:
        if not self._elsewhere:
            return super().make(work, entity, event, occurred_at)
        name = self._names.get(type(event))
        if name is None:
            name = self._names[type(event)] = codec.CODECS.of(event).name
            travels(type(event))
        if name.partition(".")[0] in self._chained:
            self._elsewhere = False
            self._keep_here(work)
            return super().make(work, entity, event, occurred_at)
        promised: Any = _Promised(entity.stream.type, entity.id, entity.version + 1, ids.uuid7(), name, occurred_at, event)
        made: Made = promised
        return made

    def _decide(self, d: _Doing) -> None:
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
        complete_answer(work, d.body)
        d.answer = orjson.dumps(d.body)
        for entity in work.entities.values():
            self._memory.put(self._firm, entity)

    def _keep_here(self, work: Work) -> None:
        """Make the stored form of what was promised, in this process after all."""
        made: list[Any] = work.made
        for n, m in enumerate(made):
            if isinstance(m, _Promised):
                entity = Entity(STREAMS[m.stream_type], m.stream_id, None, m.stream_version - 1)
                made[n] = super().make(work, entity, m.event, m.occurred_at)

    def _hand_over(self, piece: Sequence[_Doing]) -> int:
        """Let the crew encode these; answers their size."""
        vault, firm, unwritten = self._vault, self._firm, self._unwritten
        abouts: dict[_Doing, list[About]] = {}
        begun: set[UUID] = set()
        keys: dict[About, DataKey | None] = {}
        commands: list[Commanded] = []
        of = codec.CODECS.of
        for d in piece:
            assert d.work is not None  # noqa: S101 # nosec B101 - it was decided
            now = d.work.now
            told: list[Told] = []
            mine: list[About] = []
            m: Any
            for m in d.work.made:
                assert isinstance(m, _Promised)  # noqa: S101 # nosec B101 - or it would be encoded here
                if m.stream_version == 1:
                    begun.add(m.stream_id)
                at = None if m.occurred_at is now else m.occurred_at
                told.append((m.stream_type, m.stream_id.bytes, m.stream_version, m.event_id.bytes, m.event, at))
                mine += of(m.event).subjects(m.event, m.stream_id)
            commands.append((d.command_id.bytes, now, told))
            abouts[d] = mine
            for about in mine:
                if about not in keys:
                    fresh = unwritten.get(about)
                    keys[about] = fresh[0] if fresh is not None else vault.known(firm, *about)
        wanted = {about[0] for about, key in keys.items() if key is None and about[0] not in begun}
        if wanted:
            for row in self._read_connection().execute(SELECT_SUBJECTS, (firm, list(wanted)), binary=True).fetchall():
                keys[row[2], row[3]] = vault.unwrap(*row)
        travelling: list[tuple[UUID, str, UUID, bytes]] = []
        for about, key in keys.items():
            if key is None:
                fresh = unwritten[about] = vault.create(firm, *about)
                key = fresh[0]
            travelling.append((*about, key.key_id, key.raw))
        for d, mine in abouts.items():
            d.keys += [fresh[1] for about in dict.fromkeys(mine) if (fresh := unwritten.get(about)) is not None]
        asked = packed(Piece(firm.bytes, str(self._actor), self._origin, self._correlation_id, travelling, commands))
        try:
            assert self._crew is not None  # noqa: S101 # nosec B101 - it was standing
            encoding = self._crew.submit(asked)
        except CrewLost:
            self._crew_gone = True
            for d in piece:
                assert d.work is not None  # noqa: S101 # nosec B101
                self._keep_here(d.work)
            return len(asked)
        for place, d in enumerate(piece):
            d.encoding, d.place = encoding, place
        return len(asked)

    def _seal(self, batch: Sequence[_Doing]) -> None:
        """Seal what the batch's events disclose and pack their rows."""
        vault, firm = self._vault, self._firm
        found: dict[tuple[UUID, str], DataKey] = {}
        wanted: set[UUID] = set()
        begun: set[UUID] = set()
        for d in batch:
            for m in d.work.made if d.work else ():
                if m.stream_version == 1:
                    begun.add(m.stream_id)
                for x in m.disclosures:
                    if isinstance(x, codec.Disclosure) and x.subject not in begun and (x.subject, x.purpose) not in self._unwritten:
                        key = vault.known(firm, x.subject, x.purpose)
                        if key is None:
                            wanted.add(x.subject)
                        else:
                            found[(x.subject, x.purpose)] = key
        if wanted:
            rows = self._read_connection().execute(SELECT_SUBJECTS, (firm, list(wanted)), binary=True).fetchall()
            for row in rows:
                found[(row[2], row[3])] = vault.unwrap(*row)
        unwritten = self._unwritten
        for d in batch:
            work = d.work
            if work is None or not work.made:
                continue
            recorded_at = wire.micros(work.now)
            command_id = d.command_id.bytes
            for m in work.made:
                sealed = None
                if m.disclosures:
                    items = []
                    for x in m.disclosures:
                        if not isinstance(x, codec.Disclosure):
                            raise TypeError(type(x).__name__)
                        about = (x.subject, x.purpose)
                        key = found.get(about)
                        if key is None:
                            fresh = unwritten.get(about)
                            if fresh is None:
                                fresh = unwritten[about] = vault.create(firm, *about)
                            key = fresh[0]
                            d.keys.append(fresh[1])
                        items.append((key, x))
                    sealed = vault.seal(m.stream_id, m.event_id, firm, items)
                d.rests.append(
                    wire.event_rest(
                        m.stream_id.bytes,
                        m.stream_version,
                        m.event_id.bytes,
                        recorded_at,
                        wire.micros(m.occurred_at),
                        command_id,
                        m.stream_type.encode(),
                        m.type.encode(),
                        m.public,
                        sealed,
                    )
                )

    # --- writing, in the other thread

    def _encoded_and_written(self, batch: list[_Doing]) -> _Written:
        """Write a batch when the crew has encoded it. What can't be recorded, and what rests on it, is to be decided again."""
        result = _Written()
        ready: list[_Doing] = []
        for d in batch:
            rests: list[bytes] | None = d.rests
            if d.encoding is not None:
                try:
                    rests = d.encoding.result()[d.place]
                except CrewLost:
                    self._crew_gone, rests = True, None
            if rests is not None and result.stale.isdisjoint(d.expected):
                d.rests = rests
                ready.append(d)
            else:
                result.again.append(d.again(here=rests is None))
                result.stale.update(d.written)
        return result.joined(self._write(ready)) if ready else result

    def _write(self, batch: list[_Doing]) -> _Written:
        try:
            return self._persist(batch)
        except psycopg.Error as e:
            if len(batch) == 1:
                log.error("bulk.failed", error=type(e).__name__, command=str(batch[0].command_id))
                return _Written(outcomes=[Outcome(task=batch[0].task, failed=e)], stale=set(batch[0].written))
        # One command can't be written: the others are, in the same order.
        half = len(batch) // 2
        result = self._write(batch[:half])
        rest = []
        inserted = {k.key_id for k in result.keys}
        for d in batch[half:]:
            if result.stale.isdisjoint(d.expected):
                d.keys = [k for k in d.keys if k.key_id not in inserted]
                rest.append(d)
            else:
                result.again.append(d.again())
                result.stale.update(d.written)
        if rest:
            result.joined(self._write(rest))
        return result

    def _persist(self, batch: list[_Doing]) -> _Written:
        """Write a batch, again while the database is away."""
        until = time.monotonic() + self._patience
        unknown = False
        pause = 0.05
        while True:
            try:
                if self._writer is None or self._writer.closed:
                    self._writer = self._database.connect("record", writing=True)
                    wire.register(self._writer)
                return _append(self._writer, self._firm, batch, again=unknown)
            except psycopg.Error as e:
                connected = self._writer is not None
                lost = not connected or (self._writer is not None and self._writer.closed)
                if self._writer is not None:
                    self._writer.close()  # after an error in a pipeline its prepared statements are in doubt
                    self._writer = None
                if not lost and not isinstance(e, (psycopg.OperationalError, psycopg.InterfaceError)):
                    raise
                # Anything may have happened to the transaction: the next attempt finds its commands, or writes them.
                unknown = unknown or connected
                log.warning("bulk.interrupted", error=type(e).__name__, commands=len(batch))
                if time.monotonic() + pause > until:
                    raise (OutcomeUnknown if unknown else Unavailable) from e
                time.sleep(pause)
                pause = min(pause * 2, 1.0)


def _run_now(running: Awaitable[Mapping[str, object] | None]) -> Mapping[str, object] | None:
    """Drive a coroutine that never suspends to its end."""
    steps = running.__await__()
    try:
        next(steps)
    except StopIteration as end:
        answer: Mapping[str, object] | None = end.value
        return answer
    raise RuntimeError("a bulk task waited for something; it may only load entities")


def _replay(d: _Doing, mac: bytes, position: int, answer: bytes) -> Outcome:
    if bytes(mac) != d.mac:
        return Outcome(task=d.task, failed=CommandIdReused())
    return Outcome(task=d.task, position=position, answer=orjson.loads(answer), replayed=True)


def _append(c: psycopg.Connection[Any], firm: UUID, batch: Sequence[_Doing], *, again: bool) -> _Written:
    """Write a batch in one transaction; what can't be written now, and what rests on it, is to be decided again."""
    firm_bytes = firm.bytes
    pipe = wire.pipe(c)
    pipe.add(statements.BEGIN)
    pipe.add(statements.LOCK)
    pipe.add(statements.HEAD)
    pipe.add(statements.FIRM_HEADS, wire.uuids([firm_bytes]))
    statements.ask_versions(pipe, list({stream_key(firm, *key): None for d in batch for key in d.expected}))
    pipe.add(statements.COMMANDS, wire.uuids([firm_bytes] * len(batch)), wire.uuids([d.command_id.bytes for d in batch]))
    try:
        _, _, head, heads, versions, known = pipe.send()
        start = wire.read_int8(head.get_value(0, 0))
        version = {(k[32:].decode(), UUID(bytes=k[16:32])): v for k, v in statements.read_versions(versions).items()}
        seen = {k[16:]: v for k, v in statements.read_commands(known).items()}
        result, accepted = _choose(batch, start, version, seen, again=again)
        if accepted:
            _insert(pipe, firm, accepted, start, statements.read_firms(heads).get(firm_bytes, 0), result)
        else:
            c.execute("ROLLBACK")
    except BaseException:
        if not c.closed:
            c.execute("ROLLBACK")
        raise
    return result


def _choose(
    batch: Sequence[_Doing], start: int, version: dict[Key, int], seen: dict[bytes, tuple[bytes, int, bytes]], *, again: bool
) -> tuple[_Written, list[_Doing]]:
    result = _Written()
    accepted = []
    position = start
    for d in batch:
        first = seen.get(d.command_id.bytes)
        if first is not None:
            if not (again and first[2] == d.answer and first[0] == d.mac):
                result.stale.update(d.written)  # what stands there is another's work, or nothing
                result.outcomes.append(_replay(d, *first))
            else:
                result.outcomes.append(Outcome(task=d.task, position=first[1], answer=d.body))
                result.keys += d.keys
                version.update(d.written)
            continue
        moved = [key for key, wanted in d.expected.items() if version.get(key, 0) != wanted]
        if moved or not result.stale.isdisjoint(d.expected):
            result.stale.update(moved, d.written)
            result.again.append(d.again())
            continue
        if d.refused is not None:
            result.outcomes.append(Outcome(task=d.task, refused=d.refused))
            continue
        version.update(d.written)
        position += len(d.rests)
        seen[d.command_id.bytes] = (d.mac, position, d.answer)
        accepted.append(d)
        result.outcomes.append(Outcome(task=d.task, position=position, answer=d.body))
    return result, accepted


def _insert(
    pipe: wire.Pipe,
    firm: UUID,
    accepted: Sequence[_Doing],
    start: int,
    firm_start: int,
    result: _Written,
) -> None:
    position, firm_position, firm_bytes = start, firm_start, firm.bytes
    touched: dict[Key, int] = {}
    keys: dict[UUID, NewKey] = {}
    ends = []
    rows = []
    for d in accepted:
        for rest in d.rests:
            position += 1
            rows.append(wire.event_place(position, firm_bytes, firm_position) + rest)
            firm_position += 1
        touched.update(d.written)
        for k in d.keys:
            keys[k.key_id] = k
        ends.append(position)
    if position // statements.PARTITION_AHEAD != start // statements.PARTITION_AHEAD:
        pipe.ask(statements.EXTEND, wire.int8(position + statements.PARTITION_AHEAD))
    wire.drive(transaction.copying_rows(pipe, start, rows), pipe.pg.socket)
    pipe.add(
        statements.INSERT_COMMANDS,
        wire.uuids([firm_bytes] * len(accepted)),
        wire.uuids([d.command_id.bytes for d in accepted]),
        wire.byteas([d.mac for d in accepted]),
        wire.int8s(ends),
        wire.byteas([d.answer for d in accepted]),
    )
    if keys:
        statements.add_keys(pipe, list(keys.values()))
    if rows:
        versions = {stream_key(firm, *key): version for key, version in touched.items()}
        statements.add_heads(pipe, versions, {firm_bytes: firm_position}, position)
    pipe.add(statements.COMMIT)
    pipe.send()
    result.keys += keys.values()
