"""What is on the record of contacts: what a profile says, and what happens to it."""

from dataclasses import dataclass, field
from typing import Annotated, Literal, NewType
from uuid import UUID

from domain.kernel import Personal, event
from domain.people import Address, Email, FieldValue, Issue, Link, Phone

ContactId = NewType("ContactId", UUID)

Lifecycle = Literal["lead", "prospect", "client", "former_client", "partner", "supplier", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is known of a person.

    A day of a year that is not known is written as in vCard: `--04-15`. `languages` are BCP 47 tags. `photo` refers to a picture:
    a web address, `documents/<id>` or `sha256:<hex>`. `issues` are values that came with an import and were not acceptable.
    """

    display_name: str | None = None
    given: str | None = None
    middle: str | None = None
    family: str | None = None
    prefix: str | None = None
    suffix: str | None = None
    nickname: str | None = None
    job_title: str | None = None
    role: str | None = None
    department: str | None = None
    organisation_name: str | None = None
    emails: tuple[Email, ...] | None = None
    phones: tuple[Phone, ...] | None = None
    addresses: tuple[Address, ...] | None = None
    websites: tuple[Link, ...] | None = None
    languages: tuple[str, ...] | None = None
    birthday: str | None = None
    anniversary: str | None = None
    photo: str | None = None
    about: str | None = None
    source: str | None = None
    lifecycle: Lifecycle | None = None
    issues: tuple[Issue, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """All a contact record holds: what a merge offers, takes and gives back."""

    profile: Profile = field(default_factory=Profile)
    tags: tuple[str, ...] = ()
    custom: dict[str, FieldValue] = field(default_factory=dict)
    owner: UUID | None = None


# --- events


@event("contacts.Created.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ContactCreated:
    profile: Annotated[Profile | None, Personal()] = None
    tags: Annotated[tuple[str, ...] | None, Personal()] = None
    custom: Annotated[dict[str, FieldValue] | None, Personal()] = None
    owner: UUID | None = None


@event("contacts.Amended.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ContactAmended:
    """`profile` holds the fields that changed, `cleared` names those that no longer say anything."""

    profile: Annotated[Profile | None, Personal()] = None
    cleared: tuple[str, ...] = ()


@event("contacts.Corrected.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ContactCorrected:
    """One field was wrong. `field` is a field of the profile or `custom.<key>`; no value means that none is known."""

    field: str
    profile: Annotated[Profile | None, Personal()] = None
    custom: Annotated[dict[str, FieldValue] | None, Personal()] = None
    cleared: tuple[str, ...] = ()
    reason: Annotated[str | None, Personal()] = None


@event("contacts.CustomSet.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ContactCustomSet:
    values: Annotated[dict[str, FieldValue] | None, Personal()] = None
    cleared: tuple[str, ...] = ()


@event("contacts.Tagged.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ContactTagged:
    tags: Annotated[tuple[str, ...] | None, Personal()] = None


@event("contacts.Untagged.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ContactUntagged:
    tags: Annotated[tuple[str, ...] | None, Personal()] = None


@event("contacts.OwnerAssigned.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ContactOwnerAssigned:
    """No owner: the contact belongs to nobody in particular."""

    owner: UUID | None = None


@event("contacts.Archived.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ContactArchived:
    reason: Annotated[str | None, Personal()] = None


@event("contacts.Restored.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ContactRestored:
    pass


@event("contacts.Erased.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ContactErased:
    """What identifies the person is destroyed from here on; the record of what happened stays, without it."""


@event("contacts.Absorbed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ContactAbsorbed:
    """On the survivor. `through` are those that `other` had absorbed before."""

    other: UUID
    through: tuple[UUID, ...] = ()
    offered: Annotated[Holdings | None, Personal(subject="other")] = None
    taken: Annotated[Holdings | None, Personal(subject="other")] = None
    reason: Annotated[str | None, Personal()] = None


@event("contacts.MergedInto.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ContactMergedInto:
    survivor: UUID


@event("contacts.Released.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ContactReleased:
    """On the survivor. `kept` is all it holds afterwards."""

    other: UUID
    kept: Annotated[Holdings | None, Personal()] = None
    reason: Annotated[str | None, Personal()] = None


@event("contacts.Unmerged.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ContactUnmerged:
    survivor: UUID


Event = (
    ContactCreated
    | ContactAmended
    | ContactCorrected
    | ContactCustomSet
    | ContactTagged
    | ContactUntagged
    | ContactOwnerAssigned
    | ContactArchived
    | ContactRestored
    | ContactErased
    | ContactAbsorbed
    | ContactMergedInto
    | ContactReleased
    | ContactUnmerged
)
