"""Commands on folders."""

from typing import Annotated
from uuid import UUID

from pydantic import StringConstraints

from commands.kernel import Answer, Command, Work, command
from domain import folders as folder
from domain.folders import FOLDER, FOLDER_TREE, FolderId, FolderTooDeep, Step

FURTHEST = 256

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f/\\]+$")]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=r"^[^\x00]+$")]


async def path_up(w: Work, id: UUID | None) -> list[Step]:
    """The folders from `id` up to the top, or until one is met a second time; each must exist in this firm."""
    path: list[Step] = []
    met: set[UUID] = set()
    while id is not None and id not in met:
        if len(path) >= FURTHEST:
            raise FolderTooDeep(deepest=folder.DEEPEST)
        entity = await w.load(FOLDER, id)
        path.append(Step(id=FolderId(id), archived=entity.state.archived))
        met.add(id)
        id = entity.state.parent
    return path


def _folder(id: UUID | None) -> FolderId | None:
    return None if id is None else FolderId(id)


class CreateFolder(Command):
    name: Name
    parent: UUID | None = None


@command("folders.create", "POST /folders", permission="documents:write", title="Create a folder", target=FOLDER, creates=True)
async def create_folder(c: CreateFolder, w: Work) -> Answer:
    """A folder stands in its parent, or at the top when none is named."""
    path = await path_up(w, c.parent)
    entity = w.create(FOLDER, w.new_id())
    w.record(entity, folder.create(entity.state, name=c.name, parent=_folder(c.parent), path=path))
    return {"id": str(entity.id)}


class RenameFolder(Command):
    id: UUID
    name: Name


@command("folders.rename", "POST /folders/{id}:rename", permission="documents:write", title="Rename a folder", target=FOLDER)
async def rename_folder(c: RenameFolder, w: Work) -> Answer:
    entity = await w.load(FOLDER, c.id)
    w.record(entity, folder.rename(entity.state, name=c.name))
    return None


class MoveFolder(Command):
    id: UUID
    parent: UUID | None


@command("folders.move", "POST /folders/{id}:move", permission="documents:write", title="Move a folder", target=FOLDER)
async def move_folder(c: MoveFolder, w: Work) -> Answer:
    """Everything in the folder goes with it. Without a parent it goes to the top."""
    tree = await w.find(FOLDER_TREE, w.derive_id("folder_tree"))  # before any other: what is read next is no older than this
    entity = await w.load(FOLDER, c.id)
    path = await path_up(w, c.parent)
    moved = folder.move(entity.state, id=FolderId(c.id), parent=_folder(c.parent), path=path)
    w.record(entity, moved)
    w.record(tree, folder.note_move(tree.state, folder=FolderId(c.id), moved=moved))
    return None


class ArchiveFolder(Command):
    id: UUID
    reason: Reason | None = None


@command("folders.archive", "POST /folders/{id}:archive", permission="documents:write", title="Archive a folder", target=FOLDER)
async def archive_folder(c: ArchiveFolder, w: Work) -> Answer:
    """What is in the folder stays as it is; nothing new goes in."""
    entity = await w.load(FOLDER, c.id)
    w.record(entity, folder.archive(entity.state, reason=c.reason))
    return None


class RestoreFolder(Command):
    id: UUID


@command("folders.restore", "POST /folders/{id}:restore", permission="documents:write", title="Restore a folder", target=FOLDER)
async def restore_folder(c: RestoreFolder, w: Work) -> Answer:
    entity = await w.load(FOLDER, c.id)
    path = await path_up(w, entity.state.parent)
    w.record(entity, folder.restore(entity.state, path=path))
    return None
