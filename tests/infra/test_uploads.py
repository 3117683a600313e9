import base64
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from commands.documents import AddDocument, AddVersion, DiscardDocument, NewVersion
from domain.kernel import FirmId, Invalid, NotFound, Refused
from infra import uploads
from infra.blobs import PIECE, FolderBlobs
from infra.database import Database
from infra.projector.tables import Table
from infra.reading import Readers
from infra.record import wire
from infra.uploads import STATUSES, content_disposition, receive, send
from projections.document_versions import DOCUMENT_VERSIONS
from projections.documents import DOCUMENTS
from tests.desk import Desk
from tests.folding import fold_batch

MOST = 5 * PIECE


class Site:
    """A desk whose documents can be sent and fetched over HTTP."""

    def __init__(self, folder: Path, database: Database, readers: Readers) -> None:
        self.desk = Desk()
        self.blobs = self.desk.blobs = FolderBlobs(folder, reserve=0, max_bytes=MOST)
        self.database = database
        self.projected = 0
        self.readers = readers
        routes = [
            Route("/v1/uploads", self.upload, methods=["POST", "PUT"]),
            Route("/v1/documents/{id}/versions/{number}/content", self.content, methods=["GET", "HEAD"]),
        ]
        app = Starlette(routes=routes, exception_handlers={Refused: refused})
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")

    async def upload(self, request: Request) -> Response:
        return await receive(request, self.desk.firm, self.blobs, max_bytes=MOST)

    async def content(self, request: Request) -> Response:
        async with self.readers.reading(self.desk.firm, frozenset({"documents:read", "personal:read"})) as reader:
            return await send(request, reader, self.blobs)

    def project(self) -> None:
        """Bring the two views up to the desk's record."""
        with self.database.connect("record") as c:
            wire.register(c)
            for view in (DOCUMENTS, DOCUMENT_VERSIONS):
                fold_batch(view, Table(view), c, self.desk.record[self.projected :])
        self.projected = len(self.desk.record)

    async def document(self, content: bytes, file_name: str = "letter.md") -> tuple[UUID, str]:
        sha256 = (await self.http.post("/v1/uploads", content=content)).json()["sha256"]
        id = UUID((await self.desk.do(AddDocument(version=NewVersion(sha256=sha256, file_name=file_name))))["id"])
        self.project()
        return id, f"/v1/documents/{id}/versions/1/content"


async def refused(_: Request, e: Exception) -> Response:
    assert isinstance(e, Refused)
    usual: dict[type, int] = {Invalid: 422, NotFound: 404, Refused: 409}
    status = next(s for kind, s in {**STATUSES, **usual}.items() if isinstance(e, kind))
    return JSONResponse({"type": type(e).__name__, "detail": e.why}, status)


@pytest_asyncio.fixture
async def site(tmp_path: Path, database: Database) -> AsyncIterator[Site]:
    readers = Readers(database, size=2)
    await readers.open()
    site = Site(tmp_path, database, readers)
    yield site
    await site.http.aclose()
    await readers.close()


async def arriving(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_what_is_sent_is_streamed_to_the_store(site: Site, method: str) -> None:
    content = os.urandom(2 * PIECE + 3)
    answer = await site.http.request(method, "/v1/uploads", content=arriving(content[:100], content[100:]))
    assert answer.status_code == 201
    sha256 = hashlib.sha256(content).hexdigest()
    assert answer.json() == {"sha256": sha256, "size": len(content), "media_type": "application/octet-stream"}
    again = await site.http.request(method, "/v1/uploads", content=content)
    assert again.json() == answer.json()


@pytest.mark.invariant("BLOB2")
@pytest.mark.parametrize(
    ("headers", "content", "status", "why"),
    [
        ({}, lambda: bytes(MOST + 1), 413, "ContentTooLarge"),
        ({}, lambda: arriving(*[bytes(PIECE)] * 6), 413, "ContentTooLarge"),
        ({"Content-Length": "9" * 30}, lambda: arriving(b"x"), 413, "ContentTooLarge"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, lambda: b"--x", 415, "UploadEncoded"),
        ({"Content-Encoding": "gzip"}, lambda: b"x", 415, "UploadEncoded"),
        ({"Content-Digest": f"sha-256=:{base64.b64encode(bytes(32)).decode()}:"}, lambda: b"x", 422, "ContentDiffers"),
        ({"Content-Digest": "sha-256=:AAAA:"}, lambda: b"x", 422, "DigestUnreadable"),
        ({"Content-Digest": "md5=:AAAA:"}, lambda: b"x", 422, "DigestUnreadable"),
    ],
)
async def test_what_cannot_be_taken_is_refused_and_nothing_is_kept(
    site: Site, headers: dict[str, str], content: Callable[[], Any], status: int, why: str
) -> None:
    answer = await site.http.post("/v1/uploads", content=content(), headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (status, why)
    assert [path for path in site.blobs.root.rglob("*") if path.is_file()] == []


async def test_content_arrives_as_its_digest_promises(site: Site) -> None:
    digest = base64.b64encode(hashlib.sha256(b"Dear Ann").digest()).decode()
    answer = await site.http.post("/v1/uploads", content=b"Dear Ann", headers={"Content-Digest": f"sha-256=:{digest}:"})
    assert answer.status_code == 201


@pytest.mark.invariant("BLOB2")
async def test_a_lost_connection_leaves_nothing_behind(site: Site) -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": bytes(2 * PIECE), "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receiving() -> dict[str, Any]:
        return messages.pop(0)

    request = Request({"type": "http", "method": "POST", "headers": [], "path": "/v1/uploads"}, receiving)
    assert (await site.upload(request)).status_code == 400
    assert [path for path in site.blobs.root.rglob("*") if path.is_file()] == []


@pytest.mark.invariant("BLOB2")
async def test_a_stalled_upload_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setattr(uploads, "STALLED_AFTER", 0.01)

    async def receiving() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    request = Request({"type": "http", "method": "POST", "headers": [], "path": "/v1/uploads"}, receiving)
    with pytest.raises(uploads.UploadStalled):
        await site.upload(request)
    assert [path for path in site.blobs.root.rglob("*") if path.is_file()] == []


async def test_a_version_is_handed_out_as_a_download_that_nothing_in_it_can_act(site: Site) -> None:
    content = b"<script>alert(1)</script>" * 100_000
    _, url = await site.document(content, "Brief für Ann.html")
    answer = await site.http.get(url)
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-type"] == "text/html"
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox"
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"Brief f_r Ann.html\"; filename*=UTF-8''Brief%20f%C3%BCr%20Ann.html"
    )
    head = await site.http.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(content))


@pytest.mark.parametrize(
    ("wanted", "status", "span"),
    [
        ("bytes=0-0", 206, (0, 1)),
        ("bytes=10-", 206, (10, 26)),
        ("bytes=-5", 206, (21, 26)),
        ("bytes=-500", 206, (0, 26)),
        ("bytes=20-900", 206, (20, 26)),
        ("bytes=26-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=5-1", 200, (0, 26)),
        ("bytes=0-1,3-4", 200, (0, 26)),
        ("bytes=", 200, (0, 26)),
        ("bytes=-", 200, (0, 26)),
        ("lines=0-1", 200, (0, 26)),
        ("bytes=" + "9" * 40 + "-", 200, (0, 26)),
    ],
)
async def test_a_range_is_sent_alone(site: Site, wanted: str, status: int, span: tuple[int, int] | None) -> None:
    content = b"abcdefghijklmnopqrstuvwxyz"
    _, url = await site.document(content)
    answer = await site.http.get(url, headers={"Range": wanted})
    assert answer.status_code == status
    if span is None:
        assert answer.headers["content-range"] == "bytes */26"
        assert answer.headers["content-type"] == "application/problem+json"
    else:
        assert answer.content == content[slice(*span)]
        assert answer.headers.get("content-range") == (f"bytes {span[0]}-{span[1] - 1}/26" if status == 206 else None)


async def test_a_range_of_what_has_changed_is_not_sent_and_what_is_known_is_not_sent_again(site: Site) -> None:
    _, url = await site.document(b"Dear Ann")
    etag = (await site.http.get(url)).headers["etag"]
    ranged = {"Range": "bytes=0-3"}
    assert (await site.http.get(url, headers={**ranged, "If-Range": etag})).content == b"Dear"
    assert (await site.http.get(url, headers={**ranged, "If-Range": '"other"'})).content == b"Dear Ann"
    for known in (etag, f'"x", W/{etag}', "*"):
        answer = await site.http.get(url, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert (await site.http.get(url, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_an_empty_version_is_handed_out(site: Site) -> None:
    _, url = await site.document(b"", "empty.txt")
    assert (await site.http.get(url)).content == b""
    assert (await site.http.get(url, headers={"Range": "bytes=0-"})).status_code == 416


async def test_each_version_has_its_own_content(site: Site) -> None:
    id, url = await site.document(b"first")
    sha256 = (await site.http.post("/v1/uploads", content=b"second")).json()["sha256"]
    await site.desk.do(AddVersion(id=id, version=NewVersion(sha256=sha256, file_name="b.md")))
    site.project()
    assert (await site.http.get(url)).content == b"first"
    assert (await site.http.get(url.replace("/1/", "/2/"))).content == b"second"
    assert (await site.http.get(url.replace("/1/", "/3/"))).status_code == 404


@pytest.mark.parametrize(
    "path",
    [f"{uuid4()}/versions/1", "x/versions/1", f"{uuid4()}/versions/0", f"{uuid4()}/versions/x"],
    ids=["id", "no-id", "zero", "word"],
)
async def test_what_is_not_there_is_not_found(site: Site, path: str) -> None:
    assert (await site.http.get(f"/v1/documents/{path}/content")).status_code == 404


async def test_another_firms_content_is_not_found(site: Site) -> None:
    _, url = await site.document(b"Dear Ann")
    site.desk.firm = FirmId(uuid4())
    assert (await site.http.get(url)).status_code == 404


async def test_discarded_content_is_gone_and_lost_content_is_said_to_be_lost(site: Site) -> None:
    id, url = await site.document(b"Dear Ann")
    path = site.blobs.path(site.desk.firm, hashlib.sha256(b"Dear Ann").hexdigest())
    path.chmod(0o600)
    path.write_bytes(b"Dear Bob")
    assert (await site.http.get(url)).json()["type"] == "ContentLost"
    path.unlink()
    assert (await site.http.get(url)).status_code == 500
    await site.desk.do(DiscardDocument(id=id, reason="old"))
    site.project()
    assert (await site.http.get(url)).status_code == 410


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.pdf", 'attachment; filename="a.pdf"'),
        ("50%.pdf", "attachment; filename=\"50_.pdf\"; filename*=UTF-8''50%25.pdf"),
        ('a"; filename=evil.exe', "attachment; filename=\"a_; filename=evil.exe\"; filename*=UTF-8''a%22%3B%20filename%3Devil.exe"),
        ("a\r\nSet-Cookie: x", "attachment; filename=\"a__Set-Cookie: x\"; filename*=UTF-8''a%0D%0ASet-Cookie%3A%20x"),
        ("文.md", "attachment; filename=\"_.md\"; filename*=UTF-8''%E6%96%87.md"),
    ],
)
def test_a_file_name_travels_safely(name: str, header: str) -> None:
    assert content_disposition(name) == header
