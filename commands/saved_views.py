"""Saving how a list is looked at; filter, order and fields are checked against the list when they are saved."""

from typing import Annotated, Protocol, cast
from uuid import UUID

from pydantic import Field

from commands.kernel import Answer, Command, Work, command
from domain import saved_views
from domain.saved_views import SAVED_VIEW, Look

MAY = "firm:read"


class Lists(Protocol):
    """What infra knows of lists."""

    def check(self, collection: str, *, filter: str, order_by: str, fields: str, permissions: frozenset[str]) -> None: ...


class HasLists(Protocol):
    lists: Lists


class Looked(Command):
    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
    filter: Annotated[str, Field(max_length=4000)] = ""
    order_by: Annotated[str, Field(max_length=500)] = ""
    fields: Annotated[str, Field(max_length=4000)] = ""
    shared: bool = Field(False, description="Whether the whole firm is to see it as one of its own.")


class SaveView(Looked):
    collection: Annotated[str, Field(min_length=1, max_length=60)]


class ChangeView(Looked):
    id: UUID


def look_of(c: Looked, w: Work, collection: str) -> Look:
    lists = cast("HasLists", w.outside).lists
    lists.check(collection, filter=c.filter, order_by=c.order_by, fields=c.fields, permissions=w.permissions)
    return Look(name=c.name, filter=c.filter, order_by=c.order_by, fields=c.fields)


@command(
    "saved_views.save",
    "POST /saved_views",
    permission=MAY,
    title="Save a view of a list",
    target=SAVED_VIEW,
    undoable=False,
    creates=True,
)
async def save(c: SaveView, w: Work) -> Answer:
    """Keep a filter, an order and a choice of fields under a name, for oneself or for the firm."""
    look = look_of(c, w, c.collection)
    view = w.create(SAVED_VIEW, w.new_id())
    w.record(view, saved_views.save(view.state, collection=c.collection, owner=str(w.actor), shared=c.shared, look=look))
    return {"id": str(view.id)}


@command(
    "saved_views.change",
    "POST /saved_views/{id}:change",
    permission=MAY,
    title="Change a saved view",
    target=SAVED_VIEW,
    undoable=False,
)
async def change(c: ChangeView, w: Work) -> Answer:
    """The whole view as it is to be; what is left out is empty from then on."""
    view = await w.load(SAVED_VIEW, c.id)
    look = look_of(c, w, view.state.collection)
    w.record(view, saved_views.change(view.state, by=str(w.actor), shared=c.shared, look=look))
    return None


class DeleteView(Command):
    id: UUID


@command(
    "saved_views.delete",
    "POST /saved_views/{id}:delete",
    permission=MAY,
    title="Delete a saved view",
    target=SAVED_VIEW,
    undoable=False,
)
async def delete(c: DeleteView, w: Work) -> Answer:
    """Take it out of every list of views; its history stays."""
    view = await w.load(SAVED_VIEW, c.id)
    w.record(view, saved_views.delete(view.state, by=str(w.actor)))
    return None
