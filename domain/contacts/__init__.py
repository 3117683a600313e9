"""Contacts: the people a firm knows, what it knows of them, and how two records of one person become one and two again.

CT1  A contact has something to be called by: a name, an organisation, an email address or a phone number.
CT2  Amending records the fields that change, and only those; nothing is recorded when nothing changes.
CT3  Correcting a field takes a reason; who and when are on the record, and the value before it stays in the history.
CT4  A new value for a field settles the issues that were found in the old one.
CT5  An archived contact is not changed; it is restored first.
CT6  A contact merged into another is not changed; it is unmerged first.
CT7  A contact is not merged into itself, into one that is merged or archived, or twice.
CT8  Unmerging gives back exactly what was taken over, except what was changed since.
CT9  After unmerging, the contact that had been absorbed is as it was before the merge.
CT10 An erased contact is not changed, merged or restored: nobody is behind it any more.

**Merging.** The survivor absorbs the other. Values the survivor lacks are taken over (the parts of a name, and those of a
position, only all together), lists (emails, phones, tags …) gain the entries they do not have, never as the primary one; what
the survivor says wins. `contacts.Absorbed` on the survivor holds what the other offered and what of it was taken;
`contacts.MergedInto` on the other freezes it. Notes, relations and whatever else names the other go on naming it: reads of the
survivor follow `absorbed`. The copied values are sealed under the other's own key, so that erasing it reaches them.

**Unmerging.** The other thaws, untouched. The survivor loses what it had taken over: a single value while it is still the one
that was taken, an entry of a list while it still stands as it was taken. Whatever somebody changed on the survivor in between
stays with the survivor. If a third contact, still absorbed, offered the same field or entry, its value takes the place: the
survivor is left as if the parted contact had never been merged. Whatever order merges are undone in, the last one leaves the
survivor as it was before the first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, assert_never
from uuid import UUID

from domain.contacts.events import (
    ContactAbsorbed,
    ContactAmended,
    ContactArchived,
    ContactCorrected,
    ContactCreated,
    ContactCustomSet,
    ContactErased,
    ContactId,
    ContactMergedInto,
    ContactOwnerAssigned,
    ContactReleased,
    ContactRestored,
    ContactTagged,
    ContactUnmerged,
    ContactUntagged,
    Event,
    Holdings,
    Lifecycle,
    Profile,
)
from domain.kernel import Invalid, Refused, Stream
from domain.merging import MERGES, Absorption, Flat, add, flat, parted, take_over, unflat
from domain.people import CUSTOM, TAGS, FieldValue, amendment, custom_changes, new_tags, overlay, present_tags, with_custom

__all__ = [
    "CONTACT",
    "Contact",
    "ContactAbsorbed",
    "ContactAmended",
    "ContactArchived",
    "ContactCorrected",
    "ContactCreated",
    "ContactCustomSet",
    "ContactErased",
    "ContactId",
    "ContactMergedInto",
    "ContactOwnerAssigned",
    "ContactReleased",
    "ContactRestored",
    "ContactTagged",
    "ContactUnmerged",
    "ContactUntagged",
    "Event",
    "Holdings",
    "Lifecycle",
    "Profile",
]

TOGETHER = {
    "name": ("display_name", "given", "middle", "family", "prefix", "suffix"),
    "position": ("job_title", "role", "department", "organisation_name"),
}

# --- state


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    profile: Profile = field(default_factory=Profile)
    tags: tuple[str, ...] = ()
    custom: Mapping[str, FieldValue] = field(default_factory=dict)
    owner: UUID | None = None
    archived: bool = False
    erased: bool = False
    merged_into: UUID | None = None
    absorptions: tuple[Absorption, ...] = ()

    @property
    def flat(self) -> dict[str, Any]:
        return flat(self.profile, tags=self.tags, custom=self.custom, owner=self.owner, groups=TOGETHER)

    @property
    def absorbed(self) -> tuple[UUID, ...]:
        """Every contact that is part of this one now."""
        return tuple(id for a in self.absorptions for id in (a.other, *a.through))


def called(profile: Profile) -> str | None:
    """What to call the person: the name to display, else the parts of the name, else the best there is; at most 400 characters."""
    full = " ".join(p for p in (profile.prefix, profile.given, profile.middle, profile.family, profile.suffix) if p)
    reached = [e.address for e in profile.emails or ()] + [p.number or p.raw for p in profile.phones or ()]
    best = profile.display_name or full or profile.nickname or profile.organisation_name or next(iter(reached), None)
    return best[:400] if best else None


# --- refusals


class Nameless(Invalid):
    """There is nothing to call the contact by. Give a name, an organisation, an email address or a phone number."""


class ContactIsArchived(Refused):
    """The contact is archived. Restore it before changing it."""


class ContactIsErased(Refused):
    """What identified this person was erased, and nothing is added to the contact any more. Create a new one if the person comes again."""


class ContactIsMerged(Refused):
    """The contact is merged into another one. Change that one, or unmerge first."""


class MergeIntoItself(Invalid):
    """A contact can't be merged into itself."""


class NotMerged(Refused):
    """The other contact is not merged into this one, so there is nothing to unmerge."""


class TooManyMerged(Refused):
    """The contact has absorbed as many others as one contact may. Unmerge what does not belong there."""


class TooManyTags(Invalid):
    """The contact has as many tags as one contact may have. Remove some first."""


class TooManyCustomValues(Invalid):
    """The contact has values for as many custom fields as one contact may have. Clear some first."""


# --- decisions


def create(*, profile: Profile, tags: tuple[str, ...] = (), custom: dict[str, FieldValue], owner: UUID | None) -> list[Event]:
    if called(profile) is None:
        raise Nameless
    if len(tags) > TAGS:
        raise TooManyTags(limit=TAGS)
    return [ContactCreated(profile=profile, tags=tags or None, custom=custom or None, owner=owner)]


def amend(contact: Contact, *, changes: Mapping[str, object]) -> list[Event]:
    """`changes` maps fields of the profile to new values; None clears a field."""
    _changeable(contact)
    changed, cleared = _amendment(contact, changes)
    return [ContactAmended(profile=changed, cleared=cleared)] if changed is not None or cleared else []


def correct(contact: Contact, *, field: str, value: object, reason: str) -> list[Event]:
    """`value` is a FieldValue for a field `custom.<key>`, and None where no value is known after all."""
    _changeable(contact)
    if field.startswith("custom."):
        key = field.removeprefix("custom.")
        if contact.custom.get(key) == value:
            return []
        custom = {key: value} if isinstance(value, FieldValue) else None
        return [ContactCorrected(field=field, custom=custom, cleared=() if custom else (field,), reason=reason)]
    changed, cleared = _amendment(contact, {field: value})
    if changed is None and not cleared:
        return []
    return [ContactCorrected(field=field, profile=changed, cleared=cleared, reason=reason)]


def _amendment(contact: Contact, changes: Mapping[str, object]) -> tuple[Profile | None, tuple[str, ...]]:
    changed, cleared = amendment(contact.profile, changes)
    if called(overlay(contact.profile, changed, cleared)) is None:
        raise Nameless
    return changed, cleared


def set_custom(contact: Contact, *, values: Mapping[str, FieldValue | None]) -> list[Event]:
    """`values` maps keys of custom fields to new values; None clears one."""
    _changeable(contact)
    changed, cleared = custom_changes(contact.custom, values)
    if changed and len(with_custom(contact.custom, changed, cleared)) > CUSTOM:
        raise TooManyCustomValues(limit=CUSTOM)
    return [ContactCustomSet(values=changed, cleared=cleared)] if changed or cleared else []


def tag(contact: Contact, *, tags: tuple[str, ...]) -> list[Event]:
    _changeable(contact)
    new = new_tags(contact.tags, tags)
    if new and len(contact.tags) + len(new) > TAGS:
        raise TooManyTags(limit=TAGS)
    return [ContactTagged(tags=new)] if new else []


def untag(contact: Contact, *, tags: tuple[str, ...]) -> list[Event]:
    _changeable(contact)
    gone = present_tags(contact.tags, tags)
    return [ContactUntagged(tags=gone)] if gone else []


def assign(contact: Contact, *, owner: UUID | None) -> list[Event]:
    _changeable(contact)
    return [] if contact.owner == owner else [ContactOwnerAssigned(owner=owner)]


def archive(contact: Contact, *, reason: str | None = None) -> list[Event]:
    _unmerged(contact)
    return [] if contact.archived else [ContactArchived(reason=reason)]


def restore(contact: Contact) -> list[Event]:
    _unmerged(contact)
    return [ContactRestored()] if contact.archived else []


def erase(contact: Contact) -> list[Event]:
    """Those merged into it are erased with it; one that is merged into another is erased with that one."""
    if contact.merged_into is not None:
        raise ContactIsMerged(survivor=str(contact.merged_into))
    return [] if contact.erased else [ContactErased()]


def erase_with_survivor(contact: Contact) -> list[Event]:
    return [] if contact.erased else [ContactErased()]


def absorb(contact: Contact, other: Contact, *, id: UUID, other_id: UUID, reason: str | None = None) -> list[Event]:
    """What the survivor records; the other records `merge_into`."""
    _changeable(contact)
    if id == other_id:
        raise MergeIntoItself
    if any(a.other == other_id for a in contact.absorptions):
        return []
    _unmerged(other)
    if len(contact.absorbed) + len(other.absorbed) >= MERGES:
        raise TooManyMerged(limit=MERGES)
    taken = take_over(contact.flat, other.flat)
    return [
        ContactAbsorbed(
            other=other_id, through=other.absorbed, offered=_holdings(other.flat), taken=_holdings(taken), reason=reason
        )
    ]


def merge_into(contact: Contact, *, survivor: UUID) -> list[Event]:
    if contact.merged_into == survivor:
        return []
    _unmerged(contact)
    return [ContactMergedInto(survivor=survivor)]


def release(contact: Contact, *, other_id: UUID, reason: str | None = None) -> list[Event]:
    """What the survivor records; the other records `unmerge`."""
    _changeable(contact)
    if all(a.other != other_id for a in contact.absorptions):
        raise NotMerged
    kept, _ = parted(contact.flat, contact.absorptions, other_id)
    return [ContactReleased(other=other_id, kept=_holdings(kept), reason=reason)]


def unmerge(contact: Contact) -> list[Event]:
    return [ContactUnmerged(survivor=contact.merged_into)] if contact.merged_into is not None else []


def _changeable(contact: Contact) -> None:
    _unmerged(contact)
    if contact.archived:
        raise ContactIsArchived


def _unmerged(contact: Contact) -> None:
    if contact.erased:
        raise ContactIsErased
    if contact.merged_into is not None:
        raise ContactIsMerged(survivor=str(contact.merged_into))


# --- evolve


def evolve(contact: Contact, e: Event) -> Contact:
    match e:
        case ContactCreated():
            return replace(contact, profile=e.profile or Profile(), tags=e.tags or (), custom=e.custom or {}, owner=e.owner)
        case ContactAmended():
            return replace(contact, profile=overlay(contact.profile, e.profile, e.cleared))
        case ContactCorrected():
            cleared = [name for name in e.cleared if not name.startswith("custom.")]
            custom = with_custom(contact.custom, e.custom, set(e.cleared) - set(cleared))
            return replace(contact, profile=overlay(contact.profile, e.profile, cleared), custom=custom)
        case ContactCustomSet():
            return replace(contact, custom=with_custom(contact.custom, e.values, e.cleared))
        case ContactTagged():
            return replace(contact, tags=contact.tags + (e.tags or ()))
        case ContactUntagged():
            return replace(contact, tags=tuple(t for t in contact.tags if t not in (e.tags or ())))
        case ContactOwnerAssigned():
            return replace(contact, owner=e.owner)
        case ContactArchived():
            return replace(contact, archived=True)
        case ContactRestored():
            return replace(contact, archived=False)
        case ContactAbsorbed():
            taken = _flat(e.taken)
            absorption = Absorption(other=e.other, through=e.through, offered=_flat(e.offered), taken=taken)
            return _with(replace(contact, absorptions=(*contact.absorptions, absorption)), add(contact.flat, taken))
        case ContactMergedInto():
            return replace(contact, merged_into=e.survivor)
        case ContactReleased():
            _, remaining = parted(contact.flat, contact.absorptions, e.other)
            return _with(replace(contact, absorptions=remaining), _flat(e.kept))
        case ContactUnmerged():
            return replace(contact, merged_into=None)
        case ContactErased():
            return replace(contact, profile=Profile(), tags=(), custom={}, erased=True)
        case _:
            assert_never(e)


def _holdings(values: Flat) -> Holdings:
    profile, tags, custom, owner = unflat(values, Profile)
    return Holdings(profile=profile, tags=tags, custom=custom, owner=owner)


def _flat(h: Holdings | None) -> dict[str, Any]:
    return {} if h is None else flat(h.profile, tags=h.tags, custom=h.custom, owner=h.owner, groups=TOGETHER)


def _with(contact: Contact, values: Flat) -> Contact:
    profile, tags, custom, owner = unflat(values, Profile)
    return replace(contact, profile=profile, tags=tags, custom=custom, owner=owner)


CONTACT = Stream("contact", Contact(), evolve)
