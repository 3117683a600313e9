"""`chancery serve`: the HTTP server, with the projections in processes beside it."""

import asyncio
import contextlib
import errno
import gc
import os
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path

import structlog
import typer
import uvicorn

from domain.firms import Region
from infra import registry
from infra.away import EngineUnusable
from infra.blobs import StoreAway
from infra.bootstrap import Chancery, opened
from infra.cli.console import DATA, chosen, fail, misuse, out
from infra.cli.firms import create_firm
from infra.database import Database, DatabaseUnusable
from infra.followers import follow as run_followers
from infra.followers import followers, parts
from infra.projector.engine import Projector
from infra.projector.shards import projecting
from infra.record.vault import KeysUnusable, Vault
from infra.settings import Settings
from projections.kernel import VIEWS

log = structlog.get_logger()


def project(
    views: str = typer.Option("", help="Names of views, with commas between; all when not given."),
    shard: str = typer.Option(
        "1/1", help="Which of how many processes this is: the views that are not named are shared out by it."
    ),
    parent: int = typer.Option(0, help="The process without which this one ends."),
    data: Path | None = DATA,
) -> None:
    """Run the projections until stopped; `serve` starts this beside itself."""
    stop = threading.Event()
    for sent in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sent, lambda *_: stop.set())
    _stop_with_parent(stop, parent or os.getppid())
    registry.load()
    names = named(views) or share(shard)
    chosen_settings = chosen(data)
    database = _database(chosen_settings)
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # rows make no cycles
    try:
        vault = Vault(chosen_settings.keys_folder)
        Projector(database, vault, [VIEWS[name] for name in names], process=shard).run(stop)
    except KeysUnusable as e:
        fail(str(e))
    finally:
        database.close()


def _database(settings: Settings) -> Database:
    try:
        return Database.open(settings)
    except DatabaseUnusable as e:
        fail(str(e))


def named(views: str) -> list[str]:
    """The views of a list with commas between."""
    names = [name.strip() for name in views.split(",") if name.strip()]
    unknown = sorted(set(names) - set(VIEWS))
    if unknown:
        misuse(f"There is no view {', '.join(unknown)}. `chancery projection list` shows them.")
    return names


def share(shard: str) -> list[str]:
    """The views of one of several processes that nobody divides the views among: by name, so that each knows its own."""
    number, _, of = shard.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        misuse(f"--shard {shard} is not a share such as 1/1 or 2/3.")
    return sorted(VIEWS)[int(number) - 1 :: int(of)]


def follow(
    names: list[str] | None = typer.Argument(
        None, help="The followers, by their names; all that the settings ask for when not given."
    ),
    parent: int = typer.Option(0, hidden=True, help="The process without which this one ends."),
    data: Path | None = DATA,
) -> None:
    """Run what follows the record beside the views (search, graph, relay, log) until stopped; `serve` starts this beside itself."""
    stop = threading.Event()
    for sent in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sent, lambda *_: stop.set())
    if parent:
        _stop_with_parent(stop, parent)
    registry.load()
    chosen_settings = chosen(data)
    database = _database(chosen_settings)
    gc.freeze()
    try:
        known = {f.name: f for f in followers(parts(chosen_settings, database))}
        unknown = sorted(set(names or ()) - set(known))
        if unknown:
            misuse(f"There is no follower {', '.join(unknown)} with these settings. There are: {', '.join(sorted(known))}.")
        run_followers([known[n] for n in names] if names else list(known.values()), stop)
    finally:
        database.close()


def _stop_with_parent(stop: threading.Event, parent: int) -> None:
    """End when whoever started this process is gone, however and however early it went."""

    def watch() -> None:
        while not stop.wait(1.0):
            if os.getppid() != parent:
                stop.set()

    threading.Thread(target=watch, daemon=True).start()


def serve(
    host: str = typer.Option("127.0.0.1", help="The address to listen at."),
    port: int = typer.Option(8000, min=1, max=65535, help="The port to listen at."),
    data: Path | None = DATA,
    demo: bool = typer.Option(False, "--demo", help="On the first start, make a firm with a year of work in it."),
) -> None:
    """Serve the API. The first start makes a firm and prints its owner's key, once."""
    from infra.http.app import build
    from infra.http.connection import connection

    settings = chosen(data)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: children and database are let go
    with contextlib.closing(_listen(host, port)) as listening:
        try:
            made = asyncio.run(_first_start(settings, demo=demo))
        except StoreAway as e:
            fail(e.strerror or str(e))
        except (DatabaseUnusable, KeysUnusable, EngineUnusable) as e:
            fail(str(e))
        address = f"http://{_named(host)}:{port}"
        if "public_url" not in settings.model_fields_set:
            settings = settings.model_copy(update={"public_url": address})
        _greet(settings.public_url, made, demo=demo, data=data)
        app = build(settings)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                loop="uvloop",
                http=connection(app.state.crowd),
                ws="none",
                server_header=False,
                timeout_graceful_shutdown=10,
                limit_concurrency=settings.max_in_flight * 8 + settings.max_streams,
            )
        )
        with projecting(settings) if settings.projector else contextlib.nullcontext(), contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """The socket, taken before anything is made: a port that is taken costs no half start."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family, backlog=2048)
    except OSError as e:
        why = "another program listens there" if e.errno == errno.EADDRINUSE else e.strerror or "the address can't be used"
        fail(f"Can't listen at {host}, port {port}: {why}. Choose another with --host and --port.")


def _named(host: str) -> str:
    """The host as a browser on this machine would name it."""
    if host in {"0.0.0.0", "::"}:  # noqa: S104 # nosec B104 - compared, not listened at
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _greet(address: str, made: dict[str, str] | None, *, demo: bool, data: Path | None) -> None:
    """What a person sees first, and what to do next."""
    out.print(f"Chancery runs at {address}. Stop it with Ctrl-C.\n", style="bold")
    program = sys.argv[0]
    name = Path(program).name
    chancery = name if program in {name, shutil.which(name)} else program
    where = f" --data {data}" if data else ""
    if made is not None:
        firm, key = made["firm_id"], made["api_key"]
        out.print(f"Firm    {'the demo firm, with a year of work' if demo else 'My firm'}: {firm}")
        out.print(f"Key     {key}")
        out.print("        This is the owner's key. It is shown this once: only its digest is stored.\n", style="yellow")
        out.print("Try it in another terminal:\n")
        out.print(f"    KEY={key}")
        out.print(f'    curl -H "Authorization: Bearer $KEY" "{address}/v1/deals?page_size=2"')
        out.print(f"    {chancery} import contacts people.csv --firm {firm} --dry-run{where}\n")
    out.print(f"Docs    {address}/docs      every command and read of the API, to try by hand")
    out.print(f"Health  {address}/readyz    the database and how far each view is")
    if made is None:
        out.print(f"Keys    {chancery} firm list{where}")
        out.print(f"        {chancery} key create --firm ID --role owner{where}")


async def _first_start(settings: Settings, *, demo: bool) -> dict[str, str] | None:
    """Make the first firm; answers it with its key, or None when there is one already."""
    async with opened(settings, serving=True) as chancery:
        if await _has_firm(chancery):
            return None
        if demo:
            from infra.demo import make

            made = await make(chancery)
        else:
            made = await create_firm(chancery, "My firm", Region.EU)
        if settings.projector:
            await asyncio.to_thread(_catch_up, chancery)
        return made


def _catch_up(chancery: Chancery) -> None:
    """Bring the views to the end of the record once, so that the key works as soon as it is shown."""
    stop = threading.Event()
    Projector(chancery.database, chancery.vault).run(stop, progress=lambda _reached: stop.set())


async def _has_firm(chancery: Chancery) -> bool:
    async with await chancery.database.connect_async("record") as c:
        return await (await c.execute("SELECT FROM record.firm_heads LIMIT 1")).fetchone() is not None
