"""The tree of a filter, and how trees are joined."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, assert_never

Comparator: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">=", ":"]


@dataclass(frozen=True, slots=True)
class Value:
    """A literal as written: what type it has is decided by the field. `before` and `after` are `*` wildcards at its ends."""

    text: str
    quoted: bool = False
    before: bool = False
    after: bool = False


ANYTHING = Value("", before=True, after=True)


@dataclass(frozen=True, slots=True)
class Restriction:
    """`path comparator value`; `path:*` asks whether there is a value."""

    path: tuple[str, ...]
    comparator: Comparator
    value: Value
    position: int = field(default=1, compare=False)
    value_position: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class Word:
    """A bare value: looked for in the fields the collection searches."""

    value: Value
    position: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: "Node"


Node: TypeAlias = Restriction | Word | And | Or | Not


def both(parts: Iterable[Node]) -> Node:
    """Their conjunction, without an And directly inside an And."""
    flat = tuple(p for part in parts for p in (part.parts if isinstance(part, And) else (part,)))
    return flat[0] if len(flat) == 1 else And(flat)


def either(parts: Iterable[Node]) -> Node:
    """Their disjunction, without an Or directly inside an Or."""
    flat = tuple(p for part in parts for p in (part.parts if isinstance(part, Or) else (part,)))
    return flat[0] if len(flat) == 1 else Or(flat)


def spread(node: Node, leaf: Callable[[Word], Node]) -> Node:
    """The tree with every word replaced."""
    match node:
        case Word():
            return leaf(node)
        case And():
            return both(spread(p, leaf) for p in node.parts)
        case Or():
            return either(spread(p, leaf) for p in node.parts)
        case Not():
            return Not(spread(node.part, leaf))
        case Restriction():
            return node
        case _:
            assert_never(node)
