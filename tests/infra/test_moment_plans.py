"""Lists and comparisons of other moments read little of a large firm: a hundred thousand rows, each superseded ten times."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from domain.kernel import FirmId
from infra.database import Database
from infra.ids import uuid7
from infra.reading import Moment
from queries.kernel import COLLECTIONS
from queries.listing import compile_list
from queries.listing.comparing import compile_comparison

FIRM = FirmId(uuid7())
ROWS, TIMES = 100_000, 10
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
LAST = FIRST + timedelta(seconds=ROWS)  # a row a second, then each changes every hour
ALL = frozenset({"personal:read"})
KEY = b"0" * 32

# Offers, n from 1: the row of n was created n seconds after the first, and changed k hours later.
_STANDING = "%(firm)s, md5(n::text)::uuid, 1, {created}, {created} + {k} * interval '1 hour', n + {k} * 100000"
_SAID = ", md5((n %% 1000)::text)::uuid, NULL, 'created', n, 'EUR', NULL, NULL, NULL, NULL, {created}" + ", NULL" * 8
_CREATED = "timestamptz '2026-01-01 00:00:00+00' + n * interval '1 second'"
FILL = (
    f"INSERT INTO history.offers SELECT {_STANDING.format(created=_CREATED, k='k')}{_SAID.format(created=_CREATED)},"
    f" n + k * 100000, {_CREATED} + (k + 1) * interval '1 hour', n + (k + 1) * 100000, 9223372036854775807, false"
    f" FROM generate_series(1, {ROWS}) n, generate_series(0, {TIMES - 1}) k",
    f"INSERT INTO views.offers SELECT {_STANDING.format(created=_CREATED, k=TIMES)}{_SAID.format(created=_CREATED)}"
    f" FROM generate_series(1, {ROWS}) n",
)


@pytest.fixture(scope="module")
def large(database: Database) -> Database:
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute("SET synchronous_commit = off")
        for statement in FILL:
            c.execute(statement.encode(), {"firm": FIRM})
        c.execute("VACUUM ANALYZE views.offers, history.offers")
    return database


def read(database: Database, sql: str, params: Mapping[str, object], **moment: object) -> tuple[list[dict[str, Any]], str]:
    """The rows, and how they were found."""
    with database.connect("app") as c, c.transaction(), c.cursor(row_factory=dict_row) as cursor:
        for name, value in {"firm": FIRM, **moment}.items():
            cursor.execute("SELECT set_config(%s, %s, true)", (f"chancery.{name}", str(value)))
        given = {**params, "firm": FIRM}
        plan = cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS OFF, TIMING OFF) {sql}".encode(), given).fetchall()
        return cursor.execute(sql.encode(), given).fetchall(), "\n".join(row["QUERY PLAN"] for row in plan)


def passed(plan: str) -> int:
    """The most rows any step gave."""
    return max(int(float(rows) * int(loops)) for rows, loops in re.findall(r"actual rows=([0-9.]+) loops=(\d+)", plan))


@pytest.mark.parametrize("order", ["-created_at", "created_at", "id"])
@pytest.mark.parametrize("hours", [1, 20, 29.5, 100], ids=["early", "amid", "mixed", "late"])
def test_a_page_as_of_any_time_reads_no_more_than_its_rows_and_what_superseded_them(
    large: Database, order: str, hours: float
) -> None:
    as_of = FIRST + timedelta(hours=hours)
    asked: Any = {"firm": FIRM, "permissions": ALL, "now": as_of, "key": KEY, "order_by": order, "moment": Moment(as_of)}
    token = ""
    for _ in range(2):
        listing = compile_list(COLLECTIONS["offers"], page_token=token, **asked)
        rows, plan = read(large, listing.sql, listing.params, as_of=as_of)
        assert len(rows) == 51
        assert not re.search(r"Seq Scan|Sort  ", plan), plan
        # created at the beginning, whose first rows are also those of the newest
        most = 51 * (TIMES + 1) * (28 if order == "id" and hours == 1 else 3)
        assert passed(plan) <= most, plan
        token = listing.page(rows).next_page_token


def test_a_list_in_an_order_without_an_index_asks_each_row_once(large: Database) -> None:
    as_of = LAST
    listing = compile_list(
        COLLECTIONS["offers"], firm=FIRM, permissions=ALL, now=as_of, key=KEY, order_by="amount desc", moment=Moment(as_of)
    )
    rows, plan = read(large, listing.sql, listing.params, as_of=as_of)
    assert [int(row["amount"]) for row in rows[:2]] == [ROWS, ROWS - 1]
    assert "top-N heapsort" in plan, plan


def test_a_comparison_looks_up_what_changed_and_leaves_the_rest_of_the_history_alone(large: Database) -> None:
    since = LAST + timedelta(hours=TIMES) - timedelta(seconds=200)
    asked: Any = {"firm": FIRM, "permissions": ALL, "now": LAST, "key": KEY}
    comparison = compile_comparison(COLLECTIONS["offers"], **asked)
    for sql, params in ((comparison.sql, comparison.params), (comparison.total_sql, comparison.total_params)):
        _, plan = read(large, sql, params, vs_as_of=since)
        assert not re.search(r"Seq Scan on offers (g|offers_?\d*)\b", plan), plan
        assert passed(plan) <= 5_000, plan
