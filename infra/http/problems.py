"""Problem documents (RFC 9457): the one place where a refusal becomes a status."""

import re
from collections.abc import Mapping
from typing import Any

import orjson
import psycopg
import structlog
from psycopg_pool import PoolTimeout, TooManyRequests
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from commands.kernel import Stale
from commands.undo import NotYoursToUndo
from domain.firms import FirmIsSuspended
from domain.kernel import Invalid, NotFound, Refused
from domain.keys import KeyExceedsYourPermissions, KeyHasExpired, KeyIsMistyped, KeyIsRevoked, NotAKey
from domain.members import ExceedsYourPermissions
from infra import uploads
from infra.away import EngineAway
from infra.blobs import StoreAway
from infra.feed import Behind
from infra.jsonlimits import BodyTooLarge, NotJson
from infra.plainly import Unfit, reason, told
from infra.record.appender import Busy, CommandIdReused, OutcomeUnknown, Unavailable
from infra.record.execute import TooContended
from queries.keys import KeyNotAccepted

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
MEMBERS = frozenset({"type", "title", "status", "detail", "instance"})


class Away(Exception):
    """The database does not answer."""


class HttpProblem(Exception):
    """A problem that has no refusal behind it: the request itself can't be served."""

    def __init__(self, status: int, type: str, title: str, *, headers: Mapping[str, str] | None = None, **about: object) -> None:
        super().__init__(type)
        self.status = status
        self.type = type
        self.title = title
        self.headers = dict(headers or {})
        self.about = about


def kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


def _sentence(text: str) -> tuple[str, str]:
    """A refusal's docstring as title (its first sentence) and detail (all of it)."""
    title = re.split(r"(?<=[.;:])\s", text, maxsplit=1)[0].rstrip(".;:")
    return title, text


STATUSES: tuple[tuple[type[Exception], int, Mapping[str, str]], ...] = (
    (NotAKey, 401, {"WWW-Authenticate": 'Bearer realm="chancery"'}),
    (KeyIsMistyped, 401, {"WWW-Authenticate": 'Bearer realm="chancery", error="invalid_token"'}),
    (KeyNotAccepted, 401, {"WWW-Authenticate": 'Bearer realm="chancery", error="invalid_token"'}),
    (KeyIsRevoked, 401, {"WWW-Authenticate": 'Bearer realm="chancery", error="invalid_token"'}),
    (KeyHasExpired, 401, {"WWW-Authenticate": 'Bearer realm="chancery", error="invalid_token"'}),
    (FirmIsSuspended, 403, {}),
    (ExceedsYourPermissions, 403, {}),
    (NotYoursToUndo, 403, {}),
    (KeyExceedsYourPermissions, 403, {}),
    *((kind, status, {}) for kind, status in uploads.STATUSES.items()),
    (NotFound, 404, {}),
    (NotJson, 400, {}),
    (BodyTooLarge, 413, {}),
    (Stale, 412, {}),
    (Invalid, 422, {}),
    (Refused, 409, {}),
    (CommandIdReused, 422, {}),
    (StoreAway, 503, {"Retry-After": "5"}),
    (Busy, 503, {"Retry-After": "1"}),
    (Unavailable, 503, {"Retry-After": "2"}),
    (OutcomeUnknown, 503, {"Retry-After": "2"}),
    (TooContended, 503, {"Retry-After": "1"}),
)


def _plain(value: object) -> object:
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)


def answer(
    status: int,
    type: str,
    title: str,
    detail: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Response:
    """A problem document. What it is about stands beside the members of RFC 9457; where a name is theirs, behind `about_`."""
    body: dict[str, Any] = {"type": f"urn:chancery:problem:{type}", "title": title, "status": status}
    if detail and detail != title:
        body["detail"] = detail
    body.update({(f"about_{k}" if k in MEMBERS else k): v for k, v in (about or {}).items()})
    return Response(
        orjson.dumps(body, default=_plain, option=orjson.OPT_NON_STR_KEYS),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def _validation(e: ValidationError, model: type[BaseModel] | None = None) -> Response:
    errors = [
        {
            "field": ".".join(str(part)[:80] for part in error["loc"])[:400] or "(body)",
            "reason": reason(error) if model is None else told(model, error),
            "rule": error["type"],
        }
        for error in e.errors(include_url=False, include_input=False)[:50]
    ]
    first = errors[0]
    return answer(
        422,
        "invalid-request",
        "The request does not have the form this address takes",
        f"{first['field']}: {first['reason']}" + (f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""),
        about={"errors": errors},
    )


AWAY = (
    503,
    "unavailable",
    "The database does not answer",
    "The database does not answer now. Nothing was changed; try again.",
)


def away() -> Response:
    return answer(*AWAY, headers={"Retry-After": "2"})


def of(e: Exception, request_id: str = "") -> Response:
    """The answer to any exception: what happened, why, what to do. A bug is logged and answered 500 without its text."""
    if isinstance(e, HttpProblem):
        title, detail = _sentence(e.title)
        return answer(e.status, e.type, title, detail, headers=e.headers, about=e.about)
    if isinstance(e, Unfit):
        return _validation(e.why, e.model)
    if isinstance(e, ValidationError):
        return _validation(e)
    if isinstance(e, Behind):
        return answer(
            503,
            "view-behind",
            "The view has not reached that position",
            f"The view {e.view} stands at {e.reached}, before {e.position}. Try again shortly.",
            headers={"Retry-After": "1"},
            about={"view": e.view, "reached": e.reached},
        )
    if isinstance(e, EngineAway):
        lag = None if e.reached is None or e.head is None else max(0, e.head - e.reached)
        return answer(
            503,
            "engine-filling" if e.filling else "engine-away",
            f"{e.engine} is being filled" if e.filling else f"{e.engine} does not answer",
            e.sentences(),
            headers={"Retry-After": "2"},
            about={"view": e.view, "reached": e.reached, "lag": lag},
        )
    for kind, status, headers in STATUSES:
        if isinstance(e, kind):
            why = e.why if isinstance(e, Refused) else " ".join((type(e).__doc__ or "").split())
            title, detail = _sentence(why)
            about = e.about if isinstance(e, Refused) else {}
            return answer(status, kebab(type(e).__name__), title, detail, headers=headers, about=about)
    if isinstance(e, psycopg.errors.QueryCanceled):
        return answer(
            503,
            "too-expensive",
            "The query took too long",
            "The query took too long. Narrow the filter or the order.",
            headers={"Retry-After": "5"},
        )
    if isinstance(e, (Away, PoolTimeout, TooManyRequests, psycopg.OperationalError, psycopg.InterfaceError)):
        return away()
    if isinstance(e, ClientDisconnect):
        return Response(status_code=400)  # nobody is there to read it
    log.error("request.failed", request_id=request_id, exc_info=e)
    return answer(
        500,
        "internal",
        "Something broke on our side",
        "Something broke on our side. It was logged; give the request id to whoever runs this installation.",
        about={"request_id": request_id},
    )
