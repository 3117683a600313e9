"""`chancery bus`: what the bus carries, how far its consumers are, dead letters and replays, in words and as JSON, with Kafka and without."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from confluent_kafka.admin import AdminClient
from typer.testing import Result

from infra.bus import tailing, topics
from infra.bus.connection import client
from infra.bus.publishing import producer_of
from infra.bus.standing import live_topic
from infra.database import Database
from infra.settings import Settings
from tests import calling
from tests.calling import at_home
from tests.infra.bus.consuming import Topic, a_prefix, consuming, firms, poisoned, tables, until, with_kafka, writing
from tests.infra.bus.test_consumer import Bus, caught_up
from tests.infra.writing import scalar


@pytest.fixture(params=["embedded", "kafka"])
def bus(request: pytest.FixtureRequest, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    tables(database)
    at_home(monkeypatch, database, settings.data)
    group = f"g{uuid4().hex[:8]}"
    if request.param == "embedded":
        yield Bus("embedded", settings, database, lambda: None, group)
    else:
        prefix = a_prefix()
        topic = Topic(request.getfixturevalue("kafka"), prefix)
        topic.live()
        monkeypatch.setenv("CHANCERY_KAFKA_BOOTSTRAP", topic.bootstrap)
        monkeypatch.setenv("CHANCERY_KAFKA_PREFIX", prefix)
        topic.publish(database)
        yield Bus("kafka", with_kafka(settings, topic.bootstrap, prefix), database, lambda: topic.publish(database), group)
    with database.connect("record") as c:
        c.execute("DELETE FROM chancery.bus_groups")


def call(*words: object) -> Result:
    return calling.call("bus", *words)


def answer(*words: object, code: int = 0) -> Any:
    done = call(*words, "--json")
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def tailed(*words: object) -> list[dict[str, Any]]:
    done = call("tail", "--no-follow", "--json", *words)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def some(bus: Bus, known: list[UUID], **how: Any) -> int:
    """Two events of each; the position of the first."""
    before = scalar(bus.database, "SELECT position FROM record.head")
    bus.write(known, 2, **how)
    return int(before) + 1


def test_tail_shows_events_of_a_type_a_firm_a_stream_from_a_position_and_from_a_time(bus: Bus) -> None:
    ours, theirs = firms(2)
    begin = some(bus, [ours, theirs])
    middle = scalar(bus.database, "SELECT clock_timestamp()").isoformat()
    some(bus, [ours, theirs], type="tests.Other.v1")
    everything = tailed("--from", begin)
    assert [e["position"] for e in everything] == list(range(begin, begin + 8))
    for firm in (ours, theirs):
        of_firm = [e["position"] for e in everything if str(firm) in e["source"]]
        assert (len(of_firm), of_firm) == (4, sorted(of_firm))
    assert {"id", "source", "type", "data", "firmposition"} <= everything[0].keys()
    assert {e["type"] for e in tailed("--from", begin, "--type", "tests.Other.v1")} == {"tests.Other.v1"}
    assert len(tailed("--from", begin, "--type", "tests.Other.v1", "--type", "tests.Counted.v1")) == 8
    assert tailed("--from", begin, "--type", "deals.*") == []
    stream = everything[0]["subject"]
    assert [e["subject"] for e in tailed("--from", begin, "--stream", stream)] == [stream] * 2
    assert [e["position"] for e in tailed("--from", middle)] == list(range(begin + 4, begin + 8))
    assert {e["source"] for e in tailed("--from", begin, "--firm", ours)} == {f"/firms/{ours}"}
    assert [e["position"] for e in tailed("-n", 3)] == list(range(begin + 5, begin + 8))
    told = call("tail", "--no-follow", "-n", 2)
    assert [line.split()[0] for line in told.stdout.splitlines()] == [str(begin + 6), str(begin + 7)]
    assert "tests.Other.v1" in told.stdout


def test_tail_keeps_to_the_order_of_the_log_when_one_firm_has_far_more_to_tell(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailing, "AT_ONCE", 3)  # so that a partition is read and let rest many times
    loud, *others = firms(7)
    begin = some(bus, [loud])
    for quiet in others:
        bus.write([loud], 20)
        bus.write([quiet], 2)
    assert [e["position"] for e in tailed("--from", begin)] == list(range(begin, begin + 2 + 6 * 22))
    seen = tailed("--from", begin, "--firm", others[-1])
    assert [e["position"] for e in seen] == [begin + 2 + 6 * 22 - 2, begin + 2 + 6 * 22 - 1]


def broken_off(bus: Bus) -> None:
    """Leave a transaction that was given up at the end of each partition: it takes places there, and nobody reads of it."""
    if bus.name == "kafka":
        topic = live_topic(bus.settings)
        assert topic is not None
        producer = producer_of(bus.settings, f"{bus.settings.kafka_prefix}.test", 30, 10)
        producer.begin_transaction()
        for partition in AdminClient(client(bus.settings)).list_topics(topic, timeout=10).topics[topic].partitions:
            producer.produce(topic, b"{}", b"x", partition)
        producer.flush(10)
        producer.abort_transaction(10)


def test_lag_shows_each_group_and_firm_and_a_replay_goes_to_one_group(bus: Bus) -> None:
    known = firms(2)
    begin = some(bus, known)
    with consuming(writing(bus.group, firms=frozenset(known)), bus.settings, bus.database):
        until(lambda: caught_up(bus))
    broken_off(bus)
    read = answer("lag", "--group", bus.group)["partitions"]
    assert {p["lag"] for p in read} == ({0} if bus.name == "kafka" else set()), read
    assert any(p["committed"] < p["end"] for p in read) == (bus.name == "kafka")
    some(bus, known[:1])
    found = answer("lag", "--group", bus.group)
    assert sum(p["lag"] > 0 for p in found["partitions"]) == (1 if bus.name == "kafka" else 0)
    (group,) = found["groups"]
    assert (group["lag"], group["dead_letters"], group["stopped"]) == (2, 0, None)
    assert group["seconds"] >= 0
    assert group["seen_at"] is not None
    assert {f["firm"]: f["lag"] for f in found["firms"]} == {str(known[0]): 2, str(known[1]): 0}
    assert bool(found["partitions"]) == (bus.name == "kafka")
    assert all(p["committed"] <= p["end"] for p in found["partitions"])
    assert bus.group in call("lag").stdout
    status = calling.call("status", "--json")
    assert [(g["group"], g["lag"]) for g in json.loads(status.stdout)["bus"]] == [(bus.group, 2)]

    moved = answer("replay", "--group", bus.group, "--from", begin)
    assert {m["firm"]: m["events"] for m in moved} == {str(f): 2 for f in known}
    done = call("replay", "--group", bus.group, "--from", "2020-01-01")
    assert done.stdout.splitlines()[-1] == f"0 events are handled again by {bus.group}.", "it stands before that already"
    with consuming(writing(bus.group, firms=frozenset(known)), bus.settings, bus.database):
        waited = call("replay", "--group", bus.group, "--from", begin, "--firm", known[0], "--wait")
        assert waited.exit_code == 0, waited.output
        until(lambda: caught_up(bus))
    skipped = some(bus, known)
    assert sum(m["events"] for m in answer("replay", "--group", bus.group, "--from", skipped + 4, "--skip")) == -4


def test_dead_letters_are_listed_shown_replayed_and_dropped(bus: Bus) -> None:
    known = firms(1)
    some(bus, known, type="tests.Broken.v1")
    some(bus, known, type="tests.Broken.v1")
    poisoned(bus.database, "tests.Broken.v1")
    with consuming(writing(bus.group, firms=frozenset(known)), bus.settings, bus.database):
        until(lambda: caught_up(bus))
        listed = answer("dead-letters", "list", "--group", bus.group)
        assert [(n["type"], n["error"], n["attempts"], n["state"]) for n in listed] == [
            ("tests.Broken.v1", "Poisoned", 3, "dead")
        ] * 4
        shown = answer("dead-letters", "show", listed[0]["id"], "--group", bus.group)
        assert shown["cloudevent"]["id"] == listed[0]["id"]
        assert shown["place"]["source"] == ("topic" if bus.name == "kafka" else "store")
        assert shown["trace"]
        words = call("dead-letters", "show", listed[0]["id"], "--group", bus.group).stdout
        assert "error: Poisoned" in words
        assert listed[0]["id"] in call("dead-letters", "list", "--group", bus.group).stdout
        assert answer("dead-letters", "replay", listed[0]["id"], "--group", bus.group, "--wait", code=1) == {
            "replaying": 0,
            "mended": 0,
            "dead": 1,
        }
        poisoned(bus.database)
        assert answer("dead-letters", "replay", listed[0]["id"], "--group", bus.group, "--wait")["mended"] == 1
        assert answer("dead-letters", "drop", listed[1]["id"], "--group", bus.group) == {"dropped": 1}
        done = call("dead-letters", "replay", "--all", "--group", bus.group, "--wait")
        assert done.stdout == "2 dead letters were handled, 0 died again.\n"
    assert call("dead-letters", "list", "--group", bus.group).stdout == f"The group {bus.group} has no dead letters.\n"
    kept = scalar(
        bus.database, "SELECT array_agg(firm_position ORDER BY n) FROM views.tests_handled WHERE group_name = %s", bus.group
    )
    assert kept == [0, 2, 3]
    assert call("forget", "--group", bus.group).exit_code == 0
    assert call("lag").stdout == "Nobody has consumed from the bus yet.\n"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("lag", "--group", "nobody"), 1, "There is no group 'nobody' here"),
        (("replay", "--group", "nobody", "--from", "1"), 1, "There is no group 'nobody' here"),
        (("replay", "--group", "nobody"), 2, "Say where to begin"),
        (("replay", "--group", "nobody", "--from", "yesterday"), 2, "no position and no time"),
        (("dead-letters", "list", "--group", "nobody"), 1, "There is no group 'nobody' here"),
        (("dead-letters", "replay", "--group", "nobody"), 2, "Name the events, or say --all"),
        (("dead-letters", "drop", "x", "--group", "nobody"), 2, "not an event's id"),
        (("tail", "--type", "Won", "--no-follow"), 2, "no type of event"),
        (("tail", "--firm", "x", "--no-follow"), 2, "not a firm's id"),
    ],
)
def test_what_can_not_be_done_is_said_in_words(bus: Bus, words: tuple[str, ...], code: int, says: str) -> None:
    done = call(*words)
    assert (done.exit_code, says in done.output) == (code, True), done.output


def test_a_bus_on_which_nothing_was_ever_published_says_what_to_do(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANCERY_KAFKA_PREFIX", "never-published")
    done = call("tail", "--no-follow", "-n", 0)
    assert (done.exit_code, "Nothing was ever published to Kafka" in done.output) == (
        (1, True) if bus.name == "kafka" else (0, False)
    )


def test_a_kafka_that_does_not_answer_is_named(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    if bus.name == "kafka":
        monkeypatch.setenv("CHANCERY_KAFKA_BOOTSTRAP", "127.0.0.1:9")
        monkeypatch.setattr("infra.bus.topics.PATIENCE", 1.0)
        done = call("tail", "--no-follow")
        assert (done.exit_code, "Kafka does not answer" in done.output) == (1, True), done.output


def test_old_generations_are_removed_and_the_live_one_stays(bus: Bus) -> None:
    if bus.settings.kafka_bootstrap is None:
        assert "CHANCERY_KAFKA_BOOTSTRAP" in call("remove-old").output
        return
    assert "no old generation" in call("remove-old").output
    topics.create(AdminClient(client(bus.settings)), topics.events(bus.settings, 0))
    assert f"Deleted: {bus.settings.kafka_prefix}.events.0." in call("remove-old").output
    assert live_topic(bus.settings) == f"{bus.settings.kafka_prefix}.events.1"
