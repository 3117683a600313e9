"""What is on the record of organisations: what a profile says, and what happens to it.

The events carry public fields in `profile` and those that may tell of a person, sealed, in `reach`.
"""

from dataclasses import dataclass, field
from typing import Annotated, NewType
from uuid import UUID

from domain.kernel import Personal, event
from domain.people import Address, Email, FieldValue, Issue, Link, Money, Phone

OrganisationId = NewType("OrganisationId", UUID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A number under which an authority knows the organisation: `scheme` as `VAT`, `LEI`, `Companies House`."""

    scheme: str
    number: str
    country: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is known of an organisation. `employees` is a head count, `founded` a year, `kind` its legal or practical form."""

    name: str | None = None
    legal_name: str | None = None
    kind: str | None = None
    registrations: tuple[Registration, ...] | None = None
    domains: tuple[str, ...] | None = None
    emails: tuple[Email, ...] | None = None
    phones: tuple[Phone, ...] | None = None
    addresses: tuple[Address, ...] | None = None
    websites: tuple[Link, ...] | None = None
    industry: str | None = None
    employees: int | None = None
    annual_revenue: Money | None = None
    founded: int | None = None
    about: str | None = None
    source: str | None = None
    issues: tuple[Issue, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """All an organisation's record holds, but its parent: what a merge offers, takes and gives back."""

    profile: Profile = field(default_factory=Profile)
    tags: tuple[str, ...] = ()
    custom: dict[str, FieldValue] = field(default_factory=dict)
    owner: UUID | None = None


# --- events


@event("organisations.Created.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationCreated:
    profile: Profile
    reach: Annotated[Profile | None, Personal()] = None
    tags: tuple[str, ...] | None = None
    custom: Annotated[dict[str, FieldValue] | None, Personal()] = None
    owner: UUID | None = None


@event("organisations.Amended.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationAmended:
    profile: Profile | None = None
    reach: Annotated[Profile | None, Personal()] = None
    cleared: tuple[str, ...] = ()


@event("organisations.Corrected.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationCorrected:
    """One field was wrong. `field` is a field of the profile or `custom.<key>`; no value means that none is known."""

    field: str
    profile: Profile | None = None
    reach: Annotated[Profile | None, Personal()] = None
    custom: Annotated[dict[str, FieldValue] | None, Personal()] = None
    cleared: tuple[str, ...] = ()
    reason: Annotated[str | None, Personal()] = None


@event("organisations.CustomSet.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationCustomSet:
    values: Annotated[dict[str, FieldValue] | None, Personal()] = None
    cleared: tuple[str, ...] = ()


@event("organisations.Placed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationPlaced:
    """Where it belongs now; no parent: it stands by itself."""

    parent: UUID | None = None


@event("organisations.Tagged.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationTagged:
    tags: tuple[str, ...]


@event("organisations.Untagged.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationUntagged:
    tags: tuple[str, ...]


@event("organisations.OwnerAssigned.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationOwnerAssigned:
    owner: UUID | None = None


@event("organisations.Archived.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationArchived:
    reason: Annotated[str | None, Personal()] = None


@event("organisations.Restored.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationRestored:
    pass


@event("organisations.Absorbed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationAbsorbed:
    other: UUID
    through: tuple[UUID, ...] = ()
    offered: Annotated[Holdings | None, Personal(subject="other")] = None
    taken: Annotated[Holdings | None, Personal(subject="other")] = None
    reason: Annotated[str | None, Personal()] = None


@event("organisations.MergedInto.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationMergedInto:
    survivor: UUID


@event("organisations.Released.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationReleased:
    other: UUID
    kept: Annotated[Holdings | None, Personal()] = None
    reason: Annotated[str | None, Personal()] = None


@event("organisations.Unmerged.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationUnmerged:
    survivor: UUID


Event = (
    OrganisationCreated
    | OrganisationAmended
    | OrganisationCorrected
    | OrganisationCustomSet
    | OrganisationPlaced
    | OrganisationTagged
    | OrganisationUntagged
    | OrganisationOwnerAssigned
    | OrganisationArchived
    | OrganisationRestored
    | OrganisationAbsorbed
    | OrganisationMergedInto
    | OrganisationReleased
    | OrganisationUnmerged
)
