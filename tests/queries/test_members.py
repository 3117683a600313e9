from typing import cast

from domain.members import PERMISSIONS
from queries.kernel import COLLECTIONS, QUERIES, Reader
from queries.members import ReadRoles, roles


async def test_the_roles_are_listed_from_the_most_powerful_with_what_they_may_do() -> None:
    answer = cast("dict[str, list[dict[str, object]]]", await roles(ReadRoles(), cast("Reader", None)))
    assert [r["role"] for r in answer["roles"]] == ["owner", "adviser", "compliance", "auditor", "analyst", "read-only"]
    assert {r["role"]: set(cast("list[str]", r["permissions"])) for r in answer["roles"]} == {
        role.value: set(given) for role, given in PERMISSIONS.items()
    }


def test_members_and_roles_are_read_with_one_permission() -> None:
    assert COLLECTIONS["members"].permission == QUERIES["members.roles"].permission == "members:read"
