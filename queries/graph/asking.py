"""What every question to the graph may say, and what stands ready to answer it."""

import base64
import binascii
import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Annotated, Protocol, TypeVar, cast
from uuid import UUID

from pydantic import AwareDatetime, Field

from domain.kernel import Invalid, NotFound
from domain.relations import MEANINGS
from projections.graph_edges import ACTS, SEALED_KIND
from queries.figures import PeriodEndsBeforeItBegins
from queries.graph.forms import Format, Plain, node_said
from queries.graph.port import PERMISSION_OF, Edge, Graph, Node, NodeKind, Scope
from queries.kernel import Query, Reader
from queries.listing import SEES_PERSONAL, PageTokenUnusable

VIEWS = ("graph_nodes", "graph_edges")
PERMISSION = "firm:read"  # and then, kind by kind, what PERMISSION_OF says
WORK = ("acted_on", "authored", "assigned_to", "works_on")
LINKS = ("about", "assigned_to", "consented_to", "holds", "merged_into", "offered_to", "offers", "owned_by", "part_of", "party_to",
         "precedes", "works_on")  # fmt: skip
EDGE_KINDS = tuple(sorted({*LINKS, *ACTS, *MEANINGS, SEALED_KIND}))
LAST_OFFSET = 100_000

Item = TypeVar("Item")
_END = re.compile(r"([a-z]+)/([0-9a-fA-F-]{32,36})")


class NoSuchKind(Invalid):
    """There is no such kind of node or edge. Name one or more of the kinds that are known, with commas between them."""


class NotAnEnd(Invalid):
    """The other end is not named as kind/id, such as contact/0192f0c1-2d3e-7f00-8000-000000000001."""


class SameEnds(Invalid):
    """Both ends are the same node. Name another one."""


class HasGraph(Protocol):
    """A reader with the graph at hand."""

    @property
    def graph(self) -> Graph: ...


def graph_of(r: Reader) -> Graph:
    return cast(HasGraph, r).graph


Kinds = Annotated[str, Field(max_length=1_000)]


class Asked(Query):
    """What every question may say."""

    node_kinds: Annotated[
        Kinds, Field(description="Only nodes of these kinds, with commas between; all that may be read when left out.")
    ] = ""
    edge_kinds: Annotated[Kinds, Field(description="Only edges of these kinds, with commas between; all when left out.")] = ""
    ended: Annotated[bool, Field(description="Edges that have ended, or not begun, too.")] = False
    after: Annotated[
        AwareDatetime | None, Field(description="Only edges that stood, and acts that happened, at or after this time.")
    ] = None
    before: Annotated[
        AwareDatetime | None, Field(description="Only edges that stood, and acts that happened, at or before this time.")
    ] = None
    format: Annotated[Format, Field(description="json with nodes and edges for drawing, graphml, or csv.")] = "json"


class Paged(Asked):
    page_size: Annotated[int, Field(ge=1, le=1_000)] = 50
    page_token: Annotated[str, Field(max_length=200)] = ""


class About(Query):
    kind: NodeKind
    id: UUID


def _listed(text: str, known: Iterable[str], name: str) -> tuple[str, ...] | None:
    asked = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [part for part in asked if part not in known]
    if unknown:
        raise NoSuchKind(parameter=name, unknown=unknown[:20], known=list(known))
    return asked or None


def readable(permissions: Collection[str]) -> tuple[str, ...]:
    """The kinds of node these permissions let one read."""
    return tuple(kind for kind, permission in PERMISSION_OF.items() if permission in permissions)


def scope_of(q: Asked, r: Reader, *, edge_kinds: Sequence[str] | None = None, ended: bool | None = None) -> Scope:
    """What the reader may see of what is asked for."""
    if q.after is not None and q.before is not None and q.before < q.after:
        raise PeriodEndsBeforeItBegins(after=q.after.isoformat(), before=q.before.isoformat())
    allowed = readable(r.permissions)
    asked = _listed(q.node_kinds, PERMISSION_OF, "node_kinds")
    edges = _listed(q.edge_kinds, EDGE_KINDS, "edge_kinds")
    if edge_kinds is not None:
        edges = tuple(edge_kinds) if edges is None else tuple(k for k in edges if k in edge_kinds)
    return Scope(
        node_kinds=allowed if asked is None else tuple(k for k in allowed if k in asked),
        edge_kinds=edges,
        personal=SEES_PERSONAL in r.permissions,
        now=r.now,
        ended=q.ended if ended is None else ended,
        after=q.after,
        before=q.before,
    )


def with_kind(scope: Scope, *kinds: str) -> Scope:
    """The scope with kinds that were asked from, whatever kinds were asked for: never more than the reader may read."""
    return replace(scope, node_kinds=tuple(dict.fromkeys((*scope.node_kinds, *kinds))))


async def start(r: Reader, scope: Scope, kind: str, id: UUID) -> tuple[Scope, Node]:
    """The node a question begins at, which the reader must be able to read; its kind is taken into the scope."""
    if kind not in readable(r.permissions):
        raise NotFound(kind=kind, id=str(id))
    scope = with_kind(scope, kind)
    node = (await graph_of(r).nodes([id], scope)).get(id)
    if node is None or node.kind != kind:
        raise NotFound(kind=kind, id=str(id))
    return scope, node


def end(text: str, name: str) -> tuple[str, UUID]:
    """`kind/id`"""
    found = _END.fullmatch(text.strip())
    if found is None or found[1] not in PERMISSION_OF:
        raise NotAnEnd(parameter=name)
    try:
        return found[1], UUID(found[2])
    except ValueError:
        raise NotAnEnd(parameter=name) from None


async def drawn(r: Reader, scope: Scope, kinds: dict[UUID, str], **more: dict[UUID, object]) -> list[Plain]:
    """Nodes to draw, in the order given: what is known of each, and the values of `more` that name it."""
    known = await graph_of(r).nodes(list(kinds), scope)
    said = []
    for id, kind in kinds.items():
        node = known.get(id, Node(id, kind))
        said.append(node_said(node, **{name: values[id] for name, values in more.items() if id in values}))
    return said


def ends_of(edges: Iterable[Edge]) -> dict[UUID, str]:
    return {id: kind for e in edges for id, kind in e.ends}


# --- pages


def _bound(q: Query) -> str:
    """A page token is good for the question it came with, other page sizes included."""
    asked = q.model_dump_json(exclude={"page_token", "page_size", "format"})
    return hashlib.sha256(f"{type(q).__name__}{asked}".encode()).hexdigest()[:16]


def offset_of(q: Paged) -> int:
    """Where the page begins."""
    if not q.page_token:
        return 0
    try:
        text = base64.urlsafe_b64decode(q.page_token.encode("ascii") + b"==").decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    offset, _, bound = text.partition(".")
    if bound != _bound(q) or not re.fullmatch(r"[0-9]{1,6}", offset) or int(offset) > LAST_OFFSET:
        raise PageTokenUnusable("Begin again without one, and leave the question as it is from page to page.")
    return int(offset)


def token(q: Paged, offset: int) -> str:
    if offset > LAST_OFFSET:
        return ""
    return base64.urlsafe_b64encode(f"{offset}.{_bound(q)}".encode()).decode().rstrip("=")


def page_of(q: Paged, items: Sequence[Item]) -> tuple[list[Item], str]:
    """The page that was asked for, and the token of the next one; empty when no more follow."""
    first = offset_of(q)
    last = first + q.page_size
    return list(items[first:last]), token(q, last) if last < len(items) else ""
