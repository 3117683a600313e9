"""Order and pages, and the shape of the statement behind them."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queries.kernel import COLLECTIONS
from queries.listing import (
    RELATIONS,
    OrderUnusable,
    PageSizeUnusable,
    PageTokenUnusable,
    Relation,
    UnknownField,
    check_relations,
    compile_list,
    read_page,
)
from queries.unusable import Unusable
from tests.queries.listing.lists import (
    ALL,
    KEY,
    NOW,
    Db,
    ask,
    days,
    ids,
    numbers,
    refused,
    relaxed,
    row,
    times,
    uuids,
    wholes,
    words,
)
from tests.queries.samples import FIRM, OTHER_FIRM, SAMPLES, SHELVES, insert


@pytest.mark.parametrize(
    ("order_by", "found"),
    [
        ("amount", [2, 1, 3]),
        ("amount desc", [1, 2, 3]),
        ("-amount", [1, 2, 3]),
        ("kind desc, title", [2, 1, 3]),
        ("created_at", [3, 2, 1]),
        ("", [1, 2, 3]),
        ("due ASC,id desc", [1, 3, 2]),
        ("id desc, title", [3, 2, 1]),
    ],
)
def test_lists_are_sorted_with_missing_values_last(stocked: Db, order_by: str, found: list[int]) -> None:
    assert [i["id"].int for i in ask(stocked, order_by=order_by).items] == found


@pytest.mark.parametrize(
    ("order_by", "why"),
    [
        ("amuont", UnknownField),
        ("amount down", OrderUnusable),
        ("amount,", OrderUnusable),
        ("amount, amount desc", OrderUnusable),
        ("-amount desc", OrderUnusable),
        ("tags", OrderUnusable),
        ("mails.first", UnknownField),
        ("shelf.name", UnknownField),
        ("title; DROP TABLE x", OrderUnusable),
        ("title,amount,count,due,done,kind", OrderUnusable),
        ("x" * 600, OrderUnusable),
        ("\ud800\0", UnknownField),
    ],
)
def test_an_impossible_order_is_refused(order_by: str, why: type[Unusable]) -> None:
    refusal = refused(order_by=order_by)
    assert type(refusal) is why
    assert f"{refusal.why} {refusal.about}".isprintable()


def test_pages_have_bounds(empty: Db) -> None:
    insert(empty, SAMPLES, [row(n) for n in range(1, 1103)])
    assert len(ask(empty).items) == 50
    assert len(ask(empty, page_size=0).items) == 50
    assert len(ask(empty, page_size=5000).items) == 1000
    page = ask(empty, page_size=1, include_total=True, filter="title : t1")
    assert (len(page.items), page.total) == (1, 214)
    assert ask(empty, page_size=1).total is None
    assert isinstance(refused(page_size=-1), PageSizeUnusable)
    again = ask(empty, page_size=1, include_total=True, filter="title : t1", page_token=page.next_page_token)
    assert again.total == 214


def test_a_token_works_for_its_own_list_only(stocked: Db) -> None:
    same: dict[str, Any] = {"filter": "title:*", "order_by": "title"}
    token = ask(stocked, page_size=1, **same).next_page_token
    assert token
    assert len(ask(stocked, page_token=token, **same).items) == 2
    assert len(ask(stocked, page_token=token, **{**same, "filter": " title : * "}).items) == 2
    others: list[dict[str, Any]] = [
        {**same, "filter": "title != x"},
        {**same, "order_by": "title desc"},
        {**same, "firm": OTHER_FIRM},
        {**same, "scope": ("as_of=2026-01-01",)},
        {**same, "key": b"z" * 32},
    ]
    for other in others:
        assert isinstance(refused(page_token=token, **other), PageTokenUnusable)
    assert isinstance(refused(page_token=token, order_by="id", c=SHELVES), PageTokenUnusable)


def test_a_changed_token_is_refused(stocked: Db) -> None:
    token = ask(stocked, page_size=1).next_page_token
    sealed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for i in range(len(sealed)):
        changed = bytes([*sealed[:i], sealed[i] ^ 1, *sealed[i + 1 :]])
        assert isinstance(refused(page_token=urlsafe_b64encode(changed).decode()), PageTokenUnusable)
    for wrong in ("x", "ä", "=", "a" * 20_000, token[:-1], token + "A", "\0", "....", "AAAA" * 8):
        assert isinstance(refused(page_token=wrong), PageTokenUnusable)


def test_a_token_shows_no_value(stocked: Db) -> None:
    token = ask(stocked, page_size=1, order_by="title desc").next_page_token
    plain = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert b"a_b" not in plain
    assert b"Berlin" not in plain


def test_durations_count_from_the_first_page_on(stocked: Db) -> None:
    asked: dict[str, Any] = {"filter": "created_at < -36h", "order_by": "id", "page_size": 1}
    first = ask(stocked, **asked)
    second = ask(stocked, now=NOW + timedelta(days=-5), page_token=first.next_page_token, **asked)
    assert [i["id"].int for i in (*first.items, *second.items)] == [2, 3]


keys = st.fixed_dictionaries(
    {"title": st.sampled_from(["", "a", "ä", "B"]), "tags": st.just([]), "owners": st.just([]), "mails": st.just([])},
    optional={
        "amount": numbers,
        "count": wholes,
        "due": days,
        "closed_at": times,
        "done": st.booleans(),
        "shelf": uuids,
        "owner_name": words,
    },
)
orders = st.lists(
    st.tuples(
        st.sampled_from(["title", "amount", "count", "due", "closed_at", "done", "shelf", "owner_name", "created_at"]),
        st.sampled_from([" desc", ""]),
    ),
    max_size=3,
    unique_by=lambda o: o[0],
)


def in_order(samples: list[dict[str, Any]], order: list[tuple[str, str]]) -> list[int]:
    """Missing values last, ties by id in the direction of the last key."""
    found = sorted(samples, key=lambda r: r["id"], reverse=bool(order and order[-1][1]))
    for name, desc in reversed(order):
        present = [r for r in found if r.get(name) is not None]
        found = sorted(present, key=lambda r: r[name], reverse=bool(desc)) + [r for r in found if r.get(name) is None]
    return [r["id"].int for r in found]


@relaxed
@given(st.lists(keys, max_size=12), orders, st.integers(1, 5))
def test_pages_together_are_the_whole_list_in_order(
    db: Db, drawn: list[dict[str, Any]], order: list[tuple[str, str]], size: int
) -> None:
    samples = [row(n, **values) for n, values in enumerate(drawn, 1)]
    with db.transaction(force_rollback=True):
        db.execute("TRUNCATE views.test_samples")
        insert(db, SAMPLES, samples)
        asked: dict[str, Any] = {"order_by": ",".join(n + d for n, d in order) or "id", "page_size": size}
        seen: list[int] = []
        token = ""
        while True:
            page = ask(db, page_token=token, **asked)
            seen.extend(i["id"].int for i in page.items)
            token = page.next_page_token
            if not token:
                break
            assert len(page.items) == size
        assert seen == in_order(samples, order)


@relaxed
@given(st.data(), st.lists(keys, min_size=4, max_size=12), orders, st.integers(1, 4))
def test_a_changing_table_repeats_no_row_and_loses_no_untouched_one(
    db: Db, data: st.DataObject, drawn: list[dict[str, Any]], order: list[tuple[str, str]], size: int
) -> None:
    samples = [row(n * 10, **values) for n, values in enumerate(drawn, 1)]
    asked: dict[str, Any] = {"order_by": ",".join(n + d for n, d in order) or "id", "page_size": size}
    moved: set[int] = set()
    fresh = iter(range(1, 10_000, 10))
    with db.transaction(force_rollback=True):
        db.execute("TRUNCATE views.test_samples")
        insert(db, SAMPLES, samples)
        seen: list[int] = []
        token = ""
        while True:
            page = ask(db, page_token=token, **asked)
            seen.extend(i["id"].int for i in page.items)
            token = page.next_page_token
            if not token:
                break
            insert(db, SAMPLES, [row(next(fresh), **values) for values in data.draw(st.lists(keys, max_size=3))])
            db.execute("UPDATE views.test_samples SET version = version + 1, updated_at = now(), kind = 'won'")
            for victim in data.draw(st.lists(st.sampled_from(samples), max_size=2)):
                moved.add(victim["id"].int)
                if data.draw(st.booleans()):
                    db.execute("DELETE FROM views.test_samples WHERE id = %s", [victim["id"]])
                else:
                    db.execute("UPDATE views.test_samples SET title = 'z', amount = NULL WHERE id = %s", [victim["id"]])
    unmoved = [n for n in seen if n not in moved]
    assert len(set(unmoved)) == len(unmoved)
    untouched = [s for s in samples if s["id"].int not in moved]
    assert [n for n in unmoved if n % 10 == 0] == in_order(untouched, order)


def test_every_table_is_asked_for_the_firm_and_comes_from_the_source() -> None:
    listing = compile_list(
        SAMPLES,
        firm=FIRM,
        permissions=ALL,
        now=NOW,
        key=KEY,
        filter="shelf.samples.title : x OR watchers:*",
        source=lambda c: f"at_time('{c.name}', %(as_of)s)",
        scope=("as_of",),
    )
    assert listing.sql.count("firm_id = %(firm)s") == listing.sql.count("at_time(") == 4
    assert "views." not in listing.sql
    assert "firm" not in listing.params


def test_a_plain_order_is_compared_as_a_row_that_an_index_serves(stocked: Db) -> None:
    token = ask(stocked, page_size=1, order_by="-created_at").next_page_token
    sql = compile_list(SAMPLES, firm=FIRM, permissions=ALL, now=NOW, key=KEY, order_by="-created_at", page_token=token).sql
    assert '(t."created_at", t."id") < (' in sql
    assert sql.endswith('ORDER BY t."created_at" DESC, t."id" DESC LIMIT 51')


def test_a_page_deep_in_a_long_list_is_read_from_the_index(empty: Db) -> None:
    with empty.transaction(force_rollback=True):
        empty.execute("CREATE INDEX ON views.test_samples (firm_id, created_at, id)")
        insert(empty, SAMPLES, [row(n) for n in range(1, 3001)])
        empty.execute("ANALYZE views.test_samples")
        asked: dict[str, Any] = {"order_by": "-created_at", "filter": "amount = null"}
        token = ask(empty, page_size=1000, **asked).next_page_token
        listing = compile_list(SAMPLES, firm=FIRM, permissions=ALL, now=NOW, key=KEY, page_token=token, **asked)
        plan = str(empty.execute("EXPLAIN " + listing.sql, {**listing.params, "firm": FIRM}).fetchall())
    assert "Index Scan Backward" in plan
    assert "Sort" not in plan


class Reading:
    """A reader over the test's connection."""

    firm, now, permissions = FIRM, NOW, ALL
    actor, member = "", None

    def __init__(self, db: Db) -> None:
        self.db = db

    async def all(self, sql: str, **params: object) -> list[dict[str, Any]]:
        return self.db.execute(sql, {**params, "firm": self.firm}).fetchall()

    async def one(self, sql: str, **params: object) -> dict[str, Any] | None:
        return self.db.execute(sql, {**params, "firm": self.firm}).fetchone()


async def test_a_page_is_read_through_a_reader(stocked: Db) -> None:
    page = await read_page(Reading(stocked), SAMPLES, key=KEY, filter="amount:*", page_size=1, include_total=True, fields="title")
    assert page.items == [{"id": UUID(int=1), "title": "Berlin Häuser"}]
    assert page.total == 2
    assert page.next_page_token


def test_the_largest_filter_is_answered_quickly(stocked: Db) -> None:
    widest = " OR ".join(["mails.address:xyz"] * 100)
    assert ids(stocked, widest) == []
    assert ids(stocked, "xyz " * 100) == []


@pytest.mark.parametrize(
    "wrong",
    [
        Relation("bad", "nowhere", "shelf"),
        Relation("bad", "test_shelves", "title"),
        Relation("bad", "test_shelves", "absent"),
        Relation("bad", "test_shelves", "mails"),
        Relation("bad", "test_shelves", "shelf", "name"),
    ],
)
def test_a_relation_that_joins_nothing_is_found_at_start(wrong: Relation, monkeypatch: pytest.MonkeyPatch) -> None:
    check_relations()
    monkeypatch.setitem(RELATIONS, "test_samples", {"bad": wrong})
    with pytest.raises((ValueError, TypeError), match="relation"):
        check_relations()


def test_the_collections_of_this_test_stand_alone() -> None:
    assert set(COLLECTIONS) == set(RELATIONS) == {"test_samples", "test_shelves"}
