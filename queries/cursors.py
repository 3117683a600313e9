"""Where a page of a query ends and the next begins: a token of the sort values of its last row, opaque but not secret.

A token chooses where reading goes on and nothing else: whoever makes one up sees no row they could not see without it.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Any

from domain.kernel import Invalid

LONGEST = 500


class PageTokenMalformed(Invalid):
    """The page token is not one this list has given out. Ask for the first page again, without page_token."""


def write(values: Sequence[object]) -> str:
    """The token of a row with these sort values, written as text."""
    return urlsafe_b64encode(json.dumps([None if v is None else str(v) for v in values]).encode()).decode().rstrip("=")


def read(token: str, *kinds: Callable[[str], Any]) -> tuple[Any, ...]:
    """The sort values in a token, each of its kind; PageTokenMalformed when there are others."""
    try:
        if len(token) > LONGEST:
            raise ValueError
        texts = json.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        if not isinstance(texts, list) or len(texts) != len(kinds) or not all(t is None or isinstance(t, str) for t in texts):
            raise ValueError
        return tuple(None if t is None else kind(t) for t, kind in zip(texts, kinds, strict=True))
    except (ValueError, ArithmeticError, RecursionError) as e:
        raise PageTokenMalformed from e


def whole(text: str) -> int:
    """A number that a column can hold; ValueError for others."""
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError(text[:20])
    return number
