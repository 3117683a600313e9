"""Whoever can write to the database and changes what stands there is found by `chancery doctor`: in the views, and in what is sealed."""

import asyncio
import json
import time
from typing import Any
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio

from infra.database import Database
from infra.projector import comparing
from infra.projector.filling import fill
from infra.settings import Settings
from projections.kernel import VIEWS
from tests.calling import at_home, call
from tests.house import House, post
from tests.infra.erasure.test_erasure import erased

SEALED = "sealed values are those that the leaves commit to"
COMPARED = "views are what the record makes of them"


class Examined:
    """A firm with a person who said no, and what a doctor says of the installation."""

    def __init__(self, house: House, contact: str) -> None:
        self.house = house
        self.contact = contact

    async def doctor(self, *words: str) -> dict[str, Any]:
        done = await asyncio.to_thread(call, "doctor", "--json", *words)
        said = json.loads(done.stdout)
        assert (done.exit_code == 0) == said["ok"]
        return {c["check"]: c["found"] for c in said["checks"]}

    async def alter(self, sql: str, **values: Any) -> None:
        def change() -> None:
            with psycopg.connect(self.house.chancery.database.admin_conninfo(), autocommit=True) as c:
                c.execute("SET session_replication_role = replica")
                assert c.execute(sql.encode(), {"contact": UUID(self.contact), **values}).rowcount > 0, "nothing was altered"

        await asyncio.to_thread(change)


@pytest_asyncio.fixture
async def examined(house: House, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Examined:
    letters = {"key": "letters", "name": "Letters", "dpv": "https://w3id.org/dpv#DirectMarketing"}
    assert (await house.client.post("/v1/purposes", json=letters)).status_code in {201, 409}
    contact = (await post(house, "/contacts", {"given": "Odette", "family": "Fernsby", "emails": [{"address": "o@example.com"}]}))[
        "id"
    ]
    await post(house, f"/contacts/{contact}:amend", {"job_title": "Lamplighter"})
    refusal = {"purposes": ["letters"], "channel": "post", "remark": "no letters", "ip_address": "203.0.113.7"}
    await post(house, f"/contacts/{contact}/consent:refuse", refusal)
    await house.settle()
    at_home(monkeypatch, database, settings.data)
    made = Examined(house, contact)
    before = await made.doctor()
    assert (before[SEALED], before[COMPARED]) == (None, None)
    return made


@pytest.mark.invariant("B4")
@pytest.mark.parametrize(
    ("change", "undo", "said"),
    [
        (
            "UPDATE views.consents SET status = 'given' WHERE contact = %(contact)s",
            "UPDATE views.consents SET status = 'refused' WHERE contact = %(contact)s",
            ["view consents, row ", "is not what the record makes of it: status"],
        ),
        (
            "UPDATE history.contacts SET family = 'Thornapple' WHERE id = %(contact)s",
            "UPDATE history.contacts SET family = 'Fernsby' WHERE id = %(contact)s",
            ["view contacts, the past of row ", "is not what the record makes of it"],
        ),
        (
            'INSERT INTO views.contacts SELECT (jsonb_populate_record(c, \'{"id": "0190a1b2-0000-7000-8000-000000000001"}\')).*'
            " FROM views.contacts c WHERE id = %(contact)s",
            "DELETE FROM views.contacts WHERE id = '0190a1b2-0000-7000-8000-000000000001'",
            ["view contacts, row 0190a1b2-0000-7000-8000-000000000001", "comes from no event"],
        ),
    ],
)
async def test_a_row_of_a_view_that_somebody_changed_is_named_without_its_values(
    examined: Examined, change: str, undo: str, said: list[str]
) -> None:
    try:
        await examined.alter(change)
        found = (await examined.doctor())[COMPARED]
        assert all(part in found for part in said), found
        assert "Thornapple" not in found
        assert COMPARED not in await examined.doctor("--quick")
    finally:
        await examined.alter(undo)
    assert (await examined.doctor())[COMPARED] is None


@pytest.mark.invariant("B4")
async def test_a_row_that_somebody_removed_from_a_view_is_named(examined: Examined) -> None:
    keep = "CREATE TABLE public.kept AS SELECT * FROM views.consents WHERE contact = %(contact)s"
    try:
        await examined.alter(keep)
        await examined.alter("DELETE FROM views.consents WHERE contact = %(contact)s")
        found = (await examined.doctor())[COMPARED]
        assert found.startswith("view consents, row ")
        assert found.endswith("is missing")
    finally:
        await examined.alter("INSERT INTO views.consents SELECT * FROM public.kept")
        await asyncio.to_thread(_dropped, examined)
    assert (await examined.doctor())[COMPARED] is None


async def test_a_record_that_takes_long_to_fold_is_compared_all_the_same(
    examined: Examined, monkeypatch: pytest.MonkeyPatch
) -> None:
    chancery = examined.house.chancery
    as_it_is = Database.conninfo

    def hasty(self: Database, *words: Any, **more: Any) -> str:
        """Sessions that idle in a transaction end at once, instead of after seconds."""
        return as_it_is(self, *words, **more).replace("session_timeout=10000", "session_timeout=100")

    def slow(*words: Any, **more: Any) -> None:
        time.sleep(1)
        fill(*words, **more)

    monkeypatch.setattr(comparing, "fill", slow)
    patient = Database(chancery.database.admin_conninfo())
    monkeypatch.setattr(Database, "conninfo", hasty)
    assert "=100" in patient.conninfo("record")
    assert await asyncio.to_thread(comparing.compared, patient, chancery.vault, [VIEWS["consents"]]) == []


def _dropped(examined: Examined) -> None:
    with psycopg.connect(examined.house.chancery.database.admin_conninfo(), autocommit=True) as c:
        c.execute("DROP TABLE public.kept")
        left = c.execute("SELECT count(*) FROM pg_class WHERE relname LIKE '%\\_\\_new'").fetchone()
        assert left == (0,), "what was made to compare with is gone"


@pytest.mark.invariant("ER6")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "UPDATE record.events e SET sealed = o.sealed FROM record.events o WHERE e.stream_id = %(contact)s AND e.stream_version = 2"
            " AND e.stream_type = 'contact' AND o.stream_type = 'contact' AND o.stream_id = e.stream_id AND o.stream_version = 1",
            "(contacts.Amended.v1)",
        ),
        (
            "UPDATE record.events SET sealed = NULL WHERE stream_id = %(contact)s AND stream_type = 'consent'",
            "(consent.Refused.v1)",
        ),
        (
            "UPDATE record.events SET sealed = '[]' WHERE stream_id = %(contact)s AND stream_type = 'consent'",
            "(consent.Refused.v1)",
        ),
        (
            "UPDATE record.events SET sealed = 'none' WHERE stream_id = %(contact)s AND stream_type = 'consent'",
            "(consent.Refused.v1)",
        ),
        ("DELETE FROM vault.data_keys WHERE subject_id = %(contact)s", "the key of its personal values is gone"),
        ("UPDATE vault.data_keys SET wrapped = set_byte(wrapped, 20, 1) WHERE subject_id = %(contact)s", "can't be unwrapped"),
    ],
)
async def test_a_sealed_value_that_somebody_spoilt_is_named_with_its_event(examined: Examined, change: str, said: str) -> None:
    saved: dict[str, Any] = {}

    def look() -> None:
        with psycopg.connect(examined.house.chancery.database.admin_conninfo(), autocommit=True) as c:
            saved["events"] = c.execute(
                "SELECT sealed, position FROM record.events WHERE stream_id = %s", (examined.contact,)
            ).fetchall()
            saved["keys"] = c.execute("SELECT * FROM vault.data_keys WHERE subject_id = %s", (examined.contact,)).fetchall()

    def put_back() -> None:
        with psycopg.connect(examined.house.chancery.database.admin_conninfo(), autocommit=True) as c:
            c.execute("SET session_replication_role = replica")
            c.execute("DELETE FROM vault.data_keys WHERE subject_id = %s", (examined.contact,))
            with c.cursor() as cursor:
                cursor.executemany("UPDATE record.events SET sealed = %s WHERE position = %s", saved["events"])
                cursor.executemany("INSERT INTO vault.data_keys VALUES (%s, %s, %s, %s, %s, %s)", saved["keys"])

    await asyncio.to_thread(look)
    try:
        await examined.alter(change)
        found = (await examined.doctor())[SEALED]
        assert said in found, found
        assert "Lamplighter" not in found
        if "consent" in change:
            told = await examined.house.client.get(f"/v1/contacts/{examined.contact}/consent:proof", params={"disclose": "all"})
            assert (told.status_code, told.json()["type"].rpartition(":")[2]) == (500, "record-altered"), told.text
    finally:
        await asyncio.to_thread(put_back)
    assert (await examined.doctor())[SEALED] is None
    told = await examined.house.client.get(f"/v1/contacts/{examined.contact}/consent:proof", params={"disclose": "all"})
    assert told.status_code == 200, told.text


@pytest.mark.invariant("ER6")
async def test_what_an_erasure_destroyed_is_not_taken_for_damage(examined: Examined) -> None:
    done = await erased(examined.house, examined.contact)
    assert done["status"] == "completed"
    await examined.house.settle()
    after = await examined.doctor()
    assert (after[SEALED], after[COMPARED]) == (None, None)
    told = await examined.house.client.get(f"/v1/contacts/{examined.contact}/consent:proof", params={"disclose": "all"})
    assert (told.status_code, [e["disclosures"] for e in told.json()["entries"]]) == (200, [[]]), told.text
