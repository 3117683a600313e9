"""Lists of organisations, and the tree one stands in."""

from pathlib import Path
from typing import Any
from uuid import UUID

from domain.kernel import NotFound
from domain.organisations import ORGANISATION
from projections.organisations import ORGANISATIONS
from queries.kernel import Collection, Query, Reader, collection, query
from queries.listing.relations import Relation, relation

ABOVE = Path(__file__).with_name("organisations_above.sql").read_text(encoding="utf-8")
BELOW = Path(__file__).with_name("organisations_below.sql").read_text(encoding="utf-8")
MOST = 2_000

collection(
    Collection(
        name="organisations",
        view=ORGANISATIONS,
        stream=ORGANISATION,
        permission="contacts:read",
        title="Organisations",
        order="-created_at",
        search=("name", "legal_name", "industry", "email", "phone", "city", "about"),
    )
)
relation("organisations", Relation("owner", "members", "owner"))
relation("organisations", Relation("parent", "organisations", "parent"))
relation("organisations", Relation("subsidiaries", "organisations", "id", "parent", many=True))
relation("organisations", Relation("survivor", "organisations", "merged_into"))
relation("organisations", Relation("relations", "relations", "id", "source", many=True))
relation("organisations", Relation("relations_to", "relations", "id", "target", many=True))
relation("organisations", Relation("notes", "notes", "id", "about", many=True))
relation("organisations", Relation("tasks", "tasks", "id", "organisation", many=True))
relation("organisations", Relation("projects", "projects", "id", "organisation", many=True))
relation("organisations", Relation("document_links", "document_links", "id", "target", many=True))


class ReadTree(Query):
    id: UUID


@query(
    "organisations.tree",
    "GET /organisations/{id}/tree",
    permission="contacts:read",
    title="The tree an organisation stands in",
    views=("organisations",),
)
async def tree(q: ReadTree, r: Reader) -> object:
    """Those it belongs to, nearest first, and those that belong to it, with their depth. Merged ones are looked through."""
    me = await r.one("SELECT id, name FROM views.organisations WHERE firm_id = %(firm)s AND id = %(id)s", id=q.id)
    if me is None:
        raise NotFound(kind="organisation", id=str(q.id))
    above = await r.all(ABOVE, id=q.id)
    below = await r.all(BELOW, id=q.id, limit=MOST + 1)
    return {"id": q.id, "name": me["name"], "above": _plain(above), "below": _plain(below[:MOST]), "more": len(below) > MOST}


def _plain(rows: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in rows]
