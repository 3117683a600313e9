"""Live updates: one stream of server-sent events tells of every change in a firm, once its views show it."""

import asyncio
from collections.abc import AsyncIterator

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from infra.http.commands import Endpoint
from infra.http.problems import HttpProblem
from infra.http.reads import parameters
from infra.http.service import Principal, Service
from queries.kernel import COLLECTIONS

HEARTBEAT = 15.0
BATCH = 500
SELECT = (
    "SELECT position, stream_type, stream_id, type, occurred_at FROM record.events"
    " WHERE firm_id = %(firm)s AND position > %(after)s AND position <= %(until)s ORDER BY firm_position LIMIT %(limit)s"
)


def route(service: Service) -> Endpoint:
    """`GET /v1/changes`: events named `change` with `{position, view, type, id}`; `Last-Event-ID` or `after` resumes."""
    feed = service.chancery.feed

    async def endpoint(request: Request) -> Response:
        principal = await service.principal(request)
        asked = parameters(request, ("after", "views"))
        text = request.headers.get("last-event-id") or asked.get("after") or str(feed.reached(list(feed.positions)))
        if not text.isdigit() or len(text) > 18:
            raise HttpProblem(400, "position-malformed", "Last-Event-ID and after take a position: a whole number.")
        wanted = frozenset(v for v in asked.get("views", "").split(",") if v)
        unknown = wanted - set(COLLECTIONS)
        if unknown:
            raise HttpProblem(
                400, "unknown-view", f"There is no view {sorted(unknown)[0][:80]!r}. Known are: {', '.join(sorted(COLLECTIONS))}."
            )
        return StreamingResponse(
            _follow(service, request, principal, int(text), wanted),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return endpoint


async def _follow(
    service: Service, request: Request, principal: Principal, after: int, wanted: frozenset[str]
) -> AsyncIterator[bytes]:
    by_stream = {c.stream.type: c for c in COLLECTIONS.values() if c.stream is not None and c.permission in principal.permissions}
    feed = service.chancery.feed
    yield b"retry: 2000\n\n"
    while not await request.is_disconnected():
        reached = await feed.moved(after, HEARTBEAT)
        if reached <= after:
            # A key that was revoked since gets no more.
            try:
                principal = await service.principal(request)
            except Exception:
                return
            yield b": still here\n\n"
            continue
        while after < reached:
            async with service.chancery.readers.reading(principal.firm) as r:
                rows = await r.all(SELECT, after=after, until=reached, limit=BATCH)
            out = bytearray()
            for row in rows:
                c = by_stream.get(row["stream_type"])
                if c is not None and (not wanted or c.name in wanted):
                    data = orjson.dumps({"position": row["position"], "view": c.name, "type": row["type"], "id": row["stream_id"]})
                    out += b"id: %d\nevent: change\ndata: %b\n\n" % (row["position"], data)
            after = rows[-1]["position"] if len(rows) == BATCH else reached
            if out:
                yield bytes(out)
            await asyncio.sleep(0)
