"""`POST /v1/graph:cypher`: read-only Cypher for analysts. Each run is recorded before it is answered."""

import hashlib
import time
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response

from commands.graph import RecordCypherRun
from domain.graph import Outcome
from domain.kernel import Refused
from infra.away import EngineAway
from infra.graph.neo4j.client import Neo4jAway
from infra.graph.neo4j.cypher import Answered, CypherBusy, Neo4jFilling
from infra.graph.neo4j.engine import away
from infra.http.commands import json_object, read_body
from infra.http.problems import HttpProblem, kebab
from infra.http.reads import json_response, parameters
from infra.http.routing import Endpoint
from infra.http.service import Principal, Service
from infra.http.times import refuse_numbers
from infra.plainly import fitted
from queries.graph.asking import VIEWS
from queries.graph.cypher import (
    PERMISSION,
    AskCypher,
    CypherFailed,
    CypherRefused,
    CypherTookTooLong,
    CypherTooLarge,
    CypherUnavailable,
    checked,
)

log = structlog.get_logger()

MOST = 256_000
_OUTCOMES: tuple[tuple[type[Exception], Outcome], ...] = (
    (CypherTookTooLong, "timed_out"),
    (CypherTooLarge, "too_large"),
    (CypherFailed, "failed"),
    (CypherRefused, "refused"),
    (CypherUnavailable, "refused"),
    (EngineAway, "away"),
)


def route(service: Service) -> Endpoint:
    chancery = service.chancery

    async def endpoint(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need(PERMISSION)
        parameters(request, ())
        given = json_object(request, await read_body(request, MOST), MOST)
        refuse_numbers(AskCypher, given)
        asked = fitted(AskCypher, given)
        await service.wait_for(request, VIEWS)
        position = chancery.feed.reached(VIEWS)
        started = time.monotonic()
        try:
            answered = await _run(service, principal, asked)
        except CypherBusy:
            raise HttpProblem(
                429,
                "too-many-queries",
                "As many Cypher queries run now as may at once. Try again when one is done.",
                headers={"Retry-After": "2"},
            ) from None
        except (Refused, EngineAway) as e:
            await _record(service, principal, asked, started, request.state.request_id, refused=e)
            raise
        await _record(service, principal, asked, started, request.state.request_id, rows=len(answered.rows))
        body = {"columns": answered.columns, "rows": answered.rows, "truncated": answered.truncated}
        return json_response(body, headers={"Chancery-Position": str(position)})

    return endpoint


async def _run(service: Service, principal: Principal, asked: AskCypher) -> Answered:
    chancery = service.chancery
    if chancery.cypher is None:
        raise CypherUnavailable("Cypher needs the graph in Neo4j, and here PostgreSQL serves it. Set CHANCERY_NEO4J_URL.")
    async with await chancery.database.connect_async("record") as c:
        row = await (await c.execute("SELECT count(*) FROM record.firm_heads")).fetchone()
    try:
        return await chancery.cypher.run(asked, firms=int(row[0]) if row else 0, by=str(principal.actor))
    except (Neo4jAway, Neo4jFilling) as e:
        async with chancery.readers.reading(principal.firm, principal.permissions, by=principal) as r:
            said = await away(r, filling=isinstance(e, Neo4jFilling))
        raise said from None


async def _record(
    service: Service,
    principal: Principal,
    asked: AskCypher,
    started: float,
    request_id: str,
    *,
    rows: int = 0,
    refused: Exception | None = None,
) -> None:
    outcome: Outcome = "answered" if refused is None else next((o for kind, o in _OUTCOMES if isinstance(refused, kind)), "refused")
    more: dict[str, Any] = {} if refused is None else {"refusal": kebab(type(refused).__name__)}
    await service.chancery.executor.execute(
        RecordCypherRun(
            query_sha256=hashlib.sha256(asked.query.encode("utf-8", "surrogatepass")).hexdigest(),
            query=_recordable(asked.query),
            outcome=outcome,
            rows=rows,
            duration_ms=min(3_600_000, round((time.monotonic() - started) * 1000)),
            parameters=tuple(sorted(asked.parameters)),
            **more,
        ),
        firm=principal.firm,
        actor=principal.actor,
        permissions=principal.permissions,
        correlation_id=request_id,
    )


def _recordable(query: str) -> str | None:
    """The text, when it holds nothing but words of Cypher and of the graph."""
    try:
        return checked(query)
    except CypherRefused:
        return None
