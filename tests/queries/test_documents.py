from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from commands.documents import AddVersion, DiscardDocument, NewVersion
from commands.folders import ArchiveFolder, MoveFolder
from domain.kernel import NotFound
from infra.blobs import FolderBlobs
from infra.database import Database
from infra.projector.tables import Table
from infra.reading import PgReader, Readers
from infra.record import wire
from projections.document_holds import DOCUMENT_HOLDS
from projections.document_links import DOCUMENT_LINKS
from projections.document_versions import DOCUMENT_VERSIONS
from projections.documents import DOCUMENTS
from projections.folders import FOLDERS
from queries.document_versions import (
    ContentDiscarded,
    DocumentVersion,
    DocumentVersions,
    contents_in_use,
    document_version,
    document_versions,
    version_content,
)
from queries.folders import FolderPath, folder_path
from tests.commands.test_documents import added, folder, kept
from tests.desk import Desk
from tests.folding import fold_batch

VIEWS = (DOCUMENTS, DOCUMENT_VERSIONS, DOCUMENT_HOLDS, DOCUMENT_LINKS, FOLDERS)
ALL = frozenset({"documents:read", "personal:read"})


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk()
    desk.blobs = FolderBlobs(tmp_path, reserve=0)
    return desk


@pytest_asyncio.fixture
async def readers(database: Database) -> AsyncIterator[Readers]:
    readers = Readers(database, size=2)
    await readers.open()
    yield readers
    await readers.close()


def project(database: Database, desk: Desk) -> None:
    with database.connect("record") as c:
        wire.register(c)
        for view in VIEWS:
            fold_batch(view, Table(view), c, desk.record)


async def with_versions(desk: Desk, count: int) -> UUID:
    id = await added(desk)
    for n in range(2, count + 1):
        version = NewVersion(sha256=await kept(desk, b"%d" % n), file_name=f"v{n}.md", author="Bo", comment="x")
        await desk.do(AddVersion(id=id, version=version))
    return id


async def test_versions_are_paged_from_the_first_on(desk: Desk, database: Database, readers: Readers) -> None:
    id, other = await with_versions(desk, 5), await added(desk, b"other")
    project(database, desk)
    async with readers.reading(desk.firm, ALL) as reader:
        first: Any = await document_versions(DocumentVersions(id=id, page_size=2), reader)
        assert ([v["number"] for v in first["versions"]], first["next_after"]) == ([1, 2], 2)
        rest: Any = await document_versions(DocumentVersions(id=id, after=2, page_size=3), reader)
        assert ([v["number"] for v in rest["versions"]], rest.get("next_after")) == ([3, 4, 5], None)
        assert rest["versions"][0]["file_name"] == "v3.md"
        others: Any = await document_versions(DocumentVersions(id=other), reader)
        assert len(others["versions"]) == 1
        with pytest.raises(NotFound):
            await document_versions(DocumentVersions(id=uuid4()), reader)


async def test_names_are_masked_for_whoever_may_not_see_them(desk: Desk, database: Database, readers: Readers) -> None:
    id, place = await with_versions(desk, 2), await folder(desk)
    project(database, desk)
    async with readers.reading(desk.firm, frozenset({"documents:read"})) as reader:
        version: Any = await document_version(DocumentVersion(id=id, number=2), reader)
        assert (version["file_name"], version["author"], version["comment"], version["size"]) == (None, None, None, 1)
        way: Any = await folder_path(FolderPath(id=place), reader)
        assert way["path"][0]["name"] is None


async def test_another_firm_sees_nothing(desk: Desk, database: Database, readers: Readers) -> None:
    id, place = await with_versions(desk, 1), await folder(desk)
    project(database, desk)

    async def refused(reader: PgReader) -> None:
        with pytest.raises(NotFound):
            await document_version(DocumentVersion(id=id, number=1), reader)
        with pytest.raises(NotFound):
            await folder_path(FolderPath(id=place), reader)
        assert await contents_in_use([await kept(desk)], reader) == set()

    async with readers.reading(Desk().firm, ALL) as reader:
        await refused(reader)


async def test_discarded_content_is_neither_read_nor_in_use(desk: Desk, database: Database, readers: Readers) -> None:
    id, other = await with_versions(desk, 2), await added(desk)  # both begin with the same content
    await desk.do(DiscardDocument(id=id, reason="old"))
    project(database, desk)
    shared, own = await kept(desk), await kept(desk, b"2")
    async with readers.reading(desk.firm, ALL) as reader:
        with pytest.raises(ContentDiscarded):
            await version_content(DocumentVersion(id=id, number=1), reader)
        assert (await version_content(DocumentVersion(id=other, number=1), reader)).sha256 == shared
        assert await contents_in_use([shared, own, "0" * 64], reader) == {shared}


async def test_a_folders_path_leads_from_the_top_to_it(desk: Desk, database: Database, readers: Readers) -> None:
    top, loose = await folder(desk), await folder(desk)
    middle = await folder(desk, top)
    await desk.do(MoveFolder(id=loose, parent=middle))
    await desk.do(ArchiveFolder(id=top))
    project(database, desk)
    async with readers.reading(desk.firm, ALL) as reader:
        way: Any = await folder_path(FolderPath(id=loose), reader)
    assert [(step["id"], step["archived"]) for step in way["path"]] == [(str(top), True), (str(middle), False), (str(loose), False)]
