from datetime import date
from uuid import UUID, uuid4

import pytest

from commands.contacts import CreateContact, MergeContact
from commands.notes import EditNote, PinNote, RemoveNote, UnpinNote, WriteNote
from commands.organisations import (
    AmendOrganisation,
    ArchiveOrganisation,
    CorrectOrganisation,
    CreateOrganisation,
    MergeOrganisation,
    PlaceOrganisation,
    RestoreOrganisation,
    SetOrganisationFields,
    TagOrganisation,
    UnmergeOrganisation,
)
from commands.people import BadValue
from commands.relations import AmendRelation, EndRelation, RelateParties, RemoveRelation
from domain.contacts import ContactIsMerged
from domain.fields import NoSuchField
from domain.kernel import NotFound
from domain.organisations import OrganisationIsArchived, ParentCycle, StandsBelowIt, TreeTooDeep
from domain.people import Issue, Money
from domain.relations import DoesNotJoin
from projections.notes import NOTES
from projections.organisations import ORGANISATIONS
from projections.relations import RELATIONS
from tests.desk import Desk


async def found(desk: Desk, name: str, **said) -> UUID:
    done = await desk.do(CreateOrganisation.model_validate({"name": name, **said}))
    return UUID(done["id"])


async def test_an_organisation_is_created_with_all_that_is_known() -> None:
    desk = Desk()
    id = await found(
        desk,
        "Acme",
        registrations=[{"scheme": "UID", "number": "CHE-1", "country": "ch"}],
        domains=["ACME.example", "acme.example"],
        phones=[{"number": "044 668 18 00"}],
        addresses=[{"country": "CH", "city": "Zürich"}],
        employees=0,
        annual_revenue={"amount": "1100.04", "currency": "usd"},
    )
    row = desk.rows(ORGANISATIONS)[id]
    assert (row.domains, row.phone, row.city, row.employees) == (("acme.example",), "+41446681800", "Zürich", 0)
    assert row.annual_revenue == Money(amount=row.revenue, currency="USD")
    assert row.registrations[0].country == "CH"


async def test_bad_values_of_an_organisation_are_refused_or_flagged() -> None:
    desk = Desk()
    bad = {"domains": ["not a domain"], "annual_revenue": {"amount": 1, "currency": "QQQ"}}
    with pytest.raises(BadValue):
        await found(desk, "Acme", **bad)
    id = await found(desk, "Acme", lenient=True, **bad)
    assert [i.field for i in desk.rows(ORGANISATIONS)[id].issues] == ["domains[0]", "annual_revenue"]
    await desk.do(AmendOrganisation(id=id, domains=["acme.example"]))
    assert [i.field for i in desk.rows(ORGANISATIONS)[id].issues] == ["annual_revenue"]
    assert isinstance(desk.rows(ORGANISATIONS)[id].issues[0], Issue)


async def test_a_correction_of_an_organisation_keeps_its_reason_and_a_second_one_stays_untouched() -> None:
    desk = Desk()
    acme, beta = await found(desk, "Acme"), await found(desk, "Beta")
    await desk.do(CorrectOrganisation(id=acme, field="name", value="Acme AG", reason="Register"))
    rows = desk.rows(ORGANISATIONS)
    assert (rows[acme].name, rows[acme].correction.reason, rows[beta].name) == ("Acme AG", "Register", "Beta")
    with pytest.raises(NoSuchField):
        await desk.do(SetOrganisationFields(id=acme, values={"x": "1"}))
    with pytest.raises(NoSuchField):
        await desk.do(CorrectOrganisation(id=acme, field="custom.x", value="1", reason="x"))


async def test_an_archived_organisation_is_not_changed() -> None:
    desk = Desk()
    acme = await found(desk, "Acme")
    await desk.do(ArchiveOrganisation(id=acme, reason="Closed"))
    assert desk.rows(ORGANISATIONS)[acme].archived_because == "Closed"
    with pytest.raises(OrganisationIsArchived):
        await desk.do(TagOrganisation(id=acme, tags=["x"]))
    await desk.do(RestoreOrganisation(id=acme))
    await desk.do(TagOrganisation(id=acme, tags=["x"]))
    assert desk.rows(ORGANISATIONS)[acme].tags == ("x",)


@pytest.mark.invariant("O2")
async def test_no_organisation_stands_below_itself() -> None:
    desk = Desk()
    root = await found(desk, "Root")
    group = await found(desk, "Group", parent=root)
    acme = await found(desk, "Acme", parent=group)
    with pytest.raises(ParentCycle) as refused:
        await desk.do(PlaceOrganisation(id=root, parent=acme))
    assert refused.value.about == {"cycle": [str(i) for i in (root, acme, group, root)]}
    with pytest.raises(NotFound):
        await desk.do(PlaceOrganisation(id=root, parent=uuid4()))
    await desk.do(PlaceOrganisation(id=acme, parent=root))
    await desk.do(PlaceOrganisation(id=group, parent=acme))
    assert desk.rows(ORGANISATIONS)[group].parent == acme


@pytest.mark.invariant("O3")
async def test_a_tree_of_organisations_does_not_grow_without_end() -> None:
    desk = Desk()
    parent = await found(desk, "0")
    for depth in range(1, 32):
        parent = await found(desk, str(depth), parent=parent)
    with pytest.raises(TreeTooDeep):
        await found(desk, "32", parent=parent)


@pytest.mark.invariant("O2")
async def test_a_merge_makes_no_circle_while_it_lasts_nor_when_it_is_undone() -> None:
    desk = Desk()
    top = await found(desk, "Top")
    twin = await found(desk, "Twin", parent=top)
    acme = await found(desk, "Acme")
    child = await found(desk, "Child", parent=twin)
    await desk.do(MergeOrganisation(id=acme, other=twin))
    with pytest.raises(ParentCycle):
        await desk.do(PlaceOrganisation(id=acme, parent=child))
    await desk.do(PlaceOrganisation(id=top, parent=child))
    await desk.do(UnmergeOrganisation(id=acme, other=twin))
    rows = desk.rows(ORGANISATIONS)
    assert (rows[twin].merged_into, rows[twin].parent, rows[top].parent) == (None, None, child)
    with pytest.raises(StandsBelowIt):
        await desk.do(MergeOrganisation(id=top, other=child))


async def test_relations_are_recorded_once_from_either_side() -> None:
    desk = Desk()
    anna = UUID((await desk.do(CreateContact(given="Anna")))["id"])
    acme = await found(desk, "Acme")
    ends = {"source_type": "contact", "source": anna, "target_type": "organisation", "target": acme}
    other = {"source_type": "organisation", "source": acme, "target_type": "contact", "target": anna}
    first = await desk.do(RelateParties(kind="works_at", label="Partner", valid_from=date(2020, 1, 1), **ends))
    again = await desk.do(RelateParties(kind="employs", label="Partner", valid_from=date(2020, 1, 1), **other))
    assert (first["id"], again["events"]) == (again["id"], [])
    second = await desk.do(RelateParties(kind="director_of", **ends))
    id = UUID(first["id"])
    await desk.do(AmendRelation(id=id, label="Senior partner"))
    await desk.do(EndRelation(id=id, reason="Retired"))
    rows = desk.rows(RELATIONS)
    assert (rows[id].kind, rows[id].inverse, rows[id].label, rows[id].valid_to, rows[id].ended_because) == (
        "works_at",
        "employs",
        "Senior partner",
        desk.now.date(),
        "Retired",
    )
    assert rows[UUID(second["id"])].valid_to is None
    await desk.do(RemoveRelation(id=id))
    assert set(desk.rows(RELATIONS)) == {UUID(second["id"])}
    with pytest.raises(DoesNotJoin):
        await desk.do(RelateParties(kind="spouse_of", **ends))
    with pytest.raises(NotFound):
        await desk.do(RelateParties(kind="works_at", **{**ends, "target": uuid4()}))


async def test_notes_are_written_edited_pinned_and_removed() -> None:
    desk = Desk()
    anna = UUID((await desk.do(CreateContact(given="Anna")))["id"])
    id = UUID((await desk.do(WriteNote(about_type="contact", about=anna, text="Called.", kind="call")))["id"])
    kept = UUID((await desk.do(WriteNote(about_type="contact", about=anna, text="Kept.")))["id"])
    await desk.do(EditNote(id=id, text="Called twice."))
    await desk.do(PinNote(id=id))
    row = desk.rows(NOTES)[id]
    assert (row.text, row.kind, row.pinned, row.edited_at) == ("Called twice.", "call", True, desk.now)
    await desk.do(UnpinNote(id=id))
    await desk.do(RemoveNote(id=id))
    assert set(desk.rows(NOTES)) == {kept}
    with pytest.raises(NotFound):
        await desk.do(WriteNote(about_type="organisation", about=anna, text="x"))


async def test_what_is_merged_takes_no_notes_nor_relations() -> None:
    desk = Desk()
    anna, twin = [UUID((await desk.do(CreateContact(given="Anna")))["id"]) for _ in range(2)]
    await desk.do(MergeContact(id=anna, other=twin))
    with pytest.raises(ContactIsMerged):
        await desk.do(WriteNote(about_type="contact", about=twin, text="x"))
    with pytest.raises(ContactIsMerged):
        await desk.do(RelateParties(kind="friend_of", source_type="contact", source=anna, target_type="contact", target=twin))
