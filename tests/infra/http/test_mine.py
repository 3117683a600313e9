"""What depends on who asks: one's own day, one's own saved views; and the time zone that figures are told in."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.house import House


async def post(house: House, path: str, body: dict[str, Any], client: httpx.AsyncClient | None = None) -> dict[str, Any]:
    done = await (client or house.client).post(f"/v1{path}", json=body)
    assert done.status_code in {200, 201}, done.text
    return dict(done.json())


async def read(client: httpx.AsyncClient, path: str, status: int = 200, **params: str) -> Any:
    done = await client.get(f"/v1{path}", params=params)
    assert done.status_code == status, done.text
    return done.json()


async def a_member(house: House, name: str) -> tuple[str, httpx.AsyncClient]:
    member = await post(house, "/members", {"name": name, "email": f"{name.lower()}@x.example", "roles": ["adviser"]})
    key = await post(house, "/keys", {"name": f"Of {name}", "member": member["id"]})
    await house.settle()
    return str(member["id"]), house.as_key(key["api_key"])


async def test_my_day_is_the_day_of_the_member_who_asks(house: House) -> None:
    ann, hers = await a_member(house, "Ann")
    bob, his = await a_member(house, "Bob")
    late = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    for member, title in ((ann, "Hers"), (bob, "His")):
        await post(house, "/tasks", {"title": title, "assignee": member, "due_at": late})
    await house.settle()
    for client, member, title in ((hers, ann, "Hers"), (his, bob, "His")):
        day = await read(client, "/me/day")
        assert (day["member"], [t["title"] for t in day["tasks"]["overdue"]["items"]]) == (member, [title])
    refused = await read(house.client, "/me/day", 422)
    assert refused["type"] == "urn:chancery:problem:nobodys-day"


async def test_a_view_that_is_not_shared_is_its_owners_alone_to_see(house: House) -> None:
    _, hers = await a_member(house, "Cleo")
    _, his = await a_member(house, "Dan")
    looks = {"collection": "deals", "filter": 'title : "Cleo"'}
    own = (await post(house, "/saved_views", {**looks, "name": "Mine"}, hers))["id"]
    shared = (await post(house, "/saved_views", {**looks, "name": "Ours", "shared": True}, hers))["id"]
    await house.settle()
    assert {v["id"] for v in (await read(hers, "/saved_views"))["items"]} == {own, shared}
    for client in (his, house.client):
        listed = await read(client, "/saved_views", include_total="true")
        assert (own in {v["id"] for v in listed["items"]}, listed["total"]) == (False, 1)
        await read(client, f"/saved_views/{own}", 404)
        await read(client, f"/saved_views/{own}/history", 404)
        await read(client, f"/saved_views/{own}/explain", 404)
        batch = await client.post("/v1/saved_views:batch-get", json={"ids": [own, shared]})
        assert [v["id"] for v in batch.json()["items"]] == [shared], batch.text
        then = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
        assert [v["id"] for v in (await read(client, "/saved_views", as_of=then))["items"]] == [shared]
        lines = (await client.get("/v1/saved_views:export", params={"format": "jsonl"})).text
        assert own not in lines
        assert (await read(client, f"/saved_views/{shared}"))["name"] == "Ours"
    assert [e["version"] for e in (await read(hers, f"/saved_views/{own}/history"))["items"]] == [1]
    await post(house, f"/saved_views/{own}:change", {"name": "Mine", "shared": True}, hers)
    await house.settle()
    assert (await read(his, f"/saved_views/{own}"))["name"] == "Mine"
    await post(house, f"/saved_views/{own}:change", {"name": "Mine", "shared": False}, hers)
    await house.settle()
    await read(his, f"/saved_views/{own}", 404)


async def test_nothing_of_a_keys_secret_is_shown_to_anybody(house: House) -> None:
    made = await post(house, "/keys", {"name": "K", "role": "read-only"})
    rotated = await post(house, f"/keys/{made['id']}:rotate", {"overlap_hours": 1})
    await house.settle()
    for path in (
        "/keys",
        f"/keys/{made['id']}",
        f"/keys/{made['id']}/history",
        f"/keys/{made['id']}/explain",
        f"/keys/{made['id']}/timeline",
    ):
        answer = await house.client.get(f"/v1{path}")
        assert answer.status_code == 200, path
        assert "sha256" not in answer.text, path
    assert (await house.client.get("/v1/keys", params={"filter": 'sha256 = "x"'})).json()["type"].endswith("unknown-field")
    item = (await house.client.get("/openapi.json")).json()["components"]["schemas"]["KeysItem"]
    assert "sha256" not in str(item)
    undone = await house.client.post("/v1/undo", json={"command_id": made["events"][0]["id"], "preview": True})
    assert "sha256" not in undone.text
    assert (await house.as_key(rotated["api_key"]).get("/v1/me")).status_code == 200
    assert (await house.as_key(made["api_key"]).get("/v1/me")).status_code == 200


async def test_days_weeks_and_months_are_those_of_the_zone_asked_for_or_of_the_firm(house: House) -> None:
    stages = [{"name": "One"}, {"name": "Won", "kind": "won"}]
    pipeline = (await post(house, "/pipelines", {"name": "Zones", "stages": stages}))["id"]
    first = datetime.now(UTC).date().replace(day=1)
    before = datetime(first.year, first.month, 1, tzinfo=UTC) - timedelta(minutes=30)  # the last half hour of last month, by UTC
    await post(house, "/deals", {"title": "At midnight", "pipeline": pipeline, "occurred_at": before.isoformat()})
    await house.settle()

    last = (first - timedelta(days=1)).replace(day=1)

    async def opened(**params: Any) -> dict[str, int]:
        told = await read(
            house.client, f"/pipelines/{pipeline}/outcomes", months="3", **params
        )  # the next has begun in Tokyo, perhaps
        return {m["month"]: m["opened"] for m in told["months"] if m["month"] in {last.isoformat(), first.isoformat()}}

    assert await opened() == {last.isoformat(): 1, first.isoformat(): 0}
    assert await opened(time_zone="Asia/Tokyo") == {last.isoformat(): 0, first.isoformat(): 1}
    window: dict[str, Any] = {
        "since": (before - timedelta(days=1)).isoformat(),
        "until": (before + timedelta(hours=3)).isoformat(),
        "stream": "deal",
    }
    for zone, day in (("UTC", before.day), ("Asia/Tokyo", 1)):
        told = await read(house.client, "/activity", bucket="day", time_zone=zone, **window)
        (busy,) = [b["start"] for b in told["buckets"] if b["events"]]
        assert datetime.fromisoformat(busy).day == day
    settings = {"time_zone": "Asia/Tokyo", "region": "eu"}
    changed = await house.client.post(f"/v1/firms/{house.firm}:change-settings", json={"time_zone": settings["time_zone"]})
    assert changed.status_code == 200, changed.text
    await house.settle()
    assert await opened() == {last.isoformat(): 0, first.isoformat(): 1}
    assert (await read(house.client, "/dashboard"))["time_zone"] == "Asia/Tokyo"
    await read(house.client, "/dashboard", 422, time_zone="Mars/Olympus")


def test_days_have_as_many_hours_as_the_zone_gives_them() -> None:
    from zoneinfo import ZoneInfo

    from queries.activity import buckets

    berlin = ZoneInfo("Europe/Berlin")
    spring = [
        b.astimezone(UTC) for b in buckets(datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC), "day", berlin)
    ]
    assert [(b - a).total_seconds() / 3600 for a, b in itertools.pairwise(spring)] == [24, 23, 24]
    hours = list(buckets(datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC), "hour", berlin))
    assert len(hours) == 25


async def test_what_lies_inside_another_record_has_a_history_of_its_own(house: House) -> None:
    ids = [
        (await post(house, "/purposes", {"key": key, "name": key, "dpv": "https://w3id.org/dpv#Marketing"}))["id"]
        for key in ("letters", "calls")
    ]
    await post(house, f"/purposes/{ids[0]}:amend", {"name": "Newsletters", "dpv": "https://w3id.org/dpv#Marketing"})
    await post(house, f"/purposes/{ids[1]}:retire", {})
    await house.settle()
    histories = [(await read(house.client, f"/purposes/{id}/history"))["items"] for id in ids]
    assert [[e["type"] for e in h] for h in histories] == [
        ["purposes.Defined.v1", "purposes.Amended.v1"],
        ["purposes.Defined.v1", "purposes.Retired.v1"],
    ]
    assert {"field": "name", "old": "letters", "new": "Newsletters"} in histories[0][1]["changes"]
    page = await read(house.client, f"/purposes/{ids[0]}/history", page_size="1")
    rest = await read(house.client, f"/purposes/{ids[0]}/history", page_size="1", page_token=page["next_page_token"])
    assert [e["type"] for e in (*page["items"], *rest["items"])] == ["purposes.Defined.v1", "purposes.Amended.v1"]
    await read((await house.another_firm()).client, f"/purposes/{ids[0]}/history", 404)
