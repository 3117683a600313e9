"""What somebody keeps for themselves: the record tells its history to nobody else either."""

from uuid import UUID

from infra.reading import PgReader
from queries.kernel import Collection

_SEEN = (
    "SELECT EXISTS (SELECT FROM views.{0} WHERE firm_id = %(firm)s AND id = %(id)s)"
    " OR EXISTS (SELECT FROM history.{0} WHERE firm_id = %(firm)s AND id = %(id)s) AS seen"
)


async def hidden(r: PgReader, c: Collection, id: UUID) -> bool:
    """Whether the reader may not know of this row: row-level security shows nothing of it, as it is or was."""
    if not c.own:
        return False
    row = await r.one(_SEEN.format(c.view.table.removeprefix("views.")), id=id)
    return row is None or not row["seen"]
