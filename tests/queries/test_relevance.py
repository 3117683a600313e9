"""The right hit comes first: a table of what people type, over real records."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from infra.database import Database
from tests.infra.imports.importing import Firm
from tests.queries import corpus
from tests.queries.searching import ENGINES, Searcher, index_elastic, mean_reciprocal_rank, merge_elastic, relevance, searching

BOUND = 0.95
TABLES = relevance()


@pytest.fixture(scope="module")
def filled(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Firm:
    folder = tmp_path_factory.mktemp("corpus")
    firm = Firm(database, folder)
    corpus.fill(firm, folder / "input")
    corpus.index(database, firm)
    index_elastic(firm)
    merge_elastic(database)
    return firm


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=sorted(ENGINES))
async def searcher(request: pytest.FixtureRequest, filled: Firm) -> AsyncIterator[Searcher]:
    async with searching(filled.database, filled.id, ENGINES[request.param]) as opened:
        yield opened


def test_the_table_asks_at_least_sixty_things() -> None:
    assert sum(len(queries) for queries in TABLES.values()) >= 60
    typed = [q for queries in TABLES.values() for q, _, _ in queries]
    assert len(set(typed)) == len(typed)


@pytest.mark.parametrize("table", sorted(TABLES))
async def test_what_people_look_for_comes_first(searcher: Searcher, table: str) -> None:
    places = [(await searcher.place(q, kind, titles), q) for q, kind, titles in TABLES[table]]
    missed = [f"{q} at {place}" for place, q in places if place != 1]
    assert mean_reciprocal_rank([p for p, _ in places]) >= BOUND, missed


async def test_elasticsearch_finds_no_worse_than_postgresql(filled: Firm) -> None:
    ranks = {}
    for name, engine in ENGINES.items():
        async with searching(filled.database, filled.id, engine) as searcher:
            asked = [row for table in TABLES.values() for row in table]
            ranks[name] = mean_reciprocal_rank([await searcher.place(q, kind, titles) for q, kind, titles in asked])
    assert ranks["elasticsearch"] >= ranks["postgres"], ranks
