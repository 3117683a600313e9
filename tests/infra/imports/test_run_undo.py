"""Imports taken back: what nobody touched goes, what somebody changed stays and is named, and the file can come again."""

from pathlib import Path
from uuid import UUID

import pytest

from commands.contacts import AmendContact
from commands.deals import OpenDeal
from domain.contacts import CONTACT
from domain.imports import IMPORT, ImportIsUndone
from domain.kernel import NotFound
from tests.infra.imports.importing import Firm
from tests.shared import shared

PEOPLE = (
    "id,first name,last name,email,company,notes\n1,Ann,Lee,ann@example.com,Acme,Met in May\n"
    "2,Bob,Ray,bob@example.com,Acme,\n3,Cy,Poe,cy@example.com,Beta,\n"
)


def people(folder: Path) -> Path:
    table = folder / "people.csv"
    table.write_text(PEOPLE)
    return table


def standing(firm: Firm, view: str) -> int:
    return firm.one(f"SELECT count(*) FROM views.{view} WHERE firm_id = %s AND NOT archived", firm.id)


VIEWS = ("contacts", "organisations", "relations", "notes", "imports")


@pytest.mark.invariant("IMP4")
def test_an_undone_import_leaves_nothing_standing_and_can_come_again(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    table = people(tmp_path)
    first = other.carry(table, "contacts")
    preview = other.undo(first.import_id, preview=True)
    assert dict(preview.taken_back) == {"contact": 3, "organisation": 2, "relation": 3, "note": 1}
    assert not preview.done
    before = other.head
    done = other.undo(first.import_id)
    assert done.done
    assert done.taken_back == preview.taken_back
    assert not done.kept
    assert other.head == before + 9 + 2
    other.see(*VIEWS)
    assert (standing(other, "contacts"), standing(other, "organisations")) == (0, 0)
    assert other.one("SELECT count(*) FROM views.relations WHERE firm_id = %s", other.id) == 0
    row = other.all("SELECT status, taken_back, kept FROM views.imports WHERE id = %s", first.import_id)
    assert row == [("undone", 9, 0)]
    with pytest.raises(ImportIsUndone):
        other.undo(first.import_id)
    again = other.carry(table, "contacts")
    assert (again.created, again.changed, again.rejected) == (0, 3, 0)
    assert again.import_id != first.import_id
    other.see(*VIEWS)
    assert (standing(other, "contacts"), standing(other, "organisations")) == (3, 2)
    assert other.one("SELECT count(*) FROM views.relations WHERE firm_id = %s", other.id) == 3
    assert other.one("SELECT count(*) FROM views.notes WHERE firm_id = %s", other.id) == 1
    assert other.carry(table, "contacts").unchanged == 3


def test_what_somebody_changed_since_is_kept_and_named_with_the_event(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    first = other.carry(people(tmp_path), "contacts")
    (ann,) = other.all(
        "SELECT stream_id FROM chancery.import_rows WHERE firm_id = %s AND import_id = %s AND number = 1", other.id, first.import_id
    )[0]
    other.do(AmendContact(id=ann, job_title="Partner"))
    done = other.undo(first.import_id)
    assert done.taken_back["contact"] == 2
    (kept,) = done.kept
    assert (kept.stream_type, kept.stream_id, kept.event, kept.by) == ("contact", ann, "contacts.Amended.v1", "member/an owner")
    other.see("contacts", "imports")
    assert other.all("SELECT given, job_title FROM views.contacts WHERE firm_id = %s AND NOT archived", other.id) == [
        ("Ann", "Partner")
    ]
    assert other.all("SELECT kept_for FROM chancery.import_rows WHERE firm_id = %s AND kept_for IS NOT NULL", other.id) == [
        ("it was changed since: contacts.Amended.v1",)
    ]


def test_what_was_there_before_is_put_back(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    table = people(tmp_path)
    other.carry(table, "contacts")
    table.write_text(PEOPLE.replace("Lee", "Li") + "4,Di,Fox,di@example.com,,\n")
    second = other.carry(table, "contacts")
    assert (second.created, second.changed) == (1, 1)
    done = other.undo(second.import_id)
    assert dict(done.taken_back) == {"contact": 1}
    assert (dict(done.put_back), done.kept) == ({"contact": 1}, [])


def test_deals_go_with_their_tasks_and_a_pipeline_somebody_uses_stays(firm: Firm) -> None:
    other = firm.another()
    path = shared("data/ocel-logs/ocel20_example.jsonocel")
    first = other.carry(path, "deals")
    other.see("deals", "pipelines")
    pipeline: UUID = other.one("SELECT id FROM views.pipelines WHERE firm_id = %s", other.id)
    other.do(OpenDeal(title="Ours", pipeline=pipeline))
    other.see("deals")
    done = other.undo(first.import_id)
    assert done.taken_back["deal"] == 3
    assert [(k.stream_type, k.why) for k in done.kept] == [("pipeline", "deals stand in it")]
    again = other.carry(path, "deals")
    assert (again.created, again.changed) == (0, 3)
    other.see("deals")
    assert standing(other, "deals") == 4


def test_an_import_of_another_firm_is_not_there(firm: Firm, tmp_path: Path) -> None:
    mine, theirs = firm.another(), firm.another()
    report = mine.carry(people(tmp_path), "contacts")
    with pytest.raises(NotFound):
        theirs.undo(report.import_id)
    assert mine.state(IMPORT, report.import_id).status == "finished"


def test_what_the_import_amended_is_put_back_unless_it_was_changed_since(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    head = "id,first name,last name,title,nickname\n"
    table = tmp_path / "people.csv"
    table.write_text(f"{head}1,Ann,Lee,Clerk,Annie\n2,Bob,Ray,Clerk,Bobby\n3,Cy,Poe,Clerk,\n")
    other.carry(table, "contacts")
    ann, bob, cy = (
        i
        for (i,) in other.all(
            "SELECT stream_id FROM record.events WHERE firm_id = %s AND type = 'contacts.Created.v1' ORDER BY position", other.id
        )
    )
    table.write_text(
        f"{head}1,Ann,Lee,Partner,Annie\n2,Bob,Ray,Partner,Rob\n3,Cy,Poe,Clerk,\n4,Di,May,Clerk,\n1,Ann,Lee,Chair,Annie\n"
    )
    second = other.carry(table, "contacts")
    other.do(AmendContact(id=bob, job_title="Director"))
    preview = other.undo(second.import_id, preview=True)
    assert dict(preview.taken_back) == {"contact": 1}
    done = other.undo(second.import_id)
    assert (dict(done.taken_back), dict(done.put_back), dict(done.kept_counts)) == ({"contact": 1}, {"contact": 2}, {"contact": 1})
    (kept,) = done.kept
    assert (kept.stream_id, kept.why, kept.event, kept.by) == (
        bob,
        "it was changed since",
        "contacts.Amended.v1",
        "member/an owner",
    )
    titles = {i: other.state(CONTACT, i).profile.job_title for i in (ann, bob, cy)}
    assert titles == {ann: "Clerk", bob: "Director", cy: "Clerk"}
    assert other.state(CONTACT, bob).profile.nickname == "Rob"  # all that a row did, or none of it
    again = other.carry(table, "contacts")
    assert again.rejected == 0
    assert other.state(CONTACT, ann).profile.job_title == "Chair"
