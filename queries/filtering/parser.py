"""Tokens to the tree, by recursive descent within the limits of F3."""

import re
from typing import NoReturn, cast

from queries.filtering.tokens import KEYWORDS, Token, refuse, tokens, unescape, unstorable, value_of
from queries.filtering.tree import Comparator, Node, Not, Restriction, Word, both, either, spread
from queries.unusable import Unusable, printable, shown

MAX_BYTES = 4_000
MAX_TERMS = 100
MAX_DEPTH = 32
_HINTS = {"&&": "AND", "||": "OR", "&": "AND", "|": "OR"}


class FilterTooLarge(Unusable):
    """The filter is larger than a filter may be."""


class FunctionInFilter(Unusable):
    """The filter calls a function, and the filter language has none."""


class _Parser:
    """The depth guard bounds the recursion, so no input can exhaust the stack."""

    def __init__(self, text: str) -> None:
        self.tokens = tokens(text)
        self.at = 0
        self.depth = 0
        self.terms = 0
        self.values_only = False

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def take(self) -> Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def keyword(self, word: str) -> bool:
        return self.token.kind == "text" and self.token.text == word

    def touches(self) -> bool:
        """Whether this token follows the one before without a space."""
        return self.at > 0 and self.token.start == self.tokens[self.at - 1].end

    def deeper(self, position: int) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise FilterTooLarge(
                f"At character {position} it is nested deeper than {MAX_DEPTH} levels. Write it with fewer parentheses.",
                position=position,
                limit=MAX_DEPTH,
            )

    def counted(self, position: int) -> None:
        self.terms += 1
        if self.terms > MAX_TERMS:
            raise FilterTooLarge(
                f"At character {position} the comparison or word number {MAX_TERMS + 1} begins; {MAX_TERMS} are allowed. "
                "Ask in several requests.",
                position=position,
                limit=MAX_TERMS,
            )

    def filter(self) -> Node:
        node = self.expression()
        if self.token.kind != "end":
            self.nothing_to_compare(self.token)
        return node

    def expression(self) -> Node:
        parts = [self.sequence()]
        while self.keyword("AND"):
            self.take()
            parts.append(self.sequence())
        return both(parts)

    def sequence(self) -> Node:
        parts = [self.factor()]
        while self.token.kind in {"text", "string", "open"} and not self.keyword("AND"):
            parts.append(self.factor())
        return both(parts)

    def factor(self) -> Node:
        parts = [self.term()]
        while self.keyword("OR"):
            self.take()
            parts.append(self.term())
        return either(parts)

    def term(self) -> Node:
        token = self.token
        if self.keyword("NOT") or (token.kind == "text" and token.text.startswith("-")):
            if self.values_only:
                if self.keyword("NOT"):
                    refuse("NOT does not stand among values. Write it before the field.", token.position)
                return self.simple()
            if token.text == "NOT":
                self.take()
            elif token.text == "-":
                self.take()
                if not self.touches():
                    refuse("“-” stands alone. Write it directly before what it negates, or write NOT.", token.position)
            else:
                self.tokens[self.at] = Token("text", token.text[1:], token.start + 1, token.end)
            self.deeper(token.position)
            node = Not(self.term())
            self.depth -= 1
            return node
        return self.simple()

    def simple(self) -> Node:
        token = self.token
        if token.kind == "open":
            return self.composite()
        if token.kind not in {"text", "string"}:
            self.nothing_to_compare(token)
        if token.kind == "text":
            if token.text in KEYWORDS:
                refuse(f"{token.text} needs something before and after it.", token.position)
            if token.text in _HINTS:
                refuse(f"write {_HINTS[token.text]} instead.", token.position)
        return self.restriction()

    def nothing_to_compare(self, token: Token) -> NoReturn:
        if token.kind == "end":
            refuse("the filter ends where a comparison such as title = “x” was expected.", token.position)
        if token.kind == "comparator":
            refuse("a comparison begins with a field; here the field is missing.", token.position)
        if token.kind == "close":
            if self.depth == 0:
                refuse("this closing parenthesis was never opened.", token.position)
            refuse("there is nothing between these parentheses.", token.position)
        refuse("a comma has no meaning in a filter. Write OR between values: field = (a OR b).", token.position)

    def composite(self) -> Node:
        opened = self.take()
        self.deeper(opened.position)
        node = self.expression()
        if self.token.kind != "close":
            if self.token.kind != "end":
                self.nothing_to_compare(self.token)
            refuse("this parenthesis is never closed.", opened.position)
        self.take()
        self.depth -= 1
        return node

    def restriction(self) -> Node:
        first = self.take()
        pieces = [first]
        while self.token.kind in {"text", "string"} and self.touches():
            pieces.append(self.take())
        if self.token.kind == "open" and self.touches():
            name = "".join(p.text for p in pieces)
            raise FunctionInFilter(
                f"At character {first.position}: {shown(name)}. Compare a field with a value instead.",
                function=printable(name),
                position=first.position,
            )
        if self.token.kind != "comparator":
            self.counted(first.position)
            if len(pieces) > 1:
                refuse("a space or a comparison is missing after this.", pieces[0].position)
            if not self.values_only and first.kind == "text" and first.text in {"and", "or", "not"}:
                refuse(
                    f"write {first.text.upper()} in capitals, or put the word between quotation marks to search for it.",
                    first.position,
                )
            return Word(value_of(first), first.position)
        if self.values_only:
            refuse("a comparison can't stand among the values of another one.", first.position)
        path = _path(pieces)
        comparator = cast("Comparator", self.take().text)
        return self.argument(path, comparator, first.position)

    def argument(self, path: tuple[str, ...], comparator: Comparator, position: int) -> Node:
        token = self.token
        if token.kind == "open":
            if comparator == "!=":
                refuse("!= takes one value. Write NOT before the comparison: NOT field = (a OR b).", token.position)
            self.values_only = True
            values = self.composite()
            self.values_only = False
            return spread(values, lambda w: Restriction(path, comparator, w.value, position, w.position))
        if token.kind == "comparator":
            if token.text == "=":
                refuse("write a single = for “equals”.", token.position)
            refuse("a value is missing between two comparison signs.", token.position)
        if token.kind not in {"text", "string"} or (token.kind == "text" and token.text in KEYWORDS):
            refuse("a value is missing after the comparison sign. Put text between quotation marks.", token.position)
        self.take()
        self.counted(position)
        if self.token.kind in {"text", "string"} and self.touches():
            refuse("a space is missing between two values, or quotation marks around the whole of it.", self.token.position)
        if self.token.kind == "open" and self.touches():
            raise FunctionInFilter(
                f"At character {token.position}: {shown(token.text)}. Write the value itself.",
                function=printable(token.text),
                position=token.position,
            )
        if self.token.kind == "comparator":
            refuse(
                "a second comparison sign follows a value. Write AND between two comparisons; put a value that holds : = < > "
                "between quotation marks.",
                self.token.position,
            )
        return Restriction(path, comparator, value_of(token), position, token.position)


def _path(pieces: list[Token]) -> tuple[str, ...]:
    """The names of a dotted field; a name that is no plain word stands between quotation marks."""
    atoms: list[str | None] = []  # None is a dot
    for piece in pieces:
        if piece.kind == "string":
            atoms.append(_literal_name(piece))
        else:
            atoms.extend(None if a == "." else a for a in re.split(r"(\.)", piece.text) if a)
    names = atoms[::2]
    if len(atoms) % 2 == 0 or any(a is not None for a in atoms[1::2]) or any(n is None or not n for n in names):
        refuse("a field is written as names with a dot between each two: stage.name.", pieces[0].position)
    return tuple(n for n in names if n is not None)


def _literal_name(token: Token) -> str:
    text, before, after = unescape(token)
    return "*" * before + text + "*" * after


def parse(text: str) -> Node | None:
    """The tree of a filter; None when it is empty, which lets everything through."""
    bad = unstorable(text)
    if bad is not None:
        refuse("this character (NUL or half of a pair) can't occur in text.", bad)
    size = len(text.encode())
    if size > MAX_BYTES:
        raise FilterTooLarge(f"It has {size} bytes; {MAX_BYTES} are allowed. Ask in several requests.", size=size, limit=MAX_BYTES)
    if not text.strip():
        return None
    return _Parser(text).filter()
