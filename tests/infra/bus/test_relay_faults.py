"""Whatever is killed, stopped or doubled, each event stands in Kafka once and in order. The broker is this file's own."""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from infra.bus.standing import live_topic
from infra.database import Database
from infra.engines.run import Engines
from infra.record.appender import Appender
from infra.settings import Settings
from tests.engines import CACHE
from tests.infra.bus.relaying import (
    Process,
    assert_published_once_and_in_order,
    beyond,
    broker,
    caught_up,
    head,
    shown,
    until,
    write,
    writing,
)

_numbers = count(1)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    own = Engines(tmp_path_factory.mktemp("kafka"), CACHE)
    own.up(["kafka"])
    yield own
    own.forget()


@pytest.fixture
def settings(engines: Engines, tmp_path: Path) -> Settings:
    bootstrap = engines.up(["kafka"])["CHANCERY_KAFKA_BOOTSTRAP"]
    return Settings(data=tmp_path, kafka_bootstrap=bootstrap, kafka_prefix=f"f{next(_numbers)}", kafka_partitions=3)


@pytest.mark.invariant("BUS9")
def test_a_relay_killed_in_the_middle_of_batches_loses_and_doubles_nothing(
    settings: Settings, fresh: Database, appender: Appender
) -> None:
    write(appender, 3_000)
    draw = random.Random(7)
    with writing(fresh):
        for _ in range(5):
            with Process(settings, fresh, lease=1.0) as relay:
                before = shown(fresh)["position"]
                until(beyond(fresh, before))
                time.sleep(draw.random() * 0.3)
                relay.kill()
    with Process(settings, fresh, lease=1.0) as relay:
        caught_up(fresh)
        relay.end()
    assert assert_published_once_and_in_order(settings, fresh) > 3_000


@pytest.mark.invariant("BUS9")
def test_a_broker_killed_in_the_middle_of_batches_loses_and_doubles_nothing(
    settings: Settings, engines: Engines, fresh: Database, appender: Appender
) -> None:
    write(appender, 1_000)
    with Process(settings, fresh, patience=4.0) as relay, writing(fresh):
        until(lambda: shown(fresh)["position"] > 0)
        os.kill(broker(engines), signal.SIGKILL)
        recorded = head(fresh)
        until(lambda: head(fresh) > recorded + 50)  # the record goes on without Kafka
        engines.up(["kafka"])
        until(lambda: shown(fresh)["position"] > recorded + 50)
        assert relay.process.poll() is None
    with Process(settings, fresh) as relay:
        caught_up(fresh)
        relay.end()
    assert assert_published_once_and_in_order(settings, fresh) > 1_000


@pytest.mark.invariant("BUS9")
def test_a_broker_that_sleeps_for_half_a_minute_loses_and_doubles_nothing(
    settings: Settings, engines: Engines, fresh: Database, appender: Appender
) -> None:
    with Process(settings, fresh, patience=4.0) as relay, writing(fresh, pause=0.02):
        until(lambda: shown(fresh)["position"] > 100)
        os.kill(broker(engines), signal.SIGSTOP)
        try:
            time.sleep(30)
            assert shown(fresh)["error"] is not None
        finally:
            os.kill(broker(engines), signal.SIGCONT)
        recorded = head(fresh)
        until(lambda: shown(fresh)["position"] > recorded)
        assert relay.said("relay.interrupted")
    with Process(settings, fresh) as relay:
        caught_up(fresh)
        relay.end()
    assert_published_once_and_in_order(settings, fresh)


@pytest.mark.invariant("BUS10")
@pytest.mark.parametrize("transaction", [10.0, 2.0], ids=["within its transaction's time", "beyond it"])
def test_a_relay_that_was_stopped_and_wakes_beside_its_replacement_changes_nothing(
    settings: Settings, fresh: Database, appender: Appender, transaction: float
) -> None:
    write(appender, 2_000)
    with ExitStack() as stack:
        first = stack.enter_context(Process(settings, fresh, batch=5, lease=2.0, transaction=transaction))
        stack.enter_context(writing(fresh))
        until(lambda: shown(fresh)["position"] > 100)
        first.send(signal.SIGSTOP)
        second = stack.enter_context(Process(settings, fresh, lease=2.0, transaction=transaction))
        time.sleep(4)
        before = shown(fresh)["position"]
        until(lambda: shown(fresh)["position"] > before + 100)
        first.send(signal.SIGCONT)
        until(lambda: bool(first.said("relay.waiting")))
        assert not second.said("relay.fenced"), "the one that woke has pushed its replacement out"
        until(lambda: shown(fresh)["position"] > 2_000)
    with Process(settings, fresh, lease=2.0) as relay:
        caught_up(fresh)
        relay.end()
    assert assert_published_once_and_in_order(settings, fresh) > 2_000


@pytest.mark.invariant("BUS10")
def test_a_relay_stopped_while_nobody_replaces_it_goes_on_when_it_wakes(
    settings: Settings, fresh: Database, appender: Appender
) -> None:
    write(appender, 2_000)
    with Process(settings, fresh, batch=5, lease=1.0, transaction=2.0) as relay:
        until(lambda: shown(fresh)["position"] > 50)
        relay.send(signal.SIGSTOP)
        time.sleep(4)
        relay.send(signal.SIGCONT)
        caught_up(fresh)
        relay.end()
    assert assert_published_once_and_in_order(settings, fresh) == 2_000


@pytest.mark.invariant("BUS10")
def test_when_the_working_relay_is_killed_the_waiting_one_takes_over(
    settings: Settings, fresh: Database, appender: Appender
) -> None:
    write(appender, 500)
    with ExitStack() as stack:
        first = stack.enter_context(Process(settings, fresh, lease=2.0))
        until(lambda: shown(fresh)["position"] > 0)
        second = stack.enter_context(Process(settings, fresh, lease=2.0))
        until(lambda: bool(second.said("relay.waiting")))
        stack.enter_context(writing(fresh))
        first.kill()
        before = head(fresh)
        until(lambda: shown(fresh)["position"] > before)
        assert live_topic(settings) is not None
    with Process(settings, fresh, lease=2.0) as relay:
        caught_up(fresh)
        relay.end()
    assert_published_once_and_in_order(settings, fresh)


@pytest.mark.invariant("BUS9")
def test_a_rebuild_killed_half_way_leaves_the_live_generation_and_the_next_one_is_whole(
    settings: Settings, engines: Engines, fresh: Database, appender: Appender
) -> None:
    write(appender, 3_000)
    with Process(settings, fresh, batch=2_000) as relay:
        caught_up(fresh)
        with Process(settings, fresh, rebuild=1.0, batch=5, lease=1.0) as rebuilding:
            until(lambda: bool(rebuilding.said("progress")))
            rebuilding.kill()
        assert live_topic(settings) == f"{settings.kafka_prefix}.events.1"
        time.sleep(1.5)
        with Process(settings, fresh, rebuild=1.0, batch=2_000, lease=1.0) as rebuilding:
            assert rebuilding.process.wait(60) == 0
        assert live_topic(settings) == f"{settings.kafka_prefix}.events.3"
        write(appender, 100)
        caught_up(fresh)
        relay.end()
    assert assert_published_once_and_in_order(settings, fresh) == 3_100
