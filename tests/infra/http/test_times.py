import pytest

from tests.house import House


@pytest.mark.parametrize("text", ["0.5", "12", "-3", " 1700000000 "])
async def test_a_time_written_as_a_number_is_refused(house: House, text: str) -> None:
    read = await house.client.get("/v1/graph/referrals", params={"before": text})
    assert (read.status_code, read.json()["type"]) == (422, "urn:chancery:problem:time-is-a-number"), read.text
    task = {"title": "Call back", "occurred_at": text}
    written = await house.client.post("/v1/tasks", json=task)
    assert (written.status_code, written.json()["field"]) == (422, "occurred_at"), written.text
