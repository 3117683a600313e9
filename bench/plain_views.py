"""The bare baselines of reads, by hand: a list, and a loop that makes rows of a log and wakes whoever waits for them.

`python -m bench.plain_views CONNINFO PORT FIRM` serves; with `project` in the place of PORT it is the loop.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import orjson
import psycopg
import uvicorn
from fastapi import FastAPI, Header, Response
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

from domain.kernel import FirmId
from domain.members import ALL_PERMISSIONS
from infra import registry
from infra.http.reads import JSON_OPTIONS
from infra.http.service import json_default
from queries.kernel import COLLECTIONS
from queries.listing import compile_list

TABLES = (
    "CREATE TABLE IF NOT EXISTS plain_log (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, deal uuid NOT NULL, note text NOT NULL);"
    "CREATE TABLE IF NOT EXISTS plain_deals (id uuid PRIMARY KEY, notes bigint NOT NULL, note text NOT NULL, position bigint NOT NULL);"
    "CREATE TABLE IF NOT EXISTS plain_place (position bigint NOT NULL); INSERT INTO plain_place VALUES (0)"
)
APPEND = "WITH new AS (INSERT INTO plain_log (deal, note) VALUES (%s, %s) RETURNING position) SELECT position, pg_notify('plain_log', '') FROM new"
FOLLOW = "SELECT position, deal, note FROM plain_log WHERE position > %s ORDER BY position LIMIT 1000"
UPSERT = (
    "INSERT INTO plain_deals SELECT deal, 1, note, position FROM unnest(%s::uuid[], %s::text[], %s::bigint[]) u(deal, note, position)"
    " ON CONFLICT (id) DO UPDATE SET notes = plain_deals.notes + 1, note = excluded.note, position = excluded.position"
)


class Note(BaseModel):
    note: str


def project(conninfo: str) -> None:
    """Apply what the log has, then wait for its next word."""
    with psycopg.connect(conninfo, autocommit=True) as c, psycopg.connect(conninfo, autocommit=True) as listening:
        c.execute("SET synchronous_commit = off")
        listening.execute("LISTEN plain_log")
        position = 0
        while True:
            rows = c.execute(FOLLOW, (position,), binary=True).fetchall()
            if not rows:
                for _ in listening.notifies(timeout=0.5, stop_after=1):
                    pass
                continue
            last = {deal: (note, at) for at, deal, note in rows}
            with c.transaction():
                c.execute(UPSERT, (list(last), [note for note, _ in last.values()], [at for _, at in last.values()]))
                position = rows[-1][0]
                c.execute("UPDATE plain_place SET position = %s", (position,))
                c.execute("SELECT pg_notify('plain_views', %s)", (str(position),))


def app(conninfo: str, firm: FirmId) -> FastAPI:
    registry.load()
    pool = AsyncConnectionPool(conninfo, min_size=8, max_size=8, open=False, kwargs={"autocommit": True, "prepare_threshold": 1})
    moved = asyncio.Condition()
    reached = 0
    listing = compile_list(COLLECTIONS["deals"], firm=firm, permissions=ALL_PERMISSIONS, now=datetime.now(UTC), key=b"0" * 32)

    async def listen() -> None:
        nonlocal reached
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as c:
            await c.execute("LISTEN plain_views")
            async for notice in c.notifies():
                async with moved:
                    reached = max(reached, int(notice.payload))
                    moved.notify_all()

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        await pool.open()
        listening = asyncio.create_task(listen())
        yield
        listening.cancel()
        await pool.close()

    made = FastAPI(lifespan=life)

    @made.get("/v1/deals")
    async def deals() -> Response:
        async with pool.connection() as c, c.cursor(row_factory=dict_row, binary=True) as cursor:
            await cursor.execute(listing.sql, {"firm": firm})
            rows = await cursor.fetchall()
        body = orjson.dumps({"items": rows[:50], "next_page_token": ""}, default=json_default, option=JSON_OPTIONS)
        return Response(body, media_type="application/json")

    @made.post("/v1/deals/{id}:note")
    async def note(id: UUID, note: Note, response: Response) -> dict[str, str]:
        async with pool.connection() as c:
            ((position, _),) = await (await c.execute(APPEND, (id, note.note))).fetchall()
        response.headers["Chancery-Position"] = str(position)
        return {"id": str(id)}

    @made.get("/v1/deals/{id}")
    async def deal(id: UUID, chancery_position: Annotated[int, Header()]) -> dict[str, str | int]:
        if reached < chancery_position:
            async with asyncio.timeout(60), moved:  # the loop may still be starting
                await moved.wait_for(lambda: reached >= chancery_position)
        async with pool.connection() as c:
            ((notes, text, position),) = await (
                await c.execute("SELECT notes, note, position FROM plain_deals WHERE id = %s", (id,), binary=True)
            ).fetchall()
        return {"id": str(id), "notes": notes, "note": text, "position": position}

    return made


if __name__ == "__main__":
    if sys.argv[2] == "project":
        project(sys.argv[1])
    served = app(sys.argv[1], FirmId(UUID(sys.argv[3])))
    uvicorn.run(served, port=int(sys.argv[2]), log_level="warning", access_log=False, loop="uvloop", http="httptools")
