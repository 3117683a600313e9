"""Organisations: created, amended, corrected, placed below others, tagged, owned, archived, merged and unmerged.

An import calls `create_organisation` with an id of its own and a command made by `CreateOrganisation.tolerant(values)`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, JsonValue, model_validator

from commands.contacts import corrected
from commands.kernel import Answer, Command, Entity, Work, command
from commands.people import (
    LIST,
    Addresses,
    Country,
    CustomGiven,
    CustomValues,
    Emails,
    FieldName,
    GivenMoney,
    Links,
    Long,
    Name,
    Phones,
    Reading,
    Reason,
    Short,
    Tags,
    Tolerant,
    custom,
    happened,
    member,
    read,
)
from domain import organisations
from domain.organisations import DEPTH, ORGANISATION, Event, Organisation, Profile, Registration
from domain.people import Issue, new_tags

WRITE = "contacts:write"


class GivenRegistration(Command):
    scheme: Short = Field(description="Whose number it is: `VAT`, `LEI`, `Companies House`, `UID`.")
    number: Short
    country: Country | None = None


class OrganisationFields(Command):
    """What may be said of an organisation."""

    name: Name | None = None
    legal_name: Name | None = None
    kind: Name | None = Field(default=None, description="Its legal or practical form: a company, a trust, a household.")
    registrations: Annotated[list[GivenRegistration], Field(max_length=LIST)] | None = None
    domains: Annotated[list[Name], Field(max_length=LIST)] | None = Field(default=None, description="Internet domains of its own.")
    emails: Emails | None = None
    phones: Phones | None = None
    addresses: Addresses | None = None
    websites: Links | None = None
    industry: Name | None = None
    employees: Annotated[int, Field(ge=0, le=100_000_000)] | None = None
    annual_revenue: GivenMoney | None = None
    founded: Annotated[int, Field(ge=1, le=9999)] | None = Field(default=None, description="The year.")
    about: Long | None = None
    source: Name | None = None


FIELDS = tuple(OrganisationFields.model_fields)


def read_fields(given: OrganisationFields, names: Mapping[str, Any] | set[str], reading: Reading) -> dict[str, Any]:
    """The named fields as values of a profile; None clears."""
    readers: dict[str, Any] = {
        "registrations": lambda given: tuple(
            dict.fromkeys(Registration(scheme=r.scheme, number=r.number, country=r.country) for r in given)
        ),
        "domains": reading.domains,
        "emails": reading.emails,
        "phones": reading.phones,
        "addresses": reading.addresses,
        "websites": reading.links,
        "annual_revenue": lambda money: reading.currency("annual_revenue", money),
    }
    values: dict[str, Any] = {}
    for name in FIELDS:
        if name in names:
            value = getattr(given, name)
            values[name] = readers[name](value) if value is not None and name in readers else value
    return values


async def path_of(w: Work, parent: UUID | None) -> list[UUID]:
    """From this parent to the root of its tree, those merged into others included; cut at DEPTH, and where it closes on itself."""
    path: list[UUID] = []
    while parent is not None and parent not in path and len(path) <= DEPTH:
        path.append(parent)
        state = (await w.load(ORGANISATION, parent)).state
        parent = state.merged_into or state.parent
    return path


# --- create


class CreateOrganisation(OrganisationFields, Tolerant):
    name: Name
    tags: Tags = Field(default_factory=list)
    custom: CustomGiven = Field(default_factory=dict, description="Values of the firm's own fields, by key.")
    owner: UUID | None = None
    parent: UUID | None = None
    default_region: Country | None = Field(default=None, description="Where phone numbers without a country code are.")


async def create_organisation(c: CreateOrganisation, w: Work, id: UUID) -> Entity[Organisation, Event]:
    """Record a new organisation under this id."""
    owner = await member(w, c.owner)
    reading = await read(w, lenient=c.lenient, region=c.default_region, addresses=c.addresses)
    values = {name: value for name, value in read_fields(c, c.model_fields_set, reading).items() if value not in {None, ()}}
    own = {key: value for key, value in (await custom(w, "organisation", c.custom, reading)).items() if value is not None}
    issues = (*(Issue(field=i.field, value=i.value, reason=i.reason) for i in c.issues), *reading.issues)
    entity = w.create(ORGANISATION, id)
    events = organisations.create(
        id=id,
        profile=Profile(**values, issues=issues or None),
        tags=new_tags((), c.tags),
        custom=own,
        owner=owner,
        parent=c.parent,
        path=await path_of(w, c.parent),
    )
    w.record(entity, events, occurred_at=happened(w, c.occurred_at))
    return entity


@command(
    "organisations.create",
    "POST /organisations",
    permission=WRITE,
    title="Create an organisation",
    target=ORGANISATION,
    creates=True,
)
async def create(c: CreateOrganisation, w: Work) -> Answer:
    """Create an organisation. Phone numbers are normalised to E.164; one that can't be read is kept as it is and flagged."""
    entity = await create_organisation(c, w, w.new_id())
    return {"id": str(entity.id)}


# --- amend, correct, place


class AmendOrganisation(OrganisationFields):
    id: UUID
    default_region: Country | None = None
    occurred_at: AwareDatetime | None = None


@command(
    "organisations.amend", "POST /organisations/{id}:amend", permission=WRITE, title="Amend an organisation", target=ORGANISATION
)
async def amend(c: AmendOrganisation, w: Work) -> Answer:
    """Set any of the fields; null clears one, and a list is replaced as a whole. Only what changes is recorded."""
    organisation = await w.load(ORGANISATION, c.id)
    reading = await read(w, region=c.default_region, addresses=c.addresses)
    changes = read_fields(c, c.model_fields_set, reading)
    w.record(organisation, organisations.amend(organisation.state, changes=changes), occurred_at=happened(w, c.occurred_at))
    return None


class CorrectOrganisation(Command):
    id: UUID
    field: FieldName = Field(description="A field of the organisation, or `custom.<key>`.")
    value: JsonValue = Field(default=None, description="In the form the field takes when it is set; null where nothing is known.")
    reason: Reason
    default_region: Country | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        corrected(OrganisationFields, self.field, self.value)
        return self


@command(
    "organisations.correct",
    "POST /organisations/{id}:correct",
    permission=WRITE,
    title="Correct a field of an organisation",
    target=ORGANISATION,
)
async def correct(c: CorrectOrganisation, w: Work) -> Answer:
    """Correct one field that was wrong. Who, when and why are kept; the history shows the value before."""
    organisation = await w.load(ORGANISATION, c.id)
    fit = corrected(OrganisationFields, c.field, c.value)
    reading = await read(w, region=c.default_region, addresses=getattr(fit, "addresses", None))
    if c.field.startswith("custom."):
        key = c.field.removeprefix("custom.")
        value = (await custom(w, "organisation", {key: fit}, reading))[key]
    else:
        value = read_fields(fit, {c.field}, reading)[c.field]
    w.record(organisation, organisations.correct(organisation.state, field=c.field, value=value, reason=c.reason))
    return None


class PlaceOrganisation(Command):
    id: UUID
    parent: UUID | None = Field(description="The organisation it belongs to; null: it stands by itself.")


@command(
    "organisations.place", "POST /organisations/{id}:place", permission=WRITE, title="Place an organisation", target=ORGANISATION
)
async def place(c: PlaceOrganisation, w: Work) -> Answer:
    """Say to which organisation it belongs. A circle is refused, and named."""
    organisation = await w.load(ORGANISATION, c.id)
    events = organisations.place(organisation.state, id=c.id, parent=c.parent, path=await path_of(w, c.parent))
    w.record(organisation, events)
    return None


class SetOrganisationFields(Command):
    id: UUID
    values: CustomValues


@command(
    "organisations.set_custom",
    "POST /organisations/{id}:set-custom",
    permission=WRITE,
    title="Set custom fields of an organisation",
    target=ORGANISATION,
)
async def set_custom(c: SetOrganisationFields, w: Work) -> Answer:
    """Set values of the firm's own fields, by key; null clears one. Each is checked against its definition."""
    organisation = await w.load(ORGANISATION, c.id)
    values = await custom(w, "organisation", c.values, Reading())
    w.record(organisation, organisations.set_custom(organisation.state, values=values))
    return None


# --- tags and owner


class TagOrganisation(Command):
    id: UUID
    tags: Annotated[list[Short], Field(min_length=1, max_length=LIST)]


@command("organisations.tag", "POST /organisations/{id}:tag", permission=WRITE, title="Tag an organisation", target=ORGANISATION)
async def tag(c: TagOrganisation, w: Work) -> Answer:
    """Add tags; those it has, in whatever case, stay as they are."""
    organisation = await w.load(ORGANISATION, c.id)
    w.record(organisation, organisations.tag(organisation.state, tags=tuple(c.tags)))
    return None


class UntagOrganisation(TagOrganisation):
    pass


@command(
    "organisations.untag",
    "POST /organisations/{id}:untag",
    permission=WRITE,
    title="Remove tags from an organisation",
    target=ORGANISATION,
)
async def untag(c: UntagOrganisation, w: Work) -> Answer:
    organisation = await w.load(ORGANISATION, c.id)
    w.record(organisation, organisations.untag(organisation.state, tags=tuple(c.tags)))
    return None


class AssignOrganisation(Command):
    id: UUID
    owner: UUID | None = Field(description="A member of the firm; null leaves the organisation to nobody in particular.")


@command(
    "organisations.assign", "POST /organisations/{id}:assign", permission=WRITE, title="Assign an organisation", target=ORGANISATION
)
async def assign(c: AssignOrganisation, w: Work) -> Answer:
    """Say which member looks after the organisation."""
    organisation = await w.load(ORGANISATION, c.id)
    w.record(organisation, organisations.assign(organisation.state, owner=await member(w, c.owner)))
    return None


# --- archive and restore


class ArchiveOrganisation(Command):
    id: UUID
    reason: Reason | None = None


@command(
    "organisations.archive",
    "POST /organisations/{id}:archive",
    permission=WRITE,
    title="Archive an organisation",
    target=ORGANISATION,
)
async def archive(c: ArchiveOrganisation, w: Work) -> Answer:
    """Put the organisation away. It stays readable, and is not changed until it is restored."""
    organisation = await w.load(ORGANISATION, c.id)
    w.record(organisation, organisations.archive(organisation.state, reason=c.reason))
    return None


class RestoreOrganisation(Command):
    id: UUID


@command(
    "organisations.restore",
    "POST /organisations/{id}:restore",
    permission=WRITE,
    title="Restore an organisation",
    target=ORGANISATION,
)
async def restore(c: RestoreOrganisation, w: Work) -> Answer:
    """Take an archived organisation back into use."""
    organisation = await w.load(ORGANISATION, c.id)
    w.record(organisation, organisations.restore(organisation.state))
    return None


# --- merge and unmerge


class MergeOrganisation(Command):
    id: UUID
    other: UUID = Field(description="The organisation to absorb.")
    reason: Reason | None = None


@command(
    "organisations.merge",
    "POST /organisations/{id}:merge",
    permission=WRITE,
    title="Merge another organisation into an organisation",
    target=ORGANISATION,
)
async def merge(c: MergeOrganisation, w: Work) -> Answer:
    """Absorb another record of the same organisation: take over what this one lacks, and freeze the other. Undone by unmerging."""
    survivor = await w.load(ORGANISATION, c.id)
    other = await w.load(ORGANISATION, c.other)
    path = await path_of(w, survivor.state.parent)
    events = organisations.absorb(survivor.state, other.state, id=c.id, other_id=c.other, path=path, reason=c.reason)
    w.record(survivor, events)
    if events:
        w.record(other, organisations.merge_into(other.state, survivor=c.id))
    return None


class UnmergeOrganisation(Command):
    id: UUID
    other: UUID = Field(description="The organisation that was absorbed.")
    reason: Reason | None = None


@command(
    "organisations.unmerge",
    "POST /organisations/{id}:unmerge",
    permission=WRITE,
    title="Undo a merge of organisations",
    target=ORGANISATION,
    undoable=False,
)
async def unmerge(c: UnmergeOrganisation, w: Work) -> Answer:
    """Part two organisations again: the other as it was, this one without what it took over and nobody changed since."""
    survivor = await w.load(ORGANISATION, c.id)
    other = await w.load(ORGANISATION, c.other)
    path = await path_of(w, other.state.parent)
    w.record(survivor, organisations.release(survivor.state, other_id=c.other, reason=c.reason))
    w.record(other, organisations.unmerge(other.state, id=c.other, path=path))
    return None
