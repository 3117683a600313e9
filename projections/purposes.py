"""The view of a firm's purposes, each with all its versions."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from domain.purposes import PurposeAmended, PurposeDefined, PurposeMoved, PurposeRetired
from projections.kernel import Recorded, View, view


@dataclass(frozen=True, slots=True, kw_only=True)
class PurposeText:
    number: int
    name: str
    dpv: str
    description: str | None = None
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PurposeRow:
    key: str
    name: str
    dpv: str
    description: str | None = None
    parent: UUID | None = None
    purpose_version: int
    retired: bool = False
    retired_at: datetime | None = None
    versions: tuple[PurposeText, ...] = ()


def _keys(r: Recorded) -> Iterable[UUID]:
    match r.event:
        case PurposeDefined() | PurposeAmended() | PurposeMoved() | PurposeRetired() as e:
            return (e.purpose,)
        case _:
            return ()


def _fold(row: PurposeRow | None, _key: UUID, r: Recorded) -> PurposeRow | None:
    match r.event:
        case PurposeDefined() as e:
            return PurposeRow(
                key=e.key,
                name=e.name,
                dpv=e.dpv,
                description=e.description,
                parent=e.parent,
                purpose_version=e.purpose_version,
                versions=(_text(e, r),),
            )
        case PurposeAmended() as e if row is not None:
            return replace(
                row,
                name=e.name,
                dpv=e.dpv,
                description=e.description,
                purpose_version=e.purpose_version,
                versions=(*row.versions, _text(e, r)),
            )
        case PurposeMoved() as e if row is not None:
            return replace(row, parent=e.parent)
        case PurposeRetired() if row is not None:
            return replace(row, retired=True, retired_at=r.occurred_at)
        case _:
            return row


def _text(e: PurposeDefined | PurposeAmended, r: Recorded) -> PurposeText:
    return PurposeText(number=e.purpose_version, name=e.name, dpv=e.dpv, description=e.description, since=r.occurred_at)


PURPOSES = view(View(name="purposes", version=1, table="views.purposes", row=PurposeRow, keys=_keys, fold=_fold))
