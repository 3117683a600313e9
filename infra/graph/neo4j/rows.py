"""Rows of the graph's views as properties, and back; and the one canonical form that digests of every engine of the graph are made of."""

import dataclasses
import functools
import hashlib
import hmac
import operator
import os
import typing
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Generic, TypeVar
from uuid import UUID

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

from domain.hints import bare
from infra.projector.tables import Key, Slice
from infra.record import wire
from infra.record.codec import json_codec
from projections.graph_edges import GraphEdgeRow
from projections.kernel import VIEWS, View

Row = TypeVar("Row")
Plain = dict[str, Any]

SEALED = frozenset({"label", "names"})  # of nodes: never asked for by value, so nobody but us need be able to read them
WORDS = ("kind", "role")  # of the edges between people
CORNER = ("known_from", "valid_to", "known_to", "known_end")
_WORD = "~"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def moment(micros: int) -> datetime:
    """What wire.micros took apart."""
    return _EPOCH + timedelta(microseconds=micros)


class Sealer:
    """Seals values under a key that Neo4j does not have (AES-256-GCM, the nonce before it)."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._words = AESSIV(hmac.digest(key, b"words", "sha512"))

    def seal(self, value: str) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, value.encode(), None)

    def open(self, sealed: bytes | None) -> str | None:
        """None where it was sealed under another key: it is then remade by a rebuild."""
        if sealed is None:
            return None
        try:
            return self._cipher.decrypt(sealed[:12], bytes(sealed[12:]), None).decode()
        except InvalidTag:
            return None

    def word(self, value: str) -> str:
        """A word that is asked for by its value: sealed alike wherever it is alike (AES-SIV, RFC 5297), as text."""
        return _WORD + urlsafe_b64encode(self._words.encrypt(value.encode(), None)).decode()

    def worded(self, stored: str | None) -> str | None:
        """The word, sealed or not; None where it was sealed under another key."""
        if stored is None or not stored.startswith(_WORD):
            return stored
        try:
            return self._words.decrypt(urlsafe_b64decode(stored[len(_WORD) :]), None).decode()
        except InvalidTag:
            return None

    def spelled(self, words: Iterable[str] | None) -> list[str] | None:
        """Words as they may stand: plain, and sealed."""
        return None if words is None else [spelling for word in words for spelling in (word, self.word(word))]


Way = Callable[[Any], Any]
REMEMBERED = 100_000  # texts of ids


class _Texts(dict[int, str]):
    """Ids as text: most of them come many times, and a number is looked up in a sixth of the time that writing it takes."""

    def of(self, id: UUID) -> str:
        text = self.get(id.int)
        if text is None:
            if len(self) > REMEMBERED:
                self.clear()
            text = self[id.int] = str(id)
        return text


def _same(value: Any) -> Any:
    return value


def _ways(hint: Any) -> tuple[Way, Way]:
    """To a property and back."""
    kind = bare(hint)
    if kind in (str, int, bool):
        return _same, _same
    if kind is UUID:
        return str, UUID
    if kind is Decimal:
        return (lambda v: format(v, "f")), Decimal
    if kind is datetime:
        return wire.micros, moment
    if kind is date:
        return date.isoformat, date.fromisoformat
    encode, decode = json_codec(kind)
    return (lambda v: orjson.dumps(encode(v), option=orjson.OPT_SORT_KEYS).decode()), (lambda v: decode(orjson.loads(v)))


class Form(Generic[Row]):
    """The rows of one view as properties."""

    def __init__(self, view: View[Row], sealer: Sealer, sealed: frozenset[str] = frozenset()) -> None:
        self.view = view
        self._sealer = sealer
        hints = typing.get_type_hints(view.row, include_extras=True)
        self._texts = _Texts()
        self._fields = [(f.name, *_ways(hints[f.name]), f.name in sealed) for f in dataclasses.fields(view.row)]  # type: ignore[arg-type]
        self._there = [(name, self._way_there(there, sealed)) for name, there, _, sealed in self._fields]
        self._values = operator.attrgetter(*(name for name, _ in self._there))

    def _way_there(self, there: Way, sealed: bool) -> Way | None:
        """How a value becomes a property; None when it is one."""
        if sealed:
            return lambda v: self._sealer.seal(there(v))
        if there is str:
            return self._texts.of
        return None if there is _same else there

    def properties(self, key: Key, s: Slice[Row], *, corner: bool = False) -> Plain:
        """What is stored of a slice; what is None is not."""
        text = self._texts.of
        out: Plain = {
            "firm": text(key[0]),
            "id": text(key[1]),
            "version": s.version,
            "created_at": wire.micros(s.created_at),
            "updated_at": wire.micros(s.updated_at),
            "position": s.position,
        }
        if corner:
            out |= {"known_from": s.known_from, "valid_to": s.valid_to, "known_to": s.known_to, "known_end": s.known_end}
        if s.row is not None:
            for (name, there), value in zip(self._there, self._values(s.row), strict=True):
                if value is not None:
                    out[name] = value if there is None else there(value)
        return out

    def slice(self, p: Mapping[str, Any], *, gone: bool = False) -> tuple[Key, Slice[Row]]:
        """What was stored."""
        row = (
            None if gone else self.view.row(**{name: self._value(p, name, back, sealed) for name, _, back, sealed in self._fields})
        )
        s: Slice[Row] = Slice(
            row,
            p["version"],
            moment(p["created_at"]),
            moment(p["updated_at"]),
            p["position"],
            p.get("known_from", p["position"]),
        )
        if "valid_to" in p:
            s.valid_to, s.known_to, s.known_end, s.kept = p["valid_to"], p["known_to"], p["known_end"], True
        return (UUID(p["firm"]), UUID(p["id"])), s

    def _value(self, p: Mapping[str, Any], name: str, back: Way, sealed: bool) -> Any:
        value = p.get(name)
        if sealed:
            value = self._sealer.open(value)
        return None if value is None else back(value)


class EdgeForm(Form[GraphEdgeRow]):
    """The rows of edges: what a relation between people is, and what they call it, is sealed."""

    def properties(self, key: Key, s: Slice[GraphEdgeRow], *, corner: bool = False) -> Plain:
        out = super().properties(key, s, corner=corner)
        if s.row is not None and s.row.sealed:
            for name in WORDS:
                if name in out:
                    out[name] = self._sealer.word(out[name])
        return out

    def _value(self, p: Mapping[str, Any], name: str, back: Way, sealed: bool) -> Any:
        value = super()._value(p, name, back, sealed)
        return self._sealer.worded(value) if name in WORDS else value


@functools.cache
def _said(name: str) -> tuple[tuple[str, Way], ...]:
    return tuple((name, _ways(hint)[0]) for name, hint in typing.get_type_hints(VIEWS[name].row, include_extras=True).items())


def canonical(view: View[Any], key: Key, s: Slice[Any], *, superseded: bool) -> bytes:
    """One row in the form that digests are made of: RFC 8259 JSON with sorted names, times in microseconds since 2000, decimals as text."""
    said: Plain = {
        "view": view.name,
        "firm": str(key[0]),
        "id": str(key[1]),
        "version": s.version,
        "created_at": wire.micros(s.created_at),
        "updated_at": wire.micros(s.updated_at),
        "position": s.position,
        "row": None
        if s.row is None
        else {name: None if (v := getattr(s.row, name)) is None else said_as(v) for name, said_as in _said(view.name)},
    }
    if superseded:
        said["until"] = [s.known_from, s.valid_to, s.known_to, s.known_end]
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


def digest(rows: Iterable[bytes]) -> str:
    """SHA-256 over the sorted SHA-256 of rows: the same in whatever order they come."""
    every = sorted(hashlib.sha256(row).digest() for row in rows)
    return hashlib.sha256(b"".join(every)).hexdigest()
