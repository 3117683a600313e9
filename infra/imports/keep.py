"""The kept rows of imports: each row as it came, sealed under the key of the subject it became part of, with what became of it.

Erasing a subject's key makes its rows unreadable; rows that became nothing are sealed under the import's own key.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.kernel import FirmId
from infra.ids import random_bytes
from infra.imports.into.kernel import Outcome, Prior
from infra.imports.rows import RowError
from infra.record.vault import SELECT_KEYS, SELECT_SUBJECTS, DataKey, NewKey, Vault

PURPOSE = "relationship"
SQUEEZED_FROM = 400  # bytes from which compressing pays
MOST_ISSUES = 200  # of one row

INSERT = (
    "INSERT INTO chancery.import_rows (firm_id, import_id, number, line, outcome, stream_type, stream_id, source_key, digest, issues,"
    " at, subject_id, key_id, sealed) SELECT %s, %s, n, l, o, st, si, sk, d, i::jsonb, %s, su, k, se"
    " FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::uuid[], %s::uuid[], %s::bytea[], %s::text[], %s::uuid[],"
    " %s::uuid[], %s::bytea[]) u(n, l, o, st, si, sk, d, i, su, k, se) ON CONFLICT (firm_id, import_id, number) DO NOTHING"
)
INSERT_KEYS = (
    "INSERT INTO vault.data_keys (firm_id, key_id, subject_id, purpose, epoch, wrapped)"
    " SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::int[], %s::bytea[])"
)
LATEST = (
    "SELECT DISTINCT ON (source_key) source_key, import_id, number, digest, undone, subject_id, key_id, sealed"
    " FROM chancery.import_rows WHERE firm_id = %s AND source_key = ANY(%s) AND outcome <> 'rejected'"
    " ORDER BY source_key, at DESC, number DESC"
)


@dataclass(slots=True, kw_only=True)
class KeptRow:
    """A row and what became of it; `subject` is whose key seals it."""

    number: int
    line: int
    outcome: Outcome
    source: Mapping[str, Any] = field(repr=False)
    issues: Sequence[RowError]
    subject: UUID
    stream_type: str | None = None
    stream_id: UUID | None = None
    source_key: UUID | None = None
    digest: bytes | None = None


class RowStore:
    """Writes and reads the kept rows of one firm's imports."""

    def __init__(self, connection: psycopg.Connection[Any], vault: Vault, firm: FirmId) -> None:
        self._c = connection
        self._vault = vault
        self._firm = firm

    def add(self, import_id: UUID, rows: Sequence[KeptRow], at: datetime) -> None:
        """Keep rows, in one transaction with the data keys that had to be made; those kept before stay as they are."""
        if not rows:
            return
        with self._c.transaction():
            ciphers, new = self._keys({r.subject for r in rows})
            if new:
                self._c.execute(
                    INSERT_KEYS,
                    (
                        [k.firm for k in new], [k.key_id for k in new], [k.subject for k in new],
                        [k.purpose for k in new], [k.epoch for k in new], [k.wrapped for k in new],
                    ),
                )  # fmt: skip
            self._c.execute(
                INSERT,
                (
                    self._firm, import_id, at,
                    [r.number for r in rows], [r.line for r in rows], [r.outcome for r in rows],
                    [r.stream_type for r in rows], [r.stream_id for r in rows], [r.source_key for r in rows],
                    [r.digest for r in rows], [_public(r.issues) for r in rows], [r.subject for r in rows],
                    [ciphers[r.subject].key_id for r in rows],
                    [self._seal(ciphers[r.subject].cipher, import_id, r) for r in rows],
                ),
                binary=True,
            )  # fmt: skip
        for k in new:
            self._vault.remember(self._firm, k.subject, PURPOSE, ciphers[k.subject])

    def _keys(self, subjects: set[UUID]) -> tuple[dict[UUID, DataKey], list[NewKey]]:
        found = {s: key for s in subjects if (key := self._vault.known(self._firm, s, PURPOSE)) is not None}
        missing = [s for s in subjects if s not in found]
        if missing:
            for row in self._c.execute(SELECT_SUBJECTS, (self._firm, missing), binary=True).fetchall():
                if row[3] == PURPOSE:
                    found[row[2]] = self._vault.unwrap(*row)
        new = []
        for s in missing:
            if s not in found:
                found[s], record = self._vault.create(self._firm, s, PURPOSE)
                new.append(record)
        return found, new

    def _bound(self, import_id: UUID, number: int) -> bytes:
        return b"import-row\x00" + self._firm.bytes + import_id.bytes + number.to_bytes(8, "big")

    def _seal(self, cipher: AESGCM, import_id: UUID, row: KeptRow) -> bytes:
        said = [[e.line, e.field, e.value, e.reason, e.refused] for e in row.issues[:MOST_ISSUES]]
        plain = json_of({"source": row.source, "issues": said})
        packed = b"z" + zlib.compress(plain, 1) if len(plain) > SQUEEZED_FROM else b"p" + plain
        nonce = random_bytes(12)
        return nonce + cipher.encrypt(nonce, packed, self._bound(import_id, row.number))

    def _open(self, cipher: AESGCM, import_id: UUID, number: int, sealed: bytes) -> dict[str, Any]:
        packed = cipher.decrypt(sealed[:12], sealed[12:], self._bound(import_id, number))
        opened: dict[str, Any] = orjson.loads(zlib.decompress(packed[1:]) if packed[:1] == b"z" else packed[1:])
        return opened

    def opened(self, import_id: UUID, number: int, key_id: UUID, sealed: bytes | None) -> dict[str, Any] | None:
        """The row as it came and what was wrong with it, values included; None when its subject was erased."""
        if sealed is None:
            return None
        row = self._c.execute(SELECT_KEYS, ([self._firm], [key_id]), binary=True).fetchone()
        return None if row is None else self._open(self._vault.unwrap(*row).cipher, import_id, number, sealed)

    def latest(self, source_keys: Sequence[UUID]) -> dict[UUID, Prior]:
        """How each of these source rows was carried last."""

        def opener(import_id: UUID, number: int, key_id: UUID, sealed: bytes | None) -> Callable[[], Mapping[str, Any] | None]:
            def open_row() -> Mapping[str, Any] | None:
                opened = self.opened(import_id, number, key_id, sealed)
                return None if opened is None else opened["source"]

            return open_row

        rows = self._c.execute(LATEST, (self._firm, list(source_keys)), binary=True).fetchall()
        return {
            key: Prior(import_id=i, digest=digest, undone=undone, row=opener(i, n, key_id, sealed))
            for key, i, n, digest, undone, _subject, key_id, sealed in rows
        }

    def carried(self, import_id: UUID, first: int, last: int) -> dict[int, tuple[Outcome, int]]:
        """Of the rows numbered so, those kept already: outcome and number of issues."""
        rows = self._c.execute(
            "SELECT number, outcome, jsonb_array_length(issues) FROM chancery.import_rows"
            " WHERE firm_id = %s AND import_id = %s AND number BETWEEN %s AND %s",
            (self._firm, import_id, first, last),
        )
        return {n: (o, i) for n, o, i in rows}


def _public(issues: Sequence[RowError]) -> str:
    """Fields and reasons without the values, which may be personal."""
    said = [{"line": e.line, "field": e.field, "reason": e.reason, "refused": e.refused} for e in issues[:MOST_ISSUES]]
    return json_of(said).decode().replace("\\u0000", "\\ufffd")  # jsonb has no place for NUL


def json_of(value: object) -> bytes:
    """Canonical enough to compare: sorted keys; what is no Unicode is shown as U+FFFD."""
    options = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    try:
        return orjson.dumps(value, default=str, option=options)
    except TypeError:
        return orjson.dumps(_legible(value), default=str, option=options)


def _legible(value: object) -> object:
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case Mapping():
            return {_legible(k): _legible(v) for k, v in value.items()}
        case list() | tuple():
            return [_legible(v) for v in value]
        case _:
            return value
