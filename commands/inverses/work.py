"""Undoing what happened to tasks, projects, documents and folders.

A file that was added stays in the record of its document; undoing it brings the content before it back as the latest. What was discarded is
gone. Holds and retention are undone by whoever may set them, by the rules for setting them.
"""

from typing import Any
from uuid import UUID

from commands.folders import path_up
from commands.undo import NotTheWay, Undo, final, undoing
from domain import documents, folders, projects, tasks
from domain.documents import DOCUMENT
from domain.folders import FOLDER, FOLDER_TREE, FolderId
from domain.members import MEMBER
from domain.projects import PROJECT
from domain.projects import events as planned
from domain.tasks import TASK
from domain.tasks import events as told

task = undoing(TASK, "tasks:write", each=("documents", "comments"))
project = undoing(PROJECT, "projects:write")
document = undoing(DOCUMENT, "documents:write", each=("links",))
folder = undoing(FOLDER, "documents:write")
tree = undoing(FOLDER_TREE, "documents:write")
held = undoing(DOCUMENT, "holds:write", each=("links", "holds"))


# --- tasks


@task(told.TaskCreated)
def task_created(u: Undo) -> Any:
    return tasks.archive(u.now)


@task(told.TaskRetitled)
def retitled(u: Undo) -> Any:
    return tasks.retitle(u.now, title=u.was.title)


@task(told.TaskDescribed)
def task_described(u: Undo) -> Any:
    return tasks.describe(u.now, description=u.was.description)


@task(told.TaskClassified)
def classified(u: Undo) -> Any:
    return tasks.classify(u.now, kind=u.was.kind)


@task(told.TaskPrioritised)
def prioritised(u: Undo) -> Any:
    return tasks.prioritise(u.now, priority=u.was.priority)


@task(told.TaskLabelled)
def labelled(u: Undo) -> Any:
    return tasks.label(u.now, labels=u.was.labels)


@task(told.TaskLinked)
def task_linked(u: Undo) -> Any:
    return tasks.unlink(u.now, what=u.e.what, target=u.e.target)


@task(told.TaskUnlinked)
def task_unlinked(u: Undo) -> Any:
    return tasks.link(u.now, what=u.e.what, target=u.e.target)


@task(told.TaskPlaced)
def task_placed(u: Undo) -> Any:
    return tasks.take_out(u.now, project=u.e.project)


@task(told.TaskTakenOut)
def taken_out(u: Undo) -> Any:
    return tasks.place(u.now, project=u.e.project)


@task(told.TaskReestimated)
def reestimated(u: Undo) -> Any:
    return tasks.reestimate(u.now, estimate_minutes=u.was.estimate_minutes)


@task(told.TaskDueChanged)
def due_changed(u: Undo) -> Any:
    return tasks.change_due(u.now, due_at=u.was.due_at)


@task(told.TaskScheduled, told.TaskUnscheduled)
def scheduled(u: Undo) -> Any:
    if u.was.starts_at is None:
        return tasks.unschedule(u.now)
    return tasks.schedule(u.now, starts_at=u.was.starts_at, ends_at=u.was.ends_at)


@task(told.TaskAssigned, told.TaskUnassigned)
async def task_assigned(u: Undo) -> Any:
    if u.was.assignee is None:
        return tasks.unassign(u.now)
    active = (await u.w.load(MEMBER, u.was.assignee)).state.active
    return tasks.assign(u.now, assignee=u.was.assignee, active=active)


def _back_to(u: Undo, now: Any, status: str) -> list[Any]:
    """From an open task to the status it had."""
    match status:
        case "open":
            return []
        case "in_progress":
            return tasks.start(now)
        case "paused":
            started = tasks.start(now)
            for e in started:
                now = tasks.evolve(now, e)
            return [*started, *tasks.pause(now)]
        case "scheduled" if u.was.starts_at is not None:
            planless = tasks.unschedule(now)
            for e in planless:
                now = tasks.evolve(now, e)
            return [*planless, *tasks.schedule(now, starts_at=u.was.starts_at, ends_at=u.was.ends_at)]
        case _:
            raise NotTheWay


@task(told.TaskStarted)
def started(u: Undo) -> Any:
    if u.was.status == "paused":
        return tasks.pause(u.now)
    if u.was.status not in {"open", "scheduled"}:
        raise NotTheWay
    return tasks.take_back_start(u.now, status=u.was.status)


@task(told.TaskStartTakenBack)
def start_taken_back(u: Undo) -> Any:
    return tasks.start(u.now)


@task(told.TaskPaused)
def paused(u: Undo) -> Any:
    return tasks.start(u.now)


@task(told.TaskBlocked, told.TaskUnblocked)
def blocked(u: Undo) -> Any:
    return tasks.block(u.now, reason=u.was.block_reason or u.reason) if u.was.blocked else tasks.unblock(u.now)


@task(told.TaskCompleted, told.TaskCancelled)
def finished(u: Undo) -> Any:
    events = list(tasks.reopen(u.now, reason=u.reason))
    now = u.now
    for e in events:
        now = tasks.evolve(now, e)
    events += _back_to(u, now, u.was.status)
    if u.was.blocked:
        events += tasks.block(now, reason=u.was.block_reason or u.reason)
    return events


@task(told.TaskReopened)
def task_reopened(u: Undo) -> Any:
    return tasks.complete(u.now) if u.was.status == "completed" else tasks.cancel(u.now, reason=u.reason)


@task(told.TaskCommented)
def commented(u: Undo) -> Any:
    return tasks.remove_comment(u.now, id=u.e.comment)


@task(told.TaskCommentAmended)
def comment_amended(u: Undo) -> Any:
    return tasks.amend_comment(u.now, id=u.e.comment, text=dict(u.was.comments)[u.e.comment])


@task(told.TaskCommentRemoved)
def comment_removed(u: Undo) -> Any:
    """As whoever said it said it, and when."""
    mine = [r for r in u.past if r.version < u.version and getattr(r.event, "comment", None) == u.e.comment]
    said = next(r for r in reversed(mine) if isinstance(r.event, told.TaskCommented))
    amended = [r.occurred_at for r in mine if isinstance(r.event, told.TaskCommentAmended) and r.version > said.version]
    return tasks.comment(
        u.now,
        id=u.e.comment,
        text=dict(u.was.comments)[u.e.comment],
        author=said.event.author or said.actor,
        said_at=said.event.said_at or said.occurred_at,
        amended_at=amended[-1] if amended else said.event.amended_at,
    )


@task(told.TaskArchived)
def task_archived(u: Undo) -> Any:
    return tasks.restore(u.now)


@task(told.TaskRestored)
def task_restored(u: Undo) -> Any:
    return tasks.archive(u.now)


# --- projects


@project(planned.ProjectCreated)
def project_created(u: Undo) -> Any:
    return projects.archive(u.now)


@project(planned.ProjectRenamed)
def project_renamed(u: Undo) -> Any:
    return projects.rename(u.now, name=u.was.name)


@project(planned.ProjectDescribed)
def project_described(u: Undo) -> Any:
    return projects.describe(u.now, description=u.was.description)


@project(planned.ProjectLinked)
def project_linked(u: Undo) -> Any:
    return projects.unlink(u.now, what=u.e.what, target=u.e.target)


@project(planned.ProjectUnlinked)
def project_unlinked(u: Undo) -> Any:
    return projects.link(u.now, what=u.e.what, target=u.e.target)


@project(planned.ProjectStartSet)
def start_set(u: Undo) -> Any:
    return projects.set_start(u.now, start_on=u.was.start_on)


@project(planned.ProjectCalendarSet)
def calendar_set(u: Undo) -> Any:
    return projects.set_calendar(u.now, calendar=u.was.calendar)


@project(planned.ProjectMemberAdded, planned.ProjectMemberRoleChanged, planned.ProjectMemberRemoved)
def member_changed(u: Undo) -> Any:
    role = u.was.members.get(u.e.member)
    return (
        projects.remove_member(u.now, member=u.e.member)
        if role is None
        else projects.add_member(u.now, member=u.e.member, role=role)
    )


class DependenciesWereAdded(NotTheWay):
    """Other tasks wait for these, or these for others. Remove the dependencies first."""


@project(planned.ProjectTasksAdded)
def tasks_added(u: Undo) -> Any:
    mine = set(u.e.tasks)
    if any(d.predecessor in mine or d.successor in mine for d in u.now.dependencies.values()):
        raise DependenciesWereAdded
    now, events = u.now, list[Any]()
    for id in u.e.tasks:
        for e in projects.remove_task(now, task=id):
            events.append(e)
            now = projects.evolve(now, e)
    return events


@project(planned.ProjectTaskRemoved)
def task_removed(u: Undo) -> Any:
    return projects.add_tasks(u.now, tasks=[u.e.task])


@project(planned.DependenciesAdded)
def dependencies_added(u: Undo) -> Any:
    return projects.remove_dependencies(u.now, dependencies=[d.id for d in u.e.dependencies])


@project(planned.DependenciesRemoved)
def dependencies_removed(u: Undo) -> Any:
    wanted = [d for id in u.e.dependencies if (d := u.was.dependencies.get(id)) is not None]
    weighed = projects.weigh(u.now, wanted)
    for why in weighed.refused.values():
        raise why
    return projects.add_weighed(u.now, weighed=weighed)


@project(planned.DependencyLagChanged)
def lag_changed(u: Undo) -> Any:
    before = u.was.dependencies.get(u.e.dependency)
    return projects.change_lag(u.now, dependency=u.e.dependency, lag=before.lag)


@project(planned.ProjectCompleted, planned.ProjectCancelled)
def project_finished(u: Undo) -> Any:
    if u.was.status != "open":
        raise NotTheWay
    return projects.reopen(u.now)


@project(planned.ProjectReopened)
def project_reopened(u: Undo) -> Any:
    return projects.complete(u.now) if u.was.status == "completed" else projects.cancel(u.now, reason=u.reason)


@project(planned.ProjectArchived)
def project_archived(u: Undo) -> Any:
    return projects.restore(u.now)


@project(planned.ProjectRestored)
def project_restored(u: Undo) -> Any:
    return projects.archive(u.now)


# --- documents and folders


async def _open_place(u: Undo, id: UUID | None) -> documents.Place:
    path = await path_up(u.w, id)
    return documents.Place(id=id, archived=any(step.archived for step in path))


@document(documents.DocumentAdded)
def document_added(u: Undo) -> Any:
    return documents.archive(u.now, reason=u.reason)


@document(documents.VersionAdded, exact=False)
def version_added(u: Undo) -> Any:
    return documents.restore_version(u.now, number=u.e.number - 1, version=documents.VersionId(u.w.new_id()), comment=u.reason)


@document(documents.DocumentRenamed)
def document_renamed(u: Undo) -> Any:
    return documents.rename(u.now, title=u.was.title)


@document(documents.DocumentMoved)
async def document_moved(u: Undo) -> Any:
    return documents.move(u.now, place=await _open_place(u, u.was.folder))


@document(documents.DocumentDescribed)
def document_described(u: Undo) -> Any:
    return documents.describe(u.now, description=u.was.description, tags=u.was.tags, language=u.was.language)


@document(documents.DocumentLinked)
def document_linked(u: Undo) -> Any:
    return documents.unlink(u.now, kind=u.e.kind, target=u.e.target)


@document(documents.DocumentUnlinked)
def document_unlinked(u: Undo) -> Any:
    return documents.link(u.now, kind=u.e.kind, target=u.e.target)


@document(documents.DocumentArchived)
def document_archived(u: Undo) -> Any:
    return documents.restore(u.now)


@document(documents.DocumentRestored)
def document_restored(u: Undo) -> Any:
    return documents.archive(u.now, reason=u.reason)


@held(documents.HoldPlaced)
def hold_placed(u: Undo) -> Any:
    return documents.lift_hold(u.now, hold=u.e.hold, reason=u.reason)


@held(documents.HoldLifted)
def hold_lifted(u: Undo) -> Any:
    placed = next(e for e in (r.event for r in reversed(u.past)) if isinstance(e, documents.HoldPlaced) and e.hold == u.e.hold)
    return documents.place_hold(u.now, hold=u.e.hold, name=placed.name or u.reason, reason=placed.reason or u.reason)


@held(documents.RetentionSet)
def retention_set(u: Undo) -> Any:
    return documents.shorten_retention(u.now, until=u.was.retain_until, reason=u.reason)


@held(documents.RetentionShortened)
def retention_shortened(u: Undo) -> Any:
    return documents.retain(u.now, until=u.e.previous, reason=u.reason)


final(documents.DocumentDiscarded, "What was discarded is gone: nothing of it was kept that could be brought back.")


@folder(folders.FolderCreated)
def folder_created(u: Undo) -> Any:
    return folders.archive(u.now, reason=u.reason)


@folder(folders.FolderRenamed)
def folder_renamed(u: Undo) -> Any:
    return folders.rename(u.now, name=u.was.name)


@folder(folders.FolderMoved)
async def folder_moved(u: Undo) -> Any:
    return folders.move(u.now, id=FolderId(u.id), parent=u.was.parent, path=await path_up(u.w, u.was.parent))


@folder(folders.FolderArchived)
async def folder_archived(u: Undo) -> Any:
    return folders.restore(u.now, path=await path_up(u.w, u.now.parent))


@folder(folders.FolderRestored)
def folder_restored(u: Undo) -> Any:
    return folders.archive(u.now, reason=u.reason)


@tree(folders.TreeRearranged, over=True)
async def rearranged(u: Undo) -> Any:
    """The moves of a firm stand in one line: the move back is one more of them."""
    past = await u.w.load(FOLDER, u.e.folder)
    return [folders.TreeRearranged(folder=u.e.folder, parent=past.state.parent)]
