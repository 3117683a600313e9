"""What may be done with a project. Rules are named in the package's docstring."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import assert_never
from uuid import UUID

from domain.kernel import NotFound, Refused
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
from domain.projects.network import admit
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
from domain.projects.state import Project

MOST_TASKS = 10_000
MOST_DEPENDENCIES = 40_000
MOST_MEMBERS = 500
MOST_DAYS_OFF = 1_000
MOST_LAG = 10 * 365 * 24 * 60  # minutes
TASKS_PER_EVENT = 1_000  # an event is a leaf of at most 65,535 bytes
DEPENDENCIES_PER_EVENT = 200


def create(
    project: Project,
    *,
    name: str,
    description: str | None = None,
    contact: UUID | None = None,
    organisation: UUID | None = None,
    deal: UUID | None = None,
    start_on: date | None = None,
    calendar: Calendar | None = None,
    source: str | None = None,
    source_id: str | None = None,
) -> list[Event]:
    if project.exists:
        return []
    return [
        ProjectCreated(
            name=name,
            description=description,
            contact=contact,
            organisation=organisation,
            deal=deal,
            start_on=start_on,
            calendar=_sound(calendar),
            source=source,
            source_id=source_id,
        )
    ]


def _sound(calendar: Calendar | None) -> Calendar | None:
    if calendar is None:
        return None
    weekdays, days_off = tuple(sorted(set(calendar.weekdays))), tuple(sorted(set(calendar.days_off)))
    works = 1 <= calendar.day_minutes <= 1440 and bool(weekdays) and set(weekdays) <= set(range(1, 8))
    if not works or len(days_off) > MOST_DAYS_OFF:
        raise CalendarHasNoWork
    return replace(calendar, weekdays=weekdays, days_off=days_off)


def _changeable(project: Project) -> None:
    if project.archived:
        raise ProjectIsArchived
    if project.status != "open":
        raise ProjectIsClosed(status=project.status)


def rename(project: Project, *, name: str) -> list[Event]:
    if name == project.name:
        return []
    _changeable(project)
    return [ProjectRenamed(name=name, contact=project.contact)]


def describe(project: Project, *, description: str | None) -> list[Event]:
    if description == project.description:
        return []
    _changeable(project)
    return [ProjectDescribed(description=description, contact=project.contact)]


def _linked(project: Project, what: Link) -> UUID | None:
    match what:
        case "contact":
            return project.contact
        case "organisation":
            return project.organisation
        case "deal":
            return project.deal
        case _:
            assert_never(what)


def link(project: Project, *, what: Link, target: UUID) -> list[Event]:
    linked = _linked(project, what)
    if linked == target:
        return []
    _changeable(project)
    if linked is not None:
        raise LinkIsTaken(what=what)
    return [ProjectLinked(what=what, target=target)]


def unlink(project: Project, *, what: Link, target: UUID) -> list[Event]:
    if _linked(project, what) != target:
        return []
    _changeable(project)
    return [ProjectUnlinked(what=what, target=target)]


def set_start(project: Project, *, start_on: date | None) -> list[Event]:
    if start_on == project.start_on:
        return []
    _changeable(project)
    return [ProjectStartSet(start_on=start_on)]


def set_calendar(project: Project, *, calendar: Calendar | None) -> list[Event]:
    calendar = _sound(calendar)
    if calendar == project.calendar:
        return []
    _changeable(project)
    return [ProjectCalendarSet(calendar=calendar)]


def add_member(project: Project, *, member: UUID, role: Role = "member") -> list[Event]:
    """Take someone in, or give who is in another role."""
    known = project.members.get(member)
    if known == role:
        return []
    _changeable(project)
    if known is not None:
        return [ProjectMemberRoleChanged(member=member, role=role)]
    if len(project.members) >= MOST_MEMBERS:
        raise TooManyMembers(most=MOST_MEMBERS)
    return [ProjectMemberAdded(member=member, role=role)]


def remove_member(project: Project, *, member: UUID) -> list[Event]:
    if member not in project.members:
        return []
    _changeable(project)
    return [ProjectMemberRemoved(member=member)]


def add_tasks(project: Project, *, tasks: Sequence[UUID]) -> list[Event]:
    new = tuple(t for t in dict.fromkeys(tasks) if t not in project.tasks)
    if not new:
        return []
    _changeable(project)
    if len(project.tasks) + len(new) > MOST_TASKS:
        raise TooManyTasks(most=MOST_TASKS)
    return [ProjectTasksAdded(tasks=new[at : at + TASKS_PER_EVENT]) for at in range(0, len(new), TASKS_PER_EVENT)]


def remove_task(project: Project, *, task: UUID) -> list[Event]:
    if task not in project.tasks:
        return []
    _changeable(project)
    lost = sorted(d.id for d in project.dependencies.values() if task in (d.predecessor, d.successor))
    return [*_removed(lost), ProjectTaskRemoved(task=task)]


def _removed(ids: Sequence[UUID]) -> list[Event]:
    return [DependenciesRemoved(dependencies=tuple(ids[at : at + TASKS_PER_EVENT])) for at in range(0, len(ids), TASKS_PER_EVENT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What becomes of each dependency wanted, by its place: recorded, there already (the one it repeats), or refused."""

    recorded: Mapping[int, Dependency]
    unchanged: Mapping[int, Dependency]
    refused: Mapping[int, Refused]


def weigh(project: Project, wanted: Sequence[Dependency]) -> Weighed:
    """Judge many dependencies at once, in O(tasks + dependencies) where few of them close circles (see `admit`)."""
    stand = {(d.predecessor, d.successor, d.type): d for d in project.dependencies.values()}
    refused: dict[int, Refused] = {}
    unchanged: dict[int, Dependency] = {}
    sound: dict[int, Dependency] = {}
    for place, d in enumerate(wanted):
        same = stand.get((d.predecessor, d.successor, d.type))
        outside = next((t for t in (d.predecessor, d.successor) if t not in project.tasks), None)
        if d.predecessor == d.successor:
            refused[place] = DependencyOnItself(task=str(d.predecessor))
        elif abs(d.lag) > MOST_LAG:
            refused[place] = LagOutOfRange(most=MOST_LAG)
        elif outside is not None:
            refused[place] = TaskNotInProject(task=str(outside))
        elif same is not None and same.lag == d.lag:
            unchanged[place] = same
        elif same is not None:
            refused[place] = DependencyExists(dependency=str(same.id), lag=same.lag)
        elif len(stand) >= MOST_DEPENDENCIES:
            refused[place] = TooManyDependencies(most=MOST_DEPENDENCIES)
        else:
            sound[place] = stand[(d.predecessor, d.successor, d.type)] = d
    places = list(sound)
    circles = admit(
        ((d.predecessor, d.successor) for d in project.dependencies.values()),
        [(d.predecessor, d.successor) for d in sound.values()],
    )
    closing: dict[str, Refused] = {}
    for at, circle in circles.items():
        d = sound.pop(places[at])
        closing[str(d.id)] = refused[places[at]] = DependencyCycle(cycle=circle) if circle else DependenciesTooTangled()
    for place, d in list(unchanged.items()):
        if str(d.id) in closing:
            del unchanged[place]
            refused[place] = closing[str(d.id)]
    for place, why in refused.items():
        refused[place] = closing.get(str(why.about.get("dependency")), why)
    return Weighed(recorded=sound, unchanged=unchanged, refused=dict(sorted(refused.items())))


def add_weighed(project: Project, *, weighed: Weighed) -> list[Event]:
    """Record what `weigh` found sound."""
    if not weighed.recorded:
        return []
    _changeable(project)
    new = tuple(weighed.recorded.values())
    return [
        DependenciesAdded(dependencies=new[at : at + DEPENDENCIES_PER_EVENT]) for at in range(0, len(new), DEPENDENCIES_PER_EVENT)
    ]


def add_dependency(project: Project, *, dependency: Dependency) -> list[Event]:
    weighed = weigh(project, [dependency])
    for why in weighed.refused.values():
        raise why
    return add_weighed(project, weighed=weighed)


def change_lag(project: Project, *, dependency: UUID, lag: int) -> list[Event]:
    known = project.dependencies.get(dependency)
    if known is None:
        raise NotFound(kind="dependency", id=str(dependency))
    if abs(lag) > MOST_LAG:
        raise LagOutOfRange(most=MOST_LAG)
    if known.lag == lag:
        return []
    _changeable(project)
    return [DependencyLagChanged(dependency=dependency, lag=lag)]


def remove_dependencies(project: Project, *, dependencies: Sequence[UUID]) -> list[Event]:
    known = [d for d in dict.fromkeys(dependencies) if d in project.dependencies]
    if not known:
        return []
    _changeable(project)
    return _removed(known)


def complete(project: Project) -> list[Event]:
    if project.status == "completed":
        return []
    _changeable(project)
    return [ProjectCompleted()]


def cancel(project: Project, *, reason: str | None = None) -> list[Event]:
    if project.status == "cancelled":
        return []
    _changeable(project)
    return [ProjectCancelled(reason=reason, contact=project.contact)]


def reopen(project: Project) -> list[Event]:
    if project.status == "open":
        return []
    if project.archived:
        raise ProjectIsArchived
    return [ProjectReopened()]


def archive(project: Project) -> list[Event]:
    return [] if project.archived else [ProjectArchived()]


def restore(project: Project) -> list[Event]:
    return [ProjectRestored()] if project.archived else []
