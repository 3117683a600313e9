"""The firm as it stands: its settings, whether it is suspended, who owns it."""

from dataclasses import dataclass, replace
from uuid import UUID

from domain.firms import (
    FirmCreated,
    FirmReactivated,
    FirmRenamed,
    FirmSettingsChanged,
    FirmSuspended,
    OwnerAdded,
    OwnerRemoved,
    Settings,
)
from projections.kernel import Recorded, View, of_stream, view


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmRow:
    """`status` is active or suspended."""

    name: str
    region: str
    locale: str
    time_zone: str
    currency: str
    country: str | None = None
    first_weekday: str
    fiscal_year_start: int
    double_opt_in: bool
    retention_months: int | None = None
    status: str = "active"
    suspended_because: str | None = None
    owners: tuple[UUID, ...] = ()


def fold(row: FirmRow | None, _key: UUID, r: Recorded) -> FirmRow | None:
    match r.event:
        case FirmCreated() as e:
            s = e.settings
            return FirmRow(
                name=e.name,
                region=e.region.value,
                locale=s.locale,
                time_zone=s.time_zone,
                currency=s.currency,
                country=s.country,
                first_weekday=s.first_weekday.value,
                fiscal_year_start=s.fiscal_year_start,
                double_opt_in=s.double_opt_in,
                retention_months=s.retention_months,
            )
        case _ if row is None:
            return None
        case FirmRenamed(name=name):
            return replace(row, name=name)
        case FirmSettingsChanged(settings=s):
            return _set(row, s)
        case FirmSuspended(reason=reason):
            return replace(row, status="suspended", suspended_because=reason)
        case FirmReactivated():
            return replace(row, status="active", suspended_because=None)
        case OwnerAdded(member=member):
            return replace(row, owners=(*row.owners, member))
        case OwnerRemoved(member=member):
            return replace(row, owners=tuple(o for o in row.owners if o != member))
        case _:
            return row


def _set(row: FirmRow, s: Settings) -> FirmRow:
    return replace(
        row,
        locale=s.locale,
        time_zone=s.time_zone,
        currency=s.currency,
        country=s.country,
        first_weekday=s.first_weekday.value,
        fiscal_year_start=s.fiscal_year_start,
        double_opt_in=s.double_opt_in,
        retention_months=s.retention_months,
    )


FIRMS = view(View(name="firms", version=1, table="views.firms", row=FirmRow, keys=of_stream("firm"), fold=fold))
