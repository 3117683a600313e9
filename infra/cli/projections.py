"""`chancery projection …`: where the views stand, and whether they are what the record makes them."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from rich.progress import MofNCompleteColumn, Progress, TaskID

from infra import turns
from infra.bootstrap import Chancery
from infra.cli.console import DATA, JSON, bar, fail, misuse, out, run, show
from infra.feed import Behind
from infra.followers import Follower, followers, parts
from infra.projector.comparing import columns, contents
from infra.projector.rebuild import AlreadyRebuilding, RebuildFailed, rebuild
from infra.projector.shadows import SCHEMAS
from infra.record.appender import CHANNEL
from projections.kernel import VIEWS

app = typer.Typer(no_args_is_help=True, help="The views: list, wait, rebuild, digest.")


@app.command("list")
def list_(data: Path | None = DATA, json: bool = JSON) -> None:
    """Every view with its position, its lag and what stopped it."""

    async def work(c: Chancery) -> list[dict[str, Any]]:
        async with await c.database.connect_async("app") as connection:
            head = (await (await connection.execute("SELECT position FROM record.head")).fetchone() or (0,))[0]
            rows = await (
                await connection.execute(
                    "SELECT name, version, position, stopped_at, error, process FROM chancery.projections ORDER BY name"
                )
            ).fetchall()
        return [
            {"name": n, "version": v, "position": p, "lag": head - p, "stopped_at": s, "error": e, "process": of}
            for n, v, p, s, e, of in rows
        ]

    show(run(work, data), ("name", "version", "position", "lag", "stopped_at", "error", "process"), json=json)


@app.command()
def wait(
    position: int = typer.Argument(min=0, help="The position, as a write answered it."),
    timeout: float = typer.Option(60.0, min=0.0, help="Seconds to wait at most."),
    data: Path | None = DATA,
) -> None:
    """Wait until every view has reached a position."""

    async def work(c: Chancery) -> None:
        try:
            await c.feed.wait(tuple(VIEWS), position, timeout)
        except Behind as e:
            if position > c.feed.head:
                fail(f"The record ends at position {c.feed.head}: there is no {position} in it. A write answers its position.")
            fail(
                f"The view {e.view} stands at {e.reached}, before {position}. Is `chancery serve` running? `chancery projection list` shows more."
            )

    run(work, data)


def _named(name: str | None, c: Chancery) -> tuple[list[str], list[Follower]]:
    """The view or the follower of that name, or every one. Known are they only once the system is open."""
    following = followers(parts(c.settings, c.database))
    if name is None:
        return sorted(VIEWS), following
    found = [f for f in following if f.name == name]
    if name not in VIEWS and not found:
        fail(f"There is no view {name!r}. `chancery projection list` shows them.")
    return ([name] if name in VIEWS else []), found


@app.command()
def resume(
    name: str = typer.Argument(help="The view that an event stopped; `chancery projection list` shows them."),
    data: Path | None = DATA,
) -> None:
    """Let a view go on at the event that stopped it, once what was wrong is mended."""

    async def work(c: Chancery) -> tuple[int, str] | None:
        _named(name, c)
        async with await c.database.connect_async("record") as connection:
            found = await (
                await connection.execute(
                    "UPDATE chancery.projections p SET stopped_at = NULL, error = NULL FROM chancery.projections was"
                    " WHERE p.name = %s AND was.name = p.name AND was.stopped_at IS NOT NULL AND was.error <> 'AheadOfRecord'"
                    " RETURNING was.stopped_at, pg_notify(%s, '')",
                    (name, CHANNEL),
                )
            ).fetchone()
            if found is not None:
                return int(found[0]), ""
            stood = await (await connection.execute("SELECT error FROM chancery.projections WHERE name = %s", (name,))).fetchone()
            return None if stood is None or stood[0] is None else (0, stood[0])

    done = run(work, data)
    if done is None:
        fail(f"The view {name} has not stopped: there is nothing to resume.")
    if done[1]:
        fail(f"The view {name} is ahead of the record and can't go on. Run `chancery projection rebuild {name}`.")
    out.print(f"The view {name} goes on at position {done[0]}.")


@app.command("rebuild")
def rebuild_(
    name: str | None = typer.Argument(None, metavar="[NAME]", help="The view, by its name; `chancery projection list` shows them."),
    all_: bool = typer.Option(False, "--all", help="Every view."),
    data: Path | None = DATA,
) -> None:
    """Build a view anew from the record while the old one serves, then put it in its place in one step."""
    if (name is None) != all_:
        misuse("Name one view, or say --all. `chancery projection list` shows them.")

    async def work(c: Chancery) -> int:
        views, following = _named(name, c)
        reached = 0
        with bar(*Progress.get_default_columns(), MofNCompleteColumn()) as shown:

            def told(task: TaskID) -> Callable[[int, int], None]:
                return lambda done, total: shown.update(task, completed=done, total=total)

            if views:
                task = shown.add_task("Views" if all_ else str(name), total=None)
                reached = rebuild(c.database, c.vault, [VIEWS[n] for n in views], progress=told(task))
            for follower in following:
                task = shown.add_task(follower.name, total=None)
                with turns.short():
                    reached = await asyncio.to_thread(follower.rebuild, progress=told(task))
        return reached

    try:
        reached = run(work, data)
    except (AlreadyRebuilding, RebuildFailed) as e:
        fail(" ".join((type(e).__doc__ or "").split()))
    out.print(f"Rebuilt {'every view' if all_ else name} up to position {reached}.")


def digest_of(connection: Any, name: str) -> str:
    """SHA-256 over a view's rows and their history, in the order of firm and id: depends on nothing but the events applied."""
    view = VIEWS[name]
    names = columns(connection, view)
    digest = hashlib.sha256()
    for schema in SCHEMAS:
        rows = contents(names, schema, view.table.removeprefix("views."), superseded=schema == "history")
        with connection.cursor().copy(rows) as copy:
            for piece in copy:
                digest.update(piece)
    return digest.hexdigest()


@app.command()
def digest(
    name: str | None = typer.Argument(None, help="The view, by its name; `chancery projection list` shows them."),
    all_: bool = typer.Option(False, "--all", help="Every view."),
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """A digest of a view's contents: equal for live and rebuilt, here and there."""
    if (name is None) != all_:
        misuse("Name one view, or say --all. `chancery projection list` shows them.")

    async def work(c: Chancery) -> list[dict[str, Any]]:
        views, following = _named(name, c)
        with c.database.connect("record") as connection:
            found = [{"name": n, "digest": digest_of(connection, n)} for n in views]
        return [*found, *({"name": f.name, "digest": f.digest()} for f in following)]

    rows = run(work, data)
    if json or all_:
        show(rows, ("name", "digest"), json=json)
    else:
        out.print(rows[0]["digest"])
