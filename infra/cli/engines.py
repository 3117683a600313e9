"""`chancery engines …`: Kafka, Elasticsearch and Neo4j on this machine without containers."""

import shlex
from pathlib import Path
from typing import NoReturn

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from infra.cli.console import DATA, JSON, chosen, err, fail, misuse, out, print_json, show
from infra.engines.errors import EnginesUnusable
from infra.engines.run import Engines, default_cache
from infra.engines.servers import SERVERS

app = typer.Typer(no_args_is_help=True, help="Kafka, Elasticsearch and Neo4j without containers: start, look, stop.")

ONLY = typer.Option(
    None, "--only", metavar="NAMES", help=f"Which of {', '.join(SERVERS)}, separated by commas; all of them when not given."
)
CACHE = typer.Option(
    None,
    "--cache",
    metavar="DIR",
    envvar="CHANCERY_ENGINES_CACHE",
    show_default=False,
    help="Where downloads are kept; the user's cache folder when not given.",
)


def _engines(data: Path | None, cache: Path | None = None) -> Engines:
    return Engines(chosen(data).data / "engines", cache or default_cache())


def _names(only: str | None) -> list[str]:
    names = list(SERVERS) if only is None else [n.strip() for n in only.split(",") if n.strip()]
    unknown = sorted(set(names) - SERVERS.keys())
    if unknown or not names:
        misuse(f"There is no engine {', '.join(unknown) or 'of no name'}. There are {', '.join(SERVERS)}.")
    return [n for n in SERVERS if n in names]


def _port(engine: str) -> int | None:
    option: int | None = typer.Option(
        None,
        f"--{engine}-port",
        min=1,
        max=65535,
        help=f"The port of {SERVERS[engine].title} for clients; a free one when not given.",
    )
    return option


@app.command()
def up(
    only: str | None = ONLY,
    kafka_port: int | None = _port("kafka"),
    elasticsearch_port: int | None = _port("elasticsearch"),
    neo4j_port: int | None = _port("neo4j"),
    cache: Path | None = CACHE,
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """Start the engines, wait until each answers, and print the variables to export. The first time downloads 320 MB."""
    names = _names(only)
    ports = {"kafka": kafka_port, "elasticsearch": elasticsearch_port, "neo4j": neo4j_port}
    engines = _engines(data, cache)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    said = ""
    try:
        with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as shown:
            bar = shown.add_task("", total=None)

            def tell(what: str, done: int, of: int) -> None:
                nonlocal said
                shown.update(bar, description=what, completed=done, total=of or None)
                if what != said and not err.is_terminal and not what.endswith(("checking", "checked")):
                    err.print(what, markup=False)
                said = what

            variables = engines.up(names, ports={n: p for n, p in ports.items() if p is not None}, tell=tell)
    except EnginesUnusable as e:
        fail(str(e))
    except KeyboardInterrupt:
        _interrupted()
    if json:
        print_json(variables)
        return
    for name in names:
        err.print(SERVERS[name].open, style="dim", markup=False)
    err.print(f"Logs and data: {engines.folder}. Stop with: chancery engines down", style="dim", markup=False)
    for name, value in variables.items():
        out.print(f"export {name}={shlex.quote(value)}", markup=False)


def _interrupted() -> NoReturn:
    fail("Interrupted. What was started goes on: `chancery engines status` shows it, `chancery engines down` stops it.")


@app.command()
def down(only: str | None = ONLY, data: Path | None = DATA, json: bool = JSON) -> None:
    """Stop the engines that were started here; what they stored stays."""
    try:
        found = _engines(data).down(_names(only))
    except EnginesUnusable as e:
        fail(str(e))
    if json:
        print_json({name: "stopped" if ran else "not running" for name, ran in found.items()})
        return
    for name, ran in found.items():
        out.print(f"{SERVERS[name].title} {'is stopped' if ran else 'was not running'}.")
    if not found:
        out.print("Nothing was started here.")


@app.command()
def status(only: str | None = ONLY, data: Path | None = DATA, json: bool = JSON) -> None:
    """Which engines answer, where, and how much memory they hold. Exit 1 when one that was started or named does not answer."""
    names = _names(only)
    try:
        found = [s for s in _engines(data).status() if s.engine in names]
    except EnginesUnusable as e:
        fail(str(e))
    rows = [
        {
            "engine": s.engine,
            "version": s.version,
            "state": s.state,
            "port": s.port,
            "pids": list(s.pids) if json else " ".join(map(str, s.pids)),
            "memory_mb": s.memory_mb,
            "log": s.log,
            **({"variables": s.variables} if json else {}),
        }
        for s in found
    ]
    show(rows, ("engine", "version", "state", "port", "pids", "memory_mb", "log"), json=json)
    asked = found if only is not None else [s for s in found if s.state != "stopped"]
    if not asked or any(s.state != "running" for s in asked):
        raise typer.Exit(1)
