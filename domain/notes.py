"""Notes: what somebody wrote down about a contact or an organisation: a remark, a call, a meeting.

N1  A note says something.
N2  A removed note is not changed.
N3  Nothing is recorded when nothing changes.

A note is a stream of its own, so that each keeps its own history and a contact of many years loads as fast as a new one.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Literal, assert_never
from uuid import UUID

from domain.kernel import Invalid, Personal, Refused, Stream, event

AboutType = Literal["contact", "organisation"]
Kind = Literal["note", "call", "meeting", "email", "letter", "message"]

# --- events


@event("notes.Written.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class NoteWritten:
    """What was said at the event's own time (`occurred_at`)."""

    about_type: AboutType
    about: UUID
    kind: Kind
    text: Annotated[str | None, Personal(subject="about")] = None


@event("notes.Edited.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class NoteEdited:
    about: UUID
    text: Annotated[str | None, Personal(subject="about")] = None


@event("notes.Pinned.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class NotePinned:
    pass


@event("notes.Unpinned.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class NoteUnpinned:
    pass


@event("notes.Removed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class NoteRemoved:
    pass


@event("notes.Reinstated.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class NoteReinstated:
    """A removed note is there again, as it was: all of it, because what was removed is nowhere else."""

    about_type: AboutType
    about: UUID
    kind: Kind
    text: Annotated[str | None, Personal(subject="about")] = None
    happened_at: datetime
    written_by: str
    edited_by: str | None = None
    edited_at: datetime | None = None
    pinned: bool = False


Event = NoteWritten | NoteEdited | NotePinned | NoteUnpinned | NoteRemoved | NoteReinstated

# --- state


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    about: UUID | None = None
    text: str | None = None
    pinned: bool = False
    removed: bool = False


# --- refusals


class NothingSaid(Invalid):
    """The note is empty. Write something, or remove it."""


class NoteIsRemoved(Refused):
    """The note was removed. Write a new one."""


# --- decisions


def write(*, about_type: AboutType, about: UUID, kind: Kind, text: str) -> list[Event]:
    if not text.strip():
        raise NothingSaid
    return [NoteWritten(about_type=about_type, about=about, kind=kind, text=text)]


def edit(note: Note, *, text: str) -> list[Event]:
    about = _standing(note)
    if not text.strip():
        raise NothingSaid
    return [] if text == note.text else [NoteEdited(about=about, text=text)]


def pin(note: Note) -> list[Event]:
    _standing(note)
    return [] if note.pinned else [NotePinned()]


def unpin(note: Note) -> list[Event]:
    _standing(note)
    return [NoteUnpinned()] if note.pinned else []


def remove(note: Note) -> list[Event]:
    return [] if note.removed else [NoteRemoved()]


def reinstate(note: Note, *, whole: NoteReinstated) -> list[Event]:
    """`whole` is the note as it was when it was removed."""
    return [whole] if note.removed else []


def _standing(note: Note) -> UUID:
    if note.removed or note.about is None:
        raise NoteIsRemoved
    return note.about


# --- evolve


def evolve(note: Note, e: Event) -> Note:
    match e:
        case NoteWritten():
            return replace(note, about=e.about, text=e.text)
        case NoteEdited():
            return replace(note, text=e.text)
        case NotePinned():
            return replace(note, pinned=True)
        case NoteUnpinned():
            return replace(note, pinned=False)
        case NoteRemoved():
            return replace(note, removed=True)
        case NoteReinstated():
            return replace(note, removed=False, about=e.about, text=e.text, pinned=e.pinned)
        case _:
            assert_never(e)


NOTE = Stream("note", Note(), evolve)
