from uuid import uuid4

import pytest

from domain import folders
from domain.folders import (
    DEEPEST,
    FOLDER,
    FOLDER_TREE,
    FolderArchived,
    FolderCreated,
    FolderCycle,
    FolderId,
    FolderIsArchived,
    FolderMoved,
    FolderRenamed,
    FolderRestored,
    FolderTooDeep,
    PlaceIsArchived,
    Step,
    TreeRearranged,
)
from tests.story import Story

ME, PARENT, TOP = (FolderId(uuid4()) for _ in range(3))
folder = Story(FOLDER.initial, FOLDER.evolve)
CREATED = FolderCreated(name="Clients", parent=PARENT)
DEEP = [Step(id=FolderId(uuid4())) for _ in range(DEEPEST)]


def test_a_folder_is_created_in_another() -> None:
    folder.given().when(folders.create, name="Clients", parent=PARENT, path=[Step(id=PARENT), Step(id=TOP)]).then(CREATED)


@pytest.mark.invariant("FOL1")
def test_a_folder_does_not_move_beneath_itself_and_the_way_round_is_named() -> None:
    path = [Step(id=TOP), Step(id=PARENT), Step(id=ME)]
    with pytest.raises(FolderCycle) as refused:
        folders.move(folders.Folder(), id=ME, parent=TOP, path=path)
    assert refused.value.about["cycle"] == [str(ME), str(PARENT), str(TOP), str(ME)]
    folder.given(CREATED).when(folders.move, id=ME, parent=ME, path=[Step(id=ME), Step(id=PARENT)]).then_refused(FolderCycle)


@pytest.mark.invariant("FOL2")
def test_folders_stand_at_most_so_deep() -> None:
    folder.given().when(folders.create, name="x", parent=DEEP[0].id, path=DEEP).then_refused(FolderTooDeep)
    folder.given(CREATED).when(folders.move, id=ME, parent=DEEP[0].id, path=DEEP).then_refused(FolderTooDeep)
    folder.given().when(folders.create, name="x", parent=DEEP[1].id, path=DEEP[1:]).then(FolderCreated(name="x", parent=DEEP[1].id))


@pytest.mark.invariant("FOL3")
def test_nothing_goes_into_an_archived_folder_or_beneath_one() -> None:
    path = [Step(id=PARENT), Step(id=TOP, archived=True)]
    folder.given().when(folders.create, name="x", parent=PARENT, path=path).then_refused(PlaceIsArchived)
    folder.given(FolderCreated(name="x")).when(folders.move, id=ME, parent=PARENT, path=path).then_refused(PlaceIsArchived)
    folder.given(CREATED, FolderArchived()).when(folders.restore, path=path).then_refused(PlaceIsArchived)


@pytest.mark.invariant("FOL4")
def test_an_archived_folder_is_not_renamed_or_moved() -> None:
    archived = folder.given(CREATED, FolderArchived(reason="done"))
    archived.when(folders.rename, name="x").then_refused(FolderIsArchived)
    archived.when(folders.move, id=ME, parent=None, path=[]).then_refused(FolderIsArchived)
    archived.when(folders.restore, path=[]).then(FolderRestored())


@pytest.mark.invariant("FOL5")
def test_a_move_is_also_noted_in_the_line_of_moves() -> None:
    tree = Story(FOLDER_TREE.initial, FOLDER_TREE.evolve)
    tree.given().when(folders.note_move, folder=ME, moved=[FolderMoved(parent=TOP)]).then(TreeRearranged(folder=ME, parent=TOP))
    tree.given().when(folders.note_move, folder=ME, moved=[]).then_nothing()


@pytest.mark.invariant("FOL6")
def test_nothing_is_recorded_when_nothing_changes() -> None:
    known = folder.given(CREATED)
    known.when(folders.rename, name="Clients").then_nothing()
    known.when(folders.move, id=ME, parent=PARENT, path=[]).then_nothing()
    known.when(folders.restore, path=[]).then_nothing()
    known.when(folders.rename, name="Former clients").then(FolderRenamed(name="Former clients"))
    folder.given(CREATED, FolderArchived()).when(folders.archive, reason=None).then_nothing()
