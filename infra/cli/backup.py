"""`chancery backup`, `chancery restore` and `chancery key rotate-wrapping`."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from infra.backup import BackupRefused, Copied
from infra.backup import Progress as Told
from infra.backup import backup as copy
from infra.backup import restore as put_back
from infra.bootstrap import Chancery, opened
from infra.cli.console import DATA, JSON, bar, chosen, fail, out, print_json, run
from infra.database import DatabaseUnusable
from infra.erasure.rotation import RotationRefused, RotationStopped, rotate
from infra.record.vault import KeysUnusable

FOLDER = typer.Argument(metavar="DIR", help="The folder of this backup.")


@contextmanager
def _bar() -> Iterator[Told]:
    """A bar for each thing that is told of."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with bar(*columns) as shown:
        tasks: dict[str, Any] = {}

        def told(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what.capitalize(), total=of or 1)
            shown.update(tasks[what], completed=done if of else 1, total=of or 1)

        yield told


def backup(folder: Path = FOLDER, data: Path | None = DATA, json: bool = JSON) -> None:
    """Copy the database and the documents' contents into an empty folder, while everything serves. The keys are not copied."""

    async def work(c: Chancery) -> Copied:
        with _bar() as told:
            return await asyncio.to_thread(copy, c.settings, c.database, c.vault, folder, progress=told)

    try:
        made = run(work, data)
    except BackupRefused as e:
        fail(str(e))
    keys = chosen(data).keys_folder
    if json:
        print_json({**made.shown(), "folder": str(folder), "keys_copied": False, "keys_folder": str(keys)})
        return
    out.print(f"Copied {made.position} events and {made.contents} contents to {folder}.")
    if made.bucket:
        out.print(f"The contents in {made.bucket} are not copied: back the bucket up by its own means.", style="yellow")
    out.print(
        f"The keys are not in it. Copy {keys} to another place, apart from this backup, after each new key and each erasure: without the keys\n"
        "a restored database is sealed for ever, and with them beside it a stolen backup is open.",
        style="yellow",
    )


def restore(
    folder: Path = FOLDER,
    force: bool = typer.Option(False, "--force", help="Put the backup in place of a database that holds events."),
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """Make the system of a backup again: its database and contents. Everyone who was erased since is erased again."""
    settings = chosen(data)

    async def open_once() -> int:
        async with opened(settings) as c:  # migrates, and carries the list of erasures out again
            with c.database.connect("record") as connection:
                return int((connection.execute("SELECT position FROM record.head").fetchone() or (0,))[0])

    try:
        with _bar() as told:
            made = put_back(settings, folder, force=force, progress=told)
        position = asyncio.run(open_once())
    except (BackupRefused, DatabaseUnusable, KeysUnusable) as e:
        fail(str(e))
    if json:
        print_json({**made.shown(), "position": position})
        return
    out.print(f"Restored {position} events and {made.contents} contents, as they were at {made.made_at:%Y-%m-%d %H:%M} UTC.")
    out.print(
        "Whoever was erased since was erased again. A firm's log that had signed more than the backup holds stays stopped, so that it never\n"
        "signs another history: `chancery log status` names it.",
        style="yellow",
    )


def rotate_wrapping(
    grace: float = typer.Option(
        5.0, "--grace", min=1.0, max=600.0, help="Seconds to wait for others before the old key is destroyed."
    ),
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """Wrap all data keys under a new key and destroy the old one. Data keys deleted before can then be opened in no copy of anything."""
    stop = threading.Event()

    async def work(c: Chancery) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        with _bar() as told:
            loop.add_signal_handler(signal.SIGINT, stop.set)
            try:
                done = await asyncio.to_thread(
                    rotate, c.database, c.vault, grace=grace, progress=lambda n, of: told("data keys", n, of), stop=stop
                )
            finally:
                loop.remove_signal_handler(signal.SIGINT)
        return {"epoch": done.epoch, "rewrapped": done.rewrapped, "destroyed": list(done.destroyed)}

    try:
        found = run(work, data)
    except (RotationRefused, RotationStopped) as e:
        fail(str(e))
    if json:
        print_json(found)
        return
    out.print(f"{found['rewrapped']} data keys are wrapped under epoch {found['epoch']} now.")
    out.print(
        f"Destroyed: {', '.join(f'epoch {e}' for e in found['destroyed'])}." if found["destroyed"] else "There was no older key."
    )
    out.print(
        "Backups from before can't be opened any more, which is the purpose. Copy the keys folder again, destroy your copies of the old one,\n"
        "and make a new backup now.",
        style="yellow",
    )
