"""Reads of one firm: what is asked in one round trip is fenced like everything else, and nothing of it stays on the connection."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio

from domain.kernel import FirmId
from infra.database import Database
from infra.http.service import Principal
from infra.projector.rebuild import rebuild
from infra.reading import Readers
from infra.record.vault import Vault
from infra.settings import Settings
from projections.kernel import VIEWS
from queries import pipelines
from queries.kernel import COLLECTIONS
from queries.listing import compile_one
from tests.house import House, post

assert pipelines  # declares its collection
SQL, _ = compile_one(COLLECTIONS["pipelines"])


@pytest_asyncio.fixture(loop_scope="session")
async def readers(house: House) -> AsyncIterator[Readers]:
    """With as many connections as a pool has at least, of which one is asked at a time."""
    opened = Readers(house.chancery.database, size=2)
    await opened.open()
    yield opened
    await opened.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pipeline(house: House) -> UUID:
    made = await post(house, "/pipelines", {"name": "Mandates", "stages": [{"name": "One"}]})
    await house.settle()
    return UUID(made["id"])


def by(firm: FirmId) -> Principal:
    return Principal(firm, UUID(int=5), None, frozenset())


async def test_one_record_is_what_a_whole_transaction_reads(house: House, readers: Readers, pipeline: UUID) -> None:
    for _ in range(5):
        found = await readers.one(house.firm, SQL, pipeline, by(house.firm))
        async with readers.reading(house.firm) as r:
            assert found == await r.one(SQL, id=pipeline)
    assert found is not None
    assert found["name"] == "Mandates"
    assert await readers.one(house.firm, SQL, UUID(int=1), by(house.firm)) is None


async def test_another_firm_sees_nothing_and_no_firm_stays_on_a_connection(house: House, readers: Readers, pipeline: UUID) -> None:
    other = FirmId(UUID(int=99))
    everything = "SELECT id FROM views.pipelines WHERE %(firm)s IS NOT NULL AND id = %(id)s"  # nothing but the fence holds it back
    for _ in range(4):
        assert await readers.one(house.firm, everything, pipeline, by(house.firm)) == {"id": pipeline}
        assert await readers.one(other, everything, pipeline, by(other)) is None
        async with readers._pool.connection() as c:
            assert await (await c.execute("SELECT id FROM views.pipelines")).fetchall() == []


async def test_who_goes_before_the_answer_comes_leaves_no_answer_to_the_next(
    house: House, database: Database, readers: Readers, pipeline: UUID
) -> None:
    with psycopg.connect(database.admin_conninfo()) as c:
        c.execute("LOCK TABLE views.pipelines IN ACCESS EXCLUSIVE MODE")
        asked = [asyncio.create_task(readers.one(house.firm, SQL, pipeline, by(house.firm))) for _ in range(2)]
        await asyncio.sleep(0.3)
        for task in asked:
            task.cancel()
        assert all(isinstance(e, asyncio.CancelledError) for e in await asyncio.gather(*asked, return_exceptions=True))
    for _ in range(4):
        assert await readers.one(house.firm, SQL, UUID(int=1), by(house.firm)) is None
        found = await readers.one(house.firm, SQL, pipeline, by(house.firm))
        assert found is not None
        assert found["id"] == pipeline


async def test_a_record_is_read_on_when_its_view_was_made_anew(
    house: House, database: Database, settings: Settings, readers: Readers, pipeline: UUID
) -> None:
    before = await readers.one(house.firm, SQL, pipeline, by(house.firm))
    await asyncio.to_thread(rebuild, database, Vault(settings.keys_folder), [VIEWS["pipelines"]])
    assert before is not None
    assert await readers.one(house.firm, SQL, pipeline, by(house.firm)) == before


async def test_a_refusal_of_the_database_leaves_the_connection_good(house: House, readers: Readers, pipeline: UUID) -> None:
    for _ in range(3):
        with pytest.raises(psycopg.errors.DivisionByZero):
            await readers.one(
                house.firm, "SELECT 1 / 0 AS n WHERE %(firm)s IS NOT NULL AND %(id)s IS NOT NULL", pipeline, by(house.firm)
            )
        assert await readers.one(house.firm, SQL, pipeline, by(house.firm)) is not None
