"""The stored form of an event: an event object to data and disclosures, and back.

Encoders and decoders are built once per class from its type hints. What they accept is closed: str, int, bool, UUID, Decimal,
datetime, date, Literal, StrEnum, X | None, tuple[T, ...], dict[str, T] with ASCII keys, and frozen dataclasses of these. None is
omitted. There are no floats, and integers stay within ±(2^53 - 1), as RFC 8785 needs.
"""

import binascii
import dataclasses
import hashlib
import types
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args, get_origin
from uuid import UUID

import orjson

from domain.hints import personal_mark
from domain.kernel import EVENTS, UPCASTERS, Invalid, Personal
from infra.ids import parse, random_bytes, text

MAX_INTEGER = 2**53 - 1
MAX_LEAF = 65_535
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
FROM_URL = bytes.maketrans(b"-_", b"+/")
MAX_DIGITS = 1_000

Encode = Callable[[Any], Any]
Decode = Callable[[Any], Any]


class TooLargeToRecord(Invalid):
    """The event is larger than 65,535 bytes in its stored form. Split it, or store long text as a document."""


class NotRecordable(Invalid):
    """The value can't be part of the record: numbers must be whole and within ±(2^53 - 1), text must be valid Unicode, keys ASCII."""


class Disclosure(typing.NamedTuple):
    """A personal value before it is sealed: SD-JWT's `[salt, name, value]` as base64url text, and whose key seals it."""

    subject: UUID
    purpose: str
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    name: str
    encode: Encode
    decode: Decode
    personal: Personal | None
    empty: Any


def b64url(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).translate(_URL_SAFE, b"=").decode()


def unb64url(text: str) -> bytes:
    return binascii.a2b_base64(text.encode().translate(FROM_URL) + b"==")


def leaf_hash(leaf: bytes) -> str:
    """RFC 6962 leaf hash: SHA-256 of a zero byte and the leaf, base64."""
    return binascii.b2a_base64(hashlib.sha256(b"\x00" + leaf).digest(), newline=False).decode()


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds: the one form a time has on the record."""
    if moment.tzinfo is None:
        raise NotRecordable(value="a time without a zone")
    if moment.tzinfo is not UTC:
        try:
            moment = moment.astimezone(UTC)
        except OverflowError as e:
            raise NotRecordable(value="a time before the year 1 or after 9999") from e
    if not moment.microsecond:
        return moment.isoformat(timespec="microseconds")[:-6] + "Z"
    return orjson.dumps(moment, option=orjson.OPT_UTC_Z)[1:-1].decode()


def canonical(value: Any) -> bytes:
    """RFC 8785 bytes of a value that is known to be made of ASCII-keyed objects, arrays, strings, booleans and safe integers."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError) as e:
        raise NotRecordable from e


def checked(value: Any) -> Any:
    """The value, if it is one of those of which `canonical` gives RFC 8785 bytes."""
    match value:
        case None | bool():
            pass
        case int():
            _integer(value)
        case str():
            _text(value)
        case list() | tuple():
            for item in value:
                checked(item)
        case dict():
            for key, item in value.items():
                if not _text(key).isascii():
                    raise NotRecordable(value="a key that is not ASCII")
                checked(item)
        case _:
            raise NotRecordable(value=type(value).__name__)
    return value


# --- one type at a time


def _integer(value: Any) -> int:
    if type(value) is not int or not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise NotRecordable(value="an integer beyond ±(2^53 - 1)")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise NotRecordable(value=type(value).__name__)
    if "\x00" in value:  # PostgreSQL has no text with NUL: no view could ever show it
        raise NotRecordable(value="text with a NUL character")
    return str(value)


def _decimal(value: Any) -> str:
    if not isinstance(value, Decimal) or not value.is_finite() or abs(value.adjusted()) > MAX_DIGITS:
        raise NotRecordable(value="a number that is not finite or longer than 1,000 digits")
    return format(value, "f")


def _boolean(value: Any) -> bool:
    if value is not True and value is not False:
        raise NotRecordable(value=type(value).__name__)
    return bool(value)


def _uuid(value: Any) -> str:
    return text(value) if type(value) is UUID else str(value)


def _same(value: Any) -> Any:
    return value


_PLAIN: dict[Any, tuple[Encode, Decode]] = {
    str: (_text, _same),
    int: (_integer, _same),
    bool: (_boolean, _same),
    UUID: (_uuid, parse),
    Decimal: (_decimal, Decimal),
    datetime: (timestamp, datetime.fromisoformat),
    date: (date.isoformat, date.fromisoformat),
}


def _codec(hint: Any) -> tuple[Encode, Decode]:
    while hasattr(hint, "__supertype__"):  # NewType
        hint = hint.__supertype__
    if hint in _PLAIN:
        return _PLAIN[hint]
    if get_origin(hint) is Annotated:
        return _codec(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return _text, _same
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _text, hint
    if get_origin(hint) in (typing.Union, types.UnionType):
        inner = [a for a in get_args(hint) if a is not type(None)]
        if len(inner) != 1:
            raise TypeError(f"not storable: {hint}; a union may only add None")
        encode, decode = _codec(inner[0])
        if decode is _same:
            return (lambda v: None if v is None else encode(v)), _same
        return (lambda v: None if v is None else encode(v)), (lambda v: None if v is None else decode(v))
    if get_origin(hint) is tuple:
        args = get_args(hint)
        if len(args) != 2 or args[1] is not Ellipsis:
            raise TypeError(f"not storable: {hint}; use tuple[T, ...]")
        encode, decode = _codec(args[0])
        return (lambda v: [encode(x) for x in v]), (lambda v: tuple([decode(x) for x in v]))
    if get_origin(hint) in (dict, Mapping, types.MappingProxyType):
        key, item = get_args(hint)
        encode_key, decode_key = _codec(key)
        encode, decode = _codec(item)

        def encode_mapping(v: Any) -> dict[str, Any]:
            out = {encode_key(k): encode(x) for k, x in v.items()}
            if not all(k.isascii() for k in out):
                raise NotRecordable(value="a key that is not ASCII")
            return out

        return encode_mapping, lambda v: {decode_key(k): decode(x) for k, x in v.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        fields = _fields(hint)

        def encode_object(v: Any) -> dict[str, Any]:
            return {f.name: f.encode(x) for f in fields if (x := getattr(v, f.name)) is not None}

        def decode_object(data: Any) -> Any:
            return hint(**{f.name: f.decode(data[f.name]) for f in fields if f.name in data})

        return encode_object, decode_object
    raise TypeError(f"not storable: {hint}")


def _fields(cls: type) -> list[_Field]:
    hints = typing.get_type_hints(cls, include_extras=True)
    out = []
    for f in dataclasses.fields(cls):
        hint = hints[f.name]
        bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        empty: Any = () if get_origin(bare) is tuple else {} if get_origin(bare) in (dict, Mapping) else "" if bare is str else None
        if f.default is not dataclasses.MISSING:
            empty = f.default
        encode, decode = _codec(hint)
        out.append(_Field(f.name, encode, decode, personal_mark(hint), empty))
    return out


def _marked_within(hint: Any, *, top: bool = True) -> bool:
    """Whether a personal mark stands deeper than on the field itself, where it would be passed over."""
    if get_origin(hint) is Annotated:
        marked = any(isinstance(m, Personal) for m in hint.__metadata__)
        return (marked and not top) or _marked_within(get_args(hint)[0], top=top and not marked)
    if get_origin(hint) in (typing.Union, types.UnionType):
        return any(_marked_within(a, top=top) for a in get_args(hint))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return any(_marked_within(h, top=False) for h in typing.get_type_hints(hint, include_extras=True).values())
    return any(_marked_within(a, top=False) for a in get_args(hint) if get_origin(hint) is not Literal)


def json_codec(hint: Any) -> tuple[Encode, Decode]:
    """To and from JSON values for any hint a row or an event may have."""
    return _codec(hint)


# --- whole events


class EventCodec:
    """Encodes and decodes one event class."""

    __slots__ = ("_clear", "_empty", "_fields", "_open", "_personal", "_shut", "cls", "name")

    def __init__(self, name: str, cls: type) -> None:
        self.name = name
        self.cls = cls
        self._fields = _fields(cls)
        for f in dataclasses.fields(cls):
            if _marked_within(typing.get_type_hints(cls, include_extras=True)[f.name]):
                raise TypeError(f"{name}: {f.name} hides a personal mark in a nested type; mark the event's own field")
        self._clear = [(f.name, f.encode) for f in self._fields if f.personal is None]
        self._personal = [(f.name, f.encode, f.personal, f.empty) for f in self._fields if f.personal is not None]
        self._open = {f.name: f.decode for f in self._fields if f.personal is None}
        self._shut = {f.name: f.decode for f in self._fields if f.personal is not None}
        self._empty = {f.name: f.empty for f in self._fields if f.personal is not None}

    def encode(self, event: Any, stream_id: UUID) -> tuple[dict[str, Any], list[Disclosure]]:
        """The public data, with `_sd` digests where values are personal, and the disclosures behind the digests."""
        data = {name: encode(value) for name, encode in self._clear if (value := getattr(event, name)) is not None}
        if not self._personal:
            return data, []
        disclosures = []
        digests = []
        for name, encode, personal, empty in self._personal:
            value = getattr(event, name)
            if value is None or (value == empty and not value):
                continue
            subject = getattr(event, personal.subject) if personal.subject else stream_id
            try:
                raw = orjson.dumps([b64url(random_bytes(16)), name, encode(value)])
            except (TypeError, ValueError) as e:
                raise NotRecordable(field=name) from e
            if len(raw) > MAX_LEAF:
                raise TooLargeToRecord(field=name, bytes=len(raw), most=MAX_LEAF)
            text = b64url(raw)
            digests.append(b64url(hashlib.sha256(text.encode()).digest()))
            disclosures.append(Disclosure(subject or stream_id, personal.purpose, text))
        if digests:
            digests.sort()
            data["_sd"] = digests
        return data, disclosures

    def subjects(self, event: Any, stream_id: UUID) -> list[tuple[UUID, str]]:
        """Whose keys seal what `encode` discloses of this event, and for which purpose."""
        found = []
        for name, _, personal, empty in self._personal:
            value = getattr(event, name)
            if value is None or (value == empty and not value):
                continue
            subject = getattr(event, personal.subject) if personal.subject else stream_id
            found.append((subject or stream_id, personal.purpose))
        return found

    def decode(self, data: Mapping[str, Any], disclosed: Mapping[str, Any]) -> Any:
        """The event object. Personal values that are not disclosed (any more) are empty."""
        values = self._empty.copy()
        for decoders, said in ((self._open, data), (self._shut, disclosed)):
            for name, value in said.items():
                decode = decoders.get(name)
                if decode is not None:
                    values[name] = value if decode is _same else decode(value)
        return self.cls(**values)


class Codecs:
    """All event classes that are declared, by stored name and by class."""

    def __init__(self) -> None:
        self._by_name: dict[str, EventCodec] = {}
        self._by_class: dict[type, EventCodec] = {}

    def of(self, event: Any) -> EventCodec:
        codec = self._by_class.get(type(event))
        if codec is None:
            name = next((n for n, c in EVENTS.items() if c is type(event)), None)
            if name is None:
                raise TypeError(f"not a declared event: {type(event).__name__}")
            codec = self._by_class[type(event)] = self._by_name[name] = EventCodec(name, type(event))
        return codec

    def named(self, name: str) -> EventCodec:
        codec = self._by_name.get(name)
        if codec is None:
            if name not in EVENTS:
                raise UnknownEvent(name)
            codec = self._by_class[EVENTS[name]] = self._by_name[name] = EventCodec(name, EVENTS[name])
        return codec

    def decode(self, name: str, data: dict[str, Any], disclosed: Mapping[str, Any]) -> Any:
        """The event as today's class sees it: retired versions pass through their upcasters first."""
        if name in UPCASTERS:
            data = {**data, **disclosed}
            while name in UPCASTERS:
                name, upcast = UPCASTERS[name]
                data = upcast(data)
            disclosed = data
        return self.named(name).decode(data, disclosed)


class UnknownEvent(Exception):
    """The record holds an event name that this version of Chancery doesn't know. Upgrade, or restore the class that declared it."""


CODECS = Codecs()


def disclose(texts: list[str]) -> dict[str, Any]:
    """The names and values inside disclosures."""
    out = {}
    for disclosure in texts:
        _salt, name, value = orjson.loads(unb64url(disclosure))
        out[name] = value
    return out
