"""A view's rows in PostgreSQL: columns from the row's field types, read by key, written in one statement a batch."""

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args, get_origin
from uuid import UUID

import orjson
import psycopg

from domain.kernel import Personal
from infra.record import wire
from infra.record.codec import json_codec
from projections.kernel import View

Row = TypeVar("Row")


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its PostgreSQL type, how a value travels to the database (in an array for `unnest`) and back."""

    name: str
    type: str
    array: str
    pack: Callable[[Sequence[Any]], Any]
    back: Callable[[Any], Any]
    personal: bool = False


def _packed(values: Sequence[Any], plain: Callable[[Sequence[Any]], Any]) -> Any:
    return plain(values) if None not in values else list(values)


def _texts(convert: Callable[[Any], str]) -> Callable[[Sequence[Any]], Any]:
    return lambda values: [None if v is None else convert(v) for v in values]


def _array_literal(items: Iterable[Any]) -> str:
    return "{" + ",".join('"' + str(i).replace("\\", "\\\\").replace('"', '\\"') + '"' for i in items) + "}"


def bare(hint: Any) -> Any:
    """A hint without its marks and without None."""
    while True:
        if hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif get_origin(hint) is Annotated:
            hint = get_args(hint)[0]
        elif get_origin(hint) in (typing.Union, types.UnionType):
            inner = [a for a in get_args(hint) if a is not type(None)]
            if len(inner) != 1:
                return hint
            hint = inner[0]
        else:
            return hint


def is_personal(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return any(isinstance(m, Personal) for m in hint.__metadata__) or is_personal(get_args(hint)[0])
    return get_origin(hint) in (typing.Union, types.UnionType) and any(is_personal(a) for a in get_args(hint))


def column(name: str, hint: Any) -> Column:
    """The column of a row's field."""
    kind = bare(hint)
    personal = is_personal(hint)
    if kind is UUID:
        return Column(name, "uuid", "uuid[]", lambda v: _packed(v, lambda x: wire.uuids([u.bytes for u in x])), _same, personal)
    if kind is int:
        return Column(name, "bigint", "bigint[]", lambda v: _packed(v, wire.int8s), _same, personal)
    if kind is bool:
        return Column(name, "boolean", "boolean[]", list, _same, personal)
    if kind is str or get_origin(kind) is Literal:
        return Column(name, "text", "text[]", lambda v: _packed(v, wire.texts), _same, personal)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return Column(name, "text", "text[]", _texts(str), kind, personal)
    if kind is Decimal:
        return Column(name, "numeric", "text[]", _texts(lambda d: format(d, "f")), _same, personal)
    if kind is datetime:
        return Column(name, "timestamptz", "timestamptz[]", list, _same, personal)
    if kind is date:
        return Column(name, "date", "date[]", list, _same, personal)
    if get_origin(kind) is tuple and get_args(kind)[1:] == (Ellipsis,):
        item = bare(get_args(kind)[0])
        if item is UUID:
            return Column(name, "uuid[]", "text[]", _texts(_array_literal), tuple, personal)
        if item is str or get_origin(item) is Literal:
            return Column(name, "text[]", "text[]", _texts(_array_literal), tuple, personal)
        if isinstance(item, type) and issubclass(item, StrEnum):
            return Column(name, "text[]", "text[]", _texts(_array_literal), lambda v: tuple(item(i) for i in v), personal)
    encode, decode = json_codec(kind)
    return Column(name, "jsonb", "text[]", _texts(lambda v: orjson.dumps(encode(v)).decode()), decode, personal)


STANDING = (
    Column("version", "bigint", "bigint[]", wire.int8s, _same),
    Column("created_at", "timestamptz", "timestamptz[]", list, _same),
    Column("updated_at", "timestamptz", "timestamptz[]", list, _same),
    Column("position", "bigint", "bigint[]", wire.int8s, _same),
)


@dataclass(slots=True)
class Stored(Generic[Row]):
    """A row with what every row has. `row` is None when there is none (any more)."""

    row: Row | None
    version: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None
    position: int = 0


class Table(Generic[Row]):
    """Reads and writes the rows of one view on a connection of role `record`."""

    def __init__(self, view: View[Row]) -> None:
        self.view = view
        hints = typing.get_type_hints(view.row, include_extras=True)
        self.columns = [column(f.name, hints[f.name]) for f in dataclasses.fields(view.row)]  # type: ignore[arg-type]
        every = [*STANDING, *self.columns]
        names = ", ".join(f'"{c.name}"' for c in every)
        read = ", ".join(f't."{c.name}"' for c in every)
        given = ", ".join(f"%s::{c.array}" for c in every)
        cast = ", ".join(f'u."{c.name}"::{c.type}' for c in every)
        changed = ", ".join(f'"{c.name}" = excluded."{c.name}"' for c in every)
        self._select = (
            f"SELECT t.firm_id, t.id, {read} FROM unnest(%s::uuid[], %s::uuid[]) k(f, i)"
            f" JOIN {view.table} t ON t.firm_id = k.f AND t.id = k.i"
        )
        self._upsert = (
            f"INSERT INTO {view.table} (firm_id, id, {names}) SELECT u.firm_id, u.id, {cast}"
            f" FROM unnest(%s::uuid[], %s::uuid[], {given}) u(firm_id, id, {names})"
            f" ON CONFLICT (firm_id, id) DO UPDATE SET {changed}"
        )
        self._delete = (
            f"DELETE FROM {view.table} t USING unnest(%s::uuid[], %s::uuid[]) k(f, i) WHERE t.firm_id = k.f AND t.id = k.i"
        )
        self.truncate = f"TRUNCATE {view.table}"

    def load(self, c: psycopg.Connection[Any], keys: Sequence[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], Stored[Row]]:
        if not keys:
            return {}
        found = c.execute(
            self._select, (wire.uuids([f.bytes for f, _ in keys]), wire.uuids([i.bytes for _, i in keys])), binary=True
        )
        out: dict[tuple[UUID, UUID], Stored[Row]] = {}
        for firm, id, version, created, updated, position, *values in found:
            row = self.view.row(
                **{col.name: None if v is None else col.back(v) for col, v in zip(self.columns, values, strict=True)}
            )
            out[(firm, id)] = Stored(row, version, created, updated, position)
        return out

    def save(
        self, c: psycopg.Connection[Any], rows: Mapping[tuple[UUID, UUID], Stored[Row]], gone: Sequence[tuple[UUID, UUID]]
    ) -> None:
        if gone:
            c.execute(self._delete, (wire.uuids([f.bytes for f, _ in gone]), wire.uuids([i.bytes for _, i in gone])))
        if not rows:
            return
        stored = list(rows.values())
        parameters: list[Any] = [wire.uuids([f.bytes for f, _ in rows]), wire.uuids([i.bytes for _, i in rows])]
        parameters += [col.pack([getattr(s, col.name) for s in stored]) for col in STANDING]
        parameters += [col.pack([getattr(s.row, col.name) for s in stored]) for col in self.columns]
        c.execute(self._upsert, parameters)
