from collections.abc import AsyncIterator
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest

from commands.contacts import CreateContact, MergeContact, SetContactFields
from commands.fields import DefineField
from commands.notes import PinNote, WriteNote
from commands.organisations import CreateOrganisation, MergeOrganisation, PlaceOrganisation
from commands.relations import EndRelation, RelateParties
from domain.kernel import FirmId, NotFound
from infra.database import Database
from infra.projector.tables import Slice, Table
from infra.reading import Readers
from infra.record import wire
from projections.kernel import VIEWS, View
from queries.contacts import FindDuplicates, duplicates
from queries.kernel import Reader
from queries.listing import check_relations
from queries.notes import ReadContactNotes, about_contact
from queries.organisations import ReadTree, tree
from queries.relations import ReadContactRelations, ReadOrganisationRelations, of_contact, of_organisation
from tests.desk import Desk

SEES = frozenset({"contacts:read", "personal:read"})
OURS = ("contacts", "organisations", "relations", "notes", "fields")


def written(database: Database, desk: Desk) -> None:
    """The desk's views, in the database."""
    with database.connect("record") as c:
        wire.register(c)
        c.execute("SELECT set_config('chancery.firm', %s, false)", (str(desk.firm),))
        for name in OURS:
            view: View[Any] = VIEWS[name]
            at: dict[str, Any] = {"version": 1, "created_at": desk.now, "updated_at": desk.now, "position": 1, "known_from": 1}
            rows: dict[tuple[UUID, UUID], Slice[Any]] = {(desk.firm, id): Slice(row, **at) for id, row in desk.rows(view).items()}
            Table(view).save(c, rows, [])
            assert {id: s.row for (_, id), s in Table(view).load(c, list(rows)).items()} == desk.rows(view)


@pytest.fixture
async def readers(database: Database) -> AsyncIterator[Readers]:
    readers = Readers(database, size=2)
    await readers.open()
    yield readers
    await readers.close()


async def made(desk: Desk, command: Any) -> UUID:
    return UUID((await desk.do(command))["id"])


async def ask(readers: Readers, firm: FirmId, query: Any, handler: Any, permissions: frozenset[str] = SEES) -> Any:
    async with readers.reading(firm, permissions) as r:
        reader: Reader = r
        return await handler(query, reader)


async def test_relations_read_from_either_end_those_of_absorbed_contacts_included(database: Database, readers: Readers) -> None:
    desk = Desk()
    anna, twin, eva = [await made(desk, CreateContact(given=n)) for n in ("Anna", "Anna B.", "Eva")]
    acme = await made(desk, CreateOrganisation(name="Acme"))
    at = {"target_type": "organisation", "target": acme}
    await made(desk, RelateParties(kind="works_at", source_type="contact", source=anna, **at))
    ended = await made(
        desk, RelateParties(kind="director_of", source_type="contact", source=twin, valid_from=date(2019, 1, 1), **at)
    )
    await desk.do(EndRelation(id=ended, on=date(2020, 1, 1)))
    await made(desk, RelateParties(kind="parent_of", source_type="contact", source=anna, target_type="contact", target=eva))
    await desk.do(MergeContact(id=anna, other=twin))
    written(database, desk)

    answer = await ask(readers, desk.firm, ReadContactRelations(id=anna), of_contact)
    assert [(i["kind"], i["other_name"]) for i in answer["items"]][-1] == ("director_of", "Acme")
    assert {(i["kind"], i["other_name"]) for i in answer["items"]} == {
        ("works_at", "Acme"),
        ("director_of", "Acme"),
        ("parent_of", "Eva"),
    }
    current = await ask(readers, desk.firm, ReadContactRelations(id=anna, which="current"), of_contact)
    assert {i["kind"] for i in current["items"]} == {"works_at", "parent_of"}
    gone = await ask(readers, desk.firm, ReadContactRelations(id=anna, which="ended", limit=1), of_contact)
    assert ([i["kind"] for i in gone["items"]], gone["more"]) == (["director_of"], False)
    (child,) = (await ask(readers, desk.firm, ReadContactRelations(id=eva), of_contact))["items"]
    assert (child["kind"], child["other"]) == ("child_of", anna)
    staff = await ask(readers, desk.firm, ReadOrganisationRelations(id=acme), of_organisation)
    assert {i["kind"] for i in staff["items"]} == {"employs", "has_director"}
    masked = await ask(readers, desk.firm, ReadOrganisationRelations(id=acme), of_organisation, frozenset({"contacts:read"}))
    assert {(i["kind"], i["other_name"]) for i in masked["items"]} == {(None, None)}
    with pytest.raises(NotFound):
        await ask(readers, FirmId(uuid4()), ReadContactRelations(id=anna), of_contact)


async def test_notes_come_pinned_first_and_follow_merges(database: Database, readers: Readers) -> None:
    desk = Desk()
    anna, twin = [await made(desk, CreateContact(given="Anna")) for _ in range(2)]
    for text, about in (("first", anna), ("second", twin)):
        await made(desk, WriteNote(about_type="contact", about=about, text=text, occurred_at=desk.now))
        desk.pass_time(hours=1)
    pinned = await made(desk, WriteNote(about_type="contact", about=anna, text="pinned", occurred_at="2020-01-01T00:00:00Z"))
    await desk.do(PinNote(id=pinned))
    await desk.do(MergeContact(id=anna, other=twin))
    written(database, desk)
    answer = await ask(readers, desk.firm, ReadContactNotes(id=anna), about_contact)
    assert [i["text"] for i in answer["items"]] == ["pinned", "second", "first"]
    masked = await ask(readers, desk.firm, ReadContactNotes(id=anna, limit=2), about_contact, frozenset({"contacts:read"}))
    assert ([i["text"] for i in masked["items"]], masked["more"]) == ([None, None], True)


async def test_the_likeliest_duplicate_comes_first_and_merged_ones_do_not_come(database: Database, readers: Readers) -> None:
    desk = Desk()
    mail, phone = [{"address": "a@b.example"}], [{"number": "+41446681800"}]
    anna = await made(desk, CreateContact(given="Anna", emails=mail, phones=phone))
    by_name = await made(desk, CreateContact(given="ANNA"))
    by_both = await made(desk, CreateContact(given="A", emails=[{"address": "A@B.example"}], phones=phone))
    gone = await made(desk, CreateContact(given="Anna"))
    await made(desk, CreateContact(given="Eva"))
    await desk.do(MergeContact(id=by_name, other=gone))
    written(database, desk)
    answer = await ask(readers, desk.firm, FindDuplicates(id=anna), duplicates)
    assert [(i["id"], i["same"]) for i in answer["items"]] == [(by_both, ["email", "phone"]), (by_name, ["name"])]


async def test_a_tree_is_read_up_and_down_and_through_merges(database: Database, readers: Readers) -> None:
    desk = Desk()
    root, group, twin, acme, leaf = [
        await made(desk, CreateOrganisation(name=n)) for n in ("Root", "Group", "Twin", "Acme", "Leaf")
    ]
    await desk.do(PlaceOrganisation(id=group, parent=root))
    await desk.do(PlaceOrganisation(id=acme, parent=twin))
    await desk.do(PlaceOrganisation(id=leaf, parent=acme))
    await desk.do(MergeOrganisation(id=group, other=twin))
    written(database, desk)
    answer = await ask(readers, desk.firm, ReadTree(id=acme), tree)
    assert [(o["name"], o["depth"]) for o in answer["above"]] == [("Group", 1), ("Root", 2)]
    assert [(o["name"], o["depth"]) for o in answer["below"]] == [("Leaf", 1)]
    whole = await ask(readers, desk.firm, ReadTree(id=root), tree)
    assert [(o["name"], o["depth"]) for o in whole["below"]] == [("Group", 1), ("Acme", 2), ("Leaf", 3)]


async def test_rows_survive_the_database_whole(database: Database) -> None:
    desk = Desk()
    await made(desk, DefineField(applies_to="contact", key="budget", kind="number", minimum=0))
    long = "ÿ" * 300
    anna = await made(
        desk,
        CreateContact(
            given=long,
            family=long,
            middle=long,
            emails=[{"address": "a@b.example", "label": 'x"\\'}],
            addresses=[{"street": ["1", "2"], "latitude": "1.5"}],
            tags=["a,b", '"c"'],
        ),
    )
    await desk.do(SetContactFields(id=anna, values={"budget": "12.50"}))
    written(database, desk)


def test_the_relations_that_filters_follow_join_what_can_be_equal() -> None:
    check_relations()
