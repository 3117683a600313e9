"""The certificate of a document, and of an erasure, as a stranger verifies them offline; and every way of forging one."""

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from infra.proofs.certificates import certify
from tests.house import House, post
from tests.infra.erasure.test_erasure import a_person, erased
from tests.verifier.test_bundle import VERIFIER, in_log
from verifier.chancery_verify import NotProved, certified, of_keys

CONTENT = b"the contract, as it was signed"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Held:
    """A certificate, another document's, one of an erasure, and the key."""

    vkey: str
    certificate: dict[str, Any]
    other: dict[str, Any]
    erasure: str


async def a_certificate(house: House, content: bytes, **more: Any) -> dict[str, Any]:
    stored = (await house.client.post("/v1/uploads", content=content)).json()
    version = {"sha256": stored["sha256"], "file_name": "c.txt"}
    done = await post(house, "/documents", {"title": "A contract", "version": version, **more})
    await house.settle()
    await in_log(house, done["position"])
    return dict((await house.client.get(f"/v1/documents/{done['id']}/versions/1/certificate")).json())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def held(house: House) -> Held:
    out = Held()
    out.certificate, out.other = await a_certificate(house, CONTENT), await a_certificate(house, b"another")
    contact, _ = await a_person(house, "Certified")
    out.erasure = (await erased(house, contact))["certificate"]
    out.vkey = (await house.client.get("/v1/log/vkey")).text
    return out


def proved(certificate: Any, vkey: str, digest: str | None = None) -> Any:
    raw = certificate.encode() if isinstance(certificate, str) else json.dumps(certificate).encode()
    return certified(raw, of_keys(vkey), digest)


def test_a_certificate_proves_that_this_document_was_recorded(held: Held) -> None:
    found = proved(held.certificate, held.vkey, DIGEST)
    assert (found.statement["sha256"], found.compared, found.statement["version"]) == (DIGEST, True, 1)
    assert not proved(held.certificate, held.vkey).compared
    with pytest.raises(NotProved, match="the document is another one"):
        proved(held.certificate, held.vkey, "0" * 64)


async def test_a_certificate_says_when_a_version_was_recorded_and_not_when_somebody_says_it_was_made(house: House) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    certificate = await a_certificate(house, b"an old letter", occurred_at="2020-02-29T12:00:00Z")
    said = json.loads(certificate["certificate"].splitlines()[1])
    assert datetime.fromisoformat(said["recorded_at"]) > before
    assert said["dated"] == "2020-02-29T12:00:00.000000Z"
    vkey = (await house.client.get("/v1/log/vkey")).text
    assert proved(certificate, vkey, hashlib.sha256(b"an old letter").hexdigest()).compared
    plain = await a_certificate(house, b"a letter of today")
    assert "dated" not in json.loads(plain["certificate"].splitlines()[1])


def test_the_certificate_of_an_erasure_is_verified_too(held: Held) -> None:
    found = proved(held.erasure, held.vkey)
    assert (found.kind, found.statement["unreadable"]) == ("chancery.erasure/v1", [])
    with pytest.raises(NotProved):
        proved(held.erasure.replace('"kind":"erase"', '"kind":"other"'), held.vkey)


def test_every_member_of_a_certificate_is_held_to_what_was_signed(held: Held) -> None:
    good = held.certificate
    for member in ("certificate", "leaf", "proof"):
        with pytest.raises(NotProved):
            proved({**good, member: held.other[member]}, held.vkey)
        for at in range(0, len(good[member]), max(1, len(good[member]) // 60)):
            was = good[member][at]
            altered = good[member][:at] + ("x" if was != "x" else "y") + good[member][at + 1 :]
            with pytest.raises(NotProved):
                proved({**good, member: altered}, held.vkey)
        with pytest.raises(NotProved):
            proved({k: v for k, v in good.items() if k != member}, held.vkey)
        with pytest.raises(NotProved):
            proved({**good, member: 7}, held.vkey)
    with pytest.raises(NotProved):
        proved({**good, "more": 1}, held.vkey)


def test_another_key_proves_nothing(held: Held, house: House, tmp_path: Path) -> None:
    from infra.proofs.signing import SigningKeys

    name = held.vkey.partition("+")[0]
    strange = str(SigningKeys(tmp_path, None).newest(name).verifier)
    for certificate in (held.certificate, held.erasure):
        with pytest.raises(NotProved):
            proved(certificate, strange)


def test_a_statement_of_another_kind_is_no_certificate_of_a_document(held: Held, house: House) -> None:
    statement = {"sha256": DIGEST, "leaf_index": 1, "document": "x"}
    c = house.chancery
    note = certify(c.settings, c.vault, house.firm, "chancery.document/v1", statement)
    with pytest.raises(NotProved, match="comes with its proof"):
        proved(note, held.vkey)
    other = certify(c.settings, c.vault, house.firm, "chancery.other/v1", statement)
    with pytest.raises(NotProved, match="not that of a document"):
        proved({**held.certificate, "certificate": other}, held.vkey)


def test_the_file_stands_alone_for_certificates_too(held: Held, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps(held.certificate, sort_keys=True))
    (tmp_path / "e.txt").write_text(held.erasure)
    (tmp_path / "key").write_text(held.vkey)
    (tmp_path / "contract").write_bytes(CONTENT)

    def run(*words: object) -> tuple[int, str]:
        line = [sys.executable, "-I", str(VERIFIER), *map(str, words), "--vkey", str(tmp_path / "key")]
        done = subprocess.run(line, check=False, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    code, said = run(tmp_path / "c.json", "--document", tmp_path / "contract")
    assert (code, "unchanged" in said, DIGEST in said) == (0, True, True), said
    code, said = run(tmp_path / "c.json")
    assert (code, "NOT COMPARED" in said) == (0, True)
    code, said = run(tmp_path / "c.json", "--document", tmp_path / "key")
    assert (code, "NOT PROVED" in said) == (1, True)
    code, said = run(tmp_path / "e.txt")
    assert (code, "chancery.erasure/v1" in said) == (0, True)
    assert run(tmp_path / "key")[0] == 1
