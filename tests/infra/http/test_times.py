import pytest

from tests.house import House


@pytest.mark.parametrize("text", ["0.5", "12", "-3", " 1700000000 "])
async def test_a_time_written_as_a_number_is_refused(house: House, text: str) -> None:
    read = await house.client.get("/v1/graph/referrals", params={"before": text})
    assert (read.status_code, read.json()["type"]) == (422, "urn:chancery:problem:time-is-a-number"), read.text
    task = {"title": "Call back", "occurred_at": text}
    written = await house.client.post("/v1/tasks", json=task)
    assert (written.status_code, written.json()["field"]) == (422, "occurred_at"), written.text


async def test_a_plus_that_became_a_space_on_its_way_is_named(house: House) -> None:
    for name in ("as_of", "known_at", "vs_as_of"):
        refused = await house.client.get(f"/v1/deals?{name}=2026-01-31T09:00:00+01:00")
        assert refused.status_code == 400, refused.text
        assert "%2B" in refused.json()["detail"]
        assert (await house.client.get(f"/v1/deals?{name}=2026-01-31T09:00:00%2B01:00")).status_code == 200
    assert "%2B" not in (await house.client.get("/v1/deals?as_of=yesterday")).json()["detail"]
