from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from commands import projects, tasks
from commands.kernel import COMMANDS, Actor, Work
from commands.members import AddMember, DeactivateMember
from commands.task_comments import AmendComment, CommentTask, RemoveComment
from domain.kernel import NotFound
from domain.members import PERMISSIONS, Role
from domain.projects import PROJECT, remove_task
from domain.tasks import TASK, AssigneeIsInactive
from domain.tasks import events as e
from projections.tasks import TASKS
from tests.commands.linking import linked, one_of_each
from tests.desk import Desk

THEN = datetime(2011, 10, 1, 8, 0, tzinfo=UTC)


async def test_a_task_is_created_in_a_project_and_estimated_in_its_working_days() -> None:
    desk = Desk()
    project = await desk.do(projects.CreateProject(name="Migration", calendar=projects.WorkCalendar(day_minutes=360)))
    made = await desk.do(tasks.CreateTask(title="Survey", project=UUID(project["id"]), estimate_days=2, labels=("it",)))
    assert [type(x).__name__ for x in made["events"]] == ["ProjectTasksAdded", "TaskCreated"]
    row = desk.rows(TASKS)[UUID(made["id"])]
    assert (row.project, row.estimate_minutes, row.labels) == (UUID(project["id"]), 720, ("it",))
    await desk.do(tasks.EstimateTask(id=UUID(made["id"]), estimate_days=1))
    assert desk.rows(TASKS)[UUID(made["id"])].estimate_minutes == 360
    await desk.do(tasks.EstimateTask(id=UUID(made["id"])))
    assert desk.rows(TASKS)[UUID(made["id"])].estimate_minutes is None


async def test_an_estimate_is_not_given_twice() -> None:
    with pytest.raises(tasks.EstimateGivenTwice):
        await Desk().do(tasks.CreateTask(title="Survey", estimate_minutes=5, estimate_days=1))


@pytest.mark.parametrize("link", ["contact", "organisation", "deal", "assignee", "project"])
async def test_a_task_is_not_created_about_what_does_not_exist(link) -> None:
    desk = Desk()
    with pytest.raises(NotFound):
        await desk.do(tasks.CreateTask(title="Survey", **{link: uuid4()}))
    with pytest.raises(NotFound):
        await desk.do(tasks.CreateTask(title="Survey", documents=(uuid4(),)))
    assert not desk.record


async def test_a_field_left_out_of_an_amendment_stays_and_a_description_of_null_goes() -> None:
    desk = Desk()
    id = UUID((await desk.do(tasks.CreateTask(title="Survey", description="All of it")))["id"])
    assert (await desk.do(tasks.AmendTask(id=id, title="Survey")))["events"] == []
    done = await desk.do(tasks.AmendTask(id=id, title="Inspect", kind="visit", priority="high", labels=("a",)))
    assert [type(x).__name__ for x in done["events"]] == ["TaskRetitled", "TaskClassified", "TaskPrioritised", "TaskLabelled"]
    assert desk.rows(TASKS)[id].description == "All of it"
    await desk.do(tasks.AmendTask(id=id, description=None))
    assert desk.rows(TASKS)[id].description is None


async def test_a_day_of_work_from_creation_to_completion_and_back() -> None:
    desk = Desk()
    id = UUID((await desk.do(tasks.CreateTask(title="Survey")))["id"])
    other = UUID((await desk.do(tasks.CreateTask(title="Other")))["id"])
    before = desk.rows(TASKS)[other]
    for command in (
        tasks.ScheduleTask(id=id, starts_at=desk.now, ends_at=desk.now + timedelta(days=1)),
        tasks.ChangeDue(id=id, due_at=desk.now + timedelta(days=2)),
        tasks.StartTask(id=id),
        tasks.PauseTask(id=id),
        tasks.BlockTask(id=id, reason="The key is missing"),
        tasks.UnblockTask(id=id),
        tasks.StartTask(id=id),
        tasks.CompleteTask(id=id),
        tasks.ReopenTask(id=id, reason="One room left"),
        tasks.CancelTask(id=id, reason="Sold"),
        tasks.ReopenTask(id=id),
        tasks.UnscheduleTask(id=id),
        tasks.ArchiveTask(id=id),
        tasks.RestoreTask(id=id),
    ):
        desk.pass_time(hours=1)
        assert len((await desk.do(command))["events"]) == 1, command
        assert (await desk.do(command))["events"] == [], command
    row = desk.rows(TASKS)[id]
    assert (row.status, row.sessions, row.worked_seconds, row.completions) == ("open", 2, 7200, 1)
    assert desk.rows(TASKS)[other] == before


async def test_a_comment_is_made_amended_and_removed() -> None:
    desk = Desk()
    id = UUID((await desk.do(tasks.CreateTask(title="Survey")))["id"])
    said = UUID((await desk.do(CommentTask(id=id, text="The roof leaks")))["comment"])
    await desk.do(AmendComment(id=id, comment=said, text="The roof leaks badly"))
    await desk.do(RemoveComment(id=id, comment=said))
    assert desk.rows(TASKS)[id].comments == 0


async def test_what_happened_is_recorded_at_its_own_time_and_not_in_the_future() -> None:
    desk = Desk()
    id = UUID((await desk.do(tasks.CreateTask(title="Survey", occurred_at=THEN)))["id"])
    await desk.do(tasks.StartTask(id=id, occurred_at=THEN + timedelta(hours=1)))
    assert [r.occurred_at for r in desk.record] == [THEN, THEN + timedelta(hours=1)]
    with pytest.raises(tasks.HappensInTheFuture):
        await desk.do(tasks.CompleteTask(id=id, occurred_at=desk.now + timedelta(days=2)))


@pytest.mark.invariant("T5")
async def test_a_work_item_of_a_log_is_recounted_step_by_step() -> None:
    desk = Desk()
    id = UUID((await desk.do(tasks.CreateTask(title="W_Nabellen offertes", kind="work item", occurred_at=THEN)))["id"])
    words = {"SCHEDULE": "schedule", "START": "start", "COMPLETE": "complete"}
    log = ["SCHEDULE", "START", "COMPLETE", "START", "COMPLETE", "COMPLETE", "SCHEDULE", "START", "SCHEDULE", "COMPLETE"]
    steps = tuple(
        tasks.ToldStep(step=words[w], at=THEN + timedelta(minutes=n), activity=w, resource="11169") for n, w in enumerate(log)
    )
    done = await desk.do(tasks.RecountTask(id=id, steps=steps))
    assert [x.activity for x in done["events"]] == log
    assert [r.occurred_at for r in desk.record[1:]] == [s.at for s in steps]
    row = desk.rows(TASKS)[id]
    assert (row.status, row.sessions, row.completions, row.worked_seconds) == ("completed", 3, 4, 60 + 60 + 120)
    assert (row.started_at, row.completed_at) == (THEN + timedelta(minutes=1), THEN + timedelta(minutes=9))
    assert (row.activity, row.resource) == ("COMPLETE", "11169")


def test_everything_a_caller_sends_has_a_bound() -> None:
    for bad in (
        {"title": ""},
        {"title": "x" * 301},
        {"title": "a\x00b"},
        {"title": "a\nb"},
        {"title": "x", "description": "a\x00b"},
        {"title": "x", "description": "x" * 10_001},
        {"title": "x", "labels": ["x"] * 51},
        {"title": "x", "documents": [str(uuid4())] * 101},
        {"title": "x", "estimate_minutes": -1},
        {"title": "x", "estimate_minutes": 1.5},
        {"title": "x", "due_at": "2026-01-05T09:00:00"},
        {"title": "x", "id": str(uuid4())},
    ):
        with pytest.raises(ValidationError):
            tasks.CreateTask.model_validate(bad)
    with pytest.raises(ValidationError):
        tasks.RecountTask(id=uuid4(), steps=())


def test_every_command_about_tasks_says_what_it_needs() -> None:
    ours = [c for name, c in COMMANDS.items() if name.startswith("tasks.")]
    assert len(ours) == 23
    assert {c.permission for c in ours} == {"tasks:write", "imports:write"}
    assert {c.path for c in ours if "{id}" not in c.path} == {"/tasks"}
    assert {type(x) for x in (e.TaskPaused(), e.TaskStarted())} <= set(e.Event.__args__)


async def test_an_import_that_runs_again_gets_back_the_task_it_made() -> None:
    desk = Desk()

    def work(n: int) -> Work:
        return Work(outside=desk, firm=desk.firm, actor=Actor("system", "import"), now=desk.now, command_id=f"i{n}")

    project = UUID((await desk.do(projects.CreateProject(name="Drill")))["id"])
    command = tasks.CreateTask(title="DRILL-1274", project=project, occurred_at=THEN)
    first = work(1)
    id = first.derive_id("tasks", "jira", "DRILL-1274")
    task = await tasks.create_task(command, first, await first.find(TASK, id), source="jira", source_id="DRILL-1274")
    await tasks.recount_task((tasks.ToldStep(step="start", at=THEN),), first, task)
    assert (len(first.made), task.version, task.state.status) == (3, 2, "in_progress")
    roll = await first.load(PROJECT, project)
    first.record(roll, remove_task(roll.state, task=id))
    again = await tasks.create_task(command, first, await first.find(TASK, id), source="jira", source_id="DRILL-1274")
    assert (len(first.made), again.version, len(roll.state.tasks)) == (4, 2, 0)


async def test_a_member_who_has_left_is_given_no_task() -> None:
    desk = Desk()
    everything = frozenset(p for given in PERMISSIONS.values() for p in given)
    added = await desk.do(AddMember(name="Ann", email="ann@example.org", roles=(Role.ADVISER,)), permissions=everything)
    member = UUID(added["id"])
    id = UUID((await desk.do(tasks.CreateTask(title="Survey", assignee=member)))["id"])
    await desk.do(tasks.UnassignTask(id=id))
    await desk.do(tasks.AssignTask(id=id, assignee=member))
    await desk.do(DeactivateMember(id=member), permissions=everything)
    other = UUID((await desk.do(tasks.CreateTask(title="Other")))["id"])
    with pytest.raises(AssigneeIsInactive):
        await desk.do(tasks.AssignTask(id=other, assignee=member))


async def test_what_a_task_is_about_is_shown_and_another_task_stays_as_it_is() -> None:
    desk = Desk()
    id, other = [UUID((await desk.do(tasks.CreateTask(title=t)))["id"]) for t in ("Survey", "Other")]
    before = desk.rows(TASKS)[other]
    targets = await one_of_each(desk)
    for n, (what, target) in enumerate(targets.items(), start=1):
        await desk.do(tasks.LinkTask.model_validate({"id": id, "what": what, "target": target}))
        assert linked(desk.rows(TASKS)[id], targets) == dict(list(targets.items())[:n])
    with pytest.raises(NotFound):
        await desk.do(tasks.LinkTask(id=id, what="document", target=uuid4()))
    for n, (what, target) in enumerate(targets.items(), start=1):
        await desk.do(tasks.UnlinkTask.model_validate({"id": id, "what": what, "target": target}))
        assert linked(desk.rows(TASKS)[id], targets) == dict(list(targets.items())[n:])
    assert desk.rows(TASKS)[other] == before
