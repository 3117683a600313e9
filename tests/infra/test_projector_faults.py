"""Projectors killed, stopped and woken beside their replacement, and PostgreSQL killed under them: the views are those of a rebuild."""

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from infra.cli.projections import digest_of
from infra.database import Database
from infra.projector.rebuild import rebuild
from infra.record.appender import Appender
from infra.record.vault import Vault
from projections.kernel import VIEWS
from tests.infra.test_crashes import Cluster, until
from tests.infra.test_projector import catch_up, some_history
from tests.infra.test_vault import an_executor
from tests.infra.writing import scalar


@pytest.fixture
def own() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="chancery-projectors-"))
    cluster = Cluster(folder / "pg")
    yield cluster
    cluster.server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def a_projector(database: Database, keys: Path, batch: int = 3) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.infra.projecting", database.admin_conninfo(), str(keys), str(batch)],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.DEVNULL,
    )


def reached(database: Database) -> int:
    try:
        return int(scalar(database, "SELECT coalesce(min(position), 0) FROM chancery.projections") or 0)
    except psycopg.OperationalError:
        return 0


def digests(database: Database) -> dict[str, str]:
    with database.connect("record") as c:
        return {name: digest_of(c, name) for name in VIEWS}


@pytest.mark.invariant("I8")
async def test_stopped_woken_and_killed_projectors_and_a_killed_server_leave_the_views_of_a_rebuild(
    own: Cluster, tmp_path: Path
) -> None:
    database, keys = own.database, tmp_path / "keys"
    vault = Vault(keys)
    running = []
    appender = Appender(database)
    try:
        async with an_executor(database, appender, vault) as executor:
            await some_history(executor, 30)
            head = int(scalar(database, "SELECT position FROM record.head") or 0)
            running.append(a_projector(database, keys))
            until(lambda: reached(database) >= 20)
            running[0].send_signal(signal.SIGSTOP)  # perhaps in the middle of a transaction: the server ends it after ten seconds
            stood = reached(database)
            if stood == head:  # it came to the end before this was seen: there is to be more than it knows of
                await some_history(executor, 30)
                head = int(scalar(database, "SELECT position FROM record.head") or 0)
        running.append(a_projector(database, keys, batch=2))
        until(lambda: reached(database) >= min(stood + 20, head))
        running[0].send_signal(signal.SIGCONT)  # it believes that it is still where it was
        running[1].kill()
        own.kill()
        own.start()
        running.append(a_projector(database, keys, batch=5))
        until(lambda: reached(database) == head)
        running[2].kill()
        until(lambda: running[0].poll() is None)
    finally:
        appender.close()
        for process in running:
            process.kill()
            process.wait()
    catch_up(database, vault)
    lived = digests(database)
    rebuild(database, vault, list(VIEWS.values()))
    assert digests(database) == lived
