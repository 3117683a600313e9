import itertools
import random
import time
from datetime import date
from typing import get_args
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import projects
from domain.kernel import NotFound, fold
from domain.projects import Project, decisions, evolve, network, refusals
from domain.projects import events as e
from domain.projects.network import admit
from domain.projects.roll import Roll
from infra.record.codec import Codecs, canonical
from tests.story import Story

A, B, C, D = (UUID(int=n) for n in range(1, 5))
CREATED = e.ProjectCreated(name="Migration")
TASKS = e.ProjectTasksAdded(tasks=(A, B, C, D))
project = Story(Project(), evolve).given(CREATED, TASKS)


def dep(predecessor: UUID, successor: UUID, type: e.DependencyType = "finish_to_start", lag: int = 0) -> e.Dependency:
    return e.Dependency(id=uuid4(), predecessor=predecessor, successor=successor, type=type, lag=lag)


AB, BC, CA = dep(A, B), dep(B, C), dep(C, A)
CHAINED = (CREATED, TASKS, e.DependenciesAdded(dependencies=(AB, BC)))
chained = project.given(*CHAINED)


def test_a_dependency_of_each_type_is_recorded() -> None:
    for type in get_args(e.DependencyType):
        d = dep(A, B, type, -30)
        project.when(projects.add_dependency, dependency=d).then(e.DependenciesAdded(dependencies=(d,)))


@pytest.mark.invariant("PR1")
def test_a_dependency_joins_two_different_tasks_of_the_project() -> None:
    project.when(projects.add_dependency, dependency=dep(A, A)).then_refused(projects.DependencyOnItself)
    project.when(projects.add_dependency, dependency=dep(A, uuid4())).then_refused(projects.TaskNotInProject)


@pytest.mark.invariant("PR2")
def test_a_circle_is_refused_and_its_tasks_are_named_in_order() -> None:
    with pytest.raises(projects.DependencyCycle) as refused:
        projects.add_dependency(chained.state(), dependency=CA)
    assert refused.value.cycle == (C, A, B)
    assert refused.value.about == {"cycle": [str(C), str(A), str(B)], "length": 3}


@pytest.mark.invariant("PR2")
def test_a_circle_through_dependencies_of_any_type_is_a_circle() -> None:
    chained.when(projects.add_dependency, dependency=dep(C, A, "start_to_finish")).then_refused(projects.DependencyCycle)


@pytest.mark.invariant("PR3")
def test_the_same_dependency_again_changes_nothing_and_another_lag_is_a_change() -> None:
    chained.when(projects.add_dependency, dependency=dep(A, B)).then_nothing()
    chained.when(projects.add_dependency, dependency=dep(A, B, lag=5)).then_refused(projects.DependencyExists)
    chained.when(projects.change_lag, dependency=AB.id, lag=5).then(e.DependencyLagChanged(dependency=AB.id, lag=5))
    chained.when(projects.change_lag, dependency=AB.id, lag=0).then_nothing()
    chained.when(projects.change_lag, dependency=CA.id, lag=0).then_refused(NotFound)


def test_two_tasks_may_depend_on_each_other_s_start_and_finish_at_once() -> None:
    d = dep(A, B, "finish_to_finish")
    chained.when(projects.add_dependency, dependency=d).then(e.DependenciesAdded(dependencies=(d,)))


@pytest.mark.invariant("PR4")
def test_a_task_that_leaves_takes_its_dependencies_with_it() -> None:
    events = projects.remove_task(chained.state(), task=B)
    assert events == [e.DependenciesRemoved(dependencies=tuple(sorted((AB.id, BC.id)))), e.ProjectTaskRemoved(task=B)]
    state = fold(Project(), evolve, (*CHAINED, *events))
    assert (len(state.tasks), len(state.dependencies)) == (3, 0)


@pytest.mark.invariant("PR5")
@pytest.mark.parametrize(
    ("end", "why", "back"),
    [
        (e.ProjectCompleted(), projects.ProjectIsClosed, e.ProjectReopened()),
        (e.ProjectCancelled(), projects.ProjectIsClosed, e.ProjectReopened()),
        (e.ProjectArchived(), projects.ProjectIsArchived, e.ProjectRestored()),
    ],
)
def test_a_closed_project_does_not_change_until_it_is_opened(end, why, back) -> None:
    for decide, data in (
        (projects.rename, {"name": "Other"}),
        (projects.describe, {"description": "Other"}),
        (projects.link, {"what": "deal", "target": A}),
        (projects.set_start, {"start_on": date(2026, 1, 5)}),
        (projects.set_calendar, {"calendar": e.Calendar()}),
        (projects.add_member, {"member": A}),
        (projects.add_tasks, {"tasks": (uuid4(),)}),
        (projects.remove_task, {"task": A}),
        (projects.add_dependency, {"dependency": dep(A, D)}),
        (projects.change_lag, {"dependency": AB.id, "lag": 7}),
        (projects.remove_dependencies, {"dependencies": (AB.id,)}),
    ):
        project.given(*CHAINED, end).when(decide, **data).then_refused(why)
        assert decide(fold(Project(), evolve, (*CHAINED, end, back)), **data)


@pytest.mark.invariant("PR6")
def test_nothing_is_recorded_when_nothing_changes() -> None:
    project.when(projects.rename, name="Migration").then_nothing()
    project.when(projects.describe, description=None).then_nothing()
    project.when(projects.unlink, what="deal", target=A).then_nothing()
    project.when(projects.set_start, start_on=None).then_nothing()
    project.when(projects.set_calendar, calendar=None).then_nothing()
    project.when(projects.remove_member, member=A).then_nothing()
    project.when(projects.add_tasks, tasks=(A, B)).then_nothing()
    project.when(projects.remove_task, task=uuid4()).then_nothing()
    project.when(projects.remove_dependencies, dependencies=(AB.id,)).then_nothing()
    project.when(projects.reopen).then_nothing()
    project.when(projects.restore).then_nothing()


def test_a_member_who_is_in_already_may_get_another_role() -> None:
    joined = project.given(CREATED, e.ProjectMemberAdded(member=A))
    joined.when(projects.add_member, member=A).then_nothing()
    joined.when(projects.add_member, member=A, role="lead").then(e.ProjectMemberRoleChanged(member=A, role="lead"))
    joined.when(projects.remove_member, member=A).then(e.ProjectMemberRemoved(member=A))


@pytest.mark.invariant("PR7")
def test_a_project_has_limits(monkeypatch) -> None:
    monkeypatch.setattr(decisions, "MOST_TASKS", 4)
    monkeypatch.setattr(decisions, "MOST_DEPENDENCIES", 2)
    monkeypatch.setattr(decisions, "MOST_MEMBERS", 1)
    chained.when(projects.add_tasks, tasks=(uuid4(),)).then_refused(projects.TooManyTasks)
    chained.when(projects.add_dependency, dependency=dep(A, D)).then_refused(projects.TooManyDependencies)
    project.given(CREATED, e.ProjectMemberAdded(member=A)).when(projects.add_member, member=B).then_refused(projects.TooManyMembers)


@pytest.mark.invariant("PR8")
def test_of_many_dependencies_the_sound_ones_are_recorded_and_each_other_has_its_reason() -> None:
    state = chained.state()
    stranger = uuid4()
    wanted = [dep(C, D), CA, dep(B, B), dep(A, stranger), dep(A, B), dep(C, D), dep(A, B, lag=9), dep(C, D, lag=9), dep(C, A)]
    weighed = projects.weigh(state, wanted)
    assert list(weighed.recorded) == [0]
    assert weighed.unchanged == {4: AB, 5: wanted[0]}
    assert {n: type(why).__name__ for n, why in weighed.refused.items()} == {
        1: "DependencyCycle",
        2: "DependencyOnItself",
        3: "TaskNotInProject",
        6: "DependencyExists",
        7: "DependencyExists",
        8: "DependencyCycle",
    }
    assert projects.add_weighed(state, weighed=weighed) == [e.DependenciesAdded(dependencies=(wanted[0],))]


@pytest.mark.invariant("PR8")
def test_what_repeats_a_refused_dependency_is_refused_with_it() -> None:
    weighed = projects.weigh(chained.state(), [CA, CA, dep(C, A, lag=1), dep(C, A, "start_to_start")])
    assert [type(weighed.refused[n]).__name__ for n in range(4)] == ["DependencyCycle"] * 4
    assert not weighed.recorded
    assert not weighed.unchanged


@pytest.mark.invariant("PR9")
def test_a_calendar_leaves_time_to_work_and_a_lag_has_a_bound() -> None:
    for bad in (
        e.Calendar(day_minutes=0),
        e.Calendar(weekdays=()),
        e.Calendar(weekdays=(8,)),
        e.Calendar(days_off=tuple(date.fromordinal(n) for n in range(1, 1003))),
    ):
        project.when(projects.set_calendar, calendar=bad).then_refused(projects.CalendarHasNoWork)
    project.when(projects.add_dependency, dependency=dep(A, B, lag=projects.MOST_LAG + 1)).then_refused(projects.LagOutOfRange)
    chained.when(projects.change_lag, dependency=AB.id, lag=-projects.MOST_LAG - 1).then_refused(projects.LagOutOfRange)


# --- circles, against reachability tried one by one

vertices = st.integers(0, 7).map(lambda n: UUID(int=n))
arrows = st.lists(st.tuples(vertices, vertices).filter(lambda a: a[0] != a[1]), max_size=25)


def reaches(edges, origin, target) -> bool:
    seen, todo = {origin}, [origin]
    while todo:
        v = todo.pop()
        for tail, head in edges:
            if tail == v and head not in seen:
                seen.add(head)
                todo.append(head)
    return target in seen


@pytest.mark.invariant("PR2")
@given(arrows, arrows)
def test_what_is_admitted_closes_no_circle_and_what_is_refused_closes_the_one_it_names(first, wanted) -> None:
    known: list[tuple[UUID, UUID]] = []
    for a in first:
        if not reaches(known, a[1], a[0]):
            known.append(a)
    refused = admit(known, wanted)
    admitted = known + [a for n, a in enumerate(wanted) if n not in refused]
    assert not any(reaches(admitted, head, tail) for tail, head in admitted)
    for n, circle in refused.items():
        assert circle[:2] == wanted[n]
        assert len(set(circle)) == len(circle)
        assert set(zip(circle, (*circle[1:], circle[0]), strict=True)) - {wanted[n]} <= set(admitted)
        assert wanted[n] not in known


def seconds(count: int) -> float:
    ids = [uuid4() for _ in range(count + 1)]
    wanted = [dep(a, b) for a, b in itertools.pairwise(ids)]
    random.Random(1).shuffle(wanted)
    wanted.append(dep(ids[-1], ids[0]))
    state = fold(Project(), evolve, [CREATED, *projects.add_tasks(Project(exists=True), tasks=ids)])
    best = []
    for _ in range(5):
        began = time.process_time()
        weighed = projects.weigh(state, wanted)
        events = projects.add_weighed(state, weighed=weighed)
        after = fold(state, evolve, events)
        best.append(time.process_time() - began)
    assert (len(after.dependencies), len(weighed.refused)) == (count, 1)
    (refused,) = weighed.refused.values()
    assert isinstance(refused, projects.DependencyCycle)
    assert len(refused.cycle) == min(count + 1, refusals.MOST_NAMED)
    return min(best)


@pytest.mark.invariant("PR2")
@given(arrows)
def test_a_hopeless_tangle_is_given_up_without_admitting_a_circle(wanted) -> None:
    with pytest.MonkeyPatch.context() as limits:
        limits.setattr(network, "MOST_STEPS", 3)
        refused = admit([], wanted)
    admitted = [a for n, a in enumerate(wanted) if n not in refused]
    assert not any(reaches(admitted, head, tail) for tail, head in admitted)
    assert all(circle == () or circle[:2] == wanted[n] for n, circle in refused.items())


def test_a_tangle_is_refused_by_its_name(monkeypatch) -> None:
    monkeypatch.setattr(network, "MOST_STEPS", -1)
    weighed = projects.weigh(project.state(), [AB, BC, CA])
    assert {type(why) for why in weighed.refused.values()} == {projects.DependenciesTooTangled}
    assert not weighed.recorded


@pytest.mark.invariant("PR8")
def test_three_thousand_dependencies_at_once_cost_little_more_each_than_three_hundred() -> None:
    assert seconds(3_000) < 70 * seconds(300)


def test_ten_thousand_tasks_added_one_by_one_do_not_copy_ten_thousand_each_time() -> None:
    roll: Roll[bool] = Roll()
    ids = [uuid4() for _ in range(2_000)]
    for id in ids:
        roll = roll.adding([(id, True)])
    assert (len(roll), set(roll)) == (2_000, set(ids))
    before, after = roll, roll.adding([(uuid4(), True)])
    assert sum(a is not b for a, b in zip(before.buckets, after.buckets, strict=True)) == 1


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=60))
def test_a_roll_holds_what_a_dict_would(changes) -> None:
    roll: Roll[int] = Roll()
    plain: dict[UUID, int] = {}
    for add, n in changes:
        id = UUID(int=n)
        earlier, held = roll, dict(plain)
        if add:
            roll = roll.adding([(id, n)])
            plain[id] = n
        else:
            roll = roll.without([id])
            plain.pop(id, None)
        assert len(earlier) == len(held)
    assert {id: roll.get(id) for id in roll} == plain
    assert len(roll) == len(plain)
    assert sorted(roll.values()) == sorted(plain.values())


def test_an_event_of_many_tasks_or_dependencies_fits_into_a_leaf() -> None:
    many = tuple(dep(uuid4(), uuid4(), "finish_to_finish", -projects.MOST_LAG) for _ in range(decisions.DEPENDENCIES_PER_EVENT))
    ids = tuple(uuid4() for _ in range(decisions.TASKS_PER_EVENT))
    days_off = tuple(date.fromordinal(700_000 + n) for n in range(projects.MOST_DAYS_OFF))
    for event in (
        e.DependenciesAdded(dependencies=many),
        e.DependenciesRemoved(dependencies=ids),
        e.ProjectTasksAdded(tasks=ids),
        e.ProjectCalendarSet(calendar=e.Calendar(days_off=days_off)),
    ):
        data, _ = Codecs().of(event).encode(event, uuid4())
        assert len(canonical(data)) < 60_000
