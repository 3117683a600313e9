"""Backends, writers and the whole server are killed while commands are written: what was acknowledged stays, once, as it was said."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
import psycopg
import pytest

from domain.kernel import FirmId
from infra import database as databases
from infra.database import Database, migrate
from infra.embedded import start
from infra.record import wire
from infra.record.appender import APPEND_LOCK, Appended, Appender, OutcomeUnknown
from infra.record.appender.statements import BEGIN, LOCK
from infra.record.bulk import Bulk, Outcome
from infra.record.reader import read_after
from infra.record.vault import Vault
from tests.infra.test_bulk import ACTOR, create
from tests.infra.writing import FIRM, OTHER, Writer, an_append, scalar, together
from tests.processes import PATIENCE, killed_with_children


class Cluster:
    """A server that may be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = start(folder)
        self.database = Database(self.server.get_uri())
        migrate(self.database)

    def backends(self) -> list[int]:
        """The writers' backends; none while the server recovers."""
        try:
            with psycopg.connect(self.database.admin_conninfo()) as c:
                rows = c.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'chancery-record'").fetchall()
        except psycopg.OperationalError:
            return []
        return [pid for (pid,) in rows]

    def kill(self) -> None:
        """SIGKILL the postmaster; its backends notice and end. Returns when all are gone."""
        killed_with_children(psutil.Process(self.server.get_pid()))
        for lock in ("postmaster.pid", ".s.PGSQL.5432.lock"):  # where nobody buries the dead, they would be taken for alive
            (self.folder / lock).unlink(missing_ok=True)

    def start(self) -> None:
        self.server = start(self.folder)

    def answers(self) -> bool:
        try:
            return bool(scalar(self.database, "SELECT 1"))
        except psycopg.OperationalError:
            return False

    def set(self, name: str, value: str) -> None:
        with psycopg.connect(self.database.admin_conninfo(), autocommit=True) as c:
            c.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            c.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="module")
def own() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="chancery-crashes-"))
    cluster = Cluster(folder / "pg")
    yield cluster
    cluster.server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.002)
    return found


def each_is_there_once_with_its_first_answer(database: Database, said: list[dict[str, Any]]) -> None:
    assert not [s for s in said if "error" in s]
    with database.connect("record") as c:
        c.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with c.transaction():  # what a killed writer sent may be committed while this is read
            rows = read_after(c, 0, 10_000_000)
            stored = {
                str(id): (position, bytes(answer).decode())
                for id, position, answer in c.execute("SELECT command_id, position, answer FROM record.commands")
            }
    assert [r.position for r in rows] == list(range(1, len(rows) + 1))
    for firm in (FIRM, OTHER):
        leaves = [r.firm_position for r in rows if r.firm_id == firm]
        assert leaves == list(range(len(leaves)))
    ids = [str(r.event_id) for r in rows]
    assert len(set(ids)) == len(ids)
    for s in said:
        assert stored[s["command_id"]] == (s["position"], s["answer"])
        assert not s["replayed"]  # it was this very command's own first answer, however often it had to be tried
    assert {str(r.command_id) for r in rows} == set(stored)  # no event without its command
    firm_of = {str(r.command_id): r.firm_id for r in rows}
    appender = Appender(database)
    some = said[:: max(1, len(said) // 200)]
    again = together(appender, [an_append(command_id=UUID(s["command_id"]), firm=firm_of[s["command_id"]]) for s in some])
    assert again == [Appended(s["position"], s["answer"].encode(), True) for s in some]
    appender.close()


@pytest.mark.invariant("I1")
@pytest.mark.invariant("I4")
def test_backends_killed_again_and_again_lose_and_double_nothing(own: Cluster) -> None:
    with Writer(own.database, "for ever", 4) as writer:
        until(writer.said)
        for n in range(30):
            before = len(writer.said())
            pids = until(own.backends)
            if n % 10 == 9:  # the server ends all sessions and recovers
                with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                    os.kill(pids[0], signal.SIGKILL)
            else:
                with contextlib.suppress(psycopg.OperationalError):  # it recovers still
                    scalar(own.database, "SELECT pg_terminate_backend(%s)", pids[0])
            until(lambda before=before: len(writer.said()) > before)  # type: ignore[misc]
        said = writer.kill()
    until(own.answers)
    each_is_there_once_with_its_first_answer(own.database, said)


@pytest.mark.invariant("I1")
@pytest.mark.invariant("I2")
def test_a_writer_killed_again_and_again_loses_and_doubles_nothing(own: Cluster) -> None:
    said = []
    for n in range(4):
        with Writer(own.database, "for ever", 4) as writer:
            until(lambda writer=writer, n=n: len(writer.said()) > 20 * n)  # type: ignore[misc]
            said += writer.kill()
    each_is_there_once_with_its_first_answer(own.database, said)


@pytest.mark.invariant("I1")
@pytest.mark.invariant("I2")
def test_a_server_killed_again_and_again_loses_and_doubles_nothing(own: Cluster) -> None:
    with Writer(own.database, "for ever", 4) as writer:
        for _ in range(3):
            before = len(writer.said())
            until(lambda before=before: len(writer.said()) > before + 40)  # type: ignore[misc]
            own.kill()
            own.start()
        before = len(writer.said())
        until(lambda: len(writer.said()) > before)
        said = writer.kill()
    each_is_there_once_with_its_first_answer(own.database, said)


def _committed_but_unsaid(own: Cluster) -> int:
    """The backend whose transaction is in the log and which still waits for a standby that is not there."""
    found: int | None = scalar(
        own.database, "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'chancery-record'"
    )
    return found or 0


@pytest.mark.invariant("I5")
def test_a_commit_whose_word_was_lost_is_found_and_is_the_commands_own_first_answer(own: Cluster) -> None:
    appender = Appender(own.database)
    append = an_append(3)
    landed: list[Appended | BaseException] = []
    append.done = landed.append
    own.set("synchronous_standby_names", "nobody")
    try:
        appender.submit(append)
        scalar(own.database, "SELECT pg_terminate_backend(%s)", until(lambda: _committed_but_unsaid(own)))
        until(lambda: landed)
    finally:
        own.set("synchronous_standby_names", "")
    appender.close()
    (result,) = landed
    assert isinstance(result, Appended)
    assert (result.answer, result.replayed) == (append.answer, False)
    assert scalar(own.database, "SELECT count(*) FROM record.events WHERE command_id = %s", append.command_id) == 3


@pytest.mark.invariant("I5")
def test_an_outcome_that_stays_unknown_is_said_to_be_unknown_and_a_retry_resolves_it(own: Cluster) -> None:
    impatient = Appender(own.database, patience=0)
    append = an_append(2)
    landed: list[Appended | BaseException] = []
    append.done = landed.append
    own.set("synchronous_standby_names", "nobody")
    try:
        impatient.submit(append)
        scalar(own.database, "SELECT pg_terminate_backend(%s)", until(lambda: _committed_but_unsaid(own)))
        until(lambda: landed)
    finally:
        own.set("synchronous_standby_names", "")
    assert isinstance(landed[0], OutcomeUnknown)
    (again,) = together(impatient, [an_append(2, command_id=append.command_id)])
    impatient.close()
    assert isinstance(again, Appended)
    assert (again.answer, again.replayed) == (append.answer, True)
    assert scalar(own.database, "SELECT count(*) FROM record.events WHERE command_id = %s", append.command_id) == 2


def test_a_writer_that_stands_still_while_it_holds_the_lock_does_not_hold_up_the_others_for_long(own: Cluster) -> None:
    appender = Appender(own.database)
    with own.database.connect("record") as still:
        set_to = still.execute("SELECT current_setting('idle_in_transaction_session_timeout')").fetchone()
        assert set_to == ("10s",)
        still.execute("SET idle_in_transaction_session_timeout = '100ms'")
        still.execute("BEGIN")
        still.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))
        (result,) = together(appender, [an_append()])
        with pytest.raises(psycopg.Error):
            still.execute("COMMIT")
    assert isinstance(result, Appended)
    appender.close()


def test_a_writer_that_is_stopped_in_the_middle_of_what_it_sends_does_not_hold_up_the_others_for_long(own: Cluster) -> None:
    appender = Appender(own.database)
    with own.database.connect("record", writing=True) as still:
        assert still.execute("SHOW transaction_timeout").fetchone() == ("30s",)
        still.execute("SET transaction_timeout = '300ms'")
        still.execute("SET idle_in_transaction_session_timeout = 0")
        pipe = wire.pipe(still)
        pipe.add(BEGIN)
        pipe.add(LOCK)
        pipe.add(wire.Statement(b"large", b"SELECT length($1::text)", (25,)), b"x" * 50_000_000)
        sending = pipe.sending()
        while next(sending) and not _held(own):
            """As far as the server takes the statement that locks; the rest is never sent."""
        assert _held(own)
        (result,) = together(appender, [an_append()])
        assert isinstance(result, Appended)
        with pytest.raises(psycopg.Error):
            wire.drive(sending, still.pgconn.socket)
    appender.close()


def _held(own: Cluster) -> bool:
    return bool(scalar(own.database, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"))


async def _on_a_loop(database: Database) -> Appended:
    appender = Appender(database, patience=60)
    try:
        return await appender.append(an_append())
    finally:
        await asyncio.to_thread(appender.close)


def _from_a_thread(database: Database) -> Appended:
    appender = Appender(database, patience=60)
    try:
        return appender.append_now(an_append(), timeout=180)
    finally:
        appender.close()


def _by_an_import(database: Database, vault: Vault) -> Outcome:
    with Bulk(database, vault, firm=FirmId(uuid4()), actor=ACTOR, patience=60) as bulk:
        (outcome,) = bulk.run([create(1)])
    return outcome


@pytest.mark.parametrize("how", ["thread", "loop", "import"])
def test_a_writer_that_is_stopped_in_the_middle_of_its_rows_does_not_hold_up_the_others_for_ever(
    own: Cluster, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "WRITE_SECONDS", 2)
    vault, firm = Vault(tmp_path), uuid4()
    words = [sys.executable, "-m", "tests.infra.stopping", own.database.admin_conninfo(), str(tmp_path), str(firm), "600"]
    still: Any = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    try:
        assert still.stdout.readline() == "half\n"
        until(lambda: psutil.Process(still.pid).status() == psutil.STATUS_STOPPED)
        assert _held(own)
        if how == "thread":
            assert _from_a_thread(own.database).position
        elif how == "loop":
            assert asyncio.run(_on_a_loop(own.database)).position
        else:
            assert _by_an_import(own.database, vault).position
        still.send_signal(signal.SIGCONT)
        told, _ = still.communicate(timeout=180)
        assert told.splitlines()[-1] == "600"  # it went on with another session, and every answer was its own first one
    finally:
        still.kill()
        still.wait()
        still.stdout.close()
    assert scalar(own.database, "SELECT count(*) FROM record.events WHERE firm_id = %s", firm) == 600
    rows = "SELECT count(*) - max(position) + count(DISTINCT position) - count(*) FROM record.events"
    assert scalar(own.database, rows) == 0
