"""Running an analyst's Cypher on Neo4j: explained and judged first, then in a read transaction with bounds on time, rows and bytes."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import orjson
from neo4j import READ_ACCESS, Query
from neo4j.exceptions import Neo4jError
from neo4j.graph import Node, Path, Relationship
from neo4j.time import Date, DateTime, Duration, Time

from infra.graph.neo4j.client import TIMED_OUT, TOO_LARGE, UNREACHED, Client, Neo4jAway
from infra.graph.neo4j.statements import LABELS
from queries.graph.cypher import (
    AskCypher,
    CypherFailed,
    CypherRefused,
    CypherTookTooLong,
    CypherTooLarge,
    CypherUnavailable,
    checked,
    plan_checked,
)

SECONDS = 10.0
EXPLAIN_SECONDS = 3.0
MOST_BYTES = 8_000_000
AT_ONCE = 2  # in one process
_KINDS = {label: kind for kind, label in LABELS.items()}
_OURS = "Chancery"


@dataclass(frozen=True, slots=True)
class Answered:
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    truncated: bool


class CypherBusy(Exception):
    """As many queries run now as may at once. Try again shortly."""


class Cypher:
    """For one process."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._room = asyncio.Semaphore(AT_ONCE)

    async def run(self, asked: AskCypher, *, firms: int, by: str) -> Answered:
        """The rows, or a refusal that says why there are none. Neo4jAway when Neo4j does not answer; CypherBusy when others are at it.

        `firms` is how many firms the database holds: Cypher knows no fence between them, so there must be one alone.
        """
        if firms != 1:
            raise CypherUnavailable(
                "This database holds the graphs of several firms, and Cypher knows no fence between them. Ask the other questions of the"
                " graph, which do; or keep a firm that needs Cypher in a database of its own.",
            )
        text = checked(asked.query)
        if self._room.locked():
            raise CypherBusy
        async with self._room:
            try:
                return await self._client.unless_away(self._run(text, asked, by))
            except UNREACHED as e:
                if isinstance(e, TimeoutError) and not self._client.away:
                    raise CypherTookTooLong(seconds=SECONDS) from None
                raise Neo4jAway from None
            except Neo4jError as e:
                raise _said(e) from None

    async def _run(self, text: str, asked: AskCypher, by: str) -> Answered:
        async with self._client.driver.session(default_access_mode=READ_ACCESS, fetch_size=500) as session:
            await self._settled(session)
            explained = await session.run(Query("EXPLAIN " + text, timeout=EXPLAIN_SECONDS), asked.parameters)
            summary = await explained.consume()
            plan_checked(summary.query_type, summary.plan)
            async with asyncio.timeout(SECONDS + 2):
                tx = await session.begin_transaction(timeout=SECONDS, metadata={"app": "chancery graph:cypher", "by": by})
                async with tx:
                    result = await tx.run(text, asked.parameters)
                    columns = list(result.keys())
                    rows: list[list[Any]] = []
                    size, truncated = 0, False
                    async for record in result:
                        if len(rows) == asked.max_rows:
                            truncated = True
                            break
                        row = [told(v) for v in record.values()]
                        size += len(orjson.dumps(row, default=str))
                        if size > MOST_BYTES:
                            truncated = True
                            break
                        rows.append(row)
            await self._settled(session)
            return Answered(columns, rows, truncated)

    async def _settled(self, session: Any) -> None:
        """While the graph is made anew there are two, and an open query would see both."""
        found = await (await session.run(Query("MATCH (b:ChanceryBuild) RETURN count(b)", timeout=EXPLAIN_SECONDS))).single()
        if found[0] != 1:
            raise CypherUnavailable(
                "The graph is being made anew, and Cypher would see the old and the new one together. The other questions of the graph go"
                " on; try again when it is done."
            )


def _said(e: Neo4jError) -> Exception:
    """What Neo4j says against a query, in a sentence. Its own text may quote the query, never values: those are parameters."""
    code = e.code or ""
    if TIMED_OUT.fullmatch(code):
        return CypherTookTooLong(seconds=SECONDS)
    if TOO_LARGE.fullmatch(code):
        return CypherTooLarge()
    if code.startswith("Neo.ClientError.Security") or code.endswith("DatabaseUnavailable"):
        return Neo4jAway()
    first = " ".join((e.message or "").split("\n", 1)[0].split())[:300]
    if code == "Neo.ClientError.Statement.SyntaxError":
        return CypherRefused(f"Neo4j does not understand the query: {first}", code=code)
    if code == "Neo.ClientError.Statement.ParameterMissing":
        return CypherRefused(f"A parameter of the query was not given: {first}", code=code)
    if code == "Neo.ClientError.Statement.AccessMode":
        return CypherRefused("The query does more than read, and Cypher here only reads.", code=code)
    if code.startswith("Neo.ClientError.Statement"):
        return CypherFailed(f"Neo4j could not carry the query out: {first}", code=code)
    return CypherFailed(code=code)


def told(value: Any) -> Any:
    """A value as JSON has it. A node or an edge that is not of the open graph ends the query."""
    match value:
        case Node():
            return _node(value)
        case Relationship():
            return _edge(value)
        case Path():
            return {"nodes": [_node(n) for n in value.nodes], "edges": [_edge(e) for e in value.relationships]}
        case Mapping():
            return {str(k): told(v) for k, v in value.items()}
        case list() | tuple():
            return [told(v) for v in value]
        case DateTime():
            return _time(value.to_native())
        case datetime():
            return _time(value)
        case Date() | Time():
            return value.iso_format()
        case date():
            return value.isoformat()
        case Duration():
            return value.iso_format()
        case str() if value.startswith(_OURS):
            return None  # a label that says how the graph is kept
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value.tzinfo else value.isoformat()


def _node(node: Node) -> dict[str, Any]:
    labels = sorted(label for label in node.labels if not label.startswith(_OURS))
    if (
        not labels
        or any(label not in _KINDS for label in labels)
        or not any(label.startswith("ChanceryOpen") for label in node.labels)
    ):
        raise CypherRefused("The query came upon what is not part of the open graph.")
    return {"kind": _KINDS[labels[0]], **{k: told(v) for k, v in node.items() if k != "firm"}}


def _edge(edge: Relationship) -> dict[str, Any]:
    if edge.type.upper().startswith(_OURS.upper()):
        raise CypherRefused("The query came upon what is not part of the open graph.")
    ends = {name: n.get("id") for name, n in (("source", edge.start_node), ("target", edge.end_node)) if n is not None}
    return {"kind": edge.type.lower(), **ends, **{k: told(v) for k, v in edge.items()}}


__all__ = ["Answered", "Cypher", "CypherBusy"]
