"""The engines of the graph that the contract is tried against: each takes recorded events in, and gives the graph of one firm at one moment."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from domain.kernel import FirmId
from infra.database import Database
from infra.graph.postgres import PostgresGraph
from infra.projector.folding import fold_batch
from infra.projector.tables import Table
from infra.reading import NOW, Moment, Readers
from infra.record import wire
from projections.graph_edges import GRAPH_EDGES
from projections.graph_nodes import GRAPH_NODES
from projections.kernel import Recorded
from queries.graph.port import Graph


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
                table = Table(v)
                c.execute(table.truncate)
                for first in range(0, len(events), batch):
                    fold_batch(v, table, c, events[first : first + batch])

    @asynccontextmanager
    async def at(self, firm: FirmId, moment: Moment = NOW) -> AsyncIterator[Graph]:
        async with self._readers.reading(firm, frozenset(), moment) as r:
            yield PostgresGraph(r)


@asynccontextmanager
async def postgres(database: Database) -> AsyncIterator[Engine]:
    readers = Readers(database, size=2)
    await readers.open()
    try:
        yield PostgresEngine(database, readers)
    finally:
        await readers.close()


ENGINES = {"postgres": postgres}
