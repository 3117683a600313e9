"""Characters to tokens, and tokens to values."""

import re
from dataclasses import dataclass
from typing import NoReturn

from queries.filtering.tree import ANYTHING, Value
from queries.unusable import Unusable


class FilterMalformed(Unusable):
    """The filter can't be read."""


def refuse(sentence: str, position: int) -> NoReturn:
    raise FilterMalformed(f"At character {position}: {sentence}", position=position)


_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<text>[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?
               |[^\s()"',:=<>!]+)
      | (?P<string>"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+')
      | (?P<comparator><=|>=|!=|[<>=:])
      | (?P<open>\() | (?P<close>\)) | (?P<comma>,)""",
    re.VERBOSE | re.DOTALL,
)
KEYWORDS = frozenset({"AND", "OR", "NOT"})
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Token:
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


def tokens(text: str) -> list[Token]:
    found: list[Token] = []
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
            found.append(Token(kind, match.group(), at, match.end()))
        at = match.end()
    found.append(Token("end", "", at, at))
    return found


def unescape(token: Token) -> tuple[str, bool, bool]:
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


def value_of(token: Token) -> Value:
    if token.kind == "string":
        text, before, after = unescape(token)
    else:
        before = token.text.startswith("*")
        after = token.text.endswith("*") and len(token.text) > before
        text = token.text[before : len(token.text) - after]
    if not text and (before or after):
        return ANYTHING
    return Value(text, token.kind == "string", before, after)
