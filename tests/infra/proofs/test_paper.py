"""Paper shows any script that people are called by, loses no letter, and carries the proof in the file."""

import io
import re
import unicodedata
import zlib
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader, PdfWriter

from infra.proofs.paper import ATTACHED, attached, paper, shown
from verifier.chancery_verify import Entry, Verified

PEOPLE = [
    "Ann Ash",
    "Zażółć Gęślą-Jaźń",
    "Nguyễn Văn Trỗi",
    "Νίκος Καζαντζάκης",
    "Фёдор Достоевский",
    "王小明",
    "山田 太郎",
    "김철수",
    "محمد بن سلمان",
    "یک\u200cنام",
    "יצחק רבין",
    "अमिताभ बच्चन",
    "তানিয়া",
    "தமிழ்",
    "తెలుగు",
    "ไพบูลย์",
    "ເລົາ",
    "ភាសា",
    "ကြည်လင်",
    "ጌታቸው",
    "Հայկ",
    "გიორგი",
]
BUNDLE = {"format": "a proof"}
NOTICES = {("n", 1): "Datenschutz 隐私", ("n", 2): "Another version's"}
LINK = "https://chancery.example/p/verify"


def an_act(value: str) -> Entry:
    data = {
        "seq": 1,
        "purposes": [{"key": "news"}],
        "channel": "email",
        "legal_basis": "eu-gdpr:A6-1-a",
        "notice": {"id": "n", "version": 1, "language": "de", "sha256": "ab" * 32},
    }
    event = {"type": "consent.Given.v1", "time": "2026-01-01T00:00:00Z", "data": data}
    return Entry(place=3, leaf=b"{}", event=event, hash=b"\x01" * 32, disclosed={"remark": value})


def a_paper(name: str, remark: str = "-", notices: Mapping[tuple[str, int], str] | None = NOTICES) -> bytes:
    found = Verified("chancery/firms/x", 4, "consent/1", [an_act(remark)], 4, 0, [], 0, 1)
    return paper(BUNDLE, found, firm="Kanzlei Müller & Söhne", name=name, link=LINK, purposes={"news": "الأخبار"}, notices=notices)


def text_of(pdf: bytes) -> str:
    return "".join(p.extract_text() for p in PdfReader(io.BytesIO(pdf)).pages)


@pytest.mark.parametrize("name", PEOPLE)
def test_no_letter_of_a_name_is_missing_on_paper(name: str) -> None:
    """The format (PDF/A) refuses a letter that its font does not have."""
    assert "U+" not in shown(name)
    pdf = a_paper(name)
    assert pdf.startswith(b"%PDF-1.7")
    if unicodedata.bidirectional(name[0]) == "L" and name.isascii():
        assert name in text_of(pdf)


def test_the_fonts_are_in_the_file_and_the_words_can_be_copied_out_of_it() -> None:
    text = text_of(a_paper("Фёдор Достоевский", "Signed at the fair"))
    for words in (
        "Record of consent",
        "Фёдор Достоевский",
        "Müller & Söhne",
        "GDPR, Article 6(1)(a)",
        "Signed at the fair",
        "隐私",
    ):
        assert words in text


def test_a_notice_is_named_by_what_the_chain_binds_and_its_title_is_that_of_its_version_on_record() -> None:
    bound = f"n, version 1 (de), SHA-256 {'ab' * 32}"
    for notices, shows in ((NOTICES, True), ({("n", 2): "Datenschutz 隐私"}, False), (None, False)):
        text = text_of(a_paper("Ann Ash", notices=notices))
        assert bound in re.sub(r"\s*\n", " ", text).replace("\u200b", "")
        assert ("Datenschutz" in text) is shows
        assert "Another" not in text


def test_a_letter_that_no_font_has_and_a_sign_that_hides_are_shown_by_their_numbers() -> None:
    assert shown("Ꭰx").split() == ["\u2068", "U+13A0", "x\u2069"]
    assert "U+202E" in shown("invoice\u202efdp.exe")
    assert "\u202e" not in shown("invoice\u202efdp.exe")
    assert "U+0000" in shown("\x00")
    assert "U+1F600" in shown("😀")
    assert "U+202E" in text_of(a_paper("x\u202ey"))


def test_a_name_written_from_right_to_left_does_not_turn_the_line_around() -> None:
    assert shown("محمد") == "\u2068محمد\u2069"


def test_what_a_person_wrote_can_neither_run_as_a_program_nor_leave_the_page() -> None:
    text = text_of(a_paper('#read("/etc/passwd") $x$ @y <z> *b* [c] \\', "w" * 400))
    assert '#read("/etc/passwd") $x$ @y <z> *b* [c] \\' in text
    assert text.replace("\n", "").replace("\u200b", "").count("w" * 400) == 1


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_paper_is_made_for_whatever_a_person_is_called(name: str) -> None:
    assert a_paper(name or "x", name).startswith(b"%PDF")


def test_one_bundle_makes_one_file() -> None:
    assert a_paper("王小明") == a_paper("王小明")


def test_the_proof_is_found_in_the_file_also_after_another_program_saved_it() -> None:
    pdf = a_paper("Ann Ash")
    found = attached(pdf, 1_000_000)
    assert found is not None
    assert b'"a proof"' in found
    assert PdfReader(io.BytesIO(pdf)).attachments[ATTACHED] == [found]
    saved = io.BytesIO()
    PdfWriter(clone_from=PdfReader(io.BytesIO(pdf))).write(saved)
    assert attached(saved.getvalue(), 1_000_000) == found


def test_a_file_that_claims_an_attachment_costs_no_more_than_it_may() -> None:
    bomb = b"%PDF-1.7\n1 0 obj <</Type /EmbeddedFile /Filter /FlateDecode>> stream\n" + zlib.compress(b"{" + b"0" * 50_000_000)
    assert attached(bomb, 1_000) is None
    assert attached(b"%PDF-1.7 " + b"<< /EmbeddedFile " * 100_000, 1_000) is None
    assert attached(b"%PDF-1.7 " + b"<<" * 1_000_000, 1_000) is None
    assert attached(b"%PDF-1.7 no more", 1_000) is None
