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


def _uuids(values: Sequence[UUID | None]) -> Any:
    return wire.nullable(wire.Uuids, 2950, [None if v is None else v.bytes for v in values])


def _int8s(values: Sequence[int | None]) -> Any:
    return wire.nullable(wire.Int8s, 20, [None if v is None else wire.int8(v) for v in values])


def _bools(values: Sequence[bool | None]) -> Any:
    return wire.nullable(wire.Bools, 16, [None if v is None else b"\x01" if v else b"\x00" for v in values])


def _times(values: Sequence[datetime | None]) -> Any:
    return wire.nullable(wire.Times, 1184, [None if v is None else wire.int8(wire.micros(v)) for v in values])


def _texts(convert: Callable[[Any], str]) -> Callable[[Sequence[Any]], Any]:
    return lambda values: wire.nullable(wire.Texts, 25, [None if v is None else convert(v).encode() for v in values])


def _plain_texts(values: Sequence[str | None]) -> Any:
    return wire.nullable(wire.Texts, 25, [None if v is None else v.encode() for v in values])


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
        return Column(name, "uuid", "uuid[]", _uuids, _same, personal)
    if kind is int:
        return Column(name, "bigint", "bigint[]", _int8s, _same, personal)
    if kind is bool:
        return Column(name, "boolean", "boolean[]", _bools, _same, personal)
    if kind is str or get_origin(kind) is Literal:
        return Column(name, "text", "text[]", _plain_texts, _same, personal)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return Column(name, "text", "text[]", _texts(str), kind, personal)
    if kind is Decimal:
        return Column(name, "numeric", "text[]", _texts(lambda d: format(d, "f")), _same, personal)
    if kind is datetime:
        return Column(name, "timestamptz", "timestamptz[]", _times, _same, personal)
    if kind is date:
        return Column(name, "date", "text[]", _texts(date.isoformat), _same, personal)
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
    Column("created_at", "timestamptz", "timestamptz[]", _times, _same),
    Column("updated_at", "timestamptz", "timestamptz[]", _times, _same),
    Column("position", "bigint", "bigint[]", wire.int8s, _same),
)

FOREVER = 2**63 - 1  # as a position: not ended; as microseconds: PostgreSQL's 'infinity'

CORNER = (
    f"CASE WHEN t._valid_to = 'infinity' THEN {FOREVER}"
    " ELSE (extract(epoch FROM t._valid_to - timestamptz '2000-01-01 00:00:00+00') * 1000000)::bigint END"
)

Key = tuple[UUID, UUID]


@dataclass(slots=True)
class Slice(Generic[Row]):
    """A row as it was from one business time on (spec/decisions/0007). `row` is None where there was none.

    `updated_at` is the business time from which the slice is valid, `position` that of the last event in it, `known_from` where it became
    known. The corner (`valid_to` in microseconds since 2000, `known_to`) is its successor's; at `known_end` a late event ended the belief in it.
    """

    row: Row | None
    version: int
    created_at: datetime
    updated_at: datetime
    position: int
    known_from: int
    valid_to: int = FOREVER
    known_to: int = FOREVER
    known_end: int = FOREVER
    kept: bool = False  # stands in the history table already


class Table(Generic[Row]):
    """Reads and writes the rows of one view, and their history, on a connection of role `record`."""

    def __init__(self, view: View[Row], *, table: str | None = None, history: str | None = None) -> None:
        self.view = view
        self.table = table or view.table
        self.history = history or view.table.replace("views.", "history.", 1)
        hints = typing.get_type_hints(view.row, include_extras=True)
        self.columns = [column(f.name, hints[f.name]) for f in dataclasses.fields(view.row)]  # type: ignore[arg-type]
        every = [*STANDING, *self.columns]
        names = ", ".join(f'"{c.name}"' for c in every)
        read = ", ".join(f't."{c.name}"' for c in every)
        given = ", ".join(f"%s::{c.array}" for c in every)
        cast = ", ".join(f'u."{c.name}"::{c.type}' for c in every)
        changed = ", ".join(f'"{c.name}" = excluded."{c.name}"' for c in every)
        keys = "unnest(%s::uuid[], %s::uuid[]) k(f, i)"
        self._select = f"SELECT t.firm_id, t.id, {read} FROM {keys} JOIN {self.table} t ON t.firm_id = k.f AND t.id = k.i"
        self._upsert = (
            f"INSERT INTO {self.table} (firm_id, id, {names}) SELECT u.firm_id, u.id, {cast}"
            f" FROM unnest(%s::uuid[], %s::uuid[], {given}) u(firm_id, id, {names})"
            f" ON CONFLICT (firm_id, id) DO UPDATE SET {changed}"
        )
        self._delete = f"DELETE FROM {self.table} t USING {keys} WHERE t.firm_id = k.f AND t.id = k.i"
        self._gone = (
            "SELECT t.firm_id, t.id, t.version, t.created_at, t.updated_at, t.position, t._known_from"
            f" FROM {keys} JOIN {self.history} t ON t.firm_id = k.f AND t.id = k.i"
            f" WHERE t._gone AND t._valid_to = 'infinity' AND t._known_end = {FOREVER}"
        )
        self._believed = (
            f"SELECT {read}, t._known_from, t._known_to, {CORNER}, t._gone FROM {self.history} t"
            f" WHERE t.firm_id = %s AND t.id = %s AND t._known_end = {FOREVER}"
        )
        corner = "_known_from, _valid_to, _known_to, _known_end, _gone"
        self._keep = (
            f"INSERT INTO {self.history} (firm_id, id, {names}, {corner})"
            f" SELECT u.firm_id, u.id, {cast}, u._known_from, u._valid_to, u._known_to, u._known_end, u._gone"
            f" FROM unnest(%s::uuid[], %s::uuid[], {given}, %s::bigint[], %s::timestamptz[], %s::bigint[], %s::bigint[], %s::boolean[])"
            f" u(firm_id, id, {names}, {corner})"
        )
        self._amend = (
            f"UPDATE {self.history} t SET _valid_to = u._valid_to, _known_to = u._known_to, _known_end = u._known_end"
            " FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[], %s::bigint[], %s::timestamptz[], %s::bigint[], %s::bigint[])"
            " u(firm_id, id, updated_at, _known_from, _valid_to, _known_to, _known_end)"
            " WHERE t.firm_id = u.firm_id AND t.id = u.id AND t.updated_at = u.updated_at AND t._known_from = u._known_from"
        )
        self.truncate = f"TRUNCATE {self.table}, {self.history}"

    def _row(self, values: Sequence[Any]) -> Row:
        return self.view.row(**{col.name: None if v is None else col.back(v) for col, v in zip(self.columns, values, strict=True)})

    def load(self, c: psycopg.Connection[Any], keys: Sequence[Key], *, gone: Sequence[Key] = ()) -> dict[Key, Slice[Row]]:
        """The current slice of each key: its row, or for the keys in `gone` the slice that took it away."""
        out: dict[Key, Slice[Row]] = {}
        if keys:
            for firm, id, version, created, updated, position, *values in c.execute(self._select, _pairs(keys), binary=True):
                out[(firm, id)] = Slice(self._row(values), version, created, updated, position, position)
        lost = [k for k in gone if k not in out]
        if lost:
            for firm, id, version, created, updated, position, known in c.execute(self._gone, _pairs(lost), binary=True):
                out[(firm, id)] = Slice(None, version, created, updated, position, known, kept=True)
        return out

    def believed(self, c: psycopg.Connection[Any], key: Key) -> list[Slice[Row]]:
        """The kept slices of a key that no late event has ended."""
        out: list[Slice[Row]] = []
        for version, created, updated, position, *values, known, known_to, valid_to, gone in c.execute(
            self._believed, key, binary=True
        ):
            row = None if gone else self._row(values)
            out.append(Slice(row, version, created, updated, position, known, valid_to, known_to, kept=True))
        return out

    def save(self, c: psycopg.Connection[Any], current: Mapping[Key, Slice[Row]], gone: Sequence[Key]) -> None:
        """Write the rows that stand now and take away those that are gone."""
        if gone:
            c.execute(self._delete, _pairs(gone))
        if current:
            c.execute(self._upsert, [*_pairs(list(current)), *self._values(list(current.values()))])

    def keep(self, c: psycopg.Connection[Any], slices: Sequence[tuple[Key, Slice[Row]]]) -> None:
        """Write superseded slices: new ones are inserted, kept ones get their corner."""
        fresh = [(k, s) for k, s in slices if not s.kept]
        if fresh:
            of = [s for _, s in fresh]
            c.execute(
                self._keep,
                [
                    *_pairs([k for k, _ in fresh]),
                    *self._values(of),
                    wire.int8s([s.known_from for s in of]),
                    wire.times([s.valid_to for s in of]),
                    wire.int8s([s.known_to for s in of]),
                    wire.int8s([s.known_end for s in of]),
                    _bools([s.row is None for s in of]),
                ],
            )
        changed = [(k, s) for k, s in slices if s.kept]
        if changed:
            of = [s for _, s in changed]
            c.execute(
                self._amend,
                [
                    *_pairs([k for k, _ in changed]),
                    _times([s.updated_at for s in of]),
                    wire.int8s([s.known_from for s in of]),
                    wire.times([s.valid_to for s in of]),
                    wire.int8s([s.known_to for s in of]),
                    wire.int8s([s.known_end for s in of]),
                ],
            )

    def _values(self, slices: Sequence[Slice[Row]]) -> list[Any]:
        standing = [col.pack([getattr(s, col.name) for s in slices]) for col in STANDING]
        return standing + [col.pack([None if s.row is None else getattr(s.row, col.name) for s in slices]) for col in self.columns]


def _pairs(keys: Sequence[Key]) -> list[Any]:
    return [wire.uuids([f.bytes for f, _ in keys]), wire.uuids([i.bytes for _, i in keys])]
