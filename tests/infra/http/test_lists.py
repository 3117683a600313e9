"""What every list takes over HTTP: fields, order, totals, pages, and the custom fields of the firm in filters."""

from typing import Any

from tests.house import House, post


async def listed(house: House, path: str, **params: Any) -> dict[str, Any]:
    answer = await house.client.get(f"/v1/{path}", params=params)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_custom_fields_are_compared_as_each_firm_has_typed_them(house: House) -> None:
    other = await house.another_firm()
    made: dict[str, list[str]] = {}
    for firm, kind, values in ((house, "number", (9, 40, 100)), (other, "text", ("9", "40", "100"))):
        await post(firm, "/fields", {"applies_to": "contact", "key": "size", "kind": kind})
        await post(firm, "/fields", {"applies_to": "contact", "key": "met", "kind": "date"})
        made[kind] = [
            (await post(firm, "/contacts", {"given": "Ann", "custom": {"size": v, "met": f"2026-0{n}-01"}}))["id"]
            for n, v in enumerate(values, start=1)
        ]
        await post(firm, "/contacts", {"given": "Has none"})
    refused = await house.client.post("/v1/contacts", json={"given": "Ann", "custom": {"size": "forty"}})
    assert refused.status_code == 422, refused.text
    await house.settle()

    async def found(firm: House, filter: str) -> list[str]:
        return [c["id"] for c in (await listed(firm, "contacts", filter=filter, order_by="created_at"))["items"]]

    numbers, texts = made["number"], made["text"]
    assert await found(house, "custom.size > 39.5") == numbers[1:]
    assert await found(house, "custom.size = 40.0") == [numbers[1]]
    assert await found(other, "custom.size = 40") == [texts[1]]
    assert await found(other, 'custom.size : "0"') == texts[1:]
    for firm, ids in ((house, numbers), (other, texts)):
        assert await found(firm, "custom.met >= 2026-02-01 AND custom.size:*") == ids[1:]
        assert len(await found(firm, "NOT custom.size:*")) == 1


async def test_a_list_gives_the_fields_asked_for_in_the_order_asked_for_and_a_total_when_asked(house: House) -> None:
    names = ["Cy", "Ann", "Bob"]
    for name in names:
        await post(house, "/organisations", {"name": name, "about": "Listed", "tags": ["listed"]})
    await post(house, "/organisations", {"name": "Beside"})
    await house.settle()
    asked = {"filter": "tags : listed", "fields": "name,tags"}
    for order, wanted in (
        ("name", sorted(names)),
        ("name desc", sorted(names, reverse=True)),
        ("-name", sorted(names, reverse=True)),
    ):
        page = await listed(house, "organisations", order_by=order, **asked)
        assert [i["name"] for i in page["items"]] == wanted
        assert [set(i) for i in page["items"]] == [{"id", "name", "tags"}] * 3
        assert page.get("total") is None
    page = await listed(house, "organisations", order_by="name", page_size=1, include_total="true", **asked)
    assert (len(page["items"]), page["total"]) == (1, 3)


async def test_pages_repeat_nothing_and_lose_nothing_while_others_write(house: House) -> None:
    made = [(await post(house, "/organisations", {"name": f"Paged {n:02}", "tags": ["paged"]}))["id"] for n in range(12)]
    await house.settle()
    seen: list[str] = []
    token, n = "", 0
    while True:
        page = await listed(house, "organisations", filter="tags : paged", order_by="name", page_size=3, page_token=token)
        seen += [i["id"] for i in page["items"]]
        token = page["next_page_token"]
        if not token:
            break
        n += 1
        await post(house, "/organisations", {"name": f"Paged {n - 1:02}a", "tags": ["paged"]})  # among what was shown
        await post(house, f"/organisations/{made[-n]}:amend", {"about": "Changed"})
        await house.settle()
    assert [id for id in seen if id in made] == made
    assert len(seen) == len(set(seen))


async def test_filters_lead_from_people_to_their_work_and_from_documents_to_the_people_they_are_about(house: House) -> None:
    ann = (await post(house, "/contacts", {"given": "Ann", "family": "Reached"}))["id"]
    await post(house, "/contacts", {"given": "Bob", "family": "Reached"})
    task = (await post(house, "/tasks", {"title": "Ring Ann", "contact": ann}))["id"]
    project = (await post(house, "/projects", {"name": "Her move", "contact": ann}))["id"]
    content = (await house.client.post("/v1/uploads", content=b"about Ann")).json()["sha256"]
    link = {"kind": "contact", "target": ann}
    paper = (await post(house, "/documents", {"version": {"sha256": content, "file_name": "a.txt"}, "links": [link]}))["id"]
    await house.settle()

    async def found(path: str, filter: str) -> list[str]:
        return [i["id"] for i in (await listed(house, path, filter=filter))["items"]]

    assert await found("contacts", 'family = Reached AND tasks.title = "Ring Ann"') == [ann]
    assert await found("contacts", 'family = Reached AND projects.name : "move"') == [ann]
    assert await found("contacts", "family = Reached AND document_links.document.file_name = a.txt") == [ann]
    assert await found("documents", 'contacts.name = "Ann Reached"') == [paper]
    assert await found("documents", f"contacts : {ann}") == [paper]
    assert await found("tasks", 'contact.name = "Ann Reached"') == [task]
    assert await found("projects", 'contact.name = "Ann Reached"') == [project]
