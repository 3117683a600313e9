"""The filter language, AIP-160: text in, one frozen tree out, knowing nothing of fields, types or engines.

F1  AND binds looser than OR; terms side by side mean AND.
F2  Printing a tree and parsing the print gives the same tree (as long as the print keeps to the limits of F3).
F3  At most 4,000 bytes, 100 comparisons and words, 32 levels: whatever comes beyond is refused before it costs anything.
F4  Every refusal says at which character (from 1) and what to write instead; it never repeats a value, which may be personal.
F5  There are no functions: one that is called is refused by its name.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, NoReturn, TypeAlias, assert_never, cast

from domain.kernel import Invalid

MAX_BYTES = 4_000
MAX_TERMS = 100
MAX_DEPTH = 32

Comparator: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">=", ":"]

# --- the tree


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


# --- refusals


class Unusable(Invalid):
    """What was asked for can't be used."""

    def __init__(self, sentence: str, **about: object) -> None:
        super().__init__(**about)
        self.sentence = sentence

    @property
    def why(self) -> str:
        return f"{super().why} {self.sentence}"


class FilterTooLarge(Unusable):
    """The filter is larger than a filter may be."""


class FilterMalformed(Unusable):
    """The filter can't be read."""


class FunctionInFilter(Unusable):
    """The filter calls a function, and the filter language has none."""


def shown(name: str) -> str:
    """A name as a refusal may repeat it."""
    return f"“{printable(name)}”"


def printable(name: str) -> str:
    """A stranger's name for something, short and without characters that can't be shown or sent."""
    return "".join(c if c.isprintable() else "?" for c in (name if len(name) <= 40 else name[:39] + "…"))


def refuse(sentence: str, position: int) -> NoReturn:
    raise FilterMalformed(f"At character {position}: {sentence}", position=position)


# --- characters to tokens

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<text>[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?
               |[^\s()"',:=<>!]+)
      | (?P<string>"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+')
      | (?P<comparator><=|>=|!=|[<>=:])
      | (?P<open>\() | (?P<close>\)) | (?P<comma>,)""",
    re.VERBOSE | re.DOTALL,
)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "\\": "\\"}
_KEYWORDS = frozenset({"AND", "OR", "NOT"})
_HINTS = {"&&": "AND", "||": "OR", "&": "AND", "|": "OR"}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int

    @property
    def position(self) -> int:
        return self.start + 1


def unstorable(text: str) -> int | None:
    """Where a character stands that no database stores (NUL, half of a surrogate pair), counted from 1."""
    for at, c in enumerate(text, 1):
        if c == "\0" or "\ud800" <= c <= "\udfff":
            return at
    return None


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            c = text[at]
            if c in "\"'":
                refuse("this quotation mark is never closed. Close it, or write \\ before a mark that belongs to the text.", at + 1)
            refuse("“!” stands alone. Write != for “differs from” and NOT or - for the opposite.", at + 1)
        kind = str(match.lastgroup)
        if kind != "space":
            found.append(_Token(kind, match.group(), at, match.end()))
        at = match.end()
    found.append(_Token("end", "", at, at))
    return found


def _unescape(token: _Token) -> tuple[str, bool, bool]:
    """The text of a quoted string and whether it begins and ends with a wildcard."""
    body = token.text[1:-1]
    out: list[str] = []
    stars: list[int] = []
    i = 0
    while i < len(body):
        c = body[i]
        if c == "\\":
            e = body[i + 1]
            here = token.position + 1 + i
            if e == "*":
                out.append("*")
            elif e == "u":
                digits = body[i + 2 : i + 6]
                if not re.fullmatch(r"[0-9a-fA-F]{4}", digits):
                    refuse("\\u is followed by four hexadecimal digits.", here)
                letter = chr(int(digits, 16))
                if unstorable(letter):
                    refuse("this escape stands for a character that text can't hold.", here)
                out.append(letter)
                i += 4
            elif e in _ESCAPES:
                out.append(_ESCAPES[e])
            else:
                refuse("unknown escape. Known are \\\" \\' \\\\ \\* \\n \\t \\r and \\uXXXX; write \\\\ for a backslash.", here)
            i += 2
            continue
        if c == "*":
            stars.append(len(out))
        out.append(c)
        i += 1
    before = bool(stars) and stars[0] == 0
    after = bool(stars) and stars[-1] == len(out) - 1 and len(out) > before
    return "".join(out[before : len(out) - after]), before, after


def _value(token: _Token) -> Value:
    if token.kind == "string":
        text, before, after = _unescape(token)
    else:
        before = token.text.startswith("*")
        after = token.text.endswith("*") and len(token.text) > before
        text = token.text[before : len(token.text) - after]
    if not text and (before or after):
        return ANYTHING
    return Value(text, token.kind == "string", before, after)


# --- tokens to the tree


class _Parser:
    """Recursive descent; the depth guard bounds the recursion, so no input can exhaust the stack."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.at = 0
        self.depth = 0
        self.terms = 0
        self.values_only = False

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def take(self) -> _Token:
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
                self.tokens[self.at] = _Token("text", token.text[1:], token.start + 1, token.end)
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
            if token.text in _KEYWORDS:
                refuse(f"{token.text} needs something before and after it.", token.position)
            if token.text in _HINTS:
                refuse(f"write {_HINTS[token.text]} instead.", token.position)
        return self.restriction()

    def nothing_to_compare(self, token: _Token) -> NoReturn:
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
            return Word(_value(first), first.position)
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
        if token.kind not in {"text", "string"} or (token.kind == "text" and token.text in _KEYWORDS):
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
        return Restriction(path, comparator, _value(token), position, token.position)


def _path(pieces: list[_Token]) -> tuple[str, ...]:
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


def _literal_name(token: _Token) -> str:
    text, before, after = _unescape(token)
    return "*" * before + text + "*" * after


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


# --- the tree to text


def _quote(text: str) -> str:
    return re.sub(r'([\\"*])', r"\\\1", text)


def _show_value(value: Value) -> str:
    if value == ANYTHING:
        return "*"
    inner = value.text if not value.quoted else _quote(value.text)
    text = "*" * value.before + inner + "*" * value.after
    return f'"{text}"' if value.quoted else text


def _show_name(name: str, first: bool) -> str:
    if _PLAIN_NAME.fullmatch(name) and not (first and name in _KEYWORDS):
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
