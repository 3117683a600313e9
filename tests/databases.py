"""Databases of tests: copies of the migrated one, gone when they have served."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from infra.database import Database

STATEMENT_MS = 100_000  # for one read, on a machine whose cores are all taken


def at(uri: str, name: str) -> str:
    """Another database of the same server."""
    return make_conninfo("", **{**conninfo_to_dict(uri), "dbname": name})


@contextmanager
def copied(cluster: str, template: str) -> Iterator[Database]:
    """A migrated database, empty: positions begin at 1."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(cluster, autocommit=True) as c:
        c.execute("SELECT pg_advisory_lock(7)")
        c.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        c.execute("SELECT pg_advisory_unlock(7)")
    yield Database(at(cluster, name), statement_timeout_ms=STATEMENT_MS)
    with psycopg.connect(cluster, autocommit=True) as c:
        c.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
