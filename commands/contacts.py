"""Contacts: created, amended, corrected, tagged, owned, archived, merged and unmerged.

An import calls `create_contact` with an id of its own and a command made by `CreateContact.tolerant(values)`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, JsonValue, TypeAdapter, ValidationError, model_validator

from commands.kernel import Answer, Command, Entity, Work, command
from commands.people import (
    LIST,
    Addresses,
    Country,
    Custom,
    CustomGiven,
    CustomValues,
    Emails,
    FieldName,
    Links,
    Long,
    Name,
    Phones,
    Reading,
    Reason,
    Short,
    Tags,
    Tolerant,
    Uri,
    custom,
    happened,
    member,
    read,
)
from domain import contacts
from domain.contacts import CONTACT, Contact, Event, Lifecycle, Profile
from domain.people import Issue, new_tags

WRITE = "contacts:write"


class ContactFields(Command):
    """What may be said of a person; every field is optional."""

    display_name: Name | None = None
    given: Name | None = None
    middle: Name | None = None
    family: Name | None = None
    prefix: Short | None = None
    suffix: Short | None = None
    nickname: Name | None = None
    job_title: Name | None = None
    role: Name | None = None
    department: Name | None = None
    organisation_name: Name | None = Field(default=None, description="As text. Who works where for certain is a relation.")
    emails: Emails | None = None
    phones: Phones | None = None
    addresses: Addresses | None = None
    websites: Links | None = Field(default=None, description="Web sites, profiles and messenger handles.")
    languages: Annotated[list[Short], Field(max_length=LIST)] | None = Field(
        default=None, description="BCP 47 tags, preferred first."
    )
    birthday: Short | None = Field(default=None, description="`2001-04-15`, or `--04-15` where the year is not known.")
    anniversary: Short | None = Field(default=None, description="As the birthday.")
    photo: Uri | None = Field(default=None, description="A web address, `documents/<id>` or `sha256:<hex>`.")
    about: Long | None = None
    source: Name | None = Field(default=None, description="Where the contact came from.")
    lifecycle: Lifecycle | None = None


FIELDS = tuple(ContactFields.model_fields)


def read_fields(given: ContactFields, names: Mapping[str, Any] | set[str], reading: Reading) -> dict[str, Any]:
    """The named fields as values of a profile; None clears."""
    readers: dict[str, Any] = {
        "emails": reading.emails,
        "phones": reading.phones,
        "addresses": reading.addresses,
        "websites": reading.links,
        "languages": reading.languages,
        "birthday": lambda text: reading.day("birthday", text),
        "anniversary": lambda text: reading.day("anniversary", text),
        "photo": reading.photo,
    }
    values: dict[str, Any] = {}
    for name in FIELDS:
        if name in names:
            value = getattr(given, name)
            values[name] = readers[name](value) if value is not None and name in readers else value
    return values


# --- create


class CreateContact(ContactFields, Tolerant):
    tags: Tags = Field(default_factory=list)
    custom: CustomGiven = Field(default_factory=dict, description="Values of the firm's own fields, by key.")
    owner: UUID | None = None
    default_region: Country | None = Field(default=None, description="Where phone numbers without a country code are.")


async def create_contact(c: CreateContact, w: Work, id: UUID) -> Entity[Contact, Event]:
    """Record a new contact under this id."""
    owner = await member(w, c.owner)
    reading = await read(w, lenient=c.lenient, region=c.default_region, addresses=c.addresses)
    values = {name: value for name, value in read_fields(c, c.model_fields_set, reading).items() if value not in {None, ()}}
    own = {key: value for key, value in (await custom(w, "contact", c.custom, reading)).items() if value is not None}
    issues = (*(Issue(field=i.field, value=i.value, reason=i.reason) for i in c.issues), *reading.issues)
    entity = w.create(CONTACT, id)
    tags = new_tags((), c.tags)
    events = contacts.create(profile=Profile(**values, issues=issues or None), tags=tags, custom=own, owner=owner)
    w.record(entity, events, occurred_at=happened(w, c.occurred_at))
    return entity


@command("contacts.create", "POST /contacts", permission=WRITE, title="Create a contact", target=CONTACT, creates=True)
async def create(c: CreateContact, w: Work) -> Answer:
    """Create a contact. Phone numbers are normalised to E.164; one that can't be read is kept as it is and flagged."""
    entity = await create_contact(c, w, w.new_id())
    return {"id": str(entity.id)}


# --- amend and correct


class AmendContact(ContactFields):
    id: UUID
    default_region: Country | None = None
    occurred_at: AwareDatetime | None = None


@command("contacts.amend", "POST /contacts/{id}:amend", permission=WRITE, title="Amend a contact", target=CONTACT)
async def amend(c: AmendContact, w: Work) -> Answer:
    """Set any of the fields; null clears one, and a list is replaced as a whole. Only what changes is recorded."""
    contact = await w.load(CONTACT, c.id)
    reading = await read(w, region=c.default_region, addresses=c.addresses)
    changes = read_fields(c, c.model_fields_set, reading)
    w.record(contact, contacts.amend(contact.state, changes=changes), occurred_at=happened(w, c.occurred_at))
    return None


_CUSTOM: TypeAdapter[Any] = TypeAdapter(Custom)


class CorrectContact(Command):
    id: UUID
    field: FieldName = Field(description="A field of the contact, or `custom.<key>`.")
    value: JsonValue = Field(default=None, description="In the form the field takes when it is set; null where nothing is known.")
    reason: Reason
    default_region: Country | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        corrected(ContactFields, self.field, self.value)
        return self


def corrected(model: type[Command], field: str, value: JsonValue) -> Any:
    """The value as the field takes it; ValueError names the field and says what is wrong."""
    own = field.startswith("custom.")
    if not own and field not in model.model_fields:
        raise ValueError(f"there is no field {field} to correct")
    try:
        if own:
            return None if value is None else _CUSTOM.validate_python(value)
        return model.model_validate({field: value})
    except ValidationError as bad:
        first = bad.errors(include_url=False, include_context=False, include_input=False)[0]
        raise ValueError(f"{field}: {first['msg']}") from None


@command("contacts.correct", "POST /contacts/{id}:correct", permission=WRITE, title="Correct a field of a contact", target=CONTACT)
async def correct(c: CorrectContact, w: Work) -> Answer:
    """Correct one field that was wrong. Who, when and why are kept; the history shows the value before."""
    contact = await w.load(CONTACT, c.id)
    fit = corrected(ContactFields, c.field, c.value)
    reading = await read(w, region=c.default_region, addresses=getattr(fit, "addresses", None))
    if c.field.startswith("custom."):
        key = c.field.removeprefix("custom.")
        value = (await custom(w, "contact", {key: fit}, reading))[key]
    else:
        value = read_fields(fit, {c.field}, reading)[c.field]
    w.record(contact, contacts.correct(contact.state, field=c.field, value=value, reason=c.reason))
    return None


class SetContactFields(Command):
    id: UUID
    values: CustomValues


@command(
    "contacts.set_custom",
    "POST /contacts/{id}:set-custom",
    permission=WRITE,
    title="Set custom fields of a contact",
    target=CONTACT,
)
async def set_custom(c: SetContactFields, w: Work) -> Answer:
    """Set values of the firm's own fields, by key; null clears one. Each is checked against its definition."""
    contact = await w.load(CONTACT, c.id)
    values = await custom(w, "contact", c.values, Reading())
    w.record(contact, contacts.set_custom(contact.state, values=values))
    return None


# --- tags and owner


class TagContact(Command):
    id: UUID
    tags: Annotated[list[Short], Field(min_length=1, max_length=LIST)]


@command("contacts.tag", "POST /contacts/{id}:tag", permission=WRITE, title="Tag a contact", target=CONTACT)
async def tag(c: TagContact, w: Work) -> Answer:
    """Add tags; those it has, in whatever case, stay as they are."""
    contact = await w.load(CONTACT, c.id)
    w.record(contact, contacts.tag(contact.state, tags=tuple(c.tags)))
    return None


class UntagContact(TagContact):
    pass


@command("contacts.untag", "POST /contacts/{id}:untag", permission=WRITE, title="Remove tags from a contact", target=CONTACT)
async def untag(c: UntagContact, w: Work) -> Answer:
    contact = await w.load(CONTACT, c.id)
    w.record(contact, contacts.untag(contact.state, tags=tuple(c.tags)))
    return None


class AssignContact(Command):
    id: UUID
    owner: UUID | None = Field(description="A member of the firm; null leaves the contact to nobody in particular.")


@command("contacts.assign", "POST /contacts/{id}:assign", permission=WRITE, title="Assign a contact", target=CONTACT)
async def assign(c: AssignContact, w: Work) -> Answer:
    """Say which member looks after the contact."""
    contact = await w.load(CONTACT, c.id)
    w.record(contact, contacts.assign(contact.state, owner=await member(w, c.owner)))
    return None


# --- archive and restore


class ArchiveContact(Command):
    id: UUID
    reason: Reason | None = None


@command("contacts.archive", "POST /contacts/{id}:archive", permission=WRITE, title="Archive a contact", target=CONTACT)
async def archive(c: ArchiveContact, w: Work) -> Answer:
    """Put the contact away. It stays readable, and is not changed until it is restored."""
    contact = await w.load(CONTACT, c.id)
    w.record(contact, contacts.archive(contact.state, reason=c.reason))
    return None


class RestoreContact(Command):
    id: UUID


@command("contacts.restore", "POST /contacts/{id}:restore", permission=WRITE, title="Restore a contact", target=CONTACT)
async def restore(c: RestoreContact, w: Work) -> Answer:
    """Take an archived contact back into use."""
    contact = await w.load(CONTACT, c.id)
    w.record(contact, contacts.restore(contact.state))
    return None


# --- merge and unmerge


class MergeContact(Command):
    id: UUID
    other: UUID = Field(description="The contact to absorb.")
    reason: Reason | None = None


@command(
    "contacts.merge", "POST /contacts/{id}:merge", permission=WRITE, title="Merge another contact into a contact", target=CONTACT
)
async def merge(c: MergeContact, w: Work) -> Answer:
    """Absorb another record of the same person: take over what this one lacks, and freeze the other. Undone by unmerging."""
    survivor = await w.load(CONTACT, c.id)
    other = await w.load(CONTACT, c.other)
    events = contacts.absorb(survivor.state, other.state, id=c.id, other_id=c.other, reason=c.reason)
    w.record(survivor, events)
    if events:
        w.record(other, contacts.merge_into(other.state, survivor=c.id))
    return None


class UnmergeContact(Command):
    id: UUID
    other: UUID = Field(description="The contact that was absorbed.")
    reason: Reason | None = None


@command(
    "contacts.unmerge",
    "POST /contacts/{id}:unmerge",
    permission=WRITE,
    title="Undo a merge of contacts",
    target=CONTACT,
    undoable=False,
)
async def unmerge(c: UnmergeContact, w: Work) -> Answer:
    """Part two contacts again: the other as it was, this one without what it took over and nobody changed since."""
    survivor = await w.load(CONTACT, c.id)
    other = await w.load(CONTACT, c.other)
    w.record(survivor, contacts.release(survivor.state, other_id=c.other, reason=c.reason))
    w.record(other, contacts.unmerge(other.state))
    return None
