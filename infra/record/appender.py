"""The one writer of the record: commands wait together, one short transaction appends them all.

R1  Positions are contiguous and become visible in order: an advisory lock, taken in its own statement at READ COMMITTED, is held
    from reading the head to the commit.
R2  A command is appended wholly or not at all, and one command's conflict never fails another's.
R3  One command id in one firm has one effect: the second time its first answer comes back; another body under it is refused.
R4  After a broken connection the same batch is tried again. Commands that had been committed are found by their ids, so an
    unknown outcome becomes known; when the database stays away it is reported as unknown.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
import structlog
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult

from commands.kernel import Made
from infra.database import Database
from infra.record import wire
from infra.record.vault import NewKey

log = structlog.get_logger()

APPEND_LOCK = 7_020_240_002
CHANNEL = "chancery_events"
COPY_FROM = 200  # events from which COPY beats unnest
PARTITION_SIZE = 5_000_000  # as record.extend makes them
PARTITION_AHEAD = 1_000_000
TURN_SECONDS = 0.005  # how long a batch waits for a loop's turn to end
SMALL_BATCH = 4

Key = tuple[str, UUID]


class Conflict(Exception):
    """Another writer was faster on a stream this command read. Nothing was written; decide again."""

    def __init__(self, stream_type: str, stream_id: UUID) -> None:
        super().__init__(f"{stream_type}/{stream_id}")
        self.stream_type = stream_type
        self.stream_id = stream_id


class CommandIdReused(Exception):
    """This Idempotency-Key was used for another request. Send a new key with a new request."""


class Busy(Exception):
    """Too many commands are waiting to be written. Try again shortly."""


class Unavailable(Exception):
    """The database does not answer. Nothing was written; try again."""


class OutcomeUnknown(Exception):
    """The connection broke while committing: the outcome is not known. Send the same request with the same Idempotency-Key."""


@dataclass(slots=True, kw_only=True)
class Append:
    """One command's worth of events. `expected` is the version of every stream that was read, 0 when it was empty."""

    firm: UUID
    command_id: UUID
    body_mac: bytes
    expected: Mapping[Key, int]
    events: Sequence[Made]
    sealed: Sequence[bytes | None]
    recorded_at: datetime
    answer: bytes
    keys: Sequence[NewKey] = ()
    done: "Callable[[Appended | BaseException], None] | None" = None
    size: int = field(init=False, default=500)
    reads: list[tuple[bytes, int, Key]] = field(init=False)  # each stream that was read, by `stream_key`
    writes: dict[bytes, int] = field(init=False)  # the versions that streams have afterwards

    def __post_init__(self) -> None:
        firm = self.firm
        self.reads = [(stream_key(firm, *stream), version, stream) for stream, version in self.expected.items()]
        last = {key: version for key, version, _ in self.reads}
        self.writes = {}
        for e, sealed in zip(self.events, self.sealed, strict=True):
            key = stream_key(firm, e.stream_type, e.stream_id)
            if e.stream_version <= last[key]:  # a stream that was not read, or not counted on: a bug, found before it is written
                raise ValueError(f"{e.type} is version {e.stream_version} of a stream that stands at {last[key]}")
            last[key] = self.writes[key] = e.stream_version
            self.size += len(e.public) + 300 + (0 if sealed is None else len(sealed))


@dataclass(frozen=True, slots=True)
class Appended:
    """`position` is the last event's; the head's when the command changed nothing. `replayed` tells a repeated answer."""

    position: int
    answer: bytes
    replayed: bool


U, N, T, B, Z = wire.UUIDS, wire.INT8S, wire.TEXTS, wire.BYTEAS, wire.TIMES
BEGIN = wire.Statement(b"begin", b"BEGIN ISOLATION LEVEL READ COMMITTED")
LOCK = wire.Statement(b"lock", b"SELECT pg_advisory_xact_lock(%d)" % APPEND_LOCK)
HEAD = wire.Statement(b"head", b"SELECT position FROM record.head")
# LATERAL with OFFSET 0 asks the index for each key, whatever the planner believes of tables that were empty a minute ago.
FIRM_HEADS = wire.Statement(
    b"firms",
    b"SELECT h.* FROM unnest($1) u(f), LATERAL (SELECT h.firm_id, h.firm_position FROM record.firm_heads h"
    b" WHERE h.firm_id = u.f OFFSET 0) h",
    (U,),
)
STREAMS = wire.Statement(
    b"streams",
    b"SELECT s.* FROM unnest($1, $2, $3) u(f, i, t), LATERAL (SELECT s.firm_id, s.stream_id, s.stream_type, s.version"
    b" FROM record.streams s WHERE s.firm_id = u.f AND s.stream_id = u.i AND s.stream_type = u.t OFFSET 0) s",
    (U, U, T),
)
COMMANDS = wire.Statement(
    b"commands",
    b"SELECT c.* FROM unnest($1, $2) u(f, c), LATERAL (SELECT c.firm_id, c.command_id, c.body_mac, c.position, c.answer"
    b" FROM record.commands c WHERE c.firm_id = u.f AND c.command_id = u.c OFFSET 0) c",
    (U, U),
)
COLUMNS = (
    "position, firm_id, firm_position, stream_id, stream_version, event_id, recorded_at, occurred_at, command_id,"
    " stream_type, type, public, sealed"
)
INSERT_EVENTS = wire.Statement(
    b"events",
    f"INSERT INTO record.events ({COLUMNS}) SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)".encode(),
    (N, U, N, U, N, U, Z, Z, U, T, T, B, B),
)
COPY_EVENTS = b"COPY record.events_%%06d (%s) FROM STDIN (FORMAT binary)" % COLUMNS.encode()  # a partition: COPY is not for tables with policies
UPSERT_STREAMS = wire.Statement(
    b"set streams",
    b"INSERT INTO record.streams (firm_id, stream_id, stream_type, version) SELECT * FROM unnest($1, $2, $3, $4)"
    b" ON CONFLICT (firm_id, stream_id, stream_type) DO UPDATE SET version = excluded.version",
    (U, U, T, N),
)
INSERT_COMMANDS = wire.Statement(
    b"add commands",
    b"INSERT INTO record.commands (firm_id, command_id, body_mac, position, answer) SELECT * FROM unnest($1, $2, $3, $4, $5)",
    (U, U, B, N, B),
)
INSERT_KEYS = wire.Statement(
    b"add keys",
    b"INSERT INTO vault.data_keys (firm_id, key_id, subject_id, purpose, epoch, wrapped) SELECT * FROM unnest($1, $2, $3, $4, $5, $6)",
    (U, U, U, T, N, B),
)
SET_HEAD = wire.Statement(b"set head", b"UPDATE record.head SET position = $1", (wire.INT8,))
UPSERT_FIRMS = wire.Statement(
    b"set firms",
    b"INSERT INTO record.firm_heads (firm_id, firm_position) SELECT * FROM unnest($1, $2)"
    b" ON CONFLICT (firm_id) DO UPDATE SET firm_position = excluded.firm_position",
    (U, N),
)
NOTIFY = wire.Statement(b"notify", f"SELECT pg_notify('{CHANNEL}', $1::bigint::text)".encode(), (wire.INT8,))
EXTEND = wire.Statement(b"extend", b"SELECT record.extend($1)", (wire.INT8,))
COMMIT = wire.Statement(b"commit", b"COMMIT")
ROLLBACK = wire.Statement(b"rollback", b"ROLLBACK")


def stream_key(firm: UUID, type: str, id: UUID) -> bytes:
    """A stream's key as bytes: firm, id, type."""
    return firm.bytes + id.bytes + type.encode()


def ask_versions(pipe: wire.Pipe, keys: Sequence[bytes]) -> None:
    pipe.add(
        STREAMS,
        wire.uuids([k[:16] for k in keys]),
        wire.uuids([k[16:32] for k in keys]),
        wire.encoded_texts([k[32:] for k in keys]),
    )


def read_versions(result: PGresult) -> dict[bytes, int]:
    value = result.get_value
    return {
        (value(r, 0) or b"") + (value(r, 1) or b"") + (value(r, 2) or b""): wire.read_int8(value(r, 3))
        for r in range(result.ntuples)
    }


def read_firms(result: PGresult) -> dict[bytes, int]:
    return {result.get_value(r, 0) or b"": wire.read_int8(result.get_value(r, 1)) for r in range(result.ntuples)}


def read_commands(result: PGresult) -> dict[bytes, tuple[bytes, int, bytes]]:
    """By firm and command id: digest of the body, position, answer."""
    value = result.get_value
    return {
        (value(r, 0) or b"") + (value(r, 1) or b""): (value(r, 2) or b"", wire.read_int8(value(r, 3)), value(r, 4) or b"")
        for r in range(result.ntuples)
    }


def add_heads(pipe: wire.Pipe, streams: Mapping[bytes, int], firms: Mapping[bytes, int], position: int) -> None:
    """Put in what moves with new events: versions of streams, positions of firms and of the record, one NOTIFY."""
    keys = list(streams)
    pipe.add(
        UPSERT_STREAMS,
        wire.uuids([k[:16] for k in keys]),
        wire.uuids([k[16:32] for k in keys]),
        wire.encoded_texts([k[32:] for k in keys]),
        wire.int8s(list(streams.values())),
    )
    pipe.add(SET_HEAD, wire.int8(position))
    pipe.add(UPSERT_FIRMS, wire.uuids(list(firms)), wire.int8s(list(firms.values())))
    pipe.add(NOTIFY, wire.int8(position))


def add_keys(pipe: wire.Pipe, keys: Sequence[NewKey]) -> None:
    pipe.add(
        INSERT_KEYS,
        wire.uuids([k.firm.bytes for k in keys]),
        wire.uuids([k.key_id.bytes for k in keys]),
        wire.uuids([k.subject.bytes for k in keys]),
        wire.texts([k.purpose for k in keys]),
        wire.int8s([k.epoch for k in keys]),
        wire.byteas([k.wrapped for k in keys]),
    )


def flush(c: psycopg.Connection[Any], batch: Sequence[Append], *, again: bool = False) -> list[Appended | BaseException]:
    """Append a batch in one transaction on a connection of role `record`; one result per command, in order.

    `again` says that an earlier attempt at this batch may have been committed: an answer found then that equals the command's own
    (event ids are in it) is its first answer, not a repeated one.
    """
    return wire.drive(flushing(wire.pipe(c), batch, again=again), c.pgconn.socket)


def flushing(pipe: wire.Pipe, batch: Sequence[Append], *, again: bool) -> wire.Talk[list[Appended | BaseException]]:
    """`flush` as a conversation."""
    pipe.add(BEGIN)
    pipe.add(LOCK)
    pipe.add(HEAD)
    pipe.add(FIRM_HEADS, wire.uuids(list({a.firm.bytes: None for a in batch})))
    ask_versions(pipe, list({key: None for a in batch for key, _, _ in a.reads}))
    pipe.add(COMMANDS, wire.uuids([a.firm.bytes for a in batch]), wire.uuids([a.command_id.bytes for a in batch]))
    try:
        _, _, head, heads, versions, known = yield from pipe.sending()
        start = wire.read_int8(head.get_value(0, 0))
        results, accepted = _decide(batch, start, read_versions(versions), read_commands(known), again=again)
        if accepted:
            yield from _writing(pipe, accepted, start, read_firms(heads))
        else:
            pipe.add(ROLLBACK)
            yield from pipe.sending()
    except psycopg.Error:
        if pipe.pg.transaction_status == TransactionStatus.INERROR:
            pipe.add(ROLLBACK)
            yield from pipe.sending()
        raise
    return results


def _decide(
    batch: Sequence[Append],
    start: int,
    version: dict[bytes, int],
    commands: dict[bytes, tuple[bytes, int, bytes]],
    *,
    again: bool,
) -> tuple[list[Appended | BaseException], list[Append]]:
    """The result of every command, and those that are to be written, in order."""
    position = start
    results: list[Appended | BaseException] = []
    accepted: list[Append] = []
    for a in batch:
        command = a.firm.bytes + a.command_id.bytes
        seen = commands.get(command)
        if seen is not None:
            mac, at, answer = seen
            repeated = not (again and answer == a.answer)
            results.append(Appended(at, answer, repeated) if mac == a.body_mac else CommandIdReused())
            continue
        conflict = next((stream for key, wanted, stream in a.reads if version.get(key, 0) != wanted), None)
        if conflict is not None:
            results.append(Conflict(*conflict))
            continue
        version.update(a.writes)
        position += len(a.events)
        commands[command] = (a.body_mac, position, a.answer)
        accepted.append(a)
        results.append(Appended(position, a.answer, False))
    return results, accepted


def _writing(pipe: wire.Pipe, accepted: Sequence[Append], start: int, firm_start: dict[bytes, int]) -> wire.Talk[None]:
    """Insert what was accepted, and commit."""
    position = start
    ends: list[int] = []
    touched: dict[bytes, int] = {}
    firms: dict[bytes, int] = {}
    firm_of: list[bytes] = []
    in_firm: list[int] = []
    commands: list[bytes] = []
    recorded: list[int] = []
    events: list[Made] = []
    sealed: list[bytes | None] = []
    keys: list[NewKey] = []
    for a in accepted:
        firm = a.firm.bytes
        count = len(a.events)
        if count:
            at = firms.get(firm)
            if at is None:
                at = firm_start.get(firm, 0)
            firms[firm] = at + count
            firm_of += [firm] * count
            in_firm += range(at, at + count)
            commands += [a.command_id.bytes] * count
            recorded += [wire.micros(a.recorded_at)] * count
            events += a.events
            sealed += a.sealed
            touched.update(a.writes)
        keys += a.keys
        position += count
        ends.append(position)
    if position // PARTITION_AHEAD != start // PARTITION_AHEAD:
        pipe.add(EXTEND, wire.int8(position + PARTITION_AHEAD))
        yield from pipe.sending()
    places = range(start + 1, position + 1)
    if len(events) >= COPY_FROM:
        rows = [
            wire.event_row(
                at, firm, number, e.stream_id.bytes, e.stream_version, e.event_id.bytes, moment, wire.micros(e.occurred_at),
                command, e.stream_type.encode(), e.type.encode(), e.public, s,
            )
            for at, firm, number, e, moment, command, s in zip(
                places, firm_of, in_firm, events, recorded, commands, sealed, strict=True
            )
        ]  # fmt: skip
        yield from copying_rows(pipe, start, rows)
    elif events:
        pipe.add(
            INSERT_EVENTS,
            wire.int8s(places),
            wire.uuids(firm_of),
            wire.int8s(in_firm),
            wire.uuids([e.stream_id.bytes for e in events]),
            wire.int8s([e.stream_version for e in events]),
            wire.uuids([e.event_id.bytes for e in events]),
            wire.times(recorded),
            wire.times([wire.micros(e.occurred_at) for e in events]),
            wire.uuids(commands),
            wire.texts([e.stream_type for e in events]),
            wire.texts([e.type for e in events]),
            wire.byteas([e.public for e in events]),
            wire.byteas(sealed),
        )
    pipe.add(
        INSERT_COMMANDS,
        wire.uuids([a.firm.bytes for a in accepted]),
        wire.uuids([a.command_id.bytes for a in accepted]),
        wire.byteas([a.body_mac for a in accepted]),
        wire.int8s(ends),
        wire.byteas([a.answer for a in accepted]),
    )
    if keys:
        add_keys(pipe, keys)
    if events:
        add_heads(pipe, touched, firms, position)
    pipe.add(COMMIT)
    yield from pipe.sending()


def copying_rows(pipe: wire.Pipe, start: int, rows: Sequence[bytes]) -> wire.Talk[None]:
    """Add rows by COPY to the partitions of the positions from `start + 1` on."""
    done = 0
    while done < len(rows):
        partition = (start + done + 1) // PARTITION_SIZE
        until = min(len(rows), (partition + 1) * PARTITION_SIZE - start - 1)
        yield from pipe.copying(COPY_EVENTS % partition, b"".join(rows[done:until]))
        done = until


class Appender:
    """The group-commit writer of a process: any thread or event loop submits, one thread flushes.

    At most `max_waiting` commands and `max_bytes` wait; more are refused with `Busy`. What an event loop submits in one turn is
    flushed together: the flusher is woken when the turn is over, or when half of the last batch is there, so that the loop
    decides the other half while the server takes the first.
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
        self._database = database
        self._waiting: deque[Append] = deque()
        self._bytes = 0
        self._max_waiting = max_waiting
        self._max_bytes = max_bytes
        self._batch_commands = batch_commands
        self._batch_bytes = batch_bytes
        self._patience = patience
        self._wake = threading.Condition()
        self._stopping = False
        self._enough = SMALL_BATCH
        self._nudges: set[asyncio.AbstractEventLoop] = set()
        self._connection: psycopg.Connection[Any] | None = None
        self._thread = threading.Thread(target=self._run, name="appender", daemon=True)
        self._thread.start()

    # --- submitting

    def submit(self, append: Append) -> None:
        """Queue a command; its `done` is called from the flusher's thread."""
        with self._wake:
            self._queue(append)
            if len(self._waiting) == 1:
                self._wake.notify()

    def _queue(self, append: Append) -> None:
        if self._stopping:
            raise Unavailable
        if self._waiting and (len(self._waiting) >= self._max_waiting or self._bytes + append.size > self._max_bytes):
            raise Busy
        self._waiting.append(append)
        self._bytes += append.size

    async def append(self, append: Append) -> Appended:
        """Append from an event loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Appended] = loop.create_future()
        append.done = _Landing(loop, future)
        with self._wake:
            self._queue(append)
            if len(self._waiting) == self._enough:
                self._wake.notify()
            elif loop not in self._nudges:
                self._nudges.add(loop)
                loop.call_soon(self._nudge, loop)
        return await future

    def _nudge(self, loop: asyncio.AbstractEventLoop) -> None:
        """The turn of the loop is over: what it submitted may go."""
        with self._wake:
            self._nudges.discard(loop)
            self._wake.notify()

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
        """Write what is waiting, then stop."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()
        if self._connection is not None:
            self._connection.close()

    # --- flushing

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._stopping:
                    self._wake.wait()
                if self._nudges and len(self._waiting) < self._enough and not self._stopping:
                    self._wake.wait(TURN_SECONDS)  # a loop is in the middle of its turn
                if not self._waiting:
                    if self._stopping:
                        return
                    continue
                batch: list[Append] = []
                size = 0
                while (
                    self._waiting
                    and len(batch) < self._batch_commands
                    and (not batch or size + self._waiting[0].size <= self._batch_bytes)
                ):
                    batch.append(self._waiting.popleft())
                    size += batch[-1].size
                self._bytes -= size
                self._enough = max(SMALL_BATCH, len(batch) // 2)
            self._deliver(batch, self._flush(batch))

    def _flush(self, batch: list[Append]) -> Sequence[Appended | BaseException]:
        until = time.monotonic() + self._patience
        unknown = False
        pause = 0.05
        while True:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = self._database.connect("record")
                    wire.register(self._connection)
                return flush(self._connection, batch, again=unknown)
            except BaseException as e:
                if not self._interrupted(e):
                    log.exception("append.failed", commands=len(batch))
                    self._drop()
                    if len(batch) == 1:
                        return [e]
                    return [result for one in batch for result in self._flush([one])]  # so that one bad command fails alone
                # Anything may have happened to the transaction: the next attempt finds its commands, or writes them.
                unknown = unknown or self._connection is not None
                log.warning("append.interrupted", error=type(e).__name__, commands=len(batch))
                self._drop()
                if time.monotonic() + pause > until or self._stopping:
                    return [OutcomeUnknown() if unknown else Unavailable() for _ in batch]
                time.sleep(pause)
                pause = min(pause * 2, 1.0)

    def _interrupted(self, e: BaseException) -> bool:
        """Whether the database went away, rather than a command being one that can't be written."""
        if isinstance(e, (psycopg.OperationalError, psycopg.InterfaceError)):
            return True
        return isinstance(e, psycopg.Error) and self._connection is not None and self._connection.closed

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _deliver(self, batch: Sequence[Append], results: Sequence[Appended | BaseException]) -> None:
        landings: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Appended], Appended | BaseException]]] = {}
        for a, result in zip(batch, results, strict=True):
            if isinstance(a.done, _Landing):
                landings.setdefault(a.done.loop, []).append((a.done.future, result))
            elif a.done is not None:
                try:
                    a.done(result)
                except Exception:  # a submitter's mistake must not stop the writer
                    log.exception("append.callback_failed")
        for loop, results_of_loop in landings.items():
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits there any more
                loop.call_soon_threadsafe(_land, results_of_loop)


@dataclass(frozen=True, slots=True)
class _Landing:
    """Where a result goes when the submitter is a coroutine; all of one loop land in one call."""

    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Appended]"

    def __call__(self, result: Appended | BaseException) -> None:
        self.loop.call_soon_threadsafe(_land, [(self.future, result)])


def _land(results: "list[tuple[asyncio.Future[Appended], Appended | BaseException]]") -> None:
    for future, result in results:
        if future.done():
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)
