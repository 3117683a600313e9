"""The course of an import: started, taken up again, ended, undone."""

import pytest

from domain import imports
from domain.imports import (
    IMPORT,
    MAP_PART,
    Import,
    ImportFailed,
    ImportFinished,
    ImportHasEnded,
    ImportIsUndone,
    ImportMapGiven,
    ImportResumed,
    ImportStarted,
    ImportUndone,
    ImportUndoStarted,
)
from domain.kernel import fold


def started(map: str = "kind = 'deals'") -> list[imports.Event]:
    return imports.start(
        Import(),
        kind="deals",
        form="table",
        source="crm",
        size=10,
        sha256="ab",
        file_name="crm.csv",
        map=map,
        guessed=True,
        options={"source": "crm"},
    )


def after(*events: imports.Event) -> Import:
    return fold(IMPORT.initial, IMPORT.evolve, [*started(), *events])


def finish(state: Import) -> list[imports.Event]:
    return imports.finish(state, created=1, changed=2, unchanged=3, rejected=4, issues=5, events=6, notes=("x" * 900,) * 80)


DONE = ImportFinished(rows=10, created=1, changed=2, unchanged=3, rejected=4, issues=5, events=6)


@pytest.mark.invariant("IMP5")
def test_an_import_starts_once() -> None:
    assert (
        imports.start(
            after(), kind="deals", form="table", source="crm", size=1, sha256="", file_name="x", map="", guessed=False, options={}
        )
        == []
    )


@pytest.mark.invariant("IMP2")
def test_a_long_map_is_kept_whole_in_parts() -> None:
    map = "a" * (MAP_PART + 5)
    begun, *parts = started(map)
    assert isinstance(begun, ImportStarted)
    assert [p.part for p in parts if isinstance(p, ImportMapGiven)] == [1, 2]
    assert "".join(p.toml or "" for p in parts if isinstance(p, ImportMapGiven)) == map


@pytest.mark.invariant("IMP1")
@pytest.mark.parametrize("end", [DONE, ImportFailed(reason="cut off"), ImportUndoStarted()])
def test_an_import_that_has_ended_is_neither_taken_up_nor_ended_again(end: imports.Event) -> None:
    state = after(end)
    for again in (lambda: imports.resume(state, rows=1), lambda: finish(state), lambda: imports.fail(state, reason="", rows=0)):
        with pytest.raises(ImportHasEnded):
            again()


def test_an_interrupted_import_is_taken_up_and_finished() -> None:
    assert imports.resume(after(), rows=7) == [ImportResumed(rows=7)]
    assert after(ImportResumed(rows=7)).status == "running"


@pytest.mark.invariant("IMP3")
def test_rows_are_the_sum_of_what_became_of_them_and_notes_are_bounded() -> None:
    (done,) = finish(after())
    assert isinstance(done, ImportFinished)
    assert done.rows == 10
    assert (len(done.notes), len(done.notes[0])) == (50, 500)


@pytest.mark.invariant("IMP4")
def test_an_undo_goes_on_after_an_interruption_and_is_not_done_twice() -> None:
    assert imports.start_undo(after(DONE), reason="wrong file") == [ImportUndoStarted(reason="wrong file")]
    undoing = after(DONE, ImportUndoStarted())
    assert imports.start_undo(undoing, reason=None) == []
    assert imports.undone(undoing, taken_back=3, kept=1) == [ImportUndone(taken_back=3, kept=1)]
    gone = after(DONE, ImportUndoStarted(), ImportUndone(taken_back=3, kept=1))
    for again in (lambda: imports.start_undo(gone, reason=None), lambda: imports.undone(gone, taken_back=0, kept=0)):
        with pytest.raises(ImportIsUndone):
            again()
