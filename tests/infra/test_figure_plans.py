"""The figures frontends ask for often stay on their indexes, on a record of a million entries of timelines."""

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio

from domain.kernel import FirmId
from domain.members import ALL_PERMISSIONS
from infra.database import Database
from infra.reading import Moment, PgReader, Readers
from queries import activity, board, dashboard, day, forecast, funnel, overview, timeline
from queries.kernel import QUERIES, Query

FIRM = FirmId(UUID(int=7))
FIRMS, DEALS = 20, 5_000
BIG = ("deals", "stage_entries", "deal_parties", "timeline")

SALTS = ("pipeline", "stage", "deal", "member", "contact", "event", "entry")
STANDING = "1, now() - n * interval '1 minute', now() - n * interval '1 minute', n"
FIRM_OF = f"lpad(to_hex(n % {FIRMS}), 32, '0')::uuid"


def id_of(number: str, salt: str) -> str:
    return f"('{SALTS.index(salt):08x}-0000-7000-8000-' || lpad(to_hex(({number})::bigint), 12, '0'))::uuid"


# Each firm has two pipelines of five stages; deals are spread over them evenly.
FILL = [
    "INSERT INTO views.pipelines SELECT lpad(to_hex(f), 32, '0')::uuid, "
    + id_of("f * 10 + p", "pipeline")
    + ", 1, now(), now(), 1,"
    f" 'P', NULL, '[]', false, false, NULL FROM generate_series(0, {FIRMS - 1}) f, generate_series(0, 1) p",
    "INSERT INTO views.stages SELECT lpad(to_hex(f), 32, '0')::uuid, "
    + id_of("(f * 10 + p) * 5 + s", "stage")
    + ", 1, now(), now(), 1, "
    + id_of("f * 10 + p", "pipeline")
    + ", 'S', (ARRAY['open', 'open', 'open', 'won', 'lost'])[s + 1], s + 1, 20, 10, false"
    f" FROM generate_series(0, {FIRMS - 1}) f, generate_series(0, 1) p, generate_series(0, 4) s",
    f"INSERT INTO views.deals SELECT {FIRM_OF}, {id_of('n', 'deal')}, {STANDING}, 'A title', {id_of(f'n % {FIRMS} * 10 + p', 'pipeline')},"
    f" {id_of(f'(n % {FIRMS} * 10 + p) * 5 + s', 'stage')}, 'S', 20, CASE WHEN s < 3 THEN 'open' WHEN s = 3 THEN 'won' ELSE 'lost' END, false,"
    f" n % 1000, 'EUR', current_date + (n % 700)::int - 350, NULL, {id_of(f'n % {FIRMS} + {FIRMS} * (n % 40)', 'member')},"
    f" {id_of('n', 'contact')}, ARRAY[{id_of('n', 'contact')}], '{{}}', '[]', '{{}}', '[]', '{{}}', '[]', now(), now() - n * interval '1 minute',"
    " NULL, NULL, '{}', 1, CASE WHEN s >= 3 THEN now() END, CASE WHEN s >= 3 THEN current_date - (n % 700)::int END, NULL, NULL, 0, NULL, 0,"
    f" NULL, '{{}}', now(), NULL FROM (SELECT n, n / {FIRMS} % 2 AS p, n / {FIRMS * 2} % 5 AS s FROM generate_series(0, {FIRMS * DEALS - 1}) n) x",
    f"INSERT INTO views.members SELECT lpad(to_hex(f), 32, '0')::uuid, {id_of(f'f + {FIRMS} * m', 'member')}, 1, now(), now(), 1, 'M', NULL,"
    f" '{{}}', 'active', NULL, '{{}}' FROM generate_series(0, {FIRMS - 1}) f, generate_series(0, 39) m",
    "INSERT INTO views.stage_entries SELECT d.firm_id, "
    + id_of("d.position * 2 + s", "entry")
    + ", 0, d.created_at, d.updated_at, d.position, d.id, s + 1,"
    " 'moved', d.pipeline_id, d.stage_id, 'S', 'open', d.created_at + s * interval '1 hour', 'system/x', NULL"
    " FROM views.deals d, generate_series(0, 1) s",
    "INSERT INTO views.deal_parties SELECT firm_id, id, 0, created_at, updated_at, position, id, 'contact', contact_id,"
    " 'client', created_at FROM views.deals",
    f"INSERT INTO views.timeline SELECT {FIRM_OF}, {id_of('n', 'event')}, 0, now() - n * interval '1 minute', now() - n * interval '1 minute', n,"
    f" {id_of('n % 100000', 'deal')}, CASE WHEN n % 2 = 0 THEN 'self' ELSE 'contact' END, {id_of('n', 'event')}, 'deals.Moved.v1', 'deal',"
    f" {id_of('n % 100000', 'deal')}, now() - n * interval '1 minute', 'member/' || n % 400, NULL, '{{}}', NULL, '{{}}'"
    " FROM generate_series(0, 999999) n",
]


class Explaining(PgReader):
    """Notes the plan of every statement it runs."""

    plans: list[str]

    async def _explain(self, sql: str, params: Mapping[str, object]) -> None:
        async with self._connection.cursor() as cursor:
            await cursor.execute("EXPLAIN " + self._at(sql), {"firm": self.firm, **params})
            self.plans.append("\n".join(line for (line,) in await cursor.fetchall()))

    async def all(self, sql: str, **params: object) -> Sequence[Mapping[str, Any]]:
        await self._explain(sql, params)
        return await super().all(sql, **params)

    async def one(self, sql: str, **params: object) -> Mapping[str, Any] | None:
        await self._explain(sql, params)
        return await super().one(sql, **params)


@pytest.fixture(scope="module")
def filled(database: Database) -> Database:
    with database.connect("record") as c:
        c.execute("SET synchronous_commit = off")
        for statement in FILL:
            c.execute(statement)
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute("SET default_statistics_target = 1000")  # so that what is known of the rows is not by chance
        for table in (*BIG, "pipelines", "stages"):
            c.execute(f"ANALYZE views.{table}")
    return database


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def readers(filled: Database) -> AsyncIterator[Readers]:
    opened = Readers(filled, size=2)
    await opened.open()
    yield opened
    await opened.close()


async def one(readers: Readers, sql: str) -> UUID:
    async with readers.reading(FIRM) as r:
        row = await r.one(sql)
    assert row is not None
    found: UUID = row["id"]
    return found


PIPELINE = "SELECT id FROM views.pipelines WHERE firm_id = %(firm)s LIMIT 1"
STAGE = (
    "SELECT stage_id AS id FROM views.deals WHERE firm_id = %(firm)s AND status = 'open'"
    " AND pipeline_id = (SELECT id FROM views.pipelines WHERE firm_id = %(firm)s LIMIT 1) LIMIT 1"
)
DEAL = "SELECT id FROM views.deals WHERE firm_id = %(firm)s LIMIT 1"
CONTACT = "SELECT contact_id AS id FROM views.deals WHERE firm_id = %(firm)s LIMIT 1"
MEMBER = "SELECT owner_id AS id FROM views.deals WHERE firm_id = %(firm)s LIMIT 1"
LAST = datetime.now(UTC) - timedelta(
    days=3
)  # of 700: of many more another index may seem as good, by what the sample happens to say

# What is asked, and the indexes it must use.
ASKED: dict[str, tuple[str, Callable[[UUID], Query], Any, tuple[str, ...]]] = {
    "board": (PIPELINE, lambda x: board.ReadBoard(id=x), board.board, ("deals_(on_board|by_stage)",)),
    "funnel": (PIPELINE, lambda x: funnel.ReadFunnel(id=x, since=LAST), funnel.funnel, ("stage_entries_by_pipeline",)),
    "durations": (PIPELINE, lambda x: funnel.ReadDurations(id=x, since=LAST), funnel.durations, ("stage_entries_by_pipeline",)),
    "outcomes": (PIPELINE, lambda x: forecast.ReadOutcomes(id=x, months=3), forecast.outcomes, ()),
    "forecast": (PIPELINE, lambda x: forecast.ReadForecast(id=x, months=2), forecast.forecast, ()),
    "stays": (DEAL, lambda x: funnel.ReadStays(id=x), funnel.stays, ("stage_entries_by_deal",)),
    "glance": (DEAL, lambda x: overview.ReadOverview(id=x), overview.deal, ("stage_entries_by_deal",)),
    "day": (MEMBER, lambda x: day.ReadDay(id=x), day.day, ("deals_by_owner",)),
    "activity": (DEAL, lambda _: activity.ReadActivity(since=LAST, bucket="day"), activity.activity, ("timeline_by_time",)),
    "activity of": (
        DEAL,
        lambda _: activity.ReadActivity(since=LAST, bucket="day", of="deals", filter="status = open AND stage.name = S"),
        activity.activity,
        ("timeline_by_time",),
    ),
    "recorded": (
        DEAL,
        lambda _: activity.ReadActivity(since=LAST, bucket="day", clock="recorded"),
        activity.activity,
        ("timeline_by_record",),
    ),
    "dashboard": (DEAL, lambda _: dashboard.ReadDashboard(weeks=1), dashboard.dashboard, ("timeline_by_time",)),
}


@pytest.mark.parametrize("then", [False, True], ids=["now", "then"])
@pytest.mark.parametrize("asked", list(ASKED))
async def test_a_figure_stays_on_its_indexes(readers: Readers, asked: str, then: bool) -> None:
    which, model, handler, indexes = ASKED[asked]
    q = model(await one(readers, which))
    await looked_at(readers, q, handler, indexes, then=then)


async def looked_at(readers: Readers, q: Query, handler: Any, indexes: Sequence[str], *, then: bool = False) -> None:
    moment = Moment(as_of=datetime.now(UTC)) if then else Moment()
    async with readers.reading(FIRM, ALL_PERMISSIONS, moment) as plain:
        r = Explaining(plain.connection, FIRM, ALL_PERMISSIONS, moment)
        r.plans = []
        await handler(q, r)
    plans = "\n".join(r.plans)
    for table in BIG:
        assert not re.search(rf"Seq Scan on {table}\b", plans), plans
    for index in indexes:
        assert re.search(index, plans), plans


async def test_the_timeline_of_a_deal_reads_the_newest_events_from_the_index(readers: Readers) -> None:
    deal = await one(readers, DEAL)
    q = timeline.ReadTimeline(id=deal, page_size=20)
    await looked_at(readers, q, QUERIES["deals.timeline"].handler, ("timeline_by_subject",))
