"""A contact, an organisation or a deal at a glance: what there is to know before the telephone is answered.

Each part holds its counts and its first members, and is there for whoever may read the list behind it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from domain.kernel import NotFound
from projections.contacts import CONTACTS
from projections.deals import DEALS as DEALS_VIEW
from projections.organisations import ORGANISATIONS
from queries.board import due_at
from queries.consent import STANDING_SQL, SUPPRESSIONS_SQL, suppressed_by
from queries.figures import Answer, Row, seconds, sql
from queries.funnel import STAYS, stays_of
from queries.kernel import Query, Reader, query
from queries.listing import SEES_PERSONAL, mask, personal_fields
from queries.notes import NOTES_ABOUT
from queries.relations import RELATIONS_OF
from queries.relations import seen as relation_seen
from queries.timeline import events_of, related

DEALS, SUMS, TASKS, DOCUMENTS = sql("overview_deals"), sql("overview_sums"), sql("overview_tasks"), sql("overview_documents")
MOST_STAYS = 200
CONTACT = (
    "SELECT id, version, name, job_title, organisation_name, email, phone, city, country, status, lifecycle, tags, owner, merged_into, flagged,"
    " absorbed, created_at, updated_at FROM views.contacts WHERE firm_id = %(firm)s AND id = %(id)s"
)
ORGANISATION = (
    "SELECT id, version, name, legal_name, kind, email, phone, city, country, industry, status, tags, owner, parent, merged_into, flagged,"
    " absorbed, created_at, updated_at FROM views.organisations WHERE firm_id = %(firm)s AND id = %(id)s"
)
DEAL = (
    "SELECT id, version, title, pipeline_id, stage_id, stage_name, status, archived, amount, currency, expected_close, source, owner_id,"
    " contact_id, parties, products, offers, probability, opened_at, stage_since, stage_until, stage_due, closed_at, closed_on, lost_code, reason,"
    " notes, last_note, activities, last_touched_at FROM views.deals WHERE firm_id = %(firm)s AND id = %(id)s"
)
STAGE = "SELECT time_limit_days, probability FROM views.stages WHERE firm_id = %(firm)s AND id = %(id)s"
NAMES = (
    "SELECT id, name FROM views.contacts WHERE firm_id = %(firm)s AND id = ANY (%(ids)s::uuid[])"
    " UNION ALL SELECT id, name FROM views.organisations WHERE firm_id = %(firm)s AND id = ANY (%(ids)s::uuid[])"
)
PROJECTS = (
    "SELECT id, name, status, start_on, tasks FROM views.projects WHERE firm_id = %(firm)s AND {column} = ANY (%(ids)s::uuid[])"
    " AND NOT archived ORDER BY (status = 'open') DESC, updated_at DESC, id LIMIT %(limit)s"
)


class ReadOverview(Query):
    id: UUID
    limit: Annotated[int, Field(ge=1, le=50, description="Of each part; its counts are of all.")] = 10


def _part(rows: Sequence[Row], *counts: str, sealed: Sequence[str] = (), personal: bool = True) -> Answer:
    first: Mapping[str, Any] = rows[0] if rows else {}
    hidden: dict[str, None] = {} if personal else dict.fromkeys(sealed)
    items = [{**{k: v for k, v in row.items() if k not in counts}, **hidden} for row in rows]
    return {**{c: first.get(c, 0) for c in counts}, "items": items}


class _Glance:
    """Collects the parts that the caller may read, of the ids a record answers to."""

    def __init__(self, r: Reader, ids: Sequence[UUID], limit: int) -> None:
        self.r = r
        self.ids = list(ids)
        self.limit = limit
        self.personal = SEES_PERSONAL in r.permissions

    async def deals(self) -> Answer:
        if "deals:read" not in self.r.permissions:
            return {}
        rows = await self.r.all(DEALS, ids=self.ids, limit=self.limit)
        sums = await self.r.all(SUMS, ids=self.ids)
        part = _part(rows, "deals", "open", "won", "lost", sealed=("title",), personal=self.personal)
        return {"deals": {**part, "sums": [dict(row) for row in sums if row["amount"] is not None]}}

    async def tasks(self, column: str) -> Answer:
        if "tasks:read" not in self.r.permissions:
            return {}
        rows = await self.r.all(TASKS.replace("{column}", column), ids=self.ids, now=self.r.now, limit=self.limit)
        return {"tasks": _part(rows, "tasks", "open", "overdue", sealed=("title",), personal=self.personal)}

    async def projects(self, column: str) -> Answer:
        if "projects:read" not in self.r.permissions:
            return {}
        rows = await self.r.all(PROJECTS.replace("{column}", column), ids=self.ids, limit=self.limit)
        return {"projects": _part(rows, sealed=("name",), personal=self.personal)}

    async def documents(self) -> Answer:
        if "documents:read" not in self.r.permissions:
            return {}
        rows = await self.r.all(DOCUMENTS, ids=self.ids, limit=self.limit)
        return {"documents": _part(rows, "documents", sealed=("title",), personal=self.personal)}

    async def relations(self) -> Answer:
        rows = await self.r.all(RELATIONS_OF, ids=self.ids, today=self.r.now.date(), which="current", limit=self.limit + 1)
        items = [relation_seen(dict(row), personal=self.personal) for row in rows[: self.limit]]
        return {"relations": {"items": items, "more": len(rows) > self.limit}}

    async def notes(self) -> Answer:
        rows = await self.r.all(NOTES_ABOUT, ids=self.ids, limit=self.limit)
        return {"notes": _part(rows, sealed=("text",), personal=self.personal)}

    async def consent(self, id: UUID) -> Answer:
        if "consent:read" not in self.r.permissions:
            return {}
        stands = await self.r.all(STANDING_SQL, contact=id, personal=self.personal)
        silences = await self.r.all(SUPPRESSIONS_SQL, contact=id, personal=self.personal, now=self.r.now)
        told = [
            {
                **{k: row[k] for k in ("purpose", "channel", "since", "expires_at", "legal_basis", "status")},
                "suppressed_by": suppressed_by(row, silences),
            }
            for row in stands
        ]
        return {"consent": {"items": told, "suppressions": [{k: s[k] for k in ("reason", "channel", "since")} for s in silences]}}

    async def last_activity(self) -> Answer:
        if "history:read" not in self.r.permissions:
            return {}
        others = await related(self.r, self.ids)
        found = await events_of(self.r, [*self.ids, *(i for i in others if i not in self.ids)], limit=1)
        return {"last_activity": found[0] if found else None}


async def _record(r: Reader, statement: str, kind: str, id: UUID, row: type) -> Mapping[str, Any]:
    found = await r.one(statement, id=id)
    if found is None:
        raise NotFound(kind=kind, id=str(id))
    return mask(found, personal_fields(row), r.permissions)


VIEWS = (
    *(
        "contacts",
        "organisations",
        "relations",
        "deals",
        "deal_parties",
        "tasks",
        "projects",
        "documents",
        "document_links",
        "notes",
    ),
    *("consents", "notices", "suppressions", "timeline"),
)


@query("contacts.overview", "GET /contacts/{id}/overview", permission="contacts:read", title="A contact at a glance", views=VIEWS)
async def contact(q: ReadOverview, r: Reader) -> Answer:
    """The contact, and of it and those merged into it: relations, deals with their sums, tasks, projects, documents, notes, consent by purpose
    and channel, and the last thing that happened."""
    found = await _record(r, CONTACT, "contact", q.id, CONTACTS.row)
    g = _Glance(r, [q.id, *found["absorbed"]], q.limit)
    return {
        "at": r.now,
        "contact": found,
        **await g.relations(),
        **await g.deals(),
        **await g.tasks("contact"),
        **await g.projects("contact"),
        **await g.documents(),
        **await g.notes(),
        **await g.consent(q.id),
        **await g.last_activity(),
    }


@query(
    "organisations.overview",
    "GET /organisations/{id}/overview",
    permission="contacts:read",
    title="An organisation at a glance",
    views=VIEWS[:-4] + VIEWS[-1:],
)
async def organisation(q: ReadOverview, r: Reader) -> Answer:
    """The organisation, and of it and those merged into it: relations with people and organisations, deals with their sums, tasks, projects,
    documents, notes, and the last thing that happened."""
    found = await _record(r, ORGANISATION, "organisation", q.id, ORGANISATIONS.row)
    g = _Glance(r, [q.id, *found["absorbed"]], q.limit)
    return {
        "at": r.now,
        "organisation": found,
        **await g.relations(),
        **await g.deals(),
        **await g.tasks("organisation"),
        **await g.projects("organisation"),
        **await g.documents(),
        **await g.notes(),
        **await g.last_activity(),
    }


@query(
    "deals.overview",
    "GET /deals/{id}/overview",
    permission="deals:read",
    title="A deal at a glance",
    views=(
        "deals",
        "stages",
        "stage_entries",
        "contacts",
        "organisations",
        "tasks",
        "projects",
        "documents",
        "document_links",
        "timeline",
    ),
)
async def deal(q: ReadOverview, r: Reader) -> Answer:
    """The deal with its parties' names, its time in the stage and whether that is longer than the stage allows, its stays, tasks, projects,
    documents, and the last thing that happened."""
    found = await _record(r, DEAL, "deal", q.id, DEALS_VIEW.row)
    g = _Glance(r, [q.id], q.limit)
    stage = await r.one(STAGE, id=found["stage_id"])
    due = found["stage_due"] if stage is None else due_at(found["stage_since"], stage["time_limit_days"])
    due = due if found["status"] == "open" else None
    names: dict[str, Any] = {}
    if "contacts:read" in r.permissions:
        rows = await r.all(NAMES, ids=[p["id"] for p in found["parties"]])
        names = {str(row["id"]): row["name"] for row in rows}
    stays = await r.all(STAYS, id=q.id, limit=MOST_STAYS)
    return {
        "at": r.now,
        "deal": {
            **found,
            "parties": [
                {**p, "name": names.get(p["id"]) if g.personal or p["kind"] == "organisation" else None} for p in found["parties"]
            ],
        },
        "seconds_in_stage": seconds(found["stage_since"], found["stage_until"] or found["closed_at"] or r.now),
        "stage_due": due,
        "rotting": due is not None and due < r.now,
        "stays": stays_of(stays, r),
        **await g.tasks("deal"),
        **await g.projects("deal"),
        **await g.documents(),
        **await g.last_activity(),
    }
