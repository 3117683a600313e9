"""Content in a folder, by its SHA-256: `<root>/<firm>/<first two digits>/<sha256>`.

BLOB1 Content is visible only when it is whole and durable: written aside, fsynced, renamed, its folder fsynced.
BLOB2 Whatever fails on the way (a full disk, a lost connection, a limit) leaves nothing half written behind.
BLOB3 What a crash left aside is swept at the next start, never what another process still writes: each holds a lock on its file.
BLOB4 No firm's path ever leads into another's.
BLOB5 Content read whole is checked against its name; when it differs, the last piece is withheld.

Everything streams: no content is ever whole in memory.
"""

import asyncio
import errno
import fcntl
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from uuid import UUID, uuid4

from commands.documents import Blob, ContentDiffers, ContentMissing, ContentTooLarge, StoreFull
from domain.kernel import FirmId
from infra.blobs.port import PIECE, ContentDamagedError, is_sha256
from infra.media import HEAD, media_type

T = TypeVar("T")

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class FolderBlobs:
    """Satisfies `BlobStore`. `reserve` bytes of the disk are left free: a full one would stop the database too."""

    def __init__(self, root: Path, *, max_bytes: int = 5 << 30, reserve: int = 256 << 20) -> None:
        self.root = root
        self.max_bytes = max_bytes
        self.reserve = reserve
        self.aside = root / "tmp"
        _make_folder(self.aside)

    @asynccontextmanager
    async def writing(self, firm: FirmId) -> AsyncIterator["FolderWriter"]:
        writer = FolderWriter(self, firm)
        try:
            await _in_thread(writer.open)
            yield writer
        finally:
            await _in_thread(writer.close)

    async def find(self, firm: FirmId, sha256: str, *, file_name: str | None = None) -> Blob | None:
        return await _in_thread(lambda: self._find(firm, sha256, file_name))

    def _find(self, firm: FirmId, sha256: str, file_name: str | None) -> Blob | None:
        path = self.path(firm, sha256)
        try:
            os.utime(path)
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                return Blob(sha256=sha256, size=size, media_type=media_type(file.read(HEAD), file_name))
        except FileNotFoundError:
            return None

    async def read(self, firm: FirmId, sha256: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        path = self.path(firm, sha256)
        try:
            file = await _in_thread(lambda: path.open("rb", buffering=0))
        except FileNotFoundError:
            raise ContentMissing(sha256=sha256) from None
        with file:
            size = os.fstat(file.fileno()).st_size
            left = max(0, size - start) if length is None else min(length, max(0, size - start))
            digest = hashlib.sha256() if (start, left) == (0, size) else None
            await _in_thread(lambda: file.seek(start))
            while left:
                piece = await _in_thread(lambda: _read_piece(file.read, min(PIECE, left), digest))  # noqa: B023 (awaited at once)
                left -= len(piece)
                if not piece or (not left and digest is not None and digest.hexdigest() != sha256):
                    raise ContentDamagedError(errno.EIO, ContentDamagedError.__doc__, sha256)
                yield piece

    async def delete(self, firm: FirmId, sha256: str) -> bool:
        return await _in_thread(lambda: _unlink(self.path(firm, sha256)))

    async def stale(self, firm: FirmId, *, older_than: float) -> AsyncIterator[list[str]]:
        for shard in range(256):
            folder = self.root / str(firm) / f"{shard:02x}"
            yield await _in_thread(lambda: _untouched(folder, time.time() - older_than))  # noqa: B023 (awaited at once)

    async def delete_if_stale(self, firm: FirmId, sha256: str, *, older_than: float) -> bool:
        return await _in_thread(lambda: self._delete_if_stale(firm, sha256, time.time() - older_than))

    def _delete_if_stale(self, firm: FirmId, sha256: str, before: float) -> bool:
        path, doomed = self.path(firm, sha256), self.aside / f"{firm}.{sha256}.doomed"
        with suppress(FileNotFoundError):
            path.rename(doomed)
            if doomed.stat().st_mtime < before:
                return _unlink(doomed)
            _put_back(doomed, path)
        return False

    @contextmanager
    def local(self, firm: FirmId, sha256: str, *, most: int) -> Iterator[Path | None]:  # noqa: ARG002 (it is whole already)
        path = self.path(firm, sha256)
        yield path if path.exists() else None

    async def sweep(self) -> int:
        return await _in_thread(self._sweep)

    def _sweep(self) -> int:
        swept = 0
        for entry in sorted(self.aside.iterdir()):
            if entry.suffix == ".doomed":
                firm, sha256, _ = entry.name.split(".")
                _put_back(entry, self.path(FirmId(UUID(firm)), sha256))
                swept += 1
                continue
            with suppress(FileNotFoundError), entry.open("rb") as file, suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                swept += _unlink(entry)
        return swept

    def path(self, firm: FirmId, sha256: str) -> Path:
        if not is_sha256(sha256):
            raise ValueError("not a SHA-256 in hexadecimal")
        return self.root / str(firm) / sha256[:2] / sha256


class FolderWriter:
    """One content on its way in. Used by one task; its file work runs in threads."""

    def __init__(self, blobs: FolderBlobs, firm: FirmId) -> None:
        self._blobs = blobs
        self._firm = firm
        self._digest = hashlib.sha256()
        self._head = bytearray()
        self._pending = bytearray()
        self._size = 0
        self._path = blobs.aside
        self._fd = -1

    def open(self) -> None:
        while True:
            path = self._blobs.aside / f"{uuid4()}.part"
            with _NoRoomIsARefusal():
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            self._path, self._fd = path, fd
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:
                return
            self.close()  # swept between its making and its lock

    async def write(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self._blobs.max_bytes:
            raise ContentTooLarge(max_bytes=self._blobs.max_bytes)
        for start in range(0, len(chunk), PIECE):
            self._pending += chunk[start : start + PIECE]
            if len(self._pending) >= PIECE:
                await _in_thread(self._flush)

    async def commit(self, *, file_name: str | None = None, sha256: str | None = None) -> Blob:
        return await _in_thread(lambda: self._commit(file_name, sha256))

    def _flush(self) -> None:
        if len(self._head) < HEAD:
            self._head += self._pending[: HEAD - len(self._head)]
        self._digest.update(self._pending)
        with _NoRoomIsARefusal():
            disk = os.fstatvfs(self._fd)
            if disk.f_bavail * disk.f_frsize < self._blobs.reserve + len(self._pending):
                raise StoreFull
            view = memoryview(self._pending)
            while view:
                view = view[os.write(self._fd, view) :]
        self._pending = bytearray()

    def _commit(self, file_name: str | None, promised: str | None) -> Blob:
        if self._pending:
            self._flush()
        sha256 = self._digest.hexdigest()
        if promised not in (None, sha256):
            raise ContentDiffers(sha256=sha256)
        target = self._blobs.path(self._firm, sha256)
        with _NoRoomIsARefusal():
            os.fchmod(self._fd, 0o440)
            os.fsync(self._fd)
            _make_folder(target.parent)
            self._path.replace(target)  # content that is there already is replaced by the same content, whole and fresh
            _sync_folder(target.parent)
        return Blob(sha256=sha256, size=self._size, media_type=media_type(bytes(self._head), file_name))

    def close(self) -> None:
        """Nothing stays behind unless it was committed. Closing again does nothing."""
        fd, self._fd = self._fd, -1
        if fd == -1:
            return
        _unlink(self._path)  # after a commit it stands under another name
        os.close(fd)


class _NoRoomIsARefusal:
    """Turns what the system says of a full disk, a quota or a file size limit into StoreFull."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise StoreFull from error


async def _in_thread(work: Callable[[], T]) -> T:
    """What the file work gives. It is never left running: a cancelled caller waits for its end, and can then clean up."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _read_piece(read: Callable[[int], bytes], size: int, digest: "hashlib._Hash | None") -> bytes:
    piece = read(size)
    if digest is not None:
        digest.update(piece)
    return piece


def _unlink(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _put_back(aside: Path, path: Path) -> None:
    with suppress(FileExistsError, FileNotFoundError):  # sent again in between: the new one is as good
        os.link(aside, path)
    _unlink(aside)


def _untouched(folder: Path, before: float) -> list[str]:
    return sorted(_old(folder, before))


def _old(folder: Path, before: float) -> Iterator[str]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if is_sha256(entry.name) and entry.stat(follow_symlinks=False).st_mtime < before:
                yield entry.name


def _make_folder(folder: Path) -> None:
    """Make it and what leads to it, each durably."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
