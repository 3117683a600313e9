"""Folders as they stand."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated
from uuid import UUID

from domain.folders import FolderArchived, FolderCreated, FolderMoved, FolderRenamed, FolderRestored
from domain.kernel import Personal
from projections.kernel import Recorded, View, of_stream, view


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderRow:
    name: Annotated[str | None, Personal()] = None
    parent: UUID | None = None
    archived: bool = False
    archived_at: datetime | None = None
    archive_reason: Annotated[str | None, Personal()] = None


def fold(row: FolderRow | None, _: UUID, r: Recorded) -> FolderRow | None:
    e = r.event
    if isinstance(e, FolderCreated):
        return FolderRow(name=e.name, parent=e.parent)
    if row is None:
        return None
    match e:
        case FolderRenamed():
            return replace(row, name=e.name)
        case FolderMoved():
            return replace(row, parent=e.parent)
        case FolderArchived():
            return replace(row, archived=True, archived_at=r.occurred_at, archive_reason=e.reason)
        case FolderRestored():
            return replace(row, archived=False, archived_at=None, archive_reason=None)
        case _:
            return row


FOLDERS = view(View(name="folders", version=1, table="views.folders", row=FolderRow, keys=of_stream("folder"), fold=fold))
