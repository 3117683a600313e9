"""Everything about one person, in one file, and nothing about another."""

import csv
import io
import zipfile

import pytest

from domain.members import Role
from tests.house import House, post
from tests.infra.erasure.test_erasure import a_person


@pytest.mark.invariant("PO1")
@pytest.mark.invariant("PO2")
async def test_a_persons_data_holds_what_was_said_of_them_and_nothing_of_another(house: House) -> None:
    person, document = await a_person(house, "Ported")
    await a_person(house, "Stranger")
    employer = (await post(house, "/organisations", {"name": "Fernsby"}))["id"]
    ends = {"source_type": "contact", "source": person, "target_type": "organisation", "target": employer}
    await post(house, "/relations", {"kind": "works_at", **ends})
    await house.settle()
    got = await house.client.get(f"/v1/contacts/{person}/personal-data")
    assert got.status_code == 200, got.text
    found = got.json()
    assert found["contact"][0]["given"] == "Portedgiven"
    assert [n["text"] for n in found["notes"]] == ["Portednote"]
    assert [t["title"] for t in found["tasks"]] == ["Portedtask"]
    assert [d["id"] for d in found["documents"]] == [document]
    assert found["relations"][0]["target_name"] == "Fernsby"
    assert found["consent_events"][0]["remark"] == "Portedremark"
    said = [e for e in found["events"] if e["type"] == "contacts.Corrected.v1"]
    assert said[0]["said"]["reason"] == "Portedwhy"
    assert "Stranger" not in got.text


@pytest.mark.invariant("PO1")
@pytest.mark.invariant("PO2")
async def test_what_was_said_of_one_who_was_merged_into_the_person_is_theirs_and_a_sending_names_nobody_else(house: House) -> None:
    kept, gone, other = [
        (await post(house, "/contacts", {"given": given, "family": "Ash"}))["id"] for given in ("Kept", "Gone", "Beside")
    ]
    await post(house, "/notes", {"about_type": "contact", "about": gone, "text": "Said of the one who went"})
    await post(house, "/projects", {"name": "Their estate", "contact": kept})
    await post(house, "/purposes", {"key": "cards", "name": "Cards", "dpv": "https://w3id.org/dpv#DirectMarketing"})
    sent = await post(house, "/sendings", {"contacts": [kept, other], "purpose": "cards", "channel": "post", "message": "spring"})
    await post(house, f"/contacts/{kept}:merge", {"other": gone})
    await house.settle()
    got = await house.client.get(f"/v1/contacts/{kept}/personal-data")
    found = got.json()
    assert {c["id"] for c in found["contact"]} == {kept, gone}
    assert "Said of the one who went" in [n["text"] for n in found["notes"]]
    assert [p["name"] for p in found["projects"]] == ["Their estate"]
    assert [(s["id"], s["message"]) for s in found["sendings"]] == [(sent["id"], "spring")]
    assert other not in got.text


async def test_it_comes_as_csv_files_too_that_run_nothing(house: House) -> None:
    person, _ = await a_person(house, "Tabled")
    await post(house, f"/contacts/{person}:amend", {"nickname": "=1+1"})
    await house.settle()
    got = await house.client.get(f"/v1/contacts/{person}/personal-data", params={"format": "csv"})
    with zipfile.ZipFile(io.BytesIO(got.content)) as archive:
        assert {"contact.csv", "events.csv", "consent_events.csv"} <= set(archive.namelist())
        (row,) = csv.DictReader(io.StringIO(archive.read("contact.csv").decode()))
    assert row["given"] == "Tabledgiven"
    assert row["nickname"] == "'=1+1"


@pytest.mark.invariant("PO3")
async def test_only_who_may_see_personal_values_gets_it_and_nobody_anothers(house: House) -> None:
    person, _ = await a_person(house, "Guarded")
    async with await house.as_role(Role.ADVISER) as adviser:
        assert (await adviser.get(f"/v1/contacts/{person}/personal-data")).status_code == 403
    other = await house.another_firm()
    assert (await other.client.get(f"/v1/contacts/{person}/personal-data")).status_code == 404
    request = (await post(house, f"/contacts/{person}:request-privacy", {"kind": "access"}))["request"]
    await post(house, f"/contacts/{person}:answer-privacy-request", {"request": request})
    await house.settle()
    assert (await house.client.get(f"/v1/privacy_requests/{request}")).json()["status"] == "completed"
