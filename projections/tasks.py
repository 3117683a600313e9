"""The view of tasks: one row each, with what was planned, what happened, and how long it was worked on."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from domain.kernel import Personal
from domain.tasks import events as e
from projections.kernel import Recorded, View, of_stream, view
from projections.rows import replace


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """`worked_seconds` adds up the spans from each start to the next pause, completion or cancellation, by business time."""

    title: Annotated[str, Personal(subject="contact")]
    description: Annotated[str | None, Personal(subject="contact")] = None
    kind: str = "task"
    priority: str = "normal"
    status: str = "open"
    blocked: bool = False
    block_reason: Annotated[str | None, Personal(subject="contact")] = None
    project: UUID | None = None
    contact: UUID | None = None
    organisation: UUID | None = None
    deal: UUID | None = None
    documents: tuple[UUID, ...] = ()
    assignee: UUID | None = None
    due_at: datetime | None = None
    estimate_minutes: int | None = None
    labels: tuple[str, ...] = ()
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    started_at: datetime | None = None
    working_since: datetime | None = None
    worked_seconds: int = 0
    sessions: int = 0
    completed_at: datetime | None = None
    completions: int = 0
    cancelled_at: datetime | None = None
    cancel_reason: Annotated[str | None, Personal(subject="contact")] = None
    reopen_reason: Annotated[str | None, Personal(subject="contact")] = None
    activity: str | None = None
    resource: Annotated[str | None, Personal()] = None
    comments: int = 0
    last_comment: UUID | None = None
    source: str | None = None
    source_id: str | None = None
    archived: bool = False


def _created(c: e.TaskCreated) -> TaskRow:
    return TaskRow(
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
        due_at=c.due_at,
        estimate_minutes=c.estimate_minutes,
        labels=c.labels,
        source=c.source,
        source_id=c.source_id,
    )


def _link(row: TaskRow, what: e.Link, target: UUID, *, present: bool) -> TaskRow:
    match what:
        case "contact":
            return replace(row, contact=target if present else None)
        case "organisation":
            return replace(row, organisation=target if present else None)
        case "deal":
            return replace(row, deal=target if present else None)
        case "document":
            others = tuple(d for d in row.documents if d != target)
            return replace(row, documents=(*others, target) if present else others)


def _rested(row: TaskRow, at: datetime) -> TaskRow:
    if row.working_since is None:
        return row
    span = max(0, int((at - row.working_since).total_seconds()))
    return replace(row, working_since=None, worked_seconds=row.worked_seconds + span)


def _fold(row: TaskRow | None, _key: UUID, r: Recorded) -> TaskRow | None:
    x = r.event
    if isinstance(x, e.TaskCreated):
        return _created(x)
    if row is None:
        return None
    if isinstance(x, e.Told) and (x.activity is not None or x.resource is not None):
        row = replace(row, activity=x.activity, resource=x.resource)
    match x:
        case e.TaskRetitled():
            return replace(row, title=x.title)
        case e.TaskDescribed():
            return replace(row, description=x.description)
        case e.TaskClassified():
            return replace(row, kind=x.kind)
        case e.TaskPrioritised():
            return replace(row, priority=x.priority)
        case e.TaskLabelled():
            return replace(row, labels=x.labels)
        case e.TaskLinked():
            return _link(row, x.what, x.target, present=True)
        case e.TaskUnlinked():
            return _link(row, x.what, x.target, present=False)
        case e.TaskPlaced():
            return replace(row, project=x.project)
        case e.TaskTakenOut():
            return replace(row, project=None)
        case e.TaskReestimated():
            return replace(row, estimate_minutes=x.estimate_minutes)
        case e.TaskDueChanged():
            return replace(row, due_at=x.due_at)
        case e.TaskScheduled():
            begun = row.status in ("in_progress", "paused")
            return replace(row, starts_at=x.starts_at, ends_at=x.ends_at, status=row.status if begun else "scheduled")
        case e.TaskUnscheduled():
            return replace(row, starts_at=None, ends_at=None, status="open" if row.status == "scheduled" else row.status)
        case e.TaskAssigned():
            return replace(row, assignee=x.assignee)
        case e.TaskUnassigned():
            return replace(row, assignee=None)
        case e.TaskStarted():
            row = _rested(row, r.occurred_at)
            first = row.started_at if row.started_at is not None else r.occurred_at
            return replace(row, status="in_progress", started_at=first, working_since=r.occurred_at, sessions=row.sessions + 1)
        case e.TaskStartTakenBack():
            earlier = row.started_at if row.sessions > 1 else None
            return replace(row, status=x.status, started_at=earlier, working_since=None, sessions=max(0, row.sessions - 1))
        case e.TaskPaused():
            return replace(_rested(row, r.occurred_at), status="paused")
        case e.TaskBlocked():
            return replace(row, blocked=True, block_reason=x.reason)
        case e.TaskUnblocked():
            return replace(row, blocked=False, block_reason=None)
        case e.TaskCompleted():
            return replace(
                _rested(row, r.occurred_at),
                status="completed",
                blocked=False,
                block_reason=None,
                completed_at=r.occurred_at,
                completions=row.completions + 1,
            )
        case e.TaskCancelled():
            return replace(
                _rested(row, r.occurred_at),
                status="cancelled",
                blocked=False,
                block_reason=None,
                cancelled_at=r.occurred_at,
                cancel_reason=x.reason,
            )
        case e.TaskReopened():
            return replace(row, status="open", completed_at=None, cancelled_at=None, cancel_reason=None, reopen_reason=x.reason)
        case e.TaskCommented():
            return replace(row, comments=row.comments + 1, last_comment=x.comment)
        case e.TaskCommentRemoved():
            last = None if row.last_comment == x.comment else row.last_comment
            return replace(row, comments=row.comments - 1, last_comment=last)
        case e.TaskArchived():
            return replace(row, archived=True)
        case e.TaskRestored():
            return replace(row, archived=False)
        case _:
            return row


TASKS = view(View(name="tasks", version=1, table="views.tasks", row=TaskRow, keys=of_stream("task"), fold=_fold))
