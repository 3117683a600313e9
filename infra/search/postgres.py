"""Search in PostgreSQL: satisfies `queries.search.port.SearchEngine` over the tables of the index.

First what holds every word as typed; when that is little, what holds words near the typed ones; when that is nothing, what holds most of them.
The firm, the kinds and whether personal words count stand in every statement.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, assert_never
from uuid import UUID

from infra.reading import PgReader
from infra.search.lexemes import JOINED, NUMBER, TITLE, WORD
from infra.search.pgstore import tag, typo_keys
from projections.search import Made
from queries import analysis
from queries.kernel import Reader
from queries.search.port import (
    FEW,
    LOOSE_WORDS,
    NEAR_WORDS,
    AllOf,
    AnyOf,
    Clause,
    Condition,
    Found,
    FoundEntry,
    FoundText,
    NotSo,
    Number,
    OneWord,
    Phrase,
    Results,
    Sought,
    Suggested,
    Test,
)

CANDIDATES = 600  # ranked at most; more than that is a search for next to nothing
SHORT = 3  # letters: so many words begin with them that looking them up is slow
PAGEFUL, SOON = 100, 5
RARE = 1_000  # entries: so few are sooner asked for such a beginning one by one
MATCHES = 20_000  # looked through where a filter chooses among them

BUILD = "SELECT live FROM chancery.search_builds"
NEAR = "SELECT word FROM chancery.search_near(%(build)s::int, %(keys)s::int[], %(shortest)s::int, %(longest)s::int, %(personal)s, %(limit)s::int)"
HELD = (
    "SELECT word, CASE WHEN %(personal)s THEN entries ELSE open END AS held FROM chancery.search_words"
    " WHERE firm_id = %(firm)s AND build = %(build)s AND word = ANY(%(words)s)"
)
KNOWN = (
    "SELECT word FROM chancery.search_words WHERE firm_id = %(firm)s AND build = %(build)s AND word = ANY(%(words)s)"
    " AND (%(personal)s OR open > 0)"
)
SHOW = (
    "SELECT e.kind, e.id, e.version, CASE WHEN %(personal)s OR e.title_open THEN e.title END AS title, e.archived, e.texts, e.made, e.position,"
    " CASE WHEN %(personal)s THEN e.facts ELSE e.open_facts END AS facts, CASE WHEN %(personal)s THEN e.body END AS body,"
    " CASE WHEN %(personal)s THEN e.unread END AS unread"
    " FROM unnest(%(kinds)s::text[], %(ids)s::uuid[]) k(n, i) JOIN chancery.search_entries e"
    " ON e.firm_id = %(firm)s AND e.build = (SELECT live FROM chancery.search_builds) AND e.kind = k.n AND e.id = k.i"
)
SUGGEST = (
    "SELECT e.kind, e.id, e.title, e.title_key, h.head FROM unnest(%(kinds)s::text[]) k"
    " CROSS JOIN unnest(%(open)s::boolean[]) o CROSS JOIN LATERAL (SELECT id, head FROM chancery.search_heads"
    " WHERE firm_id = %(firm)s AND build = %(build)s AND open = o AND kind = k AND head >= %(text)s AND head < %(beyond)s"
    " ORDER BY head, id LIMIT %(limit)s) h"
    " JOIN chancery.search_entries e ON e.firm_id = %(firm)s AND e.build = %(build)s AND e.kind = k AND e.id = h.id"
)

# How well an entry answers: where the words stand and how often, then whether the title is, or begins with, what was typed.
_SCORE = """(ts_rank('{0.05,0.25,0.6,1.0}', e.%(words)s, %%(query)s::tsquery)
  + CASE WHEN NOT (%%(personal)s OR e.title_open) OR %%(key)s = '' THEN 0
         WHEN e.title_key = %%(key)s THEN 3
         WHEN starts_with(e.title_key, %%(key)s || ' ') THEN 1.5
         WHEN starts_with(e.title_key, %%(key)s) THEN 0.4
         ELSE 0 END
  + CASE WHEN %%(title)s::tsquery IS NOT NULL AND e.%(words)s @@ %%(title)s::tsquery THEN 0.6 ELSE 0 END
  + CASE WHEN %%(whole)s::tsquery IS NOT NULL AND e.%(words)s @@ %%(whole)s::tsquery THEN 0.6 ELSE 0 END
  - least(length(e.title_key), 200) * 0.0004 %(more)s)::float8 * %%(scale)s"""
_BEST_FIRST = " ORDER BY score DESC, kind, id LIMIT %(most)s"


class PostgresSearch:
    """For one reader: every read goes through it, inside the firm's fence."""

    def __init__(self, r: PgReader) -> None:
        self._r = r
        self.past = bool(r.moment)

    async def search(self, sought: Sought) -> Results:
        r = self._r
        if not sought.kinds:
            return Results(found=(), exact=True)
        look = _Look(r, sought, await _build(r))
        if not sought.clauses:
            found = await look.latest()
            return Results(found=found, exact=len(found) < sought.most)
        found, exact = await look.strictly()
        beside: dict[str, tuple[str, ...]] = {}
        if len(found) < FEW and (sought.near or not found):
            beside = await look.near(only_unknown=bool(found))
            if beside:
                found = _together(found, await look.nearly(beside))
        loose = False
        if not found and len(sought.clauses) > 1:
            found = await look.loosely(beside)
            loose = bool(found)
        return Results(found=found[: sought.most], exact=exact and len(found) < sought.most, beside=beside, loose=loose)

    async def show(self, hits: Sequence[Found], *, personal: bool) -> Sequence[FoundEntry | None]:
        if not hits:
            return []
        rows = await self._r.all(SHOW, kinds=[h.kind for h in hits], ids=[h.id for h in hits], personal=personal)
        entries = {(row["kind"], row["id"]): _shown(row, personal=personal) for row in rows}
        return [entries.get((h.kind, h.id)) for h in hits]

    async def suggest(self, text: str, kinds: Sequence[str], *, personal: bool, limit: int) -> Sequence[Suggested]:
        rows = await self._r.all(
            SUGGEST,
            build=await _build(self._r),
            kinds=list(kinds),
            open=[True, False] if personal else [True],
            text=text,
            beyond=text + "\U0010ffff",
            limit=limit * 2,
        )
        best: dict[tuple[str, UUID], tuple[tuple[bool, bool, int, str, str], Suggested]] = {}
        for row in rows:
            key = (row["kind"], row["id"])
            order = (
                row["head"] != text,
                not row["title_key"].startswith(text),
                len(row["title"]),
                row["title_key"],
                str(row["id"]),
            )
            if key not in best or order < best[key][0]:
                best[key] = (order, Suggested(kind=row["kind"], id=row["id"], title=row["title"]))
        return [s for _, s in sorted(best.values(), key=lambda b: b[0])[:limit]]


async def _build(r: Reader) -> int:
    row = await r.one(BUILD)
    return int(row["live"]) if row else 1


def _together(first: list[Found], then: list[Found]) -> list[Found]:
    known = {(f.kind, f.id) for f in first}
    every = first + [f for f in then if (f.kind, f.id) not in known]
    return sorted(every, key=lambda f: (-f.score, f.kind, str(f.id)))


class _Look:
    """One search under way."""

    def __init__(self, r: Reader, sought: Sought, build: int) -> None:
        self._r = r
        self._sought = sought
        self._build = build
        self._tag = tag(r.firm, build)
        self._params: dict[str, object] = {
            "build": build,
            "kinds": list(sought.kinds),
            "personal": sought.personal,
            "key": sought.key,
            "most": sought.most,
        }
        where = ["e.firm_id = %(firm)s AND e.build = %(build)s AND e.kind = ANY(%(kinds)s)"]
        if not sought.archived:
            where.append("NOT e.archived")
        if sought.condition is not None:
            facts = "e.facts" if sought.personal else "e.open_facts"
            where.append(_Facts(facts, self._params).sql(sought.condition))
        self._candidates = min(CANDIDATES, sought.most * 2)
        self._words = "words" if sought.personal else "open_words"
        if sought.without:
            self._params["without"] = " | ".join(f"({self._query(c)})" for c in sought.without)
            where.append(f"NOT e.{self._words} @@ %(without)s::tsquery")
        self._where = " AND ".join(where)
        self._filtered = sought.condition is not None or bool(sought.without)

    # --- passes

    async def latest(self) -> list[Found]:
        """What passes the filter, the latest changed first."""
        sql = f"SELECT e.kind, e.id, extract(epoch FROM e.changed_at)::float8 AS score FROM chancery.search_entries e WHERE {self._where}"
        return _found(await self._r.all(sql + _BEST_FIRST, **self._params))

    async def strictly(self) -> tuple[list[Found], bool]:
        """What holds every word. Of very many only some are ranked; those that hold the words in the title are among them."""
        title = self._title({})
        held = await self._held({})
        common = title is not None and len(self._sought.clauses) == 1 and held is not None and held > self._candidates
        if common:  # then those with the word in the title may be all that are asked for
            best, whole = await self._run(self._all({}), title, 1.0, inside=title)
            if not whole:
                return best, False
        found, exact = await self._run(self._all({}), title, 1.0, by=self._by(held, {}))
        if not exact and title is not None:
            if not common:
                best, _ = await self._run(self._all({}), title, 1.0, inside=title, by=self._by(held, {}, TITLE))
            found = _together(best, found)
        return found, exact

    def _closed(self) -> list[OneWord]:
        """The words that are complete, where another of the search has only begun, with few letters."""
        words = [c for c in self._sought.clauses if isinstance(c, OneWord)]
        short = any(w.open and min(map(len, w.forms)) <= SHORT for w in words)
        return [w for w in words if not w.open] if short else []

    def _by(self, held: int | None, beside: Mapping[str, tuple[str, ...]], sign: str = WORD) -> str | None:
        """What to look entries up by, where not by everything: the complete words, if few entries hold them."""
        few = RARE if self._candidates > PAGEFUL else SOON * RARE  # who wants few has them soon
        if held is None or held > few:
            return None
        return " & ".join(f"({self._word(w, beside, sign)})" for w in self._closed()) or None

    async def _held(self, beside: Mapping[str, tuple[str, ...]]) -> int | None:
        """About how many entries hold the rarest of the complete words, or the only word; None when that is not counted or of no use."""
        clauses = self._sought.clauses
        words = self._closed() or ([clauses[0]] if len(clauses) == 1 and isinstance(clauses[0], OneWord) else [])
        forms = [tuple(dict.fromkeys((*w.forms, *(n for f in w.forms for n in beside.get(f, ()))))) for w in words]
        asked = [any_of for any_of in forms if all(analysis.edits(f) for f in any_of)]
        if not asked:
            return None
        every = [f for any_of in asked for f in any_of]
        rows = await self._r.all(HELD, build=self._build, words=every, personal=self._sought.personal)
        counts = {str(row["word"]): int(row["held"]) for row in rows}
        return min(sum(counts.get(f, 0) for f in any_of) for any_of in asked)

    async def near(self, *, only_unknown: bool) -> dict[str, tuple[str, ...]]:
        """Words of this firm a slip or two away from the words asked for; for those alone that nothing holds as they are, if so wished."""
        found: dict[str, tuple[str, ...]] = {}
        words = list(itertools.islice(_typed(self._sought.clauses), 8))
        every = [f for w in words for f in w.forms]
        personal = self._sought.personal
        rows = await self._r.all(KNOWN, build=self._build, words=every, personal=personal) if only_unknown else []
        known = {str(row["word"]) for row in rows}
        for word in words:
            form = word.forms[0]
            most = analysis.edits(form)
            if not most or form in found or known.intersection(word.forms):
                continue
            rows = await self._r.all(
                NEAR,
                build=self._build,
                keys=typo_keys(self._r.firm, self._build, form),
                shortest=len(form) - most,
                longest=64 if word.open else len(form) + most,
                personal=personal,
                limit=NEAR_WORDS,
            )
            near = analysis.nearest(form, [str(row["word"]) for row in rows], open_end=word.open)
            if near:
                found[form] = near
        return found

    async def nearly(self, beside: Mapping[str, tuple[str, ...]]) -> list[Found]:
        by = self._by(await self._held(beside), beside) if self._closed() else None
        found, _ = await self._run(self._all(beside), self._title(beside), 0.5, by=by)
        return found

    async def loosely(self, beside: Mapping[str, tuple[str, ...]]) -> list[Found]:
        """What holds all words but one, or but two …: those that hold most come first."""
        clauses = self._sought.clauses[:LOOSE_WORDS]
        queries = [f"({self._query(_begun(c), beside)})" for c in clauses]
        more = "".join(f" + (e.{self._words} @@ %(part{i})s::tsquery)::int" for i in range(len(queries)))
        self._params.update({f"part{i}": q for i, q in enumerate(queries)})
        for left_out in range(1, len(queries)):
            ways = itertools.combinations(queries, len(queries) - left_out)
            found, _ = await self._run(" | ".join("(" + " & ".join(way) + ")" for way in ways), None, 0.2, more=more)
            if found:
                return found
        return []

    async def _run(
        self, query: str, title: str | None, scale: float, *, inside: str | None = None, by: str | None = None, more: str = ""
    ) -> tuple[list[Found], bool]:
        score = _SCORE % {"words": self._words, "more": more}
        sql = (
            "SELECT kind, id, score, count(*) OVER () AS held FROM ("
            f"SELECT e.kind, e.id, {score} AS score"
            " FROM chancery.search_matches(%(build)s::int, %(kinds)s::text[], %(inside)s::tsquery, %(by)s::tsquery, %(personal)s, %(looked)s::int) m"
            f" JOIN chancery.search_entries e ON e.kind = m.kind AND e.id = m.id AND {self._where} LIMIT %(candidates)s) held"
        )
        limit = self._candidates
        rows = await self._r.all(
            sql + _BEST_FIRST,
            **self._params,
            query=query,
            title=title,
            whole=self._title({}, begun=False),
            inside=inside or query,
            by=by,
            scale=scale,
            candidates=limit,
            looked=MATCHES if self._filtered else limit,
        )
        return _found(rows), not rows or rows[0]["held"] < limit

    # --- queries

    def _all(self, beside: Mapping[str, tuple[str, ...]]) -> str:
        return " & ".join(f"({self._query(c, beside)})" for c in self._sought.clauses)

    def _title(self, beside: Mapping[str, tuple[str, ...]], *, begun: bool = True) -> str | None:
        words = list(_typed(self._sought.clauses))
        if not words or any(not isinstance(c, OneWord) for c in self._sought.clauses):
            return None
        return " & ".join(f"({self._word(w if begun else OneWord(w.forms), beside, TITLE)})" for w in words)

    def _query(self, clause: Clause, beside: Mapping[str, tuple[str, ...]] | None = None) -> str:
        match clause:
            case OneWord():
                return self._word(clause, beside or {})
            case Phrase():
                return " <-> ".join(f"({self._word(w, {})})" for w in clause.words)
            case Number():
                number = " | ".join(f"'{self._tag}{NUMBER}{n}':*" for n in analysis.number_beginnings(clause.digits))
                words = " & ".join(f"({self._word(w, {})})" for w in clause.words)
                return f"{number} | ({words})" if words else number
            case _:
                assert_never(clause)

    def _word(self, word: OneWord, beside: Mapping[str, tuple[str, ...]], sign: str = WORD) -> str:
        near = [n for f in word.forms for n in beside.get(f, ())]
        found = [f"'{self._tag}{sign}{f}'" for f in dict.fromkeys((*word.forms, *near))]
        if sign == WORD:
            found += [f"'{self._tag}{JOINED}{f}'" for f in word.forms if len(f) > 3]
        if word.open:
            found += [f"'{self._tag}{sign}{f}':*" for f in word.forms]
        return " | ".join(found)


def _begun(clause: Clause) -> Clause:
    return OneWord(clause.forms, open=len(clause.forms[0]) > 2) if isinstance(clause, OneWord) else clause


def _typed(clauses: Sequence[Clause]) -> Iterator[OneWord]:
    for clause in clauses:
        if isinstance(clause, OneWord):
            yield clause


def _found(rows: Sequence[Mapping[str, Any]]) -> list[Found]:
    return [Found(kind=row["kind"], id=row["id"], score=float(row["score"])) for row in rows]


def _made(position: str, made: Sequence[str]) -> Made:
    id, type, occurred, recorded = made
    return Made(
        position=int(position),
        event_id=UUID(id),
        type=type,
        occurred_at=datetime.fromisoformat(occurred),
        recorded_at=datetime.fromisoformat(recorded),
    )


def _shown(row: Mapping[str, Any], *, personal: bool) -> FoundEntry:
    made = {int(p): _made(p, m) for p, m in row["made"].items()}
    texts = [
        FoundText(name=name, text=row["body"] if text is None else text, made=made[position])
        for name, text, open_, position in row["texts"]
        if (personal or open_) and (text is not None or row["body"])
    ]
    return FoundEntry(
        kind=row["kind"],
        id=row["id"],
        version=row["version"],
        title=row["title"],
        archived=row["archived"],
        texts=texts,
        facts=row["facts"],
        made=made[row["position"]],
        unread=row["unread"],
    )


class _Facts:
    """Conditions over the facts of an entry, which stand in lists by name."""

    def __init__(self, column: str, params: dict[str, object]) -> None:
        self._column = column
        self._params = params
        self._names = (f"fact{i}" for i in itertools.count())

    def sql(self, c: Condition) -> str:
        match c:
            case AllOf():
                return "(" + (" AND ".join(self.sql(p) for p in c.parts) or "true") + ")"
            case AnyOf():
                return "(" + (" OR ".join(self.sql(p) for p in c.parts) or "false") + ")"
            case NotSo():
                return f"NOT coalesce({self.sql(c.part)}, false)"
            case Test():
                return self._test(c)
            case _:
                assert_never(c)

    def _param(self, value: object) -> str:
        name = next(self._names)
        self._params[name] = value
        return f"%({name})s"

    def _test(self, t: Test) -> str:
        if t.fact == "kind":
            return f"e.kind = {self._param(t.value)}" if t.op == "=" else "true"
        if t.fact == "id":
            return f"e.id = {self._param(t.value)}::uuid" if t.op == "=" else "true"
        if t.fact == "title":
            shown = "(%(personal)s OR e.title_open)"
            return f"({shown} AND {self._compared('e.title', t)})" if t.op != "present" else f"({shown} AND e.title <> '')"
        if t.op == "present":
            return f"{self._column} ? {self._param(t.fact)}"
        if t.op == "=" and t.type in {"text", "id"}:
            return f"{self._column} -> {self._param(t.fact)} ? {self._param(t.value)}"
        every = f"jsonb_array_elements_text({self._column} -> {self._param(t.fact)}) v"
        return f"EXISTS (SELECT FROM {every} WHERE {self._compared('v', t)})"

    def _compared(self, value: str, t: Test) -> str:
        p = self._param(t.value)
        match t.op:
            case "contains":
                return f"strpos(lower({value}), {p}) > 0"
            case "begins":
                return f"starts_with({value}, {p})"
            case "ends":
                return f"right({value}, length({p})) = {p}"
            case "present":
                return "true"
            case _:
                cast = {"number": "numeric", "time": "timestamptz", "day": "date", "flag": "boolean"}.get(t.type, "text")
                return f"{value}::{cast} {t.op} {p}::{cast}"
