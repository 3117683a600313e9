"""What is done for each log once a day: its heads are sealed, and a timestamp is asked for where an authority is set."""

from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any
from uuid import UUID

import psycopg
import structlog

from domain.kernel import Refused
from infra.database import interrupted
from infra.followers import Parts
from infra.proofs import heads
from infra.proofs.acting import execute, sealing
from infra.proofs.errors import NotProved
from infra.proofs.heads import Seal
from infra.proofs.store import Log, LogStore
from infra.proofs.timestamps import Authority, NoTimestamp, authority

log = structlog.get_logger()

DAY = timedelta(days=1)
LOOK_SECONDS = 60.0

# A quiet firm is left alone: the log has grown by more than the event of its last seal, and there is consent to seal.
_TO_SEAL = (
    "SELECT l.firm_id FROM chancery.logs l LEFT JOIN LATERAL (SELECT s.as_of_size, s.made_at FROM chancery.log_seals s"
    " WHERE s.firm_id = l.firm_id ORDER BY s.as_of_size DESC LIMIT 1) s ON true WHERE l.stopped IS NULL"
    " AND (s.made_at IS NULL OR s.made_at < %s) AND l.size > coalesce(s.as_of_size, -1) + 1"
    " AND EXISTS (SELECT FROM record.events e WHERE e.firm_id = l.firm_id AND e.stream_type = 'consent')"
)
_TO_STAMP = (
    "SELECT l.firm_id FROM chancery.logs l LEFT JOIN LATERAL (SELECT t.size, t.stamped_at FROM chancery.log_timestamps t"
    " WHERE t.firm_id = l.firm_id AND t.origin = l.origin ORDER BY t.stamped_at DESC LIMIT 1) t ON true"
    " WHERE l.note IS NOT NULL AND (t.stamped_at IS NULL OR t.stamped_at < %s AND t.size < l.size)"
)
_KEEP = "INSERT INTO chancery.log_checkpoints (firm_id, origin, size, note, signed_at) VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
_KEPT = "SELECT note FROM chancery.log_checkpoints WHERE firm_id = %s AND origin = %s AND size = %s"
_STAMPED = (
    "INSERT INTO chancery.log_timestamps (firm_id, origin, size, response, stamped_at) VALUES (%s, %s, %s, %s, %s)"
    " ON CONFLICT DO NOTHING"
)


class Daily:
    """Looks every minute for what is due."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._authority = authority(parts.settings)

    def run(self, stop: Event) -> None:
        while not stop.wait(LOOK_SECONDS):
            try:
                self.once(datetime.now(UTC), stop)
            except psycopg.Error as e:
                interrupted(log, "log.daily_interrupted", e)

    def once(self, now: datetime, stop: Event | None = None) -> None:
        """Do everything that is due."""
        with self._parts.database.connect("record") as c:
            due = [firm for (firm,) in c.execute(_TO_SEAL, (now - DAY,)).fetchall()]
            stamps = [firm for (firm,) in c.execute(_TO_STAMP, (now - DAY,)).fetchall()] if self._authority else []
        for firm in due:
            if stop is not None and stop.is_set():
                return
            try:
                seal(self._parts, firm)
            except (NotProved, Refused) as e:
                log.error("log.not_sealed", firm=str(firm), error=type(e).__name__)
        for firm in stamps:
            if stop is not None and stop.is_set():
                return
            if self._authority is not None:
                try:
                    with self._parts.database.connect("record") as c:
                        stamp(c, firm, self._authority)
                except (NotProved, NoTimestamp) as e:
                    log.error("log.not_timestamped", firm=str(firm), why=str(e))
                    break  # the others would fare no better now


def seal(parts: Parts, firm: UUID) -> Seal:
    """Seal a firm's heads as of its log's present size, and record it."""
    with parts.database.connect("record") as c:
        entry = LogStore(c, firm).log()
    made = heads.seal(parts.database, entry)
    execute(parts.database, parts.vault, sealing(made), firm)
    log.info("log.heads_sealed", firm=str(firm), as_of_size=made.as_of_size, count=made.count)
    return made


def stamp(c: psycopg.Connection[Any], firm: UUID, by: Authority) -> tuple[int, datetime]:
    """Ask for a timestamp over a firm's newest checkpoint and keep it; the checkpoint's size and the time it states."""
    entry = LogStore(c, firm).log()
    note = _kept(c, entry)
    response, at = by.stamp(note.encode())
    c.execute(_STAMPED, (firm, entry.origin, entry.size, response, at))
    log.info("log.timestamped", firm=str(firm), size=entry.size)
    return entry.size, at


def _kept(c: psycopg.Connection[Any], entry: Log) -> str:
    """The newest checkpoint, which is kept from now on."""
    size = entry.checkpoint.size
    c.execute(_KEEP, (entry.firm, entry.origin, size, entry.note, entry.signed_at))
    row = c.execute(_KEPT, (entry.firm, entry.origin, size)).fetchone()
    return str(row[0] if row else entry.note)
