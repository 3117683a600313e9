"""What a person types into the box, read."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from projections.search.kinds import FACTS
from queries import analysis
from queries.filtering import Node, Not, Restriction, Value, both
from queries.search.port import Clause, Number, OneWord, Phrase

MAX_CLAUSES = 24
_ITEM = re.compile(r"""(?P<minus>-)?(?:(?P<name>[A-Za-z_]{2,20}):(?!//))?(?:"(?P<quoted>[^"]*)"?|(?P<plain>[^\s"]+))""")


def words_in(text: str, *, open_end: bool) -> tuple[OneWord, ...]:
    found = [t.forms for t in analysis.tokens(text, MAX_CLAUSES + 1) if t.forms]
    return tuple(OneWord(f, open_end and i == len(found) - 1) for i, f in enumerate(found))


def _typed(text: str, *, last: bool) -> Iterator[Clause]:
    """The clauses of unquoted text."""
    at = 0
    for start, end, found in analysis.numbers(text):
        yield from _plain(text[at:start], last=False)
        yield Number(found, words_in(text[start:end], open_end=last and end == len(text)))
        at = end
    yield from _plain(text[at:], last=last)


def _plain(text: str, *, last: bool) -> Iterator[Clause]:
    pieces = text.split()
    for i, piece in enumerate(pieces):
        open_end = piece.endswith("*") or (last and i == len(pieces) - 1)
        yield from words_in(piece, open_end=open_end)


@dataclass(frozen=True, slots=True)
class Box:
    """What was typed: what to look for, what not, and comparisons as the filter language has them; `rest` is the text without these."""

    clauses: tuple[Clause, ...]
    without: tuple[Clause, ...]
    filter: Node | None
    rest: str = ""


def read_box(text: str, fits: Callable[[Node], bool] = lambda _: True) -> Box:
    """Read what a person typed: words, "phrases", -exclusions, name:value where name is a fact and has such values (`fits`).

    Never fails for how it is written: what is no comparison is words.
    """
    wanted: list[Clause] = []
    without: list[Clause] = []
    filters: list[Node] = []
    run: list[str] = []
    rest = ""
    at = 0

    def flush(*, last: bool) -> None:
        if run:
            wanted.extend(_typed(" ".join(run), last=last))
            run.clear()

    items = list(_ITEM.finditer(text))
    for match in items:
        name, quoted, plain = match["name"], match["quoted"], match["plain"]
        value = quoted if quoted is not None else plain
        last = match.end() == len(text)
        node = _comparison(match, value)
        if node is not None and fits(node):
            filters.append(Not(node) if match["minus"] else node)
            rest += text[at : match.start()]
            at = match.end()
        elif quoted is not None:
            phrase = Phrase(words_in(f"{name or ''} {quoted}", open_end=False))
            if phrase.words:
                flush(last=False)
                (without if match["minus"] else wanted).append(phrase)
        elif match["minus"] and plain[0].isalnum():
            without.extend(_plain(f"{name or ''} {plain}", last=False))
        else:
            run.append(f"{name}:{plain}" if name else plain)
            if last:
                flush(last=True)
    flush(last=False)
    return Box(tuple(wanted), tuple(without), both(filters) if filters else None, rest + text[at:])


def _comparison(match: re.Match[str], value: str) -> Node | None:
    name = (match["name"] or "").lower()
    if name not in FACTS or not value.strip():
        return None
    at = match.start() + 1
    return Restriction((name,), ":", Value(value.strip("*"), quoted=True), at, at)
