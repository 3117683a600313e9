"""What an erasure takes out of Kafka: the dead letters about a person's events. Events themselves hold personal values sealed only.

BUS14  A letter is taken away by a tombstone under its key, and the segment that held it is closed at once, so that the broker's next compaction
       takes it off the disk: of a segment that is written to nothing is compacted.
BUS15  What the topic says is found by reading it, not by what the table says of it: letters of groups that were forgotten, and of a table that
       was restored, go too.
"""

from collections.abc import Collection
from uuid import UUID

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from infra.away import NotForgotten
from infra.bus import topics
from infra.bus.connection import WrongKafkaSettings, client
from infra.bus.standing import bounds, read_all, reading
from infra.bus.topics import SEGMENT, Names, TopicUnfit
from infra.settings import Settings

PATIENCE = 20.0
NEVER_KEPT = ("segment.bytes", "max.compaction.lag.ms", "min.cleanable.dirty.ratio")
CLOSING = b"segment"
"""The key of the messages that close a segment: tombstones of nothing, as long as a segment may be."""


def forget(settings: Settings, events: Collection[UUID]) -> int:
    """Take every dead letter about one of these events out of the topic; answers how many. NotForgotten when that is not certain."""
    try:
        return _forget(settings, {str(e).encode() for e in events})
    except (KafkaException, BufferError) as e:
        error = e.args[0] if e.args else None
        said = f"{error.name()}: {error.str()}" if isinstance(error, KafkaError) else type(e).__name__
        raise NotForgotten(f"Kafka does not answer ({said}).") from e
    except (TopicUnfit, WrongKafkaSettings) as e:
        raise NotForgotten(str(e)) from e


def _forget(settings: Settings, events: Collection[bytes]) -> int:
    admin = AdminClient(client(settings))
    spec = topics.dead_letters(settings)
    found = topics.find(admin, [spec.name]).get(spec.name)
    if found is None:
        return 0
    for key in NEVER_KEPT:
        if float(found.config.get(key, 0)) > float(spec.config[key]):
            raise NotForgotten(
                f"The topic {spec.name} has {key}={found.config[key]}, so what is taken out of it would stay on the disk. Set it to"
                f" {spec.config[key]}: kafka-configs.sh --alter --topic {spec.name} --add-config {key}={spec.config[key]}"
            )
    with reading(settings) as consumer:
        letters = _letters(consumer, Names(settings.kafka_prefix).dead_letters, found.partitions, events)
    if letters:
        _take_away(settings, spec.name, letters)
    return len(letters)


def _letters(consumer: Consumer, topic: str, partitions: int, events: Collection[bytes]) -> dict[bytes, int]:
    """The keys of the letters there were about these events, with the partition of each; those that have their tombstone too, because the
    letter before it may be on the disk still."""
    places = {(topic, p): bounds(consumer, topic, p) for p in range(partitions)}
    return {
        m.key(): m.partition() for m in read_all(consumer, places) if m.key() is not None and m.key().rpartition(b"/")[2] in events
    }


def _take_away(settings: Settings, topic: str, letters: dict[bytes, int]) -> None:
    refused: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: object) -> None:
        if error is not None:
            refused.append(error)

    producer = Producer(
        client(
            settings,
            **{
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "none",
                "message.max.bytes": 2 * SEGMENT,
                "message.timeout.ms": int(PATIENCE * 1000),
            },
        )
    )
    for key, partition in letters.items():
        producer.produce(topic, None, key, partition, on_delivery=delivered)
    for partition in set(letters.values()):
        producer.produce(topic, None, CLOSING, partition, headers={"closes": b"\0" * (SEGMENT - 200)}, on_delivery=delivered)
    left = producer.flush(PATIENCE + 5)
    if refused:
        raise KafkaException(refused[0])
    if left:
        raise NotForgotten("Kafka did not take the tombstones in time.")
