"""Analysts' queries in a process of their own: what a caller can make large is taken apart where memory is bounded and nobody waits.

`python -m infra.graph.neo4j.running` takes orders on standard input, one a line of JSON, and answers each with a line. It ends when its
input does, when its memory does, and when whoever started it ends it because a query takes too long.
"""

import resource
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import orjson
from neo4j import READ_ACCESS, Driver, Query, Session
from neo4j.exceptions import DriverError, Neo4jError
from neo4j.graph import Node, Path, Relationship
from neo4j.time import Date, DateTime, Duration, Time

from domain.kernel import Refused
from infra.graph.neo4j.client import TIMED_OUT, TOO_LARGE, Address, driver
from queries.graph.cypher import (
    CypherFailed,
    CypherRefused,
    CypherTookTooLong,
    CypherTooLarge,
    CypherUnavailable,
    plan_checked,
)
from queries.graph.port import PERMISSION_OF

EXPLAIN_SECONDS = 3.0
MOST_BYTES = 8_000_000
MOST_MEMORY = 1_500_000_000  # of addresses; a plain process has about a third of it
_KINDS = {kind.capitalize(): kind for kind in PERMISSION_OF}
_OURS = "Chancery"
KINDS = {k.__name__: k for k in (CypherFailed, CypherRefused, CypherTooLarge, CypherTookTooLong, CypherUnavailable)}


class Away(Exception):
    """Neo4j does not answer."""


class Filling(Exception):
    """Neo4j holds a part of the graph only, because it is being filled for the first time."""


def run(neo4j: Driver, text: str, parameters: Mapping[str, Any], *, rows: int, seconds: float, by: str) -> dict[str, Any]:
    """The columns and rows of a query whose plan does nothing but read the open graph. CypherRefused and its like when there are none."""
    try:
        with neo4j.session(default_access_mode=READ_ACCESS, fetch_size=200) as session:
            _settled(session)
            summary = session.run(Query("EXPLAIN " + text, timeout=EXPLAIN_SECONDS), dict(parameters)).consume()
            plan_checked(summary.query_type, summary.plan)
            with session.begin_transaction(timeout=seconds, metadata={"app": "chancery graph:cypher", "by": by}) as tx:
                result = tx.run(text, dict(parameters))
                columns = list(result.keys())
                out: list[bytes] = []
                size, truncated = 0, False
                for record in result:
                    row = orjson.dumps([told(v) for v in record.values()], default=str)
                    size += len(row)
                    if len(out) == rows or size > MOST_BYTES:
                        truncated = True
                        break
                    out.append(row)
            _settled(session)
    except Neo4jError as e:
        raise _said(e, seconds) from None
    except (DriverError, OSError) as e:
        raise Away from e
    return {"columns": columns, "rows": [orjson.Fragment(row) for row in out], "truncated": truncated}


def _settled(session: Session) -> None:
    """While the graph is made anew there are two, and an open query would see both; while it is filled first it would see a part."""
    found = session.run(Query("MATCH (b:ChanceryBuild) RETURN count(b), count(b.filling)", timeout=EXPLAIN_SECONDS)).single()
    if found is None or found[0] == 0 or found[1] > 0:
        raise Filling
    if found[0] != 1:
        raise CypherUnavailable(
            "The graph is being made anew, and Cypher would see the old and the new one together. The other questions of the graph go"
            " on; try again when it is done."
        )


def _said(e: Neo4jError, seconds: float) -> Exception:
    """What Neo4j says against a query, in a sentence. Its own text may quote the query, never values: those are parameters."""
    code = e.code or ""
    if TIMED_OUT.fullmatch(code):
        return CypherTookTooLong(seconds=seconds)
    if TOO_LARGE.fullmatch(code):
        return CypherTooLarge()
    if code.startswith("Neo.ClientError.Security") or code.endswith("DatabaseUnavailable"):
        return Away()
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
    return {"kind": edge.type.lower(), **{k: told(v) for k, v in edge.items()}}


def answered(order: Mapping[str, Any], neo4j: Driver) -> dict[str, Any]:
    """The rows, or what there is instead."""
    try:
        return run(neo4j, order["text"], order["parameters"], rows=order["rows"], seconds=order["seconds"], by=order["by"])
    except Refused as e:
        return {"refused": type(e).__name__, "why": getattr(e, "said", ""), "about": e.about}
    except Away:
        return {"away": True}
    except Filling:
        return {"filling": True}


def main() -> None:
    first = orjson.loads(sys.stdin.buffer.readline())
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    auth = first["auth"]
    with driver(Address(first["uri"], (auth[0], auth[1]) if auth else None)) as neo4j:
        for line in sys.stdin.buffer:
            sys.stdout.buffer.write(orjson.dumps(answered(orjson.loads(line), neo4j), default=str) + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
