"""The relay publishes the record once and in order, goes on where it was, notices what is gone, and stops where it must."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from infra.bus import topics
from infra.bus.batches import Batch, Batches, Ready
from infra.bus.connection import NoKafka, WrongKafkaSettings, client
from infra.bus.messages import OPTIONAL, encode
from infra.bus.publishing import Publisher, leaf_at, producer_of
from infra.bus.relay import Relay, healed
from infra.bus.standing import Standing, Tail, live_topic, read_control, read_tails, reading
from infra.bus.topics import Names, find
from infra.database import Database
from infra.record.appender import Appender
from infra.record.codec import canonical
from infra.record.reader import FOREIGN, read_after
from infra.settings import Settings
from tests.infra.bus.relaying import (
    FIRMS,
    SEALED,
    an_append,
    assert_published_once_and_in_order,
    beyond,
    caught_up,
    head,
    published,
    shown,
    until,
    write,
    writing,
)

_numbers = count(1)


@pytest.fixture
def settings(kafka: str, fresh: Database, tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, kafka_bootstrap=kafka, kafka_prefix=f"t{time.time_ns()}-{next(_numbers)}", kafka_partitions=3)


@pytest.fixture
def admin(settings: Settings) -> AdminClient:
    return AdminClient(client(settings))


@contextmanager
def relaying(settings: Settings, database: Database, **how: float) -> Iterator[Callable[[], None]]:
    """A relay in a thread; what is yielded ends it."""
    stop = threading.Event()
    relay = Relay(settings, database, **{"lease": 3.0, "again": 0.3, "batch": 40, **how})  # type: ignore[arg-type]
    thread = threading.Thread(target=relay.run, args=(stop,))
    thread.start()

    def end() -> None:
        stop.set()
        thread.join()

    try:
        yield end
    finally:
        end()


def relayed(settings: Settings, database: Database) -> None:
    """Run a relay until it has published everything."""
    with relaying(settings, database):
        caught_up(database)


@pytest.mark.invariant("BUS9")
def test_every_event_is_published_once_whole_and_in_its_firms_order(
    settings: Settings, fresh: Database, appender: Appender
) -> None:
    write(appender, 700, each=7, sealed=SEALED, origin="import/7")
    with relaying(settings, fresh):
        caught_up(fresh)
        with writing(fresh):
            time.sleep(1)
        caught_up(fresh)
    last = assert_published_once_and_in_order(settings, fresh)
    assert last > 700
    assert len({partition for partition, _ in published(settings)}) > 1


@pytest.mark.invariant("BUS9")
def test_a_relay_that_is_started_again_goes_on_where_kafka_says(settings: Settings, fresh: Database, appender: Appender) -> None:
    for _ in range(3):
        write(appender, 90, each=9)
        relayed(settings, fresh)
        with psycopg.connect(fresh.admin_conninfo(), autocommit=True) as c:
            c.execute("UPDATE chancery.projections SET position = 1 WHERE name = 'relay'")  # only shows; nothing rests on it
    assert assert_published_once_and_in_order(settings, fresh) == 270


def test_what_is_recorded_is_published_soon(settings: Settings, fresh: Database, appender: Appender) -> None:
    with relaying(settings, fresh):
        until(lambda: live_topic(settings) is not None)
        write(appender, 10)
        caught_up(fresh)
        took = []
        for _ in range(20):
            started = time.monotonic()
            last = appender.append_now(an_append(FIRMS[0])).position
            until(beyond(fresh, last - 1))
            took.append(time.monotonic() - started)
    assert sorted(took)[10] < 1.0


@pytest.mark.invariant("BUS10")
def test_of_two_relays_one_works_and_the_other_takes_over(settings: Settings, fresh: Database, appender: Appender) -> None:
    with relaying(settings, fresh) as end_first:
        write(appender, 50)
        caught_up(fresh)
        with relaying(settings, fresh), writing(fresh):
            time.sleep(1)
            end_first()
            before = head(fresh)
            until(lambda: shown(fresh)["position"] > before + 20)
        write(appender, 5)
    relayed(settings, fresh)
    assert_published_once_and_in_order(settings, fresh)


@pytest.mark.invariant("BUS10")
def test_relays_that_know_nothing_of_each_other_are_fenced_and_write_nothing_twice(
    settings: Settings, fresh: Database, appender: Appender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.bus.lease.Lease.take", lambda *_: True)
    with writing(fresh), relaying(settings, fresh), relaying(settings, fresh), relaying(settings, fresh):
        time.sleep(6)
    monkeypatch.undo()
    relayed(settings, fresh)
    assert_published_once_and_in_order(settings, fresh)


@pytest.mark.invariant("BUS9")
@pytest.mark.parametrize("committed", [True, False])
def test_after_a_timeout_another_producer_goes_on_where_kafka_stands(
    settings: Settings, fresh: Database, appender: Appender, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """Nobody knows of a transaction whose end was not heard of whether it stands."""
    write(appender, 200)
    publish = Publisher.publish
    used: list[Any] = []
    unknown: list[int] = []

    def unheard(self: Publisher, batch: Batch, **how: Any) -> None:
        used.append(self._producer)
        fails = batch.reached > self.position and len(unknown) < 3
        if committed or not fails:
            publish(self, batch, **how)
        if fails:
            unknown.append(len(used))
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    monkeypatch.setattr(Publisher, "publish", unheard)
    with relaying(settings, fresh, batch=50):
        caught_up(fresh)
    assert len(unknown) == 3
    assert all(used[n - 1] not in used[n:] for n in unknown), "a producer was used after it had timed out"
    assert_published_once_and_in_order(settings, fresh)


@pytest.mark.invariant("BUS11")
def test_a_relay_that_is_ahead_of_the_record_stops_and_says_so(
    settings: Settings, fresh: Database, appender: Appender, another: Database
) -> None:
    write(appender, 60)
    relayed(settings, fresh)
    with relaying(settings, another):
        until(lambda: shown(another)["stopped_at"] is not None)
    said = shown(another)["error"]
    assert "up to position 60" in said
    assert "ends at 0" in said
    assert "rebuild" in said
    assert len(published(settings)) == 60


@pytest.mark.invariant("BUS11")
def test_a_relay_of_another_history_stops_and_goes_on_when_its_history_is_published(
    settings: Settings, fresh: Database, appender: Appender, another: Database
) -> None:
    write(appender, 60)
    relayed(settings, fresh)
    other = Appender(another)
    write(other, 90)
    other.close()
    with relaying(settings, another):
        until(lambda: shown(another)["stopped_at"] is not None)
        assert "another event at position" in shown(another)["error"]
        assert len(published(settings)) == 60
        assert Relay(settings, another).rebuild() == 90
        until(lambda: shown(another)["stopped_at"] is None)
    assert_published_once_and_in_order(settings, another)


@pytest.mark.invariant("BUS4")
def test_a_rebuild_fills_the_next_generation_while_the_relay_works_and_loses_nothing(
    settings: Settings, fresh: Database, appender: Appender
) -> None:
    write(appender, 400)
    told: list[tuple[int, int]] = []
    with relaying(settings, fresh), writing(fresh):
        until(lambda: shown(fresh)["position"] >= 400)
        before = published(settings)
        first = live_topic(settings)
        reached = Relay(settings, fresh, batch=400).rebuild(progress=lambda done, whole: told.append((done, whole)))
        second = live_topic(settings)
        until(lambda: shown(fresh)["position"] > reached + 20)
    assert (first, second) == (f"{settings.kafka_prefix}.events.1", f"{settings.kafka_prefix}.events.2")
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == reached >= 400
    relayed(settings, fresh)
    assert_published_once_and_in_order(settings, fresh)
    again = {m.position: m.event_id for _, m in published(settings)}
    assert all(again[m.position] == m.event_id for _, m in before)
    assert first is not None
    assert published(settings, first)
    assert Relay(settings, fresh).remove_old() == [first]
    assert find(AdminClient(client(settings)), [first]) == {}


@pytest.mark.invariant("BUS2")
def test_what_was_erased_is_not_in_the_next_generation(settings: Settings, fresh: Database, appender: Appender) -> None:
    write(appender, 20, sealed=SEALED)
    relayed(settings, fresh)
    assert {m.sealed for _, m in published(settings)} == {SEALED}
    digest = Relay(settings, fresh).digest()
    with fresh.connect("record") as c:
        c.execute("UPDATE record.events SET sealed = NULL")
    Relay(settings, fresh).rebuild()
    assert {m.sealed for _, m in published(settings)} == {None}
    assert Relay(settings, fresh).digest() == digest


@pytest.mark.invariant("BUS12")
@pytest.mark.parametrize("what", ["events", "control", "both", "made anew"])
def test_what_was_deleted_is_noticed_and_published_again_with_the_same_ids(
    settings: Settings, fresh: Database, appender: Appender, admin: AdminClient, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr("infra.bus.relay.LOOK", 0.5)
    names = Names(settings.kafka_prefix)
    write(appender, 120)
    with relaying(settings, fresh, patience=3.0):
        caught_up(fresh)
        before = {m.position: m.event_id for _, m in published(settings)}
        gone = {"events": [names.events(1)], "control": [names.control], "made anew": [names.events(1)]}
        topics.delete(admin, gone.get(what, [names.events(1), names.control]))
        if what == "made anew":
            until(lambda: names.events(1) not in admin.list_topics(timeout=5).topics)
            admin.create_topics([NewTopic(names.events(1), 3, 1)])[names.events(1)].result(10)
        write(appender, 30)

        def whole() -> bool:
            live = live_topic(settings)
            return live is not None and live != names.events(1) and live in topics.generations(admin, names).values()

        if what != "both":
            until(whole)
        until(lambda: find(admin, [names.control]) != {} and live_topic(settings) is not None)
        until(lambda: len(published(settings)) == 150)
    assert assert_published_once_and_in_order(settings, fresh) == 150
    again = {m.position: m.event_id for _, m in published(settings)}
    assert all(again[position] == id for position, id in before.items())


def test_events_with_megabytes_of_sealed_values_are_published_a_few_at_a_time(
    settings: Settings, fresh: Database, appender: Appender
) -> None:
    large = b'[["00000000000000000000000000000001","' + b"c2Vh" * 750_000 + b'"]]'
    for _ in range(5):
        appender.append_now(an_append(FIRMS[0], 2, sealed=large))
    write(appender, 20)
    with Batches(fresh, 3) as batches:
        sizes, position = [], 0
        while (batch := batches.after(position)).reached > position:
            sizes.append(len(list(batch.messages)))
            position = batch.reached
    assert sizes == [2, 2, 2, 2, 22]
    relayed(settings, fresh)
    assert assert_published_once_and_in_order(settings, fresh) == 30
    assert sum(m.sealed == large for _, m in published(settings)) == 10


def write_leaf(appender: Appender, public: bytes, **how: Any) -> None:
    """One event with this public part."""
    made = an_append(FIRMS[0], sealed=how.pop("sealed", None))
    events = [e._replace(public=public, **how) for e in made.events]
    appender.append_now(replace(made, events=events, expected={(e.stream_type, e.stream_id): 0 for e in events}))


def write_bad(appender: Appender, public: bytes = b"{}") -> None:
    """One event that can't be published."""
    write_leaf(appender, public)


TREACHEROUS = [
    '","id":"',
    '},"id":"x',
    ',"data":{',
    '"}',
    "\\",
    '\\"},"id":"',
    "a,",
    "\N{PILE OF POO}",
    "\u2028\u0001\t",
    "null",
    "",
    "\\u0000",
]


@pytest.mark.invariant("BUS1")
def test_messages_are_those_of_the_rows_whatever_their_leaves_hold(fresh: Database, appender: Appender) -> None:
    write(appender, 3)
    for n, text in enumerate(TREACHEROUS):
        leaf = orjson.loads(an_append(FIRMS[0]).events[0].public)
        leaf |= {
            "actor": text,
            "data": {text or "empty": [text, None, n, {"id": text, "data": {}}]},
            "time": "2020-01-05T09:00:00.000000Z",
        }
        leaf |= {name: text + name for m, name in enumerate(sorted(OPTIONAL)) if n >> m & 1}
        write_leaf(appender, canonical(leaf), sealed=SEALED if n % 2 else None)
        write_leaf(appender, b"\x80\x04 of another application", stream_type=FOREIGN)
    with Batches(fresh, 7) as batches, fresh.connect("record") as c:
        batch = batches.after(0)
        assert not isinstance(batch.messages, list)  # the server could take all of them apart
        made = [(value, dict(headers), key, millis, position) for value, headers, key, _, millis, position in batch.messages]
        rows = [r for r in read_after(c, 0, 1_000) if r.stream_type != FOREIGN]
    assert (batch.poison, batch.reached, len(made)) == (None, 3 + 2 * len(TREACHEROUS), 3 + len(TREACHEROUS))
    for (value, headers, key, millis, position), row in zip(made, rows, strict=True):
        of_row = encode(row)
        assert {name: text if isinstance(text, bytes) else text.encode() for name, text in headers.items()} == dict(of_row.headers)
        assert (value.encode() if isinstance(value, str) else value, key) == (of_row.value, of_row.key)
        assert (millis, position) == (of_row.timestamp, row.position)


@pytest.mark.parametrize("public", [b"{}", b"\x80", b"[]", b'{"actor":"x","data":{},"id":"y"}', b'{"actor":"\\u0000"}'])
def test_what_stands_before_an_event_that_cannot_be_published_is_published(
    fresh: Database, appender: Appender, public: bytes
) -> None:
    write(appender, 120)
    write_bad(appender, public)
    write(appender, 5)
    told: list[int] = []
    with Batches(fresh, 7) as batches:
        while True:
            batch = batches.after(told[-1] if told else 0)
            told += [position for *_, position in batch.messages]
            if batch.poison is not None:
                break
    assert told == list(range(1, 121))
    assert (batch.poison.position, batch.reached) == (121, 120)
    with fresh.connect("record") as c:
        assert batch.leaf_hash == leaf_at(c, [120])[120]


def test_batches_read_ahead_give_what_was_recorded_since(fresh: Database, appender: Appender) -> None:
    told: list[int] = []
    with Batches(fresh, 7, most=10) as batches:
        for grown in (10, 20, 5, 15, 0, 30):
            write(appender, grown)
            for _ in range(3):
                batch = batches.after(told[-1] if told else 0)
                told += [position for *_, position in batch.messages]
        while (batch := batches.after(told[-1])).reached > told[-1]:
            told += [position for *_, position in batch.messages]
    assert told == list(range(1, 81))


def test_an_event_that_cannot_be_published_stops_the_relay_at_its_position(
    settings: Settings, fresh: Database, appender: Appender
) -> None:
    write(appender, 10)
    write_bad(appender)
    write(appender, 10)
    with relaying(settings, fresh):
        until(lambda: shown(fresh)["stopped_at"] is not None)
    stood = shown(fresh)
    assert (stood["position"], stood["stopped_at"]) == (10, 11)
    assert "position 11" in stood["error"]
    assert len(published(settings)) == 10


def test_a_new_generation_goes_up_to_an_event_that_cannot_be_published_and_serves(
    settings: Settings, fresh: Database, appender: Appender
) -> None:
    write(appender, 12)
    write_bad(appender)
    write(appender, 30)
    relay = Relay(settings, fresh, batch=5)
    assert relay.rebuild() == 12
    assert len(published(settings)) == 12
    assert relay.digest() == relay.record_digest(12)


@pytest.mark.invariant("BUS8")
def test_events_that_are_there_and_were_not_noted_are_not_published_twice(
    settings: Settings, fresh: Database, appender: Appender, admin: AdminClient
) -> None:
    write(appender, 60)
    relayed(settings, fresh)
    write(appender, 60)
    names = Names(settings.kafka_prefix)
    producer = producer_of(settings, names.relay, 30, 10)
    with reading(settings) as consumer:
        standing = read_control(consumer, names).standings[1]
    found = find(admin, [names.events(1)])[names.events(1)]
    with Batches(fresh, found.partitions, most=35) as batches:
        torn = Publisher(producer, names, 1, found, standing.position, dict(standing.tails), 10)
        torn.publish(batches.after(60), noted=False)
    del producer, torn
    relayed(settings, fresh)
    assert assert_published_once_and_in_order(settings, fresh) == 120


@pytest.mark.invariant("BUS6")
def test_events_that_were_noted_and_are_not_there_are_published(
    settings: Settings, fresh: Database, appender: Appender, admin: AdminClient
) -> None:
    write(appender, 60)
    relayed(settings, fresh)
    write(appender, 60, each=5)
    names = Names(settings.kafka_prefix)
    producer = producer_of(settings, names.relay, 30, 10)
    with reading(settings) as consumer:
        standing = read_control(consumer, names).standings[1]
    found = find(admin, [names.events(1)])[names.events(1)]
    with Batches(fresh, found.partitions) as batches:
        lost = Publisher(producer, names, 1, found, standing.position, dict(standing.tails), 10)
        batch = batches.after(60)
        whole: dict[int, int] = {}

        def kept() -> Iterator[Ready]:
            for message in batch.messages:
                whole[message[3]] = message[5]
                if message[3] == 0:
                    yield message

        lost.publish(Batch(kept(), 120, full=False), noted=False)
        lost._floors.update(whole)
        lost.publish(Batch((), 120, full=False, leaf_hash=batch.leaf_hash))
    del producer, lost
    with reading(settings) as consumer:
        assert read_control(consumer, names).standings[1].position == 120
    relayed(settings, fresh)
    assert assert_published_once_and_in_order(settings, fresh) == 120


@pytest.mark.invariant("BUS6")
def test_transactions_that_were_given_up_are_looked_past(
    settings: Settings, fresh: Database, appender: Appender, admin: AdminClient
) -> None:
    write(appender, 30)
    relayed(settings, fresh)
    names = Names(settings.kafka_prefix)
    producer = producer_of(settings, names.relay, 30, 10)
    for _ in range(3):
        producer.begin_transaction()
        for n in range(60):
            producer.produce(names.events(1), b"{}", b"x", n % 3)
        producer.flush(10)
        producer.abort_transaction(10)
    del producer
    with reading(settings) as consumer:
        tails = read_tails(consumer, names.events(1), 3)
    assert max(t.position for t in tails.values()) == 30
    write(appender, 30)
    relayed(settings, fresh)
    assert assert_published_once_and_in_order(settings, fresh) == 60


positions = st.integers(0, 40)


@given(noted=st.dictionaries(st.integers(0, 3), positions), there=st.dictionaries(st.integers(0, 3), positions), position=positions)
def test_going_on_never_repeats_what_is_there_nor_passes_over_what_is_not(
    noted: dict[int, int], there: dict[int, int], position: int
) -> None:
    position = max([position, *noted.values()])
    standing = Standing(generation=1, topic="t", topic_id="i", partitions=4, position=position, leaf_hash="", tails=noted)
    start, floors = healed(standing, {p: Tail(there.get(p, 0), "", emptied=False) for p in range(4)})
    for p in range(4):
        assert floors.get(p, 0) == there.get(p, 0)
        if there.get(p, 0) < noted.get(p, 0):
            assert start <= there.get(p, 0)
    assert start <= position


def test_a_partition_that_retention_has_emptied_is_not_filled_again() -> None:
    standing = Standing(generation=1, topic="t", topic_id="i", partitions=2, position=9, leaf_hash="", tails={0: 7, 1: 9})
    assert healed(standing, {0: Tail(0, "", emptied=True), 1: Tail(9, "", emptied=False)}) == (9, {0: 7, 1: 9})


def set_config(admin: AdminClient, topic: str, key: str, value: str) -> None:
    entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(10)
    asked = ConfigResource(ResourceType.TOPIC, topic)
    until(lambda: admin.describe_configs([asked])[asked].result(10)[key].value == value)  # brokers follow what was altered


def test_a_topic_that_would_lose_events_is_refused_with_what_to_do(
    settings: Settings, fresh: Database, appender: Appender, admin: AdminClient
) -> None:
    topic = topics.ensure(admin, topics.events(settings, 1))[0].name
    relayed(settings, fresh)
    topic = live_topic(settings) or topic
    set_config(admin, topic, "cleanup.policy", "compact")
    write(appender, 10)
    with relaying(settings, fresh):
        until(lambda: shown(fresh)["error"] is not None)
        said = shown(fresh)["error"]
        assert f"{topic} has cleanup.policy=compact" in said
        assert "kafka-configs.sh --alter" in said
        assert published(settings) == []
        set_config(admin, topic, "cleanup.policy", "delete")
        caught_up(fresh)
    assert shown(fresh)["error"] is None
    assert_published_once_and_in_order(settings, fresh)


def test_more_partitions_than_before_stop_the_relay_until_a_rebuild(
    settings: Settings, fresh: Database, appender: Appender, admin: AdminClient
) -> None:
    write(appender, 10)
    relayed(settings, fresh)
    topic = live_topic(settings) or ""
    admin.create_partitions([NewPartitions(topic, 5)])[topic].result(10)
    write(appender, 10)
    with relaying(settings, fresh):
        until(lambda: shown(fresh)["error"] is not None)
        assert "had 3 partitions and has 5" in shown(fresh)["error"]
        Relay(settings, fresh).rebuild()
        until(lambda: shown(fresh)["error"] is None)
    assert_published_once_and_in_order(settings, fresh)


def test_topics_are_made_as_the_settings_say_and_differences_are_told(settings: Settings, admin: AdminClient) -> None:
    asked = settings.model_copy(update={"kafka_retention_days": 7})
    found, said = topics.ensure(admin, topics.events(asked, 1))
    assert said == []
    assert (found.partitions, found.copies) == (3, 1)
    assert found.config["retention.ms"] == str(7 * 86_400_000)
    assert topics.ensure(admin, topics.control(asked))[0].config["cleanup.policy"] == "compact"
    _, said = topics.ensure(admin, topics.events(settings.model_copy(update={"kafka_partitions": 6, "kafka_replication": 2}), 1))
    assert len(said) == 3
    assert "retention.ms=604800000; the settings ask for -1" in said[0]
    assert "3 partitions; the settings ask for 6" in said[1]
    assert "kept in 1 copies; the settings ask for 2" in said[2]


def test_more_copies_than_brokers_are_refused_with_what_to_do(settings: Settings, admin: AdminClient) -> None:
    with pytest.raises(topics.TopicUnfit, match="CHANCERY_KAFKA_REPLICATION"):
        topics.ensure(admin, topics.events(settings.model_copy(update={"kafka_replication": 3}), 1))


def test_a_relay_without_kafka_shows_why_and_catches_up_when_it_comes(
    settings: Settings, fresh: Database, appender: Appender, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(appender, 10)
    monkeypatch.setattr(topics, "PATIENCE", 1.0)
    nowhere = settings.model_copy(update={"kafka_bootstrap": "127.0.0.1:9"})
    with relaying(nowhere, fresh, patience=1.0):
        until(lambda: shown(fresh)["error"] is not None)
    monkeypatch.undo()
    assert shown(fresh)["error"].startswith("Kafka:")
    relayed(settings, fresh)
    assert shown(fresh)["error"] is None
    assert_published_once_and_in_order(settings, fresh)


def test_signing_in_and_encryption_follow_the_settings(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("x")
    given = Settings(data=tmp_path, kafka_bootstrap="a:1,b:2", kafka_user="u", kafka_password=SecretStr("p"), kafka_ca=ca)
    made = client(given)
    assert (made["security.protocol"], made["sasl.mechanism"], made["sasl.username"], made["sasl.password"]) == (
        "sasl_ssl",
        "SCRAM-SHA-512",
        "u",
        "p",
    )
    assert (made["ssl.ca.location"], made["ssl.endpoint.identification.algorithm"]) == (str(ca), "https")
    plain = {"kafka_user": None, "kafka_password": None, "kafka_ca": None}
    assert client(given.model_copy(update=plain))["security.protocol"] == "plaintext"
    assert client(given.model_copy(update=plain | {"kafka_ca": ca}))["security.protocol"] == "ssl"
    assert client(given.model_copy(update={"kafka_ca": None}))["security.protocol"] == "sasl_plaintext"
    with pytest.raises(WrongKafkaSettings, match="go together"):
        client(given.model_copy(update={"kafka_password": None}))
    with pytest.raises(WrongKafkaSettings, match="no file"):
        client(given.model_copy(update={"kafka_ca": tmp_path / "none"}))
    with pytest.raises(NoKafka):
        client(given.model_copy(update={"kafka_bootstrap": None}))
