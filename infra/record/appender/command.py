"""What is appended: one command's worth of events, what becomes of it, and why it may not be written."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from commands.kernel import Made
from infra.record.vault import NewKey

Key = tuple[str, UUID]


class Conflict(Exception):
    """Another writer was faster on a stream this command read. Nothing was written; decide again."""

    def __init__(self, stream_type: str, stream_id: UUID) -> None:
        super().__init__(f"{stream_type}/{stream_id}")
        self.stream_type = stream_type
        self.stream_id = stream_id


class CommandIdReused(Exception):
    """This Idempotency-Key was used for another request. Send a new key with a new request."""


class Busy(Exception):
    """Too many commands are waiting to be written. Try again shortly."""


class Unavailable(Exception):
    """The database does not answer. Nothing was written; try again."""


class OutcomeUnknown(Exception):
    """The connection broke while committing: the outcome is not known. Send the same request with the same Idempotency-Key."""


@dataclass(slots=True, kw_only=True)
class Append:
    """One command's worth of events. `expected` is the version of every stream that was read, 0 when it was empty."""

    firm: UUID
    command_id: UUID
    body_mac: bytes
    expected: Mapping[Key, int]
    events: Sequence[Made]
    sealed: Sequence[bytes | None]
    recorded_at: datetime
    answer: bytes
    keys: Sequence[NewKey] = ()
    done: "Callable[[Appended | BaseException], None] | None" = None
    future: "asyncio.Future[Appended] | None" = None
    size: int = field(init=False, default=500)
    reads: list[tuple[bytes, int, Key]] = field(init=False)  # each stream that was read, by `stream_key`
    firm_bytes: bytes = field(init=False)
    command_bytes: bytes = field(init=False)
    writes: dict[bytes, int] = field(init=False)  # the versions that streams have afterwards

    def __post_init__(self) -> None:
        firm = self.firm_bytes = self.firm.bytes
        self.command_bytes = self.command_id.bytes
        self.reads = [(firm + stream[1].bytes + stream[0].encode(), version, stream) for stream, version in self.expected.items()]
        self.writes = writes = {}
        last = {key: version for key, version, _ in self.reads}
        key, _, (only_type, only_id) = self.reads[0] if len(self.reads) == 1 else (b"", 0, ("", None))
        size = self.size
        for e, sealed in zip(self.events, self.sealed, strict=True):
            if e.stream_id is not only_id or e.stream_type != only_type:
                key = firm + e.stream_id.bytes + e.stream_type.encode()
            version = e.stream_version
            if version <= last[key]:  # a stream that was not read, or not counted on: a bug, found before it is written
                raise ValueError(f"{e.type} is version {version} of a stream that stands at {last[key]}")
            last[key] = writes[key] = version
            size += len(e.public) + 300 + (0 if sealed is None else len(sealed))
        self.size = size


class Appended(NamedTuple):
    """`position` is the last event's; the head's when the command changed nothing. `replayed` tells a repeated answer."""

    position: int
    answer: bytes
    replayed: bool


def stream_key(firm: UUID, type: str, id: UUID) -> bytes:
    """A stream's key as bytes: firm, id, type."""
    return firm.bytes + id.bytes + type.encode()
