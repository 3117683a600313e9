"""The real Kafka, Elasticsearch and Neo4j, started once for a whole run of the tests and stopped at its end.

Tests of one file share an engine with those of others that run beside them: topics and indices carry a prefix of their own, and the one
database of Neo4j belongs to one file at a time and is empty when it begins. A test that kills an engine starts its own.
"""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from neo4j import GraphDatabase

from infra.engines.run import Engines, default_cache

CACHE = Path(os.environ["CHANCERY_ENGINES_CACHE"]) if os.environ.get("CHANCERY_ENGINES_CACHE") else default_cache()
RUN = "CHANCERY_TEST_RUN"  # names the run to its processes


def folder() -> Path:
    return Path(tempfile.gettempdir()) / f"chancery-tests-engines-{os.environ[RUN]}"


def begin() -> None:
    """Name this run, once, in the process that starts the others."""
    os.environ.setdefault(RUN, str(os.getpid()))


def up(names: Sequence[str]) -> dict[str, str]:
    """Start these engines unless they run; answers the variables that name them."""
    folder().mkdir(mode=0o700, exist_ok=True)
    return Engines(folder(), CACHE).up(names)


def end() -> None:
    """Stop what this run started; the process that began it does this."""
    if os.environ.get(RUN) == str(os.getpid()) and folder().exists():
        Engines(folder(), CACHE).forget()


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """Nobody else of this run holds that name meanwhile."""
    folder().mkdir(mode=0o700, exist_ok=True)
    with (folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def empty_neo4j(url: str) -> None:
    """Leave nothing in the database: no node, no constraint, no index."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    auth = (parts.username or "", parts.password or "") if parts.username else None
    with GraphDatabase.driver(f"{parts.scheme}://{parts.hostname}:{parts.port}", auth=auth) as driver, driver.session() as session:
        session.run("MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 10000 ROWS").consume()
        for record in list(session.run("SHOW CONSTRAINTS YIELD name RETURN name")):
            session.run(f"DROP CONSTRAINT `{record['name']}` IF EXISTS").consume()
        for record in list(session.run("SHOW INDEXES YIELD name, type WHERE type <> 'LOOKUP' RETURN name")):
            session.run(f"DROP INDEX `{record['name']}` IF EXISTS").consume()
