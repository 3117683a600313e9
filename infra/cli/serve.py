"""`chancery serve`: the HTTP server, with the projections in a process beside it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import structlog
import typer
import uvicorn

from infra import registry
from infra.bootstrap import Chancery, opened
from infra.cli.console import DATA, chosen, fail, out
from infra.cli.firms import create_firm
from infra.database import Database, DatabaseUnusable
from infra.http.app import build
from infra.http.connection import Connection
from infra.projector.engine import Projector
from infra.record.vault import KeysUnusable, Vault
from infra.settings import Settings

log = structlog.get_logger()


def project(data: Path | None = DATA) -> None:
    """Run the projections until stopped; `serve` starts this beside itself."""
    registry.load()
    chosen_settings = chosen(data)
    database = Database.open(chosen_settings)
    stop = threading.Event()
    for sent in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sent, lambda *_: stop.set())
    _stop_with_parent(stop)
    try:
        Projector(database, Vault(chosen_settings.keys_folder)).run(stop)
    finally:
        database.close()


def _stop_with_parent(stop: threading.Event) -> None:
    """End when whoever started this process is gone, however it went."""
    parent = os.getppid()

    def watch() -> None:
        while not stop.wait(1.0):
            if os.getppid() != parent:
                stop.set()

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def projecting(settings: Settings) -> Iterator[None]:
    """The projections in a child process, started again when it dies."""
    stop = threading.Event()
    children: list[subprocess.Popen[bytes]] = []

    def keep() -> None:
        pause = 0.2
        while not stop.is_set():
            environment = {**os.environ, "CHANCERY_DATA": str(settings.data)}
            child = subprocess.Popen([sys.executable, "-m", "infra.cli", "project"], env=environment)
            children[:] = [child]
            code = child.wait()
            if not stop.is_set():
                log.error("projector.died", code=code)
                stop.wait(pause)
                pause = min(pause * 2, 10.0)

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        for child in children:
            child.terminate()
        keeper.join(timeout=10)


def serve(
    host: str = typer.Option("127.0.0.1", help="The address to listen at."),
    port: int = typer.Option(8000, min=1, max=65535),
    data: Path | None = DATA,
    demo: bool = typer.Option(False, "--demo", help="On the first start, make a firm with a year of work in it."),
) -> None:
    """Serve the API. The first start prints an owner's key, once."""
    settings = chosen(data)
    try:
        asyncio.run(_first_start(settings, demo=demo))
    except (DatabaseUnusable, KeysUnusable) as e:
        fail(str(e))
    address = f"http://{host}:{port}"
    out.print(f"Chancery serves on {address}  (API: {address}/docs, health: {address}/readyz)")
    runner = projecting(settings) if settings.projector else contextlib.nullcontext()
    with runner:
        uvicorn.run(
            build(settings),
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            loop="uvloop",
            http=Connection,
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=10,
            limit_concurrency=settings.max_in_flight * 4 + settings.max_streams,
        )


async def _first_start(settings: Settings, *, demo: bool) -> None:
    async with opened(settings) as chancery:
        if await _has_firm(chancery):
            return
        if demo:
            from infra.demo import make

            made = await make(chancery)
        else:
            from domain.firms import Region

            made = await create_firm(chancery, "My firm", Region.EU)
    out.print(f"First start. The firm {made['firm_id']} was made; its owner's key, shown this once:\n")
    out.print(f"    {made['api_key']}\n", style="bold")


async def _has_firm(chancery: Chancery) -> bool:
    async with await chancery.database.connect_async("record") as c:
        return await (await c.execute("SELECT FROM record.firm_heads LIMIT 1")).fetchone() is not None
