"""Values of rows as words to search for and as facts to filter by."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from domain.people import Address, Email, FieldValue, Issue, Link, Phone

Fact = tuple[str | bool, ...]


def words(value: Any) -> Iterable[str]:
    """The words in a value of a row, telephone numbers left out."""
    match value:
        case None | bool() | Phone():
            return
        case str():
            yield value
        case Email():
            yield value.address
        case Link():
            yield value.url
        case Address():
            yield ", ".join(
                p for p in (*value.street, value.postal_code, value.city, value.state, value.country_name, value.country) if p
            )
        case Issue():
            yield value.value
        case FieldValue():
            for inner in (value.text, value.number, value.day, value.choices):
                yield from words(inner)
        case datetime() | UUID():
            return
        case date():
            yield value.isoformat()
        case Decimal() | int():
            yield format(value, "f") if isinstance(value, Decimal) else str(value)
        case Mapping():
            for inner in value.values():
                yield from words(inner)
        case tuple() | list():
            for inner in value:
                yield from words(inner)
        case _:
            named = getattr(value, "__dataclass_fields__", ())
            for name in named:
                yield from words(getattr(value, name))


def fact(value: Any) -> Fact:
    match value:
        case None:
            return ()
        case StrEnum():
            return (str(value),)
        case str() | bool():
            return (value,) if value != "" else ()
        case Email():
            return (value.address,)
        case datetime():
            return (value.astimezone(UTC).isoformat(),)
        case date() | UUID() | int():
            return (str(value),)
        case Decimal():
            return (format(value, "f"),)
        case tuple() | list():
            return tuple(f for inner in value for f in fact(inner))
        case _:
            return ()
