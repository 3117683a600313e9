"""The view of projects: one row each; their tasks and dependencies are rows of their own."""

from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from domain.kernel import Personal
from domain.projects import events as e
from projections.kernel import Recorded, View, of_stream, view


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectRow:
    name: Annotated[str, Personal(subject="contact")]
    description: Annotated[str | None, Personal(subject="contact")] = None
    status: str = "open"
    contact: UUID | None = None
    organisation: UUID | None = None
    deal: UUID | None = None
    start_on: date | None = None
    calendar: e.Calendar | None = None
    members: dict[str, str] = field(default_factory=dict)
    tasks: int = 0
    dependencies: int = 0
    completed_at: datetime | None = None
    cancelled_at: datetime | None = None
    cancel_reason: Annotated[str | None, Personal(subject="contact")] = None
    source: str | None = None
    source_id: str | None = None
    archived: bool = False


def _fold(row: ProjectRow | None, _key: UUID, r: Recorded) -> ProjectRow | None:
    x = r.event
    if isinstance(x, e.ProjectCreated):
        return ProjectRow(
            name=x.name,
            description=x.description,
            contact=x.contact,
            organisation=x.organisation,
            deal=x.deal,
            start_on=x.start_on,
            calendar=x.calendar,
            source=x.source,
            source_id=x.source_id,
        )
    if row is None:
        return None
    match x:
        case e.ProjectRenamed():
            return replace(row, name=x.name)
        case e.ProjectDescribed():
            return replace(row, description=x.description)
        case e.ProjectLinked() | e.ProjectUnlinked():
            target = x.target if isinstance(x, e.ProjectLinked) else None
            match x.what:
                case "contact":
                    return replace(row, contact=target)
                case "organisation":
                    return replace(row, organisation=target)
                case "deal":
                    return replace(row, deal=target)
        case e.ProjectStartSet():
            return replace(row, start_on=x.start_on)
        case e.ProjectCalendarSet():
            return replace(row, calendar=x.calendar)
        case e.ProjectMemberAdded() | e.ProjectMemberRoleChanged():
            return replace(row, members={**row.members, str(x.member): x.role})
        case e.ProjectMemberRemoved():
            return replace(row, members={m: role for m, role in row.members.items() if m != str(x.member)})
        case e.ProjectTasksAdded():
            return replace(row, tasks=row.tasks + len(x.tasks))
        case e.ProjectTaskRemoved():
            return replace(row, tasks=row.tasks - 1)
        case e.DependenciesAdded():
            return replace(row, dependencies=row.dependencies + len(x.dependencies))
        case e.DependenciesRemoved():
            return replace(row, dependencies=row.dependencies - len(x.dependencies))
        case e.ProjectCompleted():
            return replace(row, status="completed", completed_at=r.occurred_at)
        case e.ProjectCancelled():
            return replace(row, status="cancelled", cancelled_at=r.occurred_at, cancel_reason=x.reason)
        case e.ProjectReopened():
            return replace(row, status="open", completed_at=None, cancelled_at=None, cancel_reason=None)
        case e.ProjectArchived():
            return replace(row, archived=True)
        case e.ProjectRestored():
            return replace(row, archived=False)
        case _:
            pass
    return row


PROJECTS = view(View(name="projects", version=1, table="views.projects", row=ProjectRow, keys=of_stream("project"), fold=_fold))
