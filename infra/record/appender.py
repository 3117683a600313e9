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
import itertools
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
    size: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        last = dict(self.expected)
        for e in self.events:
            stream = (e.stream_type, e.stream_id)
            if e.stream_version <= last[stream]:  # a stream that was not read, or not counted on: a bug, found before it is written
                raise ValueError(f"{e.type} is version {e.stream_version} of a stream that stands at {last[stream]}")
            last[stream] = e.stream_version
        self.size = 500 + sum(len(e.public) + 300 for e in self.events) + sum(len(s) for s in self.sealed if s)


@dataclass(frozen=True, slots=True)
class Appended:
    """`position` is the last event's; the head's when the command changed nothing. `replayed` tells a repeated answer."""

    position: int
    answer: bytes
    replayed: bool


def _check_statements() -> tuple[str, str, str, str]:
    return (
        "SELECT position FROM record.head",
        "SELECT firm_id, firm_position FROM record.firm_heads WHERE firm_id = ANY(%b::uuid[])",
        "SELECT s.firm_id, s.stream_type, s.stream_id, s.version FROM unnest(%b::uuid[], %b::uuid[], %b::text[]) u(f, i, t)"
        " JOIN record.streams s ON s.firm_id = u.f AND s.stream_id = u.i AND s.stream_type = u.t",
        "SELECT c.firm_id, c.command_id, c.body_mac, c.position, c.answer FROM unnest(%b::uuid[], %b::uuid[]) u(f, c)"
        " JOIN record.commands c ON c.firm_id = u.f AND c.command_id = u.c",
    )


HEAD, FIRM_HEADS, STREAMS, COMMANDS = _check_statements()
COLUMNS = (
    "position, firm_id, firm_position, stream_id, stream_version, event_id, recorded_at, occurred_at, command_id,"
    " stream_type, type, public, sealed"
)
INSERT_EVENTS = (
    f"INSERT INTO record.events ({COLUMNS}) SELECT * FROM unnest(%b::bigint[], %b::uuid[], %b::bigint[], %b::uuid[], %b::bigint[],"
    " %b::uuid[], %b::timestamptz[], %b::timestamptz[], %b::uuid[], %b::text[], %b::text[], %b::bytea[], %b::bytea[])"
)
COPY_EVENTS = f"COPY record.events_%06d ({COLUMNS}) FROM STDIN (FORMAT binary)"  # a partition: COPY is not for tables with policies
UPSERT_STREAMS = (
    "INSERT INTO record.streams (firm_id, stream_type, stream_id, version) SELECT * FROM"
    " unnest(%b::uuid[], %b::text[], %b::uuid[], %b::bigint[])"
    " ON CONFLICT (firm_id, stream_id, stream_type) DO UPDATE SET version = excluded.version"
)
INSERT_COMMANDS = (
    "INSERT INTO record.commands (firm_id, command_id, body_mac, position, answer) SELECT * FROM"
    " unnest(%b::uuid[], %b::uuid[], %b::bytea[], %b::bigint[], %b::bytea[])"
)
INSERT_KEYS = (
    "INSERT INTO vault.data_keys (firm_id, key_id, subject_id, purpose, epoch, wrapped) SELECT * FROM"
    " unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::text[], %b::bigint[], %b::bytea[])"
)
UPSERT_FIRMS = (
    "INSERT INTO record.firm_heads (firm_id, firm_position) SELECT * FROM unnest(%b::uuid[], %b::bigint[])"
    " ON CONFLICT (firm_id) DO UPDATE SET firm_position = excluded.firm_position"
)


def flush(c: psycopg.Connection[Any], batch: Sequence[Append], *, again: bool = False) -> list[Appended | BaseException]:
    """Append a batch in one transaction on a connection of role `record`; one result per command, in order.

    `again` says that an earlier attempt at this batch may have been committed: an answer found then that equals the command's own
    (event ids are in it) is its first answer, not a repeated one.
    """
    firms = list(dict.fromkeys(a.firm for a in batch))
    read = list(dict.fromkeys((a.firm, *key) for a in batch for key in a.expected))
    with c.pipeline():
        c.execute("BEGIN")
        c.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
        head_row = c.execute(HEAD)
        heads = c.execute(FIRM_HEADS, (wire.uuids([f.bytes for f in firms]),), binary=True)
        versions = c.execute(
            STREAMS,
            (
                wire.uuids([f.bytes for f, _, _ in read]),
                wire.uuids([i.bytes for _, _, i in read]),
                wire.texts([t for _, t, _ in read]),
            ),
            binary=True,
        )
        known = c.execute(
            COMMANDS, (wire.uuids([a.firm.bytes for a in batch]), wire.uuids([a.command_id.bytes for a in batch])), binary=True
        )
    try:
        return _decide(c, batch, head_row, heads, versions, known, again)
    except BaseException:
        if not c.closed:
            c.execute("ROLLBACK")
        raise


def _decide(
    c: psycopg.Connection[Any],
    batch: Sequence[Append],
    head_row: psycopg.Cursor[Any],
    heads: psycopg.Cursor[Any],
    versions: psycopg.Cursor[Any],
    known: psycopg.Cursor[Any],
    again: bool,
) -> list[Appended | BaseException]:
    start = position = int((head_row.fetchone() or (0,))[0])
    firm_position: dict[UUID, int] = dict(heads.fetchall())
    version: dict[tuple[UUID, str, UUID], int] = {(f, t, i): v for f, t, i, v in versions}
    commands: dict[tuple[UUID, UUID], tuple[bytes, int, bytes]] = {(f, i): (bytes(m), p, bytes(a)) for f, i, m, p, a in known}

    results: list[Appended | BaseException] = []
    accepted: list[tuple[Append, int]] = []
    touched: dict[tuple[UUID, str, UUID], int] = {}
    for a in batch:
        seen = commands.get((a.firm, a.command_id))
        if seen is not None:
            mac, at, answer = seen
            repeated = not (again and answer == a.answer)
            results.append(Appended(at, answer, repeated) if mac == a.body_mac else CommandIdReused())
            continue
        conflict = next((key for key, wanted in a.expected.items() if version.get((a.firm, *key), 0) != wanted), None)
        if conflict is not None:
            results.append(Conflict(*conflict))
            continue
        for e in a.events:
            stream = (a.firm, e.stream_type, e.stream_id)
            version[stream] = touched[stream] = e.stream_version
        first = position + 1
        position += len(a.events)
        commands[(a.firm, a.command_id)] = (a.body_mac, position, a.answer)
        accepted.append((a, first))
        results.append(Appended(position, a.answer, False))
    if not accepted:
        c.execute("ROLLBACK")
        return results

    columns = _columns(accepted, firm_position)
    if position // PARTITION_AHEAD != start // PARTITION_AHEAD:
        c.execute("SELECT record.extend(%s)", (position + PARTITION_AHEAD,))
    if len(columns) >= COPY_FROM:
        for partition, rows in itertools.groupby(columns, key=lambda r: r[0] // PARTITION_SIZE):
            with c.cursor().copy(COPY_EVENTS % partition) as copy:
                copy.write(wire.COPY_HEADER + b"".join([wire.event_row(*r) for r in rows]) + wire.COPY_END)
    with c.pipeline():
        if columns and len(columns) < COPY_FROM:
            p, f, fp, si, sv, ei, ra, oa, ci, st, ty, pu, se = zip(*columns, strict=True)
            c.execute(
                INSERT_EVENTS,
                (
                    wire.int8s(p), wire.uuids(f), wire.int8s(fp), wire.uuids(si), wire.int8s(sv), wire.uuids(ei), wire.times(ra),
                    wire.times(oa), wire.uuids(ci), _raw_texts(st), _raw_texts(ty), wire.byteas(pu), wire.byteas(se),
                ),
            )  # fmt: skip
        if touched:
            keys = list(touched)
            c.execute(
                UPSERT_STREAMS,
                (
                    wire.uuids([f.bytes for f, _, _ in keys]),
                    wire.texts([t for _, t, _ in keys]),
                    wire.uuids([i.bytes for _, _, i in keys]),
                    wire.int8s(list(touched.values())),
                ),
            )
        c.execute(
            INSERT_COMMANDS,
            (
                wire.uuids([a.firm.bytes for a, _ in accepted]),
                wire.uuids([a.command_id.bytes for a, _ in accepted]),
                wire.byteas([a.body_mac for a, _ in accepted]),
                wire.int8s([first + len(a.events) - 1 for a, first in accepted]),
                wire.byteas([a.answer for a, _ in accepted]),
            ),
        )
        new_keys = [k for a, _ in accepted for k in a.keys]
        if new_keys:
            c.execute(
                INSERT_KEYS,
                (
                    wire.uuids([k.firm.bytes for k in new_keys]), wire.uuids([k.key_id.bytes for k in new_keys]),
                    wire.uuids([k.subject.bytes for k in new_keys]), wire.texts([k.purpose for k in new_keys]),
                    wire.int8s([k.epoch for k in new_keys]), wire.byteas([k.wrapped for k in new_keys]),
                ),
            )  # fmt: skip
        if columns:
            c.execute("UPDATE record.head SET position = %s", (position,))
            moved = list(dict.fromkeys(a.firm for a, _ in accepted if a.events))
            c.execute(UPSERT_FIRMS, (wire.uuids([f.bytes for f in moved]), wire.int8s([firm_position[f] for f in moved])))
            c.execute("SELECT pg_notify(%s, %s)", (CHANNEL, str(position)))
        c.execute("COMMIT")
    return results


def _raw_texts(values: Sequence[bytes]) -> wire.Texts:
    out: wire.Texts = wire._array(wire.Texts, 25, len(values), False, wire._sized(values))  # noqa: SLF001
    return out


EventRow = tuple[int, bytes, int, bytes, int, bytes, int, int, bytes, bytes, bytes, bytes, bytes | None]


def _columns(accepted: Sequence[tuple[Append, int]], firm_position: dict[UUID, int]) -> list[EventRow]:
    rows: list[EventRow] = []
    for a, first in accepted:
        at = first
        in_firm = firm_position.get(a.firm, 0)
        firm, command, recorded = a.firm.bytes, a.command_id.bytes, wire.micros(a.recorded_at)
        for e, sealed in zip(a.events, a.sealed, strict=True):
            rows.append(
                (
                    at, firm, in_firm, e.stream_id.bytes, e.stream_version, e.event_id.bytes, recorded, wire.micros(e.occurred_at),
                    command, e.stream_type.encode(), e.type.encode(), e.public, sealed,
                )
            )  # fmt: skip
            at += 1
            in_firm += 1
        firm_position[a.firm] = in_firm
    return rows


class Appender:
    """The group-commit writer of a process: any thread or event loop submits, one thread flushes.

    At most `max_waiting` commands and `max_bytes` wait; more are refused with `Busy`.
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
        self._connection: psycopg.Connection[Any] | None = None
        self._thread = threading.Thread(target=self._run, name="appender", daemon=True)
        self._thread.start()

    # --- submitting

    def submit(self, append: Append) -> None:
        """Queue a command; its `done` is called from the flusher's thread."""
        with self._wake:
            if self._stopping:
                raise Unavailable
            if self._waiting and (len(self._waiting) >= self._max_waiting or self._bytes + append.size > self._max_bytes):
                raise Busy
            self._waiting.append(append)
            self._bytes += append.size
            if len(self._waiting) == 1:
                self._wake.notify()

    async def append(self, append: Append) -> Appended:
        """Append from an event loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Appended] = loop.create_future()
        append.done = _Landing(loop, future)
        self.submit(append)
        return await future

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
                if not self._waiting:
                    return
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
