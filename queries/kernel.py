"""How reads are declared: a collection is a view that can be listed, read by id and asked for its history; a query is anything else.

Every read belongs to one firm and declares the permission it needs. Personal fields are masked for whoever lacks `personal:read`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from domain.kernel import FirmId, Stream
from projections.kernel import View

PERSONAL = "personal"  # Annotated[str | None, PERSONAL] in a view's row: masked for roles that may not see it


class Query(BaseModel):
    """Parameters of a read. Unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Reader(Protocol):
    """A read-only connection bound to one firm; a query can't write through it."""

    firm: FirmId
    now: datetime
    permissions: frozenset[str]

    @property
    def actor(self) -> str:
        """Who asks, as the record names actors (`member/…`, `key/…`); empty for the system itself."""
        ...

    @property
    def member(self) -> UUID | None:
        """The member who asks, when a member does."""
        ...

    async def all(self, sql: str, **params: object) -> Sequence[Mapping[str, Any]]: ...

    async def one(self, sql: str, **params: object) -> Mapping[str, Any] | None: ...


Q = TypeVar("Q", bound=Query)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A list with cursor pages, filter, order and field selection; by-id reads; and the whole history of each member.

    `name` is the URL segment and the plural noun; `search` names the text fields a bare filter word looks into;
    `order` is the default order (`-created_at`). `own` says that rows which are not shared are their owner's alone to see.
    """

    name: str
    view: View[Any]
    stream: Stream[Any, Any] | None
    permission: str
    title: str
    order: str = "id"
    search: tuple[str, ...] = ()
    own: bool = False


COLLECTIONS: dict[str, Collection] = {}


def collection(c: Collection) -> Collection:
    """Register a collection."""
    if c.name in COLLECTIONS:
        raise ValueError(f"collection declared twice: {c.name}")
    COLLECTIONS[c.name] = c
    return c


@dataclass(frozen=True, slots=True, kw_only=True)
class QuerySpec:
    """One entry of the registry of queries that are not plain lists."""

    name: str
    model: type[Query]
    handler: Callable[[Any, Reader], Awaitable[object]]
    method: str
    path: str
    permission: str
    title: str
    description: str
    views: tuple[str, ...]


QUERIES: dict[str, QuerySpec] = {}


def query(
    name: str, route: str, *, permission: str, title: str, views: tuple[str, ...]
) -> Callable[[Callable[[Q, Reader], Awaitable[object]]], Callable[[Q, Reader], Awaitable[object]]]:
    """Declare a read: `@query("projects.plan", "GET /projects/{id}/plan", permission="projects:read", title="…", views=("tasks",))`.

    `views` are the views it reads, so that a read with a position can wait for them.
    """

    def declare(handler: Callable[[Q, Reader], Awaitable[object]]) -> Callable[[Q, Reader], Awaitable[object]]:
        if name in QUERIES:
            raise ValueError(f"query declared twice: {name}")
        method, _, path = route.partition(" ")
        model = next(t for p, t in handler.__annotations__.items() if p != "return")
        QUERIES[name] = QuerySpec(
            name=name,
            model=model,
            handler=handler,
            method=method,
            path=path,
            permission=permission,
            title=title,
            description=" ".join((handler.__doc__ or title).split()),
            views=views,
        )
        return handler

    return declare
