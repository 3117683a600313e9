"""Commands of members. What changes a member's standing changes, in the same command, the firm's owners and the member's keys."""

from collections.abc import Collection
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from commands.kernel import Answer, Command, Entity, Work, command
from domain import firms, keys, members
from domain.firms import FIRM
from domain.keys import KEY, Revocation
from domain.members import ADDRESS, MEMBER, Member, Role, authority

PersonName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Email = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        max_length=254,
        pattern=r"^[^@\s\x00-\x1f\x7f<>]{1,64}@([^@\s.\x00-\x1f\x7f<>]{1,63}\.)+[^@\s.\x00-\x1f\x7f<>]{2,63}$",
    ),
]
Remark = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00]+$")]
Roles = Annotated[tuple[Role, ...], Field(min_length=1, max_length=len(Role))]


class AddMember(Command):
    name: PersonName
    email: Email
    roles: Roles


class RenameMember(Command):
    id: UUID
    name: PersonName


class ChangeMemberEmail(Command):
    id: UUID
    email: Email


class ChangeMemberRoles(Command):
    """All roles the member is to have."""

    id: UUID
    roles: Roles


class DeactivateMember(Command):
    id: UUID
    remark: Remark | None = None


class ReactivateMember(Command):
    id: UUID


async def join(
    w: Work, member: Entity[Member, members.Event], *, name: str, email: str, roles: Collection[Role], by: frozenset[str]
) -> None:
    """Record a new member, the address that is now theirs, and the owner, if that is what they are."""
    w.record(member, members.add(member.state, name=name, email=email, roles=roles, by=by))
    await _claim(w, member.id, email)
    await _count_owner(w, member)


async def _claim(w: Work, member: UUID, email: str) -> None:
    address = await w.find(ADDRESS, w.derive_id("member-address", members.normalised(email)))
    w.record(address, members.claim(address.state, member=member))


async def _release(w: Work, member: UUID, email: str) -> None:
    address = await w.find(ADDRESS, w.derive_id("member-address", members.normalised(email)))
    w.record(address, members.release(address.state, member=member))


async def _count_owner(w: Work, member: Entity[Member, members.Event], *, before: bool = False) -> None:
    if member.state.owner == before:
        return
    firm = await w.load(FIRM, w.firm)
    count = firms.add_owner if member.state.owner else firms.remove_owner
    w.record(firm, count(firm.state, member=member.id))


@command("members.add", "POST /members", permission="members:write", title="Add a member", creates=True)
async def add(cmd: AddMember, w: Work) -> Answer:
    """Add a person to the firm with the roles they are to have. What a role may do can be read at /roles."""
    member = w.create(MEMBER, w.new_id())
    await join(w, member, name=cmd.name, email=cmd.email, roles=cmd.roles, by=authority(w.permissions))
    return {"id": str(member.id)}


@command(
    "members.rename",
    "POST /members/{id}:rename",
    permission="members:write",
    title="Rename a member",
    target=MEMBER,
)
async def rename(cmd: RenameMember, w: Work) -> Answer:
    member = await w.load(MEMBER, cmd.id)
    w.record(member, members.rename(member.state, name=cmd.name, by=authority(w.permissions)))
    return None


@command(
    "members.change_email",
    "POST /members/{id}:change-email",
    permission="members:write",
    title="Change a member's email address",
    target=MEMBER,
)
async def change_email(cmd: ChangeMemberEmail, w: Work) -> Answer:
    """Change the address a member is known by. The one before is free for others again."""
    member = await w.load(MEMBER, cmd.id)
    before = member.state.email
    w.record(member, members.change_email(member.state, email=cmd.email, by=authority(w.permissions)))
    await _claim(w, member.id, cmd.email)
    if before is not None and members.normalised(before) != members.normalised(cmd.email):
        await _release(w, member.id, before)
    return None


@command(
    "members.change_roles",
    "POST /members/{id}:change-roles",
    permission="members:write",
    title="Change a member's roles",
    target=MEMBER,
)
async def change_roles(cmd: ChangeMemberRoles, w: Work) -> Answer:
    """Give a member these roles instead of those they have. Their keys follow at once; the last owner stays owner."""
    member = await w.load(MEMBER, cmd.id)
    before = member.state.owner
    w.record(member, members.change_roles(member.state, roles=cmd.roles, by=authority(w.permissions)))
    for id in member.state.keys:
        key = await w.load(KEY, id)
        w.record(key, keys.change_roles(key.state, roles=tuple(role.value for role in member.state.roles)))
    await _count_owner(w, member, before=before)
    return None


@command(
    "members.deactivate",
    "POST /members/{id}:deactivate",
    permission="members:write",
    title="Deactivate a member",
    target=MEMBER,
)
async def deactivate(cmd: DeactivateMember, w: Work) -> Answer:
    """End a member's access: every key of theirs is revoked with it. The last active owner can't be deactivated."""
    member = await w.load(MEMBER, cmd.id)
    before, held = member.state.owner, member.state.keys
    w.record(member, members.deactivate(member.state, remark=cmd.remark, by=authority(w.permissions)))
    for id in held:
        key = await w.load(KEY, id)
        w.record(key, keys.revoke(key.state, reason=Revocation.MEMBER_DEACTIVATED))
    await _count_owner(w, member, before=before)
    return None


@command(
    "members.reactivate",
    "POST /members/{id}:reactivate",
    permission="members:write",
    title="Reactivate a member",
    target=MEMBER,
)
async def reactivate(cmd: ReactivateMember, w: Work) -> Answer:
    """Let a member act again, with the roles they had. Keys they had stay revoked; issue new ones."""
    member = await w.load(MEMBER, cmd.id)
    before = member.state.owner
    w.record(member, members.reactivate(member.state, by=authority(w.permissions)))
    await _count_owner(w, member, before=before)
    return None
