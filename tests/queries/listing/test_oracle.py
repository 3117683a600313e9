"""What a filter finds, against a plain evaluation in memory."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from queries.filtering import And, Node, Not, Or, Restriction, Value, Word, both, either, show
from tests.queries.listing.lists import A, B, C, Db, days, ids, numbers, relaxed, row, rows, shelf, times, uuids, wholes, words
from tests.queries.samples import SAMPLES, SHELVES, insert


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
