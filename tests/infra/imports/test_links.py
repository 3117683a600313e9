from collections.abc import Iterator
from typing import Any, cast

import pytest

from infra.imports.links import Columns, Dependency, Fault, NoLinkColumns, Remark, guess, read
from tests.shared import shared

JIRA = "idissuelink,issuekey,linkedIssueKey,name\n"


def lines(text: str) -> Iterator[str]:
    return iter(text.splitlines(keepends=True))


def dependencies(text: str, *how: Any, **more: Any) -> list[Dependency]:
    """What the lines say, when they say nothing else."""
    found = list(read(lines(text), *how, **more))
    assert all(isinstance(link, Dependency) for link in found)
    return cast("list[Dependency]", found)


def test_a_link_told_from_either_side_is_one_dependency() -> None:
    one, other = dependencies(JIRA + "1,A-1,A-2,blocks\n2,A-2,A-1,is blocked by\n")
    assert (one.predecessor, one.successor, one.inverse, one.line) == ("A-1", "A-2", False, 2)
    assert (other.predecessor, other.successor, other.inverse, other.line) == ("A-1", "A-2", True, 3)


@pytest.mark.parametrize(
    ("word", "predecessor"),
    [
        ("depends on", "B"),
        ("Depends Upon", "B"),
        ("is depended on by", "A"),
        ("IS_BLOCKED_BY", "B"),
        ("precedes", "A"),
        ("FS", "A"),
    ],
)
def test_the_words_of_the_source_say_who_waits(word, predecessor) -> None:
    (link,) = dependencies(f"source,target,link type\nA,B,{word}\n")
    assert link.predecessor == predecessor


def test_words_are_added_and_changed_by_a_map() -> None:
    (link,) = dependencies(
        "a;b;c\nA;B;wartet auf\n",
        Columns(source="a", target="b", word="c"),
        {"Wartet auf": ("inverse", "finish_to_start")},
        delimiter=";",
    )
    assert (link.predecessor, link.successor) == ("B", "A")


def test_a_link_that_makes_nobody_wait_is_a_remark_and_not_lost() -> None:
    assert list(read(lines(JIRA + "1,A-1,A-2,duplicates\n"))) == [Remark(line=2, source="A-1", target="A-2", word="duplicates")]


def test_a_type_and_a_lag_are_read() -> None:
    (link,) = dependencies("predecessor,successor,type,lag\nA,B,start_to_start,-30\n")
    assert (link.type, link.lag) == ("start_to_start", -30)


def test_a_file_without_words_is_of_dependencies_from_source_to_target() -> None:
    (link,) = dependencies("\ufeffFrom,To\nA,B\n")
    assert (link.predecessor, link.type) == ("A", "finish_to_start")


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("1,,A-2,blocks", "issuekey"),
        ("1,A-1", ""),
        (f"1,A-1,{'x' * 600},blocks", "linkedIssueKey"),
        ('1,"A-1"x,A-2,blocks', ""),
        (f"1,A-1,{'x' * 70_000},blocks", ""),
    ],
)
def test_a_bad_line_is_named_with_its_reason_and_the_next_is_read(row, field) -> None:
    bad, good = read(lines(JIRA + row + "\n\n2,A-1,A-2,blocks\n"))
    assert isinstance(bad, Fault)
    assert (bad.line, bad.field) == (2, field)
    assert bad.reason.endswith(".")
    assert isinstance(good, Dependency)
    assert good.line == 4


def test_a_bad_lag_is_a_fault() -> None:
    for lag in ("1.5", "2d", "99999999"):
        (bad,) = read(lines(f"source,target,lag\nA,B,{lag}\n"))
        assert isinstance(bad, Fault)
        assert (bad.field, bad.value) == ("lag", lag)


def test_a_file_of_something_else_is_not_guessed_to_hold_links() -> None:
    assert guess(["boardid", "sprintid", "name", "vel_diff"]) is None
    with pytest.raises(NoLinkColumns):
        list(read(lines("name,amount\nA,1\n")))


@pytest.mark.parametrize(("project", "blocking", "dependencies", "rows"), [("apache", 203, 387, 1500), ("spring", 0, 283, 1519)])
def test_real_links_are_counted_as_their_source_counts_them(project, blocking, dependencies, rows) -> None:
    with shared(f"data/jira-sprints/{project}_issuelink.csv").open(newline="") as file:
        found = list(read(file))
    edges = [(x.predecessor, x.successor, x.word) for x in found if isinstance(x, Dependency)]
    assert len(found) == rows
    assert not any(isinstance(x, Fault) for x in found)
    assert len({(a, b) for a, b, word in edges if "block" in word}) == blocking
    assert len({(a, b) for a, b, _ in edges}) == dependencies
