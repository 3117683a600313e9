"""The port of the graph over Neo4j: of one firm, at one moment, and no further than its scope.

What may be seen is decided in one place: every statement holds `{scope}`, and is refused here when it does not. It is made from the
moment, the permissions and the firm by `_Seen`, whose parameters every statement gets.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from domain.kernel import FirmId
from infra.away import EngineAway
from infra.graph.neo4j.client import SECONDS, Client, Neo4jAway
from infra.graph.neo4j.rows import Sealer
from infra.graph.neo4j.rows import moment as time_of
from infra.projector.tables import FOREVER
from infra.reading import PgReader
from infra.record import wire
from projections.graph_edges import ACTS, SEALED_KIND
from queries.graph import walking
from queries.graph.port import NAMED, CoWork, Degree, Edge, GraphTookTooLong, Happening, Node, Paths, Scope, Subgraph

NAME = "graph"
MOST_KNOWN = 2**63 - 2

_EDGE = (
    "[e.id, e.source_kind, e.source, e.target_kind, e.target,"
    " CASE WHEN e.sealed AND NOT $personal THEN $sealed_kind ELSE coalesce(e.kind, $sealed_kind) END,"
    " CASE WHEN e.sealed AND NOT $personal THEN NULL ELSE e.role END,"
    " CASE WHEN e.sealed AND NOT $personal THEN NULL ELSE e.since END,"
    " CASE WHEN e.sealed AND NOT $personal THEN NULL ELSE e.until END,"
    " e.count, e.last_at, e.last_event, e.last_event_id]"
)
_WHOLE = "MATCH (a:ChanceryNode{n})-[e:{edges}]->() WHERE a.firm = $firm AND a.id > '' AND {scope}"

CYPHER: Mapping[str, str] = {
    "touching": (
        "UNWIND $ids AS id MATCH (a:ChanceryNode{n} {{firm: $firm, id: id}})-[e:{edges}]-() {seek} WHERE {scope}"
        " WITH DISTINCT e ORDER BY e.last_at DESC, e.id LIMIT $limit RETURN {edge}"
    ),
    "nearby": (
        "UNWIND $ids AS near MATCH (a:ChanceryNode{n} {{firm: $firm, id: near}})-[e:{edges}]-() {seek} WHERE {scope}"
        " WITH e, CASE WHEN e.source = near THEN e.target ELSE e.source END AS id"
        " WHERE NOT id IN $known"
        " WITH id, min(CASE WHEN e.source = id THEN e.source_kind ELSE e.target_kind END) AS kind, max(e.last_at) AS latest"
        " ORDER BY latest DESC, id LIMIT $limit RETURN [id, kind]"
    ),
    "walked": (
        "UNWIND $near AS near MATCH (a:ChanceryNode{n} {{firm: $firm, id: near}})-[e:{edges}]-()"
        " {seek} WHERE $distances[e.source] IS NOT NULL AND $distances[e.target] IS NOT NULL AND {scope}"
        " WITH DISTINCT e WITH e, CASE WHEN $distances[e.source] < $distances[e.target] THEN $distances[e.source]"
        " ELSE $distances[e.target] END AS distance"
        " ORDER BY distance, e.last_at DESC, e.id LIMIT $limit RETURN {edge}"
    ),
    "between": (
        "UNWIND $ids AS near MATCH (a:ChanceryNode{n} {{firm: $firm, id: near}})-[e:{edges}]->()"
        " {seek} WHERE e.target IN $ids AND {scope}"
        " WITH DISTINCT e ORDER BY e.last_at DESC, e.id LIMIT $limit RETURN {edge}"
    ),
    "edges": (
        _WHOLE + " AND ($roles IS NULL OR (e.role IN $roles AND ($personal OR NOT e.sealed)))"
        " WITH e ORDER BY e.id LIMIT $limit RETURN {edge}"
    ),
    "pairs": (
        _WHOLE + " WITH e.count AS count, CASE WHEN e.source <= e.target THEN [e.source, e.source_kind, e.target, e.target_kind]"
        " ELSE [e.target, e.target_kind, e.source, e.source_kind] END AS p"
        " WITH p[0] AS a, p[2] AS b, min(p[1]) AS a_kind, min(p[3]) AS b_kind, sum(count) AS weight"
        " ORDER BY a, b LIMIT $limit RETURN [a, a_kind, b, b_kind, weight]"
    ),
    "degrees": (
        _WHOLE + " WITH e UNWIND [[e.source, e.source_kind, e.target], [e.target, e.target_kind, e.source]] AS x"
        " WITH x[0] AS id, min(x[1]) AS kind, count(*) AS degree,"
        " count(DISTINCT CASE WHEN x[2] <> x[0] THEN x[2] END) AS neighbours, sum(e.count) AS weight"
        " ORDER BY degree DESC, id SKIP $offset LIMIT $limit RETURN [id, kind, degree, neighbours, weight]"
    ),
    "co_working": (
        _WHOLE + " AND (e.source_kind = 'member') <> (e.target_kind = 'member')"
        " WITH e, CASE WHEN e.source_kind = 'member' THEN [e.source, e.target, e.target_kind]"
        " ELSE [e.target, e.source, e.source_kind] END AS x"
        " WITH x[0] AS member, x[1] AS thing, min(x[2]) AS kind, min(e.since) AS since, max(e.last_at) AS last_at"
        " WITH thing, collect([member, kind, since, last_at]) AS worked UNWIND worked AS a UNWIND worked AS b"
        " WITH a, b WHERE b[0] > a[0] AND ($member IS NULL OR $member = a[0] OR $member = b[0])"
        " WITH a[0] AS first, b[0] AS second, a[1] AS kind,"
        " CASE WHEN a[2] IS NULL THEN b[2] WHEN b[2] IS NULL OR a[2] > b[2] THEN a[2] ELSE b[2] END AS since,"
        " CASE WHEN a[3] > b[3] THEN a[3] ELSE b[3] END AS last_at"
        " WITH first, second, kind, count(*) AS shared, min(since) AS since, max(last_at) AS last_at"
        " ORDER BY first, second, kind LIMIT $limit RETURN [first, second, kind, shared, since, last_at]"
    ),
    "timeline": (
        "UNWIND $ids AS near MATCH (a:ChanceryNode{n} {{firm: $firm, id: near}})-[e:{ever}]->()"
        " {seek} WHERE e.target IN $ids AND {scope} AND ($after IS NULL OR e.last_at >= $after) AND ($before IS NULL OR e.last_at <= $before)"
        " AND EXISTS {{ MATCH ()-[v:{edges}]->() WHERE v.firm = $firm AND v.id = e.id AND {there} }}"
        " WITH DISTINCT {edge} AS said ORDER BY said[10] DESC, said[12], said[0] SKIP $offset LIMIT $limit RETURN said"
    ),
    "nodes": (
        "UNWIND $ids AS id CALL (id) {{ MATCH (e:ChanceryNode{n} {{firm: $firm, id: id}})"
        " USING INDEX SEEK e:ChanceryNode{n}(firm, id) WHERE {scope} RETURN e"
        "{past} }}"
        " WITH DISTINCT e ORDER BY e.id RETURN [e.id, e.kind, e.label, e.status, e.archived, e.amount, e.currency, e.closed_on]"
    ),
}
_PAST_NODES = (
    " UNION ALL MATCH (e:ChanceryNodePast{n} {{firm: $firm, id: id}})"
    " USING INDEX SEEK e:ChanceryNodePast{n}(firm, id) WHERE {scope} RETURN e"
)
_VISIBLE = (  # as the views at.x say it (migrations/0001_roles.sql); what stands has no corner
    "{e}.updated_at <= $as_of AND coalesce({e}.known_from, {e}.position) <= $known_at"
    " AND coalesce({e}.known_end, $forever) > $known_at"
    " AND (coalesce({e}.valid_to, $forever) > $as_of OR coalesce({e}.known_to, $forever) > $known_at)"
)
_BELIEVED = (  # of the past, what was known and is believed, superseded or not
    "e.updated_at <= $as_of AND coalesce(e.known_from, e.position) <= $known_at AND coalesce(e.known_end, $forever) > $known_at"
)


class _Seen:
    """What may be seen, as conditions and their parameters."""

    def __init__(self, firm: FirmId, build: int, scope: Scope, as_of: int | None, known_at: int | None, sealer: Sealer) -> None:
        self.moment = as_of is not None or known_at is not None
        self._build = build
        self._scope = scope
        self.params: dict[str, Any] = {
            "firm": str(firm),
            "node_kinds": list(scope.node_kinds),
            "edge_kinds": sealer.spelled(scope.edge_kinds),
            "personal": scope.personal,
            "now": wire.micros(scope.now),
            "after": None if scope.after is None else wire.micros(scope.after),
            "before": None if scope.before is None else wire.micros(scope.before),
            "acts": list(ACTS),
            "sealed_kind": SEALED_KIND,
            "as_of": FOREVER if as_of is None else as_of,
            "known_at": MOST_KNOWN if known_at is None else known_at,
            "forever": FOREVER,
        }

    def _edges(self) -> str:
        s = self._scope
        out = ["e.firm = $firm", "e.source_kind IN $node_kinds", "e.target_kind IN $node_kinds"]
        hidden = "(e.sealed AND NOT $personal)"
        if s.edge_kinds is not None:
            out.append(f"CASE WHEN {hidden} THEN $sealed_kind ELSE e.kind END IN $edge_kinds")
        if not s.ended:
            out.append("(e.since IS NULL OR e.since <= $now) AND (e.until IS NULL OR e.until > $now)")
        if s.before is not None:
            out.append(f"({hidden} OR e.since IS NULL OR e.since <= $before)")
        if s.after is not None:
            out.append(
                f"({hidden} OR CASE WHEN e.kind IN $acts THEN e.last_at >= $after ELSE e.until IS NULL OR e.until >= $after END)"
            )
        return " AND ".join(out)

    def cypher(self, name: str) -> str:
        """The statement of that name for this scope."""
        template = CYPHER[name]
        if "{scope}" not in template or "$firm" not in template:
            raise ValueError(f"{name} asks past the scope")
        n = self._build
        scope = "e.firm = $firm AND e.kind IN $node_kinds" if name == "nodes" else self._edges()
        visible = _VISIBLE.format(e="e")
        if name == "timeline":
            scope += f" AND {_BELIEVED}"
        elif self.moment:
            scope += f" AND {visible}"
        past = _PAST_NODES.format(n=n, scope=scope) if self.moment else ""
        both = f"CHANCERY_EDGE_{n}|CHANCERY_PAST_{n}"
        return template.format(
            n=n,
            scope=scope,
            edge=_EDGE,
            edges=both if self.moment else f"CHANCERY_EDGE_{n}",
            ever=both,
            past=past,
            seek=f"USING INDEX SEEK a:ChanceryNode{n}(firm, id)",
            there=_VISIBLE.format(e="v") if self.moment else "true",
        )


class Neo4jGraph:
    """The port `queries.graph.port.Graph` over one reader: of its firm, at its moment. It reads the build that served when first asked."""

    def __init__(self, client: Client, sealer: Sealer, reader: PgReader) -> None:
        self._client = client
        self._sealer = sealer
        self._reader = reader
        self._build: int | None = None
        self._known_at: int | None = None

    async def _begin(self) -> int:
        if self._build is None:
            found = await self._client.rows("MATCH (b:ChanceryBuild {live: true}) WHERE b.filling IS NULL RETURN b.build", {})
            if not found:
                raise await self._away(filling=True)
            known = self._reader.moment.known_at
            if known is not None and not isinstance(known, int):
                row = await self._reader.one("SELECT chancery.position_at(%(at)s::timestamptz) AS position", at=known)
                known = int(row["position"]) if row else 0
            self._known_at = known
            self._build = int(found[0][0])
        return self._build

    async def _away(self, *, filling: bool = False) -> EngineAway:
        return await away(self._reader, filling=filling)

    async def _all(self, name: str, scope: Scope, **params: object) -> list[Any]:
        try:
            build = await self._begin()
            as_of = self._reader.moment.as_of
            seen = _Seen(
                self._reader.firm, build, scope, None if as_of is None else wire.micros(as_of), self._known_at, self._sealer
            )
            rows = await self._client.rows(seen.cypher(name), {**params, **seen.params}, seconds=SECONDS)
        except TimeoutError:
            raise GraphTookTooLong(seconds=SECONDS) from None
        except Neo4jAway:
            raise await self._away() from None
        return [row[0] for row in rows]

    async def nodes(self, ids: Collection[UUID], scope: Scope) -> Mapping[UUID, Node]:
        found = [self._node(row, personal=scope.personal) for row in await self._all("nodes", scope, ids=_texts(ids))]
        return {n.id: n for n in found}

    def _node(self, row: Sequence[Any], *, personal: bool) -> Node:
        id, kind, label, status, archived, amount, currency, closed_on = row
        shown = personal or kind in NAMED
        return Node(
            UUID(id),
            kind,
            self._sealer.open(label) if shown else None,
            status,
            archived,
            None if amount is None else Decimal(amount),
            currency,
            None if closed_on is None else date.fromisoformat(closed_on),
        )

    def _edges(self, rows: Sequence[Sequence[Any]]) -> list[Edge]:
        word = self._sealer.worded
        return [
            Edge(
                UUID(id), source_kind, UUID(source), target_kind, UUID(target), word(kind) or SEALED_KIND, word(role), _time(since),
                _time(until), count, time_of(last), event, UUID(event_id),
            )
            for id, source_kind, source, target_kind, target, kind, role, since, until, count, last, event, event_id in rows
        ]  # fmt: skip

    async def touching(self, ids: Collection[UUID], scope: Scope, *, limit: int) -> Sequence[Edge]:
        return self._edges(await self._all("touching", scope, ids=_texts(ids), limit=limit))

    async def neighbourhood(self, start: UUID, scope: Scope, *, depth: int, nodes: int, edges: int) -> Subgraph:
        async def nearby(frontier: Collection[UUID], known: Collection[UUID], limit: int) -> list[tuple[UUID, str]]:
            rows = await self._all("nearby", scope, ids=_texts(frontier), known=_texts(known), limit=limit)
            return [(UUID(id), kind) for id, kind in rows]

        async def between(distances: Mapping[UUID, int], depth: int, limit: int) -> list[Edge]:
            far = {str(id): distance for id, distance in distances.items()}
            near = [id for id, distance in far.items() if distance < depth]
            return self._edges(await self._all("walked", scope, near=near, distances=far, limit=limit))

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
        return self._edges(await self._all("edges", scope, limit=limit, roles=self._sealer.spelled(roles)))

    async def between(self, ids: Collection[UUID], scope: Scope, *, limit: int) -> Sequence[Edge]:
        return self._edges(await self._all("between", scope, ids=_texts(ids), limit=limit))

    async def pairs(self, scope: Scope, *, limit: int) -> Sequence[tuple[UUID, str, UUID, str, int]]:
        rows = await self._all("pairs", scope, limit=limit)
        return [(UUID(a), a_kind, UUID(b), b_kind, weight) for a, a_kind, b, b_kind, weight in rows]

    async def degrees(self, scope: Scope, *, limit: int, offset: int) -> Sequence[Degree]:
        rows = await self._all("degrees", scope, limit=limit, offset=offset)
        return [Degree(UUID(id), kind, degree, neighbours, weight) for id, kind, degree, neighbours, weight in rows]

    async def co_working(self, scope: Scope, *, member: UUID | None, limit: int) -> Sequence[CoWork]:
        rows = await self._all("co_working", scope, member=None if member is None else str(member), limit=limit)
        return [CoWork(UUID(a), UUID(b), kind, shared, _time(since), time_of(last)) for a, b, kind, shared, since, last in rows]

    async def timeline(self, ids: Collection[UUID], scope: Scope, *, limit: int, offset: int) -> Sequence[Happening]:
        edges = self._edges(await self._all("timeline", scope, ids=_texts(ids), limit=limit, offset=offset))
        return [Happening(e, e.last_at, e.last_event, e.last_event_id) for e in edges]


async def away(reader: PgReader, *, filling: bool = False) -> EngineAway:
    """That Neo4j does not answer, or holds nothing yet, with how far it is behind."""
    said = EngineAway("Neo4j", NAME, filling=filling)
    row = await reader.one(
        "SELECT h.position AS head, coalesce((SELECT position FROM chancery.projections WHERE name = %(name)s), 0) AS position"
        " FROM record.head h",
        name=NAME,
    )
    if row is not None:
        said.reached, said.head = int(row["position"]), int(row["head"])
    return said


def _texts(ids: Collection[UUID]) -> list[str]:
    return [str(id) for id in dict.fromkeys(ids)]


def _time(micros: int | None) -> datetime | None:
    return None if micros is None else time_of(micros)
