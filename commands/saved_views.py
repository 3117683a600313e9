"""Saving how a list is looked at; filter, order and fields are checked against the list when they are saved."""

from dataclasses import replace
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


Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
Long = Annotated[str, Field(max_length=4000)]
Short = Annotated[str, Field(max_length=500)]


class SaveView(Command):
    collection: Annotated[str, Field(min_length=1, max_length=60)]
    name: Name
    filter: Long = ""
    order_by: Short = ""
    fields: Long = ""
    shared: bool = Field(False, description="Whether the whole firm is to see it as one of its own.")


class ChangeView(Command):
    id: UUID
    name: Name | None = None
    filter: Long | None = None
    order_by: Short | None = None
    fields: Long | None = None
    shared: bool | None = None


def usable(look: Look, w: Work, collection: str) -> Look:
    lists = cast("HasLists", w.outside).lists
    lists.check(collection, filter=look.filter, order_by=look.order_by, fields=look.fields, permissions=w.permissions)
    return look


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
    look = usable(Look(name=c.name, filter=c.filter, order_by=c.order_by, fields=c.fields), w, c.collection)
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
    """What is named becomes as it says, and an empty text empties it; what is left out stays as it is."""
    view = await w.load(SAVED_VIEW, c.id)
    named = c.model_dump(include={"name", "filter", "order_by", "fields"}, exclude_none=True)
    look = replace(view.state.look or Look(name=""), **named)
    shared = view.state.shared if c.shared is None else c.shared
    events = saved_views.change(view.state, by=str(w.actor), shared=shared, look=look)
    if events:
        usable(look, w, view.state.collection)
    w.record(view, events)
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
