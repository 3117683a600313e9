from uuid import uuid4

from domain.members import Role
from tests.house import House


async def a_pipeline(house: House, **more: object) -> dict[str, object]:
    done = await house.client.post(
        "/v1/pipelines", json={"name": f"Loans {uuid4()}", "stages": [{"name": "Enquiry"}, {"name": "Offer"}]}
    )
    assert done.status_code == 201, done.text
    return dict(done.json())


async def test_a_write_is_seen_by_a_read_that_carries_its_position(house: House) -> None:
    for _ in range(20):
        done = await house.client.post("/v1/pipelines", json={"name": f"P {uuid4()}", "stages": [{"name": "One"}]})
        read = await house.client.get(done.headers["location"], headers={"Chancery-Position": done.headers["chancery-position"]})
        assert read.status_code == 200
        assert read.headers["etag"] == done.headers["etag"]


async def test_the_same_idempotency_key_gives_the_first_answer_and_one_effect(house: House) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    body = {"name": f"P {uuid4()}", "stages": [{"name": "One"}]}
    first = await house.client.post("/v1/pipelines", json=body, headers=key)
    again = await house.client.post("/v1/pipelines", json=body, headers=key)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers


async def test_an_idempotency_key_under_another_body_is_refused(house: House) -> None:
    key = {"Idempotency-Key": "an invoice number, say"}
    await house.client.post("/v1/pipelines", json={"name": f"P {uuid4()}", "stages": [{"name": "One"}]}, headers=key)
    other = await house.client.post("/v1/pipelines", json={"name": f"Q {uuid4()}", "stages": [{"name": "One"}]}, headers=key)
    assert (other.status_code, other.json()["type"]) == (422, "urn:chancery:problem:command-id-reused")


async def test_a_stale_etag_is_refused_with_the_current_version(house: House) -> None:
    made = await a_pipeline(house)
    renamed = await house.client.post(
        f"/v1/pipelines/{made['id']}:rename", json={"name": f"R {uuid4()}"}, headers={"If-Match": f'"{made["version"]}"'}
    )
    assert renamed.status_code == 200, renamed.text
    stale = await house.client.post(
        f"/v1/pipelines/{made['id']}:rename", json={"name": f"S {uuid4()}"}, headers={"If-Match": f'"{made["version"]}"'}
    )
    assert stale.status_code == 412
    assert stale.json()["version"] == renamed.json()["version"]


async def test_another_firms_record_is_not_found_by_read_history_or_command(house: House) -> None:
    made = await a_pipeline(house)
    await house.settle()
    other = await house.another_firm()
    assert (await other.client.get(f"/v1/pipelines/{made['id']}")).status_code == 404
    assert (await other.client.get(f"/v1/pipelines/{made['id']}/history")).status_code == 404
    foreign = await other.client.post(f"/v1/pipelines/{made['id']}:rename", json={"name": "Mine"})
    missing = await other.client.post(f"/v1/pipelines/{uuid4()}:rename", json={"name": "Mine"})
    assert foreign.status_code == missing.status_code == 404
    assert foreign.json()["title"] == missing.json()["title"]
    assert (await other.client.get("/v1/pipelines")).json()["items"] == []


async def test_a_role_without_the_permission_is_refused_and_told_which_it_needs(house: House) -> None:
    reader = await house.as_role(Role.READ_ONLY)
    refused = await reader.post("/v1/pipelines", json={"name": "P", "stages": [{"name": "One"}]})
    assert refused.status_code == 403
    assert refused.json()["permission"] == "pipelines:write"


async def test_a_revoked_key_is_refused_at_once(house: House) -> None:
    done = await house.client.post("/v1/keys", json={"name": "Short-lived", "role": "adviser"})
    await house.settle()
    short = house.as_key(done.json()["api_key"])
    assert (await short.get("/v1/me")).status_code == 200
    revoked = await house.client.post(f"/v1/keys/{done.json()['id']}:revoke", json={})
    assert revoked.status_code == 200
    await house.settle()
    refused = await short.get("/v1/me")
    assert (refused.status_code, refused.json()["type"]) == (401, "urn:chancery:problem:key-is-revoked")


async def test_history_tells_who_changed_what_and_the_values_before_and_after(house: House) -> None:
    made = await a_pipeline(house)
    await house.client.post(f"/v1/pipelines/{made['id']}:rename", json={"name": "Mortgages"})
    entries = (await house.client.get(f"/v1/pipelines/{made['id']}/history")).json()["items"]
    last = entries[-1]
    assert last["type"] == "pipelines.Renamed.v1"
    assert last["actor"].startswith("key/")
    change = next(c for c in last["changes"] if c["field"] == "name")
    assert change["new"] == "Mortgages"
    assert change["old"].startswith("Loans")
