"""Routes of commands: a body in, an answer with the new version and position out."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import orjson
from starlette.requests import Request
from starlette.responses import Response

from commands.kernel import CommandSpec
from infra.http.problems import HttpProblem
from infra.http.service import Service, json_default
from infra.jsonlimits import decode

Endpoint = Callable[[Request], Awaitable[Response]]


async def read_body(request: Request, most: int) -> bytes:
    """The body, never more than `most` bytes of it."""
    declared = request.headers.get("content-length")
    if declared is not None and declared.isdigit() and int(declared) > most:
        raise too_large(most)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise too_large(most)
    return bytes(body)


def too_large(most: int) -> HttpProblem:
    return HttpProblem(413, "body-too-large", f"The body is larger than {most} bytes. Send less at once.", most=most)


def json_object(request: Request, body: bytes, most: int) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty object."""
    if not body:
        return {}
    media = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media != "application/json":
        raise HttpProblem(415, "not-json", "The body must be JSON. Send `Content-Type: application/json`.")
    value = decode(body, max_bytes=most)
    if not isinstance(value, dict):
        raise HttpProblem(422, "not-an-object", "The body must be a JSON object.")
    return value


def entity_version(request: Request) -> int | None:
    """The version in `If-Match`, as an ETag gave it."""
    text = request.headers.get("if-match")
    if text is None or text == "*":
        return None
    plain = text.strip().removeprefix("W/").strip('"')
    if not plain.isdigit() or len(plain) > 18:
        raise HttpProblem(400, "if-match-malformed", 'If-Match takes an ETag as a read answered it, such as "3".')
    return int(plain)


def idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= 255 and key.isprintable() and key.isascii()):
        raise HttpProblem(400, "idempotency-key-malformed", "Idempotency-Key takes 1 to 255 printable ASCII characters.")
    return key


def path_id(request: Request, name: str = "id") -> UUID | None:
    text = request.path_params.get(name)
    if text is None:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise HttpProblem(404, "not-found", "There is no such thing here: the id is not a UUID.") from None


def route(service: Service, spec: CommandSpec) -> Endpoint:
    """The endpoint of one command."""
    chancery = service.chancery
    most = chancery.settings.max_body_bytes

    async def endpoint(request: Request) -> Response:
        principal = await service.principal(request)
        principal.need(spec.permission)
        if request.query_params:
            raise HttpProblem(400, "unknown-parameter", "A command takes no query parameters. Put them into the body.")
        target = path_id(request)
        body = json_object(request, await read_body(request, most), most)
        for name, value in request.path_params.items():
            if name in body:
                raise HttpProblem(
                    422, "given-twice", f"{name} stands in the address already. Leave it out of the body.", field=name
                )
            body[name] = value
        command = spec.model.model_validate_json(orjson.dumps(body), strict=True)
        done = await chancery.executor.execute(
            command,
            firm=principal.firm,
            actor=principal.actor,
            permissions=principal.permissions,
            idempotency_key=idempotency_key(request),
            target=target,
            expected_version=entity_version(request),
            correlation_id=request.state.request_id,
            spec=spec,
        )
        headers = {"Chancery-Position": str(done.position), "Cache-Control": "no-store"}
        if "version" in done.body:
            headers["ETag"] = f'"{done.body["version"]}"'
        if done.replayed:
            headers["Idempotent-Replayed"] = "true"
        answer = {**done.body, "position": done.position, **done.shown_once}
        created = spec.creates and bool(done.body.get("events"))
        if created and "id" in done.body:
            headers["Location"] = f"/v1{spec.path.partition(':')[0].replace('{id}', str(target))}/{done.body['id']}"
        return Response(
            orjson.dumps(answer, default=json_default),
            status_code=201 if created else 200,
            media_type="application/json",
            headers=headers,
        )

    return endpoint
