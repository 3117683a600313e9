"""Search in Elasticsearch: satisfies `queries.search.port.SearchEngine`.

First what holds every word as typed; when that is little, what holds words near the typed ones; when that is nothing, what holds most of
them. Scores are sums of constants: how well an entry answers depends on it and on what was asked, on no other entry and no other firm.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, assert_never
from uuid import UUID

from infra.away import EngineAway
from infra.reading import PgReader
from infra.search.elastic.client import Unreachable
from infra.search.elastic.facts import EVERYBODY, Facts, any_of
from infra.search.elastic.fence import Fence, NotFilled, Query, holding
from infra.search.elastic.guard import Guard
from infra.search.elastic.mappings import OPEN, SPELLINGS, WEIGHTS, Names
from projections.search import Made
from queries import analysis
from queries.search.port import (
    FEW,
    LOOSE_WORDS,
    NEAR_WORDS,
    Clause,
    Found,
    FoundEntry,
    FoundText,
    Number,
    OneWord,
    Phrase,
    Results,
    Sought,
    Suggested,
)

NEAR_CHECKED = 20
NEAR_KEPT = 12
BEGUN = 0.7  # what a word that goes on counts for, beside one that is whole
OFTEN = 0.12
PART = 16.0  # for each part that a loose search holds: more than everything else together


# while PostgreSQL is followed, the row shows where PostgreSQL is: of this engine it says nothing
_REACHED = (
    "SELECT h.position AS head, (SELECT p.position FROM chancery.projections p, chancery.search_engine e"
    " WHERE p.name = 'search' AND e.engine = 'elasticsearch') AS position FROM record.head h"
)


class ElasticSearch:
    """For one reader."""

    def __init__(self, r: PgReader, guard: Guard, names: Names) -> None:
        self._r = r
        self._guard = guard
        self._names = names
        self._until = 0.0
        self.past = bool(r.moment)

    def _fence(self, kinds: Sequence[str], *, personal: bool) -> Fence:
        self._until = self._until or self._guard.deadline()
        return Fence(self._guard, self._names, self._r.firm, kinds, personal=personal, until=self._until)

    async def _away(self, *, filling: bool) -> EngineAway:
        away = EngineAway("Elasticsearch", "search", filling=filling)
        row = await self._r.one(_REACHED)
        if row is not None and (filling or row["position"] is not None):
            away.reached, away.head = row["position"] or 0, row["head"]
        return away

    async def search(self, sought: Sought) -> Results:
        if not sought.kinds:
            return Results(found=(), exact=True)
        try:
            return await _Look(self._fence(sought.kinds, personal=sought.personal), self._r.firm, sought).results()
        except (Unreachable, NotFilled) as e:
            raise await self._away(filling=isinstance(e, NotFilled)) from e

    async def show(self, hits: Sequence[Found], *, personal: bool) -> Sequence[FoundEntry | None]:
        if not hits:
            return []
        fence = self._fence(tuple(dict.fromkeys(h.kind for h in hits)), personal=personal)
        keys = [f"{h.kind}:{h.id}" for h in hits]
        hidden = {} if personal else {"excludes": ["entry.body", "entry.facts"]}
        try:
            found = await fence.entries(
                {"constant_score": {"filter": {"terms": {"key": keys}}}},
                size=len(keys),
                _source={"includes": ["key", "entry"], **hidden},
            )
        except (Unreachable, NotFilled) as e:
            raise await self._away(filling=isinstance(e, NotFilled)) from e
        entries = {h["_source"]["key"]: _shown(h["_source"], personal=personal) for h in found["hits"]["hits"]}
        return [entries.get(key) for key in keys]

    async def suggest(self, text: str, kinds: Sequence[str], *, personal: bool, limit: int) -> Sequence[Suggested]:
        fence = self._fence(kinds, personal=personal)
        begun = any_of({"prefix": {f"{s}heads": {"value": fence.mark + text}}} for s in fence.sides)
        best = [{"constant_score": {"filter": {"term": {f"{s}heads": fence.mark + text}}, "boost": 4}} for s in fence.sides]
        best += [
            {"constant_score": {"filter": {"prefix": {f"{s}line": {"value": fence.mark + text}}}, "boost": 2}} for s in fence.sides
        ]
        query = {
            "bool": {
                "filter": [begun, {"term": {"archived": False}}],
                "should": [
                    {"dis_max": {"queries": best[: -len(fence.sides)]}},
                    {"dis_max": {"queries": best[-len(fence.sides) :]}},
                ],
            }
        }
        try:
            found = await fence.entries(
                query,
                size=limit,
                sort=[{"_score": "desc"}, {"length": "asc"}, {"shown": "asc"}, {"key": "asc"}],
                _source=["key", "entry.title"],
            )
        except (Unreachable, NotFilled) as e:
            raise await self._away(filling=isinstance(e, NotFilled)) from e
        return [
            Suggested(kind=kind, id=UUID(id), title=h["_source"]["entry"]["title"])
            for h in found["hits"]["hits"]
            for kind, _, id in (h["_source"]["key"].partition(":"),)
        ]


def _worth(filter: Query, boost: float) -> Query:
    return {"constant_score": {"filter": filter, "boost": round(boost, 6)}}


def _together(first: list[Found], then: list[Found]) -> list[Found]:
    known = {(f.kind, f.id) for f in first}
    every = first + [f for f in then if (f.kind, f.id) not in known]
    return sorted(every, key=lambda f: (-f.score, f.kind, str(f.id)))


Beside = Mapping[str, tuple[str, ...]]


class _Look:
    """One search under way."""

    def __init__(self, fence: Fence, firm: UUID, sought: Sought) -> None:
        self._fence = fence
        self._firm = firm
        self._sought = sought
        self._filters: list[Query] = []
        self._not: list[Query] = []
        if not sought.archived:
            self._filters.append({"term": {"archived": False}})
        if sought.condition is not None:
            self._filters.append(Facts(fence).query(sought.condition))
        self._not += [self._clause(c, {}) for c in sought.without]

    async def results(self) -> Results:
        sought = self._sought
        if not sought.clauses:
            found = await self._latest()
            return Results(found=found, exact=len(found) < sought.most)
        found = await self._run(1.0, {})
        exact = len(found) < sought.most
        beside: dict[str, tuple[str, ...]] = {}
        if len(found) < FEW and (sought.near or not found):
            beside = await self._near(only_unknown=bool(found))
            if beside:
                found = _together(found, await self._run(0.5, beside))
        loose = False
        if not found and len(sought.clauses) > 1:
            found = await self._loosely(beside)
            loose = bool(found)
        return Results(found=found[: sought.most], exact=exact and len(found) < sought.most, beside=beside, loose=loose)

    # --- passes

    async def _latest(self) -> list[Found]:
        """What passes the filter, the latest changed first."""
        answer = await self._fence.entries(
            {"bool": {"filter": self._filters, "must_not": self._not}},
            size=self._sought.most, sort=[{"changed": "desc"}, {"key": "asc"}],
            _source=False, stored_fields="_none_", docvalue_fields=["key"],
        )  # fmt: skip
        return [_found(h, h["sort"][0] / 1_000_000) for h in answer["hits"]["hits"]]

    async def _run(self, scale: float, beside: Beside) -> list[Found]:
        """What holds every clause."""
        clauses = self._sought.clauses
        held = [self._clause(c, beside) for c in clauses]
        scored = [s for c in clauses for s in self._scored(c, beside, scale / len(clauses))]
        return [_found(h, h["sort"][0]) for h in await self._ranked(held, [*scored, *self._of_title(beside, scale)], scale)]

    async def _ranked(self, held: list[Query], scored: list[Query], scale: float, least: int = 0) -> list[Any]:
        query: Query = {
            "bool": {"filter": [*self._filters, *held], "must_not": self._not, "should": scored, "minimum_should_match": least}
        }
        answer = await self._fence.entries(
            {
                "function_score": {
                    "query": query,
                    "functions": [{"field_value_factor": {"field": "brief", "factor": scale, "missing": 0}}],
                    "boost_mode": "sum",
                }
            },
            size=self._sought.most, sort=[{"_score": "desc"}, {"key": "asc"}],
            _source=False, stored_fields="_none_", docvalue_fields=["key"],
        )  # fmt: skip
        hits: list[Any] = answer["hits"]["hits"]
        return hits

    async def _near(self, *, only_unknown: bool) -> dict[str, tuple[str, ...]]:
        """Words of this firm a slip or two away from the words asked for; for those alone that nothing holds as they are, if so wished."""
        words: dict[str, OneWord] = {}
        for word in itertools.islice(_typed(self._sought.clauses), 8):
            if analysis.edits(word.forms[0]):
                words.setdefault(word.forms[0], word)
        if only_unknown and words:
            known = await self._held({f for w in words.values() for f in w.forms})
            words = {form: w for form, w in words.items() if not known.intersection(w.forms)}
        if not words:
            return {}
        candidates = await self._fence.words([self._near_query(w) for w in words.values()], size=NEAR_WORDS)
        nearest = {
            form: analysis.nearest(form, found, open_end=word.open, limit=NEAR_CHECKED)
            for (form, word), found in zip(words.items(), candidates, strict=True)
        }
        held = await self._held({n for near in nearest.values() for n in near})
        kept = {form: tuple(n for n in near if n in held)[:NEAR_KEPT] for form, near in nearest.items()}
        return {form: near for form, near in kept.items() if near}

    def _near_query(self, word: OneWord) -> Query:
        form = word.forms[0]
        most = analysis.edits(form)
        longest = analysis.MAX_WORD if word.open else len(form) + most
        keys = [self._fence.mark + k for k in analysis.typo_keys(form)]
        return {"bool": {"filter": [{"terms": {"keys": keys}}, {"range": {"length": {"gte": len(form) - most, "lte": longest}}}]}}

    async def _held(self, words: set[str]) -> set[str]:
        """Those of these words that something the reader may see holds."""
        if not words:
            return set()
        filters = {w: any_of([holding(self._firm, w, open_=side == OPEN) for side in self._fence.sides]) for w in sorted(words)}
        answer = await self._fence.entries(EVERYBODY, size=0, aggs={"held": {"filters": {"filters": filters}}})
        buckets = answer["aggregations"]["held"]["buckets"]
        return {w for w in words if buckets[w]["doc_count"]}

    async def _loosely(self, beside: Beside) -> list[Found]:
        """What holds all words but one, or but two …: those that hold most come first."""
        clauses = [_begun(c) for c in self._sought.clauses[:LOOSE_WORDS]]
        parts = [_worth(self._clause(c, beside), PART) for c in clauses]
        scored = [s for c in clauses for s in self._scored(c, beside, 1 / len(clauses))]
        held = [any_of([self._clause(c, beside) for c in clauses])]
        hits = await self._ranked(held, [*parts, *scored], 1.0)
        counts = [int(h["sort"][0] // PART) for h in hits]
        most = max(counts, default=0)
        return [
            _found(h, (h["sort"][0] - PART * count + count) * 0.2) for h, count in zip(hits, counts, strict=True) if count == most
        ]

    # --- clauses as queries

    def _clause(self, clause: Clause, beside: Beside) -> Query:
        """Entries that hold it."""
        match clause:
            case OneWord():
                return any_of([q for weight in WEIGHTS for q in self._word(clause, beside, weight)] + self._joined(clause))
            case Phrase():
                return any_of([self._phrase(side, clause.words) for side in self._fence.sides])
            case Number():
                beginnings = analysis.number_beginnings(clause.digits)
                digits: list[Query] = [
                    {"prefix": {f"{s}numbers": {"value": self._fence.mark + n}}} for n in beginnings for s in self._fence.sides
                ]
                if clause.words:
                    digits.append({"bool": {"filter": [self._clause(w, {}) for w in clause.words]}})
                return any_of(digits)
            case _:
                assert_never(clause)

    def _tagged(self, words: Sequence[str]) -> list[str]:
        return [self._fence.mark + w for w in dict.fromkeys(words)]

    def _word(self, word: OneWord, beside: Beside, field: str) -> list[Query]:
        whole = self._tagged([*word.forms, *(n for f in word.forms for n in beside.get(f, ()))])
        found: list[Query] = [{"terms": {s + field: whole}} for s in self._fence.sides]
        if word.open:
            found += [{"prefix": {s + field: {"value": f}}} for s in self._fence.sides for f in self._tagged(word.forms)]
        return found

    def _joined(self, word: OneWord) -> list[Query]:
        long = [f for f in word.forms if len(f) > 3]
        return [{"terms": {f"{s}joined": self._tagged(long)}} for s in self._fence.sides] if long else []

    def _phrase(self, side: str, words: Sequence[OneWord]) -> Query:
        """Words one after the other, each in any of its spellings."""
        places = [f"{side}place{n}" for n in range(SPELLINGS)]

        def one(word: OneWord) -> Query:
            ways: list[Query] = []
            for form in self._tagged(word.forms):
                ways.append({"match": {"query": form, "analyzer": "whitespace"}})
                ways += [{"match": {"query": form, "analyzer": "whitespace", "use_field": p}} for p in places[1:]]
            return {"any_of": {"intervals": ways}}

        if len(words) == 1:
            return {"intervals": {places[0]: one(words[0])}}
        return {"intervals": {places[0]: {"all_of": {"ordered": True, "max_gaps": 0, "intervals": [one(w) for w in words]}}}}

    def _scored(self, clause: Clause, beside: Beside, share: float) -> list[Query]:
        """How well an entry answers a clause: where it stands, whole or begun, and whether often."""
        match clause:
            case OneWord():
                whole = OneWord(clause.forms)
                ways = [_worth(any_of(self._word(whole, beside, f)), b * share) for f, b in WEIGHTS.items()]
                joined = self._joined(clause)
                if joined:
                    ways.append(_worth(any_of(joined), WEIGHTS["b"] * share))
                if clause.open:
                    for f, b in WEIGHTS.items():
                        begun = [q for q in self._word(clause, {}, f) if "prefix" in q]
                        ways.append(_worth(any_of(begun), b * share * BEGUN))
                return [{"dis_max": {"queries": ways}}, _worth(any_of(self._word(whole, beside, "often")), OFTEN * share)]
            case Phrase():
                return [_worth(self._clause(clause, {}), 0.6 * share)]
            case Number():
                return [_worth(self._clause(clause, {}), 0.6 * share)]
            case _:
                assert_never(clause)

    def _of_title(self, beside: Beside, scale: float) -> list[Query]:
        """Whether the title is what was typed, begins so, holds all the words."""
        found: list[Query] = []
        key = self._sought.key
        if key:
            line = [f"{s}line" for s in self._fence.sides]
            exact, begins = self._fence.mark + key, self._fence.mark + key
            ways = [_worth(any_of([{"term": {f: exact}} for f in line]), 3 * scale)]
            ways.append(_worth(any_of([{"prefix": {f: {"value": begins + " "}}} for f in line]), 1.5 * scale))
            ways.append(_worth(any_of([{"prefix": {f: {"value": begins}}} for f in line]), 0.4 * scale))
            found.append({"dis_max": {"queries": ways}})
        words = list(_typed(self._sought.clauses))
        if words and len(words) == len(self._sought.clauses):
            begun = [any_of(self._word(w, beside, "heading")) for w in words]
            whole = [any_of(self._word(OneWord(w.forms), beside, "heading")) for w in words]
            found.append(_worth({"bool": {"filter": begun}}, 0.6 * scale))
            found.append(_worth({"bool": {"filter": whole}}, 0.6 * scale))
        return found


def _begun(clause: Clause) -> Clause:
    return OneWord(clause.forms, open=len(clause.forms[0]) > 2) if isinstance(clause, OneWord) else clause


def _typed(clauses: Sequence[Clause]) -> Iterator[OneWord]:
    for clause in clauses:
        if isinstance(clause, OneWord):
            yield clause


def _found(hit: Mapping[str, Any], score: float) -> Found:
    kind, _, id = hit["fields"]["key"][0].partition(":")
    return Found(kind=kind, id=UUID(id), score=float(score))


def _shown(source: Mapping[str, Any], *, personal: bool) -> FoundEntry:
    e = source["entry"]
    kind, _, id = source["key"].partition(":")
    made = {int(p): _made(p, m) for p, m in e["made"].items()}
    body = e.get("body") if personal else None
    texts = [
        FoundText(name=name, text=body or "" if text is None else text, made=made[position])
        for name, text, open_, position in e["texts"]
        if (personal or open_) and (text is not None or body)
    ]
    return FoundEntry(
        kind=kind,
        id=UUID(id),
        version=e["version"],
        title=e["title"] if personal or e["title_open"] else None,
        archived=e["archived"],
        texts=texts,
        facts=e["facts"] if personal else e["open_facts"],
        made=made[e["position"]],
        unread=e["unread"] if personal else None,
    )


def _made(position: str, made: Sequence[str]) -> Made:
    id, type, occurred, recorded = made
    return Made(
        position=int(position),
        event_id=UUID(id),
        type=type,
        occurred_at=datetime.fromisoformat(occurred),
        recorded_at=datetime.fromisoformat(recorded),
    )
