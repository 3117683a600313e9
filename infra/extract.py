"""The text of a file, read by a process of its own that may be wrong, slow or killed without harm to anybody.

EX1  Whatever a file holds, reading it ends: in time, in memory, in bytes of text, or in a sentence that says why there is none.
EX2  A container is never believed about its sizes: what comes out of it is counted as it comes.
EX3  The reader opens the one file it is given, writes nothing, and starts nothing.

    extract(path, "application/pdf", "offer.pdf")  ->  Extracted(text, unread)
"""

import codecs
import json
import os
import re
import resource
import selectors
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Literal

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, iterparse

VERSION = 1  # to be raised when other text comes out: contents are then read again

Form = Literal["text", "html", "pdf", "docx"]

_FORMS: dict[str, Form] = {
    "text/plain": "text",
    "text/markdown": "text",
    "text/csv": "text",
    "text/tab-separated-values": "text",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-word.document.macroenabled.12": "docx",
}
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MC_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_PARTS = re.compile(r"word/(?:document|footnotes|endnotes|comments|header\d{0,3}|footer\d{0,3})\d{0,3}\.xml")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\s*\n\s*\n\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What reading one file may cost. `ratio` is how many times larger than the file what is inside it may be."""

    file: int = 200 << 20
    text: int = 400_000  # characters
    pages: int = 1_000
    seconds: int = 15
    cpu_seconds: int = 12
    memory: int = 768 << 20
    expanded: int = 64 << 20
    ratio: int = 400
    entries: int = 5_000
    depth: int = 200


@dataclass(frozen=True, slots=True)
class Extracted:
    """`unread` says why there is no text, or why not all of it."""

    text: str = ""
    unread: str | None = None


class Unreadable(Exception):
    """The file can't be read; the message says why, without a word of what stands in it."""


def form(media_type: str, file_name: str | None) -> Form | None:
    """How the text of such a file is read; None when it is not."""
    found = _FORMS.get(media_type)
    if found is None and media_type == "application/zip" and (file_name or "").lower().endswith((".docx", ".docm")):
        return "docx"
    return found


# --- outside: start the reader, bound it, hear it


def extract(path: Path, media_type: str, file_name: str | None = None, limits: Limits | None = None) -> Extracted:
    """The text of a file, read by another process. Never raises for what the file holds."""
    limits = limits or Limits()
    kind = form(media_type, file_name)
    if kind is None:
        return Extracted("", "no text is read from this kind of file")
    size = path.stat().st_size
    if size > limits.file:
        return Extracted("", f"the file has more than {limits.file >> 20} MB")
    asked = json.dumps({"form": kind, "limits": asdict(limits)})
    with path.open("rb") as file:
        reader = subprocess.Popen(  # noqa: S603 - our own reader, with limits
            [sys.executable, "-I", "-c", _READER, str(Path(__file__).resolve().parents[1]), asked],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": "/nonexistent", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"},
            cwd="/",
            start_new_session=True,
        )
    try:
        heard = _hear(reader, limits)
    finally:
        if reader.poll() is None:
            os.killpg(reader.pid, signal.SIGKILL)
        reader.wait()
        if reader.stdout is not None:
            reader.stdout.close()
    if heard is None:
        return Extracted("", f"reading it took more than {limits.seconds} seconds")
    try:
        answer = json.loads(heard)
        text, unread = answer["text"], answer["unread"]
    except (ValueError, KeyError, TypeError):
        return Extracted("", "reading it took more memory or time than a file may take")
    return Extracted(tidy(text)[: limits.text], unread)


_READER = "import sys; sys.path.insert(0, sys.argv[1]); from infra.extract import _inside; _inside(sys.argv[2])"


def _hear(reader: "subprocess.Popen[bytes]", limits: Limits) -> bytes | None:
    """What the reader says, as long as it says it in time and no more than it may."""
    if reader.stdout is None:
        return b""
    until = time.monotonic() + limits.seconds
    heard = bytearray()
    most = limits.text * 12 + 4_096  # a character is at most twelve bytes of JSON
    with selectors.DefaultSelector() as selector:
        selector.register(reader.stdout, selectors.EVENT_READ)
        while len(heard) <= most:
            left = until - time.monotonic()
            if left <= 0 or not selector.select(left):
                return None
            piece = os.read(reader.stdout.fileno(), 1 << 16)
            if not piece:
                return bytes(heard)
            heard += piece
    return b""


def tidy(text: str) -> str:
    """Text that any store takes: without control characters, half pairs and long runs of white space."""
    text = _CONTROLS.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _LINES.sub("\n\n", _SPACES.sub(" ", text)).strip()


# --- inside: the reader


def _inside(asked: str) -> None:
    """What runs in the reader's process: limits first, then one file from standard input, one answer to standard output."""
    given = json.loads(asked)
    limits = Limits(**given["limits"])
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    read = {"text": read_text, "html": read_html, "pdf": read_pdf, "docx": read_docx}[given["form"]]
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    pieces: list[str] = []
    length = 0
    unread = None
    try:
        for piece in read(sys.stdin.buffer, limits):
            pieces.append(piece)
            length += len(piece)
            if length > limits.text:
                unread = f"only the first {limits.text} characters were read"
                break
    except Unreadable as e:
        unread = str(e)
    except MemoryError:
        pieces.clear()
        unread = "reading it took more memory than a file may take"
    except RecursionError:
        unread = "it is nested too deeply"
    except Exception as e:  # a library met what it did not expect: the file is at fault, and says so by name
        unread = f"it is damaged ({type(e).__name__})"
    text = "".join(pieces)[: limits.text]
    sys.stdout.write(json.dumps({"text": text.encode("utf-8", "replace").decode(), "unread": unread}))


def decoded(data: bytes) -> str:
    """Text in UTF-8, in UTF-16 with a mark, else in Windows' Western code."""
    for mark, name in ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    try:
        return data.decode()
    except UnicodeDecodeError as e:
        if e.start > len(data) - 4:  # a character cut at the end
            return data[: e.start].decode()
        return data.decode("cp1252", "replace")


def read_text(file: IO[bytes], limits: Limits) -> Iterator[str]:
    """Plain text and Markdown as they stand, without pictures written as data."""
    text = decoded(file.read(limits.text * 4 + 4))
    yield re.sub(r"data:[a-z0-9.+/-]{1,60};base64,[A-Za-z0-9+/=\s]{64,}", " ", text)


def read_html(file: IO[bytes], limits: Limits) -> Iterator[str]:
    """What a browser would show, and the page's title and description."""
    from selectolax.lexbor import LexborHTMLParser

    data = file.read(limits.expanded + 1)
    if len(data) > limits.expanded:
        raise Unreadable(f"the page has more than {limits.expanded >> 20} MB")
    declared = re.search(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([A-Za-z0-9._:-]{1,40})""", data[:4096], re.IGNORECASE)
    tree = LexborHTMLParser(_in_declared(data, declared[1].decode() if declared else None))
    for title in tree.css("title")[:3]:
        yield title.text(deep=True) + "\n"
    for meta in tree.css('meta[name="description" i], meta[name="keywords" i], meta[name="author" i]')[:10]:
        yield (meta.attributes.get("content") or "") + "\n"
    tree.strip_tags(["head", "script", "style", "noscript", "template", "svg", "iframe", "object"])
    if tree.body is not None:
        yield tree.body.text(deep=True, separator=" ", strip=False)


def _in_declared(data: bytes, name: str | None) -> str:
    if name is not None and not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF8)):
        try:
            return data.decode(name, "replace")  # refuses what is no encoding of text
        except (LookupError, ValueError, TypeError):
            return decoded(data)
    return decoded(data)


def read_pdf(file: IO[bytes], limits: Limits) -> Iterator[str]:
    """The text of each page, in the order of the page."""
    import logging

    from pypdf import PdfReader
    from pypdf.errors import FileNotDecryptedError, PdfReadError, PyPdfError

    logging.disable(logging.CRITICAL)
    try:
        reader = PdfReader(file, strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("it is locked with a password")
        if reader.metadata is not None:
            for about in (reader.metadata.title, reader.metadata.subject, reader.metadata.author):
                if isinstance(about, str) and about:
                    yield about + "\n"
        damaged = 0
        for number, page in enumerate(reader.pages):
            if number >= limits.pages:
                raise Unreadable(f"only the first {limits.pages} pages were read")
            try:
                yield page.extract_text() + "\n\n"
            except (MemoryError, RecursionError):
                raise
            except Exception:  # one damaged page does not hide the others
                damaged += 1
        if damaged:
            raise Unreadable(f"{damaged} of its pages are damaged")
    except FileNotDecryptedError:
        raise Unreadable("it is locked with a password") from None
    except (PdfReadError, PyPdfError) as e:
        raise Unreadable(f"it is damaged ({type(e).__name__})") from None


def read_docx(file: IO[bytes], limits: Limits) -> Iterator[str]:
    """The paragraphs of a Word document, its tables, notes, comments, headers and footers; what was struck out by a revision is left out."""
    try:
        archive = zipfile.ZipFile(file)
        infos = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError) as e:
        raise Unreadable(f"it is damaged ({type(e).__name__})") from None
    if len(infos) > limits.entries:
        raise Unreadable(f"it has more than {limits.entries} parts")
    parts = [i for i in infos if _PARTS.fullmatch(i.filename)]
    if not any(i.filename.startswith("word/document") for i in parts):
        raise Unreadable("it is no Word document")
    parts.sort(key=lambda i: (not i.filename.startswith("word/document"), i.filename))
    left = limits.expanded
    for info in parts[:64]:
        counted = _Counted(archive, info, left, limits)
        try:
            yield from _paragraphs(counted, limits)
        except ParseError:
            raise Unreadable("it is damaged (a part is not XML)") from None
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as e:
            raise Unreadable(f"it is damaged ({type(e).__name__})") from None
        left -= counted.read_so_far


class _Counted:
    """A part of an archive that is read piece by piece, as far as it may be."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, left: int, limits: Limits) -> None:
        self._file = archive.open(info)
        self._left = min(left, max(info.compress_size, 1) * limits.ratio + (1 << 20))
        self.read_so_far = 0

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(min(size, 1 << 16) if size > 0 else 1 << 16)
        self.read_so_far += len(piece)
        if self.read_so_far > self._left:
            raise Unreadable("more comes out of it than a document holds")
        return piece


def _paragraphs(part: _Counted, limits: Limits) -> Iterator[str]:
    depth = hidden = 0
    try:
        for happening, element in iterparse(part, events=("start", "end"), forbid_dtd=True):
            tag = element.tag
            struck = tag in {_MC_FALLBACK, f"{_W}del", f"{_W}moveFrom"}
            if happening == "start":
                depth += 1
                hidden += struck
                if depth > limits.depth:
                    raise Unreadable("it is nested too deeply")
                continue
            depth -= 1
            hidden -= struck
            if not hidden:
                if tag == f"{_W}t" and element.text:
                    yield element.text
                elif tag in {f"{_W}tab", f"{_W}br", f"{_W}cr"}:
                    yield " "
                elif tag == f"{_W}noBreakHyphen":
                    yield "-"
                elif tag == f"{_W}p":
                    yield "\n"
            element.clear()
    except DefusedXmlException:
        raise Unreadable("it declares entities, which no Word document does") from None
