"""What PostgreSQL itself keeps of rows that were replaced: dead rows, entries of indexes, statistics of columns, and its write-ahead log."""

from typing import Any

import psycopg
import structlog

from infra.database import Database

log = structlog.get_logger()

_TABLES = (
    "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind = 'r' AND n.nspname IN ('record', 'vault', 'views', 'history', 'chancery') AND pg_relation_size(c.oid) > 0 ORDER BY c.oid"
)
_STATISTICS = "pg_catalog.pg_statistic"


def sweep(database: Database) -> int:
    """Take dead rows out of every table, with their entries in indexes, and count the columns anew, whose statistics quote common values.

    Of the embedded server the write-ahead log goes too: what was written so far is checkpointed, and the log is begun anew. Another
    server's log is its operator's: it goes with the next checkpoints there. Answers how many tables were swept.
    """
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        tables = [t for (t,) in c.execute(_TABLES).fetchall()]
        for table in tables:
            c.execute(f"VACUUM (ANALYZE, INDEX_CLEANUP ON, TRUNCATE OFF) {table}".encode())
        try:
            c.execute(f"VACUUM {_STATISTICS}".encode())
        except psycopg.errors.InsufficientPrivilege:
            log.warning("erasure.statistics_not_swept")
        if database.folder is not None:
            begin_log_anew(c)
        return len(tables)


def begin_log_anew(c: psycopg.Connection[Any]) -> None:
    """Leave nothing of what was written so far in the write-ahead log. A segment is removed by the checkpoint after the one that left it."""
    for _ in range(2):
        c.execute("SELECT pg_switch_wal()")
        c.execute("CHECKPOINT")
