"""Reads as of a business time and as known at a position, over HTTP."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from tests.house import House


def written(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


async def test_a_list_and_a_record_are_read_as_they_were(house: House) -> None:
    made = (await house.client.post("/v1/pipelines", json={"name": "Before", "stages": [{"name": "One"}]})).json()
    between = datetime.now(UTC)
    renamed = await house.client.post(f"/v1/pipelines/{made['id']}:rename", json={"name": "After"})
    await house.settle()
    path = f"/v1/pipelines/{made['id']}"
    assert (await house.client.get(path)).json()["name"] == "After"
    assert (await house.client.get(path, params={"as_of": written(between)})).json()["name"] == "Before"
    assert (await house.client.get(path, params={"known_at": made["position"]})).json()["name"] == "Before"
    assert (await house.client.get(path, params={"known_at": written(between)})).json()["name"] == "Before"
    assert (await house.client.get(path, params={"known_at": renamed.json()["position"]})).json()["name"] == "After"
    assert (await house.client.get(path, params={"as_of": written(between - timedelta(days=1))})).status_code == 404
    names = [p["name"] for p in (await house.client.get("/v1/pipelines", params={"as_of": written(between)})).json()["items"]]
    assert "Before" in names
    assert "After" not in names


async def test_a_filter_and_a_total_look_at_the_rows_of_the_moment(house: House) -> None:
    name = f"P {uuid4()}"
    made = (await house.client.post("/v1/pipelines", json={"name": name, "stages": [{"name": "One"}]})).json()
    await house.client.post(f"/v1/pipelines/{made['id']}:rename", json={"name": f"{name} renamed"})
    await house.settle()
    asked = {"filter": f'name = "{name}"', "include_total": "true"}
    now = (await house.client.get("/v1/pipelines", params=asked)).json()
    then = (await house.client.get("/v1/pipelines", params={**asked, "known_at": made["position"]})).json()
    assert (now["total"], then["total"]) == (0, 1)
    stages = (
        await house.client.get("/v1/stages", params={"filter": f'pipeline.name = "{name}"', "known_at": made["position"]})
    ).json()
    assert len(stages["items"]) == 1


async def test_a_page_token_of_one_moment_is_not_good_for_another(house: House) -> None:
    for n in range(3):
        made = (await house.client.post("/v1/pipelines", json={"name": f"P{n} {uuid4()}", "stages": [{"name": "One"}]})).json()
    await house.settle()
    page = (await house.client.get("/v1/pipelines", params={"page_size": 1, "known_at": made["position"]})).json()
    other = await house.client.get("/v1/pipelines", params={"page_size": 1, "page_token": page["next_page_token"]})
    assert other.status_code == 422
    same = {"page_size": 1, "known_at": made["position"], "page_token": page["next_page_token"]}
    assert (await house.client.get("/v1/pipelines", params=same)).status_code == 200


async def test_a_moment_that_is_no_time_is_refused(house: House) -> None:
    for name, text in (
        ("as_of", "yesterday"),
        ("as_of", "2026-01-01"),
        ("as_of", "12"),
        ("known_at", "-1"),
        ("known_at", "2026-01-01T00:00:00"),
    ):
        refused = await house.client.get("/v1/pipelines", params={name: text})
        assert (refused.status_code, refused.json()["parameter"]) == (400, name)
