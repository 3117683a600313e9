"""Saved views: a list as somebody likes to see it, under a name, for themselves or for the whole firm.

SV1  A saved view is changed, shared and deleted by whoever saved it alone.
SV2  A deleted view is not changed.
SV3  Nothing is recorded when nothing changes.

A name and a filter may name people, and nobody says which: they are sealed under the view's own key.
"""

from dataclasses import dataclass, replace
from typing import Annotated, assert_never

from domain.kernel import Personal, Refused, Stream, event


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is looked at: the filter, the order and the fields as a list takes them."""

    name: str
    filter: str = ""
    order_by: str = ""
    fields: str = ""


# --- events


@event("saved_views.Saved.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ViewSaved:
    """`owner` is the actor who saved it."""

    collection: str
    owner: str
    shared: bool
    look: Annotated[Look | None, Personal()] = None


@event("saved_views.Changed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ViewChanged:
    """The whole view as it is from now on."""

    shared: bool
    look: Annotated[Look | None, Personal()] = None


@event("saved_views.Deleted.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ViewDeleted:
    pass


Event = ViewSaved | ViewChanged | ViewDeleted

# --- state


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedView:
    collection: str = ""
    owner: str = ""
    shared: bool = False
    look: Look | None = None
    deleted: bool = False


# --- refusals


class NotYourView(Refused):
    """Somebody else saved this view, and it is theirs to change. Save one of your own."""


class ViewIsDeleted(Refused):
    """The view was deleted. Save it anew."""


# --- decisions


def save(_: SavedView, *, collection: str, owner: str, shared: bool, look: Look) -> list[Event]:
    return [ViewSaved(collection=collection, owner=owner, shared=shared, look=look)]


def change(view: SavedView, *, by: str, shared: bool, look: Look) -> list[Event]:
    _theirs(view, by)
    if view.deleted:
        raise ViewIsDeleted
    return [] if (view.shared, view.look) == (shared, look) else [ViewChanged(shared=shared, look=look)]


def delete(view: SavedView, *, by: str) -> list[Event]:
    _theirs(view, by)
    return [] if view.deleted else [ViewDeleted()]


def _theirs(view: SavedView, by: str) -> None:
    if view.owner != by:
        raise NotYourView


# --- evolve


def evolve(view: SavedView, e: Event) -> SavedView:
    match e:
        case ViewSaved():
            return SavedView(collection=e.collection, owner=e.owner, shared=e.shared, look=e.look)
        case ViewChanged():
            return replace(view, shared=e.shared, look=e.look)
        case ViewDeleted():
            return replace(view, deleted=True)
        case _:
            assert_never(e)


SAVED_VIEW = Stream("saved_view", SavedView(), evolve)
