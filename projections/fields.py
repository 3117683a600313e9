"""Custom field definitions as they stand, retired ones included."""

from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

from domain.fields import AppliesTo, FieldAmended, FieldDefined, FieldReinstated, FieldRetired, Settings
from domain.people import FieldKind, overlay
from projections.kernel import Recorded, View, of_stream, view


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRow:
    applies_to: AppliesTo
    key: str
    kind: FieldKind
    label: str | None = None
    description: str | None = None
    choices: tuple[str, ...] = ()
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    retired: bool = False
    retired_because: str | None = None


def _shown(row: FieldRow, s: Settings) -> FieldRow:
    return replace(
        row,
        label=s.label,
        description=s.description,
        choices=s.choices or (),
        minimum=s.minimum,
        maximum=s.maximum,
    )


def fold(row: FieldRow | None, _key: UUID, r: Recorded) -> FieldRow | None:
    e = r.event
    if isinstance(e, FieldDefined):
        return _shown(FieldRow(applies_to=e.applies_to, key=e.key, kind=e.kind), e.settings)
    if row is None:
        return None
    match e:
        case FieldAmended():
            before = Settings(
                label=row.label,
                description=row.description,
                choices=row.choices or None,
                minimum=row.minimum,
                maximum=row.maximum,
            )
            return _shown(row, overlay(before, e.settings, e.cleared))
        case FieldRetired():
            return replace(row, retired=True, retired_because=e.reason)
        case FieldReinstated():
            return replace(row, retired=False, retired_because=None)
        case _:
            return row


FIELDS = view(View(name="fields", version=1, table="views.fields", row=FieldRow, keys=of_stream("field"), fold=fold))
