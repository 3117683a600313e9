"""The engines of the graph that the contract is tried against: each takes recorded events in, and gives the graph of one firm at one moment."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Protocol
from urllib.parse import urlsplit

from neo4j import Driver

from domain.kernel import FirmId
from infra.database import Database
from infra.graph.neo4j import store as st
from infra.graph.neo4j.client import Address, Client, driver
from infra.graph.neo4j.engine import Neo4jGraph
from infra.graph.neo4j.rows import Sealer
from infra.graph.neo4j.store import Store
from infra.graph.postgres import PostgresGraph
from infra.projector.folding import Folding
from infra.projector.routing import Router
from infra.projector.tables import Table
from infra.reading import NOW, Moment, Readers
from infra.record import wire
from projections.graph_edges import GRAPH_EDGES
from projections.graph_nodes import GRAPH_NODES
from projections.kernel import Recorded
from queries.graph.port import Graph
from tests import engines
from tests.folding import fold_batch

KEY = bytes(32)


class Engine(Protocol):
    """`take` begins anew with these events, in the order of their positions."""

    def take(self, events: Sequence[Recorded], batch: int = 1_000) -> None: ...

    def at(self, firm: FirmId, moment: Moment = NOW) -> AbstractAsyncContextManager[Graph]: ...


class PostgresEngine:
    def __init__(self, database: Database, readers: Readers) -> None:
        self._database = database
        self._readers = readers

    def take(self, events: Sequence[Recorded], batch: int = 1_000) -> None:
        with self._database.connect("record") as c:
            wire.register(c)
            for v in (GRAPH_NODES, GRAPH_EDGES):
                table: Table[Any] = Table(v)
                c.execute(table.truncate)
                for first in range(0, len(events), batch):
                    fold_batch(v, table, c, events[first : first + batch])

    @asynccontextmanager
    async def at(self, firm: FirmId, moment: Moment = NOW) -> AsyncIterator[Graph]:
        async with self._readers.reading(firm, frozenset(), moment) as r:
            yield PostgresGraph(r)


class Neo4jEngine:
    """`remember` keeps rows in memory from batch to batch, as a follower does; without, each batch reads what it needs."""

    def __init__(self, neo4j: Driver, client: Client, readers: Readers, *, remember: bool = False) -> None:
        self._neo4j = neo4j
        self._client = client
        self._readers = readers
        self._remember = remember

    def take(self, events: Sequence[Recorded], batch: int = 1_000) -> None:
        wipe(self._neo4j)
        build = st.prepare(self._neo4j).number
        st.filled(self._neo4j, build)
        store = Store(self._neo4j, Sealer(KEY), build)
        router = Router(st.VIEWS)
        foldings: dict[str, Folding[object]] = {}
        position = 0
        for first in range(0, len(events), batch):
            some = events[first : first + batch]
            if not self._remember or not foldings:
                store.forget()
                foldings = {v.name: store.folding(v) for v in st.VIEWS}
            said = []
            for v in st.VIEWS:
                lines = foldings[v.name].fold(
                    router.route(some).get(v.name, []),
                    lambda keys, gone, v=v: store.load(v, keys, gone),  # type: ignore[misc]
                    lambda key, v=v: store.believed(v, key),  # type: ignore[misc]
                )
                said.append((v, foldings[v.name].writing(lines)))
            store.apply(position, some[-1].position, store.batch(said), live=True)
            position = some[-1].position

    @asynccontextmanager
    async def at(self, firm: FirmId, moment: Moment = NOW) -> AsyncIterator[Graph]:
        async with self._readers.reading(firm, frozenset(), moment) as r:
            yield Neo4jGraph(self._client, Sealer(KEY), r)


@asynccontextmanager
async def postgres(database: Database) -> AsyncIterator[Engine]:
    readers = Readers(database, size=2)
    await readers.open()
    try:
        yield PostgresEngine(database, readers)
    finally:
        await readers.close()


@contextmanager
def a_neo4j() -> Iterator[str]:
    """The URL of an empty Neo4j that nobody else uses meanwhile."""
    with engines.alone("neo4j"):
        url = engines.up(("neo4j",))["CHANCERY_NEO4J_URL"]
        engines.empty_neo4j(url)
        yield url


def wipe(neo4j: Driver) -> None:
    """Take every node out and leave constraints and indexes."""
    with neo4j.session() as session:
        session.run("MATCH (n) WHERE NOT n:ChanceryMigration DETACH DELETE n").consume()


def address_of(url: str) -> Address:
    parts = urlsplit(url)
    return Address(f"{parts.scheme}://{parts.hostname}:{parts.port}", (parts.username or "", parts.password or ""))


@asynccontextmanager
async def neo4j(database: Database) -> AsyncIterator[Engine]:
    with a_neo4j() as url, driver(address_of(url)) as d:
        readers = Readers(database, size=2)
        client = Client(address_of(url))
        await readers.open()
        await client.open()
        try:
            yield Neo4jEngine(d, client, readers)
        finally:
            await client.close()
            await readers.close()


ENGINES: Mapping[str, Callable[[Database], AbstractAsyncContextManager[Engine]]] = {"postgres": postgres, "neo4j": neo4j}

__all__ = ["ENGINES", "Engine", "a_neo4j", "address_of", "wipe"]
