"""The verbs of `chancery`."""

import asyncio
import errno
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import typer
from rich.progress import TaskID

from infra.bootstrap import Chancery
from infra.bus import positions
from infra.cli import backup, bus, consent, engines, firms, imports, log, privacy, projections, serve
from infra.cli.console import DATA, JSON, Verbs, bar, chosen, err, fail, out, print_json, run, show
from infra.database import Database, DatabaseUnusable
from infra.database import migrate as bring_up
from infra.erasure.intact import differences, first_spoilt
from infra.logs import configure
from infra.projector.rebuild import AlreadyRebuilding
from infra.proofs.doctor import Trust, first_finding
from infra.proofs.follower import signed, signing_keys
from infra.settings import Settings
from infra.watch import watch

app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Chancery: CRM, consent, documents and practice work on one append-only record.",
)
app.add_typer(firms.firms, name="firm")
app.add_typer(firms.keys, name="key")
app.add_typer(projections.app, name="projection")
app.add_typer(log.app, name="log")
app.add_typer(imports.app, name="import")
app.add_typer(engines.app, name="engines")
app.add_typer(bus.app, name="bus")
app.command("serve")(serve.serve)
app.command("project")(serve.project)
app.command("follow")(serve.follow)
app.add_typer(consent.app, name="consent")
app.command("verify")(consent.verify)
app.command("erase")(privacy.erase)
app.command("hold")(privacy.hold)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
firms.keys.command("rotate-wrapping")(backup.rotate_wrapping)


@app.callback()
def start() -> None:
    configure(chosen())


@app.command()
def migrate(data: Path | None = DATA) -> None:
    """Bring the database's schema to this version."""
    try:
        database = Database.open(chosen(data))
        try:
            applied = bring_up(database)
        finally:
            database.close()
    except DatabaseUnusable as e:
        fail(str(e))
    out.print(f"Applied {len(applied)}: {', '.join(applied)}." if applied else "Nothing to do: the schema is up to date.")


@app.command()
def status(
    of: str | None = typer.Option(
        None,
        "--of",
        metavar="NAME",
        help="Only this view, follower or share of the views (1/2): exit 1 when it does not do its work.",
    ),
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """The record, the firms, the views and the consumers of the bus, and what they lag. Exit 1 when one of them has stopped."""
    if of is not None:
        watched = watch(of, chosen(data))
        if json:
            print_json(
                {"name": of, "healthy": watched.wrong is None, "why": watched.wrong, "rows": [s._asdict() for s in watched.rows]}
            )
        elif watched.wrong is None:
            out.print(watched.said)
        else:
            fail(watched.wrong)
        if watched.wrong is not None:
            raise typer.Exit(1)
        return

    async def work(c: Chancery) -> dict[str, Any]:
        with c.database.connect("record") as connection:
            head = (connection.execute("SELECT position FROM record.head").fetchone() or (0,))[0]
            firm_count = (connection.execute("SELECT count(*) FROM record.firm_heads").fetchone() or (0,))[0]
            views = connection.execute(
                "SELECT name, position, stopped_at, error, process FROM chancery.projections ORDER BY name"
            ).fetchall()
            version = connection.info.server_version
            groups = positions.groups(connection)
        return {
            "position": head,
            "firms": firm_count,
            "postgresql": f"{version // 10000}.{version % 10000}",
            "embedded": c.settings.database_url is None,
            "views": [
                {"name": n, "position": p, "lag": head - p, "stopped_at": s, "error": e, "process": of} for n, p, s, e, of in views
            ],
            "bus": groups,
        }

    found = run(work, data)
    if json:
        print_json(found)
    else:
        kind = "embedded" if found["embedded"] else "given by CHANCERY_DATABASE_URL"
        out.print(f"PostgreSQL {found['postgresql']} ({kind}), {found['position']} events of {found['firms']} firms")
        show(found["views"], ("name", "position", "lag", "stopped_at", "error", "process"), json=False)
        if found["bus"]:
            out.print()
            show(found["bus"], ("group", "lag", "seconds", "dead_letters", "seen_at", "stopped"), json=False)
    if any(v["stopped_at"] for v in found["views"]) or any(g["stopped"] for g in found["bus"]):
        raise typer.Exit(1)


@app.command()
def doctor(
    quick: bool = typer.Option(
        False, "--quick", help="Leave out what takes long: opening every sealed value, and making every view anew to compare."
    ),
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """Check what must hold: positions, versions, leaves, sealed values and views against the record. Exit 1 when something does not."""

    async def work(c: Chancery) -> list[dict[str, Any]]:
        with c.database.connect("record") as connection:
            found = [{"check": name, "found": examine(connection)} for name, examine in checks(c.settings)]
        if not quick:
            found += await asyncio.to_thread(_long, c)
        return found

    findings = run(work, data)
    bad = [f for f in findings if f["found"]]
    if json:
        print_json({"ok": not bad, "checks": findings})
    else:
        for f in findings:
            out.print(f"{'bad ' if f['found'] else 'good'}  {f['check']}" + (f": {f['found']}" if f["found"] else ""))
    if bad:
        raise typer.Exit(1)


def _long(c: Chancery) -> list[dict[str, Any]]:
    """The checks that read the whole record and open it."""
    with bar() as shown:

        def told(task: TaskID) -> Callable[[int, int], None]:
            return lambda done, of: shown.update(task, completed=done, total=of)

        with c.database.connect("record") as connection:
            sealed = first_spoilt(connection, c.vault, told(shown.add_task("Sealed values", total=None)))
        try:
            differing = differences(c.database, c.vault, told(shown.add_task("Views", total=None)))
        except AlreadyRebuilding:
            differing = ["not looked at: views are being rebuilt. Try again when that is done"]
    return [
        {"check": "sealed values are those that the leaves commit to", "found": sealed},
        {"check": "views are what the record makes of them", "found": "; ".join(differing) or None},
    ]


def _first(connection: psycopg.Connection[Any], sql: str) -> str | None:
    row = connection.execute(sql.encode()).fetchone()
    return None if row is None else ", ".join(str(v) for v in row)


Check = tuple[str, Callable[[psycopg.Connection[Any]], str | None]]


def checks(settings: Settings) -> list[Check]:
    """What the database alone must show, and what its logs must beside the keys."""
    trust = Trust(signing_keys(settings), signed(settings))
    return [*CHECKS, ("every event is what its firm's log was built over", partial(first_finding, trust=trust))]


CHECKS: list[Check] = [
    (
        "positions are contiguous and reach the head",
        lambda c: _first(
            c,
            "SELECT 'count', count(*), 'last', coalesce(max(e.position), 0), 'head', h.position FROM record.head h LEFT JOIN record.events e ON true"
            " GROUP BY h.position HAVING count(e.position) <> h.position OR coalesce(max(e.position), 0) <> h.position",
        ),
    ),
    (
        "each firm's events are numbered densely",
        lambda c: _first(
            c,
            "SELECT 'firm', f.firm_id FROM record.firm_heads f LEFT JOIN record.events e USING (firm_id) GROUP BY f.firm_id, f.firm_position"
            " HAVING count(e.position) <> f.firm_position OR count(DISTINCT e.firm_position) <> f.firm_position"
            " OR max(e.firm_position) + 1 <> f.firm_position LIMIT 1",
        ),
    ),
    (
        "each stream's versions are dense and reach its head",
        lambda c: _first(
            c,
            "SELECT 'stream', s.stream_type, s.stream_id FROM record.streams s LEFT JOIN record.events e USING (firm_id, stream_type, stream_id)"
            " GROUP BY s.firm_id, s.stream_type, s.stream_id, s.version HAVING count(e.position) <> s.version OR max(e.stream_version) <> s.version"
            " OR count(DISTINCT e.stream_version) <> s.version LIMIT 1",
        ),
    ),
    (
        "columns say what the leaves say",
        lambda c: _first(
            c,
            "SELECT 'position', position FROM (SELECT e.*, convert_from(public, 'UTF8')::jsonb AS leaf FROM record.events e) e"
            " WHERE leaf ->> 'id' <> event_id::text OR leaf ->> 'type' <> type OR leaf ->> 'subject' <> stream_type || '/' || stream_id"
            " OR (leaf ->> 'streamversion')::bigint <> stream_version OR leaf ->> 'source' <> '/firms/' || firm_id"
            " OR (leaf ->> 'time')::timestamptz <> occurred_at OR (leaf ->> 'recordedtime')::timestamptz <> recorded_at LIMIT 1",
        ),
    ),
    (
        "no view is ahead of the record and none has stopped",
        lambda c: _first(
            c,
            "SELECT p.name, p.position, p.error FROM chancery.projections p, record.head h"
            " WHERE p.position > h.position OR p.stopped_at IS NOT NULL LIMIT 1",
        ),
    ),
]


def main() -> None:
    """Carry out what was typed; an output that takes no more is said in a sentence, too."""
    try:
        app()
        sys.stdout.flush()
    except OSError as e:
        if e.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}:
            raise
        err.print(f"The output can't be written: {e.strerror}.", markup=False)
        os._exit(1)  # what is left in memory would be tried again, and told of again
