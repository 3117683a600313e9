"""What frontends live on, over HTTP: boards and figures of pipelines, days, loads, glances, timelines, activity, consent, the dashboard."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from time import sleep
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from domain.members import Role
from tests.house import House

DPV = "https://w3id.org/dpv#DirectMarketing"


class Begun:
    """When these tests began. They may be read long before, on another day."""

    at: datetime

    @property
    def day(self) -> date:
        return self.at.date()


BEGUN = Begun()


@pytest.fixture(scope="module", autouse=True)
def _begun() -> None:
    while (now := datetime.now(UTC)).time() >= time(23, 55):  # no midnight is to come in between
        sleep(1)
    BEGUN.at = now


def ago(days: float) -> str:
    return (BEGUN.at - timedelta(days=days)).isoformat()


async def post(house: House, path: str, **body: Any) -> Any:
    done = await house.client.post(f"/v1/{path}", json=body)
    assert done.status_code in {200, 201}, (path, done.text)
    return done.json()


async def get(house: House, path: str, wanted: int = 200, **params: Any) -> Any:
    done = await house.client.get(f"/v1/{path}", params=params)
    assert done.status_code == wanted, (path, done.text)
    return done.json()


@dataclass
class Scene:
    """Three deals of Ann's in a pipeline of two open stages, her tasks, her consent; Bob stands beside and must stay untouched."""

    pipeline: str
    stages: list[str]
    member: str
    ann: str
    bob: str
    acme: str
    old: str
    new: str
    won: str
    purpose: str
    project: str
    tasks: list[str]
    note: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene(house: House) -> Scene:
    stages = [
        {"name": "Talk", "probability": 20, "time_limit_days": 5},
        {"name": "Offer", "probability": 50},
        {"name": "Won", "kind": "won"},
        {"name": "Lost", "kind": "lost"},
    ]
    pipeline = (await post(house, "pipelines", name="Mandates", stages=stages))["id"]
    await house.settle()
    ids = [s["id"] for s in (await get(house, "stages", filter=f'pipeline.id = "{pipeline}"', order_by="place"))["items"]]
    member = (await post(house, "members", name="Mia", email="mia@firm.example", roles=["adviser"]))["id"]
    ann = (await post(house, "contacts", given="Ann", family="Ash", owner=member))["id"]
    bob = (await post(house, "contacts", given="Bob", family="Birch"))["id"]
    acme = (await post(house, "organisations", name="Acme"))["id"]
    parties = [
        {"kind": "contact", "party_id": bob, "role": "introducer"},
        {"kind": "contact", "party_id": ann, "role": "client"},
        {"kind": "organisation", "party_id": acme, "role": "client"},
    ]
    of = {"pipeline": pipeline, "owner": member, "currency": "EUR", "parties": parties[1:]}
    month = BEGUN.day.replace(day=1)
    closes = {"expected_close": month.isoformat()}
    old = (
        await post(
            house,
            "deals",
            title="Old",
            amount="1000",
            occurred_at=ago(40),
            parties=parties,
            **{**closes, **{k: v for k, v in of.items() if k != "parties"}},
        )
    )["id"]
    new = (
        await post(house, "deals", title="New", amount="300.50", occurred_at=ago(1), **of, expected_close=BEGUN.day.isoformat())
    )["id"]
    won = (await post(house, "deals", title="Won", amount="99", occurred_at=ago(20), **of))["id"]
    await post(house, f"deals/{won}:move", stage=ids[1], occurred_at=ago(15))
    await post(house, f"deals/{won}:win", occurred_at=ago(10), closed_on=(BEGUN.day - timedelta(days=10)).isoformat())
    lost = (await post(house, "deals", title="Lost", occurred_at=ago(9), pipeline=pipeline))["id"]
    await post(house, f"deals/{lost}:lose", reason_code="price", occurred_at=ago(8))
    project = (await post(house, "projects", name="Work", start_on="2026-01-05"))["id"]
    noon = datetime.combine(BEGUN.day, time(23, 59), UTC)
    given: list[dict[str, Any]] = [
        {"title": "Late", "due_at": ago(3), "contact": ann, "estimate_minutes": 90},
        {"title": "Today", "due_at": noon.isoformat(), "deal": old},
        {"title": "First", "project": project, "estimate_minutes": 3 * 480},
        {"title": "Second", "project": project, "estimate_minutes": 4 * 480},
    ]
    tasks = [(await post(house, "tasks", assignee=member, **t))["id"] for t in given]
    await post(house, f"projects/{project}:add-dependency", predecessor=tasks[2], successor=tasks[3])
    await post(house, f"tasks/{tasks[0]}:block", reason="Ann is away")
    note = (await post(house, "notes", about_type="contact", about=ann, text="She rides"))["id"]
    purpose = f"p-{uuid4().hex}"
    await post(house, "purposes", key=purpose, name="News", dpv=DPV)
    notice = (await post(house, "notices", title="Privacy", language="en", text="We write.", purposes=[purpose]))["id"]
    asking = {"purposes": [purpose], "notice": {"id": notice}}
    await post(house, f"contacts/{ann}/consent:request", channel="email", contact_point="ann@example.org", **asking)
    await post(
        house, f"contacts/{bob}/consent:give", channel="phone", contact_point="+4930123456", collection_method="in_person", **asking
    )
    await house.settle()
    return Scene(pipeline, ids, member, ann, bob, acme, old, new, won, purpose, project, tasks, note)


async def test_a_board_has_counts_sums_weights_and_the_longest_resting_cards_first(house: House, scene: Scene) -> None:
    board = await get(house, f"pipelines/{scene.pipeline}/board", cards=1)
    talk, offer, won, lost = board["columns"]
    assert [c["stage"]["name"] for c in board["columns"]] == ["Talk", "Offer", "Won", "Lost"]
    assert [c["deals"] for c in board["columns"]] == [2, 0, 1, 1]
    assert board["closed_where_they_stood"] == {}
    (sums,) = talk["sums"]
    assert (sums["currency"], Decimal(sums["amount"]), Decimal(sums["weighted"])) == ("EUR", Decimal("1300.50"), Decimal("260.10"))
    assert talk["rotting"] == 1
    (card,) = talk["cards"]
    assert (card["id"], card["title"], card["rotting"]) == (scene.old, "Old", True)
    assert 40 * 86400 <= card["seconds_in_stage"] < 41 * 86400
    page = await get(house, f"pipelines/{scene.pipeline}/column", stage=scene.stages[0], page_token=talk["next_page_token"])
    assert [c["id"] for c in page["items"]] == [scene.new]
    assert page["next_page_token"] == ""
    assert won["cards"][0]["id"] == scene.won
    assert (offer["cards"], [c["rotting"] for c in lost["cards"]]) == ([], [False])


async def test_a_board_is_read_as_it_was_before_the_pipeline_itself(house: House, scene: Scene) -> None:
    then = await get(house, f"pipelines/{scene.pipeline}/board", as_of=ago(12))
    assert {c["stage"]["name"]: [card["id"] for card in c["cards"]] for c in then["columns"] if c["cards"]} == {
        "Talk": [scene.old],
        "Offer": [scene.won],
    }
    await get(house, f"pipelines/{scene.pipeline}/board", 404, known_at=1)
    await get(house, f"pipelines/{uuid4()}/board", 404)


async def test_a_deal_closed_where_it_stood_is_in_no_column_but_counted(house: House) -> None:
    house = await house.another_firm()
    pipeline = (await post(house, "pipelines", name="Short", stages=[{"name": "Only"}]))["id"]
    lost = (await post(house, "deals", title="Gone", pipeline=pipeline, occurred_at=ago(3)))["id"]
    won = (await post(house, "deals", title="Got", pipeline=pipeline, occurred_at=ago(3)))["id"]
    away = (await post(house, "deals", title="Put away", pipeline=pipeline, occurred_at=ago(3)))["id"]
    await post(house, f"deals/{lost}:lose", reason_code="price", occurred_at=ago(2))
    await post(house, f"deals/{won}:win", occurred_at=ago(1))
    await post(house, f"deals/{away}:archive")
    await house.settle()
    board = await get(house, f"pipelines/{pipeline}/board")
    assert ([c["deals"] for c in board["columns"]], board["closed_where_they_stood"]) == ([0], {"lost": 1, "won": 1})
    funnel = await get(house, f"pipelines/{pipeline}/funnel")
    assert [funnel["stages"][0][k] for k in ("entered", "went_on", "lost", "resting")] == [2, 1, 1, 0]
    durations = await get(house, f"pipelines/{pipeline}/durations")
    assert [durations["stages"][0][k] for k in ("stays", "open", "longest_seconds")] == [2, 0, 2 * 86400]
    for path in ("stays", "overview"):
        await get(house, f"deals/{uuid4()}/{path}", 404)


async def test_a_token_or_a_stage_of_something_else_is_refused(house: House, scene: Scene) -> None:
    path = f"pipelines/{scene.pipeline}/column"
    for token in ("x", "W10", "WyIxIiwiMiJd", "é" * 10, "WyJub3ciLCJub3ciXQ"):
        assert (await get(house, path, 422, stage=scene.stages[0], page_token=token))["type"].endswith("page-token-malformed")
    await get(house, path, 404, stage=str(uuid4()))


async def test_a_funnel_says_where_deals_went_from_each_stage(house: House, scene: Scene) -> None:
    funnel = await get(house, f"pipelines/{scene.pipeline}/funnel")
    talk = funnel["stages"][0]
    assert funnel["deals"] == 4
    assert [talk[k] for k in ("entered", "went_on", "lost", "resting", "won", "conversion")] == [4, 1, 1, 2, 1, "0.2500"]
    moves = {(m["origin"], m["target"]): m["moves"] for m in funnel["moves"]}
    assert moves[(scene.stages[0], scene.stages[1])] == 1
    mine = await get(house, f"pipelines/{scene.pipeline}/funnel", filter=f'owner.id = "{scene.member}"', since=ago(25))
    assert mine["deals"] == 2
    earlier = await get(house, f"pipelines/{scene.pipeline}/funnel", as_of=ago(16))
    assert [earlier["stages"][0][k] for k in ("entered", "went_on", "resting")] == [2, 0, 2]
    await get(house, f"pipelines/{scene.pipeline}/funnel", 422, since="1066-10-14T00:00:00Z")
    for figure in ("funnel", "durations"):  # nothing would be found, and nobody would see why
        backwards = await get(house, f"pipelines/{scene.pipeline}/{figure}", 422, since=ago(1), until=ago(2))
        assert backwards["type"].endswith("period-ends-before-it-begins")


async def test_stays_have_a_beginning_an_end_and_a_doer(house: House, scene: Scene) -> None:
    stays = (await get(house, f"deals/{scene.won}/stays"))["items"]
    assert [(s["stage_name"], s["how"], s["left_by"]) for s in stays][:2] == [
        ("Talk", "opened", "moved"),
        ("Offer", "moved", "won"),
    ]
    assert [s["seconds"] for s in stays][:2] == [5 * 86400, 5 * 86400]
    figures = {s["name"]: s for s in (await get(house, f"pipelines/{scene.pipeline}/durations"))["stages"]}
    assert (figures["Offer"]["stays"], figures["Offer"]["median_seconds"]) == (1, 5 * 86400)
    assert (figures["Talk"]["stays"], figures["Talk"]["open"]) == (4, 2)
    assert figures["Won"]["stays"] == 0
    first = await get(house, f"deals/{scene.won}/stays", limit=1)
    assert [s["seconds"] for s in first["items"]] == [5 * 86400]
    assert first["more"]


async def test_outcomes_count_what_was_won_and_lost_by_month(house: House, scene: Scene) -> None:
    told = await get(house, f"pipelines/{scene.pipeline}/outcomes", months=3)
    assert len(told["months"]) == 3
    assert sum(m["won"] for m in told["months"]) == sum(m["lost"] for m in told["months"]) == 1
    (month,) = [m for m in told["months"] if m["won"]]
    assert month["seconds_to_win"] == 10 * 86400
    assert Decimal(month["won_sums"][0]["amount"]) == 99
    assert told["lost_because"] == [{"reason": "price", "deals": 1}]


async def test_a_forecast_is_as_it_was_seen_when_the_month_began(house: House, scene: Scene) -> None:
    told = await get(house, f"pipelines/{scene.pipeline}/forecast", months=1, ahead=1)
    before, this, after = told["months"]
    assert [m["month"] for m in told["months"]] == sorted(m["month"] for m in told["months"])
    assert before["over"]
    assert before["difference"] is not None
    assert after["won"] is None
    # of the two deals that are to close this month only the old one was there when it began
    if BEGUN.day.day > 2:
        (seen,) = this["expected"]
        assert (seen["deals"], Decimal(seen["amount"]), Decimal(seen["weighted"])) == (1, 1000, 200)
    (now,) = this["still_expected"]
    assert (now["deals"], Decimal(now["amount"])) == (2, Decimal("1300.50"))


async def test_a_days_lists_have_what_awaits_the_member(house: House, scene: Scene) -> None:
    day = await get(house, f"members/{scene.member}/day", time_zone="Europe/Berlin")
    lists = {name: [t["title"] for t in part["items"]] for name, part in day["tasks"].items()}
    assert (lists["overdue"], lists["blocked"], lists["waiting"]) == (["Late"], ["Late"], ["Second"])
    day = await get(house, f"members/{scene.member}/day")
    assert [t["title"] for t in day["tasks"]["due_today"]["items"]] == ["Today"]
    assert [d["id"] for d in day["deals"]["rotting"]["items"]] == [scene.old]
    assert [d["id"] for d in day["deals"]["closing_this_week"]["items"]][-1:] == [scene.new]
    requests = day["consent_requests"]
    assert (requests["requests"], requests["items"][0]["contact"], requests["items"][0]["name"]) == (1, scene.ann, "Ann Ash")
    await get(house, f"members/{scene.member}/day", 422, time_zone="Mars/Olympus")
    await get(house, f"members/{uuid4()}/day", 404)


async def test_load_is_told_by_member_and_week(house: House, scene: Scene) -> None:
    load = await get(house, "load", weeks=4, member=scene.member)
    (mia,) = load["members"]
    assert mia["name"] == "Mia"
    assert mia["undated"]["minutes"] == 7 * 480
    assert sum(w["tasks"] for w in mia["weeks"]) + mia["overdue"]["tasks"] == 2
    planned = await get(house, f"projects/{scene.project}/load", weeks=3)
    (mia,) = planned["members"]
    assert [w["minutes"] for w in mia["weeks"]] == [5 * 480, 2 * 480, 0]
    assert [w["capacity_minutes"] for w in planned["weeks"]] == [2400, 2400, 2400]
    later = await get(house, f"projects/{scene.project}/load", since="2026-01-14", weeks=1)
    assert [w["minutes"] for w in later["members"][0]["weeks"]] == [2 * 480]


async def test_a_contact_at_a_glance(house: House, scene: Scene) -> None:
    told = await get(house, f"contacts/{scene.ann}/overview")
    assert told["contact"]["name"] == "Ann Ash"
    assert [told["deals"][k] for k in ("deals", "open", "won", "lost")] == [3, 2, 1, 0]
    assert {s["status"]: Decimal(s["amount"]) for s in told["deals"]["sums"]} == {"open": Decimal("1300.50"), "won": 99}
    assert [t["title"] for t in told["tasks"]["items"]] == ["Late"]
    assert [n["text"] for n in told["notes"]["items"]] == ["She rides"]
    assert [(c["purpose"], c["channel"], c["status"]) for c in told["consent"]["items"]] == [(scene.purpose, "email", "requested")]
    assert told["last_activity"]["name"] == "consent.Requested.v1"
    bob = await get(house, f"contacts/{scene.bob}/overview")
    assert [(d["id"], d["roles"]) for d in bob["deals"]["items"]] == [(scene.old, ["introducer"])]
    acme = await get(house, f"organisations/{scene.acme}/overview")
    assert acme["deals"]["deals"] == 3
    deal = await get(house, f"deals/{scene.old}/overview")
    assert deal["rotting"]
    assert {p["name"] for p in deal["deal"]["parties"]} == {"Ann Ash", "Bob Birch", "Acme"}
    assert [t["title"] for t in deal["tasks"]["items"]] == ["Today"]


async def test_a_timeline_has_what_touched_it_and_what_is_its_own_newest_first(house: House, scene: Scene) -> None:
    every = await get(house, f"contacts/{scene.ann}/timeline", page_size=200)
    names = [e["name"] for e in every["items"]]
    times = [e["occurred_at"] for e in every["items"]]
    assert times == sorted(times, reverse=True)
    assert {"contacts.Created.v1", "deals.Won.v1", "tasks.Blocked.v1", "notes.Written.v1", "consent.Requested.v1"} <= set(names)
    assert len({e["event_id"] for e in every["items"]}) == len(names)
    moved = next(e for e in every["items"] if e["name"] == "deals.Moved.v1")
    assert moved["facts"]["target"] == "Offer"
    assert {"self", "contact"} <= set(moved["roles"])
    written = next(e for e in every["items"] if e["name"] == "notes.Written.v1")
    assert written["texts"] == {"text": "She rides"}
    paged, token = [], ""
    while True:
        page = await get(house, f"contacts/{scene.ann}/timeline", page_size=4, page_token=token)
        paged += page["items"]
        token = page["next_page_token"]
        if not token:
            break
    assert [e["event_id"] for e in paged] == [e["event_id"] for e in every["items"]]
    bob = await get(house, f"contacts/{scene.bob}/timeline", page_size=200, scope="own")
    assert {e["name"] for e in bob["items"]} == {"contacts.Created.v1", "deals.Opened.v1", "consent.Given.v1"}
    then = await get(house, f"deals/{scene.won}/timeline", as_of=ago(12))
    assert [e["name"] for e in then["items"]] == ["deals.Moved.v1", "deals.Opened.v1"]
    only = await get(house, f"contacts/{scene.ann}/timeline", event="deals.Won,notes")
    assert [e["name"] for e in only["items"]] == ["notes.Written.v1", "deals.Won.v1"]
    await get(house, f"contacts/{scene.ann}/timeline", 422, event="deals.Bought")
    owned = await get(house, f"members/{scene.member}/timeline", event="tasks.Created")
    assert {t["stream_id"] for t in owned["items"]} == set(scene.tasks)
    assert (await get(house, f"tasks/{scene.tasks[0]}/timeline"))["items"][0]["texts"] == {"reason": "Ann is away"}


@pytest.mark.parametrize("kind", ["projects", "notes", "pipelines"])
async def test_everything_has_a_timeline(house: House, scene: Scene, kind: str) -> None:
    id = {"projects": scene.project, "notes": scene.note, "pipelines": scene.pipeline}[kind]
    found = (await get(house, f"{kind}/{id}/timeline", page_size=200))["items"]
    assert any(e["stream_id"] == id for e in found)
    await get(house, f"{kind}/{uuid4()}/timeline", 404)


async def test_the_timeline_of_a_key_tells_what_was_done_with_it(house: House) -> None:
    firm = await house.another_firm()  # what is counted of the first one is counted below
    made = await post(firm, "keys", name="Of the shop", role="adviser")
    await house.settle()
    async with house.as_key(made["api_key"]) as shop:
        contact = (await shop.post("/v1/contacts", json={"given": "Cleo"})).json()
    await post(firm, f"keys/{made['id']}:rename", name="Of both shops")
    await house.settle()
    told = (await get(firm, f"keys/{made['id']}/timeline"))["items"]
    assert [e["name"] for e in told] == ["keys.Renamed.v1", "contacts.Created.v1", "keys.Issued.v1"]
    assert told[1]["stream_id"] == contact["id"]
    own = (await get(firm, f"keys/{made['id']}/timeline", scope="own"))["items"]
    assert [e["name"] for e in own] == ["keys.Renamed.v1", "keys.Issued.v1"]


async def test_activity_counts_events_per_bucket_and_refuses_too_many(house: House, scene: Scene) -> None:
    asked: dict[str, Any] = {"since": ago(60), "event": "deals", "stream": "deal"}
    days = await get(house, "activity", bucket="day", **asked)
    assert days["events"] == sum(b["events"] for b in days["buckets"]) == 7
    assert len(days["buckets"]) == 61
    weeks = await get(house, "activity", bucket="week", by="type", **asked)
    assert sum(b["by"].get("deals.Opened.v1", 0) for b in weeks["buckets"]) == 4
    assert all(date.fromisoformat(b["start"][:10]).weekday() == 0 for b in weeks["buckets"])
    recorded = await get(house, "activity", bucket="hour", clock="recorded", **{**asked, "since": ago(1)})
    assert recorded["events"] == 7
    refused = await get(house, "activity", 422, bucket="hour", since=ago(60))
    assert (refused["type"].rsplit(":", 1)[1], refused["most"]) == ("too-many-buckets", 400)
    await get(house, "activity", 422, since=ago(1), until=ago(2))
    await get(house, "activity", 422, since=ago(1), stream="weather")
    assert (await get(house, "activity", since=ago(60), origin=str(uuid4())))["events"] == 0
    assert (await get(house, "activity", since="2199-12-31T23:00:00Z", until="2200-01-01T00:00:00Z", bucket="month"))["events"] == 0


async def test_activity_is_counted_of_the_records_that_a_filter_lets_through(house: House, scene: Scene) -> None:
    async def events(filter: str, of: str = "deals", **more: Any) -> dict[str, int]:
        told = await get(
            house, "activity", **{"since": ago(60), "bucket": "week", "by": "type", "of": of, "filter": filter, **more}
        )
        found: dict[str, int] = {}
        for bucket in told["buckets"]:
            for name, n in bucket["by"].items():
                found[name] = found.get(name, 0) + n
        assert sum(found.values()) == told["events"]
        return found

    assert await events(f'owner.id = "{scene.member}"') == {"deals.Opened.v1": 3, "deals.Moved.v1": 1, "deals.Won.v1": 1}
    assert await events("status = lost") == {"deals.Opened.v1": 1, "deals.Lost.v1": 1}
    assert await events("status = lost", event="deals.Lost") == {"deals.Lost.v1": 1}
    assert await events("status = lost", as_of=ago(8.5)) == {}
    assert await events(f'stage.name = "Talk" AND parties.id = {scene.bob}') == {"deals.Opened.v1": 1}
    assert await events("given = Ann", "contacts", clock="recorded") == {"contacts.Created.v1": 1}
    assert (await events("", "notes"))["notes.Written.v1"] == 1
    asked: dict[str, Any] = {"since": ago(60)}
    assert (await get(house, "activity", 422, **asked, filter="status = lost"))["type"].endswith("unknown-list")
    assert (await get(house, "activity", 422, **asked, of="dreams"))["type"].endswith("unknown-list")
    assert (await get(house, "activity", 422, **asked, of="deals", filter="stats = lost"))["type"].endswith("unknown-field")
    analyst = await house.as_role(Role.ANALYST)
    await house.settle()
    hidden = await analyst.get("/v1/activity", params={**asked, "of": "contacts", "filter": "given = Ann"})
    assert hidden.status_code in {403, 422}, hidden.text
    made = await post(house, "keys", name="Few", role="owner", scopes=["history:read", "contacts:read", "firm:read"])
    await house.settle()
    async with house.as_key(made["api_key"]) as few:
        refused = await few.get("/v1/activity", params={**asked, "of": "deals"})
        assert (refused.status_code, "deals" in refused.json()["known"]) == (422, False)
    other = await house.another_firm()
    assert (await get(other, "activity", **asked, of="deals", filter="status = lost"))["events"] == 0


async def test_consent_is_counted_by_purpose_and_channel_and_listed(house: House, scene: Scene) -> None:
    told = await get(house, "consent/status", purpose=scene.purpose)
    assert {(b["channel"], b["valid"], b["reachable"], str(b["statuses"])) for b in told["items"]} == {
        ("email", 0, 0, "{'requested': 1}"),
        ("phone", 1, 1, "{'given': 1}"),
    }
    listed = await get(house, "consent/contacts", purpose=scene.purpose, channel="phone", status="given")
    assert [(c["contact"], c["name"]) for c in listed["items"]] == [(scene.bob, "Bob Birch")]
    later = (BEGUN.at + timedelta(days=400)).isoformat()
    told = await get(house, "consent/status", purpose=scene.purpose, channel="email", as_of=later)
    assert told["items"][0]["statuses"] == {"expired": 1}


async def test_the_dashboard_counts_what_there_is_and_how_it_went(house: House, scene: Scene) -> None:
    told = await get(house, "dashboard", weeks=8)
    assert (told["contacts"]["active"], told["organisations"]["active"], told["deals"]["open"]) == (2, 1, 2)
    assert (told["tasks"]["open"], told["tasks"]["blocked"], told["deals"]["rotting"]) == (4, 1, 1)
    assert len(told["weeks"]) == 8
    assert sum(w["deals_opened"] for w in told["weeks"]) == 4
    assert sum(w["deals_won"] for w in told["weeks"]) == 1
    assert [Decimal(s["amount"]) for w in told["weeks"] for s in w["won"]] == [99]
    then = await get(house, "dashboard", weeks=1, as_of=ago(12))
    assert (then["deals"]["open"], then["contacts"]["active"]) == (2, 0)


async def test_names_and_texts_are_hidden_from_who_may_not_see_them(house: House, scene: Scene) -> None:
    analyst = await house.as_role(Role.ANALYST)
    await house.settle()
    paths = [
        f"pipelines/{scene.pipeline}/board",
        f"members/{scene.member}/day",
        f"contacts/{scene.ann}/overview",
        f"organisations/{scene.acme}/overview",
        f"deals/{scene.old}/overview",
        f"contacts/{scene.ann}/timeline?page_size=200",
        f"tasks/{scene.tasks[0]}/timeline",
        "load",
        f"projects/{scene.project}/load",
        f"consent/contacts?purpose={scene.purpose}&channel=phone",
    ]
    for path in paths:
        done = await analyst.get(f"/v1/{path}")
        assert done.status_code == 200, (path, done.text)
        for text in ("Ann", "Bob", "Mia", "Old", "Late", "rides", "example.org", "away"):
            assert text not in done.text, (path, text)
    reader = await house.as_role(Role.READ_ONLY)
    await house.settle()
    for path in (f"contacts/{scene.ann}/timeline", f"activity?since={ago(1).replace('+', '%2B')}"):
        assert (await reader.get(f"/v1/{path}")).status_code == 403
    assert "last_activity" not in (await reader.get(f"/v1/contacts/{scene.ann}/overview")).json()


async def test_no_firm_sees_anothers(house: House, scene: Scene) -> None:
    other = await house.another_firm()
    for path in (
        f"pipelines/{scene.pipeline}/board",
        f"pipelines/{scene.pipeline}/funnel",
        f"deals/{scene.won}/stays",
        f"members/{scene.member}/day",
        f"contacts/{scene.ann}/overview",
        f"contacts/{scene.ann}/timeline",
        f"projects/{scene.project}/load",
    ):
        await get(other, path, 404)
    assert (await get(other, "dashboard"))["contacts"]["active"] == 0
    assert (await get(other, "load"))["members"] == []
    assert (await get(other, "consent/status"))["items"] == []
    assert (await get(other, "activity", since=ago(60), event="deals"))["events"] == 0
