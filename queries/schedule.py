"""When the tasks of a project can be done: early and late dates, slacks and the critical path, by the precedence diagram method.

S1  The project starts at 0 and lasts as long as its longest chain of tasks and lags.
S2  No task starts before 0, before its own earliest start, or before its dependencies allow.
S3  Late dates are the latest that keep the project's end; a task without successors may finish with the project.
S4  A task is critical when it can't be delayed at all without delaying the project's end.
S5  Free slack is the delay that touches no other task's early dates and not the project's end.
S6  A circle has no schedule; it is refused and named.

Times are whole minutes of work from the project's start. Both passes visit each task and each dependency once: O(V + E).
The method is that of Fondahl (1961) and of the IBM Project Control System (1964); docs/critical-path.md has the formulas.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, assert_never
from uuid import UUID

import rustworkx

from domain.projects import DependencyCycle
from domain.projects.events import DependencyType

K = TypeVar("K", bound=UUID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bond(Generic[K]):
    """`successor` waits for `predecessor`."""

    predecessor: K
    successor: K
    type: DependencyType = "finish_to_start"
    lag: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """One task's place in time, in minutes from the project's start."""

    duration: int
    early_start: int
    early_finish: int
    late_start: int
    late_finish: int
    total_slack: int
    free_slack: int

    @property
    def critical(self) -> bool:
        return self.total_slack == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(Generic[K]):
    """`times` and `critical` stand in an order in which every task comes after those it waits for."""

    duration: int
    times: Mapping[K, Times]
    critical: tuple[K, ...]


def schedule(durations: Mapping[K, int], bonds: Collection[Bond[K]], not_before: Mapping[K, int] | None = None) -> Schedule[K]:
    """The schedule of tasks with these durations; bonds between tasks that are not among them are left out.

    Raises `DependencyCycle` naming a circle, each task before the one that waits for it.
    """
    ids = list(durations)
    place = {id: n for n, id in enumerate(ids)}
    length = [durations[id] for id in ids]
    held = [(place[b.predecessor], place[b.successor], b) for b in bonds if b.predecessor in place and b.successor in place]
    order = _order(ids, [(i, j) for i, j, _ in held])
    into: list[list[tuple[int, int]]] = [[] for _ in ids]
    out: list[list[tuple[int, int]]] = [[] for _ in ids]
    for i, j, b in held:
        gap = _gap(b, length[i], length[j])
        into[j].append((i, gap))
        out[i].append((j, gap))

    earliest = not_before or {}
    early = [max(0, earliest.get(id, 0)) for id in ids]
    for j in order:
        for i, gap in into[j]:
            early[j] = max(early[j], early[i] + gap)
    end = max((early[n] + length[n] for n in range(len(ids))), default=0)
    late = [end - d for d in length]
    free = [end - early[n] - length[n] for n in range(len(ids))]
    for i in reversed(order):
        for j, gap in out[i]:
            late[i] = min(late[i], late[j] - gap)
            free[i] = min(free[i], early[j] - early[i] - gap)
    times = {
        ids[n]: Times(
            duration=length[n],
            early_start=early[n],
            early_finish=early[n] + length[n],
            late_start=late[n],
            late_finish=late[n] + length[n],
            total_slack=late[n] - early[n],
            free_slack=free[n],
        )
        for n in order
    }
    return Schedule(duration=end, times=times, critical=tuple(id for id, t in times.items() if t.critical))


def _gap(bond: Bond[K], predecessor: int, successor: int) -> int:
    """The least distance from the predecessor's start to the successor's: each type of dependency is one such distance."""
    match bond.type:
        case "finish_to_start":
            return predecessor + bond.lag
        case "start_to_start":
            return bond.lag
        case "finish_to_finish":
            return predecessor + bond.lag - successor
        case "start_to_finish":
            return bond.lag - successor
        case _:
            assert_never(bond.type)


def _order(ids: Sequence[K], edges: Sequence[tuple[int, int]]) -> Sequence[int]:
    graph: rustworkx.PyDiGraph[int, None] = rustworkx.PyDiGraph(multigraph=True)
    graph.add_nodes_from(range(len(ids)))
    graph.add_edges_from_no_data(list(edges))
    try:
        return list(rustworkx.topological_sort(graph))
    except rustworkx.DAGHasCycle:
        cycle = rustworkx.digraph_find_cycle(graph)
        raise DependencyCycle(cycle=[ids[i] for i, _ in cycle]) from None
