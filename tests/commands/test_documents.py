from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given, strategies
from pydantic import ValidationError

from commands.contacts import CreateContact
from commands.documents import (
    AddDocument,
    AddVersion,
    ArchiveDocument,
    ContentMissing,
    DescribeDocument,
    DiscardDocument,
    LiftHold,
    LinkDocument,
    LinkTarget,
    MoveDocument,
    NewVersion,
    NotYet,
    PlaceHold,
    RenameDocument,
    RestoreDocument,
    RestoreVersion,
    RetainDocument,
    ShortenRetention,
    UnlinkDocument,
)
from commands.folders import ArchiveFolder, CreateFolder, MoveFolder, RenameFolder, RestoreFolder
from commands.kernel import COMMANDS
from domain.documents import (
    DocumentAdded,
    DocumentDescribed,
    DocumentDiscarded,
    DocumentIsOnHold,
    DocumentLinked,
    FolderTakesNothing,
    RetentionSet,
    VersionAdded,
)
from domain.folders import FolderCycle, FolderId, FolderMoved, FolderTooDeep, PlaceIsArchived, TreeRearranged
from domain.kernel import NotFound
from infra.blobs import FolderBlobs
from tests.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk()
    desk.blobs = FolderBlobs(tmp_path, reserve=0)
    return desk


async def kept(desk: Desk, text: bytes = b"Dear Ann") -> str:
    async with desk.blobs.writing(desk.firm) as writer:
        await writer.write(text)
        return (await writer.commit()).sha256


async def added(desk: Desk, text: bytes = b"Dear Ann", **more: object) -> UUID:
    version = NewVersion(sha256=await kept(desk, text), file_name="letter.md")
    return UUID((await desk.do(AddDocument(version=version, **more)))["id"])


async def folder(desk: Desk, parent: UUID | None = None) -> UUID:
    return UUID((await desk.do(CreateFolder(name="Clients", parent=parent)))["id"])


async def test_a_document_is_added_with_what_is_known_of_it(desk: Desk) -> None:
    contact = UUID((await desk.do(CreateContact(given="Ann")))["id"])
    place = await folder(desk)
    answer = await desk.do(
        AddDocument(
            version=NewVersion(sha256=await kept(desk), file_name="C:\\post\\letter.md", author="Bo", comment="first"),
            folder=place,
            tags=["Post"],
            links=[LinkTarget(kind="contact", target=contact)],
            retain_until=date(2036, 1, 1),
            occurred_at=datetime(2020, 5, 1, tzinfo=UTC),
        )
    )
    assert answer["number"] == 1
    document, version, described, link, retention = answer["events"]
    assert document == DocumentAdded(title="letter.md", folder=place)
    assert isinstance(version, VersionAdded)
    assert (version.size, version.media_type, version.file_name, version.author) == (8, "text/markdown", "letter.md", "Bo")
    assert described == DocumentDescribed(tags=("Post",))
    assert link == DocumentLinked(kind="contact", target=contact)
    assert retention == RetentionSet(until=date(2036, 1, 1))
    assert {r.occurred_at.year for r in desk.record[-5:]} == {2020}


async def test_content_that_was_never_uploaded_is_refused_and_so_is_another_firms(desk: Desk) -> None:
    missing = NewVersion(sha256="0" * 64, file_name="x.md")
    with pytest.raises(ContentMissing):
        await desk.do(AddDocument(version=missing))
    other = Desk()
    other.blobs = desk.blobs
    foreign = NewVersion(sha256=await kept(other), file_name="x.md")
    with pytest.raises(ContentMissing):
        await desk.do(AddDocument(version=foreign))
    assert not desk.record


async def test_versions_are_added_and_restored(desk: Desk) -> None:
    id = await added(desk)
    again = await desk.do(AddVersion(id=id, version=NewVersion(sha256=await kept(desk), file_name="letter.md")))
    assert again["events"][0].same_content_as == 1
    second = await desk.do(AddVersion(id=id, version=NewVersion(sha256=await kept(desk, b"%PDF-1.7 x"), file_name="letter.md")))
    assert (second["number"], second["media_type"]) == (3, "application/pdf")
    restored = await desk.do(RestoreVersion(id=id, number=1, comment="as signed"))
    assert restored["number"] == 4
    assert restored["events"][0].restored_from == 1
    assert (await desk.do(RestoreVersion(id=id, number=4)))["events"] == []


async def test_a_document_moves_into_a_folder_that_takes_it(desk: Desk) -> None:
    id, top = await added(desk), await folder(desk)
    below = await folder(desk, top)
    assert (await desk.do(MoveDocument(id=id, folder=below)))["events"][0].folder == below
    await desk.do(ArchiveFolder(id=top))
    other = await added(desk)
    with pytest.raises(FolderTakesNothing):
        await desk.do(MoveDocument(id=other, folder=below))
    with pytest.raises(NotFound):
        await desk.do(MoveDocument(id=other, folder=uuid4()))


async def test_describing_changes_only_what_is_sent(desk: Desk) -> None:
    id = await added(desk, description="About rent", tags=["Lease"], language="en")
    assert (await desk.do(DescribeDocument(id=id)))["events"] == []
    assert (await desk.do(DescribeDocument(id=id, language="de")))["events"] == [
        DocumentDescribed(description="About rent", tags=("Lease",), language="de")
    ]
    assert (await desk.do(DescribeDocument(id=id, description=None, tags=None)))["events"] == [DocumentDescribed(language="de")]


async def test_a_link_leads_to_what_this_firm_has(desk: Desk) -> None:
    id = await added(desk)
    with pytest.raises(NotFound):
        await desk.do(LinkDocument(id=id, kind="contact", target=uuid4()))
    contact = UUID((await desk.do(CreateContact(given="Ann")))["id"])
    assert len((await desk.do(LinkDocument(id=id, kind="contact", target=contact)))["events"]) == 1
    with pytest.raises(NotFound):
        await desk.do(LinkDocument(id=id, kind="deal", target=contact))
    assert len((await desk.do(UnlinkDocument(id=id, kind="contact", target=contact)))["events"]) == 1


@pytest.mark.invariant("DOC5")
async def test_a_held_document_is_kept_until_the_hold_is_lifted(desk: Desk) -> None:
    id = await added(desk, retain_until=date(2026, 2, 1))
    hold = UUID((await desk.do(PlaceHold(id=id, name="Matter 12", reason="claim")))["hold"])
    desk.pass_time(days=60)
    with pytest.raises(DocumentIsOnHold):
        await desk.do(DiscardDocument(id=id, reason="old"))
    with pytest.raises(DocumentIsOnHold):
        await desk.do(ShortenRetention(id=id, until=None, reason="old"))
    await desk.do(LiftHold(id=id, hold=hold, reason="settled"))
    assert (await desk.do(DiscardDocument(id=id, reason="old")))["events"] == [DocumentDiscarded(reason="old")]


async def test_holds_and_shorter_retention_need_the_permission_for_holds() -> None:
    specs = {s.name: s.permission for s in COMMANDS.values() if s.name.startswith("documents.")}
    assert {name for name, p in specs.items() if p == "holds:write"} == {
        "documents.place_hold",
        "documents.lift_hold",
        "documents.shorten_retention",
    }


async def test_the_small_changes_are_recorded(desk: Desk) -> None:
    id = await added(desk)
    for command in (
        RenameDocument(id=id, title="Offer"),
        RetainDocument(id=id, until=date(2030, 1, 1)),
        ArchiveDocument(id=id, reason="old"),
        RestoreDocument(id=id),
    ):
        assert len((await desk.do(command))["events"]) == 1
        assert (await desk.do(command))["events"] == []


async def test_a_time_far_in_the_future_is_refused(desk: Desk) -> None:
    with pytest.raises(NotYet):
        await added(desk, occurred_at=desk.now + timedelta(days=2))


@pytest.mark.parametrize(
    "bad",
    [
        {"sha256": "A" * 64},
        {"sha256": "../../etc/passwd"},
        {"file_name": ""},
        {"file_name": "x" * 1025},
        {"comment": "x" * 2001},
        {"author": "a\nb"},
        {"source_time": datetime(2020, 1, 1)},  # noqa: DTZ001 (the point)
        {"size": 5},
    ],
)
def test_what_is_said_of_a_version_has_its_limits(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NewVersion(**{"sha256": "a" * 64, "file_name": "x.md", **bad})


@pytest.mark.invariant("FOL1")
@pytest.mark.invariant("FOL5")
async def test_folders_move_but_never_beneath_themselves(desk: Desk) -> None:
    a = await folder(desk)
    b = await folder(desk, a)
    c = await folder(desk, b)
    with pytest.raises(FolderCycle):
        await desk.do(MoveFolder(id=a, parent=c))
    with pytest.raises(FolderCycle):
        await desk.do(MoveFolder(id=a, parent=a))
    moved = await desk.do(MoveFolder(id=c, parent=None))
    assert moved["events"] == [FolderMoved(), TreeRearranged(folder=FolderId(c))]
    assert (await desk.do(MoveFolder(id=c, parent=None)))["events"] == []
    assert len((await desk.do(MoveFolder(id=a, parent=c)))["events"]) == 2
    lines = [r.version for r in desk.record if r.stream_type == "folder_tree"]
    assert lines == [1, 2]


@pytest.mark.invariant("FOL2")
@pytest.mark.invariant("FOL3")
async def test_folders_stand_neither_too_deep_nor_in_archived_ones(desk: Desk) -> None:
    id = top = await folder(desk)
    for _ in range(31):
        id = await folder(desk, id)
    with pytest.raises(FolderTooDeep):
        await folder(desk, id)
    await desk.do(RenameFolder(id=top, name="Former"))
    await desk.do(ArchiveFolder(id=top))
    with pytest.raises(PlaceIsArchived):
        await folder(desk, top)
    assert len((await desk.do(RestoreFolder(id=top)))["events"]) == 1


@given(strategies.lists(strategies.tuples(strategies.integers(0, 5), strategies.integers(-1, 5)), max_size=15))
async def test_whatever_is_moved_every_folder_leads_up_to_a_top(moves: list[tuple[int, int]]) -> None:
    desk = Desk()
    ids = [await folder(desk) for _ in range(6)]
    parents: dict[UUID, UUID | None] = dict.fromkeys(ids)
    for one, other in moves:
        parent = None if other < 0 else ids[other]
        try:
            await desk.do(MoveFolder(id=ids[one], parent=parent))
        except FolderCycle:
            continue
        parents[ids[one]] = parent
    for id in ids:
        at, steps = id, 0
        while (above := parents[at]) is not None:
            at, steps = above, steps + 1
            assert steps <= 6


@pytest.mark.invariant("DOC10")
async def test_every_change_made_twice_changes_nothing_the_second_time(desk: Desk) -> None:
    id, place = await added(desk), await folder(desk)
    contact = UUID((await desk.do(CreateContact(given="Ann")))["id"])
    for command in (
        MoveDocument(id=id, folder=place),
        LinkDocument(id=id, kind="contact", target=contact),
        UnlinkDocument(id=id, kind="contact", target=contact),
        ShortenRetention(id=id, until=None, reason="x"),
        DiscardDocument(id=id, reason="x"),
        ArchiveFolder(id=place),
        RestoreFolder(id=place),
    ):
        await desk.do(command)
        assert (await desk.do(command))["events"] == []
