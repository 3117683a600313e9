"""The bare HTTP baseline: a FastAPI route that runs the two statements of a command and nothing else. `python -m bench.plain CONNINFO PORT`."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

import uvicorn
from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

SELECT = "SELECT public, sealed FROM bare_http WHERE firm_id = %s AND stream_id = %s AND stream_type = %s ORDER BY stream_version DESC LIMIT 10"
INSERT = (
    "INSERT INTO bare_http (position, firm_id, firm_position, stream_type, stream_id, stream_version, event_id, type, recorded_at,"
    " occurred_at, command_id, public, sealed) VALUES (nextval('bare_http_position'), %s, 1, 'deal', %s, 1, %s, 'deals.Noted.v1', %s, %s, %s, %s, %s)"
)
FIRM = uuid4()
PUBLIC, SEALED = b"p" * 520, b"s" * 330


class Note(BaseModel):
    note: str


def app(conninfo: str) -> FastAPI:
    pool = AsyncConnectionPool(conninfo, min_size=16, max_size=16, open=False, kwargs={"autocommit": True, "prepare_threshold": 1})

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        await pool.open()
        yield
        await pool.close()

    made = FastAPI(lifespan=life)

    @made.post("/v1/deals/{id}:note")
    async def note(id: UUID, note: Note) -> dict[str, str | int]:
        event, now = uuid4(), datetime.now(UTC)
        async with pool.connection() as c:
            found = await (await c.execute(SELECT, (FIRM, id, "deal"), binary=True)).fetchall()
            await c.execute(INSERT, (FIRM, id, event, now, now, uuid4(), PUBLIC, SEALED), binary=True)
        return {"id": str(id), "event": str(event), "version": len(found) + 1, "length": len(note.note)}

    return made


if __name__ == "__main__":
    uvicorn.run(app(sys.argv[1]), port=int(sys.argv[2]), log_level="warning", access_log=False, loop="uvloop", http="httptools")
