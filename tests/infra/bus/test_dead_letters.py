"""Events that a group can't handle: kept with the reason and where they came from, replayed to that group alone, given up."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any, cast
from uuid import uuid4

import psycopg
import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from domain.kernel import Refused
from infra.bus import dead_letters, positions
from infra.bus.dead_letters import NoSuchLetter
from infra.bus.handling import Handling
from infra.bus.metrics import Metrics
from infra.bus.positions import NoSuchGroup
from infra.bus.subscription import Delivered, Reject, Retry, Subscription
from infra.bus.topics import Names
from infra.database import Database
from infra.settings import Settings
from tests.infra.bus.consuming import (
    Topic,
    a_prefix,
    consuming,
    firms,
    handled_digest,
    poisoned,
    record_digest,
    tables,
    until,
    with_kafka,
    writing,
)
from tests.infra.bus.test_consumer import Bus, caught_up
from tests.infra.writing import scalar


@pytest.fixture(params=["embedded", "kafka"])
def bus(request: pytest.FixtureRequest, settings: Settings, database: Database) -> Iterator[Bus]:
    tables(database)
    group = f"g{uuid4().hex[:8]}"
    if request.param == "embedded":
        yield Bus("embedded", settings, database, lambda: None, group)
    else:
        prefix = a_prefix()
        topic = Topic(request.getfixturevalue("kafka"), prefix)
        yield Bus("kafka", with_kafka(settings, topic.bootstrap, prefix), database, lambda: topic.publish(database), group)
    poisoned(database)
    with database.connect("record") as c:
        c.execute("DELETE FROM chancery.bus_groups WHERE name LIKE %s", (f"{group}%",))


def letters(bus: Bus, group: str | None = None) -> list[dead_letters.Letter]:
    with bus.database.connect("record") as c:
        return dead_letters.letters(c, group or bus.group)


def shown(bus: Bus) -> dict[str, dict[str, str]]:
    """What the dead-letter topic says now, by key; headers as text."""
    name = Names(bus.settings.kafka_prefix).dead_letters
    reader = Consumer(
        {
            "bootstrap.servers": bus.settings.kafka_bootstrap,
            "group.id": str(uuid4()),
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    found: dict[str, dict[str, str]] = {}
    try:
        parts = reader.list_topics(name, timeout=10).topics[name].partitions
        reader.assign([TopicPartition(name, p, 0) for p in parts])
        open_ends = set(parts)
        while open_ends:
            m = reader.poll(10)
            assert m is not None
            if (error := m.error()) is not None:
                assert error.code() == KafkaError._PARTITION_EOF, error
                open_ends.discard(m.partition())
                continue
            key = (m.key() or b"").decode()
            if (value := m.value()) is None:
                found.pop(key, None)
            else:
                headers = cast("list[tuple[str, bytes]]", m.headers())
                found[key] = {k: v.decode() for k, v in headers} | {"value": value.decode()}
    finally:
        reader.close()
    return found


@pytest.mark.invariant("CS10")
def test_an_event_that_fails_too_often_is_put_aside_with_all_that_is_needed_and_the_others_go_on(bus: Bus) -> None:
    one = firms(1)
    bus.write(one, 4)
    bus.write(one, 1, type="tests.Broken.v1")
    bus.write(one, 4)
    poisoned(bus.database, "tests.Broken.v1")
    with consuming(writing(bus.group, firms=frozenset(one)), bus.settings, bus.database):
        until(lambda: caught_up(bus))
    (letter,) = letters(bus)
    assert (letter.firm, letter.firm_position, letter.type, letter.attempts, letter.error) == (
        one[0],
        4,
        "tests.Broken.v1",
        3,
        "Poisoned",
    )
    assert letter.reason is None, "what an exception says may name a person"
    assert letter.trace[-1].startswith("consuming.py:")
    assert letter.place["source"] in {"topic", "store"}
    kept = scalar(
        bus.database, "SELECT array_agg(firm_position ORDER BY n) FROM views.tests_handled WHERE group_name = %s", bus.group
    )
    assert kept == [0, 1, 2, 3, 5, 6, 7, 8]


@pytest.mark.invariant("CS16")
def test_a_poisoned_handler_that_was_mended_is_given_its_dead_letters_again_and_nobody_else_is(bus: Bus) -> None:
    known = firms(2)
    other = f"{bus.group}-other"
    bus.write(known, 10)
    bus.write(known, 3, type="tests.Broken.v1")
    bus.write(known, 10)
    with consuming(writing(other, firms=frozenset(known)), bus.settings, bus.database):
        until(lambda: handled_digest(bus.database, other) == record_digest(bus.database, known))
    poisoned(bus.database, "tests.Broken.v1")
    with consuming(writing(bus.group, firms=frozenset(known)), bus.settings, bus.database):
        until(lambda: caught_up(bus))
        assert len(letters(bus)) == 6
        with bus.database.connect("record") as c:
            dead_letters.replay(c, bus.group)
        until(lambda: [(n.state, n.attempts, n.replays) for n in letters(bus)] == [("dead", 6, 1)] * 6)
        poisoned(bus.database)  # mended
        with bus.database.connect("record") as c:
            assert len(dead_letters.replay(c, bus.group, [letters(bus)[0].event_id])) == 1
            until(lambda: len(letters(bus)) == 5)
            assert len(dead_letters.replay(c, bus.group)) == 5
        until(lambda: not letters(bus))
    sql = "SELECT array_agg(event_id ORDER BY firm_id, firm_position) FROM {} WHERE firm_id = ANY(%s)"
    wanted = scalar(bus.database, sql.format("record.events"), known)
    assert scalar(bus.database, f"{sql.format('views.tests_handled')} AND group_name = %s", known, bus.group) == wanted
    assert handled_digest(bus.database, other) == record_digest(bus.database, known)


def test_who_rejects_an_event_is_not_asked_again_and_may_say_why(bus: Bus) -> None:
    class NotOurs(Refused):
        """This firm keeps its books elsewhere."""

    one = firms(1)
    subscription, asked = Subscription(bus.group, firms=frozenset(one), retry=Retry(tries=2, first=0.01, most=0.01)), []

    @subscription.on()
    def handle(_c: psycopg.Connection[Any], event: Delivered) -> None:
        asked.append(event.firm_position)
        if event.firm_position == 0:
            raise Reject("There is no such account.")
        if event.firm_position == 1:
            raise NotOurs

    bus.write(one, 3)
    with consuming(subscription, bus.settings, bus.database):
        until(lambda: caught_up(bus))
    assert asked == [0, 1, 1, 2]
    assert [(n.error, n.reason, n.attempts) for n in letters(bus)] == [
        ("Reject", "There is no such account.", 1),
        ("NotOurs", "This firm keeps its books elsewhere.", 2),
    ]


def test_a_letter_can_be_given_up(bus: Bus) -> None:
    one = firms(1)
    bus.write(one, 3, type="tests.Broken.v1")
    poisoned(bus.database, "tests.Broken.v1")
    with consuming(writing(bus.group, firms=frozenset(one)), bus.settings, bus.database):
        until(lambda: caught_up(bus))
        first, *_ = letters(bus)
        with bus.database.connect("record") as c:
            assert dead_letters.drop(c, bus.group, [first.event_id]) == [first.event_id]
            assert [n.firm_position for n in letters(bus)] == [1, 2]
            with pytest.raises(NoSuchLetter):
                dead_letters.drop(c, bus.group, [first.event_id])
            with pytest.raises(NoSuchLetter):
                dead_letters.replay(c, bus.group, [first.event_id])
            with pytest.raises(NoSuchGroup):
                dead_letters.replay(c, "nobody")
            assert len(dead_letters.drop(c, bus.group)) == 2
        assert letters(bus) == []
        until(lambda: scalar(bus.database, "SELECT count(*) FROM chancery.bus_dead_letters WHERE group_name = %s", bus.group) == 0)


def test_letters_of_what_is_handled_when_the_group_is_set_back_are_settled(bus: Bus) -> None:
    one = firms(1)
    bus.write(one, 2)
    bus.write(one, 2, type="tests.Broken.v1")
    poisoned(bus.database, "tests.Broken.v1")
    with consuming(writing(bus.group, firms=frozenset(one)), bus.settings, bus.database):
        until(lambda: caught_up(bus) and len(letters(bus)) == 2)
        poisoned(bus.database)
        with bus.database.connect("record") as c:
            positions.replay(c, bus.group, 1)
        until(lambda: caught_up(bus) and not letters(bus))
    kept = scalar(
        bus.database, "SELECT array_agg(firm_position ORDER BY n) FROM views.tests_handled WHERE group_name = %s", bus.group
    )
    assert kept == [0, 1, 0, 1, 2, 3]


def test_a_letter_of_an_event_to_which_the_group_comes_again_by_itself_is_not_handled_twice(bus: Bus) -> None:
    one = firms(1)
    subscription = writing(bus.group, firms=frozenset(one))
    bus.write(one, 1, type="tests.Broken.v1")
    poisoned(bus.database, "tests.Broken.v1")
    with consuming(subscription, bus.settings, bus.database):
        until(lambda: caught_up(bus) and len(letters(bus)) == 1)
    poisoned(bus.database)
    handling = Handling(subscription, None, Metrics(), threading.Event())
    with bus.database.connect("record") as c:
        positions.replay(c, bus.group, 1)
        (event,) = dead_letters.replay(c, bus.group)
        assert handling.replay(c, one[0], event)
    assert letters(bus) == []
    with consuming(subscription, bus.settings, bus.database):
        until(lambda: caught_up(bus))
    assert handled_digest(bus.database, bus.group) == record_digest(bus.database, one)


@pytest.mark.invariant("CS18")
def test_the_dead_letter_topic_says_what_the_table_says(settings: Settings, database: Database, kafka: str) -> None:
    tables(database)
    prefix, group, one = a_prefix(), f"g{uuid4().hex[:8]}", firms(1)
    topic = Topic(kafka, prefix)
    bus = Bus("kafka", with_kafka(settings, kafka, prefix), database, lambda: topic.publish(database), group)
    bus.write(one, 2, type="tests.Broken.v1")
    poisoned(database, "tests.Broken.v1")
    with consuming(writing(group, firms=frozenset(one)), bus.settings, database):
        until(
            lambda: (
                caught_up(bus)
                and scalar(database, "SELECT bool_and(published) FROM chancery.bus_dead_letters WHERE group_name = %s", group)
            )
        )
        seen = shown(bus)
        first, second = letters(bus)
        assert seen.keys() == {f"{group}/{first.event_id}", f"{group}/{second.event_id}"}
        told = seen[f"{group}/{first.event_id}"]
        assert told["ce_type"] == "tests.Broken.v1"
        assert told["dead_error"] == "Poisoned"
        assert told["dead_attempts"] == "3"
        place = json.loads(told["dead_place"])
        assert (place["source"], place["topic"]) == ("topic", topic.name)
        assert place["offset"] >= 0
        assert json.loads(told["value"]) == {"n": 1}
        assert "ce_sealed" not in told
        poisoned(database)
        with database.connect("record") as c:
            dead_letters.replay(c, group, [first.event_id])
            dead_letters.drop(c, group, [second.event_id])
        until(lambda: scalar(database, "SELECT count(*) FROM chancery.bus_dead_letters WHERE group_name = %s", group) == 0)
    assert shown(bus) == {}


def test_a_replayed_letter_that_hangs_its_handler_dies_again(bus: Bus) -> None:
    one = firms(1)
    subscription = Subscription(bus.group, firms=frozenset(one), seconds=0.2, retry=Retry(tries=1))

    @subscription.on()
    def handle(c: psycopg.Connection[Any], event: Delivered) -> None:
        if event.firm_position == 1:
            time.sleep(0.6)
            c.execute("SELECT 1")

    bus.write(one, 3)
    with consuming(subscription, bus.settings, bus.database):
        until(lambda: caught_up(bus) and len(letters(bus)) == 1)
        with bus.database.connect("record") as c:
            dead_letters.replay(c, bus.group)
        until(lambda: [(n.state, n.attempts) for n in letters(bus)] == [("dead", 2)])


@pytest.mark.invariant("CS17")
def test_a_dead_letter_holds_no_value_of_the_event() -> None:
    with pytest.raises(ValueError, match="Ada") as raised:
        raise ValueError("Ada Lovelace")
    assert dead_letters.reason(raised.value) is None
    assert "Ada" not in str(dead_letters.trace(raised.value))
