"""What Kafka keeps of an erased person: no dead letter, no value that anybody opens; and an erasure that waits for a broker that is away."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from infra.away import NotForgotten
from infra.bus import topics
from infra.bus.connection import client
from infra.bus.forgetting import forget
from infra.bus.messages import Message, decode
from infra.bus.relay import Relay
from infra.bus.standing import bounds, live_topic, read_all, reading
from infra.bus.subscription import Delivered, Reject, Retry, Subscription
from infra.bus.topics import Names
from infra.engines.run import Engines
from infra.erasure.carry import parts_of
from infra.erasure.keys import ErasedList
from infra.erasure.restored import purge_again
from infra.record.reader import fetch_keys
from infra.settings import Settings
from tests import engines
from tests.engines import CACHE
from tests.house import House, post
from tests.infra.bus.consuming import consuming
from tests.infra.bus.relaying import broker
from tests.infra.erasure.test_erasure import a_person, erased, holding, spellings
from tests.infra.test_backup import living
from tests.infra.writing import scalar
from tests.processes import PATIENCE

CANARY = "Vlozquerpyk"


def set_for(folder: Path, kafka: str) -> Settings:
    return Settings(
        data=folder / "data",
        kafka_bootstrap=kafka,
        kafka_prefix=folder.name,
        kafka_partitions=2,
        rate_per_second=100_000,
        rate_burst=100_000,
    )


def rejecting(contact: str, group: str) -> Subscription:
    """A handler that gives up on a person's events and says more of them than it should."""
    subscription = Subscription(group, retry=Retry(tries=1))

    @subscription.on("contacts.*", stream=f"contact/{contact}")
    def handle(c: psycopg.Connection[Any], event: Delivered) -> None:
        raise Reject(f"{CANARY} can't be billed.")

    return subscription


async def with_letters(house: House, contact: str) -> None:
    """Let a group bury the contact's events, and the topic show it; then forget the group, and its table with it."""
    c = house.chancery
    group = f"g{uuid4().hex[:8]}"
    held = rejecting(contact, group)

    def bury() -> None:
        with consuming(held, c.settings, c.database):
            until = time.monotonic() + PATIENCE
            said = "SELECT count(*) FROM chancery.bus_dead_letters WHERE group_name = %s AND published"
            while not scalar(c.database, said, group):
                assert time.monotonic() < until
                time.sleep(0.1)

    await asyncio.to_thread(bury)


def on_disk(logs: Path, settings: Settings, words: list[bytes]) -> dict[str, list[bytes]]:
    """The files of the dead-letter topic that hold one of the words."""
    return holding(logs, words, lambda file: Names(settings.kafka_prefix).dead_letters in str(file))


@pytest.mark.invariant("BUS14")
@pytest.mark.invariant("ER2")
async def test_dead_letters_about_an_erased_person_leave_the_disk_and_sealed_values_stay_shut(folder: Path, kafka: str) -> None:
    settings = set_for(folder, kafka)
    words = [CANARY.encode(), *spellings(CANARY)]
    async with living(settings) as house:
        contact, _ = await a_person(house, "Buried")
        other, _ = await a_person(house, "Neighbour")
        await with_letters(house, contact)
        logs = engines.folder()
        assert on_disk(logs, settings, words), "the canary must be there before it can be gone"
        done = await erased(house, contact)
        assert done["purged"]["kafka"] >= 1
        assert done["unreadable"] == ["kafka"]
        assert '"unreadable":["kafka"]' in done["certificate"]
        assert scalar(house.chancery.database, "SELECT count(*) FROM chancery.bus_dead_letters") == 0
        until = time.monotonic() + PATIENCE
        while found := on_disk(logs, settings, words):
            assert time.monotonic() < until, found
            await asyncio.sleep(0.5)
        messages = await asyncio.to_thread(published, settings)
        assert opened(house, messages, contact) == (True, 0), "what is sealed stays, and nothing opens it"
        assert opened(house, messages, other)[1] > 0
        assert (await house.client.get(f"/v1/contacts/{other}")).json()["given"] == "Neighbourgiven"


def opened(house: House, messages: list[Message], contact: str) -> tuple[bool, int]:
    """Whether messages of a contact carry sealed values, and how many of these can be opened."""
    c = house.chancery
    mine = [m for m in messages if m.stream_id == UUID(contact) and m.sealed is not None]
    with c.database.connect("record") as connection:
        keys = fetch_keys(connection, c.vault, [m.row for m in mine])
    return bool(mine), sum(len(c.vault.open(m.firm, m.stream_id, m.event_id, m.sealed or b"", keys)) for m in mine)


def published(settings: Settings) -> list[Message]:
    """The messages of the live generation."""
    topic = live_topic(settings)
    assert topic is not None
    with reading(settings) as consumer:
        places = {(topic, p): bounds(consumer, topic, p) for p in range(settings.kafka_partitions)}
        return [decode(m.headers(), m.value()) for m in read_all(consumer, places)]


async def test_a_renewed_generation_holds_nothing_sealed_for_an_erased_person_and_the_old_one_can_be_removed(
    folder: Path, kafka: str
) -> None:
    settings = set_for(folder, kafka)
    async with living(settings) as house:
        contact, _ = await a_person(house, "Renewed")
        relay = Relay(settings, house.chancery.database)
        until = time.monotonic() + PATIENCE
        while not (mine := [m.sealed for m in await a_look(settings) if m.stream_id == UUID(contact) and m.sealed]):
            assert time.monotonic() < until
            await asyncio.sleep(0.2)
        logs, words = engines.folder(), [s[:60] for s in mine]
        assert in_topics(logs, settings, words)
        await erased(house, contact)
        await asyncio.to_thread(relay.rebuild)
        assert len(await asyncio.to_thread(relay.remove_old)) == 1
        assert [m for m in await a_look(settings) if m.stream_id == UUID(contact) and m.sealed] == []
        assert [f for f in in_topics(logs, settings, words) if "-delete/" not in f] == [], (
            "the broker deletes these within a minute"
        )


async def a_look(settings: Settings) -> list[Message]:
    try:
        return await asyncio.to_thread(published, settings)
    except AssertionError:  # the relay has not begun
        return []


def in_topics(logs: Path, settings: Settings, words: list[bytes]) -> list[str]:
    """The files of the topics of events that hold one of the words."""
    return list(holding(logs, words, lambda file: f"{settings.kafka_prefix}.events" in str(file)))


@pytest.mark.invariant("BUS15")
def test_a_letter_of_a_group_that_was_forgotten_is_found_in_the_topic_and_others_stay(folder: Path, kafka: str) -> None:
    settings = set_for(folder, kafka)
    assert forget(settings, {uuid4()}) == 0, "where there is no topic there is no letter"
    topics.ensure(AdminClient(client(settings)), topics.dead_letters(settings))
    mine, others = [uuid4() for _ in range(30)], [uuid4() for _ in range(30)]
    name = Names(settings.kafka_prefix).dead_letters
    producer = Producer(client(settings))
    for event in (*mine, *others):
        producer.produce(name, b"{}", f"forgotten/{event}".encode(), headers={"dead_reason": CANARY.encode()})
    assert producer.flush(PATIENCE) == 0
    assert forget(settings, set(mine)) == 30
    assert forget(settings, set(mine)) == 30, "again is as once"
    with reading(settings) as consumer:
        places = {(name, p): bounds(consumer, name, p) for p in range(settings.kafka_partitions)}
        last = {m.key(): m.value() for m in read_all(consumer, places)}
    left = {k for k, v in last.items() if v is not None}
    assert left == {f"forgotten/{e}".encode() for e in others}


def test_a_topic_that_would_keep_what_is_taken_out_of_it_is_named_with_what_to_set(folder: Path, kafka: str) -> None:
    settings = set_for(folder, kafka)
    admin = AdminClient(client(settings))
    spec = topics.dead_letters(settings)
    topics.create(admin, replace(spec, config={"cleanup.policy": "compact"}))
    topics.wait_for(admin, spec.name)
    with pytest.raises(NotForgotten, match=r"segment\.bytes=1048576"):
        forget(settings, {uuid4()})


@pytest.mark.invariant("ER2")
@pytest.mark.invariant("PY9")
async def test_an_erasure_waits_for_a_broker_that_is_away_says_so_and_ends_when_it_is_back(folder: Path) -> None:
    own = Engines(folder / "engines", CACHE)
    (folder / "engines").mkdir(mode=0o700)
    try:
        settings = set_for(folder, own.up(["kafka"])["CHANCERY_KAFKA_BOOTSTRAP"])
        async with living(settings) as house:
            contact, _ = await a_person(house, "Waiting")
            await with_letters(house, contact)
            os.kill(broker(own), signal.SIGKILL)
            request = (await post(house, f"/contacts/{contact}:request-privacy", {"kind": "erase"}))["request"]
            await post(house, f"/contacts/{contact}:approve-erasure", {"request": request})
            waiting = await until_request(house, request, lambda r: "kafka" in r.get("awaited", ()))
            assert waiting["status"] == "keys_destroyed"
            assert "Kafka does not answer" in waiting["awaited"]["kafka"]
            assert set(waiting["purged"]) >= {"views", "search", "files", "imports", "bus"}
            assert "record" not in waiting["purged"]
            assert (await house.client.get(f"/v1/contacts/{contact}")).json().get("given") is None
            said = scalar(house.chancery.database, "SELECT error FROM chancery.projections WHERE name = 'erasures'")
            assert said is None or "kafka: Kafka does not answer" in said
            own.up(["kafka"])
            done = await until_request(house, request, lambda r: r.get("status") == "completed")
            assert done["purged"]["kafka"] >= 1
            assert done["awaited"] == {}
    finally:
        own.forget()


@pytest.mark.invariant("ER4")
async def test_what_is_erased_again_at_a_start_is_remembered_until_kafka_has_heard_of_it(house: House) -> None:
    contact, _ = await a_person(house, "Again")
    await erased(house, contact)
    c = house.chancery
    (listed,) = [e for e in ErasedList(c.vault.folder) if str(e.contact) == contact]
    begun = "SELECT count(*) FROM chancery.erasures_again"
    with c.database.connect("record") as connection:
        connection.execute("INSERT INTO chancery.erasures_again (firm_id, request) VALUES (%s, %s)", (listed.firm, listed.request))
    parts = parts_of(c)
    away = replace(parts, settings=parts.settings.model_copy(update={"kafka_bootstrap": "127.0.0.1:9"}))
    await purge_again(away, [listed])
    assert scalar(c.database, begun) == 1
    await purge_again(parts, [listed])
    assert scalar(c.database, begun) == 0


async def until_request(house: House, request: str, there: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    until = time.monotonic() + 3 * PATIENCE
    while True:
        got: dict[str, Any] = (await house.client.get(f"/v1/privacy_requests/{request}")).json()
        if there(got):
            return got
        assert time.monotonic() < until, got
        await asyncio.sleep(0.3)
