"""Ends the session of a writer that was stopped in the middle of a COPY, where no limit of PostgreSQL's own reaches it.

Such a backend waits for the rest of the rows as for a slow client's, and holds the append lock. Whoever writes waits for that lock until
the server ends its own transaction, after `WRITE_SECONDS`; then it comes here, before it tries again.
"""

import psycopg
import structlog

from infra import database as databases
from infra.database import Database
from infra.record.appender.statements import APPEND_LOCK

log = structlog.get_logger()

# Whoever has held it for so long was to be ended by the server: every other wait for a client, the server's own limit ends.
END = (
    "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid = %s AND l.objid = %s"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND a.wait_event_type = 'Client' AND a.xact_start < now() - make_interval(secs => %s)"
)


def relieve(database: Database, waited: float) -> bool:
    """Whether a session was ended that held up the others. `waited` says how long whoever asks has waited, in seconds.

    Asked as the login itself: a session may be ended by the role it logged in as, and by none of Chancery's.
    """
    if waited < databases.WRITE_SECONDS - 1:
        return False
    try:
        with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
            ended = c.execute(END, (APPEND_LOCK >> 32, APPEND_LOCK & 0xFFFFFFFF, databases.WRITE_SECONDS)).fetchall()
    except psycopg.Error as e:
        log.warning("append.not_relieved", error=type(e).__name__)
        return False
    if ended:
        log.warning(
            "append.relieved",
            why="A writer stood still in the middle of what it sent, and held up the others. Its session was ended.",
        )
    return bool(ended)
