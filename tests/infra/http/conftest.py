"""A house behind a real socket, for what only bytes on a wire can try."""

# ruff: noqa: ASYNC110 - what is waited for lies outside and sends no event

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest_asyncio
import uvicorn

from infra.http.connection import Connection
from tests.house import House


class Served:
    """The address of a house, and raw requests to it."""

    def __init__(self, house: House, port: int) -> None:
        self.house = house
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    async def raw(self, head: bytes, body: bytes = b"", *, key: bool = True) -> tuple[int, dict[str, str], bytes]:
        """Send these bytes and read one answer; `Host`, the key and the end of the head are added."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            own = b"Host: chancery\r\n"
            if key:
                own += b"Authorization: Bearer " + self.house.key.encode() + b"\r\n"
            writer.write(head.replace(b"\n", b"\r\n") + b"\r\n" + own + b"\r\n" + body)
            await writer.drain()
            return await read_answer(reader, bodiless=head.startswith(b"HEAD"))
        finally:
            writer.close()


async def read_answer(reader: asyncio.StreamReader, *, bodiless: bool = False) -> tuple[int, dict[str, str], bytes]:
    async with asyncio.timeout(120):
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
        with contextlib.suppress(asyncio.IncompleteReadError):
            return (
                int(first.split()[1]),
                headers,
                await reader.readexactly(0 if bodiless else int(headers.get("content-length", "0"))),
            )
    return int(first.split()[1]), headers, b""


@asynccontextmanager
async def serving(house: House) -> AsyncIterator[Served]:
    config = uvicorn.Config(
        house._app, port=0, log_level="error", access_log=False, lifespan="off", http=Connection, ws="none", limit_concurrency=400
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield Served(house, server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        server.force_exit = True
        await task


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(house: House) -> AsyncIterator[Served]:
    async with serving(house) as s:
        yield s
