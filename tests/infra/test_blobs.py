import asyncio
import hashlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from commands.documents import Blob, ContentDiffers, ContentMissing, ContentTooLarge, StoreFull
from domain.kernel import FirmId
from infra.blobs import PIECE, ContentDamagedError, FolderBlobs, collect

FIRM, OTHER = FirmId(uuid4()), FirmId(uuid4())
TEXT = b"Dear Ann, " * 1000


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs", reserve=0)


async def keep(blobs: FolderBlobs, content: bytes | list = TEXT, firm: FirmId = FIRM, sha256: str | None = None) -> Blob:
    chunks = content if isinstance(content, list) else [content[at : at + 700_001] for at in range(0, len(content), 700_001)]
    async with blobs.writing(firm) as writer:
        for chunk in chunks:
            await writer.write(chunk)
        return await writer.commit(sha256=sha256)


async def read(blobs: FolderBlobs, sha256: str, firm: FirmId = FIRM, **span: int) -> bytes:
    return b"".join([piece async for piece in blobs.read(firm, sha256, **span)])


def files(blobs: FolderBlobs) -> list[Path]:
    return [path for path in blobs.root.rglob("*") if path.is_file()]


@pytest.mark.invariant("BLOB1")
@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 17])
async def test_what_was_sent_is_read_again(blobs: FolderBlobs, size: int) -> None:
    content = os.urandom(size)
    blob = await keep(blobs, content)
    assert (blob.sha256, blob.size) == (hashlib.sha256(content).hexdigest(), size)
    assert await read(blobs, blob.sha256) == content
    assert [path.relative_to(blobs.root).parts for path in files(blobs)] == [(str(FIRM), blob.sha256[:2], blob.sha256)]
    assert files(blobs)[0].stat().st_mode & 0o777 == 0o440


async def test_a_part_is_read_by_where_it_begins_and_how_long_it_is(blobs: FolderBlobs) -> None:
    content = os.urandom(2 * PIECE + 5)
    sha256 = (await keep(blobs, content)).sha256
    for start, length in ((0, 1), (1, PIECE), (PIECE - 1, PIECE + 2), (2 * PIECE + 4, 100), (len(content), 5), (10, 0)):
        assert await read(blobs, sha256, start=start, length=length) == content[start : start + length]


@pytest.mark.invariant("DOC2")
async def test_the_same_content_is_kept_once(blobs: FolderBlobs) -> None:
    assert await keep(blobs) == await keep(blobs)
    assert len(files(blobs)) == 1


@pytest.mark.invariant("BLOB4")
async def test_one_firm_does_not_find_what_another_sent(blobs: FolderBlobs) -> None:
    blob = await keep(blobs)
    assert await blobs.find(OTHER, blob.sha256) is None
    assert not await blobs.delete(OTHER, blob.sha256)
    with pytest.raises(ContentMissing):
        await read(blobs, blob.sha256, OTHER)
    for path in ("../" + blob.sha256, "a" * 63, blob.sha256.upper(), f"{blob.sha256}\n", ""):
        with pytest.raises(ValueError, match="not a SHA-256"):
            await blobs.find(FIRM, path)
    assert await blobs.find(FIRM, blob.sha256) == blob
    letter = await blobs.find(FIRM, blob.sha256, file_name="letter.md")
    assert letter is not None
    assert letter.media_type == "text/markdown"


@pytest.mark.invariant("BLOB2")
async def test_whatever_fails_leaves_nothing_behind(blobs: FolderBlobs) -> None:
    blobs.max_bytes = 3 * PIECE
    with pytest.raises(ContentTooLarge):
        await keep(blobs, bytes(3 * PIECE + 1))
    with pytest.raises(ContentDiffers):
        await keep(blobs, sha256="0" * 64)
    with pytest.raises(TypeError):
        await keep(blobs, [bytes(2 * PIECE), "text"])
    async with blobs.writing(FIRM) as writer:
        await writer.write(TEXT)
    assert files(blobs) == []


@pytest.mark.invariant("BLOB2")
async def test_a_cancelled_upload_leaves_nothing_behind(blobs: FolderBlobs) -> None:
    async def endless() -> None:
        async with blobs.writing(FIRM) as writer:
            while True:
                await writer.write(bytes(PIECE))

    for ticks in (1, 2, 5, 20):
        task = asyncio.create_task(endless())
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert files(blobs) == []


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 4 MB, which takes root to mount."""
    folder = Path(tempfile.mkdtemp())
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("file systems can't be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.invariant("BLOB2")
async def test_a_full_disk_is_a_clear_refusal_and_leaves_nothing_half_written(small_disk: Path) -> None:
    blobs = FolderBlobs(small_disk / "blobs", reserve=0)
    first = await keep(blobs, os.urandom(PIECE))
    with pytest.raises(StoreFull):
        await keep(blobs, os.urandom(5 * PIECE))
    assert [path.name for path in files(blobs)] == [first.sha256]
    assert (await keep(blobs, os.urandom(PIECE))).size == PIECE


@pytest.mark.invariant("BLOB2")
async def test_a_file_size_limit_refuses_as_a_full_disk_does(blobs: FolderBlobs) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * PIECE, before[1]))
    try:
        with pytest.raises(StoreFull):
            await keep(blobs, bytes(4 * PIECE))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert files(blobs) == []


async def test_room_is_left_on_the_disk_for_others(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    blobs = FolderBlobs(tmp_path, reserve=free * 2)
    with pytest.raises(StoreFull):
        await keep(blobs)
    assert files(blobs) == []


CRASH = """
import asyncio, os, sys
from pathlib import Path
from uuid import UUID
from infra.blobs import FolderBlobs
async def main():
    async with FolderBlobs(Path(sys.argv[1]), reserve=0).writing(UUID(int=1)) as writer:
        await writer.write(bytes(1 << 21))
        print("written", flush=True)
        sys.stdin.read()
asyncio.run(main())
"""


@pytest.mark.invariant("BLOB3")
async def test_what_a_crash_left_is_swept_but_not_what_another_process_still_writes(blobs: FolderBlobs) -> None:
    process = subprocess.Popen(  # noqa: ASYNC220 (nothing else runs beside this test)
        [sys.executable, "-c", CRASH, str(blobs.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stdin
    assert process.stdout
    try:
        assert process.stdout.readline() == b"written\n"
        async with blobs.writing(FIRM) as writer:
            await writer.write(TEXT)
            assert len(files(blobs)) == 2
            assert await blobs.sweep() == 0
            assert len(files(blobs)) == 2
            process.kill()
            process.wait()
            assert await blobs.sweep() == 1
            assert (await writer.commit()).size == len(TEXT)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    assert len(files(blobs)) == 1


@pytest.mark.invariant("BLOB5")
@pytest.mark.parametrize("damage", ["changed", "cut"])
async def test_damaged_content_is_never_handed_out_whole(blobs: FolderBlobs, damage: str) -> None:
    content = bytes(2 * PIECE)
    sha256 = (await keep(blobs, content)).sha256
    path = files(blobs)[0]
    path.chmod(0o600)
    path.write_bytes(b"x" + content[1:] if damage == "changed" else content[:-1])
    pieces = blobs.read(FIRM, sha256)
    got = len(await anext(pieces))
    with pytest.raises(ContentDamagedError):
        await anext(pieces)
    assert got < len(content)
    await keep(blobs, content)
    assert await read(blobs, sha256) == content


async def test_what_nobody_uses_is_deleted_after_a_while(blobs: FolderBlobs) -> None:
    used, unused, fresh, found = [(await keep(blobs, text)).sha256 for text in (b"used", b"unused", b"fresh", b"found")]
    for sha256 in (used, unused, found):
        os.utime(blobs.path(FIRM, sha256), (1, 1))

    async def in_use(names: list[str]) -> set[str]:
        if found in names:
            await blobs.find(FIRM, found)  # somebody adds it as a version just now
        return {used} & set(names)

    assert await collect(blobs, FIRM, in_use, older_than=3600) == 1
    assert {path.name for path in files(blobs)} == {used, fresh, found}


@pytest.mark.invariant("BLOB3")
async def test_what_was_about_to_be_deleted_when_it_crashed_is_put_back(blobs: FolderBlobs) -> None:
    sha256 = (await keep(blobs)).sha256
    blobs.path(FIRM, sha256).rename(blobs.aside / f"{FIRM}.{sha256}.doomed")
    assert await blobs.sweep() == 1
    assert await read(blobs, sha256) == TEXT


async def test_memory_does_not_grow_with_the_content(blobs: FolderBlobs) -> None:
    chunk = bytes(PIECE)
    await keep(blobs)  # whatever is made once
    tracemalloc.start()
    try:
        async with blobs.writing(FIRM) as writer:
            for _ in range(64):
                await writer.write(chunk)
            blob = await writer.commit()
        async for _ in blobs.read(FIRM, blob.sha256):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert blob.size == 64 * PIECE
    assert peak < 8 * PIECE
