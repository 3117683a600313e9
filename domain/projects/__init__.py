"""Projects: tasks that belong together, who works on them, and what must wait for what.

PR1  A dependency joins two different tasks of the project.
PR2  Dependencies never close a circle; the refusal names the tasks of the circle in order.
PR3  The same dependency recorded again changes nothing; with another lag it is refused, for a lag is changed and not added.
PR4  A task that leaves the project takes its dependencies with it.
PR5  A completed, cancelled or archived project does not change until it is reopened or restored.
PR6  Nothing is recorded when nothing changes.
PR7  A project holds at most 10,000 tasks, 40,000 dependencies and 500 members.
PR8  Of many dependencies wanted at once the sound ones are recorded and each other one is refused for its own reason.
PR9  A calendar leaves time to work, and a lag is ten years at most.
"""

from domain.projects.decisions import (
    MOST_DAYS_OFF,
    MOST_DEPENDENCIES,
    MOST_LAG,
    MOST_MEMBERS,
    MOST_TASKS,
    Weighed,
    add_dependency,
    add_member,
    add_tasks,
    add_weighed,
    archive,
    cancel,
    change_lag,
    complete,
    create,
    describe,
    link,
    remove_dependencies,
    remove_member,
    remove_task,
    rename,
    reopen,
    restore,
    set_calendar,
    set_start,
    unlink,
    weigh,
)
from domain.projects.refusals import (
    CalendarHasNoWork,
    DependenciesTooTangled,
    DependencyCycle,
    DependencyExists,
    DependencyOnItself,
    LagOutOfRange,
    LinkIsTaken,
    ProjectIsArchived,
    ProjectIsClosed,
    TaskNotInProject,
    TooManyDependencies,
    TooManyMembers,
    TooManyTasks,
)
from domain.projects.state import PROJECT, Project, Status, evolve

__all__ = [
    "MOST_DAYS_OFF",
    "MOST_DEPENDENCIES",
    "MOST_LAG",
    "MOST_MEMBERS",
    "MOST_TASKS",
    "PROJECT",
    "CalendarHasNoWork",
    "DependenciesTooTangled",
    "DependencyCycle",
    "DependencyExists",
    "DependencyOnItself",
    "LagOutOfRange",
    "LinkIsTaken",
    "Project",
    "ProjectIsArchived",
    "ProjectIsClosed",
    "Status",
    "TaskNotInProject",
    "TooManyDependencies",
    "TooManyMembers",
    "TooManyTasks",
    "Weighed",
    "add_dependency",
    "add_member",
    "add_tasks",
    "add_weighed",
    "archive",
    "cancel",
    "change_lag",
    "complete",
    "create",
    "describe",
    "evolve",
    "link",
    "remove_dependencies",
    "remove_member",
    "remove_task",
    "rename",
    "reopen",
    "restore",
    "set_calendar",
    "set_start",
    "unlink",
    "weigh",
]
