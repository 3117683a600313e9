"""What every request passes: identity, limits, who is calling, and the waiting for a position."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import structlog
from starlette.requests import Request

from commands.kernel import Actor
from domain import keys
from domain.kernel import FirmId
from infra.bootstrap import Chancery
from infra.http.problems import HttpProblem
from infra.ratelimit import RateLimiter
from queries.keys import authenticate

log = structlog.get_logger()

AUTH_SECONDS = 5.0
AUTH_ENTRIES = 10_000


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: a member through a key of theirs, or a key that stands for itself."""

    firm: FirmId
    key: UUID
    member: UUID | None
    permissions: frozenset[str]

    @property
    def actor(self) -> Actor:
        return Actor("member", str(self.member)) if self.member is not None else Actor("key", str(self.key))

    def need(self, permission: str) -> None:
        """HttpProblem 403 when the permission is not held."""
        if permission not in self.permissions:
            raise HttpProblem(
                403,
                "permission-missing",
                f"This needs the permission {permission}. Ask an owner of your firm for it, or use a key that has it.",
                permission=permission,
            )


class Service:
    """The parts of a process as the routes use them."""

    def __init__(self, chancery: Chancery) -> None:
        self.chancery = chancery
        self.limiter = RateLimiter(rate=chancery.settings.rate_per_second, burst=chancery.settings.rate_burst, clock=time.monotonic)
        self.in_flight = 0
        self._known: OrderedDict[str, tuple[float, int, Principal]] = OrderedDict()
        self._used: dict[tuple[UUID, UUID], datetime] = {}
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._task = asyncio.create_task(self._note_uses(), name="key-uses")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._write_uses()

    # --- who is calling

    async def principal(self, request: Request) -> Principal:
        """The caller, checked against the key as it stands now; 401 when there is no good key, 429 when it asks too much."""
        header = request.headers.get("authorization", "")
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise HttpProblem(
                401,
                "key-missing",
                "No API key came with the request. Send it as `Authorization: Bearer chy_…`.",
                headers={"WWW-Authenticate": 'Bearer realm="chancery"'},
            )
        text = text.strip()
        digest = keys.digest(text)
        known = self._known.get(digest)
        reached = self.chancery.feed.reached(("keys", "firms"))
        if known is None or known[0] < time.monotonic() or known[1] != reached:
            parsed = keys.parse(text)
            self._take(f"check:{parsed.public_id}")
            async with self.chancery.readers.reading(parsed.firm) as r:
                admitted = await authenticate(parsed, r)
            principal = Principal(parsed.firm, admitted.key, admitted.member, admitted.permissions)
            self._known[digest] = (time.monotonic() + AUTH_SECONDS, reached, principal)
            while len(self._known) > AUTH_ENTRIES:
                self._known.popitem(last=False)
        else:
            principal = known[2]
        self._take(str(principal.key))
        self._used[(principal.firm, principal.key)] = datetime.now(UTC)
        return principal

    def _take(self, bucket: str) -> None:
        wait = self.limiter.take(bucket)
        if wait > 0:
            raise HttpProblem(
                429,
                "too-many-requests",
                "This key makes too many requests. Wait as long as Retry-After says.",
                headers={"Retry-After": str(max(1, int(wait + 0.999)))},
            )

    async def _note_uses(self) -> None:
        while True:
            await asyncio.sleep(5.0)
            try:
                await self._write_uses()
            except psycopg.Error as e:
                log.warning("key_uses.not_written", error=type(e).__name__)

    async def _write_uses(self) -> None:
        used, self._used = self._used, {}
        if not used:
            return
        async with await self.chancery.database.connect_async("record") as c:
            await c.execute(
                "INSERT INTO chancery.key_uses AS u (firm_id, key_id, last_used_at)"
                " SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[])"
                " ON CONFLICT (firm_id, key_id) DO UPDATE SET last_used_at = greatest(u.last_used_at, excluded.last_used_at)",
                ([f for f, _ in used], [k for _, k in used], list(used.values())),
            )

    # --- positions

    async def wait_for(self, request: Request, views: tuple[str, ...]) -> None:
        """Wait until these views have reached the position the request carries."""
        text = request.headers.get("chancery-position")
        if text is None:
            return
        if not text.isdigit() or len(text) > 18:
            raise HttpProblem(400, "position-malformed", "Chancery-Position is a whole number, as a write answered it.")
        await self.chancery.feed.wait(views, int(text))


def json_default(value: Any) -> Any:
    """For orjson: what it doesn't know is text."""
    return str(value)
