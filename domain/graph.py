"""What is asked of the activity graph in Cypher: each run is on the record, whatever came of it.

GC4  Every run of Cypher that a permitted caller asks for is recorded: who asked, which query, how long it took, what came of it.
GC5  A query's text is recorded when it holds no text of its own, so that it can name nobody; its hash always is.
"""

from dataclasses import dataclass, replace
from typing import Literal, assert_never

from domain.kernel import Stream, event

Outcome = Literal["answered", "refused", "timed_out", "too_large", "failed", "away"]


@event("graph.CypherRun.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class CypherRun:
    """`query_sha256` is of the text as it was sent; `refusal` the type of the problem that was answered instead of rows."""

    query_sha256: str
    query: str | None = None
    outcome: Outcome
    refusal: str | None = None
    rows: int = 0
    duration_ms: int = 0
    parameters: tuple[str, ...] = ()


Event = CypherRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    outcome: Outcome | None = None


def ran(state: Run, run: CypherRun) -> list[Event]:
    """A run is recorded once."""
    return [] if state.outcome is not None else [run]


def evolve(state: Run, e: Event) -> Run:
    match e:
        case CypherRun():
            return replace(state, outcome=e.outcome)
        case _:
            assert_never(e)


CYPHER_RUN: Stream[Run, Event] = Stream("cypher_run", Run(), evolve)
