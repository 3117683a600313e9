"""The sequencer against PostgreSQL: every event once and in order, whoever else runs, and nothing signed over another history."""

import random
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import orjson
import psycopg
import pytest

from commands.log import RotateLogKey
from infra.database import Database
from infra.proofs.acting import execute
from infra.proofs.checkpoints import opened
from infra.proofs.notes import Note
from infra.proofs.signing import KEYS, SIGNED, Signed, SigningKeys
from infra.proofs.store import LogStore
from infra.proofs.tree import verify_consistency
from infra.proofs.witness import AddCheckpoint
from infra.record.vault import KeysUnusable, Vault
from tests.infra.proofs.sequencing import Bench, wait_for
from tests.infra.writing import scalar


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(database, tmp_path / "keys")
    yield made
    made.sweep()


@pytest.mark.invariant("LG10")
def test_each_event_is_one_leaf_in_the_firms_order(bench: Bench) -> None:
    other = uuid4()
    for count in (1, 255, 1, 300, 700):
        bench.write(count)
        bench.write(3, other)
        bench.catch_up()
    assert bench.check() == 1257
    assert bench.check(other) == 15
    assert bench.catch_up() == 0
    head = scalar(bench.database, "SELECT position FROM record.head")
    assert scalar(bench.database, "SELECT position FROM chancery.projections WHERE name = 'log'") == head


@pytest.mark.invariant("LG11")
def test_four_sequencers_at_once_make_one_log(bench: Bench) -> None:
    other = uuid4()
    with bench.running(4, batch=100, gather=0.0):
        writers = [threading.Thread(target=bench.write, args=(300, f)) for f in (bench.firm, other) for _ in range(3)]
        for w in writers:
            w.start()
        for w in writers:
            w.join()
        for firm in (bench.firm, other):
            wait_for(bench.database, firm, 900)
    assert bench.check() == bench.check(other) == 900
    assert bench.stopped() is None


@pytest.mark.invariant("LG12")
def test_checkpoints_of_every_moment_are_consistent(bench: Bench) -> None:
    seen = []
    for count in (3, 60, 255, 256, 900):
        bench.write(count)
        bench.catch_up()
        seen.append(bench.checkpoint())
    with bench.database.connect("record") as c:
        store = LogStore(c, bench.firm)
        log = store.log()
        for old in seen:
            for new in seen:
                if old.size <= new.size:
                    verify_consistency(old.size, new.size, store.consistency(log, old.size, new.size), old.root, new.root)
            body = AddCheckpoint(old.size, store.consistency(log, old.size, log.checkpoint.size), str(log.note))
            assert body.verify(old, bench.policy().accept) == seen[-1]
            assert store.root(log, old.size) == old.root


def test_a_checkpoint_is_a_note_that_others_read(bench: Bench) -> None:
    bench.write(5)
    bench.catch_up()
    note = Note.parse(bench.note())
    assert note.text.split("\n")[:2] == [f"chancery/firms/{bench.firm}", "5"]
    assert len(note.signatures) == 1
    assert opened(bench.note(), bench.policy().logs).size == 5


# --- faults


@pytest.mark.invariant("LG11", "LG12")
def test_a_sequencer_that_is_killed_leaves_a_whole_log(bench: Bench) -> None:
    seen = []
    writers = [threading.Thread(target=bench.write, args=(250,)) for _ in range(8)]
    for w in writers:
        w.start()
    draw = random.Random(5)
    for _ in range(6):
        with bench.a_process() as process:
            threading.Event().wait(1.2 + draw.random() * 0.4)
            process.kill()
            process.wait()
        if scalar(bench.database, "SELECT note FROM chancery.logs WHERE firm_id = %s", bench.firm):
            seen.append(bench.checkpoint())
            assert bench.signed.all()[seen[-1].origin][0] >= seen[-1].size
    for w in writers:
        w.join()
    bench.catch_up()
    assert bench.check() == 2_000
    with bench.database.connect("record") as c:
        store = LogStore(c, bench.firm)
        log = store.log()
        for old in seen:
            verify_consistency(old.size, 2_000, store.consistency(log, old.size, 2_000), old.root, bench.checkpoint().root)
    assert bench.stopped() is None


@pytest.mark.invariant("LG10", "LG11")
def test_thirty_two_writers_and_two_sequencers_make_one_log(bench: Bench) -> None:
    with bench.running(2, gather=0.01):
        writers = [threading.Thread(target=bench.write, args=(50,)) for _ in range(32)]
        for w in writers:
            w.start()
        for w in writers:
            w.join()
        wait_for(bench.database, bench.firm, 1_600)
    assert bench.check() == 1_600


@pytest.mark.invariant("LG12")
def test_a_store_that_was_restored_from_before_is_refused(bench: Bench) -> None:
    bench.write(100)
    bench.catch_up()
    restored = {t: _copied(bench, t) for t in ("record.events", "record.firm_heads", "chancery.logs", "chancery.log_tiles")}
    bench.write(50)
    bench.catch_up()
    for table, copy in restored.items():
        bench.run(f"DELETE FROM {table}")
        bench.run(f"INSERT INTO {table} SELECT * FROM {copy}")
        bench.run(f"DROP TABLE {copy}")
    bench.run("UPDATE record.head SET position = 100")
    bench.run("DELETE FROM record.streams")
    assert bench.catch_up() == 0
    assert "restore the newer store" in str(bench.stopped()).lower()
    bench.write(80)  # the history goes on otherwise: longer than what was signed, and another
    assert bench.catch_up() == 0
    assert "another history was signed at size 150" in str(bench.stopped())
    assert bench.checkpoint().size == 100


def _copied(bench: Bench, table: str) -> str:
    name = "kept_" + table.replace(".", "_")
    bench.run(f"CREATE TABLE {name} AS SELECT * FROM {table}")
    return name


@pytest.mark.invariant("LG12")
def test_what_a_crash_took_is_made_again_the_same(bench: Bench) -> None:
    """Signed and written down, but not committed: the next sequencer must come to the same."""
    bench.write(300)
    bench.catch_up()
    done = bench.checkpoint()
    for table in ("chancery.logs", "chancery.log_tiles", "chancery.log_keys", "chancery.log_checkpoints"):
        bench.run(f"DELETE FROM {table}")
    bench.write(10)
    assert bench.catch_up() == 310
    assert bench.check() == 310
    with bench.database.connect("record") as c:
        assert LogStore(c, bench.firm).root(LogStore(c, bench.firm).log(), 300) == done.root


@pytest.mark.invariant("LG10", "LG12")
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE record.events SET public = 'x' WHERE firm_position = 150", "last events are not those"),
        ("DELETE FROM record.events WHERE firm_position = 199", "last events are not those"),
        ("UPDATE record.events SET firm_position = 349 - firm_position WHERE firm_position IN (150, 199)", "last events are not those"),
        ("DELETE FROM chancery.log_tiles WHERE level = 0", "tiles at its end are missing"),
        ("UPDATE chancery.log_tiles SET hashes = substring(hashes FOR 3200)", "tiles at its end are missing"),
        ("UPDATE chancery.log_tiles SET hashes = set_byte(hashes, 5, get_byte(hashes, 5) # 1)", "do not lead to its checkpoint"),
        ("UPDATE chancery.logs SET note = replace(note, 'firms', 'farms')", "no key is trusted"),
        ("UPDATE chancery.logs SET size = 100", "tiles at its end"),
        ("UPDATE record.firm_heads SET firm_position = 100", "are signed"),
        ("UPDATE chancery.logs SET vkey = 'x'", "restore that file"),
        ("DELETE FROM record.events WHERE firm_position = 200", "event 200 of the firm is missing"),
    ],
)  # fmt: skip
def test_a_log_whose_store_was_altered_stops_and_no_other_does(bench: Bench, change: str, why: str) -> None:
    other = uuid4()
    bench.write(200)
    bench.catch_up()
    bench.write(5)
    bench.write(5, other)
    bench.run(f"{change} {'AND' if 'WHERE' in change else 'WHERE'} firm_id = '{bench.firm}'")
    assert bench.catch_up() == 5
    assert why in str(bench.stopped())
    assert bench.check(other) == 5
    shown = scalar(bench.database, "SELECT error FROM chancery.projections WHERE name = 'log'")
    assert str(bench.firm) in shown
    assert bench.catch_up() == 0


def test_a_log_that_was_mended_goes_on(bench: Bench) -> None:
    bench.write(100)
    bench.catch_up()
    bench.write(5)
    bench.run("UPDATE record.events SET firm_position = -1 WHERE firm_position = 100")
    assert bench.catch_up() == 0
    assert bench.stopped()
    bench.run("UPDATE record.events SET firm_position = 100 WHERE firm_position = -1")
    assert bench.catch_up() == 5
    assert bench.stopped() is None
    assert bench.check() == 105
    assert scalar(bench.database, "SELECT error FROM chancery.projections WHERE name = 'log'") is None


@pytest.mark.invariant("LG3")
def test_the_database_itself_lets_a_tile_only_grow(bench: Bench) -> None:
    bench.write(10)
    bench.catch_up()
    with bench.database.connect("record") as c:
        for change in ("set_byte(hashes, 0, get_byte(hashes, 0) # 1)", "substring(hashes FOR 288)"):
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
                c.execute(f"UPDATE chancery.log_tiles SET hashes = {change}".encode())
        c.execute("UPDATE chancery.log_tiles SET hashes = hashes || substring(hashes FOR 32)")


@pytest.mark.invariant("LG12")
def test_all_tiles_are_made_anew_only_if_they_lead_to_what_was_signed(bench: Bench) -> None:
    bench.write(700)
    bench.catch_up()
    sequencer = bench.sequencer()
    before = sequencer.digest()
    told: list[tuple[int, int]] = []
    sequencer.rebuild(progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (700, 700)
    assert sequencer.digest() == before
    bench.run("DELETE FROM chancery.log_tiles WHERE level = 1")
    assert sequencer.digest() != before
    bench.sequencer().rebuild()
    assert sequencer.digest() == before
    bench.run("UPDATE record.events SET public = 'other' WHERE firm_position = 3")
    with pytest.raises(Exception, match="does not make the tree that was signed"):
        bench.sequencer().rebuild()
    assert sequencer.digest() == before


# --- keys


@pytest.mark.invariant("LG7")
def test_each_log_has_a_key_of_its_own_that_only_the_owner_can_read(bench: Bench) -> None:
    bench.write(1)
    bench.catch_up()
    path = bench.folder / KEYS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keys = {str(s.verifier).rsplit("+", 1)[1] for s in (bench.keys.newest("a"), bench.keys.newest("b"), bench.keys.newest("c"))}
    assert len(keys) == 3
    assert SigningKeys(bench.folder).newest("a") == bench.keys.newest("a")
    assert repr(bench.keys.newest("a")) == "Signer('a')"


def test_signing_keys_that_can_not_be_used_are_named(tmp_path: Path) -> None:
    given = tmp_path / "given"
    with pytest.raises(KeysUnusable, match="can't be read"):
        SigningKeys(tmp_path, given)
    given.write_text("# nothing\n")
    with pytest.raises(KeysUnusable, match="no signing secret"):
        SigningKeys(tmp_path, given)
    given.write_text("c2hvcnQ=\n")
    with pytest.raises(KeysUnusable, match="Line 1"):
        SigningKeys(tmp_path, given)
    own = SigningKeys(tmp_path)
    given.write_bytes((tmp_path / KEYS).read_bytes())
    theirs = SigningKeys(tmp_path, given)
    assert theirs.newest("a") == own.newest("a")
    with pytest.raises(KeysUnusable, match="not ours to change"):
        theirs.add()


@pytest.mark.invariant("LG8")
def test_what_was_signed_is_read_back_whatever_a_crash_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signed = Signed(tmp_path)
    assert signed.all() == {}
    signed.remember([("a", 1, b"1" * 32), ("b", 5, b"2" * 32)])
    signed.remember([("a", 2, b"3" * 32)])
    whole = (tmp_path / SIGNED).read_bytes()
    for cut in range(len(whole)):
        (tmp_path / SIGNED).write_bytes(whole[:cut])
        assert Signed(tmp_path).last("a") in {None, (1, b"1" * 32)}
        Signed(tmp_path).remember([("a", 3, b"4" * 32)])
        assert Signed(tmp_path).last("a") == (3, b"4" * 32)
    monkeypatch.setattr("infra.proofs.signing.ROTATE_BYTES", 2_000)
    signed = Signed(tmp_path)
    for n in range(4, 400):
        signed.remember([("a", n, b"5" * 32)])
    assert signed.last("a") == (399, b"5" * 32)
    assert (tmp_path / SIGNED).stat().st_size < 4_200


def rotate(bench: Bench, reason: str) -> tuple[str, str]:
    origin = f"chancery/firms/{bench.firm}"
    old = str(bench.keys.newest(origin).verifier)
    bench.keys.add()
    new = str(bench.keys.newest(origin).verifier)
    command = RotateLogKey(old_vkey=old, new_vkey=new, reason=reason)
    execute(bench.database, Vault(bench.folder), command, bench.firm)
    return old, new


def test_a_new_key_signs_from_the_event_on_that_names_it(bench: Bench) -> None:
    bench.write(20)
    bench.catch_up()
    before = bench.note()
    old, new = rotate(bench, "scheduled")
    bench.catch_up()
    handover = bench.note()
    first, second = bench.keys.signers(f"chancery/firms/{bench.firm}")
    assert (str(first.verifier), str(second.verifier)) == (old, new)
    assert [s.key_id for s in Note.parse(handover).signatures] == [second.verifier.key_id, first.verifier.key_id]
    for key in (first, second):
        assert opened(handover, [key.verifier]).size == 21
    bench.write(5)
    bench.catch_up()
    assert opened(bench.note(), [second.verifier]).size == 26
    assert len(Note.parse(bench.note()).signatures) == 1
    assert opened(before, [first.verifier]).size == 20
    with bench.database.connect("record") as c:
        leaf = LogStore(c, bench.firm).entries(20, 21)[0]
        kept = c.execute(
            "SELECT vkey, from_size, note FROM chancery.log_keys WHERE firm_id = %s ORDER BY 2", (bench.firm,)
        ).fetchall()
    assert orjson.loads(leaf)["data"] == {"old_vkey": old, "new_vkey": new, "reason": "scheduled"}
    assert [(v, n) for v, n, _ in kept] == [(old, 20), (new, 21)]
    assert kept[1][2].encode() == handover
    assert bench.catch_up() == 0


def test_a_key_that_was_compromised_signs_nothing_more(bench: Bench) -> None:
    bench.write(20)
    bench.catch_up()
    rotate(bench, "compromised")
    bench.catch_up()
    assert [s.key_id for s in Note.parse(bench.note()).signatures] == [
        bench.keys.newest(f"chancery/firms/{bench.firm}").verifier.key_id
    ]


def test_a_rotation_to_a_key_that_is_not_ours_stops_the_log(bench: Bench) -> None:
    bench.write(3)
    bench.catch_up()
    origin = f"chancery/firms/{bench.firm}"
    stranger = SigningKeys(bench.folder / "elsewhere").newest(origin)
    command = RotateLogKey(old_vkey=str(bench.keys.newest(origin).verifier), new_vkey=str(stranger.verifier))
    execute(bench.database, Vault(bench.folder), command, bench.firm)
    assert bench.catch_up() == 0
    assert "is not in signing.keys" in str(bench.stopped())
    assert bench.checkpoint().size == 3


def test_a_lost_file_of_keys_stops_signing_and_makes_no_other(bench: Bench) -> None:
    bench.write(3)
    bench.catch_up()
    kept = (bench.folder / KEYS).read_bytes()
    (bench.folder / KEYS).unlink()
    bench.write(3)
    assert bench.catch_up() == 0
    assert "restore that file" in str(bench.stopped())
    (bench.folder / KEYS).write_bytes(kept)
    assert bench.catch_up() == 3
    assert bench.check() == 6
