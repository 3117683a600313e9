"""Lists and records compared at two moments, over HTTP, against a plain model."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.members import Role
from tests.house import House


def written(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


async def note(house: House, contact: str, text: str, at: datetime | None = None) -> dict[str, Any]:
    body = {"about_type": "contact", "about": contact, "text": text}
    done = await house.client.post("/v1/notes", json=body | ({"occurred_at": written(at)} if at else {}))
    assert done.status_code == 201, done.text
    return dict(done.json())


async def contact(house: House, name: str) -> str:
    done = await house.client.post("/v1/contacts", json={"display_name": name})
    assert done.status_code == 201, done.text
    return str(done.json()["id"])


async def test_what_came_went_and_changed_is_told_with_the_values_before(house: House) -> None:
    who = await contact(house, "Compared")
    stays, edited, removed = [(await note(house, who, t))["id"] for t in ("stays", "first words", "goes")]
    between = datetime.now(UTC)
    await house.client.post(f"/v1/notes/{edited}:edit", json={"text": "second words"})
    await house.client.post(f"/v1/notes/{removed}:remove", json={})
    added = (await note(house, who, "comes"))["id"]
    await house.settle()
    asked = {"vs_as_of": written(between), "filter": f"about = {who}", "include_total": "true"}
    body = (await house.client.get("/v1/notes", params=asked)).json()
    found = {i["id"]: i for i in body["items"]}
    assert {id: i["change"] for id, i in found.items()} == {edited: "changed", removed: "removed", added: "added"}
    assert body["totals"] == {"added": 1, "removed": 1, "changed": 1}
    assert body["total"] == 3
    assert found[edited]["before"]["text"] == "first words"
    assert found[edited]["after"]["text"] == "second words"
    assert found[edited]["changed"] == ["text", "edited_by", "edited_at"]
    assert found[removed]["before"]["text"] == "goes"
    assert found[removed]["after"] is None
    assert found[added]["before"] is None
    everything = (await house.client.get("/v1/notes", params=asked | {"kinds": "unchanged"})).json()
    assert [i["id"] for i in everything["items"]] == [stays]
    assert everything["totals"] == {"added": 1, "removed": 1, "changed": 1, "unchanged": 1}
    back = (
        await house.client.get(
            "/v1/notes", params={"as_of": written(between), "vs_as_of": written(datetime.now(UTC)), "filter": f"about = {who}"}
        )
    ).json()
    assert {i["id"]: i["change"] for i in back["items"]} == {edited: "changed", removed: "added", added: "removed"}
    searched = (await house.client.post("/v1/notes:search", json={"vs_as_of": written(between), "filter": "first"})).json()
    assert [i["id"] for i in searched["items"]] == [edited]
    assert searched["items"][0]["passes"] == {"before": True, "after": False}
    one = (await house.client.get(f"/v1/notes/{removed}", params={"vs_as_of": written(between)})).json()
    assert (one["change"], one["before"]["text"]) == ("removed", "goes")
    only = (await house.client.get("/v1/notes", params=asked | {"fields": "pinned"})).json()
    assert {i["change"] for i in only["items"]} == {"added", "removed"}


async def test_a_late_event_shows_between_two_known_positions_alone(house: House) -> None:
    who = await contact(house, "Late")
    first = await note(house, who, "on time")
    late = await note(house, who, "told late", datetime.now(UTC) - timedelta(days=40))
    await house.settle()
    as_of = written(datetime.now(UTC) - timedelta(days=10))
    asked = {"as_of": as_of, "filter": f"about = {who}"}
    assert (
        await house.client.get("/v1/notes", params=asked | {"vs_as_of": written(datetime.now(UTC) - timedelta(days=9))})
    ).json()["items"] == []
    body = (await house.client.get("/v1/notes", params=asked | {"vs_known_at": first["position"]})).json()
    assert [(i["id"], i["change"]) for i in body["items"]] == [(late["id"], "added")]


async def test_values_are_masked_before_and_after(house: House) -> None:
    who = await contact(house, "Masked")
    made = (await note(house, who, "secret one"))["id"]
    between = datetime.now(UTC)
    await house.client.post(f"/v1/notes/{made}:edit", json={"text": "secret two"})
    await house.settle()
    async with await house.as_role(Role.ANALYST) as client:
        answer = await client.get("/v1/notes", params={"vs_as_of": written(between), "filter": f"about = {who}"})
    assert answer.status_code == 200, answer.text
    assert "secret" not in answer.text
    assert answer.json()["items"][0]["changed"][0] == "text"


async def test_what_makes_no_sense_is_refused(house: House) -> None:
    now = written(datetime.now(UTC))
    assert (await house.client.get("/v1/notes", params={"kinds": "added"})).status_code == 400
    assert (await house.client.get("/v1/notes", params={"vs_as_of": now, "kinds": "newer"})).status_code == 422
    assert (await house.client.get("/v1/notes", params={"vs_as_of": "then"})).status_code == 400
    assert (await house.client.post("/v1/notes:search", json={"vs_as_of": now, "kinds": 3})).status_code == 400
    token = (await house.client.get("/v1/notes", params={"vs_as_of": "2020-01-01T00:00:00Z", "page_size": 1})).json()[
        "next_page_token"
    ]
    assert (await house.client.get("/v1/notes", params={"vs_as_of": now, "page_token": token})).status_code == 422


ACTS = st.lists(st.tuples(st.sampled_from(["write", "edit", "remove", "pin"]), st.integers(0, 4), st.integers(0, 3)), max_size=14)


async def test_a_comparison_of_any_two_moments_equals_that_of_a_plain_model(house: House) -> None:
    state: dict[str, Any] = {"runs": 0}

    async def run(acts: list[tuple[str, int, int]], first: int, second: int) -> None:
        state["runs"] += 1
        who = await contact(house, f"Model {state['runs']}")
        await house.settle()
        rows: dict[str, tuple[str, bool]] = {}
        positions: list[tuple[int, dict[str, tuple[str, bool]]]] = [(await house.settle(), {})]
        texts = ("a", "b", "c", "d")
        for verb, which, text in acts:
            ids = list(rows)
            if verb == "write":
                made = await note(house, who, texts[text])
                rows = {**rows, made["id"]: (texts[text], False)}
                at = made["position"]
            elif ids:
                id = ids[which % len(ids)]
                body = {"text": texts[text]} if verb == "edit" else {}
                at = (await house.client.post(f"/v1/notes/{id}:{verb}", json=body)).json()["position"]
                if verb == "remove":
                    rows = {k: v for k, v in rows.items() if k != id}
                else:
                    rows = {**rows, id: (texts[text], rows[id][1]) if verb == "edit" else (rows[id][0], True)}
            else:
                continue
            positions.append((at, rows))
        await house.settle()
        before, after = positions[first % len(positions)], positions[second % len(positions)]
        expected = {}
        for id in {*before[1], *after[1]}:
            old, new = before[1].get(id), after[1].get(id)
            if old != new:
                expected[id] = ("added" if old is None else "removed" if new is None else "changed", old, new)
        found: dict[str, Any] = {}
        token = ""
        while True:
            asked: dict[str, Any] = {
                "filter": f"about = {who}",
                "fields": "text,pinned",
                "order_by": "text desc",
                "page_size": 2,
                "page_token": token,
            }
            answer = await house.client.get("/v1/notes", params=asked | {"known_at": after[0], "vs_known_at": before[0]})
            assert answer.status_code == 200, answer.text
            for i in answer.json()["items"]:
                assert i["id"] not in found
                old, new = ((s["text"], s["pinned"]) if s else None for s in (i["before"], i["after"]))
                found[i["id"]] = (i["change"], old, new)
            token = answer.json()["next_page_token"]
            if not token:
                break
        assert found == expected
        shown = [(v[2] or v[1])[0] for v in found.values()]
        assert shown == sorted(shown, reverse=True)

    loop = asyncio.get_running_loop()

    @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(ACTS, st.integers(0, 15), st.integers(0, 15))
    def property(acts: list[tuple[str, int, int]], first: int, second: int) -> None:
        asyncio.run_coroutine_threadsafe(run(acts, first, second), loop).result(30)

    await asyncio.to_thread(property)
    assert state["runs"] >= 20
