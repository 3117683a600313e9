"""The graph in Neo4j: filling it against the bare driver fed the same ready rows, how soon an event is in it, how fast a neighbourhood is."""

import asyncio
import contextlib
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import psycopg
from neo4j import Driver

from bench.harness import Broken, Figure, figure
from bench.place import ACTOR, Place
from commands.contacts import CreateContact
from commands.deals import AddParty, NoteOnDeal
from commands.kernel import Command
from commands.relations import RelateParties
from domain.members import ALL_PERMISSIONS
from infra import turns
from infra.engines.run import Engines, default_cache
from infra.graph.neo4j import store as st
from infra.graph.neo4j.client import Address, Client, driver
from infra.graph.neo4j.digests import postgres_digest
from infra.graph.neo4j.engine import Neo4jGraph
from infra.graph.neo4j.filling import BATCH, Filler, sealer
from infra.graph.neo4j.follower import Neo4jFollower
from infra.graph.neo4j.statements import Statement
from infra.http.reads import JSON_OPTIONS
from infra.http.service import json_default
from infra.projector.engine import Projector
from infra.reading import Readers
from infra.record import wire
from infra.record.bulk import Bulk, command_task
from infra.settings import Settings
from queries.graph.questions import AskNeighbourhood, neighbourhood

CONTACTS = 4_000
MORE = 8_000  # for filling
PAIRS = 7
RATE = 500  # events a second
SECONDS = 20
STARTS = 200


def record(p: Place, many: int) -> list[UUID]:
    """A firm at work: contacts, whom they know, what they are party to, what was noted; five events for two contacts."""
    chosen = random.Random(7)
    with Bulk(p.database, p.vault, firm=p.firm, actor=ACTOR) as bulk:

        def run(commands: Sequence[Command]) -> list[UUID]:
            done = [o.answer for o in bulk.run([command_task(c, actor=ACTOR) for c in commands])]
            return [UUID(str(a["id"])) for a in done if a and "id" in a]

        contacts = run([CreateContact(display_name=f"Person {n}") for n in range(many)])
        pairs = [chosen.sample(contacts, 2) for _ in range(many // 2)]
        run([RelateParties(kind="friend_of", source_type="contact", source=a, target_type="contact", target=b) for a, b in pairs])
        run(
            [
                AddParty(id=chosen.choice(p.deals), kind="contact", party_id=c, role="client")
                for c in chosen.sample(contacts, many // 2)
            ]
        )
        run([NoteOnDeal(id=chosen.choice(p.deals), note=f"Note {n}") for n in range(many // 2)])
    return contacts


def wipe(neo4j: Driver) -> None:
    with neo4j.session() as session:
        for what in ("()-[x]->()", "(x) WHERE NOT x:ChanceryMigration"):
            session.run(f"MATCH {what} CALL (x) {{ DELETE x }} IN TRANSACTIONS OF 5000 ROWS").consume()
    st.filled(neo4j, st.prepare(neo4j).number)


class _Kept(st.Store):
    """Keeps what is written, too."""

    batches: list[list[Statement]]

    def apply(self, position: int, reached: int, statements: Sequence[Statement], *, live: bool) -> None:
        self.batches.append([Statement(s.cypher, list(s.rows)) for s in statements])
        super().apply(position, reached, statements, live=live)


def fill(p: Place, neo4j: Driver, c: psycopg.Connection[Any], *, keep: bool = False) -> tuple[float, list[list[Statement]]]:
    """Events a second of our filling, and what it wrote."""
    wipe(neo4j)
    filler = Filler(neo4j, p.vault, 1, live=True)
    kept: list[list[Statement]] = []
    if keep:
        store = _Kept(neo4j, sealer(p.vault), 1)
        store.batches = kept
        filler.store = store
    began = time.perf_counter()
    reached = filler.catch_up(c)
    return reached / (time.perf_counter() - began), kept


def bare(neo4j: Driver, batches: list[list[Statement]], events: int) -> float:
    """Events a second of the driver alone: the same rows, ready, in as many transactions."""
    wipe(neo4j)
    began = time.perf_counter()
    with neo4j.session() as session:
        for batch in batches:
            with session.begin_transaction() as tx:
                for s in batch:
                    tx.run(s.cypher, rows=s.rows).consume()
                tx.commit()
    return events / (time.perf_counter() - began)


@contextlib.contextmanager
def following(follower: Neo4jFollower) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=follower.run, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


def latencies(p: Place, neo4j: Driver, follower: Neo4jFollower) -> list[float]:
    """Seconds from an append to its being in the graph, while `RATE` events a second are appended."""
    appended: list[tuple[int, float]] = []
    reached: list[tuple[int, float]] = []
    done = threading.Event()

    def watch() -> None:
        with neo4j.session() as session:
            while not done.is_set():
                found = session.run("MATCH (b:ChanceryBuild {live: true}) RETURN b.position").single()
                reached.append((found[0] if found else 0, time.perf_counter()))
                time.sleep(0.01)

    with following(follower):
        watcher = threading.Thread(target=watch)
        watcher.start()
        chosen = random.Random(3)
        per = RATE // 10
        began = time.perf_counter()
        with Bulk(p.database, p.vault, firm=p.firm, actor=ACTOR) as bulk:
            for tick in range(SECONDS * 10):
                ready = began + tick / 10
                time.sleep(max(0.0, ready - time.perf_counter()))
                notes = [command_task(NoteOnDeal(id=chosen.choice(p.deals), note="n"), actor=ACTOR) for _ in range(per)]
                appended.extend((o.position, time.perf_counter()) for o in bulk.run(notes))
        until = time.perf_counter() + 60
        while (not reached or reached[-1][0] < appended[-1][0]) and time.perf_counter() < until:
            time.sleep(0.05)
        done.set()
        watcher.join()
    out, at = [], 0
    for position, when in appended:
        while at < len(reached) and reached[at][0] < position:
            at += 1
        if at == len(reached):
            raise Broken(f"position {position} never came into the graph")
        out.append(max(0.0, reached[at][1] - when))
    return sorted(out)


async def _near(p: Place, address: Address, starts: Sequence[UUID]) -> list[float]:
    client = Client(address)
    await client.open()
    opens = sealer(p.vault)
    readers = Readers(p.database, size=2, ports={"graph": lambda r: Neo4jGraph(client, opens, r)})
    await readers.open()
    times = []
    try:
        for n, start in enumerate(starts):
            asked = AskNeighbourhood.model_validate({"kind": "contact", "id": start, "depth": 3})
            began = time.perf_counter()
            async with readers.reading(p.firm, ALL_PERMISSIONS) as r:
                body = orjson.dumps(await neighbourhood(asked, r), default=json_default, option=JSON_OPTIONS)
            if n >= 20:
                times.append((time.perf_counter() - began) * 1000)
            assert len(body) > 100
    finally:
        await readers.close()
        await client.close()
    return sorted(times)


def _address(url: str) -> Address:
    found = Address.of(Settings.model_validate({"neo4j_url": url}))
    if found is None:
        raise Broken("no Neo4j")
    return found


def measure(p: Place) -> list[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="chancery-bench-neo4j-"))
    engines = Engines(folder, default_cache())
    try:
        address = _address(engines.up(("neo4j",))["CHANCERY_NEO4J_URL"])
        with turns.short():  # as `chancery follow` has it
            return _measured(p, address)
    finally:
        engines.forget()


def _measured(p: Place, address: Address) -> list[Figure]:
    contacts = record(p, CONTACTS)
    figures = []
    with driver(address) as neo4j, p.database.connect("record") as c:
        wire.register(c)
        fill(p, neo4j, c)
        chosen = random.Random(7)
        p95s = []
        for _ in range(3):
            near = asyncio.run(_near(p, address, [chosen.choice(contacts) for _ in range(STARTS + 20)]))
            p95s.append((near[len(near) * 95 // 100], 100.0))
        figures.append(
            figure("p95 of a neighbourhood to depth 3 in Neo4j", "100 ms", p95s, goal=1.0, direction="at most", unit="ms")
        )
        record(p, MORE)
        _, batches = fill(p, neo4j, c, keep=True)
        ((head,),) = c.execute("SELECT position FROM record.head").fetchall()
        pairs = []
        for n in range(PAIRS + 1):
            runs: list[Callable[[], float]] = [lambda: fill(p, neo4j, c)[0], lambda: bare(neo4j, batches, head)]
            order = (0, 1) if n % 2 else (1, 0)
            found = {which: runs[which]() for which in order}
            if n:
                pairs.append((found[0], found[1]))
        figures.append(figure(f"filling Neo4j, events/s in batches of {BATCH}", "the bare driver, same rows", pairs, goal=0.85))
        fill(p, neo4j, c)
        follower = Neo4jFollower(p.database, p.vault, address)
        times = latencies(p, neo4j, follower)
        p99 = times[len(times) * 99 // 100]
        figures.append(
            figure(f"append to in the graph, p99 at {RATE} events/s", "2 s", [(p99, 2.0)], goal=1.0, direction="at most", unit="s")
        )
        projector = Projector(p.database, p.vault)
        projector.prepare(c)
        projector.catch_up(c)
        if follower.digest() != postgres_digest(p.database):
            raise Broken("Neo4j and PostgreSQL hold different graphs")
    return figures
