from typing import Any
from uuid import uuid4

from tests.house import House

DPV = "https://w3id.org/dpv#DirectMarketing"


async def post(house: House, path: str, **body: Any) -> Any:
    done = await house.client.post(f"/v1{path}", json=body)
    assert done.status_code in {200, 201}, done.text
    return done


async def test_a_consent_goes_from_the_request_to_the_withdrawal_over_http(house: House) -> None:
    top, below = f"t-{uuid4().hex}", f"b-{uuid4().hex}"
    parent = (await post(house, "/purposes", key=top, name="Marketing", dpv=DPV)).json()["id"]
    await post(house, "/purposes", key=below, name="News", dpv=DPV, parent=parent)
    notice = (await post(house, "/notices", title="Privacy", language="en", text="We write.", purposes=[below])).json()["id"]
    contact = (await post(house, "/contacts", given="Ann", family="Ash")).json()["id"]
    asking = {"purposes": [below], "channel": "email", "contact_point": "ann@example.org", "notice": {"id": notice}}
    asked = (await post(house, f"/contacts/{contact}/consent:request", **asking)).json()
    again = await house.client.post(f"/v1/contacts/{contact}/consent:request", json=asking)
    assert (again.status_code, again.json()["type"]) == (409, "urn:chancery:problem:request-is-pending")
    await post(house, f"/contacts/{contact}/consent:confirm", token=asked["token"])
    used = await house.client.post(f"/v1/contacts/{contact}/consent:confirm", json={"token": asked["token"]})
    assert (used.status_code, used.json()["type"]) == (409, "urn:chancery:problem:token-used")
    done = await post(house, f"/contacts/{contact}/consent:withdraw", purposes=[top])

    position = {"Chancery-Position": done.headers["chancery-position"]}
    told = (await house.client.get(f"/v1/contacts/{contact}/consent", headers=position)).json()
    branches = {b["purpose"]: b["channels"] for b in told["purposes"]}
    assert {key: [(c["channel"], c["status"]) for c in channels] for key, channels in branches.items()} == {
        top: [("email", "withdrawn")],
        below: [("email", "withdrawn")],
    }
    assert [e["type"] for e in told["events"]] == ["consent.Requested.v1", "consent.Confirmed.v1", "consent.Withdrawn.v1"]
    assert done.json()["head"] != told["events"][-1]["prev"]

    async def found(path: str, filter: str) -> list[Any]:
        answer = await house.client.get(f"/v1/{path}", params={"filter": filter}, headers=position)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    assert [r["key"] for r in await found("purposes", f'parent.key = "{top}"')] == [below]
    assert {r["purpose"] for r in await found("consents", f'contact.id = "{contact}" AND status = "withdrawn"')} == {top, below}
    assert [r["id"] for r in await found("contacts", f'consents.purpose = "{below}"')] == [contact]
    assert [r["text"] for r in await found("notice_texts", f'notice.id = "{notice}"')] == ["We write."]


async def test_a_read_of_an_unknown_contacts_consent_and_a_malformed_act_are_problems(house: House) -> None:
    missing = await house.client.get(f"/v1/contacts/{uuid4()}/consent")
    assert missing.status_code == 404
    wrong = await house.client.post(f"/v1/contacts/{uuid4()}/consent:give", json={"purposes": ["news"], "channel": "fax"})
    assert wrong.status_code == 422
