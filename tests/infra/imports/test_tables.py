"""Delimited tables of every dialect."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.imports.source import Source
from infra.imports.tables import Table
from tests.shared import shared

SPECTRUM = [
    "comma_in_quotes",
    "empty",
    "empty_crlf",
    "escaped_quotes",
    "json",
    "location_coordinates",
    "newlines",
    "newlines_crlf",
    "quotes_and_newlines",
    "simple",
    "simple_crlf",
    "utf8",
]


def table(folder: Path, text: str | bytes, **options: object) -> Table:
    path = folder / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Table(Source(path), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SPECTRUM)
def test_csv_spectrum_reads_as_its_authors_expect(name: str) -> None:
    rows = [r.values for r in Table(Source(shared(f"data/contact-csv/csv-spectrum/csvs/{name}.csv")))]
    expected = json.loads(shared(f"data/contact-csv/csv-spectrum/json/{name}.json").read_text("utf-8", "replace"))
    expected = expected if isinstance(expected, list) else [expected]
    if name == "location_coordinates":  # the published pair differs in this one cell
        rows[0].pop("Contact Phone Number")
        expected[0].pop("Contact Phone Number")
    if name == "newlines_crlf":  # the published file has lost its CRs on the way, its answer has not
        expected = [{k: v.replace("\r\n", "\n") for k, v in row.items()} for row in expected]
    assert rows == expected


REAL = {
    "contact-csv/gpc_outlook.csv": (22, 3),
    "contact-csv/mautic_10contacts.csv": (5, 10),
    "contact-csv/thunderbird/basic_csv_addressbook.csv": (37, 2),
    "contact-csv/thunderbird/csv_no_header.csv": (4, 2),
    "contact-csv/thunderbird/csv_semicolon.csv": (4, 2),
    "mautic-demo/10contacts.csv": (5, 10),
    "mautic-demo/fakecompanydata.csv": (5, 4),
    "mautic-demo/fakeemaildata.csv": (17, 2),
    "mautic-demo/fakeleaddata.csv": (16, 54),
    "mautic-demo/fakepagedata.csv": (16, 3),
    "mautic-demo/fakepagehitdata.csv": (11, 130),
    "mautic-demo/fakeresultdata.csv": (7, 50),
    "dedupe-people/febrl_dataset1.csv.gz": (11, 1000),
    "dedupe-people/febrl_dataset3.csv.gz": (11, 5000),
    "bank-marketing-uci/bank.csv.gz": (17, 4521),
    "crm-maven-sales/accounts.csv": (7, 85),
    "crm-maven-sales/data_dictionary.csv": (3, 21),
    "crm-maven-sales/products.csv": (3, 7),
    "crm-maven-sales/sales_pipeline.csv": (8, 8800),
    "crm-maven-sales/sales_teams.csv": (3, 35),
    "jira-sprints/apache_delay_due.csv.gz": (26, 6289),
    "jira-sprints/apache_issue_0.csv.gz": (14, 5826),
    "jira-sprints/apache_issuelink.csv": (4, 1500),
    "jira-sprints/spring_issuelink.csv": (4, 1519),
    "jira-sprints/apache_iteration_0.csv": (19, 348),
    "jira-sprints/spring_iteration_80.csv": (19, 476),
    "receipt-permits/receipt.csv.gz": (15, 8577),
}


@pytest.mark.parametrize("name", REAL)
def test_real_tables_read_completely(name: str) -> None:
    t = Table(Source(shared(f"data/{name}")))
    rows = list(t)
    assert (len(t.columns), len(rows)) == REAL[name]
    assert not any(e.refused for r in rows for e in r.errors)


def test_backslashed_quotes_and_doubled_ones_in_one_file_keep_the_columns_together() -> None:
    rows = list(Table(Source(shared("data/mautic-demo/fakepagedata.csv"))))
    assert rows[0].values["alias"] == "kaleidoscope-conference-2014"
    assert rows[0].values["content"].startswith('a:5:{s:4:"top2";s:151:"<div>')


@given(
    st.lists(
        st.lists(st.text(alphabet=st.sampled_from("ab ,;\t\"'\n|é=+@0"), max_size=8), min_size=3, max_size=3),
        min_size=2,
        max_size=12,
    ),
    st.sampled_from(",;\t|"),
)
def test_what_csv_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], delimiter: str) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows([["one", "two", "three"], *rows])
    t = table(tmp_path_factory.mktemp("t"), out.getvalue(), delimiter=delimiter, header=True, quote='"')
    read = [[r.values["one"], r.values["two"], r.values["three"]] for r in t]
    assert read == [r for r in rows if any(r)]


def test_an_unclosed_quote_costs_its_own_row_only(tmp_path: Path) -> None:
    t = table(tmp_path, 'name,mail\nAnn,a@x.org\n"Bob,b@x.org\n' + "Cleo,c@x.org\n" * 50)
    rows = list(t)
    assert len(rows) == 52
    assert [r.line for r in rows if any(e.refused for e in r.errors)] == [3]
    assert rows[-1].values == {"name": "Cleo", "mail": "c@x.org"}


def test_many_unclosed_quotes_do_not_make_it_slow(tmp_path: Path) -> None:
    t = table(tmp_path, "a,b\n" + 'a"b,"c\n' * 400_000)
    assert sum(1 for _ in t) > 100_000


def test_ragged_rows_are_kept_and_said(tmp_path: Path) -> None:
    rows = list(table(tmp_path, "name,mail\nAnn\nBob,b@x.org,surplus\n,,\n\nCleo,c@x.org,,\n"))
    assert [r.values for r in rows] == [
        {"name": "Ann", "mail": ""},
        {"name": "Bob", "mail": "b@x.org", "column 3": "surplus"},
        {"name": "Cleo", "mail": "c@x.org"},
    ]
    assert [len(r.errors) for r in rows] == [1, 1, 0]
    assert not any(e.refused for r in rows for e in r.errors)


def test_lines_and_raw_text_are_kept(tmp_path: Path) -> None:
    rows = list(table(tmp_path, 'name,note\r\nAnn,"two\r\nlines"\r\nBob,x\r\n'))
    assert [(r.line, r.number) for r in rows] == [(2, 1), (4, 2)]
    assert rows[0].raw == 'Ann,"two\r\nlines"\r\n'
    assert rows[0].values["note"] == "two\r\nlines"


def test_a_mark_a_sep_line_and_double_names_are_understood(tmp_path: Path) -> None:
    t = table(tmp_path, "\ufeffsep=;\nname;phone;phone;\nAnn;1,5;2;x\n")
    assert t.columns == ("name", "phone", "phone (2)", "column 4")
    assert next(iter(t)).values == {"name": "Ann", "phone": "1,5", "phone (2)": "2", "column 4": "x"}


def test_formulas_stay_text(tmp_path: Path) -> None:
    rows = list(table(tmp_path, 'name,note\nAnn,"=HYPERLINK(""http://x"")"\n@SUM(A1),+1\n'))
    assert rows[0].values["note"] == '=HYPERLINK("http://x")'
    assert rows[1].values["name"] == "@SUM(A1)"


def test_nul_characters_are_left_out_and_said(tmp_path: Path) -> None:
    rows = list(table(tmp_path, "name,mail\nA\0nn,a@x.org\n"))
    assert rows[0].values["name"] == "Ann"
    assert "NUL" in rows[0].errors[0].reason


def test_a_line_beyond_every_limit_is_one_error(tmp_path: Path) -> None:
    rows = list(table(tmp_path, "name,mail\n" + "x" * (3 << 20) + ",y\nBob,b@x.org\n"))
    assert [any(e.refused for e in r.errors) for r in rows] == [True, False]
    assert rows[1].line == 3


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("Ann,ann@x.org,5", False),
        ("name,mail,points", True),
        ("Given,Family,Town", True),
        ("1,2,3", False),
        ("2024-01-01,x,y", False),
    ],
)
def test_the_header_is_found_or_missed_rightly(tmp_path: Path, first: str, expected: bool) -> None:
    assert table(tmp_path, f"{first}\nBob,bob@x.org,6\nCleo,cleo@x.org,7\n").has_header is expected
