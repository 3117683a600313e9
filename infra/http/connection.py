"""A connection of the server: heads of requests have a time and a size, and what can't be read is answered with a problem document."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from infra.http import problems

HEAD_SECONDS = 10.0
HEAD_BYTES = 65_536
LINGER_SECONDS = 2.0  # what still comes after an answer is thrown away for so long: a reset would take the answer with it


async def _crowded(scope: Scope, receive: Receive, send: Send) -> None:
    response = problems.answer(
        503,
        "overloaded",
        "This server is at its limit",
        "This server is at its limit. Try again shortly.",
        headers={"Retry-After": "1", "Connection": "close"},
    )
    await response(scope, receive, send)


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with limits on what stands before the body."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._most, self.limit_concurrency = self.limit_concurrency, None
        self._ours: Callable[..., Any] = self.app
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
        self.app = _crowded if self._most is not None and len(self.connections) > self._most else self._ours
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._whole = True
        if self._late is not None and self.cycle.response_complete:
            self._heard()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._whole and self._late is None:
            self._late = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        del msg
        self._refuse(400, "not-http", "What came is not a readable HTTP request")

    def _expect_head(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self._too_late)

    def _heard(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_late(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            self._refuse(408, "head-too-slow", "The head of the request took too long to come")

    def _weigh(self, part: bytes) -> None:
        self._head += len(part)
        if self._head > HEAD_BYTES:
            raise ValueError("the head of the request is too large")  # the parser stops here and `send_400_response` answers

    def _refuse(self, status: int, kind: str, title: str) -> None:
        body = orjson.dumps({"type": f"urn:chancery:problem:{kind}", "title": title, "status": status})
        reason = {400: "Bad Request", 408: "Request Timeout"}[status]
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (status, reason.encode(), len(body), body)
        )
        self._refused = True
        self.loop.call_later(LINGER_SECONDS, self.transport.close)
        if self.transport.can_write_eof():
            self.transport.write_eof()
