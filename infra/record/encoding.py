"""The stored form of many events, made in processes beside an import: canonical bytes, sealed values, rows packed for COPY.

What travels there is a piece: commands in order, each with its events as it decided them, and the data keys that seal them. What comes
back are the rows of all but for their places, and which are each command's, or that it can't be recorded. The process keeps nothing of
a piece.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any, NamedTuple
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infra.ids import of_int
from infra.record import codec, wire
from infra.record.vault import DataKey, seal

About = tuple[UUID, str]


# Plain tuples, ids as bytes: a named one takes several times as long to travel.
Told = tuple[str, bytes, int, bytes, Any, datetime | None]
"""An event on its way to its stored form: stream's type and id, version, event id, event, when it occurred (None: when it was recorded)."""
Commanded = tuple[bytes, datetime, list[Told]]
"""A command's id, when it was carried out, its events."""


class Piece(NamedTuple):
    firm: bytes
    actor: str
    origin: str | None
    correlation_id: str | None
    keys: list[tuple[UUID, str, UUID, bytes]]  # subject, purpose, key id, key
    commands: list[Commanded]


class Rows(NamedTuple):
    """Rows for COPY one after the other, their places blank (`wire.put_places`)."""

    packed: bytearray
    starts: Sequence[int]  # where each begins, and where the last ends


def rows_of(rows: Iterable[bytes]) -> Rows:
    each = list(rows)
    return Rows(bytearray().join(each), list(accumulate(map(len, each), initial=0)))


class Encoded(NamedTuple):
    """A piece's rows, and each command's first among them; None for one that can't be recorded."""

    rows: Rows
    firsts: list[int | None]


_INT = array("i").itemsize


def framed(commands: Sequence[list[bytes] | None]) -> bytearray:
    """The rows of each command as they travel back: how many commands and rows, rows of each command (-1: none can be), sizes, rows."""
    rows = [row for c in commands if c is not None for row in c]
    counts = array("i", [len(commands), len(rows), *(-1 if c is None else len(c) for c in commands), *map(len, rows)])
    return bytearray().join([counts.tobytes(), *rows])


def unframed(frame: bytearray) -> Encoded:
    """What `framed` made, where it stands."""
    with memoryview(frame) as view:
        commands, rows = view[: 2 * _INT].cast("i")
        begin = (2 + commands + rows) * _INT
        numbers = view[2 * _INT : begin].cast("i").tolist()
    firsts: list[int | None] = []
    at = 0
    for count in numbers[:commands]:
        firsts.append(at if count >= 0 else None)
        at += max(count, 0)
    return Encoded(Rows(frame, list(accumulate(numbers[commands:], initial=begin))), firsts)


def envelope(
    *,
    data: dict[str, Any],
    name: str,
    event_id: UUID,
    stream_type: str,
    stream_id: str,
    version: int,
    actor: str,
    command_id: str,
    source: str,
    recorded: str,
    occurred: str,
    correlation_id: str | None = None,
    causation_id: str | None = None,
    origin: str | None = None,
) -> bytes:
    """The leaf of an event. Raises `TooLargeToRecord` and `NotRecordable`."""
    said: dict[str, Any] = {
        "actor": actor,
        "commandid": command_id,
        "data": data,
        "id": event_id,
        "recordedtime": recorded,
        "source": source,
        "specversion": "1.0",
        "streamversion": version,
        "subject": f"{stream_type}/{stream_id}",
        "time": occurred,
        "type": name,
    }
    if correlation_id:
        said["correlationid"] = correlation_id
    if causation_id:
        said["causationid"] = causation_id
    if origin:
        said["origin"] = origin
    leaf = codec.canonical(said)
    if len(leaf) > codec.MAX_LEAF:
        raise codec.TooLargeToRecord(bytes=len(leaf), most=codec.MAX_LEAF)
    return leaf


def ready() -> Callable[[Piece], bytearray]:
    """Make a process ready."""
    import gc

    from infra import registry

    registry.load()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    return encode


def encode(piece: Piece) -> bytearray:
    """Each command's rows, `framed`."""
    keys = {(subject, purpose): DataKey(key_id, AESGCM(raw)) for subject, purpose, key_id, raw in piece.keys}
    source = f"/firms/{UUID(bytes=piece.firm)}"
    return framed([_rows(piece, command, keys, source) for command in piece.commands])


def _rows(piece: Piece, command: Commanded, keys: dict[About, DataKey], source: str) -> list[bytes] | None:
    codecs, text, integer = codec.CODECS, _text, int.from_bytes
    command_bytes, now, events = command
    recorded, recorded_at = codec.timestamp(now), wire.micros(now)
    command_id = text(command_bytes)
    last, stream_id, stream_text = b"", UUID(int=0), ""
    rows: list[bytes] = []
    nowhere = wire.event_place(0, piece.firm, 0)
    try:
        for stream_type, stream, version, id, event, occurred_at in events:
            if stream != last:
                last, stream_id, stream_text = stream, UUID(bytes=stream), text(stream)
            event_codec = codecs.of(event)
            data, disclosures = event_codec.encode(event, stream_id)
            leaf = envelope(
                data=data,
                name=event_codec.name,
                event_id=of_int(integer(id, "big")),
                stream_type=stream_type,
                stream_id=stream_text,
                version=version,
                actor=piece.actor,
                command_id=command_id,
                source=source,
                recorded=recorded,
                occurred=recorded if occurred_at is None else codec.timestamp(occurred_at),
                correlation_id=piece.correlation_id,
                origin=piece.origin,
            )
            sealed = None
            if disclosures:
                bound = piece.firm + stream + id
                sealed = seal(bound, [(keys[d.subject, d.purpose], d) for d in disclosures])
            rows.append(
                wire.event_row(
                    nowhere,
                    stream,
                    version,
                    id,
                    recorded_at,
                    recorded_at if occurred_at is None else wire.micros(occurred_at),
                    command_bytes,
                    stream_type.encode(),
                    event_codec.name.encode(),
                    leaf,
                    sealed,
                )
            )
    except (codec.TooLargeToRecord, codec.NotRecordable):
        return None
    return rows


def _text(id: bytes) -> str:
    digits = id.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
