"""Whether an event's sealed part is what its leaf commits to, and what is gone from it was erased.

ER6   A sealed value that was altered, exchanged, removed or put elsewhere is found with its event; so is a data key that is gone though nobody
      was erased by it.

Leaves hold a digest of each personal value. Whoever can write to the database cannot make another value of it, but can spoil it.
"""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infra.erasure.keys import ErasedList
from infra.record.codec import b64url
from infra.record.vault import Vault


class Listed:
    """What the list of erasures names: keys that were destroyed, and whose. It is read when something is missing, once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @functools.cached_property
    def keys(self) -> set[tuple[UUID, UUID]]:
        return {(e.firm, k) for e in ErasedList(self._folder) for k in e.keys}

    @functools.cached_property
    def subjects(self) -> set[tuple[UUID, UUID]]:
        return {(e.firm, s) for e in ErasedList(self._folder) for s in (e.contact, *e.subjects)}


class Event(Protocol):
    """What is looked at of an event on the record."""

    @property
    def firm_id(self) -> UUID: ...
    @property
    def stream_id(self) -> UUID: ...
    @property
    def event_id(self) -> UUID: ...
    @property
    def public(self) -> bytes: ...
    @property
    def sealed(self) -> bytes | None: ...


def wrong(row: Event, vault: Vault, keys: Mapping[UUID, AESGCM], erased: Listed) -> str | None:
    """What is wrong with the sealed part of an event, where `keys` are all its keys that there are; None when nothing is."""
    try:
        data = orjson.loads(row.public)["data"]
        committed = data.get("_sd", [])
    except (ValueError, KeyError, TypeError, AttributeError):
        return "its leaf can't be read"
    if row.sealed is None:
        about = {row.stream_id, *_ids(data)}
        if committed and not any((row.firm_id, one) in erased.subjects for one in about):
            return "its personal values are gone, and nobody it is about was erased"
        return None
    try:
        ids = vault.key_ids(row.sealed)
        if len(ids) != len(committed):
            return "it holds another number of personal values than its leaf"
        if any(k not in keys and (row.firm_id, k) not in erased.keys for k in ids):
            return "the key of its personal values is gone, and nobody was erased by it"
        opened = vault.open(row.firm_id, row.stream_id, row.event_id, row.sealed, keys)
    except InvalidTag:
        return "its personal values are not those that were sealed there"
    except (ValueError, TypeError, AttributeError):
        return "what is sealed there can't be read"
    if not {b64url(hashlib.sha256(text.encode()).digest()) for text in opened} <= set(committed):
        return "its personal values are not those that its leaf commits to"
    return None


def _ids(data: Any) -> set[UUID]:
    """Whom an event may name beside its own stream."""
    found = set()
    for value in data.values():
        if isinstance(value, str) and len(value) == 36:
            try:
                found.add(UUID(value))
            except ValueError:
                continue
    return found
