"""One contract for every store of contents: a folder, and a bucket of a real S3 server."""

import asyncio
import hashlib
import os
import signal
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from commands.documents import Blob, ContentDiffers, ContentMissing, ContentTooLarge
from domain.kernel import FirmId
from infra.blobs import PIECE, BlobStore, ContentDamagedError, FolderBlobs, StoreAway, blobs, collect
from infra.blobs.s3 import PART, S3Blobs
from infra.settings import Settings
from tests.servers import S3, s3_server

FIRM, OTHER = FirmId(uuid4()), FirmId(uuid4())
TEXT = b"Dear Ann, " * 1000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    patch = pytest.MonkeyPatch()
    for name, value in S3.ENVIRONMENT.items():
        patch.setenv(name, value)
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running
    patch.undo()


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "folder":
        return FolderBlobs(tmp_path / "blobs", reserve=0)
    server: S3 = request.getfixturevalue("server")
    return S3Blobs(server.bucket, uuid4().hex, endpoint=server.endpoint, fresh_for=0)


def names(store: BlobStore) -> set[tuple[str, ...]]:
    """Everything that is kept, by the parts of its name; parts of uploads included."""
    if isinstance(store, FolderBlobs):
        return {p.relative_to(store.root).parts for p in store.root.rglob("*") if p.is_file()}
    assert isinstance(store, S3Blobs)
    found = {tuple(meta["path"].split("/")) for some in store.store.list() for meta in some}
    return {parts for parts in found if not parts[-1].endswith(".seen")}


def parts_of_uploads(server: S3, store: BlobStore) -> list[Path]:
    if isinstance(store, FolderBlobs):
        return []
    assert isinstance(store, S3Blobs)
    prefix = store.place.rpartition("/")[2]
    found = [p for p in server.folder.rglob("*") if p.is_file() and prefix in str(p) and ".mpus" in str(p)]
    return [p for p in found if p.parent.name != "tmp"]  # what the server itself half received, and cleans up in its own time


async def keep(store: BlobStore, content: bytes | list = TEXT, firm: FirmId = FIRM, sha256: str | None = None) -> Blob:
    chunks = content if isinstance(content, list) else [content[at : at + 700_001] for at in range(0, len(content), 700_001)]
    async with store.writing(firm) as writer:
        for chunk in chunks:
            await writer.write(chunk)
        return await writer.commit(sha256=sha256)


async def read(store: BlobStore, sha256: str, firm: FirmId = FIRM, **span: int) -> bytes:
    return b"".join([piece async for piece in store.read(firm, sha256, **span)])


@pytest.mark.invariant("BLOB1")
@pytest.mark.parametrize("size", [0, 1, PIECE, PART - 1, PART, PART + 1, 2 * PART + 17])
async def test_what_was_sent_is_read_again(store: BlobStore, size: int) -> None:
    content = os.urandom(size)
    blob = await keep(store, content)
    assert (blob.sha256, blob.size) == (hashlib.sha256(content).hexdigest(), size)
    assert await store.find(FIRM, blob.sha256) == blob
    assert await read(store, blob.sha256) == content
    assert names(store) == {(str(FIRM), blob.sha256[:2], blob.sha256)}


async def test_a_part_is_read_by_where_it_begins_and_how_long_it_is(store: BlobStore) -> None:
    content = os.urandom(2 * PART + 5)
    sha256 = (await keep(store, content)).sha256
    for start, length in ((0, 1), (1, PIECE), (PART - 1, PART + 2), (2 * PART + 4, 100), (len(content), 5), (10, 0), (10**12, 1)):
        assert await read(store, sha256, start=start, length=length) == content[start : start + length]


@pytest.mark.invariant("DOC2")
async def test_the_same_content_is_kept_once(store: BlobStore) -> None:
    content = os.urandom(PART + 1)
    assert await keep(store) == await keep(store)
    assert await keep(store, content) == await keep(store, content)
    assert len(names(store)) == 2


@pytest.mark.invariant("BLOB4")
async def test_one_firm_does_not_find_what_another_sent(store: BlobStore) -> None:
    blob = await keep(store)
    assert await store.find(OTHER, blob.sha256) is None
    assert not await store.delete(OTHER, blob.sha256)
    with pytest.raises(ContentMissing):
        await read(store, blob.sha256, OTHER)
    with store.local(OTHER, blob.sha256, most=10) as path:
        assert path is None
    for name in ("../" + blob.sha256, "a" * 63, blob.sha256.upper(), f"{blob.sha256}\n", ""):
        with pytest.raises(ValueError, match="not a SHA-256"):
            await store.find(FIRM, name)
    letter = await store.find(FIRM, blob.sha256, file_name="letter.md")
    assert letter is not None
    assert letter.media_type == "text/markdown"


@pytest.mark.invariant("BLOB2")
async def test_whatever_fails_leaves_nothing_behind(store: BlobStore, server: S3) -> None:
    store.max_bytes = 3 * PART
    with pytest.raises(ContentTooLarge):
        await keep(store, bytes(3 * PART + 1))
    with pytest.raises(ContentDiffers):
        await keep(store, sha256="0" * 64)
    with pytest.raises(ContentDiffers):
        await keep(store, os.urandom(2 * PART + 1), sha256="0" * 64)
    with pytest.raises(TypeError):
        await keep(store, [bytes(2 * PART), "text"])
    async with store.writing(FIRM) as writer:
        await writer.write(TEXT)
    assert names(store) == set()
    assert parts_of_uploads(server, store) == []


@pytest.mark.invariant("BLOB2")
async def test_a_cancelled_upload_leaves_nothing_behind(store: BlobStore, server: S3) -> None:
    async def endless() -> None:
        async with store.writing(FIRM) as writer:
            while True:
                await writer.write(bytes(PIECE))

    for ticks in (1, 5, 30, 120):
        task = asyncio.create_task(endless())
        for _ in range(ticks):
            await asyncio.sleep(0)
        await asyncio.sleep(ticks / 500)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert names(store) == set()
        until = time.monotonic() + 120  # the server may still be taking in what was on its way
        while parts_of_uploads(server, store) != []:
            assert time.monotonic() < until
            await asyncio.sleep(0.05)


@pytest.mark.invariant("BLOB5")
async def test_what_was_changed_behind_our_back_is_never_read_to_its_end(store: BlobStore, server: S3) -> None:
    for content in (TEXT, os.urandom(PART + 9)):
        sha256 = (await keep(store, content)).sha256
        changed = bytes([content[0] ^ 1]) + content[1:]
        if isinstance(store, FolderBlobs):
            store.path(FIRM, sha256).chmod(0o600)
            store.path(FIRM, sha256).write_bytes(changed)
        else:
            assert isinstance(store, S3Blobs)
            await store.keep(store.key(FIRM, sha256), changed)
        got = 0
        with pytest.raises(ContentDamagedError):  # noqa: PT012 (what was handed out before is counted)
            async for piece in store.read(FIRM, sha256):
                got += len(piece)
        assert got < len(content)


async def test_a_content_is_a_file_while_something_reads_it(store: BlobStore) -> None:
    blob = await keep(store, [TEXT])
    with store.local(FIRM, blob.sha256, most=1 << 20) as path:
        assert path is not None
        assert path.read_bytes() == TEXT
    with store.local(FIRM, blob.sha256, most=10) as path:
        assert path is not None
        assert path.read_bytes()[:10] == TEXT[:10]


def grow_old(store: BlobStore, server: S3) -> None:
    """Everything that is kept was kept long ago."""
    if isinstance(store, FolderBlobs):
        folder = store.root
    else:
        assert isinstance(store, S3Blobs)
        folder = server.folder / store.place.rpartition("/")[2]
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))


async def test_what_nobody_uses_is_deleted_after_a_while(store: BlobStore, server: S3) -> None:
    used, unused, found = [(await keep(store, text)).sha256 for text in (b"used", b"unused", b"found")]
    grow_old(store, server)
    fresh = (await keep(store, b"fresh")).sha256

    async def in_use(names: list[str]) -> set[str]:
        if found in names:
            await store.find(FIRM, found)  # somebody adds it as a version just now
        return {used} & set(names)

    assert await collect(store, FIRM, in_use, older_than=3_600) == 1
    assert {parts[-1] for parts in names(store)} == {used, fresh, found}
    assert await store.find(FIRM, unused) is None
    assert await store.delete(FIRM, fresh)
    assert not await store.delete(FIRM, fresh)


async def test_memory_does_not_grow_with_the_content(store: BlobStore) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    chunk = bytes(PIECE)

    async def carry(pieces: int) -> None:
        async with store.writing(FIRM) as writer:
            for _ in range(pieces):
                await writer.write(chunk)
            blob = await writer.commit()
        async for _ in store.read(FIRM, blob.sha256):
            pass

    await carry(32)  # whatever is made once
    before = resident()
    tracemalloc.start()
    try:
        await carry(192)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * PIECE
    assert resident() - before < 96 * PIECE


# --- a bucket alone


async def test_what_a_crash_left_of_a_deletion_is_put_back_and_what_it_left_of_an_upload_is_swept(server: S3) -> None:
    store = S3Blobs(server.bucket, uuid4().hex, endpoint=server.endpoint, fresh_for=0)
    blob = await keep(store)
    key = store.key(FIRM, blob.sha256)
    store.store.rename(key, f"doomed/{FIRM}.{blob.sha256}")
    await store.store.put_async("tmp/young", b"x")
    await store.store.put_async("tmp/old", b"x")
    os.utime(server.folder / store.place.rpartition("/")[2] / "tmp" / "old", (1, 1))
    assert await store.sweep() == 2
    assert await read(store, blob.sha256) == TEXT
    assert {parts[-1] for parts in names(store)} == {blob.sha256, "young"}


async def test_content_that_is_sent_while_it_is_being_deleted_stays(server: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    store = S3Blobs(server.bucket, uuid4().hex, endpoint=server.endpoint, fresh_for=0)
    blob = await keep(store)
    grow_old(store, server)
    delete = store._delete

    async def meanwhile(key: str) -> None:
        if key.endswith(blob.sha256) and not key.startswith("doomed"):
            await keep(store)  # just before it is deleted
        await delete(key)

    monkeypatch.setattr(store, "_delete", meanwhile)
    assert not await store.delete_if_stale(FIRM, blob.sha256, older_than=3_600)
    assert await read(store, blob.sha256) == TEXT


async def test_a_store_that_does_not_answer_or_refuses_us_is_named_and_nothing_hangs(
    tmp_path: Path, server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreAway, match="s3://nobodys-bucket/x"):
        await S3Blobs("nobodys-bucket", "x", endpoint=server.endpoint).sweep()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    refused = S3Blobs(server.bucket, "x", endpoint=server.endpoint)
    with pytest.raises(StoreAway):
        await keep(refused)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", S3.ENVIRONMENT["AWS_SECRET_ACCESS_KEY"])
    with s3_server(tmp_path) as other:
        store = S3Blobs(other.bucket, "x", endpoint=other.endpoint)
        blob = await keep(store)
        os.kill(other.pid, signal.SIGKILL)
        begun = time.monotonic()
        with pytest.raises(StoreAway):
            await keep(store, bytes(2 * PART))
        with pytest.raises(StoreAway):
            await store.find(FIRM, blob.sha256)
        assert time.monotonic() - begun < 300
    port = int(other.endpoint.rpartition(":")[2])
    with s3_server(tmp_path, port):
        assert await read(store, blob.sha256) == TEXT


def test_the_settings_choose_the_store(tmp_path: Path, server: S3) -> None:
    chosen = blobs(Settings(data=tmp_path, blobs=f"s3://{server.bucket}/firm/contents/", s3_endpoint=server.endpoint))
    assert isinstance(chosen, S3Blobs)
    assert chosen.place == f"s3://{server.bucket}/firm/contents"
    folder = blobs(Settings(data=tmp_path, blobs=None))
    assert isinstance(folder, FolderBlobs)
    assert folder.root == tmp_path / "blobs"


@pytest.mark.parametrize("given", ["s3://", "s3://A b", "gs://bucket/x", "s3://ab", "s3://bucket/a b", "http://host/bucket"])
def test_a_place_that_can_not_be_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="neither a folder nor s3://bucket/prefix"):
        Settings(blobs=given)


@pytest.mark.parametrize("given", ["host:9000", "http://u:p@host", "https://host/bucket", "ftp://host"])
def test_an_endpoint_is_the_address_of_a_server(given: str) -> None:
    with pytest.raises(ValueError, match="not a server's URL"):
        Settings(s3_endpoint=given)
