"""The Cypher that writes: rows in, in batches, each name in it made from a build's number and the kinds that are declared.

Two graphs stand beside each other and share no node. What bears Chancery in its name holds everything, the past included, and answers the
questions of the port. The open one (Contact, Deal, PARTY_TO, …) holds what stands, without a word that is personal: Cypher sees it alone.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.graph.neo4j.rows import Plain
from infra.projector.tables import Key, Slice
from projections.graph_edges import SEALED_KIND, GraphEdgeRow
from projections.graph_nodes import GraphNodeRow
from queries.graph.port import NAMED, PERMISSION_OF

End = tuple[str, str, str]  # firm, id, kind
Stored = tuple[str, str, str, str]  # type, source, target of an edge in the open graph, and the end to look for it from
HUBS = frozenset({"member", "key", "purpose"})  # they have as many edges as the firm has things


@dataclass(frozen=True, slots=True)
class Statement:
    cypher: str
    rows: list[Plain]


LABELS: Mapping[str, str] = {kind: kind.capitalize() for kind in PERMISSION_OF}
_NAME = re.compile(r"[a-z][a-z_]{0,60}")


def relation(row: GraphEdgeRow) -> str:
    """The type of an edge in the open graph: what a relation between people is, is nobody's there."""
    kind = SEALED_KIND if row.sealed or row.kind is None else row.kind
    if not _NAME.fullmatch(kind):
        raise ValueError("a kind of edge is written in small letters")
    return kind.upper()


def open_node(row: GraphNodeRow, p: Plain) -> Plain:
    """A node as Cypher sees it. `amount` is a float there, for sums; the exact one is in the answers of the other questions."""
    out: Plain = {"firm": p["firm"], "id": p["id"], "status": row.status, "archived": row.archived}
    if row.kind in NAMED and row.label is not None:
        out["name"] = row.label
    if row.amount is not None:
        out["amount"] = float(row.amount)
    if row.currency is not None:
        out["currency"] = row.currency
    if row.closed_on is not None:
        out["closed_on"] = row.closed_on
    return out


def _moment(name: str) -> str:
    return f"datetime('2000-01-01T00:00Z') + duration({{microseconds: row.{name}}})"


def _unless_sealed(name: str, value: str) -> str:
    return f"{name}: CASE WHEN row.sealed OR row.{name} IS NULL THEN null ELSE {value} END"


_OPEN_EDGE = ", ".join(
    (
        "SET o = row {.id, .source, .target, .count, .last_event",
        f"last_at: {_moment('last_at')}",
        _unless_sealed("role", "row.role"),
        _unless_sealed("since", _moment("since")),
        _unless_sealed("until", _moment("until")) + "}",
    )
)
"""An edge as Cypher sees it, from the properties that everything is stored with: a row is told once, and what is null is not set."""
_AT = f"CASE WHEN row.source_kind IN [{', '.join(repr(kind) for kind in sorted(HUBS))}] THEN row.target ELSE row.source END"
"""The end to look for an edge from; as `stored` has it."""


def node_sought(x: str, label: str, firm: str = "row.firm", id: str = "row.id", *, by: str = "id") -> str:
    """Looks for a node by an index, and Cypher is told so.

    While it knows little of a graph that grows, it believes that looking through all of an index costs nothing, and goes on to do so
    until it plans anew: a batch then takes a hundred times as long.
    """
    return f"MATCH ({x}:{label} {{firm: {firm}, {by}: {id}}}) USING INDEX SEEK {x}:{label}(firm, {by})"


def edge_sought(x: str, kind: str, firm: str = "row.firm", id: str = "row.id", *, by: str = "id") -> str:
    """Looks for an edge as `node_sought` for a node."""
    return f"MATCH ()-[{x}:{kind} {{firm: {firm}, {by}: {id}}}]->() USING INDEX SEEK {x}:{kind}(firm, {by})"


@dataclass(slots=True)
class Batch:
    """What a batch writes, gathered by statement. `stored` says what the open graph holds of an edge, for as long as it is remembered."""

    build: int
    stored: dict[Key, Stored]
    ensured: set[End]
    ends: dict[str, list[Plain]] = field(default_factory=dict)
    nodes: dict[str, list[Plain]] = field(default_factory=dict)
    bare: list[Plain] = field(default_factory=list)
    made: dict[str, list[Plain]] = field(default_factory=dict)
    changed: dict[str, list[Plain]] = field(default_factory=dict)
    left: dict[str, list[Plain]] = field(default_factory=dict)
    past_nodes: list[Plain] = field(default_factory=list)
    past_edges: list[Plain] = field(default_factory=list)
    gone: list[Plain] = field(default_factory=list)
    ended_nodes: list[Plain] = field(default_factory=list)
    ended_edges: list[Plain] = field(default_factory=list)
    ended_gone: list[Plain] = field(default_factory=list)

    # --- nodes

    def node(self, row: GraphNodeRow, p: Plain) -> None:
        self.ensured.add((p["firm"], p["id"], row.kind))  # its statement comes before those of edges
        self.nodes.setdefault(row.kind, []).append({"firm": p["firm"], "id": p["id"], "p": p, "o": open_node(row, p)})

    def no_node(self, key: Key) -> None:
        self.bare.append({"firm": str(key[0]), "id": str(key[1])})

    # --- edges

    def edge(self, key: Key, row: GraphEdgeRow, p: Plain) -> None:
        now = stored(row, p["source"], p["target"])
        before = self.stored.get(key)
        if before == now:
            self.changed.setdefault(now[0], []).append(p)
            return
        if before is not None:
            self._leave(p["firm"], p["id"], before)
        self._need(row, p)
        self.made.setdefault(now[0], []).append(p)
        self.stored[key] = now

    def no_edge(self, key: Key) -> None:
        before = self.stored.pop(key, None)
        if before is not None:
            self._leave(str(key[0]), str(key[1]), before)

    def _leave(self, firm: str, id: str, before: Stored) -> None:
        self.left.setdefault(before[0], []).append({"firm": firm, "id": id, "at": before[3]})

    def _need(self, row: GraphEdgeRow, p: Plain) -> None:
        for id, kind in ((p["source"], row.source_kind), (p["target"], row.target_kind)):
            end: End = (p["firm"], id, kind)
            if end not in self.ensured:
                self.ensured.add(end)
                self.ends.setdefault(kind, []).append({"firm": end[0], "id": end[1]})

    # --- the past

    def superseded(self, view: str, s: Slice[Any], p: Plain) -> None:
        if s.row is None:
            self.gone.append({**p, "view": view})
        elif isinstance(s.row, GraphEdgeRow):
            self._need(s.row, p)
            self.past_edges.append(p)
        else:
            self.past_nodes.append(p)

    def amended(self, view: str, key: Key, s: Slice[Any], p: Plain) -> None:
        to = self.ended_gone if s.row is None else self.ended_edges if isinstance(s.row, GraphEdgeRow) else self.ended_nodes
        to.append({**p, "view": view, "key": str(key[1])})

    # --- as statements

    def statements(self) -> list[Statement]:
        """In the order in which they must be carried out."""
        n = self.build
        out: list[Statement] = []
        for kind, rows in self.nodes.items():
            out.append(
                Statement(
                    f"UNWIND $rows AS row MERGE (n:ChanceryNode{n} {{firm: row.firm, id: row.id}}) SET n = row.p"
                    f" MERGE (o:ChanceryOpen{n} {{firm: row.firm, id: row.id}}) SET o = row.o, o:{LABELS[kind]}",
                    rows,
                )
            )
        for kind, rows in self.ends.items():
            out.append(
                Statement(
                    f"UNWIND $rows AS row MERGE (:ChanceryNode{n} {{firm: row.firm, id: row.id}})"
                    f" MERGE (o:ChanceryOpen{n} {{firm: row.firm, id: row.id}}) ON CREATE SET o:{LABELS[kind]}",
                    rows,
                )
            )
        if self.bare:
            out.append(
                Statement(
                    f"UNWIND $rows AS row {node_sought('n', f'ChanceryNode{n}')} SET n = row"
                    f" WITH row {_open_end(n, 'row.id')} SET a = row",
                    self.bare,
                )
            )
        for kind, rows in self.left.items():
            out.append(
                Statement(
                    f"UNWIND $rows AS row {edge_sought('e', f'CHANCERY_EDGE_{n}')} DELETE e"
                    f" WITH row {_open_end(n)} MATCH (a)-[o:{kind}]-() WHERE o.id = row.id DELETE o",
                    rows,
                )
            )
        for kind, rows in self.made.items():
            out.append(
                Statement(
                    f"UNWIND $rows AS row {_private_ends(n)} CREATE (a)-[e:CHANCERY_EDGE_{n}]->(b) SET e = row"
                    f" WITH row {_open_ends(n)} CREATE (a)-[o:{kind}]->(b) {_OPEN_EDGE}",
                    rows,
                )
            )
        for kind, rows in self.changed.items():
            out.append(
                Statement(
                    f"UNWIND $rows AS row {edge_sought('e', f'CHANCERY_EDGE_{n}')} SET e = row"
                    f" WITH row {_open_end(n, _AT)} MATCH (a)-[o:{kind}]-() WHERE o.id = row.id {_OPEN_EDGE}",
                    rows,
                )
            )
        if self.past_nodes:
            out.append(Statement(f"UNWIND $rows AS row CREATE (n:ChanceryNodePast{n}) SET n = row", self.past_nodes))
        if self.past_edges:
            out.append(
                Statement(
                    f"UNWIND $rows AS row {_private_ends(n)} CREATE (a)-[e:CHANCERY_PAST_{n}]->(b) SET e = row", self.past_edges
                )
            )
        if self.gone:
            out.append(Statement(f"UNWIND $rows AS row CREATE (n:ChanceryGone{n}) SET n = row", self.gone))
        ending = (
            " WHERE x.updated_at = row.updated_at AND x.known_from = row.known_from"
            " SET x.valid_to = row.valid_to, x.known_to = row.known_to, x.known_end = row.known_end"
        )
        for sought, rows in (
            (edge_sought("x", f"CHANCERY_PAST_{n}"), self.ended_edges),
            (node_sought("x", f"ChanceryNodePast{n}"), self.ended_nodes),
            (f"{node_sought('x', f'ChanceryGone{n}')} WHERE x.view = row.view WITH x, row", self.ended_gone),
        ):
            if rows:
                out.append(Statement(f"UNWIND $rows AS row {sought}{ending}", rows))
        return out


def _private_ends(n: int) -> str:
    return _both(f"ChanceryNode{n}")


def _open_ends(n: int) -> str:
    return _both(f"ChanceryOpen{n}")


def _open_end(n: int, at: str = "row.at") -> str:
    return node_sought("a", f"ChanceryOpen{n}", id=at)


def _both(label: str) -> str:
    return f"{node_sought('a', label, id='row.source')} {node_sought('b', label, id='row.target')}"


def stored(row: GraphEdgeRow, source: str, target: str) -> Stored:
    """What the open graph holds of an edge, its ends given as text."""
    return relation(row), source, target, target if row.source_kind in HUBS else source


def stored_of(rows: Iterable[tuple[Key, Slice[GraphEdgeRow]]]) -> dict[Key, Stored]:
    """What the open graph holds of these edges."""
    return {key: stored(s.row, str(s.row.source), str(s.row.target)) for key, s in rows if s.row is not None}
