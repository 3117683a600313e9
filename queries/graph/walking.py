"""Walks over a graph that gives the edges of a frontier at a time: neighbourhoods, shortest paths and simple paths, each bounded."""

import itertools
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from uuid import UUID

from queries.graph.port import Edge, Paths, Subgraph

Touching = Callable[[Collection[UUID], int], Awaitable[Sequence[Edge]]]
"""(nodes, limit): the edges that begin or end at them."""
Nearby = Callable[[Collection[UUID], Collection[UUID], int], Awaitable[Sequence[tuple[UUID, str]]]]
"""(frontier, known nodes, limit): the nodes next to the frontier that are not known, with their kinds."""
Between = Callable[[Mapping[UUID, int], int, int], Awaitable[Sequence[Edge]]]
"""(nodes with their distances, depth, limit): the edges that join two of them, one of which is nearer than the depth."""

MOST_EDGES = 50_000  # read for one question about paths
MOST_STEPS = 200_000  # tried for one question about paths


async def neighbourhood(nearby: Nearby, between: Between, start: UUID, *, depth: int, nodes: int, edges: int) -> Subgraph:
    """Level by level until there are enough nodes; then the edges that a walk of that depth would pass, between those found."""
    kinds: dict[UUID, str] = {}
    distances = {start: 0}
    frontier = [start]
    truncated = False
    for level in range(1, depth + 1):
        left = nodes - len(distances)
        found = await nearby(frontier, list(distances), left + 1)
        truncated = len(found) > left
        frontier = [id for id, _ in found[:left]]
        kinds.update(found[:left])
        distances.update(dict.fromkeys(frontier, level))
        if truncated or not frontier:
            break
    walked = await between(distances, depth, edges + 1)
    return Subgraph(
        nodes=tuple(distances),
        kinds=kinds,
        distances=distances,
        edges=tuple(walked[:edges]),
        truncated=truncated or len(walked) > edges,
    )


class _Side:
    """What is known from one end of the paths."""

    def __init__(self, start: UUID) -> None:
        self.distances = {start: 0}
        self.frontier = [start]
        self.level = 0


class _Known:
    """Edges that were read, by the nodes they join."""

    def __init__(self, touching: Touching) -> None:
        self._touching = touching
        self.edges: dict[UUID, Edge] = {}
        self.near: dict[UUID, set[UUID]] = {}
        self.truncated = False

    async def grow(self, side: _Side) -> None:
        """Read the edges of a side's frontier."""
        found = await self._touching(side.frontier, MOST_EDGES + 1)
        side.level += 1
        frontier = []
        for e in found:
            if e.id not in self.edges:
                if len(self.edges) == MOST_EDGES:
                    self.truncated = True
                    break
                self.edges[e.id] = e
                self.near.setdefault(e.source, set()).add(e.target)
                self.near.setdefault(e.target, set()).add(e.source)
        for node in side.frontier:
            for other in self.near.get(node, ()):
                if other not in side.distances:
                    side.distances[other] = side.level
                    frontier.append(other)
        side.frontier = sorted(frontier)

    def distances_to(self, b: UUID) -> dict[UUID, int]:
        distances = {b: 0}
        frontier = [b]
        while frontier:
            reached = []
            for node in frontier:
                for other in self.near.get(node, ()):
                    if other not in distances:
                        distances[other] = distances[node] + 1
                        reached.append(other)
            frontier = reached
        return distances

    def between(self, paths: Iterable[tuple[UUID, ...]]) -> tuple[Edge, ...]:
        """The edges between neighbours on these paths."""
        steps = {frozenset(step) for p in paths for step in itertools.pairwise(p)}
        return tuple(sorted((e for e in self.edges.values() if frozenset((e.source, e.target)) in steps), key=lambda e: e.id))


async def shortest_paths(touching: Touching, a: UUID, b: UUID, *, depth: int, paths: int) -> Paths:
    """From both ends, the smaller frontier first, until they meet."""
    if a == b:
        return Paths(paths=((a,),), edges=())
    known = _Known(touching)
    one, other = _Side(a), _Side(b)
    while one.level + other.level < depth and one.frontier and other.frontier and not known.truncated:
        await known.grow(one if len(one.frontier) <= len(other.frontier) else other)
        if one.distances.keys() & other.distances.keys():
            break
    to_b = known.distances_to(b)
    if to_b.get(a, depth + 1) > depth:
        return Paths(paths=(), edges=(), truncated=known.truncated)
    found, cut = _paths(known.near, to_b, a, b, lengths=[to_b[a]], limit=paths)
    return Paths(paths=found, edges=known.between(found), truncated=known.truncated or cut)


async def simple_paths(touching: Touching, a: UUID, b: UUID, *, depth: int, paths: int) -> Paths:
    """Every edge of such a path is near enough to one of the ends: half of the depth from each is read."""
    if a == b:
        return Paths(paths=(), edges=())
    known = _Known(touching)
    one, other = _Side(a), _Side(b)
    while one.level + other.level < depth and not known.truncated:
        side = one if one.level <= other.level else other
        if not side.frontier:
            side = other if side is one else one
        if not side.frontier:
            break
        await known.grow(side)
    to_b = known.distances_to(b)
    if to_b.get(a, depth + 1) > depth:
        return Paths(paths=(), edges=(), truncated=known.truncated)
    found, cut = _paths(known.near, to_b, a, b, lengths=range(to_b[a], depth + 1), limit=paths)
    return Paths(paths=found, edges=known.between(found), truncated=known.truncated or cut)


def _paths(
    near: Mapping[UUID, set[UUID]], to_b: Mapping[UUID, int], a: UUID, b: UUID, *, lengths: Iterable[int], limit: int
) -> tuple[list[tuple[UUID, ...]], bool]:
    """Paths of these lengths in turn, each length in the order of the nodes passed; whether a limit ended the search."""
    found: list[tuple[UUID, ...]] = []
    ordered: dict[UUID, list[UUID]] = {}
    steps = 0

    def nearest(node: UUID) -> list[UUID]:
        if node not in ordered:
            ordered[node] = sorted(n for n in near.get(node, ()) if n in to_b)
        return ordered[node]

    for length in lengths:
        path = [a]
        choices = [iter(nearest(a))]
        while choices:
            step = next(choices[-1], None)
            if step is None:
                choices.pop()
                path.pop()
                continue
            steps += 1
            if steps > MOST_STEPS:
                return found, True
            left = length - len(path)
            if step in path or to_b[step] > left or (step == b) != (left == 0):
                continue
            if step == b:
                if len(found) == limit:
                    return found, True
                found.append((*path, b))
                continue
            path.append(step)
            choices.append(iter(nearest(step)))
    return found, False
