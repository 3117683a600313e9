"""Conditions over facts as queries of Elasticsearch."""

from collections.abc import Iterator, Sequence
from typing import assert_never

from infra.search.elastic.documents import comparable
from infra.search.elastic.fence import Fence, Query
from infra.search.elastic.mappings import LONGEST_FACT, OPEN
from projections.search.kinds import KINDS
from queries.search.port import AllOf, AnyOf, Condition, NotSo, Test

NOBODY: Query = {"match_none": {}}
EVERYBODY: Query = {"match_all": {}}


def any_of(queries: Iterator[Query] | Sequence[Query]) -> Query:
    every = list(queries)
    return every[0] if len(every) == 1 else {"bool": {"should": every, "minimum_should_match": 1}}


def _literally(text: str) -> str:
    return text.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?")


class Facts:
    """Comparisons of facts in the query language of Elasticsearch."""

    def __init__(self, fence: Fence) -> None:
        self._mark = fence.mark
        self._side = "" if fence.personal else OPEN
        self._sides = fence.sides

    def query(self, c: Condition) -> Query:
        match c:
            case AllOf():
                return {"bool": {"filter": [self.query(p) for p in c.parts]}} if c.parts else EVERYBODY
            case AnyOf():
                return any_of([self.query(p) for p in c.parts]) if c.parts else NOBODY
            case NotSo():
                return {"bool": {"must_not": [self.query(c.part)]}}
            case Test():
                return self._test(c)
            case _:
                assert_never(c)

    def _test(self, t: Test) -> Query:
        if t.fact == "kind":
            return {"term": {"kind": t.value}} if t.op == "=" else EVERYBODY
        if t.fact == "id":
            return {"terms": {"key": [f"{k}:{t.value}" for k in KINDS]}} if t.op == "=" else EVERYBODY
        if t.fact == "title":
            if t.op == "present":
                return any_of([{"wildcard": {f"{s}title": {"value": f"{_literally(self._mark)}?*"}}} for s in self._sides])
            return any_of([self._compared(f"{s}title", f"{s}title", t) for s in self._sides])
        if t.op == "present":
            return {"exists": {"field": f"{self._side}facts.{t.fact}"}}
        return self._compared(f"{self._side}facts.{t.fact}", f"{self._side}low.{t.fact}", t)

    def _compared(self, field: str, low: str, t: Test) -> Query:
        value = t.value[:LONGEST_FACT]
        match t.op:
            case "contains":
                how: Query = {"value": f"{_literally(self._mark)}*{_literally(value)}*"}
                if field == low:
                    how["case_insensitive"] = True
                return {"wildcard": {low: how}}
            case "begins":
                return {"prefix": {field: {"value": self._mark + value}}}
            case "ends":
                return {"wildcard": {field: {"value": f"{_literally(self._mark)}*{_literally(value)}"}}}
            case "=":
                return {"term": {field: self._mark + comparable(t.type, value)}}
            case "present":
                return {"exists": {"field": field}}
            case "<" | "<=":
                bound = {"lt" if t.op == "<" else "lte": self._mark + comparable(t.type, value), "gte": self._mark}
                return {"range": {field: bound}}
            case ">" | ">=":
                bound = {"gt" if t.op == ">" else "gte": self._mark + comparable(t.type, value), "lt": self._mark + "\U0010ffff"}
                return {"range": {field: bound}}
            case _:
                assert_never(t.op)
