"""An entry as the words an index holds: what is the same for every store of the index.

Each word carries a sign: `.` it stands somewhere, `^` it stands in the title, `+` two words of a name
that others write as one, `#` the end of a telephone number.
"""

from dataclasses import dataclass, field
from uuid import UUID

from projections.search import Entry
from queries import analysis

WORD, TITLE, JOINED, NUMBER = ".", "^", "+", "#"

MAX_POSITION = 16_383  # PostgreSQL keeps none beyond
PLACES = 24  # of one word
WORDS = 20_000  # different ones of one entry
SIZE = 800_000  # bytes: PostgreSQL takes a megabyte
BODY_WORDS = 60_000
GAP = 16  # no phrase reaches from one field into the next

Places = list[tuple[int, str]]


@dataclass(slots=True)
class Lexemes:
    """Words with the places where they stand and the weight they have there."""

    places: dict[str, Places] = field(default_factory=dict)
    size: int = 0

    def add(self, word: str, place: int, weight: str) -> None:
        found = self.places.get(word)
        if found is None:
            size = len(word.encode()) + 16
            if len(self.places) < WORDS and self.size + size <= SIZE:
                self.places[word] = [(place, weight)]
                self.size += size
        elif len(found) < PLACES and self.size + 2 <= SIZE:
            found.append((place, weight))
            self.size += 2

    def vocabulary(self) -> set[str]:
        """The words a slip of a finger may be about."""
        return {w[1:] for w in self.places if w[0] == WORD and analysis.edits(w[1:])}


def lexemes(entry: Entry) -> tuple[Lexemes, Lexemes]:
    """All words of an entry, and those that are not personal."""
    every, open_ = Lexemes(), Lexemes()
    place = 0
    for text in entry.texts:
        into = (every,) if text.personal else (every, open_)
        place = _add(into, text.text, place, text.weight, title=text.name == "title")
        if text.weight != "A":
            for _, _, digits in analysis.numbers(text.text):
                _number(into, "+" + digits, place, text.weight)
    for number in entry.numbers:
        _number((every,) if entry.numbers_personal else (every, open_), number, place + 1, "B")
    if entry.body:
        _add((every,), entry.body, place + GAP, "D", limit=BODY_WORDS)
    return every, open_


def _add(into: tuple[Lexemes, ...], text: str, place: int, weight: str, *, title: bool = False, limit: int = 10_000) -> int:
    before: analysis.Token | None = None
    for token in analysis.tokens(text, limit):
        place += 1
        at = min(place, MAX_POSITION)
        for lexeme_set in into:
            for form in token.forms:
                lexeme_set.add(WORD + form, at, weight)
                if title:
                    lexeme_set.add(TITLE + form, at, weight)
            for part in token.parts:
                lexeme_set.add(WORD + part, at, weight)
            if weight == "A" and before is not None and before.forms and token.forms:
                lexeme_set.add(JOINED + (before.forms[0] + token.forms[0])[: analysis.MAX_WORD], at, "B")
        before = token
    return min(place + GAP, MAX_POSITION)


def _number(into: tuple[Lexemes, ...], number: str, place: int, weight: str) -> None:
    for tail in analysis.number_tails(number):
        for lexeme_set in into:
            lexeme_set.add(NUMBER + tail, min(place, MAX_POSITION), weight)


def firm_in_build(firm: UUID, build: int) -> bytes:
    """What words and typo keys of one firm in one build are told apart by."""
    return firm.bytes + build.to_bytes(4, "big")
