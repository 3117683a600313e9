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
from typing import Any, NamedTuple, TypeVar
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
SMALL_BATCH = 4
LOOK_AFTER = 8  # commands that a loop adds before it looks whether the server has answered

Key = tuple[str, UUID]
Result = TypeVar("Result")


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
    future: "asyncio.Future[Appended] | None" = None
    size: int = field(init=False, default=500)
    reads: list[tuple[bytes, int, Key]] = field(init=False)  # each stream that was read, by `stream_key`
    firm_bytes: bytes = field(init=False)
    command_bytes: bytes = field(init=False)
    writes: dict[bytes, int] = field(init=False)  # the versions that streams have afterwards

    def __post_init__(self) -> None:
        firm = self.firm_bytes = self.firm.bytes
        self.command_bytes = self.command_id.bytes
        self.reads = [(firm + stream[1].bytes + stream[0].encode(), version, stream) for stream, version in self.expected.items()]
        self.writes = writes = {}
        last = {key: version for key, version, _ in self.reads}
        key, _, (only_type, only_id) = self.reads[0] if len(self.reads) == 1 else (b"", 0, ("", None))
        size = self.size
        for e, sealed in zip(self.events, self.sealed, strict=True):
            if e.stream_id is not only_id or e.stream_type != only_type:
                key = firm + e.stream_id.bytes + e.stream_type.encode()
            version = e.stream_version
            if version <= last[key]:  # a stream that was not read, or not counted on: a bug, found before it is written
                raise ValueError(f"{e.type} is version {version} of a stream that stands at {last[key]}")
            last[key] = writes[key] = version
            size += len(e.public) + 300 + (0 if sealed is None else len(sealed))
        self.size = size


class Appended(NamedTuple):
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
COPY_EVENTS = (
    b"COPY record.events_%%06d (%s) FROM STDIN (FORMAT binary)" % COLUMNS.encode()
)  # a partition: COPY is not for tables with policies
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
_APPEND = (U, N, U, U, T, N, U, U, B, N, B, N, N, U, N, U, Z, Z, U, T, T, B, B, U, U, T, N, U, U, U, T, N, B)
APPEND = wire.Statement(
    b"append", f"SELECT record.append({', '.join(f'${n}' for n in range(1, len(_APPEND) + 1))})".encode(), _APPEND
)  # migrations/0360_append.sql
_ONE = (
    *([wire.UUID] * 2),
    wire.TEXT,
    wire.INT8,
    wire.UUID,
    wire.BYTEA,
    wire.BYTEA,
    wire.UUID,
    *([wire.TIMESTAMPTZ] * 2),
    wire.TEXT,
)
APPEND_ONE = wire.Statement(
    b"append one",
    f"SELECT record.append_one({', '.join(f'${n}' for n in range(1, 14))})".encode(),
    (*_ONE, wire.BYTEA, wire.BYTEA),
)  # migrations/0361_append_one.sql
EXTEND = wire.Statement(b"extend", b"SELECT record.extend($1)", (wire.INT8,))
COMMIT = wire.Statement(b"commit", b"COMMIT")
ROLLBACK = wire.Statement(b"rollback", b"ROLLBACK")


def stream_key(firm: UUID, type: str, id: UUID) -> bytes:
    """A stream's key as bytes: firm, id, type."""
    return firm.bytes + id.bytes + type.encode()


def ask_versions(pipe: wire.Pipe, keys: Sequence[bytes]) -> None:
    pipe.add(STREAMS, *_streams(keys))


def _streams(keys: Sequence[bytes]) -> tuple[bytes, bytes, bytes]:
    """Firms, ids and types of streams by their keys."""
    return (
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
    pipe.add(UPSERT_STREAMS, *_streams(keys), wire.int8s(list(streams.values())))
    pipe.add(SET_HEAD, wire.int8(position))
    pipe.add(UPSERT_FIRMS, wire.uuids(list(firms)), wire.int8s(list(firms.values())))
    pipe.add(NOTIFY, wire.int8(position))


def add_keys(pipe: wire.Pipe, keys: Sequence[NewKey]) -> None:
    pipe.add(INSERT_KEYS, *_keys(keys))


_NO_KEYS: tuple[bytes, ...] = (wire.uuids([]), wire.uuids([]), wire.uuids([]), wire.texts([]), wire.int8s([]), wire.byteas([]))


def _keys(keys: Sequence[NewKey]) -> tuple[bytes, ...]:
    if not keys:
        return _NO_KEYS
    return (
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
    """`flush` as a conversation: in one round trip where everything is as its commands believe, else in two or three."""
    if not again and len(batch) == 1 and _is_plain(batch[0]):
        position = yield from _alone(pipe, batch[0])
        if position is not None:
            return [Appended(position, batch[0].answer, False)]
    elif not again and sum([len(a.events) for a in batch]) < COPY_FROM:
        believed = {key: version for a in reversed(batch) for key, version, _ in a.reads}  # as its first reader among them read it
        results, accepted = _decide(batch, 0, dict(believed), {}, again=False)
        if len(accepted) == len(batch):
            start = yield from _in_a_transaction(pipe, _at_once(pipe, batch, believed))
            if start is not None:
                return [Appended(start + r.position, r.answer, False) for r in results if isinstance(r, Appended)]
    return (yield from _in_a_transaction(pipe, _step_by_step(pipe, batch, again=again)))


def _is_plain(a: Append) -> bool:
    """Whether a command is one event on the one stream it read, under a key that is there already."""
    return len(a.events) == 1 and len(a.reads) == 1 and not a.keys and a.events[0].stream_version == a.reads[0][1] + 1


def _alone(pipe: wire.Pipe, a: Append) -> wire.Talk[int | None]:
    """The position of a plain command's event, in a transaction of its own; None when something is not as believed, and nothing was written."""
    ((key, version, _),) = a.reads
    (e,) = a.events
    (sealed,) = a.sealed
    recorded = wire.int8(wire.micros(a.recorded_at))
    result = yield from pipe.asking(
        APPEND_ONE,
        a.firm_bytes,
        key[16:32],
        key[32:],
        wire.int8(version),
        a.command_bytes,
        a.body_mac,
        a.answer,
        e.event_id.bytes,
        recorded,
        recorded if e.occurred_at is a.recorded_at else wire.int8(wire.micros(e.occurred_at)),
        e.type.encode(),
        e.public,
        sealed,
    )
    position = result.get_value(0, 0)
    return None if position is None else wire.read_int8(position)


def _in_a_transaction(pipe: wire.Pipe, talk: wire.Talk[Result]) -> wire.Talk[Result]:
    try:
        return (yield from talk)
    except psycopg.Error:
        if pipe.pg.transaction_status == TransactionStatus.INERROR:
            pipe.add(ROLLBACK)
            yield from pipe.sending()
        raise


def _at_once(pipe: wire.Pipe, batch: Sequence[Append], believed: Mapping[bytes, int]) -> wire.Talk[int | None]:
    """The position before a batch that was appended whole; None when something is not as believed, and nothing was written."""
    rows = _Rows(batch)
    reads = list(believed)
    firms = list(rows.firms)
    place = {firm: n for n, firm in enumerate(firms, 1)}
    pipe.add(BEGIN)
    pipe.add(LOCK)
    pipe.add(
        APPEND,
        wire.uuids(firms),
        wire.int8s(list(rows.firms.values())),
        *_streams(reads),
        wire.int8s(list(believed.values())),
        *rows.of_commands(0),
        wire.int8s([place[firm] for firm in rows.firm_of]),
        wire.int8s(rows.in_firm),
        *rows.of_events(),
        *_streams(list(rows.touched)),
        wire.int8s(list(rows.touched.values())),
        *_keys(rows.keys),
    )
    pipe.add(COMMIT)
    _, _, appended, _ = yield from pipe.sending()
    start = appended.get_value(0, 0)
    return None if start is None else wire.read_int8(start)


def _step_by_step(pipe: wire.Pipe, batch: Sequence[Append], *, again: bool) -> wire.Talk[list[Appended | BaseException]]:
    """Ask what is so, decide for each command, write what is accepted."""
    pipe.add(BEGIN)
    pipe.add(LOCK)
    pipe.add(HEAD)
    pipe.add(FIRM_HEADS, wire.uuids(list({a.firm_bytes: None for a in batch})))
    ask_versions(pipe, list({key: None for a in batch for key, _, _ in a.reads}))
    pipe.add(COMMANDS, wire.uuids([a.firm_bytes for a in batch]), wire.uuids([a.command_bytes for a in batch]))
    _, _, head, heads, versions, known = yield from pipe.sending()
    start = wire.read_int8(head.get_value(0, 0))
    results, accepted = _decide(batch, start, read_versions(versions), read_commands(known), again=again)
    if accepted:
        yield from _writing(pipe, accepted, start, read_firms(heads))
    else:
        pipe.add(ROLLBACK)
        yield from pipe.sending()
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
        command = a.firm_bytes + a.command_bytes
        seen = commands.get(command)
        if seen is not None:
            mac, at, answer = seen
            repeated = not (again and answer == a.answer)
            results.append(Appended(at, answer, repeated) if mac == a.body_mac else CommandIdReused())
            continue
        for key, wanted, stream in a.reads:
            if version.get(key, 0) != wanted:
                results.append(Conflict(*stream))
                break
        else:
            version.update(a.writes)
            position += len(a.events)
            commands[command] = (a.body_mac, position, a.answer)
            accepted.append(a)
            results.append(Appended(position, a.answer, False))
    return results, accepted


class _Rows:
    """What accepted commands add: places are counted from where the record and each firm stand before them."""

    def __init__(self, accepted: Sequence[Append]) -> None:
        self.accepted = accepted
        self.ends: list[int] = []
        self.touched: dict[bytes, int] = {}
        self.firms: dict[bytes, int] = {}
        self.firm_of: list[bytes] = []
        self.in_firm: list[int] = []
        self.commands: list[bytes] = []
        self.recorded: list[int] = []
        self.occurred: list[int] = []
        self.events: list[Made] = []
        self.sealed: list[bytes | None] = []
        self.keys: list[NewKey] = []
        position = 0
        for a in accepted:
            firm = a.firm_bytes
            count = len(a.events)
            if count:
                at = self.firms.get(firm, 0)
                self.firms[firm] = at + count
                self.firm_of += [firm] * count
                self.in_firm += range(at, at + count)
                self.commands += [a.command_bytes] * count
                moment, recorded = a.recorded_at, wire.micros(a.recorded_at)
                self.recorded += [recorded] * count
                self.occurred += [recorded if e.occurred_at is moment else wire.micros(e.occurred_at) for e in a.events]
                self.events += a.events
                self.sealed += a.sealed
                self.touched.update(a.writes)
            self.keys += a.keys
            position += count
            self.ends.append(position)

    def of_commands(self, start: int) -> tuple[bytes, ...]:
        """As `INSERT_COMMANDS` wants them."""
        accepted = self.accepted
        return (
            wire.uuids([a.firm_bytes for a in accepted]),
            wire.uuids([a.command_bytes for a in accepted]),
            wire.byteas([a.body_mac for a in accepted]),
            wire.int8s([start + end for end in self.ends] if start else self.ends),
            wire.byteas([a.answer for a in accepted]),
        )

    def of_events(self) -> tuple[bytes, ...]:
        """From `stream_id` on, as `INSERT_EVENTS` wants them."""
        events = self.events
        return (
            wire.uuids([e.stream_id.bytes for e in events]),
            wire.int8s([e.stream_version for e in events]),
            wire.uuids([e.event_id.bytes for e in events]),
            wire.times(self.recorded),
            wire.times(self.occurred),
            wire.uuids(self.commands),
            wire.texts([e.stream_type for e in events]),
            wire.texts([e.type for e in events]),
            wire.byteas([e.public for e in events]),
            wire.byteas(self.sealed),
        )


def _writing(pipe: wire.Pipe, accepted: Sequence[Append], start: int, firm_start: dict[bytes, int]) -> wire.Talk[None]:
    """Insert what was accepted, and commit."""
    rows = _Rows(accepted)
    events = rows.events
    position = start + len(events)
    if position // PARTITION_AHEAD != start // PARTITION_AHEAD:
        pipe.add(EXTEND, wire.int8(position + PARTITION_AHEAD))
        yield from pipe.sending()
    places = range(start + 1, position + 1)
    numbers = [firm_start.get(firm, 0) + at for firm, at in zip(rows.firm_of, rows.in_firm, strict=True)]
    if len(events) >= COPY_FROM:
        packed = [
            wire.event_row(
                at, firm, number, e.stream_id.bytes, e.stream_version, e.event_id.bytes, moment, wire.micros(e.occurred_at),
                command, e.stream_type.encode(), e.type.encode(), e.public, s,
            )
            for at, firm, number, e, moment, command, s in zip(
                places, rows.firm_of, numbers, events, rows.recorded, rows.commands, rows.sealed, strict=True
            )
        ]  # fmt: skip
        yield from copying_rows(pipe, start, packed)
    elif events:
        pipe.add(INSERT_EVENTS, wire.int8s(places), wire.uuids(rows.firm_of), wire.int8s(numbers), *rows.of_events())
    pipe.add(INSERT_COMMANDS, *rows.of_commands(start))
    if rows.keys:
        add_keys(pipe, rows.keys)
    if events:
        add_heads(pipe, rows.touched, {firm: firm_start.get(firm, 0) + count for firm, count in rows.firms.items()}, position)
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
        self.limits = _Limits(max_waiting, max_bytes, batch_commands, batch_bytes)
        self.stopping = threading.Event()
        self.patience = patience
        self._queue = _Queue(self.limits)
        self._wake = threading.Condition()
        self._loops: dict[asyncio.AbstractEventLoop, _LoopWriter] = {}
        self._with_it: list[tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = []
        self._thread: threading.Thread | None = None

    # --- submitting

    def submit(self, append: Append) -> None:
        """Queue a command; its `done` is called from the flusher's thread."""
        with self._wake:
            if self.stopping.is_set():
                raise Unavailable
            self._queue.put(append)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="appender", daemon=True)
                self._thread.start()
            self._wake.notify()

    def append(self, append: Append) -> "asyncio.Future[Appended]":
        """Append from an event loop; await what this answers."""
        if self.stopping.is_set():
            raise Unavailable
        loop = asyncio.get_running_loop()
        writer = self._loops.get(loop)
        if writer is None:
            writer = self._loops[loop] = _LoopWriter(self, loop)
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
        self.stopping.set()
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
                closed.wait(self.patience)
        self._loops.clear()
        self._with_it.clear()

    def close_too(self, loop: asyncio.AbstractEventLoop, close: Callable[[], None]) -> None:
        """Call this on its loop when the appender is closed."""
        self._with_it.append((loop, close))

    # --- the thread

    def _run(self) -> None:
        writer = _Writer(self)
        while True:
            with self._wake:
                while not self._queue.waiting:
                    if self.stopping.is_set():
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


@dataclass(frozen=True, slots=True)
class _Limits:
    waiting: int
    bytes: int
    batch_commands: int
    batch_bytes: int


class _Queue:
    """Commands that wait, bounded."""

    __slots__ = ("_bytes", "_limits", "waiting")

    def __init__(self, limits: _Limits) -> None:
        self.waiting: deque[Append] = deque()
        self._bytes = 0
        self._limits = limits

    def put(self, append: Append) -> None:
        limits = self._limits
        if self.waiting and (len(self.waiting) >= limits.waiting or self._bytes + append.size > limits.bytes):
            raise Busy
        self.waiting.append(append)
        self._bytes += append.size

    def take(self) -> list[Append]:
        """The next batch."""
        waiting, limits = self.waiting, self._limits
        batch: list[Append] = []
        size = 0
        while waiting and len(batch) < limits.batch_commands and (not batch or size + waiting[0].size <= limits.batch_bytes):
            batch.append(waiting.popleft())
            size += batch[-1].size
        self._bytes -= size
        return batch


class _Writer:
    """Flushes batches, blocking, and tries again while the database is away."""

    def __init__(self, appender: Appender) -> None:
        self._appender = appender
        self._connection: psycopg.Connection[Any] | None = None

    def flush(self, batch: Sequence[Append], *, unknown: bool = False) -> Sequence[Appended | BaseException]:
        """The batch's results. `unknown`: an earlier attempt may have been committed."""
        until = time.monotonic() + self._appender.patience
        pause = 0.05
        while True:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = self._appender.database.connect("record", writing=True)
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
                if time.monotonic() + pause > until or self._appender.stopping.is_set():
                    return [OutcomeUnknown() if unknown else Unavailable() for _ in batch]
                time.sleep(pause)
                pause = min(pause * 2, 1.0)

    def _interrupted(self, e: BaseException) -> bool:
        """Whether the database went away, rather than a command being one that can't be written."""
        if isinstance(e, (psycopg.OperationalError, psycopg.InterfaceError)):
            return True
        return isinstance(e, psycopg.Error) and self._connection is not None and self._connection.closed

    def drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _LoopWriter:
    """Flushes on an event loop: a conversation with the server goes on whenever its socket has something, or a command is added.

    When a flush fails, a `_Writer` takes the batch over in another thread, and decides what became of it.
    """

    def __init__(self, appender: Appender, loop: asyncio.AbstractEventLoop) -> None:
        self._appender = appender
        self._loop = loop
        self._queue = _Queue(appender.limits)
        self._rescuer = _Writer(appender)
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._pipe: wire.Pipe | None = None
        self._fd = -1
        self._talk: wire.Talk[list[Appended | BaseException]] | None = None
        self._batch: list[Append] = []
        self._rescue: asyncio.Task[None] | None = None
        self._writing = False  # whether the socket is watched for room, too
        self._due = False
        self._overlapping = False
        self._begun_at = self._landed_at = self._took = 0.0
        self._enough = SMALL_BATCH
        self._since = 0

    def append(self, append: Append) -> "asyncio.Future[Appended]":
        append.future = future = self._loop.create_future()
        self._queue.put(append)
        if self._talk is not None:
            self._since += 1
            if self._since >= LOOK_AFTER:  # the loop is in a long turn: see whether the server waits for us
                self._look()
        elif self._rescue is None:
            if self._overlapping and len(self._queue.waiting) >= self._enough and self._pipe is not None:
                self._begin()
            elif not self._due:
                self._due = True
                self._loop.call_soon(self._turn_is_over)
        return future

    def _turn_is_over(self) -> None:
        self._due = False
        # To begin with half of a turn's commands pays while making them takes about as long as writing them; while the server
        # is slow, one large flush serves more than two small ones.
        self._overlapping = (time.perf_counter() - self._landed_at) * 2 > self._took
        if self._talk is None and self._rescue is None and self._queue.waiting:
            self._begin()

    def _begin(self) -> None:
        self._batch = self._queue.take()
        self._begun_at = time.perf_counter()
        self._enough = max(SMALL_BATCH, len(self._batch) // 2)
        if self._pipe is None:
            self._rescue = self._loop.create_task(self._open(), name="append-open")
        else:
            self._talk = flushing(self._pipe, self._batch, again=False)
            self._go_on()

    def _look(self) -> None:
        """Go on if the server has answered."""
        assert self._pipe is not None  # noqa: S101 # nosec B101 - there is a conversation
        self._since = 0
        try:
            self._pipe.pg.consume_input()
            if self._pipe.pg.is_busy():
                return
        except psycopg.Error as e:
            self._failed(e)
        else:
            self._go_on()

    def _readable(self) -> None:
        if self._talk is not None:
            self._go_on()
        elif self._pipe is not None:
            try:
                self._pipe.pg.consume_input()
            except psycopg.Error:
                self._drop()

    def _go_on(self) -> None:
        assert self._talk is not None  # noqa: S101 # nosec B101 - there is a conversation
        self._since = 0
        try:
            wants = next(self._talk)
        except StopIteration as end:
            batch, self._batch, self._talk = self._batch, [], None
            self._watch_room(False)
            self._land(batch, end.value)
        except Exception as e:
            self._failed(e)
        else:
            self._watch_room(wants)

    def _watch_room(self, wanted: bool) -> None:
        if wanted != self._writing:
            self._writing = wanted
            if wanted:
                self._loop.add_writer(self._fd, self._go_on)
            else:
                self._loop.remove_writer(self._fd)

    def _land(self, batch: Sequence[Append], results: Sequence[Appended | BaseException]) -> None:
        for a, result in zip(batch, results, strict=True):
            future = a.future
            if future is None or future.done():
                continue
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits there any more
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result)
        self._landed_at = time.perf_counter()
        self._took = self._landed_at - self._begun_at
        if not self._due:
            self._due = True
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon(self._turn_is_over)

    # --- when something is wrong

    async def _open(self) -> None:
        """Connect, and begin with the batch; let the rescuer wait for a database that is away."""
        try:
            c = await self._appender.database.connect_async("record", writing=True)
        except psycopg.Error:
            await self._hand_over(unknown=False)
            return
        self._connection = c
        self._pipe = wire.Pipe(c.pgconn)
        self._fd = c.pgconn.socket
        self._loop.add_reader(self._fd, self._readable)
        self._rescue = None
        self._talk = flushing(self._pipe, self._batch, again=False)
        self._go_on()

    def _failed(self, e: Exception) -> None:
        log.warning("append.interrupted", error=type(e).__name__, commands=len(self._batch))
        self._talk = None
        self._drop()
        self._rescue = self._loop.create_task(self._hand_over(unknown=True), name="append-rescue")

    async def _hand_over(self, *, unknown: bool) -> None:
        batch, self._batch = self._batch, []
        try:
            results = await asyncio.to_thread(self._rescuer.flush, batch, unknown=unknown)
            await asyncio.to_thread(self._rescuer.drop)
        except BaseException:
            results = [OutcomeUnknown() for _ in batch]
            raise
        finally:
            self._rescue = None
            self._land(batch, results)

    def _drop(self) -> None:
        if self._pipe is not None:
            self._watch_room(False)
            with contextlib.suppress(RuntimeError):
                self._loop.remove_reader(self._fd)
            self._pipe.pg.finish()
            self._pipe = self._connection = None

    def close(self) -> None:
        """Write what is waiting, blocking."""
        if self._rescue is None:
            if self._talk is not None and self._pipe is not None:
                talk, self._talk = self._talk, None
                try:
                    self._land(self._batch, wire.drive(talk, self._fd))
                except psycopg.Error:
                    self._land(self._batch, self._rescuer.flush(self._batch, unknown=True))
            while self._queue.waiting:
                batch = self._queue.take()
                self._land(batch, self._rescuer.flush(batch))
            self._rescuer.drop()
        self._drop()
