"""A firm of its own for each module of import tests."""

import pytest

from infra.database import Database
from tests.infra.imports.importing import Firm


@pytest.fixture(scope="module")
def firm(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Firm:
    return Firm(database, tmp_path_factory.mktemp("firm"))
