"""Databases and parts of the record for tests that break them."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from infra.database import Database
from infra.record.appender import Appender
from infra.record.vault import Vault


@pytest.fixture
def fresh(cluster: str, template: str) -> Iterator[Database]:
    """A migrated database for one test alone: positions begin at 1."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(cluster, autocommit=True) as c:
        c.execute("SELECT pg_advisory_lock(7)")
        c.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        c.execute("SELECT pg_advisory_unlock(7)")
    yield Database(make_conninfo("", **{**conninfo_to_dict(cluster), "dbname": name}))
    with psycopg.connect(cluster, autocommit=True) as c:
        c.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def appender(fresh: Database) -> Iterator[Appender]:
    made = Appender(fresh)
    yield made
    made.close()


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "keys")
