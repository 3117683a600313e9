"""`chancery log …`: the firms' logs as whoever runs the installation sees them: keys, checkpoints, tiles, examinations."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import typer
from rich.progress import Progress, TaskID

from commands.log import RestartLog, RotateLogKey
from domain.kernel import FirmId
from infra.bootstrap import Chancery
from infra.cli.console import (
    DATA,
    JSON,
    bar,
    chosen_firms,
    execute,
    fail,
    firm_id,
    known,
    misuse,
    out,
    print_json,
    put,
    run,
    show,
    write,
)
from infra.proofs import daily, heads
from infra.proofs.acting import sealing
from infra.proofs.checkpoints import read
from infra.proofs.doctor import Audited, Trust, examine
from infra.proofs.encoding import b64
from infra.proofs.errors import NotProved
from infra.proofs.follower import signed, signing_keys
from infra.proofs.sequencer import Sequencer
from infra.proofs.store import Log, LogStore, NoLog
from infra.proofs.tiles import WIDTH, Address, addresses, bundle
from infra.proofs.timestamps import NoTimestamp, TimestampsUnusable, authority

app = typer.Typer(no_args_is_help=True, help="The firms' logs: keys, checkpoints, tiles, examinations.")

FIRM = typer.Option(..., "--firm", metavar="ID", help="The firm, by its id; `chancery firm list` shows them.")
ANY_FIRM = typer.Option(None, "--firm", metavar="ID", help="The firm, by its id. Every firm when not given.")
_LINES = "SELECT line FROM chancery.log_cosignatures WHERE firm_id = %s AND origin = %s AND size = %s ORDER BY cosigned_at, witness"


def sequencer_of(c: Chancery) -> Sequencer:
    return Sequencer(c.database, signing_keys(c.settings), signed(c.settings), origin=c.settings.log_origin)


def brought_up(c: Chancery, connection: psycopg.Connection[Any], firm: FirmId) -> Log:
    """The firm's log, with everything that is recorded in it; also where no `serve` runs."""
    sequencer = sequencer_of(c)
    sequencer.prepare(connection)
    sequencer.catch_up(connection)
    try:
        return LogStore(connection, firm).log()
    except NoLog:
        fail("Nothing of this firm is recorded yet, so it has no log.")


@app.command()
def vkey(firm: str = FIRM, data: Path | None = DATA) -> None:
    """The key that signs the firm's log, as a vkey: what others need to verify its proofs. Give it to them by a way they trust."""

    async def work(c: Chancery) -> str:
        of = known(c, firm_id(firm))
        with c.database.connect("record") as connection:
            return brought_up(c, connection, of).vkey

    out.print(run(work, data), markup=False)


@app.command()
def checkpoint(
    firm: str = FIRM,
    output: Path | None = typer.Option(None, "-o", "--output", help="Write it to this file."),
    data: Path | None = DATA,
) -> None:
    """The newest signed checkpoint of the firm's log, with what witnesses have signed below it. Keep one: it finds out any later change."""

    async def work(c: Chancery) -> str:
        of = known(c, firm_id(firm))
        with c.database.connect("record") as connection:
            return _note(connection, brought_up(c, connection, of))

    note = run(work, data)
    if output is None:
        typer.echo(note, nl=False)
    else:
        write(output, note.encode())
        out.print(f"Wrote {output}.", markup=False)


def _note(connection: psycopg.Connection[Any], log: Log) -> str:
    if log.note is None:
        fail(f"This log has no checkpoint: {log.stopped or 'nothing was signed yet'}.")
    return log.note + "".join(line for (line,) in connection.execute(_LINES, (log.firm, log.origin, log.size)).fetchall())


@app.command()
def tiles(
    folder: Path = typer.Argument(help="Where to write; what is there and whole is left as it is."),
    firm: str = FIRM,
    data: Path | None = DATA,
) -> None:
    """Write the whole log as static files (C2SP tlog-tiles): any web server can serve them, any monitor can read them."""

    async def work(c: Chancery) -> tuple[int, int]:
        of = known(c, firm_id(firm))
        with c.database.connect("record") as connection, bar() as shown:
            log = brought_up(c, connection, of)
            task = shown.add_task("tiles", total=log.size)
            return log.size, write_tiles(connection, log, folder, lambda done: shown.update(task, completed=done))

    size, written = run(work, data)
    out.print(f"Wrote {written} files of a log of {size} leaves to {folder}.", markup=False)


def write_tiles(connection: psycopg.Connection[Any], log: Log, folder: Path, told: Callable[[int], object] = lambda _: None) -> int:
    """The whole log as files, its checkpoint last, so that whoever reads meanwhile finds what it promises; how many were written."""
    store = LogStore(connection, log.firm)
    written = 0
    _goes_on(store, log, folder)
    for address in addresses(log.size):
        path = folder / str(address)
        if not path.exists():
            tile = store.tiles([(int(address.level or 0), address.place)])[int(address.level or 0), address.place]
            written += _write(path, tile[: address.width * 32])
        if address.level == 0:
            begin = address.place * WIDTH
            entries = folder / str(Address(None, address.place, address.width))
            if not entries.exists():
                written += _write(entries, bundle(store.entries(begin, begin + address.width)))
            told(begin + address.width)
    return written + _write(folder / "checkpoint", _note(connection, log).encode())


def _goes_on(store: LogStore, log: Log, folder: Path) -> None:
    """What stands in the folder was shown to others: it is gone on from, and never exchanged for another log or history."""
    there = folder / "checkpoint"
    if not there.exists():
        return
    try:
        old, _ = read(read_file(there))
    except NotProved as e:
        fail(f"{there} is no checkpoint ({e}), so {folder} holds no log that could be gone on with. Name another folder.")
    if old.origin != log.origin:
        fail(f"{folder} holds the log {old.origin}, and this one is {log.origin}. Name another folder.")
    if old.size > log.size or (old.size and store.root(log, old.size) != old.root):
        fail(
            f"{folder} holds this log as of {old.size} leaves, and the log as it is now, of {log.size}, does not go on from there: it was set back"
            " or rewritten. Keep the folder as it is, it is evidence, and run `chancery doctor`."
        )


def _write(path: Path, content: bytes) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    put(path, content)
    return 1


@app.command()
def proof(
    position: int | None = typer.Option(None, help="The event, by its position in the record."),
    index: int | None = typer.Option(None, help="The event, by its place in the firm's log."),
    firm: str = FIRM,
    output: Path | None = typer.Option(None, "-o", "--output", help="Write it to this file; the usual ending is .tlog-proof."),
    data: Path | None = DATA,
) -> None:
    """The proof (C2SP tlog-proof) that an event stands in the log."""
    if (position is None) == (index is None):
        misuse("Say which event: --position or --index.")

    async def work(c: Chancery) -> str:
        of = known(c, firm_id(firm))
        with c.database.connect("record") as connection:
            log = brought_up(c, connection, of)
            at = index
            if at is None:
                row = connection.execute(
                    "SELECT firm_position FROM record.events WHERE position = %s AND firm_id = %s", (position, of)
                ).fetchone()
                at = row[0] if row else -1
            if not 0 <= at < log.size:
                fail(f"There is no such event of this firm. Its log has {log.size} events, the first of which has the index 0.")
            try:
                return str(LogStore(connection, of).proof(at))
            except NotProved as e:
                fail(f"{e}.")

    text = run(work, data)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write(output, text.encode())
        out.print(f"Wrote {output}.", markup=False)


@app.command()
def status(data: Path | None = DATA, json: bool = JSON) -> None:
    """Every firm's log: its size, when it was last signed, what stopped it. Exit 1 when one has stopped."""

    async def work(c: Chancery) -> list[dict[str, Any]]:
        with c.database.connect("record") as connection:
            rows = connection.execute(
                "SELECT h.firm_id, l.origin, coalesce(l.size, 0), h.firm_position - coalesce(l.size, 0), l.signed_at, l.stopped"
                " FROM record.firm_heads h LEFT JOIN chancery.logs l USING (firm_id) ORDER BY h.firm_id"
            ).fetchall()
        return [{"firm": f, "origin": o, "size": s, "lag": g, "signed_at": t, "stopped": w} for f, o, s, g, t, w in rows]

    found = run(work, data)
    show(found, ("firm", "size", "lag", "signed_at", "stopped"), json=json)
    if any(row["stopped"] for row in found):
        raise typer.Exit(1)


@app.command()
def check(
    firm: str | None = ANY_FIRM,
    old: list[Path] | None = typer.Option(
        None, "--old", help="An older checkpoint that the log must go on from; may be given often."
    ),
    since_last: bool = typer.Option(
        False, "--since-last", help="Hash only the events that came after the last check that found nothing."
    ),
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """Hash every event anew and compare with the log, the log with what was signed. Exit 1 when something differs."""
    shown_notes = [read_file(path) for path in old or ()]
    if shown_notes and firm is None:
        misuse("An older checkpoint is of one firm's log: name it with --firm.")

    async def work(c: Chancery) -> list[dict[str, Any]]:
        firms = set(chosen_firms(c, firm))
        trust = Trust(signing_keys(c.settings), signed(c.settings), shown_notes)
        audited = Audited(c.settings.keys_folder)
        found = []
        with c.database.connect("record") as connection, bar() as progress:
            for of in sorted(firms):
                try:
                    log = LogStore(connection, of).log()
                except NoLog:
                    continue
                last = audited.last(log.origin) if since_last else None
                since = last[0] if last else 0
                task = progress.add_task(f"firm {of}", total=log.size)
                told = partial(_told, progress, task)
                wrong = list(examine(connection, log, trust, since=since, told=told))
                if last is not None and LogStore(connection, of).root(log, last[0]) != last[1]:
                    wrong.append(f"firm {of}: at size {last[0]} the log is not what the last check saw")
                if not wrong and log.note is not None:
                    audited.remember([(log.origin, log.size, log.checkpoint.root)])
                found.append({"firm": of, "size": log.size, "from": since, "wrong": wrong})
        return found

    found = run(work, data)
    bad = [w for f in found for w in f["wrong"]]
    if json:
        print_json({"ok": not bad, "logs": found})
    else:
        for f in found:
            out.print(f"{'bad ' if f['wrong'] else 'good'}  firm {f['firm']}, events {f['from']} to {f['size']}")
            for wrong in f["wrong"]:
                out.print(f"      {wrong}", markup=False)
    if bad:
        raise typer.Exit(1)


def _told(progress: Progress, task: TaskID, done: int, _: int) -> None:
    progress.update(task, completed=done)


def read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        fail(f"{path} can't be read: {e.strerror}.")


@app.command("rotate-key")
def rotate_key(
    firm: str | None = ANY_FIRM,
    reason: str = typer.Option(
        "scheduled", help="scheduled, compromised or lost: only a scheduled change is signed by the old key too."
    ),
    data: Path | None = DATA,
) -> None:
    """Sign with a new key from now on. What the old one has signed stays valid; those who verify need the new vkey."""
    if reason not in {"scheduled", "compromised", "lost"}:
        misuse("The reason is scheduled, compromised or lost.")

    async def work(c: Chancery) -> list[dict[str, str]]:
        keys = signing_keys(c.settings)
        firms = chosen_firms(c, firm)
        with c.database.connect("record") as connection:
            logs = [brought_up(c, connection, of) for of in firms]
        if keys.own and any(str(keys.newest(log.origin).verifier) == log.vkey for log in logs):
            keys.add()
        changed = []
        for log in logs:
            new = str(keys.newest(log.origin).verifier)
            if new == log.vkey:
                fail(f"The newest secret of {keys.path} signs already. Add a line to it: 32 random bytes in base64.")
            command = RotateLogKey(old_vkey=log.vkey, new_vkey=new, reason=reason)
            await execute(c, command, log.firm)
            changed.append({"firm": str(log.firm), "vkey": new})
        with c.database.connect("record") as connection:
            for log in logs:
                brought_up(c, connection, FirmId(log.firm))
        return changed

    for row in run(work, data):
        out.print(row["vkey"], markup=False)


@app.command()
def restart(
    firm: str = FIRM,
    reason: str = typer.Option(..., help="restored (the store is older than what was signed) or rewritten (it is another)."),
    data: Path | None = DATA,
) -> None:
    """Begin a new log in place of one that can't go on, over what the record now holds. It has another name, and says what it replaces."""
    if reason not in {"restored", "rewritten"}:
        misuse("The reason is restored or rewritten.")

    async def work(c: Chancery) -> tuple[Log, str]:
        of = known(c, firm_id(firm))
        sequencer = sequencer_of(c)
        with c.database.connect("record") as connection:
            sequencer.prepare(connection)
            sequencer.catch_up(connection)
            log = LogStore(connection, of).log()
            if not log.stopped:
                fail("This log has not stopped: there is nothing to replace.")
            last = signed(c.settings).last(log.origin) or (log.size, log.checkpoint.root if log.note else bytes(32))
            origin = sequencer.origin_of(of, log.generation + 1)
            command = RestartLog(
                old_origin=log.origin, new_origin=origin, old_size=last[0], old_root=b64(last[1]), reason=reason
            )  # fmt: skip
            await execute(c, command, of)
            sequencer.restart(connection, log)
            return brought_up(c, connection, of), origin

    log, origin = run(work, data)
    out.print(f"The log {origin} has {log.size} leaves. Those who verify need its vkey:", markup=False)
    out.print(log.vkey, markup=False)


@app.command()
def seal(firm: str = FIRM, data: Path | None = DATA, json: bool = JSON) -> None:
    """Seal the heads of all chains of consent now, as is done once a day."""

    async def work(c: Chancery) -> heads.Seal:
        of = known(c, firm_id(firm))
        with c.database.connect("record") as connection:
            made = heads.seal(c.database, brought_up(c, connection, of))
            await execute(c, sealing(made), of)
            brought_up(c, connection, of)
            return made

    made = run(work, data)
    if json:
        print_json({"as_of_size": made.as_of_size, "count": made.count, "root": b64(made.root)})
    else:
        out.print(f"Sealed {made.count} chains of consent as of {made.as_of_size} events.")


@app.command()
def timestamp(firm: str = FIRM, data: Path | None = DATA) -> None:
    """Ask the authority of CHANCERY_TSA_URL for a timestamp over the newest checkpoint, as is done once a day."""

    async def work(c: Chancery) -> str:
        of = known(c, firm_id(firm))
        try:
            by = authority(c.settings)
            if by is None:
                fail("No time-stamping authority is set. Set CHANCERY_TSA_URL and CHANCERY_TSA_CERTIFICATES.")
            with c.database.connect("record") as connection:
                brought_up(c, connection, of)
                size, at = daily.stamp(connection, of, by)
        except (NoTimestamp, TimestampsUnusable) as e:
            fail(str(e))
        return f"The checkpoint of {size} leaves existed at {at:%Y-%m-%d %H:%M:%S} UTC, says {by.url}."

    out.print(run(work, data), markup=False)
