"""Reading the record: rows of `record.events` to decoded events, by stream, by firm or in position order."""

import dataclasses
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg.pq import ExecStatus

from domain.kernel import FirmId
from infra.ids import of_int
from infra.record.codec import CODECS, disclose
from infra.record.vault import SELECT_KEYS, Vault, open_all, sealed_items
from infra.record.wire import COPY_END, COPY_HEADER
from projections.kernel import Recorded

COLUMNS = (
    "position, firm_id, firm_position, stream_type, stream_id, stream_version, event_id, type, recorded_at, occurred_at,"
    " command_id, public, sealed"
)
SELECT_STREAM = (
    f"SELECT {COLUMNS} FROM record.events WHERE firm_id = %s AND stream_id = %s AND stream_type = %s"
    " AND stream_version > %s ORDER BY stream_version"
)
SELECT_AFTER = f"SELECT {COLUMNS} FROM record.events WHERE position > %s AND position <= %s ORDER BY position LIMIT %s"


COPIED = 500  # rows that are read at once: so many fit a processor's caches
IDS = 20_000
HOLD = 1.0
FOREIGN = "eventsourcing"  # streams of applications of that library (infra.record.recorder): their bytes are theirs to read


class EventRow(NamedTuple):
    """One row as the database gives it, in binary."""

    position: int
    firm_id: UUID
    firm_position: int
    stream_type: str
    stream_id: UUID
    stream_version: int
    event_id: UUID
    type: str
    recorded_at: datetime
    occurred_at: datetime
    command_id: UUID
    public: bytes
    sealed: bytes | None


def decode(row: EventRow, vault: Vault, keys: Mapping[UUID, AESGCM]) -> Recorded:
    """The event of a row, opened with what `fetch_keys` gave; values whose key is gone are empty."""
    leaf = orjson.loads(row.public)
    disclosed: dict[str, Any] = {}
    if row.sealed is not None:
        disclosed = disclose(vault.open(row.firm_id, row.stream_id, row.event_id, row.sealed, keys))
    return Recorded(
        position=row.position,
        firm=FirmId(row.firm_id),
        firm_position=row.firm_position,
        stream_type=row.stream_type,
        stream_id=row.stream_id,
        version=row.stream_version,
        event_id=row.event_id,
        name=row.type,
        event=CODECS.decode(row.type, leaf["data"], disclosed),
        occurred_at=row.occurred_at,
        recorded_at=row.recorded_at,
        actor=leaf["actor"],
        origin=leaf.get("origin"),
        command_id=leaf["commandid"],
    )


def fetch_keys(c: psycopg.Connection[Any], vault: Vault, rows: Sequence[EventRow]) -> dict[UUID, AESGCM]:
    """The keys that open these rows: those in memory, and the others unwrapped. A destroyed key is absent."""
    keys, wanted = vault.held((r.firm_id, r.sealed) for r in rows)
    if wanted:
        cursor = c.execute(SELECT_KEYS, ([f for f, _ in wanted], [k for _, k in wanted]), binary=True)
        keys |= {k.key_id: k.cipher for k in [vault.unwrap(*row) for row in cursor.fetchall()]}
    return keys


def read_after(c: psycopg.Connection[Any], position: int, limit: int, until: int = 2**62) -> list[EventRow]:
    """The next rows of the whole record, in order."""
    cursor = c.cursor(binary=True)
    cursor.execute(SELECT_AFTER, (position, until, limit))
    return [EventRow(*row) for row in cursor.fetchall()]


Wanted = Callable[[str, str], bool]  # of a stream's type and an event's type


def replay(
    c: psycopg.Connection[Any],
    vault: Vault,
    after: int = 0,
    until: int = 2**62,
    *,
    wanted: Wanted = lambda _stream, _type: True,
) -> Iterator[Recorded]:
    """All events of the record from a position on, decoded, in bounded memory."""
    for events, _ in replay_batches(c, vault, after, until, COPIED, wanted=wanted):
        yield from events


def replay_batches(
    c: psycopg.Connection[Any], vault: Vault, after: int, until: int, batch: int, *, wanted: Wanted
) -> Iterator[tuple[list[Recorded], int]]:
    """The wanted events of each `batch` positions, decoded, with the position reached; up to the end of the record or `until`."""
    texts, ids, ciphers = _Texts(), _Ids(), _Ciphers(c, vault)
    while after < until:
        head = int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])
        if head <= after:
            return
        last = min(until, head)
        while after < last:
            events: list[Recorded] = []
            reached = min(after + batch, last)  # positions have no gaps: so many rows
            while after < reached:
                here = min(after + COPIED, reached)
                events += _decoded(ciphers, _copied(c, after, here), texts, ids, wanted)
                after = here
            yield events, reached


class _Texts(dict[bytes, str]):
    """Types of streams and of events as text, each decoded once."""

    def __missing__(self, raw: bytes) -> str:
        self[raw] = text = raw.decode()
        return text


class _Ids(dict[bytes, UUID]):
    """Ids of firms and streams, each made once."""

    def __missing__(self, raw: bytes) -> UUID:
        self[raw] = made = UUID(bytes=raw)
        return made

    def trim(self) -> None:
        if len(self) > IDS:
            self.clear()


# What a leaf says itself (times, actor, command) is not asked of the columns.
_COPY = (
    "COPY (SELECT position, firm_id, firm_position, stream_id, stream_version, event_id, stream_type, type, public, sealed"
    " FROM record.events WHERE position > %d AND position <= %d ORDER BY position) TO STDOUT (FORMAT binary)"
)
_NULL = b"\xff\xff\xff\xff"
_FIRM = slice(18, 34)
_NOTHING: Mapping[str, Any] = {}
_FIXED = struct.Struct(">hiqi16siqi16siqi16si")


def _copied(c: psycopg.Connection[Any], after: int, until: int) -> list[bytes]:
    """The rows of these positions as binary COPY gives them."""
    pg = c.pgconn
    result = pg.exec_((_COPY % (after, until)).encode())
    if result.status != ExecStatus.COPY_OUT:
        raise psycopg.errors.error_from_result(result)
    get, rows = pg.get_copy_data, []
    while True:
        count, data = get(0)
        if count < 0:
            break
        rows.append(bytes(data))
    while (done := pg.get_result()) is not None:
        if done.status == ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(done)
    rows[0] = rows[0].removeprefix(COPY_HEADER)
    return [row for row in rows if len(row) > len(COPY_END)]


class _Ciphers(dict[tuple[bytes, str], AESGCM | None]):
    """The keys that open sealed parts, by firm and key id as they stand there; None where the key was destroyed.

    Keys are held for `HOLD` seconds and taken from memory only while they have so long to live there.
    """

    def __init__(self, c: psycopg.Connection[Any], vault: Vault) -> None:
        super().__init__()
        self._c = c
        self._vault = vault
        self._until = 0.0

    def refresh(self) -> None:
        now = monotonic()
        if self._until < now:
            self.clear()
            self._until = now + HOLD

    def fetch(self, rows: Sequence[bytes]) -> None:
        """Get all the keys that these rows need, those not in memory with one question."""
        fetching: list[tuple[UUID, UUID]] = []
        for row in rows:
            for key, _ in _sealed(row):
                about = (row[_FIRM], key)
                if about not in self:
                    firm, key_id = UUID(bytes=about[0]), UUID(key)
                    cipher = self[about] = self._vault.cipher(firm, key_id, HOLD)
                    if cipher is None:
                        fetching.append((firm, key_id))
        if fetching:
            cursor = self._c.execute(SELECT_KEYS, ([f for f, _ in fetching], [k for _, k in fetching]), binary=True)
            for found in cursor.fetchall():
                self[found[0].bytes, found[1].hex] = self._vault.unwrap(*found).cipher


def _sealed(row: bytes) -> list[tuple[str, bytes]]:
    at = _FIXED.size - 4
    for _ in range(3):  # type of stream, type of event, public part
        at += 4 + int.from_bytes(row[at : at + 4], "big")
    return [] if row[at : at + 4] == _NULL else sealed_items(row[at + 4 :])


def _decoded(keys: _Ciphers, rows: Sequence[bytes], texts: _Texts, ids: _Ids, wanted: Wanted) -> list[Recorded]:
    unpack, fixed, integer = _FIXED.unpack_from, _FIXED.size, int.from_bytes
    loads, named, moment = orjson.loads, CODECS.decode, datetime.fromisoformat
    keys.refresh()
    ids.trim()
    out: list[Recorded] = []
    for n, row in enumerate(rows):
        _, _, position, _, firm, _, firm_position, _, stream, _, version, _, event, size = unpack(row)
        at = fixed + size
        stream_type = texts[row[fixed:at]]
        begin = at + 4
        at = begin + integer(row[at:begin], "big")
        type = texts[row[begin:at]]
        if stream_type == FOREIGN or not wanted(stream_type, type):
            continue
        begin = at + 4
        at = begin + integer(row[at:begin], "big")
        leaf = loads(row[begin:at])
        time = leaf["time"]
        occurred_at = moment(time)
        recorded = leaf["recordedtime"]
        if row[at : at + 4] == _NULL:
            said = named(type, leaf["data"], _NOTHING)
        else:
            items = sealed_items(row[at + 4 :])
            try:
                ciphers = [keys[firm, key] for key, _ in items]
            except KeyError:
                keys.fetch(rows[n:])
                ciphers = [keys[firm, key] for key, _ in items]
            said = named(type, leaf["data"], open_all(items, firm + stream + event, ciphers))
        out.append(
            _recorded(
                position,
                ids[firm],  # type: ignore[arg-type]
                firm_position,
                stream_type,
                ids[stream],
                version,
                of_int(integer(event, "big")),
                type,
                said,
                occurred_at,
                occurred_at if recorded == time else moment(recorded),
                leaf["actor"],
                leaf.get("origin"),
                leaf["commandid"],
            )
        )
    return out


_put = {f.name: getattr(Recorded, f.name).__set__ for f in dataclasses.fields(Recorded)}
_put_position = _put["position"]
_put_firm = _put["firm"]
_put_firm_position = _put["firm_position"]
_put_stream_type = _put["stream_type"]
_put_stream_id = _put["stream_id"]
_put_version = _put["version"]
_put_event_id = _put["event_id"]
_put_name = _put["name"]
_put_event = _put["event"]
_put_occurred_at = _put["occurred_at"]
_put_recorded_at = _put["recorded_at"]
_put_actor = _put["actor"]
_put_origin = _put["origin"]
_put_command_id = _put["command_id"]


def _recorded(
    position: int,
    firm: FirmId,
    firm_position: int,
    stream_type: str,
    stream_id: UUID,
    version: int,
    event_id: UUID,
    name: str,
    event: Any,
    occurred_at: datetime,
    recorded_at: datetime,
    actor: str,
    origin: str | None,
    command_id: str,
    _new: Any = object.__new__,
) -> Recorded:
    """`Recorded` of its fields, in a third of the time: a frozen class's own constructor looks each field up to set it."""
    made: Recorded = _new(Recorded)
    _put_position(made, position)
    _put_firm(made, firm)
    _put_firm_position(made, firm_position)
    _put_stream_type(made, stream_type)
    _put_stream_id(made, stream_id)
    _put_version(made, version)
    _put_event_id(made, event_id)
    _put_name(made, name)
    _put_event(made, event)
    _put_occurred_at(made, occurred_at)
    _put_recorded_at(made, recorded_at)
    _put_actor(made, actor)
    _put_origin(made, origin)
    _put_command_id(made, command_id)
    return made


async def fetch_keys_async(c: psycopg.AsyncConnection[Any], vault: Vault, rows: Sequence[EventRow]) -> dict[UUID, AESGCM]:
    keys, wanted = vault.held((r.firm_id, r.sealed) for r in rows)
    if wanted:
        cursor = await c.execute(SELECT_KEYS, ([f for f, _ in wanted], [k for _, k in wanted]), binary=True)
        keys |= {k.key_id: k.cipher for k in [vault.unwrap(*row) for row in await cursor.fetchall()]}
    return keys


async def read_stream(
    c: psycopg.AsyncConnection[Any], vault: Vault, firm: UUID, stream_type: str, stream_id: UUID, after: int = 0
) -> AsyncIterator[Recorded]:
    """One stream's events in order."""
    async for row, recorded in read_stream_rows(c, vault, firm, stream_type, stream_id, after):
        del row
        yield recorded


async def read_stream_rows(
    c: psycopg.AsyncConnection[Any], vault: Vault, firm: UUID, stream_type: str, stream_id: UUID, after: int = 0
) -> AsyncIterator[tuple[EventRow, Recorded]]:
    """One stream's rows with what they say, in order."""
    cursor = c.cursor(binary=True)
    await cursor.execute(SELECT_STREAM, (firm, stream_id, stream_type, after))
    while batch := await cursor.fetchmany(1_000):
        rows = [EventRow(*r) for r in batch]
        keys = await fetch_keys_async(c, vault, rows)
        for row in rows:
            yield row, decode(row, vault, keys)
