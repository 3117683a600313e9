"""Relations as they stand, those that have ended included; one that was removed is gone."""

from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from domain.kernel import Personal
from domain.people import overlay
from domain.relations import Particulars, Party, RelationAmended, RelationEnded, RelationRecorded, RelationRemoved, seen_from_target
from projections.kernel import Recorded, View, of_stream, view


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationRow:
    """Read as `source kind target`, and as `target inverse source`."""

    source_type: Party
    source: UUID
    target_type: Party
    target: UUID
    kind: Annotated[str | None, Personal()] = None
    inverse: Annotated[str | None, Personal()] = None
    label: Annotated[str | None, Personal()] = None
    valid_from: Annotated[date | None, Personal()] = None
    valid_to: Annotated[date | None, Personal()] = None
    primary: Annotated[bool | None, Personal()] = None
    remark: Annotated[str | None, Personal()] = None
    ended_because: Annotated[str | None, Personal()] = None


PARTICULARS = tuple(f.name for f in fields(Particulars))


def _shown(row: RelationRow, p: Particulars) -> RelationRow:
    values: dict[str, Any] = {name: getattr(p, name) for name in PARTICULARS}
    return replace(row, **values, inverse=p.kind and seen_from_target(p.kind))


def fold(row: RelationRow | None, _key: UUID, r: Recorded) -> RelationRow | None:
    e = r.event
    if isinstance(e, RelationRecorded):
        new = RelationRow(source_type=e.source_type, source=e.source, target_type=e.target_type, target=e.target)
        return _shown(new, e.particulars or Particulars())
    if row is None:
        return None
    match e:
        case RelationAmended():
            before = Particulars(**{name: getattr(row, name) for name in PARTICULARS})
            return _shown(row, overlay(before, e.particulars, e.cleared))
        case RelationEnded():
            return replace(row, valid_to=e.on, ended_because=e.reason)
        case RelationRemoved():
            return None
        case _:
            return row


RELATIONS = view(View(name="relations", version=1, table="views.relations", row=RelationRow, keys=of_stream("relation"), fold=fold))
