"""The firm at a glance: what there is now, and how it went week by week. Weeks begin on Monday."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import Field

from queries.day import monday
from queries.figures import Answer, TimeZone, expected, sql, start, today, zone
from queries.kernel import Query, Reader, query

TRENDS, CLOSED, DEALS, TASKS = sql("dashboard_trends"), sql("dashboard_won"), sql("dashboard_deals"), sql("dashboard_tasks")

# How many there are, by the permission to read them: what is counted apart, and where it stands.
COUNTS: Mapping[str, tuple[str, str]] = {
    "contacts": (
        "contacts:read",
        "SELECT count(*) FILTER (WHERE status = 'active') AS active, count(*) FILTER (WHERE status = 'archived') AS archived"
        " FROM views.contacts WHERE firm_id = %(firm)s",
    ),
    "organisations": (
        "contacts:read",
        "SELECT count(*) FILTER (WHERE status = 'active') AS active, count(*) FILTER (WHERE status = 'archived') AS archived"
        " FROM views.organisations WHERE firm_id = %(firm)s",
    ),
    "projects": (
        "projects:read",
        "SELECT count(*) FILTER (WHERE status = 'open') AS open, count(*) FILTER (WHERE status = 'completed') AS completed"
        " FROM views.projects WHERE firm_id = %(firm)s AND NOT archived",
    ),
    "documents": (
        "documents:read",
        "SELECT count(*) FILTER (WHERE status = 'active') AS active, count(*) FILTER (WHERE on_hold) AS on_hold"
        " FROM views.documents WHERE firm_id = %(firm)s",
    ),
    "members": (
        "members:read",
        "SELECT count(*) FILTER (WHERE status = 'active') AS active FROM views.members WHERE firm_id = %(firm)s",
    ),
    "imports": (
        "imports:read",
        "SELECT count(*) FILTER (WHERE status = 'running') AS running, count(*) FILTER (WHERE status = 'failed') AS failed"
        " FROM views.imports WHERE firm_id = %(firm)s",
    ),
}

# What is counted per week: the name it has on the dashboard, the event, the permission.
WEEKLY: Mapping[str, tuple[str, str]] = {
    "contacts_created": ("contacts.Created.v1", "contacts:read"),
    "deals_opened": ("deals.Opened.v1", "deals:read"),
    "tasks_created": ("tasks.Created.v1", "tasks:read"),
    "tasks_completed": ("tasks.Completed.v1", "tasks:read"),
    "documents_added": ("documents.Added.v1", "documents:read"),
    "consents_given": ("consent.Given.v1", "consent:read"),
    "consents_confirmed": ("consent.Confirmed.v1", "consent:read"),
    "consents_withdrawn": ("consent.Withdrawn.v1", "consent:read"),
}


class ReadDashboard(Query):
    weeks: Annotated[int, Field(ge=1, le=53, description="How many weeks, the one of the moment asked the last.")] = 12
    time_zone: TimeZone = None


@query(
    "dashboard",
    "GET /dashboard",
    permission="firm:read",
    title="The firm at a glance",
    views=(
        "contacts",
        "organisations",
        "deals",
        "stages",
        "tasks",
        "projects",
        "documents",
        "members",
        "imports",
        "timeline",
        "firms",
    ),
)
async def dashboard(q: ReadDashboard, r: Reader) -> Answer:
    """What there is: contacts, organisations, open deals with their sums, tasks, projects, documents, members, imports; and week by week what
    was created, opened, won, lost, completed, consented to and withdrawn. Each part is there for whoever may read what it counts."""
    tz = await zone(r, q.time_zone)
    answer: Answer = {"at": r.now, "time_zone": tz.key}
    for name, (permission, statement) in COUNTS.items():
        if permission in r.permissions:
            answer[name] = dict(await r.one(statement) or {})
    if "tasks:read" in r.permissions:
        answer["tasks"] = dict(await r.one(TASKS, now=r.now) or {})
    if "deals:read" in r.permissions:
        rows = await r.all(DEALS, now=r.now, today=today(r, tz))
        answer["deals"] = {
            **{
                k: sum(row[n] for row in rows)
                for k, n in (("open", "deals"), ("rotting", "rotting"), ("overdue_to_close", "overdue_to_close"))
            },
            "sums": [
                {"currency": row["currency"], "amount": row["amount"], "weighted": expected(row["weighted"], 100)}
                for row in rows
                if row["amount"] is not None
            ],
        }
    answer["weeks"] = await _weeks(q.weeks, r, tz)
    return answer


async def _weeks(n: int, r: Reader, tz: ZoneInfo) -> Sequence[Answer]:
    first = monday(today(r, tz)) - timedelta(weeks=n - 1)
    end = first + timedelta(weeks=n)
    wanted = {event: name for name, (event, permission) in WEEKLY.items() if permission in r.permissions}
    since, until = (start(d, tz) for d in (first, end))
    weeks: dict[date, dict[str, Any]] = {
        first + timedelta(weeks=i): {"week": first + timedelta(weeks=i), **dict.fromkeys(wanted.values(), 0)} for i in range(n)
    }
    for row in await r.all(TRENDS, since=since, until=until, names=list(wanted), zone=tz.key):
        weeks[row["week"].astimezone(tz).date()][wanted[row["name"]]] = row["events"]
    if "deals:read" in r.permissions:
        for week in weeks.values():
            week.update({"deals_won": 0, "deals_lost": 0, "won": [], "lost": []})
        for row in await r.all(CLOSED, first=first, end=end):
            week = weeks[row["week"]]
            week[f"deals_{row['status']}"] += row["deals"]
            if row["amount"] is not None:
                week[row["status"]].append({"currency": row["currency"], "amount": row["amount"]})
    return list(weeks.values())
