"""A second record beside the first."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from infra.database import Database


@pytest.fixture
def another(cluster: str, template: str) -> Iterator[Database]:
    """Another migrated database, empty."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(cluster, autocommit=True) as c:
        c.execute("SELECT pg_advisory_lock(7)")
        c.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        c.execute("SELECT pg_advisory_unlock(7)")
    yield Database(make_conninfo("", **{**conninfo_to_dict(cluster), "dbname": name}))
    with psycopg.connect(cluster, autocommit=True) as c:
        c.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
