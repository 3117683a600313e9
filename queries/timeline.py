"""What happened to a contact, a deal or anything else, the newest first: its own events, those that name it, and those of what is its own.

T1  A timeline is for who may read history. An event is in it when the caller may read the list of its stream's kind, and its texts are
    there with `personal:read`.
T2  Pages go on where the last one ended, also while new events come.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from domain.kernel import EVENTS, STREAMS, Invalid, NotFound
from queries import cursors
from queries.figures import BEGINNING, END, Answer, Time, sql
from queries.kernel import COLLECTIONS, Query, Reader, query
from queries.listing import SEES_PERSONAL

OF, RELATED = sql("timeline_of"), sql("timeline_related")
MOST_RELATED = 1_000
LAST = 2**63 - 1
LINKED_VIEWS = ("timeline", "deal_parties", "tasks", "projects", "document_links", "notes", "relations")
ABSORBING = {"contacts", "organisations"}
KINDS = {
    "contacts": "contact",
    "organisations": "organisation",
    "deals": "deal",
    "tasks": "task",
    "projects": "project",
    "documents": "document",
    "notes": "note",
    "relations": "relation",
    "pipelines": "pipeline",
    "imports": "import",
    "folders": "folder",
    "fields": "field",
    "notices": "notice",
    "sendings": "sending",
    "firms": "firm",
}
ACTING = {"members": "member", "keys": "key"}

# Streams without a list of their own.
OTHER_PERMISSIONS = {
    "consent": "consent:read",
    "purposes": "consent:read",
    "folder_tree": "documents:read",
    "pipeline_default": "deals:read",
    "member_address": "members:read",
}

Names = Annotated[
    str,
    Field(
        max_length=2_000,
        description="Only events of these names, with commas between them; `deals` or `deals.Moved` mean all that begin so.",
    ),
]


class UnknownEventName(Invalid):
    """No event has this name. The list of events is in the documentation; `deals` or `deals.Moved` mean all that begin so."""


def names_of(asked: str) -> list[str]:
    """The names of events that are asked for; all without any."""
    if not asked.strip():
        return list(EVENTS)
    found: list[str] = []
    for part in (p.strip() for p in asked.split(",")):
        these = [name for name in EVENTS if part and (name == part or name.startswith(f"{part}."))]
        if not these:
            raise UnknownEventName(name=part[:80])
        found += these
    return list(dict.fromkeys(found))


def streams_for(permissions: frozenset[str]) -> list[str]:
    """The kinds of streams whose events a caller with these permissions may read."""
    needed = {c.stream.type: c.permission for c in COLLECTIONS.values() if c.stream is not None} | OTHER_PERMISSIONS
    return [s for s in STREAMS if needed.get(s, "firm:read") in permissions]


class ReadTimeline(Query):
    id: UUID
    scope: Annotated[
        Literal["all", "own"],
        Field(
            description="`own`: only events of the thing itself and those that name it; `all`: those of what belongs to it besides."
        ),
    ] = "all"
    event: Names = ""
    since: Time | None = None
    until: Annotated[Time | None, Field(description="The end, which is not in it.")] = None
    page_size: Annotated[int, Field(ge=1, le=200)] = 50
    page_token: Annotated[str, Field(max_length=cursors.LONGEST)] = ""


async def events_of(
    r: Reader,
    ids: Sequence[UUID],
    *,
    limit: int,
    actors: Sequence[str] = (),
    event: str = "",
    since: datetime | None = None,
    before: tuple[datetime, int] = (END, LAST),
) -> list[dict[str, Any]]:
    """The newest events that touch these things or were done by these actors, before a moment."""
    rows = await r.all(
        OF,
        ids=list(ids),
        actors=list(actors),
        streams=streams_for(r.permissions),
        names=names_of(event),
        since=since or BEGINNING,
        before=before[0],
        before_position=before[1],
        limit=limit,
        personal=SEES_PERSONAL in r.permissions,
    )
    return [{**row, "subjects": [s for s in row["subjects"] if s is not None]} for row in rows]


async def related(r: Reader, ids: Sequence[UUID]) -> list[UUID]:
    """What belongs to these things: deals, tasks, projects, documents, notes and relations, the last changed first."""
    return [row["id"] for row in await r.all(RELATED, ids=list(ids), most=MOST_RELATED)]


async def told(q: ReadTimeline, r: Reader, ids: Sequence[UUID], actors: Sequence[str] = ()) -> Answer:
    """One page of a timeline of these things and actors."""
    before: tuple[datetime, int] = (q.until or END, -1 if q.until is not None else LAST)
    if q.page_token:
        before = cursors.read(q.page_token, datetime.fromisoformat, cursors.whole)
    others = [i for i in await related(r, ids) if i not in ids] if q.scope == "all" and not actors else []
    rows = await events_of(r, [*ids, *others], limit=q.page_size + 1, actors=actors, event=q.event, since=q.since, before=before)
    page = rows[: q.page_size]
    token = cursors.write((page[-1]["occurred_at"], page[-1]["position"])) if len(rows) > q.page_size else ""
    return {"items": page, "next_page_token": token, "all_related": len(others) < MOST_RELATED}


async def identities(r: Reader, collection: str, kind: str, id: UUID) -> list[UUID]:
    """The ids a thing answers to: its own and those of the records it absorbed. NotFound also for who may not read its list."""
    if COLLECTIONS[collection].permission in r.permissions:
        column = "absorbed" if collection in ABSORBING else "'{}'::uuid[] AS absorbed"
        row = await r.one(f"SELECT id, {column} FROM views.{collection} WHERE firm_id = %(firm)s AND id = %(id)s", id=id)
        if row is not None:
            return [row["id"], *row["absorbed"]]
    raise NotFound(kind=kind, id=str(id))


def _declare(collection: str, kind: str) -> None:
    async def timeline(q: ReadTimeline, r: Reader) -> Answer:
        return await told(q, r, await identities(r, collection, kind, q.id))

    timeline.__doc__ = (
        f"The events that touched this {kind}, the newest first: its own, those that name it, and those of the deals, tasks, projects,"
        " documents, notes and relations that belong to it. Each says what happened when, by whom, to which stream and in which role; `facts`"
        " are its values in short and `texts` the personal ones, for whoever may see them."
    )
    query(
        f"{collection}.timeline",
        f"GET /{collection}/{{id}}/timeline",
        permission="history:read",
        title=f"The timeline of a {kind}",
        views=tuple(dict.fromkeys((collection, *LINKED_VIEWS))),
    )(timeline)


for _collection, _kind in KINDS.items():
    _declare(_collection, _kind)


class ReadActorTimeline(ReadTimeline):
    scope: Annotated[
        Literal["all", "own"],
        Field(description="`own`: what happened to whoever acts, or named them; `all`: what they did besides."),
    ] = "all"


def _declare_acting(collection: str, kind: str) -> None:
    async def timeline(q: ReadActorTimeline, r: Reader) -> Answer:
        ids = await identities(r, collection, kind, q.id)
        actors = [f"{kind}/{q.id}"] if q.scope == "all" else []
        return await told(q.model_copy(update={"scope": "own"}), r, ids, actors)

    timeline.__doc__ = f"What a {kind} did, and what happened to the {kind} or named it, the newest first."
    query(
        f"{collection}.timeline",
        f"GET /{collection}/{{id}}/timeline",
        permission="history:read",
        title=f"The timeline of a {kind}",
        views=(collection, "timeline"),
    )(timeline)


for _collection, _kind in ACTING.items():
    _declare_acting(_collection, _kind)
