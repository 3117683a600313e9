"""Routes that say why: what made a record's fields what they are, and what changed since the version an If-Match names."""

from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from commands.kernel import CommandSpec, Stale
from domain.kernel import NotFound
from infra.http.commands import path_id
from infra.http.problems import HttpProblem
from infra.http.reads import MOMENT_PARAMETERS, json_response, moment_of, parameters
from infra.http.routing import Endpoint
from infra.http.rows import hidden, source_of
from infra.http.service import Principal, Service
from infra.record.explain import changed_since, explain
from queries.kernel import COLLECTIONS, Collection
from queries.listing import SEES_PERSONAL
from queries.listing.fields import EVERY_ROW, fields_of
from queries.listing.values import unknown_field


def route(service: Service, c: Collection) -> Endpoint:
    """`GET /v1/{collection}/{id}/explain?field&as_of&known_at`."""
    own = [name for name in fields_of(c.view.row) if name not in EVERY_ROW]

    async def endpoint(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need(c.permission)
        principal.need("history:read")
        asked = parameters(request, ("field", *MOMENT_PARAMETERS))
        field = asked.get("field")
        if field is not None and field not in own:
            raise unknown_field(field, own, within=c.name)
        moment = moment_of(asked)
        id = path_id(request)
        if id is None:
            raise NotFound(kind=c.name)
        await service.wait_for(request, (c.view.name,))
        found: Any = None
        async with service.chancery.readers.reading(principal.firm, principal.permissions, by=principal) as r:
            head = await r.one("SELECT position FROM record.head")
            until = moment.known_at
            if until is not None and not isinstance(until, int):
                row = await r.one("SELECT chancery.position_at(%(at)s::timestamptz) AS position", at=until)
                until = int(row["position"]) if row else 0
            source = None if await hidden(r, c, id) else await source_of(r, c, id)
            if source is not None:
                found = await explain(
                    r.connection,
                    service.chancery.vault,
                    source,
                    personal=SEES_PERSONAL in principal.permissions,
                    field=field,
                    until=until,
                    as_of=moment.as_of,
                )
        if found is None:
            raise NotFound(kind=c.name, id=str(id))
        return json_response({"id": id, "fields": found}, headers={"Chancery-Position": str(head["position"] if head else 0)})

    return endpoint


async def stale(service: Service, principal: Principal, spec: CommandSpec, target: UUID | None, e: Stale) -> HttpProblem:
    """The 412 with the version the record has now and, for who may read it, the fields that changed since."""
    expected = e.about.get("expected")
    about: dict[str, Any] = {"version": e.about.get("version"), "expected": expected}
    c = next((c for c in COLLECTIONS.values() if spec.target is not None and c.stream is spec.target), None)
    readable = c is not None and c.permission in principal.permissions
    if c is not None and readable and target is not None and isinstance(expected, int):
        async with service.chancery.readers.reading(principal.firm, principal.permissions, by=principal) as r:
            source = await source_of(r, c, target)
            if source is not None:
                personal = SEES_PERSONAL in principal.permissions
                about["version"], about["changes"] = await changed_since(
                    r.connection, service.chancery.vault, source, expected, personal=personal
                )
    return HttpProblem(412, "stale", e.why, headers={"ETag": f'"{about["version"]}"'}, **about)
