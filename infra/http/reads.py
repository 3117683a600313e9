"""Routes of reads: lists, members by id, histories, queries."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from starlette.requests import Request
from starlette.responses import Response

from domain.kernel import FirmId, NotFound
from domain.projects import DependencyCycle
from infra.http import circles, compare
from infra.http.commands import json_object, path_id, read_body
from infra.http.problems import HttpProblem
from infra.http.routing import Endpoint
from infra.http.rows import hidden, source_of
from infra.http.service import Principal, Service, json_default
from infra.http.times import refuse_numbers
from infra.plainly import fitted
from infra.reading import Moment
from infra.record.history import history
from queries.filtering import parse
from queries.graph.forms import Written
from queries.kernel import COLLECTIONS, Collection, Query, QuerySpec
from queries.listing import compile_one, one_as_seen, read_page
from queries.listing.derived import DERIVED, views_of
from queries.listing.fields import EVERY_ROW
from queries.listing.pages import Mark, Sort, binding, seal, unseal
from queries.listing.resolve import All, Condition, Never, Related, Resolver, Some
from queries.listing.values import time
from queries.unusable import printable

MOMENT_PARAMETERS = ("as_of", "known_at")
LIST_PARAMETERS = ("filter", "order_by", "fields", "page_size", "page_token", "include_total", *MOMENT_PARAMETERS)
COMPARED = ("vs_as_of", "vs_known_at")
COMPARE_PARAMETERS = (*COMPARED, "kinds")
MAX_PAGE_SIZE = 1_000
_SIZE = re.compile(r"[0-9]{1,9}")
JSON_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def json_response(value: Any, *, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps(value, default=json_default, option=JSON_OPTIONS),
        media_type="application/json",
        headers={"Cache-Control": "private, no-cache", **(headers or {})},
    )


def written(document: Written, headers: Mapping[str, str]) -> Response:
    """An answer that is a document, to be saved under its name."""
    return Response(
        document.text,
        media_type=document.media_type,
        headers={
            "Cache-Control": "private, no-cache",
            "Content-Disposition": f'attachment; filename="{document.name}"',
            "X-Content-Type-Options": "nosniff",
            **headers,
        },
    )


def parameters(request: Request, known: tuple[str, ...]) -> dict[str, str]:
    """The query parameters, each known and given once."""
    out: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise HttpProblem(400, "unknown-parameter", _unknown(name, known), parameter=printable(name[:80]))
        if name in out:
            raise HttpProblem(400, "repeated-parameter", f"The parameter {name} was given twice. Give it once.", parameter=name)
        if "\0" in value:
            raise HttpProblem(
                400, "parameter-malformed", f"The parameter {name} holds the NUL character. Leave it out.", parameter=name
            )
        out[name] = value
    return out


def _unknown(name: str, known: tuple[str, ...]) -> str:
    return f"There is no parameter “{printable(name[:80])}” here. Known are: {', '.join(known) or 'none'}."


def _asked(given: Mapping[str, Any]) -> dict[str, Any]:
    asked: dict[str, Any] = {}
    for name in ("filter", "order_by", "fields", "page_token"):
        value = given.get(name, "")
        if not isinstance(value, str):
            raise HttpProblem(400, "parameter-malformed", f"The parameter {name} is text.", parameter=name)
        asked[name] = value
    if "page_size" in given:
        size = given["page_size"]
        text = str(size)
        if isinstance(size, bool) or not _SIZE.fullmatch(text) or not 1 <= int(text) <= MAX_PAGE_SIZE:
            raise HttpProblem(
                400,
                "parameter-malformed",
                f"The parameter page_size is a whole number from 1 to {MAX_PAGE_SIZE}.",
                parameter="page_size",
            )
        asked["page_size"] = int(text)
    total = given.get("include_total", False)
    if not (isinstance(total, bool) or (isinstance(total, str) and total in {"true", "false"})):
        raise HttpProblem(400, "parameter-malformed", "The parameter include_total is true or false.", parameter="include_total")
    asked["include_total"] = total in (True, "true")
    return asked


def views_read(c: Collection, filter: str, permissions: frozenset[str]) -> tuple[str, ...]:
    """The views a list reads: its own and those its filter reaches."""

    def reached(condition: Condition) -> Iterator[str]:
        match condition:
            case All() | Some():
                for part in condition.parts:
                    yield from reached(part)
            case Never():
                yield from reached(condition.part)
            case Related():
                yield from views_of(condition.target)
                yield from reached(condition.condition)
            case _:
                pass

    found = reached(Resolver(c, permissions, datetime.now(UTC)).resolve(parse(filter))) if filter.strip() else ()
    return tuple(dict.fromkeys((*views_of(c), *found)))


def views_asked(spec: QuerySpec, asked: Query, permissions: frozenset[str]) -> tuple[str, ...]:
    """The views a query reads: its own, and those that a filter reaches which it was given over a list (`of`, or the deals it counts)."""
    c = COLLECTIONS.get(getattr(asked, "of", "") or ("deals" if "deals" in spec.views else ""))
    if c is None or c.permission not in permissions:
        return spec.views
    return tuple(dict.fromkeys((*spec.views, *views_read(c, getattr(asked, "filter", ""), permissions))))


def moment_of(given: Mapping[str, Any], prefix: str = "") -> Moment:
    """The moment a read asks for: `as_of` a time, `known_at` a position or a time; with `vs_` before the names, the one it compares with."""
    times: dict[str, datetime | None] = {}
    position: int | None = None
    for name in MOMENT_PARAMETERS:
        asked = prefix + name
        if asked not in given:
            continue
        text = given[asked]
        if name == "known_at" and isinstance(text, str) and re.fullmatch(r"[0-9]{1,18}", text):
            position = int(text)
            continue
        times[name] = time(text) if isinstance(text, str) else None
        if times[name] is None:
            or_position = ", or a position" if name == "known_at" else ""
            plus = (
                " In an address a + means a space: write it as %2B."
                if isinstance(text, str) and time(text.replace(" ", "+"))
                else ""
            )
            raise HttpProblem(
                400,
                "parameter-malformed",
                f"The parameter {asked} takes a time with its offset from UTC, such as 2026-03-31T23:59:59Z{or_position}.{plus}",
                parameter=asked,
            )
    return Moment(times.get("as_of"), position if position is not None else times.get("known_at"))


def compared_moment(given: Mapping[str, Any], moment: Moment) -> Moment | None:
    """The moment a read compares with, if it does: what is not named of it is as in the moment read."""
    if not any(name in given for name in COMPARED):
        if "kinds" in given:
            raise HttpProblem(
                400,
                "nothing-to-compare-with",
                "kinds chooses among changes. Say with vs_as_of or vs_known_at since when.",
                parameter="kinds",
            )
        return None
    versus = moment_of(given, "vs_")
    return Moment(
        moment.as_of if versus.as_of is None else versus.as_of, moment.known_at if versus.known_at is None else versus.known_at
    )


async def _page(service: Service, request: Request, principal: Principal, c: Collection, given: Mapping[str, Any]) -> Response:
    asked = _asked(given)
    views = views_read(c, asked["filter"], principal.permissions)
    await service.wait_for(request, views)
    position = service.chancery.feed.reached(views)  # before the read: what is read is no older
    moment = moment_of(given)
    versus = compared_moment(given, moment)
    if versus is not None:
        body = await compare.page(service, principal, c, asked, kinds=given.get("kinds", ""), moment=moment, versus=versus)
        return json_response(body, headers={"Chancery-Position": str(position)})
    async with service.chancery.readers.reading(principal.firm, principal.permissions, moment, by=principal) as r:
        page = await read_page(r, c, key=service.chancery.page_key, scope=moment.scope, **asked)
    body = {"items": page.items, "next_page_token": page.next_page_token}
    if page.total is not None:
        body["total"] = page.total
    return json_response(body, headers={"Chancery-Position": str(position)})


def list_route(service: Service, c: Collection) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need(c.permission)
        return await _page(service, request, principal, c, parameters(request, (*LIST_PARAMETERS, *COMPARE_PARAMETERS)))

    return endpoint


def search_route(service: Service, c: Collection) -> Endpoint:
    """The same list with its parameters in the body, for filters that should not stand in an address."""
    most = 64_000
    known = (*LIST_PARAMETERS, *COMPARE_PARAMETERS)

    async def endpoint(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need(c.permission)
        parameters(request, ())
        given = json_object(request, await read_body(request, most), most)
        for name in given:
            if name not in known:
                raise HttpProblem(422, "unknown-parameter", _unknown(name, known), parameter=printable(name[:80]))
        return await _page(service, request, principal, c, given)

    return endpoint


def has_it(request: Request, etag: str) -> bool:
    """Whether the caller holds what the tag names; `*` asks whether there is anything at all."""
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return etag in known or known == ["*"]


def one_route(service: Service, c: Collection) -> Endpoint:
    """One member by id. Its ETag is the version of the stream behind it, for If-Match; of a row inside another stream the position."""
    tag, mark = ('t."version"', "") if c.stream is not None else ('t."position"', "p")
    if c.name in DERIVED:
        tag = f"{tag} || '.' || t.\"{DERIVED[c.name].column}\""  # what the row says changes though it is not written

    async def endpoint(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need(c.permission)
        asked = parameters(request, ("fields", *MOMENT_PARAMETERS, *COMPARED))
        moment = moment_of(asked)
        versus = compared_moment(asked, moment)
        sql, tree = compile_one(c, fields=asked.get("fields", ""))
        sql = sql.replace("SELECT ", f"SELECT {tag} AS _tag, ", 1)
        id = path_id(request)
        views = views_of(c)
        await service.wait_for(request, views)
        position = service.chancery.feed.reached(views)
        if versus is not None:
            found = await compare.one(service, principal, c, id, asked.get("fields", ""), moment=moment, versus=versus)
            return json_response(found, headers={"Chancery-Position": str(position)})
        readers = service.chancery.readers
        if moment or "fields" in asked:
            async with readers.reading(principal.firm, principal.permissions, moment, by=principal) as r:
                row = await r.one(sql, id=id)
        else:
            row = await readers.one(principal.firm, sql, id, principal) if id is not None else None
        if row is None:
            raise NotFound(kind=c.name, id=str(id))
        plain = dict(row)
        etag = f'"{mark}{plain.pop("_tag")}"'
        headers = {"ETag": etag, "Chancery-Position": str(position)}
        if has_it(request, etag):
            return Response(status_code=304, headers={**headers, "Cache-Control": "private, no-cache"})
        return json_response(one_as_seen(c, plain, tree, principal.permissions), headers=headers)

    return endpoint


class Cursor:
    """Page tokens of one record's history: sealed, and good for it alone."""

    order = (Sort("version", EVERY_ROW["version"]),)

    def __init__(self, key: bytes, firm: FirmId, collection: str, id: UUID) -> None:
        self._key = key
        self._bound = binding("history", str(firm), collection, str(id))

    def write(self, version: int) -> str:
        return seal(Mark((version,), datetime.now(UTC)), self._key, self._bound)

    def read(self, token: str) -> int:
        """The version behind which the page begins; 0 without a token."""
        return int(str(unseal(token, self.order, self._key, self._bound).last[0])) if token else 0


def history_route(service: Service, c: Collection) -> Endpoint:
    """What happened to one row, event by event; of a row that lies inside another record, the events of that record that touched it."""

    async def endpoint(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need(c.permission)
        principal.need("history:read")
        asked = _asked(parameters(request, ("page_size", "page_token")))
        size = asked.get("page_size", 100)
        id = path_id(request)
        if id is None:
            raise NotFound(kind=c.name)
        chancery = service.chancery
        cursor = Cursor(chancery.page_key, principal.firm, c.name, id)
        after = cursor.read(asked["page_token"])
        await service.wait_for(request, ())
        items: list[Mapping[str, Any]] = []
        more = False
        async with chancery.readers.reading(principal.firm, principal.permissions, by=principal) as r:
            source = None if await hidden(r, c, id) else await source_of(r, c, id)
            if source is None:
                raise NotFound(kind=c.name, id=str(id))
            head = await r.one("SELECT position FROM record.head")
            personal = "personal:read" in principal.permissions
            entries = history(r.connection, chancery.vault, source, personal=personal)
            seen = False
            async for entry in entries:
                seen = True
                if entry["version"] <= after:
                    continue
                if len(items) == size:
                    more = True
                    break
                items.append(entry)
        if not seen:
            raise NotFound(kind=c.name, id=str(id))
        token = cursor.write(items[-1]["version"]) if more else ""
        return json_response(
            {"items": items, "next_page_token": token}, headers={"Chancery-Position": str(head["position"] if head else 0)}
        )

    return endpoint


def _places(request: Request) -> None:
    """A number in the address is written as a number is; anything else names nothing."""
    number = request.path_params.get("number")
    if number is not None and not re.fullmatch(r"[1-9][0-9]{0,9}", number):
        raise HttpProblem(404, "not-found", "There is no such thing here. The number in the address is not a number from 1.")


def query_route(service: Service, spec: QuerySpec) -> Endpoint:
    most = service.chancery.settings.max_body_bytes

    async def endpoint(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need(spec.permission)
        fields = tuple(f for f in spec.model.model_fields if f not in request.path_params)
        if spec.method == "GET":
            given: dict[str, Any] = dict(parameters(request, (*fields, *MOMENT_PARAMETERS)))
            moment = moment_of(given)
        else:
            said = parameters(request, MOMENT_PARAMETERS)
            given = json_object(request, await read_body(request, most), most)
            twice = sorted(said.keys() & given.keys())
            if twice:
                raise HttpProblem(
                    400, "repeated-parameter", f"{twice[0]} stands in the address and in the body. Say it once.", parameter=twice[0]
                )
            moment = moment_of({**given, **said})
        given = {name: value for name, value in given.items() if name not in MOMENT_PARAMETERS}
        given.update(request.path_params)
        path_id(request)
        _places(request)
        refuse_numbers(spec.model, given)
        asked = fitted(spec.model, given, as_text=spec.method == "GET")
        views = views_asked(spec, asked, principal.permissions)
        await service.wait_for(request, views)
        position = service.chancery.feed.reached(views)
        try:
            async with service.chancery.readers.reading(principal.firm, principal.permissions, moment, by=principal) as r:
                answer = await spec.handler(asked, r)
        except DependencyCycle as e:
            raise await circles.refused(service, principal, e) from None
        headers = {"Chancery-Position": str(position)}
        return written(answer, headers) if isinstance(answer, Written) else json_response(answer, headers=headers)

    return endpoint
