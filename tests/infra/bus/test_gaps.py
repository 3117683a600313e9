"""Whatever a topic loses, doubles, mixes up or mangles, each firm's events are handled once and in order; what is missing comes from the store."""

import random
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as trying
from hypothesis import strategies as st

from infra.bus.gaps import Item, Sent, in_order
from infra.bus.messages import decode, encode
from infra.bus.metrics import Metrics
from infra.bus.positions import AheadOfStore
from infra.bus.subscription import Delivered, Subscription
from infra.database import Database
from infra.record.reader import EventRow
from infra.settings import Settings
from tests.infra.bus.consuming import (
    Topic,
    a_prefix,
    consuming,
    events,
    firms,
    handled,
    handled_digest,
    record_digest,
    tables,
    until,
    with_kafka,
    write,
    writing,
)
from tests.infra.bus.test_consumer import Bus, caught_up
from tests.infra.writing import scalar


@pytest.fixture(scope="module")
def told(database: Database) -> tuple[UUID, list[EventRow]]:
    """A firm with sixty events, every third of a type that nobody wants."""
    firm = firms(1)[0]
    for n in range(60):
        write(database, [firm], 1, type="others.Told.v1" if n % 3 == 2 else "tests.Told.v1")
    topic = Topic.__new__(Topic)
    topic.position = 0
    return firm, [r for r in topic.rows(database) if r.firm_id == firm]


def sent(rows: list[EventRow], mangled: frozenset[int] = frozenset()) -> list[Sent]:
    out = []
    for n, row in enumerate(rows):
        m = encode(row)
        value = m.value.replace(b"1", b"7").replace(b"n", b"N") if n in mangled else m.value
        out.append(Sent(decode(m.headers, value), "t", 0, n, len(value)))
    return out


@pytest.mark.invariant("CS7")
@trying(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), start=st.integers(0, 60), exact=st.booleans())
def test_any_delivery_is_put_in_order_without_loss_or_doubling(
    database: Database, told: tuple[UUID, list[EventRow]], seed: int, start: int, exact: bool
) -> None:
    firm, rows = told
    rng = random.Random(seed)
    batch = [r for r in rows if rng.random() < 0.7 for _ in range(rng.choice((1, 1, 1, 2)))]
    for _ in range(rng.choice((0, 0, 3, 20))):
        if len(batch) > 1:
            a, b = rng.randrange(len(batch)), rng.randrange(len(batch))
            batch[a], batch[b] = batch[b], batch[a]
    mangled = frozenset(n for n in range(len(batch)) if rng.random() < 0.1)
    subscription = Subscription("g")
    subscription.on("tests.Told.v1" if exact else "tests.*")(lambda _c, _e: None)
    with database.connect("record") as c:
        items: list[Item] = list(in_order(c, subscription, firm, start, 60, sent(batch, mangled), lambda _what, _count: None))
    reached = max([start, *(r.firm_position + 1 for r in batch)] if batch else [60])
    assert [i.row for i in items if i.row is not None] == [r for r in rows[start:reached] if r.type == "tests.Told.v1"]
    places = [i.firm_position for i in items]
    assert places == sorted(set(places))
    assert (places[-1] + 1 if places else start) == max(start, reached)


@pytest.fixture
def bus(settings: Settings, database: Database, kafka: str) -> tuple[Bus, Topic]:
    tables(database)
    prefix = a_prefix()
    topic = Topic(kafka, prefix)
    return (
        Bus("kafka", with_kafka(settings, kafka, prefix), database, lambda: topic.publish(database), f"g{uuid4().hex[:8]}"),
        topic,
    )


def noticed(metrics: Metrics, bus: Bus, what: str) -> float:
    return metrics.registry.get_sample_value("chancery_bus_noticed_events_total", {"group": bus.group, "what": what}) or 0.0


@pytest.mark.invariant("CS7")
def test_events_that_the_topic_lost_are_read_from_the_store_and_the_metrics_say_so(bus: tuple[Bus, Topic]) -> None:
    b, topic = bus
    known, metrics = firms(3), Metrics()
    write(b.database, known, 60)
    rows = topic.rows(b.database)
    kept = [r for r in rows if not 10 <= r.firm_position < 17 and r.firm_position != 40]
    topic.send([encode(r) for r in kept if r.firm_id in known])
    with consuming(writing(b.group, firms=frozenset(known)), b.settings, b.database, metrics=metrics):
        until(lambda: caught_up(b))
    assert handled_digest(b.database, b.group) == record_digest(b.database, known)
    assert noticed(metrics, b, "gap") == 3 * 8
    assert (
        scalar(b.database, "SELECT count(*) FROM views.tests_handled WHERE group_name = %s AND source = 'store'", b.group) == 3 * 8
    )


@pytest.mark.invariant("CS15")
def test_the_last_events_that_the_topic_lost_are_read_from_the_store_though_nothing_follows_them(
    bus: tuple[Bus, Topic], monkeypatch: pytest.MonkeyPatch
) -> None:
    b, topic = bus
    monkeypatch.setattr("infra.bus.kafka.SWEEP", 1.0)
    known = firms(2)
    write(b.database, known, 20)
    topic.send([encode(r) for r in topic.rows(b.database) if r.firm_id in known and r.firm_position < 15])
    with consuming(writing(b.group, firms=frozenset(known)), b.settings, b.database):
        until(lambda: handled(b.database, b.group) == 30)
        until(lambda: caught_up(b), 60)
    assert handled_digest(b.database, b.group) == record_digest(b.database, known)


@pytest.mark.invariant("CS4")
def test_doubled_old_and_mangled_messages_and_strangers_do_no_harm(bus: tuple[Bus, Topic]) -> None:
    b, topic = bus
    known, metrics = firms(3), Metrics()
    write(b.database, known, 40)
    rows = [r for r in topic.rows(b.database) if r.firm_id in known]
    stranger = encode(rows[0])._replace(headers=[("some", b"header")], value=b"of another program")
    mangled = encode(rows[50])
    mangled = mangled._replace(value=mangled.value.replace(b"n", b"m"))
    topic.send([*(encode(r) for r in rows[:50]), stranger, mangled, *(encode(r) for r in rows[51:]), *(encode(r) for r in rows)])
    with consuming(writing(b.group, firms=frozenset(known)), b.settings, b.database, metrics=metrics):
        until(lambda: caught_up(b))
        until(lambda: noticed(metrics, b, "duplicate") == len(rows))
    assert handled_digest(b.database, b.group) == record_digest(b.database, known)
    assert (noticed(metrics, b, "mangled"), noticed(metrics, b, "foreign")) == (1, 1)


@pytest.mark.invariant("CS6")
def test_a_message_of_an_event_that_the_store_does_not_have_stops_the_group(bus: tuple[Bus, Topic]) -> None:
    b, topic = bus
    known = firms(1)
    write(b.database, known, 5)
    rows = [r for r in topic.rows(b.database) if r.firm_id in known]
    made = events(known[0], 1).events[0]
    ghost = rows[-1]._replace(position=rows[-1].position + 1, firm_position=5, event_id=made.event_id, public=made.public)
    topic.send([encode(r) for r in (*rows, ghost)])
    with pytest.raises(AheadOfStore), consuming(writing(b.group, firms=frozenset(known)), b.settings, b.database):
        until(lambda: scalar(b.database, "SELECT stopped FROM chancery.bus_groups WHERE name = %s", b.group))
    assert handled(b.database, b.group) <= 5


@pytest.mark.invariant("CS12")
def test_a_topic_that_is_deleted_and_filled_anew_changes_nothing(bus: tuple[Bus, Topic]) -> None:
    b, topic = bus
    known = firms(4)
    write(b.database, known, 20)
    rows = [r for r in topic.rows(b.database) if r.firm_id in known]
    topic.send([encode(r) for r in rows])
    with consuming(writing(b.group, firms=frozenset(known)), b.settings, b.database):
        until(lambda: caught_up(b))
        topic.delete()
        again = Topic(topic.bootstrap, b.settings.kafka_prefix, generation=2)
        again.position = topic.position
        again.send([encode(r) for r in rows])
        write(b.database, known, 20)
        again.publish(b.database)
        until(lambda: caught_up(b), 60)
        again.publish(b.database)
    assert handled_digest(b.database, b.group) == record_digest(b.database, known)


def test_a_repeated_delivery_says_the_same_id(bus: tuple[Bus, Topic]) -> None:
    b, topic = bus
    known = firms(1)
    b.write(known, 3)
    ids: list[Any] = []
    subscription = Subscription(b.group, firms=frozenset(known))

    @subscription.on()
    def handle(_c: psycopg.Connection[Any], event: Delivered) -> None:
        ids.append((event.id, event.attempt, event.source))
        if event.firm_position == 1 and event.attempt == 1:
            raise ValueError("once")

    with consuming(subscription, b.settings, b.database):
        until(lambda: caught_up(b))
    assert ids[1][0] == ids[2][0]
    assert [i[1:] for i in ids] == [(1, "topic"), (1, "topic"), (2, "store"), (1, "store")]
    assert topic.partitions == 6
