"""Databases and parts of the record for tests that break them."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.database import Database
from infra.record.appender import Appender
from infra.record.vault import Vault
from tests.databases import copied


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the user who runs PostgreSQL gets into, whatever other test runs do to theirs."""
    made = Path(tempfile.mkdtemp(prefix="chancery-tests-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def fresh(cluster: str, template: str) -> Iterator[Database]:
    """A migrated database for one test alone: positions begin at 1."""
    with copied(cluster, template) as made:
        yield made


@pytest.fixture
def appender(fresh: Database) -> Iterator[Appender]:
    made = Appender(fresh)
    yield made
    made.close()


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "keys")
