"""The activity graph in PostgreSQL: the views of nodes and edges, walked a frontier at a time."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from projections.graph_edges import ACTS, SEALED_KIND
from queries.graph import walking
from queries.graph.port import NAMED, CoWork, Degree, Edge, GraphTookTooLong, Happening, Node, Paths, Scope, Subgraph
from queries.kernel import Reader

SECONDS = 10

_FOLDER = Path(__file__).parent
SQL = {path.stem: path.read_text(encoding="utf-8") for path in sorted(_FOLDER.glob("*.sql"))}


class PostgresGraph:
    """The port `queries.graph.port.Graph` over one reader: of its firm, at its moment."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._timed = False

    async def _all(self, name: str, scope: Scope, **params: object) -> Sequence[Mapping[str, Any]]:
        if not self._timed:
            await self._reader.all("SELECT set_config('statement_timeout', %(most)s, true)", most=f"{SECONDS}s")
            self._timed = True
        try:
            return await self._reader.all(SQL[name].replace("/* in_scope */", SQL["in_scope"]), **_params(scope), **params)
        except psycopg.errors.QueryCanceled:
            raise GraphTookTooLong(seconds=SECONDS) from None

    async def nodes(self, ids: Collection[UUID], scope: Scope) -> Mapping[UUID, Node]:
        rows = await self._all("nodes", scope, ids=list(ids))
        return {row["id"]: _node(row, personal=scope.personal) for row in rows}

    async def touching(self, ids: Collection[UUID], scope: Scope, *, limit: int) -> Sequence[Edge]:
        return _edges(await self._all("touching", scope, ids=list(ids), limit=limit))

    async def neighbourhood(self, start: UUID, scope: Scope, *, depth: int, nodes: int, edges: int) -> Subgraph:
        async def nearby(frontier: Collection[UUID], known: Collection[UUID], limit: int) -> list[tuple[UUID, str]]:
            rows = await self._all("nearby", scope, ids=list(frontier), known=list(known), limit=limit)
            return [(row["id"], row["kind"]) for row in rows]

        async def between(distances: Mapping[UUID, int], depth: int, limit: int) -> list[Edge]:
            ids, far = list(distances), list(distances.values())
            return _edges(await self._all("walked", scope, ids=ids, distances=far, depth=depth, limit=limit))

        return await walking.neighbourhood(nearby, between, start, depth=depth, nodes=nodes, edges=edges)

    async def shortest_paths(self, a: UUID, b: UUID, scope: Scope, *, depth: int, paths: int) -> Paths:
        return await walking.shortest_paths(self._walk(scope), a, b, depth=depth, paths=paths)

    async def simple_paths(self, a: UUID, b: UUID, scope: Scope, *, depth: int, paths: int) -> Paths:
        return await walking.simple_paths(self._walk(scope), a, b, depth=depth, paths=paths)

    def _walk(self, scope: Scope) -> walking.Touching:
        async def touching(ids: Collection[UUID], limit: int) -> Sequence[Edge]:
            return await self.touching(ids, scope, limit=limit)

        return touching

    async def edges(self, scope: Scope, *, limit: int, roles: Collection[str] | None = None) -> Sequence[Edge]:
        chosen = None if roles is None else list(roles)
        return _edges(await self._all("edges", scope, limit=limit, roles=chosen))

    async def between(self, ids: Collection[UUID], scope: Scope, *, limit: int) -> Sequence[Edge]:
        return _edges(await self._all("between", scope, ids=list(ids), limit=limit))

    async def pairs(self, scope: Scope, *, limit: int) -> Sequence[tuple[UUID, str, UUID, str, int]]:
        rows = await self._all("pairs", scope, limit=limit)
        return [(row["a"], row["a_kind"], row["b"], row["b_kind"], int(row["weight"])) for row in rows]

    async def degrees(self, scope: Scope, *, limit: int, offset: int) -> Sequence[Degree]:
        rows = await self._all("degrees", scope, limit=limit, offset=offset)
        return [Degree(row["id"], row["kind"], row["degree"], row["neighbours"], int(row["weight"])) for row in rows]

    async def co_working(self, scope: Scope, *, member: UUID | None, limit: int) -> Sequence[CoWork]:
        return [CoWork(*row.values()) for row in await self._all("co_working", scope, member=member, limit=limit)]

    async def timeline(self, ids: Collection[UUID], scope: Scope, *, limit: int, offset: int) -> Sequence[Happening]:
        rows = await self._all("timeline", scope, ids=list(ids), limit=limit, offset=offset)
        edges = _edges(rows)
        return [Happening(e, e.last_at, e.last_event, e.last_event_id) for e in edges]


def _edges(rows: Sequence[Mapping[str, Any]]) -> list[Edge]:
    return [Edge(*row.values()) for row in rows]


def _params(scope: Scope) -> dict[str, object]:
    return {
        "node_kinds": list(scope.node_kinds),
        "edge_kinds": None if scope.edge_kinds is None else list(scope.edge_kinds),
        "personal": scope.personal,
        "ended": scope.ended,
        "now": scope.now,
        "after": scope.after,
        "before": scope.before,
        "acts": list(ACTS),
        "sealed_kind": SEALED_KIND,
    }


def _node(row: Mapping[str, Any], *, personal: bool) -> Node:
    label = row["label"] if personal or row["kind"] in NAMED else None
    return Node(row["id"], row["kind"], label, row["status"], row["archived"], row["amount"], row["currency"], row["closed_on"])
