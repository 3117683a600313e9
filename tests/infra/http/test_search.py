"""Searching over HTTP: the box, the body, the suggestions, and what is refused."""

from uuid import uuid4

from domain.members import Role
from tests.house import House


async def test_what_was_just_written_is_found_by_who_wrote_it(house: House) -> None:
    name = f"Quetzal{uuid4().hex[:6]}"
    done = await house.client.post("/v1/contacts", json={"given": "Zoë", "family": name})
    position = {"Chancery-Position": str(done.json()["position"])}
    for answer in (
        await house.client.get("/v1/search", params={"q": f"zoe {name}"}, headers=position),
        await house.client.post("/v1/search:query", json={"q": f"zoe {name}"}, headers=position),
    ):
        assert answer.status_code == 200, answer.text
        (hit,) = answer.json()["items"]
        assert (hit["kind"], hit["title"]) == ("contact", f"Zoë {name}")
        assert hit["event"]["position"] == done.json()["position"]
        assert int(answer.headers["Chancery-Position"]) >= done.json()["position"]
    suggested = await house.client.get("/v1/search/suggest", params={"q": name[:8]})
    assert [s["title"] for s in suggested.json()["items"]] == [f"Zoë {name}"]


async def test_a_key_without_personal_values_finds_no_person(house: House) -> None:
    done = await house.client.post("/v1/contacts", json={"given": "Ypsilanti"})
    await house.chancery.feed.wait(("search",), done.json()["position"])
    async with await house.as_role(Role.ANALYST) as analyst:
        answer = await analyst.get("/v1/search", params={"q": "ypsilanti"})
        assert (answer.status_code, answer.json()["items"]) == (200, [])


async def test_a_search_of_another_moment_is_refused_with_the_reason(house: House) -> None:
    answer = await house.client.get("/v1/search", params={"q": "anna", "as_of": "2026-01-01T00:00:00Z"})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:chancery:problem:not-in-the-past")


async def test_what_is_too_much_or_malformed_is_the_callers_mistake(house: House) -> None:
    for params in (
        {"q": "x" * 501},
        {"q": ""},
        {"q": "a", "filter": "nonsense = 1"},
        {"q": "a", "page_token": "x"},
        {"q": "a", "page_size": "101"},
    ):
        answer = await house.client.get("/v1/search", params=params)
        assert answer.status_code == 422, answer.text
    assert (await house.as_key(None).get("/v1/search", params={"q": "a"})).status_code == 401
