"""Downloads: a whole list as CSV or JSON Lines, streamed from a cursor of the database in bounded memory.

DL1  There is no limit on rows; at any time a download holds one batch of them.
DL2  A cell of text that a spreadsheet would take for a formula begins with an apostrophe, so that it is shown and not run.
DL3  A download has a connection of its own; how many there are at once is bounded, in all and for each key.
"""

import asyncio
import csv
import io
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import structlog
from psycopg.rows import dict_row
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from infra.http.commands import json_object, read_body
from infra.http.problems import HttpProblem
from infra.http.reads import JSON_OPTIONS, MOMENT_PARAMETERS, moment_of, parameters, views_read
from infra.http.routing import Endpoint
from infra.http.service import Principal, Service, json_default
from infra.reading import Moment, PgReader, enter, enter_firm
from queries.kernel import Collection
from queries.listing import one_as_seen
from queries.listing.whole import Whole, compile_whole
from queries.unusable import printable

log = structlog.get_logger()

KNOWN = ("format", "filter", "order_by", "fields", *MOMENT_PARAMETERS)
MEDIA = {"csv": "text/csv; charset=utf-8; header=present", "jsonl": "application/jsonl"}
BATCH = 500
MOST_AT_ONCE = 6
MOST_FOR_A_KEY = 2
MOST_SECONDS = 1_800.0
MOST_BYTES = 64_000
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Downloads:
    """How many downloads there are now."""

    def __init__(self) -> None:
        self._now: Counter[UUID] = Counter()

    def enter(self, key: UUID) -> None:
        """HttpProblem 429 or 503 when there is no room."""
        if self._now[key] >= MOST_FOR_A_KEY:
            raise HttpProblem(
                429,
                "too-many-downloads",
                f"This key has {MOST_FOR_A_KEY} downloads under way. Wait until one is done.",
                headers={"Retry-After": "5"},
                limit=MOST_FOR_A_KEY,
            )
        if self._now.total() >= MOST_AT_ONCE:
            raise HttpProblem(
                503,
                "overloaded",
                "This server has as many downloads under way as it may. Try again shortly.",
                headers={"Retry-After": "10"},
            )
        self._now[key] += 1

    def leave(self, key: UUID) -> None:
        self._now[key] -= 1
        if not self._now[key]:
            del self._now[key]


def route(service: Service, c: Collection, downloads: Downloads) -> Endpoint:
    """`GET /v1/{collection}:export?format=csv|jsonl&filter&order_by&fields&as_of&known_at`; the same names in the body of a POST."""

    async def endpoint(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need(c.permission)
        given = await _given(request)
        form = given.get("format", "csv")
        if not isinstance(form, str) or form not in MEDIA:
            raise HttpProblem(400, "parameter-malformed", "The parameter format is csv or jsonl.", parameter="format")
        asked = {name: given.get(name, "") for name in ("filter", "order_by", "fields")}
        wrong = next((name for name, value in asked.items() if not isinstance(value, str)), None)
        if wrong is not None:
            raise HttpProblem(400, "parameter-malformed", f"The parameter {wrong} is text.", parameter=wrong)
        moment = moment_of(given)
        whole = compile_whole(c, permissions=principal.permissions, now=moment.as_of or datetime.now(UTC), **asked)
        views = views_read(c, asked["filter"], principal.permissions)
        await service.wait_for(request, views)
        position = service.chancery.feed.reached(views)
        headers = {
            "Content-Disposition": f'attachment; filename="{c.name}-{datetime.now(UTC):%Y-%m-%d}.{form}"',
            "Cache-Control": "no-store",
            "Chancery-Position": str(position),
        }
        if request.method == "HEAD":
            return Response(media_type=MEDIA[form], headers=headers)
        downloads.enter(principal.key)
        try:
            rows = _rows(service, principal, whole, moment)
            lines = (_csv if form == "csv" else _jsonl)(c, whole, rows, principal.permissions)
            first = await anext(lines, b"")  # what the database refuses is still answered with a status
        except BaseException:
            downloads.leave(principal.key)
            raise
        request.state.long()
        return _Download(first, lines, lambda: downloads.leave(principal.key), media_type=MEDIA[form], headers=headers)

    return endpoint


async def _given(request: Request) -> Mapping[str, Any]:
    if request.method != "POST":
        return parameters(request, KNOWN)
    parameters(request, ())
    given = json_object(request, await read_body(request, MOST_BYTES), MOST_BYTES)
    unknown = next((name for name in given if name not in KNOWN), None)
    if unknown is not None:
        shown = printable(unknown[:80])
        raise HttpProblem(
            422, "unknown-parameter", f"There is no parameter “{shown}” here. Known are: {', '.join(KNOWN)}.", parameter=shown
        )
    return given


class _Download(StreamingResponse):
    """A stream that gives its room and its connection back however it ends."""

    def __init__(
        self, first: bytes, lines: AsyncIterator[bytes], leave: Callable[[], None], *, media_type: str, headers: Mapping[str, str]
    ) -> None:
        async def content() -> AsyncIterator[bytes]:
            yield first
            async for chunk in lines:
                yield chunk

        super().__init__(content(), media_type=media_type, headers=headers)
        self._lines = lines
        self._leave = leave

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            async with asyncio.timeout(MOST_SECONDS):
                await super().__call__(scope, receive, send)
        finally:
            self._leave()
            await self._lines.aclose()  # type: ignore[attr-defined]


@asynccontextmanager
async def _reading(service: Service, principal: Principal, moment: Moment) -> AsyncIterator[PgReader]:
    """A reader on a connection that no other read waits for."""
    async with await service.chancery.database.connect_async("app") as c:
        await c.execute("BEGIN READ ONLY")
        now = await enter_firm(c, principal.firm, str(principal.actor))
        await enter(c, moment)
        yield PgReader(c, principal.firm, principal.permissions, moment, by=principal, now=now)


async def _rows(service: Service, principal: Principal, whole: Whole, moment: Moment) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    async with _reading(service, principal, moment) as r, r.connection.cursor("download", row_factory=dict_row) as cursor:
        sql = r._at(whole.sql)  # noqa: SLF001 - the cursor is another, the moment the same
        await cursor.execute(sql, {"firm": principal.firm, **whole.params}, binary=True)
        while rows := await cursor.fetchmany(BATCH):
            yield rows


async def _jsonl(
    c: Collection, whole: Whole, rows: AsyncIterator[Sequence[Mapping[str, Any]]], permissions: frozenset[str]
) -> AsyncIterator[bytes]:
    """Each row as the list shows it, on a line of its own."""
    async for batch in rows:
        shown = (one_as_seen(c, row, whole.tree, permissions) for row in batch)
        yield b"".join(orjson.dumps(s, default=json_default, option=JSON_OPTIONS | orjson.OPT_APPEND_NEWLINE) for s in shown)


async def _csv(
    c: Collection, whole: Whole, rows: AsyncIterator[Sequence[Mapping[str, Any]]], permissions: frozenset[str]
) -> AsyncIterator[bytes]:
    """RFC 4180 with a header; withheld values are empty."""
    names = list(whole.tree)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(names)
    yield _taken(out)
    async for batch in rows:
        for row in batch:
            shown = one_as_seen(c, row, whole.tree, permissions)
            writer.writerow([cell(shown[name]) for name in names])
        yield _taken(out)


def _taken(out: io.StringIO) -> bytes:
    text = out.getvalue()
    out.seek(0)
    out.truncate()
    return text.encode("utf-8")


def cell(value: object) -> str:
    """A value as a cell: nested ones as JSON, text that looks like a formula made inert."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | Decimal() | UUID():
            return str(value)
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case str():
            return f"'{value}" if value.startswith(FORMULA) else value
        case _:
            return orjson.dumps(value, default=json_default, option=JSON_OPTIONS).decode()
