"""What Kafka itself says about the bus: which generation is live, how far it is, and with what each partition ends.

BUS6  Where the relay stands is read from Kafka alone, committed transactions only: the control topic says how far, and each partition's last
      event says what of it is really there. Where both differ, a transaction was torn or lost, and the difference is what is published.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from infra.bus.connection import client
from infra.bus.messages import NotAnEvent, decode
from infra.bus.topics import PATIENCE, Names, find
from infra.settings import Settings

LIVE = b"live"
_FIRST_LOOK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a generation is: the position, the leaf hash of the event there, the last position given to each partition."""

    generation: int
    topic: str
    topic_id: str
    partitions: int
    position: int
    leaf_hash: str
    tails: Mapping[int, int]

    @property
    def key(self) -> bytes:
        return f"generation/{self.generation}".encode()

    def dump(self) -> bytes:
        return orjson.dumps(
            {
                "generation": self.generation,
                "topic": self.topic,
                "topicid": self.topic_id,
                "partitions": self.partitions,
                "position": self.position,
                "leafhash": self.leaf_hash,
                "tails": {str(p): at for p, at in self.tails.items()},
            }
        )

    @classmethod
    def load(cls, raw: bytes) -> "Standing":
        found = orjson.loads(raw)
        return cls(
            generation=found["generation"],
            topic=found["topic"],
            topic_id=found["topicid"],
            partitions=found["partitions"],
            position=found["position"],
            leaf_hash=found["leafhash"],
            tails={int(p): at for p, at in found["tails"].items()},
        )


@dataclass(frozen=True, slots=True)
class Control:
    """The control topic: the live generation, None when nothing was ever published, and where each generation stands."""

    live: int | None
    standings: Mapping[int, Standing]


@dataclass(frozen=True, slots=True)
class Tail:
    """How a partition ends: its last event's position and leaf hash; nothing where it has none (any more)."""

    position: int
    leaf_hash: str
    emptied: bool  # it has no event, and had some: retention has taken them


class Unreadable(Exception):
    """A topic of the bus holds something that is not the bus's. Another program writes to it: give one of them another CHANCERY_KAFKA_PREFIX."""


@contextlib.contextmanager
def reading(settings: Settings) -> Iterator[Consumer]:
    """A consumer of committed transactions that commits no offsets and belongs to no group."""
    consumer = Consumer(
        client(
            settings,
            **{
                "group.id": f"{settings.kafka_prefix}.reader.{uuid4()}",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 50,
                "topic.metadata.refresh.interval.ms": -1,
            },
        )
    )
    try:
        yield consumer
    finally:
        consumer.close()


def read_all(consumer: Consumer, parts: Mapping[tuple[str, int], tuple[int, int]]) -> Iterator[Any]:
    """The committed messages of partitions (topic, number), each between two offsets, or to the end of what is committed before the second."""
    until = {part: high for part, (low, high) in parts.items() if high > low}
    if not until:
        return
    consumer.assign([TopicPartition(*part, parts[part][0]) for part in until])
    try:
        while until:
            first = consumer.poll(PATIENCE)
            if first is None:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "Kafka sent nothing"))  # noqa: SLF001 - a code of librdkafka's own
            for message in (first, *consumer.consume(1_000, timeout=0)):
                error, part, at = message.error(), (str(message.topic()), message.partition() or 0), message.offset() or 0
                if error is None:
                    high = until.get(part, 0)
                    if at < high:
                        yield message
                    if at >= high - 1:
                        until.pop(part, None)
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - a code of librdkafka's own
                    until.pop(part, None)
                else:
                    raise KafkaException(error)
    finally:
        consumer.unassign()


def bounds(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """The first offset and the one after the last committed."""
    found: tuple[int, int] | None = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=PATIENCE, cached=False)
    if found is None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "Kafka did not say where a partition ends"))  # noqa: SLF001
    return found


def read_control(consumer: Consumer, names: Names) -> Control:
    """The last record of each key."""
    part = (names.control, 0)
    live: int | None = None
    standings: dict[int, Standing] = {}
    for message in read_all(consumer, {part: bounds(consumer, *part)}):
        try:
            if message.key() == LIVE:
                live = int(orjson.loads(message.value())["generation"])
            elif message.value() is None:
                standings.pop(int(message.key().rpartition(b"/")[2]), None)
            else:
                standing = Standing.load(message.value())
                standings[standing.generation] = standing
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise Unreadable(Unreadable.__doc__) from e
    return Control(live, standings)


def read_tails(consumer: Consumer, topic: str, partitions: int) -> dict[int, Tail]:
    """How each partition ends. Aborted transactions at an end are looked past."""
    tails = {p: Tail(0, "", False) for p in range(partitions)}
    ends = {p: bounds(consumer, topic, p) for p in range(partitions)}
    wanted = {p for p, (low, high) in ends.items() if high > 0}
    look = _FIRST_LOOK
    while wanted:
        parts = {(topic, p): (max(ends[p][0], ends[p][1] - look), ends[p][1]) for p in sorted(wanted)}
        for message in read_all(consumer, parts):
            try:
                event = decode(message.headers(), message.value())
            except NotAnEvent as e:
                raise Unreadable(Unreadable.__doc__) from e
            tails[message.partition()] = Tail(event.position, event.leaf_hash, False)
            wanted.discard(message.partition())
        for p in list(wanted):
            if ends[p][1] - look <= ends[p][0]:
                tails[p] = Tail(0, "", ends[p][0] > 0)
                wanted.discard(p)
        look *= 8
    return tails


def live_topic(settings: Settings) -> str | None:
    """The topic that consumers read now; None before the relay has first run. It changes with a rebuild: ask again now and then."""
    names = Names(settings.kafka_prefix)
    admin = AdminClient(client(settings))
    if not find(admin, [names.control]):
        return None
    with reading(settings) as consumer:
        control = read_control(consumer, names)
    return None if control.live is None else names.events(control.live)
