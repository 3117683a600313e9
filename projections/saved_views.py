"""Saved views as they stand; a deleted one is gone."""

from dataclasses import dataclass, replace
from typing import Annotated
from uuid import UUID

from domain.kernel import Personal
from domain.saved_views import ViewChanged, ViewDeleted, ViewSaved
from projections.kernel import Recorded, View, of_stream, view


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedViewRow:
    """`owner` is the actor who saved it; `order_by` and `fields` are as a list takes them."""

    collection: str
    owner: str
    shared: bool
    name: Annotated[str | None, Personal()] = None
    filter: Annotated[str | None, Personal()] = None
    order_by: str = ""
    fields: str = ""


def fold(row: SavedViewRow | None, _key: UUID, r: Recorded) -> SavedViewRow | None:
    e = r.event
    if isinstance(e, ViewSaved):
        row = SavedViewRow(collection=e.collection, owner=e.owner, shared=e.shared)
    if row is None or isinstance(e, ViewDeleted):
        return None
    if isinstance(e, ViewSaved | ViewChanged):
        look = e.look
        return replace(
            row,
            shared=e.shared,
            name=look.name if look else None,
            filter=look.filter if look else None,
            order_by=look.order_by if look else "",
            fields=look.fields if look else "",
        )
    return row


SAVED_VIEWS = view(
    View(name="saved_views", version=1, table="views.saved_views", row=SavedViewRow, keys=of_stream("saved_view"), fold=fold)
)
