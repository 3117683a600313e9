"""What a member has to look at today, and how much work lies before whom, week by week.

Days and weeks are those of the time zone asked for, else of the firm's; weeks begin on Monday.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import Field

from domain.kernel import Invalid, NotFound
from queries.figures import EARLIEST, LATEST, Answer, Row, TimeZone, sql, start, today, zone
from queries.kernel import Query, Reader, query
from queries.listing import SEES_PERSONAL
from queries.projects import Network, network
from queries.standing import stood

TASKS, DEALS, CONSENTS, LOAD = sql("day_tasks"), sql("day_deals"), stood(sql("day_consents")), sql("load_members")
MEMBER = "SELECT id, name, status FROM views.members WHERE firm_id = %(firm)s AND id = %(id)s"
MEMBERS = "SELECT id, name FROM views.members WHERE firm_id = %(firm)s AND id = ANY (%(ids)s)"
TASK_LISTS = ("overdue", "due_today", "in_progress", "blocked", "waiting")
DEAL_LISTS = ("rotting", "closing_this_week", "overdue_to_close")
MOST_MEMBERS = 500
OF_A_DAY = ("members", "tasks", "dependencies", "deals", "stages", "contacts", "consents", "notices", "firms")


class ReadDay(Query):
    id: UUID
    time_zone: TimeZone = None
    limit: Annotated[int, Field(ge=1, le=200, description="Of each list; the counts are of all.")] = 50


def _lists(rows: Sequence[Row], names: Sequence[str], count: str, *, personal: bool, sealed: Sequence[str]) -> dict[str, Answer]:
    found: dict[str, dict[str, Any]] = {name: {count: 0, "items": []} for name in names}
    for row in rows:
        one = {k: v for k, v in row.items() if k not in {"list", "place", count, *names} or k in {"blocked", "waiting"}}
        if not personal:
            one.update(dict.fromkeys(sealed))
        found[row["list"]][count] = row[count]
        found[row["list"]]["items"].append(one)
    return found


@query(
    "members.day",
    "GET /members/{id}/day",
    permission="tasks:read",
    title="The day of a member",
    views=OF_A_DAY,
)
async def day(q: ReadDay, r: Reader) -> Answer:
    """What awaits a member: tasks overdue, due today, under way, blocked and waiting for others; deals that rest longer than their stage
    allows, that are to close this week, or should have; requests of consent without an answer from the contacts the member looks after.
    A task may be in several lists. Deals and consents are there for whoever may read them."""
    member = await r.one(MEMBER, id=q.id)
    if member is None:
        raise NotFound(kind="member", id=str(q.id))
    tz = await zone(r, q.time_zone)
    this = today(r, tz)
    begins, ends = start(this, tz), start(this + timedelta(days=1), tz)
    week_end = this + timedelta(days=7 - this.weekday())
    personal = SEES_PERSONAL in r.permissions
    rows = await r.all(TASKS, id=q.id, now=r.now, day=begins, day_end=ends, limit=q.limit)
    answer: Answer = {
        "member": q.id,
        "name": member["name"] if personal else None,
        "at": r.now,
        "day": this,
        "tasks": _lists(rows, TASK_LISTS, "tasks", personal=personal, sealed=("title", "block_reason")),
    }
    if "deals:read" in r.permissions:
        rows = await r.all(DEALS, id=q.id, now=r.now, today=this, week_end=week_end, limit=q.limit)
        answer["deals"] = _lists(rows, DEAL_LISTS, "deals", personal=personal, sealed=("title",))
    if {"consent:read", "contacts:read"} <= r.permissions:
        rows = await r.all(CONSENTS, id=q.id, limit=q.limit)
        answer["consent_requests"] = {
            "requests": rows[0]["requests"] if rows else 0,
            "items": [
                {**{k: v for k, v in row.items() if k not in {"requests", "name"}}, "name": row["name"] if personal else None}
                for row in rows
            ],
        }
    return answer


class ReadMyDay(Query):
    time_zone: TimeZone = None
    limit: Annotated[int, Field(ge=1, le=200, description="Of each list; the counts are of all.")] = 50


class NobodysDay(Invalid):
    """This key stands for itself and not for a member, so it has no day. Ask for the day of a member, at /members/{id}/day, or use a
    key that was issued to a member."""


@query("me.day", "GET /me/day", permission="tasks:read", title="My day", views=OF_A_DAY)
async def my_day(q: ReadMyDay, r: Reader) -> object:
    """What awaits the member who asks, as at `/members/{id}/day`."""
    if r.member is None:
        raise NobodysDay
    return await day(ReadDay(id=r.member, time_zone=q.time_zone, limit=q.limit), r)


# --- load


class ReadLoad(Query):
    weeks: Annotated[int, Field(ge=1, le=52)] = 8
    member: UUID | None = None
    time_zone: TimeZone = None


def monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


@query("load", "GET /load", permission="tasks:read", title="How much work lies before whom", views=("tasks", "members", "firms"))
async def load(q: ReadLoad, r: Reader) -> Answer:
    """For each member with open tasks: by the week in which they are due, how many tasks, how many of them without an estimate, and the
    minutes still to do (the estimate less what was worked); beside the weeks what is overdue from before the first of them, due after the
    last, and without a date."""
    tz = await zone(r, q.time_zone)
    first = monday(today(r, tz))
    rows = await r.all(LOAD, first=start(first, tz), end=start(first + timedelta(weeks=q.weeks), tz), member=q.member, zone=tz.key)
    ids = list(dict.fromkeys(row["member"] for row in rows))[:MOST_MEMBERS]
    personal = SEES_PERSONAL in r.permissions
    names = {m["id"]: m["name"] for m in await r.all(MEMBERS, ids=ids)} if personal else {}
    weeks = [first + timedelta(weeks=n) for n in range(q.weeks)]
    return {"at": r.now, "weeks": weeks, "members": [_of_member(id, names.get(id), rows, weeks, tz) for id in ids]}


NOTHING: Mapping[str, int] = {"tasks": 0, "unestimated": 0, "minutes": 0}


def _of_member(id: UUID, name: str | None, rows: Sequence[Row], weeks: Sequence[date], tz: ZoneInfo) -> Answer:
    mine = [row for row in rows if row["member"] == id]
    by_week = {row["week"].astimezone(tz).date(): row for row in mine if row["week"] is not None}
    beside = {row["beside"]: row for row in mine if row["beside"] is not None}

    def amounts(row: Mapping[str, Any]) -> Answer:
        return {k: row[k] for k in NOTHING}

    return {
        "member": id,
        "name": name,
        "weeks": [{"week": w, **amounts(by_week.get(w, NOTHING))} for w in weeks],
        **{where: amounts(beside.get(where, NOTHING)) for where in ("overdue", "later", "undated")},
    }


class ReadProjectLoad(Query):
    id: UUID
    since: Annotated[date | None, Field(description="A day of the first week; without it, that in which the project starts.")] = (
        None
    )
    weeks: Annotated[int, Field(ge=1, le=104)] = 26


class ProjectHasNoStart(Invalid):
    """The project has no day on which it starts, so its plan has no weeks. Set the day first."""


@query(
    "projects.load",
    "GET /projects/{id}/load",
    permission="projects:read",
    title="The load of a project by member and week",
    views=("projects", "tasks", "dependencies", "members"),
)
async def project_load(q: ReadProjectLoad, r: Reader) -> Answer:
    """The work of the plan by member and week: each task's minutes lie where its early start and finish put them on the project's working
    days. `capacity_minutes` is what one person could do in that week; `open_minutes` leaves out tasks that are completed. Work that nobody
    is assigned to stands under a member of null."""
    net = await network(r, q.id)
    if net.days is None:
        raise ProjectHasNoStart(id=str(q.id))
    first = monday(min(max(q.since or net.project["start_on"], EARLIEST.date()), LATEST.date()))
    weeks = [first + timedelta(weeks=n) for n in range(q.weeks + 1)]
    edges = [net.days.offset(w) for w in weeks]
    people = {
        row["id"]: row["assignee"]
        for row in await r.all("SELECT id, assignee FROM views.tasks WHERE firm_id = %(firm)s AND project = %(id)s", id=q.id)
    }
    sums = _spread(net, edges, people)
    personal = SEES_PERSONAL in r.permissions
    ids = [m for m in sums if m is not None][:MOST_MEMBERS]
    names = {m["id"]: m["name"] for m in await r.all(MEMBERS, ids=ids)} if personal else {}
    return {
        "project": q.id,
        "at": r.now,
        "weeks": [{"week": w, "capacity_minutes": edges[n + 1] - edges[n]} for n, w in enumerate(weeks[:-1])],
        "members": [
            {
                "member": m,
                "name": names.get(m) if m is not None else None,
                "weeks": [{"week": w, "minutes": sums[m][n][0], "open_minutes": sums[m][n][1]} for n, w in enumerate(weeks[:-1])],
            }
            for m in sorted(sums, key=lambda m: (m is None, str(m)))
        ],
    }


def _spread(net: Network, edges: Sequence[int], people: Mapping[UUID, UUID | None]) -> dict[UUID | None, list[list[int]]]:
    """Minutes, and those still open, of each member between each two edges."""
    sums: dict[UUID | None, list[list[int]]] = {}
    for id, t in net.solve().times.items():
        for n in range(len(edges) - 1):
            minutes = min(t.early_finish, edges[n + 1]) - max(t.early_start, edges[n])
            if minutes > 0:
                of = sums.setdefault(people.get(id), [[0, 0] for _ in edges[1:]])
                of[n][0] += minutes
                of[n][1] += 0 if net.tasks[id]["status"] == "completed" else minutes
    return sums
