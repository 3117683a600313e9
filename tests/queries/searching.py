"""Searching as a firm's reader does, past HTTP, in any engine; and how good the order of hits is."""

import tomllib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from domain.kernel import FirmId
from domain.members import ALL_PERMISSIONS
from infra.database import Database
from infra.reading import PgReader, Readers
from infra.search.postgres import PostgresSearch
from queries.search import Search, SearchEngine, Suggest, find, suggest

TABLE = Path(__file__).with_name("relevance.toml")
ENGINES: dict[str, Callable[[PgReader], SearchEngine]] = {"postgres": PostgresSearch}
DEPTH = 10


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
