"""The keeper of consent: records what time and newer notices have ended, so that the chain says what every decision says already.

KP1  An expiry and a supersession are recorded at the time they took effect, once, whoever else records them.
KP2  It is behind by a minute at most, and no decision waits for it.
"""

import asyncio
from collections.abc import Sequence
from threading import Event
from uuid import UUID

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from commands.consent import ExpireConsent, SupersedeConsent
from commands.kernel import Actor, Command
from domain.kernel import FirmId, Refused
from infra.bootstrap import opened
from infra.database import DatabaseUnusable
from infra.followers import Follower, Parts, Progress
from infra.record.appender import Busy, OutcomeUnknown, Unavailable
from infra.record.execute import TooContended

log = structlog.get_logger()

NAME = "consent"
LOCK = 7_020_240_340
PAUSE = 30.0
MOST = 500
ACTOR = Actor("system", "keeper")
_FIRMS = "SELECT firm_id FROM record.firm_heads ORDER BY firm_id"
_EXPIRED = (
    "SELECT DISTINCT t.contact FROM views.consents t WHERE t.firm_id = %s AND ((t.status IN ('given', 'renewed') AND t.expires_at <= now())"
    " OR (t.status IN ('requested', 'deferred') AND t.request_expires_at <= now())) LIMIT %s"
)
_SUPERSEDED = (
    "SELECT DISTINCT t.contact, t.notice FROM views.notices n, jsonb_array_elements(n.versions) v, jsonb_array_elements_text(v -> 'new_purposes') p"
    " JOIN views.consents t ON t.purpose = p WHERE n.firm_id = %(firm)s AND t.firm_id = %(firm)s AND t.notice = n.id"
    " AND (v ->> 'material')::boolean AND t.notice_version < (v ->> 'number')::bigint AND t.status IN ('given', 'renewed')"
    " AND (v ->> 'published_at')::timestamptz <= now() AND NOT coalesce(t.expires_at <= now(), false) LIMIT %(most)s"
)
_SHOW = (
    "INSERT INTO chancery.projections (name, version, position) SELECT %s, 1, position FROM record.head ON CONFLICT (name) DO UPDATE"
    " SET position = excluded.position, error = %s, updated_at = now()"
)
Due = tuple[UUID, Command]


def due(c: psycopg.Connection[tuple[object, ...]], most: int = MOST) -> list[Due]:
    """What is to be recorded now, of all firms; at most so much of each."""
    found: list[Due] = []
    for (firm,) in c.execute(_FIRMS).fetchall():
        if not isinstance(firm, UUID):
            continue
        found += [(firm, ExpireConsent(id=contact)) for (contact,) in c.execute(_EXPIRED, (firm, most)).fetchall()]
        rows = c.execute(_SUPERSEDED, {"firm": firm, "most": most}).fetchall()
        found += [(firm, SupersedeConsent(id=contact, notice=notice)) for contact, notice in rows]
    return found


class Keeper:
    """One at a time in an installation: a second one waits."""

    name = NAME

    def __init__(self, parts: Parts, pause: float = PAUSE) -> None:
        self._parts = parts
        self._pause = pause

    def run(self, stop: Event) -> None:
        while not stop.is_set():
            try:
                self._keep(stop)
            except (psycopg.Error, PoolTimeout, DatabaseUnusable) as e:  # the database goes away and comes back
                log.warning("consent.interrupted", error=type(e).__name__)
                stop.wait(2.0)

    def _keep(self, stop: Event) -> None:
        with self._parts.database.connect("record") as c:
            while not (c.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone() or (False,))[0]:
                if stop.wait(1.0):
                    return
            while not stop.is_set():
                found = due(c)
                error = asyncio.run(self._record(found)) if found else None
                c.execute(_SHOW, (NAME, error))
                stop.wait(1.0 if len(found) >= MOST and error is None else self._pause)

    async def _record(self, found: Sequence[Due]) -> str | None:
        """Record these; answers what kept one of them from being recorded."""
        error = None
        async with opened(self._parts.settings, migrated=False) as c:
            last = 0
            for firm, command in found:
                try:
                    done = await c.executor.execute(
                        command,
                        firm=FirmId(firm),
                        actor=ACTOR,
                        permissions=frozenset({"consent:write"}),
                        target=command.id,  # type: ignore[attr-defined]
                    )
                    last = max(last, done.position)
                except (Refused, Busy, Unavailable, OutcomeUnknown, TooContended) as e:
                    error = type(e).__name__
                    log.warning("consent.not_recorded", error=error)
            if last:
                await c.feed.wait(("consents",), last)
            log.info("consent.kept", recorded=len(found))
        return error

    def rebuild(self, *, progress: Progress | None = None) -> int:
        """It holds nothing of its own: what is due is recorded."""
        with self._parts.database.connect("record") as c:
            found = due(c)
            if found:
                asyncio.run(self._record(found))
            head = int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])
        if progress is not None:
            progress(head, head)
        return head

    def digest(self) -> str:
        import hashlib

        return hashlib.sha256(b"").hexdigest()


def follower(parts: Parts) -> Follower:
    return Keeper(parts)
