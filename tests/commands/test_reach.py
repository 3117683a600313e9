"""One email, phone or address is added, amended and removed, and the others stay as they are."""

from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from commands.contacts import CreateContact
from commands.organisations import CreateOrganisation
from commands.people import GivenAddress, GivenEmail, GivenPhone
from commands.reach import (
    AddContactEntry,
    AddOrganisationEntry,
    AmendContactEntry,
    AmendOrganisationEntry,
    OneEntry,
    RemoveContactEntry,
    RemoveOrganisationEntry,
)
from domain.kernel import NotFound
from infra import registry
from projections.kernel import VIEWS
from tests.desk import Desk


@pytest.fixture
def desk() -> Desk:
    registry.load()
    return Desk()


async def a_contact(desk: Desk) -> UUID:
    made = await desk.do(
        CreateContact(given="Ann", emails=[GivenEmail(address="a@x.example", primary=True), GivenEmail(address="b@x.example")])
    )
    return UUID(str(made["id"]))


def profile(desk: Desk, view: str, id: UUID) -> Any:
    return desk.rows(VIEWS[view])[id]


async def test_one_entry_comes_changes_and_goes(desk: Desk) -> None:
    id, other = await a_contact(desk), await a_contact(desk)
    await desk.do(AddContactEntry(id=id, email=GivenEmail(address="C@x.example", label="work", primary=True)))
    assert [(e.address.casefold(), e.primary) for e in profile(desk, "contacts", id).emails] == [
        ("a@x.example", False),
        ("b@x.example", False),
        ("c@x.example", True),
    ]
    await desk.do(AmendContactEntry(id=id, item="b@x.example", email=GivenEmail(address="bee@x.example", label="home")))
    await desk.do(RemoveContactEntry(id=id, list="emails", item="A@x.example"))
    assert [e.address.casefold() for e in profile(desk, "contacts", id).emails] == ["bee@x.example", "c@x.example"]
    assert [e.address for e in profile(desk, "contacts", other).emails] == ["a@x.example", "b@x.example"]
    with pytest.raises(NotFound):
        await desk.do(RemoveContactEntry(id=id, list="emails", item="a@x.example"))
    with pytest.raises(NotFound):
        await desk.do(RemoveContactEntry(id=id, list="addresses", item="1"))


async def test_an_entry_that_is_there_already_is_no_second_one(desk: Desk) -> None:
    id = await a_contact(desk)
    before = len(desk.record)
    await desk.do(AddContactEntry(id=id, email=GivenEmail(address="a@x.example", primary=True)))
    assert len(desk.record) == before
    await desk.do(AddContactEntry(id=id, email=GivenEmail(address="b@x.example", label="home")))
    assert [(e.address, e.label) for e in profile(desk, "contacts", id).emails] == [("a@x.example", None), ("b@x.example", "home")]


async def test_phones_and_addresses_of_organisations_too(desk: Desk) -> None:
    made = await desk.do(CreateOrganisation(name="Acme"))
    id = UUID(str(made["id"]))
    await desk.do(AddOrganisationEntry(id=id, phone=GivenPhone(number="+41 44 668 18 00")))
    await desk.do(AddOrganisationEntry(id=id, address=GivenAddress(city="Bern", country="CH")))
    row = profile(desk, "organisations", id)
    assert ([p.number for p in row.phones], [a.city for a in row.addresses]) == (["+41446681800"], ["Bern"])
    await desk.do(AddOrganisationEntry(id=id, phone=GivenPhone(number="+41 44 668 18 02")))
    await desk.do(AmendOrganisationEntry(id=id, item="+41446681800", phone=GivenPhone(number="+41 44 668 18 01", label="desk")))
    row = profile(desk, "organisations", id)
    assert [(p.number, p.label) for p in row.phones] == [("+41446681801", "desk"), ("+41446681802", None)]
    await desk.do(RemoveOrganisationEntry(id=id, list="phones", item="+41446681801"))
    await desk.do(RemoveOrganisationEntry(id=id, list="phones", item="+41446681802"))
    await desk.do(RemoveOrganisationEntry(id=id, list="addresses", item="1"))
    row = profile(desk, "organisations", id)
    assert (list(row.phones or ()), list(row.addresses or ())) == ([], [])


@pytest.mark.parametrize("given", [{}, {"email": {"address": "a@x.example"}, "phone": {"number": "1"}}])
def test_one_thing_is_named_and_one_alone(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="name one of email, phone and address"):
        OneEntry.model_validate({"id": UUID(int=1), **given})
