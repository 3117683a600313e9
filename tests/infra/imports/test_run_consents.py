"""Consents of another system carried over: found people, own times, evidence; a no is never overwritten, and nothing is lost."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from commands.consent import GiveConsent, WithdrawConsent
from commands.contacts import CreateContact
from commands.notices import CreateNotice
from commands.purposes import DefinePurpose
from domain.consent import CONSENT
from domain.consent.words import Channel, Status
from domain.kernel import NotFound
from infra.imports.rows import FileDefect
from tests.infra.imports.importing import Firm
from tests.infra.imports.test_run_tables import kept

DPV = "https://w3id.org/dpv#DirectMarketing"
SHA = hashlib.sha256(b"a signed form").hexdigest()
PEOPLE = """id,first name,last name,email,mobile
17,Ann,Ash,ann@example.com,+49 170 1234567
18,Bob,Birch,bob@example.com,
19,Cleo,Cedar,cleo@example.com,+33 6 12 34 56 78
20,Dan,Doum,dan@example.com,
21,Eve,Elm,eve@example.com,
"""
HEADER = (
    "consent id,contact id,email,phone,list,channel,status,timestamp,legal basis,consent type,implied by,notice,notice version,expires,"
    "evidence,evidence type,country,ip,source,comment\n"
)
ROWS = """c1,17,,,Newsletter,Email,Opted in,2023-05-01T09:30:00+02:00,consent,express,,{notice},1,,{sha},application/pdf,DE,203.0.113.7,Fair,Signed
c2,,BOB@example.com,,newsletter,,unsubscribed,2024-02-03T10:00:00Z,,,,,,,,,,,,
c3,,,+33 6 12 34 56 78,events,SMS,granted,2024-03-01T00:00:00Z,ca-casl:s10,implied,purchase,,,,,,CA,,Shop,
c4,20,,,newsletter,email,declined,2022-01-01T00:00:00Z,,,,,,,,,,,,
c5,99,nobody@example.com,,newsletter,email,yes,2024-01-01T00:00:00Z,,,,,,,,,,,,
c6,17,,,no such list,email,yes,2024-01-01T00:00:00Z,,,,,,,,,,,,
c7,17,,,newsletter,email,maybe,2024-01-01T00:00:00Z,,,,,,,,,,,,
c8,17,,,newsletter,email,yes,the other day,,,,,,,,,,,,
c9,21,,,newsletter,email,bounced,2024-01-01T00:00:00Z,,,,,,,,,,,,
c10,21,,,newsletter,fax,yes,2024-01-01T00:00:00Z,,,,,,,,,,,,
c11,21,,,events,email,yes,2021-01-01T00:00:00Z,eu-gdpr:A6-1-a,implied,inquiry,,,,,,,,,
c12,21,,,newsletter; events,email,yes,2021-06-01T00:00:00Z,,,,,,,not-a-hash,text/plain,,,,
c13,20,,,newsletter; events,email,yes,2023-01-01T00:00:00Z,,,,,,,,,,,,
c14,20,,,newsletter,email,yes,2023-01-01T00:00:00Z,,,,,,,,,,,,
"""


class Office:
    def __init__(self, firm: Firm, folder: Path) -> None:
        self.firm = firm
        self.folder = folder
        for key in ("newsletter", "events"):
            firm.do(DefinePurpose(key=key, name=key.title(), dpv=DPV))
        said = {"title": "Privacy", "language": "en", "text": "We write.", "purposes": ("newsletter", "events")}
        self.notice = firm.do(CreateNotice(**said, occurred_at=datetime(2020, 1, 1, tzinfo=UTC)))["id"]
        people = folder / "crm.csv"
        people.write_text(PEOPLE)
        firm.carry(people, "contacts")
        firm.see("contacts")

    def file(self, rows: str = ROWS, name: str = "crm.csv") -> Path:
        folder = self.folder / "consents"
        folder.mkdir(exist_ok=True)
        path = folder / name
        path.write_text(HEADER + rows.format(notice=self.notice, sha=SHA))
        return path

    def person(self, email: str) -> UUID:
        return UUID(str(self.firm.one("SELECT id FROM views.contacts WHERE firm_id = %s AND email = %s", self.firm.id, email)))

    def stands(
        self, email: str, purpose: str = "newsletter", channel: Channel = Channel.EMAIL, at: datetime | None = None
    ) -> Status:
        state: Any = self.firm.state(CONSENT, self.person(email))
        found: Status = state.at(purpose, channel, at or datetime.now(UTC)).status
        return found


@pytest.fixture
def office(firm: Firm, tmp_path: Path) -> Office:
    return Office(firm.another(), tmp_path)


@pytest.mark.invariant("IC2")
@pytest.mark.invariant("IC3")
def test_acts_keep_their_own_time_and_evidence_and_what_is_wrong_is_said_row_by_row(office: Office) -> None:
    plan = office.firm.look(office.file(), "consents")
    assert {t: c for t, c, _ in plan.fields if t != "extra"}["at"] == "timestamp"
    before = office.firm.head
    assert (plan.rows, plan.rejected) == (14, 4)
    report = office.firm.carry(office.file(), "consents")
    assert (report.rows, report.created, report.rejected) == (14, 6, 8), report.reasons
    assert office.firm.head > before
    for word in ("No contact has", "no such list", "none of given, refused, withdrawn", "can be read", "suppression", "none of email", "GDPR",
                 "an import never overwrites a no", "no SHA-256"):  # fmt: skip
        assert any(word in reason for reason in report.reasons) or word == "no such list", (word, report.reasons)
    ann: Any = office.firm.state(CONSENT, office.person("ann@example.com"))
    standing = ann.at("newsletter", Channel.EMAIL, datetime.now(UTC))
    assert standing.status is Status.GIVEN
    assert standing.since == datetime(2023, 5, 1, 7, 30, tzinfo=UTC)
    assert standing.grant.terms.notice.version == 1
    assert standing.grant.imported
    assert office.stands("ann@example.com", at=datetime(2023, 5, 1, 7, 29, 59, tzinfo=UTC)) is Status.UNKNOWN
    assert office.stands("bob@example.com") is Status.WITHDRAWN
    assert office.stands("cleo@example.com", "events", Channel.SMS, datetime(2025, 1, 1, tzinfo=UTC)) is Status.GIVEN
    assert office.stands("cleo@example.com", "events", Channel.SMS, datetime(2026, 3, 2, tzinfo=UTC)) is Status.EXPIRED
    assert office.stands("dan@example.com") is Status.REFUSED
    assert office.stands("dan@example.com", "events") is Status.GIVEN
    (leaf,) = office.firm.all(
        "SELECT public FROM record.events WHERE firm_id = %s AND stream_id = %s AND type = 'consent.Given.v1'",
        office.firm.id, office.person("ann@example.com"),
    )  # fmt: skip
    data = json.loads(bytes(leaf[0]))["data"]
    assert data["evidence"] == [{"media_type": "application/pdf", "sha256": SHA}]
    assert (data["import_batch"], data["jurisdiction"]) == (f"import/{report.import_id}", "DE")
    assert not {"ip_address", "remark", "contact_point"} & set(data)
    rows = kept(office.firm, report.import_id)
    assert len(rows) == 14
    assert [o["source"]["consent id"] for _, _, o in rows] == [f"c{n}" for n in range(1, 15)]
    office.firm.see("suppressions")
    assert office.firm.one("SELECT count(*) FROM views.suppressions WHERE firm_id = %s", office.firm.id) == 0


def test_the_same_file_again_records_nothing_and_a_row_that_changed_is_a_new_act(office: Office) -> None:
    first = "c1,17,,,newsletter,email,yes,2023-05-01T00:00:00Z,,,,,,,,,,,,\n"
    office.firm.carry(office.file(first), "consents")
    again = office.firm.carry(office.file(first), "consents")
    assert (again.created, again.unchanged) == (0, 1)
    later = office.firm.carry(
        office.file(first.replace("yes", "no longer").replace("no longer", "withdrawn").replace("2023", "2024")), "consents"
    )
    assert later.created == 1
    assert office.stands("ann@example.com") is Status.WITHDRAWN
    assert office.stands("ann@example.com", at=datetime(2023, 6, 1, tzinfo=UTC)) is Status.GIVEN


@pytest.mark.invariant("IC1")
def test_what_a_person_said_here_is_not_covered_up_by_what_a_file_says(office: Office) -> None:
    ann = office.person("ann@example.com")
    about = {"purposes": ("newsletter",), "channel": Channel.EMAIL}
    given = datetime(2023, 1, 1, tzinfo=UTC)
    office.firm.do(GiveConsent(id=ann, **about, notice={"id": office.notice}, occurred_at=given))
    office.firm.do(WithdrawConsent(id=ann, **about, occurred_at=datetime(2024, 1, 1, tzinfo=UTC)))
    rows = "c1,17,,,newsletter,email,yes,2024-06-01T00:00:00Z,,,,,,,,,,,,\nc2,17,,,newsletter,email,yes,2022-01-01T00:00:00Z,,,,,,,,,,,,\n"
    report = office.firm.carry(office.file(rows), "consents")
    assert (report.created, report.rejected) == (1, 1)
    assert any("said no since" in reason for reason in report.reasons)
    assert office.stands("ann@example.com") is Status.WITHDRAWN


def test_an_undo_ends_what_the_import_gave_and_leaves_every_no_and_all_that_changed_since(office: Office) -> None:
    rows = (
        "c1,17,,,newsletter,email,yes,2023-05-01T00:00:00Z,,,,,,,,,,,,\nc2,18,,,newsletter,email,no,2023-05-01T00:00:00Z,,,,,,,,,,,,\n"
        "c3,19,,,newsletter,email,yes,2023-05-01T00:00:00Z,,,,,,,,,,,,\n"
    )
    report = office.firm.carry(office.file(rows), "consents")
    cleo = office.person("cleo@example.com")
    office.firm.do(WithdrawConsent(id=cleo, purposes=("newsletter",), channel=Channel.EMAIL))
    looked = office.firm.undo(report.import_id, preview=True)
    assert (looked.put_back["consent"], looked.kept_counts["consent"]) == (1, 2)
    assert office.stands("ann@example.com") is Status.GIVEN
    done = office.firm.undo(report.import_id)
    assert (done.put_back["consent"], done.kept_counts["consent"]) == (1, 2)
    assert office.stands("ann@example.com") is Status.INVALIDATED
    assert office.stands("ann@example.com", at=datetime(2023, 6, 1, tzinfo=UTC)) is Status.INVALIDATED
    assert office.stands("bob@example.com") is Status.REFUSED
    assert office.stands("cleo@example.com") is Status.WITHDRAWN
    again = office.firm.carry(office.file(rows), "consents")
    assert again.created >= 1
    assert office.stands("ann@example.com") is Status.GIVEN


def test_lines_of_json_are_read_as_rows_and_bad_lines_are_rows_that_were_rejected(office: Office) -> None:
    path = office.folder / "crm.jsonl"
    good = {"id": "j1", "email": "ann@example.com", "purpose": ["newsletter", "events"], "channel": "email", "status": True,
            "timestamp": "2023-05-01T00:00:00Z", "evidence": SHA}  # fmt: skip
    path.write_text(
        "\n".join([json.dumps(good), "", "{", "[1]", json.dumps({**good, "id": "j2", "status": {"x": 1}}), "x" * 2_000_000])
    )
    report = office.firm.carry(path, "consents")
    assert (report.form, report.rows, report.created, report.rejected) == ("json-lines", 5, 1, 4)
    assert office.stands("ann@example.com", "events") is Status.GIVEN


@pytest.mark.invariant("IC4")
def test_two_people_with_one_address_are_not_taken_for_each_other(office: Office) -> None:
    for name in ("Fay", "Gus"):
        office.firm.do(CreateContact(given=name, emails=[{"address": "both@example.com"}]))
    office.firm.see("contacts")
    report = office.firm.carry(
        office.file("c1,,both@example.com,,newsletter,email,yes,2023-05-01T00:00:00Z,,,,,,,,,,,,\n"), "consents"
    )
    assert report.rejected == 1
    assert any("Several contacts" in reason for reason in report.reasons)


def test_a_map_says_what_a_file_does_not(office: Office) -> None:
    table = office.folder / "list.csv"
    table.write_text("who;when\nann@example.com;01.02.2023 10:00\n")
    map = office.folder / "map.toml"
    map.write_text(
        'kind = "consents"\ntimezone = "Europe/Berlin"\n[fields]\nemail = "who"\nat = { column = "when", format = "%d.%m.%Y %H:%M" }\n'
        f'purpose = {{ constant = "newsletter" }}\nstatus = {{ constant = "given" }}\nnotice = {{ constant = "{office.notice}" }}\n'
    )
    assert office.firm.carry(table, "consents", map).created == 1
    assert office.stands("ann@example.com", at=datetime(2023, 2, 1, 9, 0, tzinfo=UTC)) is Status.GIVEN
    map.write_text('kind = "consents"\n[fields]\ncustom.x = "who"\n')
    with pytest.raises(FileDefect):
        office.firm.carry(table, "consents", map)


def test_an_unknown_import_is_not_undone(office: Office) -> None:
    with pytest.raises(NotFound):
        office.firm.undo(UUID(int=7))
