"""Files as bytes, text and lines: encodings, gzip, limits, progress."""

import gzip
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.imports.rows import FileDefect
from infra.imports.source import Limits, Overlong, Source

TEXT = "Zoë;Łódź\r\nÜ;ñ\n"


def written(folder: Path, data: bytes, name: str = "f.csv") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_is_read_in_every_marked_encoding_without_its_mark(tmp_path: Path, encoding: str) -> None:
    assert "".join(Source(written(tmp_path, TEXT.encode(encoding))).text()) == TEXT


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_recognised_and_said(tmp_path: Path, encoding: str) -> None:
    source = Source(written(tmp_path, ("name;mail\n" * 20).encode(encoding)))
    assert "".join(source.text()) == "name;mail\n" * 20
    assert "UTF-16" in source.notes[0]


def test_bytes_that_are_no_utf_8_are_read_as_windows_1252_and_that_is_said(tmp_path: Path) -> None:
    source = Source(written(tmp_path, "Müller;10 €\n".encode("cp1252")))
    assert list(source.lines()) == ["Müller;10 €\n"]
    assert "Windows-1252" in source.notes[0]


def test_stray_bytes_late_in_an_utf_8_file_do_not_stop_it(tmp_path: Path) -> None:
    data = b"a\n" * 200_000 + "é".encode() + b"\xe9\n"
    source = Source(written(tmp_path, data))
    assert list(source.lines())[-1] == "éé\n"
    assert any("Windows-1252" in n for n in source.notes)


def test_a_named_encoding_is_followed_and_an_unknown_one_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "Łódź\n".encode("iso-8859-2"))
    assert list(Source(path, encoding="iso-8859-2").lines()) == ["Łódź\n"]
    with pytest.raises(FileDefect, match="unknown"):
        Source(path, encoding="klingon")


@given(
    st.lists(st.text(alphabet=st.characters(exclude_characters="\r\n\x1a", exclude_categories=["Cs"]), max_size=40), max_size=30),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_lines_put_together_are_the_text(tmp_path_factory: pytest.TempPathFactory, lines: list[str], end: str) -> None:
    text = "".join(line + end for line in lines)
    path = written(tmp_path_factory.mktemp("lines"), b"\xef\xbb\xbf" + text.encode())
    try:
        source = Source(path)
    except FileDefect:
        return
    assert "".join(source.lines()) == text


def test_gzip_members_and_padding_are_read_through(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(b"a\n") + gzip.compress(b"b\n") + b"\0" * 100)
    assert list(Source(path).lines()) == ["a\n", "b\n"]


def test_a_gzip_bomb_is_refused_at_little_cost(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(b"\n" * (200 << 20)))
    with pytest.raises(FileDefect, match="out of proportion"):
        for _ in Source(path).chunks():
            pass


def test_the_limit_of_expansion_holds(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(b"abc\n" * 10_000))
    with pytest.raises(FileDefect, match="out of proportion"):
        list(Source(path, limits=Limits(expanded=1000)).chunks())


def test_a_cut_or_damaged_gzip_file_says_so(tmp_path: Path) -> None:
    data = gzip.compress(random.Random(1).randbytes(300_000).hex().encode())
    with pytest.raises(FileDefect, match="cut off"):
        list(Source(written(tmp_path, data[:-2000])).chunks())
    with pytest.raises(FileDefect, match="damaged"):
        list(Source(written(tmp_path, data[:100_000] + b"\xff" * 200 + data[100_200:])).chunks())


@pytest.mark.parametrize("size", [300, 4_096, 100_000])
def test_bytes_without_meaning_are_no_text(tmp_path: Path, size: int) -> None:
    for seed in range(20):
        with pytest.raises(FileDefect, match="not text"):
            Source(written(tmp_path, random.Random(seed).randbytes(size)))


def test_columns_that_control_characters_divide_are_text(tmp_path: Path) -> None:
    rows = b"id\x1fname\x1fmail\x1e\n" + b"".join(b"%d\x1fAnn\x1fa@b.c\x1e\n" % n for n in range(500))
    assert len(list(Source(written(tmp_path, rows)).lines())) == 501


@pytest.mark.parametrize("head", [b"PK\x03\x04", b"SQLite format 3\0", b"%PDF-1.7", b"\xd0\xcf\x11\xe0", b"BZh9", b"\xfd7zXZ\0"])
def test_other_kinds_of_files_are_named_with_what_to_do(tmp_path: Path, head: bytes) -> None:
    with pytest.raises(FileDefect) as e:
        Source(written(tmp_path, head + b"\0" * 100))
    assert e.value.what
    assert e.value.do


def test_a_line_of_100_mb_comes_cut_in_bounded_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = written(tmp_path, b"short\n" + b"x" * (100 << 20) + b"\nafter\n")
    source = Source(path)
    tracemalloc.start()
    lines = list(source.lines())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [type(line) for line in lines] == [str, Overlong, str]
    assert lines[2] == "after\n"
    assert source.line == 3
    assert peak < 20 << 20


def test_progress_counts_the_bytes_on_disk(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(b"abc\n" * 100_000))
    source = Source(path)
    list(source.lines())
    p = source.progress()
    assert (p.read, p.total) == (path.stat().st_size, path.stat().st_size)
    assert p.rate > 0
    assert p.left == 0


def test_a_missing_file_is_a_defect_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(FileDefect, match="cannot be opened"):
        Source(tmp_path / "none.csv")
