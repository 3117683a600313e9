"""A copy of everything but the keys, and a system made of it again."""

import asyncio
import contextlib
import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import psycopg
import pytest

from infra.backup import BackupRefused, Copied, backup, restore
from infra.bootstrap import opened
from infra.database import Database
from infra.settings import Settings
from tests.house import House, a_house, post
from tests.infra.erasure.test_erasure import a_person, dump, erased, found_in, spellings


@contextlib.asynccontextmanager
async def living(settings: Settings) -> AsyncIterator[House]:
    """A house over the embedded server of this data folder."""
    database = Database.open(settings)
    try:
        from infra.database import migrate

        migrate(database)
        async with a_house(settings, database) as house:
            yield house
    finally:
        database.close()


@pytest.fixture
def tmp_path(folder: Path) -> Path:
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", keys=tmp_path / "keys", rate_per_second=100_000, rate_burst=100_000)


async def copied(house: House, folder: Path, **how: Any) -> Copied:
    c = house.chancery
    return await asyncio.to_thread(backup, c.settings, c.database, c.vault, folder, **how)


async def again(settings: Settings, folder: Path, **how: Any) -> Copied:
    return await asyncio.to_thread(restore, settings, folder, **how)


def elsewhere(settings: Settings, folder: Path) -> Settings:
    """The same keys, on another machine."""
    return settings.model_copy(update={"data": folder})


@pytest.mark.invariant("ER4")
@pytest.mark.invariant("BK1")
@pytest.mark.invariant("BK2")
@pytest.mark.invariant("BK5")
async def test_what_was_copied_is_what_is_restored_and_nobody_erased_since_comes_back(place: Settings, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    async with living(place) as house:
        firm = house.firm
        kept, document = await a_person(house, "Staying")
        gone, _ = await a_person(house, "Vanishing")
        await house.settle()
        made = await copied(house, tmp_path / "copy", progress=lambda *t: told.append(t))
        await post(house, f"/contacts/{kept}:amend", {"nickname": "Later"})
        await erased(house, gone)
        url_before = (await house.client.get(f"/v1/contacts/{kept}")).json()
        certified = len(list((house.chancery.vault.folder).glob("wrapping-*.key")))
    assert made.contents == 2
    assert {w for w, _, _ in told} == {"database", "contents"}
    copy = b"".join(p.read_bytes() for p in (tmp_path / "copy").rglob("*") if p.is_file())
    for key in place.keys_folder.glob("*.key"):
        assert key.read_bytes() not in copy, "a key in a backup"
    assert certified == 1
    there = elsewhere(place, tmp_path / "there")
    done = await again(there, tmp_path / "copy")
    assert done.position == made.position
    async with living(there) as house:
        words = spellings("Vanishing")
        left = dump(house)
        for word in found_in(left, words):
            raise AssertionError((word, [line[:300] for line in left.split(b"\n") if word in line][:5]))
        for file in there.data.rglob("*"):
            if file.is_file() and "postgres" not in file.parts:
                assert not found_in(file.read_bytes(), words), file
        async with await house.chancery.database.connect_async("record") as c:
            emails = await (await c.execute("SELECT given, emails FROM views.contacts WHERE id = %s", (UUID(kept),))).fetchone()
            contents = await (
                await c.execute("SELECT sha256 FROM views.document_versions WHERE document = %s", (UUID(document),))
            ).fetchone()
            suppressed = await (await c.execute("SELECT count(*) FROM chancery.suppressed_addresses")).fetchone()
            stopped = await (await c.execute("SELECT stopped FROM chancery.logs WHERE firm_id = %s", (firm,))).fetchone()
        assert emails is not None
        assert emails[0] == "Stayinggiven"
        assert url_before["nickname"] == "Later"
        assert contents is not None
        assert await house.chancery.blobs.find(firm, contents[0]) is not None
        assert suppressed == (1,)
        assert stopped is not None
        assert stopped[0], "a log that is behind what it signed must stop"
        made_here = await post(house, "/contacts", {"given": "New", "family": "Person"})
        assert made_here["id"], "the other firms are served"
        state = (await house.client.get("/readyz")).status_code
        assert state == 200


@pytest.mark.invariant("BK3")
@pytest.mark.invariant("BK4")
async def test_a_backup_refuses_what_would_not_be_one(place: Settings, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a file").write_text("something")
    async with living(place) as house:
        with pytest.raises(BackupRefused, match="not an empty folder"):
            await copied(house, tmp_path / "full")
        nested = place.keys_folder.parent
        with pytest.raises(BackupRefused, match="not an empty folder"):
            await copied(house, nested)
        await copied(house, tmp_path / "copy")
        with pytest.raises(BackupRefused, match="working with this database"):
            await again(place, tmp_path / "copy", force=True)
    with pytest.raises(BackupRefused, match="with --force"):
        await again(place, tmp_path / "copy")
    with pytest.raises(BackupRefused, match="no backup"):
        await again(place, tmp_path / "full")
    there = elsewhere(place, tmp_path / "there").model_copy(update={"keys": tmp_path / "no keys"})
    with pytest.raises(BackupRefused, match="no keys at"):
        await again(there, tmp_path / "copy")
    shutil.copytree(place.keys_folder, tmp_path / "other keys")
    (tmp_path / "other keys" / "digest.key").write_bytes(os.urandom(32))
    with pytest.raises(BackupRefused, match="another installation"):
        await again(there.model_copy(update={"keys": tmp_path / "other keys"}), tmp_path / "copy")
    shutil.copytree(tmp_path / "copy", tmp_path / "bent")
    raw = bytearray((tmp_path / "bent" / "database.dump").read_bytes())
    raw[len(raw) // 2] ^= 1
    (tmp_path / "bent" / "database.dump").write_bytes(raw)
    with pytest.raises(BackupRefused, match="damaged"):
        await again(elsewhere(place, tmp_path / "there"), tmp_path / "bent")
    manifest = orjson.loads((tmp_path / "copy" / "manifest.json").read_bytes())
    shutil.copytree(tmp_path / "copy", tmp_path / "newer")
    (tmp_path / "newer" / "manifest.json").write_bytes(orjson.dumps({**manifest, "migrations": ["9999_later.sql"]}))
    with pytest.raises(BackupRefused, match="newer version"):
        await again(elsewhere(place, tmp_path / "there"), tmp_path / "newer")
    (tmp_path / "newer" / "manifest.json").write_bytes(orjson.dumps({**manifest, "epochs": [0]}))
    with pytest.raises(BackupRefused, match="before the wrapping keys were rotated"):
        await again(elsewhere(place, tmp_path / "there"), tmp_path / "newer")
    forced = await again(place, tmp_path / "copy", force=True)
    assert forced.position == manifest["position"]
    async with opened(place) as c:
        with c.database.connect("record") as connection:
            assert connection.execute("SELECT position FROM record.head").fetchone() == (manifest["position"],)


@pytest.mark.invariant("BK4")
async def test_a_restore_that_breaks_off_leaves_what_was_there(
    place: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with living(place) as house:
        await post(house, "/contacts", {"given": "There", "family": "Before"})
        await copied(house, tmp_path / "copy")
        await post(house, "/contacts", {"given": "There", "family": "Since"})
        before = await house.settle()
    breaking = tmp_path / "pg_restore"
    breaking.write_text('#!/bin/sh\nif [ "$1" = --list ]; then exit 0; fi\necho "pg_restore: error: no room" >&2\nexit 1\n')
    breaking.chmod(0o755)
    monkeypatch.setattr("infra.backup.restoring.client_program", lambda _name, _server: breaking)
    with pytest.raises(BackupRefused, match="as it was before"):
        await again(place, tmp_path / "copy", force=True)
    async with opened(place) as c:
        with c.database.connect("record") as connection:
            assert connection.execute("SELECT position FROM record.head").fetchone() == (before,)


@pytest.mark.invariant("BK1")
async def test_a_backup_of_a_busy_system_is_of_one_moment(place: Settings, tmp_path: Path) -> None:
    async with living(place) as house:
        stop = threading.Event()

        async def write() -> int:
            done = 0
            while not stop.is_set():
                await post(house, "/contacts", {"given": f"Number {done}", "family": "Written"})
                done += 1
            return done

        writing = asyncio.ensure_future(write())
        await asyncio.sleep(0.3)
        made = await copied(house, tmp_path / "copy")
        stop.set()
        assert await writing > 0
    there = elsewhere(place, tmp_path / "there")
    await again(there, tmp_path / "copy")
    async with opened(there) as c:
        with c.database.connect("record") as connection:
            row = connection.execute(
                "SELECT h.position, count(*), max(e.position), (SELECT sum(version) FROM record.streams)"
                " FROM record.head h, record.events e GROUP BY h.position"
            ).fetchone()
    assert row == (made.position,) * 4


def test_a_login_that_may_not_read_everything_is_told_so(database: Database, settings: Settings, tmp_path: Path) -> None:
    from infra.record.vault import Vault

    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c, least(c) as name:
        lesser = Database(psycopg.conninfo.make_conninfo(database.admin_conninfo(), user=name))
        with pytest.raises(BackupRefused, match="BYPASSRLS"):
            backup(settings, lesser, Vault(settings.keys_folder), tmp_path / "copy")


@contextlib.contextmanager
def least(c: psycopg.Connection[Any]) -> Iterator[str]:
    name = f"least_{os.getpid()}"
    c.execute(f"CREATE ROLE {name} LOGIN".encode())
    try:
        yield name
    finally:
        c.execute(f"DROP ROLE {name}".encode())


async def test_a_copy_that_breaks_off_leaves_nothing_in_the_way_of_the_next(place: Settings, tmp_path: Path) -> None:
    def breaks(_what: str, _done: int, _of: int) -> None:
        raise RuntimeError("broken off")

    async with living(place) as house:
        await a_person(house, "Somebody")
        await house.settle()
        (tmp_path / "empty").mkdir()
        for name, there in (("empty", True), ("new", False)):
            with pytest.raises(RuntimeError, match="broken off"):
                await copied(house, tmp_path / name, progress=breaks)
            assert (tmp_path / name).exists() is there
        assert list((tmp_path / "empty").iterdir()) == []
        assert (await copied(house, tmp_path / "empty")).contents >= 1
