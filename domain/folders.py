"""Folders: where documents are kept, as a tree with as many tops as a firm likes.

FOL1 A folder never comes to stand beneath itself; the refusal names the way round.
FOL2 A folder stands at most 32 levels deep when it is created, moved or restored.
FOL3 Nothing is put into an archived folder, nor into one that stands beneath an archived folder.
FOL4 An archived folder is not renamed or moved; it is restored first.
FOL5 Every move of a firm also goes on its one folder-tree stream, so that two moves at once can't close a circle together.
FOL6 Nothing is recorded when nothing changes.

A folder's name often names a person ("Smith, Ann"), and nobody says which one: it is sealed under the folder's own key.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, NewType, assert_never
from uuid import UUID

from domain.kernel import Personal, Refused, Stream, event

FolderId = NewType("FolderId", UUID)

DEEPEST = 32

# --- events


@event("folders.Created.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class FolderCreated:
    name: Annotated[str | None, Personal()] = None
    parent: FolderId | None = None


@event("folders.Renamed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class FolderRenamed:
    name: Annotated[str | None, Personal()] = None


@event("folders.Moved.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class FolderMoved:
    """No parent is the top."""

    parent: FolderId | None = None


@event("folders.Archived.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class FolderArchived:
    reason: Annotated[str | None, Personal()] = None


@event("folders.Restored.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class FolderRestored:
    pass


Event = FolderCreated | FolderRenamed | FolderMoved | FolderArchived | FolderRestored


@event("folders.TreeRearranged.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class TreeRearranged:
    """On a stream of the firm's own: the moves of a firm stand in one line."""

    folder: FolderId
    parent: FolderId | None = None


# --- state


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    name: str | None = None
    parent: FolderId | None = None
    archived: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderTree:
    moves: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One folder on the way from a place up to the top."""

    id: FolderId
    archived: bool = False


# --- refusals


class FolderCycle(Refused):
    """A folder can't be moved into itself or into a folder beneath it. Choose another place."""


class FolderTooDeep(Refused):
    """Folders can stand 32 levels deep at most. Choose a place nearer to the top."""


class FolderIsArchived(Refused):
    """The folder is archived. Restore it before changing it."""


class PlaceIsArchived(Refused):
    """That folder, or one above it, is archived and takes nothing new. Restore it or choose another."""


# --- decisions


def create(_: Folder, *, name: str, parent: FolderId | None, path: Sequence[Step]) -> list[Event]:
    """`path` leads from the parent up to the top."""
    _check_place(path)
    return [FolderCreated(name=name, parent=parent)]


def rename(folder: Folder, *, name: str) -> list[Event]:
    if folder.archived:
        raise FolderIsArchived
    return [] if name == folder.name else [FolderRenamed(name=name)]


def move(folder: Folder, *, id: FolderId, parent: FolderId | None, path: Sequence[Step]) -> list[Event]:
    """`path` leads from the new parent up to the top, or until it meets a folder a second time."""
    if folder.archived:
        raise FolderIsArchived
    if parent == folder.parent:
        return []
    way = [step.id for step in path]
    if id in way:
        raise FolderCycle(cycle=[str(i) for i in (*reversed(way[: way.index(id) + 1]), id)])
    _check_place(path)
    return [FolderMoved(parent=parent)]


def note_move(_: FolderTree, *, folder: FolderId, moved: Sequence[Event]) -> list[TreeRearranged]:
    return [TreeRearranged(folder=folder, parent=e.parent) for e in moved if isinstance(e, FolderMoved)]


def archive(folder: Folder, *, reason: str | None) -> list[Event]:
    return [] if folder.archived else [FolderArchived(reason=reason)]


def restore(folder: Folder, *, path: Sequence[Step]) -> list[Event]:
    if not folder.archived:
        return []
    _check_place(path)
    return [FolderRestored()]


def _check_place(path: Sequence[Step]) -> None:
    if len(path) >= DEEPEST:
        raise FolderTooDeep(deepest=DEEPEST)
    archived = next((step.id for step in path if step.archived), None)
    if archived is not None:
        raise PlaceIsArchived(folder=str(archived))


# --- evolve


def evolve(folder: Folder, e: Event) -> Folder:
    match e:
        case FolderCreated():
            return replace(folder, name=e.name, parent=e.parent)
        case FolderRenamed():
            return replace(folder, name=e.name)
        case FolderMoved():
            return replace(folder, parent=e.parent)
        case FolderArchived():
            return replace(folder, archived=True)
        case FolderRestored():
            return replace(folder, archived=False)
        case _:
            assert_never(e)


def evolve_tree(tree: FolderTree, _: TreeRearranged) -> FolderTree:
    return replace(tree, moves=tree.moves + 1)


FOLDER = Stream("folder", Folder(), evolve)
FOLDER_TREE = Stream("folder_tree", FolderTree(), evolve_tree)
