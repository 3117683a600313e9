"""A database that goes away and comes back is spoken of in words: once when it goes, once when it is back, by whoever asks for it."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from infra.blobs import blobs
from infra.database import Database, NoAnswer, Presence, Role
from infra.followers import Parts, followers
from infra.projector.engine import Projector
from infra.record.vault import Vault
from infra.settings import Settings
from tests.processes import PATIENCE

NOWHERE = "postgresql://anna:hunter2@127.0.0.1:1/offices"


class Fickle(Database):
    """The database of the module, at an address where it answers only while `there`."""

    def __init__(self, real: Database) -> None:
        super().__init__(NOWHERE)
        self.there = False
        self.asked: Counter[int] = Counter()
        self._real = real

    def conninfo(self, role: Role, *, writing: bool = False, **extra: str) -> str:
        self.asked[threading.get_ident()] += 1
        return (
            self._real.conninfo(role, writing=writing, **extra) if self.there else super().conninfo(role, writing=writing, **extra)
        )


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < ends, "it never came to be"
        time.sleep(0.02)


def named(said: list[EventDict], event: str) -> list[EventDict]:
    return [one for one in said if one["event"] == event]


@pytest.fixture
def fickle(fresh: Database) -> Fickle:
    return Fickle(fresh)


def test_whoever_follows_the_record_says_once_in_words_that_postgresql_does_not_answer_and_once_that_it_is_back(
    fickle: Fickle, tmp_path: Path
) -> None:
    vault = Vault(tmp_path / "keys")
    chosen = Settings(data=tmp_path, database_url=NOWHERE)
    runs = [
        Projector(fickle, vault).run,
        *(f.run for f in followers(Parts(chosen, fickle, vault, blobs(chosen)))),
    ]
    stop = threading.Event()
    with capture_logs() as said:
        threads = [threading.Thread(target=run, args=(stop,), daemon=True) for run in runs]
        for thread in threads:
            thread.start()
        until(lambda: sum(times > 1 for times in fickle.asked.values()) >= len(runs))
        assert [one["event"] for one in said] == ["database.away"]
        assert said[0]["why"] == (
            "PostgreSQL at 127.0.0.1, port 1, database offices does not answer. It is asked again until it does; what is recorded waits there."
        )
        fickle.there = True
        until(lambda: bool(named(said, "database.back")))
        assert "answers again, after" in named(said, "database.back")[0]["why"]
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert len(named(said, "database.away")) == len(named(said, "database.back")) == 1
    assert "hunter2" not in str(said)
    assert "anna" not in str(said)


def test_a_server_that_lets_nobody_in_is_told_from_one_that_does_not_answer(fickle: Fickle, fresh: Database) -> None:
    fickle.there = True
    with fickle.connect("app") as c, capture_logs() as said:
        name = c.info.dbname
        gone = Database(psycopg.conninfo.make_conninfo(fresh.admin_conninfo(), dbname=f"{name}_not"))
        for _ in range(2):
            with pytest.raises(NoAnswer):
                gone.connect("app")
    assert len(said) == 1
    assert f'lets nobody in: database "{name}_not" does not exist.' in said[0]["why"]


def test_a_connection_that_is_cut_is_said_in_words_and_the_work_goes_on(fresh: Database, tmp_path: Path) -> None:
    stop, reached = threading.Event(), threading.Event()
    with capture_logs() as said, fresh.connect("owner") as c:
        run = Projector(fresh, Vault(tmp_path / "keys")).run
        thread = threading.Thread(target=run, args=(stop,), kwargs={"progress": lambda _n: reached.set()}, daemon=True)
        thread.start()
        assert reached.wait(PATIENCE)
        with psycopg.connect(fresh.admin_conninfo(), autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'chancery-record'"
            )
        until(lambda: bool(named(said, "projector.interrupted")))
        reached.clear()
        assert reached.wait(PATIENCE)
        stop.set()
        thread.join(PATIENCE)
        c.execute("SELECT 1")
    told = named(said, "projector.interrupted")
    assert {one["why"] for one in told} == {"The connection to PostgreSQL broke off. It is made anew, and nothing is lost."}
    assert named(said, "database.away") == []


def test_who_asked_before_another_was_let_in_does_not_call_it_away_again() -> None:
    presence = Presence("the office")
    with capture_logs() as said:
        asked = time.monotonic()
        presence.had()
        presence.missed(psycopg.OperationalError("of before"), asked)
        assert said == []
        presence.missed(psycopg.OperationalError("of now"), time.monotonic())
    assert [one["event"] for one in said] == ["database.away"]
