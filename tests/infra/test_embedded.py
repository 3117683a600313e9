"""The embedded server after it was killed, and beside what dead servers leave behind."""

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from infra import embedded
from tests.processes import PATIENCE, gone


@pytest.fixture
def folder() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="chancery-embedded-"))
    yield place / "pg"
    if embedded.running(place / "pg"):
        embedded.start(place / "pg").cleanup()
    shutil.rmtree(place, ignore_errors=True)


def kill(server: Any) -> None:
    process = psutil.Process(server.get_pid())
    process.kill()
    gone([process])


def answers(server: Any) -> bool:
    with suppress(psycopg.OperationalError), psycopg.connect(server.get_uri()) as c:
        return c.execute("SELECT 1").fetchone() == (1,)
    return False


def test_a_server_that_was_killed_starts_again_with_its_data(folder: Path) -> None:
    server = embedded.start(folder)
    with psycopg.connect(server.get_uri()) as c:
        c.execute("CREATE TABLE kept AS SELECT 7 AS n")
    kill(server)
    again = embedded.start(folder)
    with psycopg.connect(again.get_uri()) as c:
        assert c.execute("SELECT n FROM kept").fetchone() == (7,)


def test_a_lock_that_names_another_program_by_now_is_no_obstacle(folder: Path) -> None:
    server = embedded.start(folder)
    kill(server)
    left = folder / "postmaster.pid"
    _, *rest = left.read_text().split("\n")
    left.write_text("\n".join([str(os.getpid()), *rest]))
    socket_lock = next(folder.glob(".s.PGSQL.*.lock"))
    _, *rest = socket_lock.read_text().split("\n")
    socket_lock.write_text("\n".join([str(os.getpid()), *rest]))
    assert not embedded.running(folder)
    assert answers(embedded.start(folder))


def test_a_copied_folder_has_a_server_of_its_own(folder: Path) -> None:
    server = embedded.start(folder)
    server.cleanup()
    copy = folder.parent / "copy"
    shutil.copytree(folder, copy)
    server = embedded.start(folder)
    shutil.copy(folder / "postmaster.pid", copy / "postmaster.pid")
    other = embedded.start(copy)
    try:
        assert other.get_pid() != server.get_pid()
        assert answers(other)
        assert answers(server)
    finally:
        other.cleanup()


def test_who_is_gone_holds_no_server(folder: Path) -> None:
    server = embedded.start(folder)
    holders = folder / ".handle_pids.json"
    holders.write_text(f"[{embedded.NOBODY}, {os.getpid()}]")
    embedded.start(folder)
    server.cleanup()
    assert not embedded.running(folder)


async def test_a_server_that_is_kept_comes_back(folder: Path) -> None:
    server = await asyncio.to_thread(embedded.start, folder)
    keeper = asyncio.create_task(embedded.keep(folder))
    await asyncio.to_thread(kill, server)
    until = time.monotonic() + PATIENCE
    while not await asyncio.to_thread(answers, server):
        assert time.monotonic() < until, "it never came back"
        await asyncio.sleep(0.05)
    keeper.cancel()
    await asyncio.wait([keeper])
    assert embedded.running(folder)


def test_a_start_that_takes_long_and_is_then_refused_once_is_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where the first server has not come so far as to be seen when a second one is started, and is in its way."""
    server = embedded._wheel().PostgresServer
    start, tries = server.start, [0]

    def slow(self: Any) -> None:
        tries[0] += 1
        if tries[0] == 1:
            time.sleep(2 * embedded.PATIENCE)
            raise subprocess.TimeoutExpired("pg_ctl", 10)
        if tries[0] == 2:
            raise subprocess.CalledProcessError(1, "pg_ctl")
        start(self)

    monkeypatch.setattr(embedded, "PATIENCE", 0.2)
    monkeypatch.setattr(server, "start", slow)
    assert answers(embedded.start(folder))
    assert tries == [3]


def test_a_folder_whose_making_broke_off_is_made_anew_and_no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded.start(folder).cleanup()
    (folder / "global" / "pg_control").unlink()
    monkeypatch.setattr(embedded, "PATIENCE", 0.0)
    with pytest.raises(embedded.NotStarting):
        embedded.start(folder)
    assert (folder / "base").exists(), "what may hold somebody's data is left alone"
    making = folder.parent / f".{folder.name}.making"
    making.touch()
    assert answers(embedded.start(folder))
    assert not making.exists()


def test_a_folder_that_cannot_be_started_says_why_and_where_to_look_and_no_more(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    embedded.start(folder).cleanup()
    (folder / "postgresql.conf").write_text("nonsense = everywhere\n")
    monkeypatch.setattr(embedded, "PATIENCE", 0.0)
    with pytest.raises(
        embedded.NotStarting, match=r"does not start: configuration file .* contains errors\. Its own log, .*/log, says more\."
    ):
        embedded.start(folder)
    assert [r for r in caplog.records if r.name.startswith("pixeltable")] == [], (
        "the server's log is not repeated: it is long, and may hold values"
    )


def test_a_server_that_ended_says_why_by_its_last_words(tmp_path: Path) -> None:
    assert embedded.last_words(tmp_path) is None
    ended = (
        '2026-01-01 10:00:00.000 UTC [7] PANIC:  could not write to file "pg_wal/xlogtemp.7": No space left on device\n'
        "2026-01-01 10:00:00.001 UTC [8] LOG:  server process (PID 7) was terminated by signal 6: Aborted\n"
        "2026-01-01 10:00:00.002 UTC [8] DETAIL:  Failed process was running: INSERT INTO people VALUES ('Odette FATAL:  Fernsby')\n"
        "2026-01-01 10:00:00.003 UTC [9] FATAL:  the database system is in recovery mode\n"
    )
    (tmp_path / "log").write_text(ended)
    assert embedded.last_words(tmp_path) == 'could not write to file "pg_wal/xlogtemp.7": No space left on device'
