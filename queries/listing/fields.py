"""What can be asked of a view's rows: each field's kind, worked out from the row's annotations, and whether it is personal."""

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from domain.kernel import Personal
from projections.kernel import Hidden


class Kind(StrEnum):
    """What a value is. The last four hold others: `many` a list, `record` named parts, `keyed` free names, `loose` any JSON."""

    id = "id"
    text = "text"
    whole = "whole number"
    decimal = "number"
    flag = "yes or no"
    time = "point in time"
    day = "date"
    choice = "one of a few words"
    many = "list"
    record = "record"
    keyed = "named values"
    loose = "any value"


SCALARS = frozenset({Kind.id, Kind.text, Kind.whole, Kind.decimal, Kind.flag, Kind.time, Kind.day, Kind.choice})
SQL_TYPES: Mapping[Kind, str] = {
    Kind.id: "uuid",
    Kind.text: "text",
    Kind.whole: "bigint",
    Kind.decimal: "numeric",
    Kind.flag: "boolean",
    Kind.time: "timestamptz",
    Kind.day: "date",
    Kind.choice: "text",
    Kind.loose: "text",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. `each` is the element of a list or of named values, `parts` are those of a record."""

    kind: Kind
    nullable: bool = False
    personal: bool = False
    choices: tuple[str, ...] = ()
    parts: Mapping[str, "Field"] = field(default_factory=dict)
    each: "Field | None" = None


EVERY_ROW: Mapping[str, Field] = {
    "id": Field(kind=Kind.id),
    "version": Field(kind=Kind.whole),
    "created_at": Field(kind=Kind.time),
    "updated_at": Field(kind=Kind.time),
    "position": Field(kind=Kind.whole),
}

_BY_TYPE: Mapping[Any, Kind] = {
    UUID: Kind.id,
    str: Kind.text,
    int: Kind.whole,
    bool: Kind.flag,
    Decimal: Kind.decimal,
    datetime: Kind.time,
    date: Kind.day,
}


_KNOWN: dict[type, Mapping[str, Field]] = {}


def fields_of(row: type) -> Mapping[str, Field]:
    """The fields of a view whose row this is, in the order they are shown."""
    known = _KNOWN.get(row)
    if known is None:
        known = _KNOWN[row] = {**EVERY_ROW, **_parts(row)}
    return known


def _parts(row: type) -> dict[str, Field]:
    return {name: _field(hint) for name, hint in get_type_hints(row, include_extras=True).items() if not is_hidden(hint)}


def is_hidden(hint: Any) -> bool:
    """Whether a column is nobody's to see."""
    return get_origin(hint) is Annotated and any(isinstance(m, Hidden) for m in get_args(hint)[1:])


def _field(hint: Any, *, nullable: bool = False, personal: bool = False) -> Field:
    if get_origin(hint) is Annotated:
        inner, *marks = get_args(hint)
        return _field(inner, nullable=nullable, personal=personal or any(isinstance(m, Personal) for m in marks))
    if isinstance(hint, NewType):
        return _field(hint.__supertype__, nullable=nullable, personal=personal)
    origin, args = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        others = [a for a in args if a is not type(None)]
        nullable = nullable or len(others) < len(args)
        if len(others) == 1:
            return _field(others[0], nullable=nullable, personal=personal)
        personal = personal or any(_field(o).personal for o in others)
        return Field(kind=Kind.loose, nullable=nullable, personal=personal)
    if origin is Literal and all(isinstance(a, str) for a in args):
        return Field(kind=Kind.choice, nullable=nullable, personal=personal, choices=tuple(args))
    if origin in {tuple, list, frozenset, set} and args:
        each = _field(args[0])
        return Field(kind=Kind.many, nullable=nullable, personal=personal or each.personal, each=each)
    if origin in {dict, Mapping} and len(args) == 2:
        each = _field(args[1])
        return Field(kind=Kind.keyed, nullable=nullable, personal=personal or each.personal, each=each)
    if hint in _BY_TYPE:
        return Field(kind=_BY_TYPE[hint], nullable=nullable, personal=personal)
    if isinstance(hint, type) and issubclass(hint, Enum) and all(isinstance(m.value, str) for m in hint):
        return Field(kind=Kind.choice, nullable=nullable, personal=personal, choices=tuple(str(m.value) for m in hint))
    if is_dataclass(hint) and isinstance(hint, type):
        return Field(kind=Kind.record, nullable=nullable, personal=personal, parts=_parts(hint))
    return Field(kind=Kind.loose, nullable=nullable, personal=personal)


def is_array_column(f: Field) -> bool:
    """Whether a list is an array in Postgres (text[], uuid[]) rather than jsonb."""
    return f.kind is Kind.many and f.each is not None and f.each.kind in {Kind.text, Kind.id} and not f.each.nullable


def personal_fields(row: type) -> tuple[str, ...]:
    """The dotted names of the personal fields of a row; parts of lists and records below the name of the whole."""
    return tuple(_personal(fields_of(row)))


def _personal(parts: Mapping[str, Field], prefix: str = "") -> Iterator[str]:
    for name, f in parts.items():
        if f.personal:
            yield prefix + name
            continue
        inner = f
        while inner.each is not None and inner.kind is not Kind.record:
            inner = inner.each
        yield from _personal(inner.parts, f"{prefix}{name}.")
