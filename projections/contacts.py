"""Contacts as they stand: one row a person, archived and merged ones included."""

from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from domain import contacts
from domain.contacts import (
    Contact,
    ContactAbsorbed,
    ContactArchived,
    ContactCorrected,
    ContactErased,
    ContactReleased,
    ContactRestored,
    Lifecycle,
    Profile,
)
from domain.kernel import Personal
from domain.people import Address, Email, FieldValue, Issue, Link, Phone
from projections.kernel import Recorded, View, of_stream, view

Status = Literal["active", "archived", "merged", "erased"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """The last field that was found wrong: who corrected it, when and why. The history has the values, and those before."""

    field: str
    by: str
    at: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """A record that is part of this one now; `through` are those it had absorbed itself."""

    other: UUID
    through: tuple[UUID, ...] = ()
    at: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """The last merge that was undone."""

    other: UUID
    at: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactRow:
    """`name` is what to call the person; `email`, `phone` and the parts of an address are those of the primary entry, else the first.

    `flagged` says that some value is not acceptable: an entry of emails or phones with an `issue`, or one of the `issues`.
    """

    name: Annotated[str | None, Personal()] = None
    display_name: Annotated[str | None, Personal()] = None
    given: Annotated[str | None, Personal()] = None
    middle: Annotated[str | None, Personal()] = None
    family: Annotated[str | None, Personal()] = None
    prefix: Annotated[str | None, Personal()] = None
    suffix: Annotated[str | None, Personal()] = None
    nickname: Annotated[str | None, Personal()] = None
    job_title: Annotated[str | None, Personal()] = None
    role: Annotated[str | None, Personal()] = None
    department: Annotated[str | None, Personal()] = None
    organisation_name: Annotated[str | None, Personal()] = None
    email: Annotated[str | None, Personal()] = None
    emails: Annotated[tuple[Email, ...], Personal()] = ()
    phone: Annotated[str | None, Personal()] = None
    phones: Annotated[tuple[Phone, ...], Personal()] = ()
    city: Annotated[str | None, Personal()] = None
    state: Annotated[str | None, Personal()] = None
    postal_code: Annotated[str | None, Personal()] = None
    country: Annotated[str | None, Personal()] = None
    addresses: Annotated[tuple[Address, ...], Personal()] = ()
    websites: Annotated[tuple[Link, ...], Personal()] = ()
    languages: Annotated[tuple[str, ...], Personal()] = ()
    birthday: Annotated[str | None, Personal()] = None
    anniversary: Annotated[str | None, Personal()] = None
    photo: Annotated[str | None, Personal()] = None
    about: Annotated[str | None, Personal()] = None
    source: Annotated[str | None, Personal()] = None
    lifecycle: Annotated[Lifecycle | None, Personal()] = None
    tags: Annotated[tuple[str, ...], Personal()] = ()
    custom: Annotated[dict[str, FieldValue], Personal()] = field(default_factory=dict)
    owner: UUID | None = None
    status: Status = "active"
    archived: bool = False
    archived_because: Annotated[str | None, Personal()] = None
    merged_into: UUID | None = None
    absorbed: tuple[UUID, ...] = ()
    merges: Annotated[tuple[Merge, ...], Personal()] = ()
    parting: Annotated[Parting | None, Personal()] = None
    correction: Annotated[Correction | None, Personal()] = None
    flagged: bool = False
    issues: Annotated[tuple[Issue, ...], Personal()] = ()


PROFILE = tuple(f.name for f in fields(Profile))


def primary(entries: Any) -> Any:
    """The entry that is marked as primary, else the first."""
    return next((e for e in entries or () if e.primary), next(iter(entries or ()), None))


def flagged(emails: tuple[Email, ...] | None, phones: tuple[Phone, ...] | None, issues: tuple[Issue, ...] | None) -> bool:
    """Whether some value is not acceptable."""
    return bool(issues) or any(e.issue for e in emails or ()) or any(p.issue for p in phones or ())


def _state(row: ContactRow) -> Contact:
    values = {name: value for name in PROFILE if (value := getattr(row, name)) not in {None, ()}}
    return Contact(
        profile=Profile(**values),
        tags=row.tags,
        custom=row.custom,
        owner=row.owner,
        archived=row.archived,
        erased=row.status == "erased",
        merged_into=row.merged_into,
    )


def _shown(row: ContactRow, c: Contact) -> ContactRow:
    p = c.profile
    email, phone, address = primary(p.emails), primary(p.phones), primary(p.addresses)
    lists = {"emails", "phones", "addresses", "websites", "languages", "issues"}
    values: dict[str, Any] = {n: (getattr(p, n) or ()) if n in lists else getattr(p, n) for n in PROFILE}
    return replace(
        row,
        **values,
        name=contacts.called(p),
        email=email and email.address,
        phone=phone and (phone.number or phone.raw),
        city=address and address.city,
        state=address and address.state,
        postal_code=address and address.postal_code,
        country=address and address.country,
        tags=c.tags,
        custom=dict(c.custom),
        owner=c.owner,
        status="erased" if c.erased else "merged" if c.merged_into else "archived" if c.archived else "active",
        archived=c.archived,
        merged_into=c.merged_into,
        flagged=flagged(p.emails, p.phones, p.issues),
    )


def fold(row: ContactRow | None, _key: UUID, r: Recorded) -> ContactRow | None:
    e = r.event
    if row is None:
        if not isinstance(e, contacts.ContactCreated):
            return None
        row = ContactRow()
    row = _shown(row, contacts.evolve(_state(row), e))
    match e:
        case ContactArchived():
            return replace(row, archived_because=e.reason)
        case ContactRestored():
            return replace(row, archived_because=None)
        case ContactCorrected():
            return replace(row, correction=Correction(field=e.field, by=r.actor, at=r.recorded_at, reason=e.reason))
        case ContactAbsorbed():
            merges = (*row.merges, Merge(other=e.other, through=e.through, at=r.recorded_at, reason=e.reason))
            return replace(row, merges=merges, absorbed=(*row.absorbed, e.other, *e.through))
        case ContactErased():
            return replace(row, archived_because=None, merges=(), parting=None, correction=None)
        case ContactReleased():
            merges = tuple(m for m in row.merges if m.other != e.other)
            absorbed = tuple(id for m in merges for id in (m.other, *m.through))
            return replace(row, merges=merges, absorbed=absorbed, parting=Parting(other=e.other, at=r.recorded_at, reason=e.reason))
        case _:
            return row


CONTACTS = view(View(name="contacts", version=1, table="views.contacts", row=ContactRow, keys=of_stream("contact"), fold=fold))
