"""What every verb of the command line shares: tables for people, JSON for scripts, errors as sentences, one system to work on."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import orjson
import typer
from rich.console import Console
from rich.table import Table

from commands.kernel import Actor, Command
from domain.kernel import FirmId, Refused
from infra.bootstrap import Chancery, opened, settings
from infra.database import DatabaseUnusable
from infra.record.appender import Busy, CommandIdReused, OutcomeUnknown, Unavailable
from infra.record.execute import Answer, TooContended
from infra.record.vault import KeysUnusable
from infra.settings import Settings

T = TypeVar("T")

OPERATOR = Actor("system", "operator")
OPERATOR_PERMISSIONS = frozenset({"operator"})

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

DATA = typer.Option(None, "--data", metavar="DIR", help="The data folder; CHANCERY_DATA or .chancery when not given.")
JSON = typer.Option(False, "--json", help="Print JSON for scripts.")


def fail(message: str) -> NoReturn:
    """Say why and exit 1."""
    err.print(message, style="red" if err.is_terminal else None, markup=False)
    raise typer.Exit(1)


def chosen(data: Path | None, **more: Any) -> Settings:
    return settings(data=data, **more)


def run(work: Callable[[Chancery], Awaitable[T]], data: Path | None) -> T:
    """Open the system, do the work, close it; a refusal is a sentence and exit 1."""

    async def inside() -> T:
        async with opened(chosen(data)) as chancery:
            return await work(chancery)

    try:
        return asyncio.run(inside())
    except Refused as e:
        about = ", ".join(f"{k}: {v}" for k, v in e.about.items())
        fail(e.why + (f" ({about})" if about else ""))
    except (DatabaseUnusable, KeysUnusable) as e:
        fail(str(e))
    except (Busy, Unavailable, OutcomeUnknown, CommandIdReused, TooContended) as e:
        fail(" ".join((type(e).__doc__ or "").split()))


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
        fail(f"{text!r} is not a firm's id. `chancery firm list` shows them.")


def show(rows: Sequence[Mapping[str, Any]], columns: Iterable[str], *, json: bool) -> None:
    """Rows as a table in a terminal, or as JSON."""
    if json:
        print_json(list(rows))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = list(columns)
    for name in names:
        table.add_column(name.replace("_", " "))
    for row in rows:
        table.add_row(*["" if row.get(n) is None else str(row[n]) for n in names])
    out.print(table)


def print_json(value: Any) -> None:
    sys.stdout.buffer.write(orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    sys.stdout.flush()
