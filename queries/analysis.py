# ruff: noqa: RUF001 - letters of many scripts are its matter
"""Text analysis, the same before indexing and before querying, so that an index needs no analyser of its own.

A1  What differs in capitals, accents or the writing of one letter (ß and ss, ö and oe, ø and o) has a form in common.
A2  A word in Cyrillic or Greek letters has its usual Latin spelling beside it.
A3  A telephone number is found by its digits, however they are grouped and with or without the country's or the trunk prefix.
A4  Two words that one slip of a finger apart share a typo key; the distance decides.
A5  Analysing never raises, and its cost grows with the length of the text alone.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

VERSION = 1  # to be raised when a form changes: what is indexed must be indexed anew

MAX_WORD = 64
_MARKS = "\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u064b-\u065f\u0670\u00ad\u200c\u200d"
_INDIC = "\u0900-\u0dff\u0e31-\u0e4e"
_WORD = re.compile(rf"[^\W_](?:[^\W_]|[{_MARKS}{_INDIC}])*(?:['’ʼ`][^\W_](?:[^\W_]|[{_MARKS}])*)*")
_APOSTROPHES = re.compile("['’ʼ`]")
_HAN = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af]+")
_PLAIN = re.compile(r"[a-z0-9]+")
_DROPPED = re.compile(f"[{_MARKS}]")

# Letters that no decomposition takes apart.
_LETTERS = {
    "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ı": "i", "ħ": "h", "ŋ": "n", "ĸ": "k", "ŧ": "t",
    "ƒ": "f", "ə": "e", "ß": "ss", "ё": "е", "ґ": "г", "ſ": "s",
}  # fmt: skip
# The other way in which these are written where their key is missing.
_SPELT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})
# Cyrillic (after Russian and Ukrainian passports) and Greek (ELOT 743), letter by letter.
_LATIN = str.maketrans(
    {
        "а": "a", "б": "b", "в": "v", "г": "g", "д": "d", "е": "e", "ж": "zh", "з": "z", "и": "i", "й": "i", "к": "k", "л": "l",
        "м": "m", "н": "n", "о": "o", "п": "p", "р": "r", "с": "s", "т": "t", "у": "u", "ф": "f", "х": "kh", "ц": "ts", "ч": "ch",
        "ш": "sh", "щ": "shch", "ъ": "", "ы": "y", "ь": "", "э": "e", "ю": "yu", "я": "ya", "і": "i", "ї": "i", "є": "ye", "ј": "j",
        "љ": "lj", "њ": "nj", "ћ": "c", "ђ": "dj", "џ": "dz", "ў": "u",
        "α": "a", "β": "v", "γ": "g", "δ": "d", "ε": "e", "ζ": "z", "η": "i", "θ": "th", "ι": "i", "κ": "k", "λ": "l", "μ": "m",
        "ν": "n", "ξ": "x", "ο": "o", "π": "p", "ρ": "r", "σ": "s", "τ": "t", "υ": "y", "φ": "f", "χ": "ch", "ψ": "ps", "ω": "o",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a text at [start, end). `forms` are how it may be written, the plainest first; `parts` are found too, never asked for."""

    forms: tuple[str, ...]
    start: int
    end: int
    parts: tuple[str, ...] = ()


def fold(word: str) -> str:
    """A word without capitals, accents and special letters."""
    if word.isascii():
        return word.lower()
    folded = unicodedata.normalize("NFKD", word.casefold())
    folded = _DROPPED.sub("", "".join(_LETTERS.get(c, c) for c in unicodedata.normalize("NFC", _DROPPED.sub("", folded))))
    return unicodedata.normalize("NFC", folded).casefold()


@lru_cache(maxsize=65_536)
def forms(word: str) -> tuple[str, ...]:
    """How a word may be written, the plainest first."""
    plain = fold(word)[:MAX_WORD]
    if word.isascii():
        return (plain,) if plain else ()
    spelt = fold(unicodedata.normalize("NFC", word.lower()).translate(_SPELT))[:MAX_WORD]
    latin = plain.translate(_LATIN)[:MAX_WORD]
    return tuple(dict.fromkeys(f for f in (plain, spelt, latin) if f))


def tokens(text: str, limit: int = 1_000_000) -> Iterator[Token]:
    """The words of a text, at most `limit` of them. What is written without spaces (Chinese, Japanese, Korean) comes two letters at a time."""
    for match in _WORD.finditer(text):
        if limit <= 0:
            return
        word = match.group()
        if not word.isascii() and _HAN.search(word):
            for token in _without_spaces(word, match.start()):
                yield token
                limit -= 1
            continue
        limit -= 1
        if _APOSTROPHES.search(word):
            pieces = [p for p in _APOSTROPHES.split(word) if p]
            parts = tuple(f for p in pieces for f in forms(p))
            yield Token(forms("".join(pieces)), match.start(), match.end(), parts)
            continue
        found = forms(word)
        if found:
            yield Token(found, match.start(), match.end())


def _without_spaces(word: str, at: int) -> Iterator[Token]:
    end = 0
    for run in _HAN.finditer(word):
        if run.start() > end:
            yield Token(forms(word[end : run.start()]), at + end, at + run.start())
        text = run.group()
        for i in range(max(1, len(text) - 1)):
            pair = text[i : i + 2]
            yield Token(forms(pair), at + run.start() + i, at + run.start() + i + len(pair))
        end = run.end()
    if end < len(word):
        yield Token(forms(word[end:]), at + end, at + len(word))


def key(text: str, limit: int = 40) -> str:
    """A text as one line of plain words, for comparing beginnings."""
    return " ".join(t.forms[0] for t in tokens(text, limit) if t.forms)


def heads(text: str, words: int = 6, length: int = 60) -> tuple[str, ...]:
    """What may be typed to get at a title: it, and what is left of it from each of its first words on, however it is written."""
    found: dict[str, None] = {}
    line = list(tokens(text, 24))
    for at in range(min(words, len(line))):
        for spelling in range(3):
            rest = " ".join(t.forms[min(spelling, len(t.forms) - 1)] for t in line[at:] if t.forms)
            found[rest[:length]] = None
    return tuple(h for h in found if h)


# --- telephone numbers

_NUMBER = re.compile(r"(?<![\w.])(?:\+|00)?\(?\d(?:[\d\s().\-/–]{3,28})\d(?!\w)")
_TRUNK = re.compile(r"\(0\)")
SHORTEST_NUMBER = 5
_LONGEST_NUMBER = 17


def digits(number: str) -> str:
    """The digits that say whom a number reaches, without what is dialled to get out of a country or a town."""
    plain = unicodedata.normalize("NFKC", _TRUNK.sub("", number))
    only = "".join(str(unicodedata.digit(c)) for c in plain if c.isdigit())
    if not plain.lstrip(" (").startswith("+"):
        for out in ("00", "011", "0"):
            if only.startswith(out) and (out != "011" or len(only) > 11):
                return only[len(out) :]
    return only


def number_tails(number: str) -> tuple[str, ...]:
    """The digits of a number from each place on, so that it is found without its prefix too."""
    all_digits = digits(number)[:_LONGEST_NUMBER]
    return tuple(all_digits[i:] for i in range(max(0, len(all_digits) - 3)))


def number_beginnings(found: str) -> tuple[str, ...]:
    """What tails of a written number may begin with to be the number asked for: it may have been written without its country's prefix."""
    return tuple(found[i:] for i in range(4 if len(found) >= 10 else 1))


def numbers(text: str) -> Iterator[tuple[int, int, str]]:
    """What may be telephone numbers in a text that somebody typed: start, end, digits."""
    for match in _NUMBER.finditer(text):
        found = digits(match.group())
        if SHORTEST_NUMBER <= len(found) <= _LONGEST_NUMBER:
            yield match.start(), match.end(), found


# --- typos

_KEYED = 6
_TAIL = 5


def edits(word: str) -> int:
    """How many slips of a finger a word of this kind may have: short ones and those with digits none, long ones two."""
    if len(word) < 4 or not word.isalpha() or (not word.isascii() and bool(_HAN.search(word))):
        return 0
    return 1 if len(word) < 8 else 2


def typo_keys(word: str) -> tuple[str, ...]:
    """Two words within their edits share one of these, nearly always: the beginning, the beginning less one letter, a long word's end, or both."""
    if edits(word) == 0:
        return ()
    head = word[:_KEYED]
    found = [head, *(head[:i] + head[i + 1 :] for i in range(len(head)))]
    if len(word) >= 8:
        found += ["$" + word[-_TAIL:], f"{word[:3]}-{word[-3:]}"]
    return tuple(dict.fromkeys(found))


def distance(a: str, b: str, most: int) -> int:
    """Letters changed, left out, put in or swapped with their neighbour; more than `most` is `most` + 1."""
    start = 0
    shorter = min(len(a), len(b))
    while start < shorter and a[start] == b[start]:
        start += 1
    end = 0
    while end < shorter - start and a[-1 - end] == b[-1 - end]:
        end += 1
    a, b = a[start : len(a) - end], b[start : len(b) - end]
    if abs(len(a) - len(b)) > most or min(len(a), len(b)) > 8 * most:
        return most + 1
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
        before, last = last, row
    return min(last[-1], most + 1)


def nearest(word: str, known: Iterable[str], *, open_end: bool = False, limit: int = 12) -> tuple[str, ...]:
    """Of the known words those within the edits of this one, the nearest first; with an open end, those that begin so."""
    most = edits(word)
    near = [(d, k) for k in known if k != word and (d := distance(word, k, most)) <= most]
    if open_end:
        whole = {k for _, k in near}
        size = len(word)
        near += [(d + 1, k) for k in known if k not in whole and len(k) > size and (d := distance(word, k[:size], 1)) <= 1]
    return tuple(k for _, k in sorted(near)[:limit])


# --- showing where


@dataclass(frozen=True, slots=True)
class Sought:
    """What a query looks for, as highlighting needs it: whole forms, beginnings, digits of numbers."""

    words: frozenset[str] = frozenset()
    beginnings: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()

    def hits(self, token: Token) -> bool:
        every = (*token.forms, *token.parts)
        return any(f in self.words for f in every) or (bool(self.beginnings) and any(f.startswith(self.beginnings) for f in every))


Part = tuple[str, bool]


def passages(text: str, size: int = 240) -> Iterator[tuple[int, int]]:
    """A text in pieces of about `size` characters that end where words do."""
    start = 0
    while start < len(text):
        end = min(len(text), start + size)
        if end < len(text):
            space = text.rfind(" ", start + size // 2, end)
            end = space if space > 0 else end
        yield start, end
        start = end


def _may_hold(passage: str, sought: Sought) -> bool:
    """Cheap: whether looking closer is worth it. Only what is plain ASCII can be ruled out."""
    if not passage.isascii():
        return True
    low = passage.lower().replace("'", "")
    return any(w in low for w in sought.words) or any(b in low for b in sought.beginnings)


def marked(text: str, sought: Sought, *, size: int = 240, look: int = 200_000) -> tuple[list[Part], int] | None:
    """The passage that holds most of what is sought, in parts that say whether they are hits, and how many different words it holds.

    None when the text holds nothing of it.
    """
    best: tuple[int, int, int, list[tuple[int, int]]] | None = None
    whole = len(text) <= size
    for start, end in ((0, len(text)),) if whole else passages(text[:look], size):
        passage = text[start:end]
        if not sought.numbers and not _may_hold(passage, sought):
            continue
        spans: list[tuple[int, int]] = []
        different: set[str] = set()
        for token in tokens(passage):
            if token.forms and sought.hits(token):
                spans.append((token.start, token.end))
                different.add(token.forms[0])
        for begin, stop, found in numbers(passage) if sought.numbers else ():
            if any(tail.startswith(n) for n in sought.numbers for tail in number_tails("+" + found)):
                spans = [s for s in spans if s[1] <= begin or s[0] >= stop]
                spans.append((begin, stop))
                different.add(found)
        if spans and (best is None or len(different) > best[0]):
            best = (len(different), start, end, sorted(spans))
    if best is None:
        return None
    count, start, end, spans = best
    return _parts(text, start, end, spans), count


def _parts(text: str, start: int, end: int, spans: Sequence[tuple[int, int]]) -> list[Part]:
    parts: list[Part] = [("… ", False)] if start else []
    at = start
    for begin, stop in spans:
        if start + begin < at:
            continue
        if start + begin > at:
            parts.append((text[at : start + begin], False))
        parts.append((text[start + begin : start + stop], True))
        at = start + stop
    if at < end:
        parts.append((text[at:end], False))
    if end < len(text):
        parts.append((" …", False))
    return parts
