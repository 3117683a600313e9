"""What is logged where: words for who sits at a terminal, JSON lines for machines."""

import io
import json
import sys
from typing import Any

import pytest
import structlog

from infra.logs import configure
from infra.settings import Settings


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def said(monkeypatch: pytest.MonkeyPatch, to: io.StringIO, **settings: Any) -> list[str]:
    monkeypatch.setattr(sys, "stderr", to)
    configure(Settings(**settings))
    log = structlog.get_logger()
    log.info("search.catching_up", position=7)
    log.warning("database.away", why="PostgreSQL does not answer.")
    return to.getvalue().splitlines()


def test_in_a_terminal_the_usual_course_of_things_is_not_logged_and_nothing_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHANCERY_LOG_LEVEL", raising=False)
    (line,) = said(monkeypatch, Terminal())
    assert "PostgreSQL does not answer." in line
    assert not line.startswith("{")


def test_whoever_sets_a_level_gets_it_in_a_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(said(monkeypatch, Terminal(), log_level="info")) == 2
    monkeypatch.setenv("CHANCERY_LOG_LEVEL", "info")
    assert len(said(monkeypatch, Terminal())) == 2
    assert said(monkeypatch, Terminal(), log_level="error") == []


def test_elsewhere_every_line_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHANCERY_LOG_LEVEL", raising=False)
    lines = [json.loads(line) for line in said(monkeypatch, io.StringIO())]
    assert [line["event"] for line in lines] == ["search.catching_up", "database.away"]
