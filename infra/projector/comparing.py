"""Whether views hold what the record makes of it: shadows are filled as for a rebuild, compared row by row, and dropped.

B4  A row of a view, or a slice of its history, that somebody added, removed or changed by hand is found and named, without its values.

The views are looked at as of one moment, each with the position it stood at then; the record is folded up to there. They serve and follow meanwhile.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import structlog
from psycopg import sql

from infra.database import Database
from infra.projector import shadows
from infra.projector.filling import fill
from infra.projector.rebuild import BATCH, alone
from infra.record import wire
from infra.record.vault import Vault
from projections.kernel import View

log = structlog.get_logger()

ROWS = "firm_id, id"
SLICES = "firm_id, id, updated_at, _known_from"
SUPERSEDED = "_known_from, _valid_to, _known_to, _known_end, _gone"
_COLUMNS = (
    'SELECT array_agg(attname::text ORDER BY attname COLLATE "C") FROM pg_attribute'
    " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
)
_POSITIONS = "SELECT name, version, position FROM chancery.projections WHERE name = ANY(%s)"

Told = Callable[[int, int], None]


def columns(c: psycopg.Connection[Any], view: View[Any]) -> list[str]:
    """The columns of a view's table, in an order that does not depend on how the table came to be."""
    return list((c.execute(_COLUMNS, (view.table,)).fetchone() or ([],))[0] or ())


def contents(names: Sequence[str], schema: str, table: str, *, superseded: bool) -> sql.Composed:
    """The rows of a view, or of its history, as text in the order of their keys."""
    listed = sql.SQL(", ").join(map(sql.Identifier, names))
    more, order = (sql.SQL(f", {SUPERSEDED}"), sql.SQL(SLICES)) if superseded else (sql.SQL(""), sql.SQL(ROWS))
    return sql.SQL("COPY (SELECT {}{} FROM {} ORDER BY {}) TO STDOUT").format(listed, more, sql.Identifier(schema, table), order)


def compared(database: Database, vault: Vault, views: Sequence[View[Any]], progress: Told | None = None) -> list[str]:
    """Of each view that is not what the record makes of it, the first row that differs. AlreadyRebuilding when a rebuild runs."""
    found: list[str] = []
    with alone(database) as owner, database.connect("record") as there, _open(there):
        wire.register(owner)
        there.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        standing = {
            name: int(position)
            for name, version, position in there.execute(_POSITIONS, ([v.name for v in views],)).fetchall()
            if version == next(v.version for v in views if v.name == name)  # another version's rows are made anew at the next start
        }
        groups: dict[int, list[View[Any]]] = defaultdict(list)
        for v in views:
            if v.name in standing:
                groups[standing[v.name]].append(v)
        done, total = 0, sum(groups)
        for position, group in sorted(groups.items()):
            tables = [v.table.removeprefix("views.") for v in group]
            try:
                for table in tables:
                    shadows.make(owner, table)

                def told(at: int, before: int = done) -> None:
                    if progress is not None:
                        progress(before + at, total)

                try:
                    fill(database, vault, group, position, batch=BATCH, progress=told)
                except psycopg.OperationalError:
                    raise
                except Exception as e:
                    log.exception("views.not_made", views=tables)
                    found.append(f"{', '.join(tables)}: the record can't be folded up to position {position}: {type(e).__name__}")
                    continue
                for v, table in zip(group, tables, strict=True):
                    wrong = _differing(there, owner, v, table)
                    if wrong is not None:
                        found.append(f"view {v.name}, {wrong}")
            finally:
                done += position
                for table in tables:
                    shadows.drop(owner, table)
    return found


@contextmanager
def _open(c: psycopg.Connection[Any]) -> Iterator[None]:
    """A transaction that keeps its moment for as long as the record is folded; it holds nothing that anybody waits for."""
    c.execute("SET idle_in_transaction_session_timeout = 0")
    with c.transaction():
        yield


def _differing(there: psycopg.Connection[Any], owner: psycopg.Connection[Any], view: View[Any], table: str) -> str | None:
    """The first row of a view or of its history that the shadow has not, or has otherwise."""
    names = columns(there, view)
    for schema in shadows.SCHEMAS:
        superseded = schema == "history"
        shown = [*names, *SUPERSEDED.split(", ")] if superseded else names
        with (
            there.cursor().copy(contents(names, schema, table, superseded=superseded)) as stand,
            owner.cursor().copy(contents(names, schema, table + shadows.SHADOW, superseded=superseded)) as made,
        ):
            found = _first(_lines(stand), _lines(made))
            if found is None:
                continue
            for left in (stand, made):
                for _ in left:
                    pass
        has, should = (None if line is None else dict(zip(shown, line.split(b"\t"), strict=True)) for line in found)
        key = min(_key(row) for row in (has, should) if row is not None)
        which = f"row {key[1].decode()} of firm {key[0].decode()}"
        if superseded:
            return f"the past of {which} is not what the record makes of it"
        if has is None or _key(has) != key:
            return f"{which} is missing"
        if should is None or _key(should) != key:
            return f"{which} comes from no event"
        return f"{which} is not what the record makes of it: {', '.join(n for n in shown if has[n] != should[n])}"
    return None


def _key(row: dict[str, bytes]) -> tuple[bytes, bytes]:
    return row["firm_id"], row["id"]


def _lines(copy: psycopg.Copy) -> Iterator[bytes]:
    """The lines of a COPY in text form, in whatever pieces they come."""
    rest = b""
    for piece in copy:
        *whole, rest = (rest + bytes(piece)).split(b"\n")
        yield from whole


def _first(left: Iterator[bytes], right: Iterator[bytes]) -> tuple[bytes | None, bytes | None] | None:
    """The first two lines that are not the same; None past an end."""
    while True:
        a, b = next(left, None), next(right, None)
        if a != b:
            return a, b
        if a is None:
            return None
