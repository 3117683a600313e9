"""The eraser: carries out what was approved, one erasure after the other, and erases a restored database again before it serves."""

import asyncio
import time
from collections.abc import Sequence
from threading import Event
from uuid import UUID

import psycopg
import structlog

from domain.kernel import FirmId, Refused
from infra.bootstrap import opened
from infra.database import Database
from infra.erasure.carry import carry_out
from infra.erasure.keys import ErasedList, null, touched
from infra.erasure.rows import anew
from infra.erasure.stores import Task, stores
from infra.erasure.subjects import Subjects
from infra.followers import Follower, Parts, Progress
from infra.record.vault import Vault

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


def replay(database: Database, vault: Vault) -> int:
    """Destroy again what a restored database has brought back of people who were erased; answers how many keys that were (ER4).

    Sealed values and rows of views go with them at once; search and the other derivatives are purged by `purge_again`.
    """
    done = 0
    for erased in ErasedList(vault.folder):
        with database.connect("record") as c:
            found = c.execute(
                "DELETE FROM vault.data_keys WHERE firm_id = %s AND subject_id = ANY(%s) AND NOT purpose = ANY(%s) AND key_id = ANY(%s)"
                " RETURNING key_id",
                (erased.firm, list(erased.subjects), list(erased.kept_purposes), list(erased.keys)),
            ).fetchall()
            if not found:
                continue
            done += len(found)
            log.warning("erasure.replayed", firm=str(erased.firm), request=str(erased.request), keys=len(found))
            for subject in erased.subjects:
                vault.forget(erased.firm, subject)
            events = list(touched(c, erased.firm, erased.keys))
            null(c, vault, erased.firm, events)
            anew(c, vault, erased.firm, [p for p, _ in events])
    return done


async def purge_again(parts: Parts) -> None:
    """Let every store go, once more, of everyone on the list: after a restore."""
    for erased in ErasedList(parts.vault.folder):
        with parts.database.connect("record") as c:
            streams = c.execute(
                "SELECT position, coalesce(sealed, '[]') FROM record.events WHERE firm_id = %s AND stream_id = ANY(%s)",
                (erased.firm, list(erased.subjects)),
            ).fetchall()
        subjects = Subjects(firm=erased.firm, people=erased.subjects, documents=(), kept=(), contents=erased.contents)
        for store in stores(parts):
            if store.name != "record":
                await store.purge(Task(parts, subjects, streams))


class Eraser:
    """One at a time in an installation: a second one waits."""

    name = NAME

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def run(self, stop: Event) -> None:
        asyncio.run(self._run(stop))

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
