"""A network that is cut in front of Neo4j, and of Kafka: packets vanish and nobody is told. tests/infra/search does the same to Elasticsearch."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from pydantic import SecretStr

from infra.database import Database
from infra.engines import servers
from infra.engines.run import Engines, any_free
from infra.engines.servers import HOST, SERVERS, Site
from infra.followers import parts
from infra.graph.neo4j.digests import postgres_digest
from infra.graph.neo4j.follower import follower
from infra.settings import Settings
from tests import engines as shared_engines
from tests.engines import CACHE
from tests.house import House, a_house
from tests.infra.bus.relaying import assert_published_once_and_in_order, head, shown
from tests.infra.search.partition import network, permitted
from tests.processes import PATIENCE

MANY = 60


class Through(servers.Kafka):
    """A broker that tells its clients the address behind the network that is cut; with itself it talks on its loopback."""

    advertised = ""

    def settings(self, site: Site) -> str:
        inner = any_free()
        values = super().settings(site)
        clients = f"PLAINTEXT://{HOST}:{site.port}"
        values = values.replace(f"listeners={clients},", f"listeners={clients},INNER://{HOST}:{inner},", 1)
        values = values.replace(
            f"advertised.listeners={clients}", f"advertised.listeners=PLAINTEXT://{self.advertised},INNER://{HOST}:{inner}"
        )
        values = values.replace("inter.broker.listener.name=PLAINTEXT", "inter.broker.listener.name=INNER")
        return values + "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT\n"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    with pytest.MonkeyPatch.context() as m:
        server = Through()
        m.setitem(SERVERS, "kafka", server)
        made = Engines(tmp_path_factory.mktemp("engines"), CACHE)
        port = any_free()
        server.advertised = f"10.213.{os.getpid() % 250}.2:9200" if permitted() else f"{HOST}:{port}"
        made.up(["kafka"], ports={"kafka": port})
        yield made
        made.forget()


def process_of(engines: Engines, name: str) -> tuple[int, ...]:
    return next(s.pids for s in engines.status() if s.engine == name)


@dataclass
class Took:
    """What a kind of request answered, and how long it took."""

    statuses: set[int]
    seconds: list[float]

    @property
    def median(self) -> float:
        return sorted(self.seconds)[len(self.seconds) // 2]

    @property
    def p95(self) -> float:
        return sorted(self.seconds)[int(len(self.seconds) * 0.95)]


async def lists_and_writes(house: House, count: int = MANY) -> Took:
    """One after the other, a list and a write by turns."""
    took = Took(set(), [])
    for n in range(count):
        at = time.monotonic()
        answer = await (
            house.client.get("/v1/contacts", params={"page_size": 20})
            if n % 2
            else house.client.post("/v1/contacts", json={"given": f"Person{n}", "family": "Within"})
        )
        took.seconds.append(time.monotonic() - at)
        took.statuses.add(answer.status_code)
        await asyncio.sleep(0.02)
    return took


async def until(done: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> None:
    limit = time.monotonic() + seconds
    while not await done():
        assert time.monotonic() < limit, "it did not come to that"
        await asyncio.sleep(0.1)


def with_engine(fresh: Database, folder: Path, **engine: Any) -> Settings:
    given = Settings(data=folder, database_url=SecretStr(fresh.admin_conninfo()), rate_per_second=100_000, rate_burst=100_000)
    return given.model_copy(update=engine)


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the driver leaves a socket that was cancelled while connecting
async def test_a_neo4j_behind_a_cut_network_costs_the_graph_five_seconds_at_most_and_nobody_else_anything(
    neo4j: str, database: Database, tmp_path: Path
) -> None:
    url = urlsplit(neo4j)
    pids = process_of(Engines(shared_engines.folder(), CACHE), "neo4j")
    with network(url.port or 0, pids, tmp_path) as net:
        through = SecretStr(f"bolt://{url.username}:{url.password}@{net.host}:{net.port}")
        settings = with_engine(database, tmp_path / "data", neo4j_url=through)
        async with a_house(settings, database) as house:
            made = await house.client.post("/v1/contacts", json={"given": "Ada", "family": "Lovelace"})
            near = f"/v1/graph/contact/{made.json()['id']}/neighbourhood"

            async def answered() -> bool:
                return (await house.client.get(near)).status_code == 200

            await until(answered)
            before = await lists_and_writes(house)
            net.cut()
            try:

                async def one() -> tuple[int, float, Any]:
                    at = time.monotonic()
                    answer = await house.client.get(near)
                    return answer.status_code, time.monotonic() - at, answer

                asked = [asyncio.create_task(one()) for _ in range(12)]
                during = await lists_and_writes(house)
                answers = [await t for t in asked]
                later = [await one() for _ in range(5)]
                assert {status for status, _, _ in answers + later} == {503}
                worst = max(seconds for _, seconds, _ in answers + later)
                problem = answers[0][2].json()
            finally:
                net.mend()
            print(f"cut by {net.how}: graph at most {worst:.2f} s, others p95 {before.p95:.3f} s before, {during.p95:.3f} s during")
            assert worst <= 5.0 + 20 * before.p95
            assert (problem["type"], problem["view"]) == ("urn:chancery:problem:engine-away", "graph")
            assert problem["lag"] >= 0
            assert during.statuses == before.statuses == {200, 201}
            assert during.median <= max(3 * before.median, worst / 10)
            assert during.p95 <= max(3 * before.p95, worst / 2)
            await until(answered)

            async def whole() -> bool:
                await house.settle()
                made = follower(parts(settings, database))
                assert made is not None
                return await asyncio.to_thread(made.digest) == await asyncio.to_thread(postgres_digest, database)

            await until(whole)


async def test_a_kafka_behind_a_cut_network_costs_nobody_anything_and_the_relay_catches_up(
    broker: Engines, fresh: Database, tmp_path: Path
) -> None:
    port = urlsplit("//" + broker.up(["kafka"])["CHANCERY_KAFKA_BOOTSTRAP"]).port or 0
    with network(port, process_of(broker, "kafka"), tmp_path) as net:
        bootstrap, prefix = f"{net.host}:{net.port}", f"cut{uuid4().hex[:8]}"
        settings = with_engine(fresh, tmp_path / "data", kafka_bootstrap=bootstrap, kafka_prefix=prefix, kafka_partitions=3)
        async with a_house(settings, fresh) as house:

            async def published() -> bool:
                return shown(fresh)["position"] == head(fresh)

            await until(published)
            before = await lists_and_writes(house)
            await until(published)
            net.cut()
            try:
                reached = shown(fresh)["position"]
                during = await lists_and_writes(house)
                assert shown(fresh)["position"] == reached < head(fresh)

                async def said() -> bool:
                    return shown(fresh)["error"] is not None

                await until(said)  # the relay finds out by itself
                assert shown(fresh)["error"].startswith("Kafka:")
                after = await lists_and_writes(house, 20)
            finally:
                net.mend()
            print(f"cut by {net.how}: others p95 {before.p95:.3f} s before, {during.p95:.3f} s during")
            assert during.statuses == after.statuses == before.statuses == {200, 201}
            assert during.median <= max(3 * before.median, 0.3)
            assert during.p95 <= max(3 * before.p95, 1.5), "as long as nobody waits for a broker"
            await until(published)
        assert await asyncio.to_thread(assert_published_once_and_in_order, settings, fresh) == head(fresh)
