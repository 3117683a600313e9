"""A new wrapping key while everything serves: what was deleted before is unreadable in every copy, and nothing else is lost."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from infra.database import Database
from infra.erasure.rotation import RotationRefused, RotationStopped, rotate
from infra.record.vault import KeysUnusable, NewKey, Vault, epoch_file
from tests.house import House, post
from tests.infra.erasure.test_erasure import a_person, erased
from tests.processes import PATIENCE

FIRM = UUID(int=77)
ROTATE = """
import sys
from pathlib import Path
from infra.database import Database
from infra.erasure import rotation
from infra.record.vault import Vault
rotation.BATCH = 5
rotation.rotate(Database(sys.argv[1]), Vault(Path(sys.argv[2])), grace=float(sys.argv[3]), progress=lambda n, of: print(n, flush=True))
"""


def stored(database: Database, key: NewKey) -> None:
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute(
            "INSERT INTO vault.data_keys (firm_id, key_id, subject_id, purpose, epoch, wrapped) VALUES (%s, %s, %s, %s, %s, %s)",
            (key.firm, key.key_id, key.subject, key.purpose, key.epoch, key.wrapped),
        )


def many(database: Database, vault: Vault, count: int) -> list[tuple[NewKey, bytes]]:
    made = []
    for _ in range(count):
        key, row = vault.create(FIRM, uuid4(), "relationship")
        stored(database, row)
        made.append((row, key.raw))
    return made


def opened(database: Database, vault: Vault, key_id: UUID) -> bytes:
    with psycopg.connect(database.admin_conninfo()) as c:
        row = c.execute(
            "SELECT firm_id, key_id, subject_id, purpose, epoch, wrapped FROM vault.data_keys WHERE key_id = %s", (key_id,)
        ).fetchone()
    assert row is not None
    return vault.unwrap(*row).raw


@pytest.mark.invariant("RT1")
@pytest.mark.invariant("RT2")
async def test_what_was_deleted_before_a_rotation_opens_nowhere_and_the_rest_goes_on(house: House) -> None:
    contact, _ = await a_person(house, "Remaining")
    gone, _ = await a_person(house, "Rotated")
    uri = house.chancery.database.admin_conninfo()
    with psycopg.connect(uri, autocommit=True) as c:
        old = c.execute(
            "SELECT firm_id, key_id, subject_id, purpose, epoch, wrapped FROM vault.data_keys WHERE subject_id = %s", (gone,)
        ).fetchall()
    await erased(house, gone)
    c_ = house.chancery
    beside = Vault(c_.vault.folder)  # another process, which knows the old epoch only
    stop = threading.Event()
    made: list[str] = []

    async def write() -> None:
        while not stop.is_set():
            made.append((await post(house, "/contacts", {"given": f"Made {len(made)}", "family": "Meanwhile"}))["id"])

    writing = asyncio.ensure_future(write())
    before = c_.vault.epoch
    done = await asyncio.to_thread(rotate, c_.database, Vault(c_.vault.folder), grace=3.0)
    stop.set()
    await writing
    assert (done.epoch, done.destroyed) == (before + 1, (before,))
    assert not (c_.vault.folder / epoch_file(before)).exists()
    assert made
    await house.settle()
    c_.vault.forget_all()
    got = (await house.client.get(f"/v1/contacts/{contact}/history")).text
    assert "Remaininggiven" in got
    amended = await post(house, f"/contacts/{contact}:amend", {"nickname": "Opened again"})
    assert amended["version"]
    with psycopg.connect(uri) as c:
        assert c.execute("SELECT DISTINCT epoch FROM vault.data_keys").fetchall() == [(done.epoch,)]
        (key_id,) = c.execute("SELECT key_id FROM vault.data_keys WHERE subject_id = %s", (contact,)).fetchone() or (None,)
    assert opened(c_.database, beside, key_id), "another process reads the new epoch's file when it meets it"
    assert beside.create(FIRM, uuid4(), "relationship")[1].epoch == done.epoch
    beside.reload()
    for row in old:  # as an old backup, the heap or the write-ahead log would give it
        with pytest.raises(KeysUnusable, match="missing"):
            beside.unwrap(*row)


@pytest.mark.invariant("RT3")
def test_a_rotation_that_was_killed_is_taken_up_again_and_loses_nothing(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    vault = Vault(folder)
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute("ALTER TABLE vault.data_keys DROP CONSTRAINT IF EXISTS data_keys_open_epoch")
        c.execute("DELETE FROM vault.data_keys")
    keys = many(database, vault, 400)
    for after in (1, 3, 5):  # killed after so many batches
        words = [sys.executable, "-c", ROTATE, database.admin_conninfo(), str(folder), "60"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(after):
                assert process.stdout.readline()
            os.kill(process.pid, signal.SIGKILL)
        assert Vault(folder).epochs == (1, 2), "the old key stands until it is not needed"
        for row, raw in keys[::20]:
            assert opened(database, Vault(folder), row.key_id) == raw
    done = None
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            done = rotate(database, Vault(folder), grace=0.1)
            break
        except RotationRefused:  # PostgreSQL has not yet seen that the killed one is gone
            time.sleep(0.1)
    assert done is not None
    assert (done.epoch, done.destroyed) == (2, (1,))
    assert Vault(folder).epochs == (2,)
    assert {opened(database, Vault(folder), row.key_id) for row, _ in keys} == {raw for _, raw in keys}


@pytest.mark.invariant("RT3")
def test_whoever_interrupts_a_rotation_is_told_at_once_how_things_stand_and_runs_it_again(
    database: Database, tmp_path: Path
) -> None:
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute("ALTER TABLE vault.data_keys DROP CONSTRAINT IF EXISTS data_keys_open_epoch")
        c.execute("DELETE FROM vault.data_keys")
    environment = {**os.environ, "CHANCERY_DATABASE_URL": database.admin_conninfo(), "CHANCERY_DATA": str(tmp_path)}
    verb = [sys.executable, "-m", "infra.cli", "key", "rotate-wrapping"]
    made = subprocess.run([*verb, "--grace", "1"], env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert made.returncode == 0, made.stderr
    keys = many(database, Vault(tmp_path / "keys"), 10)
    epoch = Vault(tmp_path / "keys").epoch
    with subprocess.Popen([*verb, "--grace", "600"], env=environment, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + PATIENCE
        with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
            while c.execute("SELECT count(*) FROM vault.data_keys WHERE epoch > %s", (epoch,)).fetchone() != (10,):
                assert time.monotonic() < until, process.poll()
                time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=300)
        # and not after the ten minutes of grace
    assert process.returncode == 1
    assert f"under the new key (epoch {epoch + 1}), and no data key is under the old one any more, which is kept" in said
    assert "Traceback" not in said
    assert Vault(tmp_path / "keys").epochs == (epoch, epoch + 1)
    assert {opened(database, Vault(tmp_path / "keys"), row.key_id) for row, _ in keys} == {raw for _, raw in keys}
    again = subprocess.run([*verb, "--grace", "1"], env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert (again.returncode, f"Destroyed: epoch {epoch}." in again.stdout) == (0, True), again.stderr
    assert {opened(database, Vault(tmp_path / "keys"), row.key_id) for row, _ in keys} == {raw for _, raw in keys}


def test_a_rotation_that_is_stopped_while_it_wraps_says_how_many_keys_are_left(database: Database, tmp_path: Path) -> None:
    vault, stop = Vault(tmp_path / "keys"), threading.Event()
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute("ALTER TABLE vault.data_keys DROP CONSTRAINT IF EXISTS data_keys_open_epoch")
        c.execute("DELETE FROM vault.data_keys")
    many(database, vault, 7)
    stop.set()
    with pytest.raises(RotationStopped, match="7 data keys are still under the old one, which is kept"):
        rotate(database, Vault(tmp_path / "keys"), grace=0.1, stop=stop)
    assert rotate(database, Vault(tmp_path / "keys"), grace=0.1).rewrapped == 7


@pytest.mark.invariant("RT2")
def test_no_key_can_be_stored_under_an_epoch_that_ends(database: Database, tmp_path: Path) -> None:
    vault = Vault(tmp_path / "keys")
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute("ALTER TABLE vault.data_keys DROP CONSTRAINT IF EXISTS data_keys_open_epoch")
        c.execute("DELETE FROM vault.data_keys")
    _, late = vault.create(FIRM, uuid4(), "relationship")
    rotate(database, Vault(tmp_path / "keys"), grace=0.1)
    with pytest.raises(psycopg.errors.CheckViolation):
        stored(database, late)


def test_two_do_not_rotate_at_once(database: Database, tmp_path: Path) -> None:
    from infra.erasure.rotation import LOCK

    with database.connect("record") as c:
        c.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        with pytest.raises(RotationRefused, match="another process"):
            rotate(database, Vault(tmp_path / "keys"))


def test_every_process_forgets_its_keys_when_something_was_destroyed(tmp_path: Path) -> None:
    from infra.erasure.keys import ErasedList

    mine, theirs = Vault(tmp_path), Vault(tmp_path)
    key, row = mine.create(FIRM, uuid4(), "relationship")
    told: list[int] = []
    theirs.when_forgetting(lambda: told.append(1))
    theirs.unwrap(row.firm, row.key_id, row.subject, row.purpose, row.epoch, row.wrapped)
    assert theirs.cipher(FIRM, key.key_id) is not None
    ErasedList(tmp_path).tell()
    until = time.monotonic() + PATIENCE
    while not told:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert told == [1]
    assert theirs.cipher(FIRM, key.key_id) is None
