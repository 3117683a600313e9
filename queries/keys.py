"""Reads of API keys, and the check of a key that a caller shows.

`admit` is the whole check, over one row; `authenticate` reads that row. Why a key is refused is told to holders of its secret only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from domain import keys
from domain.firms import FirmIsSuspended
from domain.kernel import NotFound, Refused
from domain.keys import KEY, KeyHasExpired, KeyId, KeyIsRevoked, KeyText
from domain.members import permissions_of
from projections.keys import KEYS
from queries.kernel import Collection, Query, Reader, collection, query

_HERE = Path(__file__).parent
_CHECK = (_HERE / "keys_check.sql").read_text()
_USE = (_HERE / "keys_use.sql").read_text()

KEY_COLLECTION = collection(
    Collection(
        name="keys",
        view=KEYS,
        stream=KEY,
        permission="keys:read",
        title="API keys",
        search=("name", "public_id"),
    )
)


class KeyNotAccepted(Refused):
    """There is no such key, or its secret is another. Use a key that was issued in this firm and has not been rotated since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCheck:
    """What checking a key takes, as `keys_check.sql` reads it."""

    sha256: str
    previous_sha256: str | None
    previous_until: datetime | None
    roles: Sequence[str]
    scopes: Sequence[str] | None
    member: UUID | None
    expires_at: datetime | None
    revoked: bool
    firm_suspended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """Who a key lets in: the member it is for, or the key itself, with what it is good for now; `until` when it ends of itself."""

    key: KeyId
    member: UUID | None
    permissions: frozenset[str]
    until: datetime | None = None


def admit(text: KeyText, row: KeyCheck | None, *, now: datetime) -> Admitted:
    """KeyNotAccepted, KeyIsRevoked, KeyHasExpired or FirmIsSuspended when the key does not let its holder in."""
    if row is None:
        keys.check(text.secret, keys.digest(text.secret))
        raise KeyNotAccepted
    current = keys.check(text.secret, row.sha256)
    previous = keys.check(text.secret, row.previous_sha256 or row.sha256)
    in_overlap = row.previous_until is not None and now < row.previous_until
    if not (current or (previous and in_overlap)):
        raise KeyNotAccepted
    if row.revoked:
        raise KeyIsRevoked
    if row.expires_at is not None and row.expires_at <= now:
        raise KeyHasExpired
    if row.firm_suspended:
        raise FirmIsSuspended
    ends = [at for at in (row.expires_at, None if current else row.previous_until) if at is not None]
    return Admitted(
        key=text.key,
        member=row.member,
        permissions=keys.good_for(permissions_of(row.roles), row.scopes),
        until=min(ends, default=None),
    )


async def authenticate(text: KeyText, r: Reader) -> Admitted:
    """Who shows this key. The reader is bound to the firm that the key's text names."""
    row = await r.one(_CHECK, id=text.key)
    return admit(text, KeyCheck(**row) if row is not None else None, now=r.now)


class ReadKeyUse(Query):
    id: UUID


@query("keys.use", "GET /keys/{id}/use", permission="keys:read", title="When an API key was last used", views=("keys",))
async def use(q: ReadKeyUse, r: Reader) -> object:
    """When a key was last used; `last_used_at` is null when it never was."""
    row = await r.one(_USE, id=q.id)
    if row is None:
        raise NotFound(kind="key", id=str(q.id))
    return dict(row)
