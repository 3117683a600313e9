"""The client of readers, before a Neo4j that takes connections and says nothing."""

import asyncio
import gc
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from infra.away import EngineUnusable
from infra.graph.neo4j import client as under_test
from infra.graph.neo4j.client import Address, Client, Neo4jAway, check


@asynccontextmanager
async def silent() -> AsyncIterator[tuple[Address, asyncio.Event]]:
    """The address of a server that never answers, and whether anybody has come."""
    come = asyncio.Event()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        come.set()
        try:
            await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    async with server:
        yield Address(f"bolt://127.0.0.1:{server.sockets[0].getsockname()[1]}", None), come


@pytest.fixture
async def complaints() -> AsyncIterator[list[dict[str, Any]]]:
    """What the event loop complains of."""
    said: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: said.append(context))
    yield said
    loop.set_exception_handler(before)


def others(before: set["asyncio.Task[Any]"]) -> set["asyncio.Task[Any]"]:
    return {t for t in asyncio.all_tasks() - before if t.get_name() == "neo4j" or "Client" in repr(t.get_coro())}


async def quiet(said: list[dict[str, Any]]) -> bool:
    """Whether nothing was complained of, what is found when memory is cleared included."""
    for _ in range(3):
        gc.collect()
        await asyncio.sleep(0)
    return said == []


async def test_a_client_that_is_closed_while_it_looks_leaves_no_task_and_no_complaint(complaints: list[dict[str, Any]]) -> None:
    before = asyncio.all_tasks()
    async with silent() as (address, come):
        client = Client(address)
        await client.open(serving=False)
        await asyncio.wait_for(come.wait(), 120)
        assert len(others(before)) == 2, "the watcher and its look"
        await client.close()
        assert others(before) == set()
    assert await quiet(complaints)


async def test_a_client_that_is_closed_while_it_lets_go_of_a_look_ends(
    complaints: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "PATIENCE", 0.05)
    before = asyncio.all_tasks()
    async with silent() as (address, come):
        client = Client(address)
        await client.open(serving=False)
        await asyncio.wait_for(come.wait(), 120)
        with pytest.raises(Neo4jAway):
            await client.rows("RETURN 1", {}, seconds=60)
        for _ in range(20):  # at one of these moments it lets go
            await asyncio.sleep(0.013)
        await asyncio.wait_for(client.close(), 120)
        assert others(before) == set()
    assert await quiet(complaints)


@pytest.mark.parametrize("scheme", ["bolt", "neo4j"])
def test_why_nothing_could_be_had_is_said_in_words(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, socket.create_server(("127.0.0.1", 0)) as other:

        def answer_as_a_web_server() -> None:
            while True:
                try:
                    caller, _ = other.accept()
                except OSError:
                    return
                with caller:
                    caller.recv(100)
                    caller.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer_as_a_web_server, daemon=True).start()
        for where, why in (
            ("127.0.0.1:1", "nothing listens there"),
            ("nowhere.invalid:7687", "there is no host of that name"),
            (f"127.0.0.1:{mute.getsockname()[1]}", "no answer came in time"),
            (f"127.0.0.1:{other.getsockname()[1]}", "what listens there is no Neo4j, or is still starting"),
        ):
            with pytest.raises(EngineUnusable) as said:
                check(Address(f"{scheme}://{where}", ("anna", "hunter2")))
            assert str(said.value) == (
                f"Neo4j does not answer at {scheme}://{where}: {why}. Check that it runs and CHANCERY_NEO4J_URL; with that variable unset, the"
                " graph is served from PostgreSQL."
            )
        other.shutdown(socket.SHUT_RDWR)
