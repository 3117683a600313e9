"""Lists of relations, and the relations of one contact or organisation as seen from it."""

from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from domain.kernel import NotFound
from domain.relations import RELATION
from projections.relations import RELATIONS
from queries.kernel import Collection, Query, Reader, collection, query
from queries.listing import SEES_PERSONAL
from queries.listing.relations import Relation, relation

RELATIONS_OF = Path(__file__).with_name("relations_of.sql").read_text(encoding="utf-8")
CONTACT_AND_ABSORBED = "SELECT id, absorbed FROM views.contacts WHERE firm_id = %(firm)s AND id = %(id)s"
ORGANISATION_AND_ABSORBED = "SELECT id, absorbed FROM views.organisations WHERE firm_id = %(firm)s AND id = %(id)s"
PERSONAL = ("kind", "label", "valid_from", "valid_to", "primary", "remark", "ended_because")

collection(
    Collection(
        name="relations",
        view=RELATIONS,
        stream=RELATION,
        permission="contacts:read",
        title="Relations between contacts and organisations",
        order="-created_at",
        search=("label", "remark"),
    )
)
relation("relations", Relation("source_contact", "contacts", "source"))
relation("relations", Relation("target_contact", "contacts", "target"))
relation("relations", Relation("source_organisation", "organisations", "source"))
relation("relations", Relation("target_organisation", "organisations", "target"))


class ReadRelations(Query):
    id: UUID
    which: Literal["current", "ended", "all"] = Field(default="all", description="Whether they have ended by today.")
    limit: Annotated[int, Field(ge=1, le=1000)] = 200


class ReadContactRelations(ReadRelations):
    pass


class ReadOrganisationRelations(ReadRelations):
    pass


async def one_with_absorbed(r: Reader, sql: str, kind: str, id: UUID) -> list[UUID]:
    """The ids a record answers to: its own and those of the records it absorbed."""
    row = await r.one(sql, id=id)
    if row is None:
        raise NotFound(kind=kind, id=str(id))
    return [row["id"], *row["absorbed"]]


async def _relations(q: ReadRelations, r: Reader, ids: list[UUID]) -> object:
    rows = await r.all(RELATIONS_OF, ids=ids, today=r.now.date(), which=q.which, limit=q.limit + 1)
    sees = SEES_PERSONAL in r.permissions
    return {"items": [seen(dict(row), personal=sees) for row in rows[: q.limit]], "more": len(rows) > q.limit}


def seen(row: dict[str, Any], *, personal: bool) -> dict[str, Any]:
    """A relation with what is personal in it hidden from who may not see it."""
    if personal:
        return row
    hidden = dict.fromkeys((*PERSONAL, "other_name") if row["other_type"] == "contact" else PERSONAL)
    return {**row, **hidden}


@query(
    "contacts.relations",
    "GET /contacts/{id}/relations",
    permission="contacts:read",
    title="The relations of a contact",
    views=("contacts", "organisations", "relations"),
)
async def of_contact(q: ReadContactRelations, r: Reader) -> object:
    """Each relation as it reads from this contact, with the name of the other; those of absorbed contacts included."""
    return await _relations(q, r, await one_with_absorbed(r, CONTACT_AND_ABSORBED, "contact", q.id))


@query(
    "organisations.relations",
    "GET /organisations/{id}/relations",
    permission="contacts:read",
    title="The relations of an organisation",
    views=("contacts", "organisations", "relations"),
)
async def of_organisation(q: ReadOrganisationRelations, r: Reader) -> object:
    """Each relation as it reads from this organisation, with the name of the other; those of absorbed ones included."""
    return await _relations(q, r, await one_with_absorbed(r, ORGANISATION_AND_ABSORBED, "organisation", q.id))
