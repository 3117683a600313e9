"""Imports: one file or folder of another system carried over, from its start to its end, and perhaps undone.

IMP1  An import ends once: finished, or failed with its reason. Only one that has not ended is taken up again.
IMP2  What an import was started with (file, map, options) never changes; another file is another import.
IMP3  Rows are counted by what became of them: created, changed, unchanged, rejected; together they are all rows.
IMP4  An import is undone once, after it has stopped; it then says how much was taken back and how much was kept.
IMP5  Nothing is recorded when nothing changes.
"""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, assert_never

from domain.kernel import Personal, Refused, Stream, event

Kind = Literal["contacts", "deals", "tasks", "dependencies", "documents", "consents"]
Status = Literal["running", "finished", "failed", "undoing", "undone"]

MAP_PART = 30_000  # characters: an event is a leaf of at most 65,535 bytes
MOST_PARTS = 40
MOST_NOTES = 50
NOTE = 500

# --- events


@event("imports.Started.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ImportStarted:
    """`source` is the name under which the file's own ids are known; `sha256` of the bytes, empty for a folder.

    Files are called after people and matters, so no name of theirs is public.
    """

    kind: Kind
    form: str
    size: int
    sha256: str
    source: Annotated[str | None, Personal()] = None
    options: Annotated[dict[str, str], Personal()] = field(default_factory=dict)
    file_name: Annotated[str | None, Personal()] = None


@event("imports.MapGiven.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ImportMapGiven:
    """The map as TOML, in parts; `part` counts from 1. Its constants and value tables may name people."""

    part: int
    guessed: bool = False
    toml: Annotated[str | None, Personal()] = None


@event("imports.Resumed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResumed:
    """After an interruption; `rows` had been carried by then."""

    rows: int


@event("imports.Finished.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFinished:
    """`issues` counts the remarks in the row report, `events` what was recorded; `notes` say what was assumed."""

    rows: int
    created: int
    changed: int
    unchanged: int
    rejected: int
    issues: int
    events: int
    notes: tuple[str, ...] = ()


@event("imports.Failed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFailed:
    """The file as a whole could not be read to its end. What was carried before stands and can be undone."""

    reason: str
    rows: int = 0


@event("imports.UndoStarted.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ImportUndoStarted:
    reason: Annotated[str | None, Personal()] = None


@event("imports.Undone.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ImportUndone:
    """`taken_back` records were archived or removed; `kept` were changed since, or were there before the import."""

    taken_back: int
    kept: int


Event = ImportStarted | ImportMapGiven | ImportResumed | ImportFinished | ImportFailed | ImportUndoStarted | ImportUndone

# --- state


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    status: Status | None = None
    kind: Kind = "contacts"
    sha256: str = ""
    rows: int = 0


# --- refusals


class ImportHasEnded(Refused):
    """The import has ended. Import the file again as a new import."""


class ImportIsUndone(Refused):
    """The import has been undone already."""


class ImportRuns(Refused):
    """The import is still under way. Stop it first."""


# --- decisions


def start(
    _import: Import,
    *,
    kind: Kind,
    form: str,
    source: str,
    size: int,
    sha256: str,
    file_name: str,
    map: str,
    guessed: bool,
    options: dict[str, str],
) -> list[Event]:
    """Nothing when it was started before."""
    if _import.status is not None:
        return []
    parts = [map[at : at + MAP_PART] for at in range(0, len(map), MAP_PART)][:MOST_PARTS]
    return [
        ImportStarted(kind=kind, form=form, source=source, size=size, sha256=sha256, options=options, file_name=file_name),
        *(ImportMapGiven(part=n, toml=part, guessed=guessed) for n, part in enumerate(parts, 1)),
    ]


def resume(state: Import, *, rows: int) -> list[Event]:
    _running(state)
    return [ImportResumed(rows=rows)]


def finish(
    state: Import, *, created: int, changed: int, unchanged: int, rejected: int, issues: int, events: int, notes: tuple[str, ...]
) -> list[Event]:
    _running(state)
    return [
        ImportFinished(
            rows=created + changed + unchanged + rejected,
            created=created,
            changed=changed,
            unchanged=unchanged,
            rejected=rejected,
            issues=issues,
            events=events,
            notes=tuple(n[:NOTE] for n in notes[:MOST_NOTES]),
        )
    ]


def fail(state: Import, *, reason: str, rows: int) -> list[Event]:
    _running(state)
    return [ImportFailed(reason=reason[:2_000], rows=rows)]


def start_undo(state: Import, *, reason: str | None) -> list[Event]:
    """Nothing when an undo was begun before and interrupted: it goes on. `ImportRuns` is for the caller who sees it running."""
    if state.status == "undone":
        raise ImportIsUndone
    return [] if state.status == "undoing" else [ImportUndoStarted(reason=reason)]


def undone(state: Import, *, taken_back: int, kept: int) -> list[Event]:
    if state.status == "undone":
        raise ImportIsUndone
    return [ImportUndone(taken_back=taken_back, kept=kept)]


def _running(state: Import) -> None:
    if state.status != "running":
        raise ImportHasEnded(status=state.status)


# --- evolve


def evolve(state: Import, e: Event) -> Import:
    match e:
        case ImportStarted():
            return replace(state, status="running", kind=e.kind, sha256=e.sha256)
        case ImportMapGiven():
            return state
        case ImportResumed():
            return replace(state, rows=e.rows)
        case ImportFinished():
            return replace(state, status="finished", rows=e.rows)
        case ImportFailed():
            return replace(state, status="failed", rows=e.rows)
        case ImportUndoStarted():
            return replace(state, status="undoing")
        case ImportUndone():
            return replace(state, status="undone")
        case _:
            assert_never(e)


IMPORT = Stream("import", Import(), evolve)
