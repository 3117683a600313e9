"""Undoing commands, merges and imports over HTTP."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

from commands.kernel import Actor
from infra.imports.run import Importer
from tests.house import House


async def post(house: House, path: str, body: dict[str, Any], status: int = 200) -> dict[str, Any]:
    done = await house.client.post(f"/v1{path}", json=body)
    assert done.status_code == status, done.text
    return dict(done.json())


async def command_of(house: House, path: str, version: int = -1) -> str:
    items = (await house.client.get(f"/v1{path}/history")).json()["items"]
    return str(items[version]["command_id"])


async def a_contact(house: House, name: str = "Ann Archer") -> str:
    return str((await post(house, "/contacts", {"display_name": name, "job_title": "Clerk"}, 201))["id"])


async def test_a_change_is_previewed_undone_and_the_undo_undone(house: House) -> None:
    path = f"/contacts/{await a_contact(house)}"
    await post(house, f"{path}:amend", {"job_title": "Partner"})
    command = await command_of(house, path)
    preview = await post(house, "/undo", {"command_id": command, "preview": True})
    assert [e["type"] for e in preview["would_record"]] == ["contacts.Amended.v1"]
    assert preview["would_record"][0]["data"]["profile"]["job_title"] == "Clerk"
    assert {"field": "job_title", "old": "Partner", "new": "Clerk"} in preview["changes"][0]["fields"]
    assert len((await house.client.get(f"/v1{path}/history")).json()["items"]) == 2
    done = await post(house, "/undo", {"command_id": command})
    assert [e["type"] for e in done["events"]] == ["contacts.Amended.v1"]
    await house.settle()
    assert (await house.client.get(f"/v1{path}")).json()["job_title"] == "Clerk"
    entry = (await house.client.get(f"/v1{path}/history")).json()["items"][-1]
    assert entry["causation_id"] == command
    await post(house, "/undo", {"command_id": entry["command_id"]})
    await house.settle()
    assert (await house.client.get(f"/v1{path}")).json()["job_title"] == "Partner"


async def test_what_was_changed_since_stops_an_undo_and_is_named(house: House) -> None:
    path = f"/contacts/{await a_contact(house)}"
    await post(house, f"{path}:amend", {"job_title": "Partner"})
    first = await command_of(house, path)
    later = await post(house, f"{path}:amend", {"job_title": "Chair"})
    refused = await post(house, "/undo", {"command_id": first}, 409)
    assert refused["type"] == "urn:chancery:problem:changed-since"
    assert (refused["event_id"], refused["event"]) == (later["events"][0]["id"], "contacts.Amended.v1")
    assert refused["fields"] == ["job_title"]  # as the view calls it, not where the state keeps it
    await post(house, "/undo", {"command_id": await command_of(house, path)})
    await post(house, "/undo", {"command_id": first})
    await house.settle()
    assert (await house.client.get(f"/v1{path}")).json()["job_title"] == "Clerk"


async def test_another_field_changed_since_stops_nothing(house: House) -> None:
    path = f"/contacts/{await a_contact(house)}"
    await post(house, f"{path}:amend", {"job_title": "Partner"})
    command = await command_of(house, path)
    await post(house, f"{path}:amend", {"nickname": "Annie"})
    await post(house, "/undo", {"command_id": command})
    await house.settle()
    read = (await house.client.get(f"/v1{path}")).json()
    assert (read["job_title"], read["nickname"]) == ("Clerk", "Annie")


async def test_a_rule_that_stands_in_the_way_is_told_with_the_event_that_brought_it(house: House) -> None:
    path = f"/contacts/{await a_contact(house)}"
    await post(house, f"{path}:amend", {"job_title": "Partner"})
    command = await command_of(house, path)
    archived = await post(house, f"{path}:archive", {})
    refused = await post(house, "/undo", {"command_id": command}, 409)
    assert refused["type"] == "urn:chancery:problem:stands-in-the-way"
    assert (refused["rule"], refused["event_id"]) == ("ContactIsArchived", archived["events"][0]["id"])


async def test_a_merge_is_undone_by_the_record_that_was_merged(house: House) -> None:
    survivor, other = await a_contact(house, "Ann"), await a_contact(house, "Ann A.")
    await post(house, f"/contacts/{survivor}:merge", {"other": other})
    await post(house, f"/contacts/{survivor}:amend", {"nickname": "Annie"})
    preview = await post(house, "/undo", {"merged_id": other, "preview": True})
    assert {e["type"] for e in preview["would_record"]} == {"contacts.Released.v1", "contacts.Unmerged.v1"}
    await post(house, "/undo", {"merged_id": other})
    await house.settle()
    assert (await house.client.get(f"/v1/contacts/{other}")).json()["merged_into"] is None
    assert (await house.client.get(f"/v1/contacts/{survivor}")).json()["nickname"] == "Annie"


async def test_what_was_created_is_archived_unless_it_was_used_since(house: House) -> None:
    path = f"/contacts/{await a_contact(house)}"
    command = await command_of(house, path)
    tagged = await post(house, f"{path}:tag", {"tags": ["vip"]})
    refused = await post(house, "/undo", {"command_id": command}, 409)
    assert refused["event_id"] == tagged["events"][0]["id"]
    await post(house, "/undo", {"command_id": await command_of(house, path)})
    await post(house, "/undo", {"command_id": command})
    await house.settle()
    assert (await house.client.get(f"/v1{path}")).json()["archived"] is True


async def test_a_deal_goes_back_to_where_it_stood(house: House) -> None:
    made = await post(
        house, "/pipelines", {"name": "Undo", "stages": [{"name": "One"}, {"name": "Two"}, {"name": "Won", "kind": "won"}]}, 201
    )
    await house.settle()
    stages = {
        s["name"]: s["id"]
        for s in (await house.client.get("/v1/stages", params={"filter": f"pipeline_id = {made['id']}"})).json()["items"]
    }
    deal = await post(house, "/deals", {"title": "D", "pipeline": made["id"], "amount": "10.00", "currency": "EUR"}, 201)
    path = f"/deals/{deal['id']}"
    await post(house, f"{path}:move", {"stage": stages["Two"]})
    moved = await command_of(house, path)
    await post(house, f"{path}:win", {"amount": "12.00"})
    refused = await post(house, "/undo", {"command_id": moved}, 409)
    assert refused["event"] == "deals.Won.v1"
    await post(house, "/undo", {"command_id": await command_of(house, path)})
    await house.settle()
    read = (await house.client.get(f"/v1{path}")).json()
    assert (read["status"], read["stage_id"], read["amount"]) == ("open", stages["Two"], "10.00")
    await post(house, "/undo", {"command_id": moved})
    await house.settle()
    assert (await house.client.get(f"/v1{path}")).json()["stage_id"] == stages["One"]


async def test_who_may_not_do_it_may_not_undo_it_and_nobody_reaches_another_firm(house: House) -> None:
    path = f"/contacts/{await a_contact(house)}"
    command = await command_of(house, path)
    issued = await post(house, "/keys", {"name": "Reader", "role": "owner", "scopes": ["contacts:read", "history:read"]}, 201)
    await house.settle()
    async with house.as_key(issued["api_key"]) as client:
        for preview in (True, False):
            answer = await client.post("/v1/undo", json={"command_id": command, "preview": preview})
            assert (answer.status_code, answer.json()["permission"]) == (403, "contacts:write")
    other = await house.another_firm()
    assert (await other.client.post("/v1/undo", json={"command_id": command})).status_code == 404
    for body in ({}, {"command_id": command, "import_id": command}, {"command_id": "x"}):
        assert (await house.client.post("/v1/undo", json=body)).status_code == 422
    assert (await house.client.post("/v1/undo", json={"import_id": str(UUID(int=5)), "preview": True})).status_code == 404


async def test_an_undo_is_carried_out_once_under_one_key(house: House) -> None:
    path = f"/contacts/{await a_contact(house)}"
    await post(house, f"{path}:amend", {"job_title": "Partner"})
    command = await command_of(house, path)
    for replayed in (None, "true"):
        done = await house.client.post("/v1/undo", json={"command_id": command}, headers={"Idempotency-Key": "once"})
        assert done.status_code == 200, done.text
        assert done.headers.get("Idempotent-Replayed") == replayed
    assert len((await house.client.get(f"/v1{path}/history")).json()["items"]) == 3


async def test_an_import_is_previewed_and_taken_back(house: House, tmp_path: Path) -> None:
    table = tmp_path / "people.csv"
    table.write_text("id,first name,last name\n1,Ann,Lee\n2,Bob,Ray\n")
    chancery = house.chancery

    def carry() -> UUID:
        with Importer(chancery.database, chancery.vault, chancery.blobs, firm=house.firm, actor=Actor("member", "1")) as importer:
            return importer.carry(table, "contacts", map=None).import_id

    made = str(await asyncio.to_thread(carry))
    preview = await post(house, "/undo", {"import_id": made, "preview": True})
    assert (preview["taken_back"], preview["done"]) == ({"contact": 2}, False)
    done = await post(house, "/undo", {"import_id": made, "reason": "The wrong file"})
    assert (done["taken_back"], done["done"]) == ({"contact": 2}, True)
    await post(house, "/undo", {"import_id": made}, 409)
