"""Fields: what a firm wants to know of its contacts and organisations beyond what everybody asks.

Each definition is a stream of its own, under an id derived from what it applies to and its key: a key is taken once, a value is
checked by loading one small stream, and two people who define different fields never wait for each other.

CF1  A key names one field for ever; the kind of a field never changes.
CF2  A value is checked against the definition as it stands when it is set.
CF3  A retired field takes no new values; values that were set stay as they were set.
CF4  A field of choices has at least one, each once; a smallest value is not above the largest.
CF5  Nothing is recorded when nothing changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Literal, assert_never
from urllib.parse import urlsplit

from domain.kernel import Invalid, Refused, Stream, event
from domain.people import FieldKind, FieldValue, difference, overlay

AppliesTo = Literal["contact", "organisation"]
Given = str | bool | int | Decimal | tuple[str, ...]

TEXT = 4000
URL = 2048
DIGITS = 30
CHOSEN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What of a definition may be amended."""

    label: str | None = None
    description: str | None = None
    choices: tuple[str, ...] | None = None
    minimum: Decimal | None = None
    maximum: Decimal | None = None


# --- events


@event("fields.Defined.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class FieldDefined:
    applies_to: AppliesTo
    key: str
    kind: FieldKind
    settings: Settings


@event("fields.Amended.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class FieldAmended:
    settings: Settings | None = None
    cleared: tuple[str, ...] = ()


@event("fields.Retired.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRetired:
    reason: str | None = None


@event("fields.Reinstated.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class FieldReinstated:
    pass


Event = FieldDefined | FieldAmended | FieldRetired | FieldReinstated

# --- state


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    key: str = ""
    kind: FieldKind = "text"
    settings: Settings = Settings()
    defined: bool = False
    retired: bool = False


# --- refusals


class FieldExists(Refused):
    """A field with this key is already defined. Choose another key, or reinstate and amend the one there is."""


class FieldIsRetired(Refused):
    """The field is retired and takes no new values. Reinstate it first."""


class NoSuchField(Invalid):
    """No field with this key is defined. Define it first, or check the spelling."""


class ChoicesWanted(Invalid):
    """A field of choices needs at least one choice and lists each once; other kinds list none."""


class BoundsCrossed(Invalid):
    """The smallest value is above the largest, or the field is not a number."""


class WrongValue(Invalid):
    """The value does not fit the field's definition."""


# --- decisions


def define(field: Field, *, applies_to: AppliesTo, key: str, kind: FieldKind, settings: Settings) -> list[Event]:
    if field.defined:
        raise FieldExists(key=key)
    _coherent(kind, settings)
    return [FieldDefined(applies_to=applies_to, key=key, kind=kind, settings=settings)]


def amend(field: Field, *, changes: Mapping[str, object]) -> list[Event]:
    settings, cleared = difference(field.settings, changes)
    if settings is None and not cleared:
        return []
    _coherent(field.kind, overlay(field.settings, settings, cleared))
    return [FieldAmended(settings=settings, cleared=cleared)]


def retire(field: Field, *, reason: str | None = None) -> list[Event]:
    return [] if field.retired else [FieldRetired(reason=reason)]


def reinstate(field: Field) -> list[Event]:
    return [FieldReinstated()] if field.retired else []


def _coherent(kind: FieldKind, settings: Settings) -> None:
    choices = settings.choices or ()
    if (kind in {"choice", "multi_choice"}) != bool(choices) or len(set(choices)) != len(choices):
        raise ChoicesWanted
    low, high = settings.minimum, settings.maximum
    if (low is not None or high is not None) and (kind != "number" or (low is not None and high is not None and low > high)):
        raise BoundsCrossed


def accept(field: Field, *, value: Given) -> FieldValue:
    """The value in the form the field keeps it, or a refusal that says what was expected."""
    if not field.defined:
        raise NoSuchField
    if field.retired:
        raise FieldIsRetired(key=field.key)
    kind, rules = field.kind, field.settings
    if kind == "boolean":
        flag = {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else value
        if not isinstance(flag, bool):
            raise WrongValue(key=field.key, expected="true or false")
        return FieldValue(kind=kind, flag=flag)
    if kind == "number":
        return FieldValue(kind=kind, number=_number(field, value))
    if kind == "multi_choice":
        chosen = (value,) if isinstance(value, str) else value
        if not isinstance(chosen, tuple) or len(chosen) > CHOSEN or not set(chosen) <= set(rules.choices or ()):
            raise WrongValue(key=field.key, expected="some of the choices", choices=rules.choices)
        return FieldValue(kind=kind, choices=tuple(dict.fromkeys(chosen)))
    if not isinstance(value, str):
        raise WrongValue(key=field.key, expected=f"text for a field of kind {kind}")
    if kind == "date":
        try:
            return FieldValue(kind=kind, day=date.fromisoformat(value))
        except ValueError:
            raise WrongValue(key=field.key, expected="a date as YYYY-MM-DD") from None
    if kind == "choice" and value not in (rules.choices or ()):
        raise WrongValue(key=field.key, expected="one of the choices", choices=rules.choices)
    if kind == "url" and not _is_web_address(value):
        raise WrongValue(key=field.key, expected="an http or https address")
    if len(value) > TEXT:
        raise WrongValue(key=field.key, expected=f"at most {TEXT} characters")
    return FieldValue(kind=kind, text=value)


def _number(field: Field, value: Given) -> Decimal:
    rules = field.settings
    if isinstance(value, bool | tuple) or (isinstance(value, str) and len(value) > 2 * DIGITS):
        raise WrongValue(key=field.key, expected="a number")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise WrongValue(key=field.key, expected="a number with a decimal point") from None
    if not number.is_finite() or len(number.as_tuple().digits) > DIGITS or abs(number.adjusted()) > DIGITS:
        raise WrongValue(key=field.key, expected=f"a number of at most {DIGITS} digits")
    low, high = rules.minimum, rules.maximum
    if (low is not None and number < low) or (high is not None and number > high):
        raise WrongValue(key=field.key, expected="a number within the field's bounds", minimum=low, maximum=high)
    return number


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and len(text) <= URL
            and text.isprintable()
            and " " not in text
        )
    except ValueError:
        return False


# --- evolve


def evolve(field: Field, e: Event) -> Field:
    match e:
        case FieldDefined():
            return Field(key=e.key, kind=e.kind, settings=e.settings, defined=True)
        case FieldAmended():
            return replace(field, settings=overlay(field.settings, e.settings, e.cleared))
        case FieldRetired():
            return replace(field, retired=True)
        case FieldReinstated():
            return replace(field, retired=False)
        case _:
            assert_never(e)


FIELD = Stream("field", Field(), evolve)
