"""A project as its decisions need it, and how each event changes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal, assert_never
from uuid import UUID

from domain.kernel import Stream
from domain.projects.events import (
    Calendar,
    DependenciesAdded,
    DependenciesRemoved,
    Dependency,
    DependencyLagChanged,
    Event,
    Link,
    ProjectArchived,
    ProjectCalendarSet,
    ProjectCancelled,
    ProjectCompleted,
    ProjectCreated,
    ProjectDescribed,
    ProjectLinked,
    ProjectMemberAdded,
    ProjectMemberRemoved,
    ProjectMemberRoleChanged,
    ProjectRenamed,
    ProjectReopened,
    ProjectRestored,
    ProjectStartSet,
    ProjectTaskRemoved,
    ProjectTasksAdded,
    ProjectUnlinked,
    Role,
)
from domain.projects.roll import Roll

Status = Literal["open", "completed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    exists: bool = False
    name: str = ""
    description: str | None = None
    contact: UUID | None = None
    organisation: UUID | None = None
    deal: UUID | None = None
    start_on: date | None = None
    calendar: Calendar | None = None
    status: Status = "open"
    archived: bool = False
    members: Mapping[UUID, Role] = field(default_factory=dict)
    tasks: Roll[bool] = Roll()  # noqa: RUF009  (immutable)
    dependencies: Roll[Dependency] = Roll()  # noqa: RUF009  (immutable)


def _with_link(project: Project, what: Link, target: UUID | None) -> Project:
    match what:
        case "contact":
            return replace(project, contact=target)
        case "organisation":
            return replace(project, organisation=target)
        case "deal":
            return replace(project, deal=target)
        case _:
            assert_never(what)


def evolve(project: Project, e: Event) -> Project:
    match e:
        case ProjectCreated():
            return replace(
                project,
                exists=True,
                name=e.name,
                description=e.description,
                contact=e.contact,
                organisation=e.organisation,
                deal=e.deal,
                start_on=e.start_on,
                calendar=e.calendar,
            )
        case ProjectRenamed():
            return replace(project, name=e.name)
        case ProjectDescribed():
            return replace(project, description=e.description)
        case ProjectLinked():
            return _with_link(project, e.what, e.target)
        case ProjectUnlinked():
            return _with_link(project, e.what, None)
        case ProjectStartSet():
            return replace(project, start_on=e.start_on)
        case ProjectCalendarSet():
            return replace(project, calendar=e.calendar)
        case ProjectMemberAdded() | ProjectMemberRoleChanged():
            return replace(project, members={**project.members, e.member: e.role})
        case ProjectMemberRemoved():
            return replace(project, members={m: role for m, role in project.members.items() if m != e.member})
        case ProjectTasksAdded():
            return replace(project, tasks=project.tasks.adding((t, True) for t in e.tasks))
        case ProjectTaskRemoved():
            return replace(project, tasks=project.tasks.without((e.task,)))
        case DependenciesAdded():
            return replace(project, dependencies=project.dependencies.adding((d.id, d) for d in e.dependencies))
        case DependencyLagChanged():
            known = project.dependencies.get(e.dependency)
            if known is None:
                return project
            return replace(project, dependencies=project.dependencies.adding(((known.id, replace(known, lag=e.lag)),)))
        case DependenciesRemoved():
            return replace(project, dependencies=project.dependencies.without(e.dependencies))
        case ProjectCompleted():
            return replace(project, status="completed")
        case ProjectCancelled():
            return replace(project, status="cancelled")
        case ProjectReopened():
            return replace(project, status="open")
        case ProjectArchived():
            return replace(project, archived=True)
        case ProjectRestored():
            return replace(project, archived=False)
        case _:
            assert_never(e)


PROJECT = Stream("project", Project(), evolve)
