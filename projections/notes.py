"""Notes as they stand; one that was removed is gone."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated
from uuid import UUID

from domain.kernel import Personal
from domain.notes import AboutType, Kind, NoteEdited, NotePinned, NoteReinstated, NoteRemoved, NoteUnpinned, NoteWritten
from projections.kernel import Recorded, View, of_stream, view


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteRow:
    """`happened_at` is when the call or meeting was, `written_by` who wrote it down."""

    about_type: AboutType
    about: UUID
    kind: Kind
    text: Annotated[str | None, Personal()] = None
    happened_at: datetime
    written_by: str
    edited_by: str | None = None
    edited_at: datetime | None = None
    pinned: bool = False


def fold(row: NoteRow | None, _key: UUID, r: Recorded) -> NoteRow | None:
    e = r.event
    if isinstance(e, NoteWritten):
        return NoteRow(
            about_type=e.about_type, about=e.about, kind=e.kind, text=e.text, happened_at=r.occurred_at, written_by=r.actor
        )
    if isinstance(e, NoteReinstated):
        return NoteRow(
            about_type=e.about_type,
            about=e.about,
            kind=e.kind,
            text=e.text,
            happened_at=e.happened_at,
            written_by=e.written_by,
            edited_by=e.edited_by,
            edited_at=e.edited_at,
            pinned=e.pinned,
        )
    if row is None:
        return None
    match e:
        case NoteEdited():
            return replace(row, text=e.text, edited_by=r.actor, edited_at=r.recorded_at)
        case NotePinned():
            return replace(row, pinned=True)
        case NoteUnpinned():
            return replace(row, pinned=False)
        case NoteRemoved():
            return None
        case _:
            return row


NOTES = view(View(name="notes", version=1, table="views.notes", row=NoteRow, keys=of_stream("note"), fold=fold))
