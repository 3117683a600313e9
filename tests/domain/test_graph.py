"""A run of Cypher is recorded once, as it was."""

from domain.graph import CYPHER_RUN, CypherRun, Run, ran


def test_a_run_is_recorded_once() -> None:
    run = CypherRun(query_sha256="0" * 64, query="MATCH (c:Contact) RETURN count(c)", outcome="answered", rows=1, duration_ms=3)
    (said,) = ran(CYPHER_RUN.initial, run)
    state = CYPHER_RUN.evolve(CYPHER_RUN.initial, said)
    assert state == Run(outcome="answered")
    assert ran(state, run) == []
