"""A second record beside the first."""

from collections.abc import Iterator

import pytest

from infra.database import Database
from tests.databases import copied


@pytest.fixture
def another(cluster: str, template: str) -> Iterator[Database]:
    """Another migrated database, empty."""
    with copied(cluster, template) as made:
        yield made
