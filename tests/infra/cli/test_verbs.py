"""The verbs that whoever runs an installation types: firms, keys, views, and what is said when something can't be used."""

import errno
import importlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest

from infra.cli import console
from infra.database import Database
from infra.projector.engine import Projector
from infra.record.vault import Vault
from tests.calling import at_home, call


@pytest.fixture(autouse=True)
def here(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return at_home(monkeypatch, database, tmp_path_factory.getbasetemp() / "verbs")


def answer(*words: object) -> Any:
    done = call(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def see(database: Database, folder: Path) -> None:
    """Bring the views up to date."""
    stop = threading.Event()
    Projector(database, Vault(folder / "keys")).run(stop, progress=lambda _reached: stop.set())


def test_a_key_is_listed_and_ended_without_naming_its_firm(database: Database, here: Path) -> None:
    firm = answer("firm", "create", "Fernsby & Co")["firm_id"]
    key = answer("key", "create", "--firm", firm, "--role", "auditor", "--name", "Audit of the year")
    assert call("key", "revoke", key["key_id"]).exit_code == 0
    see(database, here)
    kept = {k["id"]: (k["firm"], k["status"]) for k in answer("key", "list")}
    assert kept[key["key_id"]] == (firm, "revoked")
    assert len(answer("key", "list", "--firm", firm)) == 2
    told = call("key", "list")
    assert key["key_id"] in told.output
    assert f"Firm {firm}" in told.output


def test_no_key_is_made_for_a_firm_that_there_is_not() -> None:
    done = call("key", "create", "--firm", "01a1fdd2-bf46-7212-80b4-d33b07803117", "--role", "owner")
    assert done.exit_code == 1
    assert "There is no such firm here" in done.output
    assert call("key", "revoke", "01a1fdd2-bf46-7212-80b4-d33b07803117").exit_code == 1


def alone(here: Path, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """The verb in a process of its own, where nothing was loaded before."""
    environment = {**os.environ, **settings}
    command = [sys.executable, "-m", "infra.cli", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_one_view_is_digested_and_rebuilt_by_its_name(database: Database, here: Path) -> None:
    answer("firm", "create", "Veldt Lamps")
    see(database, here)
    before = alone(here, "projection", "digest", "contacts")
    assert (before.returncode, len(before.stdout.strip())) == (0, 64), before.stderr
    rebuilt = alone(here, "projection", "rebuild", "contacts")
    assert "Rebuilt contacts" in rebuilt.stdout, rebuilt.stderr
    assert alone(here, "projection", "digest", "contacts").stdout == before.stdout
    unknown = alone(here, "projection", "digest", "wishes")
    assert (unknown.returncode, "no view 'wishes'" in unknown.stderr) == (1, True)


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        ({"CHANCERY_RATE_BURST": "plenty"}, 2, "CHANCERY_RATE_BURST: It takes a number"),
        ({"CHANCERY_DATABASE_URL": "hunter2 is no address"}, 1, "CHANCERY_DATABASE_URL can't be read"),
        ({"CHANCERY_DATABASE_URL": "postgresql://nobody:hunter2@127.0.0.1:1/x"}, 1, "PostgreSQL does not answer"),
    ],
)
def test_what_is_set_wrongly_is_said_in_a_sentence(here: Path, settings: dict[str, str], code: int, said: str) -> None:
    done = alone(here, "status", **settings)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("key", "list", "--firm", "mine"), "'mine' is not a firm's id"),
        (("projection", "digest"), "Name one view"),
        (("projection", "wait", "soon"), "It takes a whole number"),
        (("projection", "wait", "--", "-5"), "It is at least 0"),
        (("project", "--views", "contacts,wishes"), "There is no view wishes"),
        (("key", "revoke", "that one"), "It takes an id such as"),
        (("key", "create", "--firm", "mine", "--role", "king"), "'king' is not one of"),
        (("serve", "--port", "99999"), "It is at most 65535"),
        (("projection", "rebuild", "contacts", "--all"), "Name one view"),
    ],
)
def test_wrong_usage_exits_2(words: tuple[str, ...], said: str) -> None:
    done = call(*words)
    assert done.exit_code == 2
    assert said in " ".join(done.output.replace("│", " ").split())
    for word in ("Input should", "Value error", "pydantic"):
        assert word not in done.output


def test_a_position_that_is_not_there_is_not_waited_for_in_vain(here: Path) -> None:
    done = call("projection", "wait", "99999999", "--timeout", "0.1")
    assert (done.exit_code, "The record ends at position" in done.output) == (1, True), done.output


def test_what_cant_be_used_is_a_sentence_and_never_a_trace(here: Path) -> None:
    firm = answer("firm", "create", "Thornbury Wills")["firm_id"]
    nameless = call("firm", "create", "")
    assert (nameless.exit_code, nameless.stderr.strip()) == (2, "name: It has at least one character.")
    nowhere = call("log", "tiles", "/proc/nowhere", "--firm", firm)
    assert nowhere.exit_code == 1
    assert "can't be read or written" in nowhere.stderr
    unwritable = call("log", "checkpoint", "--firm", firm, "-o", "/proc/nowhere/note")
    assert (unwritable.exit_code, "can't be written" in unwritable.stderr) == (1, True), unwritable.output
    for words in (("proof",), ("rotate-key", "--reason", "boredom"), ("restart", "--reason", "boredom")):
        assert call("log", words[0], "--firm", firm, *words[1:]).exit_code == 2, words


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (True, "The database went away while this was under way. What was recorded stands."),
        (False, "The database has no room left: no room. Make room"),
    ],
)
def test_a_database_that_goes_away_under_a_verb_is_a_sentence(
    database: Database, monkeypatch: pytest.MonkeyPatch, gone: bool, said: str
) -> None:
    def cut(c: psycopg.Connection[Any], *_: object) -> None:
        if gone:
            with psycopg.connect(database.admin_conninfo()) as other:
                other.execute("SELECT pg_terminate_backend(%s, 60000)", (c.info.backend_pid,))
        c.execute("DO $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'; END $$")

    monkeypatch.setattr(importlib.import_module("infra.cli.main"), "CHECKS", [("it answers", cut)])
    done = call("doctor")
    assert (done.exit_code, said in done.stderr) == (1, True), (done.output, repr(done.exception))
    assert done.exception is None or isinstance(done.exception, SystemExit), "no trace"


def test_a_file_is_written_whole_or_not_at_all_and_a_device_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "there"
    there.write_bytes(b"old")
    console.put(there, b"new")
    assert there.read_bytes() == b"new"
    link = tmp_path / "link"
    link.symlink_to(there)
    console.put(link, b"newer")
    assert (link.is_symlink(), there.read_bytes()) == (True, b"newer")
    console.put(Path("/dev/null"), b"gone")
    assert not Path("/dev/null").is_file()

    def full(self: Path, content: bytes) -> int:
        self.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as told:
        console.put(there, b"half")
    assert told.value.filename == str(there)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "there"]
    assert there.read_bytes() == b"newer"


def test_an_output_that_takes_no_more_is_said_in_a_sentence(here: Path) -> None:
    answer("firm", "create", "Full Disks")
    for words in (("firm", "list"), ("firm", "list", "--json"), ("status",)):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [sys.executable, "-m", "infra.cli", *words],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=300,
                check=False,
            )
        assert (done.returncode, done.stderr) == (1, "The output can't be written: No space left on device.\n")


def test_an_erasure_that_a_hold_forbids_leaves_no_request_behind(database: Database, here: Path) -> None:
    firm = answer("firm", "create", "Held")["firm_id"]
    people = here / "held.csv"
    people.parent.mkdir(parents=True, exist_ok=True)
    people.write_text("Name,Email\nHelga Held,helga@example.com\n")
    answer("import", "contacts", people, "--firm", firm)
    with database.connect("record") as c:
        (contact,) = c.execute(
            "SELECT stream_id FROM record.events WHERE type = 'contacts.Created.v1' AND firm_id = %s", (firm,)
        ).fetchone() or ("",)
        answer("hold", "--firm", firm, "--contact", contact, "--reason", "a court case")
        see(database, here)
        refused = call("erase", "--firm", firm, "--contact", contact, "--approve")
        assert (refused.exit_code, "A legal hold keeps" in refused.output) == (1, True), refused.output
        asked = c.execute(
            "SELECT count(*) FROM record.events WHERE type = 'privacy.Requested.v1' AND firm_id = %s", (firm,)
        ).fetchone()
        assert asked == (0,)


def test_who_interrupts_before_anything_began_sees_no_trace(here: Path) -> None:
    interrupting = (
        "import sys, infra.cli\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'infra.cli.main':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "infra.cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", interrupting], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (130, "Interrupted. Nothing was begun.\n")
