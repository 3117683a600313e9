"""The statements of the append transaction, what goes into them and what they answer.

Rows travel packed (`infra.record.wire`); streams are named by `stream_key`, commands by the firm's and their own id together.
"""

from collections.abc import Mapping, Sequence

from psycopg.pq.abc import PGresult

from infra.record import wire
from infra.record.vault import NewKey

APPEND_LOCK = 7_020_240_002
CHANNEL = "chancery_events"
COPY_FROM = 200  # events from which COPY beats unnest
PARTITION_SIZE = 5_000_000  # as record.extend makes them
PARTITION_AHEAD = 1_000_000


U, N, T, B, Z = wire.UUIDS, wire.INT8S, wire.TEXTS, wire.BYTEAS, wire.TIMES
BEGIN = wire.Statement(b"begin", b"BEGIN ISOLATION LEVEL READ COMMITTED")
LOCK = wire.Statement(b"lock", b"SELECT pg_advisory_xact_lock(%d)" % APPEND_LOCK)
HEAD = wire.Statement(b"head", b"SELECT position FROM record.head")
# LATERAL with OFFSET 0 asks the index for each key, whatever the planner believes of tables that were empty a minute ago.
FIRM_HEADS = wire.Statement(
    b"firms",
    b"SELECT h.* FROM unnest($1) u(f), LATERAL (SELECT h.firm_id, h.firm_position FROM record.firm_heads h"
    b" WHERE h.firm_id = u.f OFFSET 0) h",
    (U,),
)
STREAMS = wire.Statement(
    b"streams",
    b"SELECT s.* FROM unnest($1, $2, $3) u(f, i, t), LATERAL (SELECT s.firm_id, s.stream_id, s.stream_type, s.version"
    b" FROM record.streams s WHERE s.firm_id = u.f AND s.stream_id = u.i AND s.stream_type = u.t OFFSET 0) s",
    (U, U, T),
)
COMMANDS = wire.Statement(
    b"commands",
    b"SELECT c.* FROM unnest($1, $2) u(f, c), LATERAL (SELECT c.firm_id, c.command_id, c.body_mac, c.position, c.answer"
    b" FROM record.commands c WHERE c.firm_id = u.f AND c.command_id = u.c OFFSET 0) c",
    (U, U),
)
COLUMNS = (
    "position, firm_id, firm_position, stream_id, stream_version, event_id, recorded_at, occurred_at, command_id,"
    " stream_type, type, public, sealed"
)
INSERT_EVENTS = wire.Statement(
    b"events",
    f"INSERT INTO record.events ({COLUMNS}) SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)".encode(),
    (N, U, N, U, N, U, Z, Z, U, T, T, B, B),
)
COPY_EVENTS = (
    b"COPY record.events_%%06d (%s) FROM STDIN (FORMAT binary)" % COLUMNS.encode()
)  # a partition: COPY is not for tables with policies
UPSERT_STREAMS = wire.Statement(
    b"set streams",
    b"INSERT INTO record.streams (firm_id, stream_id, stream_type, version) SELECT * FROM unnest($1, $2, $3, $4)"
    b" ON CONFLICT (firm_id, stream_id, stream_type) DO UPDATE SET version = excluded.version",
    (U, U, T, N),
)
INSERT_COMMANDS = wire.Statement(
    b"add commands",
    b"INSERT INTO record.commands (firm_id, command_id, body_mac, position, answer) SELECT * FROM unnest($1, $2, $3, $4, $5)",
    (U, U, B, N, B),
)
INSERT_KEYS = wire.Statement(
    b"add keys",
    b"INSERT INTO vault.data_keys (firm_id, key_id, subject_id, purpose, epoch, wrapped) SELECT * FROM unnest($1, $2, $3, $4, $5, $6)",
    (U, U, U, T, N, B),
)
SET_HEAD = wire.Statement(b"set head", b"UPDATE record.head SET position = $1", (wire.INT8,))
UPSERT_FIRMS = wire.Statement(
    b"set firms",
    b"INSERT INTO record.firm_heads (firm_id, firm_position) SELECT * FROM unnest($1, $2)"
    b" ON CONFLICT (firm_id) DO UPDATE SET firm_position = excluded.firm_position",
    (U, N),
)
NOTIFY = wire.Statement(b"notify", f"SELECT pg_notify('{CHANNEL}', $1::bigint::text)".encode(), (wire.INT8,))
_APPEND = (U, N, U, U, T, N, U, U, B, N, B, N, N, U, N, U, Z, Z, U, T, T, B, B, U, U, T, N, U, U, U, T, N, B)
APPEND = wire.Statement(
    b"append", f"SELECT record.append({', '.join(f'${n}' for n in range(1, len(_APPEND) + 1))})".encode(), _APPEND
)  # migrations/0360_append.sql
_ONE = (
    *([wire.UUID] * 2),
    wire.TEXT,
    wire.INT8,
    wire.UUID,
    wire.BYTEA,
    wire.BYTEA,
    wire.UUID,
    *([wire.TIMESTAMPTZ] * 2),
    wire.TEXT,
)
APPEND_ONE = wire.Statement(
    b"append one",
    f"SELECT record.append_one({', '.join(f'${n}' for n in range(1, 14))})".encode(),
    (*_ONE, wire.BYTEA, wire.BYTEA),
)  # migrations/0361_append_one.sql
EXTEND = wire.Statement(b"extend", b"SELECT record.extend($1)", (wire.INT8,))
COMMIT = wire.Statement(b"commit", b"COMMIT")
ROLLBACK = wire.Statement(b"rollback", b"ROLLBACK")


def ask_versions(pipe: wire.Pipe, keys: Sequence[bytes]) -> None:
    pipe.add(STREAMS, *packed_streams(keys))


def packed_streams(keys: Sequence[bytes]) -> tuple[bytes, bytes, bytes]:
    """Firms, ids and types of streams by their keys."""
    return (
        wire.uuids([k[:16] for k in keys]),
        wire.uuids([k[16:32] for k in keys]),
        wire.encoded_texts([k[32:] for k in keys]),
    )


def read_versions(result: PGresult) -> dict[bytes, int]:
    value = result.get_value
    return {
        (value(r, 0) or b"") + (value(r, 1) or b"") + (value(r, 2) or b""): wire.read_int8(value(r, 3))
        for r in range(result.ntuples)
    }


def read_firms(result: PGresult) -> dict[bytes, int]:
    return {result.get_value(r, 0) or b"": wire.read_int8(result.get_value(r, 1)) for r in range(result.ntuples)}


def read_commands(result: PGresult) -> dict[bytes, tuple[bytes, int, bytes]]:
    """By firm and command id: digest of the body, position, answer."""
    value = result.get_value
    return {
        (value(r, 0) or b"") + (value(r, 1) or b""): (value(r, 2) or b"", wire.read_int8(value(r, 3)), value(r, 4) or b"")
        for r in range(result.ntuples)
    }


def add_heads(pipe: wire.Pipe, streams: Mapping[bytes, int], firms: Mapping[bytes, int], position: int) -> None:
    """Put in what moves with new events: versions of streams, positions of firms and of the record, one NOTIFY."""
    keys = list(streams)
    pipe.add(UPSERT_STREAMS, *packed_streams(keys), wire.int8s(list(streams.values())))
    pipe.add(SET_HEAD, wire.int8(position))
    pipe.add(UPSERT_FIRMS, wire.uuids(list(firms)), wire.int8s(list(firms.values())))
    pipe.add(NOTIFY, wire.int8(position))


def add_keys(pipe: wire.Pipe, keys: Sequence[NewKey]) -> None:
    pipe.add(INSERT_KEYS, *packed_keys(keys))


_NO_KEYS: tuple[bytes, ...] = (wire.uuids([]), wire.uuids([]), wire.uuids([]), wire.texts([]), wire.int8s([]), wire.byteas([]))


def packed_keys(keys: Sequence[NewKey]) -> tuple[bytes, ...]:
    if not keys:
        return _NO_KEYS
    return (
        wire.uuids([k.firm.bytes for k in keys]),
        wire.uuids([k.key_id.bytes for k in keys]),
        wire.uuids([k.subject.bytes for k in keys]),
        wire.texts([k.purpose for k in keys]),
        wire.int8s([k.epoch for k in keys]),
        wire.byteas([k.wrapped for k in keys]),
    )
