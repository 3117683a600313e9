"""Reading tasks and what was said about them."""

from domain.tasks import TASK
from projections.task_comments import TASK_COMMENTS
from projections.tasks import TASKS
from queries.kernel import Collection, collection
from queries.listing import Relation, relation

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
        name="task_comments",
        view=TASK_COMMENTS,
        stream=None,
        permission="tasks:read",
        title="Comments on tasks",
        order="-said_at",
        search=("text",),
    )
)

relation("tasks", Relation("project", "projects", "project"))
relation("tasks", Relation("contact", "contacts", "contact"))
relation("tasks", Relation("organisation", "organisations", "organisation"))
relation("tasks", Relation("deal", "deals", "deal"))
relation("tasks", Relation("documents", "documents", "documents", many=True))
relation("tasks", Relation("assignee", "members", "assignee"))
relation("tasks", Relation("comments", "task_comments", "id", "task", many=True))
relation("tasks", Relation("predecessors", "dependencies", "id", "successor", many=True))
relation("tasks", Relation("successors", "dependencies", "id", "predecessor", many=True))
relation("task_comments", Relation("task", "tasks", "task"))
