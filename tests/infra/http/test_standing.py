"""What whoever watches an installation is told of a view that an event has stopped, and what its readers are told."""

# ruff: noqa: ASYNC110 - what is waited for lies outside and sends no event

import asyncio
import json

import httpx
import pytest

from infra.database import Database
from infra.settings import Settings
from tests.calling import at_home, call
from tests.house import House


async def altered(house: House, sql: str) -> None:
    async with await house.chancery.database.connect_async("record") as c:
        await c.execute(sql.encode())


async def until(house: House, status: int) -> httpx.Response:
    async with asyncio.timeout(120):
        while (ready := await house.client.get("/readyz")).status_code != status:
            await asyncio.sleep(0.05)
    return ready


async def test_a_stopped_view_is_named_by_readyz_metrics_and_status_and_the_others_are_read(
    house: House, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.settle()
    at_home(monkeypatch, database, settings.data)
    assert (await house.client.get("/readyz")).status_code == 200
    assert (await asyncio.to_thread(call, "status")).exit_code == 0
    # as an event that could not be applied leaves it
    await altered(
        house, "UPDATE chancery.projections SET stopped_at = position + 1, error = 'ZeroDivisionError' WHERE name = 'contacts'"
    )
    made = await house.client.post("/v1/contacts", json={"given": "Ann"})
    at = {"Chancery-Position": made.headers["chancery-position"]}
    ready = await until(house, 503)
    assert ready.json()["stopped"] == {"contacts": made.json()["position"]}
    measured = (await house.client.get("/metrics")).text.splitlines()
    stopped = {
        line.split('view="')[1].split('"')[0]: line[-3:] for line in measured if line.startswith("chancery_projection_stopped{")
    }
    assert stopped.pop("contacts") == "1.0"
    assert set(stopped.values()) == {"0.0"}
    status = await asyncio.to_thread(call, "status", "--json")
    assert status.exit_code == 1
    (view,) = [v for v in json.loads(status.stdout)["views"] if v["stopped_at"] is not None]
    assert (view["name"], view["stopped_at"], view["error"]) == ("contacts", made.json()["position"], "ZeroDivisionError")
    doctor = await asyncio.to_thread(call, "doctor")
    assert (doctor.exit_code, "contacts" in doctor.output) == (1, True), doctor.output
    behind = await house.client.get("/v1/contacts", headers=at)
    assert (behind.status_code, behind.json()["view"]) == (503, "contacts")
    assert (await house.client.get("/v1/organisations", headers=at)).status_code == 200
    resumed = await asyncio.to_thread(call, "projection", "resume", "contacts")
    assert resumed.exit_code == 0, resumed.output
    assert (await until(house, 200)).json()["stopped"] == {}
    assert (await house.client.get("/v1/contacts", headers=at)).status_code == 200
