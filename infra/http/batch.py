"""Batch get: many members of a collection by id, in the order asked for, with those that are missing named."""

from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from infra.http.commands import UUID_TEXT, json_object, read_body
from infra.http.problems import HttpProblem
from infra.http.reads import MOMENT_PARAMETERS, json_response, moment_of, parameters
from infra.http.routing import Endpoint
from infra.http.service import Service
from queries.kernel import Collection
from queries.listing import compile_one, one_as_seen
from queries.listing.derived import views_of
from queries.unusable import printable

MOST_IDS = 1_000
MOST_BYTES = 64_000
KNOWN = ("ids", "fields", *MOMENT_PARAMETERS)


def route(service: Service, c: Collection) -> Endpoint:
    """`POST /v1/{collection}:batch-get {ids, fields, as_of, known_at}` answers `{items, missing}`."""

    async def endpoint(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need(c.permission)
        parameters(request, ())
        given = json_object(request, await read_body(request, MOST_BYTES), MOST_BYTES)
        for name in given:
            if name not in KNOWN:
                shown = printable(name[:80])
                raise HttpProblem(
                    422,
                    "unknown-parameter",
                    f"There is no parameter “{shown}” here. Known are: {', '.join(KNOWN)}.",
                    parameter=shown,
                )
        ids = _ids(given.get("ids"))
        fields = given.get("fields", "")
        if not isinstance(fields, str):
            raise HttpProblem(400, "parameter-malformed", "The parameter fields is text.", parameter="fields")
        moment = moment_of(given)
        sql, tree = compile_one(c, fields=fields)
        sql = sql.replace("t.id = %(id)s", "t.id = ANY (%(ids)s::uuid[])")
        await service.wait_for(request, views_of(c))
        position = service.chancery.feed.reached(views_of(c))
        async with service.chancery.readers.reading(principal.firm, principal.permissions, moment, by=principal) as r:
            found = {row["id"]: one_as_seen(c, row, tree, principal.permissions) for row in await r.all(sql, ids=ids)}
        body = {"items": [found[id] for id in ids if id in found], "missing": [id for id in ids if id not in found]}
        return json_response(body, headers={"Chancery-Position": str(position)})

    return endpoint


def _ids(given: Any) -> list[UUID]:
    """Each id once, in the order given."""
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_IDS:
        raise HttpProblem(
            422, "ids-malformed", f"ids is a list of 1 to {MOST_IDS} ids. Ask for more in several requests.", most=MOST_IDS
        )
    for place, id in enumerate(given):
        if not isinstance(id, str) or not UUID_TEXT.fullmatch(id):
            raise HttpProblem(422, "ids-malformed", f"The id at place {place + 1} is not a UUID.", place=place + 1)
    return list(dict.fromkeys(UUID(id) for id in given))
