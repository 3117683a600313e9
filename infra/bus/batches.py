"""Batches of the record, on their way to a producer: the next one comes while this one is sent.

with Batches(database, partitions) as batches:
    while (batch := batches.after(position)).reached > position:
        for message in batch.messages: ...
        position = batch.reached
"""

from binascii import b2a_base64
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from infra.bus.messages import Packing, key_of
from infra.bus.topics import partition_of
from infra.database import Database
from infra.record.reader import FOREIGN

BATCH = 10_000
BATCH_BYTES = 8 * 1024 * 1024
AT_ONCE = 250

_NEXT = (
    b"SELECT position, uuid_send(firm_id), firm_position, (date_part('epoch', recorded_at) * 1000)::int8, public, sealed,"
    b" stream_type = $1, sha256('\\x00'::bytea || public), bytes::int8"
    b" FROM (SELECT *, sum(octet_length(public) + coalesce(octet_length(sealed), 0)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS bytes"
    b" FROM (SELECT * FROM record.events WHERE position > $2 ORDER BY position LIMIT $3) n) e WHERE bytes <= $4 OR position = $2 + 1"
    b" ORDER BY position"
)
_TYPES = (25, 20, 20, 20)  # text and three int8
_BYTES = 8  # the column

Ready = tuple[bytes, Any, bytes, int, int, int]
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

    Making messages and handing them over are one thread's work, which then waits for Kafka with nothing held: two threads of one
    interpreter would hinder each other, and messages in stock would have left the processor's caches before they are sent. What comes
    beside is the server's answer, in which the interpreter has no part.
    """

    def __init__(self, database: Database, partitions: int, *, most: int = BATCH, most_bytes: int = BATCH_BYTES) -> None:
        self._partitions = partitions
        self._most, self._most_bytes = most, most_bytes
        self._firms: dict[bytes, tuple[bytes, int]] = {}
        self._connection = database.connect("record")
        self._values = Transformer(self._connection)
        self._packing = Packing()
        self._thread = ThreadPoolExecutor(1, "relay-reader")
        self._coming: tuple[int, Future[PGresult]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._connection.close()

    def after(self, position: int) -> Batch:
        """The events after a position; empty when there are none yet. What was not taken of the batch before is gone."""
        coming, self._coming = self._coming, None
        asked = coming[1] if coming is not None and coming[0] == position else self._thread.submit(self._ask, position)
        found = asked.result()
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
        if batch.full:
            self._coming = (last, self._thread.submit(self._ask, last))
        return batch

    def _ask(self, after: int) -> PGresult:
        asked = [FOREIGN.encode(), b"%d" % after, b"%d" % self._most, b"%d" % self._most_bytes]
        found = self._connection.pgconn.exec_params(_NEXT, asked, _TYPES, result_format=Format.BINARY)
        if found.status != ExecStatus.TUPLES_OK:
            raise psycopg.errors.error_from_result(found)
        return found

    @staticmethod
    def _number(found: PGresult, row: int, column: int) -> int:
        return int.from_bytes(found.get_value(row, column) or b"", "big")

    def _made(self, batch: Batch, count: int) -> Iterator[Ready]:
        firms, pack = self._firms, self._packing.pack
        hashed = b""
        for begin in range(0, count, AT_ONCE):
            rows = self._values.load_rows(begin, min(begin + AT_ONCE, count), tuple)
            for position, firm, firm_position, millis, public, sealed, of_others, leaf, _ in rows:
                if not of_others:
                    try:
                        value, headers = pack(position, firm_position, public, sealed, leaf)
                    except ValueError as e:
                        batch.poison, batch.full = Poison(position, e), False
                        batch.reached, batch.leaf_hash = position - 1, _base64(hashed)
                        return
                    key, partition = firms.get(firm) or self._firm(firm)
                    yield value, headers, key, partition, millis, position
                hashed = leaf
        batch.leaf_hash = _base64(hashed)

    def _firm(self, firm: bytes) -> tuple[bytes, int]:
        key = key_of(UUID(bytes=firm))
        if len(self._firms) >= 100_000:
            self._firms.clear()
        found = self._firms[firm] = (key, partition_of(key, self._partitions))
        return found


def _base64(found: bytes) -> str:
    return b2a_base64(found, newline=False).decode()
