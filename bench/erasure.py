"""Erasing a person of a firm of a hundred thousand events from every store there is, to the certificate.

The stores are those that are set: with CHANCERY_ELASTICSEARCH_URL, CHANCERY_NEO4J_URL or CHANCERY_KAFKA_BOOTSTRAP (as `chancery engines
up` prints them) those too, else what stands in PostgreSQL and in the folder of contents.
"""

import asyncio
import threading
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from uuid import UUID

from bench.harness import Figure, check_record, figure
from bench.place import ACTOR, Place
from commands.contacts import CreateContact
from commands.kernel import Command
from commands.notes import WriteNote
from commands.privacy import ApproveErasure, RequestOfPerson
from infra.bootstrap import opened
from infra.cli.console import execute
from infra.database import Database
from infra.erasure.carry import carry_out, parts_of
from infra.followers import followers
from infra.projector.engine import Projector
from infra.record import wire
from infra.record.bulk import Bulk, command_task
from infra.settings import Settings

CONTACTS = 20_000
NOTES = 80_000
RUNS = 7
GOAL = 60.0
_FOLLOWING = "SELECT name FROM chancery.projections WHERE name IN ('search', 'graph', 'relay', 'log')"
_BEHIND = f"{_FOLLOWING} AND position < (SELECT position FROM record.head)"
_SHOWN = _FOLLOWING


def record(p: Place) -> list[UUID]:
    """A firm at work: a hundred thousand events, each with a personal value."""
    with Bulk(p.database, p.vault, firm=p.firm, actor=ACTOR) as bulk:

        def run(commands: Sequence[Command]) -> list[UUID]:
            done = [o.answer for o in bulk.run([command_task(c, actor=ACTOR) for c in commands])]
            return [UUID(str(a["id"])) for a in done if a and "id" in a]

        contacts = run(
            [
                CreateContact(given=f"Given{n}", family=f"Family{n}", emails=[{"address": f"person{n}@example.org"}])
                for n in range(CONTACTS)
            ]
        )
        run([WriteNote(about_type="contact", about=contacts[n % CONTACTS], text=f"Called about number {n}") for n in range(NOTES)])
    return contacts


def measure(p: Place) -> list[Figure]:
    contacts = record(p)
    settings = Settings(data=p.folder, database_url=p.conninfo, keys=p.folder / "keys")
    with p.database.connect("record") as c:
        wire.register(c)
        projector = Projector(p.database, p.vault)
        projector.prepare(c)
        projector.catch_up(c)
    took = asyncio.run(_erased(p, settings, contacts))
    check_record(p.conninfo)
    name = f"erasure of a person in all stores, {CONTACTS + NOTES:,} events"
    return [figure(name, f"{GOAL:.0f} s", [(t, GOAL) for t in took], goal=1.0, direction="at most", unit="s")]


async def _erased(p: Place, settings: Settings, contacts: Sequence[UUID]) -> list[float]:
    took = []
    async with opened(settings) as c, AsyncExitStack() as stack:
        c.database = Database(p.conninfo, folder=p.folder)  # the server is embedded: its write-ahead log goes too
        stop = threading.Event()
        running = [f for f in followers(parts_of(c)) if f.name in {"search", "graph", "relay", "log"}]
        for follower in running:
            threading.Thread(target=follower.run, args=(stop,), daemon=True).start()
        stack.callback(stop.set)
        while p.query(_BEHIND) or len(p.query(_SHOWN)) < len(running):  # noqa: ASYNC110 - another process shows it
            await asyncio.sleep(0.5)
        for contact in contacts[:RUNS]:
            asked = await execute(c, RequestOfPerson(id=contact, kind="erase"), p.firm)
            request = UUID(str(asked.body["request"]))
            await execute(c, ApproveErasure(id=contact, request=request), p.firm)
            started = at = time.monotonic()
            shown: list[str] = []

            def said(store: str, _things: int, shown: list[str] = shown) -> None:
                nonlocal at
                shown.append(f"{store} {time.monotonic() - at:.1f}")
                at = time.monotonic()

            await carry_out(c, p.firm, contact, request, say=said)
            took.append(time.monotonic() - started)
            print(f"  {took[-1]:.1f} s: {', '.join(shown)}", flush=True)
    return took
