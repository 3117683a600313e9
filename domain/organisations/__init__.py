"""Organisations: companies, authorities, trusts and households, how they belong together, and how two records of one become one.

O1  An organisation has a name.
O2  No organisation stands below itself; a parent that would close a circle is refused, and the circle named.
O3  A tree of organisations has a limited depth.
O4  Amending records the fields that change, and only those; nothing is recorded when nothing changes.
O5  Correcting a field takes a reason.
O6  An archived or merged organisation is not changed.
O7  Unmerging gives back exactly what was taken over, except what was changed since, and leaves the other as it was.

Merging and unmerging mean what they mean for contacts (`domain/contacts`). Parents are not taken over; those below the other stand
below the survivor while it lasts.
The names of an organisation are public facts; how to reach it and what is written about it may tell of a person and is sealed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never
from uuid import UUID

from domain.kernel import Invalid, Refused, Stream
from domain.merging import MERGES, Absorption, Flat, add, flat, parted, take_over, unflat
from domain.organisations.events import (
    Event,
    Holdings,
    OrganisationAbsorbed,
    OrganisationAmended,
    OrganisationArchived,
    OrganisationCorrected,
    OrganisationCreated,
    OrganisationCustomSet,
    OrganisationId,
    OrganisationMergedInto,
    OrganisationOwnerAssigned,
    OrganisationPlaced,
    OrganisationReleased,
    OrganisationRestored,
    OrganisationTagged,
    OrganisationUnmerged,
    OrganisationUntagged,
    Profile,
    Registration,
)
from domain.people import CUSTOM, TAGS, FieldValue, amendment, custom_changes, new_tags, overlay, present_tags, said, with_custom

__all__ = [
    "ORGANISATION",
    "Event",
    "Holdings",
    "Organisation",
    "OrganisationAbsorbed",
    "OrganisationAmended",
    "OrganisationArchived",
    "OrganisationCorrected",
    "OrganisationCreated",
    "OrganisationCustomSet",
    "OrganisationId",
    "OrganisationMergedInto",
    "OrganisationOwnerAssigned",
    "OrganisationPlaced",
    "OrganisationReleased",
    "OrganisationRestored",
    "OrganisationTagged",
    "OrganisationUnmerged",
    "OrganisationUntagged",
    "Profile",
    "Registration",
]

DEPTH = 32  # levels of a tree of organisations
SEALED = ("emails", "phones", "addresses", "about", "issues")

# --- state


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    profile: Profile = field(default_factory=Profile)
    tags: tuple[str, ...] = ()
    custom: Mapping[str, FieldValue] = field(default_factory=dict)
    owner: UUID | None = None
    parent: UUID | None = None
    archived: bool = False
    merged_into: UUID | None = None
    absorptions: tuple[Absorption, ...] = ()

    @property
    def flat(self) -> dict[str, Any]:
        return flat(self.profile, tags=self.tags, custom=self.custom, owner=self.owner, groups={})

    @property
    def absorbed(self) -> tuple[UUID, ...]:
        """Every organisation that is part of this one now."""
        return tuple(id for a in self.absorptions for id in (a.other, *a.through))


# --- refusals


class NameWanted(Invalid):
    """An organisation needs a name."""


class OrganisationIsArchived(Refused):
    """The organisation is archived. Restore it before changing it."""


class OrganisationIsMerged(Refused):
    """The organisation is merged into another one. Change that one, or unmerge first."""


class ParentCycle(Refused):
    """The organisation would stand below itself. Move one of those in the circle elsewhere first."""


class TreeTooDeep(Refused):
    """The tree of organisations would become too deep. Place the organisation higher."""


class OrganisationIntoItself(Invalid):
    """An organisation can't be merged into itself."""


class StandsBelowIt(Refused):
    """The survivor stands below the other organisation. Merge them the other way round, or move the survivor first."""


class OrganisationNotMerged(Refused):
    """The other organisation is not merged into this one, so there is nothing to unmerge."""


class TooManyOrganisationsMerged(Refused):
    """The organisation has absorbed as many others as one may. Unmerge what does not belong there."""


class TooManyOrganisationTags(Invalid):
    """The organisation has as many tags as one may have. Remove some first."""


class TooManyOrganisationValues(Invalid):
    """The organisation has values for as many custom fields as one may have. Clear some first."""


# --- decisions


def create(
    *,
    id: UUID,
    profile: Profile,
    tags: tuple[str, ...],
    custom: dict[str, FieldValue],
    owner: UUID | None,
    parent: UUID | None,
    path: Sequence[UUID],
) -> list[Event]:
    """`path` leads from the parent to the root of its tree, the parent first."""
    if not profile.name:
        raise NameWanted
    if len(tags) > TAGS:
        raise TooManyOrganisationTags(limit=TAGS)
    known, reach = _sorted(profile)
    created = OrganisationCreated(profile=known or Profile(), reach=reach, tags=tags or None, custom=custom or None, owner=owner)
    return [created, *place(Organisation(profile=profile), id=id, parent=parent, path=path)]


def amend(organisation: Organisation, *, changes: Mapping[str, object]) -> list[Event]:
    """`changes` maps fields of the profile to new values; None clears a field."""
    _changeable(organisation)
    changed, cleared = _amendment(organisation, changes)
    if changed is None and not cleared:
        return []
    known, reach = _sorted(changed)
    return [OrganisationAmended(profile=known, reach=reach, cleared=cleared)]


def correct(organisation: Organisation, *, field: str, value: object, reason: str) -> list[Event]:
    """`value` is a FieldValue for a field `custom.<key>`, and None where no value is known after all."""
    _changeable(organisation)
    if field.startswith("custom."):
        key = field.removeprefix("custom.")
        if organisation.custom.get(key) == value:
            return []
        custom = {key: value} if isinstance(value, FieldValue) else None
        return [OrganisationCorrected(field=field, custom=custom, cleared=() if custom else (field,), reason=reason)]
    changed, cleared = _amendment(organisation, {field: value})
    if changed is None and not cleared:
        return []
    known, reach = _sorted(changed)
    return [OrganisationCorrected(field=field, profile=known, reach=reach, cleared=cleared, reason=reason)]


def _amendment(organisation: Organisation, changes: Mapping[str, object]) -> tuple[Profile | None, tuple[str, ...]]:
    changed, cleared = amendment(organisation.profile, changes)
    if not overlay(organisation.profile, changed, cleared).name:
        raise NameWanted
    return changed, cleared


def _sorted(profile: Profile | None) -> tuple[Profile | None, Profile | None]:
    """What is public and what is sealed."""
    values = said(profile) if profile is not None else {}
    known = {n: v for n, v in values.items() if n not in SEALED}
    reach = {n: v for n, v in values.items() if n in SEALED}
    return (Profile(**known) if known else None), (Profile(**reach) if reach else None)


def set_custom(organisation: Organisation, *, values: Mapping[str, FieldValue | None]) -> list[Event]:
    """`values` maps keys of custom fields to new values; None clears one."""
    _changeable(organisation)
    changed, cleared = custom_changes(organisation.custom, values)
    if changed and len(with_custom(organisation.custom, changed, cleared)) > CUSTOM:
        raise TooManyOrganisationValues(limit=CUSTOM)
    return [OrganisationCustomSet(values=changed, cleared=cleared)] if changed or cleared else []


def place(organisation: Organisation, *, id: UUID, parent: UUID | None, path: Sequence[UUID]) -> list[Event]:
    """`path` leads from the parent to the root of its tree, the parent first; it may stop at DEPTH."""
    _changeable(organisation)
    if id in path:
        raise ParentCycle(cycle=[str(i) for i in (id, *path[: path.index(id) + 1])])
    if len(path) >= DEPTH:
        raise TreeTooDeep(limit=DEPTH)
    return [] if organisation.parent == parent else [OrganisationPlaced(parent=parent)]


def tag(organisation: Organisation, *, tags: tuple[str, ...]) -> list[Event]:
    _changeable(organisation)
    new = new_tags(organisation.tags, tags)
    if new and len(organisation.tags) + len(new) > TAGS:
        raise TooManyOrganisationTags(limit=TAGS)
    return [OrganisationTagged(tags=new)] if new else []


def untag(organisation: Organisation, *, tags: tuple[str, ...]) -> list[Event]:
    _changeable(organisation)
    gone = present_tags(organisation.tags, tags)
    return [OrganisationUntagged(tags=gone)] if gone else []


def assign(organisation: Organisation, *, owner: UUID | None) -> list[Event]:
    _changeable(organisation)
    return [] if organisation.owner == owner else [OrganisationOwnerAssigned(owner=owner)]


def archive(organisation: Organisation, *, reason: str | None = None) -> list[Event]:
    _unmerged(organisation)
    return [] if organisation.archived else [OrganisationArchived(reason=reason)]


def restore(organisation: Organisation) -> list[Event]:
    _unmerged(organisation)
    return [OrganisationRestored()] if organisation.archived else []


def absorb(
    organisation: Organisation, other: Organisation, *, id: UUID, other_id: UUID, path: Sequence[UUID], reason: str | None = None
) -> list[Event]:
    """What the survivor records; the other records `merge_into`. `path` leads from the survivor's parent to the root."""
    _changeable(organisation)
    if id == other_id:
        raise OrganisationIntoItself
    if any(a.other == other_id for a in organisation.absorptions):
        return []
    _unmerged(other)
    if other_id in path:
        raise StandsBelowIt
    if len(organisation.absorbed) + len(other.absorbed) >= MERGES:
        raise TooManyOrganisationsMerged(limit=MERGES)
    taken = take_over(organisation.flat, other.flat)
    return [
        OrganisationAbsorbed(
            other=other_id, through=other.absorbed, offered=_holdings(other.flat), taken=_holdings(taken), reason=reason
        )
    ]


def merge_into(organisation: Organisation, *, survivor: UUID) -> list[Event]:
    if organisation.merged_into == survivor:
        return []
    _unmerged(organisation)
    return [OrganisationMergedInto(survivor=survivor)]


def release(organisation: Organisation, *, other_id: UUID, reason: str | None = None) -> list[Event]:
    """What the survivor records; the other records `unmerge`."""
    _changeable(organisation)
    if all(a.other != other_id for a in organisation.absorptions):
        raise OrganisationNotMerged
    kept, _ = parted(organisation.flat, organisation.absorptions, other_id)
    return [OrganisationReleased(other=other_id, kept=_holdings(kept), reason=reason)]


def unmerge(organisation: Organisation, *, id: UUID, path: Sequence[UUID]) -> list[Event]:
    """`path` leads from its own parent to the root. It stands by itself where its parent was placed below it in between."""
    if organisation.merged_into is None:
        return []
    alone = [OrganisationPlaced(parent=None)] if id in path else []
    return [OrganisationUnmerged(survivor=organisation.merged_into), *alone]


def _changeable(organisation: Organisation) -> None:
    _unmerged(organisation)
    if organisation.archived:
        raise OrganisationIsArchived


def _unmerged(organisation: Organisation) -> None:
    if organisation.merged_into is not None:
        raise OrganisationIsMerged(survivor=str(organisation.merged_into))


# --- evolve


def evolve(organisation: Organisation, e: Event) -> Organisation:
    match e:
        case OrganisationCreated():
            profile = overlay(e.profile, e.reach, ())
            return replace(organisation, profile=profile, tags=e.tags or (), custom=e.custom or {}, owner=e.owner)
        case OrganisationAmended():
            return replace(organisation, profile=overlay(overlay(organisation.profile, e.profile, e.cleared), e.reach, ()))
        case OrganisationCorrected():
            cleared = [name for name in e.cleared if not name.startswith("custom.")]
            profile = overlay(overlay(organisation.profile, e.profile, cleared), e.reach, ())
            custom = with_custom(organisation.custom, e.custom, set(e.cleared) - set(cleared))
            return replace(organisation, profile=profile, custom=custom)
        case OrganisationCustomSet():
            return replace(organisation, custom=with_custom(organisation.custom, e.values, e.cleared))
        case OrganisationPlaced():
            return replace(organisation, parent=e.parent)
        case OrganisationTagged():
            return replace(organisation, tags=organisation.tags + e.tags)
        case OrganisationUntagged():
            return replace(organisation, tags=tuple(t for t in organisation.tags if t not in e.tags))
        case OrganisationOwnerAssigned():
            return replace(organisation, owner=e.owner)
        case OrganisationArchived():
            return replace(organisation, archived=True)
        case OrganisationRestored():
            return replace(organisation, archived=False)
        case OrganisationAbsorbed():
            taken = _flat(e.taken)
            absorption = Absorption(other=e.other, through=e.through, offered=_flat(e.offered), taken=taken)
            return _with(replace(organisation, absorptions=(*organisation.absorptions, absorption)), add(organisation.flat, taken))
        case OrganisationMergedInto():
            return replace(organisation, merged_into=e.survivor)
        case OrganisationReleased():
            _, remaining = parted(organisation.flat, organisation.absorptions, e.other)
            return _with(replace(organisation, absorptions=remaining), _flat(e.kept))
        case OrganisationUnmerged():
            return replace(organisation, merged_into=None)
        case _:
            assert_never(e)


def _holdings(values: Flat) -> Holdings:
    profile, tags, custom, owner = unflat(values, Profile)
    return Holdings(profile=profile, tags=tags, custom=custom, owner=owner)


def _flat(h: Holdings | None) -> dict[str, Any]:
    return {} if h is None else flat(h.profile, tags=h.tags, custom=h.custom, owner=h.owner, groups={})


def _with(organisation: Organisation, values: Flat) -> Organisation:
    profile, tags, custom, owner = unflat(values, Profile)
    return replace(organisation, profile=profile, tags=tags, custom=custom, owner=owner)


ORGANISATION = Stream("organisation", Organisation(), evolve)
