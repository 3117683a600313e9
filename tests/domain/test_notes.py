from uuid import uuid4

import pytest

from domain.notes import (
    Note,
    NoteEdited,
    NoteIsRemoved,
    NotePinned,
    NoteRemoved,
    NoteUnpinned,
    NoteWritten,
    NothingSaid,
    edit,
    evolve,
    pin,
    remove,
    unpin,
    write,
)
from tests.story import Story

ANNA = uuid4()
WRITTEN = NoteWritten(about_type="contact", about=ANNA, kind="note", text="Called.")
note = Story(Note(), evolve)


@pytest.mark.invariant("N1")
def test_a_note_says_something() -> None:
    with pytest.raises(NothingSaid):
        write(about_type="contact", about=ANNA, kind="call", text="  ")
    note.given(WRITTEN).when(edit, text="\n").then_refused(NothingSaid)


@pytest.mark.invariant("N2")
def test_a_removed_note_is_not_changed() -> None:
    for decide, command in ((edit, {"text": "x"}), (pin, {}), (unpin, {})):
        note.given(WRITTEN, NoteRemoved()).when(decide, **command).then_refused(NoteIsRemoved)


@pytest.mark.invariant("N3")
def test_nothing_is_recorded_when_nothing_changes() -> None:
    note.given(WRITTEN).when(edit, text="Called.").then_nothing()
    note.given(WRITTEN).when(edit, text="Called twice.").then(NoteEdited(about=ANNA, text="Called twice."))
    note.given(WRITTEN).when(unpin).then_nothing()
    note.given(WRITTEN).when(pin).then(NotePinned())
    note.given(WRITTEN, NotePinned()).when(pin).then_nothing()
    note.given(WRITTEN, NotePinned()).when(unpin).then(NoteUnpinned())
    note.given(WRITTEN, NoteRemoved()).when(remove).then_nothing()
    note.given(WRITTEN).when(remove).then(NoteRemoved())
