"""Search: everything a firm has, in one box. What is asked is made plain; an engine behind a port finds it.

Q1  Nothing is found of a kind that the caller may not read, and nothing by or with a personal value without `personal:read`.
Q2  Every hit names the event that made what was found so.
Q3  What a person types into the box is never refused for how it is written, only for how much it is.
Q4  A page token works for the search it was made for and no other.
"""

from collections.abc import Iterator
from typing import Annotated, Any, assert_never, cast

from pydantic import Field

from domain.kernel import Invalid
from projections.search import Made
from projections.search.kinds import KINDS
from queries import analysis
from queries.filtering import both, parse, unstorable
from queries.kernel import COLLECTIONS, Query, Reader, query
from queries.listing import SEES_PERSONAL
from queries.listing.values import WrongValue
from queries.search.box import MAX_CLAUSES, read_box, words_in
from queries.search.conditions import COLLECTION, asks_for, can_be_tested, kinds_in, only_kinds, resolve
from queries.search.pages import binding, seal, unseal
from queries.search.port import (
    Clause,
    Found,
    FoundEntry,
    HasSearch,
    Number,
    OneWord,
    Phrase,
    Results,
    SearchEngine,
    Sought,
    Suggested,
)
from queries.unusable import Unusable, shown

MAX_QUERY = 500


class SearchTooLong(Unusable):
    """The search is longer than a search may be."""


class NothingToSearch(Invalid):
    """There is nothing to search for. Type a word, a number or a name, or give a filter."""


class NotInThePast(Invalid):
    """A search looks at the present. Use a list with a filter to see another moment: lists take as_of and known_at."""


def may_read(permissions: frozenset[str]) -> tuple[str, ...]:
    """The kinds a caller may read."""
    return tuple(kind for kind, name in COLLECTION.items() if COLLECTIONS[name].permission in permissions)


def _engine(r: Reader) -> SearchEngine:
    engine = cast("HasSearch", r).search
    if engine.past:
        raise NotInThePast
    return engine


def sought_in(text: str, filter: str, r: Reader) -> Sought:
    """A search made plain: its words analysed, its filter checked, its kinds those the caller may read."""
    bad = unstorable(text)
    if bad is not None:
        raise SearchTooLong(
            f"At character {bad} stands NUL or half of a pair, which can't occur in text. Leave it out.", position=bad
        )
    box = read_box(text, lambda node: can_be_tested(node, r.now))
    if len(box.clauses) + len(box.without) > MAX_CLAUSES:
        raise SearchTooLong(f"It has more than {MAX_CLAUSES} words. Leave out those that say least.", limit=MAX_CLAUSES)
    nodes = [n for n in (box.filter, parse(filter)) if n is not None]
    condition = resolve(both(nodes), r.now) if nodes else None
    if not box.clauses and condition is None:
        raise NothingToSearch
    return Sought(
        clauses=box.clauses,
        without=box.without,
        condition=None if only_kinds(condition) else condition,
        kinds=kinds_in(condition, may_read(r.permissions)),
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
    sought = sought_in(q.q, q.filter, r)
    bound = binding(q.q, q.filter, r)
    after = unseal(q.page_token, bound) if q.page_token else None
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
        "next_page_token": seal(last, bound) if last is not None else "",
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
    if unstorable(q.q) is not None:
        return {"items": []}
    box = read_box(q.q, lambda node: can_be_tested(node, r.now))
    condition = resolve(box.filter, r.now) if box.filter is not None else None
    kinds = kinds_in(condition, kinds)
    narrowed = not only_kinds(condition) or bool(box.without)  # by more than titles and kinds say
    key = analysis.key(box.rest)
    if not key or not kinds:
        return {"items": []}
    personal = SEES_PERSONAL in r.permissions
    found = [] if narrowed else list(await engine.suggest(key, kinds, personal=personal, limit=q.limit))
    more_is_worth_it = narrowed or (len(found) < q.limit and " " in key if found else len(key) >= 4)
    if more_is_worth_it and box.clauses and len(box.clauses) + len(box.without) <= MAX_CLAUSES:
        sought = Sought(
            clauses=box.clauses,
            without=box.without,
            condition=condition if narrowed else None,
            kinds=kinds,
            archived=asks_for(condition, "archived"),
            personal=personal,
            key=key,
            most=50,
            near=not found,
        )
        results = await engine.search(sought)
        known = {(s.kind, s.id) for s in found}
        more = [f for f in results.found if (f.kind, f.id) not in known][: q.limit - len(found)]
        shown_too = await engine.show(more, personal=personal)
        found += [Suggested(kind=e.kind, id=e.id, title=e.title) for e in shown_too if e is not None and e.title]
    mark = analysis.Sought(beginnings=tuple(f for c in words_in(box.rest, open_end=True) for f in c.forms))
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
