"""What may be done with a task, and what a source system says was. Rules are named in the package's docstring."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypedDict, assert_never
from uuid import UUID

from domain.kernel import NotFound
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
from domain.tasks.refusals import (
    AssigneeIsInactive,
    EstimateOutOfRange,
    LinkIsTaken,
    ScheduleEndsBeforeItStarts,
    TaskIsArchived,
    TaskIsBlocked,
    TaskIsFinished,
    TaskIsNotStarted,
    TaskStandsInAnotherProject,
    TooManyComments,
    TooManyLabels,
    TooManyLinks,
)
from domain.tasks.state import Task

Step = Literal[
    "schedule", "assign", "unassign", "start", "pause", "block", "unblock", "complete", "cancel", "reopen", "note"
]  # what a source system can tell
WORKING_DAY = 480  # minutes
MOST_MINUTES = 10 * 365 * 24 * 60
MOST_DOCUMENTS = 100
MOST_LABELS = 50
MOST_COMMENTS = 5_000


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


def comment(
    task: Task,
    *,
    id: UUID,
    text: str,
    author: str | None = None,
    said_at: datetime | None = None,
    amended_at: datetime | None = None,
) -> list[Event]:
    _changeable(task)
    if len(task.comments) >= MOST_COMMENTS:
        raise TooManyComments(most=MOST_COMMENTS)
    return [TaskCommented(comment=id, text=text, contact=task.contact, author=author, said_at=said_at, amended_at=amended_at)]


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
