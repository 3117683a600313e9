"""Commands of API keys. A key's text leaves once, in `shown_once["api_key"]`; the record keeps the digest of its secret."""

from datetime import timedelta
from typing import Annotated, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from commands.kernel import Answer, Command, Work, command
from commands.members import Remark
from domain import keys, members
from domain.keys import KEY, KeyId, Revocation
from domain.members import ALL_PERMISSIONS, MEMBER, Role, authority, permissions_of

KeyName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Scope = Annotated[str, StringConstraints(max_length=40, pattern=r"^[a-z]+:[a-z]+$")]
Scopes = Annotated[tuple[Scope, ...], Field(min_length=1, max_length=len(ALL_PERMISSIONS))]
OverlapHours = Annotated[int, Field(ge=0, le=int(keys.LONGEST_OVERLAP.total_seconds()) // 3600)]


class IssueKey(Command):
    """For a role, or for a member with the member's roles.

    Without `scopes` the key is good for all that its roles give; without `expires_at` it ends when it is revoked.
    """

    name: KeyName
    role: Role | None = None
    member: UUID | None = None
    scopes: Scopes | None = None
    expires_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _for_a_role_or_a_member(self) -> Self:
        if (self.role is None) == (self.member is None):
            raise ValueError("a key is for a role or for a member: give one of them, not both")
        return self


class RenameKey(Command):
    id: UUID
    name: KeyName


class RotateKey(Command):
    """`overlap_hours` is how long the secret before still works, seven days at most."""

    id: UUID
    overlap_hours: OverlapHours = 0
    expires_at: AwareDatetime | None = None


class RevokeKey(Command):
    id: UUID
    reason: Revocation = Revocation.NO_LONGER_NEEDED
    remark: Remark | None = None


@command("keys.issue", "POST /keys", permission="keys:write", title="Issue an API key", creates=True)
async def issue(cmd: IssueKey, w: Work) -> Answer:
    """Issue a key for a role or a member. Its text is shown in this answer and never again."""
    key = w.create(KEY, w.new_id())
    roles: tuple[str, ...] = () if cmd.role is None else (cmd.role.value,)
    if cmd.member is not None:
        member = await w.load(MEMBER, cmd.member)
        w.record(member, members.receive_key(member.state, key=key.id))
        roles = tuple(role.value for role in member.state.roles)
    name, secret = keys.public_id(w.firm, KeyId(key.id)), w.new_secret()
    w.record(
        key,
        keys.issue(
            key.state,
            name=cmd.name,
            public_id=name,
            sha256=keys.digest(secret),
            roles=roles,
            granted=permissions_of(roles),
            by=authority(w.permissions),
            now=w.now,
            member=cmd.member,
            scopes=cmd.scopes,
            expires_at=cmd.expires_at,
        ),
    )
    w.shown_once["api_key"] = keys.compose(name, secret)
    return {"id": str(key.id)}


@command("keys.rename", "POST /keys/{id}:rename", permission="keys:write", title="Rename an API key", target=KEY)
async def rename(cmd: RenameKey, w: Work) -> Answer:
    key = await w.load(KEY, cmd.id)
    w.record(key, keys.rename(key.state, name=cmd.name))
    return None


@command("keys.rotate", "POST /keys/{id}:rotate", permission="keys:write", title="Rotate an API key", target=KEY, undoable=False)
async def rotate(cmd: RotateKey, w: Work) -> Answer:
    """Give a key a new secret, shown in this answer and never again; the one before stops working, at once or after an overlap."""
    key = await w.load(KEY, cmd.id)
    secret = w.new_secret()
    w.record(
        key,
        keys.rotate(
            key.state,
            sha256=keys.digest(secret),
            granted=permissions_of(key.state.roles),
            by=authority(w.permissions),
            now=w.now,
            overlap=timedelta(hours=cmd.overlap_hours),
            expires_at=cmd.expires_at,
        ),
    )
    w.shown_once["api_key"] = keys.compose(key.state.public_id, secret)
    return None


@command("keys.revoke", "POST /keys/{id}:revoke", permission="keys:write", title="Revoke an API key", target=KEY, undoable=False)
async def revoke(cmd: RevokeKey, w: Work) -> Answer:
    """End a key at once and for good."""
    key = await w.load(KEY, cmd.id)
    w.record(key, keys.revoke(key.state, reason=cmd.reason, remark=cmd.remark))
    if key.state.member is not None:
        member = await w.load(MEMBER, key.state.member)
        w.record(member, members.lose_key(member.state, key=key.id))
    return None
