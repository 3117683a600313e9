"""Commands about tasks."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints

from commands.kernel import Answer, Command, Entity, Work, command
from domain import projects, tasks
from domain.contacts import CONTACT
from domain.deals import DEAL
from domain.documents import DOCUMENT
from domain.kernel import Invalid
from domain.members import MEMBER
from domain.organisations import ORGANISATION
from domain.projects import PROJECT
from domain.tasks import TASK, Step, Task
from domain.tasks.events import Event, Link, Priority

LINE = r"^[^\x00-\x1f\x7f]+$"
TEXT = r"^[^\x00]+$"

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300, pattern=LINE)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=10_000, pattern=TEXT)]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1_000, pattern=TEXT)]
Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=LINE)]
Kind = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80, pattern=LINE)]
Label = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80, pattern=LINE)]
Minutes = Annotated[int, Field(ge=0, le=tasks.MOST_MINUTES)]
WorkingDays = Annotated[
    Annotated[int, Field(ge=0, le=3_650)] | None,
    Field(description="Whole working days of the project's calendar, of 480 minutes without one."),
]
HappenedAt = Annotated[AwareDatetime | None, Field(description="When it happened; now when left out.")]


class HappensInTheFuture(Invalid):
    """What is recorded has happened; its time lies more than a day in the future."""


class EstimateGivenTwice(Invalid):
    """An estimate is given in minutes or in working days, not in both."""


def happened(w: Work, at: datetime | None) -> datetime | None:
    """The business time of a command, if it can be one."""
    if at is not None and at > w.now + timedelta(days=1):
        raise HappensInTheFuture(occurred_at=at.isoformat())
    return at


async def exists(w: Work, what: Link, id: UUID) -> None:
    """The record that a task or a project is to be linked to, in this firm."""
    match what:
        case "contact":
            await w.load(CONTACT, id)
        case "organisation":
            await w.load(ORGANISATION, id)
        case "deal":
            await w.load(DEAL, id)
        case "document":
            await w.load(DOCUMENT, id)


async def _estimate(w: Work, project: UUID | None, whole_minutes: int | None, days: int | None) -> int | None:
    if whole_minutes is not None and days is not None:
        raise EstimateGivenTwice
    if days is None:
        return whole_minutes
    calendar = (await w.load(PROJECT, project)).state.calendar if project is not None else None
    return tasks.minutes(days=days, working_day=calendar.day_minutes if calendar is not None else tasks.WORKING_DAY)


class CreateTask(Command):
    title: Title
    description: Text | None = None
    kind: Kind = "task"
    priority: Priority = "normal"
    project: UUID | None = None
    contact: UUID | None = None
    organisation: UUID | None = None
    deal: UUID | None = None
    documents: Annotated[tuple[UUID, ...], Field(max_length=tasks.MOST_DOCUMENTS)] = ()
    assignee: UUID | None = None
    due_at: AwareDatetime | None = None
    estimate_minutes: Minutes | None = None
    estimate_days: WorkingDays = None
    labels: Annotated[tuple[Label, ...], Field(max_length=tasks.MOST_LABELS)] = ()
    occurred_at: HappenedAt = None


@command("tasks.create", "POST /tasks", permission="tasks:write", title="Create a task", target=TASK, creates=True)
async def create(c: CreateTask, w: Work) -> Answer:
    """Create a task, in a project or by itself, about a contact, an organisation, a deal or documents."""
    task = await create_task(c, w, w.create(TASK, w.new_id()))
    return {"id": str(task.id)}


async def create_task(
    c: CreateTask, w: Work, task: Entity[Task, Event], *, source: str | None = None, source_id: str | None = None
) -> Entity[Task, Event]:
    """Create the task under its id; a task that exists is given back as it is.

    An import finds the entity under an id derived from the source's own, and may give work to members who have left since.
    """
    if task.state.exists:
        return task
    at = happened(w, c.occurred_at)
    links: list[tuple[Link, UUID | None]] = [("contact", c.contact), ("organisation", c.organisation), ("deal", c.deal)]
    for what, target in (*links, *(("document", d) for d in c.documents)):
        if target is not None:
            await exists(w, what, target)
    active = c.assignee is None or (await w.load(MEMBER, c.assignee)).state.active
    estimate = await _estimate(w, c.project, c.estimate_minutes, c.estimate_days)
    if c.project is not None:
        project = await w.load(PROJECT, c.project)
        w.record(project, projects.add_tasks(project.state, tasks=(task.id,)), occurred_at=at)
    made = tasks.create(
        task.state,
        title=c.title,
        description=c.description,
        kind=c.kind,
        priority=c.priority,
        project=c.project,
        contact=c.contact,
        organisation=c.organisation,
        deal=c.deal,
        documents=c.documents,
        assignee=c.assignee,
        active=active or source is not None,
        due_at=c.due_at,
        estimate_minutes=estimate,
        labels=c.labels,
        source=source,
        source_id=source_id,
    )
    w.record(task, made, occurred_at=at)
    return task


class OnTask(Command):
    id: UUID
    occurred_at: HappenedAt = None


async def loaded(c: OnTask, w: Work) -> tuple[Entity[Task, Event], Task]:
    task = await w.load(TASK, c.id)
    return task, task.state


def record(c: OnTask, w: Work, task: Entity[Task, Event], events: Sequence[Event]) -> None:
    w.record(task, events, occurred_at=happened(w, c.occurred_at))


class AmendTask(OnTask):
    title: Title | None = None
    description: Text | None = None
    kind: Kind | None = None
    priority: Priority | None = None
    labels: Annotated[tuple[Label, ...] | None, Field(max_length=tasks.MOST_LABELS)] = None


@command("tasks.amend", "POST /tasks/{id}:amend", permission="tasks:write", title="Amend a task", target=TASK)
async def amend(c: AmendTask, w: Work) -> Answer:
    """Change title, description, kind, priority or labels. A field left out stays; a description of null is removed."""
    task = await w.load(TASK, c.id)
    if c.title is not None:
        record(c, w, task, tasks.retitle(task.state, title=c.title))
    if "description" in c.model_fields_set:
        record(c, w, task, tasks.describe(task.state, description=c.description))
    if c.kind is not None:
        record(c, w, task, tasks.classify(task.state, kind=c.kind))
    if c.priority is not None:
        record(c, w, task, tasks.prioritise(task.state, priority=c.priority))
    if c.labels is not None:
        record(c, w, task, tasks.label(task.state, labels=c.labels))
    return None


class LinkTask(OnTask):
    what: Link
    target: UUID


@command("tasks.link", "POST /tasks/{id}:link", permission="tasks:write", title="Link a task", target=TASK)
async def link(c: LinkTask, w: Work) -> Answer:
    """Say which contact, organisation, deal or document the task is about."""
    task, state = await loaded(c, w)
    await exists(w, c.what, c.target)
    record(c, w, task, tasks.link(state, what=c.what, target=c.target))
    return None


class UnlinkTask(OnTask):
    what: Link
    target: UUID


@command("tasks.unlink", "POST /tasks/{id}:unlink", permission="tasks:write", title="Unlink a task", target=TASK)
async def unlink(c: UnlinkTask, w: Work) -> Answer:
    """Say that the task is no longer about a contact, organisation, deal or document."""
    task, state = await loaded(c, w)
    record(c, w, task, tasks.unlink(state, what=c.what, target=c.target))
    return None


class EstimateTask(OnTask):
    estimate_minutes: Minutes | None = None
    estimate_days: WorkingDays = None


@command("tasks.estimate", "POST /tasks/{id}:estimate", permission="tasks:write", title="Estimate a task", target=TASK)
async def estimate(c: EstimateTask, w: Work) -> Answer:
    """Estimate the work anew, in minutes or in whole working days; neither removes the estimate."""
    task, state = await loaded(c, w)
    amount = await _estimate(w, state.project, c.estimate_minutes, c.estimate_days)
    record(c, w, task, tasks.reestimate(state, estimate_minutes=amount))
    return None


class ChangeDue(OnTask):
    due_at: AwareDatetime | None


@command("tasks.change_due", "POST /tasks/{id}:change-due", permission="tasks:write", title="Change a due date", target=TASK)
async def change_due(c: ChangeDue, w: Work) -> Answer:
    """Set, move or (with null) remove the due date."""
    task, state = await loaded(c, w)
    record(c, w, task, tasks.change_due(state, due_at=c.due_at))
    return None


class ScheduleTask(OnTask):
    starts_at: AwareDatetime
    ends_at: AwareDatetime | None = None


@command("tasks.schedule", "POST /tasks/{id}:schedule", permission="tasks:write", title="Schedule a task", target=TASK)
async def schedule(c: ScheduleTask, w: Work) -> Answer:
    """Plan when the work is to begin, and when it is to end."""
    task, state = await loaded(c, w)
    record(c, w, task, tasks.schedule(state, starts_at=c.starts_at, ends_at=c.ends_at))
    return None


class UnscheduleTask(OnTask):
    pass


@command("tasks.unschedule", "POST /tasks/{id}:unschedule", permission="tasks:write", title="Unschedule a task", target=TASK)
async def unschedule(c: UnscheduleTask, w: Work) -> Answer:
    """Take the task out of the schedule."""
    task, state = await loaded(c, w)
    record(c, w, task, tasks.unschedule(state))
    return None


class AssignTask(OnTask):
    assignee: UUID


@command("tasks.assign", "POST /tasks/{id}:assign", permission="tasks:write", title="Assign a task", target=TASK)
async def assign(c: AssignTask, w: Work) -> Answer:
    """Give the task to a member of the firm."""
    task, state = await loaded(c, w)
    member = await w.load(MEMBER, c.assignee)
    record(c, w, task, tasks.assign(state, assignee=c.assignee, active=member.state.active))
    return None


class UnassignTask(OnTask):
    pass


@command("tasks.unassign", "POST /tasks/{id}:unassign", permission="tasks:write", title="Unassign a task", target=TASK)
async def unassign(c: UnassignTask, w: Work) -> Answer:
    """Take the task from whoever has it."""
    task, state = await loaded(c, w)
    record(c, w, task, tasks.unassign(state))
    return None


class StartTask(OnTask):
    pass


@command("tasks.start", "POST /tasks/{id}:start", permission="tasks:write", title="Start a task", target=TASK)
async def start(c: StartTask, w: Work) -> Answer:
    """Begin the work, or go on with it after a pause."""
    task, state = await loaded(c, w)
    record(c, w, task, tasks.start(state))
    return None


class PauseTask(OnTask):
    pass


@command("tasks.pause", "POST /tasks/{id}:pause", permission="tasks:write", title="Pause a task", target=TASK)
async def pause(c: PauseTask, w: Work) -> Answer:
    """Interrupt the work."""
    task, state = await loaded(c, w)
    record(c, w, task, tasks.pause(state))
    return None


class BlockTask(OnTask):
    reason: Reason


@command("tasks.block", "POST /tasks/{id}:block", permission="tasks:write", title="Block a task", target=TASK)
async def block(c: BlockTask, w: Work) -> Answer:
    """Say what keeps the task from going on."""
    task, state = await loaded(c, w)
    record(c, w, task, tasks.block(state, reason=c.reason))
    return None


class UnblockTask(OnTask):
    pass


@command("tasks.unblock", "POST /tasks/{id}:unblock", permission="tasks:write", title="Unblock a task", target=TASK)
async def unblock(c: UnblockTask, w: Work) -> Answer:
    """Say that the task can go on."""
    task, state = await loaded(c, w)
    record(c, w, task, tasks.unblock(state))
    return None


class CompleteTask(OnTask):
    pass


@command("tasks.complete", "POST /tasks/{id}:complete", permission="tasks:write", title="Complete a task", target=TASK)
async def complete(c: CompleteTask, w: Work) -> Answer:
    """Say that the work is done."""
    task, state = await loaded(c, w)
    record(c, w, task, tasks.complete(state))
    return None


class CancelTask(OnTask):
    reason: Reason | None = None


@command("tasks.cancel", "POST /tasks/{id}:cancel", permission="tasks:write", title="Cancel a task", target=TASK)
async def cancel(c: CancelTask, w: Work) -> Answer:
    """Say that the work will not be done."""
    task, state = await loaded(c, w)
    record(c, w, task, tasks.cancel(state, reason=c.reason))
    return None


class ReopenTask(OnTask):
    reason: Reason | None = None


@command("tasks.reopen", "POST /tasks/{id}:reopen", permission="tasks:write", title="Reopen a task", target=TASK)
async def reopen(c: ReopenTask, w: Work) -> Answer:
    """Take a completed or cancelled task up again."""
    task, state = await loaded(c, w)
    record(c, w, task, tasks.reopen(state, reason=c.reason))
    return None


class ArchiveTask(OnTask):
    pass


@command("tasks.archive", "POST /tasks/{id}:archive", permission="tasks:write", title="Archive a task", target=TASK)
async def archive(c: ArchiveTask, w: Work) -> Answer:
    """Put the task away; it stays readable."""
    task, state = await loaded(c, w)
    record(c, w, task, tasks.archive(state))
    return None


class RestoreTask(OnTask):
    pass


@command("tasks.restore", "POST /tasks/{id}:restore", permission="tasks:write", title="Restore a task", target=TASK)
async def restore(c: RestoreTask, w: Work) -> Answer:
    """Take an archived task out of the archive."""
    task, state = await loaded(c, w)
    record(c, w, task, tasks.restore(state))
    return None


class ToldStep(Command):
    step: Step
    at: AwareDatetime
    activity: Annotated[Word | None, Field(description="The source's own word for the step.")] = None
    resource: Annotated[Word | None, Field(description="Who or what carried it out in the source, where that is no member.")] = None
    assignee: UUID | None = None
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    reason: Reason | None = None


class RecountTask(Command):
    id: UUID
    steps: Annotated[tuple[ToldStep, ...], Field(min_length=1, max_length=500)]


@command(
    "tasks.recount",
    "POST /tasks/{id}:recount",
    permission="imports:write",
    title="Recount a task's history",
    target=TASK,
    undoable=False,
)
async def recount(c: RecountTask, w: Work) -> Answer:
    """Record steps as another system tells them, at its times and in its order, also where a person's would be refused."""
    await recount_task(c.steps, w, await w.load(TASK, c.id))
    return {"recorded": len(c.steps)}


async def recount_task(steps: Sequence[ToldStep], w: Work, task: Entity[Task, Event]) -> None:
    """Record the steps of a task as told; an import calls this with the task it has just created or found."""
    for s in steps:
        if s.assignee is not None:
            await w.load(MEMBER, s.assignee)
        told = tasks.recount(
            task.state,
            step=s.step,
            activity=s.activity,
            resource=s.resource,
            assignee=s.assignee,
            starts_at=s.starts_at,
            ends_at=s.ends_at,
            reason=s.reason,
        )
        w.record(task, told, occurred_at=happened(w, s.at))
