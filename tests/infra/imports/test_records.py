"""Table rows as contacts, deals and tasks: nothing dropped, every doubt said."""
# ruff: noqa: E501 (samples stand in one line as they stand in a file)

from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.imports import MapProblem, load_map, open_import, parse_map
from infra.imports.values import date_form, day, moment, number
from tests.shared import shared

MAPS = Path(__file__).resolve().parents[3] / "docs" / "maps"


def csv(folder: Path, text: str) -> Path:
    path = folder / "t.csv"
    path.write_text(text)
    return path


def test_every_maven_deal_is_read_and_its_misspellings_and_gaps_are_reported() -> None:
    rows = list(open_import(shared("data/crm-maven-sales/sales_pipeline.csv"), "deals", map=load_map(MAPS / "maven-deals.toml")))
    deals = [r.record for r in rows if r.record]
    assert len(deals) == 8800
    assert Counter(d.stage for d in deals) == {"Won": 4238, "Lost": 2473, "Engaging": 1589, "Prospecting": 500}
    assert sum(d.amount or 0 for d in deals if d.status == "won") == 10_005_534
    reported = Counter((e.field, e.value) for r in rows for e in r.errors)
    assert reported == {("product", "GTXPro"): 1480, ("account", ""): 1425}
    assert all("'GTX Pro' is near" in e.reason for r in rows for e in r.errors if e.field == "product")


def test_maven_accounts_have_parents_and_their_misspellings_are_reported() -> None:
    rows = list(open_import(shared("data/crm-maven-sales/accounts.csv"), "contacts", map=load_map(MAPS / "maven-accounts.toml")))
    accounts = [r.record for r in rows if r.record]
    assert len(accounts) == 85
    assert {a.kind for a in accounts} == {"organisation"}
    parents = [a.parent for a in accounts if a.parent]
    assert len(parents) == 15
    assert set(parents) <= {a.source_id for a in accounts}
    assert Counter(e.value for r in rows for e in r.errors) == {"technolgy": 12, "Philipines": 1}


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("contact-csv/gpc_outlook.csv", 3),
        ("mautic-demo/10contacts.csv", 10),
        ("mautic-demo/fakeresultdata.csv", 50),
        ("dedupe-people/febrl_dataset1.csv.gz", 1000),
        ("dedupe-people/febrl_dataset3.csv.gz", 5000),
    ],
)
def test_real_contacts_are_read_by_a_guess(name: str, count: int) -> None:
    rows = list(open_import(shared(f"data/{name}"), "contacts"))
    assert sum(r.record is not None for r in rows) == count == len(rows)


def test_leads_without_any_name_are_refused_and_their_rows_kept() -> None:
    rows = list(open_import(shared("data/mautic-demo/fakeleaddata.csv"), "contacts"))
    refused = [r for r in rows if r.record is None]
    assert (len(rows), len(refused)) == (54, 4)
    assert all(r.source["ip"] for r in refused)


def test_people_without_names_are_called_by_what_the_map_says() -> None:
    rows = list(open_import(shared("data/bank-marketing-uci/bank.csv.gz"), "contacts", map=load_map(MAPS / "bank-marketing.toml")))
    assert sum(r.record is not None for r in rows) == 4521
    assert rows[0].record is not None
    assert rows[0].record.full_name == "unemployed, 30"


def test_jira_issues_become_tasks() -> None:
    rows = list(open_import(shared("data/jira-sprints/apache_delay_due.csv.gz"), "tasks", map=load_map(MAPS / "jira-issues.toml")))
    assert sum(r.record is not None for r in rows) == 6289
    first = rows[0].record
    assert first is not None
    assert (first.source_id, first.priority, first.created_at) == ("DIR-1", "Critical", datetime(2004, 1, 26, tzinfo=UTC))


def test_no_cell_of_a_row_is_dropped(tmp_path: Path) -> None:
    path = csv(tmp_path, "First Name,Last Name,E-mail,Shoe size,E-mail 2 Address\nAnn,Lee,Ann <ann@x.org>,42,nonsense\n")
    (row,) = open_import(path, "contacts")
    assert row.record is not None
    assert [e.value for e in row.record.emails] == ["ann@x.org"]
    assert dict(row.record.extra) == {"Shoe size": "42", "E-mail 2 Address": "nonsense"}
    assert row.errors[0].value == "nonsense"
    assert "nonsense" not in repr(row)


def test_rows_without_an_id_have_the_same_one_every_time(tmp_path: Path) -> None:
    path = csv(tmp_path, "name,email\nAnn,ann@x.org\nBob,bob@x.org\n")
    first = [r.record.source_id for r in open_import(path, "contacts") if r.record]
    again = [r.record.source_id for r in open_import(path, "contacts") if r.record]
    assert first == again
    assert len(set(first)) == 2


def test_required_expected_default_values_and_constants_of_a_map(tmp_path: Path) -> None:
    path = csv(tmp_path, 'n,stage,v\nA,2,"1.234,50"\n,1,1\nC,,x\n')
    map = parse_map(
        'kind = "deals"\n[fields]\ntitle = { column = "n", required = true }\nstage = { column = "stage", values = { 1 = "Lead", 2 = "Offer" }, default = "Lead" }\n'
        'amount = { column = "v", decimal = "," }\ncurrency = { constant = "eur" }\n'
    )
    a, b, c = open_import(path, "deals", map=map)
    assert a.record is not None
    assert (a.record.stage, a.record.amount, a.record.currency) == ("Offer", Decimal("1234.50"), "EUR")
    assert b.record is None
    assert b.errors[0].reason == "title is required but empty"
    assert c.record is not None
    assert (c.record.stage, c.record.amount) == ("Lead", None)
    assert "not a number" in c.errors[0].reason


def test_a_missing_check_file_is_a_problem_of_the_map(tmp_path: Path) -> None:
    path = csv(tmp_path, "n,p\nA,B\n")
    map = parse_map('kind = "deals"\n[fields]\ntitle = "n"\nproduct = { column = "p", check = { file = "none.csv" } }')
    with pytest.raises(MapProblem, match="missing"):
        open_import(path, "deals", map=map)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234.50", "1234.50"),
        ("1.234,50", "1234.50"),
        ("€ 1 234,5", "1234.5"),
        ("(12.00)", "-12.00"),
        ("12-", "-12"),
        ("1,234", "1234"),
        ("5%", "5"),
        ("1e3", "1E+3"),
        ("", None),
        ("abc", None),
        ("1e999999", None),
        ("NaN", None),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, value: str | None) -> None:
    assert number(text) == (None if value is None else Decimal(value))


@pytest.mark.parametrize(
    ("text", "form", "value"),
    [
        ("2024-02-03", "iso", date(2024, 2, 3)),
        ("20240203", "iso", date(2024, 2, 3)),
        ("3.2.2024", "iso", date(2024, 2, 3)),
        ("03/02/2024", "dmy", date(2024, 2, 3)),
        ("02/03/2024", "mdy", date(2024, 2, 3)),
        ("8/9/14 19:00", "mdy", date(2014, 8, 9)),
        ("3 Feb 2024", "iso", date(2024, 2, 3)),
        ("3. Februar 2024", "iso", date(2024, 2, 3)),
        ("February 3, 2024", "iso", date(2024, 2, 3)),
        ("1707004800", "unix", date(2024, 2, 4)),
        ("45325", "excel", date(2024, 2, 3)),
        ("31.02.2024", "iso", None),
        ("soon", "iso", None),
    ],
)
def test_dates_are_read_as_people_write_them(text: str, form: str, value: date | None) -> None:
    assert day(text, form=form) == value


def test_a_column_of_dates_tells_its_own_order() -> None:
    assert date_form(["1/2/2024", "13/2/2024"]) == ("dmy", True)
    assert date_form(["1/2/2024", "2/13/2024"]) == ("mdy", True)
    assert date_form(["1/2/2024", "2/3/2024"]) == ("dmy", False)
    assert date_form(["", "x"]) == (None, True)


@given(st.text(max_size=60), st.sampled_from(["iso", "dmy", "mdy", "ymd", "unix", "unix_ms", "excel", "%d.%m.%Y"]))
def test_no_text_breaks_the_parsers(text: str, form: str) -> None:
    moment(text, form=form)
    number(text)


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001
def test_iso_times_are_read_back(at: datetime) -> None:
    at = at.replace(tzinfo=UTC)
    assert moment(at.isoformat()) == at
    assert moment(at.isoformat().replace("+00:00", "Z").replace("T", " ")) == at
