from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from commands import projects, tasks
from commands.kernel import COMMANDS
from commands.members import AddMember as NewMember
from domain.kernel import NotFound
from domain.members import ALL_PERMISSIONS, Role
from domain.projects import DependencyCycle, TaskNotInProject
from domain.projects.events import Calendar
from domain.tasks import TaskStandsInAnotherProject
from infra.imports.links import Dependency, read
from projections.dependencies import DEPENDENCIES
from projections.projects import PROJECTS
from projections.tasks import TASKS
from tests.commands.linking import linked, one_of_each
from tests.desk import Desk
from tests.shared import shared


async def started(desk: Desk, *titles: str) -> tuple[UUID, list[UUID]]:
    project = UUID((await desk.do(projects.CreateProject(name="Migration")))["id"])
    return project, [UUID((await desk.do(tasks.CreateTask(title=t, project=project)))["id"]) for t in titles]


async def test_a_project_is_made_amended_closed_and_put_away() -> None:
    desk = Desk()
    id, _ = await started(desk)
    other, _ = await started(desk)
    before = desk.rows(PROJECTS)[other]
    for command in (
        projects.AmendProject(id=id, name="Move", description="To the new house"),
        projects.SetStart(id=id, start_on="2026-02-02"),
        projects.SetCalendar(
            id=id, calendar=projects.WorkCalendar(day_minutes=420, weekdays=(1, 2, 3, 4), days_off=("2026-04-06",))
        ),
        projects.CompleteProject(id=id),
        projects.ReopenProject(id=id),
        projects.CancelProject(id=id, reason="No money"),
        projects.ReopenProject(id=id),
        projects.ArchiveProject(id=id),
        projects.RestoreProject(id=id),
    ):
        assert (await desk.do(command))["events"], command
        assert (await desk.do(command))["events"] == [], command
    row = desk.rows(PROJECTS)[id]
    assert (row.name, row.status, row.cancel_reason, row.archived) == ("Move", "open", None, False)
    assert isinstance(row.calendar, Calendar)
    assert row.calendar.weekdays == (1, 2, 3, 4)
    assert desk.rows(PROJECTS)[other] == before


async def test_nothing_is_linked_to_what_does_not_exist() -> None:
    desk = Desk()
    id, _ = await started(desk)
    for command in (
        projects.LinkProject(id=id, what="deal", target=uuid4()),
        projects.AddMember(id=id, member=uuid4()),
        projects.AddTasks(id=id, tasks=(uuid4(),)),
        projects.CreateProject(name="Other", contact=uuid4()),
        projects.CreateProject(name="Other", lead=uuid4()),
        projects.ArchiveProject(id=uuid4()),
    ):
        with pytest.raises(NotFound):
            await desk.do(command)


@pytest.mark.invariant("T8")
async def test_a_task_enters_a_project_from_none_and_not_from_another() -> None:
    desk = Desk()
    id, (inside,) = await started(desk, "Survey")
    elsewhere, _ = await started(desk)
    free = UUID((await desk.do(tasks.CreateTask(title="Free")))["id"])
    with pytest.raises(TaskStandsInAnotherProject):
        await desk.do(projects.AddTasks(id=elsewhere, tasks=(free, inside)))
    assert desk.rows(TASKS)[free].project is None
    await desk.do(projects.AddTasks(id=elsewhere, tasks=(free,)))
    assert desk.rows(TASKS)[free].project == elsewhere
    assert (desk.rows(PROJECTS)[id].tasks, desk.rows(PROJECTS)[elsewhere].tasks) == (1, 1)


@pytest.mark.invariant("PR4")
async def test_a_task_taken_out_leaves_no_dependency_behind() -> None:
    desk = Desk()
    id, (a, b, c) = await started(desk, "A", "B", "C")
    await desk.do(projects.AddDependency(id=id, predecessor=a, successor=b))
    kept = UUID((await desk.do(projects.AddDependency(id=id, predecessor=a, successor=c)))["dependency"])
    await desk.do(projects.RemoveTask(id=id, task=b))
    assert desk.rows(TASKS)[b].project is None
    assert set(desk.rows(DEPENDENCIES)) == {kept}
    assert (desk.rows(PROJECTS)[id].tasks, desk.rows(PROJECTS)[id].dependencies) == (2, 1)
    with pytest.raises(TaskNotInProject):
        await desk.do(projects.AddDependency(id=id, predecessor=a, successor=b))


@pytest.mark.invariant("PR2")
async def test_a_circle_is_refused_with_its_tasks() -> None:
    desk = Desk()
    id, (a, b, c) = await started(desk, "A", "B", "C")
    await desk.do(projects.AddDependency(id=id, predecessor=a, successor=b, lag=-30))
    await desk.do(projects.AddDependency(id=id, predecessor=b, successor=c, type="start_to_start"))
    with pytest.raises(DependencyCycle) as refused:
        await desk.do(projects.AddDependency(id=id, predecessor=c, successor=a))
    assert refused.value.about["cycle"] == [str(c), str(a), str(b)]


async def test_a_lag_is_changed_and_a_dependency_removed_and_added_again_under_the_same_id() -> None:
    desk = Desk()
    id, (a, b, c) = await started(desk, "A", "B", "C")
    other = UUID((await desk.do(projects.AddDependency(id=id, predecessor=b, successor=c)))["dependency"])
    one = UUID((await desk.do(projects.AddDependency(id=id, predecessor=a, successor=b)))["dependency"])
    await desk.do(projects.ChangeLag(id=id, dependency=one, lag=60))
    assert desk.rows(DEPENDENCIES)[one].lag == 60
    assert desk.rows(DEPENDENCIES)[other].lag == 0
    await desk.do(projects.RemoveDependencies(id=id, dependencies=(one, uuid4())))
    assert set(desk.rows(DEPENDENCIES)) == {other}
    assert (await desk.do(projects.AddDependency(id=id, predecessor=a, successor=b)))["dependency"] == str(one)


@pytest.mark.invariant("PR8")
async def test_the_real_circle_among_apache_s_issues_is_refused_and_named_and_the_rest_is_recorded() -> None:
    with shared("data/jira-sprints/apache_issuelink.csv").open(newline="") as file:
        links = [x for x in read(file) if isinstance(x, Dependency)]
    desk = Desk()
    id = UUID((await desk.do(projects.CreateProject(name="Apache")))["id"])
    keys = sorted({k for x in links for k in (x.predecessor, x.successor)})
    ids = {k: UUID((await desk.do(tasks.CreateTask(title=k)))["id"]) for k in keys}
    for at in range(0, len(keys), 200):
        await desk.do(projects.AddTasks(id=id, tasks=tuple(ids[k] for k in keys[at : at + 200])))
    wanted = tuple(
        projects.Wanted(predecessor=ids[x.predecessor], successor=ids[x.successor], type=x.type, lag=x.lag) for x in links
    )
    answer = await desk.do(projects.AddDependencies(id=id, dependencies=wanted))
    names = {str(task): key for key, task in ids.items()}
    assert {tuple(names[t] for t in r["cycle"]) for r in answer["refused"]} == {("USERGRID-541", "USERGRID-536")}
    assert {r["refusal"] for r in answer["refused"]} == {"DependencyCycle"}
    told = {(links[r["index"]].predecessor, links[r["index"]].successor) for r in answer["refused"]}
    assert told == {("USERGRID-541", "USERGRID-536")}
    assert (len(answer["recorded"]), len(desk.rows(DEPENDENCIES))) == (386, 386)
    assert len(answer["recorded"]) + len(answer["unchanged"]) + len(answer["refused"]) == len(links) == 556
    again = await desk.do(projects.AddDependencies(id=id, dependencies=wanted))
    assert (again["events"], again["recorded"]) == ([], [])


async def test_an_answer_does_not_name_circles_without_end(monkeypatch) -> None:
    monkeypatch.setattr(projects, "MOST_NAMED", 3)
    desk = Desk()
    id, (a, b) = await started(desk, "A", "B")
    await desk.do(projects.AddDependency(id=id, predecessor=a, successor=b))
    back = [projects.Wanted(predecessor=b, successor=a, type=t) for t in ("finish_to_start", "start_to_start")]
    one, other = (await desk.do(projects.AddDependencies(id=id, dependencies=tuple(back))))["refused"]
    assert one["cycle"] == [str(b), str(a)]
    assert "cycle" not in other
    assert other["length"] == 2


def test_everything_a_caller_sends_has_a_bound() -> None:
    one = {"predecessor": str(uuid4()), "successor": str(uuid4())}
    for model, bad in (
        (projects.CreateProject, {"name": " "}),
        (projects.WorkCalendar, {"day_minutes": 1441}),
        (projects.WorkCalendar, {"weekdays": []}),
        (projects.WorkCalendar, {"weekdays": [0]}),
        (projects.Wanted, {**one, "lag": 10**9}),
        (projects.Wanted, {**one, "type": "finish"}),
        (projects.AddDependencies, {"id": str(uuid4()), "dependencies": [one] * 5_001}),
        (projects.AddTasks, {"id": str(uuid4()), "tasks": [str(uuid4())] * 201}),
    ):
        with pytest.raises(ValidationError):
            model.model_validate(bad)


def test_every_command_about_projects_says_what_it_needs() -> None:
    ours = [c for name, c in COMMANDS.items() if name.startswith("projects.")]
    assert len(ours) == 19
    assert {c.permission for c in ours} == {"projects:write"}


async def test_what_a_project_is_for_and_who_is_in_it_are_shown_and_another_project_stays_as_it_is() -> None:
    desk = Desk()
    id, _ = await started(desk)
    other, _ = await started(desk)
    before = desk.rows(PROJECTS)[other]
    targets = await one_of_each(desk)
    for n, (what, target) in enumerate(targets.items(), start=1):
        await desk.do(projects.LinkProject.model_validate({"id": id, "what": what, "target": target}))
        assert linked(desk.rows(PROJECTS)[id], targets) == dict(list(targets.items())[:n])
    for n, (what, target) in enumerate(targets.items(), start=1):
        await desk.do(projects.UnlinkProject.model_validate({"id": id, "what": what, "target": target}))
        assert linked(desk.rows(PROJECTS)[id], targets) == dict(list(targets.items())[n:])
    member = UUID(
        (await desk.do(NewMember(name="Mia", email="mia@x.example", roles=(Role.ADVISER,)), permissions=ALL_PERMISSIONS))["id"]
    )
    for role in ("observer", "lead"):
        await desk.do(projects.AddMember.model_validate({"id": id, "member": member, "role": role}))
        assert desk.rows(PROJECTS)[id].members == {str(member): role}
    await desk.do(projects.RemoveMember(id=id, member=member))
    assert desk.rows(PROJECTS)[id].members == {}
    assert desk.rows(PROJECTS)[other] == before
