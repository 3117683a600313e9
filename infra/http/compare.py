"""Comparing: a list or a record at two moments."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from domain.kernel import NotFound
from infra.http.problems import HttpProblem
from infra.http.service import Principal, Service
from infra.reading import Moment
from queries.kernel import Collection
from queries.listing.comparing import kinds_of, read_comparison, read_one_comparison


async def page(
    service: Service,
    principal: Principal,
    c: Collection,
    asked: Mapping[str, Any],
    *,
    kinds: object,
    moment: Moment,
    versus: Moment,
) -> dict[str, Any]:
    """One page of what differs between the moments."""
    if not isinstance(kinds, str):
        raise HttpProblem(400, "parameter-malformed", "The parameter kinds is text.", parameter="kinds")
    chosen = kinds_of(kinds)
    scope = (*moment.scope, "vs", *versus.scope)
    async with service.chancery.readers.reading(principal.firm, principal.permissions, moment, versus, by=principal) as r:
        return await read_comparison(r, c, key=service.chancery.page_key, kinds=chosen, scope=scope, **asked)


async def one(
    service: Service, principal: Principal, c: Collection, id: UUID | None, fields: str, *, moment: Moment, versus: Moment
) -> dict[str, Any]:
    """One record at both moments."""
    async with service.chancery.readers.reading(principal.firm, principal.permissions, moment, versus, by=principal) as r:
        found = await read_one_comparison(r, c, id=id, fields=fields)
    if found is None:
        raise NotFound(kind=c.name, id=str(id))
    return found
