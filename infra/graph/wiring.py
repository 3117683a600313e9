"""Which engine answers questions to the graph: Neo4j where the settings name one, PostgreSQL else."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infra.graph.postgres import PostgresGraph
from infra.reading import PgReader
from infra.record.vault import Vault
from infra.settings import Settings
from queries.graph.port import Graph

if TYPE_CHECKING:  # the driver is loaded where a Neo4j is set, and costs nothing elsewhere
    from infra.graph.neo4j.cypher import Cypher


async def _nothing() -> None:
    """PostgreSQL is closed by whoever opened it."""


@dataclass(frozen=True, slots=True)
class GraphPort:
    """`made` gives each reader its graph; `instead` names who serves what the views of the graph would; `cypher` is there with Neo4j alone."""

    made: Callable[[PgReader], Graph]
    instead: Mapping[str, str] = field(default_factory=dict)
    cypher: "Cypher | None" = None
    close: Callable[[], Awaitable[None]] = _nothing


async def graph(settings: Settings, vault: Vault, *, serving: bool = True) -> GraphPort:
    """Open the engine that is set. EngineUnusable when it is to serve, is Neo4j, and does not answer."""
    if settings.neo4j_url is None:
        return GraphPort(PostgresGraph)
    from infra.graph.neo4j.client import Address, Client
    from infra.graph.neo4j.cypher import Cypher
    from infra.graph.neo4j.engine import NAME, Neo4jGraph
    from infra.graph.neo4j.filling import sealer

    address = Address.of(settings)
    if address is None:
        return GraphPort(PostgresGraph)
    client = Client(address)
    await client.open(serving=serving)
    opens, cypher = sealer(vault), Cypher(client, address)

    async def close() -> None:
        await cypher.close()
        await client.close()

    return GraphPort(
        made=lambda reader: Neo4jGraph(client, opens, reader),
        instead={"graph_nodes": NAME, "graph_edges": NAME},
        cypher=cypher,
        close=close,
    )
