"""Batches of the record, made ready to be handed to a producer: the next one while Kafka takes the last.

with Batches(database, partitions) as batches:
    while (batch := batches.after(position)).reached > position:
        ...
"""

import threading
from binascii import b2a_base64
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus, Format

from infra.bus.messages import key_of, pack
from infra.bus.topics import partition_of
from infra.database import Database
from infra.record.reader import FOREIGN

BATCH = 5_000
BATCH_BYTES = 8 * 1024 * 1024

_NEXT = (
    b"SELECT position, uuid_send(firm_id), firm_position, (date_part('epoch', recorded_at) * 1000)::int8, public, sealed,"
    b" stream_type = $1, sha256('\\x00'::bytea || public)"
    b" FROM (SELECT *, sum(octet_length(public) + coalesce(octet_length(sealed), 0)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS bytes"
    b" FROM (SELECT * FROM record.events WHERE position > $2 ORDER BY position LIMIT $3) n) e WHERE bytes <= $4 OR position = $2 + 1"
    b" ORDER BY position"
)
_TYPES = (25, 20, 20, 20)  # text and three int8

Ready = tuple[bytes, Any, bytes, int, int, int]
"""An event ready to be sent: value, headers, key, partition, milliseconds, position."""


@dataclass(frozen=True, slots=True)
class Poison:
    """The event that can't be published, and why."""

    position: int
    error: Exception


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive events from after one position up to another, and what stopped there, if anything."""

    ready: list[Ready]
    reached: int
    leaf_hash: str  # of the event at `reached`
    full: bool  # there may be more at once
    poison: Poison | None = None


class Gap(Exception):
    """The record skips a position. Restore the database from a backup that is whole, or run `chancery doctor`."""


class Batches:
    """Reads the record for so many partitions, the next batch while Kafka takes the last one. Close it.

    Two threads of one interpreter hinder each other: the next batch is asked for at once and comes without the interpreter, and is made
    ready only when the last one has been handed over and its transaction is waited for (`waiting`).
    """

    def __init__(self, database: Database, partitions: int, *, most: int = BATCH, most_bytes: int = BATCH_BYTES) -> None:
        self._partitions = partitions
        self._most, self._most_bytes = most, most_bytes
        self._firms: dict[bytes, tuple[bytes, int]] = {}
        self._connection = database.connect("record")
        self._values = Transformer(self._connection)
        self._thread = ThreadPoolExecutor(1, "relay-reader")
        self._coming: tuple[int, Future[Batch]] | None = None
        self._free = threading.Event()
        self._given: list[Ready] = []
        self._handed_over: list[Ready] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self._free.set()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._connection.close()

    def after(self, position: int) -> Batch:
        """The events after a position; empty when there are none yet."""
        self._free.set()
        coming, self._coming = self._coming, None
        batch = coming[1].result() if coming is not None and coming[0] == position else self._read(position)
        if batch.full and batch.poison is None:
            self._free.clear()
            self._coming = (batch.reached, self._thread.submit(self._read, batch.reached))
        self._given = batch.ready
        return batch

    def waiting(self) -> None:
        """The producer has all messages of the last batch, which go from its list. Nothing else is to be done now than to make the next."""
        self._handed_over = self._given
        self._free.set()

    def _read(self, after: int) -> Batch:
        asked = [FOREIGN.encode(), b"%d" % after, b"%d" % self._most, b"%d" % self._most_bytes]
        found = self._connection.pgconn.exec_params(_NEXT, asked, _TYPES, result_format=Format.BINARY)
        if found.status != ExecStatus.TUPLES_OK:
            raise psycopg.errors.error_from_result(found)
        self._free.wait()
        handed_over, self._handed_over = self._handed_over, []
        handed_over.clear()  # here, where nobody waits for it: it takes 1 µs an event
        self._values.set_pgresult(found)
        rows = self._values.load_rows(0, found.ntuples, tuple)
        if rows and rows[-1][0] != after + len(rows):
            raise Gap(Gap.__doc__)
        firms = self._firms
        ready: list[Ready] = []
        poison: Poison | None = None
        reached, last = after, b""
        for position, firm, firm_position, millis, public, sealed, of_others, leaf in rows:
            if not of_others:
                try:
                    value, headers = pack(position, firm_position, public, sealed, leaf)
                except ValueError as e:
                    poison = Poison(position, e)
                    break
                key, partition = firms.get(firm) or self._firm(firm)
                ready.append((value, headers, key, partition, millis, position))
            reached, last = position, leaf
        leaf_hash = b2a_base64(last, newline=False).decode()
        return Batch(ready, reached, leaf_hash, len(rows) > 1 and self._more(rows), poison)

    def _more(self, rows: list[tuple[Any, ...]]) -> bool:
        return len(rows) == self._most or sum(len(r[4]) + len(r[5] or b"") for r in rows) > self._most_bytes // 8

    def _firm(self, firm: bytes) -> tuple[bytes, int]:
        key = key_of(UUID(bytes=firm))
        if len(self._firms) >= 100_000:
            self._firms.clear()
        found = self._firms[firm] = (key, partition_of(key, self._partitions))
        return found
