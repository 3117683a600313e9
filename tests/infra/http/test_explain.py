"""Why a field is what it is, what a stale version missed, and who is asking; over HTTP."""

from datetime import UTC, datetime
from typing import Any

from domain.members import Role
from tests.house import House


async def a_contact(house: House, **more: object) -> dict[str, Any]:
    done = await house.client.post("/v1/contacts", json={"display_name": "Ann Archer", "job_title": "Clerk", **more})
    assert done.status_code == 201, done.text
    return dict(done.json())


def of(answer: Any, field: str) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return next(dict(f) for f in answer.json()["fields"] if f["field"] == field)


async def test_each_field_names_the_event_that_made_it_so(house: House) -> None:
    made = await a_contact(house)
    between = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    path = f"/v1/contacts/{made['id']}"
    corrected = (
        await house.client.post(f"{path}:correct", json={"field": "job_title", "value": "Partner", "reason": "Told by her"})
    ).json()
    await house.settle()
    title = of(await house.client.get(f"{path}/explain", params={"field": "job_title"}), "job_title")
    assert (title["value"], title["old"]) == ("Partner", "Clerk")
    event = title["event"]
    assert (event["type"], event["version"], event["position"]) == ("contacts.Corrected.v1", 2, corrected["position"])
    assert (event["reason"], event["origin"]) == ("Told by her", None)
    assert event["id"] == corrected["events"][0]["id"]
    whole = await house.client.get(f"{path}/explain")
    assert of(whole, "display_name")["event"]["type"] == "contacts.Created.v1"
    assert of(whole, "nickname")["event"] is None
    then = of(await house.client.get(f"{path}/explain", params={"as_of": between}), "job_title")
    assert (then["value"], then["event"]["version"]) == ("Clerk", 1)
    known = of(await house.client.get(f"{path}/explain", params={"known_at": made["position"]}), "job_title")
    assert known["value"] == "Clerk"


async def test_a_row_inside_another_record_is_explained_too(house: House) -> None:
    made = (await house.client.post("/v1/pipelines", json={"name": "Explained", "stages": [{"name": "Only"}]})).json()
    await house.settle()
    stage = (await house.client.get("/v1/stages", params={"filter": f"pipeline_id = {made['id']}"})).json()["items"][0]
    name = of(await house.client.get(f"/v1/stages/{stage['id']}/explain"), "name")
    assert (name["value"], name["event"]["type"]) == ("Only", "pipelines.Defined.v1")


async def test_personal_values_and_reasons_are_masked(house: House) -> None:
    made = await a_contact(house)
    path = f"/v1/contacts/{made['id']}"
    await house.client.post(f"{path}:correct", json={"field": "job_title", "value": "Partner", "reason": "Told by her"})
    await house.settle()
    issued = await house.client.post(
        "/v1/keys", json={"name": "Blind", "role": "owner", "scopes": ["contacts:read", "history:read"]}
    )
    assert issued.status_code == 201, issued.text
    await house.settle()
    async with house.as_key(issued.json()["api_key"]) as client:
        answer = await client.get(f"{path}/explain")
    assert of(answer, "job_title")["masked"] is True
    assert of(answer, "job_title")["event"]["reason_masked"] is True
    assert not any(word in answer.text for word in ("Partner", "Clerk", "Ann", "Told"))


async def test_what_can_not_be_explained_says_so(house: House) -> None:
    made = await a_contact(house)
    path = f"/v1/contacts/{made['id']}/explain"
    await house.settle()
    assert (await house.client.get(path, params={"field": "job_titel"})).json()["near"] == ["job_title"]
    assert (await house.client.get(path, params={"as_of": "2001-01-01T00:00:00Z"})).status_code == 404
    other = await house.another_firm()
    assert (await other.client.get(path)).status_code == 404


async def test_a_stale_version_is_told_what_it_missed(house: House) -> None:
    made = await a_contact(house)
    path = f"/v1/contacts/{made['id']}"
    await house.client.post(f"{path}:amend", json={"job_title": "Partner"})
    await house.client.post(f"{path}:amend", json={"nickname": "Annie"})
    refused = await house.client.post(f"{path}:amend", json={"about": "x"}, headers={"If-Match": '"1"'})
    assert refused.status_code == 412
    body = refused.json()
    assert (body["type"], body["version"], body["expected"]) == ("urn:chancery:problem:stale", 3, 1)
    assert refused.headers["ETag"] == '"3"'
    assert {c["field"]: (c["old"], c["new"]) for c in body["changes"]}.items() >= {
        "job_title": ("Clerk", "Partner"),
        "nickname": (None, "Annie"),
    }.items()
    again = await house.client.post(f"{path}:amend", json={"about": "x"}, headers={"If-Match": refused.headers["ETag"]})
    assert again.status_code == 200


async def test_one_is_told_who_one_is_and_how_much_one_may(house: House) -> None:
    me = (await house.client.get("/v1/me")).json()
    assert me["firm_name"] == "A firm"
    assert "contacts" in me["collections"]
    assert me["limits"]["downloads_per_key"] == 2
    async with await house.as_role(Role.ANALYST) as client:
        mine = (await client.get("/v1/me")).json()
    assert mine["roles"] == ["analyst"]
    assert mine["key_name"] == "A analyst key"
    assert set(mine["permissions"]) < set(me["permissions"])
