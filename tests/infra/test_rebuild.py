"""Rebuilding views beside readers and writers."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from infra.cli.projections import digest_of
from infra.database import Database
from infra.projector.rebuild import AlreadyRebuilding, divided, rebuild
from infra.record.vault import Vault
from infra.settings import Settings
from projections.kernel import VIEWS
from tests.house import House
from tests.processes import PATIENCE


async def work(house: House, count: int) -> None:
    for n in range(count):
        made = (await house.client.post("/v1/pipelines", json={"name": f"P {n} {uuid4()}", "stages": [{"name": "One"}]})).json()
        await house.client.post(f"/v1/pipelines/{made['id']}:rename", json={"name": f"Q {n} {uuid4()}"})
        contact = {"given": "Ada", "family": f"Canary {n}", "emails": [{"address": f"ada{n}@example.com"}]}
        assert (await house.client.post("/v1/contacts", json=contact)).status_code == 201


def digests(database: Database) -> dict[str, str]:
    with database.connect("record") as c:
        return {name: digest_of(c, name) for name in VIEWS}


@pytest.mark.invariant("I8")
async def test_a_rebuilt_view_has_the_digest_of_the_live_one(house: House, database: Database, settings: Settings) -> None:
    await work(house, 10)
    await house.settle()
    before = digests(database)
    await asyncio.to_thread(rebuild, database, Vault(settings.keys_folder), list(VIEWS.values()))
    assert digests(database) == before
    await work(house, 1)
    await house.settle()
    assert digests(database) != before


async def test_views_filled_by_several_processes_have_the_digests_of_those_filled_by_one(
    house: House, database: Database, settings: Settings
) -> None:
    await work(house, 10)
    await house.settle()
    before = digests(database)
    reached: list[tuple[int, int]] = []
    head = await asyncio.to_thread(
        rebuild,
        database,
        Vault(settings.keys_folder),
        list(VIEWS.values()),
        processes=3,
        progress=lambda position, of: reached.append((position, of)),
    )
    assert reached[-1] == (head, head)
    assert digests(database) == before
    await asyncio.to_thread(rebuild, database, Vault(settings.keys_folder), list(VIEWS.values()), processes=1)
    assert digests(database) == before


async def test_views_are_divided_by_what_the_record_touches(house: House, database: Database, settings: Settings) -> None:
    await work(house, 10)
    with database.connect("record") as c:
        groups = [[v.name for v in g] for g in divided(c, Vault(settings.keys_folder), list(VIEWS.values()), 3)]
    assert sorted(name for g in groups for name in g) == sorted(VIEWS)
    largest = {"timeline", "graph_edges", "graph_nodes"}  # that every command of this work touches
    assert all(len(largest.intersection(g)) == 1 for g in groups), groups


async def test_the_old_view_serves_until_the_new_one_is_whole(house: House, database: Database, settings: Settings) -> None:
    await work(house, 5)
    await house.settle()
    expected = (await house.client.get("/v1/contacts", params={"include_total": "true"})).json()["total"]
    done = asyncio.Event()
    seen: list[int] = []

    async def read() -> None:
        while not done.is_set():
            answer = await house.client.get("/v1/contacts", params={"include_total": "true"})
            assert answer.status_code == 200, answer.text
            seen.append(answer.json()["total"])

    reader = asyncio.create_task(read())
    rebuilt = 0
    while rebuilt < 3 or len(seen) <= 3:
        rebuilt += 1
        await asyncio.to_thread(rebuild, database, Vault(settings.keys_folder), [VIEWS["contacts"], VIEWS["pipelines"]])
    done.set()
    await reader
    assert set(seen) == {expected}
    assert len(seen) > 3


async def test_what_is_written_during_a_rebuild_is_in_the_new_view(house: House, database: Database, settings: Settings) -> None:
    writing = asyncio.create_task(work(house, 15))
    while not writing.done():
        await asyncio.to_thread(rebuild, database, Vault(settings.keys_folder), list(VIEWS.values()))
    await writing
    await house.settle()
    live = digests(database)
    await asyncio.to_thread(rebuild, database, Vault(settings.keys_folder), list(VIEWS.values()))
    assert digests(database) == live


async def test_a_rebuilt_view_has_the_indexes_policies_and_rights_of_the_old_one(
    house: House, database: Database, settings: Settings
) -> None:
    assert house

    def shape() -> list[tuple[object, ...]]:
        with psycopg.connect(database.admin_conninfo()) as c:
            return c.execute(
                "SELECT 'index', indexdef FROM pg_indexes WHERE schemaname IN ('views', 'history')"
                " UNION ALL SELECT 'policy', schemaname || tablename || policyname || roles::text FROM pg_policies"
                " UNION ALL SELECT 'right', table_schema || table_name || grantee || privilege_type FROM information_schema.role_table_grants"
                " WHERE table_schema IN ('views', 'history', 'at')"
                " UNION ALL SELECT 'column', table_schema || table_name || column_name || is_nullable"
                " FROM information_schema.columns WHERE table_schema IN ('views', 'history', 'at') ORDER BY 1, 2"
            ).fetchall()

    before = shape()
    for _ in range(2):
        await asyncio.to_thread(rebuild, database, Vault(settings.keys_folder), list(VIEWS.values()))
    assert shape() == before


async def test_two_rebuilds_at_once_are_refused(house: House, database: Database, settings: Settings) -> None:
    assert house
    with psycopg.connect(database.conninfo("owner"), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(7020240003)")
        with pytest.raises(AlreadyRebuilding):
            rebuild(database, Vault(settings.keys_folder), [VIEWS["contacts"]])


async def test_a_rebuild_that_is_killed_leaves_the_old_view_and_the_next_one_succeeds(
    house: House, database: Database, settings: Settings, tmp_path: Path
) -> None:
    await work(house, 3)
    await house.settle()
    before = digests(database)
    program = (
        "import sys; from infra import registry; registry.load()\n"
        "from pathlib import Path; from infra.database import Database; from infra.record.vault import Vault\n"
        "from infra.projector import rebuild as r; from projections.kernel import VIEWS\n"
        "r.BATCH = 5\n"
        "def progress(done, head):\n    print(done, flush=True)\n    sys.stdin.readline()\n"
        "r.rebuild(Database(sys.argv[1]), Vault(Path(sys.argv[2])), list(VIEWS.values()), progress=progress)\n"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, database.admin_conninfo(), str(settings.keys_folder),
        stdout=subprocess.PIPE, stdin=subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert child.stdout is not None
    assert await child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    await child.wait()
    assert digests(database) == before
    await asyncio.to_thread(_until_free, database, settings)
    assert digests(database) == before


def _until_free(database: Database, settings: Settings) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            rebuild(database, Vault(settings.keys_folder), list(VIEWS.values()))
        except AlreadyRebuilding:  # the server has not noticed yet that the killed one is gone
            assert time.monotonic() < until
            time.sleep(0.05)
        else:
            return


async def test_a_rebuild_that_has_ended_is_in_nobodys_way(house: House, database: Database, settings: Settings) -> None:
    assert house
    for _ in range(20):
        await asyncio.to_thread(rebuild, database, Vault(settings.keys_folder), [VIEWS["purposes"]])
