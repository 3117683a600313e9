from datetime import date
from pathlib import Path
from uuid import UUID

import pytest

from commands.contacts import CreateContact
from commands.documents import (
    AddVersion,
    ArchiveDocument,
    DescribeDocument,
    DiscardDocument,
    LiftHold,
    LinkDocument,
    MoveDocument,
    NewVersion,
    PlaceHold,
    RenameDocument,
    RestoreDocument,
    RestoreVersion,
    RetainDocument,
    ShortenRetention,
    UnlinkDocument,
)
from commands.folders import ArchiveFolder, CreateFolder, MoveFolder, RenameFolder, RestoreFolder
from commands.kernel import Command
from infra.blobs import FolderBlobs
from projections.document_holds import DOCUMENT_HOLDS, DocumentHoldRow
from projections.document_links import DOCUMENT_LINKS
from projections.document_versions import DOCUMENT_VERSIONS, DocumentVersionRow
from projections.documents import DOCUMENTS, DocumentRow
from projections.folders import FOLDERS, FolderRow
from tests.commands.test_documents import added, folder, kept
from tests.commands.test_undo_each import a_stage
from tests.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk()
    desk.blobs = FolderBlobs(tmp_path, reserve=0)
    return desk


async def do(desk: Desk, *commands: Command) -> None:
    for command in commands:
        await desk.do(command)


async def test_a_document_shows_its_latest_version_and_leaves_the_other_document_alone(desk: Desk) -> None:
    id, other = await added(desk), await added(desk, b"other")
    untouched = desk.rows(DOCUMENTS)[other]
    place = await folder(desk)
    sha256 = await kept(desk, b"second")
    await do(
        desk,
        AddVersion(id=id, version=NewVersion(sha256=sha256, file_name="b.txt", author="Bo", comment="better")),
        RenameDocument(id=id, title="Offer"),
        MoveDocument(id=id, folder=place),
        DescribeDocument(id=id, description="About rent", tags=["Lease"], language="en"),
        RetainDocument(id=id, until=date(2030, 1, 1), reason="law"),
        ArchiveDocument(id=id, reason="old"),
    )
    row: DocumentRow = desk.rows(DOCUMENTS)[id]
    assert (row.title, row.folder, row.status, row.number) == ("Offer", place, "archived", 2)
    assert (row.sha256, row.size, row.media_type, row.file_name) == (sha256, 6, "text/plain", "b.txt")
    assert (row.author, row.comment) == ("Bo", "better")
    assert (row.description, row.tags, row.language) == ("About rent", ("Lease",), "en")
    assert (row.retain_until, row.retention_reason) == (date(2030, 1, 1), "law")
    assert (row.archived_at, row.archive_reason) == (desk.now, "old")
    await do(
        desk,
        RestoreDocument(id=id),
        ShortenRetention(id=id, until=None, reason="mistake"),
        RestoreVersion(id=id, number=1),
        DiscardDocument(id=id, reason="asked for"),
    )
    row = desk.rows(DOCUMENTS)[id]
    assert (row.number, row.restored_from, row.same_content_as) == (3, 1, 1)
    assert (row.status, row.discard_reason, row.discarded_at) == ("discarded", "asked for", desk.now)
    assert (row.retain_until, row.retention_reason, row.archived_at, row.archive_reason) == (None, "mistake", None, None)
    assert desk.rows(DOCUMENTS)[other] == untouched


async def test_every_version_has_its_row(desk: Desk) -> None:
    id, other = await added(desk), await added(desk, b"other")
    await do(
        desk, RestoreVersion(id=id, number=1), AddVersion(id=id, version=NewVersion(sha256=await kept(desk), file_name="a.md"))
    )
    rows: list[DocumentVersionRow] = list(desk.rows(DOCUMENT_VERSIONS).values())
    assert [(r.document, r.number, r.same_content_as) for r in rows] == [(id, 1, None), (other, 1, None), (id, 2, 1)]
    assert {r.added_by for r in rows} == {"member/00000000-0000-0000-0000-000000000001"}


async def test_holds_are_counted_and_shown_one_by_one(desk: Desk) -> None:
    id, other = await added(desk), await added(desk)
    first, second = [UUID((await desk.do(PlaceHold(id=id, name=n, reason="claim")))["hold"]) for n in ("Matter 12", "Audit")]
    await desk.do(LiftHold(id=id, hold=first, reason="settled"))
    row: DocumentRow = desk.rows(DOCUMENTS)[id]
    assert (row.on_hold, row.holds, row.hold_name, row.hold_reason) == (True, (second,), "Audit", "settled")
    holds: dict[UUID, DocumentHoldRow] = desk.rows(DOCUMENT_HOLDS)
    assert (holds[first].standing, holds[first].lift_reason, holds[first].document) == (False, "settled", id)
    assert (holds[second].standing, holds[second].lifted_at) == (True, None)
    await desk.do(LiftHold(id=id, hold=second, reason="over"))
    assert not desk.rows(DOCUMENTS)[id].on_hold
    assert not desk.rows(DOCUMENTS)[other].holds


async def test_links_are_seen_from_either_side(desk: Desk) -> None:
    id, other = await added(desk), await added(desk)
    ann, bo = [UUID((await desk.do(CreateContact(given=n)))["id"]) for n in ("Ann", "Bo")]
    links = [LinkDocument(id=d, kind="contact", target=c) for d, c in ((id, ann), (id, bo), (other, ann))]
    await do(desk, *links, UnlinkDocument(id=id, kind="contact", target=ann))
    assert desk.rows(DOCUMENTS)[id].contacts == (bo,)
    assert {(r.document, r.target) for r in desk.rows(DOCUMENT_LINKS).values()} == {(id, bo), (other, ann)}
    await do(desk, LinkDocument(id=id, kind="contact", target=ann))
    assert desk.rows(DOCUMENTS)[id].contacts == (bo, ann)
    assert len(desk.rows(DOCUMENT_LINKS)) == 3


@pytest.mark.parametrize(
    ("kind", "target"), [("contact", "ann"), ("organisation", "acme"), ("deal", "deal"), ("task", "a"), ("project", "project")]
)
async def test_a_document_shows_what_it_is_linked_to_under_its_kind(tmp_path: Path, kind: str, target: str) -> None:
    stage = await a_stage(tmp_path)
    id, linked = UUID(stage.ids["letter"]), UUID(stage.ids[target])
    kinds = ("contacts", "organisations", "deals", "tasks", "projects")

    def shown() -> dict[str, tuple[UUID, ...]]:
        row = stage.desk.rows(DOCUMENTS)[id]
        return {k: getattr(row, k) for k in kinds if getattr(row, k)}

    body = {"id": "@letter", "kind": kind, "target": f"@{target}"}
    await stage.do("documents.link", body)
    assert shown() == {f"{kind}s": (linked,)}
    assert [(r.document, r.kind, r.target) for r in stage.desk.rows(DOCUMENT_LINKS).values()] == [(id, kind, linked)]
    await stage.do("documents.unlink", body)
    assert (shown(), stage.desk.rows(DOCUMENT_LINKS)) == ({}, {})


async def test_a_folder_shows_where_it_stands(desk: Desk) -> None:
    id, other = await folder(desk), await folder(desk)
    await do(desk, RenameFolder(id=id, name="Former"), MoveFolder(id=id, parent=other), ArchiveFolder(id=id, reason="done"))
    rows = desk.rows(FOLDERS)
    assert rows[id] == FolderRow(name="Former", parent=other, archived=True, archived_at=desk.now, archive_reason="done")
    assert rows[other] == FolderRow(name="Clients")
    await do(desk, RestoreFolder(id=id))
    assert desk.rows(FOLDERS)[id] == FolderRow(name="Former", parent=other)


def test_the_folders_own_command_makes_a_row() -> None:
    assert CreateFolder(name="  Clients ").name == "Clients"
