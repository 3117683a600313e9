"""Reads of members and of what their roles give."""

from domain.members import MEMBER, PERMISSIONS
from projections.members import MEMBERS
from queries.kernel import Collection, Query, Reader, collection, query
from queries.listing.relations import Relation, relation

MEMBER_COLLECTION = collection(
    Collection(
        name="members",
        view=MEMBERS,
        stream=MEMBER,
        permission="members:read",
        title="Members",
        search=("name", "email"),
    )
)
relation("members", Relation("deals", "deals", "id", "owner_id", many=True))
relation("members", Relation("tasks", "tasks", "id", "assignee", many=True))


class ReadRoles(Query):
    pass


@query("members.roles", "GET /roles", permission="members:read", title="What each role may do", views=())
async def roles(_q: ReadRoles, _r: Reader) -> object:
    """The roles of a firm, from the most to the least powerful, with their permissions."""
    return {"roles": [{"role": role.value, "permissions": sorted(given)} for role, given in PERMISSIONS.items()]}
