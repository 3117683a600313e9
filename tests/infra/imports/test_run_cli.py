"""The verbs `chancery import …`, as a person or a script calls them."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from commands.firms import CreateFirm
from domain.firms import Region
from tests import calling
from tests.calling import at_home
from tests.infra.imports.importing import Firm

TABLE = "id,first name,last name,email\n1,Ann,Lee,ann@example.com\n,,,\n3,Bob,Ray,not an address\n"


@pytest.fixture(autouse=True)
def here(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    at_home(monkeypatch, firm.database, firm.folder)


def call(*words: object) -> Result:
    return calling.call("import", *words)


def answer(*words: object) -> Any:
    done = call(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def opened(firm: Firm) -> Firm:
    """A firm that there is: it has been created."""
    other = firm.another()
    other.do(CreateFirm(name="Another firm", region=Region.EU))
    return other


def test_a_file_is_looked_at_imported_shown_and_taken_back(firm: Firm, tmp_path: Path) -> None:
    other = opened(firm)
    file = tmp_path / "people.csv"
    file.write_text(TABLE)
    created = other.head
    plan = answer("contacts", file, "--firm", other.id, "--dry-run")
    assert (plan["rows"], plan["guessed"], plan["form"]) == (2, True, "table")
    assert "email" in plan["map"]
    assert other.head == created
    done = answer("contacts", file, "--firm", other.id)
    assert (done["status"], done["created"], done["rejected"]) == ("finished", 2, 0)
    (listed,) = answer("list", "--firm", other.id)
    assert (listed["id"], listed["status"], listed["file"]) == (done["import_id"], "finished", "people.csv")
    report = answer("show", done["import_id"], "--firm", other.id)
    assert [(i["line"], i["value"]) for r in report["rows_shown"] for i in r["issues"]] == [(4, "not an address")]
    assert report["rows_shown"][0]["row"]["first name"] == "Bob"
    assert len(answer("show", done["import_id"], "--firm", other.id, "--all")["rows_shown"]) == 2
    preview = answer("undo", done["import_id"], "--dry-run")
    assert (preview["done"], preview["taken_back"]) == (False, {"contact": 2})
    undone = answer("undo", done["import_id"], "--reason", "a trial")
    assert (undone["done"], undone["taken_back"]) == (True, {"contact": 2})
    assert call("undo", done["import_id"], "--firm", other.id, "--yes").exit_code == 1
    assert call("undo", done["import_id"], "--firm", opened(firm).id).exit_code == 1


def test_an_import_is_found_without_its_firm(firm: Firm, tmp_path: Path) -> None:
    other = opened(firm)
    (tmp_path / "people.csv").write_text(TABLE)
    id = answer("contacts", tmp_path / "people.csv", "--firm", other.id)["import_id"]
    assert {i["id"]: i["firm"] for i in answer("list")}[id] == str(other.id)
    assert answer("show", id)["id"] == id
    assert "No firm of this installation has it" in call("show", "01a1fdd2-bf46-7212-80b4-d33b07803117").output


def test_nothing_is_imported_into_a_firm_that_there_is_not(firm: Firm, tmp_path: Path) -> None:
    nobody = firm.another()
    (tmp_path / "people.csv").write_text(TABLE)
    done = call("contacts", tmp_path / "people.csv", "--firm", nobody.id)
    assert (done.exit_code, nobody.head) == (1, 0)
    assert "There is no such firm here" in done.output


def test_people_read_tables_and_sentences(firm: Firm, tmp_path: Path) -> None:
    other = opened(firm)
    file = tmp_path / "people.csv"
    file.write_text(TABLE)
    looked = call("contacts", file, "--firm", other.id, "--dry-run")
    assert "nothing was written" in looked.output
    done = call("contacts", file, "--firm", other.id)
    assert done.exit_code == 0
    assert "chancery import show" in done.output
    listed = call("list", "--firm", other.id)
    assert "contacts from people.csv, finished: 2 rows, 2 created" in listed.output
    id = listed.output.split()[0]
    shown = call("show", id, "--firm", other.id)
    assert "not an address" in shown.output
    assert "Nothing was changed" in call("undo", id, "--firm", other.id, "--dry-run").output


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("contacts", "nowhere.csv"), 1, "cannot be opened"),
        (("deals", "."), 1, "This is a folder"),
        (("documents", "nowhere"), 1, "no such folder"),
        (("event-log", "nowhere.xes", "--as", "wishes"), 2, "wishes"),
        (("contacts",), 2, "Missing argument"),
        (("contacts", "people.csv", "--source", ""), 2, "It is empty. Give a name, or leave the option out."),
        (("tasks", "work.csv", "--project", " "), 2, "It is empty. Give a name, or leave the option out."),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(firm: Firm, words: tuple[str, ...], code: int, said: str) -> None:
    done = call(*words, "--firm", opened(firm).id)
    assert done.exit_code == code
    assert said in " ".join(done.output.replace("│", " ").split())


def test_a_file_of_which_every_row_is_rejected_fails_in_one_sentence(firm: Firm, tmp_path: Path) -> None:
    other = opened(firm)
    file = tmp_path / "nobody.csv"
    file.write_text("colour,weight\nred,1\nblue,2\n")
    for words in ((), ("--dry-run",)):
        done = call("contacts", file, "--firm", other.id, *words)
        assert done.exit_code == 1, done.output
        assert f"No row {'would be' if words else 'was'} imported: all 2 are rejected, most often because of this: " in done.stderr
    report = call("contacts", file, "--firm", other.id, "--json")
    assert (report.exit_code, json.loads(report.stdout)["rejected"]) == (1, 2)
    file.write_text("colour,name\nred,\nblue,Bo\n")
    assert call("contacts", file, "--firm", other.id).exit_code == 0
    assert call("contacts", file, "--firm", other.id).exit_code == 0, "what is there already was taken in"


def test_a_dry_run_of_consents_says_what_it_did_not_look_at(firm: Firm, tmp_path: Path) -> None:
    other = opened(firm)
    file = tmp_path / "consents.csv"
    file.write_text("email,purpose,channel,status,date\nnobody@example.com,letters,email,given,2026-05-01\n")
    looked = call("consents", file, "--firm", other.id, "--dry-run")
    assert (looked.exit_code, "1 rows would be imported" in looked.output) == (0, True), looked.output
    assert "is looked at when it is imported" in " ".join(looked.output.split())
    assert call("consents", file, "--firm", other.id).exit_code == 1, "there is no such person"


def test_bytes_without_meaning_are_refused_as_a_file_before_a_row_is_counted(firm: Firm, tmp_path: Path) -> None:
    other = opened(firm)
    file = tmp_path / "people.csv"
    file.write_bytes(random.Random(7).randbytes(20_000))
    before = other.head
    for words in (("contacts", file), ("deals", file), ("tasks", file), ("consents", file), ("event-log", file, "--as", "tasks")):
        done = call(*words, "--firm", other.id)
        assert (done.exit_code, other.head) == (1, before), words
        assert "The file is not text: its beginning is full of control characters." in done.output


def test_a_map_that_does_not_fit_is_refused_before_anything_is_written(firm: Firm, tmp_path: Path) -> None:
    other = opened(firm)
    (tmp_path / "people.csv").write_text(TABLE)
    (tmp_path / "map.toml").write_text('kind = "contacts"\n[fields]\nemail = "mail"\n')
    created = other.head
    done = call("contacts", tmp_path / "people.csv", "--firm", other.id, "--map", tmp_path / "map.toml")
    assert done.exit_code == 1
    assert "no column 'mail'" in " ".join(done.output.split())
    assert other.head == created


def test_a_file_of_links_given_as_tasks_becomes_dependencies(firm: Firm, tmp_path: Path) -> None:
    other = opened(firm)
    (tmp_path / "links.csv").write_text("from,to,link\nA,B,blocks\nB,C,blocks\nC,A,blocks\nA,C,relates to\n")
    done = answer("tasks", tmp_path / "links.csv", "--firm", other.id, "--project", "Move")
    assert (done["kind"], done["created"], done["rejected"], done["unchanged"]) == ("dependencies", 2, 1, 1)
    assert any("C → A → B" in what or "A → B → C" in what or "B → C → A" in what for what in done["reasons"])
