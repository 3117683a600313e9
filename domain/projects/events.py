"""What can happen to a project."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from domain.kernel import Personal, event

DependencyType = Literal["finish_to_start", "start_to_start", "finish_to_finish", "start_to_finish"]
Role = Literal["lead", "member", "observer"]
Link = Literal["contact", "organisation", "deal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """`successor` waits for `predecessor` in the way its type says, `lag` minutes later (earlier when negative)."""

    id: UUID
    predecessor: UUID
    successor: UUID
    type: DependencyType = "finish_to_start"
    lag: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """When work is done: minutes of a working day, working weekdays (1 Monday to 7 Sunday), and the days off."""

    day_minutes: int = 480
    weekdays: tuple[int, ...] = (1, 2, 3, 4, 5)
    days_off: tuple[date, ...] = ()


@event("projects.Created.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectCreated:
    name: Annotated[str, Personal(subject="contact")]
    description: Annotated[str | None, Personal(subject="contact")] = None
    contact: UUID | None = None
    organisation: UUID | None = None
    deal: UUID | None = None
    start_on: date | None = None
    calendar: Calendar | None = None
    source: str | None = None
    source_id: str | None = None


@event("projects.Renamed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectRenamed:
    name: Annotated[str, Personal(subject="contact")]
    contact: UUID | None = None


@event("projects.Described.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectDescribed:
    description: Annotated[str | None, Personal(subject="contact")] = None
    contact: UUID | None = None


@event("projects.Linked.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectLinked:
    what: Link
    target: UUID


@event("projects.Unlinked.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectUnlinked:
    what: Link
    target: UUID


@event("projects.StartSet.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectStartSet:
    start_on: date | None = None


@event("projects.CalendarSet.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectCalendarSet:
    calendar: Calendar | None = None


@event("projects.MemberAdded.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectMemberAdded:
    member: UUID
    role: Role = "member"


@event("projects.MemberRoleChanged.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectMemberRoleChanged:
    member: UUID
    role: Role


@event("projects.MemberRemoved.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectMemberRemoved:
    member: UUID


@event("projects.TasksAdded.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectTasksAdded:
    tasks: tuple[UUID, ...]


@event("projects.TaskRemoved.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectTaskRemoved:
    task: UUID


@event("projects.DependenciesAdded.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DependenciesAdded:
    dependencies: tuple[Dependency, ...]


@event("projects.LagChanged.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyLagChanged:
    dependency: UUID
    lag: int


@event("projects.DependenciesRemoved.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DependenciesRemoved:
    dependencies: tuple[UUID, ...]


@event("projects.Completed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectCompleted:
    pass


@event("projects.Cancelled.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectCancelled:
    reason: Annotated[str | None, Personal(subject="contact")] = None
    contact: UUID | None = None


@event("projects.Reopened.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectReopened:
    pass


@event("projects.Archived.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectArchived:
    pass


@event("projects.Restored.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectRestored:
    pass


Event = (
    ProjectCreated
    | ProjectRenamed
    | ProjectDescribed
    | ProjectLinked
    | ProjectUnlinked
    | ProjectStartSet
    | ProjectCalendarSet
    | ProjectMemberAdded
    | ProjectMemberRoleChanged
    | ProjectMemberRemoved
    | ProjectTasksAdded
    | ProjectTaskRemoved
    | DependenciesAdded
    | DependencyLagChanged
    | DependenciesRemoved
    | ProjectCompleted
    | ProjectCancelled
    | ProjectReopened
    | ProjectArchived
    | ProjectRestored
)
