"""What a literal of a filter means for a field: checked here, before any engine sees it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from typing import NoReturn
from uuid import UUID

from queries.filtering import Value
from queries.listing.fields import Field, Kind
from queries.unusable import Unusable, printable, shown

Scalar = UUID | str | int | bool | Decimal | datetime | date

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,4})?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_DURATION = re.compile(r"([+-]?[0-9]{1,9}(?:\.[0-9]{1,6})?)([smhdw])")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BIGINT = 2**63
_MAGNITUDE = 38
_DIGITS = 60


class UnknownField(Unusable):
    """There is no such field in this list."""


class WrongValue(Unusable):
    """The value does not fit the field."""


class WrongComparison(Unusable):
    """The field can't be compared in this way."""


class NeedsPersonal(Unusable):
    """The field is personal, and you may not see personal values."""


@dataclass(frozen=True, slots=True)
class Loose:
    """A literal for a field of any type: its text, and its number if it reads as one."""

    text: str
    number: Decimal | None


def near(name: str, known: Sequence[str]) -> tuple[str, ...]:
    """The known names that resemble this one, closest first."""
    folded = {k.lower(): k for k in known}
    return tuple(folded[m] for m in get_close_matches(name.lower()[:80], list(folded), n=3, cutoff=0.55))


def suggestion(alike: Sequence[str], known: Sequence[str]) -> str:
    if alike:
        return f"Did you mean {' or '.join(alike)}?"
    return f"Known are {', '.join(known[:40])}." if known else ""


def unknown_field(name: str, known: Sequence[str], position: int | None = None, within: str = "") -> UnknownField:
    alike = near(name, known)
    where = f"At character {position}: " if position else ""
    about: dict[str, object] = {"field": printable(name), "near": list(alike)}
    if position:
        about["position"] = position
    return UnknownField(
        f"{where}{shown(name)}{f' in {printable(within)}' if within else ''}. {suggestion(alike, known)}".rstrip(), **about
    )


def _wrong(name: str, wanted: str, position: int) -> NoReturn:
    raise WrongValue(f"At character {position}: {name} takes {wanted}.", field=printable(name), position=position)


def number(text: str) -> Decimal | None:
    """The number this text writes, if it is one that every engine can hold."""
    if not _NUMBER.fullmatch(text):
        return None
    value = Decimal(text)
    if value and not -_MAGNITUDE <= value.adjusted() <= _MAGNITUDE:
        return None
    return value if len(value.as_tuple().digits) <= _DIGITS else None


def day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        return None


def time(text: str) -> datetime | None:
    """The instant an RFC 3339 timestamp names, in UTC; None without an offset or outside the calendar."""
    parts = _TIME.fullmatch(text)
    if parts is None:
        return None
    try:
        return datetime.fromisoformat(f"{parts[1]}T{parts[2]}{parts[3].upper()}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def from_now(value: Value, now: datetime) -> datetime | None:
    """The instant an unquoted duration leads to: -7d is a week ago."""
    parts = None if value.quoted else _DURATION.fullmatch(value.text)
    if parts is None:
        return None
    try:
        return now.astimezone(UTC) + timedelta(seconds=float(Decimal(parts[1]) * _SECONDS[parts[2]]))
    except OverflowError:
        return None


def literal(name: str, f: Field, value: Value, position: int, now: datetime) -> Scalar | Loose:
    """The value as this field's type has it. A whole day against a point in time stays a date."""
    text = value.text
    if (value.before or value.after) and f.kind is not Kind.text:
        _wrong(name, f"no * ({f.kind}); wildcards are for text", position)
    match f.kind:
        case Kind.text:
            return text
        case Kind.id:
            if _UUID.fullmatch(text):
                return UUID(text)
            _wrong(name, "an id such as 0190a1b2-0000-7000-8000-000000000000", position)
        case Kind.whole:
            n = number(text)
            if n is None or n != n.to_integral_value():
                _wrong(name, "a whole number", position)
            if not -_BIGINT <= n < _BIGINT:
                _wrong(name, "a whole number of at most 64 bits", position)
            return int(n)
        case Kind.decimal:
            n = number(text)
            if n is None:
                _wrong(name, "a number such as 1250.50, below 1e39", position)
            return n
        case Kind.flag:
            if text in {"true", "false"}:
                return text == "true"
            _wrong(name, "true or false", position)
        case Kind.time:
            instant = time(text) or from_now(value, now)
            whole_day = day(text)
            if instant is None and (whole_day is None or whole_day == date.max):
                _wrong(
                    name,
                    'a time with its offset ("2026-01-31T09:00:00+01:00"), a date (2026-01-31) or a time from now (-7d)',
                    position,
                )
            return instant or whole_day or now
        case Kind.day:
            that = day(text)
            if that is None:
                moved = from_now(value, now)
                if moved is None:
                    _wrong(name, "a date such as 2026-01-31 or a time from now such as 7d", position)
                that = moved.date()
            return that
        case Kind.choice:
            if text in f.choices:
                return text
            alike = near(text, f.choices)
            raise WrongValue(
                f"At character {position}: {name} takes one of {', '.join(f.choices[:40])}."
                + (f" Did you mean {' or '.join(alike)}?" if alike else ""),
                field=printable(name),
                position=position,
                near=list(alike),
            )
        case _:
            return Loose(text, number(text))
