import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from queries.filtering import And, Node, Not, Or, Restriction, Value, Word, both, either, show
from queries.kernel import COLLECTIONS, Collection
from queries.listing import (
    RELATIONS,
    FieldsUnusable,
    NeedsPersonal,
    NotAllowed,
    NothingToSearch,
    OrderUnusable,
    Page,
    PageSizeUnusable,
    PageTokenUnusable,
    Relation,
    UnknownField,
    WrongComparison,
    WrongValue,
    check_relations,
    compile_list,
    compile_one,
    mask,
    one_as_seen,
    personal_fields,
    read_page,
)
from queries.unusable import Unusable
from tests.queries.samples import FIRM, OTHER_FIRM, SAMPLES, SHELVES, TABLES, Sample, declared, insert

KEY = b"k" * 32
NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
ALL = frozenset({"samples:read", "shelves:read", "personal:read"})
WITHOUT_PERSONAL = ALL - {"personal:read"}
A, B, C = (UUID(int=n) for n in (0xA, 0xB, 0xC))

Db = psycopg.Connection[dict[str, Any]]
relaxed = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150
)


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


# --- what a filter finds


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


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ("", [1, 2, 3]),
        ("*", [1, 2, 3]),
        ('title = "Berlin Häuser"', [1]),
        ('title = "berlin häuser"', []),
        ('title : "HÄUS"', [1]),
        ('title = "Ber*"', [1]),
        ('title = "ber*"', []),
        ('title = "*user"', [1]),
        ('title = "*lin H*"', [1]),
        ('title : "%"', [2]),
        ('title : "_"', [3]),
        (r'title : "\\"', [3]),
        (r'title : "\*sure\*"', [2]),
        (r'title = "*\*"', [2]),
        ("title > a", [3]),
        ("amount > 1000", [1]),
        ("amount = 1250.5", [1]),
        ("amount = -5", [2]),
        ("amount >= -5 AND amount < 1.25e3", [2]),
        ("NOT amount > 1000", [2, 3]),
        ("amount != 1250.5", [2, 3]),
        ("amount:*", [1, 2]),
        ("amount = null", [3]),
        ("amount != null", [1, 2]),
        ("NOT amount:*", [3]),
        ("count = 3", [1]),
        ("done = true", [1]),
        ("done:false", [2]),
        ("NOT done = true", [2, 3]),
        ("due = 2026-03-12", [1]),
        ("due > 2026-03-12", [3]),
        ("due <= 3d", [1]),
        ("closed_at = 2026-03-10", [1]),
        ("closed_at < 2026-03-10", [3]),
        ("closed_at <= 2026-03-09", [3]),
        ("closed_at > 2026-03-09", [1]),
        ("closed_at >= 2026-03-10", [1]),
        ("closed_at = 2026-03-10T12:00:00+01:00", [1]),
        ('closed_at > "2026-03-10T10:59:59.5Z"', [1]),
        ("closed_at > -2h", [1]),
        ("updated_at < -36h", [2, 3]),
        ("kind = (open OR won)", [1, 2]),
        ("kind != open", [2, 3]),
        (f"shelf = {A}", [1]),
        (f"id = {UUID(int=2)}", [2]),
        ("tags:VIP", [1]),
        ("tags:(VIP OR vip)", [1, 2]),
        ('tags:"n*"', [1]),
        ("tags:*", [1, 2]),
        ("tags = null", [3]),
        (f"owners:{B}", [2]),
        (f"NOT owners:{B}", [1, 3]),
        ('mails.address : "example.ORG"', [1]),
        ('mails.address = "Anna@Example.org"', [1]),
        ("mails.first = true", [1]),
        ("mails.since < 2021-01-01", [1]),
        ("mails.weight >= 1.5", [1]),
        ("mails.labels : x", [1]),
        ("mails.use:*", []),
        ("mails:*", [1]),
        ("first_mail.use = home", [1]),
        ("first_mail:*", [1]),
        ("first_mail = null", [2, 3]),
        ("custom.colour = red", [1]),
        ('custom."Size (mm)" = 40', [1]),
        ("custom:colour", [1]),
        ("custom:*", [1]),
        ("answers.size > 9", [1]),
        ("answers.size = 40.0", [1]),
        ("answers.size != 40", [2, 3]),
        ("answers.size < 9", []),
        ("answers.hue : RED", [1]),
        ('answers.hue = "dark*"', [1]),
        ("answers.met >= 2026-01-01", [1]),
        ("answers.vip = true", [1]),
        ("answers.likes = tea", [1]),
        ("answers.likes : (water OR coffee)", [1]),
        ("answers.size:*", [1]),
        ("answers.other:*", []),
        ("answers:hue", [1]),
        ("answers.size.number > 9", [1]),
        ("extra.staff > 6", [1]),
        ("extra.staff = 40.0", [1]),
        ("extra.city : BON", [1]),
        ("extra.open = true", [1]),
        ("extra.since > 2020-01-01", [1]),
        ('shelf.name = "Won deals"', [1]),
        ('shelf.name : "won" AND amount > 1000', [1]),
        ('NOT shelf.name = "Won deals"', [2, 3]),
        ("shelf.rank > 1", [2]),
        ("shelf.mood = glad", [1]),
        (f"shelf.id = {A}", [1]),
        ("shelf:*", [1, 2]),
        ("watchers.name = Lost", [2]),
        ("watchers:*", [1, 2]),
        ("places.name = Lost", [1]),
        ("places:*", [1]),
        ("shelf.samples.title : sure", [2]),
        ("häuser", [1]),
        ("north", [1]),
        ("example won", [1]),
        ("-berlin", [2, 3]),
        ("lost", [2]),
        ("3", [1]),
        ("nothing OR sure", [2]),
    ],
)
def test_a_filter_finds_what_it_says(stocked: Db, filter: str, found: list[int]) -> None:
    assert ids(stocked, filter) == found


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ("samples.amount > 1000", [A]),
        ("samples:*", [A, B]),
        ("NOT watched:*", []),
        ("watched.title : sure", [A, B]),
        ("places.title : berlin", [B]),
    ],
)
def test_relations_are_followed_backwards(stocked: Db, filter: str, found: list[UUID]) -> None:
    assert [item["id"] for item in ask(stocked, SHELVES, filter=filter).items] == sorted(
        found, reverse=found == [A, B]
    ) or found == []
    assert {item["id"] for item in ask(stocked, SHELVES, filter=filter).items} == set(found)


def test_no_list_reaches_into_another_firm(stocked: Db) -> None:
    assert ids(stocked, "berlin", firm=OTHER_FIRM) == [1]
    assert ids(stocked, "shelf.id:* OR watchers:*", firm=OTHER_FIRM) == []
    assert ask(stocked, SHELVES, filter="samples:* OR watched:*", firm=OTHER_FIRM).items == []
    assert [i["name"] for i in ask(stocked, SHELVES, firm=OTHER_FIRM).items] == ["Foreign"]


# --- the same, against a plain evaluation in memory


def walk(row: dict[str, Any], path: tuple[str, ...], shelves: list[dict[str, Any]]) -> list[Any]:
    """All values at a path, missing ones left out."""
    if path[0] == "shelf" and len(path) > 1:
        return [v for s in shelves if s["id"] == row.get("shelf") for v in walk(s, path[1:], shelves)]
    if path[0] == "watchers":
        return [v for s in shelves if s["id"] in row["owners"] for v in walk(s, path[1:], shelves)]
    found: list[Any] = [row.get(path[0])]
    for name in path[1:]:
        found = [v for f in found for v in (f if isinstance(f, list) else [f]) if v is not None]
        found = [f.get(name) for f in found]
    return [f for f in found if f is not None]


def typed(text: str, like: Any) -> Any:
    if isinstance(like, bool):
        return text == "true"
    if isinstance(like, datetime):
        return datetime.fromisoformat(text)
    if isinstance(like, date):
        return date.fromisoformat(text)
    return type(like)(text)


def passes(value: Any, sign: str, v: Value, *, in_list: bool) -> bool:
    if isinstance(value, str) and sign == ":" and not in_list:
        return v.text.lower() in value.lower()
    if isinstance(value, str) and (v.before or v.after):
        if v.before and v.after:
            return v.text in value
        return value.endswith(v.text) if v.before else value.startswith(v.text)
    other = typed(v.text, value)
    return {
        "=": value == other,
        ":": value == other,
        "<": value < other,
        "<=": value <= other,
        ">": value > other,
        ">=": value >= other,
    }[sign]


def holds(node: Node | None, row: dict[str, Any], shelves: list[dict[str, Any]]) -> bool:
    match node:
        case None:
            return True
        case And():
            return all(holds(p, row, shelves) for p in node.parts)
        case Or():
            return any(holds(p, row, shelves) for p in node.parts)
        case Not():
            return not holds(node.part, row, shelves)
        case Word():
            searched = [v for p in SAMPLES.search if p != "count" for v in walk(row, tuple(p.split(".")), shelves)]
            return any(node.value.text.lower() in s.lower() for v in searched for s in (v if isinstance(v, list) else [v])) or (
                node.value.text.isdigit() and row.get("count") == int(node.value.text)
            )
        case Restriction():
            if node.comparator == "!=":
                return not holds(Restriction(node.path, "=", node.value), row, shelves)
            found = walk(row, node.path, shelves)
            if node.value == Value("null"):
                return all(v in ([], {}, "") for v in found)
            if node.value.text == "" and node.value.before:
                return any(v not in ([], {}, "") for v in found)
            return any(
                passes(v, node.comparator, node.value, in_list=isinstance(f, list))
                for f in found
                for v in (f if isinstance(f, list) else [f])
            )
    raise AssertionError(node)


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


def value_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Value]:
    return values.map(
        lambda v: Value(
            v.isoformat() if isinstance(v, date) else str(v).lower() if isinstance(v, bool) else str(v),
            quoted=not isinstance(v, int | Decimal | bool),
        )
    )


ANY, NULL = Value("", before=True, after=True), Value("null")


def compared(name: str, signs: str, values: st.SearchStrategy[Value]) -> st.SearchStrategy[Node]:
    path = st.just(tuple(name.split(".")))
    presence = st.builds(Restriction, path, st.sampled_from([":", "=", "!="]), st.sampled_from([ANY, NULL]))
    return st.one_of(st.builds(Restriction, path, st.sampled_from(signs.split()), values), presence)


ORDER = "= != < <= > >= :"
wild = st.builds(Value, words.filter(bool), st.just(True), st.booleans(), st.booleans())
restrictions: st.SearchStrategy[Node] = st.one_of(
    *(
        compared(n, ORDER, value_of(words))
        for n in ("title", "owner_name", "mails.address", "shelf.name", "custom.ab", "first_mail.address")
    ),
    *(compared(n, "= !=", wild) for n in ("title", "mails.address", "watchers.name")),
    *(compared(n, ORDER, value_of(numbers)) for n in ("amount", "mails.weight")),
    *(compared(n, ORDER, value_of(wholes)) for n in ("count", "shelf.rank")),
    *(compared(n, "= != :", value_of(st.booleans())) for n in ("done", "mails.first")),
    *(compared(n, ORDER, value_of(days)) for n in ("due", "mails.since")),
    *(compared(n, ORDER, value_of(times)) for n in ("closed_at", "mails.seen_at")),
    *(compared(n, "= != :", value_of(uuids)) for n in ("shelf", "watchers.id")),
    compared("owners", ":", value_of(uuids)),
    *(compared(n, ":", value_of(words) | wild) for n in ("tags", "mails.labels")),
    compared("kind", "= != :", value_of(st.sampled_from(["open", "won"]))),
    st.builds(Word, value_of(words.filter(bool))),
)
filters = st.recursive(
    restrictions,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(both), st.lists(inner, min_size=2, max_size=3).map(either), inner.map(Not)
    ),
    max_leaves=6,
)


@relaxed
@given(
    st.lists(rows, max_size=6),
    st.lists(st.tuples(words, st.none() | wholes), max_size=3),
    st.lists(filters, min_size=1, max_size=6),
)
def test_sql_and_a_plain_evaluation_agree(db: Db, drawn: list[dict[str, Any]], shelved: list[Any], asked: list[Node]) -> None:
    samples = [row(n, **values) for n, values in enumerate(drawn, 1)]
    shelves = [shelf(i, name, rank=rank) for i, (name, rank) in zip((A, B, C), shelved, strict=False)]
    with db.transaction(force_rollback=True):
        db.execute("TRUNCATE views.test_samples, views.test_shelves")
        insert(db, SAMPLES, samples)
        insert(db, SHELVES, shelves)
        for node in asked:
            assert ids(db, show(node)) == [r["id"].int for r in samples if holds(node, r, shelves)], show(node)


# --- what is refused


@pytest.mark.parametrize(
    ("filter", "why", "says"),
    [
        ("amuont > 5", UnknownField, "There is no such field in this list. At character 1: “amuont”. Did you mean amount?"),
        ("a = 1 AND shelf.nam = x", UnknownField, "“a”"),
        ("title = x AND shelf.nam = x", UnknownField, "At character 21: “nam” in shelf. Did you mean name?"),
        ("mails.adress : x", UnknownField, "Did you mean address?"),
        ("title.x = 1", UnknownField, "“x” in title"),
        ("firm_id = 1", UnknownField, "firm_id"),
        (
            "amount > 2026-01-01",
            WrongValue,
            "The value does not fit the field. At character 10: amount takes a number such as 1250.50, below 1e39.",
        ),
        ("amount > 1e400", WrongValue, "number"),
        ("amount > NaN", WrongValue, "number"),
        ("amount > Infinity", WrongValue, "number"),
        ("amount > 1_000", WrongValue, "number"),
        ("amount > ١٢", WrongValue, "number"),
        ("amount > 1e9999999999", WrongValue, "number"),
        (f"amount > {'1' * 200}", WrongValue, "number"),
        ("count = 1.5", WrongValue, "whole number"),
        ("count = 9223372036854775808", WrongValue, "64 bits"),
        ("due = 2026-02-30", WrongValue, "a date"),
        ("due = 5", WrongValue, "a date"),
        ("closed_at > 2026-01-01T10:00:00", WrongValue, "offset"),
        ("closed_at > 9999-12-31", WrongValue, "time"),
        ("closed_at > 0001-01-01T00:00:00+10:00", WrongValue, "time"),
        ("closed_at > 999999999w", WrongValue, "time"),
        ("closed_at > tomorrow", WrongValue, "time"),
        ("done = yes", WrongValue, "true or false"),
        ("shelf = 5", WrongValue, "an id"),
        ("kind = opne", WrongValue, "Did you mean open"),
        ("amount = 1*", WrongValue, "wildcards are for text"),
        ("kind > open", WrongComparison, "no order"),
        ("done < true", WrongComparison, "no order"),
        ("shelf < x", WrongComparison, "no order"),
        ("amount > null", WrongComparison, "an order needs a value"),
        ("amount > *", WrongComparison, "an order needs a value"),
        ('title > "a*"', WrongComparison, "no order"),
        ("tags = x", WrongComparison, "tags:x"),
        ("mails : x", WrongComparison, "mails.address"),
        ("first_mail = x", WrongComparison, "first_mail.address"),
        ("custom = x", WrongComparison, "named values"),
        ("watchers = x", WrongComparison, "watchers.id"),
        ("shelf.samples.shelf.samples.title = x", WrongComparison, "at most 3 relations"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_database_sees_it(filter: str, why: type[Unusable], says: str) -> None:
    refusal = refused(filter)
    assert type(refusal) is why
    assert says in refusal.why
    assert "position" in refusal.about


def test_hostile_values_travel_as_parameters(stocked: Db) -> None:
    for text in ("'; DROP TABLE views.test_samples; --", "%(firm)s", "%s", "$1", "\\'", "x' OR 'a'='a", "{}"):
        for f in (
            "title = {}",
            "title : {}",
            "tags : {}",
            "custom.a : {}",
            "custom.{} = x",
            "mails.address = {}",
            "custom : {}",
            "{}",
        ):
            assert ids(stocked, f.format('"' + text.replace("\\", "\\\\").replace("'", "\\'") + '"')) == []
    assert ids(stocked, "") == [1, 2, 3]


def test_a_list_without_search_fields_says_so() -> None:
    bare = Collection(name="bare", view=SHELVES.view, stream=None, permission="x", title="Bare")
    assert isinstance(refused("word", bare), NothingToSearch)


# --- personal fields and permissions


@pytest.mark.parametrize(
    "filter",
    ["owner_name = x", "NOT owner_name:*", "mails.address : a", "first_mail.address = null", "shelf.samples.owner_name = x"],
)
def test_personal_fields_are_not_filtered_by_those_who_may_not_see_them(filter: str) -> None:
    refusal = refused(filter, permissions=WITHOUT_PERSONAL)
    assert isinstance(refusal, NeedsPersonal)
    assert "personal:read" in refusal.why


def test_personal_fields_are_not_sorted_by_those_who_may_not_see_them() -> None:
    assert isinstance(refused(order_by="owner_name", permissions=WITHOUT_PERSONAL), NeedsPersonal)


def test_a_bare_word_does_not_look_into_what_is_hidden(stocked: Db) -> None:
    assert ids(stocked, "example.org") == [1]
    assert ids(stocked, "example.org", permissions=WITHOUT_PERSONAL) == []
    only_personal = Collection(
        name="p",
        view=SAMPLES.view,
        stream=None,
        permission="x",
        title="P",
        search=("owner_name", "mails.address"),
        order="owner_name",
    )
    assert isinstance(refused("x", only_personal, permissions=WITHOUT_PERSONAL), NeedsPersonal)


def test_a_hidden_default_order_gives_way_to_the_id() -> None:
    c = Collection(name="p", view=SAMPLES.view, stream=None, permission="x", title="P", order="owner_name")
    asked = {"firm": FIRM, "now": NOW, "key": KEY}
    assert compile_list(c, permissions=ALL, **asked).order[0].name == "owner_name"
    assert compile_list(c, permissions=WITHOUT_PERSONAL, **asked).order[0].name == "id"


def test_a_relation_needs_the_permission_of_what_it_leads_to(stocked: Db) -> None:
    allowed = ALL - {"shelves:read"}
    assert isinstance(refused("shelf.name = x", permissions=allowed), NotAllowed)
    assert isinstance(refused("watchers:*", permissions=allowed), NotAllowed)
    assert ids(stocked, "lost", permissions=allowed) == []


def test_personal_fields_are_found_wherever_they_stand() -> None:
    assert personal_fields(Sample) == ("owner_name", "mails.address", "first_mail.address")


def test_masking_hides_the_value_and_whether_there_was_one(stocked: Db) -> None:
    first, second, _ = ask(stocked, order_by="id", permissions=WITHOUT_PERSONAL, fields="owner_name,mails,title").items
    assert first["owner_name"] is None
    assert first["mails"][0]["address"] is None
    assert first["mails"][0]["first"] is True
    assert first["masked"] == ["owner_name", "mails.address"]
    assert second["masked"] == ["owner_name"]
    assert "masked" not in ask(stocked).items[0]
    assert "Anna" not in json.dumps(first, default=str)


def test_masking_leaves_the_row_it_was_given_alone() -> None:
    given_row = {"mails": [{"address": "a"}], "title": "t"}
    assert mask(given_row, personal_fields(Sample), frozenset())["mails"] == [{"address": None}]
    assert given_row == {"mails": [{"address": "a"}], "title": "t"}
    assert mask(given_row, personal_fields(Sample), ALL) == given_row
    nested = {"people": {"x": {"name": "n", "rank": 1}}}
    assert mask(nested, ("people.name",), frozenset())["people"] == {"x": {"name": None, "rank": 1}}


# --- fields


def test_fields_select_and_the_id_is_always_there(stocked: Db) -> None:
    item = ask(stocked, fields="title, mails.first,first_mail.use,custom.colour", order_by="id").items[0]
    assert item == {
        "id": UUID(int=1),
        "title": "Berlin Häuser",
        "mails": [{"first": True}],
        "first_mail": {"use": "home"},
        "custom": {"colour": "red"},
    }
    assert set(ask(stocked, fields="mails.first,mails").items[0]) == {"id", "mails"}
    assert "firm_id" not in ask(stocked, fields="*").items[0]
    assert {"version", "created_at", "updated_at", "position", "title"} <= set(ask(stocked).items[0])


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ("tilte", UnknownField),
        ("title,,id", FieldsUnusable),
        ("title.x", UnknownField),
        ("mails.", UnknownField),
        ("mails.adress", UnknownField),
        ("shelf.name", UnknownField),
        ("firm_id", UnknownField),
        ("id," * 101 + "id", FieldsUnusable),
        ("x" * 5000, FieldsUnusable),
    ],
)
def test_an_impossible_selection_is_refused(fields: str, why: type[Unusable]) -> None:
    assert type(refused(fields=fields)) is why


def test_one_member_is_read_with_the_same_fields_and_masks(stocked: Db) -> None:
    sql, tree = compile_one(SAMPLES, fields="owner_name")
    found = stocked.execute(sql, {"firm": FIRM, "id": UUID(int=1)}).fetchone()
    assert found is not None
    assert one_as_seen(SAMPLES, found, tree, ALL) == {"id": UUID(int=1), "owner_name": "Anna"}
    assert one_as_seen(SAMPLES, found, tree, frozenset()) == {"id": UUID(int=1), "owner_name": None, "masked": ["owner_name"]}


# --- order and pages


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
        seen, token = [], ""
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
        seen, token = [], ""
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


# --- the shape of the statement


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


# --- declarations


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
