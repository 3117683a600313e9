"""A consent that time or a newer notice has ended reads so at once, wherever it is read, though nobody has noted it yet."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from tests.house import House, post

BEGAN, GIVEN, ENDS = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-02-01T00:00:00Z"
BEFORE_IT_ENDS = "2026-01-31T23:59:59.999999Z"


class Desk:
    """Three people: whose consent a newer notice has just ended, whose time is over, and whose consent stands."""

    house: House
    notice: str
    superseded: str
    expired: str
    stands: str
    published: int
    before: str

    async def get(self, path: str, **params: str) -> Any:
        got = await self.house.client.get(f"/v1{path}", params=params)
        assert got.status_code == 200, got.text
        return got.json()

    async def status(self, contact: str, **moment: str) -> list[str]:
        found = await self.get("/consents", filter=f'contact = "{contact}"', **moment)
        return [row["status"] for row in found["items"]]


@pytest_asyncio.fixture(loop_scope="session")
async def desk(house: House) -> Desk:
    d = Desk()
    house = d.house = await house.another_firm()
    for key in ("news", "events"):
        about = {"key": key, "name": key.title(), "dpv": "https://w3id.org/dpv#DirectMarketing", "occurred_at": BEGAN}
        await post(house, "/purposes", about)
    text = {"title": "Privacy", "language": "en", "text": "We write.", "purposes": ["news", "events"], "occurred_at": BEGAN}
    d.notice = (await post(house, "/notices", text))["id"]
    for name, purpose, more in (("superseded", "news", {}), ("expired", "events", {"expires_at": ENDS}), ("stands", "events", {})):
        person = {"given": name, "family": "Ash", "occurred_at": BEGAN}
        contact = (await post(house, "/contacts", person))["id"]
        given = {"purposes": [purpose], "channel": "email", "notice": {"id": d.notice}, "occurred_at": GIVEN, **more}
        await post(house, f"/contacts/{contact}/consent:give", given)
        setattr(d, name, contact)
    await house.settle()
    d.before = datetime.now(UTC).isoformat()
    newer = {**text, "text": "We write more.", "material": True, "new_purposes": ["news"]}
    d.published = (await post(house, f"/notices/{d.notice}:publish", {k: v for k, v in newer.items() if k != "occurred_at"}))[
        "position"
    ]
    return d


@pytest.mark.invariant("CD8")
async def test_a_list_that_waits_for_a_newer_notice_shows_what_it_ended(desk: Desk) -> None:
    """Also by id, in a batch, as a download, in counts and filters, at a glance, in reports and in what is held about a person."""
    asked = {"filter": f'contact = "{desk.superseded}"'}
    got = await desk.house.client.get("/v1/consents", params=asked, headers={"Chancery-Position": str(desk.published)})
    (row,) = got.json()["items"]
    assert row["status"] == "superseded"
    await desk.house.settle()
    id = row["id"]
    assert (await desk.get(f"/consents/{id}"))["status"] == "superseded"
    assert (await desk.get(f"/consents/{id}", fields="status,purpose"))["status"] == "superseded"
    assert (await post(desk.house, "/consents:batch-get", {"ids": [id]}))["items"][0]["status"] == "superseded"
    text = (await desk.house.client.get("/v1/consents:export", params=asked)).text
    assert [r["status"] for r in csv.DictReader(io.StringIO(text.lstrip("\ufeff")))] == ["superseded"]
    for status, whose in (("superseded", desk.superseded), ("expired", desk.expired), ("given", desk.stands)):
        listed = await desk.get("/consents", filter=f'status = "{status}"', include_total="true", order_by="status, since")
        assert ([r["contact"] for r in listed["items"]], listed["total"]) == ([whose], 1)
        across = await desk.get("/contacts", filter=f'consents.status = "{status}"')
        assert [r["id"] for r in across["items"]] == [whose]
        purpose = "news" if whose == desk.superseded else "events"
        decided = await desk.get("/consent/decision", contact=whose, purpose=purpose, channel="email")
        assert decided["status"] == status
        (glance,) = (await desk.get(f"/contacts/{whose}/overview"))["consent"]["items"]
        assert glance["status"] == status
        (branch,) = (await desk.get(f"/contacts/{whose}/consent"))["purposes"]
        assert (branch["channels"][0]["status"], branch["channels"][0]["valid"]) == (status, status == "given")
        (held,) = (await desk.get(f"/contacts/{whose}/personal-data"))["consents"]
        assert held["status"] == status
        counted = await desk.get("/consent/status", purpose=purpose)
        assert counted["items"][0]["statuses"][status] == 1
        behind = await desk.get("/consent/contacts", purpose=purpose, channel="email", status=status)
        assert [r["contact"] for r in behind["items"]] == [whose]
    gaps = await desk.get("/compliance/gaps")
    assert {r["contact"] for r in gaps["items"]} == {desk.stands}
    overview = await desk.get("/compliance/overview")
    assert [(c["purpose"], c["standing"]) for c in overview["consents"]] == [("events", 1)]
    (again,) = (await desk.get("/compliance/reconsent", notice=desk.notice))["items"]
    assert (again["contact"], again["noted"]) == (desk.superseded, False)


@pytest.mark.invariant("CD8")
async def test_the_page_of_a_person_does_not_show_a_consent_that_a_newer_notice_ended(desk: Desk) -> None:
    await desk.house.settle()
    for whose, ticked in ((desk.superseded, False), (desk.expired, False), (desk.stands, True)):
        links = await post(desk.house, f"/contacts/{whose}/consent:links", {})
        async with desk.house.as_key(None) as person:
            page = await person.get(links["preferences"])
        assert page.status_code == 200, page.text
        assert ("checked" in page.text) is ticked


async def given_until(desk: Desk, name: str, channel: str, until: datetime) -> str:
    """Somebody new who consents to events up to a moment; answers their id."""
    contact: str = (await post(desk.house, "/contacts", {"given": name, "family": "Ash"}))["id"]
    about = {"purposes": ["events"], "channel": channel, "notice": {"id": desk.notice}, "expires_at": until.isoformat()}
    await post(desk.house, f"/contacts/{contact}/consent:give", about)
    await desk.house.settle()
    return contact


@pytest.mark.invariant("CD8")
async def test_a_consent_ends_for_readers_at_its_microsecond_before_and_after_it_is_noted(desk: Desk) -> None:
    await desk.house.settle()
    future = (datetime.now(UTC) + timedelta(days=400)).isoformat()
    until = datetime.now(UTC) + timedelta(days=100)
    later = await given_until(desk, "later", "post", until)
    hair = timedelta(microseconds=1)
    for _ in range(2):
        for whose, purpose, channel, moment, status in (
            (desk.expired, "events", "email", BEFORE_IT_ENDS, "given"),
            (desk.expired, "events", "email", ENDS, "expired"),
            (desk.expired, "events", "email", "2026-02-01T01:00:00+01:00", "expired"),
            (desk.expired, "events", "email", future, "expired"),
            (later, "events", "post", (until - hair).isoformat(), "given"),
            (later, "events", "post", until.isoformat(), "expired"),
            (desk.superseded, "news", "email", desk.before, "given"),
            (desk.superseded, "news", "email", future, "superseded"),
        ):
            assert await desk.status(whose, as_of=moment) == [status], (whose, moment)
            only = f'contact = "{whose}" AND status = "{status}"'
            assert len((await desk.get("/consents", filter=only, as_of=moment))["items"]) == 1
            decided = await desk.get("/consent/decision", contact=whose, purpose=purpose, channel=channel, as_of=moment)
            assert decided["status"] == status
        await post(desk.house, f"/contacts/{desk.expired}/consent:expire", {})
        await post(desk.house, f"/contacts/{desk.superseded}/consent:supersede", {"notice": desk.notice})
        await desk.house.settle()
    assert await desk.status(desk.superseded, known_at=str(desk.published - 1)) == ["given"]


async def test_two_moments_are_compared_also_where_only_time_has_passed(desk: Desk) -> None:
    until = datetime.now(UTC) + timedelta(days=10)
    contact = await given_until(desk, "between", "sms", until)
    sooner, later = (until - timedelta(days=1)).isoformat(), (until + timedelta(days=1)).isoformat()
    found = await desk.get("/consents", filter=f'contact = "{contact}"', as_of=later, vs_as_of=sooner)
    (row,) = found["items"]
    assert (row["change"], row["changed"]) == ("changed", ["status"])
    assert (row["before"]["status"], row["after"]["status"]) == ("given", "expired")
    again = await desk.get("/consents", filter=f'contact = "{contact}"', as_of=sooner, vs_as_of=later)
    assert (again["items"][0]["before"]["status"], again["items"][0]["after"]["status"]) == ("expired", "given")


async def test_a_tag_of_a_consent_changes_when_a_newer_notice_ends_it(desk: Desk) -> None:
    contact = (await post(desk.house, "/contacts", {"given": "tagged", "family": "Ash"}))["id"]
    text = {"title": "Events", "language": "en", "text": "We meet.", "purposes": ["events"]}
    notice = (await post(desk.house, "/notices", text))["id"]
    await post(
        desk.house, f"/contacts/{contact}/consent:give", {"purposes": ["events"], "channel": "phone", "notice": {"id": notice}}
    )
    await desk.house.settle()
    (row,) = (await desk.get("/consents", filter=f'contact = "{contact}"'))["items"]
    path = f"/v1/consents/{row['id']}"
    tag = (await desk.house.client.get(path)).headers["etag"]
    assert (await desk.house.client.get(path, headers={"If-None-Match": tag})).status_code == 304
    newer = {**text, "text": "We meet more.", "material": True, "new_purposes": ["events"]}
    published = await post(desk.house, f"/notices/{notice}:publish", newer)
    headers = {"If-None-Match": tag, "Chancery-Position": str(published["position"])}
    got = await desk.house.client.get(path, headers=headers)
    assert (got.status_code, got.json()["status"]) == (200, "superseded")
