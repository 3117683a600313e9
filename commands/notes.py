"""Notes: written about a contact or an organisation, edited, pinned, removed."""

from uuid import UUID

from pydantic import AwareDatetime, Field

from commands.kernel import Answer, Command, Work, command
from commands.people import Long, happened
from commands.relations import standing
from domain import notes
from domain.notes import NOTE, AboutType, Kind

WRITE = "contacts:write"


class WriteNote(Command):
    about_type: AboutType
    about: UUID
    text: Long
    kind: Kind = "note"
    occurred_at: AwareDatetime | None = Field(default=None, description="When the call or meeting was, if not now.")


async def write_note(c: WriteNote, w: Work, id: UUID) -> None:
    """Record a new note under this id."""
    await standing(w, c.about_type, c.about)
    note = w.create(NOTE, id)
    events = notes.write(about_type=c.about_type, about=c.about, kind=c.kind, text=c.text)
    w.record(note, events, occurred_at=happened(w, c.occurred_at))


@command("notes.write", "POST /notes", permission=WRITE, title="Write a note", target=NOTE, creates=True)
async def write(c: WriteNote, w: Work) -> Answer:
    """Write down a remark, a call, a meeting or a letter."""
    id = w.new_id()
    await write_note(c, w, id)
    return {"id": str(id)}


class EditNote(Command):
    id: UUID
    text: Long


@command("notes.edit", "POST /notes/{id}:edit", permission=WRITE, title="Edit a note", target=NOTE)
async def edit(c: EditNote, w: Work) -> Answer:
    """Replace the text; the history keeps the one before."""
    note = await w.load(NOTE, c.id)
    w.record(note, notes.edit(note.state, text=c.text))
    return None


class PinNote(Command):
    id: UUID


@command("notes.pin", "POST /notes/{id}:pin", permission=WRITE, title="Pin a note", target=NOTE)
async def pin(c: PinNote, w: Work) -> Answer:
    """Keep the note on top."""
    note = await w.load(NOTE, c.id)
    w.record(note, notes.pin(note.state))
    return None


class UnpinNote(Command):
    id: UUID


@command("notes.unpin", "POST /notes/{id}:unpin", permission=WRITE, title="Unpin a note", target=NOTE)
async def unpin(c: UnpinNote, w: Work) -> Answer:
    note = await w.load(NOTE, c.id)
    w.record(note, notes.unpin(note.state))
    return None


class RemoveNote(Command):
    id: UUID


@command("notes.remove", "POST /notes/{id}:remove", permission=WRITE, title="Remove a note", target=NOTE)
async def remove(c: RemoveNote, w: Work) -> Answer:
    """Take the note out of every list; the record keeps that it was there."""
    note = await w.load(NOTE, c.id)
    w.record(note, notes.remove(note.state))
    return None
