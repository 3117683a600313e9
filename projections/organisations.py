"""Organisations as they stand: one row each, archived and merged ones included."""

from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from domain import organisations
from domain.kernel import Personal
from domain.organisations import (
    Organisation,
    OrganisationAbsorbed,
    OrganisationArchived,
    OrganisationCorrected,
    OrganisationReleased,
    OrganisationRestored,
    Profile,
    Registration,
)
from domain.people import Address, Email, FieldValue, Issue, Link, Money, Phone
from projections.contacts import Correction, Merge, Parting, Status, flagged, primary
from projections.kernel import Recorded, View, of_stream, view


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganisationRow:
    """`email`, `phone` and the parts of an address are those of the primary entry, else the first; `revenue` is the amount alone."""

    name: str = ""
    legal_name: str | None = None
    kind: str | None = None
    registrations: tuple[Registration, ...] = ()
    domains: tuple[str, ...] = ()
    email: Annotated[str | None, Personal()] = None
    emails: Annotated[tuple[Email, ...], Personal()] = ()
    phone: Annotated[str | None, Personal()] = None
    phones: Annotated[tuple[Phone, ...], Personal()] = ()
    city: Annotated[str | None, Personal()] = None
    state: Annotated[str | None, Personal()] = None
    postal_code: Annotated[str | None, Personal()] = None
    country: Annotated[str | None, Personal()] = None
    addresses: Annotated[tuple[Address, ...], Personal()] = ()
    websites: tuple[Link, ...] = ()
    industry: str | None = None
    employees: int | None = None
    annual_revenue: Money | None = None
    revenue: Decimal | None = None
    founded: int | None = None
    about: Annotated[str | None, Personal()] = None
    source: str | None = None
    parent: UUID | None = None
    tags: tuple[str, ...] = ()
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
LISTS = {"registrations", "domains", "emails", "phones", "addresses", "websites", "issues"}


def _state(row: OrganisationRow) -> Organisation:
    values = {name: value for name in PROFILE if (value := getattr(row, name)) not in {None, (), ""}}
    return Organisation(
        profile=Profile(**values),
        tags=row.tags,
        custom=row.custom,
        owner=row.owner,
        parent=row.parent,
        archived=row.archived,
        merged_into=row.merged_into,
    )


def _shown(row: OrganisationRow, o: Organisation) -> OrganisationRow:
    p = o.profile
    email, phone, address = primary(p.emails), primary(p.phones), primary(p.addresses)
    values: dict[str, Any] = {n: (getattr(p, n) or ()) if n in LISTS else getattr(p, n) for n in PROFILE}
    return replace(
        row,
        **{**values, "name": p.name or ""},
        email=email and email.address,
        phone=phone and (phone.number or phone.raw),
        city=address and address.city,
        state=address and address.state,
        postal_code=address and address.postal_code,
        country=address and address.country,
        revenue=p.annual_revenue.amount if p.annual_revenue is not None else None,
        parent=o.parent,
        tags=o.tags,
        custom=dict(o.custom),
        owner=o.owner,
        status="merged" if o.merged_into else "archived" if o.archived else "active",
        archived=o.archived,
        merged_into=o.merged_into,
        flagged=flagged(p.emails, p.phones, p.issues),
    )


def fold(row: OrganisationRow | None, _key: UUID, r: Recorded) -> OrganisationRow | None:
    e = r.event
    if row is None:
        if not isinstance(e, organisations.OrganisationCreated):
            return None
        row = OrganisationRow()
    row = _shown(row, organisations.evolve(_state(row), e))
    match e:
        case OrganisationArchived():
            return replace(row, archived_because=e.reason)
        case OrganisationRestored():
            return replace(row, archived_because=None)
        case OrganisationCorrected():
            return replace(row, correction=Correction(field=e.field, by=r.actor, at=r.recorded_at, reason=e.reason))
        case OrganisationAbsorbed():
            merges = (*row.merges, Merge(other=e.other, through=e.through, at=r.recorded_at, reason=e.reason))
            return replace(row, merges=merges, absorbed=(*row.absorbed, e.other, *e.through))
        case OrganisationReleased():
            merges = tuple(m for m in row.merges if m.other != e.other)
            absorbed = tuple(id for m in merges for id in (m.other, *m.through))
            return replace(row, merges=merges, absorbed=absorbed, parting=Parting(other=e.other, at=r.recorded_at, reason=e.reason))
        case _:
            return row


ORGANISATIONS = view(
    View(
        name="organisations",
        version=1,
        table="views.organisations",
        row=OrganisationRow,
        keys=of_stream("organisation"),
        fold=fold,
    )
)
