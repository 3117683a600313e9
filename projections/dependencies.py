"""The view of dependencies between the tasks of a project: one row for each that stands."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from uuid import UUID

from domain.projects.events import DependenciesAdded, DependenciesRemoved, DependencyLagChanged
from projections.kernel import Recorded, View, view


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyRow:
    """`lag` in minutes."""

    project: UUID
    predecessor: UUID
    successor: UUID
    type: str
    lag: int


def _keys(r: Recorded) -> Iterable[UUID]:
    match r.event:
        case DependenciesAdded() as x:
            return tuple(d.id for d in x.dependencies)
        case DependencyLagChanged() as x:
            return (x.dependency,)
        case DependenciesRemoved() as x:
            return x.dependencies
        case _:
            return ()


def _fold(row: DependencyRow | None, key: UUID, r: Recorded) -> DependencyRow | None:
    match r.event:
        case DependenciesAdded() as x:
            d = next(d for d in x.dependencies if d.id == key)
            return DependencyRow(project=r.stream_id, predecessor=d.predecessor, successor=d.successor, type=d.type, lag=d.lag)
        case DependencyLagChanged() as x if row is not None:
            return replace(row, lag=x.lag)
        case DependenciesRemoved():
            return None
        case _:
            return row


DEPENDENCIES = view(View(name="dependencies", version=1, table="views.dependencies", row=DependencyRow, keys=_keys, fold=_fold))
