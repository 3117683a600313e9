"""Values that several contexts say of people and organisations, and how two sets of them are compared.

Values only: no events, no streams, no refusals. A value that could not be read is kept as it came, with the issue found in it.

A *profile* is a frozen dataclass whose fields are all optional; None means nothing is known, and an empty list is stored as None.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from decimal import Decimal
from typing import Any, ClassVar, Literal, Protocol, TypeVar

TAGS = 100
CUSTOM = 200
REASON = 1000

FieldKind = Literal["text", "number", "date", "boolean", "choice", "multi_choice", "url"]

# --- values


@dataclass(frozen=True, slots=True, kw_only=True)
class Email:
    """`address` is normalised when it is valid; `issue` says why it is not."""

    address: str
    label: str | None = None
    primary: bool = False
    issue: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Phone:
    """`raw` is the text as it came, `number` its E.164 form; without a number `issue` says why."""

    raw: str
    number: str | None = None
    extension: str | None = None
    label: str | None = None
    primary: bool = False
    issue: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """`country` is ISO 3166-1 alpha-2; `country_name` the country as it was written. Degrees are WGS 84."""

    street: tuple[str, ...] = ()
    city: str | None = None
    state: str | None = None
    postal_code: str | None = None
    country: str | None = None
    country_name: str | None = None
    latitude: Decimal | None = None
    longitude: Decimal | None = None
    label: str | None = None
    primary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A web site, a profile or a messenger handle, as a URI."""

    url: str
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """A value that was not acceptable, kept as it came, with the field it was meant for and the reason."""

    field: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldValue:
    """The value of a custom field: `kind` says which of the others holds it (`choice` and `url` use `text`)."""

    kind: FieldKind
    text: str | None = None
    number: Decimal | None = None
    day: date | None = None
    flag: bool | None = None
    choices: tuple[str, ...] | None = None


# --- profiles


class Profiled(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


P = TypeVar("P", bound=Profiled)


def difference(before: P, wish: Mapping[str, object]) -> tuple[P | None, tuple[str, ...]]:
    """What of `wish` differs from `before`: the changed values, and the names of those that are cleared. Both empty: nothing."""
    wanted = {name: None if value == () else value for name, value in wish.items()}
    changed = {name: value for name, value in wanted.items() if value is not None and value != getattr(before, name)}
    cleared = tuple(sorted(name for name, value in wanted.items() if value is None and getattr(before, name) is not None))
    return (type(before)(**changed) if changed else None), cleared


def overlay(before: P, changed: P | None, cleared: Iterable[str]) -> P:
    """`before` with the changed values in place and the cleared ones gone."""
    values: dict[str, Any] = dict.fromkeys(cleared)
    if changed is not None:
        values |= said(changed)
    return replace(before, **values) if values else before


def said(profile: Profiled) -> dict[str, Any]:
    """The fields of a profile that say something."""
    return {f.name: value for f in fields(profile) if (value := getattr(profile, f.name)) is not None}


def amendment(profile: P, changes: Mapping[str, object]) -> tuple[P | None, tuple[str, ...]]:
    """The difference that `changes` make; a new value settles the issues that were found in the field's old one."""
    changed, cleared = difference(profile, changes)
    settled = (set(said(changed)) if changed is not None else set()) | set(cleared)
    issues: tuple[Issue, ...] | None = getattr(profile, "issues", None)
    if issues and settled and "issues" not in changes:
        rest = tuple(i for i in issues if i.field.partition("[")[0] not in settled)
        return difference(profile, {**changes, "issues": rest})
    return changed, cleared


# --- custom values and tags

Custom = Mapping[str, FieldValue]


def custom_changes(have: Custom, values: Mapping[str, FieldValue | None]) -> tuple[dict[str, FieldValue] | None, tuple[str, ...]]:
    """What of `values` differs: the changed ones, and the keys of those that are cleared."""
    changed = {k: v for k, v in values.items() if v is not None and have.get(k) != v}
    return changed or None, tuple(sorted(k for k, v in values.items() if v is None and k in have))


def with_custom(have: Custom, changed: Custom | None, cleared: Iterable[str]) -> dict[str, FieldValue]:
    """Custom values with the changed ones in place and the cleared ones gone; a key may be written `custom.<key>`."""
    gone = {key.removeprefix("custom.") for key in cleared}
    return {k: v for k, v in {**have, **(changed or {})}.items() if k not in gone}


def new_tags(have: tuple[str, ...], asked: Iterable[str]) -> tuple[str, ...]:
    """The tags among `asked` that are not there yet, whatever their case, each once."""
    known = {t.casefold() for t in have}
    return tuple({t.casefold(): t for t in asked if t.casefold() not in known}.values())


def present_tags(have: tuple[str, ...], asked: Iterable[str]) -> tuple[str, ...]:
    """The tags there are among `asked`, as they were written."""
    wanted = {t.casefold() for t in asked}
    return tuple(t for t in have if t.casefold() in wanted)
