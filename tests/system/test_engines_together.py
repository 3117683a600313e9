"""A bank's real log in PostgreSQL, then in Kafka, Elasticsearch and Neo4j too: turned on beside a server that runs, off, and on again.

CHANCERY_TEST_CASES says how many applications of the log are imported; 0 means all of them.
"""

import asyncio
import gzip
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
from pydantic import SecretStr

from commands.kernel import Actor
from domain.firms import Region
from domain.kernel import FirmId
from infra.blobs import FolderBlobs
from infra.bootstrap import Chancery
from infra.bus.relay import Relay
from infra.cli.firms import create_firm
from infra.database import Database
from infra.followers import followers, parts
from infra.graph.neo4j.digests import postgres_digest
from infra.http.app import build
from infra.imports import load_map
from infra.imports.run import Importer
from infra.projector.engine import Projector
from infra.record.vault import Vault
from infra.search.digest import in_postgres
from infra.settings import Settings
from projections.kernel import VIEWS
from tests.infra.bus.relaying import assert_published_once_and_in_order, published
from tests.infra.search.elastic import sweep
from tests.shared import shared

CASES = int(os.environ.get("CHANCERY_TEST_CASES", "12"))
MAP = Path(__file__).resolve().parents[2] / "docs" / "maps" / "bpic2012.toml"
PATIENCE = 300.0 if CASES else 1_800.0
QUESTIONS = (
    "/v1/search?q=loan&page_size=50",
    "/v1/search?filter=kind = deal AND amount > 10000&page_size=50",
    "/v1/search?filter=kind = deal AND status = won&page_size=50",
    "/v1/search/suggest?q=17",
    "/v1/graph/central?by=degree&page_size=20",
    "/v1/graph/central?by=pagerank&page_size=20",
    "/v1/graph/co-working?page_size=20",
    "/v1/graph/communities?page_size=20",
    "/v1/deals?page_size=20&order_by=title",
)


class Served:
    """An API over the database, asked as one key."""

    def __init__(self, chancery: Chancery, app: Any) -> None:
        self.chancery = chancery
        self._app = app

    async def ask(self, key: str, question: str) -> httpx.Response:
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://chancery", headers=headers) as client:
            return await client.get(question)

    async def write(self, key: str, given: str) -> str:
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://chancery", headers=headers) as client:
            done = await client.post("/v1/contacts", json={"given": given, "family": "Comer"})
        assert done.status_code == 201, done.text
        return str(done.json()["id"])


@contextmanager
def following(settings: Settings, database: Database) -> Iterator[None]:
    """What follows the record with these settings, in threads."""
    stop = threading.Event()
    runs = [Projector(database, Vault(settings.keys_folder)).run, *(f.run for f in followers(parts(settings, database)))]
    threads = [threading.Thread(target=run, args=(stop,), daemon=True) for run in runs]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=PATIENCE)


@asynccontextmanager
async def api(settings: Settings) -> AsyncIterator[Served]:
    app = build(settings)
    async with app.router.lifespan_context(app):
        yield Served(app.state.service.chancery, app)


async def until(done: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> None:
    limit = time.monotonic() + seconds
    while not await done():
        assert time.monotonic() < limit, "it did not come to that"
        await asyncio.sleep(0.05)


def standing(database: Database, names: Collection[str]) -> tuple[int, dict[str, int]]:
    """The end of the record, and where these stand."""
    with database.connect("record") as c:
        head = int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])
        rows = c.execute("SELECT name, position FROM chancery.projections WHERE name = ANY(%s)", (list(names),)).fetchall()
    return head, {n: int(p) for n, p in rows}


def note_moves(database: Database) -> None:
    """From here on each place that a follower is at is kept, however short a time it is there."""
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute(
            "CREATE TABLE public.moves (n bigint GENERATED ALWAYS AS IDENTITY, name text, position bigint);"
            " CREATE FUNCTION public.note_move() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS"
            " $$ BEGIN INSERT INTO public.moves (name, position) VALUES (NEW.name, NEW.position); RETURN NULL; END $$;"
            " CREATE TRIGGER note_move AFTER INSERT OR UPDATE OF position ON chancery.projections"
            " FOR EACH ROW EXECUTE FUNCTION public.note_move()"
        )


def moves(database: Database) -> dict[str, list[int]]:
    """By name, the places that were kept, each once in a row."""
    found: dict[str, list[int]] = {}
    with psycopg.connect(database.admin_conninfo()) as c:
        for name, position in c.execute("SELECT name, position FROM public.moves ORDER BY n"):
            if found.setdefault(name, [])[-1:] != [position]:
                found[name].append(position)
    return found


async def caught_up(database: Database, *names: str) -> int:
    """Wait until these, and every view, stand at the end of the record; answers where that is."""
    wanted = {*VIEWS, *names}

    async def done() -> bool:
        head, at = await asyncio.to_thread(standing, database, wanted)
        return at.keys() == wanted and set(at.values()) == {head}

    await until(done)
    return standing(database, wanted)[0]


async def answers(served: Served, key: str) -> dict[str, Any]:
    found = {}
    for question in QUESTIONS:
        answer = await served.ask(key, question)
        assert answer.status_code == 200, f"{question}: {answer.text}"
        found[question] = {**answer.json(), "next_page_token": None}  # another each time it is made
    return found


def a_part(folder: Path) -> Path:
    """The log, or its first applications."""
    whole = shared("data/bpic2012-loan/split/dev.xes.gz")
    if not CASES:
        return whole
    part, cases = folder / "part.xes.gz", 0
    with gzip.open(whole, "rt", encoding="utf-8") as log, gzip.open(part, "wt", encoding="utf-8") as out:
        for line in log:
            out.write(line)
            cases += "</trace>" in line
            if cases == CASES:
                out.write("</log>\n")
                break
    return part


def carry(settings: Settings, database: Database, firm: UUID, log: Path) -> None:
    operator, blobs = Actor("system", "operator"), FolderBlobs(settings.blobs_folder)
    with Importer(database, Vault(settings.keys_folder), blobs, firm=FirmId(firm), actor=operator) as importer:
        importer.carry(log, "deals", map=load_map(MAP))


def pg_search(database: Database) -> str:
    with database.connect("record") as c:
        return in_postgres(c)


def digests(settings: Settings, database: Database) -> dict[str, str]:
    return {f.name: f.digest() for f in followers(parts(settings, database)) if f.name in {"search", "graph", "relay"}}


async def test_engines_are_turned_on_beside_a_server_off_and_on_and_hold_what_postgresql_holds(
    database: Database, settings: Settings, kafka: str, elasticsearch: str, neo4j: str, tmp_path: Path
) -> None:
    prefix = f"together{uuid4().hex[:8]}"
    full = settings.model_copy(
        update={
            "kafka_bootstrap": kafka,
            "kafka_prefix": prefix,
            "kafka_partitions": 3,
            "elasticsearch_url": SecretStr(elasticsearch),
            "elasticsearch_prefix": prefix,
            "neo4j_url": SecretStr(neo4j),
        }
    )
    began = time.monotonic()

    def told(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)

    async with api(settings) as plain:
        with following(settings, database):
            made = await create_firm(plain.chancery, "A bank", Region.EU)
            firm, key = UUID(made["firm_id"]), made["api_key"]
            await asyncio.to_thread(carry, settings, database, firm, a_part(tmp_path))
            told("imported")
            head = await caught_up(database, "search")
            told(f"PostgreSQL has all {head} events")
            expected = await answers(plain, key)
            assert expected["/v1/deals?page_size=20&order_by=title"]["items"]
            held = {"search": pg_search(database), "graph": postgres_digest(database)}

        # turned on: a second server with the engines, beside the first; nothing has filled them yet
        async with api(full) as engines:
            for question, view in (("/v1/search?q=loan", "search"), ("/v1/graph/central?by=degree", "graph")):
                early = await engines.ask(key, question)
                assert early.status_code == 503, early.text
                assert early.json()["view"] == view
                assert early.json()["lag"] == head
                assert int(early.headers["Retry-After"]) >= 1
            assert (await engines.ask(key, "/v1/deals?page_size=1")).status_code == 200, "everything else works"
            note_moves(database)
            with following(full, database):
                filled = time.monotonic()

                async def all_there() -> bool:
                    moved = await asyncio.to_thread(moves, database)
                    return all(moved.get(name, [])[-1:] == [head] for name in ("search", "graph", "relay")) and 0 in moved["search"]

                await until(all_there)
                told(f"all are filled, {head / (time.monotonic() - filled):.0f} events/s")
                progress = moves(database)
                progress["search"] = progress["search"][progress["search"].index(0) :]  # it begins with where PostgreSQL is
                for name in ("search", "graph", "relay"):
                    assert progress[name] == sorted(progress[name]), f"{name} never goes back"
                assert await answers(engines, key) == expected
                assert await answers(plain, key) == expected, "the first server goes on meanwhile"
                told("the same answers from the engines")
                found = await asyncio.to_thread(digests, full, database)
                assert found == held | {"relay": Relay(full, database).record_digest()}
                assert await asyncio.to_thread(assert_published_once_and_in_order, full, database) == head
                told("equal digests, each event published once")

        # off: PostgreSQL goes on where it was
        with following(settings, database):
            late = await plain.write(key, "Late")
            last = await caught_up(database, "search")
            assert last > head
            without = await answers(plain, key)
            assert [h["id"] for h in (await plain.ask(key, "/v1/search?q=late comer")).json()["items"]] == [late]
            held = {"search": pg_search(database), "graph": postgres_digest(database)}
        told("off, and PostgreSQL has caught up")

    # and on again
    async with api(full) as engines:
        with following(full, database):
            assert await caught_up(database, "search", "graph", "relay") == last
            assert await answers(engines, key) == without
            assert [h["id"] for h in (await engines.ask(key, "/v1/search?q=late comer")).json()["items"]] == [late]
            found = await asyncio.to_thread(digests, full, database)
            assert found == held | {"relay": Relay(full, database).record_digest()}
            assert len(await asyncio.to_thread(published, full)) == last
        told("on again, and the engines have caught up")
    sweep(elasticsearch, prefix)
