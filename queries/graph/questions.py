"""The questions an analyst asks of the graph."""

import itertools
from collections import Counter
from dataclasses import replace
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from queries.graph import measures
from queries.graph.asking import (
    PERMISSION,
    VIEWS,
    WORK,
    About,
    Paged,
    SameEnds,
    drawn,
    end,
    ends_of,
    graph_of,
    offset_of,
    page_of,
    scope_of,
    start,
    token,
)
from queries.graph.forms import Answer, Plain, Written, edge_said, node_said, synthetic, told
from queries.graph.port import Edge, GraphTooLarge
from queries.kernel import Reader, query

MOST_DEPTH = 6
MOST_DRAWN = 5_000
MOST_CO_WORK = 50_000

Depth = Annotated[int, Field(ge=1, le=MOST_DEPTH)]
End = Annotated[str, Field(max_length=80, description="The other end, as kind/id.")]
Told = Plain | Written


class AskNeighbourhood(About, Paged):
    depth: Depth = 1
    max_nodes: Annotated[int, Field(ge=1, le=MOST_DRAWN)] = 300
    max_edges: Annotated[int, Field(ge=1, le=20_000)] = 2_000
    page_size: Annotated[int, Field(ge=1, le=MOST_DRAWN)] = MOST_DRAWN


@query(
    "graph.neighbourhood",
    "GET /graph/{kind}/{id}/neighbourhood",
    permission=PERMISSION,
    title="What is near a node of the graph",
    views=VIEWS,
)
async def neighbourhood(q: AskNeighbourhood, r: Reader) -> Told:
    """The nodes reached over at most `depth` edges in either direction, nearest first, and the edges passed on the way.

    Where a limit cuts the answer short, what is nearest and latest is kept and `truncated` says so. A page holds so many nodes and the edges
    that join them to each other and to those of earlier pages.
    """
    scope, _ = await start(r, scope_of(q, r), q.kind, q.id)
    found = await graph_of(r).neighbourhood(q.id, scope, depth=q.depth, nodes=q.max_nodes, edges=q.max_edges)
    shown, following = page_of(q, found.nodes)
    places = {id: n for n, id in enumerate(found.nodes)}
    first, last = offset_of(q), offset_of(q) + len(shown)
    edges = [e for e in found.edges if first <= max(places[e.source], places[e.target]) < last]
    kinds = {id: found.kinds.get(id, q.kind) for id in shown}
    answer = Answer(
        nodes=await drawn(r, scope, kinds, distance=dict(found.distances)),
        edges=[edge_said(e) for e in edges],
        more={"truncated": found.truncated, "next_page_token": following},
    )
    return told(answer, q.format, "neighbourhood")


class AskPaths(About, Paged):
    to: End
    which: Annotated[Literal["shortest", "simple"], Field(description="The shortest paths, or all that pass no node twice.")] = (
        "shortest"
    )
    max_depth: Depth = 4
    max_paths: Annotated[int, Field(ge=1, le=1_000)] = 100


@query(
    "graph.paths",
    "GET /graph/{kind}/{id}/paths",
    permission=PERMISSION,
    title="How two nodes of the graph are connected",
    views=VIEWS,
)
async def paths(q: AskPaths, r: Reader) -> Told:
    """Paths to the other end of at most `max_depth` edges, shorter ones first; an edge is passed in either direction."""
    to_kind, to = end(q.to, "to")
    scope, _ = await start(r, scope_of(q, r), q.kind, q.id)
    scope, _ = await start(r, scope, to_kind, to)
    graph = graph_of(r)
    search = graph.shortest_paths if q.which == "shortest" else graph.simple_paths
    found = await search(q.id, to, scope, depth=q.max_depth, paths=q.max_paths)
    shown, following = page_of(q, found.paths)
    steps = {frozenset(step) for p in shown for step in itertools.pairwise(p)}
    edges = [e for e in found.edges if frozenset((e.source, e.target)) in steps]
    kinds = {q.id: q.kind, to: to_kind} | ends_of(edges)
    nodes = await drawn(r, scope, {id: kinds[id] for id in dict.fromkeys(id for p in shown for id in p)})
    answer = Answer(
        nodes=nodes,
        edges=[edge_said(e) for e in edges],
        more={
            "paths": [{"length": len(p) - 1, "nodes": list(p)} for p in shown],
            "truncated": found.truncated,
            "next_page_token": following,
        },
        table=_steps(shown, nodes, edges),
    )
    return told(answer, q.format, "paths")


def _steps(shown: list[tuple[UUID, ...]], nodes: list[Plain], edges: list[Edge]) -> list[Plain]:
    by_id = {n["id"]: n for n in nodes}
    rows = []
    for number, p in enumerate(shown, 1):
        for step, id in enumerate(p):
            through = [e.kind for e in edges if step and {e.source, e.target} == {p[step - 1], id}]
            node = by_id[id]
            rows.append(
                {
                    "path": number,
                    "step": step,
                    "kind": node["kind"],
                    "id": id,
                    "label": node["label"],
                    "through": " ".join(sorted(set(through))),
                }
            )
    return rows


class AskCommon(About, Paged):
    to: End
    node_kinds: Annotated[str, Field(max_length=1_000, description="The kinds of node that may be what both have in common.")] = (
        "contact,organisation"
    )


@query(
    "graph.common",
    "GET /graph/{kind}/{id}/common",
    permission=PERMISSION,
    title="What two nodes of the graph have in common",
    views=VIEWS,
)
async def common(q: AskCommon, r: Reader) -> Told:
    """The contacts and organisations (or the kinds asked for) next to both ends, with the edges that join them."""
    to_kind, to = end(q.to, "to")
    if to == q.id:
        raise SameEnds
    wanted = scope_of(q, r)
    scope, one = await start(r, wanted, q.kind, q.id)
    scope, other = await start(r, scope, to_kind, to)
    near = {id: await graph_of(r).touching([id], scope, limit=MOST_DRAWN + 1) for id in (q.id, to)}
    sides = [{e.other(id): e for e in edges} for id, edges in near.items()]
    kinds = ends_of(e for edges in near.values() for e in edges)
    both = sorted(id for id in sides[0].keys() & sides[1].keys() if id not in {q.id, to} and kinds[id] in wanted.node_kinds)
    shown, following = page_of(q, both)
    edges = [e for id, near_it in near.items() for e in near_it if e.other(id) in shown]
    nodes = await drawn(r, scope, {id: kinds[id] for id in shown})
    answer = Answer(
        nodes=[node_said(one), node_said(other), *nodes],
        edges=[edge_said(e) for e in edges],
        more={
            "items": nodes,
            "truncated": any(len(edges) > MOST_DRAWN for edges in near.values()),
            "next_page_token": following,
        },
        table=nodes,
    )
    return told(answer, q.format, "common")


class AskTimeline(About, Paged):
    depth: Annotated[int, Field(ge=1, le=3, description="How far around the node: what happened between any two within.")] = 1
    max_nodes: Annotated[int, Field(ge=1, le=MOST_DRAWN)] = 300


@query(
    "graph.timeline",
    "GET /graph/{kind}/{id}/timeline",
    permission=PERMISSION,
    title="What happened around a node of the graph",
    views=VIEWS,
)
async def timeline(q: AskTimeline, r: Reader) -> Told:
    """Every event that began, changed or ended an edge near the node, or did something along it; the latest first."""
    scope, _ = await start(r, scope_of(q, r, ended=True), q.kind, q.id)
    graph = graph_of(r)
    found = await graph.neighbourhood(q.id, scope, depth=q.depth, nodes=q.max_nodes, edges=20_000)
    first = offset_of(q)
    happened = await graph.timeline(found.nodes, scope, limit=q.page_size + 1, offset=first)
    shown = happened[: q.page_size]
    edges = {e.id: e for h in reversed(shown) for e in [h.edge]}
    nodes = await drawn(r, scope, {q.id: q.kind} | ends_of(edges.values()))
    items = [
        {
            "at": h.at,
            "event": h.event,
            "event_id": h.event_id,
            "edge": h.edge.id,
            "kind": h.edge.kind,
            "role": h.edge.role,
            "source_kind": h.edge.source_kind,
            "source": h.edge.source,
            "target_kind": h.edge.target_kind,
            "target": h.edge.target,
            "count": h.edge.count,
        }
        for h in shown
    ]
    following = token(q, first + q.page_size) if len(happened) > q.page_size else ""
    answer = Answer(
        nodes=nodes,
        edges=[edge_said(e) for e in edges.values()],
        more={"items": items, "truncated": found.truncated, "next_page_token": following},
        table=items,
    )
    return told(answer, q.format, "timeline")


class AskCoWorking(Paged):
    member: Annotated[UUID | None, Field(description="Only pairs with this member.")] = None
    node_kinds: Annotated[str, Field(max_length=1_000, description="The kinds of thing worked on.")] = "deal,document,task,project"


@query(
    "graph.co_working",
    "GET /graph/co-working",
    permission=PERMISSION,
    title="Which members work on the same things",
    views=VIEWS,
)
async def co_working(q: AskCoWorking, r: Reader) -> Told:
    """Pairs of members by the number of things both worked on: did something to, wrote, were assigned to, or are on the team of."""
    scope = scope_of(q, r, edge_kinds=WORK)
    things = tuple(kind for kind in scope.node_kinds if kind != "member")
    if q.member is not None:
        await start(r, scope, "member", q.member)
    members = "member" if "members:read" in r.permissions else ""
    scope = replace(scope, node_kinds=(*things, members) if members else ())
    rows = await graph_of(r).co_working(scope, member=q.member, limit=MOST_CO_WORK + 1)
    if len(rows) > MOST_CO_WORK:
        raise GraphTooLarge(measure="co-working", most_rows=MOST_CO_WORK)
    pairs: dict[tuple[UUID, UUID], list[Plain]] = {}
    for row in rows:
        said = {"kind": row.kind, "shared": row.shared, "since": row.since, "last_at": row.last_at}
        pairs.setdefault((row.first, row.second), []).append(said)
    items = [
        {
            "members": list(pair),
            "shared": sum(s["shared"] for s in said),
            "by_kind": {s["kind"]: s["shared"] for s in said},
            "since": min((s["since"] for s in said if s["since"] is not None), default=None),
            "last_at": max(s["last_at"] for s in said),
        }
        for pair, said in pairs.items()
    ]
    items.sort(key=lambda item: (-item["shared"], item["members"]))
    shown, following = page_of(q, items)
    nodes = await drawn(r, scope, {id: "member" for item in shown for id in item["members"]})
    labels = {n["id"]: n["label"] for n in nodes}
    edges = [
        synthetic(
            f"{item['members'][0]}/{item['members'][1]}",
            item["members"][0],
            item["members"][1],
            "co_worked",
            "member",
            count=item["shared"],
            since=item["since"],
            last_at=item["last_at"],
        )
        for item in shown
    ]
    rows_told = [
        {
            "first": item["members"][0],
            "first_label": labels[item["members"][0]],
            "second": item["members"][1],
            "second_label": labels[item["members"][1]],
            "shared": item["shared"],
            **{kind: item["by_kind"].get(kind, 0) for kind in things},
            "since": item["since"],
            "last_at": item["last_at"],
        }
        for item in shown
    ]
    answer = Answer(nodes=nodes, edges=edges, more={"items": shown, "next_page_token": following}, table=rows_told)
    return told(answer, q.format, "co-working")


class AskCentral(Paged):
    by: Annotated[
        Literal["degree", "pagerank", "betweenness"],
        Field(description="Edges of a node, PageRank, or the share of shortest paths that pass it."),
    ] = "degree"


@query(
    "graph.central",
    "GET /graph/central",
    permission=PERMISSION,
    title="The most connected nodes of the graph",
    views=VIEWS,
)
async def central(q: AskCentral, r: Reader) -> Told:
    """The firm's nodes by degree, PageRank or betweenness, the highest first, and the edges between those on the page.

    PageRank and betweenness are refused where the graph, narrowed by kinds and times, is larger than they take.
    """
    scope = scope_of(q, r)
    graph = graph_of(r)
    first = offset_of(q)
    values: dict[UUID, object]
    if q.by == "degree":
        ranked = await graph.degrees(scope, limit=q.page_size + 1, offset=first)
        shown = ranked[: q.page_size]
        kinds = {d.id: d.kind for d in shown}
        values = {d.id: d.degree for d in shown}
        following = token(q, first + q.page_size) if len(ranked) > q.page_size else ""
        more: dict[str, dict[UUID, object]] = {
            "neighbours": {d.id: d.neighbours for d in shown},
            "weight": {d.id: d.weight for d in shown},
        }
    else:
        pairs = await graph.pairs(scope, limit=measures.MOST_PAIRS[q.by] + 1)
        page, following = page_of(q, await measures.central(q.by, pairs))
        kinds = {id: kind for id, kind, _ in page}
        values = {id: value for id, _, value in page}
        more = {}
    edges = await graph.between(list(kinds), scope, limit=MOST_DRAWN)
    nodes = await drawn(r, scope, kinds, value=values, **more)
    answer = Answer(
        nodes=nodes,
        edges=[edge_said(e) for e in edges],
        more={"by": q.by, "items": nodes, "next_page_token": following},
        table=nodes,
    )
    return told(answer, q.format, f"central-by-{q.by}")


class AskCommunities(Paged):
    resolution: Annotated[float, Field(ge=0.1, le=10, description="Above 1 for smaller communities, below for larger ones.")] = 1.0
    max_members: Annotated[int, Field(ge=1, le=1_000, description="So many members of each, the most connected first.")] = 100
    page_size: Annotated[int, Field(ge=1, le=100)] = 20


@query(
    "graph.communities",
    "GET /graph/communities",
    permission=PERMISSION,
    title="The communities the graph falls into",
    views=VIEWS,
)
async def communities(q: AskCommunities, r: Reader) -> Told:
    """Groups of nodes that are more connected with each other than with the rest (Louvain), the largest first.

    Connections weigh what their edges count. Refused where the graph, narrowed by kinds and times, is larger than the method takes.
    """
    scope = scope_of(q, r)
    graph = graph_of(r)
    pairs = await graph.pairs(scope, limit=measures.MOST_PAIRS["communities"] + 1)
    found = await measures.communities(pairs, resolution=q.resolution)
    kinds = measures.nodes_of(pairs)
    numbered = list(enumerate(found, 1))
    shown, following = page_of(q, numbered)
    items = [
        {
            "community": number,
            "size": len(members),
            "kinds": dict(sorted(Counter(kinds[m] for m in members).items())),
            "members": members[: q.max_members],
        }
        for number, members in shown
    ]
    of: dict[UUID, object] = {m: number for number, members in shown for m in members[: q.max_members]}
    nodes = await drawn(r, scope, {id: kinds[id] for id in of}, community=of)
    edges = await graph.between(list(of), scope, limit=MOST_DRAWN)
    answer = Answer(
        nodes=nodes,
        edges=[edge_said(e) for e in edges],
        more={"items": items, "communities": len(found), "next_page_token": following},
        table=nodes,
    )
    return told(answer, q.format, "communities")
