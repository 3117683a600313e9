import itertools
from typing import Any
from uuid import uuid4

from domain.members import Role
from tests.house import House


async def made(house: House, path: str, **body: object) -> dict[str, Any]:
    done = await house.client.post(f"/v1/{path}", json=body)
    assert done.status_code in (200, 201), done.text
    return {**done.json(), "position": done.headers["chancery-position"]}


async def a_chain(house: House) -> tuple[str, list[str], str]:
    project = (await made(house, "projects", name="Migration", start_on="2026-01-05"))["id"]
    ids = [(await made(house, "tasks", title=t, project=project, estimate_days=1))["id"] for t in ("A", "B", "C")]
    for a, b in itertools.pairwise(ids):
        last = await made(house, f"projects/{project}:add-dependency", predecessor=a, successor=b)
    return project, ids, last["position"]


async def test_a_plan_is_read_right_after_what_it_rests_on_changed(house: House) -> None:
    project, ids, position = await a_chain(house)
    plan = await house.client.get(f"/v1/projects/{project}/plan", headers={"Chancery-Position": position})
    assert plan.status_code == 200, plan.text
    assert (plan.json()["duration_minutes"], plan.json()["critical"], plan.json()["ends_on"]) == (1440, ids, "2026-01-07")
    changed = await made(house, f"tasks/{ids[1]}:estimate", estimate_minutes=60)
    plan = await house.client.get(f"/v1/projects/{project}/plan", headers={"Chancery-Position": changed["position"]})
    assert plan.json()["duration_minutes"] == 1020


async def test_a_circle_is_refused_with_its_tasks_also_in_a_what_if(house: House) -> None:
    project, ids, position = await a_chain(house)
    circle = {"predecessor": ids[2], "successor": ids[0]}
    done = await house.client.post(f"/v1/projects/{project}:add-dependency", json=circle)
    assert 400 <= done.status_code < 500
    assert done.headers["content-type"] == "application/problem+json"
    assert done.json()["cycle"] == [ids[2], ids[0], ids[1]]
    titles = [{"id": ids[2], "title": "C"}, {"id": ids[0], "title": "A"}, {"id": ids[1], "title": "B"}]
    await house.settle()
    told = await house.client.post(f"/v1/projects/{project}:add-dependency", json=circle)
    assert told.json()["tasks"] == titles
    key = await made(house, "keys", name="Masked", role="owner", scopes=["projects:write", "projects:read", "tasks:read"])
    await house.settle()
    masked = await house.as_key(key["api_key"]).post(f"/v1/projects/{project}:add-dependency", json=circle)
    assert masked.json()["tasks"] == [{**t, "title": None} for t in titles]
    asked = await house.client.post(
        f"/v1/projects/{project}/plan:what-if", json={"add_dependencies": [circle]}, headers={"Chancery-Position": position}
    )
    assert asked.status_code == done.status_code
    assert set(asked.json()["cycle"]) == set(ids)
    assert {t["title"] for t in asked.json()["tasks"]} == {"A", "B", "C"}


async def test_a_what_if_answers_without_writing(house: House) -> None:
    project, ids, position = await a_chain(house)
    asked = await house.client.post(
        f"/v1/projects/{project}/plan:what-if", json={"estimates": {ids[0]: 960}}, headers={"Chancery-Position": position}
    )
    assert asked.status_code == 200, asked.text
    assert asked.json()["difference"]["duration_minutes"] == {"before": 1440, "after": 1920, "change": 480}
    plan = await house.client.get(f"/v1/projects/{project}/plan")
    assert plan.json()["duration_minutes"] == 1440
    unknown = await house.client.post(f"/v1/projects/{uuid4()}/plan:what-if", json={})
    assert unknown.status_code == 404


async def test_many_dependencies_are_answered_one_by_one(house: House) -> None:
    project, ids, _ = await a_chain(house)
    wanted = [{"predecessor": ids[0], "successor": ids[2]}, {"predecessor": ids[2], "successor": ids[0]}]
    done = await made(house, f"projects/{project}:add-dependencies", dependencies=wanted)
    assert len(done["recorded"]) == 1
    await house.settle()
    again = await made(house, f"projects/{project}:add-dependencies", dependencies=wanted)
    assert [[t["title"] for t in r["tasks"]] for r in again["refused"]] == [["C", "A"]]
    assert [(r["index"], r["refusal"], r["cycle"]) for r in done["refused"]] == [(1, "DependencyCycle", [ids[2], ids[0]])]
    listed = await house.client.get(
        "/v1/dependencies", params={"filter": f'project = "{project}"'}, headers={"Chancery-Position": done["position"]}
    )
    assert listed.status_code == 200, listed.text
    assert len(listed.json()["items"]) == 3


async def test_a_task_tells_its_history(house: House) -> None:
    _, (id, *_), _ = await a_chain(house)
    done = await made(house, f"tasks/{id}:block", reason="The key is missing")
    said = await made(house, f"tasks/{id}:comment", text="Asked the landlord")
    read = await house.client.get(f"/v1/tasks/{id}", headers={"Chancery-Position": said["position"]})
    assert (read.json()["blocked"], read.json()["block_reason"], read.json()["comments"]) == (True, "The key is missing", 1)
    told = await house.client.get(f"/v1/tasks/{id}/history")
    assert told.status_code == 200, told.text
    assert done["position"] in told.text
    comments = await house.client.get("/v1/task_comments", params={"filter": f'task = "{id}"'})
    assert [c["text"] for c in comments.json()["items"]] == ["Asked the landlord"]


async def test_whoever_may_not_see_names_gets_a_plan_without_titles(house: House) -> None:
    project, _, _ = await a_chain(house)
    await house.settle()
    analyst = await house.as_role(Role.ANALYST)
    plan = await analyst.get(f"/v1/projects/{project}/plan")
    assert plan.status_code == 200, plan.text
    assert {t["title"] for t in plan.json()["tasks"]} == {None}


async def test_a_plan_belongs_to_its_firm(house: House) -> None:
    project, _, position = await a_chain(house)
    other = await house.another_firm()
    plan = await other.client.get(f"/v1/projects/{project}/plan", headers={"Chancery-Position": position})
    assert plan.status_code == 404
