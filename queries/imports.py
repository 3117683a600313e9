"""Lists of imports, and the report of one import's rows."""

from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from domain.imports import IMPORT
from domain.kernel import NotFound
from projections.imports import IMPORTS
from queries.kernel import Collection, Query, Reader, collection, query

ROWS_SQL = Path(__file__).with_name("import_rows.sql").read_text(encoding="utf-8")
KNOWN_SQL = "SELECT id FROM views.imports WHERE firm_id = %(firm)s AND id = %(id)s"

collection(
    Collection(
        name="imports",
        view=IMPORTS,
        stream=IMPORT,
        permission="imports:read",
        title="Imports",
        order="-started_at",
        search=("source",),
    )
)


class ReadImportRows(Query):
    id: UUID
    outcome: Literal["created", "changed", "unchanged", "rejected", "kept"] | None = Field(
        default=None, description="Rows of this outcome only; `kept` are those an undo left as they were."
    )
    issues: bool = Field(default=False, description="Only rows about which something is to be said.")
    after: Annotated[int, Field(ge=0, le=2**53)] = Field(default=0, description="`next` of the page before.")
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


@query("imports.rows", "GET /imports/{id}/rows", permission="imports:read", title="The row report of an import", views=("imports",))
async def rows(q: ReadImportRows, r: Reader) -> object:
    """What became of each row, in the order of the file, with line, field and reason of everything that was wrong with it.

    Values are not shown here: they may be personal, and stand sealed with the row. `chancery import show` shows them.
    """
    if await r.one(KNOWN_SQL, id=q.id) is None:
        raise NotFound(kind="imports", id=str(q.id))
    found = await r.all(ROWS_SQL, id=q.id, outcome=q.outcome, issues=q.issues, after=q.after, limit=q.limit + 1)
    page = found[: q.limit]
    return {"items": page, "next": page[-1]["number"] if len(found) > q.limit else None}
