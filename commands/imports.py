"""What records the course of an import. The importer calls these; there is no route, because the file stands where it runs."""

from uuid import UUID

from commands.kernel import Entity, Work
from domain import imports
from domain.imports import IMPORT, Event, Import, Kind


async def start_import(
    w: Work,
    id: UUID,
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
) -> Entity[Import, Event]:
    """Record that an import begins, with all it needs to be understood later."""
    entity = await w.find(IMPORT, id)
    begun = imports.start(
        entity.state,
        kind=kind,
        form=form,
        source=source,
        size=size,
        sha256=sha256,
        file_name=file_name,
        map=map,
        guessed=guessed,
        options=options,
    )
    w.record(entity, begun)
    return entity


async def resume_import(w: Work, id: UUID, *, rows: int) -> None:
    """Record that an interrupted import goes on."""
    entity = await w.load(IMPORT, id)
    w.record(entity, imports.resume(entity.state, rows=rows))


async def finish_import(
    w: Work,
    id: UUID,
    *,
    created: int,
    changed: int,
    unchanged: int,
    rejected: int,
    issues: int,
    events: int,
    notes: tuple[str, ...],
) -> None:
    """Record that every row was carried or reported."""
    entity = await w.load(IMPORT, id)
    done = imports.finish(
        entity.state,
        created=created,
        changed=changed,
        unchanged=unchanged,
        rejected=rejected,
        issues=issues,
        events=events,
        notes=notes,
    )
    w.record(entity, done)


async def fail_import(w: Work, id: UUID, *, reason: str, rows: int) -> None:
    """Record why the file could not be read to its end."""
    entity = await w.load(IMPORT, id)
    w.record(entity, imports.fail(entity.state, reason=reason, rows=rows))


async def start_undo(w: Work, id: UUID, *, reason: str | None) -> None:
    """Record that an import is being taken back."""
    entity = await w.load(IMPORT, id)
    w.record(entity, imports.start_undo(entity.state, reason=reason))


async def finish_undo(w: Work, id: UUID, *, taken_back: int, kept: int) -> None:
    """Record that an import was taken back, as far as it could be."""
    entity = await w.load(IMPORT, id)
    w.record(entity, imports.undone(entity.state, taken_back=taken_back, kept=kept))
