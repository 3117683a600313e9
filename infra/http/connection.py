"""A connection of the server: heads of requests have a time and a size, and what can't be read is answered with a problem document."""

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from infra.ids import uuid7

WAITING = 8  # times as many requests as are served may wait for a view
HEAD_SECONDS = 10.0
HEAD_BYTES = 65_536
LINGER_SECONDS = 2.0  # what still comes after an answer is thrown away for so long: a reset would take the answer with it


OVERLOADED = orjson.dumps(
    {
        "type": "urn:chancery:problem:overloaded",
        "title": "This server is at its limit",
        "status": 503,
        "detail": "This server is at its limit. Try again shortly.",
    }
)
COUNTED = "counted"  # in the state of a request that has its place in the crowd
PROBE_SECONDS = 0.02
SHOWN_SECONDS = 30.0
REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,100}")
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
]
_TURNED_AWAY = b"".join(
    (
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\nretry-after: 1\r\n",
        b"content-length: %d\r\n" % len(OVERLOADED),
        *(b"%b: %b\r\n" % header for header in SECURITY_HEADERS),
    )
)


@dataclass(slots=True)
class Crowd:
    """How many requests are being served, and how many may be."""

    most: int
    in_flight: int = 0
    waiting: int = 0
    turned_away: Callable[[], None] = lambda: None

    def full(self) -> bool:
        return self.in_flight >= self.most

    @contextmanager
    def aside(self) -> Iterator[None]:
        """A request that only waits, for a view that is behind, takes no place from those that work; it may not wait for ever."""
        self.in_flight -= 1
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1
            self.in_flight += 1

    def may_wait(self) -> bool:
        return self.waiting < self.most * WAITING


class Lateness:
    """How much later than due the event loop has called something, at worst in the last half minute to minute."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next: asyncio.TimerHandle | None = None
        self._now = self._before = 0.0
        self._turned = 0.0

    def watch(self) -> None:
        """Begin, on the loop that runs."""
        self._loop = asyncio.get_running_loop()
        self._turned = self._loop.time()
        self._due(self._loop.time())

    def close(self) -> None:
        if self._next is not None:
            self._next.cancel()

    def worst(self) -> float:
        return max(self._now, self._before)

    def _due(self, at: float) -> None:
        assert self._loop is not None  # noqa: S101 # nosec B101 - `watch` has set it
        now = self._loop.time()
        self._now = max(self._now, now - at)
        if now - self._turned > SHOWN_SECONDS:
            self._before, self._now, self._turned = self._now, 0.0, now
        self._next = self._loop.call_at(now + PROBE_SECONDS, self._due, now + PROBE_SECONDS)


def named(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The request's id: the caller's when it gave a good one, else a fresh one."""
    for name, value in headers:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return value.decode()
    return str(uuid7())


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with limits on what stands before the body, and on how many requests are begun."""

    crowd: Crowd | None = None

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._most, self.limit_concurrency = self.limit_concurrency, None
        self._turned_away = False
        self._head = 0
        self._late: asyncio.TimerHandle | None = None
        self._whole = True
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._heard()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._late is None and self._whole and (self.cycle is None or self.cycle.response_complete):
            self._expect_head()
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._head = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._weigh(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._weigh(name + value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._heard()
        self._whole = False
        crowded = self._most is not None and len(self.connections) > self._most
        begins = self.cycle is None or self.cycle.response_complete
        if (crowded or (self.crowd is not None and self.crowd.full())) and begins:
            self._turn_away(close=crowded)
            return
        super().on_headers_complete()
        if begins and self.crowd is not None and self.cycle is not None and self.cycle.scope is self.scope:
            # Counted now, not when its task begins: else everything that comes in one turn of the loop would be let in, and the
            # surplus refused only after it had cost a task each.
            self.crowd.in_flight += 1
            self.scope["state"][COUNTED] = True

    def _turn_away(self, *, close: bool) -> None:
        """Answer that the server is full before anything is done: no task, no application, no body. The connection stays if it may."""
        self._turned_away = True
        close = close or self.parser.get_http_version() == "1.0" or not self.parser.should_keep_alive()
        parts = [_TURNED_AWAY, b"x-request-id: ", named(self.headers).encode()]
        parts.append(b"\r\nconnection: close\r\n\r\n" if close else b"\r\n\r\n")
        if self.parser.get_method() != b"HEAD":
            parts.append(OVERLOADED)
        self.transport.write(b"".join(parts))
        if self.crowd is not None:
            self.crowd.turned_away()
        if close:
            self._refused = True
            self.loop.call_later(LINGER_SECONDS, self.transport.close)
            if self.transport.can_write_eof():
                self.transport.write_eof()
        else:
            self._late = self.loop.call_later(LINGER_SECONDS, self.transport.close)  # so long for the rest of the body

    def on_body(self, body: bytes) -> None:
        if not self._turned_away:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._whole = True
        if self._turned_away:
            self._turned_away = False
            self._heard()
            super().on_response_complete()
            return
        if self._late is not None and self.cycle.response_complete:
            self._heard()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._whole and self._late is None:
            self._late = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        del msg
        self._refuse(
            400,
            "not-http",
            "What came is not a readable HTTP request",
            f"It is no HTTP/1.1, or its address and headers have more than {HEAD_BYTES:,} bytes. Send what is long in a body: POST …:search",
        )

    def _expect_head(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self._too_late)

    def _heard(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_late(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            why = f"Address and headers come within {HEAD_SECONDS:.0f} seconds. Send the request again, at once"
            self._refuse(408, "head-too-slow", "The head of the request took too long to come", why)

    def _weigh(self, part: bytes) -> None:
        self._head += len(part)
        if self._head > HEAD_BYTES:
            raise ValueError("the head of the request is too large")  # the parser stops here and `send_400_response` answers

    def _refuse(self, status: int, kind: str, title: str, why: str) -> None:
        detail = f"{title}. {why}."
        body = orjson.dumps({"type": f"urn:chancery:problem:{kind}", "title": title, "status": status, "detail": detail})
        reason = {400: "Bad Request", 408: "Request Timeout"}[status]
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (status, reason.encode(), len(body), body)
        )
        self._refused = True
        self.loop.call_later(LINGER_SECONDS, self.transport.close)
        if self.transport.can_write_eof():
            self.transport.write_eof()


def connection(crowd: Crowd) -> type[Connection]:
    """The protocol that turns requests away while the crowd is full."""
    return type("CrowdedConnection", (Connection,), {"crowd": crowd})
