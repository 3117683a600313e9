"""A database with the tables of `samples`, empty or stocked."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from tests.queries.listing.lists import A, B, C, Db, row, shelf
from tests.queries.samples import OTHER_FIRM, SAMPLES, SHELVES, TABLES, declared, insert


@pytest.fixture(scope="module", autouse=True)
def _registries() -> Iterator[None]:
    with declared():
        yield


@pytest.fixture(scope="module")
def db(cluster: str) -> Iterator[Db]:
    """A database with the two tables, in which letters sort by their code points as they do in Python."""
    name = f"lists_{uuid4().hex}"
    with psycopg.connect(cluster, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'")
        own = make_conninfo("", **{**conninfo_to_dict(cluster), "dbname": name})
        with psycopg.connect(own, autocommit=True, row_factory=dict_row) as connection:
            connection.execute(TABLES)
            yield connection
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty(db: Db) -> Db:
    db.execute("TRUNCATE views.test_samples, views.test_shelves")
    return db


@pytest.fixture
def stocked(empty: Db) -> Db:
    insert(empty, SHELVES, [shelf(A, "Won deals", rank=1, mood="glad"), shelf(B, "Lost", rank=2)])
    insert(
        empty,
        SAMPLES,
        [
            row(
                1,
                title="Berlin Häuser",
                amount=Decimal("1250.50"),
                count=3,
                done=True,
                due=date(2026, 3, 12),
                closed_at=datetime(2026, 3, 10, 11, 0, tzinfo=UTC),
                kind="open",
                shelf=A,
                tags=["VIP", "north"],
                owners=[A],
                mails=[
                    {
                        "address": "Anna@Example.org",
                        "first": True,
                        "since": date(2020, 1, 1),
                        "weight": Decimal("1.5"),
                        "labels": ["x"],
                    }
                ],
                first_mail={"address": "anna@example.org", "use": "home"},
                parts=[{"id": B, "role": "buyer"}],
                custom={"colour": "red", "Size (mm)": "40"},
                answers={
                    "size": {"kind": "number", "number": Decimal(40)},
                    "hue": {"kind": "text", "text": "dark red"},
                    "met": {"kind": "day", "day": date(2026, 1, 2)},
                    "vip": {"kind": "flag", "flag": True},
                    "likes": {"kind": "choices", "choices": ["tea", "coffee"]},
                },
                extra={"staff": 40, "city": "Bonn", "open": True, "since": "2020-05-01"},
                owner_name="Anna",
            ),
            row(
                2,
                title="100% *sure*",
                amount=Decimal(-5),
                done=False,
                kind="won",
                shelf=B,
                tags=["vip"],
                owners=[A, B],
                extra={"staff": 5},
            ),
            row(3, title="a_b\\c", due=date(2026, 4, 1), closed_at=datetime(2026, 3, 9, 23, 59, tzinfo=UTC), custom={}),
        ],
    )
    insert(empty, SAMPLES, [row(1, firm_id=OTHER_FIRM, title="Berlin", shelf=A, tags=["VIP"])])
    insert(empty, SHELVES, [shelf(C, "Foreign", firm_id=OTHER_FIRM)])
    return empty
