"""Whatever follows the record is stopped in the middle of its work, replaced, and woken a minute later beside its replacement: nothing differs.

They sleep for a whole minute in continuous integration; elsewhere for as many seconds as CHANCERY_TEST_SLEEP says.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self
from uuid import UUID, uuid4

import psycopg
import pytest
from pydantic import SecretStr

from commands.contacts import AmendContact, CreateContact
from commands.kernel import Actor
from domain.firms import Region
from domain.kernel import FirmId
from domain.members import ALL_PERMISSIONS
from infra.bootstrap import Chancery, opened
from infra.bus.relay import Relay
from infra.cli.console import execute
from infra.cli.firms import create_firm
from infra.cli.projections import digest_of
from infra.database import Database
from infra.followers import followers, parts
from infra.graph.neo4j.digests import postgres_digest
from infra.projector.rebuild import rebuild
from infra.record.bulk import Bulk, command_task
from infra.record.vault import Vault
from infra.settings import Settings
from projections.kernel import VIEWS
from tests.infra.bus.relaying import assert_published_once_and_in_order, head
from tests.infra.search.elastic import sweep

SLEEP = 60.0 if os.environ.get("CI") else float(os.environ.get("CHANCERY_TEST_SLEEP", "5"))
PEOPLE = 1_500  # waiting before anything follows, so that there is a middle of the work
WORKERS = {  # how each is started, and a row of chancery.projections that says how far it is
    "contacts": ("project", "--shard", "1/1"),
    "relay": ("follow", "relay"),
    "search": ("follow", "search"),
    "graph": ("follow", "graph"),
    "log": ("follow", "log"),
}
EVERY = frozenset({*VIEWS, *WORKERS})
SWIFT, SLOW = 0.02, 0.5  # seconds between two people
PATIENCE = 400.0  # seconds for what comes to pass in any case, on a machine whose cores are all taken

Worker = subprocess.Popen[bytes]


@contextmanager
def workers(settings: Settings, folder: Path) -> Iterator[dict[str, Worker]]:
    """One process for each, as an operator starts them; what they say stands in the folder."""
    given = settings.model_dump(exclude_unset=True)
    secrets = {k: v.get_secret_value() if isinstance(v, SecretStr) else str(v) for k, v in given.items()}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CHANCERY_")}
    environment |= {f"CHANCERY_{k.upper()}": v for k, v in secrets.items()}
    folder.mkdir()
    with ExitStack() as stack:
        started = {}
        for name, words in WORKERS.items():
            said = stack.enter_context((folder / name).open("wb"))
            process = subprocess.Popen(
                [sys.executable, "-m", "infra.cli", *words], env=environment, stdout=said, stderr=subprocess.STDOUT
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            started[name] = process
        yield started


class Writing:
    """People wait for whoever follows; then one after another is added and amended, by a thread of its own."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._ended = threading.Event()
        self._begun = threading.Event()
        self.pause = SWIFT
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()))

    async def _work(self) -> None:
        async with opened(self._settings) as chancery:
            firm = FirmId(UUID((await create_firm(chancery, "A firm", Region.EU))["firm_id"]))
            await asyncio.to_thread(self._crowd, firm)
            self._begun.set()
            n = PEOPLE
            while not self._ended.is_set():
                n += 1
                made = await self._do(chancery, firm, CreateContact(given=f"Person{n}", family="Comer"))
                await self._do(chancery, firm, AmendContact(id=UUID(made["id"]), job_title=f"Title {n}"))
                await asyncio.sleep(self.pause)

    def _crowd(self, firm: FirmId) -> None:
        actor = Actor("member", str(uuid4()))
        with Bulk(self._database, Vault(self._settings.keys_folder), firm=firm, actor=actor) as bulk:
            made = bulk.run([command_task(CreateContact(given=f"Person{n}", family="Waits"), actor=actor) for n in range(PEOPLE)])
            ids = [UUID(str(o.answer["id"])) for o in made if o.answer]
            done = bulk.run([command_task(AmendContact(id=id, job_title=f"Title {n}"), actor=actor) for n, id in enumerate(ids)])
            assert len(list(done)) == PEOPLE

    async def _do(self, chancery: Chancery, firm: FirmId, command: Any) -> dict[str, Any]:
        return dict((await execute(chancery, command, firm, permissions=ALL_PERMISSIONS)).body)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._begun.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


class Standing:
    """How far everything is, asked on one connection."""

    def __init__(self, c: psycopg.Connection[Any]) -> None:
        self._c = c

    def head(self) -> int:
        return int((self._c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])

    def positions(self) -> dict[str, int]:
        rows = self._c.execute("SELECT name, position FROM chancery.projections WHERE name = ANY(%s)", (list(EVERY),))
        return {name: int(position) for name, position in rows}

    def beyond(self, position: int) -> bool:
        """Whether everything has passed that position."""
        at = self.positions()
        return at.keys() == EVERY and min(at.values()) > position

    def caught_up(self) -> bool:
        head = self.head()
        return self.beyond(head - 1)

    def until(self, done: Callable[[], bool], pause: float = 0.25) -> None:
        limit = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < limit, f"it did not come to that: {self.head()} {self.positions()}"
            time.sleep(pause)

    def stopped(self) -> list[Any]:
        return [
            *self._c.execute("SELECT name, stopped_at, error FROM chancery.projections WHERE stopped_at IS NOT NULL"),
            *self._c.execute("SELECT firm_id, stopped FROM chancery.logs WHERE stopped IS NOT NULL"),
        ]


def put_to_sleep(standing: Standing, awake: dict[str, Worker]) -> None:
    """Stop each as soon as it has moved, and before it is done."""
    first = standing.positions()
    left = dict(awake)

    def asleep() -> bool:
        at, last = standing.positions(), standing.head()
        for name in list(left):
            if first.get(name, 0) < at.get(name, 0) < last:
                left.pop(name).send_signal(signal.SIGSTOP)
        return not left

    standing.until(asleep, pause=0.01)


def ended(*some: dict[str, Worker]) -> dict[str, int | None]:
    """Those that have ended, and how."""
    return {name: process.poll() for each in some for name, process in each.items() if process.poll() is not None}


@pytest.fixture
def full(settings: Settings, kafka: str, elasticsearch: str, neo4j: str) -> Iterator[Settings]:
    """With all engines, under names of its own."""
    prefix = f"sleep{uuid4().hex[:8]}"
    yield Settings(
        data=settings.data,
        database_url=settings.database_url,
        kafka_bootstrap=kafka,
        kafka_prefix=prefix,
        kafka_partitions=3,
        elasticsearch_url=SecretStr(elasticsearch),
        elasticsearch_prefix=prefix,
        neo4j_url=SecretStr(neo4j),
    )
    sweep(elasticsearch, prefix)


def test_workers_that_slept_and_wake_beside_their_replacements_change_no_digest(
    database: Database, settings: Settings, full: Settings, tmp_path: Path
) -> None:
    with database.connect("record") as c:
        standing = Standing(c)
        with Writing(settings, database) as writing, workers(full, tmp_path / "sleepers") as sleepers:
            put_to_sleep(standing, sleepers)
            asleep = standing.head()
            wake = time.monotonic() + SLEEP
            writing.pause = SLOW
            with workers(full, tmp_path / "replacements") as replacements:
                standing.until(lambda: standing.beyond(asleep), pause=1.0)
                time.sleep(max(0.0, wake - time.monotonic()))
                for process in sleepers.values():
                    process.send_signal(signal.SIGCONT)
                writing.pause = SWIFT
                more = standing.head() + 200
                standing.until(lambda: standing.beyond(more))
                writing.end()
                standing.until(standing.caught_up)
                assert ended(sleepers, replacements) == {}
        assert standing.stopped() == []
        live = {name: digest_of(c, name) for name in sorted(VIEWS)}
        rebuild(database, Vault(settings.keys_folder), list(VIEWS.values()))
        assert {name: digest_of(c, name) for name in sorted(VIEWS)} == live
    assert assert_published_once_and_in_order(full, database) == head(database)
    made = {f.name: f for f in followers(parts(full, database))}
    plain = {f.name: f for f in followers(parts(settings, database))}
    assert made["relay"].digest() == Relay(full, database).record_digest()
    assert made["graph"].digest() == postgres_digest(database)
    found = made["search"].digest()
    plain["search"].rebuild()
    assert found == plain["search"].digest()
    signed = made["log"].digest()
    made["log"].rebuild()
    assert signed == made["log"].digest()
