"""A view's rows in PostgreSQL: columns from the row's field types, read by key, written in one statement a batch or by COPY."""

import dataclasses
import functools
import hashlib
import itertools
import operator
import struct
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin
from uuid import UUID

import orjson
import psycopg
from psycopg.types.numeric import DecimalBinaryDumper

from domain.hints import bare, personal_mark
from infra.record import wire
from infra.record.codec import json_codec
from projections.kernel import View

Row = TypeVar("Row")


def _same(value: Any) -> Any:
    return value


def _sized(raw: bytes) -> bytes:
    return len(raw).to_bytes(4, "big") + raw


NULL = b"\xff\xff\xff\xff"
_INT8 = struct.Struct(">iq")
_UUID = b"\x00\x00\x00\x10"
_TRUE, _FALSE = b"\x00\x00\x00\x01\x01", b"\x00\x00\x00\x01\x00"
_EMPTY, _NONE_LISTED = _sized(b"\x01{}"), _sized(b"\x01[]")
_DAY_ZERO = date(2000, 1, 1).toordinal()
_numeric = DecimalBinaryDumper(Decimal)


@functools.lru_cache(maxsize=10_000)
def _number(text: str) -> bytes:
    return _sized(bytes(_numeric.dump(Decimal(text)) or b""))


Field = Callable[[Any], bytes]
"""A value that is not None as PostgreSQL reads it in binary, its length before it."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its PostgreSQL type, how a value travels to the database, in arrays for `unnest` and by COPY, and back.

    An array can't hold arrays of different lengths: columns of arrays travel as text in it.
    """

    name: str
    type: str
    element: str  # the type of the elements of the array that carries it
    oid: int  # of the element
    field: Field
    copied: Field
    back: Callable[[Any], Any]
    personal: bool = False

    @property
    def array(self) -> int:
        return _ARRAYS[self.oid]


_ARRAYS = {2950: 2951, 20: 1016, 16: 1000, 25: 1009, 1184: 1185, 1700: 1231, 1082: 1182, 3802: 3807}


def _array_literal(items: Iterable[Any]) -> str:
    return "{" + ",".join('"' + str(i).replace("\\", "\\\\").replace('"', '\\"') + '"' for i in items) + "}"


def _uuid(v: UUID) -> bytes:
    return _UUID + v.int.to_bytes(16, "big")


def _int8(v: int) -> bytes:
    return _INT8.pack(8, v)


def _bool(v: bool) -> bytes:
    return _TRUE if v else _FALSE


@functools.lru_cache(maxsize=4_096)  # of kinds, names and states, which are many times the same
def _text(v: str) -> bytes:
    raw = v.encode()
    return len(raw).to_bytes(4, "big") + raw


def _time(v: datetime) -> bytes:
    return _INT8.pack(8, wire.micros(v))


def _date(v: date) -> bytes:
    return b"\x00\x00\x00\x04" + (v.toordinal() - _DAY_ZERO).to_bytes(4, "big", signed=True)


def _decimal(v: Decimal) -> bytes:
    return _number(format(v, "f"))


def _literal(v: Sequence[Any]) -> bytes:
    return _text(_array_literal(v))


def _items(oid: int, item: Field) -> Field:
    def field(values: Sequence[Any]) -> bytes:
        return _sized(array(oid, [item(v) for v in values]))

    return field


_HEADER = struct.Struct(">iiIii")


def array(oid: int, fields: Sequence[bytes]) -> bytes:
    """An array in binary of fields with their lengths."""
    if not fields:
        return _HEADER.pack(0, 0, oid, 0, 0)[:12]
    return _HEADER.pack(1, 1, oid, len(fields), 1) + b"".join(fields)


def column(name: str, hint: Any) -> Column:
    """The column of a row's field."""
    kind = bare(hint)
    personal = personal_mark(hint) is not None

    def plain(type: str, oid: int, field: Field, back: Callable[[Any], Any] = _same) -> Column:
        return Column(name, type, type, oid, field, field, back, personal)

    if kind is UUID:
        return plain("uuid", 2950, _uuid)
    if kind is int:
        return plain("bigint", 20, _int8)
    if kind is bool:
        return plain("boolean", 16, _bool)
    if kind is str or get_origin(kind) is Literal:
        return plain("text", 25, _text)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return plain("text", 25, _text, kind)
    if kind is Decimal:
        return plain("numeric", 1700, _decimal)
    if kind is datetime:
        return plain("timestamptz", 1184, _time)
    if kind is date:
        return plain("date", 1082, _date)
    if get_origin(kind) is tuple and get_args(kind)[1:] == (Ellipsis,):
        item = bare(get_args(kind)[0])
        if item is UUID:
            return Column(name, "uuid[]", "text", 25, _literal, _items(2950, _uuid), tuple, personal)
        if item is str or get_origin(item) is Literal:
            return Column(name, "text[]", "text", 25, _literal, _items(25, _text), tuple, personal)
        if isinstance(item, type) and issubclass(item, StrEnum):
            return Column(
                name, "text[]", "text", 25, _literal, _items(25, _text), lambda v: tuple(item(i) for i in v), personal
            )  # fmt: skip
    encode, decode = json_codec(kind)
    if kind in (dict[str, str], dict[str, int]):  # JSON already
        return plain("jsonb", 3802, lambda v: _sized(b"\x01" + orjson.dumps(v)) if v else _EMPTY, decode)
    return plain("jsonb", 3802, lambda v: _sized(b"\x01" + orjson.dumps(encode(v))) if v != () else _NONE_LISTED, decode)


FOREVER = 2**63 - 1  # as a position: not ended; as microseconds: PostgreSQL's 'infinity'

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
    closed: bool = False  # is among those that a batch writes to the history
    fields: list[bytes] | None = None  # the row packed

    @property
    def lasting(self) -> bool:
        """Whether it is believed and has any time to hold: what a late event may build on."""
        return self.known_end == FOREVER and wire.micros(self.updated_at) < self.valid_to


STANDING = (column("version", int), column("created_at", datetime), column("updated_at", datetime), column("position", int))
_STANDING = tuple(c.name for c in STANDING)
CORNER = ("_known_from", "_valid_to", "_known_to", "_known_end", "_gone")
_STANDING_ARRAYS = (1016, 1185, 1185, 1016)
_CORNER_ARRAYS = (1016, 1185, 1016, 1016, 1000)
_CORNER_OIDS = (20, 1184, 20, 20, 16)
_UNTIL = (
    f"CASE WHEN t._valid_to = 'infinity' THEN {FOREVER}"
    " ELSE (extract(epoch FROM t._valid_to - timestamptz '2000-01-01 00:00:00+00') * 1000000)::bigint END"
)

Write = tuple[wire.Statement, tuple[bytes | None, ...]]


def _statement(sql: str, *types: int) -> wire.Statement:
    return wire.Statement(hashlib.sha256(sql.encode()).hexdigest()[:20].encode(), sql.encode(), types)


class Table(Generic[Row]):
    """Reads the rows of one view and their history on a connection of role `record`, and makes the statements that write them."""

    copying = False

    def __init__(self, view: View[Row], *, table: str | None = None, history: str | None = None) -> None:
        self.view = view
        self.table = table or view.table
        self.history = history or view.table.replace("views.", "history.", 1)
        hints = typing.get_type_hints(view.row, include_extras=True)
        self.names = [f.name for f in dataclasses.fields(view.row)]  # type: ignore[arg-type]
        self.columns = [column(name, hints[name]) for name in self.names]
        self._get = operator.attrgetter(*self.names) if len(self.names) > 1 else self._only
        self._pack = [c.copied if self.copying else c.field for c in self.columns]
        self._places = range(len(self.columns))
        self._nulls = [NULL] * len(self.columns)
        every = [*_STANDING, *self.names]
        names = ", ".join(f'"{n}"' for n in every)
        read = ", ".join(f't."{n}"' for n in every)
        changed = ", ".join(f'"{n}" = excluded."{n}"' for n in every)
        keys = "unnest(%s::uuid[], %s::uuid[]) k(f, i)"
        cast = ", ".join(
            [f'u."{n}"' for n in _STANDING]
            + [f'u."{c.name}"' + ("" if c.element == c.type else f"::{c.type}") for c in self.columns]
        )
        elements = ["uuid", "uuid", "bigint", "timestamptz", "timestamptz", "bigint", *(c.element for c in self.columns)]
        corner = ["bigint", "timestamptz", "bigint", "bigint", "boolean"]
        types = (2951, 2951, *_STANDING_ARRAYS, *(c.array for c in self.columns))

        def given(of: Sequence[str]) -> str:
            return ", ".join(f"${n}::{t}[]" for n, t in enumerate(of, 1))

        self._read = f"t.firm_id, t.id, {read}"
        self._select = f"SELECT {self._read} FROM {keys} JOIN {self.table} t ON t.firm_id = k.f AND t.id = k.i"
        self._upsert = _statement(
            f"INSERT INTO {self.table} (firm_id, id, {names}) SELECT u.firm_id, u.id, {cast}"
            f" FROM unnest({given(elements)}) u(firm_id, id, {names})"
            f" ON CONFLICT (firm_id, id) DO UPDATE SET {changed}",
            *types,
        )
        one = ["uuid", "uuid", *(c.type for c in STANDING), *(c.type for c in self.columns), *corner]
        ones = (2950, 2950, *(c.oid for c in STANDING), *(c.oid for c in self.columns))
        values = ", ".join(f"${n}::{t}" for n, t in enumerate(one, 1))
        self._upsert_one = _statement(
            f"INSERT INTO {self.table} (firm_id, id, {names}) VALUES ({values.rpartition(f', ${len(ones) + 1}::')[0]})"
            f" ON CONFLICT (firm_id, id) DO UPDATE SET {changed}",
            *ones,
        )
        self._keep_one = _statement(
            f"INSERT INTO {self.history} (firm_id, id, {names}, {', '.join(CORNER)}) VALUES ({values})", *ones, *_CORNER_OIDS
        )
        self._delete = _statement(
            f"DELETE FROM {self.table} t USING unnest($1::uuid[], $2::uuid[]) k(f, i) WHERE t.firm_id = k.f AND t.id = k.i",
            2951,
            2951,
        )
        self._gone_where = f"t._gone AND t._valid_to = 'infinity' AND t._known_end = {FOREVER}"
        self._gone_read = "t.firm_id, t.id, t.version, t.created_at, t.updated_at, t.position, t._known_from"
        self._gone = (
            f"SELECT {self._gone_read} FROM {keys} JOIN {self.history} t ON t.firm_id = k.f AND t.id = k.i WHERE {self._gone_where}"
        )
        self._believed = (
            f"SELECT {read}, t._known_from, t._known_to, {_UNTIL}, t._gone FROM {self.history} t"
            f" WHERE t.firm_id = %s AND t.id = %s AND t._known_end = {FOREVER}"
        )
        self._keep = _statement(
            f"INSERT INTO {self.history} (firm_id, id, {names}, {', '.join(CORNER)})"
            f" SELECT u.firm_id, u.id, {cast}, {', '.join(f'u.{n}' for n in CORNER)}"
            f" FROM unnest({given([*elements, *corner])}) u(firm_id, id, {names}, {', '.join(CORNER)})",
            *types,
            *_CORNER_ARRAYS,
        )
        self._amend = _statement(
            f"UPDATE {self.history} t SET _valid_to = u._valid_to, _known_to = u._known_to, _known_end = u._known_end"
            f" FROM unnest({given(['uuid', 'uuid', 'timestamptz', 'bigint', 'timestamptz', 'bigint', 'bigint'])})"
            " u(firm_id, id, updated_at, _known_from, _valid_to, _known_to, _known_end)"
            " WHERE t.firm_id = u.firm_id AND t.id = u.id AND t.updated_at = u.updated_at AND t._known_from = u._known_from",
            *(2951, 2951, 1185, 1016, 1185, 1016, 1016),
        )
        self.truncate = f"TRUNCATE {self.table}, {self.history}"

    def _only(self, row: Any) -> tuple[Any]:
        return (getattr(row, self.names[0]),)

    # --- packing

    def pack(self, s: Slice[Row], like: Slice[Row] | None = None) -> list[bytes]:
        """The row's fields in binary; those that are the same objects in `like` are taken from there."""
        if s.fields is None:
            if s.row is None:
                s.fields = self._nulls
            elif like is None or like.row is None or like.fields is None:
                s.fields = [NULL if v is None else f(v) for f, v in zip(self._pack, self._get(s.row), strict=True)]
            elif like.row is s.row:
                s.fields = like.fields
            else:
                values, packing = self._get(s.row), self._pack
                s.fields = fields = like.fields.copy()
                for n in itertools.compress(self._places, map(operator.is_not, values, self._get(like.row))):
                    fields[n] = NULL if (v := values[n]) is None else packing[n](v)
        return s.fields

    def _arrays(self, slices: Sequence[tuple[Key, Slice[Row]]]) -> list[bytes]:
        standing = [
            wire.int8s([s.version for _, s in slices]),
            wire.times([wire.micros(s.created_at) for _, s in slices]),
            wire.times([wire.micros(s.updated_at) for _, s in slices]),
            wire.int8s([s.position for _, s in slices]),
        ]
        fields = zip(*[self.pack(s) for _, s in slices], strict=True)
        return [*_pairs([k for k, _ in slices]), *standing, *[array(c.oid, f) for c, f in zip(self.columns, fields, strict=True)]]

    def _values(self, key: Key, s: Slice[Row]) -> list[bytes | None]:
        """One row's values, without their lengths."""
        standing = (s.version, wire.micros(s.created_at), wire.micros(s.updated_at), s.position)
        fields = [None if f == NULL else f[4:] for f in self.pack(s)]
        return [key[0].bytes, key[1].bytes, *map(wire.int8, standing), *fields]

    # --- reading

    def row(self, values: Sequence[Any]) -> Row:
        return self.view.row(**{col.name: None if v is None else col.back(v) for col, v in zip(self.columns, values, strict=True)})

    def _current(self, rows: Iterable[Sequence[Any]]) -> dict[Key, Slice[Row]]:
        return {
            (firm, id): Slice(self.row(values), version, created, updated, position, position)
            for firm, id, version, created, updated, position, *values in rows
        }

    def load(self, c: psycopg.Connection[Any], keys: Sequence[Key], *, gone: Sequence[Key] = ()) -> dict[Key, Slice[Row]]:
        """The current slice of each key: its row, or for the keys in `gone` the slice that took it away."""
        out = self._current(c.execute(self._select, _pairs(keys), binary=True)) if keys else {}
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
            row = None if gone else self.row(values)
            out.append(Slice(row, version, created, updated, position, known, valid_to, known_to, kept=True))
        return out

    # --- writing

    def save(self, c: psycopg.Connection[Any], current: Mapping[Key, Slice[Row]], gone: Sequence[Key]) -> None:
        """Write the rows that stand now and take away those that are gone."""
        run(c, self.saving(list(current.items()), gone))

    def saving(self, current: Sequence[tuple[Key, Slice[Row]]], gone: Sequence[Key]) -> list[Write]:
        """The statements that write the rows that stand now and take away those that are gone."""
        out: list[Write] = []
        if gone:
            out.append((self._delete, tuple(_pairs(gone))))
        if len(current) == 1:
            out.append((self._upsert_one, tuple(self._values(*current[0]))))
        elif current:
            out.append((self._upsert, tuple(self._arrays(current))))
        return out

    def keeping(self, slices: Sequence[tuple[Key, Slice[Row]]]) -> list[Write]:
        """The statements that write superseded slices: new ones are inserted, kept ones get their corner."""
        out: list[Write] = []
        fresh = [(k, s) for k, s in slices if not s.kept]
        if len(fresh) == 1:
            s = fresh[0][1]
            ends = (*map(wire.int8, (s.known_from, s.valid_to, s.known_to, s.known_end)), b"\x01" if s.row is None else b"\x00")
            out.append((self._keep_one, (*self._values(*fresh[0]), *ends)))
        elif fresh:
            corner = [
                wire.int8s([s.known_from for _, s in fresh]),
                wire.times([s.valid_to for _, s in fresh]),
                wire.int8s([s.known_to for _, s in fresh]),
                wire.int8s([s.known_end for _, s in fresh]),
                array(16, [_bool(s.row is None) for _, s in fresh]),
            ]
            out.append((self._keep, (*self._arrays(fresh), *corner)))
        return out + self.amending(slices)

    def amending(self, slices: Sequence[tuple[Key, Slice[Row]]]) -> list[Write]:
        """The statement that gives kept slices their corner."""
        changed = [(k, s) for k, s in slices if s.kept]
        if not changed:
            return []
        of = [s for _, s in changed]
        values = (
            *_pairs([k for k, _ in changed]),
            wire.times([wire.micros(s.updated_at) for s in of]),
            wire.int8s([s.known_from for s in of]),
            wire.times([s.valid_to for s in of]),
            wire.int8s([s.known_to for s in of]),
            wire.int8s([s.known_end for s in of]),
        )
        return [(self._amend, values)]


def _pairs(keys: Sequence[Key]) -> list[Any]:
    return [wire.uuids([f.bytes for f, _ in keys]), wire.uuids([i.bytes for _, i in keys])]


def run(c: psycopg.Connection[Any], writes: Iterable[Write]) -> None:
    """Run statements together."""
    pipe = wire.pipe(c)
    for statement, values in writes:
        pipe.add(statement, *values)
    pipe.send()


_PLACE = struct.Struct(">hi16si16siqiqiqiq")
_CORNER = struct.Struct(">iqiqiqiqi?")


class Shadow(Table[Row]):
    """The tables of a view that is being rebuilt: nobody reads them, rows come by COPY and the primary keys only when they are needed.

    A row that is read again is taken out of the table: it stands in memory or there, never in both.
    """

    copying = True

    def __init__(self, view: View[Row], *, table: str, history: str) -> None:
        super().__init__(view, table=table, history=history)
        names = ", ".join(f'"{n}"' for n in (*_STANDING, *self.names))
        keys = "unnest(%s::uuid[], %s::uuid[]) k(f, i)"
        self.copy_current = f"COPY {self.table} (firm_id, id, {names}) FROM STDIN (FORMAT binary)"
        self.copy_history = f"COPY {self.history} (firm_id, id, {names}, {', '.join(CORNER)}) FROM STDIN (FORMAT binary)"
        self._take = f"DELETE FROM {self.table} t USING {keys} WHERE t.firm_id = k.f AND t.id = k.i RETURNING {self._read}"
        self._take_gone = (
            f"DELETE FROM {self.history} t USING {keys} WHERE t.firm_id = k.f AND t.id = k.i AND {self._gone_where}"
            f" RETURNING {self._gone_read}"
        )

    def take(self, c: psycopg.Connection[Any], keys: Sequence[Key]) -> dict[Key, Slice[Row]]:
        """The current slices of keys, which the tables then hold no more."""
        out = self._current(c.execute(self._take, _pairs(keys), binary=True))
        lost = [k for k in keys if k not in out]
        if lost:
            for firm, id, version, created, updated, position, known in c.execute(self._take_gone, _pairs(lost), binary=True):
                out[(firm, id)] = Slice(None, version, created, updated, position, known)
        return out

    def copied(self, key: Key, s: Slice[Row], *, superseded: bool) -> bytes:
        """A row as COPY reads it."""
        updated = wire.micros(s.updated_at)
        created = updated if s.created_at is s.updated_at else wire.micros(s.created_at)
        head = _PLACE.pack(
            len(self.columns) + (11 if superseded else 6), 16, key[0].int.to_bytes(16, "big"), 16, key[1].int.to_bytes(16, "big"),
            8, s.version, 8, created, 8, updated, 8, s.position,
        )  # fmt: skip
        fields = s.fields if s.fields is not None else self.pack(s)
        if not superseded:
            return head + b"".join(fields)
        corner = _CORNER.pack(8, s.known_from, 8, s.valid_to, 8, s.known_to, 8, s.known_end, 1, s.row is None)
        return b"".join((head, *fields, corner))
