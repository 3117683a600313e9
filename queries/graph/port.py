"""The port of the activity graph: what an engine of the graph answers, and in which words.

G5  A node or an edge that the key may not read is never answered, walked through or counted.
G6  The same question has the same answer in the same order, whichever engine answers it.
G7  An answer that was cut short by a limit says so.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal, Protocol
from uuid import UUID

from domain.kernel import Invalid

NodeKind = Literal["contact", "organisation", "deal", "offer", "document", "task", "project", "member", "key", "purpose"]

PERMISSION_OF: Mapping[str, str] = {
    "contact": "contacts:read",
    "organisation": "contacts:read",
    "deal": "deals:read",
    "offer": "deals:read",
    "document": "documents:read",
    "task": "tasks:read",
    "project": "projects:read",
    "member": "members:read",
    "key": "keys:read",
    "purpose": "consent:read",
}
NAMED = frozenset({"organisation", "key", "purpose"})  # their labels are not personal


class GraphTooLarge(Invalid):
    """The part of the graph that was asked for is too large for this measure. Narrow it by kinds of node or edge, or by time."""


class GraphTookTooLong(Invalid):
    """The graph could not be searched in the time one question has. Ask for less depth, or narrow it by kinds or by time."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node; `label` is None where the reader may not see it. A node that is only known from its edges has no status."""

    id: UUID
    kind: str
    label: str | None = None
    status: str | None = None
    archived: bool = False
    amount: Decimal | None = None
    currency: str | None = None
    closed_on: date | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """`source kind target`; an act says how often (`count`), when first (`since`) and last (`last_at`)."""

    id: UUID
    source_kind: str
    source: UUID
    target_kind: str
    target: UUID
    kind: str
    role: str | None
    since: datetime | None
    until: datetime | None
    count: int
    last_at: datetime
    last_event: str
    last_event_id: UUID

    def other(self, end: UUID) -> UUID:
        """The far end, seen from one."""
        return self.target if end == self.source else self.source

    @property
    def ends(self) -> tuple[tuple[UUID, str], tuple[UUID, str]]:
        return (self.source, self.source_kind), (self.target, self.target_kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What part of the graph a reader sees and asks for.

    `now` is the moment that decides which edges stand; `ended` takes in those that have ended or not begun. `after` and `before`
    leave only edges that stood, or acts that happened, in between. Without `personal`, what a relation is and when it held is not
    to be seen, nor asked for: its kind is `related_to`, and neither time leaves it out.
    """

    node_kinds: tuple[str, ...]
    edge_kinds: tuple[str, ...] | None = None
    personal: bool = False
    now: datetime
    ended: bool = False
    after: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgraph:
    """Nodes in the order in which they were reached, with their distances, and the edges between; `truncated` by a limit."""

    nodes: Sequence[UUID]
    kinds: Mapping[UUID, str]
    distances: Mapping[UUID, int]
    edges: Sequence[Edge]
    truncated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Paths as the nodes they pass, shortest first, then by their nodes; `edges` are all those between neighbours on a path."""

    paths: Sequence[tuple[UUID, ...]]
    edges: Sequence[Edge]
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Degree:
    """`degree` counts edges, one from a node to itself twice; `neighbours` the nodes at their other ends; `weight` what the edges count."""

    id: UUID
    kind: str
    degree: int
    neighbours: int
    weight: int


@dataclass(frozen=True, slots=True)
class CoWork:
    """Two members (`first` has the lower id) and the things of one kind both worked on.

    `since` is when both had begun on the first of them, `last_at` when one of the two last worked on any: never before that.
    """

    first: UUID
    second: UUID
    kind: str
    shared: int
    since: datetime | None
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Happening:
    """An event as it changed an edge."""

    edge: Edge
    at: datetime
    event: str
    event_id: UUID


class Graph(Protocol):
    """An engine of the graph, bound to one firm and one moment.

    Edges come latest first (`last_at`, then `id`, falling and rising), nodes by id, unless said otherwise.
    """

    async def nodes(self, ids: Collection[UUID], scope: Scope) -> Mapping[UUID, Node]:
        """Those of these nodes that there are, labels masked."""
        ...

    async def neighbourhood(self, start: UUID, scope: Scope, *, depth: int, nodes: int, edges: int) -> Subgraph:
        """What is reached from a node over at most `depth` edges in either direction, and the edges passed on the way.

        Nodes come nearest first, of one distance the one with the latest edge to a nearer one first, then by id, and end after `nodes`.
        Edges are those between them of which an end is nearer than `depth`: by the distance of their nearer end, then the latest first.
        """
        ...

    async def shortest_paths(self, a: UUID, b: UUID, scope: Scope, *, depth: int, paths: int) -> Paths:
        """All paths between two nodes that are as short as any, of at most `depth` edges."""
        ...

    async def simple_paths(self, a: UUID, b: UUID, scope: Scope, *, depth: int, paths: int) -> Paths:
        """All paths between two nodes that pass no node twice, of at most `depth` edges."""
        ...

    async def edges(self, scope: Scope, *, limit: int, roles: Collection[str] | None = None) -> Sequence[Edge]:
        """All edges of the scope, or those of them with one of these roles, in the order of their ids; at most `limit`."""
        ...

    async def touching(self, ids: Collection[UUID], scope: Scope, *, limit: int) -> Sequence[Edge]:
        """The edges that begin or end at any of these nodes; at most `limit`."""
        ...

    async def between(self, ids: Collection[UUID], scope: Scope, *, limit: int) -> Sequence[Edge]:
        """The edges that join any two of these nodes; at most `limit`."""
        ...

    async def pairs(self, scope: Scope, *, limit: int) -> Sequence[tuple[UUID, str, UUID, str, int]]:
        """Which nodes are joined (the lower id first, with its kind, as is the other), and what their edges count together."""
        ...

    async def degrees(self, scope: Scope, *, limit: int, offset: int) -> Sequence[Degree]:
        """The most connected nodes: by degree falling, then by id."""
        ...

    async def co_working(self, scope: Scope, *, member: UUID | None, limit: int) -> Sequence[CoWork]:
        """Pairs of members by what both worked on, one of each kind of thing; the scope's edges are those that mean work."""
        ...

    async def timeline(self, ids: Collection[UUID], scope: Scope, *, limit: int, offset: int) -> Sequence[Happening]:
        """What happened between any two of these nodes, superseded and ended included: the latest first."""
        ...
