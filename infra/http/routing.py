"""From an address and a method to an endpoint: by table, so that it costs the same for ten routes or a thousand.

An address that exists under other methods is answered 405 with all of them in `Allow`, also to OPTIONS; HEAD goes where GET goes.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from infra.http import problems

Endpoint = Callable[[Request], Awaitable[Response]]

LONGEST = 60_000  # bytes of path and query


@dataclass(frozen=True, slots=True)
class Route:
    """One method at one address; `{x}` in the path takes one segment up to a colon."""

    method: str
    path: str
    name: str
    endpoint: Endpoint


@dataclass(slots=True)
class _Address:
    regex: re.Pattern[str]
    methods: dict[str, Route] = field(default_factory=dict)


def _shape(path: str) -> tuple[int, str, str]:
    """What addresses must share to be the same: the number of segments, the name in front, the verb behind."""
    segments = path.split("/")
    last, _, verb = segments[-1].partition(":")
    return len(segments), segments[2] if len(segments) > 3 else last, verb


def _is_text(query: bytes) -> bool:
    """Whether what stands behind the question mark is UTF-8 once its percent signs are undone."""
    try:
        (unquote_to_bytes(query) if b"%" in query else query).decode()
    except UnicodeDecodeError:
        return False
    return True


class Router:
    """An ASGI application of routes, and of whole applications below a prefix."""

    def __init__(self, routes: Iterable[Route], below: Iterable[tuple[str, ASGIApp]] = ()) -> None:
        self.routes = list(routes)
        self._below = list(below)
        self._addresses: dict[tuple[int, str, str], list[_Address]] = {}
        for r in sorted(self.routes, key=lambda r: r.path.count("{")):
            pattern = "".join(f"(?P<{p[1:-1]}>[^/:]+)" if p.startswith("{") else re.escape(p) for p in re.split(r"({\w+})", r.path))
            addresses = self._addresses.setdefault(_shape(r.path), [])
            address = next((a for a in addresses if a.regex.pattern == pattern), None)
            if address is None:
                address = _Address(re.compile(pattern))
                addresses.append(address)
            if r.method in address.methods:
                raise ValueError(f"two routes for {r.method} {r.path}")
            address.methods[r.method] = r

    def find(self, path: str) -> tuple[dict[str, Route], dict[str, str]]:
        """The routes at an address by method, and what stands in its places."""
        for address in self._addresses.get(_shape(path), ()):
            found = address.regex.fullmatch(path)
            if found is not None:
                return address.methods, found.groupdict()
        return {}, {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        methods, places = self.find(path)
        route = methods.get("GET" if method == "HEAD" else method)
        if path.startswith("/v1/") and not _is_text(scope["query_string"]):  # pages for people take whatever mail programs append
            response = problems.answer(
                400,
                "parameter-malformed",
                "A parameter is not UTF-8",
                "Behind the question mark of the address stand bytes that are not text in UTF-8. Encode it as UTF-8, and what is not ASCII"
                " byte by byte with percent signs, such as %C3%BC for ü.",
            )
        elif route is not None:
            scope["path_params"] = places
            scope["state"]["route"] = route.name
            response = await route.endpoint(Request(scope, receive, send))
        else:
            for prefix, app in self._below:
                if path.startswith(prefix):
                    scope["state"]["route"] = prefix
                    await app({**scope, "root_path": scope.get("root_path", "") + prefix}, receive, send)
                    return
            response = self._nothing(path, method, methods)
        await response(scope, receive, send)

    def _nothing(self, path: str, method: str, methods: dict[str, Route]) -> Response:
        if methods:
            allowed = ", ".join(sorted({*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"}))
            if method == "OPTIONS":
                return Response(status_code=204, headers={"Allow": allowed})
            return problems.answer(
                405,
                "method-not-allowed",
                "This address does not take that method",
                f"This address does not take that method. It takes {allowed}.",
                headers={"Allow": allowed},
            )
        hint = " Leave out the slash at the end." if path.endswith("/") and self.find(path.rstrip("/"))[0] else ""
        return problems.answer(
            404,
            "no-such-route",
            "There is nothing at this address",
            f"There is nothing at this address.{hint} /openapi.json lists what there is, and /docs shows it.",
        )
