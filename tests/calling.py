"""The command line as somebody types it, in this process."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from infra.cli.main import app
from infra.database import Database


def at_home(monkeypatch: pytest.MonkeyPatch, database: Database, data: Path) -> Path:
    """What is typed from here on works with this database and folder; answers the folder."""
    monkeypatch.setenv("CHANCERY_DATABASE_URL", database.admin_conninfo())
    monkeypatch.setenv("CHANCERY_DATA", str(data))
    monkeypatch.setenv("CHANCERY_LOG_LEVEL", "error")
    return data


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words])
