"""The eraser: carries out what was approved, one erasure after the other, and erases a restored database again before it serves."""

import asyncio
import time
from collections.abc import Sequence
from threading import Event
from uuid import UUID

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from domain.kernel import FirmId, Refused
from infra.bootstrap import opened
from infra.database import DatabaseUnusable
from infra.erasure.carry import carry_out
from infra.erasure.restored import purge_again
from infra.followers import Follower, Parts, Progress

log = structlog.get_logger()

NAME = "erasures"
LOCK = 7_020_240_330
PAUSE = 1.0
_PENDING = (
    "SELECT firm_id, contact, id FROM views.privacy_requests WHERE status IN ('approved', 'keys_destroyed') AND kind IN ('erase', 'anonymise')"
    " ORDER BY decided_at, id"
)
_SHOW = (
    "INSERT INTO chancery.projections (name, version, position) SELECT %s, 1, position FROM record.head ON CONFLICT (name) DO UPDATE"
    " SET position = excluded.position, stopped_at = %s, error = %s, updated_at = now()"
)


class Eraser:
    """One at a time in an installation: a second one waits."""

    name = NAME

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def run(self, stop: Event) -> None:
        while not stop.is_set():
            try:
                asyncio.run(self._run(stop))
            except (psycopg.Error, PoolTimeout, DatabaseUnusable) as e:  # the database goes away and comes back
                log.warning("erasure.interrupted", error=type(e).__name__)
                stop.wait(2.0)

    async def _run(self, stop: Event) -> None:
        with self._parts.database.connect("record") as alone:
            while not stop.is_set():
                if (alone.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone() or (False,))[0]:
                    break
                await asyncio.sleep(PAUSE)
            else:
                return
            while not stop.is_set():
                pending = alone.execute(_PENDING).fetchall()
                error = await self._carry_out(pending) if pending else None
                alone.execute(_SHOW, (NAME, None, error))
                await asyncio.sleep(PAUSE if error is None else PAUSE * 10)

    async def _carry_out(self, pending: Sequence[tuple[UUID, UUID, UUID]]) -> str | None:
        """Carry these out; answers what broke the last one off that was."""
        error: str | None = None
        async with opened(self._parts.settings, migrated=False) as c:
            for firm, contact, request in pending:
                try:
                    await carry_out(c, FirmId(firm), contact, request)
                except (Refused, psycopg.Error, OSError, RuntimeError, TimeoutError) as e:
                    error = type(e).__name__
                    log.error("erasure.broken_off", request=str(request), error=error)
        return error

    def rebuild(self, *, progress: Progress | None = None) -> int:
        """Let every store go, once more, of everyone who was erased."""
        started = time.monotonic()
        asyncio.run(purge_again(self._parts))
        log.info("erasure.purged_again", seconds=round(time.monotonic() - started, 3))
        with self._parts.database.connect("record") as c:
            head = int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])
        if progress is not None:
            progress(head, head)
        return head

    def digest(self) -> str:
        """It holds nothing of its own."""
        import hashlib

        return hashlib.sha256(b"").hexdigest()


def follower(parts: Parts) -> Follower:
    return Eraser(parts)
