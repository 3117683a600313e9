"""Making rows of views anew from what the record still says: current rows and their whole history.

Every event that touched a row has left a slice of it with the event's position. So the slices of a row name all events it was made of;
those are read again, with what can still be opened of them, and folded anew. The view's edition counts up with it, so that a projector
forgets the row it holds in memory.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import psycopg

from infra.projector.engine import VIEWS_CHANNEL
from infra.projector.folding import Folding, fold_lines
from infra.projector.routing import Touched
from infra.projector.tables import Table
from infra.record import wire
from infra.record.reader import COLUMNS, EventRow, decode, fetch_keys
from infra.record.vault import Vault
from projections.kernel import VIEWS, Recorded, View

_EVENTS = f"SELECT {COLUMNS} FROM record.events WHERE position = ANY(%s) ORDER BY position"
_LOCK = "UPDATE chancery.projections SET edition = edition + 1 WHERE name = %s RETURNING position"
PIECE = 2_000


def anew(c: psycopg.Connection[Any], vault: Vault, firm: UUID, positions: Sequence[int]) -> int:
    """Make anew every row of every view that one of these events touched; answers how many rows."""
    wire.register(c)
    events = [r for piece in _pieces(positions) for r in _read(c, vault, piece)]
    done = 0
    for view in VIEWS.values():
        ids = sorted({id for r in events for id in view.keys(r)})
        for start in range(0, len(ids), PIECE):
            done += _refold(c, vault, view, firm, ids[start : start + PIECE])
    return done


def _pieces(positions: Sequence[int]) -> Iterable[Sequence[int]]:
    return (positions[i : i + PIECE] for i in range(0, len(positions), PIECE))


def _read(c: psycopg.Connection[Any], vault: Vault, positions: Sequence[int]) -> list[Recorded]:
    cursor = c.cursor(binary=True)
    cursor.execute(_EVENTS, (list(positions),))
    rows = [EventRow(*row) for row in cursor.fetchall()]
    keys = fetch_keys(c, vault, rows)
    return [decode(row, vault, keys) for row in rows]


def _refold(c: psycopg.Connection[Any], vault: Vault, view: View[Any], firm: UUID, ids: Sequence[UUID]) -> int:
    table: Table[Any] = Table(view)
    of = "WHERE t.firm_id = %s AND t.id = ANY(%s)"
    with c.transaction():
        if c.execute(_LOCK, (view.name,)).fetchone() is None:
            return 0
        made_of: dict[int, list[UUID]] = {}
        for source in (table.table, table.history):
            for id, position in c.execute(f"SELECT t.id, t.position FROM {source} t {of}", (firm, list(ids))).fetchall():
                made_of.setdefault(position, []).append(id)
        if not made_of:
            return 0
        c.execute(f"DELETE FROM {table.table} t {of}", (firm, list(ids)))
        c.execute(f"DELETE FROM {table.history} t {of}", (firm, list(ids)))
        positions = sorted(made_of)
        folding: Folding[Any] = Folding(view, table)
        for piece in _pieces(positions):
            touched: Touched = [(r, tuple(dict.fromkeys(made_of[r.position]))) for r in _read(c, vault, piece)]
            fold_lines(folding, c, touched)
        c.execute("SELECT pg_notify(%s, '')", (VIEWS_CHANNEL,))
        return len({id for found in made_of.values() for id in found})
