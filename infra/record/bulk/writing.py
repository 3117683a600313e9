"""The thread of an import that writes what was decided, in the order it was decided (B1, B2, and the appender's R1 to R4)."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any
from uuid import UUID

import psycopg
import structlog

from infra.database import Database
from infra.record import wire
from infra.record.appender import OutcomeUnknown, Unavailable, statements, stream_key, transaction
from infra.record.appender.insisting import Tries
from infra.record.bulk.tasks import Doing, Key, Outcome, Written, replayed
from infra.record.crew import CrewLost
from infra.record.encoding import Encoded, Rows, unframed
from infra.record.vault import NewKey

log = structlog.get_logger()


class Writer:
    """Writes batches one after the other in a thread of its own, on one connection."""

    def __init__(self, database: Database, firm: UUID, patience: float) -> None:
        self._database = database
        self._firm = firm
        self._patience = patience
        self._connection: psycopg.Connection[Any] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bulk")

    def submit(self, batch: list[Doing]) -> "Future[Written]":
        """Have a batch written when the crew has encoded it."""
        return self._thread.submit(self._encoded_and_written, batch)

    def close(self) -> None:
        """Wait for what is under way and let the connection go."""
        self._thread.shutdown()
        if self._connection is not None:
            self._connection.close()

    def _encoded_and_written(self, batch: list[Doing]) -> Written:
        """Write a batch when the crew has encoded it. What can't be recorded, and what rests on it, is to be decided again."""
        result = Written()
        ready: list[Doing] = []
        asked: Future[bytearray] | None = None
        piece: Encoded | None = None
        for d in batch:
            if d.encoding is not None:
                if d.encoding is not asked:
                    asked = d.encoding
                    piece = _encoded(asked)
                first = None if piece is None else piece.firsts[d.place]
                if piece is not None and first is not None:
                    d.rows, d.first = piece.rows, first
            if d.rows is not None and result.stale.isdisjoint(d.expected):
                ready.append(d)
            else:
                result.again.append(d.again(here=d.rows is None))
                result.stale.update(d.written)
        return result.joined(self._write(ready)) if ready else result

    def _write(self, batch: list[Doing]) -> Written:
        try:
            return self._persist(batch)
        except psycopg.Error as e:
            if len(batch) == 1:
                log.error("bulk.failed", error=type(e).__name__, command=str(batch[0].command_id))
                return Written(outcomes=[Outcome(task=batch[0].task, failed=e)], stale=set(batch[0].written))
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

    def _persist(self, batch: list[Doing]) -> Written:
        """Write a batch, again while the database is away."""
        tries = Tries(self._database, self._patience)
        unknown = False
        while True:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = self._database.connect("record", writing=True)
                    wire.register(self._connection)
                return _append(self._connection, self._firm, batch, again=unknown)
            except psycopg.Error as e:
                connected = self._connection is not None
                lost = not connected or (self._connection is not None and self._connection.closed)
                if self._connection is not None:
                    self._connection.close()  # after an error in a pipeline its prepared statements are in doubt
                    self._connection = None
                if not lost and not isinstance(e, (psycopg.OperationalError, psycopg.InterfaceError)):
                    raise
                # Anything may have happened to the transaction: the next attempt finds its commands, or writes them.
                unknown = unknown or connected
                log.warning("bulk.interrupted", error=type(e).__name__, commands=len(batch))
                if not tries.again():
                    raise (OutcomeUnknown if unknown else Unavailable) from e


def _append(c: psycopg.Connection[Any], firm: UUID, batch: Sequence[Doing], *, again: bool) -> Written:
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
    batch: Sequence[Doing], start: int, version: dict[Key, int], seen: dict[bytes, tuple[bytes, int, bytes]], *, again: bool
) -> tuple[Written, list[Doing]]:
    result = Written()
    accepted = []
    position = start
    for d in batch:
        first = seen.get(d.command_id.bytes)
        if first is not None:
            if not (again and first[2] == d.answer and first[0] == d.mac):
                result.stale.update(d.written)  # what stands there is another's work, or nothing
                result.outcomes.append(replayed(d, *first))
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
        position += d.count
        seen[d.command_id.bytes] = (d.mac, position, d.answer)
        accepted.append(d)
        result.outcomes.append(Outcome(task=d.task, position=position, answer=d.body))
    return result, accepted


def _insert(
    pipe: wire.Pipe,
    firm: UUID,
    accepted: Sequence[Doing],
    start: int,
    firm_start: int,
    result: Written,
) -> None:
    position, firm_bytes = start, firm.bytes
    touched: dict[Key, int] = {}
    keys: dict[UUID, NewKey] = {}
    ends = []
    runs: list[tuple[Rows, int, int]] = []
    for d in accepted:
        if d.count and d.rows is not None:
            rows, first = d.rows, d.first
            if runs and runs[-1][0] is rows and runs[-1][2] == first:
                first = runs.pop()[1]
            runs.append((rows, first, d.first + d.count))
            position += d.count
        touched.update(d.written)
        for k in d.keys:
            keys[k.key_id] = k
        ends.append(position)
    if position // statements.PARTITION_AHEAD != start // statements.PARTITION_AHEAD:
        pipe.ask(statements.EXTEND, wire.int8(position + statements.PARTITION_AHEAD))
    firm_position = firm_start + position - start
    if runs:
        _copy(pipe, _placed(runs, start, firm_bytes, firm_start), start, position)
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
    if runs:
        versions = {stream_key(firm, *key): version for key, version in touched.items()}
        statements.add_heads(pipe, versions, {firm_bytes: firm_position}, position)
    pipe.add(statements.COMMIT)
    pipe.send()
    result.keys += keys.values()


def _placed(runs: Sequence[tuple[Rows, int, int]], start: int, firm: bytes, firm_start: int) -> list[Rows]:
    """Runs of rows (of which, from, until) with their places put in."""
    placed = []
    for rows, first, until in runs:
        starts = rows.starts[first : until + 1]
        wire.put_places(rows.packed, starts[:-1], start + 1, firm, firm_start)
        placed.append(Rows(rows.packed, starts))
        start += until - first
        firm_start += until - first
    return placed


def _copy(pipe: wire.Pipe, runs: Sequence[Rows], start: int, end: int) -> None:
    """Add rows to the partition of the positions from `start + 1` to `end`, or to both where one ends among them."""
    partition = (start + 1) // statements.PARTITION_SIZE
    if end // statements.PARTITION_SIZE == partition:
        pipe.copy(statements.COPY_EVENTS % partition, [memoryview(packed)[starts[0] : starts[-1]] for packed, starts in runs])
    else:
        each = [bytes(packed[a:b]) for packed, starts in runs for a, b in pairwise(starts)]
        wire.drive(transaction.copying_rows(pipe, start, each), pipe.pg.socket)


def _encoded(piece: "Future[bytearray]") -> Encoded | None:
    """What the crew made of a piece; None when it is lost."""
    try:
        return unframed(piece.result())
    except CrewLost:
        return None
