"""Looking at what the bus carries, as it comes: the topic where there is Kafka, else the log. Nothing is consumed, nothing is opened."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import psycopg

from infra.bus.messages import NotAnEvent, decode
from infra.bus.subscription import Subscription
from infra.database import Database
from infra.record.appender import CHANNEL
from infra.record.reader import COLUMNS, EventRow, read_after
from infra.settings import Settings

PAUSE = 0.5
AT_ONCE = 500

Wanted = Callable[[UUID, str, str, UUID], bool]
"""Told of firm, type, kind and id of the stream."""


class NothingToTail(Exception):
    """Nothing was ever published to Kafka. Is the relay running? `chancery serve` runs it, and `chancery status` shows how far it is."""


def wanted(types: list[str], stream: str | None, firm: UUID | None) -> Wanted:
    """A filter in the words of a subscription."""
    chosen = Subscription("tail")
    chosen.on(*types, stream=stream)(lambda _c, _e: None)

    def wants(of: UUID, type: str, kind: str, id: UUID) -> bool:
        return (firm is None or of == firm) and chosen.handler(type, kind, id) is not None

    return wants


def position_of(c: psycopg.Connection[Any], start: int | datetime) -> int:
    """The position at which to begin."""
    if isinstance(start, int):
        return start
    low, high = 1, head(c) + 1
    while low < high:
        half = (low + high) // 2
        row = c.execute("SELECT recorded_at < %s FROM record.events WHERE position = %s", (start, half)).fetchone()
        if row is not None and row[0]:
            low = half + 1
        else:
            high = half
    return low


def head(c: psycopg.Connection[Any]) -> int:
    return int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])


def last(c: psycopg.Connection[Any], count: int, wants: Wanted) -> int:
    """The position of the last event but so many of those that are wanted, looking back at most 100,000."""
    at, end, left = head(c) + 1, max(0, head(c) - 100_000), count
    begin = at
    while left > 0 and at > end + 1:
        low = max(end, at - 2_001)
        rows = read_after(c, low, 2_000, at - 1)
        for row in reversed(rows):
            if left > 0 and wants(row.firm_id, row.type, row.stream_type, row.stream_id):
                begin, left = row.position, left - 1
        at = low + 1
    return begin


def rows(database: Database, settings: Settings, start: int, wants: Wanted, *, follow: bool) -> Iterator[EventRow]:
    """Wanted events from a position on, in the order of the log; without `follow`, up to the end as it is now. What comes to Kafka
    after that is told as it comes: in order for each firm."""
    if settings.kafka_bootstrap:
        return _topic(database, settings, start, wants, follow=follow)
    return _log(database, start, wants, follow=follow)


def _log(database: Database, start: int, wants: Wanted, *, follow: bool) -> Iterator[EventRow]:
    at = start - 1
    with database.connect("record") as c, database.connect("record") as listening:
        listening.execute(f"LISTEN {CHANNEL}")
        while True:
            while found := read_after(c, at, AT_ONCE):
                yield from (r for r in found if wants(r.firm_id, r.type, r.stream_type, r.stream_id))
                at = found[-1].position
            if not follow:
                return
            for _ in listening.notifies(timeout=PAUSE, stop_after=1):
                pass


def _topic(database: Database, settings: Settings, start: int, wants: Wanted, *, follow: bool) -> Iterator[EventRow]:
    from confluent_kafka import KafkaError, KafkaException, TopicPartition

    from infra.bus.standing import live_topic, reading

    topic = live_topic(settings)
    if topic is None:
        raise NothingToTail
    with reading(settings) as consumer:
        known = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        places = _places(database, consumer, [TopicPartition(topic, p) for p in known], start)
        consumer.assign(places)
        open_ends = set(known)  # partitions of which more was there at the beginning than has been read
        held: dict[int, deque[EventRow]] = {p: deque() for p in known}
        resting: set[int] = set()
        while open_ends or follow:
            first = consumer.poll(PAUSE)
            if first is None:
                continue
            for m in (first, *consumer.consume(AT_ONCE, 0)):
                error = m.error()
                if error is not None:
                    if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's name of it
                        raise KafkaException(error)
                    open_ends.discard(m.partition())
                    continue
                with contextlib.suppress(NotAnEvent):
                    event = decode(cast("list[tuple[str, bytes | str | None]]", m.headers()), m.value())
                    if event.position >= start and wants(event.firm, event.type, event.stream_type, event.stream_id):
                        held[m.partition() or 0].append(event.row)
            yield from _in_order(held, open_ends)
            full = {p for p, of in held.items() if len(of) >= AT_ONCE}
            consumer.pause([TopicPartition(topic, p) for p in full - resting])
            consumer.resume([TopicPartition(topic, p) for p in resting - full])
            resting = full


def _in_order(held: Mapping[int, deque[EventRow]], open_ends: Collection[int]) -> Iterator[EventRow]:
    """What can be told of what was read of each partition: as long as none that goes on could still bring an earlier one."""
    while all(held[p] for p in open_ends) and any(held.values()):
        yield min((of for of in held.values() if of), key=lambda of: of[0].position).popleft()


def _places(database: Database, consumer: Any, parts: list[Any], start: int) -> list[Any]:
    """Where to begin in each partition: a minute before the event of that position was recorded."""
    from confluent_kafka import TopicPartition

    with database.connect("record") as c:
        row = c.execute(f"SELECT {COLUMNS} FROM record.events WHERE position = %s", (start,)).fetchone()
    moment = time.time() if row is None else EventRow(*row).recorded_at.timestamp()
    asked = [TopicPartition(p.topic, p.partition, max(0, int((moment - 60) * 1000))) for p in parts]
    found = consumer.offsets_for_times(asked, timeout=10)
    for p in found:
        if p.offset < 0:
            p.offset = consumer.get_watermark_offsets(p, timeout=10)[1]
    return list(found)


def partitions(settings: Settings, groups: list[str]) -> list[dict[str, Any]]:
    """How far each group's committed offsets are in each partition of Kafka: `end` is behind the last that can be read, and `lag` counts offsets
    up to there, those of the ends of transactions too; 0 when no event is left."""
    from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, TopicPartition
    from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined] # exported, but not said so

    from infra.bus.connection import client
    from infra.bus.topics import Names

    names = Names(settings.kafka_prefix)
    admin = AdminClient(client(settings))
    newest = cast("Any", OffsetSpec).latest()
    found: list[dict[str, Any]] = []
    for group in groups:
        asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(names.group(group))])
        committed = [
            p
            for p in asked[names.group(group)].result(15).topic_partitions or []
            if names.generation(p.topic) is not None and p.offset >= 0
        ]
        asked_ends = {TopicPartition(p.topic, p.partition): newest for p in committed}
        ends = admin.list_offsets(asked_ends, isolation_level=IsolationLevel.READ_COMMITTED) if committed else {}
        last_of = {(p.topic, p.partition): future.result(15).offset for p, future in ends.items()}
        places = {(p.topic, p.partition): p.offset for p in committed if p.offset < last_of[p.topic, p.partition]}
        read = _read_whole(settings, places)
        found += [
            {
                "group": group,
                "topic": p.topic,
                "partition": p.partition,
                "committed": p.offset,
                "end": last_of[p.topic, p.partition],
                "lag": 0 if (p.topic, p.partition) in read else max(0, last_of[p.topic, p.partition] - p.offset),
            }
            for p in sorted(committed, key=lambda p: (p.topic, p.partition))
        ]
    return found


def _read_whole(settings: Settings, places: Mapping[tuple[str, int], int]) -> set[tuple[str, int]]:
    """Those of the partitions in which no event comes from that offset on: what stands there are the ends of transactions, or broken-off ones."""
    from confluent_kafka import KafkaError, KafkaException, TopicPartition

    from infra.bus.standing import reading
    from infra.bus.topics import PATIENCE

    whole: set[tuple[str, int]] = set()
    if not places:
        return whole
    with reading(settings) as consumer:
        consumer.assign([TopicPartition(*part, offset) for part, offset in places.items()])
        waiting = set(places)
        while waiting:
            message = consumer.poll(PATIENCE)
            if message is None:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "Kafka sent nothing"))  # noqa: SLF001 - a code of librdkafka's own
            part = (str(message.topic()), message.partition() or 0)
            error = message.error()
            if part not in waiting:
                continue
            if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - a code of librdkafka's own
                whole.add(part)
            elif error is not None and error.code() != KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - retention has taken what was there
                raise KafkaException(error)
            waiting.discard(part)
            consumer.pause([TopicPartition(*part)])
    return whole
