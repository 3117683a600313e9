"""The application: the door every request passes, routes from the registries, health and metrics."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import metadata
from typing import Any

import structlog
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from commands.kernel import COMMANDS
from infra.bootstrap import Chancery, opened
from infra.embedded import keep
from infra.http import batch, changes, commands, cypher, downloads, explain, openapi, pages, problems, reads, undo, whoami
from infra.http.choices import Choices
from infra.http.commands import path_id
from infra.http.connection import COUNTED, OVERLOADED, SECURITY_HEADERS, Crowd, Lateness, named
from infra.http.described import EXTRA
from infra.http.log import Logs
from infra.http.origins import Origins
from infra.http.portability import Portability
from infra.http.proofs import Proofs
from infra.http.reads import json_response, parameters
from infra.http.routing import LONGEST, Endpoint, Route, Router
from infra.http.service import Service
from infra.http.verifying import Verifying
from infra.settings import Settings
from infra.uploads import receive, send
from projections.kernel import VIEWS
from queries.kernel import COLLECTIONS, QUERIES

log = structlog.get_logger()

VERSION = metadata.version("chancery")
STALLED_SECONDS = 60.0


class Metrics:
    """What /metrics tells; label values are route names and statuses, never anything of a firm or person."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("chancery_requests", "Requests answered.", ["route", "status"], registry=self.registry)
        self.seconds = Histogram("chancery_request_seconds", "Time to answer.", ["route"], registry=self.registry)
        self.in_flight = Gauge("chancery_requests_in_flight", "Requests being served.", registry=self.registry)
        self.lateness = Gauge(
            "chancery_loop_lateness_seconds",
            "How late the event loop was at worst in the last minute; when it is late, everybody waits.",
            registry=self.registry,
        )
        self.streams = Gauge("chancery_change_streams", "Streams of live changes open.", registry=self.registry)
        self.head = Gauge("chancery_record_position", "The last position of the record.", registry=self.registry)
        self.lag = Gauge(
            "chancery_projection_lag_events", "Events a view is behind the record.", ["view", "process"], registry=self.registry
        )
        self.stopped = Gauge(
            "chancery_projection_stopped", "1 when an event stopped the view.", ["view", "process"], registry=self.registry
        )


class Door:
    """Outermost: names each request, bounds how many are served at once and how long a caller may take, counts, and lets no
    exception out: what a server logs of one would quote values."""

    def __init__(self, app: ASGIApp, metrics: Metrics, crowd: Crowd, origins: Origins) -> None:
        self._app = app
        self._metrics = metrics
        self._origins = origins
        self.crowd = crowd

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = named(scope["headers"])
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        started = time.perf_counter()
        status = 0
        for_pages = self._origins.headers(scope)

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {k.lower() for k, _ in message["headers"]}
                extra = [(k, v) for k, v in SECURITY_HEADERS if k not in present]
                message["headers"] = [*message["headers"], *extra, *for_pages, (b"x-request-id", request_id.encode())]
                await send(message)
            elif message.get("more_body"):
                async with asyncio.timeout(STALLED_SECONDS):  # a caller who reads nothing is let go
                    await send(message)
            else:
                await send(message)

        counted = state.pop(COUNTED, False)
        refused = self._refusal(scope, counted=counted) or self._origins.preflight(scope)
        if refused is not None:
            if counted:
                self._left()
            await refused(scope, receive, answer)
            self._metrics.requests.labels("refused" if status >= 400 else "preflight", str(status)).inc()
            return
        held = True

        def long() -> None:
            """A stream that stays open has limits of its own and gives its place back."""
            nonlocal held
            if held:
                held = False
                self._left()

        state["long"] = long
        if not counted:
            self.crowd.in_flight += 1
        try:
            await self._app(scope, receive, answer)
        except Exception as e:
            if status == 0:
                await problems.of(e, request_id)(scope, receive, answer)
            elif isinstance(e, TimeoutError):
                log.info("response.stalled", request_id=request_id)
            else:
                log.error("response.broken", request_id=request_id, exc_info=e)
        finally:
            if held:
                self._left()
            name = state.get("route", "none")
            self._metrics.requests.labels(name, str(status)).inc()
            if held:
                self._metrics.seconds.labels(name).observe(time.perf_counter() - started)

    def _left(self) -> None:
        self.crowd.in_flight -= 1

    def _refusal(self, scope: Scope, *, counted: bool) -> Response | None:
        if not counted and self.crowd.full():  # where no `Connection` has seen to it
            return Response(OVERLOADED, 503, {"Retry-After": "1", "Cache-Control": "no-store"}, problems.MEDIA_TYPE)
        if len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"]) > LONGEST:
            return problems.answer(
                414,
                "address-too-long",
                "The address is too long",
                f"The address has more than {LONGEST} bytes. Send a long filter in the body of POST …:search.",
                headers={"Connection": "close"},
            )
        return None


def guarded(endpoint: Endpoint) -> Endpoint:
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

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opened(settings, serving=True) as chancery:
            keeper = asyncio.create_task(keep(chancery.database.folder)) if chancery.database.folder else None
            service = Service(chancery)
            await service.open()
            app.state.service = service
            app.state.routes = routes(service, metrics)
            app.router.default = Router(app.state.routes, below=pages.FILES)
            lateness = Lateness()
            lateness.watch()
            metrics.lateness.set_function(lateness.worst)
            gc.collect()
            gc.set_threshold(50_000, 20, 100)  # requests make few cycles
            gc.freeze()  # what is there from the start is never walked again: a full collection would hold everybody up
            try:
                yield
            finally:
                lateness.close()
                await service.close()
                if keeper is not None:
                    keeper.cancel()
                    await asyncio.wait([keeper])

    app = FastAPI(title="Chancery", version=VERSION, openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.router.redirect_slashes = False

    async def no_file(_request: Request, _e: Exception) -> Response:
        return problems.answer(404, "no-such-route", "There is nothing at this address")

    app.add_exception_handler(HTTPException, no_file)
    app.state.crowd = crowd = Crowd(settings.max_in_flight, turned_away=metrics.requests.labels("refused", "503").inc)
    metrics.in_flight.set_function(lambda: crowd.in_flight)
    app.add_middleware(Door, metrics=metrics, crowd=crowd, origins=Origins(settings.origins))
    return app


def routes(service: Service, metrics: Metrics) -> list[Route]:
    """Every route there is."""
    out: list[Route] = []

    def add(method: str, path: str, name: str, endpoint: Endpoint) -> None:
        out.append(Route(method, path, name, guarded(endpoint)))

    for q in QUERIES.values():
        add(q.method, f"/v1{q.path}", q.name, reads.query_route(service, q))
    for spec in COMMANDS.values():
        if spec.permission != "operator":
            endpoint = commands.route(service, spec, partial(explain.stale, service))
            add(spec.method, f"/v1{spec.path}", spec.name, undo.route(service, endpoint) if spec.name == "undo" else endpoint)
    room = downloads.Downloads()
    for c in COLLECTIONS.values():
        add("POST", f"/v1/{c.name}:batch-get", f"{c.name}.batchGet", batch.route(service, c))
        for method in ("GET", "POST"):
            add(method, f"/v1/{c.name}:export", f"{c.name}.export", downloads.route(service, c, room))
        add("GET", f"/v1/{c.name}", f"{c.name}.list", reads.list_route(service, c))
        add("POST", f"/v1/{c.name}:search", f"{c.name}.search", reads.search_route(service, c))
        add("GET", f"/v1/{c.name}/{{id}}", f"{c.name}.get", reads.one_route(service, c))
        add("GET", f"/v1/{c.name}/{{id}}/explain", f"{c.name}.explain", explain.route(service, c))
        add("GET", f"/v1/{c.name}/{{id}}/history", f"{c.name}.history", reads.history_route(service, c))
    proofs = Proofs(service)
    for method, path, name, endpoint in [
        *_own_routes(service, metrics),
        *Logs(service).routes(),
        *proofs.routes(),
        *Verifying(service, proofs).routes(),
        *Choices(service).routes(),
        *Portability(service).routes(),
        *pages.ROUTES,
    ]:
        add(method, path, name, endpoint)
    return out


def _own_routes(service: Service, metrics: Metrics) -> list[tuple[str, str, str, Endpoint]]:
    chancery = service.chancery
    described: list[dict[str, Any]] = []  # written when first asked for

    async def me(request: Request) -> Response:
        principal = await service.principal(request)
        parameters(request, ())
        return json_response(await whoami.of(service, principal))

    async def upload(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need("documents:write")
        parameters(request, ())
        return await receive(request, principal.firm, chancery.blobs, max_bytes=chancery.settings.max_upload_bytes)

    async def content(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need("documents:read")
        principal.need("personal:read")  # a file names people, and can't be masked
        parameters(request, ())
        path_id(request)
        await service.wait_for(request, ("documents", "document_versions"))
        async with chancery.readers.reading(principal.firm, principal.permissions, by=principal) as r:
            return await send(request, r, chancery.blobs)

    async def document(_request: Request) -> Response:
        if not described:
            described.append(openapi.document(VERSION, EXTRA))
        return json_response(described[0])

    async def health(_request: Request) -> Response:
        return json_response({"status": "ok", "version": VERSION})

    async def ready(_request: Request) -> Response:
        state = _state(chancery)
        good = state["database"] == "ok" and not state["stopped"] and not state["catching_up"]
        response = json_response({"status": "ready" if good else "not ready", **state})
        response.status_code = 200 if good else 503
        return response

    async def measured(_request: Request) -> Response:
        state = _state(chancery)
        metrics.head.set(state["position"])
        metrics.streams.set(service.streams.total())
        metrics.lag.clear()
        metrics.stopped.clear()
        for view, lag in state["lag"].items():
            process = state["processes"].get(view, "")
            metrics.lag.labels(view, process).set(lag)
            metrics.stopped.labels(view, process).set(1 if view in state["stopped"] else 0)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return [
        ("GET", "/v1/me", "me", me),
        ("GET", "/v1/changes", "changes", changes.route(service)),
        ("POST", "/v1/graph:cypher", "graph.cypher", cypher.route(service)),
        ("POST", "/v1/uploads", "uploads.receive", upload),
        ("PUT", "/v1/uploads", "uploads.put", upload),
        ("GET", "/v1/documents/{id}/versions/{number}/content", "documents.content", content),
        ("GET", "/openapi.json", "openapi", document),
        ("GET", "/healthz", "health", health),
        ("GET", "/readyz", "ready", ready),
        ("GET", "/metrics", "metrics", measured),
    ]


def _state(chancery: Chancery) -> dict[str, Any]:
    """Where the record and every view stand, as the feed last saw it: nobody makes the database work by asking."""
    feed = chancery.feed
    return {
        "database": "away" if feed.away else "ok",
        "position": feed.head,
        "lag": {view: feed.head - position for view, position in sorted(feed.positions.items())},
        "stopped": feed.stopped,
        "processes": feed.processes,
        "catching_up": sorted(v for v in VIEWS if feed.positions.get(v, -1) < chancery.head_at_start),
    }
