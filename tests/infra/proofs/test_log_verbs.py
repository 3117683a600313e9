"""`chancery log …`: what whoever runs the installation does with the logs."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from infra.database import Database
from infra.proofs.encoding import b64
from infra.proofs.notes import Verifier
from infra.proofs.policy import Policy
from infra.proofs.tiles import Address, addresses, node_from
from infra.proofs.tlogproof import TlogProof
from infra.proofs.tree import Node, leaf_hash, root
from tests.calling import at_home, call
from tests.infra.proofs.logs import unbundle


@pytest.fixture(autouse=True)
def here(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return at_home(monkeypatch, database, tmp_path_factory.getbasetemp() / "log-verbs")


def said(*words: object) -> str:
    done = call(*words)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def firm(database: Database, tmp_path_factory: pytest.TempPathFactory) -> str:
    with pytest.MonkeyPatch.context() as m:
        m.setenv("CHANCERY_DATABASE_URL", database.admin_conninfo())
        m.setenv("CHANCERY_DATA", str(tmp_path_factory.getbasetemp() / "log-verbs"))
        firm = json.loads(said("firm", "create", "Logged", "--json"))["firm_id"]
        for _ in range(3):
            said("key", "create", "--firm", firm, "--role", "auditor")
        return str(firm)


def trust(firm: str) -> Policy:
    return Policy.of_keys([Verifier.parse(said("log", "vkey", "--firm", firm).strip())])


def change(database: Database, sql: str) -> None:
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute("SET session_replication_role = replica")
        c.execute(sql.encode())


def test_the_log_is_there_without_a_server_running(firm: str, tmp_path: Path) -> None:
    checkpoint = trust(firm).accept(said("log", "checkpoint", "--firm", firm).encode())
    assert checkpoint.size == 5
    said("log", "proof", "--index", 2, "--firm", firm, "-o", tmp_path / "it.tlog-proof")
    said("log", "tiles", tmp_path / "log", "--firm", firm)
    entries = unbundle((tmp_path / "log" / str(Address(None, 0, 5))).read_bytes())
    proof = TlogProof.parse((tmp_path / "it.tlog-proof").read_bytes())
    assert proof.verify(leaf_hash(entries[2]), trust(firm).accept) == checkpoint
    assert call("log", "proof", "--index", 99, "--firm", firm).exit_code == 1
    assert call("log", "proof", "--firm", firm).exit_code == 2
    assert call("log", "vkey", "--firm", "01a1fdd2-bf46-7212-80b4-d33b07803117").exit_code == 1
    assert json.loads(said("log", "status", "--json"))[0]["lag"] == 0


def node_in(folder: Path, size: int) -> Node:
    tiles = {(a.level, a.place): (folder / str(a)).read_bytes() for a in addresses(size)}
    return node_from(lambda level, place: tiles[level, place])


def test_the_static_log_is_whole_and_grows(firm: str, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    for _ in range(2):
        said("log", "tiles", folder, "--firm", firm)
        checkpoint = trust(firm).accept((folder / "checkpoint").read_bytes())
        paths = {str(a) for a in addresses(checkpoint.size)}
        assert root(checkpoint.size, node_in(folder, checkpoint.size)) == checkpoint.root
        assert paths <= {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
        said("key", "create", "--firm", firm, "--role", "auditor")


def test_a_folder_that_holds_another_log_or_another_history_is_left_as_it_is(firm: str, tmp_path: Path, here: Path) -> None:
    del here
    folder = tmp_path / "log"
    said("log", "tiles", folder, "--firm", firm)

    def stands() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    def refused(words: str) -> None:
        before = stands()
        done = call("log", "tiles", folder, "--firm", firm)
        assert (done.exit_code, words in " ".join(done.stderr.split())) == (1, True), done.output
        assert stands() == before

    note = (folder / "checkpoint").read_text()
    origin, size, root_line, *rest = note.split("\n")
    for altered, words in (
        (["chancery/firms/another", size, root_line], "Name another folder"),
        ([origin, str(int(size) + 5), root_line], "was set back or rewritten"),  # longer than the log, which was set back then
        ([origin, size, b64(bytes(32))], "was set back or rewritten"),
    ):
        (folder / "checkpoint").write_text("\n".join([*altered, *rest]))
        refused(words)
    (folder / "checkpoint").write_text("rubbish")
    refused("is no checkpoint")
    (folder / "checkpoint").write_text(note)
    said("key", "create", "--firm", firm, "--role", "auditor")
    said("log", "tiles", folder, "--firm", firm)


def test_what_was_altered_is_found_by_check_and_doctor(firm: str, database: Database, tmp_path: Path) -> None:
    old = tmp_path / "old"
    said("log", "checkpoint", "--firm", firm, "-o", old)
    assert "good" in said("log", "check", "--firm", firm, "--old", old)
    said("key", "create", "--firm", firm, "--role", "auditor")
    said("log", "vkey", "--firm", firm)
    assert json.loads(said("log", "check", "--since-last", "--json"))["logs"][0]["from"] > 0
    assert call("doctor").exit_code == 0
    change(database, f"UPDATE record.events SET public = public || ' ' WHERE firm_position = 1 AND firm_id = '{firm}'")
    done = call("log", "check", "--firm", firm)
    assert done.exit_code == 1
    assert "event 1 (position" in done.output
    doctor: dict[str, Any] = json.loads(call("doctor", "--json").stdout)
    assert any("event 1 (position" in str(c["found"]) for c in doctor["checks"])
    change(
        database,
        f"UPDATE record.events SET public = substring(public FOR length(public) - 1) WHERE firm_position = 1 AND firm_id = '{firm}'",
    )
    assert call("log", "check", "--old", old).exit_code == 2, "whose checkpoint it is has to be said"
    assert call("log", "check", "--firm", firm, "--old", tmp_path / "nothing").exit_code == 1
    said("log", "check", "--firm", firm)


def test_keys_are_rotated_and_old_checkpoints_stay_good(firm: str, tmp_path: Path, here: Path) -> None:
    before, old = trust(firm), said("log", "checkpoint", "--firm", firm).encode()
    (tmp_path / "old").write_bytes(old)
    said("log", "rotate-key", "--firm", firm)
    after, new = trust(firm), said("log", "checkpoint", "--firm", firm).encode()
    assert before.logs != after.logs
    assert before.accept(old).size < after.accept(new).size
    assert before.accept(new) == after.accept(new), "the first one is signed by both"
    said("log", "check", "--firm", firm, "--old", tmp_path / "old")
    said("doctor")
    secrets = next(here.rglob("signing.keys"))
    secrets.write_text(secrets.read_text().splitlines(keepends=True)[-1])  # the first one is lost
    said("log", "check", "--firm", firm, "--old", tmp_path / "old")
    said("doctor")
    assert call("log", "rotate-key", "--firm", firm, "--reason", "boredom").exit_code == 2


def test_a_log_that_can_not_go_on_is_replaced_by_a_declared_new_one(firm: str, database: Database) -> None:
    old = trust(firm).accept(said("log", "checkpoint", "--firm", firm).encode())
    assert call("log", "restart", "--firm", firm, "--reason", "rewritten").exit_code == 1, "it has not stopped"
    change(database, f"UPDATE record.events SET public = public || ' ' WHERE firm_position = 1 AND firm_id = '{firm}'")
    assert call("log", "status").exit_code == 1 or call("log", "checkpoint", "--firm", firm).exit_code == 0
    assert call("log", "status").exit_code == 1
    said("log", "restart", "--firm", firm, "--reason", "rewritten")
    new = trust(firm).accept(said("log", "checkpoint", "--firm", firm).encode())
    assert new.origin == f"{old.origin}/2"
    assert new.size == old.size + 1
    said("log", "status")
    said("log", "check", "--firm", firm)
    with psycopg.connect(database.admin_conninfo()) as c:
        row = c.execute("SELECT convert_from(public, 'UTF8') FROM record.events WHERE type = 'log.Restarted.v1'").fetchone()
    assert row is not None
    assert json.loads(row[0])["data"]["old_size"] == old.size


def test_timestamps_need_an_authority_and_seals_are_made_on_demand(firm: str) -> None:
    assert call("log", "timestamp", "--firm", firm).exit_code == 1
    assert json.loads(said("log", "seal", "--firm", firm, "--json"))["count"] == 0
