"""The tree to text."""

import re
from typing import assert_never

from queries.filtering.tokens import KEYWORDS
from queries.filtering.tree import ANYTHING, And, Node, Not, Or, Restriction, Value, Word

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _quote(text: str) -> str:
    return re.sub(r'([\\"*])', r"\\\1", text)


def _show_value(value: Value) -> str:
    if value == ANYTHING:
        return "*"
    inner = value.text if not value.quoted else _quote(value.text)
    text = "*" * value.before + inner + "*" * value.after
    return f'"{text}"' if value.quoted else text


def _show_name(name: str, first: bool) -> str:
    if _PLAIN_NAME.fullmatch(name) and not (first and name in KEYWORDS):
        return name
    return f'"{_quote(name)}"'


def show(node: Node | None) -> str:
    """The canonical text of a tree: alternatives between parentheses, whatever binding would allow."""
    match node:
        case None:
            return ""
        case Restriction():
            path = ".".join(_show_name(n, not i) for i, n in enumerate(node.path))
            return f"{path} {node.comparator} {_show_value(node.value)}"
        case Word():
            return _show_value(node.value)
        case And():
            return " AND ".join(_grouped(p) for p in node.parts)
        case Or():
            return " OR ".join(_grouped(p) for p in node.parts)
        case Not():
            return f"NOT {_grouped(node.part)}"
        case _:
            assert_never(node)


def _grouped(node: Node) -> str:
    return f"({show(node)})" if isinstance(node, And | Or) else show(node)
