"""PostgreSQL's binary formats, packed by hand where it is hot: arrays for `unnest`, rows for COPY, statements in a pipeline."""

import struct
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import psycopg
from psycopg import generators
from psycopg.abc import AdaptContext
from psycopg.adapt import Dumper
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HEADER = struct.Struct(">iiIii")


def micros(moment: datetime) -> int:
    """A time as timestamptz stores it: microseconds since 2000-01-01 UTC."""
    return (moment - EPOCH) // _MICROSECOND


class Packed(bytes):
    """A whole array in binary form."""


class Uuids(Packed):
    """uuid[]"""


class Int8s(Packed):
    """bigint[]"""


class Texts(Packed):
    """text[]"""


class Byteas(Packed):
    """bytea[]"""


class Times(Packed):
    """timestamptz[]"""


def _array(kind: type[Packed], element: int, count: int, nulls: bool, body: bytes) -> Any:
    return kind(_HEADER.pack(1 if count else 0, int(nulls), element, count, 1)[: None if count else 12] + body)


def uuids(values: Sequence[bytes]) -> Uuids:
    out: Uuids = _array(Uuids, 2950, len(values), False, b"".join([b"\x00\x00\x00\x10" + v for v in values]))
    return out


def int8s(values: Sequence[int]) -> Int8s:
    flat: list[int] = []
    for v in values:
        flat += (8, v)
    out: Int8s = _array(Int8s, 20, len(values), False, struct.pack(">" + "iq" * len(values), *flat))
    return out


def times(values: Sequence[int]) -> Times:
    flat: list[int] = []
    for v in values:
        flat += (8, v)
    out: Times = _array(Times, 1184, len(values), False, struct.pack(">" + "iq" * len(values), *flat))
    return out


def _sized(values: Iterable[bytes | None]) -> bytes:
    return b"".join([b"\xff\xff\xff\xff" if v is None else len(v).to_bytes(4, "big") + v for v in values])


def texts(values: Sequence[str]) -> Texts:
    return encoded_texts([v.encode() for v in values])


def encoded_texts(values: Sequence[bytes]) -> Texts:
    """text[] of texts that are UTF-8 already."""
    out: Texts = _array(Texts, 25, len(values), False, _sized(values))
    return out


def byteas(values: Sequence[bytes | None]) -> Byteas:
    out: Byteas = _array(Byteas, 17, len(values), any(v is None for v in values), _sized(values))
    return out


def nullable(kind: type[Packed], element: int, values: Sequence[bytes | None]) -> Any:
    """An array of any kind from its elements' binary forms, None for those that are missing."""
    return _array(kind, element, len(values), None in values, _sized(values))


class Bools(Packed):
    """boolean[]"""


class _PackedDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Any) -> bytes:
        return bytes(obj)


def register(context: AdaptContext) -> None:
    """Teach a connection these arrays."""
    for kind, oid in ((Uuids, 2951), (Int8s, 1016), (Texts, 1009), (Byteas, 1001), (Times, 1185), (Bools, 1000)):
        context.adapters.register_dumper(kind, type(f"{kind.__name__}Dumper", (_PackedDumper,), {"oid": oid}))


# --- statements


INT8, TIMESTAMPTZ, UUIDS, INT8S, TEXTS, BYTEAS, TIMES = 20, 1184, 2951, 1016, 1009, 1001, 1185


class Statement(NamedTuple):
    """A statement with `$n` places, each of a type by its oid; parameters and results travel in binary."""

    name: bytes
    sql: bytes
    types: tuple[int, ...] = ()


def int8(value: int) -> bytes:
    return value.to_bytes(8, "big", signed=True)


def read_int8(value: bytes | None) -> int:
    return int.from_bytes(value or b"", "big", signed=True)


class Pipe:
    """Prepared statements sent together and answered together, without psycopg's own work for each of them.

    One per connection, see `pipe`. psycopg's ordinary calls may be made between two pipelines.
    """

    def __init__(self, c: psycopg.Connection[Any]) -> None:
        self._pg = c.pgconn
        self._wait = c.wait
        self._prepared: set[bytes] = set()
        self._commands: deque[Callable[[], None]] = deque()
        self._preparing: list[tuple[int, bytes]] = []

    def add(self, statement: Statement, *parameters: bytes) -> None:
        """Put a statement into the pipeline."""
        if statement.name not in self._prepared:
            self._preparing.append((len(self._commands), statement.name))
            self._prepared.add(statement.name)
            self._commands.append(partial(self._pg.send_prepare, statement.name, statement.sql, statement.types))
        self._commands.append(
            partial(self._pg.send_query_prepared, statement.name, parameters, (1,) * len(parameters), Format.BINARY)
        )

    def send(self) -> list[PGresult]:
        """Run what was put in; the result of each statement, or the first error as psycopg's exception."""
        commands, self._commands = self._commands, deque()
        preparing, self._preparing = self._preparing, []
        commands.append(self._pg.pipeline_sync)
        self._pg.enter_pipeline_mode()
        results = self._wait(self._talk(commands, len(commands)))
        self._pg.exit_pipeline_mode()
        for n, name in preparing:
            if results[n][0].status != ExecStatus.COMMAND_OK:
                self._prepared.discard(name)
        for result in results:
            if result[0].status == ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result[0])
        dropped = {n for n, _ in preparing}
        return [r[0] for n, r in enumerate(results[:-1]) if n not in dropped]

    def ask(self, statement: Statement, *parameters: bytes) -> PGresult:
        """One statement and its result."""
        self.add(statement, *parameters)
        return self.send()[0]

    def _talk(self, commands: deque[Callable[[], None]], count: int) -> Generator[Any, Any, list[list[PGresult]]]:
        results: list[list[PGresult]] = yield from generators.pipeline_communicate(self._pg, commands)
        while len(results) < count:
            results.append((yield from generators.fetch_many(self._pg)))
        return results


_pipes: "WeakKeyDictionary[psycopg.Connection[Any], Pipe]" = WeakKeyDictionary()


def pipe(c: psycopg.Connection[Any]) -> Pipe:
    """The pipe of a connection."""
    found = _pipes.get(c)
    if found is None:
        found = _pipes[c] = Pipe(c)
    return found


# --- COPY


COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + b"\x00" * 8
COPY_END = b"\xff\xff"
_PLACE = struct.Struct(">hiqi16siq")
_FIXED = struct.Struct(">i16siqi16siqiqi16s")
_SIZE = struct.Struct(">i")

# COPY … (position, firm_id, firm_position, stream_id, stream_version, event_id, recorded_at, occurred_at, command_id,
#         stream_type, type, public, sealed): an event's place comes first, so that the rest is packed before the place is known.


def event_place(position: int, firm: bytes, firm_position: int) -> bytes:
    """The beginning of an event's row."""
    return _PLACE.pack(13, 8, position, 16, firm, 8, firm_position)


def event_rest(
    stream_id: bytes,
    stream_version: int,
    event_id: bytes,
    recorded_at: int,
    occurred_at: int,
    command_id: bytes,
    stream_type: bytes,
    type: bytes,
    public: bytes,
    sealed: bytes | None,
) -> bytes:
    """Everything of an event's row that does not depend on its place."""
    size = _SIZE.pack
    return b"".join(
        (
            _FIXED.pack(16, stream_id, 8, stream_version, 16, event_id, 8, recorded_at, 8, occurred_at, 16, command_id),
            size(len(stream_type)),
            stream_type,
            size(len(type)),
            type,
            size(len(public)),
            public,
            b"\xff\xff\xff\xff" if sealed is None else size(len(sealed)) + sealed,
        )
    )


def event_row(
    position: int,
    firm: bytes,
    firm_position: int,
    stream_id: bytes,
    stream_version: int,
    event_id: bytes,
    recorded_at: int,
    occurred_at: int,
    command_id: bytes,
    stream_type: bytes,
    type: bytes,
    public: bytes,
    sealed: bytes | None,
) -> bytes:
    return event_place(position, firm, firm_position) + event_rest(
        stream_id, stream_version, event_id, recorded_at, occurred_at, command_id, stream_type, type, public, sealed
    )
