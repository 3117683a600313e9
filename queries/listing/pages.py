"""Where a page ends and the next begins: an opaque, sealed token that works for the list it was made for and no other.

P1  A token names the sort values of the last row seen, so rows that come, go or change elsewhere neither repeat nor hide any.
P2  A token is sealed (AES-SIV) and bound to collection, firm, filter, order and whatever else chose the rows: another list's,
    another firm's or a changed one is refused, and nobody reads the values in it.
"""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from queries.listing.fields import EVERY_ROW, SCALARS, SQL_TYPES, Field, Kind
from queries.listing.resolve import SEES_PERSONAL
from queries.listing.sql import Compiler
from queries.listing.values import NeedsPersonal, suggestion, unknown_field
from queries.unusable import Unusable, printable

MAX_ORDERS = 5
MAX_ORDER_LENGTH = 500
MAX_TOKEN = 16_384


class OrderUnusable(Unusable):
    """The list can't be sorted in this way."""


class PageTokenUnusable(Unusable):
    """The page token does not belong to this list."""


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort key. Missing values stand last in either direction."""

    name: str
    field: Field
    descending: bool = False

    @property
    def nullable(self) -> bool:
        return self.field.nullable or self.field.personal

    def sql(self, alias: str) -> str:
        missing_last = " NULLS LAST" if self.descending and self.nullable else ""
        return f'{alias}."{self.name}"{" DESC" if self.descending else ""}{missing_last}'


ID = Sort("id", EVERY_ROW["id"])


def sorts(fields: Mapping[str, Field], order: str, permissions: frozenset[str]) -> tuple[Sort, ...]:
    """`amount desc, title` as sort keys, made total by the id. A leading minus means desc as well."""
    if len(order) > MAX_ORDER_LENGTH:
        raise OrderUnusable(f"order_by has {len(order)} characters; {MAX_ORDER_LENGTH} are allowed.", limit=MAX_ORDER_LENGTH)
    found: list[Sort] = []
    for part in order.split(",") if order.strip() else []:
        words = part.split()
        if not words or len(words) > 2 or (len(words) == 2 and words[1].lower() not in {"asc", "desc"}):
            raise OrderUnusable(
                "Write names with commas between them, each with desc after it where the largest comes first: amount desc, title."
            )
        minus, name = words[0].startswith("-"), words[0].removeprefix("-")
        if minus and len(words) == 2:
            raise OrderUnusable("Write either a minus before the name or desc after it.", field=printable(name))
        f = fields.get(name)
        known = [n for n, k in fields.items() if k.kind in SCALARS]
        if f is None:
            raise unknown_field(name, known, within="order_by")
        if f.kind not in SCALARS:
            raise OrderUnusable(f"{name} holds several values. {suggestion((), known)}", field=name)
        if f.personal and SEES_PERSONAL not in permissions:
            raise NeedsPersonal(
                f"{name}: sorting by it needs the permission {SEES_PERSONAL}.", field=name, permission=SEES_PERSONAL
            )
        if any(s.name == name for s in found):
            raise OrderUnusable(f"{name} is named twice.", field=name)
        found.append(Sort(name, f, minus or words[-1].lower() == "desc"))
    if len(found) > MAX_ORDERS:
        raise OrderUnusable(f"It names {len(found)} fields; {MAX_ORDERS} are allowed.", limit=MAX_ORDERS)
    names = [s.name for s in found]
    if "id" in names:
        return tuple(found[: names.index("id") + 1])
    return (*found, Sort("id", ID.field, found[-1].descending if found else False))


def after(order: Sequence[Sort], last: Sequence[object], alias: str, compiler: Compiler) -> str:
    """The rows that stand behind the one with these sort values."""
    values = [None if v is None else compiler.param(v, SQL_TYPES[s.field.kind]) for s, v in zip(order, last, strict=True)]
    columns = [f'{alias}."{s.name}"' for s in order]
    if len({s.descending for s in order}) == 1 and not any(s.nullable for s in order):
        sign = "<" if order[0].descending else ">"
        return f"({', '.join(columns)}) {sign} ({', '.join(str(v) for v in values)})"
    condition = ""
    for s, column, value in reversed(list(zip(order, columns, values, strict=True))):
        behind = "false" if value is None else f"{column} {'<' if s.descending else '>'} {value}"
        if value is not None and s.nullable:
            behind = f"({behind} OR {column} IS NULL)"
        level = f"{column} IS NULL" if value is None else f"{column} = {value}"
        condition = f"({behind} OR ({level} AND {condition}))" if condition else behind
    first, value = order[0], values[0]
    if value is not None and not first.nullable:
        condition = f"({columns[0]} {'<=' if first.descending else '>='} {value} AND {condition})"
    return condition


# --- tokens


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, date | datetime) else str(value) if isinstance(value, UUID | Decimal) else value


def _typed(value: object, kind: Kind) -> object:
    if value is None:
        return None
    match kind:
        case Kind.id:
            return UUID(str(value))
        case Kind.decimal:
            return Decimal(str(value))
        case Kind.time:
            return datetime.fromisoformat(str(value))
        case Kind.day:
            return date.fromisoformat(str(value))
        case _:
            return value


@lru_cache(maxsize=8)
def _cipher(key: bytes) -> AESSIV:
    if len(key) < 16:
        raise ValueError("the key of page tokens has at least 16 bytes")
    return AESSIV(hmac.digest(key, b"chancery page token v1", "sha512"))


def binding(*parts: str) -> bytes:
    """What a token is good for, as one digest."""
    return hashlib.sha256(json.dumps(parts).encode()).digest()


@dataclass(frozen=True, slots=True)
class Mark:
    """What a token says: the sort values of the last row, and the instant the first page was asked for."""

    last: tuple[object, ...]
    now: datetime


def seal(mark: Mark, key: bytes, bound: bytes) -> str:
    plain = json.dumps([mark.now.isoformat(), *map(_plain, mark.last)], ensure_ascii=False, separators=(",", ":")).encode()
    return urlsafe_b64encode(_cipher(key).encrypt(plain, [bound])).decode().rstrip("=")


def unseal(token: str, order: Sequence[Sort], key: bytes, bound: bytes) -> Mark:
    advice = "Ask for the first page again, without page_token, and keep filter and order_by the same from page to page."
    if len(token) > MAX_TOKEN or not token.isascii():
        raise PageTokenUnusable(advice)
    try:
        sealed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        now, *last = json.loads(_cipher(key).decrypt(sealed, [bound]))
    except (InvalidTag, ValueError) as e:
        raise PageTokenUnusable(advice) from e
    return Mark(tuple(_typed(v, s.field.kind) for v, s in zip(last, order, strict=True)), datetime.fromisoformat(now))
