"""How Neo4j is reached: the address and sign-in of the settings, a driver for followers and one for readers, and whether it answers.

A read of an engine that does not answer ends within five seconds: a watcher asks it every second, and what is under way is let go when
the answer stays out.
"""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import structlog
from neo4j import READ_ACCESS, AsyncDriver, AsyncGraphDatabase, Driver, GraphDatabase, Query
from neo4j.exceptions import AuthError, ConfigurationError, DriverError, Neo4jError, ServiceUnavailable, SessionExpired

from infra.away import EngineUnusable
from infra.settings import Settings

log = structlog.get_logger()

T = TypeVar("T")

SECONDS = 10.0  # one statement of a question
WATCH = 0.7  # between two looks
PATIENCE = 1.5  # until a look that got no answer counts as none; two in a row say that Neo4j is away
UNREACHED = (ServiceUnavailable, SessionExpired, OSError, TimeoutError)
SCHEMES = ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")
TIMED_OUT = re.compile(r"Neo\.\w+Error\.Transaction\.(TransactionTimedOut\w*|Terminated|LockAcquisitionTimeout)")
TOO_LARGE = re.compile(r"Neo\.\w+Error\.General\.(MemoryPoolOutOfMemoryError|OutOfMemoryError|TransactionOutOfMemoryError)")


class Neo4jAway(Exception):
    """Neo4j does not answer."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where Neo4j is and who asks. The password shows in no text."""

    uri: str
    auth: tuple[str, str] | None

    def __repr__(self) -> str:
        return f"Address({self.uri})"

    @classmethod
    def of(cls, settings: Settings) -> "Address | None":
        """What the settings say; None where they name no Neo4j."""
        if settings.neo4j_url is None:
            return None
        try:
            parts = urlsplit(settings.neo4j_url.get_secret_value())
            port = parts.port or 7687
        except ValueError:
            parts, port = urlsplit(""), 0
        if parts.scheme not in SCHEMES or not parts.hostname or parts.path not in {"", "/"} or parts.query or parts.fragment:
            raise EngineUnusable(
                "CHANCERY_NEO4J_URL can't be read. It looks like bolt://user:password@host:7687 or neo4j+s://host."
            )
        password = settings.neo4j_password.get_secret_value() if settings.neo4j_password else unquote(parts.password or "")
        user = unquote(parts.username or "") or settings.neo4j_user or ("neo4j" if password else "")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(f"{parts.scheme}://{host}:{port}", (user, password) if user else None)


_USUAL: dict[str, Any] = {
    "connection_timeout": 2.0,
    "connection_acquisition_timeout": 3.0,
    "max_connection_lifetime": 600,
    "max_transaction_retry_time": 0,
    "keep_alive": True,
    "notifications_min_severity": "OFF",
    "user_agent": "chancery",
    "telemetry_disabled": True,
}


def driver(address: Address) -> Driver:
    """For a follower: one thread at a time writes."""
    return GraphDatabase.driver(address.uri, auth=address.auth, max_connection_pool_size=8, **_USUAL)


def check(address: Address) -> None:
    """EngineUnusable with what to do when it does not let us in."""
    try:
        with driver(address) as d:
            d.verify_connectivity()
    except (AuthError, ConfigurationError):
        raise EngineUnusable(
            f"Neo4j at {address.uri} answers, but lets nobody in. Check user and password of CHANCERY_NEO4J_URL, CHANCERY_NEO4J_USER and"
            " CHANCERY_NEO4J_PASSWORD."
        ) from None
    except (DriverError, Neo4jError, OSError, ssl.SSLError, ValueError) as e:
        raise EngineUnusable(
            f"Neo4j does not answer at {address.uri}: {_why(e)}. Check that it runs and CHANCERY_NEO4J_URL; with that variable unset, the graph"
            " is served from PostgreSQL."
        ) from None


def _why(e: BaseException) -> str:
    """In words why nothing could be had, from what the driver's error came from."""
    for cause in _causes(e):
        match cause:
            case ConnectionRefusedError():
                return "nothing listens there"
            case socket.gaierror():
                return "there is no host of that name"
            case ssl.SSLError():
                return "it and this process don't agree on TLS"
            case TimeoutError():
                return "no answer came in time"
            case Neo4jError():
                return f"it answers {cause.code}"
            case OSError(strerror=str(said)):
                return said[:1].lower() + said[1:]
    return "what listens there is no Neo4j, or is still starting"


def _causes(e: BaseException | None) -> Iterator[BaseException]:
    """What an error came from, the last cause first."""
    if e is None:
        return
    if isinstance(e, BaseExceptionGroup):
        for one in e.exceptions:
            yield from _causes(one)
    yield from _causes(e.__cause__ or e.__context__)
    yield e


class Client:
    """For readers, in one event loop. `away` says that Neo4j does not answer."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._driver: AsyncDriver | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()

    @property
    def away(self) -> bool:
        return self._gone.is_set()

    async def open(self, *, serving: bool = True) -> None:
        """EngineUnusable when it is to serve and Neo4j does not answer now; other processes may never need it."""
        if serving:
            await asyncio.to_thread(check, self._address)
        self._driver = AsyncGraphDatabase.driver(self._address.uri, auth=self._address.auth, max_connection_pool_size=64, **_USUAL)
        if serving:
            try:
                await self._run("RETURN 1", {}, PATIENCE)
            except BaseException:
                await self.close()
                raise
        self._watcher = asyncio.create_task(self._watch(), name="neo4j")

    async def close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            with suppress(asyncio.CancelledError):
                await self._watcher
        if self._driver is not None:
            with suppress(DriverError, Neo4jError, OSError):
                await self._driver.close()

    async def _watch(self) -> None:
        look: asyncio.Task[Any] | None = None
        missed = 0
        try:
            while True:
                if look is None:
                    look = asyncio.create_task(self._run("RETURN 1", {}, PATIENCE))
                began = time.monotonic()
                await asyncio.wait((look,), timeout=PATIENCE)
                busy = time.monotonic() - began > PATIENCE + 0.3  # this process was: what it did not hear says nothing
                if look.done() and not look.cancelled() and look.exception() is None:
                    if self._gone.is_set():
                        log.info("neo4j.back")
                    self._gone.clear()
                    look, missed = None, 0
                    await asyncio.sleep(WATCH)
                    continue
                missed = 0 if busy else missed + 1
                if missed >= 2 and not self._gone.is_set():
                    log.warning("neo4j.away", error=type(look.exception()).__name__ if look.done() else "NoAnswer")
                    self._gone.set()
                if look.done():
                    look = None
                    await asyncio.sleep(WATCH / 2)
                elif missed % 8 == 0:  # a connection that a network has forgotten never answers
                    await _let_go(look)
                    look = None
        finally:
            if look is not None:
                await _let_go(look)

    async def rows(self, cypher: str, params: dict[str, Any], *, seconds: float = SECONDS) -> list[list[Any]]:
        """The rows of a statement that only reads. Neo4jAway when there is no answer; TimeoutError when it took too long."""
        try:
            return await self.unless_away(self._run(cypher, params, seconds))
        except UNREACHED as e:
            if self._gone.is_set() or not isinstance(e, TimeoutError):
                raise Neo4jAway from None
            raise
        except Neo4jError as e:
            if TIMED_OUT.fullmatch(e.code or ""):
                raise TimeoutError from None
            if (e.code or "").startswith("Neo.ClientError.Security") or (e.code or "").endswith("DatabaseUnavailable"):
                raise Neo4jAway from None
            raise

    async def unless_away(self, work: Awaitable[T]) -> T:
        """What it answers; Neo4jAway as soon as Neo4j is found not to answer."""
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Neo4jAway
            return task.result()
        finally:
            for left in (task, gone):
                await _let_go(left)

    async def _run(self, cypher: str, params: dict[str, Any], seconds: float) -> list[list[Any]]:
        async with self.driver.session(default_access_mode=READ_ACCESS, fetch_size=5_000) as session:
            result = await session.run(Query(cypher, timeout=seconds), params)
            return [record.values() async for record in result]

    @property
    def driver(self) -> AsyncDriver:
        if self._driver is None:
            raise Neo4jAway
        return self._driver


async def _let_go(task: "asyncio.Future[Any]") -> None:
    """End it, and take what comes of it: else the loop complains of an error that nobody looked at."""
    if not task.done():
        task.cancel()
        await asyncio.wait((task,))  # not `await task`: whose cancellation that raised could not be told
    if not task.cancelled():
        task.exception()


def too_much(e: Neo4jError) -> bool:
    """Whether a transaction asked for more memory or time than it may have."""
    return TOO_LARGE.fullmatch(e.code or "") is not None or TIMED_OUT.fullmatch(e.code or "") is not None


def values(rows: Sequence[Sequence[Any]]) -> list[Any]:
    """The only column."""
    return [row[0] for row in rows]
