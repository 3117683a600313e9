"""What can happen to a task."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from domain.kernel import Personal, event

Priority = Literal["lowest", "low", "normal", "high", "highest"]
Link = Literal["contact", "organisation", "deal", "document"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a source system added to a step that it told: its own word for the step, and who or what carried it out there."""

    activity: str | None = None
    contact: UUID | None = None
    resource: Annotated[str | None, Personal()] = None


@event("tasks.Created.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCreated:
    title: Annotated[str, Personal(subject="contact")]
    description: Annotated[str | None, Personal(subject="contact")] = None
    kind: str = "task"
    priority: Priority = "normal"
    project: UUID | None = None
    contact: UUID | None = None
    organisation: UUID | None = None
    deal: UUID | None = None
    documents: tuple[UUID, ...] = ()
    assignee: UUID | None = None
    due_at: datetime | None = None
    estimate_minutes: int | None = None
    labels: tuple[str, ...] = ()
    source: str | None = None
    source_id: str | None = None


@event("tasks.Retitled.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRetitled:
    title: Annotated[str, Personal(subject="contact")]
    contact: UUID | None = None


@event("tasks.Described.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDescribed:
    description: Annotated[str | None, Personal(subject="contact")] = None
    contact: UUID | None = None


@event("tasks.Classified.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskClassified:
    kind: str


@event("tasks.Prioritised.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPrioritised:
    priority: Priority


@event("tasks.Labelled.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLabelled:
    labels: tuple[str, ...] = ()


@event("tasks.Linked.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLinked:
    what: Link
    target: UUID


@event("tasks.Unlinked.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskUnlinked:
    what: Link
    target: UUID


@event("tasks.Placed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlaced:
    project: UUID


@event("tasks.TakenOut.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTakenOut:
    project: UUID


@event("tasks.Reestimated.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReestimated:
    estimate_minutes: int | None = None


@event("tasks.DueChanged.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDueChanged:
    due_at: datetime | None = None


@event("tasks.Scheduled.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScheduled(Told):
    starts_at: datetime | None = None
    ends_at: datetime | None = None


@event("tasks.Unscheduled.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskUnscheduled:
    pass


@event("tasks.Assigned.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAssigned(Told):
    assignee: UUID | None = None


@event("tasks.Unassigned.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskUnassigned(Told):
    pass


@event("tasks.Started.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStarted(Told):
    pass


@event("tasks.StartTakenBack.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStartTakenBack:
    """It was not begun after all: it is as it was before."""

    status: Literal["open", "scheduled"]


@event("tasks.Paused.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPaused(Told):
    pass


@event("tasks.Blocked.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskBlocked(Told):
    reason: Annotated[str | None, Personal(subject="contact")] = None


@event("tasks.Unblocked.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskUnblocked(Told):
    pass


@event("tasks.Completed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCompleted(Told):
    pass


@event("tasks.Cancelled.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCancelled(Told):
    reason: Annotated[str | None, Personal(subject="contact")] = None


@event("tasks.Reopened.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReopened(Told):
    reason: Annotated[str | None, Personal(subject="contact")] = None


@event("tasks.Noted.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskNoted(Told):
    """A source system told a step that has no meaning here; it is kept under its own word."""


@event("tasks.Commented.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCommented:
    """`author` and the times are said where a comment that was removed is there again."""

    comment: UUID
    text: Annotated[str, Personal(subject="contact")]
    contact: UUID | None = None
    author: str | None = None
    said_at: datetime | None = None
    amended_at: datetime | None = None


@event("tasks.CommentAmended.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCommentAmended:
    comment: UUID
    text: Annotated[str, Personal(subject="contact")]
    contact: UUID | None = None


@event("tasks.CommentRemoved.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCommentRemoved:
    comment: UUID


@event("tasks.Archived.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskArchived:
    pass


@event("tasks.Restored.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRestored:
    pass


Event = (
    TaskCreated
    | TaskRetitled
    | TaskDescribed
    | TaskClassified
    | TaskPrioritised
    | TaskLabelled
    | TaskLinked
    | TaskUnlinked
    | TaskPlaced
    | TaskTakenOut
    | TaskReestimated
    | TaskDueChanged
    | TaskScheduled
    | TaskUnscheduled
    | TaskAssigned
    | TaskUnassigned
    | TaskStarted
    | TaskStartTakenBack
    | TaskPaused
    | TaskBlocked
    | TaskUnblocked
    | TaskCompleted
    | TaskCancelled
    | TaskReopened
    | TaskNoted
    | TaskCommented
    | TaskCommentAmended
    | TaskCommentRemoved
    | TaskArchived
    | TaskRestored
)
