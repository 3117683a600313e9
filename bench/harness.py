"""How a figure is measured: ours and theirs in turn, at least seven pairs, the median of the ratios with the lowest and highest.

Ratios outlive machines and neighbours; absolute figures do not. A pair runs close together and the order alternates, so that a busy
neighbour burdens both. A figure is reported only when what was written is whole: `check_record` raises otherwise.
"""

import gc
import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psycopg
from rich.console import Console
from rich.table import Table

PAIRS = 7
Direction = Literal["at least", "at most"]


class Broken(Exception):
    """What was measured did not hold its guarantees; the figure is worth nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    name: str
    against: str
    ratio: float
    low: float
    high: float
    runs: int
    goal: float | None  # None: a comparison, not judged
    direction: Direction
    said: str = ""  # what both were in absolute terms, for the table

    @property
    def reached(self) -> bool | None:
        if self.goal is None:
            return None
        return self.ratio >= self.goal if self.direction == "at least" else self.ratio <= self.goal


def figure(
    name: str,
    against: str,
    pairs: list[tuple[float, float]],
    *,
    goal: float | None,
    direction: Direction = "at least",
    unit: str = "/s",
) -> Figure:
    """The figure of pairs (ours, theirs)."""
    ratios = [ours / theirs for ours, theirs in pairs]
    ours, theirs = (statistics.median(p[n] for p in pairs) for n in (0, 1))
    return Figure(
        name=name,
        against=against,
        ratio=round(statistics.median(ratios), 3),
        low=round(min(ratios), 3),
        high=round(max(ratios), 3),
        runs=len(pairs),
        goal=goal,
        direction=direction,
        said=f"{ours:,.4g} : {theirs:,.4g} {unit}",
    )


def interleaved(ours: Callable[[], float], theirs: Callable[[], float], pairs: int = PAIRS) -> list[tuple[float, float]]:
    """Measure both in turn; a first pair warms up and is thrown away."""
    measured = []
    for n in range(pairs + 1):
        gc.collect()
        if n % 2:
            a = ours()
            b = theirs()
        else:
            b = theirs()
            a = ours()
        measured.append((a, b))
    return measured[1:]


def check_record(conninfo: str, acknowledged: int | None = None) -> None:
    """Positions contiguous and as the head says, every firm and stream dense; `acknowledged` events are there."""
    sums = (
        "SELECT (SELECT position FROM record.head), count(*), coalesce(max(position), 0), count(DISTINCT position) FROM record.events",
        "SELECT count(*) FROM (SELECT FROM record.events GROUP BY firm_id HAVING max(firm_position) + 1 <> count(*)) x",
        "SELECT count(*) FROM (SELECT FROM record.events GROUP BY firm_id, stream_type, stream_id"
        " HAVING max(stream_version) <> count(*) OR count(DISTINCT stream_version) <> count(*)) x",
    )
    with psycopg.connect(conninfo) as c:
        head = c.execute(sums[0]).fetchone() or (0, 0, 0, 0)
        if len(set(head)) != 1:
            raise Broken(f"positions are not contiguous: head, count, highest, distinct = {head}")
        for sql in sums[1:]:
            if (c.execute(sql.encode()).fetchone() or (1,))[0]:
                raise Broken("a firm's or a stream's counting has gaps")
        if acknowledged is not None and head[1] != acknowledged:
            raise Broken(f"{acknowledged} events were acknowledged, {head[1]} are there")


def show(figures: list[Figure]) -> None:
    table = Table("what", "against", "ratio", "low to high", "runs", "goal", "ours : theirs", "")
    for f in figures:
        table.add_row(
            f.name,
            f.against,
            f"{f.ratio:.2f}",
            f"{f.low:.2f} to {f.high:.2f}",
            str(f.runs),
            "" if f.goal is None else f"{f.direction} {f.goal:g}",
            f.said,
            {True: "[green]reached", False: "[yellow]missed", None: ""}[f.reached],
        )
    Console(width=170).print(table)


def write(figures: list[Figure], path: Path) -> None:
    rows = [{k: v for k, v in asdict(f).items() if k != "said"} for f in figures]
    path.write_text(json.dumps(rows, indent=1) + "\n")
