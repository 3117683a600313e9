"""The API keys of a firm.

One row is all that checking a key takes: a member's roles, and the end of a member's access, are recorded on the key itself.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated
from uuid import UUID

from domain.kernel import Personal
from domain.keys import KeyIssued, KeyRenamed, KeyRevoked, KeyRolesChanged, KeyRotated
from projections.kernel import Hidden, Recorded, View, of_stream, view


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """`status` is live or revoked; a live key may have passed `expires_at`. `scopes` absent: all that the roles give.

    The secret before the last rotation works until `previous_until`. Digests of secrets are shown to nobody.
    """

    name: str
    public_id: str
    sha256: Annotated[str, Hidden()]
    roles: tuple[str, ...]
    member: UUID | None = None
    scopes: tuple[str, ...] | None = None
    expires_at: datetime | None = None
    status: str = "live"
    previous_sha256: Annotated[str | None, Hidden()] = None
    previous_until: datetime | None = None
    rotated_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_because: str | None = None
    remark: Annotated[str | None, Personal()] = None


def fold(row: KeyRow | None, _key: UUID, r: Recorded) -> KeyRow | None:
    match r.event:
        case KeyIssued() as e:
            return KeyRow(
                name=e.name,
                public_id=e.public_id,
                sha256=e.sha256,
                roles=e.roles,
                member=e.member,
                scopes=e.scopes,
                expires_at=e.expires_at,
            )
        case _ if row is None:
            return None
        case KeyRenamed(name=name):
            return replace(row, name=name)
        case KeyRotated() as e:
            return replace(
                row,
                sha256=e.sha256,
                previous_sha256=row.sha256 if e.previous_until else None,
                previous_until=e.previous_until,
                expires_at=e.expires_at,
                rotated_at=r.occurred_at,
            )
        case KeyRolesChanged(roles=roles):
            return replace(row, roles=roles)
        case KeyRevoked(reason=reason, remark=remark):
            return replace(row, status="revoked", revoked_at=r.occurred_at, revoked_because=reason.value, remark=remark)
        case _:
            return row


KEYS = view(View(name="keys", version=1, table="views.keys", row=KeyRow, keys=of_stream("key"), fold=fold))
