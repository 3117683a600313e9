"""The view of what people wrote about tasks."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated
from uuid import UUID

from domain.kernel import Personal
from domain.tasks.events import TaskCommentAmended, TaskCommented, TaskCommentRemoved
from projections.kernel import Recorded, View, view


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCommentRow:
    task: UUID
    contact: UUID | None = None
    author: str
    text: Annotated[str, Personal(subject="contact")]
    said_at: datetime
    amended_at: datetime | None = None


def _keys(r: Recorded) -> Iterable[UUID]:
    match r.event:
        case TaskCommented() | TaskCommentAmended() | TaskCommentRemoved() as x:
            return (x.comment,)
        case _:
            return ()


def _fold(row: TaskCommentRow | None, _key: UUID, r: Recorded) -> TaskCommentRow | None:
    match r.event:
        case TaskCommented() as x:
            return TaskCommentRow(
                task=r.stream_id,
                contact=x.contact,
                author=x.author or r.actor,
                text=x.text,
                said_at=x.said_at or r.occurred_at,
                amended_at=x.amended_at,
            )
        case TaskCommentAmended() as x if row is not None:
            return replace(row, text=x.text, amended_at=r.occurred_at)
        case TaskCommentRemoved():
            return None
        case _:
            return row


TASK_COMMENTS = view(View(name="task_comments", version=1, table="views.task_comments", row=TaskCommentRow, keys=_keys, fold=_fold))
