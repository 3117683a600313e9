"""Whether what is sealed in the record still is what its leaves commit to, and what is gone from it was erased.

ER6   A sealed value that was altered, exchanged, removed or put elsewhere is found with its event; so is a data key that is gone though nobody
      was erased by it.

Leaves hold a digest of each personal value. Whoever can write to the database cannot make another value of it, but can spoil it.
"""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import psycopg
from cryptography.exceptions import InvalidTag

from infra.database import Database
from infra.erasure.keys import LIST, ErasedList
from infra.projector.comparing import compared
from infra.record.codec import b64url
from infra.record.reader import FOREIGN, EventRow, fetch_keys, read_after
from infra.record.vault import KeysUnusable, Vault
from projections.kernel import VIEWS

PIECE = 2_000
AGAIN = 3
PAUSE = 5.0  # seconds
RECENTLY = 120.0

Told = Callable[[int, int], None]


class _Erased:
    """What the list names: keys that were destroyed, and whose."""

    def __init__(self, folder: Path) -> None:
        listed = list(ErasedList(folder))
        self.keys = {(e.firm, k) for e in listed for k in e.keys}
        self.subjects = {(e.firm, s) for e in listed for s in (e.contact, *e.subjects)}


def first_spoilt(c: psycopg.Connection[Any], vault: Vault, told: Told | None = None) -> str | None:
    """The first event whose sealed values are not what its leaf says, in a sentence without them."""
    head = int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])
    erased = _Erased(vault.folder)
    after = 0
    while rows := read_after(c, after, PIECE, head):
        after = rows[-1].position
        found = _spoilt(c, vault, rows, erased)
        if found is not None:  # somebody may have been erased since: what that destroyed was listed before
            erased = _Erased(vault.folder)
            found = _spoilt(c, vault, rows, erased)
        if found is not None:
            return found
        if told is not None:
            told(after, head)
    return None


def differences(database: Database, vault: Vault, told: Told | None = None) -> list[str]:
    """Where views are not what the record makes of them. While somebody is being erased they may differ: then they are looked at again."""
    for _ in range(AGAIN):
        listed = _stands(vault)
        found = compared(database, vault, list(VIEWS.values()), told)
        if not found or (listed == _stands(vault) and time.time() - listed[1] > RECENTLY):
            break
        time.sleep(PAUSE)  # whoever erases makes the rows of views anew before anything else
    return found


def _stands(vault: Vault) -> tuple[int, float]:
    """How long the list is, and when it grew last."""
    try:
        stat = (vault.folder / LIST).stat()
    except FileNotFoundError:
        return 0, 0.0
    return stat.st_size, stat.st_mtime


def _spoilt(c: psycopg.Connection[Any], vault: Vault, rows: list[EventRow], erased: _Erased) -> str | None:
    rows = [row for row in rows if row.stream_type != FOREIGN]
    readable = [row for row in rows if row.sealed is None or _names_keys(vault, row.sealed)]
    try:
        keys = fetch_keys(c, vault, readable)
    except KeysUnusable as e:
        return f"positions {rows[0].position} to {rows[-1].position}: {e}"
    for row in rows:
        wrong = _of(row, vault, keys, erased)
        if wrong is not None:
            return f"position {row.position} ({row.type}) of firm {row.firm_id}: {wrong}"
    return None


def _names_keys(vault: Vault, sealed: bytes) -> bool:
    try:
        vault.key_ids(sealed)
    except (ValueError, TypeError, AttributeError):
        return False
    return True


def _of(row: EventRow, vault: Vault, keys: Any, erased: _Erased) -> str | None:
    """What is wrong with the sealed part of an event."""
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
