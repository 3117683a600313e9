"""What was proved before a firm's log was begun anew is proved after it; what is proved then is proved in the new log."""

# ruff: noqa: ASYNC110 - what is waited for lies outside and sends no event

import asyncio
import hashlib
import json
from typing import Any

import pytest_asyncio

from commands.log import RestartLog
from infra.cli.console import execute
from infra.cli.log import brought_up, sequencer_of
from infra.proofs.certificates import read
from infra.proofs.encoding import b64
from infra.proofs.notes import Verifier
from infra.proofs.signing import SigningKeys
from infra.proofs.store import LogStore
from tests.house import House, post
from tests.infra.erasure.test_erasure import a_person, erased
from tests.processes import PATIENCE
from tests.verifier.test_bundle import a_chain, furnished, in_log, proof, verified
from verifier.chancery_verify import certified, of_keys

FIRST, SECOND = b"recorded in the first log", b"recorded in the second log"


class Before:
    """What somebody held before the log was begun anew."""

    contact: str
    vkey: str
    bundle: dict[str, Any]
    document: str
    certificate: dict[str, Any]
    erasure: str


async def a_document(house: House, content: bytes) -> str:
    stored = (await house.client.post("/v1/uploads", content=content)).json()
    done = await post(house, "/documents", {"title": "A contract", "version": {"sha256": stored["sha256"], "file_name": "c.txt"}})
    await house.settle()
    await in_log(house, done["position"])
    return str(done["id"])


async def certificate_of(house: House, document: str) -> dict[str, Any]:
    got = await house.client.get(f"/v1/documents/{document}/versions/1/certificate")
    assert got.status_code == 200, got.text
    return dict(got.json())


async def begin_anew(house: House) -> str:
    """What `chancery log restart` does, once the log has stopped; answers the new log's name."""
    c = house.chancery
    sequencer = sequencer_of(c)
    with c.database.connect("record") as connection:
        sequencer.prepare(connection)
        sequencer.catch_up(connection)
        old = LogStore(connection, house.firm).log()
        origin = sequencer.origin_of(house.firm, old.generation + 1)
        root = b64(old.checkpoint.root)
        await execute(
            c, RestartLog(old_origin=old.origin, new_origin=origin, old_size=old.size, old_root=root, reason="restored"), house.firm
        )
        sequencer.restart(connection, old)
        await asyncio.to_thread(brought_up, c, connection, house.firm)
    return origin


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def before(house: House) -> Before:
    await furnished(house)
    held = Before()
    held.contact = await a_chain(house)
    assert (await house.client.post("/v1/log/heads:seal")).status_code < 300
    async with asyncio.timeout(PATIENCE):
        while "heads" not in (bundle := await proof(house, held.contact)):
            await asyncio.sleep(0.05)
    held.bundle = bundle
    held.document = await a_document(house, FIRST)
    held.certificate = await certificate_of(house, held.document)
    gone, _ = await a_person(house, "Firstly")
    held.erasure = (await erased(house, gone))["certificate"]
    held.vkey = (await house.client.get("/v1/log/vkey")).text
    origin = await begin_anew(house)
    assert origin.endswith("/2")
    return held


async def asked(house: House, body: dict[str, Any]) -> dict[str, Any]:
    async with house.as_key(None) as stranger:
        got = await stranger.post("/v1/verify", json=body)
        assert got.status_code == 200, got.text
        return dict(got.json())


async def test_proofs_and_certificates_from_before_verify_for_anybody_and_offline(house: House, before: Before) -> None:
    assert (await asked(house, before.bundle))["verified"]
    assert verified(before.bundle, before.vkey).complete_as_of is not None
    digest = hashlib.sha256(FIRST).hexdigest()
    assert certified(json.dumps(before.certificate).encode(), of_keys(before.vkey), digest).compared
    assert certified(before.erasure.encode(), of_keys(before.vkey)).kind == "chancery.erasure/v1"
    found = await asked(house, {"document": before.certificate, "sha256": hashlib.sha256(FIRST).hexdigest()})
    assert (found["verified"], found["log"].endswith("/2")) == (True, False)
    assert not (await asked(house, {"document": before.certificate, "sha256": "0" * 64}))["verified"]
    assert (await asked(house, {"certificate": before.erasure}))["verified"]
    assert read(before.erasure, [Verifier.parse(before.vkey.strip())])[0] == "chancery.erasure/v1"


async def test_what_is_certified_after_it_is_proved_in_the_new_log_also_of_what_was_recorded_before(
    house: House, before: Before
) -> None:
    vkey = (await house.client.get("/v1/log/vkey")).text
    assert vkey != before.vkey
    again = await certificate_of(house, before.document)
    later = await certificate_of(house, await a_document(house, SECOND))
    for made, content in ((again, FIRST), (later, SECOND)):
        found = await asked(house, {"document": made, "sha256": hashlib.sha256(content).hexdigest()})
        assert (found["verified"], found["log"].endswith("/2")) == (True, True), found
        assert certified(json.dumps(made).encode(), of_keys(vkey), hashlib.sha256(content).hexdigest()).log.endswith("/2")
    anew = await proof(house, before.contact)
    assert (await asked(house, anew))["verified"]
    assert verified(anew, vkey).contact == verified(before.bundle, before.vkey).contact


async def test_a_document_is_found_by_its_digest_under_the_name_of_either_log(house: House, before: Before) -> None:
    old = before.vkey.partition("+")[0]
    for log in (old, f"{old}/2"):
        found = await asked(house, {"sha256": hashlib.sha256(FIRST).hexdigest(), "log": log})
        assert found["verified"], found


async def test_an_erasure_after_it_is_certified_with_the_key_that_people_have_then(house: House, before: Before) -> None:
    gone, _ = await a_person(house, "Secondly")
    certificate = (await erased(house, gone))["certificate"]
    vkey = (await house.client.get("/v1/log/vkey")).text.strip()
    assert read(certificate, [Verifier.parse(vkey)])[1]["log"].endswith("/2")
    assert (await asked(house, {"certificate": certificate}))["verified"]


async def test_proofs_from_before_verify_when_the_key_was_rotated_after_it(house: House, before: Before) -> None:
    c = house.chancery
    SigningKeys(c.vault.folder, c.settings.signing_key).add()
    assert (await asked(house, before.bundle))["verified"]
    assert (await asked(house, {"document": before.certificate}))["verified"]
    assert (await asked(house, {"certificate": before.erasure}))["verified"]


async def test_a_certificate_from_before_that_was_altered_is_refused(house: House, before: Before) -> None:
    for member in ("certificate", "leaf", "proof"):
        forged = json.loads(json.dumps(before.certificate))
        at = next(i for i in range(len(forged[member]) * 2 // 3, len(forged[member])) if forged[member][i].isalnum())
        forged[member] = f"{forged[member][:at]}{'x' if forged[member][at] != 'x' else 'y'}{forged[member][at + 1 :]}"
        assert not (await asked(house, forged))["verified"], member
    moved = json.loads(json.dumps(before.certificate).replace(before.vkey.partition("+")[0], before.vkey.partition("+")[0] + "/2"))
    assert not (await asked(house, moved))["verified"]
    forged = {**before.bundle, "checkpoint": before.bundle["checkpoint"].replace("\n", "/2\n", 1)}
    assert not (await asked(house, forged))["verified"]
