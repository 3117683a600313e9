"""Searching as a firm's reader does, past HTTP, in any engine; and how good the order of hits is.

Elasticsearch is the real one of the run. Each database of a test has a prefix of its own there, and a row of its own in the list of
projections, so that both engines can be filled from one record.
"""

import tomllib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

from domain.kernel import FirmId
from domain.members import ALL_PERMISSIONS
from infra.database import Database
from infra.reading import PgReader, Readers
from infra.record import wire
from infra.search.elastic.builds import ElasticIndex
from infra.search.elastic.client import Elastic
from infra.search.elastic.engine import ElasticSearch
from infra.search.elastic.guard import Guard
from infra.search.elastic.mappings import Names
from infra.search.indexer import Indexer
from infra.search.postgres import PostgresSearch
from queries.search import Search, Suggest, find, suggest
from queries.search.port import SearchEngine
from tests import engines
from tests.infra.imports.importing import Firm
from tests.processes import PATIENCE

TABLE = Path(__file__).with_name("relevance.toml")
DEPTH = 10
ROW = "search-elastic"  # beside that of the index in PostgreSQL


@cache
def guard() -> Guard:
    return Guard(Elastic(engines.up(("elasticsearch",))["CHANCERY_ELASTICSEARCH_URL"]))


def prefix(database_name: str) -> str:
    return f"t{database_name}".lower()


def elastic(r: PgReader) -> SearchEngine:
    return ElasticSearch(r, guard(), Names(prefix(r.connection.info.dbname)))


ENGINES: dict[str, Callable[[PgReader], SearchEngine]] = {"elasticsearch": elastic, "postgres": PostgresSearch}


def elastic_index(database: Database, url: str | None = None) -> ElasticIndex:
    """The index of a test's database."""
    with database.connect("record") as c:
        name = c.info.dbname
    return ElasticIndex(
        Elastic(url or engines.up(("elasticsearch",))["CHANCERY_ELASTICSEARCH_URL"]), prefix(name), "a test", name=ROW
    )


def index_elastic(firm: Firm) -> None:
    """Bring the index in Elasticsearch up to date."""
    with firm.database.connect("record") as c:
        wire.register(c)
        indexer = Indexer(firm.database, firm.vault, firm.blobs, index=elastic_index(firm.database))
        indexer.prepare(c)
        indexer.catch_up(c)
        assert not c.execute("SELECT FROM chancery.projections WHERE name = %s AND stopped_at IS NOT NULL", (ROW,)).fetchall()


def merge_elastic(database: Database) -> None:
    """Have what was replaced leave the index: until it does, which is when it likes, it counts in how rare a word is."""
    index = elastic_index(database)
    index.elastic.ask("POST", f"/{index.names.prefix}-*/_forcemerge?max_num_segments=1", timeout=PATIENCE)
    index.elastic.ask("POST", f"/{index.names.prefix}-*/_refresh", timeout=PATIENCE)


def relevance() -> dict[str, list[tuple[str, str, list[str]]]]:
    """Per table: what is typed, and the kind and title, or one of the titles, that must come first."""
    tables = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {
        name: [(typed, kind, [title] if isinstance(title, str) else title) for typed, kind, title in table["queries"]]
        for name, table in tables.items()
    }


class Searcher:
    """Asks one firm."""

    def __init__(self, readers: Readers, firm: FirmId, permissions: frozenset[str]) -> None:
        self._readers = readers
        self._firm = firm
        self._permissions = permissions

    def allowed(self, *permissions: str) -> "Searcher":
        return Searcher(self._readers, self._firm, frozenset(permissions))

    def without(self, *permissions: str) -> "Searcher":
        return Searcher(self._readers, self._firm, self._permissions - set(permissions))

    def of(self, firm: FirmId) -> "Searcher":
        return Searcher(self._readers, firm, self._permissions)

    async def find(self, q: str = "", **how: Any) -> dict[str, Any]:
        async with self._readers.reading(self._firm, self._permissions) as r:
            return cast("dict[str, Any]", await find(Search(q=q, **how), r))

    async def titles(self, q: str = "", **how: Any) -> list[str]:
        return [hit["title"] for hit in (await self.find(q, **how))["items"]]

    async def suggest(self, q: str, **how: Any) -> list[tuple[str, str]]:
        async with self._readers.reading(self._firm, self._permissions) as r:
            return [(s["kind"], s["title"]) for s in cast("dict[str, Any]", await suggest(Suggest(q=q, **how), r))["items"]]

    async def place(self, q: str, kind: str, titles: Sequence[str]) -> int | None:
        """At which place, from 1, the wanted hit stands; None beyond the first ten."""
        hits = (await self.find(q, page_size=DEPTH))["items"]
        return next((n for n, h in enumerate(hits, 1) if h["kind"] == kind and h["title"] in titles), None)


@asynccontextmanager
async def searching(database: Database, firm: FirmId, engine: Callable[[PgReader], SearchEngine]) -> AsyncIterator[Searcher]:
    readers = Readers(database, size=2, ports={"search": engine})
    await readers.open()
    try:
        yield Searcher(readers, firm, ALL_PERMISSIONS)
    finally:
        await readers.close()


def mean_reciprocal_rank(places: list[int | None]) -> float:
    return sum(1 / p for p in places if p) / len(places)
