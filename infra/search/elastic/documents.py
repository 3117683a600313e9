"""An entry as a document of the index, and a comparison's values as the index has them.

Numbers and times stand as text whose order is theirs, so that they compare exactly.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from uuid import UUID

from infra.search.digest import Held
from infra.search.elastic.mappings import LONGEST_FACT, OPEN, SPELLINGS
from projections.search import Entry, Made
from projections.search.kinds import FACTS, FactType
from queries import analysis

MOST_WORDS = 20_000  # different ones of one entry
MOST_OF_A_TEXT = 10_000
MOST_OF_A_BODY = 60_000
OFTEN = 3  # places from which on a word stands often
LONGEST_TITLE = 200
NOTHING = "_"  # holds the place of a word that has no such spelling
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=10_000)
def mark(firm: UUID) -> str:
    """What each word of a firm begins with."""
    return hashlib.sha256(firm.bytes).hexdigest()[:10] + "."


def document_id(firm: UUID, id: UUID) -> str:
    return f"{firm}:{id}"


# --- values that compare

_WHOLE = 30
_PART = 30


def number(value: str) -> str:
    """A decimal as text whose order is that of the numbers; what is no number, or has more digits than any amount, is cut."""
    try:
        d = Decimal(value)
    except InvalidOperation:
        return "1"
    if not d.is_finite():
        return "9" if d > 0 else "0"
    whole, _, part = format(abs(d), "f").partition(".")
    digits = whole.rjust(_WHOLE, "0")[-_WHOLE:] + part[:_PART].ljust(_PART, "0")
    if len(whole) > _WHOLE:
        digits = "9" * (_WHOLE + _PART)
    if d < 0:
        return "1" + "".join(chr(ord("0") + ord("9") - ord(c)) for c in digits)
    return "2" + digits


def instant(value: str) -> str:
    """A time as text, in UTC, with microseconds."""
    at = datetime.fromisoformat(value)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at.isoformat(timespec="microseconds")


def comparable(type: FactType, value: str | bool) -> str:
    """A value of a fact as the index has it, without the firm's mark."""
    match type:
        case "flag":
            return str(value).lower()
        case "number":
            return number(str(value))
        case "time":
            return instant(str(value))
        case _:
            return str(value)[:LONGEST_FACT]


def micros(at: datetime) -> int:
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


# --- words


@dataclass(slots=True)
class _Side:
    """The words of one half of an entry: the personal one or the open one."""

    count: dict[str, int] = field(default_factory=dict)
    weights: dict[str, dict[str, None]] = field(default_factory=lambda: {w: {} for w in "abcd"})
    joined: dict[str, None] = field(default_factory=dict)
    numbers: dict[str, None] = field(default_factory=dict)
    heading: dict[str, None] = field(default_factory=dict)
    places: list[list[list[str]]] = field(default_factory=lambda: [[] for _ in range(SPELLINGS)])

    def add(self, text: str, weight: str, *, title: bool, limit: int, budget: list[int]) -> None:
        at = self.weights[weight]
        spellings: list[list[str]] = [[] for _ in range(SPELLINGS)]
        before: analysis.Token | None = None
        for token in analysis.tokens(text, limit):
            every = (*token.forms, *token.parts)
            for word in every:
                if word not in self.count:
                    if budget[0] <= 0:
                        continue
                    budget[0] -= 1
                    self.count[word] = 0
                self.count[word] += 1
                at[word] = None
                if title:
                    self.heading[word] = None
            for n, words in enumerate(spellings):
                words.append(every[n] if n < len(every) else NOTHING)
            if weight == "a" and before is not None and before.forms and token.forms:
                self.joined[(before.forms[0] + token.forms[0])[: analysis.MAX_WORD]] = None
            before = token
        for n, words in enumerate(spellings):
            self.places[n].append(words)

    def number(self, number: str) -> None:
        for tail in analysis.number_tails(number):
            self.numbers[tail] = None

    def fields(self, side: str, tag: str) -> Iterator[tuple[str, Any]]:
        higher: set[str] = set()
        for weight, words in self.weights.items():
            here = [w for w in words if w not in higher]
            higher.update(here)
            if here:
                yield side + weight, _joined(tag, here)
        often = [w for w, n in self.count.items() if n >= OFTEN]
        for name, found in (
            ("joined", self.joined), ("often", often), ("numbers", self.numbers), ("heading", self.heading)
        ):  # fmt: skip
            if found:
                yield side + name, _joined(tag, found)
        for n, texts in enumerate(self.places):
            if n == 0 or any(w != NOTHING for words in texts for w in words):
                yield f"{side}place{n}", [" ".join(w if w == NOTHING else tag + w for w in words) for words in texts]


def _joined(tag: str, words: Iterable[str]) -> str:
    return tag + f" {tag}".join(words)


@dataclass(frozen=True, slots=True)
class Written:
    """A document and the words a slip of a finger may be about: the personal ones and the open ones."""

    document: dict[str, Any]
    words: frozenset[str]
    open_words: frozenset[str]


def tombstone(firm: UUID, kind: str, id: UUID) -> dict[str, Any]:
    """What stands in the place of an entry that is found no more, so that no older version of it comes back."""
    return {"firm": str(firm), "kind": kind, "key": f"{kind}:{id}", "gone": True, "archived": False}


def written(e: Entry) -> Written:
    """The document of an entry."""
    tag = mark(e.firm)
    personal, open_ = _Side(), _Side()
    budget = [MOST_WORDS]
    for text in e.texts:
        side = personal if text.personal else open_
        side.add(text.text, text.weight.lower(), title=text.name == "title", limit=MOST_OF_A_TEXT, budget=budget)
        if text.weight != "A":
            for _, _, digits in analysis.numbers(text.text):
                side.number("+" + digits)
    for number in e.numbers:
        (personal if e.numbers_personal else open_).number(number)
    if e.body:
        personal.add(e.body, "d", title=False, limit=MOST_OF_A_BODY, budget=budget)
    line = analysis.key(e.title)
    title_side = "" if e.title_personal else OPEN
    document: dict[str, Any] = {
        "firm": str(e.firm),
        "kind": e.kind,
        "key": f"{e.kind}:{e.id}",
        "gone": False,
        "archived": e.archived,
        "changed": micros(e.made.occurred_at),
        "brief": round((LONGEST_TITLE - min(len(line), LONGEST_TITLE)) * 0.0004, 4),
        "length": min(len(e.title), 1_000),
        "shown": line[:LONGEST_TITLE],
        f"{title_side}line": tag + line,
        f"{title_side}title": tag + e.title,
        f"{title_side}heads": [tag + h for h in analysis.heads(e.title)],
        "entry": _entry(e),
    }
    document.update(personal.fields("", tag))
    document.update(open_.fields(OPEN, tag))
    document.update(_facts("", tag, e.facts))
    document.update(_facts(OPEN, tag, e.open_facts))
    return Written(document, _vocabulary(personal), _vocabulary(open_))


def _vocabulary(side: _Side) -> frozenset[str]:
    return frozenset(w for w in side.count if analysis.edits(w))


def _facts(side: str, tag: str, facts: Mapping[str, tuple[str | bool, ...]]) -> Iterator[tuple[str, Any]]:
    exact = {name: [tag + comparable(FACTS[name], v) for v in values] for name, values in facts.items() if values}
    low = {
        name: [tag + str(v).casefold()[:LONGEST_FACT] for v in values]
        for name, values in facts.items()
        if values and FACTS[name] == "text"
    }
    if exact:
        yield f"{side}facts", exact
    if low:
        yield f"{side}low", low


def _made(m: Made) -> list[str]:
    return [str(m.event_id), m.type, m.occurred_at.isoformat(), m.recorded_at.isoformat()]


def _entry(e: Entry) -> dict[str, Any]:
    """What is shown of it, and compared by digests."""
    made = {str(m.position): _made(m) for m in (e.made, *(t.made for t in e.texts), *((e.content.made,) if e.content else ()))}
    texts: list[list[Any]] = [[t.name, t.text, not t.personal, t.made.position] for t in e.texts]
    if e.content is not None:
        texts.append(["content", None, False, e.content.made.position])
    return {
        "version": e.version,
        "position": e.made.position,
        "changed_at": e.made.occurred_at.isoformat(),
        "archived": e.archived,
        "title": e.title,
        "title_open": not e.title_personal,
        "texts": texts,
        "facts": e.facts,
        "open_facts": e.open_facts,
        "made": made,
        "body": e.body or None,
        "unread": e.unread,
    }


def held(source: Mapping[str, Any]) -> Held:
    """A document that was read, as digests compare it."""
    kind, _, id = str(source["key"]).partition(":")
    e = source["entry"]
    return Held(
        firm=UUID(source["firm"]),
        kind=kind,
        id=UUID(id),
        version=e["version"],
        position=e["position"],
        changed_at=datetime.fromisoformat(e["changed_at"]),
        archived=e["archived"],
        title=e["title"],
        title_open=e["title_open"],
        texts=e["texts"],
        facts=e["facts"],
        open_facts=e["open_facts"],
        made=e["made"],
        body=e["body"],
        unread=e["unread"],
    )
