"""Measures of a whole graph by libraries: PageRank and betweenness by rustworkx, communities by networkx (Louvain)."""

import asyncio
import importlib
from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from queries.graph.port import GraphTooLarge

Pair = tuple[UUID, str, UUID, str, int]
Measure = Literal["pagerank", "betweenness"]

MOST_PAIRS: dict[str, int] = {"pagerank": 200_000, "betweenness": 20_000, "communities": 20_000}
MOST_NODES: dict[str, int] = {"pagerank": 100_000, "betweenness": 5_000, "communities": 20_000}
SEED = 7


def small_enough(measure: str, pairs: Sequence[Pair], nodes: int) -> None:
    """GraphTooLarge with the limits when a graph is beyond what the measure takes."""
    most_pairs, most_nodes = MOST_PAIRS[measure], MOST_NODES[measure]
    if len(pairs) > most_pairs or nodes > most_nodes:
        raise GraphTooLarge(measure=measure, most_nodes=most_nodes, most_connections=most_pairs)


def nodes_of(pairs: Sequence[Pair]) -> dict[UUID, str]:
    """The nodes that are joined, with their kinds, by id."""
    found = {a: kind for a, kind, _, _, _ in pairs} | {b: kind for _, _, b, kind, _ in pairs}
    return {id: found[id] for id in sorted(found)}


async def central(measure: Measure, pairs: Sequence[Pair]) -> list[tuple[UUID, str, float]]:
    """(node, kind, value), the highest value first, then by id. Connections are undirected; PageRank weighs them by what they count.

    PageRank has damping 0.85; betweenness is the share of shortest paths that pass a node (Freeman 1977, normalised).
    """
    kinds = nodes_of(pairs)
    small_enough(measure, pairs, len(kinds))
    values = await asyncio.to_thread(_values, measure, pairs, list(kinds))
    ranked = sorted(zip(kinds, values, strict=True), key=lambda x: (-x[1], x[0]))
    return [(id, kinds[id], value) for id, value in ranked]


def _values(measure: Measure, pairs: Sequence[Pair], ids: Sequence[UUID]) -> list[float]:
    import rustworkx as rx

    places = {id: n for n, id in enumerate(ids)}
    if measure == "pagerank":
        directed: rx.PyDiGraph[int, float] = rx.PyDiGraph()
        directed.add_nodes_from(range(len(ids)))
        both = [(places[a], places[b], float(w)) for a, _, b, _, w in pairs]
        directed.add_edges_from(both + [(b, a, w) for a, b, w in both if a != b])
        ranks = rx.pagerank(directed, alpha=0.85, weight_fn=float)
        return [round(ranks[n], 9) for n in range(len(ids))]
    graph: rx.PyGraph[int, float] = rx.PyGraph()
    graph.add_nodes_from(range(len(ids)))
    graph.add_edges_from([(places[a], places[b], float(w)) for a, _, b, _, w in pairs if a != b])
    between = rx.betweenness_centrality(graph, normalized=True)
    return [round(between[n], 9) for n in range(len(ids))]


async def communities(pairs: Sequence[Pair], *, resolution: float) -> list[list[UUID]]:
    """Communities by Louvain (Blondel et al. 2008), the largest first, then by their first members; members by connections, then id.

    The same graph always falls into the same communities: the order of nodes and the seed are fixed.
    """
    kinds = nodes_of(pairs)
    small_enough("communities", pairs, len(kinds))
    return await asyncio.to_thread(_communities, pairs, list(kinds), resolution)


def _communities(pairs: Sequence[Pair], ids: Sequence[UUID], resolution: float) -> list[list[UUID]]:
    nx: Any = importlib.import_module("networkx")

    places = {id: n for n, id in enumerate(ids)}
    graph = nx.Graph()
    graph.add_nodes_from(range(len(ids)))
    graph.add_weighted_edges_from((places[a], places[b], w) for a, _, b, _, w in pairs)
    found = nx.community.louvain_communities(graph, seed=SEED, resolution=resolution)
    degrees = dict(graph.degree())
    ordered = [sorted(members, key=lambda n: (-degrees[n], n)) for members in found]
    ordered.sort(key=lambda members: (-len(members), members[0]))
    return [[ids[n] for n in members] for members in ordered]
