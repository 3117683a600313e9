"""Commands about what is said of a task."""

from uuid import UUID

from commands.kernel import Answer, Work, command
from commands.tasks import OnTask, Text, loaded, record
from domain import tasks
from domain.tasks import TASK


class CommentTask(OnTask):
    text: Text


@command("tasks.comment", "POST /tasks/{id}:comment", permission="tasks:write", title="Comment on a task", target=TASK)
async def comment(c: CommentTask, w: Work) -> Answer:
    """Add a comment; the answer names it, so that it can be amended or removed."""
    task, state = await loaded(c, w)
    id = w.new_id()
    record(c, w, task, tasks.comment(state, id=id, text=c.text))
    return {"comment": str(id)}


class AmendComment(OnTask):
    comment: UUID
    text: Text


@command("tasks.amend_comment", "POST /tasks/{id}:amend-comment", permission="tasks:write", title="Amend a comment", target=TASK)
async def amend_comment(c: AmendComment, w: Work) -> Answer:
    """Change the text of a comment; the history keeps what it said."""
    task, state = await loaded(c, w)
    record(c, w, task, tasks.amend_comment(state, id=c.comment, text=c.text))
    return None


class RemoveComment(OnTask):
    comment: UUID


@command("tasks.remove_comment", "POST /tasks/{id}:remove-comment", permission="tasks:write", title="Remove a comment", target=TASK)
async def remove_comment(c: RemoveComment, w: Work) -> Answer:
    """Take a comment away; the history keeps it."""
    task, state = await loaded(c, w)
    record(c, w, task, tasks.remove_comment(state, id=c.comment))
    return None
