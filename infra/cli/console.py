"""What every verb of the command line shares: tables for people, JSON for scripts, errors as sentences, one system to work on."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import orjson
import psycopg
import typer
from psycopg_pool import PoolTimeout
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress, ProgressColumn
from rich.table import Table
from typer.core import TyperGroup

from commands.kernel import COMMANDS, Actor, Command
from domain.kernel import FirmId, Refused
from infra.away import EngineUnusable
from infra.blobs import StoreAway
from infra.bootstrap import Chancery, opened, settings
from infra.database import DatabaseUnusable
from infra.plainly import reason
from infra.record.appender import Busy, CommandIdReused, OutcomeUnknown, Unavailable
from infra.record.execute import Answer, TooContended
from infra.record.vault import KeysUnusable
from infra.settings import Settings

T = TypeVar("T")

WHOLE = frozenset({"id", "firm"})  # columns that are copied: never cut

OPERATOR = Actor("system", "operator")
OPERATOR_PERMISSIONS = frozenset({"operator"})

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

DATA = typer.Option(None, "--data", metavar="DIR", help="The data folder; CHANCERY_DATA or .chancery when not given.")
JSON = typer.Option(False, "--json", help="Print JSON for scripts.")


class Verbs(TyperGroup):
    """Verbs whose misuse is told in plain words; they stand between the name of the option and the end of a frame."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as e:
            if isinstance(e.__cause__, ValidationError):
                (first, *_) = e.__cause__.errors(include_input=False, include_url=False)
                e.message = f"{reason(first)}."
            raise


def bar(*columns: ProgressColumn) -> Progress:
    """A bar in a terminal; elsewhere nothing, not even the empty line it would leave."""
    shown = columns or Progress.get_default_columns()
    return Progress(*shown, console=err, transient=True, disable=not err.is_terminal)


def fail(message: str) -> NoReturn:
    """Say why and exit 1."""
    err.print(message, style="red" if err.is_terminal else None, markup=False)
    raise typer.Exit(1)


def misuse(message: str) -> NoReturn:
    """Say what is wrong with the command as it was typed and exit 2."""
    err.print(message, style="red" if err.is_terminal else None, markup=False)
    raise typer.Exit(2)


def put(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; what is there and is no file, such as /dev/stdout, is written to. OSError names the path."""
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        path = path.resolve()
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            fresh.write_bytes(content)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as e:
        raise OSError(e.errno, e.strerror, str(path)) from e


def write(path: Path, content: bytes) -> None:
    """Write what was asked for to the file that was named."""
    try:
        put(path, content)
    except OSError as e:
        fail(f"{path} can't be written: {e.strerror}.")


def chosen(data: Path | None = None) -> Settings:
    """The settings of the environment, `--data` first; a value that can't be used is named, never shown."""
    try:
        return settings(data=data)
    except ValidationError as bad:
        said = [f"CHANCERY_{str(e['loc'][0]).upper()}: {reason(e)}." for e in bad.errors(include_input=False, include_url=False)]
        misuse(" ".join(["A setting can't be used.", *said, "docs/reference/settings.md lists them."]))


def run(work: Callable[[Chancery], Awaitable[T]], data: Path | None) -> T:
    """Open the system, do the work, close it; a refusal is a sentence and exit 1, a value that no command takes one and exit 2."""

    async def inside() -> T:
        async with opened(chosen(data)) as chancery:
            return await work(chancery)

    try:
        return asyncio.run(inside())
    except Refused as e:
        about = ", ".join(f"{k}: {' '.join(map(str, v)) if isinstance(v, list | tuple) else v}" for k, v in e.about.items())
        fail(e.why + (f" ({about})" if about else ""))
    except (DatabaseUnusable, KeysUnusable, EngineUnusable) as e:
        fail(str(e))
    except StoreAway as e:
        fail(e.strerror or str(e))
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as e:
        fail(_broken_off(e))
    except OSError as e:
        if e.filename is None:
            raise
        fail(f"{e.filename} can't be read or written: {e.strerror}.")
    except ValidationError as bad:
        if bad.title not in {spec.model.__name__ for spec in COMMANDS.values()}:
            raise
        misuse(" ".join(f"{e['loc'][0]}: {reason(e)}." for e in bad.errors(include_input=False, include_url=False) if e["loc"]))
    except (Busy, Unavailable, OutcomeUnknown, CommandIdReused, TooContended) as e:
        fail(" ".join((type(e).__doc__ or "").split()))


def _broken_off(e: Exception) -> str:
    """What is said when the database went away, or can't go on, while something was under way."""
    match e:
        case psycopg.errors.DiskFull():
            return (
                f"The database has no room left: {str(e).splitlines()[0]}. Make room, then say it again: what was recorded stands."
            )
        case psycopg.errors.QueryCanceled():
            return "The database took longer than it may, and was stopped. Say it again; CHANCERY_STATEMENT_TIMEOUT_MS gives reads more time."
        case _:
            return "The database went away while this was under way. What was recorded stands. When it runs again (`chancery status`), say it again."


async def execute(chancery: Chancery, command: Command, firm: UUID, **how: Any) -> Answer:
    """Carry out a command as the operator of the installation."""
    return await chancery.executor.execute(
        command, firm=FirmId(firm), actor=OPERATOR, permissions=how.pop("permissions", OPERATOR_PERMISSIONS), **how
    )


def firm_id(text: str) -> FirmId:
    """The firm a person names by id."""
    try:
        return FirmId(UUID(text))
    except ValueError:
        misuse(f"{text!r} is not a firm's id. `chancery firm list` shows them.")


def contact_id(text: str) -> UUID:
    """The contact a person names by id."""
    try:
        return UUID(text)
    except ValueError:
        misuse(f"{text!r} is not a contact's id: the list of contacts shows them.")


class NoSuchFirm(Refused):
    """There is no such firm here. `chancery firm list` shows those that there are."""


class NotHere(Refused):
    """No firm of this installation has it. The lists of the command line show ids."""


def known(chancery: Chancery, firm: FirmId) -> FirmId:
    """The firm, which must be one of this installation."""
    if firm not in all_firms(chancery):
        raise NoSuchFirm(firm=str(firm))
    return firm


def all_firms(chancery: Chancery) -> list[FirmId]:
    with chancery.database.connect("record") as c:
        return [FirmId(id) for (id,) in c.execute("SELECT firm_id FROM record.firm_heads ORDER BY firm_id")]


def chosen_firms(chancery: Chancery, text: str | None) -> list[FirmId]:
    """The firm that was named, or every firm."""
    return all_firms(chancery) if text is None else [known(chancery, firm_id(text))]


def firm_having(chancery: Chancery, text: str | None, stream_type: str, id: UUID) -> FirmId:
    """The firm that was named, or else the one that has this."""
    if text is not None:
        return known(chancery, firm_id(text))
    with chancery.database.connect("record") as c:
        row = c.execute(
            "SELECT f.firm_id FROM record.firm_heads f"
            " JOIN record.streams s ON s.firm_id = f.firm_id AND s.stream_type = %s AND s.stream_id = %s",
            (stream_type, id),
        ).fetchone()
    if row is None:
        raise NotHere(kind=stream_type, id=str(id))
    return FirmId(row[0])


def show(rows: Sequence[Mapping[str, Any]], columns: Iterable[str], *, json: bool) -> None:
    """Rows as a table in a terminal, or as JSON."""
    if json:
        print_json(list(rows))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = list(columns)
    for name in names:
        table.add_column(name.replace("_", " "), no_wrap=name in WHOLE)
    for row in rows:
        table.add_row(*["" if row.get(n) is None else str(row[n]) for n in names])
    out.print(table)


def print_json(value: Any) -> None:
    sys.stdout.buffer.write(orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    sys.stdout.flush()
