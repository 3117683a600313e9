"""Reading dependencies between tasks from CSV files: one link a line, in whatever words the source uses.

A line says that one issue blocks, is blocked by, depends on, precedes … another. `read` yields for each line either a
`Dependency` in one direction (a task and the one that waits for it), a `Remark` for links that make nobody wait (duplicates,
relations), or a `Fault` that says what is wrong with the line. Rows are read one at a time; memory does not grow with the file.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from domain.projects import MOST_LAG
from domain.projects.events import DependencyType

MOST_LENGTH = 512  # characters of a key or a word
MOST_LINE = 65_536

Sense = Literal["forward", "inverse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Header names of the columns that matter. Without `word`, every line is a dependency from source to target."""

    source: str
    target: str
    word: str | None = None
    lag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """`successor` waits for `predecessor`, `lag` minutes. `inverse` when the file told it from the successor's side."""

    line: int
    predecessor: str
    successor: str
    type: DependencyType
    lag: int
    word: str
    inverse: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A link that makes nobody wait."""

    line: int
    source: str
    target: str
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A line that could not be read, and why."""

    line: int
    field: str
    value: str
    reason: str


class NoLinkColumns(ValueError):
    """The header names no two columns of issue keys. Name them in the import's map."""


SOURCES = (
    "issuekey",
    "sourceissue",
    "source",
    "sourcekey",
    "sourceid",
    "from",
    "fromkey",
    "predecessor",
    "inwardissue",
    "key",
    "issue",
)
TARGETS = (
    "linkedissuekey",
    "targetissue",
    "target",
    "targetkey",
    "targetid",
    "to",
    "tokey",
    "successor",
    "outwardissue",
    "linkedissue",
    "linkedkey",
)
WORDS = ("linktype", "linkname", "relationship", "relation", "link", "dependencytype", "type", "name")
LAGS = ("lag", "lagminutes")

FORWARD: tuple[Sense, DependencyType] = ("forward", "finish_to_start")
SENSES: Mapping[str, tuple[Sense, DependencyType]] = {
    "blocks": ("forward", "finish_to_start"),
    "is blocking": ("forward", "finish_to_start"),
    "is blocked by": ("inverse", "finish_to_start"),
    "blocked by": ("inverse", "finish_to_start"),
    "depends on": ("inverse", "finish_to_start"),
    "depends upon": ("inverse", "finish_to_start"),
    "is depended on by": ("forward", "finish_to_start"),
    "is depended upon by": ("forward", "finish_to_start"),
    "requires": ("inverse", "finish_to_start"),
    "is required by": ("forward", "finish_to_start"),
    "is required for": ("forward", "finish_to_start"),
    "is a prerequisite of": ("forward", "finish_to_start"),
    "has prerequisite": ("inverse", "finish_to_start"),
    "precedes": ("forward", "finish_to_start"),
    "is preceded by": ("inverse", "finish_to_start"),
    "follows": ("inverse", "finish_to_start"),
    "is followed by": ("forward", "finish_to_start"),
    "has to be done before": ("forward", "finish_to_start"),
    "has to be done after": ("inverse", "finish_to_start"),
    "must be started before": ("forward", "start_to_start"),
    "must be finished before": ("forward", "finish_to_finish"),
    "fs": ("forward", "finish_to_start"),
    "ss": ("forward", "start_to_start"),
    "ff": ("forward", "finish_to_finish"),
    "sf": ("forward", "start_to_finish"),
    **{t.replace("_", " "): ("forward", t) for t in get_args(DependencyType)},
}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _word(text: str) -> str:
    return " ".join(re.split(r"[\s_-]+", text.strip().lower()))


def guess(header: Iterable[str]) -> Columns | None:
    """The columns that hold a link, going by their names; None when this is no file of links."""
    plain: dict[str, str] = {}
    for name in header:
        plain.setdefault(_plain(name), name)
    found = [next((plain[n] for n in names if n in plain), None) for names in (SOURCES, TARGETS, WORDS, LAGS)]
    source, target, word, lag = found
    return None if source is None or target is None else Columns(source=source, target=target, word=word, lag=lag)


def read(
    lines: Iterable[str],
    columns: Columns | None = None,
    senses: Mapping[str, tuple[Sense, DependencyType]] | None = None,
    *,
    delimiter: str = ",",
) -> Iterator[Dependency | Remark | Fault]:
    """The links of a CSV file, in its order, with the line each ends on.

    `senses` adds the source's own words to those known. Raises NoLinkColumns when no columns are given and none can be guessed.
    """
    rows = csv.reader(_bounded(lines), delimiter=delimiter, strict=True)
    header = next(rows, [])
    if header:
        header[0] = header[0].removeprefix("\ufeff")
    columns = columns or guess(header)
    if columns is None or not {columns.source, columns.target} <= set(header):
        raise NoLinkColumns("The header names no two columns of issue keys. Name them in the import's map.")
    meaning = {**SENSES, **{_word(w): s for w, s in (senses or {}).items()}}
    places = {name: header.index(name) for name in (columns.source, columns.target, columns.word, columns.lag) if name in header}
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Fault(line=rows.line_num, field="", value="", reason=f"This is not CSV: {error}.")
            continue
        if not any(cell.strip() for cell in row):
            continue
        if len(row) < len(header):
            yield Fault(line=rows.line_num, field="", value="", reason=f"The line has {len(row)} cells, the header {len(header)}.")
            continue
        cells = {name: row[at].strip() for name, at in places.items()}
        yield _link(rows.line_num, columns, cells, meaning)


def _bounded(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        # a longer line is cut so that it stays a line: its cells then fail for their length
        yield line if len(line) <= MOST_LINE else line[:MOST_LINE].replace('"', "") + "\n"


def _link(
    line: int, columns: Columns, cells: Mapping[str, str], meaning: Mapping[str, tuple[Sense, DependencyType]]
) -> Dependency | Remark | Fault:
    source, target = cells[columns.source], cells[columns.target]
    for name, cell in cells.items():
        if len(cell) > MOST_LENGTH:
            return Fault(line=line, field=name, value=cell[:80], reason=f"The value is longer than {MOST_LENGTH} characters.")
    for name, key in ((columns.source, source), (columns.target, target)):
        if not key:
            return Fault(line=line, field=name, value="", reason="The issue is not named.")
    word = cells.get(columns.word or "", "")
    sense = FORWARD if columns.word is None else meaning.get(_word(word))
    if sense is None:
        return Remark(line=line, source=source, target=target, word=word)
    lag = cells.get(columns.lag or "", "") or "0"
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", lag) or abs(int(lag)) > MOST_LAG:
        return Fault(line=line, field=columns.lag or "", value=lag, reason="A lag is a whole number of minutes, ten years at most.")
    inverse = sense[0] == "inverse"
    return Dependency(
        line=line,
        predecessor=target if inverse else source,
        successor=source if inverse else target,
        type=sense[1],
        lag=int(lag),
        word=word,
        inverse=inverse,
    )
