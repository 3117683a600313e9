"""What the graph in Neo4j must hold: the same canonical rows, taken from the views in PostgreSQL."""

from typing import Any

from infra.database import Database
from infra.graph.neo4j.rows import canonical, digest
from infra.graph.neo4j.store import VIEWS
from infra.projector.tables import FOREVER, Slice, Table
from infra.record import wire


def postgres_digest(database: Database) -> str:
    """The digest of the views in PostgreSQL, in the same canonical form."""
    rows: list[bytes] = []
    with database.connect("record") as c, c.transaction():
        wire.register(c)
        c.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for view in VIEWS:
            table: Table[Any] = Table(view)
            names = ", ".join(f't."{n}"' for n in ("version", "created_at", "updated_at", "position", *table.names))
            for firm, id, version, created, updated, position, *values in c.execute(
                f"SELECT t.firm_id, t.id, {names} FROM {table.table} t".encode(), binary=True
            ):
                s: Slice[Any] = Slice(table.row(values), version, created, updated, position, position)
                rows.append(canonical(view, (firm, id), s, superseded=False))
            until = (
                f"t._known_from, CASE WHEN t._valid_to = 'infinity' THEN {FOREVER} ELSE (extract(epoch FROM t._valid_to"
                " - timestamptz '2000-01-01 00:00:00+00') * 1000000)::bigint END, t._known_to, t._known_end, t._gone"
            )
            for (
                firm,
                id,
                version,
                created,
                updated,
                position,
                *values,
                known_from,
                valid_to,
                known_to,
                known_end,
                gone,
            ) in c.execute(f"SELECT t.firm_id, t.id, {names}, {until} FROM {table.history} t".encode(), binary=True):
                row = None if gone else table.row(values)
                s = Slice(row, version, created, updated, position, known_from, valid_to, known_to, known_end)
                rows.append(canonical(view, (firm, id), s, superseded=True))
    return digest(rows)
