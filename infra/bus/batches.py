"""Batches of the record, on their way to a producer: the next ones come while this one is sent.

with Batches(database, partitions) as batches:
    while (batch := batches.after(position)).reached > position:
        for message in batch.messages: ...
        position = batch.reached
"""

from binascii import b2a_base64
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from infra.bus.messages import CONTENT_TYPE, IN_LEAF, OPTIONAL, encode, key_of
from infra.bus.topics import partition_of
from infra.database import Database
from infra.record.codec import leaf_hash
from infra.record.reader import FOREIGN, read_after

BATCH = 5_000
BATCH_BYTES = 8 * 1024 * 1024
AHEAD = 2  # batches the server works on at once
AT_ONCE = 250  # rows taken over from an answer at once
BY_HAND = 50  # events that are made here at once

_NEXT = Path(__file__).with_name("batch.sql").read_bytes()
_TYPES = (25, 20, 20, 20)  # text and three int8
_BYTES = 3  # the column
_MEMBERS = tuple(f"ce_{n}" for n in (*(n for n in IN_LEAF if n not in OPTIONAL), "position", "firmposition"))  # the last columns

Ready = tuple[bytes | str, Any, bytes, int, int, int]
"""An event ready to be sent: value, headers, key, partition, milliseconds, position. The headers are another event's when the next is taken."""


@dataclass(frozen=True, slots=True)
class Poison:
    """The event that can't be published, and why."""

    position: int
    error: Exception


@dataclass(slots=True)
class Batch:
    """Consecutive events up to a position. Messages are made as they are taken; whether all could be is known when the last has been."""

    messages: Iterable[Ready]
    reached: int  # less than before when an event on the way is poison
    full: bool  # there may be more that can be published at once
    leaf_hash: str = ""  # of the event at `reached`
    poison: Poison | None = None


class Gap(Exception):
    """The record skips a position. Restore the database from a backup that is whole, or run `chancery doctor`."""


class Batches:
    """Reads the record for so many partitions. Close it.

    The server takes the leaves apart, beside: of all there is to do the interpreter, of which there is one, is what is scarce. A batch in
    which it finds something that can't be read is made here, event by event, to tell which it is.
    """

    def __init__(self, database: Database, partitions: int, *, most: int = BATCH, most_bytes: int = BATCH_BYTES) -> None:
        self._partitions = partitions
        self._most, self._most_bytes = most, most_bytes
        self._firms: dict[bytes, tuple[bytes, int]] = {}
        self._connections = [database.connect("record") for _ in range(AHEAD)]
        self._free = SimpleQueue[psycopg.Connection[Any]]()
        for connection in self._connections:
            self._free.put(connection)
        self._values = Transformer(self._connections[0])
        self._bare: dict[str, str | bytes] = {**dict.fromkeys(_MEMBERS, ""), "ce_leafhash": "", "content-type": CONTENT_TYPE}
        self._with_sealed = {**self._bare, "ce_sealed": b""}
        self._threads = ThreadPoolExecutor(AHEAD, "relay-reader")
        self._coming: dict[int, Future[PGresult]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        for connection in self._connections:
            connection.close()

    def after(self, position: int) -> Batch:
        """The events after a position; empty when there are none yet. What was not taken of the batch before is gone."""
        self._ask(position)
        try:
            found = self._coming.pop(position).result()
        except psycopg.DataError:
            return self._by_hand(position)
        self._values.set_pgresult(found)
        count = found.ntuples
        if not count:
            return Batch((), position, full=False)
        last = self._number(found, count - 1, 0)
        if last != position + count:
            raise Gap(Gap.__doc__)
        batch = Batch(
            (), last, full=count == self._most or (count > 1 and self._number(found, count - 1, _BYTES) > self._most_bytes // 8)
        )
        batch.messages = self._made(batch, count)
        self._coming = {after: coming for after, coming in self._coming.items() if after >= last}
        if batch.full:
            self._ask(last)
        if count == self._most:
            self._ask(last + count)
        return batch

    def _ask(self, after: int) -> None:
        """Have the server begin with the events after a position, unless it has."""
        if after not in self._coming:
            self._coming[after] = self._threads.submit(self._answer, after)

    def _answer(self, after: int) -> PGresult:
        asked = [FOREIGN.encode(), b"%d" % after, b"%d" % self._most, b"%d" % self._most_bytes]
        with self._connection() as connection:
            found = connection.pgconn.exec_params(_NEXT, asked, _TYPES, result_format=Format.BINARY)
        if found.status != ExecStatus.TUPLES_OK:
            raise psycopg.errors.error_from_result(found)
        return found

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        """One that nobody else has meanwhile."""
        connection = self._free.get()
        try:
            yield connection
        finally:
            self._free.put(connection)

    @staticmethod
    def _number(found: PGresult, row: int, column: int) -> int:
        return int.from_bytes(found.get_value(row, column) or b"", "big")

    def _made(self, batch: Batch, count: int) -> Iterator[Ready]:
        firms, bare, with_sealed = self._firms, self._bare, self._with_sealed
        hashed = b""
        for begin in range(0, count, AT_ONCE):
            for row in self._values.load_rows(begin, min(begin + AT_ONCE, count), tuple):
                position, firm, millis, _, of_others, leaf, sealed, value, caused, correlated, origin, *members = row
                if not of_others:
                    if value is None or None in members:
                        _stop(batch, position, _base64(hashed), ValueError("the public part is no leaf"))
                        return
                    if sealed is None:
                        headers = bare
                    else:
                        headers = with_sealed
                        headers["ce_sealed"] = sealed
                    headers.update(zip(_MEMBERS, members))  # noqa: B905 - so many by the statement; asking costs a hundredth of all
                    headers["ce_leafhash"] = b2a_base64(leaf, newline=False)
                    if caused is not None or correlated is not None or origin is not None:
                        optional = (("ce_causationid", caused), ("ce_correlationid", correlated), ("ce_origin", origin))
                        headers = headers | {name: text for name, text in optional if text is not None}
                    key, partition = firms.get(firm) or self._firm(firm)
                    yield value, headers, key, partition, millis, position
                hashed = leaf
        batch.leaf_hash = _base64(hashed)

    def _by_hand(self, position: int) -> Batch:
        """The next events without the server's help."""
        with self._connection() as connection:
            rows = read_after(connection, position, BY_HAND)
        ready: list[Ready] = []
        batch = Batch(ready, rows[-1].position, full=True)
        for row in rows:
            if row.stream_type != FOREIGN:
                try:
                    made = encode(row)
                except ValueError as e:
                    _stop(batch, row.position, batch.leaf_hash, e)
                    return batch
                partition = partition_of(made.key, self._partitions)
                ready.append((made.value, made.headers, made.key, partition, made.timestamp, row.position))
            batch.leaf_hash = leaf_hash(row.public)
        return batch

    def _firm(self, firm: bytes) -> tuple[bytes, int]:
        key = key_of(UUID(bytes=firm))
        if len(self._firms) >= 100_000:
            self._firms.clear()
        found = self._firms[firm] = (key, partition_of(key, self._partitions))
        return found


def _stop(batch: Batch, position: int, before: str, error: Exception) -> None:
    """End a batch before an event that can't be published; the leaf hash of the one before it stands beside."""
    batch.poison, batch.full = Poison(position, error), False
    batch.reached, batch.leaf_hash = position - 1, before


def _base64(found: bytes) -> str:
    return b2a_base64(found, newline=False).decode()
