"""Imports read over HTTP: the list, one import, its history, its row report."""

import asyncio
from pathlib import Path

from domain.members import Role
from infra.imports.reports import Report
from infra.imports.run import Importer
from tests.house import House
from tests.infra.imports.importing import OPERATOR


async def imported(house: House, folder: Path) -> Report:
    table = folder / "people.csv"
    table.write_text("id,first name,last name,email\n1,Ann,Lee,ann@example.com\n,,,x\n3,Bob,Ray,not an address\n")

    def carry() -> Report:
        c = house.chancery
        with Importer(c.database, c.vault, c.blobs, firm=house.firm, actor=OPERATOR) as importer:
            return importer.carry(table, "contacts")

    report = await asyncio.to_thread(carry)
    await house.settle()
    return report


async def test_an_import_and_its_row_report_are_read_and_values_are_not_told(house: House, tmp_path: Path) -> None:
    report = await imported(house, tmp_path)
    listed = (await house.client.get("/v1/imports")).json()["items"]
    assert [(i["id"], i["status"], i["created"], i["rejected"], i["file_name"]) for i in listed] == [
        (str(report.import_id), "finished", 2, 1, "people.csv")
    ]
    assert 'kind = "contacts"' in listed[0]["map"]
    rows = (await house.client.get(f"/v1/imports/{report.import_id}/rows")).json()
    assert [(r["number"], r["line"], r["outcome"], r["stream_type"]) for r in rows["items"]] == [
        (1, 2, "created", "contact"),
        (2, 3, "rejected", None),
        (3, 4, "created", "contact"),
    ]
    assert rows["next"] is None
    assert any(i["refused"] for i in rows["items"][1]["issues"])
    assert "not an address" not in str(rows)
    some = (
        await house.client.get(f"/v1/imports/{report.import_id}/rows", params={"limit": 1, "after": 1, "issues": "true"})
    ).json()
    assert ([r["number"] for r in some["items"]], some["next"]) == ([2], 2)
    only = (await house.client.get(f"/v1/imports/{report.import_id}/rows", params={"outcome": "rejected"})).json()
    assert [r["number"] for r in only["items"]] == [2]
    history = (await house.client.get(f"/v1/imports/{report.import_id}/history")).json()["items"]
    assert len(history) == 3
    contact = await house.client.get(f"/v1/contacts/{rows['items'][0]['stream_id']}/history")
    assert contact.json()["items"][0]["origin"] == f"import/{report.import_id}"
    explained = await house.client.get(f"/v1/contacts/{rows['items'][0]['stream_id']}/explain", params={"field": "family"})
    (why,) = explained.json()["fields"]
    assert (why["value"], why["event"]["origin"], why["event"]["actor"]) == ("Lee", f"import/{report.import_id}", str(OPERATOR))


async def test_another_firm_and_a_role_without_permission_see_no_import(house: House, tmp_path: Path) -> None:
    report = await imported(house, tmp_path)
    analyst = await house.as_role(Role.ANALYST)
    assert (await analyst.get("/v1/imports")).status_code == 403
    other = await house.another_firm()
    assert (await other.client.get(f"/v1/imports/{report.import_id}")).status_code == 404
    assert (await other.client.get(f"/v1/imports/{report.import_id}/rows")).status_code == 404
    assert (await other.client.get("/v1/imports")).json()["items"] == []
    masked = await house.as_role(Role.COMPLIANCE)
    assert (await masked.get(f"/v1/imports/{report.import_id}")).status_code == 200
