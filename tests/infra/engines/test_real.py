"""The real Kafka, Elasticsearch and Neo4j: started, used, killed, started again. Without Maven or a JDK this fails and says so."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from elasticsearch import Elasticsearch
from neo4j import GraphDatabase

from infra.engines.errors import EnginesUnusable
from infra.engines.run import Engines, Status, default_cache
from infra.engines.servers import SERVERS
from tests.processes import PATIENCE, alive

ENGINES = ("kafka", "elasticsearch", "neo4j")
CACHE = Path(os.environ["CHANCERY_ENGINES_CACHE"]) if os.environ.get("CHANCERY_ENGINES_CACHE") else default_cache()


class Kept(NamedTuple):
    put: Callable[[dict[str, str]], None]
    get: Callable[[dict[str, str]], list[str]]


def produce(v: dict[str, str]) -> None:
    bootstrap: dict[str, Any] = {"bootstrap.servers": v["CHANCERY_KAFKA_BOOTSTRAP"]}
    admin = AdminClient(bootstrap)
    admin.create_topics([NewTopic("tried", 1, 1)])["tried"].result(60)
    producer = Producer({**bootstrap, "transactional.id": "tried", "acks": "all"})
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce("tried", key=b"firm", value=b"kept")
    producer.commit_transaction(60)


def consume(v: dict[str, str]) -> list[str]:
    consumer = Consumer(
        {
            "bootstrap.servers": v["CHANCERY_KAFKA_BOOTSTRAP"],
            "group.id": f"tried-{time.monotonic_ns()}",
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    try:
        consumer.subscribe(["tried"])
        until = time.monotonic() + 60
        while time.monotonic() < until:
            message = consumer.poll(1.0)
            if message is not None and message.error() is None:
                return [(message.value() or b"").decode()]
        return []
    finally:
        consumer.close()


def index(v: dict[str, str]) -> None:
    with Elasticsearch(v["CHANCERY_ELASTICSEARCH_URL"], request_timeout=60) as client:
        client.index(index="tried", id="1", document={"word": "kept"}, refresh=True)


def search(v: dict[str, str]) -> list[str]:
    with Elasticsearch(v["CHANCERY_ELASTICSEARCH_URL"], request_timeout=60) as client:
        client.cluster.health(index="tried", wait_for_status="yellow", timeout="60s")
        return [h["_source"]["word"] for h in client.search(index="tried", query={"match": {"word": "KEPT"}})["hits"]["hits"]]


def driver(v: dict[str, str]) -> Any:
    url = urlsplit(v["CHANCERY_NEO4J_URL"])
    return GraphDatabase.driver(f"{url.scheme}://{url.hostname}:{url.port}", auth=(url.username or "", url.password or ""))


def merge(v: dict[str, str]) -> None:
    with driver(v) as d:
        d.execute_query("MERGE (:Tried {word: 'kept'})")


def match(v: dict[str, str]) -> list[str]:
    with driver(v) as d:
        return [r["word"] for r in d.execute_query("MATCH (n:Tried) RETURN n.word AS word").records]


USES = {"kafka": Kept(produce, consume), "elasticsearch": Kept(index, search), "neo4j": Kept(merge, match)}


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    made = Engines(tmp_path_factory.mktemp("engines"), CACHE)
    yield made
    made.forget()


def of(engines: Engines, name: str) -> Status:
    return next(s for s in engines.status() if s.engine == name)


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_starts_keeps_what_it_was_given_and_finds_it_again_after_being_killed(engines: Engines, name: str) -> None:
    begun = time.monotonic()
    variables = engines.up([name])
    first = time.monotonic() - begun
    try:
        running = of(engines, name)
        assert running.state == "running"
        assert running.variables == variables
        assert [a for a in addresses(running) if not a.endswith("127.0.0.1")] == []

        USES[name].put(variables)
        assert USES[name].get(variables) == ["kept"]
        if SERVERS[name].guarded:
            stranger = {k: v.replace(urlsplit(v).password or "", "wrong") for k, v in variables.items()}
            with pytest.raises(Exception, match=r"(?i)unauthorized|authentication"):
                USES[name].get(stranger)

        assert engines.up([name]) == variables
        assert of(engines, name).pids == running.pids, "what runs is not started again"
        with pytest.raises(EnginesUnusable, match="runs already, at port"):
            engines.up([name], ports={name: 1 if running.port != 1 else 2})

        for pid in running.pids:
            os.kill(pid, signal.SIGKILL)
        gone(running)
        assert of(engines, name).state == "dead"
        begun = time.monotonic()
        variables = engines.up([name])
        again = time.monotonic() - begun
        assert USES[name].get(variables) == ["kept"]

        after = of(engines, name)
        assert engines.down([name]) == {name: True}
        gone(after)
        assert of(engines, name).state == "stopped"
        assert engines.down([name]) == {name: False}
    finally:
        engines.down([name])
    print(f"{name}: {first:.0f} s with whatever was to be fetched, {again:.0f} s again, {running.memory_mb} MB")


def addresses(running: Status) -> list[str]:
    return [
        c.laddr.ip
        for pid in running.pids
        for c in psutil.Process(pid).net_connections(kind="inet")
        if c.status == psutil.CONN_LISTEN
    ]


def gone(was: Status) -> None:
    until = time.monotonic() + PATIENCE
    while any(psutil.pid_exists(p) and alive(psutil.Process(p)) for p in was.pids):
        assert time.monotonic() < until, f"{was.engine} still runs"
        time.sleep(0.1)


def test_the_command_line_starts_an_engine_that_outlives_it_and_stops_it_from_another_process(tmp_path: Path) -> None:
    def chancery(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "CHANCERY_ENGINES_CACHE": str(CACHE)}
        return subprocess.run(
            [sys.executable, "-m", "infra.cli", "engines", *words, "--data", str(tmp_path)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )

    try:
        up = chancery("up", "--only", "kafka")
        assert up.returncode == 0, up.stderr
        name, _, value = up.stdout.strip().removeprefix("export ").partition("=")
        assert name == "CHANCERY_KAFKA_BOOTSTRAP"
        assert "no password" in up.stderr
        status = chancery("status", "--json")
        assert status.returncode == 0
        told = {s["engine"]: s for s in json.loads(status.stdout)}["kafka"]
        assert (told["state"], told["variables"]) == ("running", {name: value})
    finally:
        down = chancery("down")
    assert (down.returncode, down.stdout) == (0, "Kafka is stopped.\n")
