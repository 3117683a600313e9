"""How far an import is, as whoever waits for it is told."""

from pathlib import Path

import pytest

from infra.cli import importing
from infra.imports import reports
from infra.imports.reports import Progress
from tests.infra.imports.importing import Firm


def test_rows_bytes_rate_and_time_left_are_told_while_it_runs(firm: Firm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "EACH", 0.0)
    other = firm.another()
    table = tmp_path / "people.csv"
    table.write_text("id,first name,last name\n" + "".join(f"{n},Ann,Lee {n}\n" for n in range(3_000)))
    told: list[Progress] = []
    report = other.carry(table, "contacts", progress=told.append)
    assert report.created == 3_000
    carried = [p for p in told if p.phase == "importing"]
    assert len(carried) > 2
    for name in ("rows", "read"):
        counts = [getattr(p, name) for p in carried]
        assert counts == sorted(counts)
    assert {p.total for p in carried} == {table.stat().st_size}
    assert all(p.rate > 0 for p in carried if p.rows)
    amid = [p for p in carried if 0 < p.read < p.total]
    assert all(p.left is not None and p.left > 0 for p in amid)
    last = carried[-1]
    assert (last.rows, last.read, last.left) == (3_000, last.total, 0)


def test_where_there_is_no_terminal_a_line_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importing, "LOUD", 0.0)
    with importing.progress_of(json=True) as tell:
        tell(Progress(phase="importing", rows=1_200, read=50, total=150, rate=400.4, left=None))
        tell(Progress(phase="importing", rows=2_400, read=100, total=150, rate=400.4, left=3.2))
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "importing 1,200 rows, 400 a second",
        "importing 2,400 rows, 400 a second, 3 s left",
    ]
