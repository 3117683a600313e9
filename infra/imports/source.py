"""A foreign file as a stream of bytes, text or lines: plain or gzip, in whatever encoding, never whole in memory.

Limits on expansion, on its ratio and on the length of a line hold while reading, so a hostile file costs no more than an honest
one. A source is read from the start each time it is iterated: once to guess, once to import. What was assumed is in `notes`.
"""

import codecs
import re
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from infra.imports.rows import FileDefect

CHUNK = 1 << 18
HEAD = 1 << 18

_SIGNATURES = (
    (b"PK\x03\x04", "a ZIP archive or an Office file", "Unpack it, or save the sheet as CSV, and import that"),
    (b"\xd0\xcf\x11\xe0", "an old Office file", "Save the sheet as CSV (UTF-8) and import that"),
    (b"SQLite format 3\0", "an SQLite database", "Export the log as JSON, XES or CSV and import that"),
    (b"%PDF", "a PDF document", "Import documents with `chancery import documents`"),
    (b"BZh", "compressed with bzip2", "Unpack it and import the result; gzip is read as it is"),
    (b"\xfd7zXZ\0", "compressed with xz", "Unpack it and import the result; gzip is read as it is"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "Unpack it and import the result; gzip is read as it is"),
    (b"\x89PNG", "a picture", "Choose the file that holds the records"),
    (b"\xff\xd8\xff", "a picture", "Choose the file that holds the records"),
)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def _as_windows(e: UnicodeError) -> tuple[str, int]:
    if not isinstance(e, UnicodeDecodeError):
        raise e
    return "".join(bytes([b]).decode("cp1252", "ignore") or chr(b) for b in e.object[e.start : e.end]), e.end


codecs.register_error("chancery-windows-1252", _as_windows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one file may cost. `ratio` counts once more than `ratio_from` bytes have come out of a gzip file."""

    expanded: int = 64 << 30
    ratio: int = 200
    ratio_from: int = 16 << 20
    line: int = 1 << 20
    depth: int = 64
    token: int = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Bytes of the file on disk read so far, of how many; `rate` in bytes a second; `left` in seconds, None while unknown."""

    read: int
    total: int
    rate: float
    left: float | None


class Overlong(str):
    """The beginning of a line that is longer than the limit; the rest of it was skipped."""

    __slots__ = ()


class Source:
    """`Source(path)` looks at the beginning only. Raises FileDefect when that is no text at all."""

    def __init__(self, path: Path, *, encoding: str | None = None, limits: Limits | None = None) -> None:
        self.path = path
        self.limits = limits or Limits()
        self.notes: list[str] = []
        self.read = 0
        self.line = 0
        self._began = time.monotonic()
        try:
            self.size = path.stat().st_size
            with path.open("rb") as f:
                self.compressed = f.read(2) == b"\x1f\x8b"
        except OSError as e:
            raise FileDefect(
                "The file cannot be opened", e.strerror or "the system refused", "Check its name and permissions"
            ) from e
        self.head = self._peek()
        for signature, what, do in _SIGNATURES:
            if self.head.startswith(signature):
                raise FileDefect(f"The file is {what}", "records are read from text formats", do)
        self.encoding, self._bom = self._choose(encoding)
        if _is_no_text(self.head_text()[:4096]):
            raise FileDefect(
                "The file is not text",
                "its beginning is full of control characters",
                "Export it as CSV, vCard, XES or JSON, and check that it came over whole",
            )

    def note(self, text: str) -> None:
        """Say something about the whole file, once."""
        if text not in self.notes:
            self.notes.append(text)

    def progress(self) -> Progress:
        spent = max(time.monotonic() - self._began, 1e-6)
        rate = self.read / spent
        return Progress(read=self.read, total=self.size, rate=rate, left=(self.size - self.read) / rate if rate else None)

    def chunks(self) -> Iterator[bytes]:
        """The bytes of the file, expanded, in pieces of at most 256 KiB."""
        self.read = 0
        self._began = time.monotonic()
        with self.path.open("rb") as f:
            yield from self._inflate(f) if self.compressed else self._plain(f)

    def text(self) -> Iterator[str]:
        """The same as text, without a byte order mark. Bytes that do not fit the encoding are read as Windows-1252 and noted."""
        strict = codecs.getincrementaldecoder(self.encoding)("strict")
        lenient = codecs.getincrementaldecoder(self.encoding)("chancery-windows-1252" if _by_bytes(self.encoding) else "replace")
        skip = self._bom
        for chunk in self._with_end():
            data = chunk[0][skip:]
            skip = max(0, skip - len(chunk[0]))
            state = strict.getstate()
            try:
                yield strict.decode(data, chunk[1])
            except UnicodeError:
                self.note(
                    f"Some bytes are not valid {self.encoding.upper()} and were read as Windows-1252."
                    if _by_bytes(self.encoding)
                    else f"Some bytes are not valid {self.encoding.upper()} and were replaced by a question mark sign."
                )
                lenient.setstate(state)
                yield lenient.decode(data, chunk[1])
                strict.setstate(lenient.getstate())

    def lines(self, limit: int | None = None) -> Iterator[str]:
        """Lines with their ends as they were (CR LF, LF or CR); a line longer than `limit` characters comes cut, as Overlong."""
        limit = limit or self.limits.line
        rest, skipping = "", False
        self.line = 0
        for text in self.text():
            rest += text
            end = len(rest)
            if "\r" not in rest:
                *whole, rest = rest.split("\n")
                whole = [f"{part}\n" for part in whole]
            else:
                held = rest.endswith("\r")
                whole = _LINE.findall(rest, 0, end - 1 if held else end)
                rest = rest[sum(map(len, whole)) :]
            for line in whole:
                self.line += 1
                if skipping:
                    skipping = False
                else:
                    yield line if len(line) <= limit else Overlong(line[:SHOWN_OF_LONG])
            if skipping:
                rest = "\r" if rest.endswith("\r") else ""
            elif len(rest) > limit:
                yield Overlong(rest[:SHOWN_OF_LONG])
                rest, skipping = ("\r" if rest.endswith("\r") else ""), True
        if rest and not skipping and rest != "\x1a":
            self.line += 1
            yield rest

    def head_text(self) -> str:
        """The first 256 KiB as text, for guessing."""
        handler = "chancery-windows-1252" if _by_bytes(self.encoding) else "replace"
        return codecs.getincrementaldecoder(self.encoding)(handler).decode(self.head[self._bom :])

    def _with_end(self) -> Iterator[tuple[bytes, bool]]:
        for chunk in self.chunks():
            yield chunk, False
        yield b"", True

    def _plain(self, f: IO[bytes]) -> Iterator[bytes]:
        while data := f.read(CHUNK):
            self.read += len(data)
            yield data

    def _inflate(self, f: IO[bytes]) -> Iterator[bytes]:
        limits, out, member = self.limits, 0, zlib.decompressobj(31)
        while data := f.read(1 << 16):
            self.read += len(data)
            while data:
                if member.eof:
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                    member = zlib.decompressobj(31)
                try:
                    piece = member.decompress(data, CHUNK)
                    data = member.unused_data if member.eof else member.unconsumed_tail
                    if len(piece) == CHUNK and not data and not member.eof:
                        yield piece
                        out += len(piece)
                        piece = member.decompress(b"", CHUNK)
                except zlib.error as e:
                    raise FileDefect(
                        "The gzip data is damaged", "it cannot be expanded any further", "Fetch or compress the file again"
                    ) from e
                out += len(piece)
                if out > limits.expanded or (out > limits.ratio_from and out > limits.ratio * self.read):
                    raise FileDefect(
                        "The gzip file expands out of proportion",
                        f"{out:,} bytes came out of {self.read:,}; at most {limits.ratio} to 1 and {limits.expanded:,} in all are read",
                        "If the file is honest, unpack it and import the result",
                    )
                if piece:
                    yield piece
        if not member.eof:
            raise FileDefect("The gzip file is cut off", "it ends before its compressed data does", "Fetch it again")

    def _peek(self) -> bytes:
        head = b""
        try:
            for chunk in self.chunks():
                head += chunk
                if len(head) >= HEAD:
                    break
        except FileDefect:
            if not head:
                raise
        self.read = 0
        return head[:HEAD]

    def _choose(self, given: str | None) -> tuple[str, int]:
        for bom, name in _BOMS:
            if self.head.startswith(bom):
                return name, len(bom)
        if given:
            try:
                info = codecs.lookup(given)
                b"".decode(given)
            except LookupError as e:
                raise MapEncoding(given) from e
            return info.name, 0
        sample = self.head
        even, odd = sample[:4096:2].count(0), sample[1:4096:2].count(0)
        if max(even, odd) * 5 > len(sample[:4096]) and min(even, odd) * 4 < max(even, odd):
            name = "utf-16-le" if odd > even else "utf-16-be"
            self.note(f"No byte order mark; the file was read as {name.upper()}.")
            return name, 0
        try:
            codecs.getincrementaldecoder("utf-8")().decode(sample)
        except UnicodeDecodeError:
            self.note(
                "The file is not UTF-8; it was read as Windows-1252. If letters look wrong, name the encoding in the import map."
            )
            return "cp1252", 0
        return "utf-8", 0


def _is_no_text(beginning: str) -> bool:
    """Whether it is full of control characters. A few kinds of them, in a text, may be how its columns are divided."""
    found = _NOT_TEXT.findall(beginning)
    return len(found) * 4 > len(beginning) or (len(found) * 20 > len(beginning) and len(set(found)) > KINDS_OF_DIVIDERS)


SHOWN_OF_LONG = 1000
KINDS_OF_DIVIDERS = 4


class MapEncoding(FileDefect):
    """The named encoding is unknown."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The encoding {name[:40]!r} is unknown",
            "the file cannot be read with it",
            "Name one such as utf-8, cp1252, iso-8859-2, utf-16",
        )


def _by_bytes(encoding: str) -> bool:
    return not encoding.startswith(("utf-16", "utf-32"))
