import gzip
import hashlib
import io
import json
import os
import tarfile
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies

from infra.imports.archives import FolderLimits, entries, relative
from infra.imports.documents import VersionFolder, VersionRecord
from infra.imports.rows import FileDefect, Mapped
from tests.shared import shared


def read(folder: Path, **limits: int) -> tuple[list[VersionRecord], list[Mapped[VersionRecord]]]:
    """The records with their contents checked for size, and the rows that were refused."""
    with VersionFolder(folder, limits=FolderLimits(**limits)) as versions:
        rows = list(versions)
        for row in rows:
            if row.record is not None:
                assert sum(map(len, row.record.chunks())) == row.record.size
    return [row.record for row in rows if row.record], [row for row in rows if row.record is None]


def listed(folder: Path, *lines: dict[str, Any] | str, **contents: bytes) -> Path:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / "versions.jsonl").write_text(text)
    (folder / "blobs").mkdir()
    for name, content in contents.items():
        (folder / "blobs" / f"{name}.md").write_bytes(content)
    return folder


def packed(folder: Path, name: str, *members: tuple[str, bytes] | tarfile.TarInfo) -> Path:
    with tarfile.open(folder / name, "w:gz" if name.endswith("gz") else "w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return folder


def reasons(refused: list[Mapped[VersionRecord]]) -> list[str]:
    return [error.reason for row in refused for error in row.errors]


def test_the_site_policies_are_read_as_they_stand() -> None:
    folder = shared("data/site-policy-versions")
    truth: dict[tuple[str, int], dict[str, Any]] = {}
    for line in (folder / "versions.jsonl").read_text().splitlines():
        row = json.loads(line)
        truth[row["document"], row["version"]] = row
    last: dict[str, tuple[int, bytes]] = {}
    contents = set()
    with VersionFolder(folder) as versions:
        rows = list(versions)
        assert [row.errors for row in rows if row.errors] == []
        for row in rows:
            record = row.record
            assert record is not None
            content = b"".join(record.chunks())
            contents.add(hashlib.sha256(content).digest())
            expected = truth[record.document, record.number]
            git_id = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
            assert git_id == expected["blob"]
            before = last.get(record.document, (0, b""))
            assert record.number == before[0] + 1
            assert (record.number > 1 and before[1] == content) == expected["same_content_as_previous"]
            last[record.document] = (record.number, content)
            assert record.time == datetime.fromisoformat(expected["authored_at"])
            assert record.comment == expected["subject"]
            assert "/".join((*record.folder, record.file_name)) == expected["path"]
    assert (len(rows), len(last), len(contents)) == (1807, 57, 953)


def test_versions_come_in_order_whatever_the_order_of_the_lines(tmp_path: Path) -> None:
    lines = [{"document": d, "version": v, "blob": f"{d}{v}"} for v, d in ((10, "a"), (2, "b"), (2, "a"), (7, "b"))]
    records, refused = read(listed(tmp_path, *lines, a10=b"x", b2=b"y", a2=b"z", b7=b""))
    assert [(r.document, r.number, r.source_id) for r in records] == [
        ("a", 1, "a#2"),
        ("a", 2, "a#10"),
        ("b", 1, "b#2"),
        ("b", 2, "b#7"),
    ]
    assert refused == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("not json", "The line is no JSON"),
        ("[1]", "The line is no JSON object"),
        ({"version": 1, "blob": "a"}, "Every line names its document"),
        ({"document": 5, "version": 1, "blob": "a"}, "Every line names its document"),
        ({"document": "x", "version": "1", "blob": "a"}, "Every line has the number"),
        ({"document": "x", "version": True, "blob": "a"}, "Every line has the number"),
        ({"document": "x", "version": -1, "blob": "a"}, "Every line has the number"),
        ({"document": "x", "version": 1}, "does not say which content"),
        ({"document": "x", "version": 1, "blob": "b"}, "There is no such content"),
        ({"document": "x", "version": 1, "blob": "../versions.jsonl"}, "There is no such content"),
        ({"document": "x", "version": 1, "blob": "a", "path": "../../x"}, "leads out of the folder"),
        ({"document": "x", "version": 1, "blob": "a", "path": "/etc/passwd"}, "leads out of the folder"),
        ({"document": "x", "version": 1, "blob": "a", "path": "C:\\x"}, "leads out of the folder"),
        ({"document": "x", "version": 1, "blob": "a", "path": "d/" * 40 + "x"}, "leads out of the folder"),
        ({"document": "x", "version": 1, "blob": "a", "path": "..."}, "holds nothing that can be a name"),
        ({"document": "x", "version": 1, "blob": "a", "sha256": "zz"}, "no SHA-256"),
        ({"document": "good", "version": 1, "blob": "a"}, "another version of this number"),
    ],
)
def test_a_bad_line_is_reported_and_the_good_ones_are_read(tmp_path: Path, line: dict[str, Any] | str, reason: str) -> None:
    good = {"document": "good", "version": 1, "blob": "a"}
    records, refused = read(listed(tmp_path, good, line, a=b"x"))
    assert [r.document for r in records] == ["good"]
    assert len(refused) == 1
    assert reason in reasons(refused)[0]
    assert refused[0].line == 2


def test_a_doubtful_time_is_left_out_and_said_so(tmp_path: Path) -> None:
    lines = [{"document": "x", "version": n, "blob": "a", "time": t} for n, t in enumerate(("yesterday", "2020-01-01", 5), 1)]
    with VersionFolder(listed(tmp_path, *lines, a=b"x")) as versions:
        rows = list(versions)
    assert [(row.record is not None, row.record.time if row.record else 1, len(row.errors)) for row in rows] == [
        (True, None, 1)
    ] * 3


def test_a_content_that_several_files_could_be_is_refused(tmp_path: Path) -> None:
    listed(tmp_path, {"document": "x", "version": 1, "blob": "a"}, {"document": "y", "version": 1, "blob": "blobs/a.txt"}, a=b"x")
    (tmp_path / "blobs" / "a.txt").write_bytes(b"other")
    records, refused = read(tmp_path)
    assert [r.document for r in records] == ["y"]
    assert "Several contents have this name" in reasons(refused)[0]


@pytest.mark.parametrize("name", ["blobs.tar", "blobs.tar.gz", "blobs.tgz"])
def test_an_archive_is_read_without_following_what_leads_outwards(tmp_path: Path, name: str) -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard = tarfile.TarInfo("hard")
    hard.type, hard.linkname = tarfile.LNKTYPE, "good"
    fifo = tarfile.TarInfo("fifo")
    fifo.type = tarfile.FIFOTYPE
    packed(tmp_path, name, ("../../escape", b"x"), ("/absolute", b"x"), link, hard, fifo, ("sub/good.md", b"Dear Ann"))
    blobs = ("good", "escape", "absolute", "link", "hard", "fifo")
    lines = [{"document": blob, "version": 1, "blob": blob} for blob in blobs]
    (tmp_path / "versions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    records, refused = read(tmp_path)
    assert [r.document for r in records] == ["good"]
    assert len(refused) == 10
    assert not (tmp_path.parent / "escape").exists()


def test_an_archive_that_expands_out_of_proportion_is_refused(tmp_path: Path) -> None:
    packed(tmp_path, "blobs.tar.gz", ("a", bytes(4 << 20)))
    (tmp_path / "versions.jsonl").write_text("")
    with pytest.raises(FileDefect, match="expands out of proportion"):
        read(tmp_path, ratio_from=1 << 20)
    with pytest.raises(FileDefect, match="expands out of proportion"):
        read(tmp_path, expanded=1 << 20)


def test_a_forged_header_does_not_fill_the_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 200 << 20
    with gzip.open(tmp_path / "blobs.tar.gz", "wb", compresslevel=1) as file:
        file.write(info.tobuf())
        for _ in range(200):
            file.write(bytes(1 << 20))
    (tmp_path / "versions.jsonl").write_text("")
    tracemalloc.start()
    try:
        with pytest.raises(FileDefect, match="damaged"):
            read(tmp_path, ratio=10_000)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("cut", [10, 300, 2000])
@pytest.mark.parametrize("name", ["blobs.tar", "blobs.tar.gz"])
def test_a_cut_archive_is_refused(tmp_path: Path, name: str, cut: int) -> None:
    packed(tmp_path, name, ("a", os.urandom(3000)), ("b", os.urandom(3000)))
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:cut])
    (tmp_path / "versions.jsonl").write_text("")
    with pytest.raises(FileDefect, match=r"damaged|cut off"):
        read(tmp_path)


def write(folder: Path, *paths: str) -> None:
    for n, path in enumerate(paths):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
        os.utime(folder / path, (1_600_000_000 + n, 1_600_000_000 + n))


def test_a_tree_of_files_is_documents_in_folders_with_their_versions(tmp_path: Path) -> None:
    write(
        tmp_path,
        "Clients/Smith/offer.v10.docx",
        "Clients/Smith/offer.docx",
        "Clients/Smith/offer.v2.docx",
        "Clients/Smith/offer (v1).docx",
        "will.docx.versions/10.docx",
        "will.docx.versions/9.docx",
        "README",
        ".hidden/x",
        "Thumbs.db",
    )
    with VersionFolder(tmp_path) as versions:
        records = [row.record for row in versions if row.record]
        assert versions.form == "tree"
        assert versions.notes == ["2 hidden and system files were left out."]
    assert {(r.document, r.number, r.path) for r in records} == {
        ("Clients/Smith/offer.docx", 1, "Clients/Smith/offer (v1).docx"),
        ("Clients/Smith/offer.docx", 2, "Clients/Smith/offer.v2.docx"),
        ("Clients/Smith/offer.docx", 3, "Clients/Smith/offer.v10.docx"),
        ("Clients/Smith/offer.docx", 4, "Clients/Smith/offer.docx"),
        ("will.docx", 1, "will.docx.versions/9.docx"),
        ("will.docx", 2, "will.docx.versions/10.docx"),
        ("README", 1, "README"),
    }
    offer = next(r for r in records if r.path.endswith("v10.docx"))
    assert (offer.folder, offer.title, offer.file_name) == (("Clients", "Smith"), "offer.docx", "offer.v10.docx")
    assert offer.time == datetime.fromtimestamp(1_600_000_000, UTC)
    assert next(r for r in records if r.document == "will.docx").file_name == "will.docx"


def test_nothing_outside_the_folder_is_read_through_a_link(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    write(outside, "secret.txt", "more/later.txt")
    (outside / "more/later.txt").write_text("sub/later.TXT")  # as long as the one inside
    write(inside, "good.txt", "sub/later.txt")
    (inside / "link.txt").symlink_to(outside / "secret.txt")
    (inside / "folder").symlink_to(outside / "more")
    os.mkfifo(inside / "pipe")
    os.write(os.open(bytes(inside) + b"/bad\xff.txt", os.O_CREAT | os.O_WRONLY), b"x")
    with VersionFolder(inside) as versions:
        rows = list(versions)
        records = {row.record.document: row.record for row in rows if row.record}
        assert set(records) == {"good.txt", "sub/later.txt"}
        assert len(rows) == 6
        (inside / "sub").rename(inside / "was")
        (inside / "sub").symlink_to(outside / "more")
        with pytest.raises(FileDefect, match="can't be read any more"):
            list(records["sub/later.txt"].chunks())
        (inside / "good.txt").write_text("longer than it was")
        with pytest.raises(FileDefect, match="changed while it was read"):
            list(records["good.txt"].chunks())


def test_a_folder_has_its_limits(tmp_path: Path) -> None:
    write(tmp_path, "a/b/c/d.txt", "e.txt")
    with pytest.raises(FileDefect, match="too deep"):
        read(tmp_path, depth=2)
    with pytest.raises(FileDefect, match="too many files"):
        read(tmp_path, files=3)
    assert reasons(read(tmp_path, content=6)[1]) == ["The file is larger than 6 bytes"]
    with pytest.raises(FileDefect, match="no such folder"):
        read(tmp_path / "missing")


def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    packed(tmp_path, "blobs.tar", *((f"{n}.md", b"") for n in range(10_000)))
    tracemalloc.start()
    try:
        with (tmp_path / "blobs.tar").open("rb") as file:
            assert sum(entry.defect is None for entry in entries(file, "blobs.tar", FolderLimits())) == 10_000
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_list(tmp_path: Path) -> None:
    folder = listed(tmp_path, a=b"x")
    with (folder / "versions.jsonl").open("w") as file:
        for n in range(60_000):
            file.write(json.dumps({"document": f"d{n % 300}", "version": n, "blob": "a", "comment": "x" * 500}) + "\n")
    tracemalloc.start()
    try:
        with VersionFolder(folder) as versions:
            assert sum(row.record is not None for row in versions) == 60_000
        assert tracemalloc.get_traced_memory()[1] < 24 << 20 < (folder / "versions.jsonl").stat().st_size
    finally:
        tracemalloc.stop()


@given(strategies.text(alphabet="./\\ab:C\x00é", max_size=40))
def test_a_relative_path_never_climbs(path: str) -> None:
    parts = relative(path, 32)
    if parts is not None:
        assert not {"", ".", ".."} & set(parts)
        assert not any(set(part) & set("/\\\x00") for part in parts)
