"""Documents out of a folder: each with its versions in order, their own times and authors, in folders like those on the disk.

Bytes are stored before the version that names them is recorded, as an upload would do it; content that is there already is not
written again. What an interruption leaves unused is swept like an upload that nobody used.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from commands.folders import path_up
from commands.kernel import Work
from domain import documents, folders
from domain.documents import DOCUMENT, Content, Place, VersionId
from domain.folders import DEEPEST, FOLDER, FolderId
from domain.kernel import FirmId
from infra.blobs import BlobStore
from infra.imports.documents import VersionFolder, VersionRecord
from infra.imports.into.kernel import Carry, Carrying, Names, Outcome, line_of, taken, text_of
from infra.imports.rows import Mapped
from infra.imports.source import Progress
from infra.record.execute import FAR


class Folder:
    """A folder of versions, with progress counted in versions."""

    def __init__(self, versions: VersionFolder) -> None:
        self._versions = versions
        self.form = versions.form
        self._read = 0

    @property
    def notes(self) -> list[str]:
        return self._versions.notes

    def progress(self) -> Progress:
        return Progress(read=self._read, total=max(self._versions.versions, 1), rate=0.0, left=None)

    def map_toml(self) -> str:
        return ""

    def __iter__(self) -> Iterator[Mapped[Any]]:
        self._read = 0
        for row in self._versions:
            self._read += 1
            yield row


class DocumentCarrier:
    notes: Sequence[str] = ()

    def __init__(self, names: Names, source: str, blobs: BlobStore, firm: FirmId) -> None:
        self._names = names
        self._source = source
        self._blobs = blobs
        self._firm = firm

    @staticmethod
    @contextmanager
    def open(path: Path) -> Iterator[Folder]:
        with VersionFolder(path) as versions:
            yield Folder(versions)

    def prepare(self) -> Iterable[Callable[[Work], Awaitable[None]]]:
        return ()

    def names(self, _row: Mapped[Any]) -> Iterable[UUID]:
        return ()

    def place(self, row: Mapped[Any]) -> Carry:
        r: VersionRecord = taken(row)
        id = self._names.id("document", self._source, r.document)
        content = self._stored(r)

        async def run(w: Work, c: Carrying) -> Outcome:
            return await self._version(r, w, c, id, content)

        return Carry(
            stream=DOCUMENT,
            id=id,
            source_key=self._names.id("version-row", self._source, r.source_id),
            subject=id,
            run=run,
            reads=[(DOCUMENT, id)],
            rests_on=content.sha256,
        )

    def _stored(self, r: VersionRecord) -> Content:
        """Put the bytes into the store, unless they are there."""
        digest = hashlib.sha256()
        for piece in r.chunks():
            digest.update(piece)
        sha256 = digest.hexdigest()

        async def store() -> Any:
            found = await self._blobs.find(self._firm, sha256, file_name=r.file_name)
            if found is not None and r.sha256 in {None, sha256}:
                return found
            async with self._blobs.writing(self._firm) as writer:
                for piece in r.chunks():
                    await writer.write(piece)
                return await writer.commit(file_name=r.file_name, sha256=r.sha256 or sha256)

        blob = asyncio.run(store())
        return Content(
            sha256=blob.sha256,
            size=blob.size,
            media_type=blob.media_type,
            file_name=r.file_name,
            author=line_of(r.author, 300),
            comment=text_of(r.comment, 2_000),
            source_time=r.time,
        )

    async def _version(self, r: VersionRecord, w: Work, c: Carrying, id: UUID, content: Content) -> Outcome:
        document = await w.find(DOCUMENT, id)
        if document.state.archived and c.undone:
            w.record(document, documents.restore(document.state))
        at = r.time if r.time is not None and r.time <= w.now + FAR else None
        if r.time is not None and at is None:
            c.doubt("time", r.time.isoformat(), "the time lies in the future; the version was recorded as of now")
        version = VersionId(w.derive_id("import", "version", str(id), r.source_id, content.sha256))
        if document.version == 0:
            folder = await self._folder(r, w, c)
            path = await path_up(w, folder)
            place = Place(id=folder, archived=any(step.archived for step in path))
            added = documents.add(document.state, content=content, version=version, title=line_of(r.title, 300), place=place)
            w.record(document, added, occurred_at=at)
            return "created"
        known = document.state.versions
        if len(known) >= r.number and known[r.number - 1].sha256 == content.sha256:
            return "changed" if any(m.stream_id == id for m in w.made) else "unchanged"
        w.record(document, documents.add_version(document.state, content=content, version=version), occurred_at=at)
        return "created" if c.prior is None else "changed"

    async def _folder(self, r: VersionRecord, w: Work, c: Carrying) -> UUID | None:
        """The folder of this path, made where it lacks; what stands deeper than folders may, stands in the deepest."""
        parent: UUID | None = None
        way: tuple[str, ...] = ()
        for name in r.folder[: DEEPEST - 1]:
            way = (*way, name)
            id = self._names.id("folder", self._source, *way)
            folder = await w.find(FOLDER, id)
            if folder.version == 0:
                path = await path_up(w, parent)
                made = folders.create(
                    folder.state, name=line_of(name, 200) or "_", parent=FolderId(parent) if parent else None, path=path
                )
                w.record(folder, made)
            elif folder.state.archived and c.undone:
                w.record(folder, folders.restore(folder.state, path=await path_up(w, parent)))
            parent = id
        if len(r.folder) >= DEEPEST:
            c.doubt("path", r.path, f"folders stand {DEEPEST} deep at most; the document was put into the deepest")
        return parent
