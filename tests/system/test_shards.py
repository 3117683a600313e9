"""One `chancery serve` whose views are divided between two processes: one of them dies, and a view is stopped and resumed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from infra.cli.projections import digest_of
from infra.database import Database
from infra.engines.run import any_free
from infra.projector.rebuild import rebuild
from infra.record.vault import Vault
from projections.kernel import VIEWS
from tests.processes import PATIENCE
from tests.system.test_serve import SERVE, until

CLI = [sys.executable, "-m", "infra.cli"]


class Served:
    """A server over a database of the test, a client of it, and its command line."""

    def __init__(self, database: Database, data: Path) -> None:
        self.database = database
        self.data = data
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("CHANCERY_")}
        self.environment |= {
            "CHANCERY_DATABASE_URL": database.admin_conninfo(),
            "CHANCERY_DATA": str(data),
            "CHANCERY_PROJECTORS": "2",
            "CHANCERY_FOLLOWERS": "false",
        }

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*CLI, *words], capture_output=True, text=True, timeout=PATIENCE, check=False, env=self.environment)

    def standing(self) -> dict[str, tuple[int, int | None, str]]:
        with self.database.connect("record") as c:
            rows = c.execute("SELECT name, position, stopped_at, process FROM chancery.projections").fetchall()
        return {name: (position, stopped, process) for name, position, stopped, process in rows if name in VIEWS}

    def head(self) -> int:
        with self.database.connect("record") as c:
            return int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])

    @contextmanager
    def serving(self) -> Iterator[tuple[httpx.Client, psutil.Process]]:
        made = json.loads(self.run("firm", "create", "Divided", "--json").stdout)
        port = any_free()
        with subprocess.Popen([*SERVE, "--port", str(port)], env=self.environment, stdout=subprocess.DEVNULL) as server:
            try:
                with httpx.Client(
                    base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {made['api_key']}"}, timeout=PATIENCE
                ) as client:
                    until(lambda: answers(client))
                    yield client, psutil.Process(server.pid)
            finally:
                server.terminate()
                try:
                    server.wait(timeout=PATIENCE)
                finally:
                    server.kill()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/v1/me").status_code == 200
    except httpx.TransportError:
        return False


def write(client: httpx.Client, family: str) -> str:
    """A contact and a pipeline: rows of views that different processes keep. Answers the position."""
    contact = client.post("/v1/contacts", json={"given": "Ada", "family": family})
    assert contact.status_code == 201, contact.text
    pipeline = client.post("/v1/pipelines", json={"name": family, "stages": [{"name": "One"}]})
    assert pipeline.status_code == 201, pipeline.text
    return pipeline.headers["Chancery-Position"]


def shown(client: httpx.Client, family: str, position: str) -> bool:
    """Whether both are read at that position; a read that finds a view behind is refused until it is there."""
    for path, asked in (("/v1/contacts", f'family = "{family}"'), ("/v1/pipelines", f'name = "{family}"')):
        answer = client.get(path, params={"filter": asked}, headers={"Chancery-Position": position})
        if answer.status_code == 503:
            return False
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["items"]) == 1, path
    return True


@pytest.fixture(scope="module")
def served(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """One folder for all tests of the one database: a database is opened with its own keys alone."""
    return Served(database, tmp_path_factory.mktemp("data"))


def test_two_projectors_divide_the_views_and_one_that_dies_comes_back_and_a_stopped_view_is_resumed(served: Served) -> None:
    with served.serving() as (client, server):
        position = write(client, "Canary")
        until(lambda: shown(client, "Canary", position))
        until(lambda: {name: p for name, (p, _, _) in served.standing().items()} == dict.fromkeys(VIEWS, served.head()))
        standing = served.standing()
        assert {process for _, _, process in standing.values()} == {"1/2", "2/2"}

        shard = standing["contacts"][2]
        (child,) = [c for c in server.children() if shard in c.cmdline()]
        child.kill()
        position = write(client, "Second")
        until(lambda: shown(client, "Second", position))
        (again,) = [c for c in server.children() if shard in c.cmdline()]
        assert again.pid != child.pid

        with served.database.connect("record") as c:  # as an event that could not be applied leaves it
            c.execute("UPDATE chancery.projections SET stopped_at = position + 1, error = 'ValueError' WHERE name = 'contacts'")
        position = write(client, "Third")
        assert not shown(client, "Third", position)
        until(lambda: "contacts" in client.get("/readyz").text)
        until(lambda: {at for at, stopped, _ in served.standing().values() if stopped is None} == {served.head()})
        assert [name for name, (_, stopped, _) in served.standing().items() if stopped is not None] == ["contacts"]
        done = served.run("projection", "resume", "contacts")
        assert done.returncode == 0, done.stderr
        assert "The view contacts goes on at position" in done.stdout
        until(lambda: shown(client, "Third", position))
        assert served.standing()["contacts"][1] is None

        nothing = served.run("projection", "resume", "contacts")
        assert nothing.returncode == 1
        assert "has not stopped" in nothing.stderr
        until(lambda: {p for p, _, _ in served.standing().values()} == {served.head()})
    with served.database.connect("record") as c:
        live = {name: digest_of(c, name) for name in VIEWS}
    rebuild(served.database, Vault(served.data / "keys"), list(VIEWS.values()))
    with served.database.connect("record") as c:
        assert {name: digest_of(c, name) for name in VIEWS} == live


def test_a_view_ahead_of_the_record_is_rebuilt_and_not_resumed(served: Served) -> None:
    with served.database.connect("record") as c:
        c.execute(
            "INSERT INTO chancery.projections (name, version, position, stopped_at, error) VALUES ('contacts', 1, 99999, 99999, 'AheadOfRecord')"
            " ON CONFLICT (name) DO UPDATE SET position = 99999, stopped_at = 99999, error = 'AheadOfRecord'"
        )
    refused = served.run("projection", "resume", "contacts")
    assert refused.returncode == 1
    assert "chancery projection rebuild contacts" in refused.stderr
