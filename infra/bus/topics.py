"""The topics of the bus: their names, how they are made and checked, and which of them is the live one.

BUS4  Events stand in a topic of a generation, `<prefix>.events.<n>`. A rebuild fills the next generation while this one serves, then swaps
      by one record in the control topic: whoever reads finds the live generation there, and nowhere else.
BUS5  Which partition a firm has follows from its id and the number of partitions alone, as Java's own clients choose it for the same key.
"""

import functools
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from infra.settings import Settings

PATIENCE = 10.0  # seconds for one question to the brokers
MOST_BYTES = 8 * 1024 * 1024  # of one batch; an event with all its sealed values stays well below
SEGMENT = 1_048_576  # bytes of a file of a compacted topic, the least there can be: only files that are full are compacted
FOREVER = "9223372036854775807"


class TopicUnfit(Exception):
    """A topic is not as the bus needs it; the message says how, why it matters and what to do."""


@dataclass(frozen=True, slots=True)
class Names:
    """What everything of one bus is called. Two Chanceries on one Kafka have different prefixes."""

    prefix: str

    @property
    def control(self) -> str:
        """The relay's own topic, compacted: which generation is live, and how far each is."""
        return f"{self.prefix}.relay"

    def events(self, generation: int) -> str:
        return f"{self.prefix}.events.{generation}"

    def generation(self, topic: str) -> int | None:
        """Of a topic of events; None for any other."""
        stem, _, number = topic.rpartition(".")
        return int(number) if stem == f"{self.prefix}.events" and number.isdecimal() else None

    @property
    def dead_letters(self) -> str:
        """What consumers could not handle, compacted: a tombstone takes a letter away once it was replayed or given up."""
        return f"{self.prefix}.dead-letters"

    @property
    def relay(self) -> str:
        """The relay's transactional id: of two relays, Kafka lets the one that began last write."""
        return f"{self.prefix}.relay"

    @property
    def rebuild(self) -> str:
        """The transactional id of whoever fills the next generation."""
        return f"{self.prefix}.relay.rebuild"

    def group(self, name: str) -> str:
        """The consumer group of a name."""
        return f"{self.prefix}.{name}"


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, as Java's clients choose it: murmur2, its sign bit dropped, modulo the partitions."""
    return (murmur2(key) & 0x7FFF_FFFF) % partitions


@functools.lru_cache(maxsize=100_000)
def murmur2(data: bytes) -> int:
    """Austin Appleby's MurmurHash2 (32 bits) with the seed that Kafka's clients use."""
    m, mask = 0x5BD1_E995, 0xFFFF_FFFF
    h = (0x9747_B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


# --- what each topic must be


@dataclass(frozen=True, slots=True)
class Spec:
    """A topic as it is made. `copies` None: three, or as many as there are brokers. `strict` holds what it can't do without, and why."""

    name: str
    partitions: int
    copies: int | None
    config: Mapping[str, str]
    strict: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """A topic as it is. `id` is its identity: another one of the same name has another."""

    name: str
    id: str
    partitions: int
    copies: int
    config: Mapping[str, str]


def events(settings: Settings, generation: int) -> Spec:
    """The events of a generation, kept as long as the settings say."""
    days = settings.kafka_retention_days
    return Spec(
        Names(settings.kafka_prefix).events(generation),
        settings.kafka_partitions,
        settings.kafka_replication,
        {
            "cleanup.policy": "delete",
            "retention.ms": "-1" if days is None else str(days * 86_400_000),
            "retention.bytes": "-1",
            "max.message.bytes": str(MOST_BYTES),
            "message.timestamp.type": "CreateTime",
            "message.timestamp.after.max.ms": FOREVER,
            "unclean.leader.election.enable": "false",
        },
        {
            "cleanup.policy": "compaction would keep one event of each firm and drop the others",
            "message.timestamp.type": "searches by time and retention go by the time an event was recorded",
            "max.message.bytes": "a large event could not be published",
        },
    )


def control(settings: Settings) -> Spec:
    """The relay's records: the last one of each key is what counts, so it is compacted."""
    return Spec(
        Names(settings.kafka_prefix).control,
        1,
        settings.kafka_replication,
        {
            "cleanup.policy": "compact",
            "segment.ms": "3600000",
            "segment.bytes": str(SEGMENT),
            "min.cleanable.dirty.ratio": "0.1",
            "unclean.leader.election.enable": "false",
        },
        {"cleanup.policy": "how far the relay is would be forgotten after the retention, and everything published twice"},
    )


def dead_letters(settings: Settings) -> Spec:
    """What consumers gave up on, by key until a tombstone takes it away; it leaves the disk within an hour then."""
    return Spec(
        Names(settings.kafka_prefix).dead_letters,
        settings.kafka_partitions,
        settings.kafka_replication,
        {
            "cleanup.policy": "compact",
            "segment.bytes": str(SEGMENT),
            "max.compaction.lag.ms": "3600000",
            "min.cleanable.dirty.ratio": "0.01",
            "delete.retention.ms": "86400000",
            "file.delete.delay.ms": "1000",
            "max.message.bytes": str(SEGMENT),
            "unclean.leader.election.enable": "false",
        },
        {"cleanup.policy": "letters would be forgotten after the retention, before anyone has seen to them"},
    )


def ensure(admin: AdminClient, spec: Spec) -> tuple[Found, list[str]]:
    """The topic, made if there is none, and in what it differs from the spec without harm. TopicUnfit where it can't be used."""
    found = find(admin, [spec.name]).get(spec.name)
    if found is None:
        create(admin, spec)
        found = wait_for(admin, spec.name)
    return found, check(found, spec)


def create(admin: AdminClient, spec: Spec) -> None:
    """Make the topic, in as many copies as there are brokers for. One that is there already stays as it is."""
    brokers = len(_result(admin.describe_cluster(request_timeout=PATIENCE)).nodes)
    copies = spec.copies or min(3, max(1, brokers))
    config = {**spec.config, "min.insync.replicas": str(max(1, copies - 1))}
    made = NewTopic(spec.name, num_partitions=spec.partitions, replication_factor=copies, config=config)
    try:
        _result(admin.create_topics([made], request_timeout=PATIENCE, operation_timeout=PATIENCE)[spec.name])
    except KafkaException as e:
        error = e.args[0]
        if error.code() == KafkaError.INVALID_REPLICATION_FACTOR:
            raise TopicUnfit(
                f"The topic {spec.name} can't have {copies} copies: Kafka has {brokers} brokers. Set CHANCERY_KAFKA_REPLICATION to at most that."
            ) from e
        if error.code() in {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}:
            raise TopicUnfit(
                f"The topic {spec.name} is not there and CHANCERY_KAFKA_USER may not make it. Allow it Create on topics that begin with"
                f" its prefix, or make the topic: {spec.partitions} partitions, {config}."
            ) from e
        if error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def find(admin: AdminClient, names: Iterable[str]) -> dict[str, Found]:
    """Those of these topics that exist, as they are."""
    wanted = list(names)
    if not wanted:
        return {}
    described = admin.describe_topics(TopicCollection(wanted), request_timeout=PATIENCE)
    there = {}
    for name, future in described.items():
        try:
            there[name] = _result(future)
        except KafkaException as e:
            if e.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in there]
    configs = admin.describe_configs(resources, request_timeout=PATIENCE) if resources else {}
    found = {}
    for resource, future in configs.items():
        topic = there[resource.name]
        config = {k: str(v.value) for k, v in _result(future).items()}
        copies = min((len(p.replicas) for p in topic.partitions), default=0)
        found[resource.name] = Found(resource.name, str(topic.topic_id), len(topic.partitions), copies, config)
    return found


def wait_for(admin: AdminClient, name: str) -> Found:
    """The topic that was made a moment ago; brokers tell each other a little later."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found = find(admin, [name]).get(name)
        if found is not None and found.partitions:
            return found
        time.sleep(0.05)
    raise TopicUnfit(f"The topic {name} was made, but Kafka does not show it. Look at the brokers' logs.")


def check(found: Found, spec: Spec) -> list[str]:
    """In what the topic differs from the spec, a sentence each. TopicUnfit for what it can't be used with."""
    said = []
    for key, wanted in spec.config.items():
        has = found.config.get(key)
        if has == wanted or (key == "max.message.bytes" and has is not None and int(has) >= int(wanted)):
            continue
        command = f"kafka-configs.sh --alter --topic {found.name} --add-config {key}={wanted}"
        if key in spec.strict:
            raise TopicUnfit(f"The topic {found.name} has {key}={has}, and {spec.strict[key]}. Set it to {wanted}: {command}")
        said.append(f"The topic {found.name} has {key}={has}; the settings ask for {wanted}. If that is not on purpose: {command}")
    if found.partitions != spec.partitions:
        said.append(
            f"The topic {found.name} has {found.partitions} partitions; the settings ask for {spec.partitions}."
            " A rebuild makes the next generation with as many."
        )
    if found.copies < (spec.copies or 1):
        said.append(
            f"The topic {found.name} is kept in {found.copies} copies; the settings ask for {spec.copies}. A rebuild makes the next"
            " generation with as many, or see kafka-reassign-partitions.sh."
        )
    needed, most = int(found.config.get("min.insync.replicas", 1)), max(1, found.copies - 1)
    if needed > found.copies:
        raise TopicUnfit(
            f"The topic {found.name} has min.insync.replicas={needed} and only {found.copies} copies, so nothing can be written. Set it to"
            f" {most}: kafka-configs.sh --alter --topic {found.name} --add-config min.insync.replicas={most}"
        )
    return said


def generations(admin: AdminClient, names: Names) -> dict[int, str]:
    """The topics of events there are, by generation."""
    topics = admin.list_topics(timeout=PATIENCE).topics
    return {g: name for name in sorted(topics) if (g := names.generation(name)) is not None}


def delete(admin: AdminClient, names: Sequence[str]) -> None:
    """Remove topics; those that are gone already are no error."""
    if not names:
        return
    for future in admin.delete_topics(list(names), request_timeout=PATIENCE, operation_timeout=PATIENCE).values():
        try:
            _result(future)
        except KafkaException as e:
            if e.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise


def _result(future: Any) -> Any:
    return future.result(timeout=PATIENCE + 5)
