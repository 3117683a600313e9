"""Receipts and the reports of a compliance officer, over a firm with consents of every kind."""

from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from domain.members import Role
from tests.house import House, post

DPV = "https://w3id.org/dpv#"


async def get(house: House, path: str, **params: Any) -> dict[str, Any]:
    got = await house.client.get(f"/v1{path}", params=params)
    assert got.status_code == 200, (path, got.text)
    return dict(got.json())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def people(house: House) -> dict[str, str]:
    """`sound` has everything, `bare` lacks the contact point, `implied` ends soon, `old` agreed to a notice that changed, `asked` again."""
    await post(house, "/purposes", {"key": "news", "name": "News", "dpv": DPV + "DirectMarketing"})
    text = {"title": "Privacy", "language": "en", "text": "We write.", "purposes": ["news"], "occurred_at": "2026-01-01T00:00:00Z"}
    notice = (await post(house, "/notices", text))["id"]
    found = {"notice": notice}
    about: dict[str, Any] = {"purposes": ["news"], "channel": "email"}
    seen = {"notice": {"id": notice}, "collection_method": "web_form"}
    said: dict[str, dict[str, Any]] = {
        "sound": {**seen, "contact_point": "a@example.org"},
        "bare": dict(seen),
        "implied": {"consent_type": "dpv:ImpliedConsent", "legal_basis": "ca-casl:10-9-a", "implied_by": "inquiry", "contact_point": "c@example.org",
                    "collection_method": "phone_call"},
        "old": {**seen, "contact_point": "d@example.org"},
        "asked": {**seen, "contact_point": "e@example.org"},
        "muted": {**seen, "contact_point": "f@example.org"},
    }  # fmt: skip
    for name, how in said.items():
        contact = (await post(house, "/contacts", {"given": name.title(), "family": "Ash"}))["id"]
        await post(house, f"/contacts/{contact}/consent:give", {**about, **how})
        found[name] = contact
    for kind in ("access", "erase"):
        await post(house, f"/contacts/{found['bare']}:request-privacy", {"kind": kind, "received_at": "2026-02-01T00:00:00Z"})
    await house.settle()
    return found


async def test_a_receipt_in_the_words_of_27560_names_the_record_and_what_it_rests_on(house: House, people: dict[str, str]) -> None:
    made = await get(house, f"/contacts/{people['sound']}/consent/receipts/1")
    assert made["@type"] == ["dpv:ConsentRecord", "dpv:ConsentReceipt"]
    assert made["dpv:hasConsentStatus"]["@type"] == "dpv:ConsentGiven"
    assert made["dpv:hasProcess"][0]["dpv:hasPurpose"]["@type"] == "dpv:DirectMarketing"
    assert made["dpv:hasNotice"]["dct:identifier"] == people["notice"]
    assert made["dpv:hasDataSubject"]["dpv:hasContact"] == "a@example.org"
    UUID(made["dct:identifier"])


async def test_a_receipt_of_kantara_has_the_members_it_must_have(house: House, people: dict[str, str]) -> None:
    made = await get(house, f"/contacts/{people['implied']}/consent/receipts/1", format="kantara")
    assert made["version"] == "KI-CR-v1.1.0"
    assert {"jurisdiction", "consentTimestamp", "collectionMethod", "consentReceiptID", "language", "piiPrincipalId", "piiControllers",
            "services", "sensitive", "spiCat"} <= set(made)  # fmt: skip
    (purpose,) = made["services"][0]["purposes"]
    assert (purpose["consentType"], purpose["purpose"]) == ("IMPLICIT", "News")


@pytest.mark.invariant("RC1")
@pytest.mark.invariant("RC2")
async def test_a_receipt_shows_nothing_personal_to_whom_may_not_see_it_and_none_of_what_is_no_consent(
    house: House, people: dict[str, str]
) -> None:
    async with await house.as_role(Role.READ_ONLY) as reader:
        got = await reader.get(f"/v1/contacts/{people['sound']}/consent/receipts/1")
        assert got.status_code == 200
        assert "a@example.org" not in got.text
    await post(house, f"/contacts/{people['muted']}/consent:suppress", {"reason": "bounce", "channel": "email"})
    await house.settle()
    refused = await house.client.get(f"/v1/contacts/{people['muted']}/consent/receipts/2")
    assert refused.status_code == 422
    assert (await house.client.get(f"/v1/contacts/{people['sound']}/consent/receipts/9")).status_code == 404


async def test_the_overview_counts_consents_by_basis_and_requests_by_their_deadlines(house: House, people: dict[str, str]) -> None:
    found = await get(house, "/compliance/overview", days=365)
    by_basis = {c["legal_basis"]: c for c in found["consents"]}
    assert by_basis["ca-casl:10-9-a"]["ending"] == 1
    assert by_basis["eu-gdpr:A6-1-a"]["without_notice"] == 0
    by_kind = {r["kind"]: r for r in found["requests"]}
    assert (by_kind["access"]["open"], by_kind["access"]["overdue"]) == (1, 1)
    assert by_kind["erase"]["ground"] == "gdpr"


async def test_gaps_name_what_is_missing(house: House, people: dict[str, str]) -> None:
    found = {g["contact"]: g["missing"] for g in (await get(house, "/compliance/gaps"))["items"]}
    assert found[people["bare"]] == ["contact_point"]
    assert found[people["implied"]] == ["notice"]
    assert people["sound"] not in found
    page = await get(house, "/compliance/gaps", page_size=1)
    rest = await get(house, "/compliance/gaps", page_size=1, page_token=page["next_page_token"])
    assert page["items"][0]["id"] < rest["items"][0]["id"]


async def test_what_ends_soon_is_listed_with_its_time(house: House, people: dict[str, str]) -> None:
    found = await get(house, "/compliance/expiring", days=365)
    assert [e["contact"] for e in found["items"]] == [people["implied"]]
    assert (await get(house, "/compliance/expiring", days=1))["items"] == []


async def test_a_changed_notice_lists_whom_to_ask_again_and_neither_the_asked_nor_the_suppressed(
    house: House, people: dict[str, str]
) -> None:
    newer = {
        "title": "Privacy",
        "language": "en",
        "text": "We write more.",
        "purposes": ["news"],
        "material": True,
        "new_purposes": ["news"],
    }
    await post(house, f"/notices/{people['notice']}:publish", newer)
    about = {"purposes": ["news"], "channel": "email", "contact_point": "e@example.org", "notice": {"id": people["notice"]}}
    await post(house, f"/contacts/{people['asked']}/consent:request", about)
    await post(house, f"/contacts/{people['muted']}/consent:suppress", {"reason": "bounce", "channel": "email"})
    await house.settle()
    found = await get(house, "/compliance/reconsent", notice=people["notice"])
    assert {i["contact"] for i in found["items"]} == {people["sound"], people["bare"], people["old"]}
    assert {i["newest_version"] for i in found["items"]} == {2}
    await post(house, f"/contacts/{people['old']}/consent:supersede", {"notice": people["notice"]})
    await house.settle()
    again = {i["contact"]: i["noted"] for i in (await get(house, "/compliance/reconsent", notice=people["notice"]))["items"]}
    assert (again[people["old"]], again[people["sound"]]) == (True, False)
