"""Read-only Cypher for analysts: what may be asked, said before it is run.

GC1  A query is refused, with a sentence that says why, unless it is known to do nothing but read the open graph.
GC2  Values travel as parameters: a query holds no text of its own, so that it can be recorded as it is.
GC3  What is not for analysts is out of reach: it shares no node with the open graph, its names can't be written, and no operator that
    begins anywhere (at every node, or at one by its internal id) is let through.

The words are looked at first, for an answer that a person understands; the plan that Neo4j makes of the query is what decides.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from domain.kernel import Invalid
from queries.kernel import Query

PERMISSION = "graph:cypher"
MOST_TEXT = 10_000
MOST_TOKENS = 2_000
MOST_DEPTH = 40
MOST_SUMS = 8
MOST_GIVEN = 64_000  # characters of all parameters
MOST_ROWS = 10_000

_WORDS: Mapping[str, list[str]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))

Scalar = str | int | float | bool | None
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,60}$")]


class AskCypher(Query):
    query: Annotated[str, Field(min_length=1, max_length=MOST_TEXT, description="Cypher that only reads; values as $parameters.")]
    parameters: dict[Name, Scalar | Annotated[list[Scalar], Field(max_length=10_000)]] = Field(
        default_factory=dict,
        max_length=50,
        description="The values of the query's $parameters: text, numbers, true, false, null, or lists of them.",
    )
    max_rows: Annotated[
        int, Field(ge=1, le=MOST_ROWS, description="So many rows at most; `truncated` says that there are more.")
    ] = 1_000

    @field_validator("parameters")
    @classmethod
    def _small(cls, given: dict[str, object]) -> dict[str, object]:
        if len(str(given)) > MOST_GIVEN * 8:
            raise ValueError("the parameters are too large together")
        if (
            sum(len(v) for value in given.values() for v in (value if isinstance(value, list) else [value]) if isinstance(v, str))
            > MOST_GIVEN
        ):
            raise ValueError(f"the texts among the parameters have more than {MOST_GIVEN} characters together")
        return given


class _Explained(Invalid):
    """The query was not run."""

    def __init__(self, why: str = "", **about: object) -> None:
        super().__init__(**about)
        self.said = why

    @property
    def why(self) -> str:
        return self.said or super().why


class CypherRefused(_Explained):
    """The query was not run."""

    @property
    def why(self) -> str:
        return f"{super().why} The query was not run."


class CypherUnavailable(_Explained):
    """Cypher can't be used here."""


class CypherTookTooLong(Invalid):
    """The query took longer than a query may, and was ended. Begin at fewer nodes, or bound its paths."""


class CypherTooLarge(Invalid):
    """The query needed more memory than a query may, and was ended. Return less, or count where you collect."""


class CypherFailed(_Explained):
    """Neo4j could not carry the query out."""


IN_A_LITERAL = frozenset({"TRUE", "FALSE", "NULL", "AND", "OR", "XOR", "NOT", "IN", "IS"})
WRITING = frozenset(_WORDS["writing"])
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(WRITING, "{word} changes something, and Cypher here only reads."),
    "LOAD": "LOAD CSV reads files and addresses of the server, and Cypher here reads the graph alone.",
    "CSV": "LOAD CSV reads files and addresses of the server, and Cypher here reads the graph alone.",
    "SHOW": "SHOW tells of the server and not of the graph.",
    "USE": "USE leaves for another database, and Cypher here reads this graph alone.",
    "PROFILE": "PROFILE and EXPLAIN are not needed: every query is explained before it is run. Leave the word out.",
    "EXPLAIN": "PROFILE and EXPLAIN are not needed: every query is explained before it is run. Leave the word out.",
    "CYPHER": "CYPHER chooses how Neo4j plans and runs, which is not a caller's to choose. Leave the word out.",
    "TRANSACTIONS": "IN TRANSACTIONS is for changes, and Cypher here only reads.",
    "PERIODIC": "IN TRANSACTIONS is for changes, and Cypher here only reads.",
}
PROCEDURES: frozenset[str] = frozenset()  # none is needed to read the graph, and few are without effect
FUNCTIONS = frozenset(_WORDS["functions"])
BEFORE_A_BRACKET = frozenset(_WORDS["before_a_bracket"])
_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]+)|(?P<comment>//|/\*)|(?P<number>0[xo][0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<parameter>\$[A-Za-z_][A-Za-z0-9_]*)|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign>[^\sA-Za-z0-9_])"
)
_OPENING, _CLOSING = {"(": ")", "[": "]", "{": "}"}, frozenset(")]}")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    for n, found in enumerate(_TOKEN.finditer(text)):
        if n > MOST_TOKENS * 2:
            raise CypherRefused(f"The query has more than {MOST_TOKENS} words and signs.")
        kind = found.lastgroup or ""
        if kind != "space":
            yield kind, found[0]


def checked(text: str) -> str:
    """The query, if its words may be. CypherRefused says why not."""
    text = text.strip().removesuffix(";").rstrip()
    odd = next((c for c in text if not (" " <= c <= "~" or c in "\t\r\n")), None)
    if odd is not None:
        raise CypherRefused(
            f"The query holds the character U+{ord(odd):04X}; it takes plain ASCII. Give other text as a $parameter."
        )
    if "\\" in text:
        raise CypherRefused("The query holds a backslash. Escapes are not taken; give text as a $parameter.")
    if "'" in text or '"' in text:
        raise CypherRefused("The query holds text in quotes. Give values as $parameters: WHERE d.status = $status.")
    if "`" in text:
        raise CypherRefused("The query holds a name in backticks. No name of the graph needs them.")
    tokens = list(_tokens(text))
    if not tokens:
        raise CypherRefused("The query is empty.")
    _does_not_grow(tokens)
    open_: list[str] = []
    for n, (kind, token) in enumerate(tokens):
        sign = token if kind == "sign" else ""
        following = tokens[n + 1][1] if n + 1 < len(tokens) else ""
        before = tokens[n - 1][1] if n else ""
        if kind == "comment":
            raise CypherRefused("The query holds a comment. Leave comments out: a query is recorded as it is.")
        if kind == "word":
            _word(token, before, following, tokens, n)
        elif sign == "$":
            raise CypherRefused("A $parameter has a name of letters; labels and types can't be given as parameters.")
        elif sign == ";":
            raise CypherRefused("The query holds more than one statement. Send one at a time.")
        elif token in _OPENING:
            open_.append(_OPENING[token])
            if len(open_) > MOST_DEPTH:
                raise CypherRefused(f"The query is nested more than {MOST_DEPTH} brackets deep.")
        elif token in _CLOSING and (not open_ or open_.pop() != token):
            raise CypherRefused("The brackets of the query do not match.")
    return text


def _does_not_grow(tokens: list[tuple[str, str]]) -> None:
    """Values that a query makes of values are bounded: Neo4j counts the memory of rows and not that of what stands in one of them.

    A text doubled thirty times ends the server, whatever its limits are. So sums are few, and a list or a map is made of properties,
    parameters and constants alone, never of a variable that may be a list itself.
    """
    if sum(text == "+" for _, text in tokens) > MOST_SUMS:
        raise CypherRefused(f"The query has more than {MOST_SUMS} signs +, each of which may double a value.")
    made: list[bool] = []
    for n, (kind, text) in enumerate(tokens):
        before = tokens[n - 1] if n else ("sign", "")
        after = tokens[n + 1] if n + 1 < len(tokens) else ("sign", "")
        if text == "[":
            literal = before[1] != "-" and (
                (before[0] == "sign" and before[1] not in {")", "]"})
                or (before[0] == "word" and before[1].upper() in BEFORE_A_BRACKET)
            )
            if literal and after[0] == "word" and n + 2 < len(tokens) and tokens[n + 2][1].upper() == "IN":
                raise CypherRefused("The query holds a list comprehension. Take rows instead: UNWIND the list and filter by WHERE.")
            matched = after[1] == "(" or (n + 2 < len(tokens) and tokens[n + 2][1] == "=")
            made.append(literal and not matched)
        elif text == "{":
            block = before[1].upper() in {"EXISTS", "COUNT", "COLLECT", "CALL", ")", ">", "-"}
            in_pattern = n > 1 and before[0] == "word" and tokens[n - 2][1] in {":", "|", "&"}
            made.append(not block and not in_pattern)
        elif text == "(":
            made.append(False)
        elif text in _CLOSING and made:
            made.pop()
        elif (
            kind == "word"
            and any(made)
            and before[1] != "."
            and after[1] not in {".", "(", ":"}
            and text.upper() not in IN_A_LITERAL
        ):
            raise CypherRefused(
                f"{text[:60]} stands in a list or a map that the query makes, which takes properties (c.id), parameters and constants. Return it"
                " as a column of its own."
            )


def _word(token: str, before: str, following: str, tokens: list[tuple[str, str]], n: int) -> None:
    word = token.upper()
    if word.startswith("CHANCERY"):
        raise CypherRefused(f"{token}: names that begin with Chancery are how the graph is kept, and not part of it.")
    if before == ".":
        if following == "(":
            _function(_dotted(tokens, n))
        return
    if word in REFUSED:
        raise CypherRefused(REFUSED[word].format(word=word), word=word)
    if word == "CALL" and following not in {"(", "{"}:
        name = _ahead(tokens, n + 1)
        if name.lower() not in PROCEDURES:
            raise CypherRefused(
                f"The procedure {name[:80] or '(without a name)'} can't be called: none is needed to read the graph."
            )
    if following == "(" and word not in BEFORE_A_BRACKET:
        _function(token)


def _function(name: str) -> None:
    if name.lower() not in FUNCTIONS:
        raise CypherRefused(f"The function {name[:80]} is not among those that may be used.", function=name[:80])


def _dotted(tokens: list[tuple[str, str]], n: int) -> str:
    """The dotted name that ends with the word at n."""
    first = n
    while first >= 2 and tokens[first - 1][1] == "." and tokens[first - 2][0] == "word":
        first -= 2
    return "".join(t for _, t in tokens[first : n + 1])


def _ahead(tokens: list[tuple[str, str]], n: int) -> str:
    """The dotted name that begins with the word at n."""
    out = ""
    while n < len(tokens) and (tokens[n][0] == "word" or tokens[n][1] == "."):
        out += tokens[n][1]
        n += 1
    return out


# --- the plan

OPERATORS = frozenset(_WORDS["operators"])
ANYWHERE = frozenset(_WORDS["anywhere"])
_BY_ID = re.compile(r"(Node|Relationship)\w*ByE?l?e?m?e?n?t?IdSeek|\w*ElementIdSeek|\w*ByIdSeek")
_NESTED = re.compile(r"\b(?:EXISTS|COUNT|COLLECT) \{")
_BEGIN = "Begin at a label or a type: MATCH (c:Contact), or MATCH ()-[r:PARTY_TO]->()."


def plan_checked(query_type: str | None, plan: Mapping[str, Any] | None) -> None:
    """CypherRefused unless the plan does nothing but read the open graph."""
    if query_type != "r" or plan is None:
        raise CypherRefused("The query does more than read, and Cypher here only reads.")
    waiting: list[Mapping[str, Any]] = [plan]
    while waiting:
        step = waiting.pop()
        waiting += step.get("children") or ()
        name = str(step.get("operatorType", "")).partition("@")[0]
        details = str((step.get("args") or {}).get("Details") or "")
        if name == "LoadCSV":
            raise CypherRefused(REFUSED["LOAD"])
        if name.startswith("Show"):
            raise CypherRefused(REFUSED["SHOW"])
        if "ProcedureCall" in name:
            called = details.partition("(")[0]
            if called.lower() not in PROCEDURES:
                raise CypherRefused(f"The procedure {called[:80]} can't be called: none is needed to read the graph.")
        elif name in ANYWHERE:
            raise CypherRefused(f"The query begins at every node or edge there is. {_BEGIN}")
        elif _BY_ID.fullmatch(name):
            raise CypherRefused(
                "The query begins at an internal id. Name a node by its label and its own id: (c:Contact {id: $id})."
            )
        elif name not in OPERATORS:
            raise CypherRefused(
                f"The query needs the operator {name[:80]}, which is not among those that only read.", operator=name[:80]
            )
        elif (name == "NodeCountFromCountStore" and ":" not in details) or (
            name == "RelationshipCountFromCountStore" and "[:" not in details
        ):
            raise CypherRefused(f"The query counts every node or edge there is. {_BEGIN}")
        if _NESTED.search(details):
            raise CypherRefused(
                "A subquery stands where its plan can't be looked at (inside a list, a CASE or a function). Put it into WHERE or CALL."
            )
