"""Lists of contacts, and who else a contact may be."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

from pydantic import Field

from domain.contacts import CONTACT
from domain.kernel import NotFound
from projections.contacts import CONTACTS
from queries.kernel import Collection, Query, Reader, collection, query
from queries.listing.relations import Relation, relation

DUPLICATES = Path(__file__).with_name("contact_duplicates.sql").read_text(encoding="utf-8")

collection(
    Collection(
        name="contacts",
        view=CONTACTS,
        stream=CONTACT,
        permission="contacts:read",
        title="Contacts",
        order="-created_at",
        search=("name", "given", "family", "nickname", "organisation_name", "email", "phone", "city", "job_title", "about"),
    )
)
relation("contacts", Relation("owner", "members", "owner"))
relation("contacts", Relation("survivor", "contacts", "merged_into"))
relation("contacts", Relation("relations", "relations", "id", "source", many=True))
relation("contacts", Relation("relations_to", "relations", "id", "target", many=True))
relation("contacts", Relation("notes", "notes", "id", "about", many=True))
relation("contacts", Relation("tasks", "tasks", "id", "contact", many=True))
relation("contacts", Relation("projects", "projects", "id", "contact", many=True))
relation("contacts", Relation("document_links", "document_links", "id", "target", many=True))


class FindDuplicates(Query):
    id: UUID
    limit: Annotated[int, Field(ge=1, le=200)] = 20


@query(
    "contacts.duplicates",
    "GET /contacts/{id}/duplicates",
    permission="personal:read",
    title="Contacts that may be the same person",
    views=("contacts",),
)
async def duplicates(q: FindDuplicates, r: Reader) -> object:
    """Other contacts with the same email address, phone number or name, the likeliest first."""
    if await r.one("SELECT id FROM views.contacts WHERE firm_id = %(firm)s AND id = %(id)s", id=q.id) is None:
        raise NotFound(kind="contact", id=str(q.id))
    rows = await r.all(DUPLICATES, id=q.id, limit=q.limit)
    return {"items": [dict(row) for row in rows]}
