"""PostgreSQL's binary formats, packed by hand where it is hot: arrays for `unnest`, rows for COPY, statements in a pipeline."""

import os
import select
import socket
import struct
from collections.abc import Generator, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from psycopg.abc import AdaptContext
from psycopg.adapt import Dumper
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

T = TypeVar("T")

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HEADER = struct.Struct(">iiIii")


def micros(moment: datetime) -> int:
    """A time as timestamptz stores it: microseconds since 2000-01-01 UTC."""
    return (moment - EPOCH) // _MICROSECOND


def moment(raw: bytes) -> datetime:
    """The time of a timestamptz in binary."""
    return EPOCH + int.from_bytes(raw, "big", signed=True) * _MICROSECOND


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


_ONE_UUID = _HEADER.pack(1, 0, 2950, 1, 1) + b"\x00\x00\x00\x10"
_ONE_INT8 = _HEADER.pack(1, 0, 20, 1, 1) + b"\x00\x00\x00\x08"


def uuids(values: Sequence[bytes]) -> Uuids:
    if len(values) == 1:
        return Uuids(_ONE_UUID + values[0])
    out: Uuids = _array(Uuids, 2950, len(values), False, b"".join([b"\x00\x00\x00\x10" + v for v in values]))
    return out


def int8s(values: Sequence[int]) -> Int8s:
    if len(values) == 1:
        return Int8s(_ONE_INT8 + values[0].to_bytes(8, "big", signed=True))
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


INT8, TIMESTAMPTZ, UUID, TEXT, BYTEA = 20, 1184, 2950, 25, 17
UUIDS, INT8S, TEXTS, BYTEAS, TIMES = 2951, 1016, 1009, 1001, 1185


class Statement(NamedTuple):
    """A statement with `$n` places, each of a type by its oid; parameters and results travel in binary."""

    name: bytes
    sql: bytes
    types: tuple[int, ...] = ()


def int8(value: int) -> bytes:
    return value.to_bytes(8, "big", signed=True)


def read_int8(value: bytes | None) -> int:
    return int.from_bytes(value or b"", "big", signed=True)


Talk = Generator[bool, None, T]
"""A conversation with the server in steps: each `yield` waits until the socket can be read, or written when it yields True."""


def drive(talk: Talk[T], fd: int) -> T:
    """Hold a conversation to its end, blocking."""
    poll = select.poll()
    try:
        while True:
            poll.register(fd, select.POLLIN | select.POLLOUT if next(talk) else select.POLLIN)
            poll.poll()
    except StopIteration as end:
        result: T = end.value
        return result


class Pipe:
    """Prepared statements sent together and answered together, without psycopg's own work for each of them.

    One per connection, see `pipe`. psycopg's ordinary calls may be made between two pipelines.
    """

    def __init__(self, pg: PGconn) -> None:
        self.pg = pg
        self._prepared: set[bytes] = set()
        self._added: list[tuple[Statement, tuple[bytes | None, ...]]] = []
        self._begun = False
        self._preparing: dict[int, bytes] = {}  # by their place among what was sent
        self._sent = 0
        seen = socket.socket(fileno=pg.socket)
        self._local = seen.family == socket.AF_UNIX  # never encrypted
        seen.detach()

    def add(self, statement: Statement, *parameters: bytes | None) -> None:
        """Put a statement into the pipeline."""
        self._added.append((statement, parameters))

    def push(self) -> None:
        """Let the server begin with what was put in so far; `send` ends it. Until then the connection is good for nothing else."""
        self._put()
        self.pg.flush()

    def send(self) -> list[PGresult]:
        """Run what was put in; the result of each statement, or the first error as psycopg's exception."""
        return drive(self.sending(), self.pg.socket)

    def ask(self, statement: Statement, *parameters: bytes) -> PGresult:
        """One statement and its result."""
        self.add(statement, *parameters)
        return self.send()[0]

    def sending(self) -> Talk[list[PGresult]]:
        """`send` as a conversation."""
        pg, prepared = self.pg, self._prepared
        self._put()
        preparing, self._begun = self._preparing, False
        pg.pipeline_sync()
        yield from _flushed(pg)
        results: list[PGresult] = []
        current: PGresult | None = None
        while True:
            while pg.is_busy():
                yield False
                pg.consume_input()
            result = pg.get_result()
            if result is None:
                if current is None:  # nothing comes any more: the connection is gone
                    raise psycopg.OperationalError("the connection was lost")
                results.append(current)
                current = None
            elif result.status == ExecStatus.PIPELINE_SYNC:
                break
            elif current is None:
                current = result
        pg.exit_pipeline_mode()
        for n, name in preparing.items():
            if results[n].status != ExecStatus.COMMAND_OK:
                prepared.discard(name)
        for result in results:
            if result.status == ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result)
        return [r for n, r in enumerate(results) if n not in preparing]

    def _put(self) -> None:
        pg, prepared = self.pg, self._prepared
        added, self._added = self._added, []
        if not self._begun:
            pg.enter_pipeline_mode()
            self._begun, self._preparing, self._sent = True, {}, 0
        for statement, parameters in added:
            if statement.name not in prepared:
                pg.send_prepare(statement.name, statement.sql, statement.types)
                prepared.add(statement.name)
                self._preparing[self._sent] = statement.name
                self._sent += 1
            pg.send_query_prepared(statement.name, parameters, (1,) * len(parameters), Format.BINARY)
            self._sent += 1

    def asking(self, statement: Statement, *parameters: bytes | None) -> Talk[PGresult]:
        """One statement by itself, as a conversation: a transaction of its own, without the pipeline's work."""
        pg = self.pg
        if statement.name not in self._prepared:
            pg.send_prepare(statement.name, statement.sql, statement.types)
            yield from _flushed(pg)
            yield from _good(pg)
            self._prepared.add(statement.name)
        pg.send_query_prepared(statement.name, parameters, (1,) * len(parameters), Format.BINARY)
        yield from _flushed(pg)
        return (yield from _good(pg))

    def copying(self, sql: bytes, rows: bytes) -> Talk[None]:
        """A COPY of rows in binary, as a conversation."""
        pg = self.pg
        pg.send_query(sql)
        yield from _flushed(pg)
        (begun,) = yield from _answers(pg, until=ExecStatus.COPY_IN)
        if begun.status != ExecStatus.COPY_IN:
            raise psycopg.errors.error_from_result(begun)
        view = memoryview(b"".join((COPY_HEADER, rows, COPY_END)))
        for at in range(0, len(view), COPY_CHUNK):
            while not pg.put_copy_data(view[at : at + COPY_CHUNK]):
                yield True
            yield from _flushed(pg)
        while not pg.put_copy_end():
            yield True
        yield from _flushed(pg)
        for result in (yield from _answers(pg)):
            if result.status == ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result)

    def copy(self, sql: bytes, parts: Sequence[memoryview]) -> None:
        """A COPY of rows in binary, which come in parts, blocking.

        Through libpq a thread that writes wants the interpreter again whenever the server has read some of it, dozens of times where
        the server takes 20 ms, and waits for it each time. So where nothing is encrypted the rows are put on the socket without libpq,
        in the protocol's messages CopyData. A server that has refused the COPY passes over them.
        """
        pg = self.pg
        if not self._local:
            drive(self.copying(sql, b"".join(parts)), pg.socket)
            return
        pg.send_query(sql)
        drive(_flushed(pg), pg.socket)
        try:
            _written(pg.socket, _copy_data(parts))
        except OSError as e:
            pg.finish()  # libpq has seen nothing of it
            raise psycopg.OperationalError("the connection was lost") from e
        (begun,) = drive(_answers(pg, until=ExecStatus.COPY_IN), pg.socket)
        if begun.status != ExecStatus.COPY_IN:
            raise psycopg.errors.error_from_result(begun)
        pg.put_copy_end()
        drive(_flushed(pg), pg.socket)
        for result in drive(_answers(pg), pg.socket):
            if result.status == ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result)


def _copy_data(parts: Sequence[memoryview]) -> list[memoryview]:
    """Messages of a COPY: its header, its rows, its end."""
    buffers: list[memoryview] = []
    for part in (memoryview(COPY_HEADER), *parts, memoryview(COPY_END)):
        for at in range(0, len(part), COPY_CHUNK):
            chunk = part[at : at + COPY_CHUNK]
            buffers += (memoryview(b"d" + _SIZE.pack(len(chunk) + 4)), chunk)
    return buffers


def _written(fd: int, buffers: list[memoryview]) -> None:
    """Write to a socket, blocking in the kernel: in one call that the interpreter is not needed for, however slowly it is read."""
    os.set_blocking(fd, True)
    try:
        at = 0
        while at < len(buffers):
            written = os.writev(fd, buffers[at : at + MOST_BUFFERS])
            while at < len(buffers) and written >= len(buffers[at]):
                written -= len(buffers[at])
                at += 1
            if written:
                buffers[at] = buffers[at][written:]
    finally:
        os.set_blocking(fd, False)


def _flushed(pg: PGconn) -> Talk[None]:
    """Until everything is with the kernel; what the server says meanwhile is taken, so that neither waits for the other."""
    while pg.flush():
        yield True
        pg.consume_input()


def _answers(pg: PGconn, until: ExecStatus | None = None) -> Talk[list[PGresult]]:
    """The results of a simple query, all or up to one with a status."""
    results: list[PGresult] = []
    while True:
        while pg.is_busy():
            yield False
            pg.consume_input()
        result = pg.get_result()
        if result is None:
            if not results:
                raise psycopg.OperationalError("the connection was lost")
            return results
        results.append(result)
        if result.status == until:
            return results


def _good(pg: PGconn) -> Talk[PGresult]:
    """The result of a statement by itself, or its error as psycopg's exception."""
    results = yield from _answers(pg)
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result)
    return results[0]


_pipes: "WeakKeyDictionary[psycopg.Connection[Any], Pipe]" = WeakKeyDictionary()


def pipe(c: psycopg.Connection[Any]) -> Pipe:
    """The pipe of a connection."""
    found = _pipes.get(c)
    if found is None:
        found = _pipes[c] = Pipe(c.pgconn)
    return found


# --- COPY


COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + b"\x00" * 8
COPY_END = b"\xff\xff"
COPY_CHUNK = 262_144
MOST_BUFFERS = 1_024  # that Linux takes in one call
_PLACE = struct.Struct(">hiqi16siq")
_FIXED = struct.Struct(">i16siqi16siqiqi16s")
_SIZE = struct.Struct(">i")

# COPY … (position, firm_id, firm_position, stream_id, stream_version, event_id, recorded_at, occurred_at, command_id,
#         stream_type, type, public, sealed): an event's place comes first and is always as long, so that a row is packed before the
#         place is known.


def event_place(position: int, firm: bytes, firm_position: int) -> bytes:
    """The beginning of an event's row."""
    return _PLACE.pack(13, 8, position, 16, firm, 8, firm_position)


def put_places(packed: bytearray, starts: Sequence[int], position: int, firm: bytes, firm_position: int) -> None:
    """Give the rows that start there their places, one after the other."""
    put = _PLACE.pack_into
    for start in starts:
        put(packed, start, 13, 8, position, 16, firm, 8, firm_position)
        position += 1
        firm_position += 1


def event_row(
    place: bytes,
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
    """An event's row."""
    size = _SIZE.pack
    return b"".join(
        (
            place,
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
