"""Import maps: refused with a reason, written back equal, guessed from headers."""
# ruff: noqa: E501 (samples stand in one line as they stand in a file)

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.imports import MapProblem, load_map, open_import, parse_map, to_toml
from infra.imports.mapparts import ActivityRule, FieldMap, LogMap
from infra.imports.maps import ImportMap
from tests.shared import shared

MAPS = sorted((Path(__file__).resolve().parents[3] / "docs" / "maps").glob("*.toml"))

WRONG = {
    "kind = 5": "kind is not a text",
    'kind = "leads"': "kind is 'leads'",
    "": "lacks kind",
    "kind = ": "not valid TOML",
    'kind = "deals"\ntimezone = "Mars/Base"': "timezone",
    'kind = "deals"\nfeilds = 1': "Did you mean 'fields'",
    'kind = "deals"\n[fields]\namuont = "x"': "Did you mean 'amount'",
    'kind = "deals"\n[fields]\namount = { colunm = "x" }': "Did you mean 'column'",
    'kind = "deals"\n[fields]\namount = {}': "neither a column nor a constant",
    'kind = "deals"\n[fields]\namount = { column = "a", constant = "b" }': "both a column and a constant",
    'kind = "deals"\n[fields]\namount = { column = "a", decimal = ";" }': "decimal",
    'kind = "deals"\n[fields]\nopened_at = { column = "a", format = "german" }': "date format",
    'kind = "deals"\n[fields]\nproduct = { column = "a", check = { file = "../../etc/passwd" } }': "plain name",
    'kind = "deals"\n[[activity]]\nas = "stage"': "matches nothing",
    'kind = "deals"\n[[activity]]\nmatch = "x"\nas = "party"': "it is one of",
    'kind = "deals"\ndelimiter = "ab"': "not one sign",
    'kind = "deals"\ndelimiter = ";"\nquote = ";"': "same sign",
    'kind = "contacts"\n[fields]\n"address.home.moon" = "x"': "no field of contacts",
    "kind = 1\n" + "[" * 5000: "not valid TOML",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_map_is_refused_with_what_why_and_what_to_do(text: str) -> None:
    with pytest.raises(MapProblem) as e:
        parse_map(text)
    assert WRONG[text] in str(e.value)
    assert e.value.do


@pytest.mark.parametrize("path", MAPS, ids=lambda p: p.stem)
def test_every_example_map_is_valid_and_written_back_equal(path: Path) -> None:
    m = load_map(path)
    assert parse_map(to_toml(m), folder=m.folder) == m


texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
field_maps = st.one_of(
    st.builds(
        FieldMap,
        columns=st.lists(texts, min_size=1, max_size=3).map(tuple),
        join=texts,
        default=st.none() | texts,
        values=st.dictionaries(texts, texts, max_size=3),
        format=st.sampled_from([None, "dmy", "%Y"]),
        decimal=st.sampled_from([None, ",", "."]),
        split=st.none() | texts,
        required=st.booleans(),
        expected=st.booleans(),
        optional=st.booleans(),
        one_of=st.lists(texts, max_size=3).map(tuple),
    ),
    st.builds(FieldMap, constant=texts),
)


@given(
    st.builds(
        ImportMap,
        kind=st.just("deals"),
        encoding=st.none() | texts,
        delimiter=st.sampled_from([None, ";", "\t"]),
        quote=st.sampled_from([None, "", "'"]),
        header=st.sampled_from([None, True, False]),
        columns=st.none() | st.lists(texts, min_size=1, max_size=3).map(tuple),
        timezone=st.sampled_from([None, "UTC", "Europe/Amsterdam"]),
        fields=st.dictionaries(st.sampled_from(["title", "amount", "stage", "custom.x y", "opened_at"]), field_maps, max_size=4),
        ignore=st.lists(texts, max_size=3).map(tuple),
        log=st.builds(LogMap, case=st.none() | texts, object_type=st.none() | texts),
        activities=st.lists(
            st.builds(
                ActivityRule,
                match=st.lists(texts, min_size=1, max_size=3).map(tuple),
                role=st.sampled_from(["stage", "won"]),
                name=st.none() | texts,
            ),
            max_size=3,
        ).map(tuple),
        otherwise=st.sampled_from(["guess", "stage", "note"]),
        guessed=st.booleans(),
    )
)
def test_a_map_written_as_toml_is_read_back_equal(m: ImportMap) -> None:
    assert parse_map(to_toml(m)) == m


def test_a_column_the_file_lacks_is_named_with_the_near_one(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("Deal Name,Value\nX,1\n")
    with pytest.raises(MapProblem, match="Did you mean 'Deal Name'"):
        open_import(path, "deals", map=parse_map('kind = "deals"\n[fields]\ntitle = "Deal-name"'))
    with pytest.raises(MapProblem, match="is for deals"):
        open_import(path, "tasks", map=parse_map('kind = "deals"'))


def header_map(tmp_path: Path, columns: list[str], kind: str = "contacts") -> dict[str, tuple[str, ...]]:
    path = tmp_path / "h.csv"
    path.write_text(",".join(f'"{c}"' for c in columns) + "\n" + ",".join("x" for _ in columns) + "\n")
    return {t: f.columns for t, f in open_import(path, kind).map.fields.items()}  # type: ignore[call-overload]


EXPECTED = {
    "google_contacts_current": {
        "given_name": "First Name", "additional_name": "Middle Name", "family_name": "Last Name", "prefix": "Name Prefix", "suffix": "Name Suffix",
        "nickname": "Nickname", "organisation": "Organization Name", "title": "Organization Title", "department": "Organization Department",
        "birthday": "Birthday", "notes": "Notes", "categories": "Labels", "email.1": "E-mail 1 - Value", "email.1.label": "E-mail 1 - Label",
        "phone.1": "Phone 1 - Value", "phone.1.label": "Phone 1 - Label", "address.1.label": "Address 1 - Label", "address.1.formatted": "Address 1 - Formatted",
        "url.1": "Website 1 - Value", "date.1": "Event 1 - Value", "date.1.label": "Event 1 - Label", "full_name": "File As",
    },
    "google_contacts_older": {
        "full_name": "Name", "given_name": "Given Name", "family_name": "Family Name", "additional_name": "Additional Name", "birthday": "Birthday",
        "gender": "Gender", "notes": "Notes", "categories": "Group Membership", "email.1": "E-mail 1 - Value", "phone.3": "Phone 3 - Value",
        "address.1.street": "Address 1 - Street", "address.1.city": "Address 1 - City", "address.1.po_box": "Address 1 - PO Box", "address.1.region": "Address 1 - Region",
        "address.1.postal_code": "Address 1 - Postal Code", "address.1.country": "Address 1 - Country", "organisation": "Organization 1 - Name", "title": "Organization 1 - Title",
    },
    "outlook_desktop": {
        "given_name": "First Name", "prefix": "Title", "suffix": "Suffix", "email": "E-mail Address", "email.2": "E-mail 2 Address", "email.3": "E-mail 3 Address",
        "phone.home": "Home Phone", "phone.home-2": "Home Phone 2", "phone.mobile": "Mobile Phone", "phone.work": "Business Phone", "phone.work_fax": "Business Fax",
        "address.home.street": "Home Street", "address.home.street2": "Home Street 2", "address.home.po_box": "Home Address PO Box", "address.home.city": "Home City",
        "address.work.postal_code": "Business Postal Code", "address.other.country": "Other Country", "organisation": "Company", "title": "Job Title",
        "department": "Department", "birthday": "Birthday", "anniversary": "Anniversary", "relation.spouse": "Spouse", "relation.manager": "Manager's Name",
        "url": "Web Page", "categories": "Categories", "tags": "Keywords", "notes": "Notes",
    },
}  # fmt: skip


@pytest.mark.parametrize("vendor", EXPECTED)
def test_the_headers_of_vendors_are_guessed(tmp_path: Path, vendor: str) -> None:
    headers = json.loads(shared("data/contact-csv/vendor_headers.json").read_text())
    guessed = header_map(tmp_path, headers[vendor])
    assert {t: guessed.get(t) for t in EXPECTED[vendor]} == {t: (c,) for t, c in EXPECTED[vendor].items()}
    taken = [c for columns in guessed.values() for c in columns]
    assert len(taken) == len(set(taken))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            ["Vorname", "Nachname", "Firma", "E-Mail", "Straße", "PLZ", "Ort", "Geburtsdatum"],
            "given_name family_name organisation email address.street address.postal_code address.city birthday",
        ),
        (
            ["Prénom", "Nom", "Société", "Courriel", "Téléphone", "Code postal", "Ville", "Pays"],
            "given_name family_name organisation email phone address.postal_code address.city address.country",
        ),
        (
            ["Voornaam", "Achternaam", "Bedrijf", "Postcode", "Woonplaats"],
            "given_name family_name organisation address.postal_code address.city",
        ),
        (
            ["Nombre", "Apellidos", "Empresa", "Correo electrónico", "Ciudad"],
            "given_name family_name organisation email address.city",
        ),
    ],
)
def test_headers_in_other_languages_are_guessed(tmp_path: Path, columns: list[str], expected: str) -> None:
    assert header_map(tmp_path, columns) == {t: (c,) for t, c in zip(expected.split(), columns, strict=True)}


def test_a_table_without_a_header_is_guessed_by_its_values() -> None:
    file = open_import(shared("data/contact-csv/thunderbird/csv_no_header.csv"), "contacts")
    assert {t: f.columns[0] for t, f in file.map.fields.items()} == {
        "full_name": "column 1",
        "given_name": "column 2",
        "family_name": "column 3",
        "email": "column 4",
    }
    assert [r.record.emails[0].value for r in file if r.record] == ["john@doe.invalid", "jane@doe.invalid"]
