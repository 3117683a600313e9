"""Searching over HTTP: the box, the body, the suggestions, and what is refused."""

from pathlib import Path
from uuid import uuid4

from domain.members import Role
from tests.house import House, post
from tests.infra.test_extract import pdf, word


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


async def test_documents_of_every_form_and_every_kind_of_record_are_found_in_one_box(house: House, tmp_path: Path) -> None:
    files = {
        "terms.txt": b"The marmalade clause holds.",
        "terms.md": b"# Terms\n\nThe *marmalade* clause holds.",
        "terms.html": b"<html><body><p>The <b>marmalade</b> clause holds.</p></body></html>",
        "terms.pdf": pdf(tmp_path / "terms.pdf", "The marmalade clause holds.").read_bytes(),
        "terms.docx": word(tmp_path / "terms.docx", "<w:p><w:r><w:t>The marmalade clause holds.</w:t></w:r></w:p>").read_bytes(),
    }
    made: dict[str, str] = {}
    for name, content in files.items():
        sent = await house.client.post("/v1/uploads", content=content)
        version = {"sha256": sent.json()["sha256"], "file_name": name}
        made[name] = (await post(house, "/documents", {"title": name, "version": version}))["id"]
    contact = (await post(house, "/contacts", {"given": "Marmalade", "family": "Jones"}))["id"]
    others = {
        "organisation": (await post(house, "/organisations", {"name": "Marmalade Ltd"}))["id"],
        "task": (await post(house, "/tasks", {"title": "Buy marmalade"}))["id"],
        "note": (await post(house, "/notes", {"about_type": "contact", "about": contact, "text": "Likes marmalade"}))["id"],
    }
    pipeline = (await post(house, "/pipelines", {"name": "Jams", "stages": [{"name": "One"}]}))["id"]
    others["deal"] = (await post(house, "/deals", {"title": "Marmalade for a year", "pipeline": pipeline}))["id"]
    await house.settle()
    hits = (await house.client.get("/v1/search", params={"q": "marmalade", "page_size": "100"})).json()["items"]
    assert {(h["kind"], h["id"]) for h in hits} == {
        *(("document", id) for id in made.values()),
        ("contact", contact),
        *others.items(),
    }
    history = {h["id"]: h["event"]["id"] for h in hits}
    for id in made.values():
        entries = (await house.client.get(f"/v1/documents/{id}/history")).json()["items"]
        assert history[id] in {e["event_id"] for e in entries}
    documents = (await house.client.get("/v1/search", params={"q": "kind:document marmalade clause"})).json()["items"]
    assert {h["id"] for h in documents} == set(made.values())
    assert all("marmalade" in str(h["highlights"]).lower() for h in documents)
