"""Whether the whole record's sealed values are what its leaves commit to, and its views what it makes of them (ER6, see `sealed`)."""

import time
from collections.abc import Callable
from typing import Any

import psycopg

from infra.database import Database
from infra.erasure.keys import LIST
from infra.erasure.sealed import Listed, Spoilt, opened
from infra.projector.comparing import compared
from infra.record.reader import FOREIGN, EventRow, fetch_keys, read_after
from infra.record.vault import KeysUnusable, Vault
from projections.kernel import VIEWS

PIECE = 2_000
AGAIN = 3
PAUSE = 5.0  # seconds
RECENTLY = 120.0

Told = Callable[[int, int], None]


def first_spoilt(c: psycopg.Connection[Any], vault: Vault, told: Told | None = None) -> str | None:
    """The first event whose sealed values are not what its leaf says, in a sentence without them."""
    head = int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])
    erased = Listed(vault.folder)
    after = 0
    while rows := read_after(c, after, PIECE, head):
        after = rows[-1].position
        found = _spoilt(c, vault, rows, erased)
        if found is not None:  # somebody may have been erased since: what that destroyed was listed before
            erased = Listed(vault.folder)
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


def _spoilt(c: psycopg.Connection[Any], vault: Vault, rows: list[EventRow], erased: Listed) -> str | None:
    rows = [row for row in rows if row.stream_type != FOREIGN]
    readable = [row for row in rows if row.sealed is None or _names_keys(vault, row.sealed)]
    try:
        keys = fetch_keys(c, vault, readable)
    except KeysUnusable as e:
        return f"positions {rows[0].position} to {rows[-1].position}: {e}"
    for row in rows:
        try:
            opened(
                row.firm_id,
                row.stream_id,
                row.event_id,
                public=row.public,
                sealed=row.sealed,
                vault=vault,
                keys=keys,
                erased=erased,
            )
        except Spoilt as e:
            return f"position {row.position} ({row.type}) of firm {row.firm_id}: {e}"
    return None


def _names_keys(vault: Vault, sealed: bytes) -> bool:
    try:
        vault.key_ids(sealed)
    except (ValueError, TypeError, AttributeError):
        return False
    return True
