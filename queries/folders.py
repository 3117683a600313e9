"""Folders: lists, by id, and the way from the top down to one."""

from pathlib import Path
from uuid import UUID

from domain.folders import FOLDER
from domain.kernel import NotFound
from projections.folders import FOLDERS
from queries.kernel import Collection, Query, Reader, collection, query
from queries.listing.relations import Relation, relation

PATH_SQL = (Path(__file__).parent / "folder_path.sql").read_text()

collection(
    Collection(
        name="folders",
        view=FOLDERS,
        stream=FOLDER,
        permission="documents:read",
        title="Folders",
        order="-created_at",
        search=("name",),
    )
)
relation("folders", Relation("parent", "folders", "parent"))


class FolderPath(Query):
    id: UUID


@query("folders.path", "GET /folders/{id}/path", permission="documents:read", title="The path of a folder", views=("folders",))
async def folder_path(q: FolderPath, reader: Reader) -> object:
    """From the top down to the folder itself."""
    rows = await reader.all(PATH_SQL, id=q.id)
    if not rows:
        raise NotFound(kind="folder", id=str(q.id))
    named = "personal:read" in reader.permissions
    return {
        "path": [{"id": str(row["id"]), "name": row["name"] if named else None, "archived": bool(row["archived"])} for row in rows]
    }
