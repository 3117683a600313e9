from datetime import timedelta
from uuid import UUID

from commands import projects, tasks
from commands.task_comments import AmendComment, CommentTask, RemoveComment
from projections.dependencies import DEPENDENCIES
from projections.projects import PROJECTS
from projections.task_comments import TASK_COMMENTS
from projections.tasks import TASKS
from tests.desk import Desk


async def test_a_row_shows_the_work_and_another_row_stays_as_it_was() -> None:
    desk = Desk()
    id, other = [UUID((await desk.do(tasks.CreateTask(title=t)))["id"]) for t in ("Survey", "Other")]
    await desk.do(tasks.StartTask(id=other))
    before = desk.rows(TASKS)[other]
    await desk.do(tasks.StartTask(id=id))
    desk.pass_time(minutes=30)
    assert (desk.rows(TASKS)[id].working_since, desk.rows(TASKS)[id].worked_seconds) == (desk.now - timedelta(minutes=30), 0)
    await desk.do(tasks.CompleteTask(id=id))
    row = desk.rows(TASKS)[id]
    assert (row.status, row.worked_seconds, row.working_since, row.completed_at) == ("completed", 1800, None, desk.now)
    assert desk.rows(TASKS)[other] == before


async def test_time_told_backwards_counts_as_no_work() -> None:
    desk = Desk()
    id = UUID((await desk.do(tasks.CreateTask(title="Survey")))["id"])
    at = desk.now
    steps = (
        tasks.ToldStep(step="start", at=at),
        tasks.ToldStep(step="complete", at=at - timedelta(hours=1)),
        tasks.ToldStep(step="complete", at=at),
    )
    await desk.do(tasks.RecountTask(id=id, steps=steps))
    assert (desk.rows(TASKS)[id].worked_seconds, desk.rows(TASKS)[id].completions) == (0, 2)


async def test_an_assignment_told_with_a_name_only_keeps_the_name_and_no_member() -> None:
    desk = Desk()
    id = UUID((await desk.do(tasks.CreateTask(title="Survey")))["id"])
    await desk.do(
        tasks.RecountTask(id=id, steps=(tasks.ToldStep(step="assign", at=desk.now, activity="Queued", resource="Minnie"),))
    )
    row = desk.rows(TASKS)[id]
    assert (row.assignee, row.activity, row.resource) == (None, "Queued", "Minnie")
    await desk.do(tasks.StartTask(id=id))
    assert desk.rows(TASKS)[id].resource == "Minnie"


async def test_comments_are_rows_of_their_own() -> None:
    desk = Desk()
    id = UUID((await desk.do(tasks.CreateTask(title="Survey")))["id"])
    one, other = [UUID((await desk.do(CommentTask(id=id, text=t)))["comment"]) for t in ("Hm", "Well")]
    before = desk.rows(TASK_COMMENTS)[other]
    desk.pass_time(hours=1)
    await desk.do(AmendComment(id=id, comment=one, text="Aha"))
    row = desk.rows(TASK_COMMENTS)[one]
    assert (row.task, row.text, row.amended_at, row.author) == (id, "Aha", desk.now, f"member/{UUID(int=1)}")
    await desk.do(RemoveComment(id=id, comment=one))
    assert desk.rows(TASK_COMMENTS) == {other: before}
    assert (desk.rows(TASKS)[id].comments, desk.rows(TASKS)[id].last_comment) == (1, other)


async def test_a_project_counts_its_tasks_and_dependencies_and_knows_its_members() -> None:
    desk = Desk()
    project, other = [UUID((await desk.do(projects.CreateProject(name=n)))["id"]) for n in ("Migration", "Other")]
    a, b = [UUID((await desk.do(tasks.CreateTask(title=t, project=project)))["id"]) for t in ("A", "B")]
    before = desk.rows(PROJECTS)[other]
    made = await desk.do(projects.AddDependency(id=project, predecessor=a, successor=b))
    assert (desk.rows(PROJECTS)[project].tasks, desk.rows(PROJECTS)[project].dependencies) == (2, 1)
    await desk.do(projects.RemoveDependencies(id=project, dependencies=(UUID(made["dependency"]),)))
    assert desk.rows(PROJECTS)[project].dependencies == 0
    assert desk.rows(DEPENDENCIES) == {}
    assert desk.rows(PROJECTS)[other] == before


async def test_an_event_about_a_row_that_is_not_there_makes_none() -> None:
    desk = Desk()
    project = UUID((await desk.do(projects.CreateProject(name="Migration")))["id"])
    a, b = [UUID((await desk.do(tasks.CreateTask(title=t, project=project)))["id"]) for t in ("A", "B")]
    made = await desk.do(projects.AddDependency(id=project, predecessor=a, successor=b))
    await desk.do(projects.ChangeLag(id=project, dependency=UUID(made["dependency"]), lag=5))
    await desk.do(tasks.StartTask(id=a))
    said = UUID((await desk.do(CommentTask(id=a, text="Hm")))["comment"])
    await desk.do(AmendComment(id=a, comment=said, text="Aha"))
    await desk.do(projects.AmendProject(id=project, name="Move"))
    late = [r for r in desk.record if r.name.split(".")[1] in ("Started", "LagChanged", "CommentAmended", "Renamed")]
    assert len(late) == 4
    for view in (TASKS, TASK_COMMENTS, PROJECTS, DEPENDENCIES):
        for r in late:
            for key in view.keys(r):
                assert view.fold(None, key, r) is None
