"""Lists over the tables of `samples`: rows to put in, and what is asked of them."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from queries.kernel import Collection
from queries.listing import Page, compile_list
from queries.unusable import Unusable
from tests.queries.samples import FIRM, SAMPLES

KEY = b"k" * 32
NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
ALL = frozenset({"samples:read", "shelves:read", "personal:read"})
WITHOUT_PERSONAL = ALL - {"personal:read"}
A, B, C = (UUID(int=n) for n in (0xA, 0xB, 0xC))

Db = psycopg.Connection[dict[str, Any]]
relaxed = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150
)


def row(n: int, **values: Any) -> dict[str, Any]:
    at = NOW - timedelta(days=n)
    return {
        "firm_id": FIRM,
        "id": UUID(int=n),
        "version": 1,
        "created_at": at,
        "updated_at": at,
        "position": n,
        "title": f"t{n}",
        "tags": [],
        "owners": [],
        "mails": [],
        "parts": [],
        **values,
    }


def shelf(n: UUID, name: str, **values: Any) -> dict[str, Any]:
    return {"firm_id": FIRM, "id": n, "version": 1, "created_at": NOW, "updated_at": NOW, "position": 1, "name": name, **values}


def ask(db: Db, c: Collection = SAMPLES, firm: Any = FIRM, permissions: frozenset[str] = ALL, **asked: Any) -> Page:
    listing = compile_list(c, firm=firm, permissions=permissions, now=asked.pop("now", NOW), key=KEY, **asked)
    total = None
    if listing.total_sql:
        counted = db.execute(listing.total_sql, {**listing.total_params, "firm": firm}).fetchone()
        total = counted["total"] if counted else None
    return listing.page(db.execute(listing.sql, {**listing.params, "firm": firm}).fetchall(), total)


def ids(db: Db, filter: str, **asked: Any) -> list[int]:
    asked.setdefault("order_by", "id")
    return [item["id"].int for item in ask(db, filter=filter, **asked).items]


def refused(filter: str = "", c: Collection = SAMPLES, **asked: Any) -> Unusable:
    with pytest.raises(Unusable) as caught:
        compile_list(c, **{"firm": FIRM, "permissions": ALL, "now": NOW, "key": KEY, "filter": filter, **asked})
    return caught.value


words = st.sampled_from(["", "a", "B", "ab", "ä", "Ä", "a%", "_", "\\", "a b", "*", "'", '"', "null", "12"])
numbers = st.sampled_from([Decimal(n) for n in ("-1", "0", "0.5", "2", "2.50", "100")])
wholes = st.sampled_from([-1, 0, 2, 12])
days = st.sampled_from([date(2026, 1, 1), date(2026, 2, 28), date(2026, 12, 31)])
times = st.sampled_from([datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=UTC)])
uuids = st.sampled_from([A, B, C])
mails = st.fixed_dictionaries(
    {"address": words, "use": st.sampled_from(["work", "home"]), "first": st.booleans(), "labels": st.lists(words, max_size=2)},
    optional={"since": days, "seen_at": times, "weight": numbers},
)
optional = {
    "amount": numbers,
    "count": wholes,
    "done": st.booleans(),
    "due": days,
    "closed_at": times,
    "kind": st.sampled_from(["open", "won", "lost"]),
    "shelf": uuids,
    "owner_name": words,
    "first_mail": mails,
    "custom": st.dictionaries(words.filter(bool), words, max_size=2),
}
rows = st.fixed_dictionaries(
    {
        "title": words,
        "tags": st.lists(words, max_size=2),
        "owners": st.lists(uuids, max_size=2),
        "mails": st.lists(mails, max_size=2),
    },
    optional=optional,
)
