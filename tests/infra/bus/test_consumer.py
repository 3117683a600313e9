"""What every subscriber may rely on, whether the log itself or Kafka brings the events."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from commands.contacts import CreateContact
from commands.kernel import Actor
from domain.contacts import ContactCreated
from domain.kernel import FirmId
from infra.bus import positions
from infra.bus.consumer import Consumer
from infra.bus.metrics import Metrics
from infra.bus.positions import AheadOfStore, Forgotten, Forked, Halted
from infra.bus.subscription import BadSubscription, Delivered, Retry, Subscription
from infra.database import Database
from infra.record.appender import Appender
from infra.record.vault import KeysUnusable, Vault
from infra.settings import Settings
from tests.infra.bus.consuming import (
    Topic,
    a_prefix,
    consuming,
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
from tests.infra.test_vault import an_executor
from tests.infra.writing import scalar


@dataclass
class Bus:
    """A bus of one of the two kinds over the module's database; `publish` brings what is recorded to whoever reads."""

    name: str
    settings: Settings
    database: Database
    publish: Callable[[], None]
    group: str

    def write(self, firms: list[UUID], each: int, **how: Any) -> None:
        write(self.database, firms, each, **how)
        self.publish()


@pytest.fixture(params=["embedded", "kafka"])
def bus(request: pytest.FixtureRequest, settings: Settings, database: Database) -> Iterator[Bus]:
    tables(database)
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute("TRUNCATE views.tests_handled, views.tests_poison")
    group = f"g{uuid4().hex[:8]}"
    if request.param == "embedded":
        yield Bus("embedded", settings, database, lambda: None, group)
    else:
        prefix = a_prefix()
        topic = Topic(request.getfixturevalue("kafka"), prefix)
        chosen = with_kafka(settings, topic.bootstrap, prefix)
        yield Bus("kafka", chosen, database, lambda: topic.publish(database), group)
    with database.connect("record") as c:
        c.execute("DELETE FROM chancery.bus_groups WHERE name = %s", (group,))


def caught_up(bus: Bus) -> bool:
    with bus.database.connect("record") as c:
        rows = positions.lags(c, bus.group)
    return bool(rows) and all(r["lag"] == 0 for r in rows)


def listening(bus: Bus, *types: str, **how: Any) -> tuple[Subscription, list[Delivered]]:
    """A subscription that keeps what it was handed."""
    subscription, heard = Subscription(bus.group, **how), []

    @subscription.on(*types)
    def hear(_c: psycopg.Connection[Any], event: Delivered) -> None:
        heard.append(event)

    return subscription, heard


def test_every_event_is_handled_once_and_each_firms_in_its_order(bus: Bus) -> None:
    bus.write(firms(7), 40)
    with consuming(writing(bus.group), bus.settings, bus.database):
        until(lambda: caught_up(bus))
        bus.write(firms(3), 30)
        until(lambda: caught_up(bus))
    assert handled_digest(bus.database, bus.group) == record_digest(bus.database)


def test_an_event_is_handled_soon_after_it_was_recorded(bus: Bus) -> None:
    subscription, heard = listening(bus, start="now")
    one = firms(1)

    def written_and_heard() -> list[Delivered]:
        bus.write(one, 1)
        return heard

    with consuming(subscription, bus.settings, bus.database):
        until(written_and_heard)  # where "now" is, is known once it has begun
        until(lambda: caught_up(bus))
        waits = []
        for _ in range(5):
            heard.clear()
            began = time.monotonic()
            bus.write(one, 1)
            until(lambda: heard)
            waits.append(time.monotonic() - began)
    assert sorted(waits)[2] < 0.5


def test_consumers_of_one_group_share_and_those_of_another_do_not(bus: Bus) -> None:
    bus.write(firms(8), 20)
    other = f"{bus.group}-other"
    with (
        consuming(writing(bus.group, slow=0.002), bus.settings, bus.database),
        consuming(writing(bus.group, slow=0.002), bus.settings, bus.database),
        consuming(writing(other), bus.settings, bus.database),
    ):
        until(lambda: caught_up(bus))
        until(lambda: handled_digest(bus.database, other) == record_digest(bus.database))
    assert handled_digest(bus.database, bus.group) == record_digest(bus.database)


def test_a_group_that_comes_back_goes_on_where_it_was(bus: Bus) -> None:
    known = firms(3)
    for _ in range(3):
        bus.write(known, 7)
        with consuming(writing(bus.group), bus.settings, bus.database):
            until(lambda: caught_up(bus))
    assert handled_digest(bus.database, bus.group) == record_digest(bus.database)


def test_a_group_that_begins_now_hears_nothing_of_before(bus: Bus) -> None:
    old = firms(2)
    bus.write(old, 5)
    subscription, heard = listening(bus, start="now")
    with consuming(subscription, bus.settings, bus.database):
        until(lambda: caught_up(bus))
        bus.write([*old, *firms(1)], 3)
        until(lambda: len(heard) == 9)
        until(lambda: caught_up(bus))
    assert len(heard) == 9


@pytest.mark.invariant("CS1")
def test_events_are_routed_by_type_and_stream_to_the_first_that_matches_and_firms_are_kept_apart(bus: Bus) -> None:
    ours, theirs = firms(2)
    subscription = Subscription(bus.group, firms=frozenset({ours}))
    heard: dict[str, list[str]] = {"won": [], "context": [], "stream": []}

    @subscription.on("tests.Won.v1")
    def won(_c: psycopg.Connection[Any], event: Delivered) -> None:
        heard["won"].append(event.type)

    @subscription.on("tests.*", stream="test")
    def context(_c: psycopg.Connection[Any], event: Delivered) -> None:
        heard["context"].append(event.type)

    @subscription.on(stream="deal")
    def stream(_c: psycopg.Connection[Any], event: Delivered) -> None:
        heard["stream"].append(event.type)

    for type in ("tests.Won.v1", "tests.Lost.v1", "others.Won.v1"):
        bus.write([ours, theirs], 2, type=type)
    with consuming(subscription, bus.settings, bus.database):
        until(lambda: caught_up(bus))
    assert heard == {"won": ["tests.Won.v1"] * 2, "context": ["tests.Lost.v1"] * 2, "stream": []}


@pytest.mark.invariant("CS8")
def test_types_that_nobody_wants_cost_the_store_nothing_and_the_place_moves_past_them(bus: Bus) -> None:
    one = firms(1)
    bus.write(one, 300, type="tests.Common.v1")
    bus.write(one, 1, type="tests.Rare.v1")
    bus.write(one, 300, type="tests.Common.v1")
    subscription, heard = listening(bus, "tests.Rare.v1", firms=frozenset(one))
    with consuming(subscription, bus.settings, bus.database):
        until(lambda: caught_up(bus))
    assert [e.type for e in heard] == ["tests.Rare.v1"]
    assert scalar(bus.database, "SELECT next FROM chancery.bus_positions WHERE group_name = %s", bus.group) == 601


def test_one_stream_alone_can_be_followed(bus: Bus) -> None:
    one = firms(1)
    bus.write(one, 6, size=2)
    stream = scalar(bus.database, "SELECT stream_id FROM record.events WHERE firm_id = %s AND firm_position = 2", one[0])
    subscription, heard = Subscription(bus.group, firms=frozenset(one)), []

    @subscription.on(stream=f"test/{stream}")
    def hear(_c: psycopg.Connection[Any], event: Delivered) -> None:
        heard.append(event.firm_position)

    with consuming(subscription, bus.settings, bus.database):
        until(lambda: caught_up(bus))
    assert heard == [2, 3]


@pytest.mark.invariant("CS9")
def test_what_a_failed_attempt_wrote_is_undone_and_the_next_attempt_comes_after_a_rest(bus: Bus) -> None:
    one = firms(1)
    subscription = Subscription(bus.group, firms=frozenset(one), retry=Retry(tries=5, first=0.1, most=1.0))
    tried: list[tuple[int, int, float]] = []

    @subscription.on("tests.*")
    def handle(c: psycopg.Connection[Any], event: Delivered) -> None:
        c.execute(
            "INSERT INTO views.tests_handled (group_name, firm_id, firm_position, event_id) VALUES (%s, %s, %s, %s)",
            (bus.group, event.firm, event.firm_position, event.id),
        )
        tried.append((event.firm_position, event.attempt, time.monotonic()))
        if event.firm_position == 2 and event.attempt < 4:
            raise ValueError("not yet")

    bus.write(one, 5)
    with consuming(subscription, bus.settings, bus.database):
        until(lambda: caught_up(bus))
    assert [t[:2] for t in tried] == [(0, 1), (1, 1), (2, 1), (2, 2), (2, 3), (2, 4), (3, 1), (4, 1)]
    rests = [later[2] - earlier[2] for earlier, later in itertools.pairwise(tried[2:6])]
    assert [rest >= least for rest, least in zip(rests, (0.05, 0.1, 0.2), strict=True)] == [True] * 3
    assert handled_digest(bus.database, bus.group) == record_digest(bus.database, one)


@pytest.mark.invariant("CS13")
def test_a_firm_that_fails_keeps_no_other_waiting(bus: Bus) -> None:
    stuck, *others = firms(4)
    subscription = Subscription(
        bus.group, firms=frozenset([stuck, *others]), workers=1, retry=Retry(tries=100, first=30, most=30), waiting=50
    )
    heard: list[UUID] = []

    @subscription.on()
    def handle(_c: psycopg.Connection[Any], event: Delivered) -> None:
        if event.firm == stuck:
            raise ValueError("no")
        heard.append(event.firm)

    attempts = "SELECT attempts FROM chancery.bus_positions WHERE group_name = %s AND firm_id = %s"
    bus.write([stuck], 100)
    with consuming(subscription, bus.settings, bus.database):
        until(lambda: scalar(bus.database, attempts, bus.group, stuck) == 1)
        bus.write([stuck], 100)
        bus.write(others, 20)
        until(lambda: len(heard) == 60)
    assert scalar(bus.database, attempts, bus.group, stuck) == 1


@pytest.mark.invariant("CS9")
@pytest.mark.parametrize("how", ["swallows", "leaves", "hangs"])
def test_a_handler_that_spoils_its_transaction_fails_alone(bus: Bus, how: str) -> None:
    one = firms(1)
    subscription = Subscription(
        bus.group, firms=frozenset(one), retry=Retry(tries=2, first=0.01, most=0.01), seconds=0.3 if how == "hangs" else 10
    )

    @subscription.on()
    def handle(c: psycopg.Connection[Any], event: Delivered) -> None:
        c.execute(
            "INSERT INTO views.tests_handled (group_name, firm_id, firm_position, event_id) VALUES (%s, %s, %s, %s)",
            (bus.group, event.firm, event.firm_position, event.id),
        )
        if event.firm_position == 3 and how == "hangs":
            time.sleep(1.0)
            c.execute("SELECT 1")
        elif event.firm_position == 3:
            try:
                c.execute("SELECT 1/0")
            except psycopg.Error:
                if how == "leaves":
                    raise

    bus.write(one, 6)
    with consuming(subscription, bus.settings, bus.database):
        until(lambda: caught_up(bus))
    kept = scalar(
        bus.database, "SELECT array_agg(firm_position ORDER BY n) FROM views.tests_handled WHERE group_name = %s", bus.group
    )
    assert kept == [0, 1, 2, 4, 5]
    assert scalar(bus.database, "SELECT attempts FROM chancery.bus_dead_letters WHERE group_name = %s", bus.group) == 2


def test_a_handler_can_not_end_the_transaction_it_works_in(bus: Bus) -> None:
    one = firms(1)
    subscription = Subscription(bus.group, firms=frozenset(one), retry=Retry(tries=1))

    @subscription.on()
    def handle(c: psycopg.Connection[Any], _event: Delivered) -> None:
        c.commit()

    bus.write(one, 1)
    with consuming(subscription, bus.settings, bus.database):
        until(lambda: caught_up(bus))
    assert (
        scalar(bus.database, "SELECT error FROM chancery.bus_dead_letters WHERE group_name = %s", bus.group) == "ProgrammingError"
    )


@pytest.mark.invariant("CS3")
@pytest.mark.parametrize("personal", [True, False])
async def test_personal_values_are_opened_for_those_who_ask(bus: Bus, personal: bool) -> None:
    vault, firm = Vault(bus.settings.keys_folder), FirmId(uuid4())
    appender = Appender(bus.database)
    how: dict[str, Any] = {"actor": Actor("system", "tests"), "permissions": frozenset({"contacts:write"})}
    try:
        async with an_executor(bus.database, appender, vault) as executor:
            await executor.execute(CreateContact(display_name="Ada Lovelace", job_title="Countess"), firm=firm, **how)
    finally:
        appender.close()
    bus.publish()
    subscription = Subscription(bus.group, firms=frozenset({firm}), personal=personal)
    heard: list[tuple[Any, str]] = []

    @subscription.on("contacts.*")
    def hear(_c: psycopg.Connection[Any], event: Delivered) -> None:
        heard.append((event.recorded.event, str(event.leaf)))

    with consuming(subscription, bus.settings, bus.database, vault if personal else None):
        until(lambda: heard)
    event, leaf = heard[0]
    assert isinstance(event, ContactCreated)
    assert (event.profile is not None and event.profile.display_name == "Ada Lovelace") is personal
    assert personal or event.profile is None
    assert "Lovelace" not in leaf


def test_who_asks_for_personal_values_needs_the_vault(bus: Bus) -> None:
    subscription, _ = listening(bus, personal=True)
    with pytest.raises(KeysUnusable, match="no keys folder"):
        Consumer(subscription, bus.settings, bus.database)


@pytest.mark.invariant("CS6")
def test_a_consumer_ahead_of_the_store_stops_and_says_so(bus: Bus) -> None:
    one = firms(1)
    bus.write(one, 5)
    with consuming(writing(bus.group, firms=frozenset(one)), bus.settings, bus.database):
        until(lambda: caught_up(bus))
    with bus.database.connect("record") as c:
        c.execute("UPDATE chancery.bus_positions SET next = 9 WHERE group_name = %s", (bus.group,))
    with pytest.raises(AheadOfStore), consuming(writing(bus.group, firms=frozenset(one)), bus.settings, bus.database):
        until(lambda: scalar(bus.database, "SELECT stopped FROM chancery.bus_groups WHERE name = %s", bus.group))
    assert scalar(bus.database, "SELECT stopped FROM chancery.bus_groups WHERE name = %s", bus.group) == "AheadOfStore"
    with bus.database.connect("record") as c:
        positions.replay(c, bus.group, 2**60)
    bus.write(one, 1)
    with consuming(writing(bus.group, firms=frozenset(one)), bus.settings, bus.database):
        until(lambda: caught_up(bus))
    assert handled_digest(bus.database, bus.group) == record_digest(bus.database, one)


@pytest.mark.invariant("CS6")
def test_a_consumer_that_comes_to_be_ahead_of_the_store_while_it_works_stops_too(bus: Bus) -> None:
    one = firms(1)
    bus.write(one, 2)

    def work() -> None:
        with consuming(writing(bus.group, firms=frozenset(one)), bus.settings, bus.database):
            until(lambda: caught_up(bus))
            with bus.database.connect("record") as c:
                c.execute("UPDATE chancery.bus_positions SET next = 9 WHERE group_name = %s", (bus.group,))
            until(lambda: scalar(bus.database, "SELECT stopped FROM chancery.bus_groups WHERE name = %s", bus.group))

    with pytest.raises(AheadOfStore):
        work()


def test_a_consumer_of_a_group_that_was_forgotten_stops(bus: Bus) -> None:
    def work() -> None:
        with consuming(writing(bus.group, firms=frozenset(firms(1))), bus.settings, bus.database) as consumer:
            until(lambda: scalar(bus.database, "SELECT seen_at FROM chancery.bus_groups WHERE name = %s", bus.group))
            with bus.database.connect("record") as c:
                positions.forget(c, bus.group)
            until(lambda: consumer._fatal is not None)

    with pytest.raises(Forgotten):
        work()


@pytest.mark.invariant("CS6")
def test_a_consumer_whose_last_event_is_not_the_stores_stops_and_says_so(bus: Bus) -> None:
    one = firms(1)
    bus.write(one, 5)
    with consuming(writing(bus.group, firms=frozenset(one)), bus.settings, bus.database):
        until(lambda: caught_up(bus))
    with bus.database.connect("record") as c:
        c.execute("UPDATE chancery.bus_positions SET last_event = %s WHERE group_name = %s", (uuid4(), bus.group))
    bus.write(one, 1)
    with pytest.raises(Forked), consuming(writing(bus.group, firms=frozenset(one)), bus.settings, bus.database):
        until(lambda: scalar(bus.database, "SELECT stopped FROM chancery.bus_groups WHERE name = %s", bus.group))
    assert handled(bus.database, bus.group) == 5
    assert issubclass(Forked, Halted)


@pytest.mark.invariant("CS13")
def test_what_waits_is_bounded_and_everything_is_handled_nevertheless(bus: Bus) -> None:
    known = firms(4)
    bus.write(known, 120)
    metrics, most, paused = Metrics(), 0.0, 0.0
    subscription = writing(bus.group, slow=0.02, waiting=60, batch=5, firms=frozenset(known))
    with consuming(subscription, bus.settings, bus.database, metrics=metrics):
        while not caught_up(bus):
            most = max(most, metrics.registry.get_sample_value("chancery_bus_waiting_events", {"group": bus.group}) or 0)
            paused = max(paused, metrics.registry.get_sample_value("chancery_bus_paused_partitions", {"group": bus.group}) or 0)
            time.sleep(0.01)
    assert handled_digest(bus.database, bus.group) == record_digest(bus.database, known)
    assert most <= 60 + 500  # what one fetch brings comes on top
    assert bus.name == "embedded" or paused > 0


def test_how_far_a_group_is_behind_and_its_dead_letters_are_measured(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.bus.consumer.KEEP", 0.1)
    one, go, metrics = firms(1), threading.Event(), Metrics()
    subscription = Subscription(bus.group, firms=frozenset(one), retry=Retry(tries=1))

    @subscription.on("tests.*")
    def wait(_c: psycopg.Connection[Any], event: Delivered) -> None:
        go.wait(30)
        if event.firm_position == 2:
            raise ValueError

    def measured(what: str) -> float | None:
        return metrics.registry.get_sample_value(f"chancery_bus_{what}", {"group": bus.group})

    bus.write(one, 5)
    with consuming(subscription, bus.settings, bus.database, metrics=metrics):
        until(lambda: measured("lag_events") == 5 and (measured("lag_seconds") or 0) > 0)
        go.set()
        until(lambda: (measured("lag_events"), measured("lag_seconds"), measured("dead_letters")) == (0, 0, 1))
    assert measured("died_total") == 1
    assert measured("stopped") == 0


def test_a_consumer_that_is_told_to_stop_finishes_the_event_it_handles_and_no_other(bus: Bus) -> None:
    one, begun, go = firms(1), threading.Event(), threading.Event()
    subscription = Subscription(bus.group, firms=frozenset(one))

    @subscription.on()
    def handle(c: psycopg.Connection[Any], event: Delivered) -> None:
        begun.set()
        go.wait(20)
        c.execute(
            "INSERT INTO views.tests_handled (group_name, firm_id, firm_position, event_id) VALUES (%s, %s, %s, %s)",
            (bus.group, event.firm, event.firm_position, event.id),
        )

    bus.write(one, 9)
    stop = threading.Event()
    consumer = Consumer(subscription, bus.settings, bus.database)
    thread = threading.Thread(target=consumer.run, args=(stop,))
    thread.start()
    assert begun.wait(30)
    stop.set()
    time.sleep(0.5)
    go.set()
    thread.join(30)
    assert handled(bus.database, bus.group) == 1
    with consuming(subscription, bus.settings, bus.database):
        until(lambda: caught_up(bus))
    assert handled_digest(bus.database, bus.group) == record_digest(bus.database, one)


def test_a_group_can_be_set_back_to_a_position_and_knows_what_it_has_seen(bus: Bus) -> None:
    known = firms(2)
    bus.write(known, 10)
    subscription, heard = listening(bus, firms=frozenset(known))
    with consuming(subscription, bus.settings, bus.database):
        until(lambda: caught_up(bus) and len(heard) == 20)
        middle = sorted(e.position for e in heard)[12]
        with bus.database.connect("record") as c:
            moved = positions.replay(c, bus.group, middle)
        until(lambda: caught_up(bus) and len(heard) == 28)
        bus.write(known, 1)
        until(lambda: len(heard) == 30)
    assert sum(m["events"] for m in moved) == 8
    assert {e.position for e in heard[20:28]} == {e.position for e in heard[:20] if e.position >= middle}
    assert [e.again for e in heard] == [False] * 20 + [True] * 8 + [False] * 2


def test_a_group_can_be_set_back_to_a_time(bus: Bus) -> None:
    known = firms(2)
    bus.write(known, 4)
    moment = scalar(bus.database, "SELECT clock_timestamp()")
    bus.write(known, 3)
    subscription, heard = listening(bus, firms=frozenset(known))
    with consuming(subscription, bus.settings, bus.database):
        until(lambda: caught_up(bus) and len(heard) == 14)
        with bus.database.connect("record") as c:
            positions.replay(c, bus.group, moment, firm=known[0])
        until(lambda: caught_up(bus) and len(heard) == 17)
    assert [(e.firm, e.firm_position) for e in heard[14:]] == [(known[0], n) for n in (4, 5, 6)]


def test_what_can_not_be_subscribed_to_is_refused_in_words() -> None:
    for wrong, says in (
        (lambda: Subscription("Billing!"), "no name of a group"),
        (lambda: Subscription("b", batch=0), "batch is 0"),
        (lambda: Subscription("b", firms=frozenset()), "firms is empty"),
        (lambda: Subscription("b").on("Won"), "no type of event"),
        (lambda: Subscription("b").on(stream="deal/1"), "no stream"),
        (lambda: Retry(tries=0), "tries of 1 or more"),
    ):
        with pytest.raises(BadSubscription, match=says):
            wrong()


def test_a_pause_doubles_up_to_its_most_and_is_shortened_by_at_most_half() -> None:
    retry = Retry(tries=9, first=0.5, most=4.0)
    for failed, whole in ((1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 4.0), (500, 4.0)):
        pauses = {retry.pause(failed) for _ in range(50)}
        assert all(whole / 2 <= p <= whole for p in pauses)
        assert len(pauses) > 1
