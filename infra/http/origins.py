"""Pages of other origins that may call from a browser (CORS, in the Fetch standard): those that the settings name, and no others.

A key travels in a header that a page has to set itself, so nothing is sent along unasked, and credentials in the sense of cookies are never allowed.
"""

from starlette.responses import Response
from starlette.types import Scope

MAY_SEND = (
    "Authorization, Chancery-Position, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Range, X-Request-Id"
)
MAY_READ = (
    "Accept-Ranges, Allow, Chancery-Position, Content-Disposition, Content-Range, ETag, Idempotent-Replayed, Location, Repr-Digest, "
    "Retry-After, X-Request-Id"
)
METHODS = "GET, HEAD, POST, PUT"
SECONDS = 600
VARY = (b"vary", b"Origin")


class Origins:
    """Whose pages may call, and what they are told."""

    def __init__(self, allowed: str | None) -> None:
        self._allowed = frozenset(o.strip().rstrip("/").lower().encode() for o in (allowed or "").split(",") if o.strip())

    def headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """What every answer carries besides, so that the page that asked may read it."""
        if not self._concern(scope):
            return []
        origin = _header(scope, b"origin")
        if origin is None or origin.lower() not in self._allowed:
            return [VARY]
        return [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", MAY_READ.encode()), VARY]

    def preflight(self, scope: Scope) -> Response | None:
        """The answer to a browser that asks whether a page may send what it wants to; None where nobody asks or the page may not."""
        if scope["method"] != "OPTIONS" or not self._concern(scope):
            return None
        origin = _header(scope, b"origin")
        if origin is None or origin.lower() not in self._allowed or _header(scope, b"access-control-request-method") is None:
            return None
        said = {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": MAY_SEND,
            "Access-Control-Max-Age": str(SECONDS),
        }
        return Response(status_code=204, headers=said)

    def _concern(self, scope: Scope) -> bool:
        return bool(self._allowed) and (scope["path"].startswith("/v1/") or scope["path"] == "/openapi.json")


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((bytes(v) for k, v in scope["headers"] if k == name), None)
