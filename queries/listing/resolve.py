"""From the tree of a filter to typed conditions over one collection: names found, values checked, permissions asked; no engine."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from enum import StrEnum
from typing import NoReturn, TypeAlias, assert_never

from queries.filtering import ANYTHING, And, Comparator, Node, Not, Or, Restriction, Value, Word
from queries.kernel import COLLECTIONS, Collection
from queries.listing.derived import DERIVED, STORED
from queries.listing.fields import SCALARS, Field, Kind, fields_of
from queries.listing.relations import Relation, relations_of
from queries.listing.values import Loose, NeedsPersonal, Scalar, WrongComparison, WrongValue, literal, number, unknown_field
from queries.unusable import Unusable, printable

SEES_PERSONAL = "personal:read"
MAX_RELATIONS = 3

# --- typed conditions


class Op(StrEnum):
    """`contains` disregards case; `begins`, `ends` and `holds` do not; `has` asks for a name among
    named values, `within` for a time in a span."""

    equal = "="
    less = "<"
    at_most = "<="
    more = ">"
    at_least = ">="
    contains = "contains"
    begins = "begins"
    ends = "ends"
    holds = "holds"
    present = "present"
    has = "has"
    within = "within"


@dataclass(frozen=True, slots=True)
class Each:
    """Some element of a list."""


@dataclass(frozen=True, slots=True)
class Part:
    """A declared part of a record."""

    name: str


@dataclass(frozen=True, slots=True)
class Key:
    """A free name among named values."""

    name: str


Step: TypeAlias = Each | Part | Key


@dataclass(frozen=True, slots=True)
class Path:
    """Where a value stands: a column, the steps into it, and what is found at the end."""

    column: str
    steps: tuple[Step, ...]
    leaf: Field


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` until before `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Test:
    """Some value at the path passes. A missing value passes nothing."""

    path: Path
    op: Op
    value: Scalar | Loose | Span | None = None


@dataclass(frozen=True, slots=True)
class Related:
    """Some member of `target` across the relation meets the condition."""

    relation: Relation
    origin: Collection
    target: Collection
    condition: "Condition"


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple["Condition", ...] = ()


@dataclass(frozen=True, slots=True)
class Some:
    parts: tuple["Condition", ...] = ()


@dataclass(frozen=True, slots=True)
class Never:
    """True wherever the condition is not, missing values included."""

    part: "Condition"


Condition: TypeAlias = Test | Related | All | Some | Never

# --- refusals


class NotAllowed(Unusable):
    """The filter reaches into records you may not read."""


class NothingToSearch(Unusable):
    """A bare word can't be looked for here."""


# --- from names to paths

_COMPARED: Mapping[Comparator, Op] = {
    "=": Op.equal,
    "!=": Op.equal,
    ":": Op.equal,
    "<": Op.less,
    "<=": Op.at_most,
    ">": Op.more,
    ">=": Op.at_least,
}
_ORDERED = frozenset({Kind.text, Kind.whole, Kind.decimal, Kind.time, Kind.day, Kind.loose})


@dataclass(frozen=True, slots=True)
class Found:
    """Where dotted names lead: through relations to a path, or to the related record itself."""

    through: tuple[tuple[Relation, Collection, Collection], ...]
    path: Path | None
    name: str

    def across(self, condition: Condition) -> Condition:
        for r, origin, target in reversed(self.through):
            condition = Related(r, origin, target, condition)
        return condition


@dataclass(frozen=True, slots=True)
class Resolver:
    """Resolves for one caller at one instant; `now` is what durations are counted from."""

    collection: Collection
    permissions: frozenset[str]
    now: datetime

    def find(self, names: Sequence[str], position: int) -> Found:
        c = self.collection
        through: list[tuple[Relation, Collection, Collection]] = []
        at = 0
        while True:
            fields, relations = fields_of(c.view.row), relations_of(c)
            name, last = names[at], at == len(names) - 1
            f, r = fields.get(name), relations.get(name)
            into_field = f is not None and (last or r is None or _has_parts(f))
            if f is not None and into_field:
                return Found(tuple(through), self.descend(f, names[at:], position), printable(".".join(names)))
            if r is None:
                raise unknown_field(
                    name, [*fields, *relations], position + sum(len(n) + 1 for n in names[:at]), ".".join(names[:at])
                )
            target = COLLECTIONS[r.collection]
            if target.permission not in self.permissions:
                raise NotAllowed(
                    f"At character {position}: {name} needs the permission {target.permission}.",
                    field=name,
                    permission=target.permission,
                    position=position,
                )
            if len(through) == MAX_RELATIONS:
                raise WrongComparison(
                    f"At character {position}: at most {MAX_RELATIONS} relations stand in a row.",
                    position=position,
                    limit=MAX_RELATIONS,
                )
            through.append((r, c, target))
            c = target
            at += 1
            if last:
                return Found(tuple(through), None, printable(".".join(names)))

    def descend(self, f: Field, names: Sequence[str], position: int) -> Path:
        steps: list[Step] = []
        personal = f.personal
        for i, name in enumerate(names[1:], 1):
            while f.kind is Kind.many and f.each is not None:
                steps.append(Each())
                f = f.each
            if f.kind is Kind.record and name in f.parts:
                steps.append(Part(name))
                f = f.parts[name]
            elif f.kind is Kind.keyed and f.each is not None:
                steps.append(Key(name))
                f = replace(f.each, nullable=True)
            elif f.kind is Kind.loose:
                steps.append(Key(name))
            else:
                here = position + sum(len(n) + 1 for n in names[:i])
                raise unknown_field(name, list(f.parts), here, ".".join(names[:i]))
            personal = personal or f.personal
        if personal and SEES_PERSONAL not in self.permissions:
            raise NeedsPersonal(
                f"At character {position}: {printable('.'.join(names))}. Filtering by it needs the permission {SEES_PERSONAL}.",
                field=printable(".".join(names)),
                permission=SEES_PERSONAL,
                position=position,
            )
        return Path(names[0], tuple(steps), f)

    # --- from nodes to conditions

    def resolve(self, node: Node | None) -> Condition:
        match node:
            case None:
                return All()
            case And():
                return All(tuple(self.resolve(p) for p in node.parts))
            case Or():
                return Some(tuple(self.resolve(p) for p in node.parts))
            case Not():
                return Never(self.resolve(node.part))
            case Word():
                return self.word(node)
            case Restriction():
                return self.restriction(node)
            case _:
                assert_never(node)

    def restriction(self, r: Restriction) -> Condition:
        found = self.find(r.path, r.position)
        missing = r.value == Value("null")
        if missing or r.value == ANYTHING:
            if r.comparator not in {"=", "!=", ":"}:
                self.incomparable(found.name, r, "an order needs a value; ask with :* whether there is one")
            there = found.across(All() if found.path is None else Test(found.path, Op.present))
            return Never(there) if missing != (r.comparator == "!=") else there
        if found.path is None:
            target = found.through[-1][2]
            self.incomparable(
                found.name, r, f"it is a related record; compare one of its fields, such as {found.name}.id of {target.name}"
            )
        target = found.through[-1][2] if found.through else self.collection
        condition = found.across(_narrowed(target, self.compared(found.path, found.name, r)))
        return Never(condition) if r.comparator == "!=" else condition

    def incomparable(self, name: str, r: Restriction, why: str) -> NoReturn:
        raise WrongComparison(f"At character {r.position}: {name}: {why}.", field=name, position=r.position)

    def compared(self, path: Path, name: str, r: Restriction) -> Condition:
        leaf = path.leaf
        if leaf.kind is Kind.keyed:
            if r.comparator != ":":
                self.incomparable(name, r, f"it holds named values; compare one of them ({name}.x = …) or ask for a name with :")
            return Test(path, Op.has, r.value.text)
        if leaf.kind is Kind.many and leaf.each is not None:
            if leaf.each.kind not in SCALARS | {Kind.loose}:
                self.incomparable(
                    name, r, f"it holds records; compare a part of them: {', '.join(f'{name}.{p}' for p in leaf.each.parts)}"
                )
            if r.comparator != ":":
                self.incomparable(name, r, f"it is a list; ask with : whether it holds a value ({name}:x)")
            r = replace(r, comparator="=")
            path = Path(path.column, (*path.steps, Each()), leaf.each)
        elif leaf.kind is Kind.record and path.steps and isinstance(path.steps[-1], Key):
            return self.alternatives(path, name, r)
        elif leaf.kind is Kind.record:
            self.incomparable(name, r, f"it has parts; compare one of them: {', '.join(f'{name}.{p}' for p in leaf.parts)}")
        kind = path.leaf.kind
        if r.comparator not in {"=", "!=", ":"} and kind not in _ORDERED:
            self.incomparable(name, r, f"it has no order ({kind}); use = or !=")
        value = literal(name, path.leaf, r.value, r.value_position, self.now)
        if kind is Kind.text or (kind is Kind.loose and r.comparator == ":"):
            return self.text(path, name, r)
        if kind is Kind.time and isinstance(value, date) and not isinstance(value, datetime):
            return self.whole_day(path, r.comparator, value)
        return Test(path, _COMPARED[r.comparator], value)

    def alternatives(self, path: Path, name: str, r: Restriction) -> Condition:
        """A named value that is a record holds its value in the part that suits its type: every part the literal fits is asked."""
        fitting: list[Condition] = []
        for part, f in path.leaf.parts.items():
            if f.kind is Kind.choice:  # says which part holds the value
                continue
            if f.personal and SEES_PERSONAL not in self.permissions:
                continue
            listed = f.kind is Kind.many and r.comparator in {"=", "!="}
            with suppress(WrongValue, WrongComparison):
                fitting.append(
                    self.compared(
                        Path(path.column, (*path.steps, Part(part)), f), name, replace(r, comparator=":") if listed else r
                    )
                )
        if not fitting:
            self.incomparable(name, r, "the value fits none of the types it may have")
        return Some(tuple(fitting))

    def text(self, path: Path, name: str, r: Restriction) -> Condition:
        v = r.value
        if r.comparator == ":":
            return Test(path, Op.contains, v.text)
        if not v.before and not v.after:
            return Test(path, _COMPARED[r.comparator], v.text)
        if r.comparator not in {"=", "!="}:
            self.incomparable(name, r, "a value with * has no order; use =, != or :")
        op = Op.holds if v.before and v.after else Op.ends if v.before else Op.begins
        return Test(path, op, v.text)

    def whole_day(self, path: Path, comparator: Comparator, day: date) -> Condition:
        """A date against a point in time means the whole of that day, in UTC."""
        start = datetime.combine(day, clock(), UTC)
        end = start + timedelta(days=1)
        match comparator:
            case "<":
                return Test(path, Op.less, start)
            case "<=":
                return Test(path, Op.less, end)
            case ">":
                return Test(path, Op.at_least, end)
            case ">=":
                return Test(path, Op.at_least, start)
            case _:
                return Test(path, Op.within, Span(start, end))

    def word(self, w: Word) -> Condition:
        """Some searched field contains the word. Fields the caller may not see are not looked into."""
        if w.value == ANYTHING:
            return All()
        if not self.collection.search:
            raise NothingToSearch(
                f"At character {w.position}: {self.collection.name} have no fields for text search. Name a field: field : “word”.",
                position=w.position,
            )
        parts: list[Condition] = []
        hidden: list[str] = []
        for name in self.collection.search:
            try:
                found = self.find(name.split("."), w.position)
            except (NeedsPersonal, NotAllowed):
                hidden.append(name)
                continue
            if found.path is not None:
                parts.extend(found.across(t) for t in _word_in(found.path, w.value.text))
        if hidden and len(hidden) == len(self.collection.search):
            raise NeedsPersonal(
                f"At character {w.position}: a bare word looks into {', '.join(hidden)} only. "
                f"Searching them needs the permission {SEES_PERSONAL}.",
                fields=hidden,
                permission=SEES_PERSONAL,
                position=w.position,
            )
        return Some(tuple(parts))


def _has_parts(f: Field) -> bool:
    """Whether names may lead on into the value itself. Into a list of ids they do not: there they go on to the records."""
    while f.kind is Kind.many and f.each is not None:
        f = f.each
    return f.kind in {Kind.record, Kind.keyed, Kind.loose}


def _narrowed(c: Collection, condition: Condition) -> Condition:
    """What a derived column is compared with narrows what is stored, so that an index finds it."""
    d = DERIVED.get(c.name)
    match condition:
        case Test(Path(column, (), leaf), Op.equal, str(value)) if d is not None and column == d.column:
            stored = Path(STORED, (), leaf)
            return All((Some(tuple(Test(stored, Op.equal, v) for v in d.stored(value))), condition))
        case _:
            return condition


def _word_in(path: Path, text: str) -> list[Condition]:
    while path.leaf.kind is Kind.many and path.leaf.each is not None:
        path = Path(path.column, (*path.steps, Each()), path.leaf.each)
    match path.leaf.kind:
        case Kind.text | Kind.choice | Kind.loose:
            return [Test(path, Op.contains, text)]
        case Kind.whole | Kind.decimal:
            n = number(text)
            fits = n is not None and (path.leaf.kind is Kind.decimal or (n == n.to_integral_value() and abs(n) < 2**63))
            return [Test(path, Op.equal, n if path.leaf.kind is Kind.decimal else int(n))] if n is not None and fits else []
        case _:
            return []
