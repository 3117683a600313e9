"""`chancery status --of NAME`: at work, stopped, away, standing still; and the shares of the views."""

import contextlib
import io
import json
import sys

import pytest
import typer
from typer.testing import CliRunner

from infra import registry, watch
from infra.cli.main import app
from infra.cli.serve import share
from infra.database import Database
from infra.settings import Settings
from projections.kernel import VIEWS


@pytest.fixture
def here(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A record that ends at 10, with two views of one share and a relay; no process runs."""
    assert settings.database_url is not None
    monkeypatch.setenv("CHANCERY_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("CHANCERY_DATA", str(settings.data))
    monkeypatch.setattr(watch, "PATIENCE", 0.1)
    monkeypatch.setattr(watch.examine, "__defaults__", (0.1,))
    with database.connect("owner") as c:
        c.execute("UPDATE record.head SET position = 10")
        c.execute("DELETE FROM chancery.projections")
        c.execute(
            "INSERT INTO chancery.projections (name, version, position, process) VALUES"
            " ('contacts', 1, 10, '1/2'), ('deals', 1, 10, '1/2'), ('relay', 1, 10, '')"
        )
    return database


def asked(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["status", "--of", *words])
    if len(words) == 1:
        assert (done.exit_code, done.stdout + done.stderr) == by_the_short_way(*words)
    return done.exit_code, done.stdout + done.stderr


def by_the_short_way(name: str) -> tuple[int, str]:
    """What `python -m infra.watch NAME` prints and exits with, as the containers' health checks ask."""
    with pytest.MonkeyPatch.context() as m, contextlib.redirect_stdout(io.StringIO()) as said:
        m.setattr(sys, "argv", ["infra.watch", name])
        with pytest.raises(SystemExit) as ended:
            watch.main()
    return int(ended.value.code or 0), said.getvalue()


def alter(database: Database, sql: str) -> None:
    with database.connect("owner") as c:
        c.execute(sql.encode())


def test_what_is_up_to_date_is_at_work(here: Database) -> None:
    assert asked("relay") == (0, "relay is at work and up to date.\n")
    assert asked("1/2") == (0, "1/2 is at work and up to date.\n")


def test_what_has_stopped_says_where_and_why_and_another_stays_healthy(here: Database) -> None:
    alter(here, "UPDATE chancery.projections SET stopped_at = 7, position = 6, error = 'ValueError' WHERE name = 'deals'")
    assert asked("deals") == (1, "deals has stopped at position 7: ValueError.\n")
    assert asked("1/2") == (1, "deals has stopped at position 7: ValueError.\n")
    assert asked("contacts")[0] == 0
    code, said = asked("deals", "--json")
    assert (code, json.loads(said)["healthy"], len(json.loads(said)["rows"])) == (1, False, 1)


def test_an_engine_that_is_away_is_said(here: Database) -> None:
    alter(here, "UPDATE chancery.projections SET position = 4, error = 'Kafka: no broker answers' WHERE name = 'relay'")
    assert asked("relay") == (1, "relay can't go on at position 4: Kafka: no broker answers.\n")


def test_what_lags_and_stands_still_is_unhealthy(here: Database) -> None:
    alter(here, "UPDATE chancery.projections SET position = 4 WHERE name = 'relay'")
    assert asked("relay")[0] == 0, "it has shown itself just now"
    alter(here, "UPDATE chancery.projections SET updated_at = now() - interval '2 minutes' WHERE name = 'relay'")
    code, said = asked("relay")
    assert (code, said) == (1, "relay stands still at position 4, 6 behind the record. Does its process run?\n")


def test_what_nobody_has_run_is_unhealthy(here: Database) -> None:
    code, said = asked("nothing")
    assert code == 1
    assert "Nothing named 'nothing' has run here" in said


def test_shares_hold_every_view_once() -> None:
    registry.load()
    for of in (1, 2, 3, 7):
        assert sorted(v for n in range(of) for v in share(f"{n + 1}/{of}")) == sorted(VIEWS)
    for wrong in ("0/2", "3/2", "1", "a/b", "1/0"):
        with pytest.raises(typer.Exit):
            share(wrong)
