"""Routes of reads: lists, members by id, histories, queries."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from domain.kernel import NotFound
from infra.http.commands import Endpoint, json_object, path_id, read_body
from infra.http.problems import HttpProblem
from infra.http.service import Principal, Service, json_default
from infra.record.history import history
from queries.kernel import Collection, QuerySpec
from queries.listing import compile_one, one_as_seen, read_page, relations_of

LIST_PARAMETERS = ("filter", "order_by", "fields", "page_size", "page_token", "include_total")
JSON_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def json_response(value: Any, *, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps(value, default=json_default, option=JSON_OPTIONS),
        media_type="application/json",
        headers={"Cache-Control": "private, no-cache", **(headers or {})},
    )


def parameters(request: Request, known: tuple[str, ...]) -> dict[str, str]:
    """The query parameters, each known and given once."""
    out: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise HttpProblem(
                400,
                "unknown-parameter",
                f"There is no parameter {name!r} here. Known are: {', '.join(known) or 'none'}.",
                parameter=name,
            )
        if name in out:
            raise HttpProblem(400, "repeated-parameter", f"The parameter {name!r} was given twice.", parameter=name)
        out[name] = value
    return out


def _asked(given: Mapping[str, Any]) -> dict[str, Any]:
    asked: dict[str, Any] = {}
    for name in ("filter", "order_by", "fields", "page_token"):
        value = given.get(name, "")
        if not isinstance(value, str):
            raise HttpProblem(400, "parameter-malformed", f"{name} is text.", parameter=name)
        asked[name] = value
    size = given.get("page_size")
    if size is not None:
        text = str(size)
        if isinstance(size, bool) or not text.isdigit() or len(text) > 9:
            raise HttpProblem(400, "parameter-malformed", "page_size is a whole number from 1 to 1000.", parameter="page_size")
        asked["page_size"] = int(text)
    total = given.get("include_total", False)
    if total not in (True, False, "true", "false"):
        raise HttpProblem(400, "parameter-malformed", "include_total is true or false.", parameter="include_total")
    asked["include_total"] = total in (True, "true")
    return asked


def _views(c: Collection) -> tuple[str, ...]:
    return (c.view.name, *sorted({r.collection for r in relations_of(c).values()} & {c.view.name}))


async def _page(service: Service, request: Request, principal: Principal, c: Collection, given: Mapping[str, Any]) -> Response:
    asked = _asked(given)
    await service.wait_for(request, _views(c))
    async with service.chancery.readers.reading(principal.firm, principal.permissions) as r:
        page = await read_page(r, c, key=service.chancery.page_key, **asked)
    body: dict[str, Any] = {"items": page.items, "next_page_token": page.next_page_token}
    if page.total is not None:
        body["total"] = page.total
    return json_response(body, headers={"Chancery-Position": str(service.chancery.feed.reached((c.view.name,)))})


def list_route(service: Service, c: Collection) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need(c.permission)
        return await _page(service, request, principal, c, parameters(request, LIST_PARAMETERS))

    return endpoint


def search_route(service: Service, c: Collection) -> Endpoint:
    """The same list with its parameters in the body, for filters that should not stand in an address."""
    most = 64_000

    async def endpoint(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need(c.permission)
        parameters(request, ())
        given = json_object(request, await read_body(request, most), most)
        for name in given:
            if name not in LIST_PARAMETERS:
                raise HttpProblem(
                    422, "unknown-parameter", f"There is no parameter {name[:80]!r} here. Known are: {', '.join(LIST_PARAMETERS)}."
                )
        return await _page(service, request, principal, c, given)

    return endpoint


def one_route(service: Service, c: Collection) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need(c.permission)
        asked = parameters(request, ("fields",))
        sql, tree = compile_one(c, fields=asked.get("fields", ""))
        id = path_id(request)
        await service.wait_for(request, (c.view.name,))
        async with service.chancery.readers.reading(principal.firm, principal.permissions) as r:
            row = await r.one(sql.replace("SELECT ", 'SELECT t."version" AS _version, ', 1), id=id)
        if row is None:
            raise NotFound(kind=c.name, id=str(id))
        plain = dict(row)
        etag = f'"{plain.pop("_version")}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"ETag": etag})
        return json_response(one_as_seen(c, plain, tree, principal.permissions), headers={"ETag": etag})

    return endpoint


def history_route(service: Service, c: Collection) -> Endpoint:
    stream = c.stream
    if stream is None:
        raise ValueError(f"{c.name} has no stream and so no history")

    async def endpoint(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need(c.permission)
        principal.need("history:read")
        asked = _asked(parameters(request, ("page_size", "page_token")))
        size = min(asked.get("page_size") or 100, 1_000)
        token = asked["page_token"] or "0"
        if not token.isdigit() or len(token) > 18:
            raise HttpProblem(422, "page-token-unusable", "The page token is not one of this list. Ask for the first page again.")
        id = path_id(request)
        if id is None:
            raise NotFound(kind=c.name)
        items: list[Mapping[str, Any]] = []
        more = False
        chancery = service.chancery
        async with chancery.readers.reading(principal.firm, principal.permissions) as r:
            personal = "personal:read" in principal.permissions
            entries = history(r.connection, chancery.vault, principal.firm, c.view, stream.type, id, personal=personal)
            seen = False
            async for entry in entries:
                seen = True
                if entry["version"] <= int(token):
                    continue
                if len(items) == size:
                    more = True
                    break
                items.append(entry)
        if not seen:
            raise NotFound(kind=c.name, id=str(id))
        return json_response({"items": items, "next_page_token": str(items[-1]["version"]) if more else ""})

    return endpoint


def query_route(service: Service, spec: QuerySpec) -> Endpoint:
    most = service.chancery.settings.max_body_bytes

    async def endpoint(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need(spec.permission)
        fields = tuple(f for f in spec.model.model_fields if f not in request.path_params)
        if spec.method == "GET":
            given: dict[str, Any] = dict(parameters(request, fields))
        else:
            parameters(request, ())
            given = json_object(request, await read_body(request, most), most)
        given.update(request.path_params)
        path_id(request)
        asked = (
            spec.model.model_validate_strings(given)
            if spec.method == "GET"
            else spec.model.model_validate_json(orjson.dumps(given), strict=True)
        )
        await service.wait_for(request, spec.views)
        async with service.chancery.readers.reading(principal.firm, principal.permissions) as r:
            answer = await spec.handler(asked, r)
        return json_response(answer)

    return endpoint
