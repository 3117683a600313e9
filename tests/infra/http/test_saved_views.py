"""Saved views over HTTP."""

from domain.members import Role
from tests.house import House


async def test_a_view_is_saved_shared_changed_and_deleted(house: House) -> None:
    body = {
        "collection": "deals",
        "name": "Large ones",
        "filter": "amount > 1000",
        "order_by": "amount desc",
        "fields": "title,amount",
    }
    made = await house.client.post("/v1/saved_views", json=body | {"shared": True})
    assert made.status_code == 201, made.text
    await house.settle()
    path = f"/v1/saved_views/{made.json()['id']}"
    me = (await house.client.get("/v1/me")).json()["actor"]
    listed = (await house.client.get("/v1/saved_views", params={"filter": "collection = deals AND shared = true"})).json()["items"]
    assert [{k: i[k] for k in (*body, "owner")} for i in listed] == [body | {"owner": me}]
    changed = await house.client.post(f"{path}:change", json={"name": "Larger", "filter": "amount > 5000"})
    assert changed.status_code == 200, changed.text
    async with await house.as_role(Role.ADVISER) as client:
        theirs = await client.post(f"{path}:change", json={"name": "Mine now"})
    assert (theirs.status_code, theirs.json()["type"]) == (409, "urn:chancery:problem:not-your-view")
    await house.settle()
    kept = body | {"name": "Larger", "filter": "amount > 5000", "shared": True}  # what a change leaves out stays
    assert {k: v for k, v in (await house.client.get(path)).json().items() if k in kept} == kept
    assert (await house.client.post(f"{path}:change", json={"fields": "", "shared": False})).status_code == 200
    await house.settle()
    emptied = kept | {"fields": "", "shared": False}
    assert {k: v for k, v in (await house.client.get(path)).json().items() if k in kept} == emptied
    assert (await house.client.post(f"{path}:change", json={"order_by": "nothing"})).status_code == 422
    assert (await house.client.post(f"{path}:delete", json={})).status_code == 200
    await house.settle()
    assert (await house.client.get(path)).status_code == 404


async def test_what_a_list_would_refuse_is_not_saved(house: House) -> None:
    good = {"collection": "deals", "name": "x"}
    for wrong, problem in (
        ({"filter": "amont > 1"}, "unknown-field"),
        ({"filter": "(("}, "filter-malformed"),
        ({"order_by": "nothing"}, "unknown-field"),
        ({"fields": "nothing"}, "unknown-field"),
    ):
        answer = await house.client.post("/v1/saved_views", json=good | wrong)
        assert (answer.status_code, answer.json()["type"]) == (422, f"urn:chancery:problem:{problem}")
    unknown = await house.client.post("/v1/saved_views", json={"collection": "dealz", "name": "x"})
    assert (unknown.status_code, unknown.json()["type"]) == (422, "urn:chancery:problem:no-such-list")
    assert "Did you mean deals" in unknown.json()["detail"]
