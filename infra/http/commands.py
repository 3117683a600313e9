"""Routes of commands: a body in, an answer with the new version and position out."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import orjson
from starlette.requests import Request
from starlette.responses import Response

from commands.kernel import CommandSpec, Stale
from domain.projects import DependencyCycle
from infra.http import circles
from infra.http.problems import HttpProblem
from infra.http.routing import Endpoint
from infra.http.service import Principal, Service, json_default
from infra.http.times import refuse_numbers
from infra.jsonlimits import decode
from infra.plainly import fitted

BODY_SECONDS = 20.0
UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LENGTH = re.compile(r"[0-9]{1,18}")
_ETAG = re.compile(r'(?:W/)?"([0-9]{1,18})"')
_KEY = re.compile(r"[\x20-\x7e]{1,255}")


async def read_body(request: Request, most: int) -> bytes:
    """The body, never more than `most` bytes of it, and within `BODY_SECONDS`."""
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise HttpProblem(415, "body-encoded", "The body is compressed. Send it as it is, without Content-Encoding.")
    declared = request.headers.get("content-length", "0")
    if _LENGTH.fullmatch(declared) is None or int(declared) > most:
        raise too_large(most)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise too_large(most)
    except TimeoutError:
        raise HttpProblem(
            408,
            "body-too-slow",
            f"The body did not come within {BODY_SECONDS:.0f} seconds. Nothing was changed; send the request again.",
            headers={"Connection": "close"},
        ) from None
    return bytes(body)


def too_large(most: int) -> HttpProblem:
    return HttpProblem(
        413,
        "body-too-large",
        f"The body is larger than {most} bytes. Send less at once.",
        most=most,
    )


def json_object(request: Request, body: bytes, most: int) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty object."""
    if not body:
        return {}
    media, _, more = request.headers.get("content-type", "application/json").partition(";")
    charset = re.search(r'charset\s*=\s*"?([^";\s]*)', more, re.IGNORECASE)
    if media.strip().lower() != "application/json" or (charset and charset[1].lower() not in {"utf-8", "utf8"}):
        raise HttpProblem(415, "not-json", "The body must be JSON in UTF-8. Send `Content-Type: application/json`.")
    value = decode(body, max_bytes=most)
    if not isinstance(value, dict):
        raise HttpProblem(422, "not-an-object", "The body must be a JSON object.")
    return value


def entity_version(request: Request) -> int | None:
    """The version in `If-Match`, as an ETag gave it. A weak tag counts as its strong one: proxies weaken tags when they compress."""
    text = request.headers.get("if-match")
    if text is None or text.strip() == "*":
        return None
    found = _ETAG.fullmatch(text.strip())
    if found is None:
        raise HttpProblem(400, "if-match-malformed", 'If-Match takes one ETag as a read of the record answered it, such as "3".')
    return int(found[1])


def idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise HttpProblem(400, "idempotency-key-malformed", "Idempotency-Key takes 1 to 255 printable ASCII characters.")
    return key


def path_id(request: Request, name: str = "id") -> UUID | None:
    """The UUID in the address, in its one canonical form."""
    text = request.path_params.get(name)
    if text is None:
        return None
    if not UUID_TEXT.fullmatch(text):
        raise HttpProblem(404, "not-found", "There is no such thing here. The id in the address is not a UUID.")
    return UUID(text)


Explained = Callable[[Principal, CommandSpec, UUID | None, Stale], Awaitable[Exception]]


def route(service: Service, spec: CommandSpec, explained: Explained) -> Endpoint:
    """The endpoint of one command; `explained` says more of a version that is stale."""
    chancery = service.chancery
    most = chancery.settings.max_body_bytes

    async def endpoint(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need(spec.permission)
        if request.query_params:
            raise HttpProblem(400, "unknown-parameter", "A command takes no query parameters. Put them into the body.")
        target = path_id(request)
        version = entity_version(request)
        if version is not None and (spec.target is None or target is None):
            raise HttpProblem(
                400, "if-match-not-here", "This command has no record to compare If-Match with. Leave the header out."
            )
        key = idempotency_key(request)
        body = json_object(request, await read_body(request, most), most)
        for name, value in request.path_params.items():
            if name in body:
                raise HttpProblem(
                    422, "given-twice", f"{name} stands in the address already. Leave it out of the body.", field=name
                )
            body[name] = value
        refuse_numbers(spec.model, body)
        command = fitted(spec.model, body)
        try:
            done = await chancery.executor.execute(
                command,
                firm=principal.firm,
                actor=principal.actor,
                permissions=principal.permissions,
                idempotency_key=key,
                target=target,
                expected_version=version,
                correlation_id=request.state.request_id,
                spec=spec,
            )
        except Stale as e:
            raise await explained(principal, spec, target, e) from None
        except DependencyCycle as e:
            raise await circles.refused(service, principal, e) from None
        chancery.feed.written(done.position)
        headers = {"Chancery-Position": str(done.position), "Cache-Control": "no-store"}
        if "version" in done.body:
            headers["ETag"] = f'"{done.body["version"]}"'
        if done.replayed:
            headers["Idempotent-Replayed"] = "true"
        answer = {**await circles.told(service, principal, done.body), "position": done.position, **done.shown_once}
        created = spec.creates and bool(done.body.get("events"))
        if created and "id" in done.body and "{" not in spec.path and ":" not in spec.path:
            headers["Location"] = f"/v1{spec.path}/{done.body['id']}"
        return Response(
            orjson.dumps(answer, default=json_default),
            status_code=201 if created else 200,
            media_type="application/json",
            headers=headers,
        )

    return endpoint
