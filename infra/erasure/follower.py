"""The eraser: carries out what was approved, one erasure after the other, erases a restored database again before it serves, and lets go of
contents that nobody has any more."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg
import structlog

from domain.kernel import FirmId, Refused
from infra.bootstrap import opened
from infra.chores import Chore
from infra.erasure.carry import StoresAwaited, carry_out
from infra.erasure.contents import let_go
from infra.erasure.restored import purge_again
from infra.followers import Follower, Parts

log = structlog.get_logger()

NAME = "erasures"
LOCK = 7_020_240_330
PAUSE = 1.0
DAY = 86_400.0
SETTLED = 600.0  # seconds after a start, when whatever begins with it is done
_PENDING = (
    "SELECT firm_id, contact, id FROM views.privacy_requests WHERE status IN ('approved', 'keys_destroyed') AND kind IN ('erase', 'anonymise')"
    " ORDER BY status, decided_at, id"  # those that are new before those that wait for a store
)


class Eraser(Chore):
    name = NAME
    lock = LOCK

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._look_at = time.monotonic() + SETTLED

    def work(self, c: psycopg.Connection[Any]) -> tuple[float, str | None]:
        pending = c.execute(_PENDING).fetchall()
        error = asyncio.run(self._carry_out(pending)) if pending else None
        if time.monotonic() > self._look_at:
            self._look_at = time.monotonic() + DAY
            asyncio.run(self._let_go())
        return (PAUSE if error is None else PAUSE * 10), error

    async def _let_go(self) -> None:
        try:
            async with opened(self._parts.settings, migrated=False) as c:
                await let_go(c)
        except OSError as e:  # the store is away: another day
            log.warning("contents.store_away", error=type(e).__name__)

    async def _carry_out(self, pending: Sequence[tuple[UUID, UUID, UUID]]) -> str | None:
        """Carry these out; answers what broke the last one off that was."""
        error: str | None = None
        async with opened(self._parts.settings, migrated=False) as c:
            for firm, contact, request in pending:
                try:
                    await carry_out(c, FirmId(firm), contact, request)
                except StoresAwaited as e:
                    error = f"An erasure waits for {e}"
                except (Refused, psycopg.Error, OSError, RuntimeError, TimeoutError) as e:
                    error = type(e).__name__
                    log.error("erasure.broken_off", request=str(request), error=error)
        return error

    def again(self) -> None:
        """Let every store go, once more, of everyone who was erased."""
        started = time.monotonic()
        asyncio.run(purge_again(self._parts))
        log.info("erasure.purged_again", seconds=round(time.monotonic() - started, 3))


def follower(parts: Parts) -> Follower:
    return Eraser(parts)
