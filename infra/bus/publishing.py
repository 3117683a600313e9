"""Publishing: batches of the record into transactions of Kafka, each with where it leaves the relay.

BUS7  A transaction holds events of consecutive positions and the record of how far they reach, or nothing of both.
BUS8  An event that a partition ends behind is not written again, whatever the record of progress says.
"""

from collections.abc import Iterable
from typing import Any

import orjson
import psycopg
from confluent_kafka import Producer

from infra.bus.batches import Batch
from infra.bus.connection import client
from infra.bus.standing import LIVE, Standing
from infra.bus.topics import MOST_BYTES, Found, Names
from infra.record.codec import leaf_hash
from infra.settings import Settings


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

    def publish(self, batch: Batch, *, noted: bool = True, live: bool = False) -> None:
        """One transaction: the batch, where it reaches when that is to be noted, and that this generation is the live one when it is to be
        and has all there is."""
        producer, produce, topic = self._producer, self._producer.produce, self.topic.name
        producer.begin_transaction()
        floors = self._floors
        healing = self.position < self._highest_floor
        for value, headers, key, partition, millis, position in batch.messages:
            if healing and position <= floors.get(partition, 0):
                continue
            produce(topic, value, key, partition, timestamp=millis, headers=headers)
            floors[partition] = position
        self.position = batch.reached
        self.leaf_hash = batch.leaf_hash or self.leaf_hash
        if noted:
            standing = self.standing
            produce(self._control, standing.dump(), standing.key, 0)
        if live and not batch.full:
            produce(self._control, orjson.dumps({"generation": self.generation}), LIVE, 0)
        producer.commit_transaction(self._patience)

    def forget(self, generations: Iterable[int]) -> None:
        """Take what the control topic says of generations that are gone out of it."""
        gone = list(generations)
        if gone:
            self._producer.begin_transaction()
            for generation in gone:
                self._producer.produce(self._control, None, f"generation/{generation}".encode(), 0)
            self._producer.commit_transaction(self._patience)
