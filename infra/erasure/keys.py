"""Destroying data keys, and the sealed values that nothing opens any more.

What was destroyed is listed in a file of the keys folder, which no backup of the database holds: a database restored from before is
erased again by that list (ER4). The list names firms, subjects and classes of purpose, and no value of any kind.
"""

import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import psycopg

from infra.record.reader import HOLD
from infra.record.vault import DESTROYED, WATCH_SECONDS, Vault

LIST = DESTROYED
EVIDENCE = "statutory"
PIECE = 5_000
_KEYS = "SELECT key_id, subject_id, purpose FROM vault.data_keys WHERE firm_id = %s AND subject_id = ANY(%s) AND NOT purpose = ANY(%s) FOR UPDATE"
_GONE = "DELETE FROM vault.data_keys WHERE firm_id = %s AND key_id = ANY(%s)"
_HEAD = "SELECT coalesce(max(firm_position), -1) FROM record.events WHERE firm_id = %s"
_SEALED = (
    "SELECT e.position, e.sealed FROM record.events e WHERE e.firm_id = %s AND e.firm_position >= %s AND e.firm_position < %s"
    " AND e.sealed IS NOT NULL AND EXISTS (SELECT FROM unnest(%s::bytea[]) k WHERE position(k IN e.sealed) > 0)"
)
_LEFT = "SELECT key_id FROM vault.data_keys WHERE firm_id = %s AND key_id = ANY(%s)"
_NULL = "UPDATE record.events SET sealed = NULL WHERE position = ANY(%s) AND sealed IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Erased:
    """One line of the list."""

    firm: UUID
    contact: UUID
    request: UUID
    subjects: tuple[UUID, ...]
    kept_purposes: tuple[str, ...]
    keys: tuple[UUID, ...]
    contents: tuple[str, ...]
    at: datetime
    suppress: bool = True

    def line(self) -> bytes:
        return orjson.dumps(
            {
                "at": self.at,
                "contact": self.contact,
                "contents": self.contents,
                "firm": self.firm,
                "kept_purposes": self.kept_purposes,
                "keys": self.keys,
                "request": self.request,
                "subjects": self.subjects,
                "suppress": self.suppress,
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )

    @classmethod
    def read(cls, line: bytes) -> "Erased":
        d = orjson.loads(line)
        return cls(
            UUID(d["firm"]),
            UUID(d["contact"]),
            UUID(d["request"]),
            tuple(map(UUID, d["subjects"])),
            tuple(d["kept_purposes"]),
            tuple(map(UUID, d["keys"])),
            tuple(d["contents"]),
            datetime.fromisoformat(d["at"]),
            bool(d.get("suppress", True)),
        )


class ErasedList:
    """The list of what was destroyed, in order; a line is durable before a key is gone."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LIST

    def add(self, erased: Erased) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if not self._ends_well():
                os.write(descriptor, b"\n")  # a line that a crash cut short stands alone and is passed over
            os.write(descriptor, erased.line())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def tell(self) -> None:
        """Have every process forget the data keys it has in memory, and what it opened with them: they watch the list grow."""
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, b"\n")
        finally:
            os.close(descriptor)

    def __iter__(self) -> Iterator[Erased]:
        if not self._path.exists():
            return
        with self._path.open("rb") as lines:
            for line in lines:
                if line.endswith(b"}\n"):
                    yield Erased.read(line)

    def _ends_well(self) -> bool:
        if not self._path.exists() or self._path.stat().st_size == 0:
            return True
        with self._path.open("rb") as f:
            f.seek(-1, os.SEEK_END)
            return f.read(1) == b"\n"


def kept_purposes(kind: str) -> tuple[str, ...]:
    """The classes of purpose whose keys an erasure of this kind leaves: anonymising keeps the evidence of consent."""
    return (EVIDENCE,) if kind == "anonymise" else ()


def listed_keys(vault: Vault, firm: UUID, request: UUID) -> list[UUID]:
    """The keys that are listed as destroyed for a request."""
    return sorted({k for e in ErasedList(vault.folder) if e.firm == firm and e.request == request for k in e.keys})


def destroy(
    c: psycopg.Connection[Any],
    vault: Vault,
    *,
    firm: UUID,
    contact: UUID,
    request: UUID,
    subjects: Sequence[UUID],
    kept: Sequence[str],
    contents: Sequence[str] = (),
    suppress: bool = True,
) -> list[UUID]:
    """Destroy the data keys of these subjects; answers their ids, those of an earlier, broken attempt included.

    When it returns, no process has them any more: each forgets all keys when the list grows (`Vault.look`), and what was being opened
    while the rows went is done.
    """
    listed = ErasedList(vault.folder)
    before = set(listed_keys(vault, firm, request))
    with c.transaction():
        found = c.execute(_KEYS, (firm, list(subjects), list(kept))).fetchall()
        keys = [k for k, _, _ in found]
        if keys or not before:
            listed.add(
                Erased(
                    firm, contact, request, tuple(subjects), tuple(kept), tuple(keys), tuple(contents), datetime.now(UTC), suppress
                )
            )
        c.execute(_GONE, (firm, keys))
    everywhere_forgotten(vault, listed)
    return sorted(before | set(keys))


def everywhere_forgotten(vault: Vault, listed: ErasedList) -> None:
    """After rows of data keys are gone: wait until nobody has one in memory."""
    vault.forget_all()
    listed.tell()
    time.sleep(HOLD + 2 * WATCH_SECONDS)  # who read a row just before has put its key in memory, and told again, forgets it
    listed.tell()
    time.sleep(WATCH_SECONDS)
    vault.forget_all()


def touched(c: psycopg.Connection[Any], firm: UUID, keys: Collection[UUID]) -> Iterator[tuple[int, bytes]]:
    """The position and the sealed part of every event that was sealed under one of these keys: a walk over the firm's record."""
    if not keys:
        return
    marks = [k.hex.encode() for k in keys]
    (last,) = c.execute(_HEAD, (firm,)).fetchone() or (-1,)
    for start in range(0, last + 1, PIECE):
        yield from c.execute(_SEALED, (firm, start, start + PIECE, marks)).fetchall()


def null(c: psycopg.Connection[Any], vault: Vault, firm: UUID, found: Iterable[tuple[int, bytes]]) -> int:
    """Null the sealed parts that no key opens any more. A part that another person's key still opens stays, unreadable where it was ours."""
    batch: list[tuple[int, bytes]] = []
    done = 0

    def flush() -> int:
        ids = {k for _, sealed in batch for k in vault.key_ids(sealed)}
        left = {k for (k,) in c.execute(_LEFT, (firm, list(ids))).fetchall()}
        gone = [p for p, sealed in batch if left.isdisjoint(vault.key_ids(sealed))]
        c.execute(_NULL, (gone,))
        batch.clear()
        return len(gone)

    for item in found:
        batch.append(item)
        if len(batch) >= PIECE:
            done += flush()
    return done + (flush() if batch else 0)
