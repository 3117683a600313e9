"""A filter over facts becomes a condition that an engine can test."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import NoReturn, assert_never, cast

from projections.search.kinds import FACTS, KINDS, FactType
from queries.filtering import ANYTHING, And, Node, Not, Or, Restriction, Value, Word
from queries.listing.fields import Field as ListField
from queries.listing.fields import Kind as Type
from queries.listing.values import WrongComparison, WrongValue, literal, near, suggestion, unknown_field
from queries.search.port import AllOf, AnyOf, Condition, NotSo, Op, Test
from queries.unusable import Unusable, printable

COLLECTION = {kind: f"{kind}s" for kind in KINDS}
_TYPES: Mapping[FactType, Type] = {
    "text": Type.text,
    "id": Type.id,
    "number": Type.decimal,
    "flag": Type.flag,
    "time": Type.time,
    "day": Type.day,
}


def _no(sentence: str, at: int) -> NoReturn:
    raise WrongComparison(f"At character {at}: {sentence}", position=at)


def resolve(node: Node, now: datetime) -> Condition:
    """The comparisons of a filter, checked: facts by name, values by type."""
    match node:
        case And():
            return AllOf(tuple(resolve(p, now) for p in node.parts))
        case Or():
            return AnyOf(tuple(resolve(p, now) for p in node.parts))
        case Not():
            return NotSo(resolve(node.part, now))
        case Word():
            _no("a word without a field belongs into q, not into the filter.", node.position)
        case Restriction():
            return _test(node, now)
        case _:
            assert_never(node)


def can_be_tested(node: Node, now: datetime) -> bool:
    """Whether a comparison says something of a fact: it has values of that type."""
    try:
        resolve(node, now)
    except Unusable:
        return False
    return True


def _test(node: Restriction, now: datetime) -> Condition:
    name = ".".join(node.path)
    name = name.removesuffix(".id") if name.removesuffix(".id") in FACTS else name
    if name not in FACTS:
        raise unknown_field(name, sorted(FACTS), node.position)
    type, value, at = FACTS[name], node.value, node.value_position
    if value == ANYTHING:
        return Test(name, type, "present") if node.comparator in {":", "="} else NotSo(Test(name, type, "present"))
    if node.comparator == "!=":
        return NotSo(_compared(name, type, "=", value, at, now))
    return _compared(name, type, node.comparator, value, at, now)


def _compared(name: str, type: FactType, comparator: str, value: Value, at: int, now: datetime) -> Condition:
    if value.text == "null" and not value.quoted and comparator == "=":
        return NotSo(Test(name, type, "present"))
    if name == "kind":
        known = {**{k: k for k in KINDS}, **{c: k for k, c in COLLECTION.items()}}
        kind = known.get(value.text.lower())
        if kind is None or comparator not in {":", "="}:
            raise WrongValue(
                f"At character {at}: kind takes one of {', '.join(KINDS)}. {suggestion(near(value.text, list(KINDS)), [])}".rstrip(),
                position=at,
                near=list(near(value.text, list(KINDS))),
            )
        return Test(name, type, "=", kind)
    if type == "text":
        if comparator == ":":
            return Test(name, type, "contains", value.text.casefold())
        if comparator != "=":
            _no(f"{printable(name)} is text: compare it with = or :", at)
        return _wildcard(name, type, value)
    found = literal(name, ListField(kind=_TYPES[type]), value, at, now)
    op = cast("Op", "=" if comparator == ":" else comparator)
    if type in {"id", "flag"} and op != "=":
        _no(f"{printable(name)} is compared with = only.", at)
    if type == "time" and isinstance(found, date) and not isinstance(found, datetime):
        return _whole_day(name, op, found)
    return Test(name, type, op, _shown(found))


def _wildcard(name: str, type: FactType, value: Value) -> Condition:
    if value.before and value.after:
        return Test(name, type, "contains", value.text.casefold())
    op: Op = "ends" if value.before else "begins" if value.after else "="
    return Test(name, type, op, value.text)


def _whole_day(name: str, op: Op, day: date) -> Condition:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    begins = start.isoformat()
    ends = datetime.fromtimestamp(start.timestamp() + 86_400, UTC).isoformat()
    match op:
        case "=":
            return AllOf((Test(name, "time", ">=", begins), Test(name, "time", "<", ends)))
        case "<" | ">=":
            return Test(name, "time", op, begins)
        case "<=":
            return Test(name, "time", "<", ends)
        case _:
            return Test(name, "time", ">=", ends)


def _shown(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.astimezone(UTC).isoformat()
        case date():
            return value.isoformat()
        case Decimal():
            return format(value, "f")
        case _:
            return str(value)


def asks_for(condition: Condition | None, fact: str) -> bool:
    match condition:
        case None:
            return False
        case Test():
            return condition.fact == fact
        case NotSo():
            return asks_for(condition.part, fact)
        case AllOf() | AnyOf():
            return any(asks_for(p, fact) for p in condition.parts)
        case _:
            assert_never(condition)


def only_kinds(condition: Condition | None) -> bool:
    """Whether nothing is asked but of which kind a thing is."""
    return condition is None or (isinstance(condition, Test) and condition.fact == "kind" and condition.op == "=")


def kinds_in(condition: Condition | None, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """The kinds that can pass: where the condition names kinds at its top, only those need to be looked at."""
    match condition:
        case Test(fact="kind", op="=") as t:
            return tuple(k for k in kinds if k == t.value)
        case AllOf():
            for part in condition.parts:
                kinds = kinds_in(part, kinds)
            return kinds
        case AnyOf() if condition.parts and all(isinstance(p, Test) and p.fact == "kind" and p.op == "=" for p in condition.parts):
            return tuple(k for k in kinds if any(isinstance(p, Test) and p.value == k for p in condition.parts))
        case _:
            return kinds
