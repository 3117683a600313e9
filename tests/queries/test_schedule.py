import csv
import tarfile
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import get_args
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.projects import DependencyCycle
from domain.projects.events import DependencyType
from queries.schedule import Bond, schedule
from tests.shared import shared

A, B, C, D, E = (UUID(int=n) for n in range(1, 6))
FS, SS, FF, SF = get_args(DependencyType)


def bond(predecessor: UUID, successor: UUID, type: DependencyType = FS, lag: int = 0) -> Bond[UUID]:
    return Bond(predecessor=predecessor, successor=successor, type=type, lag=lag)


@pytest.mark.invariant("S1")
def test_the_longest_chain_is_critical_and_the_rest_has_slack() -> None:
    s = schedule({A: 3, B: 5, C: 2, D: 1}, [bond(A, B), bond(A, C), bond(B, D), bond(C, D)])
    assert (s.duration, s.critical) == (9, (A, B, D))
    assert (s.times[C].early_start, s.times[C].late_start, s.times[C].total_slack, s.times[C].free_slack) == (3, 6, 3, 3)


@pytest.mark.parametrize(
    ("type", "lag", "starts"),
    [(FS, 0, 10), (FS, 3, 13), (FS, -4, 6), (SS, 2, 2), (SS, -2, 0), (FF, 0, 6), (FF, 5, 11), (FF, -8, 0), (SF, 9, 5), (SF, 0, 0)],
)
@pytest.mark.invariant("S2")
def test_each_type_of_dependency_has_its_meaning(type, lag, starts) -> None:
    assert schedule({A: 10, B: 4}, [bond(A, B, type, lag)]).times[B].early_start == starts


@pytest.mark.invariant("S3")
def test_a_task_without_successors_may_finish_with_the_project() -> None:
    s = schedule({A: 10, B: 4}, [])
    assert (s.times[B].late_finish, s.times[B].total_slack, s.critical) == (10, 6, (A,))


@pytest.mark.invariant("S2")
def test_a_task_is_not_planned_before_its_own_earliest_start() -> None:
    s = schedule({A: 10, B: 4}, [bond(A, B)], {A: 7, B: 3})
    assert (s.times[A].early_start, s.times[B].early_start, s.duration) == (7, 17, 21)


def test_a_project_without_tasks_lasts_no_time() -> None:
    assert schedule({}, []).duration == 0


@pytest.mark.invariant("S6")
def test_a_circle_has_no_schedule_and_is_named_in_order() -> None:
    with pytest.raises(DependencyCycle) as refused:
        schedule({A: 1, B: 1, C: 1, D: 1}, [bond(A, B), bond(B, C, SS), bond(C, A, FF), bond(C, D)])
    ring = refused.value.cycle
    assert set(ring) == {A, B, C}
    assert {(A, B), (B, C), (C, A)} == set(zip(ring, (*ring[1:], ring[0]), strict=True))


# --- against all-pairs longest distances (Floyd and Warshall), which know no order of tasks and no second pass

ids = [A, B, C, D, E]


@st.composite
def networks(draw):
    order = draw(st.permutations(ids))
    durations = {id: draw(st.integers(0, 6)) for id in draw(st.lists(st.sampled_from(ids), min_size=1, max_size=5, unique=True))}
    bonds = [
        bond(a, b, draw(st.sampled_from([FS, SS, FF, SF])), draw(st.integers(-5, 5)))
        for n, a in enumerate(order)
        for b in order[n + 1 :]
        if a in durations and b in durations
        for _ in range(draw(st.integers(0, 2)))
    ]
    held = {id: draw(st.integers(0, 9)) for id in durations if draw(st.booleans())}
    return durations, bonds, held


def distances(durations, bonds, held):
    """Longest distances between starts: every schedule keeps `start[b] - start[a] >= d[a, b]`, and no tighter bound holds."""
    none = -(10**9)
    nodes = ["origin", *durations]
    d = {(a, b): 0 if a == b else none for a in nodes for b in nodes}
    for id in durations:
        d["origin", id] = max(0, held.get(id, 0))
    for x in bonds:
        i, j = durations[x.predecessor], durations[x.successor]
        least = {FS: i + x.lag, SS: x.lag, FF: i + x.lag - j, SF: x.lag - j}[x.type]
        d[x.predecessor, x.successor] = max(d[x.predecessor, x.successor], least)
    for k in nodes:
        for a in nodes:
            for b in nodes:
                d[a, b] = max(d[a, b], d[a, k] + d[k, b])
    return d


@pytest.mark.invariant("S1")
@pytest.mark.invariant("S2")
@pytest.mark.invariant("S3")
@pytest.mark.invariant("S4")
@settings(max_examples=400)
@given(networks())
def test_dates_and_slacks_are_those_of_the_longest_distances(network) -> None:
    durations, bonds, held = network
    s = schedule(durations, bonds, held)
    d = distances(durations, bonds, held)
    end = max(d["origin", id] + durations[id] for id in durations)
    assert s.duration == end
    for id, t in s.times.items():
        assert t.early_start == d["origin", id]
        assert t.late_start == min(end - durations[x] - d[id, x] for x in durations)
        assert (t.early_finish, t.late_finish) == (t.early_start + t.duration, t.late_start + t.duration)
        assert t.total_slack == t.late_start - t.early_start >= t.free_slack >= 0
    assert set(s.critical) == {id for id, t in s.times.items() if t.total_slack == 0}


@pytest.mark.invariant("S4")
@pytest.mark.invariant("S5")
@settings(max_examples=150)
@given(networks())
def test_slack_is_how_long_a_task_can_be_held_back_before_something_else_moves(network) -> None:
    durations, bonds, held = network
    s = schedule(durations, bonds, held)
    for id, t in s.times.items():

        def delayed(by: int, id=id, t=t):
            return schedule(durations, bonds, {**held, id: t.early_start + by})

        assert delayed(t.total_slack).duration == s.duration
        assert delayed(t.total_slack + 1).duration > s.duration
        free = delayed(t.free_slack)
        assert free.duration == s.duration
        assert all(free.times[x].early_start == other.early_start for x, other in s.times.items() if x != id)
        more = delayed(t.free_slack + 1)
        assert more.duration > s.duration or any(
            more.times[x].early_start != other.early_start for x, other in s.times.items() if x != id
        )


# --- PSPLIB, j30: 480 networks and their authors' answers


def psplib(text: str) -> tuple[dict[UUID, int], list[Bond[UUID]]]:
    """Durations and precedence of one `.sm` file; the numbers of its jobs become ids."""
    lines = iter(text.splitlines())

    def table(title: str, skip: int) -> Iterator[list[int]]:
        next(line for line in lines if line.startswith(title))
        for _ in range(skip):
            next(lines)
        for line in lines:
            if line.startswith("*"):
                return
            yield [int(word) for word in line.split()]

    bonds = [bond(UUID(int=row[0]), UUID(int=s)) for row in table("PRECEDENCE", 1) for s in row[3:]]
    return {UUID(int=row[0]): row[2] for row in table("REQUESTS", 2)}, bonds


def test_every_psplib_network_has_its_authors_length_and_critical_tasks() -> None:
    with shared("data/psplib-rcpsp/split/oracle_dev.csv").open() as file:
        answers = {row["instance"]: row for row in csv.DictReader(file) if row["set"] == "j30"}
    seen = set()
    with tarfile.open(shared("data/psplib-rcpsp/j30.sm.tar.gz")) as archive:
        for member in archive:
            if not member.name.endswith(".sm"):
                continue
            name = member.name.rsplit("/", 1)[-1]
            if name not in answers:
                continue
            network = archive.extractfile(member)
            assert network is not None
            s = schedule(*psplib(network.read().decode()))
            answer = answers[name]
            assert s.duration == int(answer["mpm_time_in_file"]), name
            assert sorted(id.int for id in s.critical) == [int(n) for n in answer["critical_task_numbers"].split()], name
            seen.add(name)
    assert seen == answers.keys()
    assert len(seen) == 480


def test_a_chain_of_ten_thousand_tasks_is_planned_in_time_that_grows_with_its_length() -> None:
    def seconds(count: int) -> float:
        chain = [UUID(int=n) for n in range(count)]
        bonds = [bond(a, b, lag=1) for a, b in pairwise(chain)] + [bond(a, b, SS) for a, b in zip(chain, chain[7:], strict=False)]
        best = []
        for _ in range(5):
            began = time.process_time()
            s = schedule(dict.fromkeys(chain, 3), bonds)
            best.append(time.process_time() - began)
        assert s.duration == 4 * count - 1
        return min(best)

    assert seconds(10_000) < 70 * seconds(1_000)
