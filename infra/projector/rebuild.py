"""Rebuilding views from the record: a shadow is filled while the old view serves, then put in its place in one step.

B1  A reader sees the old view or the new one, whole; never neither, never a mixture.
B2  A rebuild that is stopped at any moment leaves the old view as it was; what it made is dropped by the next one.
B3  The shadow is filled by the same folding as the live view, so their digests are equal.
"""

from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import structlog
from psycopg import sql

from infra.database import Database
from infra.projector.folding import fold_batch
from infra.projector.tables import Table
from infra.record import wire
from infra.record.reader import FOREIGN, decode, fetch_keys, read_after
from infra.record.vault import Vault
from projections.kernel import View

log = structlog.get_logger()

BATCH = 5_000
SHADOW = "__new"
REBUILD_LOCK = 7_020_240_003
ATTEMPTS = 10


class AlreadyRebuilding(Exception):
    """Another process is rebuilding views of this database. Wait until it is done."""


class RebuildFailed(Exception):
    """An event could not be applied, so the old view stays. `chancery projection list` shows where it stands."""


def rebuild(
    database: Database, vault: Vault, views: Sequence[View[Any]], *, progress: Callable[[int, int], None] | None = None
) -> int:
    """Rebuild these views from the first event; answers the position they reached. The old ones serve until the last moment."""
    with _alone(database) as owner, database.connect("record") as record:
        wire.register(owner)
        names = {v.name: v.table.removeprefix("views.") for v in views}
        shadows = {
            v.name: Table(v, table=f"{v.table}{SHADOW}", history=f"{v.table.replace('views.', 'history.', 1)}{SHADOW}")
            for v in views
        }
        for name in names.values():
            _make_shadow(owner, name)
        position = 0
        head = _head(record)
        while position < head:
            with owner.transaction():
                position = _apply(owner, record, vault, views, shadows, position)
            head = max(head, _head(record))
            if progress is not None:
                progress(position, head)
        for name in names.values():
            _index_shadow(owner, name)
        for _ in range(ATTEMPTS):
            with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                return _swap(owner, record, vault, views, shadows, names, position)
        raise RebuildFailed


@contextmanager
def _alone(database: Database) -> Any:
    """A connection as the owner of the tables, the only one that rebuilds."""
    with psycopg.connect(database.conninfo("owner"), autocommit=True) as owner:
        row = owner.execute("SELECT pg_try_advisory_lock(%s)", (REBUILD_LOCK,)).fetchone()
        if row is None or not row[0]:
            raise AlreadyRebuilding
        owner.execute("SET lock_timeout = '2s'")
        owner.execute("SET synchronous_commit = off")
        yield owner


def _head(c: psycopg.Connection[Any]) -> int:
    return int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])


def _make_shadow(owner: psycopg.Connection[Any], name: str) -> None:
    """Empty tables beside the view's, with primary keys and no other index yet."""
    with owner.transaction():
        for schema in ("views", "history"):
            shadow = sql.Identifier(schema, name + SHADOW)
            owner.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(shadow))
            owner.execute(
                sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL EXCLUDING INDEXES)").format(shadow, sql.Identifier(schema, name))
            )
            ((key,),) = owner.execute(
                "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'p'",
                (f"{schema}.{name}",),
            ).fetchall()
            owner.execute(sql.SQL("ALTER TABLE {} ADD {}").format(shadow, sql.SQL(key)))


def _index_shadow(owner: psycopg.Connection[Any], name: str) -> None:
    """The other indexes of the view's tables, on the filled shadows."""
    for schema in ("views", "history"):
        for index, definition in owner.execute(
            "SELECT c.relname, pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " WHERE i.indrelid = %s::regclass AND NOT i.indisprimary",
            (f"{schema}.{name}",),
        ).fetchall():
            shadow = sql.Identifier(schema, name + SHADOW).as_string(owner)
            kind, _, rest = definition.partition(f" INDEX {sql.Identifier(index).as_string(owner)} ON ")
            if not rest:
                kind, _, rest = definition.partition(f" INDEX {index} ON ")
            fresh = sql.Identifier(f"{index[: 63 - len(SHADOW)]}{SHADOW}").as_string(owner)
            owner.execute(f"{kind} INDEX {fresh} ON {shadow} {rest[rest.index('USING') :]}".encode())
        owner.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(schema, name + SHADOW)))


def _rename_indexes(owner: psycopg.Connection[Any], schema: str, name: str) -> None:
    """Give the indexes of a table that has taken its place their lasting names."""
    for (index,) in owner.execute(
        "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = %s::regclass AND c.relname LIKE %s",
        (f"{schema}.{name}", f"%{SHADOW}%".replace("_", "\\_")),
    ).fetchall():
        owner.execute(
            sql.SQL("ALTER INDEX {} RENAME TO {}").format(
                sql.Identifier(schema, index), sql.Identifier(index.replace(SHADOW, "", 1))
            )
        )


def _apply(
    owner: psycopg.Connection[Any],
    record: psycopg.Connection[Any],
    vault: Vault,
    views: Sequence[View[Any]],
    shadows: dict[str, Table[Any]],
    position: int,
) -> int:
    """One batch after `position` into every shadow; answers where that leads, `position` when nothing follows."""
    rows = read_after(record, position, BATCH)
    if not rows:
        return position
    keys = fetch_keys(record, vault, rows)
    events = [decode(row, vault, keys) for row in rows if row.stream_type != FOREIGN]
    for v in views:
        fold_batch(v, shadows[v.name], owner, events)
    return rows[-1].position


def _swap(
    owner: psycopg.Connection[Any],
    record: psycopg.Connection[Any],
    vault: Vault,
    views: Sequence[View[Any]],
    shadows: dict[str, Table[Any]],
    names: dict[str, str],
    position: int,
) -> int:
    """Apply what has come since, and put the shadows in the places of the views, in one transaction that holds their positions."""
    with owner.transaction():
        owner.execute("SELECT name FROM chancery.projections WHERE name = ANY(%s) ORDER BY name FOR UPDATE", (list(names),))
        reached = position
        while (after := _apply(owner, record, vault, views, shadows, reached)) != reached:
            reached = after
        for v in views:
            name = names[v.name]
            for schema in ("at", "before"):
                owner.execute(sql.SQL("DROP VIEW {}").format(sql.Identifier(schema, name)))
            for schema in ("views", "history"):
                owner.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(schema, name)))
                owner.execute(
                    sql.SQL("ALTER TABLE {} RENAME TO {}").format(sql.Identifier(schema, name + SHADOW), sql.Identifier(name))
                )
                _rename_indexes(owner, schema, name)
            owner.execute("CALL chancery.serve_view(%s)", (name,))
            owner.execute(
                "INSERT INTO chancery.projections (name, version, position) VALUES (%s, %s, %s) ON CONFLICT (name) DO UPDATE"
                " SET version = excluded.version, position = excluded.position, stopped_at = NULL, error = NULL, updated_at = now()",
                (v.name, v.version, reached),
            )
        owner.execute("SELECT pg_notify('chancery_views', %s)", (str(reached),))
    log.info("projection.rebuilt", views=sorted(names), position=reached)
    return reached
