"""Whether one view, one follower or one share of the views does its work: what a watchdog asks of it.

`python -m infra.watch NAME` is `chancery status --of NAME` for those who ask every minute: it answers in a third of the time.
"""

import sys
import time
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import psycopg

from infra.database import Database, DatabaseUnusable
from infra.settings import Settings

PATIENCE: Final = 5.0  # seconds in which what lags must have moved
ROUND: Final = 60.0  # seconds within which what looks at the record by rounds has shown itself
ASKED: Final = 0.25

_ROWS = (
    "SELECT p.name, p.position, p.stopped_at, p.error, h.position - p.position, extract(epoch FROM now() - p.updated_at)::float8"
    " FROM chancery.projections p, record.head h"
    " WHERE p.name = %(name)s OR p.process = %(name)s ORDER BY p.name"
)


class Standing(NamedTuple):
    name: str
    position: int
    stopped_at: int | None
    error: str | None
    lag: int
    shown: float  # seconds ago


class Unknown(Exception):
    """Nothing of that name has ever run here."""


def standings(c: psycopg.Connection[Any], name: str) -> list[Standing]:
    """The rows of a view, a follower, or of all views of a share. Unknown when there is none."""
    found = [Standing(*row) for row in c.execute(_ROWS, {"name": name})]
    if not found:
        raise Unknown(name)
    return found


def examine(c: psycopg.Connection[Any], name: str, patience: float = PATIENCE) -> tuple[list[Standing], str | None]:
    """Where it stands, and what is wrong with it, in a sentence: it has stopped, it says of itself what it lacks, or it lags and stands still."""
    first = standings(c, name)
    until = time.monotonic() + patience
    while True:
        now = standings(c, name)
        for s in now:
            if s.stopped_at is not None:
                return now, f"{s.name} has stopped at position {s.stopped_at}: {s.error}."
            if s.error is not None:
                return now, f"{s.name} can't go on at position {s.position}: {s.error.rstrip('.')}."
        moved = {s.name: s.position for s in first}
        still = [s for s in now if s.lag > 0 and s.shown > ROUND and s.position <= moved.get(s.name, s.position)]
        if not still:
            return now, None
        if time.monotonic() > until:
            worst = max(still, key=lambda s: s.lag)
            return (
                now,
                f"{worst.name} stands still at position {worst.position}, {worst.lag} behind the record. Does its process run?",
            )
        time.sleep(ASKED)


@dataclass(frozen=True, slots=True)
class Watched:
    """What was found: `wrong` says in a sentence what is not as it should be, if anything."""

    name: str
    rows: list[Standing]
    wrong: str | None

    @property
    def said(self) -> str:
        lag = max((s.lag for s in self.rows), default=0)
        return self.wrong or f"{self.name} is at work" + (f", {lag} behind the record." if lag else " and up to date.")


def watch(name: str, settings: Settings) -> Watched:
    """Ask the database that these settings name."""
    found: list[Standing] = []
    try:
        database = Database.open(settings)
        try:
            with database.connect("record") as c:
                found, wrong = examine(c, name)
        finally:
            database.close()
    except Unknown:
        wrong = f"Nothing named {name!r} has run here. `chancery projection list` shows what there is."
    except DatabaseUnusable as e:
        wrong = str(e)
    except psycopg.Error:
        wrong = "The database does not answer. Check that it runs, and the host, port, name and password in CHANCERY_DATABASE_URL."
    return Watched(name, found, wrong)


def main() -> None:
    """Print it; exit 1 when something is wrong."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m infra.watch NAME")
    found = watch(sys.argv[1], Settings())
    sys.stdout.write(f"{found.said}\n")
    sys.exit(found.wrong is not None)


if __name__ == "__main__":
    main()
