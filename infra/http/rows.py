"""What the record tells of one row of a list: which stream it lies in, and whether the reader may know of it."""

from uuid import UUID

from infra.reading import PgReader
from infra.record.history import Source
from queries.kernel import Collection

_SEEN = (
    "SELECT EXISTS (SELECT FROM views.{0} WHERE firm_id = %(firm)s AND id = %(id)s)"
    " OR EXISTS (SELECT FROM history.{0} WHERE firm_id = %(firm)s AND id = %(id)s) AS seen"
)

# the stream of a row that lies inside another record: that of the event which wrote it, now or at any time
_WRITTEN_BY = (
    "SELECT e.stream_type, e.stream_id FROM record.events e WHERE e.firm_id = %(firm)s AND e.position = ("
    ' SELECT max(p.position) FROM (SELECT position FROM "views".{0} WHERE firm_id = %(firm)s AND id = %(id)s'
    " UNION ALL SELECT position FROM history.{0} WHERE firm_id = %(firm)s AND id = %(id)s) AS p)"
)


async def hidden(r: PgReader, c: Collection, id: UUID) -> bool:
    """Whether the reader may not know of this row: row-level security shows nothing of it, as it is or was."""
    if not c.own:
        return False
    row = await r.one(_SEEN.format(c.view.table.removeprefix("views.")), id=id)
    return row is None or not row["seen"]


async def source_of(r: PgReader, c: Collection, id: UUID) -> Source | None:
    if c.stream is not None:
        return Source(firm=r.firm, view=c.view, stream_type=c.stream.type, stream_id=id, id=id)
    row = await r.one(_WRITTEN_BY.format(c.view.table.removeprefix("views.")), id=id)
    if row is None:
        return None
    return Source(firm=r.firm, view=c.view, stream_type=row["stream_type"], stream_id=row["stream_id"], id=id)
