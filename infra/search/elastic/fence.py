"""The one way for a read to ask the index: whatever it asks, the firm, the kinds and what is personal stand beside it.

Nothing else of this package that answers a reader sees the connection. A query that is asked here is wrapped; it can't be unwrapped.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from infra.search.elastic.client import Refused, Unreachable
from infra.search.elastic.documents import mark
from infra.search.elastic.guard import Guard
from infra.search.elastic.mappings import OPEN, WEIGHTS, WORDS, Names

Query = dict[str, Any]
GONE = frozenset({404, 410})


class NotFilled(Exception):
    """The index has no build that serves yet."""


def sides(*, personal: bool) -> tuple[str, ...]:
    """Before the names of the fields that may be looked into."""
    return ("", OPEN) if personal else (OPEN,)


def holding(firm: UUID, word: str, *, open_: bool) -> Query:
    """Entries that hold a word where it is personal, or where it is open."""
    side, tagged = OPEN if open_ else "", mark(firm) + word
    fields = [f"{side}{w}" for w in WEIGHTS]
    return {
        "bool": {
            "filter": [{"term": {"gone": False}}],
            "should": [{"term": {f: tagged}} for f in fields],
            "minimum_should_match": 1,
        }
    }


class Fence:
    """What one reader may be answered from: its firm, these kinds, personal values or not."""

    def __init__(self, guard: Guard, names: Names, firm: UUID, kinds: Sequence[str], *, personal: bool, until: float) -> None:
        self._guard = guard
        self._names = names
        self._firm = firm
        self._kinds = tuple(kinds)
        self._until = until
        self.personal = personal
        self.sides = sides(personal=personal)
        self.mark = mark(firm)

    def _inside(self, query: Query) -> Query:
        """Entries of this firm and these kinds that answer the query: nothing else can be asked."""
        return {
            "bool": {
                "filter": [
                    {"term": {"firm": str(self._firm)}},
                    {"terms": {"kind": list(self._kinds)}},
                    {"term": {"gone": False}},
                ],
                "must": [query],
            }
        }

    def _of_words(self, query: Query) -> Query:
        allowed: list[Query] = [{"term": {"firm": str(self._firm)}}]
        if not self.personal:
            allowed.append({"term": {"open": True}})
        return {"bool": {"filter": [*allowed, query]}}

    async def entries(self, query: Query, **how: Any) -> dict[str, Any]:
        """A search among entries."""
        if not self._kinds:
            return {"hits": {"hits": []}}
        names = ",".join(self._names.read(k) for k in self._kinds)
        return await self._ask(f"/{names}/_search", {"track_total_hits": False, **how, "query": self._inside(query)})

    async def words(self, queries: Sequence[Query], *, size: int) -> list[list[str]]:
        """The words of this firm that answer each query."""
        lines: list[Mapping[str, Any]] = []
        for query in queries:
            lines += [
                {},
                {
                    "query": self._of_words(query), "size": size, "_source": False, "stored_fields": "_none_",
                    "docvalue_fields": ["word"], "track_total_hits": False,
                },
            ]  # fmt: skip
        path = f"/{self._names.read(WORDS)}/_msearch?filter_path=responses.hits.hits.fields,responses.status,responses.error.type"
        answers = (await self._ask(path, lines))["responses"]
        found = []
        for answer in answers:
            if "error" in answer:
                raise NotFilled if answer.get("status") in GONE else Unreachable(str(answer.get("status")))
            hits = answer.get("hits", {}).get("hits", ())
            found.append(list(dict.fromkeys(h["fields"]["word"][0] for h in hits)))
        return found

    async def _ask(self, path: str, body: Any) -> dict[str, Any]:
        """One question; once more when a build was taken away while it answered."""
        import orjson

        sent = [orjson.dumps(line) for line in body] if isinstance(body, list) else body
        for attempt in (0, 1):
            try:
                answer: dict[str, Any] = await self._guard.ask("POST", path, sent, until=self._until)
            except Refused as e:
                if e.status not in GONE:
                    raise
                if attempt:
                    raise NotFilled from None
                continue
            if answer.get("timed_out") or answer.get("_shards", {}).get("failed"):
                if attempt:
                    raise Unreachable("parts of the index do not answer")
                continue
            return answer
        raise Unreachable("the index does not answer")
