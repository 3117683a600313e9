"""The application: middleware, routes from the registries, health and metrics."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import metadata
from typing import Any

import psycopg
import structlog
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from commands.kernel import COMMANDS
from infra.bootstrap import Chancery, opened
from infra.http import changes, commands, openapi, pages, problems, reads
from infra.http.reads import json_response, parameters
from infra.http.service import Service
from infra.ids import uuid7
from infra.settings import Settings
from infra.uploads import receive, send
from projections.kernel import VIEWS
from queries.kernel import COLLECTIONS, QUERIES

log = structlog.get_logger()

VERSION = metadata.version("chancery")
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
]


class Metrics:
    """What /metrics tells; label values are route names and statuses, never anything of a firm or person."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("chancery_requests", "Requests answered.", ["route", "status"], registry=self.registry)
        self.seconds = Histogram("chancery_request_seconds", "Time to answer.", ["route"], registry=self.registry)
        self.in_flight = Gauge("chancery_requests_in_flight", "Requests being served.", registry=self.registry)
        self.head = Gauge("chancery_record_position", "The last position of the record.", registry=self.registry)
        self.lag = Gauge("chancery_projection_lag_events", "Events a view is behind the record.", ["view"], registry=self.registry)
        self.stopped = Gauge("chancery_projection_stopped", "1 when an event stopped the view.", ["view"], registry=self.registry)


class Door:
    """Outermost: names each request, bounds how many are served at once, turns what is left over into problems, counts."""

    def __init__(self, app: ASGIApp, service: Callable[[], Service | None], metrics: Metrics, most: int) -> None:
        self._app = app
        self._service = service
        self._metrics = metrics
        self._most = most
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = str(uuid7())
        given = next((v for k, v in scope["headers"] if k == b"x-request-id"), b"")
        if given and len(given) <= 100 and given.decode("latin-1").isalnum():
            request_id = given.decode("latin-1")
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {k.lower() for k, _ in message["headers"]}
                extra = [(k, v) for k, v in SECURITY_HEADERS if k not in present]
                message["headers"] = [*message["headers"], *extra, (b"x-request-id", request_id.encode())]
            await send(message)

        if self._in_flight >= self._most:
            response = problems.answer(
                503,
                "overloaded",
                "This server is at its limit",
                "This server is at its limit. Try again shortly.",
                headers={"Retry-After": "1"},
            )
            await response(scope, receive, answer)
            self._metrics.requests.labels("overloaded", "503").inc()
            return
        self._in_flight += 1
        try:
            await self._app(scope, receive, answer)
        finally:
            self._in_flight -= 1
            route = scope.get("route")
            name = getattr(route, "name", None) or "none"
            self._metrics.requests.labels(name, str(status)).inc()
            self._metrics.seconds.labels(name).observe(time.perf_counter() - started)


def guarded(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint with every exception turned into its problem."""

    async def run(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Exception as e:
            return problems.of(e, request.state.request_id)

    return run


def build(settings: Settings) -> FastAPI:
    """The ASGI application; the parts open when it starts."""
    metrics = Metrics()
    holder: list[Service] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opened(settings) as chancery:
            service = Service(chancery)
            await service.open()
            holder.append(service)
            app.state.service = service
            app.router.routes.extend(routes(service, metrics))
            try:
                yield
            finally:
                holder.clear()
                await service.close()

    app = FastAPI(title="Chancery", version=VERSION, openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)

    async def on_http(_request: Request, e: Exception) -> Response:
        if isinstance(e, HTTPException) and e.status_code == 405:
            allowed = dict(e.headers or {})
            return problems.answer(405, "method-not-allowed", "This address does not take that method", headers=allowed)
        return problems.answer(
            404, "no-such-route", "There is nothing at this address", "There is nothing at this address. See /openapi.json."
        )

    app.add_exception_handler(HTTPException, on_http)
    app.add_middleware(Door, service=lambda: holder[0] if holder else None, metrics=metrics, most=settings.max_in_flight)
    return app


def routes(service: Service, metrics: Metrics) -> list[Route]:
    """Every route there is."""
    out: list[Route] = []

    def add(method: str, path: str, name: str, endpoint: Callable[[Request], Awaitable[Response]]) -> None:
        out.append(Route(path, guarded(endpoint), methods=[method], name=name))

    for q in QUERIES.values():
        add(q.method, f"/v1{q.path}", q.name, reads.query_route(service, q))
    for spec in COMMANDS.values():
        if spec.permission != "operator":
            add(spec.method, f"/v1{spec.path}", spec.name, commands.route(service, spec))
    for c in COLLECTIONS.values():
        add("GET", f"/v1/{c.name}", f"{c.name}.list", reads.list_route(service, c))
        add("POST", f"/v1/{c.name}:search", f"{c.name}.search", reads.search_route(service, c))
        add("GET", f"/v1/{c.name}/{{id}}", f"{c.name}.get", reads.one_route(service, c))
        if c.stream is not None:
            add("GET", f"/v1/{c.name}/{{id}}/history", f"{c.name}.history", reads.history_route(service, c))
    for method, path, name, endpoint in _own_routes(service, metrics):
        add(method, path, name, endpoint)
    pages.mount(out)
    return out


def _own_routes(service: Service, metrics: Metrics) -> list[tuple[str, str, str, Callable[[Request], Awaitable[Response]]]]:
    chancery = service.chancery
    described: list[dict[str, Any]] = []

    async def me(request: Request) -> Response:
        principal = await service.principal(request)
        parameters(request, ())
        return json_response(
            {
                "firm_id": principal.firm,
                "member_id": principal.member,
                "key_id": principal.key,
                "actor": str(principal.actor),
                "permissions": sorted(principal.permissions),
            }
        )

    async def upload(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need("documents:write")
        return await receive(request, principal.firm, chancery.blobs, max_bytes=chancery.settings.max_upload_bytes)

    async def content(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need("documents:read")
        principal.need("personal:read")  # a file names people, and can't be masked
        async with chancery.readers.reading(principal.firm, principal.permissions) as r:
            return await send(request, r, chancery.blobs)

    async def document(_request: Request) -> Response:
        if not described:
            described.append(openapi.document(VERSION, EXTRA))
        return json_response(described[0])

    async def health(_request: Request) -> Response:
        return json_response({"status": "ok", "version": VERSION})

    async def ready(_request: Request) -> Response:
        state = await _state(chancery)
        good = state["database"] == "ok" and not state["stopped"] and not state["catching_up"]
        response = json_response({"status": "ready" if good else "not ready", **state})
        response.status_code = 200 if good else 503
        return response

    async def measured(_request: Request) -> Response:
        state = await _state(chancery)
        metrics.head.set(state["position"])
        for view, lag in state["lag"].items():
            metrics.lag.labels(view).set(lag)
            metrics.stopped.labels(view).set(1 if view in state["stopped"] else 0)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return [
        ("GET", "/v1/me", "me", me),
        ("GET", "/v1/changes", "changes", changes.route(service)),
        ("POST", "/v1/uploads", "uploads.receive", upload),
        ("PUT", "/v1/uploads", "uploads.put", upload),
        ("GET", "/v1/documents/{id}/versions/{number}/content", "documents.content", content),
        ("GET", "/openapi.json", "openapi", document),
        ("GET", "/healthz", "health", health),
        ("GET", "/readyz", "ready", ready),
        ("GET", "/metrics", "metrics", measured),
    ]


async def _state(chancery: Chancery) -> dict[str, Any]:
    """Where the record and every view stand."""
    try:
        async with await chancery.database.connect_async("app") as c:
            row = await (await c.execute("SELECT position FROM record.head")).fetchone()
            views = await (await c.execute("SELECT name, position, stopped_at FROM chancery.projections ORDER BY name")).fetchall()
    except psycopg.Error as e:
        return {"database": type(e).__name__, "position": 0, "lag": {}, "stopped": {}, "catching_up": []}
    head = row[0] if row else 0
    reached = {name: position for name, position, _ in views}
    return {
        "database": "ok",
        "position": head,
        "lag": {name: head - position for name, position, _ in views},
        "stopped": {name: at for name, _, at in views if at is not None},
        "catching_up": sorted(v for v in VIEWS if reached.get(v, -1) < chancery.head_at_start),
    }


EXTRA: dict[str, Any] = {
    "/v1/me": {
        "get": {
            "operationId": "me",
            "tags": ["me"],
            "summary": "Who this key is and what it may do",
            "responses": {
                "200": {"description": "The caller.", "content": {"application/json": {"schema": {"type": "object"}}}},
                **openapi.problems("400", "401", "403", "429", "503"),
            },
        }
    },
    "/v1/changes": {
        "get": {
            "operationId": "changes",
            "tags": ["changes"],
            "summary": "Live changes of the firm as server-sent events",
            "description": "Each event is named `change`, has the position as its id and `{position, view, type, id}` as its data."
            " It comes once every view shows the change. `Last-Event-ID`, or `after`, resumes behind a position.",
            "parameters": [
                {"name": "after", "in": "query", "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"}},
                {"name": "views", "in": "query", "schema": {"type": "string"}, "description": "Only these collections, by comma."},
            ],
            "responses": {
                "200": {
                    "description": "A stream that does not end.",
                    "content": {"text/event-stream": {"schema": {"type": "string"}}},
                },
                **openapi.problems("400", "401", "403", "429", "503"),
            },
        }
    },
    "/v1/uploads": {
        "post": {
            "operationId": "uploads.receive",
            "tags": ["documents"],
            "summary": "Stream a file's bytes into the store",
            "description": "Answers `{sha256, size, media_type}`; add a document or a version that names the sha256.",
            "requestBody": {
                "required": True,
                "content": {
                    "application/octet-stream": {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
                },
            },
            "responses": {
                "200": {
                    "description": "Stored, or known already.",
                    "content": {"application/json": {"schema": {"type": "object"}}},
                },
                "201": {"description": "Stored.", "content": {"application/json": {"schema": {"type": "object"}}}},
                **openapi.problems("400", "401", "403", "409", "413", "415", "422", "429", "503"),
            },
        }
    },
    "/v1/documents/{id}/versions/{number}/content": {
        "get": {
            "operationId": "documents.content",
            "tags": ["documents"],
            "summary": "The bytes of a version",
            "parameters": [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}},
                {"name": "number", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}},
                {"name": "Range", "in": "header", "schema": {"type": "string"}},
            ],
            "responses": {
                "200": {"description": "The content.", "content": {"*/*": {}}},
                "206": {"description": "A part of the content.", "content": {"*/*": {}}},
                "304": {"description": "Unchanged since the ETag in If-None-Match."},
                "416": {"description": "The range lies outside the content."},
                **openapi.problems("400", "401", "403", "404", "409", "422", "429", "503"),
            },
        }
    },
}
EXTRA["/v1/uploads"]["put"] = {**EXTRA["/v1/uploads"]["post"], "operationId": "uploads.put"}
