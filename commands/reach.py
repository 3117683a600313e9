"""One email address, phone number or postal address of a contact or an organisation: added, amended, removed.

Beside the commands that set a whole list. The others stay as they are; an entry that is made primary takes that from another.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from commands import contacts as of_contacts
from commands import organisations as of_organisations
from commands.kernel import Answer, Command, Work, command
from commands.people import LIST, Country, GivenAddress, GivenEmail, GivenPhone, Reading, read
from domain import contacts, organisations
from domain.contacts import CONTACT
from domain.kernel import Invalid, NotFound
from domain.organisations import ORGANISATION
from domain.people import Address, Email, Phone

WRITE = "contacts:write"
Which = Literal["emails", "phones", "addresses"]
Item = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=320),
    Field(description="The email address or phone number as it stands; of a postal address its place in the list, from 1."),
]


class TooManyEntries(Invalid):
    """The list has as many entries as it may have. Remove one first."""


class OneEntry(Command):
    """Exactly one of the three."""

    id: UUID
    email: GivenEmail | None = None
    phone: GivenPhone | None = None
    address: GivenAddress | None = None
    default_region: Country | None = None

    @model_validator(mode="after")
    def _one(self) -> "OneEntry":
        if sum(x is not None for x in (self.email, self.phone, self.address)) != 1:
            raise ValueError("name one of email, phone and address")
        return self

    @property
    def which(self) -> Which:
        return "emails" if self.email is not None else "phones" if self.phone is not None else "addresses"

    @property
    def given(self) -> dict[str, Any]:
        return {self.which: [self.email or self.phone or self.address]}


class AmendEntry(OneEntry):
    item: Item


class RemoveEntry(Command):
    id: UUID
    list: Which
    item: Item


def _names(entry: Email | Phone | Address) -> set[str]:
    match entry:
        case Email():
            return {entry.address.casefold()}
        case Phone():
            return {entry.raw, *([entry.number] if entry.number else [])}
        case _:
            return set()


def _place(entries: Sequence[Any], which: Which, item: str) -> int:
    """Where the entry stands; NotFound."""
    if which == "addresses":
        if item.isascii() and item.isdigit() and len(item) < 5 and 1 <= int(item) <= len(entries):
            return int(item) - 1
    else:
        wanted = item.casefold() if which == "emails" else item
        for n, entry in enumerate(entries):
            if wanted in _names(entry):
                return n
    raise NotFound(kind=which)


def _with(entries: Sequence[Any], made: Any, at: int | None) -> tuple[Any, ...]:
    """The list with an entry put in its place, or at the end, where it is not there already."""
    if at is None:
        at = next((n for n, e in enumerate(entries) if e == made or _names(e) & _names(made)), None)
    if at is None and len(entries) >= LIST:
        raise TooManyEntries(most=LIST)
    others = [replace(e, primary=False) if made.primary and e.primary and n != at else e for n, e in enumerate(entries)]
    if at is None:
        return (*others, made)
    return (*others[:at], made, *others[at + 1 :])


async def _reading(c: OneEntry, w: Work) -> Reading:
    return await read(w, region=c.default_region, addresses=None if c.address is None else [c.address])


async def _contact(c: OneEntry, w: Work, item: str | None) -> None:
    entity = await w.load(CONTACT, c.id)
    fit = of_contacts.ContactFields.model_validate(c.given)
    (made,) = of_contacts.read_fields(fit, {c.which}, await _reading(c, w))[c.which]
    now = getattr(entity.state.profile, c.which) or ()
    after = _with(now, made, None if item is None else _place(now, c.which, item))
    w.record(entity, contacts.amend(entity.state, changes={c.which: after}))


async def _organisation(c: OneEntry, w: Work, item: str | None) -> None:
    entity = await w.load(ORGANISATION, c.id)
    fit = of_organisations.OrganisationFields.model_validate(c.given)
    (made,) = of_organisations.read_fields(fit, {c.which}, await _reading(c, w))[c.which]
    now = getattr(entity.state.profile, c.which) or ()
    after = _with(now, made, None if item is None else _place(now, c.which, item))
    w.record(entity, organisations.amend(entity.state, changes={c.which: after}))


class AddContactEntry(OneEntry):
    pass


@command(
    "contacts.add_entry", "POST /contacts/{id}:add-entry", permission=WRITE, title="Add an email, phone or address", target=CONTACT
)
async def add_to_contact(c: AddContactEntry, w: Work) -> Answer:
    """Add one entry to its list. One that is there already is amended: its label, and whether it is primary."""
    await _contact(c, w, None)
    return None


class AmendContactEntry(AmendEntry):
    pass


@command(
    "contacts.amend_entry",
    "POST /contacts/{id}:amend-entry",
    permission=WRITE,
    title="Amend an email, phone or address",
    target=CONTACT,
)
async def amend_of_contact(c: AmendContactEntry, w: Work) -> Answer:
    """Put an entry in the place of the one named. With If-Match nobody's change in between is lost."""
    await _contact(c, w, c.item)
    return None


class RemoveContactEntry(RemoveEntry):
    pass


@command(
    "contacts.remove_entry",
    "POST /contacts/{id}:remove-entry",
    permission=WRITE,
    title="Remove an email, phone or address",
    target=CONTACT,
)
async def remove_from_contact(c: RemoveContactEntry, w: Work) -> Answer:
    """Take one entry out of its list."""
    entity = await w.load(CONTACT, c.id)
    now = getattr(entity.state.profile, c.list) or ()
    at = _place(now, c.list, c.item)
    w.record(entity, contacts.amend(entity.state, changes={c.list: (*now[:at], *now[at + 1 :]) or None}))
    return None


class AddOrganisationEntry(OneEntry):
    pass


@command(
    "organisations.add_entry",
    "POST /organisations/{id}:add-entry",
    permission=WRITE,
    title="Add an email, phone or address",
    target=ORGANISATION,
)
async def add_to_organisation(c: AddOrganisationEntry, w: Work) -> Answer:
    """Add one entry to its list. One that is there already is amended: its label, and whether it is primary."""
    await _organisation(c, w, None)
    return None


class AmendOrganisationEntry(AmendEntry):
    pass


@command(
    "organisations.amend_entry",
    "POST /organisations/{id}:amend-entry",
    permission=WRITE,
    title="Amend an email, phone or address",
    target=ORGANISATION,
)
async def amend_of_organisation(c: AmendOrganisationEntry, w: Work) -> Answer:
    """Put an entry in the place of the one named. With If-Match nobody's change in between is lost."""
    await _organisation(c, w, c.item)
    return None


class RemoveOrganisationEntry(RemoveEntry):
    pass


@command(
    "organisations.remove_entry",
    "POST /organisations/{id}:remove-entry",
    permission=WRITE,
    title="Remove an email, phone or address",
    target=ORGANISATION,
)
async def remove_from_organisation(c: RemoveOrganisationEntry, w: Work) -> Answer:
    """Take one entry out of its list."""
    entity = await w.load(ORGANISATION, c.id)
    now = getattr(entity.state.profile, c.list) or ()
    at = _place(now, c.list, c.item)
    w.record(entity, organisations.amend(entity.state, changes={c.list: (*now[:at], *now[at + 1 :]) or None}))
    return None
