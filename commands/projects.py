"""Commands about projects and the dependencies between their tasks."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated
from uuid import UUID

from pydantic import Field

from commands.kernel import Answer, Command, Entity, Work, command
from commands.tasks import HappenedAt, Reason, Text, Title, exists, happened
from domain import projects, tasks
from domain.members import MEMBER
from domain.projects import PROJECT, DependencyCycle, Project
from domain.projects.events import Calendar, Dependency, DependencyType, Event, Link, Role
from domain.tasks import TASK

MOST_AT_ONCE = 5_000
MOST_TASKS_AT_ONCE = 200  # each is a stream that the command loads
MOST_NAMED = 20_000  # tasks that one answer names in circles; later circles say their length only

Lag = Annotated[int, Field(ge=-projects.MOST_LAG, le=projects.MOST_LAG, description="Minutes; negative overlaps.")]
Weekday = Annotated[int, Field(ge=1, le=7)]


class WorkCalendar(Command):
    day_minutes: Annotated[int, Field(ge=1, le=1_440, description="Minutes of a working day.")] = 480
    weekdays: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7, description="1 Monday to 7 Sunday.")] = (
        1,
        2,
        3,
        4,
        5,
    )
    days_off: Annotated[tuple[date, ...], Field(max_length=projects.MOST_DAYS_OFF)] = ()

    def value(self) -> Calendar:
        return Calendar(day_minutes=self.day_minutes, weekdays=self.weekdays, days_off=self.days_off)


class CreateProject(Command):
    name: Title
    description: Text | None = None
    contact: UUID | None = None
    organisation: UUID | None = None
    deal: UUID | None = None
    start_on: date | None = None
    calendar: WorkCalendar | None = None
    lead: UUID | None = None
    occurred_at: HappenedAt = None


@command("projects.create", "POST /projects", permission="projects:write", title="Create a project", target=PROJECT, creates=True)
async def create(c: CreateProject, w: Work) -> Answer:
    """Create a project, for a client or for the firm itself."""
    at = happened(w, c.occurred_at)
    links: list[tuple[Link, UUID | None]] = [("contact", c.contact), ("organisation", c.organisation), ("deal", c.deal)]
    for what, target in links:
        if target is not None:
            await exists(w, what, target)
    project = w.create(PROJECT, w.new_id())
    made = projects.create(
        project.state,
        name=c.name,
        description=c.description,
        contact=c.contact,
        organisation=c.organisation,
        deal=c.deal,
        start_on=c.start_on,
        calendar=c.calendar.value() if c.calendar is not None else None,
    )
    w.record(project, made, occurred_at=at)
    if c.lead is not None:
        await w.load(MEMBER, c.lead)
        w.record(project, projects.add_member(project.state, member=c.lead, role="lead"), occurred_at=at)
    return {"id": str(project.id)}


class OnProject(Command):
    id: UUID
    occurred_at: HappenedAt = None


async def _project(c: OnProject, w: Work) -> tuple[Entity[Project, Event], Project]:
    project = await w.load(PROJECT, c.id)
    return project, project.state


def _record(c: OnProject, w: Work, project: Entity[Project, Event], events: Sequence[Event]) -> None:
    w.record(project, events, occurred_at=happened(w, c.occurred_at))


class AmendProject(OnProject):
    name: Title | None = None
    description: Text | None = None


@command("projects.amend", "POST /projects/{id}:amend", permission="projects:write", title="Amend a project", target=PROJECT)
async def amend(c: AmendProject, w: Work) -> Answer:
    """Rename or describe the project. A field left out stays; a description of null is removed."""
    project = await w.load(PROJECT, c.id)
    if c.name is not None:
        _record(c, w, project, projects.rename(project.state, name=c.name))
    if "description" in c.model_fields_set:
        _record(c, w, project, projects.describe(project.state, description=c.description))
    return None


class LinkProject(OnProject):
    what: Link
    target: UUID


@command("projects.link", "POST /projects/{id}:link", permission="projects:write", title="Link a project", target=PROJECT)
async def link(c: LinkProject, w: Work) -> Answer:
    """Say which contact, organisation or deal the project is for."""
    project, state = await _project(c, w)
    await exists(w, c.what, c.target)
    _record(c, w, project, projects.link(state, what=c.what, target=c.target))
    return None


class UnlinkProject(OnProject):
    what: Link
    target: UUID


@command("projects.unlink", "POST /projects/{id}:unlink", permission="projects:write", title="Unlink a project", target=PROJECT)
async def unlink(c: UnlinkProject, w: Work) -> Answer:
    """Say that the project is no longer for a contact, organisation or deal."""
    project, state = await _project(c, w)
    _record(c, w, project, projects.unlink(state, what=c.what, target=c.target))
    return None


class SetStart(OnProject):
    start_on: date | None


@command("projects.set_start", "POST /projects/{id}:set-start", permission="projects:write", title="Set the start", target=PROJECT)
async def set_start(c: SetStart, w: Work) -> Answer:
    """Set or (with null) remove the day on which the project starts; its plan then has dates."""
    project, state = await _project(c, w)
    _record(c, w, project, projects.set_start(state, start_on=c.start_on))
    return None


class SetCalendar(OnProject):
    calendar: WorkCalendar | None


@command(
    "projects.set_calendar",
    "POST /projects/{id}:set-calendar",
    permission="projects:write",
    title="Set the calendar",
    target=PROJECT,
)
async def set_calendar(c: SetCalendar, w: Work) -> Answer:
    """Say when work is done; with null, eight hours from Monday to Friday."""
    project, state = await _project(c, w)
    _record(c, w, project, projects.set_calendar(state, calendar=c.calendar.value() if c.calendar is not None else None))
    return None


class AddMember(OnProject):
    member: UUID
    role: Role = "member"


@command("projects.add_member", "POST /projects/{id}:add-member", permission="projects:write", title="Add a member", target=PROJECT)
async def add_member(c: AddMember, w: Work) -> Answer:
    """Take a member of the firm into the project, or give them another role in it."""
    project, state = await _project(c, w)
    await w.load(MEMBER, c.member)
    _record(c, w, project, projects.add_member(state, member=c.member, role=c.role))
    return None


class RemoveMember(OnProject):
    member: UUID


@command(
    "projects.remove_member",
    "POST /projects/{id}:remove-member",
    permission="projects:write",
    title="Remove a member",
    target=PROJECT,
)
async def remove_member(c: RemoveMember, w: Work) -> Answer:
    """Take a member out of the project; their tasks stay theirs."""
    project, state = await _project(c, w)
    _record(c, w, project, projects.remove_member(state, member=c.member))
    return None


class AddTasks(OnProject):
    tasks: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=MOST_TASKS_AT_ONCE)]


@command("projects.add_tasks", "POST /projects/{id}:add-tasks", permission="projects:write", title="Add tasks", target=PROJECT)
async def add_tasks(c: AddTasks, w: Work) -> Answer:
    """Bring tasks that stand in no project into this one, all of them or none."""
    project, state = await _project(c, w)
    for id in dict.fromkeys(c.tasks):
        task = await w.load(TASK, id)
        w.record(task, tasks.place(task.state, project=c.id), occurred_at=happened(w, c.occurred_at))
    _record(c, w, project, projects.add_tasks(state, tasks=c.tasks))
    return None


class RemoveTask(OnProject):
    task: UUID


@command(
    "projects.remove_task", "POST /projects/{id}:remove-task", permission="projects:write", title="Remove a task", target=PROJECT
)
async def remove_task(c: RemoveTask, w: Work) -> Answer:
    """Take a task out of the project, and its dependencies with it; the task itself stays."""
    project, state = await _project(c, w)
    task = await w.load(TASK, c.task)
    _record(c, w, project, projects.remove_task(state, task=c.task))
    w.record(task, tasks.take_out(task.state, project=c.id), occurred_at=happened(w, c.occurred_at))
    return None


class Wanted(Command):
    predecessor: UUID
    successor: UUID
    type: DependencyType = "finish_to_start"
    lag: Lag = 0


def _dependency(w: Work, project: UUID, d: Wanted) -> Dependency:
    id = w.derive_id("dependency", str(project), str(d.predecessor), str(d.successor), d.type)
    return Dependency(id=id, predecessor=d.predecessor, successor=d.successor, type=d.type, lag=d.lag)


class AddDependency(OnProject, Wanted):
    pass


@command(
    "projects.add_dependency",
    "POST /projects/{id}:add-dependency",
    permission="projects:write",
    title="Add a dependency",
    target=PROJECT,
)
async def add_dependency(c: AddDependency, w: Work) -> Answer:
    """Let one task wait for another. A circle is refused and named."""
    project, state = await _project(c, w)
    dependency = _dependency(w, c.id, c)
    _record(c, w, project, projects.add_dependency(state, dependency=dependency))
    return {"dependency": str(dependency.id)}


class AddDependencies(OnProject):
    dependencies: Annotated[tuple[Wanted, ...], Field(min_length=1, max_length=MOST_AT_ONCE)]


@command(
    "projects.add_dependencies",
    "POST /projects/{id}:add-dependencies",
    permission="projects:write",
    title="Add dependencies",
    target=PROJECT,
)
async def add_dependencies(c: AddDependencies, w: Work) -> Answer:
    """Record every sound dependency of a list; each other is answered with its place and reason, a circle with its tasks."""
    project, state = await _project(c, w)
    weighed = projects.weigh(state, [_dependency(w, c.id, d) for d in c.dependencies])
    _record(c, w, project, projects.add_weighed(state, weighed=weighed))
    refused: list[dict[str, object]] = []
    named = 0
    for place, why in weighed.refused.items():
        about = dict(why.about)
        if isinstance(why, DependencyCycle):
            named += len(why.cycle)
            if named > MOST_NAMED:
                del about["cycle"]
        refused.append({"index": place, "refusal": type(why).__name__, "why": why.why, **about})
    return {
        "recorded": [str(d.id) for d in weighed.recorded.values()],
        "unchanged": [str(d.id) for d in weighed.unchanged.values()],
        "refused": refused,
    }


class ChangeLag(OnProject):
    dependency: UUID
    lag: Lag


@command("projects.change_lag", "POST /projects/{id}:change-lag", permission="projects:write", title="Change a lag", target=PROJECT)
async def change_lag(c: ChangeLag, w: Work) -> Answer:
    """Change how long after its predecessor a task may go on."""
    project, state = await _project(c, w)
    _record(c, w, project, projects.change_lag(state, dependency=c.dependency, lag=c.lag))
    return None


class RemoveDependencies(OnProject):
    dependencies: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=MOST_AT_ONCE)]


@command(
    "projects.remove_dependencies",
    "POST /projects/{id}:remove-dependencies",
    permission="projects:write",
    title="Remove dependencies",
    target=PROJECT,
)
async def remove_dependencies(c: RemoveDependencies, w: Work) -> Answer:
    """Let tasks no longer wait for each other; dependencies that are not there are passed over."""
    project, state = await _project(c, w)
    _record(c, w, project, projects.remove_dependencies(state, dependencies=c.dependencies))
    return None


class CompleteProject(OnProject):
    pass


@command(
    "projects.complete", "POST /projects/{id}:complete", permission="projects:write", title="Complete a project", target=PROJECT
)
async def complete(c: CompleteProject, w: Work) -> Answer:
    """Close the project as done; open tasks stay open."""
    project, state = await _project(c, w)
    _record(c, w, project, projects.complete(state))
    return None


class CancelProject(OnProject):
    reason: Reason | None = None


@command("projects.cancel", "POST /projects/{id}:cancel", permission="projects:write", title="Cancel a project", target=PROJECT)
async def cancel(c: CancelProject, w: Work) -> Answer:
    """Close the project as not to be done; open tasks stay open."""
    project, state = await _project(c, w)
    _record(c, w, project, projects.cancel(state, reason=c.reason))
    return None


class ReopenProject(OnProject):
    pass


@command("projects.reopen", "POST /projects/{id}:reopen", permission="projects:write", title="Reopen a project", target=PROJECT)
async def reopen(c: ReopenProject, w: Work) -> Answer:
    """Take a completed or cancelled project up again."""
    project, state = await _project(c, w)
    _record(c, w, project, projects.reopen(state))
    return None


class ArchiveProject(OnProject):
    pass


@command("projects.archive", "POST /projects/{id}:archive", permission="projects:write", title="Archive a project", target=PROJECT)
async def archive(c: ArchiveProject, w: Work) -> Answer:
    """Put the project away; it stays readable."""
    project, state = await _project(c, w)
    _record(c, w, project, projects.archive(state))
    return None


class RestoreProject(OnProject):
    pass


@command("projects.restore", "POST /projects/{id}:restore", permission="projects:write", title="Restore a project", target=PROJECT)
async def restore(c: RestoreProject, w: Work) -> Answer:
    """Take an archived project out of the archive."""
    project, state = await _project(c, w)
    _record(c, w, project, projects.restore(state))
    return None
