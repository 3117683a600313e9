"""The view of imports: what was carried over from where, with which map, and what became of its rows."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated
from uuid import UUID

from domain.imports import (
    ImportFailed,
    ImportFinished,
    ImportMapGiven,
    ImportResumed,
    ImportStarted,
    ImportUndone,
    ImportUndoStarted,
)
from domain.kernel import Personal
from projections.kernel import Recorded, View, of_stream, view


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRow:
    """`map` is TOML."""

    kind: str
    form: str
    source: Annotated[str | None, Personal()] = None
    status: str = "running"
    file_name: Annotated[str | None, Personal()] = None
    size: int = 0
    sha256: str = ""
    map: Annotated[str | None, Personal()] = None
    map_guessed: bool = False
    options: Annotated[dict[str, str], Personal()] = field(default_factory=dict)
    rows: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: int = 0
    issues: int = 0
    events: int = 0
    notes: tuple[str, ...] = ()
    reason: str | None = None
    started_by: str = ""
    started_at: datetime
    ended_at: datetime | None = None
    resumed: int = 0
    undone_at: datetime | None = None
    undo_reason: Annotated[str | None, Personal()] = None
    taken_back: int = 0
    kept: int = 0


def fold(row: ImportRow | None, _key: UUID, r: Recorded) -> ImportRow | None:
    match r.event:
        case ImportStarted() as e:
            return ImportRow(
                kind=e.kind,
                form=e.form,
                source=e.source,
                file_name=e.file_name,
                size=e.size,
                sha256=e.sha256,
                options=e.options,
                started_by=r.actor,
                started_at=r.occurred_at,
            )
        case _ if row is None:
            return None
        case ImportMapGiven() as e:
            return replace(row, map=(row.map or "") + (e.toml or "") or None, map_guessed=e.guessed)
        case ImportResumed():
            return replace(row, resumed=row.resumed + 1)
        case ImportFinished() as e:
            return replace(
                row,
                status="finished",
                rows=e.rows,
                created=e.created,
                changed=e.changed,
                unchanged=e.unchanged,
                rejected=e.rejected,
                issues=e.issues,
                events=e.events,
                notes=e.notes,
                ended_at=r.occurred_at,
            )
        case ImportFailed() as e:
            return replace(row, status="failed", reason=e.reason, rows=e.rows, ended_at=r.occurred_at)
        case ImportUndoStarted() as e:
            return replace(row, status="undoing", undo_reason=e.reason)
        case ImportUndone() as e:
            return replace(row, status="undone", taken_back=e.taken_back, kept=e.kept, undone_at=r.occurred_at)
        case _:
            return row


IMPORTS = view(View(name="imports", version=1, table="views.imports", row=ImportRow, keys=of_stream("import"), fold=fold))
