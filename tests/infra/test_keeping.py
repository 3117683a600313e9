"""What time and newer notices end is recorded by itself, at its own time, once."""

import asyncio
from typing import Any

import pytest

from infra.followers import parts
from infra.keeping import Keeper, due
from tests.house import House, post


@pytest.mark.invariant("KP1")
@pytest.mark.invariant("KP2")
async def test_expiries_and_supersessions_are_recorded_once_at_their_own_time(house: House) -> None:
    await post(house, "/purposes", {"key": "news", "name": "News", "dpv": "https://w3id.org/dpv#DirectMarketing"})
    text = {"title": "Privacy", "language": "en", "text": "We write.", "purposes": ["news"], "occurred_at": "2026-01-01T00:00:00Z"}
    notice = (await post(house, "/notices", text))["id"]
    about: dict[str, Any] = {
        "purposes": ["news"],
        "channel": "email",
        "notice": {"id": notice},
        "occurred_at": "2026-01-02T00:00:00Z",
    }
    ended, asked, stands = [(await post(house, "/contacts", {"given": n, "family": "Ash"}))["id"] for n in ("Ann", "Ben", "Cy")]
    await post(house, f"/contacts/{ended}/consent:give", {**about, "expires_at": "2026-02-01T00:00:00Z"})
    await post(house, f"/contacts/{asked}/consent:request", {**about, "contact_point": "b@example.org", "answer_within_hours": 24})
    await post(house, f"/contacts/{stands}/consent:give", about)
    newer = {**text, "text": "We write more.", "material": True, "new_purposes": ["news"], "occurred_at": "2026-03-01T00:00:00Z"}
    await post(house, f"/notices/{notice}:publish", newer)
    await house.settle()
    keeper = Keeper(parts(house.chancery.settings, house.chancery.database))
    for _ in range(2):
        await asyncio.to_thread(keeper.rebuild)
    await house.settle()

    async def last(contact: str) -> tuple[int, str, str]:
        events = (await house.client.get(f"/v1/contacts/{contact}/consent")).json()["events"]
        return len(events), events[-1]["type"], events[-1]["effective_from"]

    assert await last(ended) == (2, "consent.Expired.v1", "2026-02-01T00:00:00Z")
    assert await last(asked) == (2, "consent.Expired.v1", "2026-01-03T00:00:00Z")
    assert await last(stands) == (2, "consent.Superseded.v1", "2026-03-01T00:00:00Z")
    with house.chancery.database.connect("record") as c:
        assert due(c) == []
