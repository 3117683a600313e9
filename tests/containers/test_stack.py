"""docker-compose.yml started as a person starts it, with every engine: `make containers`. Needs a Docker engine, 8 GB and some minutes.

It is a project of its own with volumes of its own, all of which are gone afterwards. CHANCERY_TEST_COMPOSE names files to lay over, with
colons between, for machines that can't do all that the file asks for.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300.0
PEOPLE = "name,email,company\nAnna Schmidt,anna@example.com,Bäckerei Süß\nJosé Núñez,jose@example.org,Olé SL\n"
ASK = (
    "import sys, urllib.request as u;"
    "print(u.urlopen(u.Request('http://127.0.0.1:8000' + sys.argv[1], headers={'authorization': 'Bearer ' + sys.argv[2]})).read().decode())"
)


class Stack:
    """One running project."""

    def __init__(self) -> None:
        over = [f for f in os.environ.get("CHANCERY_TEST_COMPOSE", "").split(":") if f]
        files = [w for f in [str(ROOT / "docker-compose.yml"), *over] for w in ("--file", f)]
        self._command = ["docker", "compose", "--project-name", "chancery-tried", "--progress", "quiet", *files]
        self.profiles = "engines"

    def __call__(self, *words: str, check: bool = True) -> str:
        environment = {**os.environ, "COMPOSE_PROFILES": self.profiles, "CHANCERY_PORT": "18000"}
        done = subprocess.run([*self._command, *words], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    def take_away(self) -> None:
        """With the volumes of every engine."""
        self.profiles = "engines"
        self("down", "--volumes", "--timeout", "5", check=False)

    def states(self) -> dict[str, str]:
        """What each service that stays is: `healthy` and so on."""
        found = [json.loads(line) for line in self("ps", "--all", "--format", "json").splitlines()]
        return {s["Service"]: s["Health"] or s["State"] for s in found if s["Service"] != "secrets"}

    def wait_healthy(self) -> None:
        wait(lambda: set(self.states().values()) == {"healthy"}, self.states)

    def restarts(self) -> dict[str, int]:
        """How often each container ended by itself."""
        ids = self("ps", "--quiet").split()
        shown = subprocess.run(
            ["docker", "inspect", "--format", "{{.Name}} {{.RestartCount}}", *ids], capture_output=True, text=True, check=True
        )
        return {name: int(count) for name, count in (line.split() for line in shown.stdout.splitlines())}

    def chancery(self, *words: str) -> str:
        return self("exec", "--no-TTY", "api", "chancery", *words)

    def answer(self, path: str, key: str) -> Any:
        return json.loads(self("exec", "--no-TTY", "api", "python", "-c", ASK, path, key))

    def wait_level(self) -> None:
        """Until all have reached the end of the record."""
        wait(lambda: all(p["lag"] == 0 for p in self._views()), self._views)

    def _views(self) -> Any:
        return json.loads(self.chancery("status", "--json"))["views"]

    def digests(self) -> str:
        return self.chancery("projection", "digest", "--all")


def wait(what: Callable[[], bool], shown: Callable[[], Any]) -> None:
    until = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < until, shown()
        time.sleep(1)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    made = Stack()
    made.take_away()  # what a run that was killed left
    made("build")
    try:
        made("up", "--detach")
        made.wait_healthy()
        yield made
    finally:
        made.take_away()


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    """The owner's key, as the first start prints it."""
    (found,) = {w.partition("=")[2] for w in stack("logs", "--no-log-prefix", "api").split() if w.startswith("KEY=")}
    return found


def test_a_file_that_is_imported_is_found_in_every_engine(stack: Stack, key: str, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(PEOPLE, encoding="utf-8")
    tmp_path.chmod(0o755)
    (firm,) = json.loads(stack.chancery("firm", "list", "--json"))
    stack(
        *("run", "--rm", "--no-deps", "--no-TTY", "--volume", f"{tmp_path}:/files:ro", "api"),
        *("import", "contacts", "/files/people.csv", "--firm", firm["id"]),
    )
    stack.wait_level()
    found = stack.answer("/v1/search?q=nunez", key)["items"]
    assert [i["title"] for i in found] == ["José Núñez"]
    around = stack.answer(f"/v1/graph/contact/{found[0]['id']}/neighbourhood?depth=1", key)
    assert "Olé SL" in json.dumps(around, ensure_ascii=False)
    assert "contacts.Created.v1" in stack.chancery("bus", "tail", "--count", "20", "--no-follow")
    assert json.loads(stack.chancery("doctor", "--json"))["ok"]


def test_nothing_ended_by_itself(stack: Stack) -> None:
    assert set(stack.restarts().values()) == {0}, stack.restarts()


def test_all_that_is_started_again_at_once_comes_back_by_itself_with_the_same_digests(stack: Stack, key: str) -> None:
    before = stack.digests()
    stack("restart", "--timeout", "0")
    stack.wait_healthy()
    stack.wait_level()
    assert stack.digests() == before
    assert stack.answer("/v1/search?q=schmidt", key)["items"]


def test_without_the_engines_postgresql_stands_in(stack: Stack, key: str) -> None:
    stack("down", "--timeout", "5")
    stack.profiles = ""
    stack("up", "--detach")
    stack.wait_healthy()
    assert "kafka" not in stack.states()
    stack.wait_level()
    assert [i["title"] for i in stack.answer("/v1/search?q=nunez", key)["items"]] == ["José Núñez"]
