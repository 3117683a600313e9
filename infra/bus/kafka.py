"""The bus over Kafka: a consumer group that reads the topics of events; each firm's events wait in a lane of their own.

CS12  What a group has handled stands in the database (infra.bus.positions). Offsets in Kafka only say where reading starts: whatever is
      delivered again is dropped, whatever never comes is read from the store.
CS13  What waits is bounded by count and bytes: beyond, all partitions pause until half of it is handled. A firm that rests after a failure
      holds nothing: its events are read from the store when its time comes, and no other firm waits for it.
CS14  A partition is given up when the work on it has ended and its offset is committed. One that was lost is forgotten without a commit.
CS15  A firm that is behind while its topic has no more to give (a message was lost, the relay stands still) is read from the store.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Event
from typing import Any, cast
from uuid import UUID

import psycopg
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from infra.bus import positions
from infra.bus.connection import client
from infra.bus.gaps import Sent
from infra.bus.handling import Outcome
from infra.bus.messages import NotAnEvent, decode
from infra.bus.metrics import Metrics
from infra.bus.subscription import Subscription
from infra.bus.topics import Names
from infra.bus.transport import Task
from infra.settings import Settings

log = structlog.get_logger()

COMMIT = 1.0  # seconds between commits of offsets
SWEEP = 10.0  # seconds between looks at the store for what the topic never brought
SESSION_MS = 10_000  # a consumer that says nothing for so long has lost its partitions
DRAIN = 20.0  # seconds that work on a partition may take to end when it is given up
MOMENT = 0.5  # seconds to wait for handlers before partitions pause
AT_ONCE = 500

Part = tuple[str, int]


@dataclass(slots=True)
class _Lane:
    """One firm's events that wait."""

    firm: UUID
    waiting: deque[Sent] = field(default_factory=deque)
    store: bool = False  # the store is to be read on from where the group stands
    busy: bool = False
    queued: bool = False
    held: int = 0  # how many of those that wait are being worked on
    parts: frozenset[Part] = frozenset()  # and of which partitions they are


class _Offsets:
    """Of one partition: which offsets have been fetched and not handled."""

    def __init__(self) -> None:
        self._open: deque[int] = deque()
        self._done: set[int] = set()
        self.next = -1  # the offset to commit
        self.committed = -1

    def fetched(self, offset: int) -> None:
        self._open.append(offset)

    def done(self, offset: int) -> None:
        self._done.add(offset)
        while self._open and self._open[0] in self._done:
            self._done.discard(self._open[0])
            self.next = self._open.popleft() + 1


class KafkaBus:
    """Kafka as a transport."""

    name = "kafka"

    def __init__(self, subscription: Subscription, settings: Settings, metrics: Metrics) -> None:
        self._subscription = subscription
        self._metrics = metrics
        names = Names(settings.kafka_prefix)
        self._pattern = f"^{settings.kafka_prefix.replace('.', '[.]')}[.]events[.][0-9]+$"
        self._config = client(
            settings,
            **{
                "group.id": names.group(subscription.group),
                "partition.assignment.strategy": "cooperative-sticky",
                "auto.offset.reset": "earliest" if subscription.start == "beginning" else "latest",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "session.timeout.ms": SESSION_MS,
                "heartbeat.interval.ms": SESSION_MS // 4,
                "topic.metadata.refresh.interval.ms": 5_000,
                "queued.max.messages.kbytes": max(1_024, subscription.waiting_bytes // 1_000),
                "allow.auto.create.topics": False,
            },
        )
        self._since = int((time.time() - 60) * 1000)
        self._consumer: Consumer | None = None
        self._turn = threading.Condition()
        self._lanes: dict[UUID, _Lane] = {}
        self._ready: deque[_Lane] = deque()
        self._resting: dict[UUID, float] = {}
        self._offsets: dict[Part, _Offsets] = {}
        self._at_end: set[Part] = set()
        self._count = 0
        self._bytes = 0
        self._paused: set[Part] = set()
        self._called = False
        self._looking = False
        self._looked = time.monotonic()
        self._stood: dict[UUID, int] = {}  # where firms that are behind stood at the last look

    # --- fetching

    def follow(self, stop: Event) -> None:
        """Fetch until told to stop; brokers may go away and come back."""
        while not stop.is_set():
            try:
                self._fetch(stop)
            except KafkaException as e:
                log.warning("bus.interrupted", group=self._subscription.group, error=e.args[0].name())
                self._abandon()
                stop.wait(1.0)

    def _fetch(self, stop: Event) -> None:
        consumer = self._consumer
        if consumer is None:
            consumer = self._consumer = Consumer(self._config)
            consumer.subscribe([self._pattern], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)
        committed = time.monotonic()
        while not stop.is_set():
            first = consumer.poll(0.1)
            if first is not None:
                self._accept([first, *consumer.consume(AT_ONCE, 0)])
            self._press(consumer)
            if time.monotonic() - committed >= COMMIT:
                self._commit(consumer)
                committed = time.monotonic()

    def _accept(self, messages: Iterable[Message]) -> None:
        with self._turn:
            for m in messages:
                part = (str(m.topic()), int(m.partition() or 0))
                error = m.error()
                if error is not None:
                    self._error(part, error)
                    continue
                self._at_end.discard(part)
                if part in self._offsets:
                    self._take_in(part, m)
            self._turn.notify_all()

    def _error(self, part: Part, error: KafkaError) -> None:
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's name of it
            self._at_end.add(part)
        elif error.fatal():
            raise KafkaException(error)
        else:
            log.warning("bus.trouble", group=self._subscription.group, error=error.name())

    def _take_in(self, part: Part, m: Message) -> None:
        offset = int(m.offset() or 0)
        offsets = self._offsets[part]
        offsets.fetched(offset)
        try:
            event = decode(cast("list[tuple[str, bytes | str | None]]", m.headers()), m.value())
        except NotAnEvent:
            log.error("bus.not_an_event", topic=part[0], partition=part[1], offset=offset)
            self._metrics.noticed(self._subscription.group, "foreign", 1)
            offsets.done(offset)
            return
        if not self._subscription.wants(event.firm):
            offsets.done(offset)
            return
        lane = self._lanes.setdefault(event.firm, _Lane(event.firm))
        if event.firm in self._resting:
            lane.store = True
            offsets.done(offset)
            return
        size = len(event.data) + len(event.sealed or b"") + 1_500
        lane.waiting.append(Sent(event, *part, offset, size))
        self._count += 1
        self._bytes += size
        self._queue(lane)

    def _queue(self, lane: _Lane) -> None:
        if not lane.queued and not lane.busy and lane.firm not in self._resting and (lane.waiting or lane.store):
            lane.queued = True
            self._ready.append(lane)

    def _press(self, consumer: Consumer) -> None:
        """When too much waits, fetch nothing for a moment; when it still does, pause everything until half of it is gone.

        A pause throws away what the client has fetched ahead, so it is for handlers that are slow; a moment is short enough for
        a rebalance to wait. A partition that came during a pause is paused too.
        """
        with self._turn:
            assigned = set(self._offsets)
            if not self._paused and self._full(1):
                self._turn.wait_for(lambda: not self._full(2), MOMENT)
            wanted = assigned if self._full(2 if self._paused else 1) else set()
            pause, resume = wanted - self._paused, (self._paused & assigned) - wanted
            self._paused = wanted
            self._metrics.waits(self._subscription.group, self._count, self._bytes, len(wanted))
        if pause:
            consumer.pause([TopicPartition(*p) for p in pause])
        if resume:
            consumer.resume([TopicPartition(*p) for p in resume])

    def _full(self, share: int) -> bool:
        """Whether more waits than so big a part of what may."""
        return self._count * share > self._subscription.waiting or self._bytes * share > self._subscription.waiting_bytes

    def _commit(self, consumer: Consumer, parts: Iterable[Part] | None = None) -> None:
        with self._turn:
            chosen = [p for p in (self._offsets if parts is None else parts) if p in self._offsets]
            moved = [TopicPartition(*p, o.next) for p in chosen if (o := self._offsets[p]).next > o.committed]
            for at in moved:
                self._offsets[at.topic, at.partition].committed = at.offset
        if not moved:
            return
        try:
            if parts is None:
                consumer.commit(offsets=moved, asynchronous=True)
            else:
                consumer.commit(offsets=moved, asynchronous=False)
        except KafkaException as e:  # what is read twice for it is dropped
            log.warning("bus.not_committed", group=self._subscription.group, error=e.args[0].name())

    # --- rebalancing: called by poll, in the thread that fetches

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        with self._turn:
            for p in partitions:
                self._offsets[p.topic, p.partition] = _Offsets()
                self._at_end.discard((p.topic, p.partition))
            self._looked = 0.0  # what another consumer left behind
        consumer.incremental_assign(self._places(consumer, partitions) if self._subscription.start == "now" else partitions)
        log.info("bus.assigned", group=self._subscription.group, partitions=len(partitions))

    def _places(self, consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Where a group begins that wants nothing of before: a minute before it started, in partitions it has never read."""
        try:
            places = consumer.committed(partitions, timeout=5)
            fresh = [TopicPartition(p.topic, p.partition, self._since) for p in places if p.offset < 0]
            found = {(p.topic, p.partition): p.offset for p in consumer.offsets_for_times(fresh, timeout=5)} if fresh else {}
            for p in places:
                if p.offset < 0:
                    p.offset = found[p.topic, p.partition]
                    if p.offset < 0:  # nothing is so young: its end, by number, so that what comes in this moment is not missed
                        p.offset = consumer.get_watermark_offsets(p, timeout=5)[1]
        except (KafkaException, TypeError) as e:  # no answer in time: the store has what the end of the topic has not
            log.warning("bus.trouble", group=self._subscription.group, error=type(e).__name__)
            return partitions
        return places

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        parts = {(p.topic, p.partition) for p in partitions}
        until = time.monotonic() + DRAIN
        with self._turn:
            self._drop(parts, held=False)
            while any(lane.busy and lane.parts & parts for lane in self._lanes.values()) and time.monotonic() < until:
                self._turn.wait(0.1)
        self._commit(consumer, parts)
        with self._turn:
            self._drop(parts, held=True)
            self._forget(parts)
        consumer.incremental_unassign(partitions)
        log.info("bus.revoked", group=self._subscription.group, partitions=len(partitions))

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        parts = {(p.topic, p.partition) for p in partitions}
        with self._turn:
            self._drop(parts, held=True)
            self._forget(parts)
        consumer.incremental_unassign(partitions)
        log.warning("bus.lost", group=self._subscription.group, partitions=len(partitions))

    def _drop(self, parts: set[Part], *, held: bool) -> None:
        """What waits of these partitions is another's to handle; `held` tells whether that goes for what is being worked on, too."""
        for firm, lane in list(self._lanes.items()):
            if any((s.topic, s.partition) in parts for s in lane.waiting):
                keep = 0 if held else lane.held
                kept = deque(s for n, s in enumerate(lane.waiting) if n < keep or (s.topic, s.partition) not in parts)
                self._count -= len(lane.waiting) - len(kept)
                self._bytes -= sum(s.size for s in lane.waiting) - sum(s.size for s in kept)
                lane.waiting = kept
            if not lane.busy and not lane.waiting and not lane.store and not lane.queued:
                del self._lanes[firm]

    def _forget(self, parts: set[Part]) -> None:
        for part in parts:
            self._offsets.pop(part, None)
            self._at_end.discard(part)
            self._paused.discard(part)

    def _abandon(self) -> None:
        """The client is of no use any more; another takes its place."""
        consumer, self._consumer = self._consumer, None
        with self._turn:
            parts = set(self._offsets)
            self._drop(parts, held=True)
            self._forget(parts)
        if consumer is not None:
            try:
                consumer.close()
            except (KafkaException, RuntimeError) as e:
                log.warning("bus.not_closed", group=self._subscription.group, error=type(e).__name__)

    # --- working

    def look(self) -> None:
        """Somebody has set the group back: the store is to be looked at."""
        with self._turn:
            self._called = True
            self._turn.notify()

    def take(self, c: psycopg.Connection[Any], seconds: float) -> Task | None:
        until = time.monotonic() + seconds
        with self._turn:
            while True:
                now = time.monotonic()
                for firm in [f for f, at in self._resting.items() if at <= now]:
                    del self._resting[firm]
                    if firm in self._lanes:
                        self._queue(self._lanes[firm])
                if self._ready:
                    lane = self._ready.popleft()
                    lane.queued = False
                    if not lane.waiting and not lane.store:
                        continue
                    lane.busy = True
                    sent = (
                        () if lane.store else tuple(s for s, _ in zip(lane.waiting, range(self._subscription.batch), strict=False))
                    )
                    lane.held, lane.parts = len(sent), frozenset((s.topic, s.partition) for s in sent)
                    return Task(lane.firm, sent)
                if not self._looking and (self._called or (now - self._looked >= SWEEP and (not self._looked or self._quiet()))):
                    called, self._called, self._looking = self._called, False, True
                    break
                if now >= until:
                    return None
                self._turn.wait(max(0.001, min([until, *self._resting.values()]) - now))
        self._look(c, called=called)
        return None

    def _quiet(self) -> bool:
        """Whether the topic has no more to give."""
        return bool(self._offsets) and not self._count and self._at_end >= self._offsets.keys()

    def _look(self, c: psycopg.Connection[Any], *, called: bool) -> None:
        """Find firms that are behind. Without a call, only those that did not move since the last look are read from the store."""
        found: dict[UUID, int] = {}
        owed: set[UUID] = set()
        try:
            positions.enroll(c, self._subscription.group)
            for firm, at, unsent in positions.behind(c, self._subscription.group, most=1_000):
                found[firm] = at
                if unsent:
                    owed.add(firm)
        finally:
            with self._turn:
                self._looking, self._looked = False, time.monotonic()
                for firm, at in found.items():
                    if called or firm in owed or self._stood.get(firm) == at:
                        lane = self._lanes.setdefault(firm, _Lane(firm))
                        lane.store = True
                        self._queue(lane)
                self._stood = found
                self._turn.notify_all()

    def done(self, task: Task, outcome: Outcome | None) -> None:
        with self._turn:
            lane = self._lanes[task.firm]
            lane.busy, lane.held, lane.parts = False, 0, frozenset()
            if outcome is None:
                self._resting[task.firm] = time.monotonic() + 0.1
            elif outcome.next is None:
                self._resting[task.firm] = time.monotonic() + outcome.wait
            else:
                held, late = len(task.sent), 0
                while lane.waiting and (outcome.wait > 0 or lane.waiting[0].firm_position < outcome.next):
                    sent = lane.waiting.popleft()
                    late += held <= 0 and sent.firm_position < outcome.next
                    held -= 1
                    self._handled(sent)
                if late:
                    self._metrics.noticed(self._subscription.group, "duplicate", late)
                if not task.sent:
                    lane.store = outcome.more
                if outcome.wait > 0:
                    lane.store = True
                    self._resting[task.firm] = time.monotonic() + outcome.wait
            self._queue(lane)
            if not lane.waiting and not lane.store and not lane.queued:
                del self._lanes[task.firm]
            self._turn.notify_all()

    def _handled(self, sent: Sent) -> None:
        self._count -= 1
        self._bytes -= sent.size
        offsets = self._offsets.get((sent.topic, sent.partition))
        if offsets is not None:
            offsets.done(sent.offset)

    def close(self) -> None:
        """Commit what was handled, leave the group."""
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        with self._turn:
            parts = set(self._offsets)
        self._commit(consumer, parts)
        try:
            consumer.close()
        except (KafkaException, RuntimeError) as e:
            log.warning("bus.not_closed", group=self._subscription.group, error=type(e).__name__)
