"""Whether an event's sealed part is what its leaf commits to, and what is gone from it was erased.

ER6   A sealed value that was altered, exchanged, removed or put elsewhere is found with its event; so is a data key that is gone though nobody
      was erased by it.

Leaves hold a digest of each personal value. Whoever can write to the database cannot make another value of it, but can spoil it.
"""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
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


class Spoilt(Exception):
    """What is wrong with an event's sealed part, in a sentence without values."""


def opened(
    firm: UUID,
    stream: UUID,
    event: UUID,
    *,
    public: bytes,
    sealed: bytes | None,
    vault: Vault,
    keys: Mapping[UUID, AESGCM],
    erased: Listed,
) -> list[str]:
    """The disclosures of an event that can still be opened; `keys` are all its keys that there are. Spoilt when they are not what they were."""
    try:
        data = orjson.loads(public)["data"]
        committed = data.get("_sd", [])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Spoilt("its leaf can't be read") from None
    if sealed is None:
        if committed and not any((firm, one) in erased.subjects for one in {stream, *_ids(data)}):
            raise Spoilt("its personal values are gone, and nobody it is about was erased")
        return []
    try:
        ids = vault.key_ids(sealed)
        if len(ids) != len(committed):
            raise Spoilt("it holds another number of personal values than its leaf")
        if any(k not in keys and (firm, k) not in erased.keys for k in ids):
            raise Spoilt("the key of its personal values is gone, and nobody was erased by it")
        texts = vault.open(firm, stream, event, sealed, keys)
    except InvalidTag:
        raise Spoilt("its personal values are not those that were sealed there") from None
    except (ValueError, TypeError, AttributeError):
        raise Spoilt("what is sealed there can't be read") from None
    if not {b64url(hashlib.sha256(text.encode()).digest()) for text in texts} <= set(committed):
        raise Spoilt("its personal values are not those that its leaf commits to")
    return texts


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
