"""An event as a Kafka message and back: CloudEvents 1.0, Kafka protocol binding, binary content mode.

BUS1  The value is the event's data, byte for byte as it stands in the leaf; every other member of the leaf is a header of the same name
      with `ce_` before it. So whoever has a message has the leaf: `Message.leaf` puts it together, `ce_leafhash` says whether it is whole.
BUS2  Personal values travel as they are stored: sealed, in `ce_sealed`. Only who has the data keys can open them.
BUS3  The key is the firm, so one firm's events stand in one partition, in the order of `ce_firmposition`.

Headers beside those of the leaf: `ce_position`, `ce_firmposition` (the leaf's index in the firm's log, from 0, without a gap),
`ce_leafhash` (RFC 6962, base64), `ce_sealed` (JSON text, absent when nothing was sealed or it has been erased) and `content-type`.
The message's timestamp is the recorded time, so that a search by time finds what was recorded then.
"""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from infra.ids import text
from infra.record.codec import canonical, leaf_hash
from infra.record.reader import EventRow

CONTENT_TYPE = "application/json"
IN_LEAF = (
    "actor",
    "causationid",
    "commandid",
    "correlationid",
    "id",
    "origin",
    "recordedtime",
    "source",
    "specversion",
    "streamversion",
    "subject",
    "time",
    "type",
)
"""The members of a leaf beside `data`."""
OPTIONAL = frozenset({"causationid", "correlationid", "origin"})
BESIDE_LEAF = ("position", "firmposition", "leafhash", "sealed")
_NAMES = {name: f"ce_{name}" for name in (*IN_LEAF, *BESIDE_LEAF)}
_ATTRIBUTES = {header: name for name, header in _NAMES.items()}
_REQUIRED = frozenset(IN_LEAF) - OPTIONAL | {"position", "firmposition", "leafhash"}
_DATA, _ID = b',"data":{', b'},"id":"'

Headers = list[tuple[str, bytes]]


class NotAnEvent(Exception):
    """The message is not an event of Chancery: a header is missing or can't be read. Something else writes to this topic."""


class Encoded(NamedTuple):
    """What is handed to a producer."""

    key: bytes
    value: bytes
    headers: Headers
    timestamp: int


def encode(row: EventRow) -> Encoded:
    """The message of a row of the record. ValueError when its public part is no leaf.

    The leaf's keys are sorted and a quote inside a text is escaped, so what stands before and after `data` is found without reading it.
    """
    begin, end = row.public.index(_DATA), row.public.rindex(_ID)
    members = orjson.loads(row.public[:begin] + row.public[end + 1 :])
    if not isinstance(members, dict) or members.keys() - OPTIONAL != _REQUIRED.difference(BESIDE_LEAF):
        raise ValueError("the public part is no leaf")
    attributes = {name: str(value).encode() for name, value in members.items()} | {
        "position": b"%d" % row.position,
        "firmposition": b"%d" % row.firm_position,
        "leafhash": leaf_hash(row.public).encode(),
    }
    if row.sealed is not None:
        attributes["sealed"] = row.sealed
    headers: Headers = [(_NAMES[name], value) for name, value in attributes.items()]
    headers.append(("content-type", CONTENT_TYPE.encode()))
    return Encoded(key_of(row.firm_id), row.public[begin + 8 : end + 1], headers, round(row.recorded_at.timestamp() * 1000))


@functools.lru_cache(maxsize=100_000)
def key_of(firm: UUID) -> bytes:
    """The key of a firm's messages: its id as text."""
    return text(firm).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An event as it was read from Kafka. Its personal values are sealed still; `row` is what `infra.record.reader` opens and decodes."""

    position: int
    firm: UUID
    firm_position: int
    stream_type: str
    stream_id: UUID
    stream_version: int
    event_id: UUID
    type: str
    recorded_at: datetime
    occurred_at: datetime
    actor: str
    command_id: str
    correlation_id: str | None
    causation_id: str | None
    origin: str | None
    data: bytes
    sealed: bytes | None
    leaf_hash: str
    attributes: Mapping[str, str]

    @property
    def content(self) -> dict[str, Any]:
        """The data as JSON: the public part alone, with `_sd` digests where values are personal."""
        found: dict[str, Any] = orjson.loads(self.data)
        return found

    @property
    def leaf(self) -> bytes:
        """The leaf, byte for byte, put together from the headers and the data."""
        members: dict[str, Any] = {name: self.attributes[name] for name in IN_LEAF if name in self.attributes}
        members["streamversion"] = self.stream_version
        members["data"] = orjson.Fragment(self.data)
        return canonical(members)

    @property
    def whole(self) -> bool:
        """Whether headers and data are those that were recorded: the leaf has its hash."""
        return leaf_hash(self.leaf) == self.leaf_hash

    @property
    def row(self) -> EventRow:
        """The row of the record that was published, as far as it is not erased since."""
        return EventRow(
            position=self.position,
            firm_id=self.firm,
            firm_position=self.firm_position,
            stream_type=self.stream_type,
            stream_id=self.stream_id,
            stream_version=self.stream_version,
            event_id=self.event_id,
            type=self.type,
            recorded_at=self.recorded_at,
            occurred_at=self.occurred_at,
            command_id=UUID(self.command_id),
            public=self.leaf,
            sealed=self.sealed,
        )


def decode(headers: Iterable[tuple[str, bytes | str | None]] | None, value: bytes | None) -> Message:
    """The event in a message's headers and value. NotAnEvent when it is none."""
    attributes: dict[str, str] = {}
    try:
        for header, raw in headers or ():
            name = _ATTRIBUTES.get(header)
            if name is not None and raw is not None:
                attributes[name] = raw.decode() if isinstance(raw, bytes) else raw
        if missing := _REQUIRED - attributes.keys():
            raise NotAnEvent(f"The message is not an event of Chancery: it has no {', '.join(sorted(_NAMES[m] for m in missing))}.")
        if value is None:
            raise NotAnEvent("The message is not an event of Chancery: it has no value.")
        stream_type, _, stream_id = attributes["subject"].partition("/")
        firm = attributes["source"].removeprefix("/firms/")
        sealed = attributes.get("sealed")
        return Message(
            position=int(attributes["position"]),
            firm=UUID(firm),
            firm_position=int(attributes["firmposition"]),
            stream_type=stream_type,
            stream_id=UUID(stream_id),
            stream_version=int(attributes["streamversion"]),
            event_id=UUID(attributes["id"]),
            type=attributes["type"],
            recorded_at=datetime.fromisoformat(attributes["recordedtime"]),
            occurred_at=datetime.fromisoformat(attributes["time"]),
            actor=attributes["actor"],
            command_id=attributes["commandid"],
            correlation_id=attributes.get("correlationid"),
            causation_id=attributes.get("causationid"),
            origin=attributes.get("origin"),
            data=value,
            sealed=None if sealed is None else sealed.encode(),
            leaf_hash=attributes["leafhash"],
            attributes=attributes,
        )
    except ValueError as e:  # a number, a time, an id or a text that is none; its value may be anyone's and is not repeated
        raise NotAnEvent(f"The message is not an event of Chancery: a header can't be read ({type(e).__name__}).") from e
