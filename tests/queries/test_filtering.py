import re
import string
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from domain.members import ALL_PERMISSIONS
from infra import registry
from queries.filtering import (
    ANYTHING,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_TERMS,
    And,
    FilterMalformed,
    FilterTooLarge,
    FunctionInFilter,
    Node,
    Not,
    Or,
    Restriction,
    Value,
    Word,
    both,
    either,
    parse,
    show,
)
from queries.kernel import COLLECTIONS, Collection
from queries.listing.resolve import Resolver
from queries.unusable import Unusable


def test_nothing_written_lets_everything_through() -> None:
    assert parse("") is None
    assert parse(" \t\n") is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a=1 AND b=2 OR c=3", "a=1 AND (b=2 OR c=3)"),
        ("a=1 OR b=2 AND c=3", "(a=1 OR b=2) AND c=3"),
        ("a=1 b=2 OR c=3", "a=1 AND (b=2 OR c=3)"),
        ("New York Giants OR Yankees", "New AND York AND (Giants OR Yankees)"),
        ("a b AND c AND d", "((a AND b) AND c) AND d"),
        ("NOT a=1 OR b=2", "(NOT a=1) OR b=2"),
        ("NOT a=1 AND b=2", "(NOT a=1) AND b=2"),
        ("-a=1 b=2", "(NOT a=1) AND b=2"),
        ("-(a=1 b=2)", "NOT (a=1 AND b=2)"),
        ('-"word"', 'NOT "word"'),
        ("(((a=1)))", "a=1"),
        ("stage = (open OR won)", "stage = open OR stage = won"),
        ("tags : (a AND b)", "tags:a AND tags:b"),
        ("amount = (-30 OR 5)", "amount = -30 OR amount = 5"),
        ("a=(1 OR 2) OR b=3", "a=1 OR a=2 OR b=3"),
        ("a OR(b)", "a OR b"),
    ],
)
def test_and_binds_looser_than_or_and_not_tightest(written: str, meant: str) -> None:
    assert parse(written) == parse(meant)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('f="x"', Value("x", quoted=True)),
        ("f='x \"y\"'", Value('x "y"', quoted=True)),
        (r'f="\"\'\\\n\t\u00e9\*"', Value("\"'\\\n\té*", quoted=True)),
        ("f=-30", Value("-30")),
        ("f=1.5e3", Value("1.5e3")),
        ("f=null", Value("null")),
        ("f=-7d", Value("-7d")),
        ("f=2026-01-31T09:00:00+01:00", Value("2026-01-31T09:00:00+01:00")),
        ("f=2026-01-31T09:00:00.25Z", Value("2026-01-31T09:00:00.25Z")),
        ("f=anna@example.org", Value("anna@example.org")),
        ("f:*", ANYTHING),
        ('f="*"', ANYTHING),
        ("f=Ber*", Value("Ber", after=True)),
        ('f="*lin"', Value("lin", quoted=True, before=True)),
        ('f="*erl*"', Value("erl", quoted=True, before=True, after=True)),
        (r'f="\*erl\*"', Value("*erl*", quoted=True)),
        ('f="a*b"', Value("a*b", quoted=True)),
        ("f=and", Value("and")),
    ],
)
def test_a_value_keeps_what_was_written(written: str, value: Value) -> None:
    assert parse(written) == Restriction(("f",), "=" if "=" in written else ":", value)


def test_a_field_may_be_dotted_and_its_names_quoted() -> None:
    assert parse("stage.name = x") == Restriction(("stage", "name"), "=", Value("x"))
    assert parse('custom."Size (mm)" > 4') == Restriction(("custom", "Size (mm)"), ">", Value("4"))
    assert parse("a.AND = 1") == Restriction(("a", "AND"), "=", Value("1"))


def test_a_dotted_word_without_a_comparison_is_a_word() -> None:
    assert parse("example.org") == Word(Value("example.org"))


def test_positions_count_characters_from_one() -> None:
    node = parse('ä = 1 AND stage.name = "x"')
    assert isinstance(node, And)
    second = node.parts[1]
    assert isinstance(second, Restriction)
    assert (second.position, second.value_position) == (11, 24)


@pytest.mark.parametrize(
    ("written", "position", "says"),
    [
        ("a =", 4, "a value is missing"),
        ("a == 1", 4, "single ="),
        ("a <> 1", 4, "between two comparison signs"),
        ("a = 1 = 2", 7, "second comparison sign"),
        ("a = AND", 5, "a value is missing"),
        ("= 1", 1, "field is missing"),
        ("(a = 1", 1, "never closed"),
        ("a = (b", 5, "never closed"),
        ("a = 1)", 6, "never opened"),
        (")", 1, "never opened"),
        ("()", 2, "nothing between"),
        ("a OR", 5, "ends where a comparison"),
        ("a AND", 6, "ends where a comparison"),
        ("AND a", 1, "before and after"),
        ("a OR AND b", 6, "before and after"),
        ('a = "x', 5, "never closed"),
        (r'a = "\q"', 6, "unknown escape"),
        (r'a = "\u00"', 6, "four hexadecimal"),
        (r'a = "\ud800"', 6, "can't hold"),
        (r'a = "\u0000"', 6, "can't hold"),
        ("a ! b", 3, "stands alone"),
        ("a && b", 3, "write AND"),
        ("a || b", 3, "write OR"),
        ("a = 1 and b = 2", 7, "AND in capitals"),
        ("a or b", 3, "OR in capitals"),
        ("a, b", 2, "comma"),
        ("a = (b, c)", 7, "comma"),
        ("- a", 1, "stands alone"),
        ("a != (b OR c)", 6, "takes one value"),
        ("a = (NOT b)", 6, "before the field"),
        ("a = (b = c)", 6, "among the values"),
        ("a. = 1", 1, "dot between"),
        (".a = 1", 1, "dot between"),
        ("a..b = 1", 1, "dot between"),
        ('a = "x""y"', 8, "space is missing"),
        ('a"b"', 1, "is missing"),
        ("a = \0", 5, "NUL"),
        ("a = \ud800", 5, "NUL or half"),
    ],
)
def test_what_can_not_be_read_is_refused_where_it_stands(written: str, position: int, says: str) -> None:
    with pytest.raises(FilterMalformed) as refused:
        parse(written)
    assert says in refused.value.why
    assert refused.value.about["position"] == position


@pytest.mark.parametrize("written", ["lower(a) = 1", "NOT geo.distance(a, b) < 3", "a = now()", 'a = date("x")', "x (f(1))"])
def test_functions_are_refused_by_name(written: str) -> None:
    with pytest.raises(FunctionInFilter) as refused:
        parse(written)
    name = {"l": "lower", "N": "geo.distance", "x": "f"}.get(written[0], "now" if "now" in written else "date")
    assert name in refused.value.why


@pytest.mark.parametrize("written", ["(" * 2000, "(" * 33 + "a" + ")" * 33, "NOT " * 40 + "a", "-" * 40 + "a", "a = " + "(" * 1500])
def test_what_is_nested_too_deep_is_refused_and_breaks_nothing(written: str) -> None:
    with pytest.raises(FilterTooLarge, match="FilterTooLarge") as refused:
        parse(written)
    assert "deeper than 32" in refused.value.why


def test_thirty_two_levels_are_allowed() -> None:
    assert parse("(" * 32 + "a" + ")" * 32) == Word(Value("a"))


def test_one_term_too_many_is_refused() -> None:
    assert parse(" OR ".join(["a=1"] * MAX_TERMS)) is not None
    for written in (" OR ".join(["a=1"] * (MAX_TERMS + 1)), "a " * (MAX_TERMS + 1), f"a = ({' OR '.join('1' * (MAX_TERMS + 1))})"):
        with pytest.raises(FilterTooLarge):
            parse(written)


def test_the_size_is_counted_in_bytes() -> None:
    assert parse('"' + "x" * (MAX_BYTES - 2) + '"') is not None
    with pytest.raises(FilterTooLarge):
        parse('"' + "ä" * (MAX_BYTES // 2) + '"')


def test_no_refusal_repeats_a_value() -> None:
    for written in ('a = "Secret" "', "a = Secret = 2", 'a = "Secret\\q"', 'a = (b = "Secret")', '"Secret""x"'):
        with pytest.raises(Unusable) as refused:
            parse(written)
        assert "Secret" not in refused.value.why
        assert "Secret" not in str(refused.value.about)


@given(st.text(max_size=200) | st.text(alphabet="ab ()\"'\\*=:<>!-.,ANDORT0129\n", max_size=120))
@example("a\\")
@example('"\\')
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        tree = parse(text)
    except Unusable as refused:
        assert refused.why  # noqa: PT017  # both outcomes are right; only a crash is not
        return
    try:
        assert parse(show(tree)) == tree
    except FilterTooLarge:
        assume(False)


texts = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
quoted = st.builds(Value, texts.filter(bool), st.just(True), st.booleans(), st.booleans())
plain = st.builds(
    Value,
    st.text(string.ascii_letters + string.digits + "_@+ü", min_size=1, max_size=8).filter(
        lambda t: t.upper() not in {"AND", "OR", "NOT"}
    ),
    st.just(False),
    st.booleans(),
    st.booleans(),
)
value_strategy = st.one_of(quoted, plain, st.just(ANYTHING), st.just(Value("-30")), st.just(Value("", quoted=True)))
paths = st.lists(texts.filter(bool), min_size=1, max_size=3).map(tuple)
leaves: st.SearchStrategy[Node] = st.one_of(
    st.builds(Restriction, paths, st.sampled_from(["=", "!=", "<", "<=", ">", ">=", ":"]), value_strategy),
    st.builds(Word, quoted | plain),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=4).map(both), st.lists(inner, min_size=2, max_size=4).map(either), inner.map(Not)
    ),
    max_leaves=12,
)


@given(trees)
def test_printing_a_tree_and_parsing_the_print_gives_the_same_tree(tree: Node) -> None:
    assert parse(show(tree)) == tree


def test_the_tree_is_flat_and_frozen() -> None:
    tree = parse("(a=1 OR b=2) OR c=3")
    assert isinstance(tree, Or)
    assert len(tree.parts) == 3
    assert hash(tree) == hash(parse("a=1 OR b=2 OR c=3"))


MANUAL = (Path(__file__).resolve().parents[2] / "docs" / "filter.md").read_text(encoding="utf-8")


def test_every_example_of_the_manual_can_be_read() -> None:
    examples = [line for block in re.findall(r"```filter\n(.*?)```", MANUAL, re.DOTALL) for line in block.splitlines()]
    assert len(examples) > 20
    for written in examples:
        assert parse(written) is not None


def test_every_example_of_the_manual_fits_a_list_that_there_is() -> None:
    registry.load()
    examples = [line for block in re.findall(r"```filter\n(.*?)```", MANUAL, re.DOTALL) for line in block.splitlines()]
    real = [c for c in COLLECTIONS.values() if not c.name.startswith("test_")]
    for written in examples:
        assert any(fits(written, c) for c in real), written


def fits(written: str, c: Collection) -> bool:
    try:
        Resolver(c, ALL_PERMISSIONS, datetime(2026, 3, 1, tzinfo=UTC)).resolve(parse(written))
    except Unusable:
        return False
    return True


def test_the_manual_names_the_limits_that_hold() -> None:
    assert f"{MAX_BYTES:,} bytes, {MAX_TERMS} comparisons and words, {MAX_DEPTH} levels" in MANUAL


@pytest.mark.parametrize(("written", "answer"), re.findall(r"^\| `(a == 1|lower.*?)` \| (.*) \|$", MANUAL, re.MULTILINE))
def test_the_manual_shows_refusals_as_they_are(written: str, answer: str) -> None:
    with pytest.raises(Unusable) as refused:
        parse(written)
    assert refused.value.why == answer
