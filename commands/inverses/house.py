"""Undoing what happened to members, API keys, the firm and consent.

Keys that were revoked stay revoked: whoever found one must not get it back. A member who is reactivated by an undo gets new keys, as by
reactivating. Consent is never rewritten: a consent that was recorded by mistake is declared invalid from its beginning, by a new event of the
contact's chain; what a person said or asked for can't be taken back for them.
"""

from typing import Any
from uuid import UUID

from commands.undo import NotTheWay, Undo, final, undoing
from domain import consent, firms, keys, members
from domain.consent import CONSENT
from domain.consent import events as acts
from domain.consent.words import Capture, Link, RecordId, Status
from domain.firms import FIRM
from domain.keys import KEY, Revocation
from domain.members import ADDRESS, MEMBER, authority

member = undoing(MEMBER, "members:write", each=("keys",))
address = undoing(ADDRESS, "members:write")
keys_of = undoing(MEMBER, "keys:write", each=("keys",))
key = undoing(KEY, "keys:write")
key_of_member = undoing(KEY, "members:write")
firm = undoing(FIRM, "firm:write", each=("owners",))
owners = undoing(FIRM, "members:write", each=("owners",))
chain = undoing(CONSENT, "consent:write")


# --- members


async def _keys_follow(u: Undo, roles: tuple[members.Role, ...]) -> None:
    """Keys that the member got since have the roles that are taken back."""
    for id in u.now.keys:
        held = await u.w.load(KEY, id)
        u.w.record(held, keys.change_roles(held.state, roles=tuple(role.value for role in roles)))


async def _revoke_all(u: Undo) -> None:
    for id in u.now.keys:
        held = await u.w.load(KEY, id)
        u.w.record(held, keys.revoke(held.state, reason=Revocation.MEMBER_DEACTIVATED))


@member(members.MemberAdded)
def member_added(u: Undo) -> Any:
    return members.deactivate(u.now, by=authority(u.w.permissions), remark=u.reason)


@member(members.MemberRenamed)
def member_renamed(u: Undo) -> Any:
    return members.rename(u.now, name=u.was.name, by=authority(u.w.permissions))


@member(members.MemberEmailChanged)
def member_email_changed(u: Undo) -> Any:
    return members.change_email(u.now, email=u.was.email, by=authority(u.w.permissions))


@member(members.MemberRolesChanged)
async def member_roles_changed(u: Undo) -> Any:
    events = members.change_roles(u.now, roles=u.was.roles, by=authority(u.w.permissions))
    await _keys_follow(u, u.was.roles)
    return events


@member(members.MemberDeactivated, exact=False)
def member_deactivated(u: Undo) -> Any:
    return members.reactivate(u.now, by=authority(u.w.permissions))


@member(members.MemberReactivated, exact=False)
async def member_reactivated(u: Undo) -> Any:
    events = members.deactivate(u.now, by=authority(u.w.permissions), remark=u.reason)
    await _revoke_all(u)
    return events


@keys_of(members.MemberKeyReceived)
def key_received(u: Undo) -> Any:
    return members.lose_key(u.now, key=u.e.key)


@keys_of(members.MemberKeyLost, aside=True, over=True)
def key_lost(u: Undo) -> Any:  # noqa: ARG001 - the key it was stays revoked
    return []


async def _known_by(u: Undo, id: UUID) -> bool:
    """Whether the member is known by this address as things stand. One who is deactivated keeps it."""
    email = (await u.w.load(MEMBER, id)).state.email
    return email is not None and u.w.derive_id("member-address", members.normalised(email)) == u.id


@address(members.AddressClaimed, exact=False)
async def address_claimed(u: Undo) -> Any:
    return [] if await _known_by(u, u.e.member) else members.release(u.now, member=u.e.member)


@address(members.AddressReleased, exact=False)
async def address_released(u: Undo) -> Any:
    return members.claim(u.now, member=u.e.member) if await _known_by(u, u.e.member) else []


# --- keys


@key(keys.KeyIssued)
def key_issued(u: Undo) -> Any:
    return keys.revoke(u.now, reason=Revocation.NO_LONGER_NEEDED, remark=u.reason)


@key(keys.KeyRenamed)
def key_renamed(u: Undo) -> Any:
    return keys.rename(u.now, name=u.was.name)


@key_of_member(keys.KeyRolesChanged)
def key_roles_changed(u: Undo) -> Any:
    return keys.change_roles(u.now, roles=u.was.roles)


class RevocationStands(NotTheWay):
    """A revoked key stays revoked: whoever found it must not get it back. Issue a new one."""


@key_of_member(keys.KeyRevoked, aside=True, over=True)
def key_revoked(u: Undo) -> Any:
    if u.e.reason is not Revocation.MEMBER_DEACTIVATED:
        raise RevocationStands
    return []


final(keys.KeyRotated, "The secret before is gone: nobody has it. Rotate again, or revoke the key.")


# --- the firm


@firm(firms.FirmRenamed)
def firm_renamed(u: Undo) -> Any:
    return firms.rename(u.now, name=u.was.name)


@firm(firms.FirmSettingsChanged)
def settings_changed(u: Undo) -> Any:
    return firms.change_settings(u.now, settings=u.was.settings)


@owners(firms.OwnerAdded)
def owner_added(u: Undo) -> Any:
    return firms.remove_owner(u.now, member=u.e.member)


@owners(firms.OwnerRemoved, exact=False)
def owner_removed(u: Undo) -> Any:
    """An owner again, now the last in the list."""
    return firms.add_owner(u.now, member=u.e.member)


final(firms.FirmCreated, "A firm and what is recorded in it stand. The operator can suspend it.")
final(firms.FirmSuspended, "The operator reactivates the firm by a command of its own.")
final(firms.FirmReactivated, "The operator suspends the firm by a command of its own.")


# --- consent


class SaidSince(NotTheWay):
    """Something was said about the same purpose and channel since. What stands now is not what was recorded then."""


class RenewalStands(NotTheWay):
    """It renewed a consent that stood already, so declaring it invalid would end that one too. Withdraw or revoke it instead."""


def _link(u: Undo) -> Link:
    capture = Capture(controller=u.w.firm, actor=u.w.actor.kind, remark=u.reason)
    return Link(at=u.w.now, capture=capture, record_id=RecordId(u.w.new_id()), prev=u.w.entities[CONSENT.type, u.id].leaf_hash)


@chain(acts.ConsentGiven, over=True, aside=True)
def consent_given(u: Undo) -> Any:
    """Declared invalid from its beginning: the chain says that it was recorded, and that it was recorded by mistake."""
    e = u.e
    after = CONSENT.evolve(u.was, e)
    stands = [u.now.at(p.key, e.channel, u.w.now) for p in e.purposes]
    if all(s.status is Status.INVALIDATED for s in stands):
        return []
    if e.status == "renewed":
        raise RenewalStands
    if any(u.now.marks.get((p.key, e.channel)) != after.marks.get((p.key, e.channel)) for p in e.purposes):
        raise SaidSince
    return consent.invalidate(u.now, _link(u), purposes=e.purposes, channel=e.channel)


@chain(acts.ContactSuppressed, over=True)
def contact_suppressed(u: Undo) -> Any:
    return consent.lift(u.now, _link(u), reason=u.e.reason, channel=u.e.channel, contact_point_ref=u.e.contact_point_ref)


@chain(acts.SuppressionLifted, over=True)
def suppression_lifted(u: Undo) -> Any:
    return consent.suppress(u.now, _link(u), reason=u.e.reason, channel=u.e.channel, contact_point_ref=u.e.contact_point_ref)


ASKED = "The person was asked, which can't be unasked. The request ends by itself, or when the person answers."
SAID = "The person said so, and nobody takes that back for them. When they say otherwise, record that, with its evidence."
ENDED = "A consent that ended does not stand up again: record the person's consent anew, with its evidence."

final(acts.ConsentRequested, ASKED)
for said in (acts.ConsentConfirmed, acts.ConsentRefused, acts.ConsentDeferred, acts.ConsentWithdrawn):
    final(said, SAID)
for ended in (acts.ConsentRevoked, acts.ConsentExpired, acts.ConsentSuperseded, acts.ConsentInvalidated):
    final(ended, ENDED)
