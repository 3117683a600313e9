"""May this person be contacted? The table of decisions, told by commands and asked over HTTP, as of any moment."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.house import House, post

STORIES = tomllib.loads(Path(__file__).with_name("decisions.toml").read_text())["story"]
DPV = "https://w3id.org/dpv#"
TREE = {
    "marketing": (None, "DirectMarketing"),
    "news": ("marketing", "DirectMarketing"),
    "offers": ("news", "DirectMarketing"),
    "events": (None, "DirectMarketing"),
    "sale": (None, "SellDataToThirdParties"),
    "partners": ("sale", "DirectMarketing"),
    "old": (None, "DirectMarketing"),
}
BEGAN = "2020-01-01T00:00:00Z"
LIVE = [key for key in TREE if key != "old"]
ABOUT = ("purpose", "channel", "status")
GRANTS = {"give", "renew", "request"}
PLAIN = {"withdraw", "refuse", "defer", "revoke", "invalidate", "suppress", "unsuppress", "expire", "opt_out_of_sale"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def office(house: House) -> House:
    """A firm with a tree of purposes."""
    ids: dict[str, str] = {}
    for key, (above, dpv) in TREE.items():
        body = {
            "key": key,
            "name": key.title(),
            "dpv": DPV + dpv,
            "occurred_at": BEGAN,
            **({"parent": ids[above]} if above else {}),
        }
        ids[key] = (await post(house, "/purposes", body))["id"]
    await post(house, f"/purposes/{ids['old']}:retire", {})
    return house


async def contact_and_notice(house: House) -> tuple[str, str]:
    contact = (await post(house, "/contacts", {"given": "Ann", "family": "Ash", "occurred_at": BEGAN}))["id"]
    text = {
        "title": "Privacy",
        "language": "en",
        "text": "We write.",
        "purposes": LIVE,
        "occurred_at": BEGAN,
    }
    return contact, (await post(house, "/notices", text))["id"]


async def tell(house: House, contact: str, other: str, notice: str, steps: list[dict[str, Any]]) -> None:
    for step in steps:
        said = dict(step)
        do, whom = said.pop("do"), contact
        if do == "other":
            do, whom = said.pop("then"), other
        if "at" in said:
            said["occurred_at"] = said.pop("at")
        if do in GRANTS and said.pop("notice", True):
            said["notice"] = {"id": notice}
        match do:
            case _ if do in GRANTS | PLAIN:
                await post(house, f"/contacts/{whom}/consent:{do.replace('_', '-')}", said)
            case "supersede":
                await post(house, f"/contacts/{whom}/consent:supersede", {"notice": notice})
            case "publish":
                text = {"title": "Privacy", "language": "en", "text": "We write more.", "purposes": LIVE, "material": True}
                await post(house, f"/notices/{notice}:publish", {**text, **said})
            case "merge":
                await post(house, f"/contacts/{contact}:merge", {"other": other})
            case "archive":
                await post(house, f"/contacts/{whom}:archive", {})
            case "hold":
                await post(house, f"/contacts/{whom}:hold", {"reason": "A dispute"})
            case _:
                raise AssertionError(do)


async def asked(house: House, contact: str, question: list[str]) -> dict[str, Any]:
    purpose, channel, moment = question[:3]
    params = {"contact": contact, "purpose": purpose, "channel": channel, **({} if moment == "now" else {"as_of": moment})}
    got = await house.client.get("/v1/consent/decision", params=params)
    assert got.status_code == 200, got.text
    answer: dict[str, Any] = got.json()
    return answer


async def listed(house: House, decision: dict[str, Any], moment: dict[str, str]) -> list[str]:
    """The status in the list, at the same moment, of the consent that decided."""
    if decision["chain"] is None:
        return []
    asked = " AND ".join(
        f'{name} = "{value}"' for name, value in (("contact", decision["chain"]), *((n, decision[n]) for n in ABOUT))
    )
    found = await house.client.get("/v1/consents", params={"filter": asked, **moment})
    assert found.status_code == 200, found.text
    return [row["status"] for row in found.json()["items"]]


def test_the_table_has_a_hundred_and_fifty_rows() -> None:
    assert sum(len(s["ask"]) for s in STORIES) >= 150


@pytest.mark.parametrize("story", STORIES, ids=[s["name"] for s in STORIES])
@pytest.mark.invariant("CD1")
@pytest.mark.invariant("CD2")
@pytest.mark.invariant("CD3")
@pytest.mark.invariant("CD4")
@pytest.mark.invariant("CD5")
@pytest.mark.invariant("CD6")
@pytest.mark.invariant("CD8")
async def test_a_story_ends_in_the_decisions_of_the_table(office: House, story: dict[str, Any]) -> None:
    contact, notice = await contact_and_notice(office)
    other, _ = await contact_and_notice(office)
    await tell(office, contact, other, notice, story["tell"])
    await office.settle()
    for question in story["ask"]:
        expected = [r if r != "yes" else "consent_given" for r in question[3:]]
        got = await asked(office, contact, question)
        assert (got["reasons"], got["allowed"]) == (expected, expected == ["consent_given"]), question
        many = {"contacts": [contact], "purpose": question[0], "channel": question[1]}
        at = {} if question[2] == "now" else {"as_of": question[2]}
        batch = (await office.client.post("/v1/consent/decisions", json=many, params=at)).json()
        assert batch["items"][0]["reasons"] == expected, question
        assert len(got["because"]) == len(expected)
        assert await listed(office, got, at) == ([got["status"]] if got["status"] != "unknown" else []), question
    for question in story["ask"]:
        if question[2] == "now":  # the record itself says the same as the views
            sent = await post(office, "/sendings", {"contacts": [contact], "purpose": question[0], "channel": question[1]})
            withheld = sent["withheld"][0]["reasons"] if sent["withheld"] else ["consent_given"]
            assert withheld == [r if r != "yes" else "consent_given" for r in question[3:]]


@pytest.mark.invariant("CD7")
async def test_an_answer_names_the_event_that_decided_it_and_what_it_rests_on(office: House) -> None:
    contact, notice = await contact_and_notice(office)
    about = {"purposes": ["news"], "channel": "email"}
    await post(
        office, f"/contacts/{contact}/consent:give", {**about, "notice": {"id": notice}, "expires_at": "2100-01-01T00:00:00Z"}
    )
    await office.settle()
    given = await asked(office, contact, ["news", "email", "now"])
    assert given["allowed"]
    assert given["deciding_event"]["type"] == "consent.Given.v1"
    assert given["deciding_event"]["seq"] == 1
    assert (given["legal_basis"], given["notice"], given["expires_at"]) == (
        "eu-gdpr:A6-1-a",
        {"id": notice, "version": 1},
        "2100-01-01T00:00:00Z",
    )
    await post(office, f"/contacts/{contact}/consent:suppress", {"reason": "bounce", "channel": "email"})
    await office.settle()
    muted = await asked(office, contact, ["news", "email", "now"])
    assert muted["deciding_event"]["type"] == "consent.Suppressed.v1"
    assert muted["status"] == "given"


async def test_what_was_known_then_and_what_was_true_then_are_two_questions(office: House) -> None:
    contact, notice = await contact_and_notice(office)
    about = {"purposes": ["news"], "channel": "email"}
    given = await post(
        office,
        f"/contacts/{contact}/consent:give",
        {**about, "notice": {"id": notice}, "occurred_at": "2026-03-01T00:00:00Z"},
    )
    await post(office, f"/contacts/{contact}/consent:withdraw", {**about, "occurred_at": "2026-04-01T00:00:00Z"})
    await office.settle()
    params = {"contact": contact, "purpose": "news", "channel": "email", "as_of": "2026-05-01T00:00:00Z"}
    true_then = (await office.client.get("/v1/consent/decision", params=params)).json()
    known_then = (await office.client.get("/v1/consent/decision", params={**params, "known_at": given["position"]})).json()
    assert true_then["reasons"] == ["consent_withdrawn"]
    assert known_then["reasons"] == ["consent_given"]


async def test_a_retired_purpose_is_closed(office: House) -> None:
    contact, _ = await contact_and_notice(office)
    await office.settle()
    assert (await asked(office, contact, ["old", "email", "now"]))["reasons"] == ["consent_unknown", "purpose_retired"]


async def test_before_it_was_retired_a_purpose_was_open(office: House) -> None:
    contact, _ = await contact_and_notice(office)
    dpv = DPV + "DirectMarketing"
    passing = await post(office, "/purposes", {"key": "passing", "name": "Passing", "dpv": dpv, "occurred_at": BEGAN})
    text = {"title": "Passing", "language": "en", "text": "We pass.", "purposes": ["passing"], "occurred_at": BEGAN}
    notice = (await post(office, "/notices", text))["id"]
    about = {"purposes": ["passing"], "channel": "email", "notice": {"id": notice}, "occurred_at": "2026-03-01T00:00:00Z"}
    await post(office, f"/contacts/{contact}/consent:give", about)
    before = datetime.now(UTC).isoformat()
    await post(office, f"/purposes/{passing['id']}:retire", {})
    await office.settle()
    assert (await asked(office, contact, ["passing", "email", "now"]))["reasons"] == ["purpose_retired"]
    assert (await asked(office, contact, ["passing", "email", before]))["reasons"] == ["consent_given"]
    assert (await asked(office, contact, ["passing", "email", "2026-02-28T00:00:00Z"]))["reasons"] == ["consent_unknown"]


@pytest.mark.invariant("CD3")
async def test_one_may_ask_for_one_address_alone(office: House) -> None:
    contact, notice = await contact_and_notice(office)
    about = {"purposes": ["news"], "channel": "email", "contact_point": "ann@example.org", "notice": {"id": notice}}
    await post(office, f"/contacts/{contact}/consent:give", about)
    await post(
        office,
        f"/contacts/{contact}/consent:suppress",
        {"reason": "bounce", "channel": "email", "contact_point": "old@example.org"},
    )
    await office.settle()
    listed = (await office.client.get("/v1/consents", params={"filter": f'contact = "{contact}"'})).json()["items"]
    mine = listed[0]["contact_point_ref"]
    rows = (await office.client.get("/v1/suppressions", params={"filter": f'contact = "{contact}"'})).json()["items"]
    old = rows[0]["contact_point_ref"]
    assert mine != old
    for ref, reasons in ((None, ["consent_given"]), (mine, ["consent_given"]), (old, ["other_contact_point", "suppressed_bounce"])):
        params = {"contact": contact, "purpose": "news", "channel": "email", **({"contact_point_ref": ref} if ref else {})}
        got = (await office.client.get("/v1/consent/decision", params=params)).json()
        assert got["reasons"] == reasons, ref


async def test_the_proof_an_answer_points_to_is_that_of_the_chain_that_decided(office: House) -> None:
    kept, notice = await contact_and_notice(office)
    gone, _ = await contact_and_notice(office)
    await post(office, f"/contacts/{gone}/consent:give", {"purposes": ["news"], "channel": "email", "notice": {"id": notice}})
    await post(office, f"/contacts/{kept}:merge", {"other": gone})
    await office.settle()
    got = await asked(office, kept, ["news", "email", "now"])
    assert (got["allowed"], got["deciding_event"]["contact"]) == (True, gone)
    assert got["proof_url"] == f"/v1/contacts/{gone}/consent:proof"


async def test_a_contact_that_is_not_there_and_one_of_another_firm_are_closed_alike(office: House) -> None:
    contact, _ = await contact_and_notice(office)
    other = await office.another_firm()
    missing = "01890000-0000-7000-8000-000000000000"
    foreign = await asked(other, contact, ["news", "email", "now"])
    nobody = await asked(other, missing, ["news", "email", "now"])
    assert foreign["reasons"] == nobody["reasons"] == ["consent_unknown", "contact_unknown", "purpose_unknown"]


async def test_a_batch_answers_in_the_order_asked_and_counts_its_reasons(office: House) -> None:
    people = [(await contact_and_notice(office)) for _ in range(3)]
    about = {"purposes": ["news"], "channel": "email"}
    for contact, notice in people[:2]:
        await post(office, f"/contacts/{contact}/consent:give", {**about, "notice": {"id": notice}})
    await post(office, f"/contacts/{people[1][0]}/consent:withdraw", about)
    await office.settle()
    ids = [c for c, _ in reversed(people)]
    got = (await office.client.post("/v1/consent/decisions", json={"contacts": ids, "purpose": "news", "channel": "email"})).json()
    assert [i["contact"] for i in got["items"]] == ids
    assert (got["allowed"], got["reasons"]) == (1, {"consent_unknown": 1, "consent_withdrawn": 1, "consent_given": 1})


async def test_the_moment_of_a_batch_stands_in_the_address_or_in_the_body_and_is_never_passed_over(office: House) -> None:
    contact, notice = await contact_and_notice(office)
    given = {"purposes": ["news"], "channel": "email", "notice": {"id": notice}}
    await post(office, f"/contacts/{contact}/consent:give", {**given, "occurred_at": "2026-03-01T00:00:00Z"})
    await office.settle()
    about = {"contacts": [contact], "purpose": "news", "channel": "email"}
    then, path = {"as_of": "2026-02-28T23:59:59Z"}, "/v1/consent/decisions"
    assert (await office.client.post(path, json=about)).json()["allowed"] == 1
    for sent in ({"json": about, "params": then}, {"json": {**about, **then}}):
        got = (await office.client.post(path, **sent)).json()
        assert (got["allowed"], got["as_of"]) == (0, "2026-02-28T23:59:59Z"), got
    for wrong in ({**about, "as_of": "2026-02-28"}, {**about, "as_of": 7}, {**about, "known_at": "soon"}):
        assert (await office.client.post(path, json=wrong)).status_code == 400, wrong
    twice = await office.client.post(path, json={**about, **then}, params=then)
    assert (twice.status_code, twice.json()["type"]) == (400, "urn:chancery:problem:repeated-parameter")


async def test_a_decision_of_now_is_as_of_now(office: House) -> None:
    contact, _ = await contact_and_notice(office)
    await office.settle()
    before = datetime.now(UTC)
    got = await asked(office, contact, ["news", "email", "now"])
    assert abs((datetime.fromisoformat(got["as_of"]) - before).total_seconds()) < 60


@pytest.mark.invariant("SE1")
@pytest.mark.invariant("SE2")
@pytest.mark.invariant("SE3")
async def test_a_decision_used_for_a_sending_is_recorded_with_what_it_rests_on(office: House) -> None:
    people = [(await contact_and_notice(office)) for _ in range(3)]
    about = {"purposes": ["news"], "channel": "email"}
    for contact, notice in people[:2]:
        await post(office, f"/contacts/{contact}/consent:give", {**about, "notice": {"id": notice}})
    await post(office, f"/contacts/{people[1][0]}/consent:withdraw", about)
    ids = [c for c, _ in people]  # asked at once, before any view has caught up
    sent = await post(office, "/sendings", {"contacts": ids, "purpose": "news", "channel": "email", "message": "spring-letter"})
    assert sent["allowed"] == ids[:1]
    assert {w["contact"]: w["reasons"] for w in sent["withheld"]} == {
        ids[1]: ["consent_withdrawn"],
        ids[2]: ["consent_unknown"],
    }
    await office.settle()
    kept = (await office.client.get(f"/v1/sendings/{sent['id']}")).json()
    assert (kept["message"], kept["allowed_count"], kept["withheld_count"]) == ("spring-letter", 1, 2)
    assert kept["allowed"][0]["seq"] == 1
    twice = await office.client.post("/v1/sendings", json={"contacts": [ids[0], ids[0]], "purpose": "news", "channel": "email"})
    assert twice.status_code == 422
