"""The words of a Cypher query, judged before anything is asked of Neo4j."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries.graph.cypher import FUNCTIONS, OPERATORS, WRITING, AskCypher, CypherRefused, checked, plan_checked

WORDS = (
    "MATCH",
    "(c:Contact)",
    "-[r:PARTY_TO]->",
    "(d)",
    "RETURN",
    "WITH",
    "c.id",
    "$x",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    "CALL",
    "x",
    "IN",
    "+",
    "1",
)


@given(st.text(max_size=60) | st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join))
@settings(max_examples=400, deadline=None)
def test_any_text_is_taken_or_refused_with_a_sentence(text: str) -> None:
    said = ""
    try:
        assert checked(text) == text.strip().removesuffix(";").rstrip()
    except CypherRefused as e:
        said = e.why
    assert said == "" or said.endswith("The query was not run.")


@pytest.mark.parametrize(
    "query",
    [
        "MATCH (c:Contact)-[:PARTY_TO]->(d:Deal {status: $status}) RETURN c.id, count(*) AS n ORDER BY n DESC SKIP 5 LIMIT 10",
        "MATCH p = allShortestPaths((a:Contact {id: $a})-[*..6]-(b:Contact {id: $b})) RETURN p",
        "MATCH (m:Member)-[w:ACTED_ON]->(d:Deal) WHERE w.last_at > datetime($since) AND NOT (m)-[:ASSIGNED_TO]-() RETURN m.id, sum(w.count)",
        "MATCH (d:Deal) WITH d.currency AS c, percentileCont(d.amount, 0.5) AS half RETURN c, half",
        "MATCH (c:Contact) WHERE c.id IN $ids OR c.status IN [$a, $b] RETURN c",
        "MATCH (c:Contact) OPTIONAL MATCH (c)--(d:Deal) RETURN c.id, collect(d.id)[0] AS first",
        "MATCH (d:Deal) RETURN date.truncate($unit, d.closed_on) AS month, count(*) UNION MATCH (o:Offer) RETURN $unit AS month, count(*)",
        "MATCH (c:Contact) WHERE COUNT { (c)-[:PARTY_TO]->(:Deal) } > 2 RETURN c.id",
        "MATCH ((a:Contact)-[:RELATED_TO]-(b:Contact)){1,3} RETURN count(*)",
    ],
)
def test_what_analysts_ask_is_taken(query: str) -> None:
    assert checked(query) == query


def test_a_plan_of_unknown_operators_or_of_another_type_is_refused() -> None:
    plan_checked("r", {"operatorType": "ProduceResults@neo4j", "children": [{"operatorType": "NodeByLabelScan@neo4j"}]})
    for kind, plan in (
        ("rw", {"operatorType": "ProduceResults@neo4j"}),
        ("s", {"operatorType": "ProduceResults@neo4j"}),
        (None, {"operatorType": "ProduceResults@neo4j"}),
        ("r", None),
        ("r", {"operatorType": "ProduceResults@neo4j", "children": [{"operatorType": "SomethingNew@neo4j"}]}),
        ("r", {"operatorType": "Projection@neo4j", "args": {"Details": "[x IN l | EXISTS { MATCH (n) }] AS y"}}),
    ):
        with pytest.raises(CypherRefused):
            plan_checked(kind, plan)


def test_no_writing_word_is_a_function_and_no_operator_writes() -> None:
    assert not {f.upper() for f in FUNCTIONS} & WRITING
    assert not {
        o
        for o in OPERATORS
        if any(w in o for w in ("Create", "Delete", "Set", "Merge", "Load", "Show", "Call", "Foreach", "Remove"))
    }


@pytest.mark.parametrize(
    "given_",
    [
        {"query": ""},
        {"query": "x" * 10_001},
        {"query": "RETURN 1", "parameters": {"a b": 1}},
        {"query": "RETURN 1", "parameters": {"a": {"b": 1}}},
        {"query": "RETURN 1", "parameters": {"a": ["x" * 10_000] * 7}},
        {"query": "RETURN 1", "parameters": {"a": list(range(10_001))}},
        {"query": "RETURN 1", "max_rows": 10_001},
        {"query": "RETURN 1", "more": 1},
    ],
)
def test_a_request_beyond_its_bounds_is_refused(given_: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        AskCypher.model_validate(given_)
