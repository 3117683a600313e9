import io
import time
import zipfile
from collections import Counter

import pytest
from hypothesis import given, strategies

from infra.media import HEAD, media_type
from tests.shared import shared

WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def zipped(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "application/epub+zip" if name == "mimetype" else "<x/>")
    return out.getvalue()


@pytest.mark.parametrize(
    ("head", "file_name", "expected"),
    [
        (b"", "x.pdf", "application/x-empty"),
        (b"%PDF-1.7\n", "letter.txt", "application/pdf"),
        (b"MZ\x90\x00\x03\x00\x00\x00", "letter.pdf", "application/x-msdownload"),
        (b"\x00\x01\x02", "letter.pdf", "application/octet-stream"),
        (b"Dear Ann", "letter.pdf", "text/plain"),
        (b"Dear Ann", "letter.md", "text/markdown"),
        (b"Dear Ann", None, "text/plain"),
        (b"<!-- a --> \n<!-- b --><!DOCTYPE html><title>x", "letter.txt", "text/html"),
        (b"<script>alert(1)</script>", "picture.png", "text/html"),
        (b'<?xml version="1.0"?><svg onload="x">', "x.xml", "image/svg+xml"),
        (b'<?xml version="1.0"?><a/>', "x.txt", "application/xml"),
        ("Grüße".encode("utf-16"), "x.txt", "text/plain"),
        ("Mit freundlichen Grüßen".encode("latin-1"), "x.csv", "text/csv"),
        ("Gr\u00fc".encode()[:-1], "x.txt", "text/plain"),
        (b"{\\rtf1 x}", "x.doc", "application/rtf"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "x.doc", "application/msword"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "x.pdf", "application/x-ole-storage"),
        (zipped("[Content_Types].xml", "word/document.xml"), "x.zip", WORD),
        (zipped("[Content_Types].xml", "word/document.xml"), "x.docm", "application/vnd.ms-word.document.macroenabled.12"),
        (zipped("a.txt"), "x.docx", "application/zip"),
        (zipped("mimetype", "a"), "x.bin", "application/epub+zip"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR", "x.txt", "image/png"),
    ],
)
def test_the_bytes_say_what_they_are_and_a_name_only_refines(head: bytes, file_name: str | None, expected: str) -> None:
    assert media_type(head, file_name) == expected


def test_real_documents_are_recognised() -> None:
    found: Counter[tuple[str, str]] = Counter()
    for path in [*shared("data/docs-tika").rglob("*.*"), *shared("data/docx-compare").rglob("*.docx")]:
        if path.is_file():
            with path.open("rb") as file:
                found[path.suffix.lower(), media_type(file.read(HEAD), path.name)] += 1
    for suffix, expected in {
        ".docx": WORD,
        ".pdf": "application/pdf",
        ".png": "image/png",
        ".jpg": "image/jpeg",
        ".gif": "image/gif",
        ".ods": "application/vnd.oasis.opendocument.spreadsheet",
        ".epub": "application/epub+zip",
    }.items():
        types = {kind: n for (s, kind), n in found.items() if s == suffix}
        assert max(types, key=types.__getitem__, default=expected) == expected
        assert sum(types.values()) - types.get(expected, 0) <= sum(types.values()) / 10


@given(strategies.binary(max_size=300), strategies.none() | strategies.text(max_size=20))
def test_any_bytes_have_a_type(head: bytes, file_name: str | None) -> None:
    assert 0 < media_type(head, file_name).find("/") < 40


@pytest.mark.parametrize("head", [b"<!---->" * 9000 + b"x", b"<!--" * 16000, b"PK\x03\x04" * 16000, b"mimetype" * 8000])
def test_hostile_bytes_cost_no_time(head: bytes) -> None:
    before = time.thread_time()
    media_type(head[:HEAD], "x.docx")
    assert time.thread_time() - before < 0.5
