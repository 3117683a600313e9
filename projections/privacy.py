"""Views of what people ask about their data, and of the holds that keep it."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated
from uuid import UUID

from domain.kernel import Personal
from domain.privacy import (
    Answered,
    Approved,
    Completed,
    Extended,
    HoldLifted,
    HoldPlaced,
    KeysDestroyed,
    Purged,
    Requested,
    RequestRefused,
    StoreAwaited,
)
from projections.kernel import Recorded, View, view

HELD = Personal(subject="contact", purpose="statutory")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyRequestRow:
    """`status` is open, refused, approved, keys_destroyed or completed; `purged` says what each store let go of,
    `unreadable` which of them keep what nothing opens any more, `awaited` which have not answered yet, and why."""

    contact: UUID
    kind: str
    ground: str
    status: str = "open"
    received_at: datetime
    due_by: datetime
    extended_because: str | None = None
    suppress: bool = True
    refused_because: str | None = None
    holds: tuple[UUID, ...] = ()
    asked_by: str
    decided_by: str | None = None
    decided_at: datetime | None = None
    keys_destroyed: int | None = None
    subjects: tuple[UUID, ...] = ()
    purged: dict[str, int] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    awaited: dict[str, str] = field(default_factory=dict)
    completed_at: datetime | None = None
    certificate: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactHoldRow:
    contact: UUID
    active: bool = True
    reason: Annotated[str | None, HELD] = None
    placed_by: str
    placed_at: datetime
    lifted_by: str | None = None
    lifted_at: datetime | None = None
    lifted_because: Annotated[str | None, HELD] = None


OfRequest = Requested | Extended | RequestRefused | Approved | Answered | KeysDestroyed | Purged | StoreAwaited | Completed


def _request_keys(r: Recorded) -> Iterable[UUID]:
    return (r.event.request,) if isinstance(r.event, OfRequest) else ()


def _fold_request(row: PrivacyRequestRow | None, _key: UUID, r: Recorded) -> PrivacyRequestRow | None:
    e = r.event
    if isinstance(e, Requested):
        return PrivacyRequestRow(
            contact=r.stream_id,
            kind=e.kind,
            ground=e.ground,
            received_at=e.received_at,
            due_by=e.due_by,
            suppress=e.suppress,
            asked_by=r.actor,
        )
    if row is None:
        return None
    match e:
        case Extended():
            return replace(row, due_by=e.due_by, extended_because=e.because)
        case RequestRefused():
            return replace(
                row, status="refused", refused_because=e.because, holds=e.holds, decided_by=r.actor, decided_at=r.occurred_at
            )
        case Approved():
            return replace(row, status="approved", decided_by=r.actor, decided_at=r.occurred_at)
        case Answered():
            return replace(row, status="completed", decided_by=r.actor, decided_at=r.occurred_at, completed_at=r.occurred_at)
        case KeysDestroyed():
            return replace(row, status="keys_destroyed", keys_destroyed=e.keys, subjects=e.subjects)
        case Purged():
            return replace(
                row,
                purged={**row.purged, e.store: e.things},
                unreadable=(*row.unreadable, e.store) if e.left == "unreadable" else row.unreadable,
                awaited={s: why for s, why in row.awaited.items() if s != e.store},
            )
        case StoreAwaited():
            return replace(row, awaited={**row.awaited, e.store: e.because})
        case Completed():
            return replace(row, status="completed", completed_at=r.occurred_at, certificate=e.certificate)
        case _:
            return row


def _hold_keys(r: Recorded) -> Iterable[UUID]:
    return (r.event.hold,) if isinstance(r.event, HoldPlaced | HoldLifted) else ()


def _fold_hold(row: ContactHoldRow | None, _key: UUID, r: Recorded) -> ContactHoldRow | None:
    match r.event:
        case HoldPlaced() as e:
            return ContactHoldRow(contact=r.stream_id, reason=e.reason, placed_by=r.actor, placed_at=r.occurred_at)
        case HoldLifted() as e if row is not None:
            return replace(row, active=False, lifted_by=r.actor, lifted_at=r.occurred_at, lifted_because=e.reason)
        case _:
            return row


PRIVACY_REQUESTS = view(
    View(
        name="privacy_requests",
        version=1,
        table="views.privacy_requests",
        row=PrivacyRequestRow,
        keys=_request_keys,
        fold=_fold_request,
    )
)
CONTACT_HOLDS = view(
    View(name="contact_holds", version=1, table="views.contact_holds", row=ContactHoldRow, keys=_hold_keys, fold=_fold_hold)
)

__all__ = ["CONTACT_HOLDS", "PRIVACY_REQUESTS", "ContactHoldRow", "PrivacyRequestRow"]
