"""The port of search: what is asked of an engine, made plain, and what it finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias
from uuid import UUID

from projections.search import Made
from projections.search.kinds import FactType

WINDOW = 1_000  # hits that can be paged through
FEW = 10  # hits under which an engine looks for near words too
NEAR_WORDS = 1_000  # of which the nearest are taken
LOOSE_WORDS = 6  # looked for loosely at most


@dataclass(frozen=True, slots=True)
class OneWord:
    """A word by any of its forms; `open` when it may go on (the last one typed, or one with a *)."""

    forms: tuple[str, ...]
    open: bool = False


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words one after the other."""

    words: tuple[OneWord, ...]


@dataclass(frozen=True, slots=True)
class Number:
    """Digits of a telephone number, or the words they were written as."""

    digits: str
    words: tuple[OneWord, ...]


Clause: TypeAlias = OneWord | Phrase | Number
Op = Literal["=", "<", "<=", ">", ">=", "contains", "begins", "ends", "present"]


@dataclass(frozen=True, slots=True)
class Test:
    """One comparison of a fact: `values` are texts, `type` says how they compare."""

    fact: str
    type: FactType
    op: Op
    value: str = ""


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class NotSo:
    part: "Condition"


Condition: TypeAlias = Test | AllOf | AnyOf | NotSo


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """A search as an engine takes it. `near` asks for near words even where something holds the words as typed.
    Each engine looks in the reader's firm, in these kinds, with or without personal values: always."""

    clauses: tuple[Clause, ...] = ()
    without: tuple[Clause, ...] = ()
    condition: Condition | None = None
    kinds: tuple[str, ...] = ()
    archived: bool = False
    personal: bool = False
    key: str = ""
    most: int = WINDOW
    near: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A hit before it is shown. `beside` are the words it was found by instead of those asked for: near ones."""

    kind: str
    id: UUID
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Ranked, best first, at most WINDOW of them. `beside` maps each word to the near ones that were taken for it."""

    found: Sequence[Found]
    exact: bool
    beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    loose: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundText:
    name: str
    text: str
    made: Made


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEntry:
    """What is shown of a hit, without what the caller may not see. `title` is None when it is not his to see."""

    kind: str
    id: UUID
    version: int
    title: str | None
    archived: bool
    texts: Sequence[FoundText]
    facts: Mapping[str, Sequence[str | bool]]
    made: Made
    unread: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggested:
    kind: str
    id: UUID
    title: str


class SearchEngine(Protocol):
    """Where entries are found, for one reader: in its firm only. `past` says that the reader looks at another moment than now."""

    past: bool

    async def search(self, sought: Sought) -> Results: ...

    async def show(self, hits: Sequence[Found], *, personal: bool) -> Sequence[FoundEntry | None]:
        """The entries behind hits, in their order; None for one that is gone meanwhile."""
        ...

    async def suggest(self, text: str, kinds: Sequence[str], *, personal: bool, limit: int) -> Sequence[Suggested]:
        """Entries whose title may become what is being typed: `text` is an analysed key."""
        ...


class HasSearch(Protocol):
    """A reader with the search engine at hand."""

    search: SearchEngine
