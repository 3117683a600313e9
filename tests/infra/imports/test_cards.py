"""vCards of every version and vendor, as contacts."""

from pathlib import Path

import pytest

from infra.imports import ContactRecord, FileDefect, Mapped, open_import
from infra.imports.source import Source
from infra.imports.vcards import VcardFile
from tests.shared import shared

CARDS = {
    "io/json/jcard-example.json": 1,
    "io/text/John_Doe_ANDROID.vcf": 6,
    "io/text/John_Doe_BLACK_BERRY.vcf": 1,
    "io/text/John_Doe_EVOLUTION.vcf": 1,
    "io/text/John_Doe_GMAIL.vcf": 1,
    "io/text/John_Doe_IPHONE.vcf": 1,
    "io/text/John_Doe_LOTUS_NOTES.vcf": 1,
    "io/text/John_Doe_MAC_ADDRESS_BOOK.vcf": 1,
    "io/text/John_Doe_MS_OUTLOOK.vcf": 1,
    "io/text/fullcontact.vcf": 1,
    "io/text/gmail-list.vcf": 3,
    "io/text/gmail-single.vcf": 1,
    "io/text/gmail-single2.vcf": 1,
    "io/text/outlook-2003.vcf": 1,
    "io/text/outlook-2007.vcf": 1,
    "io/text/rfc2426-example.vcf": 2,
    "io/text/rfc6350-example.vcf": 1,
    "io/text/thunderbird-MoreFunctionsForAddressBook-extension.vcf": 1,
    "io/xml/rfc6351-example.xml": 1,
    "issue/issue114.vcf": 1,
}


def read(path: Path) -> list[Mapped[ContactRecord]]:
    return list(open_import(path, "contacts"))


def contact(path: Path) -> ContactRecord:
    (row,) = read(path)
    assert row.record is not None, row.errors
    return row.record


def card(folder: Path, text: str | bytes) -> Path:
    path = folder / "c.vcf"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("name", CARDS)
def test_every_card_of_every_vendor_becomes_a_contact(name: str) -> None:
    rows = read(shared(f"data/vcards/ez-vcard/{name}"))
    assert len(rows) == CARDS[name]
    assert all(r.record is not None and r.record.display_name for r in rows)


@pytest.mark.parametrize("name", ["io/text/rfc6350-example.vcf", "io/json/jcard-example.json", "io/xml/rfc6351-example.xml"])
def test_the_same_card_in_three_formats_is_the_same_contact(name: str) -> None:
    c = contact(shared(f"data/vcards/ez-vcard/{name}"))
    assert (c.full_name, c.given_name, c.family_name, c.suffix) == ("Simon Perreault", "Simon", "Perreault", "ing. jr, M.Sc.")
    assert c.birthday == "--02-03"
    assert [(d.value, d.label) for d in c.dates] == [("2009-08-08", "anniversary")]
    assert (c.organisation, c.gender, c.language) == ("Viagenie", "M", "fr")
    assert [(e.value, e.label) for e in c.emails] == [("simon.perreault@viagenie.ca", "work")]
    assert c.phones[0].value == "+1-418-656-9254 ext. 102"
    assert "mobile" in c.phones[1].label
    assert (c.addresses[0].city, c.addresses[0].region, c.addresses[0].postal_code, c.addresses[0].country) == (
        "Quebec",
        "QC",
        "G1V 2M2",
        "Canada",
    )


def test_quoted_printable_charsets_and_soft_breaks_are_undone() -> None:
    rows = read(shared("data/vcards/ez-vcard/io/text/John_Doe_ANDROID.vcf"))
    assert rows[3].record is not None
    assert rows[3].record.full_name == " ".join(["Ñ"] * 11)
    note = contact(shared("data/vcards/ez-vcard/io/text/outlook-2003.vcf")).notes
    assert note == "This is the note field!!\nSecond line\n\nThird line is empty"


def test_pictures_are_counted_not_held_in_every_folding() -> None:
    for name in ("IPHONE", "MAC_ADDRESS_BOOK", "LOTUS_NOTES", "BLACK_BERRY", "MS_OUTLOOK"):
        (row,) = read(shared(f"data/vcards/ez-vcard/io/text/John_Doe_{name}.vcf"))
        assert row.record is not None
        assert row.record.photo is not None
        assert "bytes" in row.record.photo
        assert len(row.source["vcard"]) < 4000


def test_apple_labels_of_groups_are_understood() -> None:
    c = contact(shared("data/vcards/ez-vcard/io/text/John_Doe_MAC_ADDRESS_BOOK.vcf"))
    assert ("905-222-1234", "AssistantPhone") in [(p.value, p.label) for p in c.phones]
    assert [(r.value, r.label) for r in c.relations] == [("Jenny", "spouse")]
    assert ("http://www.ibm.com", "HomePage") in [(u.value, u.label) for u in c.urls]


def test_a_label_with_a_colon_outside_quotes_does_not_shift_the_address() -> None:
    a = contact(shared("data/vcards/ez-vcard/issue/issue114.vcf")).addresses[0]
    assert (a.street, a.city, a.postal_code, a.country) == ("Dummy-Dummy-Strasse 1", "Bad Homburg", "61352", "Germany")


def test_broken_folding_is_joined_and_said(tmp_path: Path) -> None:
    (row,) = read(card(tmp_path, "BEGIN:VCARD\nVERSION:3.0\nFN:Ann\nNOTE:first\nsecond line without a sign\nTEL:1\nEND:VCARD\n"))
    assert row.record is not None
    assert row.record.notes == "first\nsecond line without a sign"
    assert "not indented" in row.errors[0].reason


def test_an_agent_is_a_card_within_its_card(tmp_path: Path) -> None:
    text = "BEGIN:VCARD\nVERSION:2.1\nFN:Boss\nAGENT:\nBEGIN:VCARD\nVERSION:2.1\nFN:Helper\nTEL:2\nEND:VCARD\nTEL:1\nEND:VCARD\n"
    c = contact(card(tmp_path, text))
    assert [(r.value, r.label) for r in c.relations] == [("Helper", "agent")]
    assert [p.value for p in c.phones] == ["1"]
    inline = "BEGIN:VCARD\nVERSION:3.0\nFN:Boss\nAGENT:BEGIN:VCARD\\nFN:Susan\\nEND:VCARD\\n\nEND:VCARD\n"
    assert contact(card(tmp_path, inline)).relations[0].value == "Susan"


def test_cards_without_an_end_do_not_swallow_the_next(tmp_path: Path) -> None:
    rows = read(card(tmp_path, "BEGIN:VCARD\nFN:Ann\nBEGIN:VCARD\nFN:Bob\nEND:VCARD\nnoise\nBEGIN:VCARD\nFN:Cleo\n"))
    assert [r.record and r.record.full_name for r in rows] == ["Ann", "Bob", "Cleo"]
    assert [bool(r.errors) for r in rows] == [True, False, True]


def test_nothing_of_a_card_is_lost(tmp_path: Path) -> None:
    c = contact(
        card(
            tmp_path,
            "BEGIN:VCARD\nVERSION:4.0\nFN:Ann\nX-SHOE-SIZE:42\nORG:A;B;C\nORG:Second\nUID:u1\nHOBBY:chess\nEMAIL:not an address\nEND:VCARD\n",
        )
    )
    assert c.source_id == "u1"
    assert c.id_given
    assert (c.organisation, c.department) == ("A", "B / C")
    assert dict(c.extra) == {"X-SHOE-SIZE": "42", "ORG": "Second", "HOBBY": "chess", "EMAIL": "not an address"}


def test_groups_and_organisations_are_told_from_people(tmp_path: Path) -> None:
    rows = read(
        card(
            tmp_path, "BEGIN:VCARD\nKIND:group\nFN:Team\nMEMBER:urn:uuid:1\nEND:VCARD\nBEGIN:VCARD\nKIND:org\nFN:Acme\nEND:VCARD\n"
        )
    )
    assert [r.record and r.record.kind for r in rows] == ["group", "organisation"]
    assert rows[0].record is not None
    assert rows[0].record.members == ("urn:uuid:1",)


def test_a_raw_charset_is_followed(tmp_path: Path) -> None:
    c = contact(card(tmp_path, b"BEGIN:VCARD\r\nVERSION:2.1\r\nFN;CHARSET=windows-1251:\xc0\xed\xed\xe0\r\nEND:VCARD\r\n"))
    assert c.full_name == "Анна"


def test_several_jcards_in_one_array_are_read(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text('[["vcard",[["fn",{},"text","Ann"]]],["vcard",[["fn",{"group":"g"},"text","B\\ud800ob"],["tel",{},"uri"]]],5]')
    rows = read(path)
    assert [r.record and r.record.full_name for r in rows] == ["Ann", "B?ob", None]


@pytest.mark.parametrize("text", ["BEGIN:VCALENDAR\nEND:VCALENDAR\nbegin:vcard2\n", ""])
def test_a_file_without_cards_says_so(tmp_path: Path, text: str) -> None:
    cards = VcardFile(Source(card(tmp_path, text)))
    with pytest.raises(FileDefect, match="no vCard"):
        list(cards)
