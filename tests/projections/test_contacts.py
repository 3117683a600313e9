from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson

from commands.contacts import (
    AmendContact,
    ArchiveContact,
    AssignContact,
    CorrectContact,
    CreateContact,
    MergeContact,
    RestoreContact,
    SetContactFields,
    TagContact,
    UnmergeContact,
    UntagContact,
)
from commands.fields import AmendField, DefineField, ReinstateField, RetireField
from commands.notes import EditNote, PinNote, RemoveNote, UnpinNote, WriteNote
from commands.organisations import (
    AmendOrganisation,
    ArchiveOrganisation,
    AssignOrganisation,
    CorrectOrganisation,
    CreateOrganisation,
    MergeOrganisation,
    PlaceOrganisation,
    RestoreOrganisation,
    SetOrganisationFields,
    TagOrganisation,
    UnmergeOrganisation,
    UntagOrganisation,
)
from commands.relations import AmendRelation, EndRelation, RelateParties, RemoveRelation
from domain.kernel import EVENTS
from infra.record.codec import CODECS, disclose
from projections.contacts import CONTACTS
from projections.fields import FIELDS
from projections.notes import NOTES
from projections.organisations import ORGANISATIONS
from projections.relations import RELATIONS
from tests.desk import Desk

PERSON = "Zwillingsname"  # in every personal value of the story
VIEWS = (CONTACTS, FIELDS, NOTES, ORGANISATIONS, RELATIONS)
OURS = ("contacts.", "organisations.", "relations.", "notes.", "fields.")


async def story() -> tuple[Desk, UUID, UUID]:
    """Every event of these contexts, once at least; two contacts."""
    desk = Desk()

    async def made(command: Any) -> UUID:
        return UUID((await desk.do(command))["id"])

    for kind in ("contact", "organisation"):
        field = await made(DefineField(applies_to=kind, key="colour", kind="text", label="Colour"))
        await desk.do(AmendField(id=field, description="The favourite one"))
        await desk.do(RetireField(id=field))
        await desk.do(ReinstateField(id=field))
    custom = {"colour": PERSON}
    anna = await made(
        CreateContact.model_validate(
            {
                "given": PERSON,
                "about": PERSON,
                "tags": [PERSON],
                "custom": custom,
                "emails": [{"address": f"{PERSON}@b.example"}],
                "phones": [{"number": PERSON}],
                "addresses": [{"city": PERSON, "country": "CH", "latitude": "47.5"}],
                "issues": [{"field": "x", "value": PERSON, "reason": PERSON}],
            }
        )
    )
    twin = await made(CreateContact(given=PERSON, nickname=PERSON, tags=["b"]))
    acme = await made(CreateOrganisation(name="Acme", about=PERSON, phones=[{"number": PERSON}], custom=custom, registrations=[]))
    beta = await made(CreateOrganisation(name="Beta", domains=["b.example"], annual_revenue={"amount": 1, "currency": "CHF"}))
    ends = {"source_type": "contact", "source": anna, "target_type": "organisation", "target": acme}
    relation = await made(RelateParties(kind="works_at", label=PERSON, remark=PERSON, **ends))
    note = await made(WriteNote(about_type="contact", about=anna, text=PERSON))
    for command in (
        AmendContact(id=anna, nickname=PERSON),
        CorrectContact(id=anna, field="family", value=PERSON, reason=PERSON),
        SetContactFields(id=twin, values=custom),
        TagContact(id=anna, tags=["vip", PERSON + "2"]),
        UntagContact(id=anna, tags=[PERSON + "2"]),
        AssignContact(id=anna, owner=None),
        MergeContact(id=anna, other=twin, reason=PERSON),
        UnmergeContact(id=anna, other=twin, reason=PERSON),
        AmendOrganisation(id=acme, about=PERSON + "2", industry="Toys"),
        CorrectOrganisation(id=acme, field="about", value=PERSON, reason=PERSON),
        SetOrganisationFields(id=beta, values=custom),
        PlaceOrganisation(id=acme, parent=beta),
        PlaceOrganisation(id=acme, parent=None),
        TagOrganisation(id=acme, tags=["a", "b"]),
        UntagOrganisation(id=acme, tags=["b"]),
        AssignOrganisation(id=acme, owner=None),
        MergeOrganisation(id=acme, other=beta, reason=PERSON),
        UnmergeOrganisation(id=acme, other=beta, reason=PERSON),
        ArchiveOrganisation(id=acme, reason=PERSON),
        RestoreOrganisation(id=acme),
        AmendRelation(id=relation, label=PERSON + "2"),
        EndRelation(id=relation, reason=PERSON),
        EditNote(id=note, text=PERSON + "2"),
        PinNote(id=note),
        UnpinNote(id=note),
        ArchiveContact(id=anna, reason=PERSON),
        RestoreContact(id=anna),
    ):
        await desk.do(command)
    return desk, anna, twin


async def test_no_personal_value_stands_in_the_public_part_and_nothing_is_lost_by_storing() -> None:
    desk, _, _ = await story()
    recorded = desk.record
    for r in recorded:
        data, sealed = CODECS.of(r.event).encode(r.event, r.stream_id)
        assert PERSON not in orjson.dumps(data).decode()
        assert CODECS.decode(r.name, data, disclose([d.text for d in sealed])) == r.event
    await desk.do(RemoveNote(id=next(r.stream_id for r in recorded if r.stream_type == "note")))
    await desk.do(RemoveRelation(id=next(r.stream_id for r in recorded if r.stream_type == "relation")))
    silent = {"contacts.OwnerAssigned.v1", "organisations.OwnerAssigned.v1"}  # nobody owned anything
    silent |= {"notes.Reinstated.v1", "contacts.Erased.v1"}  # an undo's and an erasure's: they hold nothing but that they happened
    assert {r.name for r in desk.record} | silent == {name for name in EVENTS if name.startswith(OURS)}


async def test_what_was_taken_over_is_sealed_under_the_key_of_whom_it_came_from() -> None:
    desk, _, twin = await story()
    (absorbed,) = [r for r in desk.record if r.name == "contacts.Absorbed.v1"]
    _, sealed = CODECS.of(absorbed.event).encode(absorbed.event, absorbed.stream_id)
    by_subject = {name: d.subject for d in sealed for name in disclose([d.text])}
    assert (by_subject["offered"], by_subject["taken"], by_subject["reason"]) == (twin, twin, absorbed.stream_id)


async def test_rows_of_the_erased_still_fold_and_say_nothing() -> None:
    desk, anna, _ = await story()
    erased = []
    for r in desk.record:
        if r.name.startswith(OURS):
            data, _ = CODECS.of(r.event).encode(r.event, r.stream_id)
            r = replace(r, event=CODECS.decode(r.name, data, {}))
        erased.append(r)
    desk.record = erased
    rows = [row for view in VIEWS for row in desk.rows(view).values()]
    assert rows
    assert PERSON not in repr(rows)
    assert desk.rows(CONTACTS)[anna].name is None


async def test_a_second_contact_stays_untouched_and_a_rebuilt_view_is_the_same() -> None:
    desk, anna, twin = await story()
    rows = desk.rows(CONTACTS)
    assert (rows[twin].tags, rows[twin].status) == (("b",), "active")
    assert (rows[anna].status, rows[anna].parting.other) == ("active", twin)
    assert desk.rows(CONTACTS) == rows
