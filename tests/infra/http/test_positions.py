"""A read that carries a position never answers from before it, and says how far it reaches itself."""

from typing import Any
from uuid import uuid4

import pytest

from domain.members import ALL_PERMISSIONS
from infra.feed import Feed
from infra.http.reads import views_read
from queries.kernel import COLLECTIONS
from tests.house import House


async def made(house: House, path: str, **body: Any) -> dict[str, Any]:
    done = await house.client.post(f"/v1/{path}", json=body)
    assert done.status_code in {200, 201}, done.text
    return {**done.json(), "at": done.headers["chancery-position"]}


def no_news(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nobody looked for the views, or heard of them, any more."""

    async def look(_c: object) -> None:
        return None

    monkeypatch.setattr(feed, "_look", look)
    monkeypatch.setattr(feed, "_told", lambda _payload: None)


async def test_every_answer_to_a_read_says_how_far_it_reaches_and_reads_from_there_on_see_it(house: House) -> None:
    contact = await made(house, "contacts", given="Ann")
    for path in ("contacts", f"contacts/{contact['id']}", f"contacts/{contact['id']}/history", "firm", "roles"):
        answer = await house.client.get(f"/v1/{path}", headers={"Chancery-Position": contact["at"]})
        assert answer.status_code == 200, answer.text
        assert int(answer.headers["chancery-position"]) >= int(contact["at"])


async def test_a_filter_across_relations_waits_for_every_view_it_reads(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = {"name": "P", "stages": [{"name": "One"}]}
    pipeline = await made(house, "pipelines", **{**stage, "name": f"P {uuid4()}"})
    await house.settle()
    feed = house.chancery.feed
    c = COLLECTIONS["deals"]
    assert views_read(c, "", ALL_PERMISSIONS) == ("deals",)
    assert views_read(c, 'stage.name = "One" OR NOT pipeline.name : "x"', ALL_PERMISSIONS) == ("deals", "stages", "pipelines")

    def lagging(view: str) -> dict[str, int]:
        return {v: (p - 1 if v == view else p) for v, p in feed.positions.items()}

    no_news(feed, monkeypatch)
    monkeypatch.setattr(feed, "positions", lagging("stages"))
    monkeypatch.setattr(feed, "stopped", {"stages": feed.positions["stages"] + 1})
    at = {"Chancery-Position": pipeline["at"]}
    assert (await house.client.get("/v1/deals", headers=at)).status_code == 200
    behind = await house.client.get("/v1/deals", params={"filter": 'stage.name = "One"'}, headers=at)
    assert (behind.status_code, behind.json()["type"]) == (503, "urn:chancery:problem:view-behind")
    assert behind.json()["view"] == "stages"
    assert int(behind.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("path", "asked", "view"),
    [
        ("pipelines/{pipeline}/funnel", {"filter": 'owner.name = "Mia"'}, "members"),
        ("pipelines/{pipeline}/board", {"filter": 'contacts.given = "Ann"'}, "contacts"),
        ("activity", {"since": "2026-01-01T00:00:00Z", "bucket": "month", "of": "deals", "filter": 'stage.name = "One"'}, "stages"),
        ("activity", {"since": "2026-01-01T00:00:00Z", "bucket": "month", "of": "notes"}, "notes"),
    ],
)
async def test_a_figure_waits_for_every_view_its_filter_reaches(
    house: House, monkeypatch: pytest.MonkeyPatch, path: str, asked: dict[str, str], view: str
) -> None:
    pipeline = await made(house, "pipelines", name=f"P {uuid4()}", stages=[{"name": "One"}])
    await house.settle()
    feed, at = house.chancery.feed, {"Chancery-Position": pipeline["at"]}
    path = f"/v1/{path.format(pipeline=pipeline['id'])}"
    assert (await house.client.get(path, params=asked, headers=at)).status_code == 200

    no_news(feed, monkeypatch)
    monkeypatch.setattr(feed, "positions", {v: (p - 1 if v == view else p) for v, p in feed.positions.items()})
    monkeypatch.setattr(feed, "stopped", {view: feed.positions[view] + 1})
    behind = await house.client.get(path, params=asked, headers=at)
    assert (behind.status_code, behind.json()["view"]) == (503, view)
    without = {name: value for name, value in asked.items() if name not in {"of", "filter"}}
    assert (await house.client.get(path, params=without, headers=at)).status_code == 200


async def test_a_read_waits_no_longer_than_it_must_when_the_projector_is_stopped(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    contact = await made(house, "contacts", given="Ann")
    feed = house.chancery.feed
    await house.settle()
    wait = feed.wait

    async def briefly(views: Any, position: int, timeout: float = 0.2) -> None:  # noqa: ASYNC109 - stands in for one that has it
        await wait(views, position, timeout)

    monkeypatch.setattr(feed, "wait", briefly)
    no_news(feed, monkeypatch)
    monkeypatch.setattr(feed, "positions", dict.fromkeys(feed.positions, 1))
    for path in ("contacts", f"contacts/{contact['id']}", "firm"):
        behind = await house.client.get(f"/v1/{path}", headers={"Chancery-Position": contact["at"]})
        assert (behind.status_code, behind.json()["type"]) == (503, "urn:chancery:problem:view-behind")
        assert int(behind.headers["retry-after"]) >= 1
    told = await house.client.get(f"/v1/contacts/{contact['id']}/history", headers={"Chancery-Position": contact["at"]})
    assert told.status_code == 200  # history reads the record itself


async def test_a_tag_changes_with_the_row_also_where_the_row_lies_inside_another_record(house: House) -> None:
    task = await made(house, "tasks", title="T")
    first = await made(house, f"tasks/{task['id']}:comment", text="One")
    await house.settle()
    row = (await house.client.get("/v1/task_comments", params={"filter": f'task = "{task["id"]}"'})).json()["items"][0]
    path = f"/v1/task_comments/{row['id']}"
    tag = (await house.client.get(path)).headers["etag"]
    assert tag == f'"p{first["at"]}"'
    assert (await house.client.get(path, headers={"If-None-Match": tag})).status_code == 304
    changed = await house.client.post(f"/v1/tasks/{task['id']}:amend-comment", json={"comment": row["id"], "text": "Two"})
    assert changed.status_code == 200, changed.text
    await house.settle()
    again = await house.client.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.json()["text"]) == (200, "Two")


async def test_if_none_match_takes_lists_stars_and_weak_tags(house: House) -> None:
    contact = await made(house, "contacts", given="Ann")
    path = f"/v1/contacts/{contact['id']}"
    await house.settle()
    for tag in ('"1"', 'W/"1"', '"0", "1"', "*"):
        answer = await house.client.get(path, headers={"If-None-Match": tag})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"1"')
    assert (await house.client.get(path, headers={"If-None-Match": '"2"'})).status_code == 200


async def test_the_tag_of_a_write_is_the_tag_of_the_next_read_and_good_for_the_next_write(house: House) -> None:
    contact = await made(house, "contacts", given="Ann")
    path = f"/v1/contacts/{contact['id']}"
    archived = await house.client.post(f"{path}:archive", json={}, headers={"If-Match": '"1"'})
    read = await house.client.get(path, headers={"Chancery-Position": archived.headers["chancery-position"]})
    assert read.headers["etag"] == archived.headers["etag"] == '"2"'
    assert (await house.client.post(f"{path}:restore", json={}, headers={"If-Match": '"1"'})).status_code == 412
    assert (await house.client.post(f"{path}:restore", json={}, headers={"If-Match": read.headers["etag"]})).status_code == 200
