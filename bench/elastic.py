"""The index in Elasticsearch: writing against a bare client fed the same documents made ready, reading among 100,000 records, how soon
what was recorded is found while 500 events a second are, and how well the right hit comes first.

The bare client is the official one, without helpers: bulk requests of 500 ready documents, one after the other, a refresh at the end. Ours
also sends external versions, looks at what became of each document, moves the position of the build by compare-and-set after each batch,
and lets what was written be found twice a second. The engine is one of its own on the same machine.
"""

import asyncio
import os
import subprocess
import sys
import threading
import time
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import orjson
from elasticsearch import Elasticsearch

from bench.harness import Broken, Figure, figure, interleaved
from bench.place import ACTOR, Place
from bench.search import NOW, RANK_GOAL, SEARCH_GOAL, SUGGEST_GOAL, Firms, times_of
from commands.contacts import CreateContact
from infra.engines.run import Engines
from infra.projector.engine import VIEWS_CHANNEL
from infra.record import wire
from infra.record.bulk import Bulk as Recording
from infra.record.bulk import command_task
from infra.search.elastic.builds import ElasticIndex
from infra.search.elastic.bulk import Item, item
from infra.search.elastic.client import Elastic
from infra.search.elastic.documents import document_id, written
from infra.search.elastic.engine import ElasticSearch
from infra.search.elastic.guard import Guard
from infra.search.elastic.store import ROOM, ElasticStore
from infra.search.indexer import VERSION, Indexer
from infra.search.pgstore import Key
from projections.search import Entry
from queries.search import Search, Suggest, find, suggest
from tests.infra.imports.importing import Firm
from tests.queries import corpus
from tests.queries.searching import mean_reciprocal_rank, relevance, searching

READY, BATCH = 6_000, 500
ASKED, ROUNDS = 300, 7
BULK_GOAL = 0.8
RATE, SECONDS, SOON_GOAL = 500, 20, 2_000.0  # events a second, for so long; ms


def measure(p: Place) -> list[Figure]:
    engines = Engines(p.folder / "engines")
    url = engines.up(["elasticsearch"])["CHANCERY_ELASTICSEARCH_URL"]
    try:
        made_up = Firms()
        return [*_writing(p, url, made_up), *_reading(p, url, made_up), _soon(p, url), _relevance(p, url)]
    finally:
        engines.forget()


# --- writing


def _writing(p: Place, url: str, made_up: Firms) -> list[Figure]:
    entries = [e for e, _ in zip(made_up.entries(p.firm), range(READY), strict=False)]
    documents = [(e, orjson.dumps(written(e).document)) for e in entries]
    runs = count(1)
    with p.database.connect("record") as c:

        def build() -> tuple[ElasticIndex, ElasticStore]:
            index = ElasticIndex(Elastic(url), f"run{next(runs)}", "a measurement", name="measured")
            return index, index.fill(c, VERSION)

        def ready(store: ElasticStore) -> list[tuple[Item, bytes]]:
            """Items of ours, and the action line of the bare client for the same document."""
            made = []
            for e, document in documents:
                alias, id = store.alias(e.kind), document_id(e.firm, e.id)
                action = item("index", alias, id, None, version=e.made.position * ROOM).action
                made.append((Item(action, document), orjson.dumps({"index": {"_index": alias, "_id": id}})))
            return made

        def whole(index: ElasticIndex, store: ElasticStore) -> None:
            index.refresh([f"{index.names.prefix}-*"])
            held = index.elastic.ask("GET", f"/{index.names.prefix}-*-v*/_count")["count"]
            if held != READY:
                raise Broken(f"{held} of {READY} documents are there")
            store.give_up()

        def ours() -> float:
            index, store = build()
            items = [i for i, _ in ready(store)]
            at = store.position() or 0
            started = time.perf_counter()
            for n in range(0, READY, BATCH):
                store.put(items[n : n + BATCH], at, at + BATCH)
                at += BATCH
            store.settle()
            took = time.perf_counter() - started
            whole(index, store)
            return READY / took

        def theirs() -> float:
            index, store = build()
            lines: list[tuple[Any, Any]] = [(action, i.document) for i, action in ready(store)]
            with Elasticsearch(url, request_timeout=60) as client:
                started = time.perf_counter()
                for n in range(0, READY, BATCH):
                    client.bulk(operations=[line for pair in lines[n : n + BATCH] for line in pair])
                client.indices.refresh(index=f"{index.names.prefix}-*")
                took = time.perf_counter() - started
            whole(index, store)
            return READY / took

        return [figure("bulk into Elasticsearch", "bare client, ready documents", interleaved(ours, theirs), goal=BULK_GOAL)]


# --- reading


def _filled(p: Place, url: str, made_up: Firms) -> ElasticIndex:
    index = ElasticIndex(Elastic(url), "many", "a measurement", name="measured")
    started = time.perf_counter()
    with p.database.connect("record") as c:
        c.execute("INSERT INTO chancery.projections (name, version) VALUES ('measured', %s) ON CONFLICT DO NOTHING", (VERSION,))
        index.open(c)
        store = index.fill(c, VERSION)
        at = store.position() or 0
        batch: dict[Key, Entry | None] = {}
        for n, entry in enumerate(made_up.entries(p.firm), 1):
            batch[Key(entry.firm, entry.kind, entry.id)] = entry
            if len(batch) == BATCH:
                store.apply(at, n, batch)
                at, batch = n, {}
        store.settle()
        store.swap()
    print(f"  {at / (time.perf_counter() - started):,.0f} entries a second into the index", flush=True)
    return index


def _reading(p: Place, url: str, made_up: Firms) -> list[Figure]:
    index = _filled(p, url, made_up)
    searches, suggestions = [], []
    for _ in range(ROUNDS):
        guard = Guard(Elastic(url))
        engine = partial(ElasticSearch, guard=guard, names=index.names)
        typed = [made_up.typed() for _ in range(ASKED + 20)]
        times = asyncio.run(times_of(p, engine, typed, lambda q, r: find(Search(q=q), r)))
        searches.append((times[len(times) * 95 // 100], SEARCH_GOAL))
        guard.close()
        guard = Guard(Elastic(url))
        engine = partial(ElasticSearch, guard=guard, names=index.names)
        typed = [made_up.begun() for _ in range(ASKED + 20)]
        times = asyncio.run(times_of(p, engine, typed, lambda q, r: suggest(Suggest(q=q), r)))
        suggestions.append((times[len(times) * 95 // 100], SUGGEST_GOAL))
        guard.close()
    return [
        figure("p95 of a search in Elasticsearch among 100,000", "50 ms", searches, goal=1.0, direction="at most", unit="ms"),
        figure("p95 of typeahead in Elasticsearch among 100,000", "20 ms", suggestions, goal=1.0, direction="at most", unit="ms"),
    ]


# --- how soon


def _soon(p: Place, url: str) -> Figure:
    """The 99th percentile of the time from the acknowledgement of an event until a search finds what it did."""
    environment = {
        **os.environ,
        "CHANCERY_DATABASE_URL": p.conninfo,
        "CHANCERY_DATA": str(p.folder),
        "CHANCERY_ELASTICSEARCH_URL": url,
        "CHANCERY_ELASTICSEARCH_PREFIX": "soon",
        "CHANCERY_LOG_LEVEL": "error",
    }
    shown: list[tuple[int, float]] = []
    stop = threading.Event()

    def watch() -> None:
        with p.database.connect("record") as c:
            c.execute(f"LISTEN {VIEWS_CHANNEL}")
            while not stop.is_set():
                for _ in c.notifies(timeout=0.2, stop_after=1):
                    pass
                row = c.execute("SELECT position FROM chancery.projections WHERE name = 'search'").fetchone()
                if row is not None and (not shown or row[0] > shown[-1][0]):
                    shown.append((int(row[0]), time.perf_counter()))

    def head() -> int:
        return int(str(p.query("SELECT position FROM record.head")[0][0]))

    def reached(position: int) -> None:
        until = time.monotonic() + 120
        while not shown or shown[-1][0] < position:
            if time.monotonic() > until:
                raise Broken("the index does not follow")
            time.sleep(0.05)

    follower = subprocess.Popen([sys.executable, "-m", "infra.cli", "follow", "search"], env=environment)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    rounds = []
    try:
        reached(head())
        with Recording(p.database, p.vault, firm=p.firm, actor=ACTOR) as recording:
            for _ in range(ROUNDS):
                acknowledged: list[tuple[int, float]] = []
                begun = time.perf_counter()
                for tick in range(SECONDS * 20 // ROUNDS * 2):
                    people = [CreateContact(given=f"Given{tick}", family=f"Family{n} {NOW.year}") for n in range(RATE // 20)]
                    list(recording.run(command_task(person, actor=ACTOR) for person in people))
                    acknowledged.append((head(), time.perf_counter()))
                    time.sleep(max(0.0, begun + (tick + 1) / 20 - time.perf_counter()))
                reached(head())
                waits = sorted(next(t for at, t in shown if at >= position) - said for position, said in acknowledged)
                rounds.append((max(0.0, waits[len(waits) * 99 // 100]) * 1000, SOON_GOAL))
    finally:
        follower.terminate()
        follower.wait(30)
        stop.set()
        watcher.join()
    name = f"p99 from recorded to found in Elasticsearch at {RATE} events a second"
    return figure(name, "2 s", rounds, goal=1.0, direction="at most", unit="ms")


# --- how well


def _relevance(p: Place, url: str) -> Figure:
    folder = Path(p.folder) / "relevance"
    folder.mkdir()
    firm = Firm(p.database, folder)
    firm.vault = p.vault
    corpus.fill(firm, folder / "input")
    index = ElasticIndex(Elastic(url), "ranks", "a measurement", name="ranks")
    with p.database.connect("record") as c:
        wire.register(c)
        indexer = Indexer(p.database, p.vault, firm.blobs, index=index)
        indexer.prepare(c)
        indexer.catch_up(c)
    guard = Guard(Elastic(url))

    async def ranks() -> float:
        places = []
        async with searching(firm.database, firm.id, lambda r: ElasticSearch(r, guard, index.names)) as searcher:
            for queries in relevance().values():
                places += [await searcher.place(typed, kind, titles) for typed, kind, titles in queries]
        return mean_reciprocal_rank(places)

    rank = asyncio.run(ranks())
    if rank == 0:
        raise Broken("nothing was found")
    return figure("mean reciprocal rank of search in Elasticsearch", "0.95", [(rank, RANK_GOAL)], goal=1.0, unit="")
