"""A proof of consent as a stranger verifies it, and every way of forging one."""

import ast
import asyncio
import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from structlog.testing import capture_logs

from infra.proofs.notes import Signer, sign
from infra.proofs.signing import SigningKeys
from tests.house import House, post
from tests.infra.erasure.test_erasure import beneath, dump, found_in, spellings
from tests.processes import PATIENCE
from verifier import chancery_verify
from verifier.chancery_verify import NotProved, Trust, Verified, leaf_hash, of_keys, of_policy, verify

VERIFIER = Path(chancery_verify.__file__)


class Given:
    """A chain of three links with its seal, and an older checkpoint; another contact's; the key."""

    vkey: str
    bundle: dict[str, Any]
    other: dict[str, Any]
    foreign: dict[str, Any]
    foreign_vkey: str
    unsealed: dict[str, Any]
    contact: str


async def answered(house: House, path: str, **how: str) -> httpx.Response:
    """The answer, as soon as it is no refusal."""
    limit = time.monotonic() + PATIENCE
    while (got := await house.client.get(path, params=how)).status_code != 200:
        assert time.monotonic() < limit, got.text
        await asyncio.sleep(0.05)
    return got


async def in_log(house: House, position: int) -> None:
    await answered(house, "/v1/log/proofs", position=str(position))


async def a_chain(house: House) -> str:
    contact = (await post(house, "/contacts", {"given": "Ann", "family": "Ash"}))["id"]
    notice = {"title": "Privacy", "language": "en", "text": "We write to you.", "purposes": ["news"]}
    seen = (await post(house, "/notices", notice))["id"]
    about = {"purposes": ["news"], "channel": "email"}
    sealed = {"contact_point": "ann@example.org", "ip_address": "203.0.113.7", "remark": "By phone"}
    await post(house, f"/contacts/{contact}/consent:give", {**about, **sealed, "notice": {"id": seen}})
    await post(house, f"/contacts/{contact}/consent:withdraw", about)
    last = await post(house, f"/contacts/{contact}/consent:give", {**about, "notice": {"id": seen}})
    await house.settle()
    await in_log(house, last["position"])
    return str(contact)


async def proof(house: House, contact: str, **how: str) -> dict[str, Any]:
    return dict((await answered(house, f"/v1/contacts/{contact}/consent:proof", **how)).json())


async def furnished(house: House) -> None:
    await post(house, "/purposes", {"key": "news", "name": "News", "dpv": "https://w3id.org/dpv#DirectMarketing"})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def given(house: House) -> Given:
    await furnished(house)
    out = Given()
    contact, other = await a_chain(house), await a_chain(house)
    out.contact = contact
    out.unsealed = await proof(house, contact)
    sizes = (await house.client.get("/v1/log/keys")).json()
    old = int(sizes["keys"][0]["from_size"])
    sealing = await house.client.post("/v1/log/heads:seal")
    assert sealing.status_code < 300, sealing.text
    limit = time.monotonic() + PATIENCE
    while "heads" not in (bundle := await proof(house, contact, disclose="contact_point,ip_address", old=str(old))):
        assert time.monotonic() < limit, "the seal was never in the log"
        await asyncio.sleep(0.05)
    out.bundle = bundle
    out.other = await proof(house, other)
    out.vkey = (await house.client.get("/v1/log/vkey")).text
    stranger = await house.another_firm()
    await furnished(stranger)
    out.foreign = await proof(stranger, await a_chain(stranger))
    out.foreign_vkey = (await stranger.client.get("/v1/log/vkey")).text
    return out


def verified(bundle: Any, vkey: str, **how: Any) -> Verified:
    raw = bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()
    return verify(raw, of_keys(vkey), **how)


@pytest.mark.invariant("PB1")
@pytest.mark.invariant("PB4")
def test_a_bundle_proves_the_whole_chain_and_that_nothing_was_left_out(given: Given) -> None:
    found = verified(given.bundle, given.vkey, complete=True)
    assert [e.event["type"] for e in found.entries] == ["consent.Given.v1", "consent.Withdrawn.v1", "consent.Given.v1"]
    assert found.contact == f"consent/{given.contact}"
    assert found.complete_as_of is not None
    assert found.notices == 1
    notice = found.entries[0].event["data"]["notice"]
    told = chancery_verify.told(found)
    assert all(str(notice[bound]) in told for bound in ("id", "version", "language", "sha256"))
    assert len(found.older) == 1


@pytest.mark.invariant("PB2")
def test_only_what_was_chosen_is_disclosed(given: Given) -> None:
    first = verified(given.bundle, given.vkey).entries[0].disclosed
    assert first == {"contact_point": "ann@example.org", "ip_address": "203.0.113.7"}
    assert "By phone" not in json.dumps(given.bundle)
    assert all(not e["disclosures"] for e in given.other["entries"])


def test_without_a_seal_the_verifier_says_that_completeness_is_unproven(given: Given) -> None:
    found = verified(given.unsealed, given.vkey)
    assert found.complete_as_of is None
    assert "UNPROVEN" in chancery_verify.told(found)
    with pytest.raises(NotProved, match="completeness is unproven"):
        verified(given.unsealed, given.vkey, complete=True)


@pytest.mark.invariant("PB5")
def test_every_change_of_one_bit_is_found(given: Given) -> None:
    """All bits of the bundle's bytes, without exception; what stays proved must say the same, as it does where JSON has two spellings."""
    assert given.bundle["notices"], "the text that was consented to is in it"
    assert given.bundle["consistency"], "and the older checkpoint"
    raw = json.dumps(given.bundle, separators=(",", ":")).encode()
    trust = of_keys(given.vkey)
    honest = verify(raw, trust)
    for place in range(len(raw)):
        for bit in range(8):
            forged = bytearray(raw)
            forged[place] ^= 1 << bit
            try:
                found = verify(bytes(forged), trust)
            except NotProved:
                continue
            where = (place, bit, bytes(forged[max(0, place - 20) : place + 20]))
            assert found == honest, where
            assert json.loads(forged) == given.bundle, where


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("omitted first", "gap or is out of order"),
        ("omitted last", "left out"),
        ("omitted middle", "gap or is out of order"),
        ("reordered", "gap or is out of order"),
        ("duplicated", "twice"),
        ("another contact's", "another contact's"),
        ("another firm's", "does not stand at|inclusion proof"),
        ("own key", "does not belong there"),
        ("no entries", "list of 1"),
        ("a disclosure of another", "committed to"),
        ("a made up disclosure", "committed to"),
        ("another notice", "digest differs"),
        ("a title", "a notice does not have the members"),
        ("a media type", "a notice does not have the members"),
        ("a wrong summary", "summary says"),
        ("another's head", "sealed head is another"),
        ("a seal without its proof", "no proof of the head"),
        ("consistency from nothing", "size 0 proves nothing"),
        ("a rolled back checkpoint", "does not stand at|no entry|proof is too"),
    ],
    ids=lambda v: v if isinstance(v, str) and "|" not in v and len(v) < 26 else "",
)
def test_a_forged_bundle_is_refused_and_the_reason_is_said(given: Given, how: str, says: str) -> None:
    forged = deepcopy(given.bundle)
    entries = forged["entries"]
    match how:
        case "omitted first":
            del entries[0]
            forged["heads"]["seal_entry"] -= 1
        case "omitted last":
            del entries[2]
            forged["heads"]["seal_entry"] -= 1
        case "omitted middle":
            del entries[1]
            forged["heads"]["seal_entry"] -= 1
        case "reordered":
            entries[0], entries[1] = entries[1], entries[0]
        case "duplicated":
            entries.insert(1, deepcopy(entries[0]))
        case "another contact's":
            assert given.other["checkpoint"] == given.bundle["checkpoint"], "both lead to one checkpoint"
            entries[1] = deepcopy(given.other["entries"][1])
        case "another firm's":
            entries[1] = deepcopy(given.foreign["entries"][1])
        case "own key":
            forged["vkey"] = given.vkey
        case "no entries":
            forged["entries"] = []
        case "a disclosure of another":
            entries[1]["disclosures"] = entries[0]["disclosures"][:1]
        case "a made up disclosure":
            made = base64.urlsafe_b64encode(b'["AAAAAAAAAAAAAAAAAAAAAA","remark","yes"]').rstrip(b"=").decode()
            entries[0]["disclosures"].append(made)
        case "another notice":
            forged["notices"][0]["content"] = base64.b64encode(b"We never write.").decode()
        case "a title":
            forged["notices"][0]["title"] = "Privacy"
        case "a media type":
            forged["notices"][0]["media_type"] = "text/plain"
        case "a wrong summary":
            forged["summary"]["last_seq"] = 7
        case "another's head":
            leaf = base64.b64decode(given.other["entries"][2]["leaf"])
            forged["heads"]["head"] = f"{given.other['summary']['contact']} 3 {base64.b64encode(leaf_hash(leaf)).decode()}\n"
        case "a seal without its proof":
            del forged["heads"]
        case "consistency from nothing":
            forged["consistency"] = [{"checkpoint": _empty(given), "proof": []}]
        case _:
            forged["checkpoint"] = forged["consistency"][0]["checkpoint"]
            forged["consistency"] = []
    trust = of_keys(given.vkey)
    if how == "consistency from nothing":
        trust = Trust([*trust.logs, *of_keys(_forger(given)[1]).logs], {}, {}, "none")
    with pytest.raises(NotProved, match=says):
        verify(json.dumps(forged).encode(), trust)


def _forger(given: Given) -> tuple[Signer, str]:
    origin = given.vkey.partition("+")[0]
    signer = Signer(origin, hashlib.sha256(b"a forger").digest())
    return signer, str(signer.verifier)


def _empty(given: Given) -> str:
    signer, _ = _forger(given)
    from infra.proofs.notes import sign

    root = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    return str(sign(f"{signer.name}\n0\n{root}\n", [signer]))


def test_another_key_and_no_key_prove_nothing(given: Given) -> None:
    _, forger = _forger(given)
    with pytest.raises(NotProved, match="not signed by a key you trust"):
        verified(given.bundle, forger)
    with pytest.raises(NotProved, match="gave no key"):
        verified(given.bundle, given.foreign_vkey)
    with pytest.raises(NotProved, match="holds none"):
        of_keys("# nothing\n")


@pytest.mark.invariant("PB6")
async def test_a_checkpoint_that_only_the_auditor_kept_is_one_that_the_bundle_goes_on_from(house: House, given: Given) -> None:
    kept: dict[int, str] = {}
    contact = await a_chain(house)
    while len(kept) < 3:  # one an hour is kept by the firm; the auditor has those between
        made = await post(house, "/pipelines", {"name": f"P {uuid4()}", "stages": [{"name": "One"}]})
        await in_log(house, made["position"])
        note = (await house.client.get("/v1/log/checkpoint")).text
        kept[int(note.splitlines()[1])] = note
    old = kept[sorted(kept)[1]]
    asked = await house.client.get(f"/v1/contacts/{contact}/consent:proof", params={"old": str(sorted(kept)[1])})
    assert (asked.status_code, "kept" in asked.json()["detail"]) == (404, True)
    proved = await proof(house, contact, kept=base64.urlsafe_b64encode(old.encode()).decode().rstrip("="))
    assert verified(proved, given.vkey, old=old).older == [sorted(kept)[1]]
    newest = (await house.client.get("/v1/log/checkpoint")).text
    again = await proof(house, contact, kept=base64.urlsafe_b64encode(newest.encode()).decode())
    assert verified(again, given.vkey, old=again["checkpoint"]).older == []


@pytest.mark.invariant("PB6")
async def test_a_checkpoint_that_is_of_another_log_or_of_another_history_is_told_for_what_it_is(house: House, given: Given) -> None:
    contact = await a_chain(house)
    origin = given.bundle["summary"]["log"]
    (signer, *_) = SigningKeys(house.chancery.vault.folder, house.chancery.settings.signing_key).signers(origin)
    forked = str(sign(f"{origin}\n2\n{base64.b64encode(bytes(32)).decode()}\n", [signer]))
    foreign = (await (await house.another_firm()).client.get("/v1/log/checkpoint")).text
    for sent, status, kind in ((forked, 409, "log-forked"), (foreign, 422, "another-log"), ("rubbish", 422, "another-log")):
        params = {"kept": base64.urlsafe_b64encode(sent.encode()).decode()}
        got = await house.client.get(f"/v1/contacts/{contact}/consent:proof", params=params)
        assert (got.status_code, got.json()["type"]) == (status, f"urn:chancery:problem:{kind}"), got.text
    assert (await house.client.get(f"/v1/contacts/{contact}/consent:proof", params={"kept": "!"})).status_code == 400


def test_a_log_that_was_rebuilt_and_signed_anew_is_found_with_an_older_checkpoint(given: Given) -> None:
    old = given.bundle["consistency"][0]["checkpoint"]
    assert verified(given.bundle, given.vkey, old=old)
    without = {**given.bundle, "consistency": []}
    with pytest.raises(NotProved, match="does not prove that the log goes on"):
        verified(without, given.vkey, old=old)
    forged = deepcopy(given.bundle)
    proof = forged["consistency"][0]["proof"]
    proof[0] = base64.b64encode(bytes(32)).decode()
    with pytest.raises(NotProved, match="rewritten"):
        verified(forged, given.vkey)


def test_a_policy_asks_for_witnesses_that_are_not_there(given: Given) -> None:
    seed = Ed25519PrivateKey.generate()
    raw = b"\x04" + seed.public_key().public_bytes_raw()
    id = hashlib.sha256(b"witness.example\n" + raw).digest()[:4].hex()
    policy = f"log {given.vkey.strip()}\nwitness w witness.example+{id}+{base64.b64encode(raw).decode()}\nquorum w\n"
    with pytest.raises(NotProved, match="too few witnesses"):
        verify(json.dumps(given.bundle).encode(), of_policy(policy))
    assert verify(json.dumps(given.bundle).encode(), of_policy(f"log {given.vkey.strip()}\nquorum none\n"))


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"format":"consent-chain-proof/v1","format":"consent-chain-proof/v1"}',
        b"[" * 100_000,
        b'{"format":NaN}',
    ],
    ids=["empty", "list", "cut", "not-utf8", "twice", "deep", "nan"],
)
def test_what_is_no_bundle_is_refused_without_a_fault(given: Given, bad: bytes) -> None:
    with pytest.raises(NotProved):
        verified(bad, given.vkey)


@pytest.mark.invariant("PB3")
def test_the_file_stands_alone_and_comes_to_an_end(given: Given, tmp_path: Path) -> None:
    """A copy of the one file, with nothing of Chancery in reach."""
    alone = tmp_path / "verify.py"
    alone.write_bytes(VERIFIER.read_bytes())
    (tmp_path / "proof.json").write_text(json.dumps(given.bundle))
    (tmp_path / "key").write_text(given.vkey)
    line = [sys.executable, "-I", str(alone), str(tmp_path / "proof.json"), "--vkey", str(tmp_path / "key"), "--complete"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE)  # bench says how soon
    assert done.returncode == 0, done.stderr
    assert "no change up to there was left out" in done.stdout
    (tmp_path / "proof.json").write_text(json.dumps({**given.bundle, "summary": {}}))
    assert subprocess.run(line, cwd=tmp_path, capture_output=True, check=False).returncode == 1
    assert subprocess.run(line[:-3], cwd=tmp_path, capture_output=True, check=False).returncode == 2


def test_whoever_reads_only_the_beginning_of_the_report_is_told_nothing_else_than_it(given: Given, tmp_path: Path) -> None:
    (tmp_path / "proof.json").write_text(json.dumps(given.bundle))
    (tmp_path / "key").write_text(given.vkey)
    reads, writes = os.pipe()
    os.close(reads)
    line = [sys.executable, "-I", str(VERIFIER), str(tmp_path / "proof.json"), "--vkey", str(tmp_path / "key")]
    done = subprocess.run(line, stdout=writes, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writes)
    assert (done.returncode, done.stderr) == (0, "")


async def test_anybody_may_have_a_bundle_verified_and_a_forged_one_is_explained(house: House, given: Given) -> None:
    async with house.as_key(None) as stranger:
        good = (await stranger.post("/v1/verify", json=given.bundle)).json()
        assert (good["verified"], good["contact"]) == (True, f"consent/{given.contact}")
        forged = deepcopy(given.bundle)
        del forged["entries"][0]
        bad = (await stranger.post("/v1/verify", json=forged)).json()
        assert bad["verified"] is False
        assert (await stranger.post("/v1/verify", json={"x": 1})).status_code == 400


async def test_what_is_sent_to_be_verified_is_not_kept(house: House, given: Given) -> None:
    canary = "Kwyjiboverified"
    told = {**given.bundle, "timestamps": [base64.b64encode(canary.encode()).decode()]}
    assert verified(told, given.vkey).timestamps == 1, "it is taken for what it is, to be checked by others"
    digest = hashlib.sha256(canary.encode()).hexdigest()
    position = await house.settle()
    with capture_logs() as logged:
        async with house.as_key(None) as stranger:
            for sent in (told, {**told, "entries": []}, {"sha256": digest, "log": given.bundle["summary"]["log"]}, {"x": canary}):
                assert (await stranger.post("/v1/verify", json=sent)).status_code in {200, 400}
    assert await house.settle() == position, "nothing was recorded"
    words = spellings(canary)
    assert found_in(json.dumps(told).encode(), words)
    assert found_in(dump(house), words) == []
    assert [f for f in beneath(house.chancery.settings.data) if found_in(f.read_bytes(), words)] == []
    assert found_in(str(logged).encode(), words) == []


def test_the_stand_alone_file_needs_cryptography_and_nothing_else() -> None:
    tree = ast.parse(VERIFIER.read_text(encoding="utf-8"))
    named = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    named |= {n.module or "." for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in named} - sys.stdlib_module_names == {"cryptography"}


async def test_a_document_is_notarised_and_its_certificate_verified_without_an_account(house: House) -> None:
    content = b"The deed."
    sent = (await house.client.post("/v1/uploads", content=content)).json()
    made = await post(house, "/documents", {"title": "Deed", "version": {"sha256": sent["sha256"], "file_name": "deed.txt"}})
    await house.settle()
    await in_log(house, made["position"])
    certificate = (await house.client.get(f"/v1/documents/{made['id']}/versions/1/certificate")).json()
    assert certificate["format"] == "chancery-document-proof/v1"
    async with house.as_key(None) as stranger:
        digest = hashlib.sha256(content).hexdigest()
        good = (await stranger.post("/v1/verify", json={"document": certificate, "sha256": digest})).json()
        assert (good["verified"], good["statement"]["sha256"]) == (True, digest)
        other = (await stranger.post("/v1/verify", json={"document": certificate, "sha256": "0" * 64})).json()
        assert other["verified"] is False
        known = (await stranger.post("/v1/verify", json={"sha256": digest, "log": good["statement"]["log"]})).json()
        assert known["verified"] is True
        unknown = (await stranger.post("/v1/verify", json={"sha256": "0" * 64, "log": good["statement"]["log"]})).json()
        assert unknown["verified"] is False
        forged = {**certificate, "certificate": certificate["certificate"].replace('"size":9', '"size":8')}
        assert (await stranger.post("/v1/verify", json=forged)).json()["verified"] is False


async def test_personal_values_are_disclosed_only_to_those_who_may_see_them(house: House, given: Given) -> None:
    from domain.members import Role

    async with await house.as_role(Role.READ_ONLY) as reader:
        assert (await reader.get(f"/v1/contacts/{given.contact}/consent:proof")).status_code == 403


async def test_the_chain_is_printed_with_its_proof_attached(house: House, given: Given) -> None:
    import io

    from pypdf import PdfReader

    got = await house.client.get(f"/v1/contacts/{given.contact}/consent:paper", params={"disclose": "contact_point"})
    assert got.status_code == 200, got.text
    assert got.headers["content-type"] == "application/pdf"
    pdf = PdfReader(io.BytesIO(got.content))
    text = "".join(p.extract_text() for p in pdf.pages).replace("\u200b", "")
    (attached,) = pdf.attachments["consent-proof.json"]
    found = verified(attached, given.vkey)
    assert "Record of consent" in text
    assert "the person took the consent back" in text
    assert "ann@example.org" in text
    assert "Privacy" in text, "as the record calls it"
    notice = found.entries[0].event["data"]["notice"]
    assert all(str(notice[bound]) in re.sub(r"\s+", "", text) for bound in ("id", "sha256"))
    assert found.contact == f"consent/{given.contact}"
    assert "Privacy" not in attached.decode()


async def test_what_is_sent_to_be_verified_is_read_as_strictly_as_by_the_stand_alone_file(house: House, given: Given) -> None:
    """One reader that takes the last of two members and one that takes the first would verify two different files."""
    text = json.dumps(given.bundle)
    async with house.as_key(None) as stranger:
        for sent in (
            text.replace('"entries":', '"entries": [], "entries":', 1),
            json.dumps({"bundle": given.bundle}).replace('"entries":', '"entries": [], "entries":', 1),
            text.replace('"index": ', '"index": 1e0, "index": ', 1),
        ):
            got = await stranger.post("/v1/verify", content=sent, headers={"Content-Type": "application/json"})
            assert (got.status_code, got.json()["verified"]) == (200, False), got.text
        for sent in ('{"bundle": "\\ud800"}', '{"bundle": NaN}', "[" * 50_000):
            got = await stranger.post("/v1/verify", content=sent, headers={"Content-Type": "application/json"})
            assert got.status_code == 400, got.text
        for firm in ("-" * 36, "0" * 36, "01890000-0000-7000-8000-000000000000"):
            origin = given.vkey.partition("/firms/")[0] + f"/firms/{firm}"
            got = await stranger.post("/v1/verify", json={"sha256": "0" * 64, "log": origin})
            assert (got.status_code, got.json()["verified"]) == (200, False), got.text
        for sent in ("[1.9]", "[]", "7", "null"):
            got = await stranger.post("/v1/verify", content=sent, headers={"Content-Type": "application/json"})
            assert (got.status_code, got.json()["type"]) == (400, "urn:chancery:problem:nothing-to-verify"), got.text
        oddities: list[dict[str, Any]] = [
            {"bundle": 7},
            {"bundle": None},
            {"document": []},
            {"certificate": {}},
            {"certificate": "a\n[]\n"},
            {"document": {"format": 1}},
        ]
        for odd in oddities:
            got = await stranger.post("/v1/verify", json=odd)
            assert (got.status_code, got.json()["verified"]) == (200, False), got.text


async def test_a_history_signed_with_a_stolen_key_is_not_the_one_that_is_kept_here(house: House, given: Given) -> None:
    from infra.proofs.signing import SigningKeys
    from tests.verifier.test_attacks import Forge, b64, path, root

    origin = given.vkey.partition("+")[0]
    (signer,) = SigningKeys(house.chancery.vault.folder, house.chancery.settings.signing_key).signers(origin)
    from infra.proofs.notes import sign

    made = Forge(source="/firms/" + origin.rpartition("/")[2])
    made.link()
    async with house.as_key(None) as stranger:
        for more, says in ((0, "another history"), (5_000, "rolled back")):
            made.leaves += [b"{}"] * more
            hashes = [leaf_hash(leaf) for leaf in made.leaves]
            entry = {"index": 1, "leaf": b64(made.leaves[1]), "inclusion": [b64(h) for h in path(1, hashes)], "disclosures": []}
            note = str(sign(f"{origin}\n{len(hashes)}\n{b64(root(hashes))}\n", [signer]))
            forged = {"format": chancery_verify.FORMAT, "checkpoint": note, "entries": [entry]}
            assert verified(forged, given.vkey).size == len(hashes)  # the key is the log's own
            answer = (await stranger.post("/v1/verify", json=forged)).json()
            assert answer["verified"] is False
            assert says in answer["why"]
