"""The members of a firm: who they are, their roles, whether they may act, the keys they hold."""

from dataclasses import dataclass, replace
from typing import Annotated
from uuid import UUID

from domain.kernel import Personal
from domain.members import (
    MemberAdded,
    MemberDeactivated,
    MemberEmailChanged,
    MemberKeyLost,
    MemberKeyReceived,
    MemberReactivated,
    MemberRenamed,
    MemberRolesChanged,
)
from projections.kernel import Recorded, View, of_stream, view


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRow:
    """`status` is active or inactive; `remark` is why a member was deactivated."""

    name: Annotated[str | None, Personal()] = None
    email: Annotated[str | None, Personal()] = None
    roles: tuple[str, ...] = ()
    status: str = "active"
    remark: Annotated[str | None, Personal()] = None
    keys: tuple[UUID, ...] = ()


def fold(row: MemberRow | None, _key: UUID, r: Recorded) -> MemberRow | None:
    match r.event:
        case MemberAdded(name=name, email=email, roles=roles):
            return MemberRow(name=name, email=email, roles=tuple(role.value for role in roles))
        case _ if row is None:
            return None
        case MemberRenamed(name=name):
            return replace(row, name=name)
        case MemberEmailChanged(email=email):
            return replace(row, email=email)
        case MemberRolesChanged(roles=roles):
            return replace(row, roles=tuple(role.value for role in roles))
        case MemberDeactivated(remark=remark):
            return replace(row, status="inactive", remark=remark, keys=())
        case MemberReactivated():
            return replace(row, status="active", remark=None)
        case MemberKeyReceived(key=key):
            return replace(row, keys=(*row.keys, key))
        case MemberKeyLost(key=key):
            return replace(row, keys=tuple(k for k in row.keys if k != key))
        case _:
            return row


MEMBERS = view(View(name="members", version=1, table="views.members", row=MemberRow, keys=of_stream("member"), fold=fold))
