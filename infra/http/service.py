"""What every request passes: identity, limits, who is calling, and the waiting for a position.

H1  A key that was let in is let in again without asking the database, until its view shows a change of the key or the firm, it ends,
    or the database can't be heard.
H2  Keys that are refused cost the database a bounded number of look-ups a second, by address and by key, and never push out good ones.
H3  A read carrying a position never answers from before it.
"""

import asyncio
import hashlib
import ipaddress
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import structlog
from starlette.requests import Request

from commands.kernel import Actor
from domain import keys
from domain.firms import FirmIsSuspended
from domain.kernel import FirmId
from domain.keys import KeyHasExpired, KeyIsRevoked, KeyText
from infra.bootstrap import Chancery
from infra.database import interrupted
from infra.feed import IDENTITY, Behind
from infra.http.connection import Crowd
from infra.http.problems import Away, HttpProblem
from infra.ratelimit import RateLimiter
from infra.reading import PgReader
from queries.keys import KeyNotAccepted, authenticate

log = structlog.get_logger()

AUTH_SECONDS = 30.0
AUTH_ENTRIES = 10_000
CHECKS_AT_ONCE = 3
REFUSED_PER_SECOND = 5.0
REFUSED_BURST = 50.0
STRANGERS_PER_SECOND = 5.0  # requests without a key of one network: verifications and the pages of a person's choices
STRANGERS_BURST = 60.0
REFUSED_IN_ALL = 100.0
FLUSH_SECONDS = 5.0
SOON = 0.05  # seconds in which a position that another process has written is usually shown here
FIRMS_REMEMBERED = 100_000
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="chancery"'}
NUMBER = re.compile(r"[0-9]{1,18}")
ONCE = (
    "authorization", "chancery-position", "content-encoding", "content-length", "content-type", "idempotency-key", "if-match",
    "last-event-id",
)  # fmt: skip


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


@dataclass(frozen=True, slots=True)
class _Known:
    """A key that was let in, and when that must be asked again."""

    principal: Principal
    epoch: tuple[int, int]
    asked_again: float
    until: datetime | None


class Quota:
    """How many requests each firm has made today (UTC): counted here, added up in the database every few seconds."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._day = datetime.now(UTC).date()
        self._totals: dict[UUID, int] = {}
        self._fresh: Counter[UUID] = Counter()
        self._before: dict[tuple[UUID, date], int] = {}

    def knows(self, firm: UUID) -> bool:
        self._turn()
        return self._most == 0 or firm in self._totals

    def learn(self, firm: UUID, total: int) -> None:
        if len(self._totals) < FIRMS_REMEMBERED:
            self._totals[firm] = max(total, self._totals.get(firm, 0))

    def take(self, firm: UUID) -> None:
        """Count one request; HttpProblem 429 when the day's are used up."""
        self._turn()
        if self._most and self._totals.get(firm, 0) + self._fresh[firm] >= self._most:
            now = datetime.now(UTC)
            midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
            raise HttpProblem(
                429,
                "quota-used-up",
                f"Your firm has made its {self._most} requests of today. The next day begins at midnight UTC.",
                headers={"Retry-After": str(int((midnight - now).total_seconds()) + 1)},
                limit=self._most,
            )
        self._fresh[firm] += 1

    def _turn(self) -> None:
        today = datetime.now(UTC).date()
        if today != self._day:
            for firm, count in self._fresh.items():
                self._before[(firm, self._day)] = count
            self._day = today
            self._totals.clear()
            self._fresh.clear()

    async def flush(self, c: psycopg.AsyncConnection[Any]) -> None:
        """Add what was counted to the day's rows, and learn what other processes have counted."""
        self._turn()
        counted = {**self._before, **{(firm, self._day): n for firm, n in self._fresh.items() if n}}
        if not counted:
            return
        rows = await (
            await c.execute(
                "INSERT INTO chancery.quotas AS q (firm_id, day, requests)"
                " SELECT * FROM unnest(%s::uuid[], %s::date[], %s::bigint[])"
                " ON CONFLICT (firm_id, day) DO UPDATE SET requests = q.requests + excluded.requests RETURNING firm_id, day, requests",
                ([f for f, _ in counted], [d for _, d in counted], list(counted.values())),
            )
        ).fetchall()
        self._before.clear()
        for firm, day, requests in rows:
            if day == self._day:
                self._fresh[firm] -= counted[(firm, day)]
                if self._fresh[firm] <= 0:
                    del self._fresh[firm]
                self._totals[firm] = requests


class Service:
    """The parts of a process as the routes use them."""

    def __init__(self, chancery: Chancery) -> None:
        self.chancery = chancery
        s = chancery.settings
        self.limiter = RateLimiter(rate=s.rate_per_second, burst=s.rate_burst, clock=time.monotonic)
        self.refused = RateLimiter(rate=REFUSED_PER_SECOND, burst=REFUSED_BURST, clock=time.monotonic)
        self.refused_in_all = RateLimiter(rate=REFUSED_IN_ALL, burst=REFUSED_IN_ALL * 2, clock=time.monotonic)
        self.strangers = RateLimiter(rate=STRANGERS_PER_SECOND, burst=STRANGERS_BURST, clock=time.monotonic)
        self.quota = Quota(s.requests_per_day)
        self.streams: Counter[UUID] = Counter()
        self._checks = asyncio.Semaphore(CHECKS_AT_ONCE)
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._used: dict[tuple[UUID, UUID], datetime] = {}
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._task = asyncio.create_task(self._note_uses(), name="key-uses")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with suppress(psycopg.Error):
            await self._flush()

    # --- who is calling

    async def principal(self, request: Request) -> Principal:
        """The caller, checked against the key as it stands now; 401 when there is no good key, 429 when it asks too much."""
        principal = await self.identify(request)
        self._take(str(principal.key))
        self.quota.take(principal.firm)
        if len(self._used) < FIRMS_REMEMBERED:
            self._used[(principal.firm, principal.key)] = datetime.now(UTC)
        return principal

    async def identify(self, request: Request) -> Principal:
        """Whose key this is, without counting the request."""
        if self.chancery.feed.away:
            raise Away
        _each_once(request)
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise HttpProblem(
                401,
                "key-missing",
                "No API key came with the request. Send it as `Authorization: Bearer chy_…`.",
                headers=CHALLENGE,
            )
        text = text.strip()
        digest = hashlib.sha256(text.encode("latin-1", "replace")).digest()
        known = self._known.get(digest)
        if known is not None and self._still(known):
            self._known.move_to_end(digest)
            return known.principal
        parsed = keys.parse(text)
        try:
            principal = await self._ask(request, parsed, digest, trusted=known is not None)
        except (KeyNotAccepted, KeyIsRevoked, KeyHasExpired, FirmIsSuspended):
            self._known.pop(digest, None)
            raise
        return principal

    def _still(self, known: _Known) -> bool:
        return (
            known.epoch == self.chancery.feed.epoch(known.principal.firm)
            and time.monotonic() < known.asked_again
            and (known.until is None or datetime.now(UTC) < known.until)
        )

    async def _ask(self, request: Request, parsed: KeyText, digest: bytes, *, trusted: bool) -> Principal:
        """Look the key up. One that was good lately is not held up by what others try."""
        suspects = () if trusted else (f"address:{_network(request)}", f"key:{parsed.public_id}")
        for suspect in suspects:
            if self.refused.left(suspect) < 1:
                raise _slower("Too many keys were refused from this address or under this id.", 1 / REFUSED_PER_SECOND)
        if not trusted and self.refused_in_all.left("all") < 1:
            raise HttpProblem(
                503,
                "overloaded",
                "Too many keys are being refused now, so that unknown ones have to wait. Try again shortly.",
                headers={"Retry-After": "2"},
            )
        try:
            principal = await self._look_up(parsed, digest)
            if principal is None:
                await self._until_issued(request)
                principal = await self._look_up(parsed, digest)
            if principal is None:
                raise KeyNotAccepted
        except KeyNotAccepted:
            for suspect in suspects:
                self.refused.take(suspect)
            if not trusted:
                self.refused_in_all.take("all")
            raise
        return principal

    async def _until_issued(self, request: Request) -> None:
        """A key may have been issued by the write whose position the request carries: wait until keys show that write."""
        position = self._position(request)
        if position is None or position <= self.chancery.feed.reached(IDENTITY) or position > await self._head():
            raise KeyNotAccepted
        await self.chancery.feed.wait(IDENTITY, position)

    async def _look_up(self, parsed: KeyText, digest: bytes) -> Principal | None:
        """Whom the key lets in now; None when it is not accepted, as it stands."""
        epoch = self.chancery.feed.epoch(parsed.firm)
        async with self._checks, self.chancery.readers.reading(parsed.firm) as r:
            try:
                admitted = await authenticate(parsed, r)
            except KeyNotAccepted:
                return None
            if not self.quota.knows(parsed.firm):
                self.quota.learn(parsed.firm, await _requests_today(r))
        principal = Principal(parsed.firm, admitted.key, admitted.member, admitted.permissions)
        if epoch is not None:
            self._known[digest] = _Known(principal, epoch, time.monotonic() + AUTH_SECONDS, admitted.until)
            self._known.move_to_end(digest)
            while len(self._known) > AUTH_ENTRIES:
                self._known.popitem(last=False)
        return principal

    def _take(self, bucket: str) -> None:
        wait = self.limiter.take(bucket)
        if wait > 0:
            raise _slower("This key makes too many requests.", wait)

    def take_of_stranger(self, request: Request) -> None:
        """Count a request that nobody signs, by the network it comes from; 429 when there are too many."""
        wait = self.strangers.take(_network(request))
        if wait > 0:
            raise _slower("This network makes too many requests without a key.", wait)

    def take_of_link(self, whose: str) -> None:
        """Count a request with a signed link, by whom the link is about, whatever network it comes from."""
        wait = self.strangers.take(f"link {whose}")
        if wait > 0:
            raise _slower("This link is used too often.", wait)

    # --- streams of changes

    @contextmanager
    def stream(self, key: UUID) -> Iterator[None]:
        """Room for one more stream; 429 when the key has enough of them, 503 when the process has."""
        s = self.chancery.settings
        if self.streams[key] >= s.max_streams_per_key:
            raise HttpProblem(
                429,
                "too-many-streams",
                f"This key keeps {s.max_streams_per_key} streams of changes open. Close one first.",
                headers={"Retry-After": "5"},
                limit=s.max_streams_per_key,
            )
        if self.streams.total() >= s.max_streams:
            raise HttpProblem(
                503,
                "overloaded",
                "This server keeps as many streams of changes open as it may. Try again shortly.",
                headers={"Retry-After": "5"},
            )
        self.streams[key] += 1
        try:
            yield
        finally:
            self.streams[key] -= 1
            if not self.streams[key]:
                del self.streams[key]

    # --- what is written now and then

    async def _note_uses(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self._flush()
            except (psycopg.Error, OSError) as e:
                interrupted(log, "key_uses.not_written", e)

    async def _flush(self) -> None:
        """Write down when keys were used and how many requests firms made."""
        used, self._used = self._used, {}
        try:
            async with await self.chancery.database.connect_async("record") as c:
                if used:
                    await c.execute(
                        "INSERT INTO chancery.key_uses AS u (firm_id, key_id, last_used_at)"
                        " SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[])"
                        " ON CONFLICT (firm_id, key_id) DO UPDATE SET last_used_at = greatest(u.last_used_at, excluded.last_used_at)",
                        ([f for f, _ in used], [k for _, k in used], list(used.values())),
                    )
                    used = {}
                await self.quota.flush(c)
        finally:
            self._used = {**used, **self._used}

    # --- positions

    def _position(self, request: Request) -> int | None:
        text = request.headers.get("chancery-position")
        if text is None:
            return None
        if not NUMBER.fullmatch(text):
            raise HttpProblem(400, "position-malformed", "Chancery-Position is a whole number, as a write answered it.")
        return int(text)

    async def wait_for(self, request: Request, views: tuple[str, ...]) -> None:
        """Wait until these views have reached the position the request carries; 422 when the record has no such position."""
        position = self._position(request)
        if position is None:
            return
        feed = self.chancery.feed
        if not views:
            if position > feed.head:
                await self.known(position)
            return
        crowd: Crowd = request.app.state.crowd
        if not crowd.may_wait():
            raise HttpProblem(
                503,
                "overloaded",
                "Too many reads wait for a view already. Try again shortly.",
                headers={"Retry-After": "1"},
            )
        with crowd.aside():
            if position > feed.head:  # most are on their way here; nobody asks the database for those
                with suppress(Behind):
                    await feed.wait(views, position, SOON)
                    return
                await self.known(position)
            await feed.wait(views, position)

    async def known(self, position: int) -> None:
        """HttpProblem 422 when the record has no such position."""
        head = await self._head()
        if position > head:
            raise HttpProblem(
                422,
                "position-unknown",
                f"The record ends at {head} and has no position {position}. Send a position that was answered here.",
                head=head,
            )

    async def _head(self) -> int:
        async with self.chancery.readers.reading(FirmId(UUID(int=0))) as r:
            row = await r.one("SELECT position FROM record.head")
        return int(row["position"]) if row else 0


async def _requests_today(r: PgReader) -> int:
    row = await r.one("SELECT requests FROM chancery.quotas WHERE firm_id = %(firm)s AND day = (now() AT TIME ZONE 'UTC')::date")
    return int(row["requests"]) if row else 0


def _slower(why: str, wait: float) -> HttpProblem:
    return HttpProblem(
        429,
        "too-many-requests",
        f"{why} Wait as long as Retry-After says.",
        headers={"Retry-After": str(max(1, int(wait + 0.999)))},
    )


def _each_once(request: Request) -> None:
    names = [name for name, _ in request.headers.raw]
    if len(set(names)) != len(names):
        for name in ONCE:
            if names.count(name.encode()) > 1:
                raise HttpProblem(400, "repeated-header", f"The header {name} was given twice. Give it once.", header=name)


def _network(request: Request) -> str:
    """Where a request comes from: the address, of IPv6 the /64 that one household or machine has."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host[:64]
    return str(address if address.version == 4 else ipaddress.ip_network((address, 64), strict=False))


def json_default(value: Any) -> Any:
    """For orjson: what it doesn't know is text."""
    return str(value)
