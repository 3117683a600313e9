"""One embedded PostgreSQL for the whole run; a database of its own, migrated, for every module that asks."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
import structlog
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis

from infra import registry
from infra.database import Database, migrate, migrations
from infra.embedded import start
from infra.settings import Settings
from tests import engines
from tests.databases import STATEMENT_MS, at, copied
from tests.house import House, a_house

# How long an example takes says how busy the machine is. What is tried is the same in every run: what fails by a new example fails on the
# change that brought it. `--hypothesis-profile=searching` looks for new ones.
hypothesis.register_profile("searching", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.register_profile("chancery", hypothesis.get_profile("searching"), derandomize=True, database=None)
hypothesis.load_profile("chancery")
CONNECTIONS = 400


def pytest_configure() -> None:
    engines.begin()


def pytest_unconfigure() -> None:
    engines.end()


@pytest.fixture(autouse=True)
def as_quiet_as_before() -> Iterator[None]:
    """What a command sets for its logs ends with the test that ran it."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def kafka() -> str:
    """The bootstrap address of the real Kafka of this run. Topics of a test carry a prefix of their own."""
    return engines.up(("kafka",))["CHANCERY_KAFKA_BOOTSTRAP"]


@pytest.fixture(scope="session")
def elasticsearch() -> str:
    """The URL, with user and password, of the real Elasticsearch of this run. Indices of a test carry a prefix of their own."""
    return engines.up(("elasticsearch",))["CHANCERY_ELASTICSEARCH_URL"]


@pytest.fixture(scope="module")
def neo4j() -> Iterator[str]:
    """The URL, with user and password, of the real Neo4j of this run: empty, and this file's alone."""
    with engines.alone("neo4j"):
        url = engines.up(("neo4j",))["CHANCERY_NEO4J_URL"]
        engines.empty_neo4j(url)
        yield url


def roomy(folder: Path) -> Any:
    """The server of this folder, with room for the connections of several whole installations at once."""
    server = start(folder)
    with psycopg.connect(server.get_uri(), autocommit=True) as c:
        if c.execute("SHOW max_connections").fetchone() == (str(CONNECTIONS),):
            return server
        c.execute(f"ALTER SYSTEM SET max_connections = {CONNECTIONS}")
    server.cleanup()
    return start(folder)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The connection string of an embedded server; the processes of one run share it."""
    registry.load()
    given = os.environ.get("CHANCERY_TEST_DATABASE_URL")
    if given:
        yield given
        return
    root = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        root = root.parent
    name = hashlib.sha256(str(root).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"chancery-tests-{name}"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = roomy(folder / "postgres")
        fcntl.flock(lock, fcntl.LOCK_UN)
    yield server.get_uri()
    server.cleanup()
    if not os.environ.get("PYTEST_XDIST_WORKER"):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def template(cluster: str) -> str:
    """A migrated database that others are copied from."""
    digest = hashlib.sha256("".join(sql for _, _, sql in migrations()).encode()).hexdigest()[:12]
    name = f"template_{digest}"
    with psycopg.connect(cluster, autocommit=True) as c:
        c.execute("SELECT pg_advisory_lock(7)")
        if c.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            c.execute(f"CREATE DATABASE {name}")
            migrate(Database(at(cluster, name)))
            c.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        c.execute("SELECT pg_advisory_unlock(7)")
    return name


@pytest.fixture(scope="module")
def database(cluster: str, template: str) -> Iterator[Database]:
    """A fresh migrated database for this module."""
    with copied(cluster, template) as made:
        yield made


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, database: Database) -> Settings:
    """Settings with the module's database and folders of its own."""
    data = tmp_path_factory.mktemp("data")
    return Settings(
        data=data,
        database_url=database.admin_conninfo(),
        rate_per_second=100_000,
        rate_burst=100_000,
        statement_timeout_ms=STATEMENT_MS,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(settings: Settings, database: Database) -> AsyncIterator[House]:
    """A whole Chancery for this module."""
    async with a_house(settings, database) as opened:
        yield opened
