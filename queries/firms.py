"""Reads of the firm: a caller sees their own and no other."""

from domain.firms import FIRM
from domain.kernel import NotFound
from projections.firms import FIRMS
from queries.kernel import Collection, Query, Reader, collection, query

FIRM_COLLECTION = collection(
    Collection(name="firms", view=FIRMS, stream=FIRM, permission="firm:read", title="Firms", search=("name",))
)


class ReadFirm(Query):
    pass


@query("firms.own", "GET /firm", permission="firm:read", title="Your firm", views=("firms",))
async def own(_q: ReadFirm, r: Reader) -> object:
    """The firm of the caller: its settings, whether it is suspended, its owners."""
    row = await r.one("SELECT * FROM views.firms WHERE firm_id = %(firm)s AND id = %(firm)s")
    if row is None:
        raise NotFound(kind="firm", id=str(r.firm))
    return {column: value for column, value in row.items() if column != "firm_id"}
