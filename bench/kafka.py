"""The relay against a bare transactional producer that is fed the same messages, made ready beforehand.

Both have the same settings of the client, the same transactions and the same topic of twelve partitions on a broker of their own; the relay
also reads the record, makes the messages, writes how far it is into each transaction, and shows it. Eight firms write notes on deals.
"""

import gc
import time
from collections.abc import Callable
from itertools import count
from uuid import UUID

from confluent_kafka.admin import AdminClient

from bench.harness import Broken, Figure, figure, interleaved
from bench.place import ACTOR, NOTE, Place
from commands.deals import NoteOnDeal, OpenDeal
from commands.pipelines import DefinePipeline, NewStage
from domain.kernel import FirmId
from infra import turns
from infra.bus import topics
from infra.bus.batches import Batches, Ready
from infra.bus.connection import client
from infra.bus.publishing import producer_of
from infra.bus.relay import PATIENCE, SHOW, TRANSACTION, Relay, enter, show
from infra.bus.topics import Names
from infra.engines.run import Engines
from infra.ids import uuid7
from infra.record.bulk import Bulk, command_task
from infra.settings import Settings

FIRMS, EVENTS = 8, 240_000
GOAL = 0.8


def fill(p: Place) -> int:
    """Notes of eight firms in turn, as many firms would write them; answers the position of the last."""
    deals: dict[FirmId, list[UUID]] = {}
    for _ in range(FIRMS):
        firm = FirmId(uuid7())
        with Bulk(p.database, p.vault, firm=firm, actor=ACTOR) as bulk:
            stages = [NewStage(name=n) for n in ("Enquiry", "Contract")]
            (defined,) = bulk.run([command_task(DefinePipeline(name="Mandates", stages=stages), actor=ACTOR)])
            pipeline = UUID(defined.answer["id"])
            opened = bulk.run(command_task(OpenDeal(title=f"Mandate {n}", pipeline=pipeline), actor=ACTOR) for n in range(32))
            deals[firm] = [UUID(o.answer["id"]) for o in opened]
    share = EVENTS // FIRMS // 20
    for _ in range(20):
        for firm, of_firm in deals.items():
            with Bulk(p.database, p.vault, firm=firm, actor=ACTOR) as bulk:
                for _ in bulk.run(command_task(NoteOnDeal(id=of_firm[n % 32], note=NOTE), actor=ACTOR) for n in range(share)):
                    pass
    return int(str(p.query("SELECT position FROM record.head")[0][0]))


def measure(p: Place) -> list[Figure]:
    last = fill(p)
    engines = Engines(p.folder / "engines")
    bootstrap = engines.up(["kafka"])["CHANCERY_KAFKA_BOOTSTRAP"]
    runs = count(1)
    try:

        def fresh() -> tuple[Settings, AdminClient]:
            chosen = Settings(data=p.folder, kafka_bootstrap=bootstrap, kafka_prefix=f"run{next(runs)}")
            return chosen, AdminClient(client(chosen))

        with Batches(p.database, 12) as batches:
            ready: list[list[Ready]] = []
            position = 0
            while (batch := batches.after(position)).reached > position:
                ready.append([(m[0], dict(m[1]), *m[2:]) for m in batch.messages])
                position = batch.reached
        gc.collect()
        gc.freeze()  # what theirs has ready is nothing for ours to look through

        def timed(chosen: Settings, admin: AdminClient, work: Callable[[], None]) -> float:
            started = time.perf_counter()
            work()
            took = time.perf_counter() - started
            relay = Relay(chosen, p.database)
            if relay.digest() != (digests.setdefault("record", relay.record_digest())):
                raise Broken("what stands in Kafka is not the record")
            topics.delete(admin, list(topics.generations(admin, Names(chosen.kafka_prefix)).values()))
            return last / took

        def ours() -> float:
            chosen, admin = fresh()
            topics.ensure(admin, topics.control(chosen))
            relay = Relay(chosen, p.database)
            with p.database.connect("record") as c:
                c.execute("SET synchronous_commit = off")
                enter(c)
                publisher = relay.stand(c, admin, producer_of(chosen, Names(chosen.kafka_prefix).relay, TRANSACTION, PATIENCE))

                with Batches(p.database, publisher.topic.partitions) as batches:

                    def work() -> None:
                        told = time.monotonic()
                        while publisher.position < last:
                            publisher.publish(batches.after(publisher.position))
                            if time.monotonic() - told > SHOW or publisher.position == last:
                                told = time.monotonic()
                                show(c, publisher.position)

                    return timed(chosen, admin, work)

        def theirs() -> float:
            chosen, admin = fresh()
            topics.ensure(admin, topics.control(chosen))
            relay = Relay(chosen, p.database)
            with p.database.connect("record") as c:  # makes the live generation, as ours has it
                producer = producer_of(chosen, Names(chosen.kafka_prefix).relay, TRANSACTION, PATIENCE)
                topic = relay.stand(c, admin, producer).topic.name

            def work() -> None:
                produce = producer.produce
                for messages in ready:
                    producer.begin_transaction()
                    for value, headers, key, partition, millis, _ in messages:
                        produce(topic, value, key, partition, timestamp=millis, headers=headers)
                    producer.commit_transaction(PATIENCE)

            return timed(chosen, admin, work)

        digests: dict[str, str] = {}
        with turns.short():  # as `chancery follow` has it
            pairs = interleaved(ours, theirs)
        return [figure("relay to Kafka", "bare producer, ready messages", pairs, goal=GOAL)]
    finally:
        gc.unfreeze()
        engines.forget()
