"""Lists of notes, and the notes about one contact or organisation."""

from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from domain.notes import NOTE
from projections.notes import NOTES
from queries.kernel import Collection, Query, Reader, collection, query
from queries.listing import SEES_PERSONAL
from queries.listing.relations import Relation, relation
from queries.relations import CONTACT_AND_ABSORBED, ORGANISATION_AND_ABSORBED, one_with_absorbed

NOTES_ABOUT = Path(__file__).with_name("notes_about.sql").read_text(encoding="utf-8")

collection(
    Collection(
        name="notes",
        view=NOTES,
        stream=NOTE,
        permission="contacts:read",
        title="Notes about contacts and organisations",
        order="-happened_at",
        search=("text",),
    )
)
relation("notes", Relation("contact", "contacts", "about"))
relation("notes", Relation("organisation", "organisations", "about"))


class ReadNotes(Query):
    id: UUID
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class ReadContactNotes(ReadNotes):
    pass


class ReadOrganisationNotes(ReadNotes):
    pass


async def _notes(q: ReadNotes, r: Reader, ids: list[UUID]) -> object:
    rows = await r.all(NOTES_ABOUT, ids=ids, limit=q.limit + 1)
    hidden: dict[str, Any] = {} if SEES_PERSONAL in r.permissions else {"text": None}
    return {"items": [{**row, **hidden} for row in rows[: q.limit]], "more": len(rows) > q.limit}


@query(
    "contacts.notes",
    "GET /contacts/{id}/notes",
    permission="contacts:read",
    title="The notes about a contact",
    views=("contacts", "notes"),
)
async def about_contact(q: ReadContactNotes, r: Reader) -> object:
    """Pinned ones first, then the latest; those about absorbed contacts included."""
    return await _notes(q, r, await one_with_absorbed(r, CONTACT_AND_ABSORBED, "contact", q.id))


@query(
    "organisations.notes",
    "GET /organisations/{id}/notes",
    permission="contacts:read",
    title="The notes about an organisation",
    views=("organisations", "notes"),
)
async def about_organisation(q: ReadOrganisationNotes, r: Reader) -> object:
    """Pinned ones first, then the latest; those about absorbed organisations included."""
    return await _notes(q, r, await one_with_absorbed(r, ORGANISATION_AND_ABSORBED, "organisation", q.id))
