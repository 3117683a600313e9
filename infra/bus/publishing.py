"""Publishing: batches of the record into transactions of Kafka, each with where it leaves the relay.

BUS7  A transaction holds events of consecutive positions and the record of how far they reach, or nothing of both.
BUS8  An event that a partition ends behind is not written again, whatever the record of progress says.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import orjson
import psycopg
from confluent_kafka import Producer

from infra.bus.connection import client
from infra.bus.messages import key_of, pack
from infra.bus.standing import LIVE, Standing
from infra.bus.topics import MOST_BYTES, Found, Names, partition_of
from infra.database import Database
from infra.record.codec import leaf_hash
from infra.record.reader import FOREIGN
from infra.settings import Settings

BATCH = 5_000
BATCH_BYTES = 8 * 1024 * 1024

_NEXT = (
    "SELECT position, uuid_send(firm_id), firm_position, date_part('epoch', recorded_at) * 1000, public, sealed, stream_type = %s"
    " FROM (SELECT *, sum(octet_length(public) + coalesce(octet_length(sealed), 0)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS bytes"
    " FROM (SELECT * FROM record.events WHERE position > %s ORDER BY position LIMIT %s) n) e WHERE bytes <= %s OR position = %s"
    " ORDER BY position"
)


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

    Two threads of one interpreter hinder each other: the next batch is asked for at once, and made ready only when the last one has been
    handed over and its transaction is waited for (`waiting`).
    """

    def __init__(self, database: Database, partitions: int, *, most: int = BATCH, most_bytes: int = BATCH_BYTES) -> None:
        self._partitions = partitions
        self._most, self._most_bytes = most, most_bytes
        self._firms: dict[bytes, tuple[bytes, int]] = {}
        self._connection = database.connect("record")
        self._thread = ThreadPoolExecutor(1, "relay-reader")
        self._coming: tuple[int, Future[Batch]] | None = None
        self._free = threading.Event()

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
        return batch

    def waiting(self) -> None:
        """Nothing else is to be done now than to make the next batch ready."""
        self._free.set()

    def _read(self, after: int) -> Batch:
        cursor = self._connection.cursor(binary=True)
        cursor.execute(_NEXT, (FOREIGN, after, self._most, self._most_bytes, after + 1))
        self._free.wait()
        rows = cursor.fetchall()
        if rows and rows[-1][0] != after + len(rows):
            raise Gap(Gap.__doc__)
        firms = self._firms
        ready: list[Ready] = []
        poison: Poison | None = None
        reached, last = after, b""
        for position, firm, firm_position, millis, public, sealed, of_others in rows:
            if not of_others:
                try:
                    value, headers = pack(position, firm_position, public, sealed)
                except ValueError as e:
                    poison = Poison(position, e)
                    break
                key, partition = firms.get(firm) or self._firm(firm)
                ready.append((value, headers, key, partition, int(millis), position))
            reached, last = position, public
        return Batch(ready, reached, leaf_hash(last) if reached > after else "", len(rows) > 1 and self._more(rows), poison)

    def _more(self, rows: list[tuple[Any, ...]]) -> bool:
        return len(rows) == self._most or sum(len(r[4]) + len(r[5] or b"") for r in rows) > self._most_bytes // 8

    def _firm(self, firm: bytes) -> tuple[bytes, int]:
        key = key_of(UUID(bytes=firm))
        if len(self._firms) >= 100_000:
            self._firms.clear()
        found = self._firms[firm] = (key, partition_of(key, self._partitions))
        return found


def leaf_at(c: psycopg.Connection[Any], positions: Iterable[int]) -> dict[int, str]:
    """The leaf hashes of the record's events at these positions."""
    rows = c.execute("SELECT position, public FROM record.events WHERE position = ANY(%s)", (list(positions),), binary=True)
    return {position: leaf_hash(public) for position, public in rows.fetchall()}


def producer_of(settings: Settings, transactional_id: str, seconds: float, patience: float) -> Producer:
    """A producer whose transactions nobody sees half; every other one of this transactional id is fenced from now on."""
    made = Producer(
        client(
            settings,
            **{
                "transactional.id": transactional_id,
                "transaction.timeout.ms": int(seconds * 1000),
                "message.timeout.ms": int(seconds * 1000),
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 5,
                "batch.num.messages": 10_000,
                "batch.size": 1_000_000,
                "message.max.bytes": MOST_BYTES,
                "queue.buffering.max.messages": 100_000,
                "topic.metadata.refresh.interval.ms": 10_000,
            },
        )
    )
    made.init_transactions(patience)
    return made


class Publisher:
    """One producer's work on one generation. After any error it is thrown away, and where it stood is read from Kafka anew."""

    def __init__(
        self, producer: Producer, names: Names, generation: int, topic: Found, start: int, floors: dict[int, int], patience: float
    ) -> None:
        self.position = start
        self.leaf_hash = ""
        self.topic = topic
        self.generation = generation
        self._producer = producer
        self._control = names.control
        self._floors = floors
        self._highest_floor = max(floors.values(), default=0)
        self._patience = patience

    @property
    def standing(self) -> Standing:
        return Standing(
            generation=self.generation,
            topic=self.topic.name,
            topic_id=self.topic.id,
            partitions=self.topic.partitions,
            position=self.position,
            leaf_hash=self.leaf_hash,
            tails=self._floors,
        )

    def publish(self, batch: Batch, *, noted: bool = True, live: bool = False, waiting: Callable[[], None] | None = None) -> None:
        """One transaction: the batch, where it reaches when that is to be noted, and that this generation is the live one when it is to be.

        `waiting` is called when all that is left is to wait for Kafka.
        """
        producer, produce, topic = self._producer, self._producer.produce, self.topic.name
        producer.begin_transaction()
        floors = self._floors
        ready = batch.ready
        if self.position < self._highest_floor:
            ready = [r for r in ready if r[5] > floors.get(r[3], 0)]
        for value, headers, key, partition, millis, position in ready:
            produce(topic, value, key, partition, timestamp=millis, headers=headers)
            floors[partition] = position
        self.position = batch.reached
        self.leaf_hash = batch.leaf_hash or self.leaf_hash
        if noted:
            standing = self.standing
            produce(self._control, standing.dump(), standing.key, 0)
        if live:
            produce(self._control, orjson.dumps({"generation": self.generation}), LIVE, 0)
        if waiting is not None:
            waiting()
        producer.commit_transaction(self._patience)

    def forget(self, generations: Iterable[int]) -> None:
        """Take what the control topic says of generations that are gone out of it."""
        gone = list(generations)
        if gone:
            self._producer.begin_transaction()
            for generation in gone:
                self._producer.produce(self._control, None, f"generation/{generation}".encode(), 0)
            self._producer.commit_transaction(self._patience)
