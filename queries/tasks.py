"""Reading tasks and what was said about them."""

from domain.tasks import TASK
from projections.task_comments import TASK_COMMENTS
from projections.tasks import TASKS
from queries.kernel import Collection, collection

collection(
    Collection(
        name="tasks",
        view=TASKS,
        stream=TASK,
        permission="tasks:read",
        title="Tasks",
        order="-created_at",
        search=("title", "description"),
    )
)

collection(
    Collection(
        name="task-comments",
        view=TASK_COMMENTS,
        stream=None,
        permission="tasks:read",
        title="Comments on tasks",
        order="-said_at",
        search=("text",),
    )
)
