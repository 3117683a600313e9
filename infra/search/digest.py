"""A digest of what the search index holds, the same whatever engine holds it.

Each entry is written in one canonical form; the digests of all, in the order of firm, kind and id, make the digest of the index.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import psycopg

_ENTRIES = (
    "SELECT firm_id, kind, id, version, position, changed_at, archived, title, title_open, texts, facts, open_facts, made, body, unread"
    " FROM chancery.search_entries WHERE build = (SELECT live FROM chancery.search_builds)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An entry as an engine holds it. `texts` are [name, text, open, position], `made` [event id, type, occurred, recorded] by position."""

    firm: UUID
    kind: str
    id: UUID
    version: int
    position: int
    changed_at: datetime
    archived: bool
    title: str
    title_open: bool
    texts: Sequence[Sequence[Any]]
    facts: Mapping[str, Any]
    open_facts: Mapping[str, Any]
    made: Mapping[str, Any]
    body: str | None
    unread: str | None

    def canonical(self) -> bytes:
        return orjson.dumps(
            [
                str(self.firm), self.kind, str(self.id), self.version, self.position, self.changed_at.astimezone(UTC).isoformat(),
                self.archived, self.title, self.title_open, self.texts, self.facts, self.open_facts, self.made, self.body or None,
                self.unread,
            ],
            option=orjson.OPT_SORT_KEYS,
        )  # fmt: skip


def digest(entries: Iterable[Held]) -> str:
    """SHA-256 in hex, however the entries come."""
    each = sorted(((e.firm.bytes, e.kind, e.id.bytes), hashlib.sha256(e.canonical()).digest()) for e in entries)
    whole = hashlib.sha256()
    for _, one in each:
        whole.update(one)
    return whole.hexdigest()


def in_postgres(c: psycopg.Connection[Any]) -> str:
    """The digest of the live index in PostgreSQL."""
    with c.transaction(), c.cursor("entries") as cursor:
        cursor.itersize = 500
        cursor.execute(_ENTRIES)
        return digest(
            Held(
                firm=r[0], kind=r[1], id=r[2], version=r[3], position=r[4], changed_at=r[5], archived=r[6], title=r[7], title_open=r[8],
                texts=r[9], facts=r[10], open_facts=r[11], made=r[12], body=r[13], unread=r[14],
            )
            for r in cursor
        )  # fmt: skip
