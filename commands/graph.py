"""Recording what was asked of the graph in Cypher. No caller of the API says it: it is said of every run, by who answers it."""

from typing import Annotated

from pydantic import Field, StringConstraints

from commands.kernel import Answer, Command, Work, command
from domain.graph import CYPHER_RUN, CypherRun, Outcome, ran

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,60}$")]


class RecordCypherRun(Command):
    query_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    query: Annotated[str | None, Field(max_length=10_000)] = None
    outcome: Outcome
    refusal: Annotated[str | None, StringConstraints(pattern=r"^[a-z-]{1,60}$")] = None
    rows: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    duration_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 0
    parameters: Annotated[tuple[Name, ...], Field(max_length=50)] = ()


@command("graph.record_run", "POST /graph:record-run", permission="operator", title="Record a run of Cypher", undoable=False)
async def record_run(c: RecordCypherRun, w: Work) -> Answer:
    """Each run is a stream of its own, so that runs never wait for each other."""
    entity = w.create(CYPHER_RUN, w.new_id())
    run = CypherRun(
        query_sha256=c.query_sha256,
        query=c.query,
        outcome=c.outcome,
        refusal=c.refusal,
        rows=c.rows,
        duration_ms=c.duration_ms,
        parameters=tuple(c.parameters),
    )
    w.record(entity, ran(entity.state, run))
    return {"id": str(entity.id)}
