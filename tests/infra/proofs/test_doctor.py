"""What a DBA does to the record is found and named; what is rebuilt and signed anew is found with any older checkpoint."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.database import Database
from infra.proofs.doctor import Trust, examine, first_finding
from infra.proofs.signing import Signed
from infra.proofs.store import LogStore
from tests.infra.proofs.sequencing import Bench


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(database, tmp_path / "keys")
    yield made
    made.sweep()


def findings(bench: Bench, *, old: tuple[bytes, ...] = (), since: int = 0, trust: bool = True) -> list[str]:
    with bench.database.connect("record") as c:
        log = LogStore(c, bench.firm).log()
        held = Trust(bench.keys, bench.signed, old) if trust else Trust()
        return list(examine(c, log, held, since=since))


@pytest.mark.invariant("LG15")
def test_a_record_that_nobody_touched_has_no_findings(bench: Bench) -> None:
    bench.write(3)
    bench.catch_up()
    old = bench.note()
    bench.write(600)
    bench.catch_up()
    bench.write(20)  # not yet in the log
    told: list[tuple[int, int]] = []
    with bench.database.connect("record") as c:
        log = LogStore(c, bench.firm).log()
        assert list(examine(c, log, Trust(bench.keys, bench.signed, (old,)), told=lambda *at: told.append(at))) == []
        assert first_finding(c, Trust(bench.keys, bench.signed)) is None
        assert first_finding(c, Trust()) is None
    assert told == [(603, 603)]
    assert findings(bench, since=500) == []


@pytest.mark.invariant("LG15")
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("UPDATE record.events SET public = 'edited' WHERE firm_position = 100", ["event 100 (position 101, tests.Written.v1) is not what"]),
        ("DELETE FROM record.events WHERE firm_position = 100", ["event 100 is gone"]),
        (
            "UPDATE record.events e SET public = o.public FROM record.events o WHERE e.firm_position + o.firm_position = 220"
            " AND e.firm_position IN (100, 120)",
            ["event 100 (position 101, tests.Written.v1) is not what was signed; it is event 120 that", "it is event 100 that stands"],
        ),
        (
            "UPDATE record.events SET firm_position = 220 - firm_position WHERE firm_position IN (100, 120)",
            ["event 100 (position 121, tests.Written.v1) is not what was signed; it is event 120", "event 120 (position 101"],
        ),
        ("UPDATE record.events SET firm_position = 101 WHERE firm_position = 100", ["event 101", "event 100 is gone"]),
        ("UPDATE record.events SET public = 'x'", ["event 0 ", "event 19 ", "and more"]),
        ("DELETE FROM chancery.log_tiles WHERE level = 0 AND place = 1", ["event 256 ", "and more"]),
        ("DELETE FROM chancery.log_tiles WHERE level = 1", ["tile 0/0 is not what the tile above"]),
        (
            "UPDATE chancery.log_tiles SET hashes = set_byte(hashes, 35, get_byte(hashes, 35) # 4) WHERE level = 1",
            ["tile 0/1 is not what the tile above it was made of"],
        ),
        ("UPDATE chancery.logs SET note = replace(note, E'\\n', E'\\n1')", ["its checkpoint does not hold"]),
        ("UPDATE chancery.logs SET note = NULL", ["it has leaves and no checkpoint"]),
        ("UPDATE record.firm_heads SET firm_position = 9", ["the record counts 9 events, the log has 700"]),
    ],
)  # fmt: skip
def test_whatever_a_dba_changes_is_named(bench: Bench, change: str, found: list[str]) -> None:
    bench.write(700)
    bench.catch_up()
    bench.run(change)
    told = findings(bench)
    for part in found:
        assert any(part in t for t in told), (part, told)
    with bench.database.connect("record") as c:
        assert first_finding(c, Trust(bench.keys, bench.signed)) is not None


@pytest.mark.invariant("LG15")
def test_a_log_that_was_signed_and_is_gone_is_missed(bench: Bench) -> None:
    bench.write(20)
    bench.catch_up()
    for table in ("logs", "log_tiles", "log_checkpoints", "log_keys"):
        bench.run(f"DELETE FROM chancery.{table}")
    with bench.database.connect("record") as c:
        found = first_finding(c, Trust(bench.keys, bench.signed))
    assert found is not None
    assert f"firm {bench.firm}: the database has no log of it, and one was signed up to 20 events" in found


@pytest.mark.invariant("LG15")
def test_an_event_edited_together_with_its_tile_is_found(bench: Bench) -> None:
    bench.write(700)
    bench.catch_up()
    bench.run("UPDATE record.events SET public = 'edited' WHERE firm_position = 100")
    bench.run(
        "UPDATE chancery.log_tiles SET hashes = overlay(hashes PLACING sha256('\\x00'::bytea || 'edited'::bytea) FROM 3201 FOR 32)"
        " WHERE level = 0 AND place = 0"
    )
    assert any("tile 0/0 is not what the tile above it was made of" in f for f in findings(bench))
    assert findings(bench, since=600), "the tree is whole or it is not, from wherever the events are hashed"


@pytest.mark.invariant("LG15", "LG12")
def test_a_history_that_was_rebuilt_and_signed_anew_is_found_by_any_older_checkpoint(bench: Bench) -> None:
    bench.write(10)
    bench.catch_up()
    kept = bench.note()
    bench.write(500)
    bench.catch_up()
    bench.run("UPDATE record.events SET public = 'edited' WHERE firm_position = 5")
    for table in ("logs", "log_tiles", "log_checkpoints", "log_keys"):
        bench.run(f"DELETE FROM chancery.{table}")
    # A DBA who has the signing keys too, and removes what stands beside them.
    (bench.folder / "signed.log").unlink()
    assert bench.catch_up() == 510
    assert bench.check() == 510
    bench.signed = Signed(bench.folder)
    assert findings(bench) == []
    assert any("another history: at size 10" in f for f in findings(bench, old=(kept,)))


@pytest.mark.invariant("LG15")
def test_without_the_file_beside_the_keys_removed_the_rewriter_can_not_even_sign(bench: Bench) -> None:
    bench.write(50)
    bench.catch_up()
    bench.run("UPDATE record.events SET public = 'edited' WHERE firm_position = 5")
    for table in ("logs", "log_tiles", "log_checkpoints", "log_keys"):
        bench.run(f"DELETE FROM chancery.{table}")
    assert bench.catch_up() == 0
    assert "another history was signed at size 50" in str(bench.stopped())
    assert any("its log has stopped" in f for f in findings(bench))


def test_an_older_checkpoint_that_was_set_back_or_is_not_ours_is_named(bench: Bench) -> None:
    bench.write(20)
    bench.catch_up()
    later = bench.note()
    strange = b"someone.example\n5\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\xe2\x80\x94 someone.example AAAAAAA=\n"
    assert any("does not hold, or another key signs now" in f for f in findings(bench, old=(strange,)))
    bench.run("DELETE FROM record.events WHERE firm_position >= 12")
    bench.run("UPDATE record.firm_heads SET firm_position = 12")
    for table in ("logs", "log_tiles", "log_checkpoints", "log_keys"):
        bench.run(f"DELETE FROM chancery.{table}")
    (bench.folder / "signed.log").unlink()
    assert bench.catch_up() == 12
    bench.signed = Signed(bench.folder)
    assert any("of size 20; the log has been set back to 12" in f for f in findings(bench, old=(later,)))
