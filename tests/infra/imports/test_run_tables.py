"""Real tables, cards and folders carried whole: counts, parents, remarks, and nothing lost."""

import csv
import json
import re
from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest

from commands.members import AddMember
from domain.contacts import CONTACT
from domain.members import Role
from domain.organisations import ORGANISATION
from infra.imports.keep import RowStore
from infra.imports.rows import FileDefect
from infra.imports.run import source_name
from tests.infra.imports.importing import Firm
from tests.infra.imports.test_cards import CARDS
from tests.shared import shared

CRM = "data/crm-maven-sales"


def kept(firm: Firm, import_id: UUID) -> list[tuple]:
    with firm.database.connect("record") as c:
        store = RowStore(c, firm.vault, firm.id)
        rows = c.execute(
            "SELECT number, outcome, stream_id, key_id, sealed FROM chancery.import_rows WHERE firm_id = %s AND import_id = %s ORDER BY 1",
            (firm.id, import_id),
        ).fetchall()
        return [(o, i, store.opened(import_id, n, k, s)) for n, o, i, k, s in rows]


def test_the_crm_sample_comes_with_its_parents_its_misspellings_and_its_gaps(firm: Firm) -> None:
    accounts = firm.carry(shared(f"{CRM}/accounts.csv"), "contacts", "maven-accounts.toml")
    assert (accounts.rows, accounts.rejected) == (85, 0)
    assert accounts.created + accounts.changed == 85  # a parent named before its own row stands already
    assert sum(n for what, n in accounts.reasons.items() if "technology" in what) == 12
    assert sum(n for what, n in accounts.reasons.items() if "Philippines" in what) == 1
    deals = firm.carry(shared(f"{CRM}/sales_pipeline.csv"), "deals", "maven-deals.toml")
    assert (deals.created, deals.rejected) == (8800, 0)
    assert sum(n for what, n in deals.reasons.items() if "GTX Pro" in what) == 1480
    assert sum(n for what, n in deals.reasons.items() if "organisation is empty" in what) == 1425
    firm.see("organisations", "deals", "contacts")
    assert firm.one("SELECT count(*) FROM views.organisations WHERE firm_id = %s", firm.id) == 85
    with shared(f"{CRM}/accounts.csv").open() as file:
        parents = sum(bool(r["subsidiary_of"]) for r in csv.DictReader(file))
    assert parents == 15
    assert firm.one("SELECT count(*) FROM views.organisations WHERE firm_id = %s AND parent IS NOT NULL", firm.id) == parents
    rows = firm.all("SELECT stage_name, status, count(*), sum(amount) FROM views.deals WHERE firm_id = %s GROUP BY 1, 2", firm.id)
    assert {s: n for s, _, n, _ in rows} == {"Won": 4238, "Lost": 2473, "Engaging": 1589, "Prospecting": 500}
    assert next(total for s, _, _, total in rows if s == "Won") == 10005534
    assert firm.one("SELECT count(*) FROM views.deals WHERE firm_id = %s AND organisation_ids = '{}'", firm.id) == 1425
    assert firm.one("SELECT count(*) FROM views.deals WHERE firm_id = %s AND 'GTXPro' = ANY(products)", firm.id) == 1480
    sample = kept(firm, deals.import_id)
    assert len(sample) == 8800
    with shared(f"{CRM}/sales_pipeline.csv").open() as file:
        assert [o["source"] for _, _, o in sample] == list(csv.DictReader(file))


def test_stages_stand_in_the_order_in_which_the_map_lists_them(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    table = tmp_path / "chances.csv"
    table.write_text("id,title,phase\n1,A,Bid\n2,B,Agreed\n3,C,Zero talks\n4,D,Unheard of\n5,E,Bid\n")
    map = tmp_path / "chances.toml"
    map.write_text(
        'kind = "deals"\n[fields]\nid = "id"\ntitle = "title"\npipeline = { constant = "Chances" }\n'
        'stage = { column = "phase", one_of = ["Zero talks", "Bid", "Agreed"] }\n'
    )
    assert other.carry(table, "deals", map).created == 5
    other.see("pipelines")
    stages = other.one("SELECT stages FROM views.pipelines WHERE firm_id = %s AND name = 'Chances'", other.id)
    assert [s["name"] for s in stages if s["kind"] == "open"] == ["Zero talks", "Bid", "Agreed", "Unheard of"]


def test_a_changed_row_amends_and_the_others_stay_as_they_are(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    table = tmp_path / "people.csv"
    table.write_text(
        "id,first name,last name,email,company,notes\n1,Ann,Lee,ann@example.com,Acme,Met in May\n2,Bob,Ray,bob@example.com,Acme,\n"
    )
    first = other.carry(table, "contacts")
    assert (first.created, first.rejected) == (2, 0)
    table.write_text(
        "id,first name,last name,email,company,notes\n1,Anna,Lee,ann@example.com,Acme,Met in May\n2,Bob,Ray,bob@example.com,Acme,\n"
    )
    second = other.carry(table, "contacts")
    assert (second.created, second.changed, second.unchanged) == (0, 1, 1)
    assert {t: n for t, n in other.types(second.import_id).items() if not t.startswith("imports.")} == {"contacts.Amended.v1": 1}
    other.see("contacts", "relations", "notes", "organisations")
    assert other.all("SELECT given FROM views.contacts WHERE firm_id = %s ORDER BY given", other.id) == [("Anna",), ("Bob",)]
    assert other.one("SELECT count(*) FROM views.organisations WHERE firm_id = %s", other.id) == 1
    assert other.one("SELECT count(*) FROM views.relations WHERE firm_id = %s AND kind = 'works_at'", other.id) == 2
    assert other.one("SELECT count(*) FROM views.notes WHERE firm_id = %s", other.id) == 1


def test_an_empty_cell_clears_nothing(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    table = tmp_path / "people.csv"
    table.write_text("id,first name,last name,phone\n1,Ann,Lee,+41 44 668 18 00\n")
    other.carry(table, "contacts")
    table.write_text("id,first name,last name,phone\n1,Ann,Li,\n")
    assert other.carry(table, "contacts").changed == 1
    (id,) = {
        i for _, i, _ in kept(other, other.all("SELECT import_id FROM chancery.import_rows WHERE firm_id = %s", other.id)[0][0])
    }
    state = other.state(CONTACT, id)
    assert (state.profile.family, state.profile.phones[0].number) == ("Li", "+41446681800")


@pytest.mark.parametrize("name", CARDS)
def test_cards_of_every_vendor_become_contacts(firm: Firm, name: str) -> None:
    other = firm.another()
    report = other.carry(shared(f"data/vcards/ez-vcard/{name}"), "contacts")
    assert (report.status, report.created, report.rejected) == ("finished", CARDS[name], 0)
    for _, id, opened in kept(other, report.import_id):
        assert opened
        assert id


def test_tables_of_contacts_with_and_without_a_header_become_contacts(firm: Firm) -> None:
    want = {
        "mautic_10contacts.csv": 10,
        "gpc_outlook.csv": 3,
        "basic_csv_addressbook.csv": 2,
        "csv_no_header.csv": 2,
        "csv_semicolon.csv": 2,
    }
    files = [p for p in shared("data/contact-csv").rglob("*.csv") if p.name in want]
    assert len(files) == len(want)
    for path in files:
        report = firm.another().carry(path, "contacts")
        assert (path.name, report.created, report.rejected) == (path.name, want[path.name], 0)


def test_a_table_that_names_nobody_is_reported_row_by_row(firm: Firm) -> None:
    report = firm.another().carry(shared("data/contact-csv/csv-spectrum/csvs/utf8.csv"), "contacts")
    assert (report.status, report.created, report.rejected) == ("finished", 0, 2)
    assert report.reasons == Counter({"the row names nobody: it has no name, organisation, email or phone": 2})


def test_links_become_dependencies_the_circle_is_named_and_the_rest_imported(firm: Firm) -> None:
    other = firm.another()
    issues = other.carry(shared("data/jira-sprints/apache_delay_due.csv.gz"), "tasks", "jira-issues.toml")
    assert (issues.created, issues.rejected) == (6289, 0)
    links = other.carry(shared("data/jira-sprints/apache_issuelink.csv"), "dependencies", project="Apache")
    assert (links.rows, links.created, links.rejected) == (1500, 386, 2)
    (circle,) = [what for what in links.reasons if "circle" in what]
    assert "USERGRID-541 → USERGRID-536 → USERGRID-541" in circle
    other.see("dependencies", "projects", "tasks")
    assert other.one("SELECT count(*) FROM views.dependencies WHERE firm_id = %s", other.id) == 386
    assert other.one("SELECT name FROM views.projects WHERE firm_id = %s", other.id) == "Apache"
    shared_keys = other.one(
        "SELECT count(*) FROM views.tasks WHERE firm_id = %s AND project IS NOT NULL AND kind <> 'task'", other.id
    )
    assert shared_keys > 0  # issues that both files know are the same tasks
    again = other.carry(shared("data/jira-sprints/apache_issuelink.csv"), "dependencies", project="Apache")
    assert (again.created, again.changed, again.rejected) == (0, 0, 2)


def test_the_policies_come_with_all_their_versions_and_each_content_once(firm: Firm) -> None:
    other = firm.another()
    report = other.carry(shared("data/site-policy-versions"), "documents")
    assert (report.created, report.rejected) == (1807, 0)
    other.see("documents", "document_versions")
    assert other.one("SELECT count(*) FROM views.documents WHERE firm_id = %s", other.id) == 57
    assert other.one("SELECT count(*) FROM views.document_versions WHERE firm_id = %s", other.id) == 1807
    assert other.one("SELECT count(DISTINCT sha256) FROM views.document_versions WHERE firm_id = %s", other.id) == 953
    assert sum(1 for p in (other.blobs.root / str(other.id)).rglob("*") if p.is_file()) == 953
    first = json.loads(shared("data/site-policy-versions/versions.jsonl").read_text().split("\n", 1)[0])
    assert first["document"]
    again = other.carry(shared("data/site-policy-versions"), "documents")
    assert (again.unchanged, again.created, again.changed) == (1807, 0, 0)


def test_rows_of_two_sources_with_equal_ids_are_different_people(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    for name, person in (("crm.csv", "Ann"), ("shop.csv", "Bob")):
        (tmp_path / name).write_text(f"id,first name,last name\n1,{person},Lee\n")
        assert other.carry(tmp_path / name, "contacts").created == 1
    assert other.carry(tmp_path / "shop.csv", "contacts", source="crm").changed == 1  # said to be the same source


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("contacts.csv", "contacts"),
        ("Contacts-2024-05-01 (2).csv.gz", "contacts"),
        ("apache_iteration_30.csv", "apache_iteration"),
        ("bpic2012.xes.gz", "bpic2012"),
        ("2024.csv", "2024"),
    ],
)
def test_a_source_is_called_as_its_file_without_dates_and_counters(name: str, source: str) -> None:
    assert source_name(Path(name)) == source


def test_organisations_with_one_name_and_two_ids_stay_two(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    table = tmp_path / "firms.csv"
    table.write_text("account id,company,city\n7,Acme,Bern\n8,Acme,Basel\n9,Beta,Chur\n")
    map = tmp_path / "map.toml"
    map.write_text(
        'kind = "contacts"\nrecord = "organisation"\n[fields]\nid = "account id"\nfull_name = "company"\n"address.city" = "city"\n'
    )
    assert other.carry(table, "contacts", map).created == 3
    table.write_text("account id,company,city\n7,Acme,Bern\n8,Acme International,Basel\n9,Beta,Chur\n")
    again = other.carry(table, "contacts", map)
    assert (again.created, again.changed, again.unchanged) == (0, 1, 2)
    ids = {i for _, i, _ in kept(other, again.import_id)}
    assert sorted(other.state(ORGANISATION, i).profile.name for i in ids) == ["Acme", "Acme International", "Beta"]


def test_a_dry_run_reads_everything_and_writes_nothing(firm: Firm) -> None:
    other = firm.another()
    plan = other.look(shared(f"{CRM}/sales_pipeline.csv"), "deals", "maven-deals.toml")
    assert (plan.rows, plan.rejected, plan.form) == (8800, 0, "table")
    assert ("owner", "sales_agent") in [(t, s) for t, s, _ in plan.fields]
    assert len(plan.sample) == 5
    assert other.head == 0
    assert other.one("SELECT count(*) FROM chancery.import_rows WHERE firm_id = %s", other.id) == 0


def test_members_are_found_by_name_and_unknown_names_are_kept_as_text(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    member = other.do(AddMember(name="Dana Roe", email="dana@example.com", roles=(Role.READ_ONLY,)))["id"]
    table = tmp_path / "deals.csv"
    table.write_text("deal id,title,stage,owner\n1,One,New,dana roe\n2,Two,New,Nobody Known\n")
    report = other.carry(table, "deals")
    assert (report.created, report.rejected) == (2, 0)
    assert any("1 names of people" in n for n in report.notes)
    other.see("deals")
    rows = other.all("SELECT title, owner_id, attributes FROM views.deals WHERE firm_id = %s ORDER BY title", other.id)
    assert [(t, str(o) if o else None, a.get("owner")) for t, o, a in rows] == [
        ("One", member, None),
        ("Two", None, "Nobody Known"),
    ]


@pytest.mark.parametrize(
    ("name", "body", "what"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"PK\x03\x04rest", "ZIP"),
        ("a.xes", b"<log><trace>", "(?i)xml|cut|end"),
        ("a.json", b'{"hello": 1}', "unknown kind"),
        ("a.csv", b"\x1f\x8b\x08\x00broken", "gzip"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_sentence_and_nothing_is_written(
    firm: Firm, tmp_path: Path, name: str, body: bytes, what: str
) -> None:
    other = firm.another()
    path = tmp_path / name
    path.write_bytes(body)
    try:
        report = other.carry(path, "deals")
    except FileDefect as e:
        said = str(e)
        assert other.head == 0
    else:
        assert report.status == "failed"
        said = report.reason or ""
        assert {t for t in other.types(report.import_id) if not t.startswith("imports.")} == set()
    assert re.search(what, said), said
