"""A folder of documents and their versions as records, in whichever of two forms it has (docs/import-documents.md).

Listed: `versions.jsonl` says, a line each, which version of which document has which content; the contents stand in `blobs/`,
`blobs.tar`, `blobs.tar.gz` or `blobs.tgz`. Tree: every file is a document where it stands; `letter.v1.docx` and `letter.v2.docx`, or the
files of `letter.docx.versions/`, are versions of `letter.docx`.

Records come document by document and, within one, from the first version to the last, whatever the order of the input. What must be
sorted or looked up stands in a private database on disk, so that memory does not grow with the input. No name from the input is ever
opened as a path: contents are found by what was seen while walking, links are not followed, and an archive is never unpacked.
"""

import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import orjson

from domain.documents.names import NoFileName, clean_file_name
from infra.imports.archives import CONTROL, PIECE, FolderLimits, entries, expanded, is_utf8, open_beneath, relative
from infra.imports.rows import FileDefect, Mapped, RowError, doubt, refusal
from infra.imports.source import Overlong, Source

LIST = "versions.jsonl"
ARCHIVES = ("blobs.tar", "blobs.tar.gz", "blobs.tgz")
BATCH = 2_000
JUNK = frozenset(("thumbs.db", "desktop.ini", "__macosx"))

FIELDS: Mapping[str, tuple[str, ...]] = {
    "document": ("document", "document_id", "key"),
    "version": ("version", "number"),
    "path": ("path", "file_name", "name"),
    "blob": ("blob", "file", "content", "sha256"),
    "time": ("time", "authored_at", "committed_at", "modified_at", "created_at"),
    "author": ("author", "author_name"),
    "comment": ("comment", "subject", "message"),
    "sha256": ("sha256",),
}

_NUMBERED = re.compile(r"(?i)(?P<stem>.*[^._ -])(?:[._ -]v|\s*\(v)(?P<number>\d{1,9})\)?(?P<extension>(?:\.[^.\s]{1,16})?)")
_VERSIONS_FOLDER = re.compile(r"(?i)(?P<name>.+)\.versions")
_DIGITS = re.compile(r"\d+")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """One version. `number` counts a document's accepted versions from 1; `source_id` is the same whenever the folder is read again.

    `folder` and `file_name` come from `path`, cleaned; `title` is what the document is called. `chunks()` streams the content, `size`
    bytes in pieces of at most 256 KiB, and raises FileDefect when it can't be read any more. `sha256` is what the list promises.
    """

    document: str
    number: int
    source_id: str
    title: str = field(repr=False)
    path: str = field(repr=False)
    folder: tuple[str, ...] = field(repr=False)
    file_name: str = field(repr=False)
    size: int
    chunks: Callable[[], Iterator[bytes]] = field(repr=False)
    time: datetime | None = None
    author: str | None = field(default=None, repr=False)
    comment: str | None = field(default=None, repr=False)
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """Where a content was seen: in a folder (`parts`), or in an archive at an offset."""

    name: str
    size: int
    source: int
    offset: int


class VersionFolder:
    """`with VersionFolder(path) as versions: for row in versions: …`. Raises FileDefect when the folder as a whole can't be read."""

    def __init__(self, folder: Path, *, limits: FolderLimits | None = None) -> None:
        self.folder = folder
        self.limits = limits or FolderLimits()
        self.notes: list[str] = []
        self.versions = 0
        self._seen = 0
        self._skipped = 0
        self._files: list[BinaryIO] = []
        self._stack = ExitStack()
        self._db = sqlite3.connect("", check_same_thread=False)
        for line in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-32768", "temp_store=FILE"):
            self._db.execute(f"PRAGMA {line}")
        self._db.execute("CREATE TABLE rows (seq INTEGER PRIMARY KEY, document TEXT, rank TEXT, line INTEGER, data BLOB)")
        self._db.execute("CREATE TABLE refused (line INTEGER, source BLOB, field TEXT, value TEXT, reason TEXT)")
        self._db.execute("CREATE TABLE blobs (name TEXT, base TEXT, stem TEXT, size INTEGER, source INTEGER, place INTEGER)")

    def __enter__(self) -> Self:
        try:
            if not self.folder.is_dir():
                raise FileDefect("There is no such folder", "documents are read from a folder", "Name the folder that holds them")
            self.form = "listed" if _is_plain_file(self.folder / LIST) else "tree"
            if self.form == "listed":
                self._index_contents()
                self._index_list()
            else:
                self._index_tree()
            if self._skipped:
                self.notes.append(f"{self._skipped:,} hidden and system files were left out.")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()
        self._stack.close()

    def __iter__(self) -> Iterator[Mapped[VersionRecord]]:
        number = 0
        for line, source, name, value, reason in self._db.execute("SELECT * FROM refused ORDER BY line"):
            number += 1
            error = refusal(line, name, value, reason)
            yield Mapped(line=line, number=number, record=None, source=orjson.loads(source), errors=(error,))
        rows = self._db.execute(
            "SELECT r.document, r.rank, r.line, r.data FROM rows r"
            " JOIN (SELECT document, min(seq) AS first FROM rows GROUP BY document) d USING (document)"
            " ORDER BY d.first, r.rank, r.seq"
        )
        make = self._listed if self.form == "listed" else self._in_tree
        for document, versions in groupby(rows, key=lambda row: row[0]):
            accepted, before = 0, None
            for _, rank, line, data in versions:
                number += 1
                source = orjson.loads(data)
                if self.form == "listed" and rank == before:
                    error = refusal(line, "version", source["number"], "The document has another version of this number already")
                    yield Mapped(line=line, number=number, record=None, source=source["row"], errors=(error,))
                    continue
                before = rank
                mapped = make(document, accepted + 1, line, number, source)
                accepted += mapped.record is not None
                yield mapped

    # --- listed form

    def _index_list(self) -> None:
        source = Source(self.folder / LIST)
        with _Batches(self._db, "INSERT INTO rows (document, rank, line, data) VALUES (?, ?, ?, ?)") as rows:
            for text in source.lines():
                line = source.line
                if not text.strip():
                    continue
                if isinstance(text, Overlong):
                    self._refuse(line, {}, "", "", "The line is longer than a megabyte")
                    continue
                try:
                    row = orjson.loads(text)
                except orjson.JSONDecodeError as e:
                    self._refuse(line, {"text": text[: self.limits.text]}, "", text, f"The line is no JSON: {e.msg}")
                    continue
                if not isinstance(row, dict):
                    self._refuse(line, {"value": row}, "", text, "The line is no JSON object")
                    continue
                document, number = _first(row, "document"), _first(row, "version")
                if not isinstance(document, str) or not document.strip() or len(document) > self.limits.text:
                    self._refuse(line, row, "document", document, "Every line names its document, with a text")
                elif not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 10**9:
                    self._refuse(line, row, "version", number, "Every line has the number of its version")
                else:
                    rows.add(document, f"{number:09}", line, orjson.dumps({"number": number, "row": row}))
                    self.versions += 1
        self.notes.extend(source.notes)

    def _listed(self, document: str, accepted: int, line: int, count: int, source: dict[str, Any]) -> Mapped[VersionRecord]:
        row: dict[str, Any] = source["row"]
        errors: list[RowError] = []

        def refused(name: str, value: object, reason: str) -> Mapped[VersionRecord]:
            return Mapped(line=line, number=count, record=None, source=row, errors=(refusal(line, name, value, reason),))

        path = _first(row, "path") or document
        parts = relative(path, self.limits.depth) if isinstance(path, str) and len(path) <= self.limits.text else None
        if parts is None:
            return refused("path", path, "The path leads out of the folder or is no path")
        try:
            file_name = clean_file_name(parts[-1])
        except NoFileName as e:
            return refused("path", path, e.why)
        blob = _first(row, "blob")
        if not isinstance(blob, str) or not blob:
            return refused("blob", blob, "The line does not say which content it has")
        found = self._find(blob)
        if not found:
            return refused("blob", blob, "There is no such content in the folder")
        if len(found) > 1:
            return refused("blob", blob, "Several contents have this name; name one by its whole path")
        if found[0].size > self.limits.content:
            return refused("blob", blob, f"The content is larger than {self.limits.content:,} bytes")
        time = _time(_first(row, "time"))
        if time is None and _first(row, "time") is not None:
            errors.append(doubt(line, "time", _first(row, "time"), "This is no time in ISO 8601 with an offset; it was left out"))
        sha256 = _first(row, "sha256")
        if sha256 is not None and not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
            return refused("sha256", sha256, "This is no SHA-256 in lower-case hexadecimal")
        record = VersionRecord(
            document=document,
            number=accepted,
            source_id=f"{document}#{source['number']}",
            title=file_name,
            path="/".join(parts),
            folder=parts[:-1],
            file_name=file_name,
            size=found[0].size,
            chunks=lambda: self._chunks(found[0]),
            time=time,
            author=self._text("author", row, line, errors),
            comment=self._text("comment", row, line, errors),
            sha256=sha256,
        )
        return Mapped(line=line, number=count, record=record, source=row, errors=tuple(errors))

    def _text(self, name: str, row: dict[str, Any], line: int, errors: list[RowError]) -> str | None:
        value = _first(row, name)
        if value is None:
            return None
        if not isinstance(value, str):
            errors.append(doubt(line, name, value, "This is no text; it was left out"))
            return None
        text = value.replace("\0", "").strip()
        if len(text) > self.limits.text:
            errors.append(doubt(line, name, value, f"Only the first {self.limits.text:,} characters were taken"))
        return text[: self.limits.text] or None

    def _index_contents(self) -> None:
        with _Batches(self._db, "INSERT INTO blobs VALUES (?, ?, ?, ?, ?, ?)") as rows:
            if (self.folder / "blobs").is_dir() and not (self.folder / "blobs").is_symlink():
                for path, info in self._walk(("blobs",)):
                    self._index_blob(rows, path, info.st_size, -1, 0)
            for name in ARCHIVES:
                if _is_plain_file(self.folder / name):
                    self._index_archive(rows, name)
        for column in ("name", "base", "stem"):
            self._db.execute(f"CREATE INDEX blobs_by_{column} ON blobs ({column})")

    def _index_blob(self, rows: "_Batches", path: tuple[str, ...], size: int, source: int, place: int) -> None:
        base = path[-1]
        rows.add("/".join(path), base, base.partition(".")[0], size, source, place)

    def _index_archive(self, rows: "_Batches", name: str) -> None:
        raw = self._stack.enter_context(open_beneath(self.folder, (name,)))
        archive = self._stack.enter_context(expanded(raw, name, self.limits)) if name.endswith("gz") else raw
        self._files.append(archive)
        for entry in entries(archive, name, self.limits):
            self._count()
            if entry.defect is None and entry.parts:
                self._index_blob(rows, entry.parts, entry.size, len(self._files) - 1, entry.place)
            elif entry.defect is not None:
                self._refuse(0, {"archive": name}, "name", entry.name, entry.defect)

    def _find(self, blob: str) -> list[_Found]:
        """By whole path, else by file name, else by file name without extensions; at most two."""
        for column in ("name", "base", "stem"):
            rows = self._db.execute(f"SELECT name, size, source, place FROM blobs WHERE {column} = ? LIMIT 2", (blob,)).fetchall()
            if rows:
                return [_Found(*row) for row in rows]
        return []

    # --- tree form

    def _index_tree(self) -> None:
        with _Batches(self._db, "INSERT INTO rows (document, rank, line, data) VALUES (?, ?, ?, ?)") as rows:
            for path, info in self._walk(()):
                folder, name = path[:-1], path[-1]
                rank = "1"  # without a number it is the latest
                if folder and (of := _VERSIONS_FOLDER.fullmatch(folder[-1])):
                    folder, name, rank = folder[:-1], of["name"], f"0{_natural(path[-1])}"
                elif numbered := _NUMBERED.fullmatch(name):
                    name, rank = numbered["stem"] + numbered["extension"], f"0{_natural(numbered['number'])}"
                self.versions += 1
                source = {"path": "/".join(path), "size": info.st_size, "modified": info.st_mtime_ns}
                rows.add("/".join((*folder, name)), rank, self.versions, orjson.dumps(source))

    def _in_tree(self, document: str, accepted: int, line: int, count: int, source: dict[str, Any]) -> Mapped[VersionRecord]:
        path: str = source["path"]
        *folder, title = document.split("/")
        own = path.rpartition("/")[2]
        in_versions_folder = path.count("/") > len(folder)
        try:
            title = clean_file_name(title)
            file_name = title if in_versions_folder else clean_file_name(own)
        except NoFileName as e:
            return Mapped(line=line, number=count, record=None, source=source, errors=(refusal(line, "path", path, e.why),))
        size = source["size"]
        if size > self.limits.content:
            error = refusal(line, "size", size, f"The file is larger than {self.limits.content:,} bytes")
            return Mapped(line=line, number=count, record=None, source=source, errors=(error,))
        record = VersionRecord(
            document=document,
            number=accepted,
            source_id=path,
            title=title,
            path=path,
            folder=tuple(folder),
            file_name=file_name,
            size=size,
            chunks=lambda: self._chunks(_Found(path, size, -1, 0)),
            time=datetime.fromtimestamp(source["modified"] // 10**9, UTC),
        )
        return Mapped(line=line, number=count, record=record, source=source)

    # --- both

    def _walk(self, start: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], os.stat_result]]:
        waiting = [start]
        while waiting:
            at = waiting.pop()
            if len(at) > self.limits.depth:
                raise FileDefect("The folder is too deep", f"more than {self.limits.depth} levels", "Import its parts one by one")
            below = []
            with os.scandir(self.folder.joinpath(*at)) as entries:
                for entry in entries:
                    self._count()
                    if entry.name.startswith(".") or entry.name.lower() in JUNK:
                        self._skipped += 1
                        continue
                    path = (*at, entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        below.append(path)
                    elif not is_utf8(entry.name) or CONTROL.search(entry.name):
                        self._refuse(0, {}, "path", "/".join(path), "The name is not valid UTF-8 or has control characters")
                    elif entry.is_file(follow_symlinks=False):
                        yield path, entry.stat(follow_symlinks=False)
                    else:
                        self._refuse(
                            0, {}, "path", "/".join(path), "This is no plain file (a link or a device); it was not followed"
                        )
            waiting.extend(sorted(below, reverse=True))

    def _chunks(self, found: _Found) -> Iterator[bytes]:
        left = found.size
        try:
            if found.source >= 0:
                file, place = self._files[found.source], found.offset
                while left and (piece := os.pread(file.fileno(), min(PIECE, left), place)):
                    left, place = left - len(piece), place + len(piece)
                    yield piece
            else:
                with open_beneath(self.folder, tuple(found.name.split("/"))) as file:
                    while left and (piece := file.read(min(PIECE, left))):
                        left -= len(piece)
                        yield piece
                    left += len(file.read(1))
        except OSError as e:
            raise FileDefect("A file can't be read any more", e.strerror or "the system refused", "Import the folder again") from e
        if left:
            raise FileDefect("A file changed while it was read", "it has another size than before", "Import the folder again")

    def _count(self) -> None:
        self._seen += 1
        if self._seen > self.limits.files:
            raise FileDefect("The folder holds too many files", f"more than {self.limits.files:,}", "Import its parts one by one")

    def _refuse(self, line: int, source: Mapping[str, Any], name: str, value: object, reason: str) -> None:
        shown = str(value)[: self.limits.text].encode(errors="replace").decode()
        row = orjson.dumps({**source, **({name: shown} if not source or "archive" in source else {})})
        self._db.execute("INSERT INTO refused VALUES (?, ?, ?, ?, ?)", (line, row, name, shown, reason))


class _Batches:
    """Rows put into one table, some thousands at a time."""

    def __init__(self, db: sqlite3.Connection, sql: str) -> None:
        self._db, self._sql = db, sql
        self._rows: list[tuple[Any, ...]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self._db.executemany(self._sql, self._rows)

    def add(self, *row: Any) -> None:
        self._rows.append(row)
        if len(self._rows) >= BATCH:
            self._db.executemany(self._sql, self._rows)
            self._rows = []


def _is_plain_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _first(row: Mapping[str, Any], name: str) -> Any:
    return next((row[alias] for alias in FIELDS[name] if row.get(alias) is not None), None)


def _natural(text: str) -> str:
    """Text that sorts as people count: 2 before 10."""
    return _DIGITS.sub(lambda m: m[0].lstrip("0").rjust(24, "0"), text.casefold())


def _time(value: object) -> datetime | None:
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        time = datetime.fromisoformat(value)
        return time if time.tzinfo is not None and time.astimezone(UTC).year > 1 else None
    except (ValueError, OverflowError):
        return None
