"""Reading projects, their dependencies, their plans, and what their plans would be."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import UTC, date, timedelta
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, TypeAdapter

from domain.kernel import NotFound
from domain.projects import MOST_DEPENDENCIES, MOST_LAG, MOST_TASKS, PROJECT, DependencyOnItself
from domain.projects.events import Calendar, DependencyType
from domain.tasks import MOST_MINUTES
from projections.dependencies import DEPENDENCIES
from projections.projects import PROJECTS
from queries.kernel import Collection, Query, Reader, collection, query
from queries.listing import Relation, relation
from queries.schedule import Bond, Schedule, Times, schedule

MOST_CHANGES = 5_000
MOST_WORKING_DAYS = 40_000  # a plan that lasts longer is told in minutes only

collection(
    Collection(
        name="projects",
        view=PROJECTS,
        stream=PROJECT,
        permission="projects:read",
        title="Projects",
        order="-created_at",
        search=("name", "description"),
    )
)

collection(
    Collection(
        name="dependencies",
        view=DEPENDENCIES,
        stream=None,
        permission="projects:read",
        title="Dependencies between tasks",
    )
)

Row = Mapping[str, Any]
Answer = dict[str, object]

_calendar = TypeAdapter[Calendar | None](Calendar | None)


class WorkingDays:
    """The working days of a calendar from a first day on."""

    def __init__(self, calendar: Calendar, first: date) -> None:
        self.minutes = calendar.day_minutes
        self._weekdays = frozenset(calendar.weekdays)
        self._off = frozenset(calendar.days_off)
        self._next = first
        self._days: list[date] = []

    def _grow(self) -> None:
        while self._next.isoweekday() not in self._weekdays or self._next in self._off:
            self._next += timedelta(days=1)
        self._days.append(self._next)
        self._next += timedelta(days=1)

    def day(self, offset: int) -> date | None:
        """The day on which this minute of work lies."""
        n = offset // self.minutes
        if n >= MOST_WORKING_DAYS or self._next.year > 9_000:
            return None
        while len(self._days) <= n:
            self._grow()
        return self._days[n]

    def offset(self, day: date) -> int:
        """Minutes of work before this day."""
        while len(self._days) < MOST_WORKING_DAYS and self._next <= day and self._next.year < 9_000:
            self._grow()
        return bisect_left(self._days, day) * self.minutes

    def span(self, start: int, finish: int) -> tuple[date | None, date | None]:
        """First and last day of work from one minute to another; a milestone on the edge of two days lies on the earlier."""
        last = self.day(max(finish - 1, 0))
        return (self.day(start) if finish > start else last), last


class Network:
    """What a plan is made of: durations, bonds, and constraints, as the current rows have them."""

    def __init__(self, project: Row, tasks: Sequence[Row], dependencies: Sequence[Row]) -> None:
        self.project = project
        self.tasks = {t["id"]: t for t in tasks}
        self.calendar = _calendar.validate_python(project["calendar"]) or Calendar()
        self.durations = {id: 0 if t["status"] == "cancelled" else t["estimate_minutes"] or 0 for id, t in self.tasks.items()}
        self.bonds: dict[UUID, Bond[UUID]] = {
            d["id"]: Bond(predecessor=d["predecessor"], successor=d["successor"], type=d["type"], lag=d["lag"])
            for d in dependencies
        }
        self.days = WorkingDays(self.calendar, project["start_on"]) if project["start_on"] is not None else None
        self.not_before: dict[UUID, int] = {}
        if self.days is not None:
            for id, t in self.tasks.items():
                if t["starts_at"] is not None:
                    self.not_before[id] = self.days.offset(t["starts_at"].astimezone(UTC).date())

    def solve(self) -> Schedule[UUID]:
        return schedule(self.durations, self.bonds.values(), self.not_before)

    def told(self, solved: Schedule[UUID], *, personal: bool) -> Answer:
        """The plan as it is answered. Titles are left out for readers who may not see them."""
        return {
            "project": self.project["id"],
            "start_on": self.project["start_on"],
            "ends_on": self.days.span(0, solved.duration)[1] if self.days is not None else None,
            "day_minutes": self.calendar.day_minutes,
            "duration_minutes": solved.duration,
            "critical": list(solved.critical),
            "unestimated": [id for id, t in self.tasks.items() if t["estimate_minutes"] is None and t["status"] != "cancelled"],
            "tasks": [self._task(id, t, personal=personal) for id, t in solved.times.items()],
            "dependencies": [
                {"id": id, "predecessor": b.predecessor, "successor": b.successor, "type": b.type, "lag": b.lag}
                for id, b in self.bonds.items()
            ],
        }

    def _task(self, id: UUID, t: Times, *, personal: bool) -> Answer:
        row = self.tasks[id]
        starts, ends = self.days.span(t.early_start, t.early_finish) if self.days is not None else (None, None)
        late_starts, late_ends = self.days.span(t.late_start, t.late_finish) if self.days is not None else (None, None)
        return {
            "id": id,
            "title": row["title"] if personal else None,
            "status": row["status"],
            "duration_minutes": t.duration,
            "early_start": t.early_start,
            "early_finish": t.early_finish,
            "late_start": t.late_start,
            "late_finish": t.late_finish,
            "total_slack": t.total_slack,
            "free_slack": t.free_slack,
            "critical": t.critical,
            "starts_on": starts,
            "ends_on": ends,
            "late_starts_on": late_starts,
            "late_ends_on": late_ends,
        }


async def network(r: Reader, project: UUID) -> Network:
    """The network of a project as its rows stand."""
    row = await r.one(
        "SELECT id, start_on, calendar FROM views.projects WHERE firm_id = %(firm)s AND id = %(project)s", project=project
    )
    if row is None:
        raise NotFound(kind="project", id=str(project))
    tasks = await r.all(
        "SELECT id, title, status, estimate_minutes, starts_at FROM views.tasks"
        " WHERE firm_id = %(firm)s AND project = %(project)s ORDER BY id LIMIT %(most)s",
        project=project,
        most=MOST_TASKS,
    )
    dependencies = await r.all(
        "SELECT id, predecessor, successor, type, lag FROM views.dependencies"
        " WHERE firm_id = %(firm)s AND project = %(project)s ORDER BY id LIMIT %(most)s",
        project=project,
        most=MOST_DEPENDENCIES,
    )
    return Network(row, tasks, dependencies)


class Plan(Query):
    id: UUID


@query(
    "projects.plan",
    "GET /projects/{id}/plan",
    permission="projects:read",
    title="The plan of a project",
    views=("projects", "tasks", "dependencies"),
)
async def plan(q: Plan, r: Reader) -> Answer:
    """Early and late times, slacks and the critical path, computed from the project as it stands at this moment."""
    net = await network(r, q.id)
    return net.told(net.solve(), personal="personal:read" in r.permissions)


Minutes = Annotated[int, Field(ge=0, le=MOST_MINUTES)]
Lag = Annotated[int, Field(ge=-MOST_LAG, le=MOST_LAG)]


class SupposedTask(Query):
    id: Annotated[UUID, Field(description="Any id that no task of the project has; dependencies may name it.")]
    estimate_minutes: Minutes


class SupposedDependency(Query):
    predecessor: UUID
    successor: UUID
    type: DependencyType = "finish_to_start"
    lag: Lag = 0


class WhatIf(Query):
    id: UUID
    estimates: Annotated[dict[UUID, Minutes], Field(max_length=MOST_CHANGES)] = Field(default_factory=dict)
    add_tasks: Annotated[tuple[SupposedTask, ...], Field(max_length=MOST_CHANGES)] = ()
    remove_tasks: Annotated[tuple[UUID, ...], Field(max_length=MOST_CHANGES)] = ()
    add_dependencies: Annotated[tuple[SupposedDependency, ...], Field(max_length=MOST_CHANGES)] = ()
    remove_dependencies: Annotated[tuple[UUID, ...], Field(max_length=MOST_CHANGES)] = ()
    lags: Annotated[dict[UUID, Lag], Field(max_length=MOST_CHANGES, description="New lags by dependency.")] = Field(
        default_factory=dict
    )


@query(
    "projects.what_if",
    "POST /projects/{id}/plan:what-if",
    permission="projects:read",
    title="What the plan would be",
    views=("projects", "tasks", "dependencies"),
)
async def what_if(q: WhatIf, r: Reader) -> Answer:
    """The plan as it would be with other estimates, tasks, dependencies or lags, and how it differs; nothing is recorded."""
    net = await network(r, q.id)
    return compare(net, q, personal="personal:read" in r.permissions)


def compare(net: Network, q: WhatIf, *, personal: bool) -> Answer:
    """Apply the supposed changes to `net`, and set the plan after beside the plan before."""
    before, ended = net.solve(), net.days
    suppose(net, q)
    after = net.solve()
    both = before.times.keys() & after.times.keys()
    was, now = frozenset(before.critical), frozenset(after.critical)
    return {
        "plan": net.told(after, personal=personal),
        "difference": {
            "duration_minutes": {
                "before": before.duration,
                "after": after.duration,
                "change": after.duration - before.duration,
            },
            "ends_on": {
                "before": ended.span(0, before.duration)[1] if ended is not None else None,
                "after": ended.span(0, after.duration)[1] if ended is not None else None,
            },
            "became_critical": [id for id in after.critical if id not in was],
            "no_longer_critical": [id for id in before.critical if id not in now],
            "added": [id for id in after.times if id not in before.times],
            "removed": [id for id in before.times if id not in after.times],
            "moved": [
                {"id": id, "before": _moved(before.times[id]), "after": _moved(t)}
                for id, t in after.times.items()
                if id in both and t != before.times[id]
            ],
        },
    }


def _moved(t: Times) -> dict[str, int]:
    return {
        "early_start": t.early_start,
        "early_finish": t.early_finish,
        "late_start": t.late_start,
        "late_finish": t.late_finish,
        "total_slack": t.total_slack,
        "free_slack": t.free_slack,
    }


def suppose(net: Network, q: WhatIf) -> None:
    """Change the network as the question supposes. Raises NotFound for what the project does not have."""
    for t in q.add_tasks:
        if t.id not in net.tasks:
            net.tasks[t.id] = {"id": t.id, "title": None, "status": "open", "estimate_minutes": t.estimate_minutes}
            net.durations[t.id] = t.estimate_minutes
    for id, amount in q.estimates.items():
        _known("task", net.tasks, id)
        net.durations[id] = amount
        net.tasks[id] = {**net.tasks[id], "estimate_minutes": amount}
    for id in q.remove_dependencies:
        _known("dependency", net.bonds, id)
    for id in q.remove_dependencies:
        net.bonds.pop(id, None)
    for id, lag in q.lags.items():
        _known("dependency", net.bonds, id)
        b = net.bonds[id]
        net.bonds[id] = Bond(predecessor=b.predecessor, successor=b.successor, type=b.type, lag=lag)
    for n, d in enumerate(q.add_dependencies):
        _known("task", net.tasks, d.predecessor)
        _known("task", net.tasks, d.successor)
        if d.predecessor == d.successor:
            raise DependencyOnItself(task=str(d.predecessor))
        net.bonds[UUID(int=n)] = Bond(predecessor=d.predecessor, successor=d.successor, type=d.type, lag=d.lag)
    for id in q.remove_tasks:
        _known("task", net.tasks, id)
    for id in q.remove_tasks:
        net.tasks.pop(id, None)
        net.durations.pop(id, None)
    net.bonds = {id: b for id, b in net.bonds.items() if b.predecessor in net.tasks and b.successor in net.tasks}


def _known(kind: str, among: Mapping[UUID, object], id: UUID) -> None:
    if id not in among:
        raise NotFound(kind=kind, id=str(id))


relation("projects", Relation("contact", "contacts", "contact"))
relation("projects", Relation("organisation", "organisations", "organisation"))
relation("projects", Relation("deal", "deals", "deal"))
relation("projects", Relation("tasks", "tasks", "id", "project", many=True))
relation("projects", Relation("dependencies", "dependencies", "id", "project", many=True))
relation("dependencies", Relation("project", "projects", "project"))
relation("dependencies", Relation("predecessor", "tasks", "predecessor"))
relation("dependencies", Relation("successor", "tasks", "successor"))
