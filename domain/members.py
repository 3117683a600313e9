"""Members: the people of a firm, what each may do, and the address each is known by.

M1  Nobody gives a role with permissions they lack, and nobody changes a member who has permissions they lack.
M2  A member has at least one role; several roles add up.
M3  A member who has been deactivated is not changed until reactivated.
M4  An address belongs to one member of the firm, also while that member is inactive.
M5  Deactivating a member ends every key of theirs; reactivating brings none back.
M6  A member has a limited number of keys.
M7  Nothing is recorded when nothing changes.

M4 is kept without asking a view: an address is a stream of its own, `member_address`, under an id derived from it with the firm's
key, which tells nothing of the address. Two members who take one address at the same moment write to one stream, and the second
is refused. M5 and M6: a member's keys stand on the member's stream, recorded in the same command as the event of the key.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, assert_never
from uuid import UUID

from domain.kernel import Invalid, Personal, Refused, Stream, event

MAX_KEYS = 20


class Role(StrEnum):
    """Ordered from the most to the least powerful."""

    OWNER = "owner"
    ADVISER = "adviser"
    COMPLIANCE = "compliance"
    AUDITOR = "auditor"
    ANALYST = "analyst"
    READ_ONLY = "read-only"


OPERATOR = "operator"
"""What whoever runs the installation holds: no role of a firm has it."""

_READ_WORK = frozenset(
    {
        "firm:read",
        "members:read",
        "contacts:read",
        "deals:read",
        "documents:read",
        "tasks:read",
        "projects:read",
        "consent:read",
    }
)

ALL_PERMISSIONS = _READ_WORK | {
    "firm:write",
    "members:write",
    "keys:read",
    "keys:write",
    "contacts:write",
    "deals:write",
    "pipelines:write",
    "documents:write",
    "holds:write",
    "tasks:write",
    "projects:write",
    "consent:write",
    "imports:read",
    "imports:write",
    "history:read",
    "personal:read",
    "graph:cypher",
    "log:read",
    "log:write",
    "privacy:read",
    "privacy:write",
    "privacy:approve",
}

PERMISSIONS: dict[Role, frozenset[str]] = {
    Role.OWNER: ALL_PERMISSIONS,
    # Does the work with clients, imports included (an import can be undone). How the firm works is the owner's: people, keys,
    # pipelines, settings. Legal holds are compliance's, so that nobody lifts a hold from a file of their own.
    Role.ADVISER: _READ_WORK
    | {
        "contacts:write",
        "deals:write",
        "documents:write",
        "tasks:write",
        "projects:write",
        "consent:write",
        "imports:read",
        "imports:write",
        "history:read",
        "personal:read",
    },
    # Answers data subjects: records and withdraws consent, corrects a person's details (GDPR, article 16), holds documents, assigns
    # follow-ups, and sees who has keys. Does not do the business it oversees: it writes no deals, no documents, no imports.
    Role.COMPLIANCE: _READ_WORK
    | {
        "contacts:write",
        "tasks:write",
        "consent:write",
        "holds:write",
        "keys:read",
        "imports:read",
        "history:read",
        "personal:read",
        "log:read",
        "log:write",
        "privacy:read",
        "privacy:write",
        "privacy:approve",
    },
    # Reads everything and changes nothing. Personal values too: an audit traces an entry to the person it is about, and a consent
    # without its person proves nothing. A firm that wants a masked audit issues the auditor's key without the scope personal:read.
    Role.AUDITOR: _READ_WORK | {"keys:read", "imports:read", "history:read", "personal:read", "log:read", "privacy:read"},
    # Counts and relates over time: needs the history, never the names. Imports keep their source rows, names and all, so not those.
    # Cypher shows no personal value to anybody.
    Role.ANALYST: _READ_WORK | {"history:read", "graph:cypher"},
    # Sees the work as it stands, without names: a screen on the wall, a guest, a trial of another system.
    Role.READ_ONLY: _READ_WORK,
}


def permissions_of(roles: Iterable[str]) -> frozenset[str]:
    """All that these roles may do together; a role that is no longer known gives nothing."""
    known = {str(r): p for r, p in PERMISSIONS.items()}
    return frozenset().union(*(known.get(str(role), frozenset()) for role in roles))


def authority(permissions: frozenset[str]) -> frozenset[str]:
    """What an actor may hand on: their permissions; the operator, who makes the first owner, all of them."""
    return ALL_PERMISSIONS | permissions if OPERATOR in permissions else permissions


def normalised(email: str) -> str:
    """The form in which two spellings of an address are one."""
    return email.strip().casefold()


# --- events


@event("members.Added.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class MemberAdded:
    roles: tuple[Role, ...]
    name: Annotated[str | None, Personal()] = None
    email: Annotated[str | None, Personal()] = None


@event("members.Renamed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRenamed:
    name: Annotated[str | None, Personal()] = None


@event("members.EmailChanged.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class MemberEmailChanged:
    email: Annotated[str | None, Personal()] = None


@event("members.RolesChanged.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRolesChanged:
    roles: tuple[Role, ...]


@event("members.Deactivated.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class MemberDeactivated:
    remark: Annotated[str | None, Personal()] = None


@event("members.Reactivated.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class MemberReactivated:
    pass


@event("members.KeyReceived.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class MemberKeyReceived:
    key: UUID


@event("members.KeyLost.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class MemberKeyLost:
    key: UUID


Event = (
    MemberAdded
    | MemberRenamed
    | MemberEmailChanged
    | MemberRolesChanged
    | MemberDeactivated
    | MemberReactivated
    | MemberKeyReceived
    | MemberKeyLost
)


@event("members.AddressClaimed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class AddressClaimed:
    member: UUID


@event("members.AddressReleased.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class AddressReleased:
    member: UUID


AddressEvent = AddressClaimed | AddressReleased

# --- state


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    active: bool = False
    roles: tuple[Role, ...] = ()
    name: str | None = None
    email: str | None = None
    keys: tuple[UUID, ...] = ()

    @property
    def permissions(self) -> frozenset[str]:
        """What the roles give, whether the member is active or not."""
        return permissions_of(self.roles)

    @property
    def owner(self) -> bool:
        """Whether the firm counts this member among its owners."""
        return self.active and Role.OWNER in self.roles


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    member: UUID | None = None


# --- refusals


class ExceedsYourPermissions(Refused):
    """This takes permissions you do not have yourself, so you can't give them to others or take them away. Ask an owner."""


class NoRole(Invalid):
    """A member needs at least one role. To end a member's access, deactivate the member."""


class MemberIsInactive(Refused):
    """The member has been deactivated. Reactivate the member first."""


class AddressTaken(Refused):
    """Another member of this firm has this email address. Use another one, or change or reactivate that member."""


class TooManyKeys(Refused):
    """The member has as many keys as a member may have. Revoke one that is no longer used."""


# --- decisions: `by` is what the one who asks may do


def add(_member: Member, *, name: str, email: str, roles: Collection[Role], by: frozenset[str]) -> list[Event]:
    _within(by, permissions_of(roles))
    return [MemberAdded(roles=_ordered(roles), name=name, email=email)]


def rename(member: Member, *, name: str, by: frozenset[str]) -> list[Event]:
    _changeable(member, by)
    return [] if name == member.name else [MemberRenamed(name=name)]


def change_email(member: Member, *, email: str, by: frozenset[str]) -> list[Event]:
    _changeable(member, by)
    return [] if email == member.email else [MemberEmailChanged(email=email)]


def change_roles(member: Member, *, roles: Collection[Role], by: frozenset[str]) -> list[Event]:
    _changeable(member, by)
    _within(by, permissions_of(roles))
    after = _ordered(roles)
    return [] if after == member.roles else [MemberRolesChanged(roles=after)]


def deactivate(member: Member, *, by: frozenset[str], remark: str | None = None) -> list[Event]:
    _within(by, member.permissions)
    return [MemberDeactivated(remark=remark)] if member.active else []


def reactivate(member: Member, *, by: frozenset[str]) -> list[Event]:
    _within(by, member.permissions)
    return [] if member.active else [MemberReactivated()]


def receive_key(member: Member, *, key: UUID) -> list[Event]:
    if not member.active:
        raise MemberIsInactive
    if key in member.keys:
        return []
    if len(member.keys) >= MAX_KEYS:
        raise TooManyKeys(limit=MAX_KEYS)
    return [MemberKeyReceived(key=key)]


def lose_key(member: Member, *, key: UUID) -> list[Event]:
    return [MemberKeyLost(key=key)] if key in member.keys else []


def claim(address: Address, *, member: UUID) -> list[AddressEvent]:
    if address.member not in {None, member}:
        raise AddressTaken
    return [] if address.member == member else [AddressClaimed(member=member)]


def release(address: Address, *, member: UUID) -> list[AddressEvent]:
    return [AddressReleased(member=member)] if address.member == member else []


def _ordered(roles: Collection[Role]) -> tuple[Role, ...]:
    if not roles:
        raise NoRole
    return tuple(role for role in Role if role in roles)


def _within(by: frozenset[str], needed: frozenset[str]) -> None:
    if missing := sorted(needed - by):
        raise ExceedsYourPermissions(missing=missing)


def _changeable(member: Member, by: frozenset[str]) -> None:
    _within(by, member.permissions)
    if not member.active:
        raise MemberIsInactive


# --- evolve


def evolve(member: Member, e: Event) -> Member:
    match e:
        case MemberAdded():
            return replace(member, active=True, roles=e.roles, name=e.name, email=e.email)
        case MemberRenamed():
            return replace(member, name=e.name)
        case MemberEmailChanged():
            return replace(member, email=e.email)
        case MemberRolesChanged():
            return replace(member, roles=e.roles)
        case MemberDeactivated():
            return replace(member, active=False, keys=())
        case MemberReactivated():
            return replace(member, active=True)
        case MemberKeyReceived():
            return replace(member, keys=(*member.keys, e.key))
        case MemberKeyLost():
            return replace(member, keys=tuple(k for k in member.keys if k != e.key))
        case _:
            assert_never(e)


def evolve_address(address: Address, e: AddressEvent) -> Address:
    match e:
        case AddressClaimed():
            return replace(address, member=e.member)
        case AddressReleased():
            return replace(address, member=None)
        case _:
            assert_never(e)


MEMBER = Stream("member", Member(), evolve)
ADDRESS = Stream("member_address", Address(), evolve_address)
