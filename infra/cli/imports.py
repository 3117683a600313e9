"""`chancery import …`: files and folders of other systems, looked at, carried over, reported on and taken back."""

import asyncio
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import psycopg
import typer

from domain.imports import Kind
from domain.kernel import EVENTS, FirmId
from infra.bootstrap import Chancery
from infra.cli.console import DATA, JSON, OPERATOR, chosen_firms, fail, firm_having, firm_id, known, out, print_json, run, show
from infra.cli.importing import RAW, progress_of, show_nothing_taken, show_plan, show_report, show_undo
from infra.imports import ImportMap, load_map
from infra.imports.into.dependencies import looks_like_links
from infra.imports.keep import RowStore
from infra.imports.reports import Plan, Report
from infra.imports.reports import Progress as Far
from infra.imports.rows import FileDefect
from infra.imports.run import AlreadyRunning, Importer
from infra.imports.undo import UndoReport, undo
from infra.record.reader import COLUMNS, EventRow, decode, fetch_keys
from projections.imports import ImportRow, fold

app = typer.Typer(no_args_is_help=True, help="Imports: carry files of other systems over, look at the reports, undo.")

FIRM = typer.Option(..., "--firm", metavar="ID", help="The firm, by its id; `chancery firm list` shows them.")
MAP = typer.Option(None, "--map", metavar="MAP.toml", help="Which column goes where; guessed when not given.")
DRY = typer.Option(False, "--dry-run", help="Read everything, show the map, a sample and counts, write nothing.")
OVERWRITE = typer.Option(False, "--overwrite", help="Replace also what somebody changed here since the rows were imported.")


def _name(text: str | None) -> str | None:
    """A name that was given is one."""
    if text is not None and not text.strip():
        raise typer.BadParameter("It is empty. Give a name, or leave the option out.")
    return text


SOURCE = typer.Option(
    None,
    "--source",
    metavar="NAME",
    callback=_name,
    help="What the file is an export of: ids are known under this name. The file's name when not given.",
)
PROJECT = typer.Option(None, "--project", metavar="NAME", callback=_name, help="The project for tasks that stand in none.")
FILE = typer.Argument(help="The file to read.")
FOLDER = typer.Argument(help="The folder to read.")
ANY_FIRM = typer.Option(None, "--firm", metavar="ID", help="The firm, by its id. Every firm when not given.")
ID = typer.Argument(help="The import, by its id; `chancery import list` shows them.")


@app.command("contacts")
def import_contacts(
    file: Path = FILE,
    firm: str = FIRM,
    map: Path | None = MAP,
    source: str | None = SOURCE,
    dry_run: bool = DRY,
    overwrite: bool = OVERWRITE,
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """Contacts and organisations from vCard 2.1, 3.0, 4.0, jCard, xCard or a table (CSV)."""
    _import(file, "contacts", firm, map, source, dry_run, data, json, overwrite=overwrite)


@app.command("deals")
def import_deals(
    file: Path = FILE,
    firm: str = FIRM,
    map: Path | None = MAP,
    source: str | None = SOURCE,
    dry_run: bool = DRY,
    overwrite: bool = OVERWRITE,
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """Deals from a table (CSV)."""
    _import(file, "deals", firm, map, source, dry_run, data, json, overwrite=overwrite)


@app.command("tasks")
def import_tasks(
    file: Path = FILE,
    firm: str = FIRM,
    map: Path | None = MAP,
    source: str | None = SOURCE,
    project: str | None = PROJECT,
    dry_run: bool = DRY,
    overwrite: bool = OVERWRITE,
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """Tasks from a table (CSV); a file of links between tasks becomes their dependencies."""
    kind: Kind = "dependencies" if map is None and looks_like_links(file) else "tasks"
    _import(file, kind, firm, map, source, dry_run, data, json, project=project, overwrite=overwrite)


@app.command("consents")
def import_consents(
    file: Path = FILE,
    firm: str = FIRM,
    map: Path | None = MAP,
    source: str | None = SOURCE,
    dry_run: bool = DRY,
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """Consents with their evidence from a table (CSV) or JSON Lines; a no is never overwritten."""
    _import(file, "consents", firm, map, source, dry_run, data, json)


@app.command("event-log")
def import_event_log(
    file: Path = FILE,
    firm: str = FIRM,
    as_: Literal["deals", "tasks"] = typer.Option(..., "--as", help="What a case of the log becomes."),
    map: Path | None = MAP,
    source: str | None = SOURCE,
    dry_run: bool = DRY,
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """Cases with their whole history from XES, XES.gz, CSV or OCEL JSON."""
    _import(file, as_, firm, map, source, dry_run, data, json, log=True)


@app.command("documents")
def import_documents(
    folder: Path = FOLDER,
    firm: str = FIRM,
    source: str | None = SOURCE,
    dry_run: bool = DRY,
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """Documents with their versions from a folder."""
    _import(folder, "documents", firm, None, source, dry_run, data, json)


def _import(
    path: Path,
    kind: Kind,
    firm: str,
    map_path: Path | None,
    source: str | None,
    dry_run: bool,
    data: Path | None,
    json: bool,
    *,
    log: bool | None = None,
    project: str | None = None,
    overwrite: bool = False,
) -> None:
    of = firm_id(firm)
    map: ImportMap | None = None
    stop = threading.Event()

    def carry(c: Chancery, tell: Callable[[Far], None]) -> Plan | Report:
        with Importer(c.database, c.vault, c.blobs, firm=known(c, of), actor=OPERATOR) as importer:
            if dry_run:
                return importer.look(path, kind, map=map, log=log, source=source, progress=tell)
            return importer.carry(
                path, kind, map=map, log=log, source=source, project=project, progress=tell, stop=stop, overwrite=overwrite
            )

    async def work(c: Chancery) -> Plan | Report:
        loop = asyncio.get_running_loop()
        with progress_of(json) as tell:
            loop.add_signal_handler(signal.SIGINT, stop.set)
            try:
                return await asyncio.to_thread(carry, c, tell)
            finally:
                loop.remove_signal_handler(signal.SIGINT)

    try:
        map = load_map(map_path) if map_path is not None else None
        done = run(work, data)
    except FileDefect as e:
        fail(str(e))
    except AlreadyRunning as e:
        fail(" ".join((type(e).__doc__ or "").split()))
    if isinstance(done, Plan):
        show_plan(done, json)
    else:
        show_report(done, json)
        if done.status != "finished":
            raise typer.Exit(1)
    if done.rows and done.rejected == done.rows:
        show_nothing_taken(done)
        raise typer.Exit(1)


# --- reports


def imports_of(
    c: psycopg.Connection[Any], chancery: Chancery, firm: FirmId, only: UUID | None = None
) -> dict[UUID, tuple[FirmId, ImportRow]]:
    """The firm's imports as the record tells them, whether or not a projection runs; the latest first."""
    types = [n for n in EVENTS if n.startswith("imports.")]
    rows: dict[UUID, tuple[FirmId, ImportRow]] = {}
    with c.cursor(binary=True) as cursor:
        cursor.execute(
            f"SELECT {COLUMNS} FROM record.events WHERE firm_id = %s AND type = ANY(%s) AND (%s::uuid IS NULL OR stream_id = %s)"
            " ORDER BY position",
            (firm, types, only, only),
        )
        while batch := cursor.fetchmany(1_000):
            events = [EventRow(*r) for r in batch]
            keys = fetch_keys(c, chancery.vault, events)
            for e in events:
                before = rows.get(e.stream_id)
                after = fold(before[1] if before else None, e.stream_id, decode(e, chancery.vault, keys))
                if after is not None:
                    rows[e.stream_id] = (FirmId(e.firm_id), after)
    return dict(reversed(rows.items()))


COUNTS = ("rows", "created", "changed", "unchanged", "rejected", "issues")


@app.command("list")
def list_imports(firm: str | None = ANY_FIRM, data: Path | None = DATA, json: bool = JSON) -> None:
    """The imports of a firm or of all, the latest first."""

    async def work(c: Chancery) -> list[dict[str, Any]]:
        with c.database.connect("record") as connection:
            return [
                {
                    "id": id, "firm": of, "started": r.started_at.replace(microsecond=0), "kind": r.kind, "file": r.file_name,
                    "status": r.status, **{n: getattr(r, n) for n in COUNTS},
                }
                for each in chosen_firms(c, firm)
                for id, (of, r) in imports_of(connection, c, each).items()
            ]  # fmt: skip

    found = sorted(run(work, data), key=lambda r: r["started"], reverse=True)
    if json or not found:
        show(found, ("id", "started", "kind", "file", "status", *COUNTS), json=json)
        return
    for r in found:
        counts = ", ".join(f"{r[n]:,} {n}" for n in COUNTS if r[n]) or "no rows"
        what = f"{r['kind']} from {r['file'] or 'an erased name'}, {r['status']}: {counts}"
        out.print(f"{r['id']}  {r['started']:%Y-%m-%d %H:%M}  {what}", markup=False)


@app.command("show")
def show_import(
    id: UUID = ID,
    firm: str | None = ANY_FIRM,
    outcome: Literal["created", "changed", "unchanged", "rejected"] | None = typer.Option(None, help="Rows of this outcome only."),
    all_rows: bool = typer.Option(False, "--all", help="Rows about which nothing is to be said, too."),
    after: int = typer.Option(0, min=0, help="Rows behind the one of this number."),
    limit: int = typer.Option(RAW, min=1, max=10_000, help="How many rows."),
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """One import and its row report: line, field, value and reason of everything that was wrong."""

    async def work(c: Chancery) -> tuple[ImportRow | None, list[dict[str, Any]]]:
        of = firm_having(c, firm, "import", id)
        with c.database.connect("record") as connection:
            found = imports_of(connection, c, of, id)
            if not found:
                return None, []
            store = RowStore(connection, c.vault, of)
            rows = connection.execute(
                "SELECT number, line, outcome, stream_type, stream_id, undone, kept_for, key_id, sealed, issues FROM chancery.import_rows"
                " WHERE firm_id = %s AND import_id = %s AND number > %s AND (%s::text IS NULL OR outcome = %s)"
                " AND (%s OR %s::text IS NOT NULL OR jsonb_array_length(issues) > 0 OR kept_for IS NOT NULL) ORDER BY number LIMIT %s",
                (of, id, after, outcome, outcome, all_rows, outcome, limit),
            ).fetchall()
            report = []
            for number, line, o, stream_type, stream_id, undone, kept_for, key_id, sealed, public in rows:
                opened = store.opened(id, number, key_id, sealed)
                issues = (
                    [{"line": n, "field": f, "value": v, "reason": r, "refused": x} for n, f, v, r, x in opened["issues"]]
                    if opened
                    else public
                )
                report.append(
                    {
                        "number": number, "line": line, "outcome": o, "record": stream_type and f"{stream_type}/{stream_id}",
                        "undone": undone, "kept_for": kept_for, "issues": issues, "row": opened["source"] if opened else None,
                    }
                )  # fmt: skip
            return found[id][1], report

    row, report = run(work, data)
    if row is None:
        fail(f"The firm has no import {id}. `chancery import list` shows them.")
    head = {n: getattr(row, n) for n in ImportRow.__dataclass_fields__}
    if json:
        print_json({"id": id, **head, "rows_shown": report})
        return
    out.print(f"Import {id}: {row.kind} from {row.file_name or 'a file'} ({row.form}), {row.status}", markup=False)
    show([{n: getattr(row, n) for n in COUNTS}], COUNTS, json=False)
    for note in (*row.notes, *([row.reason] if row.reason else [])):
        out.print(note, markup=False)
    flat = [
        {
            "line": i.get("line", r["line"]),
            "outcome": r["outcome"],
            "field": i["field"],
            "value": i.get("value", ""),
            "reason": i["reason"],
        }
        for r in report
        for i in (r["issues"] or [{"field": "", "reason": r["kept_for"] or ""}])
    ]
    if flat:
        out.print()
        show(flat, ("line", "outcome", "field", "value", "reason"), json=False)
    if len(report) == limit:
        out.print(f"More rows follow: --after {report[-1]['number']}")


@app.command("undo")
def undo_import(
    id: UUID = ID,
    firm: str | None = ANY_FIRM,
    dry_run: bool = typer.Option(False, "--dry-run", help="Show what would be taken back and what would stay; change nothing."),
    yes: bool = typer.Option(False, "--yes", help="Do not ask. Only a terminal is asked."),
    reason: str | None = typer.Option(None, help="Why; it stands in the history of each record."),
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """Take an import back: archive what it created, put back what it amended; list what stays, changed since, and why."""

    def carry(preview: bool) -> UndoReport:
        async def work(c: Chancery) -> UndoReport:
            of = firm_having(c, firm, "import", id)
            return await asyncio.to_thread(
                undo, c.database, c.vault, firm=of, actor=OPERATOR, import_id=id, reason=reason, preview=preview
            )

        return run(work, data)

    ask = out.is_terminal and sys.stdin.isatty() and not (dry_run or yes or json)
    done = carry(dry_run or ask)
    show_undo(id, done, json)
    if ask and (done.taken_back or done.put_back):
        typer.confirm("Take it back?", abort=True)
        show_undo(id, carry(False), json)
