"""Texts are read out of files by a process that may fail; whatever a file holds, reading it ends with a text or a reason."""

import io
import time
import zipfile
from pathlib import Path

import pytest

from infra.extract import Limits, extract, form, tidy
from infra.media import media_type
from tests.shared import shared

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def word(path: Path, body: str, name: str = "word/document.xml", head: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("[Content_Types].xml", "<Types/>")
        z.writestr(name, f'<?xml version="1.0"?>{head}<w:document {W}><w:body>{body}</w:body></w:document>')
    return path


def pdf(path: Path, *pages: str, password: str | None = None) -> Path:
    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = PdfWriter()
    for text in pages:
        page = writer.add_blank_page(300, 300)
        font = DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Font"),
                NameObject("/Subtype"): NameObject("/Type1"),
                NameObject("/BaseFont"): NameObject("/Helvetica"),
            }
        )
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})})
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode())
        page[NameObject("/Contents")] = writer._add_object(stream)
    if password is not None:
        writer.encrypt(password, algorithm="RC4-128")
    writer.write(path)
    return path


def test_a_word_document_gives_its_paragraphs_without_what_was_struck_out(tmp_path: Path) -> None:
    body = (
        "<w:p><w:r><w:t>The lease begins</w:t></w:r><w:del><w:r><w:delText>never</w:delText></w:r></w:del></w:p>"
        "<w:p><w:r><w:t>on</w:t><w:tab/><w:t>Monday</w:t></w:r></w:p>"
    )
    read = extract(word(tmp_path / "a.docx", body), DOCX)
    assert (read.text, read.unread) == ("The lease begins\non Monday", None)


def test_a_pdf_gives_the_text_of_each_page(tmp_path: Path) -> None:
    read = extract(pdf(tmp_path / "a.pdf", "First page", "Second page"), "application/pdf")
    assert (read.text.split(), read.unread) == (["First", "page", "Second", "page"], None)


def test_a_locked_pdf_says_so(tmp_path: Path) -> None:
    read = extract(pdf(tmp_path / "a.pdf", "Secret", password="open sesame"), "application/pdf")
    assert (read.text, read.unread) == ("", "it is locked with a password")


def test_a_page_gives_what_a_browser_shows(tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    page.write_text("<title>Offer</title><body><p>Two<b>fold</b></p><script>var hidden = 1</script><style>p{}</style><p>price</p>")
    read = extract(page, "text/html")
    assert read.text.split() == ["Offer", "Two", "fold", "price"]
    assert read.unread is None


def test_real_files_of_many_makers_are_read_or_say_why_not() -> None:
    files = [p for folder in ("data/docs-tika", "data/docx-compare") for p in sorted(shared(folder).rglob("*")) if p.is_file()]
    read = 0
    for path in files:
        with path.open("rb") as file:
            kind = media_type(file.read(65_536), path.name)
        if form(kind, path.name) is None:
            continue
        found = extract(path, kind, path.name)
        assert found.text or found.unread, path.name
        read += bool(found.text)
    assert read >= 60


@pytest.mark.parametrize("name", ["bomb", "deep", "entities", "entity-free-dtd", "not-xml", "cut", "many", "overlapping"])
@pytest.mark.invariant("SR7")
def test_hostile_word_documents_end_in_a_reason(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.docx"
    match name:
        case "bomb":
            word(path, "<w:p><w:r><w:t>" + "a" * 300_000_000 + "</w:t></w:r></w:p>")
        case "deep":
            word(path, "<w:p>" * 100_000 + "</w:p>" * 100_000)
        case "entities":
            lol = "".join(f'<!ENTITY l{n} "' + (f"&l{n - 1};" * 10 if n else "lol") + '">' for n in range(9))
            word(path, "<w:p><w:r><w:t>&l8;</w:t></w:r></w:p>", head=f"<!DOCTYPE x [{lol}]>")
        case "entity-free-dtd":
            word(path, "<w:p/>", head="<!DOCTYPE x SYSTEM 'file:///etc/passwd'>")
        case "not-xml":
            word(path, "<w:p></w:q>")
        case "cut":
            path.write_bytes(word(path, "<w:p/>" * 5_000).read_bytes()[:-200])
        case "many":
            with zipfile.ZipFile(path, "w") as z:
                for n in range(6_000):
                    z.writestr(f"word/document{n}.xml", "")
        case _:
            data = io.BytesIO(word(path, "<w:p><w:r><w:t>" + "x" * 3_000_000 + "</w:t></w:r></w:p>").read_bytes())
            path.write_bytes(data.getvalue().replace(b"word/document.xml", b"word/documenu.xml", 1))
    started = time.monotonic()
    read = extract(path, DOCX, limits=Limits(seconds=10, cpu_seconds=8))
    assert read.unread is not None
    assert time.monotonic() - started < 70, "it ends with its limit, however late the machine is with that"


@pytest.mark.parametrize(
    "content",
    [
        b"%PDF-1.7\n",
        b"%PDF-1.4\n1 0 obj\n<< /Type /Pages /Kids [1 0 R] /Count 1 >>\nendobj\ntrailer << /Root 1 0 R >>",
        b"%PDF-" + bytes(range(256)) * 4_000,
    ],
    ids=["empty", "its-own-parent", "noise"],
)
@pytest.mark.invariant("SR7")
def test_damaged_pdfs_end_in_a_reason(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(content)
    read = extract(path, "application/pdf", limits=Limits(seconds=10))
    assert (read.text, bool(read.unread)) == ("", True)


def test_a_pdf_that_expands_without_end_costs_its_own_process_only(tmp_path: Path) -> None:
    import zlib

    packed = zlib.compress(zlib.compress(b"BT (a) Tj ET\n" * 40_000_000, 9), 9)
    stream = b"<< /Length %d /Filter [/FlateDecode /FlateDecode] >>\nstream\n%s\nendstream" % (len(packed), packed)
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R >>",
        stream,
    ]
    path = tmp_path / "a.pdf"
    path.write_bytes(
        b"%PDF-1.4\n"
        + b"".join(b"%d 0 obj\n%s\nendobj\n" % (n, p) for n, p in enumerate(parts, 1))
        + b"trailer << /Root 1 0 R >>\n"
    )
    read = extract(path, "application/pdf", limits=Limits(seconds=10, cpu_seconds=5, memory=400 << 20))
    assert read.unread is not None


def test_a_reader_that_hangs_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("patience")
    started = time.monotonic()
    read = extract(path, "text/plain", limits=Limits(seconds=0))
    assert read.unread == "reading it took more than 0 seconds"
    assert time.monotonic() - started < 60


def test_a_long_text_is_cut_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("word " * 1_000)
    read = extract(path, "text/plain", limits=Limits(text=100))
    assert len(read.text) <= 100
    assert read.unread == "only the first 100 characters were read"


def test_text_is_tidied_for_any_store() -> None:
    assert tidy("a\0b\ud800c\r\n\r\n\r\n\r\n  d\t\te\x1f") == "a b c\n\nd e"
