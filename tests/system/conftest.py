"""A folder for the data of a server."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not among pytest's: it closes those to other users whenever it is started anywhere, and as root PostgreSQL runs as another user."""
    made = Path(tempfile.mkdtemp(prefix="chancery-served-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)
