"""Bytes over HTTP: streamed to the store, and streamed down again by version. Nothing is ever whole in memory.

`POST` or `PUT /v1/uploads` → `receive(request, firm, blobs)`, permission `documents:write`.
`GET` or `HEAD /v1/documents/{id}/versions/{number}/content` → `send(request, reader, blobs)`, permissions `documents:read` and
`personal:read`: a document's text can't be masked.

Both raise refusals for the caller to turn into problem documents; `STATUSES` holds those whose status their kind does not say.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from http import HTTPStatus
from urllib.parse import quote

import orjson
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from commands.documents import Blobs, ContentMissing, ContentTooLarge, StoreFull
from domain.kernel import FirmId, Invalid, NotFound, Refused
from infra.blobs import ContentDamagedError
from queries.document_versions import ContentDiscarded, DocumentVersion, VersionContent, version_content
from queries.kernel import Reader

STALLED_AFTER = 60.0  # seconds without a byte

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})")
_DIGEST = re.compile(r"(?:^|,)\s*sha-256\s*=\s*:([A-Za-z0-9+/=]{1,64}):")


class UploadEncoded(Refused):
    """The body is wrapped in a form or compressed in transit. Send the file's own bytes as the body, with no content encoding."""


class UploadStalled(Refused):
    """Nothing came for a minute. Nothing was kept; send the content again."""


class DigestUnreadable(Invalid):
    """The Content-Digest header holds no SHA-256 in the form of RFC 9530: `sha-256=:<base64>:`."""


class ContentLost(Refused):
    """The stored content is missing or damaged. Restore it from a backup; the record itself is whole."""


STATUSES: Mapping[type[Refused], int] = {
    ContentTooLarge: 413,
    UploadEncoded: 415,
    UploadStalled: 408,
    StoreFull: 507,
    ContentDiscarded: 410,
    ContentLost: 500,
}


async def receive(request: Request, firm: FirmId, blobs: Blobs, *, max_bytes: int) -> Response:
    """Answers 201 with {sha256, size, media_type}. The same bytes again answer the same. A lost connection leaves nothing."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("multipart/") or request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UploadEncoded
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > max_bytes):
        raise ContentTooLarge(max_bytes=max_bytes)
    promised = _promised(request)
    try:
        async with blobs.writing(firm) as writer:
            async for chunk in _arriving(request):
                await writer.write(chunk)
            blob = await writer.commit(sha256=promised)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody is there to read it
    answer = {"sha256": blob.sha256, "size": blob.size, "media_type": blob.media_type}
    return JSONResponse(answer, status_code=201, headers={"Cache-Control": "no-store"})


async def send(request: Request, reader: Reader, blobs: Blobs) -> Response:
    """The content of one version: 200, 206 for one range, 304 when the caller has it, 416 when the range lies outside."""
    try:
        q = DocumentVersion.model_validate_strings({"id": request.path_params["id"], "number": request.path_params["number"]})
    except ValidationError:
        raise NotFound(kind="document_version") from None
    version = await version_content(q, reader)
    etag = f'"{version.sha256}"'
    headers = _headers(version, etag)
    if _has_it(request, etag):
        return Response(status_code=304, headers={name: headers[name] for name in ("ETag", "Cache-Control")})
    start, length = 0, version.size
    status = 200
    if request.method == "GET" and (wanted := _range(request, etag)) is not None:
        span = _span(*wanted, size=version.size)
        if span is None:
            return _outside(version.size)
        status, (start, length) = 206, span
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{version.size}"
    headers["Content-Length"] = str(length)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    pieces = blobs.read(reader.firm, version.sha256, start=start, length=length)
    try:
        first = await anext(pieces, b"")
    except (ContentMissing, ContentDamagedError):
        raise ContentLost(sha256=version.sha256) from None
    return _Content(_following(first, pieces), status_code=status, headers=headers)


def content_disposition(file_name: str) -> str:
    """As RFC 6266 has it: a plain name for old readers, and the whole name encoded as RFC 8187."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in file_name)
    encoded = quote(file_name, safe="!#$&+-.^_`|~")
    return f'attachment; filename="{plain}"' + (f"; filename*=UTF-8''{encoded}" if plain != file_name else "")


def _headers(version: VersionContent, etag: str) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(version.sha256)).decode()
    return {
        "Content-Type": version.media_type,
        "Content-Disposition": content_disposition(version.file_name or f"version-{version.number}"),
        "ETag": etag,
        "Repr-Digest": f"sha-256=:{digest}:",
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


async def _arriving(request: Request) -> AsyncIterator[bytes]:
    stream = request.stream()
    while True:
        try:
            yield await asyncio.wait_for(anext(stream), STALLED_AFTER)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise UploadStalled from None


async def _following(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        yield first
        async for piece in rest:
            yield piece
    finally:
        if isinstance(rest, AsyncGenerator):
            await rest.aclose()


class _Content(StreamingResponse):
    """A stream whose file is closed however it ends: also when the caller reads nothing and is let go."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if isinstance(self.body_iterator, AsyncGenerator):
                await self.body_iterator.aclose()


def _promised(request: Request) -> str | None:
    header = request.headers.get("content-digest")
    if header is None:
        return None
    try:
        digest = base64.b64decode(m[1], validate=True) if (m := _DIGEST.search(header)) else b""
    except binascii.Error:
        digest = b""
    if len(digest) != 32:
        raise DigestUnreadable
    return digest.hex()


def _has_it(request: Request, etag: str) -> bool:
    header = request.headers.get("if-none-match")
    known = [tag.strip().removeprefix("W/") for tag in header.split(",")] if header is not None else []
    return etag in known or "*" in known


def _range(request: Request, etag: str) -> tuple[str, str] | None:
    """First and last byte as written; None to send everything: no range, several, another unit, or another version's."""
    wanted = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if wanted is None or request.headers.get("if-range", etag) != etag:
        return None
    first, last = wanted[1], wanted[2]
    backwards = first and last and int(last) < int(first)
    return None if backwards or not (first or last) else (first, last)


def _span(first: str, last: str, *, size: int) -> tuple[int, int] | None:
    """Start and length within the content; None when nothing of it lies inside."""
    if not first:
        length = min(int(last), size)
        return (size - length, length) if length else None
    start = int(first)
    if start >= size:
        return None
    return start, min(int(last) + 1 if last else size, size) - start


def _outside(size: int) -> Response:
    body = {"type": "about:blank", "title": HTTPStatus(416).phrase, "status": 416, "detail": f"The content has {size} bytes."}
    return Response(orjson.dumps(body), 416, {"Content-Range": f"bytes */{size}"}, "application/problem+json")
