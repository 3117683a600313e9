"""The keeper of consent: records what time and newer notices have ended, so that the chain says what every decision says already.

KP1  An expiry and a supersession are recorded at the time they took effect, once, whoever else records them.
KP2  It is behind by a minute at most, and no decision waits for it.
"""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg
import structlog

from commands.consent import ExpireConsent, SupersedeConsent
from commands.kernel import Actor, Command
from domain.kernel import FirmId, Refused
from infra.bootstrap import opened
from infra.chores import Chore
from infra.followers import Follower, Parts
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
Due = tuple[UUID, Command]


def due(c: psycopg.Connection[Any], most: int = MOST) -> list[Due]:
    """What is to be recorded now, of all firms; at most so much of each."""
    found: list[Due] = []
    for (firm,) in c.execute(_FIRMS).fetchall():
        found += [(firm, ExpireConsent(id=contact)) for (contact,) in c.execute(_EXPIRED, (firm, most)).fetchall()]
        rows = c.execute(_SUPERSEDED, {"firm": firm, "most": most}).fetchall()
        found += [(firm, SupersedeConsent(id=contact, notice=notice)) for contact, notice in rows]
    return found


class Keeper(Chore):
    name = NAME
    lock = LOCK

    def work(self, c: psycopg.Connection[Any]) -> tuple[float, str | None]:
        found = due(c)
        error = asyncio.run(self._record(found)) if found else None
        return (1.0 if len(found) >= MOST and error is None else PAUSE), error

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

    def again(self) -> None:
        """Record what is due."""
        with self._parts.database.connect("record") as c:
            self.work(c)


def follower(parts: Parts) -> Follower:
    return Keeper(parts)
