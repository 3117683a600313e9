"""Reading the record: rows of `record.events` to decoded events, by stream, by firm or in position order."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.kernel import FirmId
from infra.record.codec import CODECS, disclose
from infra.record.vault import SELECT_KEYS, Vault
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


def replay(c: psycopg.Connection[Any], vault: Vault, after: int = 0, until: int = 2**62, batch: int = 2_000) -> Iterator[Recorded]:
    """All events of the record from a position on, decoded, in bounded memory."""
    while rows := read_after(c, after, batch, until):
        keys = fetch_keys(c, vault, rows)
        for row in rows:
            if row.stream_type != FOREIGN:
                yield decode(row, vault, keys)
        after = rows[-1].position


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
