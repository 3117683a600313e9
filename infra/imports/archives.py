"""Archives and folders as places where contents are, read without unpacking anything and without following a name outwards."""

import os
import re
import stat
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from infra.imports.rows import FileDefect

PIECE = 1 << 18
CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderLimits:
    """What one folder may cost. `ratio` counts once more than `ratio_from` bytes have come out of a gzip archive."""

    files: int = 2_000_000
    depth: int = 32
    content: int = 5 << 30
    expanded: int = 64 << 30
    ratio: int = 200
    ratio_from: int = 64 << 20
    header: int = 1 << 20
    text: int = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of an archive: where its bytes begin and how many they are, or what is wrong with it."""

    name: str = field(repr=False)
    parts: tuple[str, ...] = field(default=(), repr=False)
    size: int = 0
    place: int = 0
    defect: str | None = None


def entries(archive: BinaryIO, name: str, limits: FolderLimits) -> Iterator[Entry]:
    """The files of a plain tar archive, one by one, in constant memory. Raises FileDefect when it is damaged."""
    end = archive.seek(0, os.SEEK_END)
    archive.seek(0)
    try:
        with tarfile.open(fileobj=cast(BinaryIO, _Bounded(archive, limits.header)), mode="r:", encoding="utf-8") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would remember every one
                parts = relative(member.name, limits.depth)
                if member.isdir():
                    yield Entry(name=member.name, defect=None if parts else "The folder's path leads out of the archive")
                elif parts is None:
                    yield Entry(name=member.name, defect="The entry's path leads out of the archive")
                elif not member.isreg() or member.issparse():
                    yield Entry(name=member.name, defect="The entry is no plain file (a link or a device)")
                elif member.size < 0 or member.offset_data + member.size > end:
                    raise tarfile.ReadError
                else:
                    yield Entry(name=member.name, parts=parts, size=member.size, place=member.offset_data)
    except (tarfile.TarError, ValueError, OverflowError, RecursionError, EOFError) as e:
        raise FileDefect(f"{name} is damaged", "it is cut off or its entries can't be read", "Fetch or pack it again") from e


def expanded(raw: BinaryIO, name: str, limits: FolderLimits) -> BinaryIO:
    """A plain copy of a gzip file in a temporary file without a name. Raises FileDefect."""
    spool = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 (handed on)
    try:
        for piece in _inflated(raw, name, limits):
            spool.write(piece)
        spool.flush()
    except zlib.error as e:
        spool.close()
        raise FileDefect(f"{name} is damaged", "it can't be expanded any further", "Fetch or pack it again") from e
    except OSError as e:
        spool.close()
        raise FileDefect(f"{name} can't be expanded", e.strerror or "the system refused", "Make room for temporary files") from e
    except BaseException:
        spool.close()
        raise
    return spool


def _inflated(raw: BinaryIO, name: str, limits: FolderLimits) -> Iterator[bytes]:
    taken, out = 0, 0
    member = zlib.decompressobj(31)
    while data := raw.read(1 << 16):
        taken += len(data)
        while data:
            if member.eof:
                data = data.lstrip(b"\0")
                member = zlib.decompressobj(31) if data else member
                continue
            piece = member.decompress(data, PIECE)
            data = member.unused_data if member.eof else member.unconsumed_tail
            out += len(piece)
            if out > limits.expanded or (out > limits.ratio_from and out > limits.ratio * taken):
                raise FileDefect(
                    f"{name} expands out of proportion",
                    f"{out:,} bytes came out of {taken:,}; at most {limits.ratio} to 1 and {limits.expanded:,} in all are read",
                    "If it is honest, unpack it into the folder blobs/ and import again",
                )
            yield piece
    while not member.eof and (piece := member.decompress(member.unconsumed_tail, PIECE)):
        yield piece
    if not member.eof:
        raise FileDefect(f"{name} is cut off", "it ends before its compressed data does", "Fetch it again")


def open_beneath(folder: Path, parts: tuple[str, ...]) -> BinaryIO:
    """Open a plain file step by step, following no link on the way."""
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = below
        file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(0, "it is no plain file")
    return os.fdopen(file, "rb")


def is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def relative(path: str, depth: int) -> tuple[str, ...] | None:
    """The names of a relative path; None when it is absolute, climbs, or is no path."""
    if path.startswith(("/", "\\")) or _DRIVE.match(path) or CONTROL.search(path) or not is_utf8(path):
        return None
    parts = tuple(part for part in re.split(r"[/\\]", path) if part not in ("", "."))
    return parts if parts and ".." not in parts and len(parts) <= depth else None


class _Bounded:
    """A file that refuses to be read in one large piece: a forged header must not fill the memory."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file, self._most = file, most
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self._most:
            raise tarfile.ReadError("header too large")
        return self._file.read(size)
