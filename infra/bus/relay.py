"""The relay: publishes the record to Kafka, each event once and in order, and goes on wherever it was stopped.

BUS9   One copy of each event, in the order of its firm, whatever is killed, stopped, doubled or deleted: where the relay goes on is what
       Kafka has committed, read anew by every producer, and a producer is thrown away after any error and any timeout.
BUS10  Of two relays one works. The other waits for its lease; one that slept is fenced when it wakes, and then waits.
BUS11  A relay that is ahead of the record, or has published another history, stops and says so.
BUS12  What is not there (any more) is published again, from the beginning, into the next generation: a topic that was deleted or made anew by
       others, a control topic that is gone.
"""

import contextlib
import time
from collections.abc import Callable
from threading import Event
from typing import Any

import psycopg
import structlog
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from infra.bus import topics
from infra.bus.batches import Batch, Batches, Gap
from infra.bus.connection import WrongKafkaSettings, client
from infra.bus.digests import of_record, of_topic
from infra.bus.lease import Lease
from infra.bus.publishing import Publisher, leaf_at, producer_of
from infra.bus.standing import Control, Standing, Tail, Unreadable, read_control, read_tails, reading
from infra.bus.topics import Found, Names, TopicUnfit
from infra.database import Database, interrupted
from infra.followers import Progress
from infra.projector import rebuild as of_views
from infra.record.appender import CHANNEL
from infra.settings import Settings

log = structlog.get_logger()

NAME = "relay"
VERSION = 1
LEASE = 15.0  # seconds after which another relay takes over
TRANSACTION = 30.0  # seconds after which Kafka gives up what a relay left open
PATIENCE = 10.0  # seconds for one answer of Kafka; shorter than the lease
SHOW = 0.2  # seconds between showing how far it is, while there is more at once
LOOK = 5.0  # seconds between looks at whether the topics are still those
AGAIN = 10.0  # seconds between tries of a relay that was stopped by what somebody must mend

_FENCED = {KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED}  # noqa: SLF001 - a code of librdkafka's own


class Stopped(Exception):
    """The relay can't go on until somebody mends what the message names."""


class AheadOfRecord(Stopped):
    """Kafka has events that the record does not have (any more): the database was restored to an earlier moment, or is another one."""


class Forked(Stopped):
    """Kafka has another event where the record has this one: the record's history was replaced, or another Chancery publishes there too."""


class Poisoned(Stopped):
    """An event can't be published."""


class Divided(Stopped):
    """Somebody has changed the number of partitions of the live topic, so that firms would go to other partitions than before."""


class AlreadyRebuilding(of_views.AlreadyRebuilding):
    """Another rebuild of the bus runs. Wait until it is done; one that was killed lets go of it after some seconds."""


class RebuildInterrupted(of_views.RebuildFailed):
    """Kafka did not answer or refused, so the live topic stays as it is. See `chancery projection list`, and try again when Kafka answers."""


class _Elsewhere(Exception):
    """The topics are not those any more that the producer was made for, or the lease has gone to another."""


class Relay:
    """A follower of the record (see `infra.followers`). Several may run, in one process or in many."""

    name = NAME

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        lease: float = LEASE,
        transaction: float = TRANSACTION,
        patience: float = PATIENCE,
        again: float = AGAIN,
        batch: int | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._names = Names(settings.kafka_prefix)
        self._lease = Lease(NAME, lease)
        self._transaction = transaction
        self._patience = patience
        self._again = again
        self._batch = {} if batch is None else {"most": batch}
        self._admin_made: AdminClient | None = None
        self._heard: KafkaError | None = None  # why brokers were not reached, when that is what a time-out was about

    # --- following

    def run(self, stop: Event) -> None:
        """Publish what is recorded until told to stop; Kafka and the database may go away and come back."""
        pause = 0.2
        while not stop.is_set():
            try:
                with self._database.connect("record") as c:
                    c.execute("SET synchronous_commit = off")  # only shows what Kafka knows
                    enter(c)
                    pause = 0.2
                    try:
                        self._work(c, stop)
                    finally:
                        self._leave(c)
                continue
            except psycopg.Error as e:
                interrupted(log, "relay.interrupted", e)
            stop.wait(pause)
            pause = min(pause * 2, 5.0)

    def _work(self, c: psycopg.Connection[Any], stop: Event) -> None:
        """Be the relay whenever nobody else is."""
        pause, waiting = 0.2, False
        while not stop.is_set():
            if not self._lease.take(c):
                if not waiting:
                    log.info("relay.waiting")
                waiting = True
                stop.wait(min(1.0, self._lease.seconds / 5))
                continue
            waiting = False
            started = time.monotonic()
            try:
                self._session(c, stop)
            except _Elsewhere:
                stop.wait(0.1)
                continue
            except (Stopped, TopicUnfit, Unreadable, Gap, WrongKafkaSettings) as e:
                self._show_stopped(c, e)
                stop.wait(self._again)
                continue
            except (KafkaException, BufferError) as e:
                error = e.args[0] if isinstance(e, KafkaException) else None
                fenced = isinstance(error, KafkaError) and error.code() in _FENCED
                why = self._why(e)
                log.warning("relay.fenced" if fenced else "relay.interrupted", error=why)
                _show_error(c, f"Kafka: {why}")
                if time.monotonic() - started > 30:
                    pause = 0.2
                # whoever fenced us while we hold the lease does not know of it: back off, so that the two do not fence each other for ever
                stop.wait(min(pause * (5 if fenced else 1), 30.0))
                pause = min(pause * 2, 10.0)

    def _leave(self, c: psycopg.Connection[Any]) -> None:
        with contextlib.suppress(psycopg.Error):
            self._lease.release(c)

    def _session(self, c: psycopg.Connection[Any], stop: Event) -> None:
        """One producer's life."""
        admin = self._admin()
        topics.ensure(admin, topics.control(self._settings))
        self._hold(c)  # between slow steps, so that two relays at a slow Kafka do not take turns in beginning
        producer = producer_of(self._settings, self._names.relay, self._transaction, self._patience)
        self._hold(c)
        publisher = self.stand(c, admin, producer)
        with (
            Batches(self._database, publisher.topic.partitions, **self._batch) as batches,
            self._database.connect("record") as listening,
        ):
            listening.execute(f"LISTEN {CHANNEL}")
            self._follow(c, listening, publisher, batches, stop)

    def _follow(
        self, c: psycopg.Connection[Any], listening: psycopg.Connection[Any], publisher: Publisher, batches: Batches, stop: Event
    ) -> None:
        looked = renewed = told = time.monotonic()
        shown = -1
        while not stop.is_set():
            now = time.monotonic()
            if now - renewed > self._lease.seconds / 5:
                renewed = now
                self._hold(c)
            if now - looked > LOOK:
                looked = now
                self._look(publisher)
            batch = batches.after(publisher.position)
            if batch.reached > publisher.position:
                publisher.publish(batch)
            if publisher.position != shown and (not batch.full or now - told > SHOW):
                shown, told = publisher.position, now
                show(c, shown)
            if batch.poison is not None:
                raise Poisoned(
                    f"The event at position {batch.poison.position} can't be published: {batch.poison.error}. Run `chancery doctor`."
                ) from batch.poison.error
            if not batch.full:
                for _ in listening.notifies(timeout=0.5, stop_after=1):
                    pass

    def _hold(self, c: psycopg.Connection[Any]) -> None:
        """Renew the lease, or leave the work to who has taken it."""
        if not self._lease.take(c):
            log.warning("relay.lease_lost")
            raise _Elsewhere

    def _look(self, publisher: Publisher) -> None:
        """Whether the topics are still those that were published to."""
        found = topics.find(self._admin(), [publisher.topic.name, self._names.control])
        there = found.get(publisher.topic.name)
        if there is None or there.id != publisher.topic.id or self._names.control not in found:
            log.error("relay.topic_gone", topic=publisher.topic.name)
            raise _Elsewhere
        if there.partitions != publisher.topic.partitions:
            raise _Elsewhere

    # --- where it stands

    def stand(self, c: psycopg.Connection[Any], admin: AdminClient, producer: Producer) -> Publisher:
        """Where to go on, as Kafka has it; the next generation from its beginning where it has lost something."""
        head = _head(c)
        with reading(self._settings) as consumer:
            control = read_control(consumer, self._names)
            there = topics.generations(admin, self._names)
            found = topics.find(admin, [there[control.live]]).get(there[control.live]) if control.live in there else None
            standing = None if control.live is None else control.standings.get(control.live)
            if found is None or standing is None or standing.topic_id != found.id:
                return self._begin(admin, producer, control, there)
            said = topics.check(found, topics.events(self._settings, standing.generation))
            if said:
                log.warning("relay.topic_differs", differences=said)
            if found.partitions != standing.partitions:
                raise Divided(
                    f"The topic {found.name} had {standing.partitions} partitions and has {found.partitions}: firms would go to other"
                    " partitions than before, out of order. Run `chancery projection rebuild relay`: it makes a new topic."
                )
            tails = read_tails(consumer, found.name, found.partitions)
        self._same_history(c, head, standing, tails)
        start, floors = healed(standing, tails)
        if (start, floors) != (standing.position, dict(standing.tails)):
            log.warning("relay.healed", position=start, noted=standing.position)
        publisher = Publisher(producer, self._names, standing.generation, found, start, floors, self._patience)
        publisher.leaf_hash = standing.leaf_hash
        return publisher

    def _begin(self, admin: AdminClient, producer: Producer, control: Control, there: dict[int, str]) -> Publisher:
        """A generation that nobody ever wrote to, and that is live at once: what it does not have yet nobody has."""
        generation = max([0, *there, *control.standings, control.live or 0]) + 1
        found, _ = topics.ensure(admin, topics.events(self._settings, generation))
        if control.live is not None or there:
            log.error("relay.position_lost", generation=generation)
        publisher = Publisher(producer, self._names, generation, found, 0, {}, self._patience)
        publisher.publish(Batch((), 0, full=False), live=True)
        return publisher

    def _same_history(self, c: psycopg.Connection[Any], head: int, standing: Standing, tails: dict[int, Tail]) -> None:
        """Refuse to go on where the record does not have what was published."""
        published = {tail.position: tail.leaf_hash for tail in tails.values() if tail.position}
        if standing.position:
            published[standing.position] = standing.leaf_hash
        furthest = max(published, default=0)
        if furthest > head:
            raise AheadOfRecord(
                f"Kafka has events up to position {furthest}, the record ends at {head}: the database was restored to an earlier moment, or it is"
                " another one. If this record is the true one, run `chancery projection rebuild relay`: consumers then get its history."
            )
        for position, stored in leaf_at(c, published).items():
            if stored != published[position]:
                raise Forked(
                    f"Kafka has another event at position {position} than the record: the record's history was replaced, or another Chancery"
                    " publishes under this CHANCERY_KAFKA_PREFIX. If this record is the true one, run `chancery projection rebuild relay`."
                )

    # --- a new generation

    def rebuild(self, *, progress: Progress | None = None) -> int:
        """Publish the whole record into the next generation while the live one serves, then make that the live one.

        The generation that was live stays until the next rebuild, or until `remove_old`: consumers go over in their own time.
        """
        alone = Lease(f"{NAME}.rebuild", self._lease.seconds)
        with self._database.connect("record") as c:
            enter(c)
            if not alone.take(c):
                raise AlreadyRebuilding(AlreadyRebuilding.__doc__)
            try:
                return self._rebuild(c, alone, progress)
            except (KafkaException, BufferError) as e:
                log.warning("relay.rebuild_failed", error=_said(e))
                raise RebuildInterrupted(_said(e)) from e
            finally:
                with contextlib.suppress(psycopg.Error):
                    alone.release(c)
                    self._lease.release(c)

    def _rebuild(self, c: psycopg.Connection[Any], alone: Lease, progress: Progress | None) -> int:
        admin = self._admin()
        topics.ensure(admin, topics.control(self._settings))
        with reading(self._settings) as consumer:
            control = read_control(consumer, self._names)
        there = topics.generations(admin, self._names)
        generation = max([0, *there, *control.standings, control.live or 0]) + 1
        topics.delete(admin, [name for g, name in there.items() if g != control.live])
        found, said = topics.ensure(admin, topics.events(self._settings, generation))
        for difference in said:
            log.warning("relay.topic_differs", difference=difference)
        head = _head(c)

        def told(position: int) -> None:
            if not alone.take(c):
                raise AlreadyRebuilding(AlreadyRebuilding.__doc__)
            if progress is not None:
                progress(position, max(head, position))

        with Batches(self._database, found.partitions, **self._batch) as batches:
            filled = self._fill(self._names.rebuild, generation, found, batches, told)
            self._lease.seize(c)
            # from here on the relay waits: fenced by its own transactional id, then by the lease
            swapping = producer_of(self._settings, self._names.relay, self._transaction, self._patience)
            last = Publisher(swapping, self._names, generation, found, filled.position, dict(filled.standing.tails), self._patience)
            last.leaf_hash = filled.leaf_hash
            while True:
                batch = batches.after(last.position)
                last.publish(batch, live=True)
                self._lease.seize(c)
                if batch.poison is not None:
                    log.error(
                        "projection.stopped", view=NAME, position=batch.poison.position, error=type(batch.poison.error).__name__
                    )
                if not batch.full:
                    break
            last.forget(g for g in control.standings if g not in (generation, control.live))
        show(c, last.position)
        told(last.position)
        log.info("relay.rebuilt", generation=generation, position=last.position)
        return last.position

    def _fill(
        self, transactional_id: str, generation: int, found: Found, batches: Batches, told: Callable[[int], None]
    ) -> Publisher:
        """Publish into a generation until the record's end, through as many producers as it takes."""
        failed = 0
        while True:
            publisher: Publisher | None = None
            try:
                producer = producer_of(self._settings, transactional_id, self._transaction, self._patience)
                with reading(self._settings) as consumer:
                    tails = read_tails(consumer, found.name, found.partitions)
                floors = {p: tail.position for p, tail in tails.items() if tail.position}
                publisher = Publisher(producer, self._names, generation, found, 0, floors, self._patience)
                while True:
                    batch = batches.after(publisher.position)
                    if batch.reached > publisher.position:
                        publisher.publish(batch, noted=False)
                        failed = 0
                    told(publisher.position)
                    if batch.poison is not None or not batch.full:
                        return publisher
            except (KafkaException, BufferError) as e:
                failed += 1
                log.warning("relay.rebuild_interrupted", error=_said(e), tries=failed)
                if failed > 5:
                    raise
                time.sleep(min(0.5 * 2**failed, 10.0))

    def remove_old(self) -> list[str]:
        """Delete the topics of generations that are not live, with all that is sealed in them; answers their names."""
        admin = self._admin()
        with reading(self._settings) as consumer:
            live = read_control(consumer, self._names).live
        old = [name for g, name in topics.generations(admin, self._names).items() if live is not None and g < live]
        topics.delete(admin, old)
        return old

    # --- digests

    def digest(self) -> str:
        """SHA-256 over the live topic: each firm's events in their order there, put together from the messages, not taken from them."""
        admin = self._admin()
        with reading(self._settings) as consumer:
            live = read_control(consumer, self._names).live if topics.find(admin, [self._names.control]) else None
            name = self._names.events(live) if live is not None else ""
            return of_topic(consumer, topics.find(admin, [name]).get(name) if name else None)

    def record_digest(self, until: int | None = None) -> str:
        """The same over the record, up to a position: equal to `digest` when everything up to there is published, once and in order."""
        return of_record(self._database, until)

    # --- what it shows

    def _admin(self) -> AdminClient:
        if self._admin_made is None:
            self._admin_made = AdminClient(client(self._settings, error_cb=self._hear))
        return self._admin_made

    def _hear(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - a code of librdkafka's own
            self._heard = error

    def _why(self, e: KafkaException | BufferError) -> str:
        """What Kafka says of an error; of a time-out, why no broker was reached."""
        self._heard = None
        if self._admin_made is not None:
            self._admin_made.poll(0)
        timed_out = isinstance(e, KafkaException) and e.args[0].code() == KafkaError._TIMED_OUT  # noqa: SLF001 - as above
        return _said(KafkaException(self._heard)) if timed_out and self._heard is not None else _said(e)

    def _show_stopped(self, c: psycopg.Connection[Any], e: Exception) -> None:
        row = c.execute(
            "UPDATE chancery.projections SET stopped_at = position + 1, error = %s, updated_at = now() WHERE name = %s RETURNING position",
            (str(e), NAME),
        ).fetchone()
        log.error("projection.stopped", view=NAME, position=row[0] if row else None, error=type(e).__name__, why=str(e))


def healed(standing: Standing, tails: dict[int, Tail]) -> tuple[int, dict[int, int]]:
    """Where to go on, and the position each partition really has, given what was noted of both.

    A partition that lacks what was noted is given it again; one that has more is not given it twice; one that retention has emptied
    is taken to have had what was noted.
    """
    start, floors = standing.position, {}
    for partition in tails.keys() | standing.tails.keys():
        noted = standing.tails.get(partition, 0)
        tail = tails.get(partition, Tail(0, "", emptied=False))
        there = noted if tail.emptied else tail.position
        if there < noted:
            start = min(start, there)
        if there:
            floors[partition] = there
    return start, floors


def _head(c: psycopg.Connection[Any]) -> int:
    return int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])


def enter(c: psycopg.Connection[Any]) -> None:
    c.execute("INSERT INTO chancery.projections (name, version) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING", (NAME, VERSION))


def show(c: psycopg.Connection[Any], position: int) -> None:
    c.execute(
        "UPDATE chancery.projections SET position = %s, stopped_at = NULL, error = NULL, updated_at = now() WHERE name = %s",
        (position, NAME),
    )


def _show_error(c: psycopg.Connection[Any], error: str) -> None:
    c.execute("UPDATE chancery.projections SET error = %s, updated_at = now() WHERE name = %s", (error, NAME))


def _said(e: BaseException) -> str:
    """What Kafka says of an error: its name and its text, which hold no personal values."""
    error = e.args[0] if e.args else e
    return f"{error.name()}: {error.str()}" if isinstance(error, KafkaError) else type(e).__name__
