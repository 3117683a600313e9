"""A task as its decisions need it, and how each event changes it."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, assert_never
from uuid import UUID

from domain.kernel import Stream
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

Status = Literal["open", "scheduled", "in_progress", "paused", "completed", "cancelled"]


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
