"""Search: everything a firm has, in one box. What is asked is made plain here; an engine behind a port finds it.

Q1  Nothing is found of a kind that the caller may not read, and nothing by or with a personal value without `personal:read`.
Q2  Every hit names the event that made what was found so.
Q3  What a person types into the box is never refused for how it is written, only for how much it is.
Q4  A page token works for the search it was made for and no other.
"""

import hashlib
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NoReturn, Protocol, TypeAlias, assert_never, cast
from uuid import UUID

from pydantic import Field

from domain.kernel import Invalid
from projections.search import FACTS, KINDS, FactType, Made
from queries import analysis
from queries.filtering import ANYTHING, And, Node, Not, Or, Restriction, Value, Word, both, parse, unstorable
from queries.kernel import COLLECTIONS, Query, Reader, query
from queries.listing import SEES_PERSONAL
from queries.listing.fields import Field as ListField
from queries.listing.fields import Kind as Type
from queries.listing.values import WrongComparison, WrongValue, literal, near, suggestion, unknown_field
from queries.unusable import Unusable, printable, shown

MAX_QUERY = 500
MAX_CLAUSES = 24
WINDOW = 1_000  # hits that can be paged through
FEW = 10  # hits under which an engine looks for near words too
NEAR_WORDS = 1_000  # of which the nearest are taken
LOOSE_WORDS = 6  # looked for loosely at most
COLLECTION = {kind: f"{kind}s" for kind in KINDS}

# --- what is asked, made plain


@dataclass(frozen=True, slots=True)
class OneWord:
    """A word by any of its forms; `open` when it may go on (the last one typed, or one with a *)."""

    forms: tuple[str, ...]
    open: bool = False


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words one after the other."""

    words: tuple[OneWord, ...]


@dataclass(frozen=True, slots=True)
class Number:
    """Digits of a telephone number, or the words they were written as."""

    digits: str
    words: tuple[OneWord, ...]


Clause: TypeAlias = OneWord | Phrase | Number

Op = Literal["=", "<", "<=", ">", ">=", "contains", "begins", "ends", "present"]


@dataclass(frozen=True, slots=True)
class Test:
    """One comparison of a fact: `values` are texts, `type` says how they compare."""

    fact: str
    type: FactType
    op: Op
    value: str = ""


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class NotSo:
    part: "Condition"


Condition: TypeAlias = Test | AllOf | AnyOf | NotSo


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """A search as an engine takes it. `near` asks for near words even where something holds the words as typed.
    Each engine looks in the reader's firm, in these kinds, with or without personal values: always."""

    clauses: tuple[Clause, ...] = ()
    without: tuple[Clause, ...] = ()
    condition: Condition | None = None
    kinds: tuple[str, ...] = ()
    archived: bool = False
    personal: bool = False
    key: str = ""
    most: int = WINDOW
    near: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A hit before it is shown. `beside` are the words it was found by instead of those asked for: near ones."""

    kind: str
    id: UUID
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Ranked, best first, at most WINDOW of them. `beside` maps each word to the near ones that were taken for it."""

    found: Sequence[Found]
    exact: bool
    beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    loose: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundText:
    name: str
    text: str
    made: Made


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEntry:
    """What is shown of a hit, without what the caller may not see. `title` is None when it is not his to see."""

    kind: str
    id: UUID
    version: int
    title: str | None
    archived: bool
    texts: Sequence[FoundText]
    facts: Mapping[str, Sequence[str | bool]]
    made: Made
    unread: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggested:
    kind: str
    id: UUID
    title: str


class SearchEngine(Protocol):
    """Where entries are found, for one reader: in its firm only. `past` says that the reader looks at another moment than now."""

    past: bool

    async def search(self, sought: Sought) -> Results: ...

    async def show(self, hits: Sequence[Found], *, personal: bool) -> Sequence[FoundEntry | None]:
        """The entries behind hits, in their order; None for one that is gone meanwhile."""
        ...

    async def suggest(self, text: str, kinds: Sequence[str], *, personal: bool, limit: int) -> Sequence[Suggested]:
        """Entries whose title may become what is being typed: `text` is an analysed key."""
        ...


class HasSearch(Protocol):
    """A reader with the search engine at hand."""

    search: SearchEngine


# --- refusals


class SearchTooLong(Unusable):
    """The search is longer than a search may be."""


class NothingToSearch(Invalid):
    """There is nothing to search for. Type a word, a number or a name, or give a filter."""


class NotInThePast(Invalid):
    """A search looks at the present. Use a list with a filter to see another moment: lists take as_of and known_at."""


class SearchTokenUnusable(Unusable):
    """The page token does not belong to this search."""


# --- the box

_ITEM = re.compile(r"""(?P<minus>-)?(?:(?P<name>[A-Za-z_]{2,20}):(?!//))?(?:"(?P<quoted>[^"]*)"?|(?P<plain>[^\s"]+))""")


def _words(text: str, *, open_end: bool) -> tuple[OneWord, ...]:
    found = [t.forms for t in analysis.tokens(text, MAX_CLAUSES + 1) if t.forms]
    return tuple(OneWord(f, open_end and i == len(found) - 1) for i, f in enumerate(found))


def _typed(text: str, *, last: bool) -> Iterator[Clause]:
    """The clauses of unquoted text."""
    at = 0
    for start, end, found in analysis.numbers(text):
        yield from _plain(text[at:start], last=False)
        yield Number(found, _words(text[start:end], open_end=last and end == len(text)))
        at = end
    yield from _plain(text[at:], last=last)


def _plain(text: str, *, last: bool) -> Iterator[Clause]:
    pieces = text.split()
    for i, piece in enumerate(pieces):
        open_end = piece.endswith("*") or (last and i == len(pieces) - 1)
        yield from _words(piece, open_end=open_end)


@dataclass(frozen=True, slots=True)
class Box:
    """What was typed: what to look for, what not, and comparisons as the filter language has them."""

    clauses: tuple[Clause, ...]
    without: tuple[Clause, ...]
    filter: Node | None


def read_box(text: str) -> Box:
    """Read what a person typed: words, "phrases", -exclusions, name:value where name is a fact. Never fails for how it is written."""
    wanted: list[Clause] = []
    without: list[Clause] = []
    filters: list[Node] = []
    run: list[str] = []

    def flush(*, last: bool) -> None:
        if run:
            wanted.extend(_typed(" ".join(run), last=last))
            run.clear()

    items = list(_ITEM.finditer(text))
    for match in items:
        name, quoted, plain = match["name"], match["quoted"], match["plain"]
        value = quoted if quoted is not None else plain
        last = match.end() == len(text)
        if name is not None and name.lower() in FACTS and value.strip():
            node: Node = Restriction(
                (name.lower(),), ":", Value(value.strip("*"), quoted=True), match.start() + 1, match.start() + 1
            )
            filters.append(Not(node) if match["minus"] else node)
        elif quoted is not None:
            phrase = Phrase(_words(f"{name or ''} {quoted}", open_end=False))
            if phrase.words:
                flush(last=False)
                (without if match["minus"] else wanted).append(phrase)
        elif match["minus"] and plain[0].isalnum():
            without.extend(_plain(f"{name or ''} {plain}", last=False))
        else:
            run.append(f"{name}:{plain}" if name else plain)
            if last:
                flush(last=True)
    flush(last=False)
    return Box(tuple(wanted), tuple(without), both(filters) if filters else None)


# --- the filter

_TYPES: Mapping[FactType, Type] = {
    "text": Type.text,
    "id": Type.id,
    "number": Type.decimal,
    "flag": Type.flag,
    "time": Type.time,
    "day": Type.day,
}
_NEVER = AnyOf(())


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
    if value.text == "null" and not value.quoted and node.comparator == "=":
        return NotSo(Test(name, type, "present"))
    return _compared(name, type, node.comparator, value, at, now)


def _compared(name: str, type: FactType, comparator: str, value: Value, at: int, now: datetime) -> Condition:
    if value.text == "null" and not value.quoted and comparator == "=":
        return NotSo(Test(name, type, "present"))
    if name == "kind":
        known = {**{k: k for k in KINDS}, **{c: k for k, c in COLLECTION.items()}}
        kind = known.get(value.text.lower())
        if kind is None or comparator not in {":", "="}:
            raise WrongValue(
                f"At character {at}: kind is one of {', '.join(KINDS)}. {suggestion(near(value.text, list(KINDS)), list(KINDS))}",
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


def _kinds(condition: Condition | None, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """The kinds that can pass: where the condition names kinds at its top, only those need to be looked at."""
    match condition:
        case Test(fact="kind", op="=") as t:
            return tuple(k for k in kinds if k == t.value)
        case AllOf():
            for part in condition.parts:
                kinds = _kinds(part, kinds)
            return kinds
        case AnyOf() if condition.parts and all(isinstance(p, Test) and p.fact == "kind" and p.op == "=" for p in condition.parts):
            return tuple(k for k in kinds if any(isinstance(p, Test) and p.value == k for p in condition.parts))
        case _:
            return kinds


# --- the reads


def may_read(permissions: frozenset[str]) -> tuple[str, ...]:
    """The kinds a caller may read."""
    return tuple(kind for kind, name in COLLECTION.items() if COLLECTIONS[name].permission in permissions)


def _engine(r: Reader) -> SearchEngine:
    engine = cast("HasSearch", r).search
    if engine.past:
        raise NotInThePast
    return engine


def plain(text: str, filter: str, r: Reader) -> Sought:
    """A search made plain: its words analysed, its filter checked, its kinds those the caller may read."""
    bad = unstorable(text)
    if bad is not None:
        raise SearchTooLong(
            f"At character {bad} stands NUL or half of a pair, which can't occur in text. Leave it out.", position=bad
        )
    box = read_box(text)
    if len(box.clauses) + len(box.without) > MAX_CLAUSES:
        raise SearchTooLong(f"It has more than {MAX_CLAUSES} words. Leave out those that say least.", limit=MAX_CLAUSES)
    nodes = [n for n in (box.filter, parse(filter)) if n is not None]
    condition = resolve(both(nodes), r.now) if nodes else None
    if not box.clauses and condition is None:
        raise NothingToSearch
    only_kinds = isinstance(condition, Test) and condition.fact == "kind" and condition.op == "="
    return Sought(
        clauses=box.clauses,
        without=box.without,
        condition=None if only_kinds else condition,
        kinds=_kinds(condition, may_read(r.permissions)),
        archived=asks_for(condition, "archived"),
        personal=SEES_PERSONAL in r.permissions,
        key=analysis.key(" ".join(f for c in box.clauses for f in _first_forms(c))),
    )


def _first_forms(clause: Clause) -> Iterator[str]:
    match clause:
        case OneWord():
            yield clause.forms[0]
        case Phrase() | Number():
            for w in clause.words:
                yield w.forms[0]
        case _:
            assert_never(clause)


def to_mark(sought: Sought, results: Results) -> analysis.Sought:
    """What to mark in the texts of hits."""
    whole: set[str] = set()
    begun: list[str] = []
    numbers: list[str] = []
    for clause in sought.clauses:
        words = (clause,) if isinstance(clause, OneWord) else clause.words
        if isinstance(clause, Number):
            numbers += analysis.number_beginnings(clause.digits)
        for w in words:
            whole.update(w.forms)
            for f in w.forms:
                whole.update(results.beside.get(f, ()))
            if w.open:
                begun += w.forms
    return analysis.Sought(frozenset(whole), tuple(begun), tuple(numbers))


class Search(Query):
    """`q` is what a person types: words, "phrases", -exclusions, `kind:deal`, `city:Berlin`. `filter` is the filter language over facts."""

    q: Annotated[str, Field(max_length=MAX_QUERY)] = ""
    filter: Annotated[str, Field(max_length=4_000)] = ""
    page_size: Annotated[int, Field(ge=1, le=100)] = 20
    page_token: Annotated[str, Field(max_length=300)] = ""


class SearchBody(Search):
    """The same in a body, for what should not stand in an address."""


class Suggest(Query):
    q: Annotated[str, Field(max_length=100)] = ""
    kind: Annotated[str, Field(max_length=20)] = ""
    limit: Annotated[int, Field(ge=1, le=50)] = 10


@query("search.find", "GET /search", permission="firm:read", title="Search everything", views=("search",))
async def find(q: Search, r: Reader) -> object:
    """Finds contacts, organisations, deals, documents with their text, tasks, projects and notes, best first, of the kinds your key may
    read. `parts` of each highlight say which are hits; `event` is the one that made what was found so."""
    return await _find(q, r)


@query("search.ask", "POST /search:query", permission="firm:read", title="Search everything, asked in the body", views=("search",))
async def ask(q: SearchBody, r: Reader) -> object:
    """As `GET /search`, with the same members in the body, so that what is searched for stands in no address."""
    return await _find(q, r)


async def _find(q: Search, r: Reader) -> object:
    engine = _engine(r)
    sought = plain(q.q, q.filter, r)
    bound = _bound(q, r)
    after = _opened(q.page_token, bound) if q.page_token else None
    results = await engine.search(sought)
    ranked = list(results.found)
    if after is not None:
        ranked = [f for f in ranked if (-f.score, f.kind, str(f.id)) > after]
    page = ranked[: q.page_size]
    entries = await engine.show(page, personal=sought.personal)
    mark = to_mark(sought, results)
    counts: dict[str, int] = {}
    for f in results.found:
        counts[f.kind] = counts.get(f.kind, 0) + 1
    last = page[-1] if len(ranked) > len(page) else None
    return {
        "items": [_hit(f, e, mark) for f, e in zip(page, entries, strict=True) if e is not None],
        "next_page_token": _sealed(last, bound) if last is not None else "",
        "total": {"count": len(results.found), "exact": results.exact},
        "kinds": dict(sorted(counts.items(), key=lambda c: (-c[1], c[0]))),
        "instead": {w: list(n) for w, n in results.beside.items() if n},
        "loose": results.loose,
    }


def _event(made: Made) -> dict[str, Any]:
    return {
        "position": made.position,
        "id": str(made.event_id),
        "type": made.type,
        "occurred_at": made.occurred_at,
        "recorded_at": made.recorded_at,
    }


def _hit(found: Found, e: FoundEntry, mark: analysis.Sought) -> dict[str, Any]:
    """`event` is the one that made the best of the passages so; without one, that which changed the thing last."""
    shown_parts: list[tuple[int, int, dict[str, Any], Made]] = []
    for place, text in enumerate(e.texts):
        seen = analysis.marked(text.text, mark)
        if seen is not None:
            parts, different = seen
            shape = {
                "field": text.name,
                "parts": [{"text": t, "hit": h} for t, h in parts],
                "event": _event(text.made),
            }
            shown_parts.append((-different, place, shape, text.made))
    shown_parts.sort(key=lambda s: s[:2])
    return {
        "kind": e.kind,
        "id": str(e.id),
        "collection": COLLECTION[e.kind],
        "title": e.title,
        "version": e.version,
        "archived": e.archived,
        "score": round(found.score, 4),
        "highlights": [s[2] for s in shown_parts[:4]],
        "event": _event(shown_parts[0][3] if shown_parts else e.made),
        "changed": _event(e.made),
        "facts": {name: list(values) for name, values in e.facts.items()},
        "unread": e.unread,
    }


@query("search.suggest", "GET /search/suggest", permission="firm:read", title="Suggestions while typing", views=("search",))
async def suggest(q: Suggest, r: Reader) -> object:
    """What the typed letters may become: titles that begin with them, or that have words beginning with them, a few of each kind."""
    engine = _engine(r)
    kinds = may_read(r.permissions)
    if q.kind:
        if q.kind.removesuffix("s") not in KINDS and q.kind not in KINDS:
            raise WrongValue(f"{shown(q.kind)} is no kind. Known are {', '.join(KINDS)}.")
        kinds = tuple(k for k in kinds if k in {q.kind, q.kind.removesuffix("s")})
    bad = unstorable(q.q)
    key = "" if bad else analysis.key(q.q)
    if not key or not kinds:
        return {"items": []}
    personal = SEES_PERSONAL in r.permissions
    found = list(await engine.suggest(key, kinds, personal=personal, limit=q.limit))
    if len(found) < q.limit and " " in key if found else len(key) >= 4:
        box = read_box(q.q)
        if box.clauses and len(box.clauses) <= MAX_CLAUSES:
            sought = Sought(clauses=box.clauses, kinds=kinds, personal=personal, key=key, most=50, near=not found)
            results = await engine.search(sought)
            known = {(s.kind, s.id) for s in found}
            more = [f for f in results.found if (f.kind, f.id) not in known][: q.limit - len(found)]
            shown_too = await engine.show(more, personal=personal)
            found += [Suggested(kind=e.kind, id=e.id, title=e.title) for e in shown_too if e is not None and e.title]
    mark = analysis.Sought(beginnings=tuple(f for c in _words(q.q, open_end=True) for f in c.forms))
    return {
        "items": [
            {
                "kind": s.kind,
                "id": str(s.id),
                "collection": COLLECTION[s.kind],
                "title": s.title,
                "parts": [{"text": t, "hit": h} for t, h in (analysis.marked(s.title, mark) or ([(s.title, False)], 0))[0]],
            }
            for s in found[: q.limit]
        ]
    }


# --- pages


def _bound(q: Search, r: Reader) -> str:
    what = json.dumps([str(r.firm), q.q, q.filter, sorted(r.permissions)])
    return hashlib.sha256(what.encode()).hexdigest()[:16]


def _sealed(last: Found, bound: str) -> str:
    """What comes after is named by the last hit seen: its score, kind and id, which whoever holds the token has seen."""
    text = json.dumps([bound, last.score, last.kind, str(last.id)], separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _opened(token: str, bound: str) -> tuple[float, str, str]:
    try:
        made_for, score, kind, id = json.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        place = (-float(score), str(kind), str(UUID(id)))
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise SearchTokenUnusable("Begin again without one, or send next_page_token as it was answered.") from None
    if made_for != bound:
        raise SearchTokenUnusable("Send it with the same q and filter as before, or begin again without one.")
    return place
