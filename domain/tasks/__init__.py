"""Tasks: a piece of work that someone does, from its creation to its completion.

T1  A finished task (completed or cancelled) takes no further step and no new plan until it is reopened.
T2  A blocked task is neither started nor completed until it is unblocked.
T3  An archived task does not change until it is restored.
T4  Nothing is recorded when nothing changes.
T5  What a source system tells is recorded as told, in its order, also where the rules for people would have refused it.
T6  An estimate is a whole number of minutes, from none to ten years; a working day is 480 minutes where no calendar says otherwise.
T7  A scheduled end does not lie before its start.
T8  A task stands in one project at most; it leaves one before it is placed in another.
T9  Text about a person is sealed for the contact the task is about.
T10 A task is given to an active member only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, NewType, TypedDict, assert_never
from uuid import UUID

from domain.kernel import Invalid, NotFound, Refused, Stream
from domain.tasks.events import (
    Event,
    Link,
    Priority,
    TaskArchived,
    TaskAssigned,
    TaskBlocked,
    TaskCancelled,
    TaskClassified,
    TaskCommentAmended,
    TaskCommented,
    TaskCommentRemoved,
    TaskCompleted,
    TaskCreated,
    TaskDescribed,
    TaskDueChanged,
    TaskLabelled,
    TaskLinked,
    TaskNoted,
    TaskPaused,
    TaskPlaced,
    TaskPrioritised,
    TaskReestimated,
    TaskReopened,
    TaskRestored,
    TaskRetitled,
    TaskScheduled,
    TaskStarted,
    TaskStartTakenBack,
    TaskTakenOut,
    TaskUnassigned,
    TaskUnblocked,
    TaskUnlinked,
    TaskUnscheduled,
)

TaskId = NewType("TaskId", UUID)

Status = Literal["open", "scheduled", "in_progress", "paused", "completed", "cancelled"]
Step = Literal[
    "schedule", "assign", "unassign", "start", "pause", "block", "unblock", "complete", "cancel", "reopen", "note"
]  # what a source system can tell

WORKING_DAY = 480  # minutes
MOST_MINUTES = 10 * 365 * 24 * 60
MOST_DOCUMENTS = 100
MOST_LABELS = 50
MOST_COMMENTS = 5_000

# --- state


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    exists: bool = False
    title: str = ""
    description: str | None = None
    kind: str = "task"
    priority: Priority = "normal"
    status: Status = "open"
    blocked: bool = False
    block_reason: str | None = None
    project: UUID | None = None
    contact: UUID | None = None
    organisation: UUID | None = None
    deal: UUID | None = None
    documents: tuple[UUID, ...] = ()
    assignee: UUID | None = None
    due_at: datetime | None = None
    estimate_minutes: int | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    labels: tuple[str, ...] = ()
    comments: tuple[tuple[UUID, str], ...] = ()
    archived: bool = False

    @property
    def finished(self) -> bool:
        return self.status in ("completed", "cancelled")


# --- refusals


class TaskIsFinished(Refused):
    """The task is completed or cancelled. Reopen it first."""


class TaskIsBlocked(Refused):
    """The task is blocked. Unblock it first."""


class TaskIsArchived(Refused):
    """The task is archived. Restore it first."""


class AssigneeIsInactive(Refused):
    """The member is no longer active. Give the task to somebody else."""


class TaskIsNotStarted(Refused):
    """The task is not being worked on, so it can't be paused."""


class TaskStandsInAnotherProject(Refused):
    """The task belongs to another project. Take it out of that one first."""


class EstimateOutOfRange(Invalid):
    """An estimate is a whole number of minutes between 0 and ten years."""


class ScheduleEndsBeforeItStarts(Invalid):
    """The scheduled end lies before the scheduled start."""


class TooManyLinks(Invalid):
    """A task links to 100 documents at most."""


class TooManyLabels(Invalid):
    """A task carries 50 labels at most."""


class TooManyComments(Refused):
    """A task carries 5,000 comments at most. Remove one, or keep longer discussions in a document."""


class LinkIsTaken(Refused):
    """The task is already about another record of this kind. Unlink that one first."""


# --- decisions


def minutes(*, whole_minutes: int | None = None, days: int | None = None, working_day: int = WORKING_DAY) -> int | None:
    """An estimate given in minutes or in whole working days, in minutes."""
    amount = whole_minutes if days is None else days * working_day
    if amount is not None and not 0 <= amount <= MOST_MINUTES:
        raise EstimateOutOfRange(most=MOST_MINUTES)
    return amount


def tidy(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels trimmed, once each, in the order they were given."""
    kept = tuple(dict.fromkeys(label.strip() for label in labels if label.strip()))
    if len(kept) > MOST_LABELS:
        raise TooManyLabels(most=MOST_LABELS)
    return kept


def create(
    task: Task,
    *,
    title: str,
    description: str | None = None,
    kind: str = "task",
    priority: Priority = "normal",
    project: UUID | None = None,
    contact: UUID | None = None,
    organisation: UUID | None = None,
    deal: UUID | None = None,
    documents: Sequence[UUID] = (),
    assignee: UUID | None = None,
    active: bool = True,
    due_at: datetime | None = None,
    estimate_minutes: int | None = None,
    labels: Sequence[str] = (),
    source: str | None = None,
    source_id: str | None = None,
) -> list[Event]:
    if task.exists:
        return []
    if assignee is not None and not active:
        raise AssigneeIsInactive
    if len(set(documents)) > MOST_DOCUMENTS:
        raise TooManyLinks(most=MOST_DOCUMENTS)
    return [
        TaskCreated(
            title=title,
            description=description,
            kind=kind,
            priority=priority,
            project=project,
            contact=contact,
            organisation=organisation,
            deal=deal,
            documents=tuple(dict.fromkeys(documents)),
            assignee=assignee,
            due_at=due_at,
            estimate_minutes=minutes(whole_minutes=estimate_minutes),
            labels=tidy(labels),
            source=source,
            source_id=source_id,
        )
    ]


def _changeable(task: Task) -> None:
    if task.archived:
        raise TaskIsArchived


def _workable(task: Task) -> None:
    _changeable(task)
    if task.finished:
        raise TaskIsFinished(status=task.status)


def retitle(task: Task, *, title: str) -> list[Event]:
    if title == task.title:
        return []
    _changeable(task)
    return [TaskRetitled(title=title, contact=task.contact)]


def describe(task: Task, *, description: str | None) -> list[Event]:
    if description == task.description:
        return []
    _changeable(task)
    return [TaskDescribed(description=description, contact=task.contact)]


def classify(task: Task, *, kind: str) -> list[Event]:
    if kind == task.kind:
        return []
    _changeable(task)
    return [TaskClassified(kind=kind)]


def prioritise(task: Task, *, priority: Priority) -> list[Event]:
    if priority == task.priority:
        return []
    _changeable(task)
    return [TaskPrioritised(priority=priority)]


def label(task: Task, *, labels: Sequence[str]) -> list[Event]:
    kept = tidy(labels)
    if kept == task.labels:
        return []
    _changeable(task)
    return [TaskLabelled(labels=kept)]


def _linked(task: Task, what: Link) -> tuple[UUID, ...]:
    match what:
        case "contact":
            one = task.contact
        case "organisation":
            one = task.organisation
        case "deal":
            one = task.deal
        case "document":
            return task.documents
        case _:
            assert_never(what)
    return () if one is None else (one,)


def link(task: Task, *, what: Link, target: UUID) -> list[Event]:
    linked = _linked(task, what)
    if target in linked:
        return []
    _changeable(task)
    if what == "document":
        if len(linked) >= MOST_DOCUMENTS:
            raise TooManyLinks(most=MOST_DOCUMENTS)
    elif linked:
        raise LinkIsTaken(what=what)
    return [TaskLinked(what=what, target=target)]


def unlink(task: Task, *, what: Link, target: UUID) -> list[Event]:
    if target not in _linked(task, what):
        return []
    _changeable(task)
    return [TaskUnlinked(what=what, target=target)]


def place(task: Task, *, project: UUID) -> list[Event]:
    if project == task.project:
        return []
    _changeable(task)
    if task.project is not None:
        raise TaskStandsInAnotherProject(project=str(task.project))
    return [TaskPlaced(project=project)]


def take_out(task: Task, *, project: UUID) -> list[Event]:
    return [TaskTakenOut(project=project)] if task.project == project else []


def reestimate(task: Task, *, estimate_minutes: int | None) -> list[Event]:
    estimate = minutes(whole_minutes=estimate_minutes)
    if estimate == task.estimate_minutes:
        return []
    _workable(task)
    return [TaskReestimated(estimate_minutes=estimate)]


def change_due(task: Task, *, due_at: datetime | None) -> list[Event]:
    if due_at == task.due_at:
        return []
    _workable(task)
    return [TaskDueChanged(due_at=due_at)]


def schedule(task: Task, *, starts_at: datetime, ends_at: datetime | None = None) -> list[Event]:
    if (starts_at, ends_at) == (task.starts_at, task.ends_at):
        return []
    if ends_at is not None and ends_at < starts_at:
        raise ScheduleEndsBeforeItStarts
    _workable(task)
    return [TaskScheduled(starts_at=starts_at, ends_at=ends_at)]


def unschedule(task: Task) -> list[Event]:
    if task.starts_at is None and task.ends_at is None and task.status != "scheduled":
        return []
    _workable(task)
    return [TaskUnscheduled()]


def assign(task: Task, *, assignee: UUID, active: bool) -> list[Event]:
    if assignee == task.assignee:
        return []
    _workable(task)
    if not active:
        raise AssigneeIsInactive
    return [TaskAssigned(assignee=assignee)]


def unassign(task: Task) -> list[Event]:
    if task.assignee is None:
        return []
    _workable(task)
    return [TaskUnassigned()]


def start(task: Task) -> list[Event]:
    """Begin the work, or go on with it after a pause."""
    if task.status == "in_progress":
        return []
    _workable(task)
    if task.blocked:
        raise TaskIsBlocked
    return [TaskStarted()]


def take_back_start(task: Task, *, status: Literal["open", "scheduled"]) -> list[Event]:
    """The work was not begun after all."""
    if task.status == status:
        return []
    _workable(task)
    if task.status != "in_progress":
        raise TaskIsNotStarted
    return [TaskStartTakenBack(status=status)]


def pause(task: Task) -> list[Event]:
    if task.status == "paused":
        return []
    _workable(task)
    if task.status != "in_progress":
        raise TaskIsNotStarted
    return [TaskPaused()]


def block(task: Task, *, reason: str) -> list[Event]:
    if task.blocked and task.block_reason == reason:
        return []
    _workable(task)
    return [TaskBlocked(reason=reason, contact=task.contact)]


def unblock(task: Task) -> list[Event]:
    if not task.blocked:
        return []
    _workable(task)
    return [TaskUnblocked()]


def complete(task: Task) -> list[Event]:
    if task.status == "completed":
        return []
    _workable(task)
    if task.blocked:
        raise TaskIsBlocked
    return [TaskCompleted()]


def cancel(task: Task, *, reason: str | None = None) -> list[Event]:
    if task.status == "cancelled":
        return []
    _workable(task)
    return [TaskCancelled(reason=reason, contact=task.contact)]


def reopen(task: Task, *, reason: str | None = None) -> list[Event]:
    if not task.finished:
        return []
    _changeable(task)
    return [TaskReopened(reason=reason, contact=task.contact)]


def comment(task: Task, *, id: UUID, text: str) -> list[Event]:
    _changeable(task)
    if len(task.comments) >= MOST_COMMENTS:
        raise TooManyComments(most=MOST_COMMENTS)
    return [TaskCommented(comment=id, text=text, contact=task.contact)]


def amend_comment(task: Task, *, id: UUID, text: str) -> list[Event]:
    said = dict(task.comments)
    if id not in said:
        raise NotFound(kind="comment", id=str(id))
    if said[id] == text:
        return []
    _changeable(task)
    return [TaskCommentAmended(comment=id, text=text, contact=task.contact)]


def remove_comment(task: Task, *, id: UUID) -> list[Event]:
    if id not in dict(task.comments):
        return []
    _changeable(task)
    return [TaskCommentRemoved(comment=id)]


def archive(task: Task) -> list[Event]:
    return [] if task.archived else [TaskArchived()]


def restore(task: Task) -> list[Event]:
    return [TaskRestored()] if task.archived else []


class _Words(TypedDict):
    activity: str | None
    resource: str | None
    contact: UUID | None


def recount(
    task: Task,
    *,
    step: Step,
    activity: str | None = None,
    resource: str | None = None,
    assignee: UUID | None = None,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    reason: str | None = None,
) -> list[Event]:
    """One step as a source system tells it: always one event, whatever the task's state (T5).

    A second completion, a start after completion or a completion without a start are facts of the source, not mistakes of a
    person, so none is refused, dropped or explained by an invented step. The caller records the event at the source's own time.
    """
    told = _Words(activity=activity, resource=resource, contact=task.contact)
    match step:
        case "schedule":
            return [TaskScheduled(starts_at=starts_at, ends_at=ends_at, **told)]
        case "assign":
            return [TaskAssigned(assignee=assignee, **told)]
        case "unassign":
            return [TaskUnassigned(**told)]
        case "start":
            return [TaskStarted(**told)]
        case "pause":
            return [TaskPaused(**told)]
        case "block":
            return [TaskBlocked(reason=reason, **told)]
        case "unblock":
            return [TaskUnblocked(**told)]
        case "complete":
            return [TaskCompleted(**told)]
        case "cancel":
            return [TaskCancelled(reason=reason, **told)]
        case "reopen":
            return [TaskReopened(reason=reason, **told)]
        case "note":
            return [TaskNoted(**told)]
        case _:
            assert_never(step)


# --- evolve


def _with_link(task: Task, what: Link, target: UUID, *, present: bool) -> Task:
    match what:
        case "contact":
            return replace(task, contact=target if present else None)
        case "organisation":
            return replace(task, organisation=target if present else None)
        case "deal":
            return replace(task, deal=target if present else None)
        case "document":
            others = tuple(d for d in task.documents if d != target)
            return replace(task, documents=(*others, target) if present else others)
        case _:
            assert_never(what)


def evolve(task: Task, e: Event) -> Task:
    match e:
        case TaskCreated():
            return replace(
                task,
                exists=True,
                title=e.title,
                description=e.description,
                kind=e.kind,
                priority=e.priority,
                project=e.project,
                contact=e.contact,
                organisation=e.organisation,
                deal=e.deal,
                documents=e.documents,
                assignee=e.assignee,
                due_at=e.due_at,
                estimate_minutes=e.estimate_minutes,
                labels=e.labels,
            )
        case TaskRetitled():
            return replace(task, title=e.title)
        case TaskDescribed():
            return replace(task, description=e.description)
        case TaskClassified():
            return replace(task, kind=e.kind)
        case TaskPrioritised():
            return replace(task, priority=e.priority)
        case TaskLabelled():
            return replace(task, labels=e.labels)
        case TaskLinked():
            return _with_link(task, e.what, e.target, present=True)
        case TaskUnlinked():
            return _with_link(task, e.what, e.target, present=False)
        case TaskPlaced():
            return replace(task, project=e.project)
        case TaskTakenOut():
            return replace(task, project=None)
        case TaskReestimated():
            return replace(task, estimate_minutes=e.estimate_minutes)
        case TaskDueChanged():
            return replace(task, due_at=e.due_at)
        case TaskScheduled():
            begun = task.status in ("in_progress", "paused")
            return replace(task, starts_at=e.starts_at, ends_at=e.ends_at, status=task.status if begun else "scheduled")
        case TaskUnscheduled():
            return replace(task, starts_at=None, ends_at=None, status="open" if task.status == "scheduled" else task.status)
        case TaskAssigned():
            return replace(task, assignee=e.assignee)
        case TaskUnassigned():
            return replace(task, assignee=None)
        case TaskStarted():
            return replace(task, status="in_progress")
        case TaskStartTakenBack():
            return replace(task, status=e.status)
        case TaskPaused():
            return replace(task, status="paused")
        case TaskBlocked():
            return replace(task, blocked=True, block_reason=e.reason)
        case TaskUnblocked():
            return replace(task, blocked=False, block_reason=None)
        case TaskCompleted():
            return replace(task, status="completed", blocked=False, block_reason=None)
        case TaskCancelled():
            return replace(task, status="cancelled", blocked=False, block_reason=None)
        case TaskReopened():
            return replace(task, status="open")
        case TaskNoted():
            return task
        case TaskCommented():
            return replace(task, comments=(*task.comments, (e.comment, e.text)))
        case TaskCommentAmended():
            return replace(task, comments=tuple((c, e.text if c == e.comment else text) for c, text in task.comments))
        case TaskCommentRemoved():
            return replace(task, comments=tuple(c for c in task.comments if c[0] != e.comment))
        case TaskArchived():
            return replace(task, archived=True)
        case TaskRestored():
            return replace(task, archived=False)
        case _:
            assert_never(e)


TASK = Stream("task", Task(), evolve)
