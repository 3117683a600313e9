"""`chancery consent …` and `chancery verify`: decisions, proofs, and their verification."""

import asyncio
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import typer

from domain.consent.words import Channel
from domain.kernel import NotFound
from infra.bootstrap import Chancery
from infra.cli.console import DATA, JSON, contact_id, err, execute, fail, firm_id, known, misuse, out, print_json, run, write
from infra.cli.log import brought_up, read_file, sequencer_of
from infra.proofs import heads
from infra.proofs.acting import sealing
from infra.proofs.bundle import DISCLOSABLE, Wanted, bundle
from infra.proofs.errors import NotProved
from infra.proofs.follower import signing_keys
from infra.proofs.going_on import going_on
from infra.proofs.store import AsyncLogStore, NodeCache
from infra.reading import Moment
from queries.decisions import Decide, decision
from verifier import chancery_verify

app = typer.Typer(no_args_is_help=True, help="Consent: decide, prove.")

FIRM = typer.Option(..., "--firm", metavar="ID", help="The firm; `chancery firm list` shows them.")
CONTACT = typer.Option(..., "--contact", metavar="ID", help="The contact.")


def _time(text: str | None, option: str, *, takes: str = "a time") -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        misuse(f"{option} takes {takes} such as 2026-03-01T12:00:00Z, not {text!r}.")
    if moment.tzinfo is None:
        misuse(f"{option} needs a zone: 2026-03-01T12:00:00Z, or +01:00 in the place of Z.")
    return moment


@app.command()
def decide(
    firm: str = FIRM,
    contact: str = CONTACT,
    purpose: str = typer.Option(..., help="The key of the purpose."),
    channel: Channel = typer.Option(..., help="The channel."),
    as_of: str | None = typer.Option(None, metavar="TIME", help="What was true then; now when not given."),
    known_at: str | None = typer.Option(None, metavar="TIME|POSITION", help="What was known then; all when not given."),
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """May this person be contacted? Exit 0 when they may, 1 when they may not."""
    person = contact_id(contact)
    is_position = known_at is not None and re.fullmatch("[0-9]{1,18}", known_at)
    then = int(known_at or 0) if is_position else _time(known_at, "--known-at", takes="a position or a time")
    moment = Moment(as_of=_time(as_of, "--as-of"), known_at=then)

    async def work(c: Chancery) -> dict[str, Any]:
        of = known(c, firm_id(firm))
        async with c.readers.reading(of, frozenset({"consent:read"}), moment) as r:
            found: Any = await decision(Decide(contact=person, purpose=purpose, channel=channel), r)
        return dict(found)

    found = run(work, data)
    if json:
        print_json(found)
    else:
        out.print("Yes." if found["allowed"] else "No.", style="green" if found["allowed"] else "red")
        for reason, sentence in zip(found["reasons"], found["because"], strict=True):
            out.print(f"    {reason}: {sentence}")
        event = found["deciding_event"]
        if event:
            out.print(
                f"Decided by {event['type']}, link {event['seq']} of the chain of {event['contact']}, at position {event['position']}."
            )
    if not found["allowed"]:
        raise typer.Exit(1)


@app.command()
def proof(
    firm: str = FIRM,
    contact: str = CONTACT,
    output: Path | None = typer.Option(
        None, "--output", "-o", metavar="FILE", help="Where the bundle is written; standard output if not given."
    ),
    disclose: str = typer.Option("none", help="none, all, or names of personal fields with commas between."),
    old: list[int] = typer.Option(
        [], min=1, help="The size of a checkpoint kept here (one an hour) that the log is shown to go on from; may be repeated."
    ),
    kept: Path | None = typer.Option(
        None, metavar="FILE", help="A checkpoint that whoever verifies has kept: the log is shown to go on from it."
    ),
    data: Path | None = DATA,
) -> None:
    """The proof of a contact's consent in one file, sealed up to this moment. A stranger checks it with `chancery_verify.py`."""
    person = contact_id(contact)
    names = None if disclose == "all" else () if disclose == "none" else tuple(disclose.split(","))
    if names is not None and not set(names) <= set(DISCLOSABLE):
        misuse(f"--disclose takes none, all, or some of these with commas between: {', '.join(DISCLOSABLE)}.")

    note = read_file(kept) if kept is not None else None

    async def work(c: Chancery) -> bytes:
        of = known(c, firm_id(firm))
        with c.database.connect("record") as connection:
            log = brought_up(c, connection, of)
            made = await asyncio.to_thread(heads.seal, c.database, log)
            await execute(c, sealing(made), of)
            sequencer_of(c).catch_up(connection)
        async with c.readers.reading(of, frozenset({"consent:read"})) as r:
            store = AsyncLogStore(r.connection, of, NodeCache())
            try:
                proved = await bundle(store, c.vault, of, person, Wanted(disclose=names, older=old))
                if note is not None:
                    proved = await going_on(store, proved, note, [s.verifier for s in signing_keys(c.settings).signers(log.origin)])
                return orjson.dumps(proved)
            except NotFound:
                fail("There is no consent on record for this contact.")

    try:
        raw = run(work, data)
    except NotProved as e:
        fail(f"It can't be proved: {e}.")
    if output is None:
        sys.stdout.buffer.write(raw + b"\n")
    else:
        write(output, raw)
        err.print(f"Written to {output}: {len(raw):,} bytes. Verify it with: chancery verify {output} --vkey KEYFILE --complete")


def verify(
    file: Path = typer.Argument(help="The bundle, or the certificate."),
    vkey: Path | None = typer.Option(None, help="A file with the log's key, from elsewhere than the bundle."),
    policy: Path | None = typer.Option(None, help="A C2SP tlog-policy file instead of a key."),
    complete: bool = typer.Option(False, "--complete", help="Ask for completeness to be proved."),
    old: Path | None = typer.Option(None, help="A checkpoint you kept, which the log must go on from."),
    document: Path | None = typer.Option(None, help="The document that a certificate is about."),
) -> None:
    """Verify a proof or a certificate, offline: no database, no network. The same as the stand-alone verifier/chancery_verify.py."""
    line = [str(file), *(["--complete"] if complete else [])]
    for name, given in (("--vkey", vkey), ("--policy", policy), ("--old", old), ("--document", document)):
        line += [name, str(given)] if given is not None else []
    raise typer.Exit(chancery_verify.main(line, "chancery verify"))
