"""Strict JSON from strangers: what a body may not be is refused with the place where it is, in time linear in its size.

J1  Size and depth are checked before anything is parsed.
J2  Accepted text is RFC 8259 JSON in UTF-8 without NUL, halves of surrogate pairs, NaN, infinities or names used twice in one object.
J3  Whole numbers beyond 64 bits are refused: they would silently turn into others.
J4  No refusal repeats a value of the body.
"""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from queries.unusable import Unusable

MAX_BYTES = 1_048_576
MAX_DEPTH = 32

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_OPENINGS = re.compile(rb"[\[\]]")
_LONG_WHOLE = re.compile(rb"(?<![0-9.eE+])-?[0-9]{19,}+(?![0-9.eE])")
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_ALL_BUT_BRACKETS = bytes(b for b in range(256) if b not in b"[]{}")


class BodyUnusable(Unusable):
    """The body can't be used."""


class BodyTooLarge(BodyUnusable):
    """The body is larger than a body may be."""


class BodyTooDeep(BodyUnusable):
    """The body is nested deeper than a body may be."""


class NotJson(BodyUnusable):
    """The body is not JSON."""


class NameTwice(BodyUnusable):
    """The body uses a name twice in one object, so that it could be read in two ways."""


class NumberUnusable(BodyUnusable):
    """The body holds a number that can't be kept exactly."""


class TextUnusable(BodyUnusable):
    """The body holds text with a character that can't be stored."""


def decode(body: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """The value of a JSON body, or a refusal that names where it can't be used (byte from 1, line and column, or member)."""
    if len(body) > max_bytes:
        raise BodyTooLarge(f"It has {len(body)} bytes; {max_bytes} are allowed.", size=len(body), limit=max_bytes)
    bare = _STRING.sub(b'""', body)
    _check_depth(body, bare, max_depth)
    _check_wholes(body, bare)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise _not_json(body, e) from e
    if bare.count(b":") != _names(value):
        name = _name_used_twice(body)
        raise NameTwice(f"The name that begins at byte {name} stands in the same object before.", byte=name)
    if b"\\u0000" in body:
        for path, text in _texts(value):
            if "\0" in text:
                raise TextUnusable(f"{path} holds the NUL character. Leave it out.", member=path)
    return value


def _not_json(body: bytes, e: orjson.JSONDecodeError) -> BodyUnusable:
    where: dict[str, object] = {"line": e.lineno, "column": e.colno}
    at = f"At line {e.lineno}, column {e.colno}: "
    if "infinity" in e.msg:
        return NumberUnusable(f"{at}the number is too large; send at most 1e308, or exact numbers as text.", **where)
    if "UTF-8:" in e.msg:
        return NotJson("It is not text in UTF-8.")
    if "surrogate" in e.msg:
        return TextUnusable(f"{at}half of a surrogate pair stands alone; send whole characters in UTF-8.", **where)
    if not body.strip():
        return NotJson("It is empty; send a JSON object.", **where)
    return NotJson(f"{at}{e.msg.partition(': line ')[0].partition(', expected')[0]}.", **where)


def _check_depth(body: bytes, bare: bytes, limit: int) -> None:
    if body.count(b"[") + body.count(b"{") <= limit:
        return
    # each pass takes away the innermost brackets of all; what is as deep as allowed is gone after as many passes
    brackets = bare.translate(_ONE_KIND, _ALL_BUT_BRACKETS)
    left = brackets
    for _ in range(limit):
        left = left.replace(b"[]", b"")
        if not left:
            return
    depth = 0
    for found in _OPENINGS.finditer(brackets):
        depth += 1 if found.group() == b"[" else -1
        if depth > limit:
            raise BodyTooDeep(f"It is nested deeper than {limit} levels.", limit=limit)


def _check_wholes(body: bytes, bare: bytes) -> None:
    for found in _LONG_WHOLE.finditer(bare):
        digits = found.group()
        if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
            raise NumberUnusable("A whole number has more than 64 bits; send it as text.", byte=body.find(digits) + 1)


def _names(value: Any) -> int:
    """How many members all objects of the value have together."""
    count = 0
    open_values = [value]
    while open_values:
        v = open_values.pop()
        if isinstance(v, dict):
            count += len(v)
            open_values.extend(m for m in v.values() if isinstance(m, dict | list))
        elif isinstance(v, list):
            open_values.extend(m for m in v if isinstance(m, dict | list))
    return count


_TOKEN = re.compile(rb'(?P<text>"(?:[^"\\]++|\\.)*+")(?P<name>[ \t\r\n]*+:)?|(?P<open>[{\[])|(?P<close>[}\]])', re.DOTALL)


def _name_used_twice(body: bytes) -> int:
    """The byte, from 1, where a name begins that its object holds before."""
    objects: list[set[str]] = []
    for token in _TOKEN.finditer(body):
        if token["open"]:
            objects.append(set())
        elif token["close"]:
            objects.pop()
        elif token["name"]:
            name = orjson.loads(token["text"])
            if name in objects[-1]:
                return token.start() + 1
            objects[-1].add(name)
    raise AssertionError("a name was counted twice and not found")


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    """Every text with the member it stands in; names of members too, under the object that has them."""
    open_values: list[tuple[str, Any]] = [("$", value)]
    while open_values:
        path, v = open_values.pop()
        if isinstance(v, str):
            yield path, v
        elif isinstance(v, list):
            open_values.extend((f"{path}[{i}]", m) for i, m in enumerate(v))
        elif isinstance(v, dict):
            for name, m in v.items():
                yield f"{path} (a name)", name
                open_values.append((f"{path}.{name[:40]}", m))
