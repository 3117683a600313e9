"""The tables a rebuild fills beside a view's own: made bare, given keys and indexes when they are full, renamed when they take over."""

from typing import Any

import psycopg
from psycopg import sql

SHADOW = "__new"
SCHEMAS = ("views", "history")


def make(owner: psycopg.Connection[Any], name: str) -> None:
    """Empty tables beside the view's, without keys or indexes."""
    with owner.transaction():
        drop(owner, name)
        for schema in SCHEMAS:
            shadow = sql.Identifier(schema, name + SHADOW)
            owner.execute(
                sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL EXCLUDING INDEXES)").format(shadow, sql.Identifier(schema, name))
            )


def drop(owner: psycopg.Connection[Any], name: str) -> None:
    """What a rebuild or a comparison has made."""
    for schema in SCHEMAS:
        owner.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(schema, name + SHADOW)))


def add_key(owner: psycopg.Connection[Any], schema: str, name: str) -> None:
    """The primary key of a shadow, if it has none yet."""
    there = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = to_regclass(%s) AND contype = 'p'"
    if owner.execute(there, (f"{schema}.{name}{SHADOW}",)).fetchone() is None:
        ((key,),) = owner.execute(there, (f"{schema}.{name}",)).fetchall()
        owner.execute(sql.SQL("ALTER TABLE {} ADD {}").format(sql.Identifier(schema, name + SHADOW), sql.SQL(key)))


def add_indexes(owner: psycopg.Connection[Any], schema: str, name: str) -> None:
    """The other indexes of a view's table, on its filled shadow, and statistics."""
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


def take_over(owner: psycopg.Connection[Any], name: str) -> None:
    """Put the shadows in the places of the view's tables."""
    for schema in ("at", "before"):
        owner.execute(sql.SQL("DROP VIEW {}").format(sql.Identifier(schema, name)))
    for schema in SCHEMAS:
        owner.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(schema, name)))
        owner.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(sql.Identifier(schema, name + SHADOW), sql.Identifier(name)))
        for (index,) in owner.execute(
            "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = %s::regclass AND c.relname LIKE %s",
            (f"{schema}.{name}", f"%{SHADOW}%".replace("_", "\\_")),
        ).fetchall():
            owner.execute(
                sql.SQL("ALTER INDEX {} RENAME TO {}").format(
                    sql.Identifier(schema, index), sql.Identifier(index.replace(SHADOW, "", 1))
                )
            )
    owner.execute("CALL chancery.serve_view(%s)", (name,))
