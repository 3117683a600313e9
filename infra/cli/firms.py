"""`chancery firm …` and `chancery key …`: what whoever runs the installation does before anyone can sign in."""

from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import UUID

import typer

from commands.firms import CreateFirm
from commands.keys import IssueKey, RevokeKey
from domain.firms import Region
from domain.members import ALL_PERMISSIONS, Role
from infra.bootstrap import Chancery
from infra.cli.console import DATA, JSON, chosen_firms, execute, firm_having, firm_id, known, out, print_json, run, show
from infra.ids import uuid7

EVERYTHING = frozenset({"operator"}) | ALL_PERMISSIONS

firms = typer.Typer(no_args_is_help=True, help="Firms: create, list.")
keys = typer.Typer(no_args_is_help=True, help="API keys: create, list, revoke.")


KEY = typer.Argument(help="The key, by its id; `chancery key list` shows them.")
FIRM = typer.Option(..., "--firm", metavar="ID", help="The firm, by its id; `chancery firm list` shows them.")
ANY_FIRM = typer.Option(None, "--firm", metavar="ID", help="The firm, by its id. Every firm when not given.")


async def create_firm(chancery: Chancery, name: str, region: Region, **more: Any) -> dict[str, Any]:
    """A firm and the key of its owner; the key is shown this once."""
    firm = uuid7()
    await execute(chancery, CreateFirm(name=name, region=region, **more), firm)
    key = await execute(chancery, IssueKey(name="Owner", role=Role.OWNER), firm, permissions=EVERYTHING)
    return {"firm_id": str(firm), "api_key": key.shown_once["api_key"]}


@firms.command("create")
def firm_create(
    name: str = typer.Argument(help="What the firm is called."),
    region: Region = typer.Option(Region.EU, help="Where the firm's data belongs."),
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """Create a firm. Prints its id and an owner's key, once."""
    made = run(lambda c: create_firm(c, name, region), data)
    if json or not out.is_terminal:
        print_json(made)
        return
    out.print(f"Firm      {made['firm_id']}")
    out.print(f"API key   {made['api_key']}")
    out.print("The key is shown this once. Keep it: only its digest is stored.", style="yellow")


@firms.command("list")
def firm_list(data: Path | None = DATA, json: bool = JSON) -> None:
    """Every firm of this installation."""

    async def work(c: Chancery) -> list[dict[str, Any]]:
        with c.database.connect("record") as connection:
            rows = connection.execute("SELECT id, name, region, status, created_at FROM views.firms ORDER BY created_at").fetchall()
        return [{"id": i, "name": n, "region": r, "status": s, "created": t.date()} for i, n, r, s, t in rows]

    show(run(work, data), ("id", "name", "region", "status", "created"), json=json)


@keys.command("create")
def key_create(
    firm: str = FIRM,
    role: Role = typer.Option(..., "--role", help="What the key may do."),
    name: str = typer.Option("", "--name", help="What the key is for."),
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """Issue an API key for a role. Prints it once."""
    of = firm_id(firm)

    async def work(c: Chancery) -> dict[str, Any]:
        known(c, of)
        done = await execute(c, IssueKey(name=name or f"{role.value} key", role=role), of, permissions=EVERYTHING)
        return {"key_id": done.body["id"], "api_key": done.shown_once["api_key"]}

    made = run(work, data)
    if json or not out.is_terminal:
        print_json(made)
    else:
        out.print(f"Key       {made['key_id']}\nAPI key   {made['api_key']}")
        out.print("The key is shown this once. Keep it: only its digest is stored.", style="yellow")


@keys.command("list")
def key_list(
    firm: str | None = ANY_FIRM,
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """The keys of a firm or of all, with when each was last used."""

    async def work(c: Chancery) -> list[dict[str, Any]]:
        firms = chosen_firms(c, firm)
        with c.database.connect("record") as connection:
            rows = connection.execute(
                "SELECT k.id, k.firm_id, k.name, k.roles, k.status, k.expires_at, u.last_used_at FROM views.keys k"
                " LEFT JOIN chancery.key_uses u ON u.firm_id = k.firm_id AND u.key_id = k.id"
                " WHERE k.firm_id = ANY(%s) ORDER BY k.firm_id, k.created_at",
                (firms,),
            ).fetchall()
        return [
            {"id": i, "firm": f, "name": n, "roles": ", ".join(r), "status": s, "expires_at": e, "last_used_at": u}
            for i, f, n, r, s, e, u in rows
        ]

    found = run(work, data)
    if json:
        print_json(found)
        return
    for of, rows in groupby(found, key=lambda k: k["firm"]):
        if firm is None:
            out.print(f"Firm {of}")
        show([_short(k) for k in rows], ("id", "name", "roles", "status", "expires_at", "last_used_at"), json=False)


def _short(key: dict[str, Any]) -> dict[str, Any]:
    """A key as a line of a table: times to the minute."""
    return {n: f"{v:%Y-%m-%d %H:%M}" if isinstance(v, datetime) else v for n, v in key.items()}


@keys.command("revoke")
def key_revoke(
    id: UUID = KEY,
    firm: str | None = ANY_FIRM,
    data: Path | None = DATA,
) -> None:
    """End a key at once and for good."""
    run(lambda c: execute(c, RevokeKey(id=id), firm_having(c, firm, "key", id), target=id, permissions=EVERYTHING), data)
    out.print("Revoked.")
