"""Consumers killed, stopped and woken, added under load, and a broker killed under them: what they handled is the record, once, in order."""

import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self
from uuid import UUID, uuid4

import psutil
import psycopg
import pytest

from infra.bus import positions
from infra.bus.relay import Relay
from infra.database import Database
from infra.engines.run import Engines, free
from infra.settings import Settings
from tests.engines import CACHE
from tests.infra.bus.consuming import (
    Process,
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
from tests.infra.bus.test_consumer import Bus, caught_up
from tests.infra.test_crashes import Cluster
from tests.infra.writing import scalar


@pytest.fixture(params=["embedded", "kafka"])
def bus(request: pytest.FixtureRequest, settings: Settings, database: Database) -> Iterator[Bus]:
    tables(database)
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute("TRUNCATE views.tests_handled")
    group = f"g{uuid4().hex[:8]}"
    if request.param == "embedded":
        yield Bus("embedded", settings, database, lambda: None, group)
    else:
        prefix = a_prefix()
        topic = Topic(request.getfixturevalue("kafka"), prefix)
        yield Bus("kafka", with_kafka(settings, topic.bootstrap, prefix), database, lambda: topic.publish(database), group)
    with database.connect("record") as c:
        positions.forget(c, group)


class Load:
    """Events that go on being recorded and published while consumers come and go."""

    def __init__(self, bus: Bus, known: list[UUID], each: int) -> None:
        self._bus = bus
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(known, each))

    def _work(self, known: list[UUID], each: int) -> None:
        for _ in range(400):
            if self._stop.wait(0.2):
                return
            self._bus.write(known, each)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def finish(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def __exit__(self, *_: object) -> None:
        self.finish()


def a_process(bus: Bus, **how: Any) -> Process:
    return Process(bus.database, bus.settings, bus.group, **how)


def workers(bus: Bus) -> set[int]:
    """The processes that have handled something."""
    return set(
        scalar(bus.database, "SELECT array_agg(DISTINCT by) FROM views.tests_handled WHERE group_name = %s", bus.group) or ()
    )


@pytest.mark.invariant("CS2")
def test_a_consumer_killed_in_the_middle_of_a_batch_loses_and_doubles_nothing(bus: Bus) -> None:
    bus.write(firms(6), 60)
    with a_process(bus, slow=0.01) as killed:
        until(lambda: handled(bus.database, bus.group) >= 60)
        killed.kill()
    assert handled(bus.database, bus.group) < 360, "too fast to be killed on the way"
    with a_process(bus) as last:
        until(lambda: caught_up(bus), 60)
        assert last.end() == 0, last.said()
    assert handled_digest(bus.database, bus.group) == record_digest(bus.database)


@pytest.mark.invariant("CS14")
def test_a_consumer_that_is_told_to_end_hands_over_at_once(bus: Bus) -> None:
    known = firms(8)
    with Load(bus, known, 3) as load, a_process(bus, slow=0.002) as first, a_process(bus, slow=0.002) as second:
        until(lambda: {first.pid, second.pid} <= workers(bus))
        began = time.monotonic()
        assert first.end() == 0, first.said()
        load.finish()
        until(lambda: caught_up(bus))
        assert time.monotonic() - began < 10, "a silent consumer would not have been missed yet"
        assert second.end() == 0
    assert handled_digest(bus.database, bus.group) == record_digest(bus.database)


@pytest.mark.invariant("CS14")
def test_consumers_killed_and_added_under_load_lose_and_double_nothing(bus: Bus) -> None:
    known = firms(12)
    with ExitStack() as stack, Load(bus, known, 5) as load:
        three = [stack.enter_context(a_process(bus, slow=0.003)) for _ in range(3)]
        until(lambda: {p.pid for p in three} <= workers(bus))
        three[0].kill()
        added = stack.enter_context(a_process(bus, slow=0.003))
        until(lambda: added.pid in workers(bus))
        load.finish()
        until(lambda: caught_up(bus), 60)
        assert [p.end() for p in (*three[1:], added)] == [0, 0, 0]
    assert handled_digest(bus.database, bus.group) == record_digest(bus.database)


@pytest.mark.invariant("CS5")
def test_a_consumer_stopped_and_woken_beside_its_replacement_changes_nothing(bus: Bus) -> None:
    bus.write(firms(5), 60)
    with a_process(bus, slow=0.01, seconds=2.0) as stopped:
        until(lambda: handled(bus.database, bus.group) >= 30)
        stopped.send(signal.SIGSTOP)  # in the middle of handling: its transactions end when the server has waited two seconds
        with a_process(bus, seconds=2.0) as replacement:
            until(lambda: caught_up(bus), 60)
            stopped.send(signal.SIGCONT)
            bus.write(firms(3), 30)
            until(lambda: caught_up(bus), 60)
            assert stopped.end() == 0, stopped.said()
            assert replacement.end() == 0
    assert handled_digest(bus.database, bus.group) == record_digest(bus.database)


@pytest.fixture
def own_kafka() -> Iterator[tuple[Engines, str]]:
    """A broker that may be killed. Its port is none that the system hands out, so that nobody has it when the broker comes back."""
    folder = Path(tempfile.mkdtemp(prefix="chancery-broker-"))
    engines = Engines(folder, CACHE)
    try:
        port = next(p for p in random.sample(range(20_000, 30_000), 50) if free(p))
        yield engines, engines.up(("kafka",), ports={"kafka": port})["CHANCERY_KAFKA_BOOTSTRAP"]
    finally:
        engines.forget()
        shutil.rmtree(folder, ignore_errors=True)


def kill(engines: Engines) -> None:
    pids = next(s for s in engines.status() if s.engine == "kafka").pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not any(psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE for p in pids))


@pytest.mark.invariant("CS12")
def test_a_broker_killed_under_consumers_loses_and_doubles_nothing(
    settings: Settings, database: Database, own_kafka: tuple[Engines, str]
) -> None:
    engines, bootstrap = own_kafka
    tables(database)
    prefix, known = a_prefix(), firms(6)
    topic = Topic(bootstrap, prefix)
    bus = Bus("kafka", with_kafka(settings, bootstrap, prefix), database, lambda: topic.publish(database), f"g{uuid4().hex[:8]}")
    bus.write(known, 100)
    how = {"slow": 0.01, "firms": [str(f) for f in known]}
    with a_process(bus, **how) as first, a_process(bus, **how) as second:
        until(lambda: handled(database, bus.group) >= 60)
        kill(engines)
        assert handled(database, bus.group) < 600, "too fast to lose its broker on the way"
        write(database, known, 20)
        assert engines.up(("kafka",))["CHANCERY_KAFKA_BOOTSTRAP"] == bootstrap
        topic.publish(database)
        until(lambda: caught_up(bus), 90)
        bus.write(known, 10)
        until(lambda: caught_up(bus), 60)
        assert [first.end(), second.end()] == [0, 0], first.said() + second.said()
    assert handled_digest(database, bus.group) == record_digest(database, known)


@pytest.fixture
def own_postgres() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="chancery-consumers-"))
    cluster = Cluster(folder / "pg")
    yield cluster
    cluster.server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.invariant("CS11")
def test_a_database_killed_under_consumers_costs_no_attempt_and_no_event(own_postgres: Cluster, settings: Settings) -> None:
    database = own_postgres.database
    tables(database)
    bus = Bus("embedded", settings, database, lambda: None, f"g{uuid4().hex[:8]}")
    bus.write(firms(4), 60)
    with a_process(bus, slow=0.004) as consumer:
        until(lambda: handled(database, bus.group) >= 40)
        own_postgres.kill()
        own_postgres.start()
        until(lambda: handled(database, bus.group) >= 0 and caught_up(bus))
        assert consumer.end() == 0, consumer.said()
    assert handled_digest(database, bus.group) == record_digest(database)
    assert scalar(database, "SELECT count(*) FROM chancery.bus_dead_letters") == 0


def test_what_is_recorded_reaches_consumers_through_the_relay_also_when_it_stops_and_is_rebuilt(
    settings: Settings, database: Database, kafka: str
) -> None:
    tables(database)
    known = firms(4)
    bus = Bus("kafka", with_kafka(settings, kafka, a_prefix()), database, lambda: None, f"g{uuid4().hex[:8]}")
    with consuming(writing(bus.group, firms=frozenset(known)), bus.settings, database):
        with relaying(bus):
            bus.write(known, 20)
            until(lambda: caught_up(bus))
        bus.write(known, 20)
        with relaying(bus):
            until(lambda: caught_up(bus))
            Relay(bus.settings, database).rebuild()
            bus.write(known, 20)
            until(lambda: caught_up(bus), 60)
    assert handled_digest(database, bus.group) == record_digest(database, known)
    sources = scalar(
        database, "SELECT count(*) FILTER (WHERE source = 'topic') FROM views.tests_handled WHERE group_name = %s", bus.group
    )
    assert sources >= 160, "consumers live by the topic, not by the store"


@contextmanager
def relaying(bus: Bus) -> Iterator[None]:
    stop = threading.Event()
    relay = Relay(bus.settings, bus.database)
    thread = threading.Thread(target=relay.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()
