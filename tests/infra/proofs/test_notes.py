"""Notes, checkpoints, proofs and policies: what is accepted, and every way in which they are not what they say."""

import base64
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.proofs.checkpoints import Checkpoint, opened
from infra.proofs.errors import Malformed, NotProved, Unsigned
from infra.proofs.notes import COSIGNATURE, Note, Signature, Signer, Verifier, sign, verified
from infra.proofs.policy import BadPolicy, Policy
from infra.proofs.tlogproof import TlogProof
from infra.proofs.tree import leaf_hash
from infra.proofs.witness import AddCheckpoint, accepted, cosigned_at
from tests.infra.proofs.logs import LOG, OTHER, WITNESS, Log, cosign, signature_lines
from tests.infra.proofs.test_tree import VECTORS

CASES = json.loads((VECTORS / "signed-note" / "cases.json").read_text())
TRUST = Policy.of_keys([LOG.verifier])


@pytest.mark.parametrize("case", CASES["verify"], ids=lambda c: c["name"])
@pytest.mark.invariant("LG4", "LG5", "LG6")
def test_the_public_notes_are_read_as_others_read_them(case: dict) -> None:
    keys = [Verifier.parse(k) for k in case["vkeys"]]
    raw = base64.b64decode(case["note"])
    if case["accept"]:
        note = Note.parse(raw)
        assert [v.name for v in verified(note, keys)] == case["verified"]
        assert str(note).encode() == raw
    else:
        with pytest.raises(NotProved):
            verified(Note.parse(raw), keys)


def test_public_keys_are_read_and_written_as_others_write_them() -> None:
    for case in CASES["vkeys"]:
        if case["accept"]:
            assert str(Verifier.parse(case["vkey"])) == case["vkey"]
        else:
            with pytest.raises(NotProved):
                Verifier.parse(case["vkey"])
    good = str(LOG.verifier)
    for bad in ("", good[:-4], good.replace("+", "-", 1), "x" + good, good.replace("+", "+0", 1), " +00000000+AQ=="):
        with pytest.raises(NotProved):
            Verifier.parse(bad)


def test_we_sign_to_the_same_bytes() -> None:
    case = CASES["sign"] if isinstance(CASES["sign"], dict) else CASES["sign"][0]
    name, id, key = case["skey"].removeprefix("PRIVATE+KEY+").split("+", 2)
    signer = Signer(name, base64.b64decode(key)[1:])
    assert signer.verifier.key_id.hex() == id
    assert str(sign(base64.b64decode(case["text"]).decode(), [signer])).encode() == base64.b64decode(case["note"])


@pytest.mark.invariant("LG4")
def test_lines_of_keys_that_are_not_known_are_ignored() -> None:
    log = Log.of(3)
    note = Note.parse(log.note().encode())
    same_name = Signature(LOG.name, b"\0\0\0\0", bytes(64))
    same_id = Signature("someone.example", LOG.verifier.key_id, bytes(64))
    for more in ((same_name,), (same_id,), (same_name, same_id, Signature("x", b"1234", b"5"))):
        for signatures in ((*more, *note.signatures), (*note.signatures, *more)):
            assert opened(str(Note(note.text, signatures)).encode(), [LOG.verifier]) == log.at()


@pytest.mark.invariant("LG5")
def test_a_wrong_line_of_a_known_key_condemns_the_note() -> None:
    log = Log.of(3)
    note = Note.parse(log.note().encode())
    wrong = Signature(LOG.name, LOG.verifier.key_id, bytes(64))
    for signatures in ((*note.signatures, wrong), (wrong, *note.signatures), (wrong,)):
        with pytest.raises(Unsigned):
            opened(str(Note(note.text, signatures)).encode(), [LOG.verifier])


@pytest.mark.invariant("LG6")
def test_a_checkpoint_counts_only_for_the_log_whose_key_is_trusted() -> None:
    log, other = Log.of(3), Log.of(3, OTHER)
    with pytest.raises(Unsigned):
        opened(log.note().encode(), [OTHER.verifier])
    with pytest.raises(Unsigned):
        opened(log.note().encode(), [])
    forged = str(log.at().signed([OTHER])).encode()  # a trusted key signs for an origin that is not its own
    with pytest.raises(Unsigned):
        opened(forged, [LOG.verifier, OTHER.verifier])
    assert opened(other.note().encode(), [LOG.verifier, OTHER.verifier]).origin == OTHER.name


@given(st.integers(0, 2**62), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_is_read_as_it_was_written(size: int, root: bytes) -> None:
    checkpoint = Checkpoint("log.example", size, root)
    assert Checkpoint.parse(checkpoint.text) == checkpoint
    assert Checkpoint.parse(checkpoint.text + "more\n").extensions == ("more",)
    for bad in (
        checkpoint.text[:-1], "\n" + checkpoint.text, checkpoint.text + "\n", checkpoint.text.replace("\n", "\n0", 1),
        checkpoint.text.replace("\n", "\n+", 1), "log.example\n5\n", checkpoint.text.replace("=", "", 1),
    ):  # fmt: skip
        if bad != checkpoint.text and not (size == 0 and bad.split("\n")[1:2] == ["0"]):
            with pytest.raises(Malformed):
                Checkpoint.parse(bad)


def test_a_proof_of_a_leaf_says_what_the_specification_says() -> None:
    log = Log.of(1000)
    proof = log.proof(700)
    lines = str(proof).split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 700"]
    assert lines[12:15] == ["", LOG.name, "1000"]
    assert TlogProof.parse(str(proof).encode()) == proof
    assert proof.verify(leaf_hash(log.leaves[700]), TRUST.accept) == log.at()
    more = TlogProof(proof.index, proof.hashes, proof.checkpoint, b"whatever")
    assert TlogProof.parse(str(more).encode()).extra == b"whatever"


@pytest.mark.invariant("LG1", "LG6")
def test_every_one_bit_change_of_a_proof_is_found() -> None:
    log = Log.of(20)
    raw = str(log.proof(7)).encode()
    leaf = leaf_hash(log.leaves[7])
    for at in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(NotProved):
            TlogProof.parse(bytes(changed)).verify(leaf, TRUST.accept)
    for cut in range(len(raw)):
        with pytest.raises(NotProved):
            TlogProof.parse(raw[:cut]).verify(leaf, TRUST.accept)


@pytest.mark.invariant("LG1", "LG6")
def test_every_one_bit_change_of_a_consistency_proof_is_found() -> None:
    log = Log.of(20)
    old = log.at(7)
    raw = str(log.since(7)).encode()
    assert AddCheckpoint.parse(raw).verify(old, TRUST.accept) == log.at()
    for at in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(NotProved):
            AddCheckpoint.parse(bytes(changed)).verify(old, TRUST.accept)


def test_what_another_firm_proves_proves_nothing_here() -> None:
    log, other = Log.of(20), Log.of(20, OTHER)
    both = Policy.of_keys([LOG.verifier, OTHER.verifier])
    leaf = leaf_hash(log.leaves[7])
    assert other.proof(7).verify(leaf, both.accept).origin == OTHER.name
    with pytest.raises(NotProved):
        other.proof(7).verify(leaf, TRUST.accept)
    with pytest.raises(NotProved):
        log.since(7).verify(other.at(7), both.accept)


def test_a_log_that_was_rolled_back_or_rewritten_is_found_by_an_older_checkpoint() -> None:
    log = Log.of(30)
    kept = log.at(20)
    rolled_back = Log.of(10)
    rewritten = Log.of(20)
    rewritten.leaves[3] = b"another"
    rewritten = Log()
    rewritten.append(*[b"another" if n == 3 else b"leaf %d" % n for n in range(40)])
    log.since(20).verify(kept, TRUST.accept)
    for forged in (rewritten.since(20), rolled_back.since(10), AddCheckpoint(20, (), rolled_back.note())):
        with pytest.raises(NotProved):
            forged.verify(kept, TRUST.accept)


# --- policies and witnesses

POLICY = f"""
# two of three, and the auditor
log {LOG.verifier} https://log.example/
\twitness w1   {WITNESS.verifier}
witness w2 {Signer("w2.example", bytes(31) + b"4", COSIGNATURE).verifier}
witness w3 {Signer("w3.example", bytes(31) + b"5", COSIGNATURE).verifier}
witness auditor {Signer("audit.example", bytes(31) + b"6", COSIGNATURE).verifier} https://audit.example/
group others 2 w1 w2 w3
group everybody all others auditor
quorum everybody
"""


def test_a_policy_asks_for_its_quorum() -> None:
    policy = Policy.parse(POLICY.encode())
    assert policy.reached({"w1", "w3", "auditor"})
    assert not policy.reached({"w1", "w2", "w3"})
    assert not policy.reached({"w1", "auditor"})
    log = Log.of(9)
    now = int(time.time())
    keys = {"w1": WITNESS, "w2": Signer("w2.example", bytes(31) + b"4", COSIGNATURE)}
    keys["auditor"] = Signer("audit.example", bytes(31) + b"6", COSIGNATURE)
    note = Note.parse(log.note().encode())
    lines = [cosign(note.text, k, now=now) for k in keys.values()]
    assert policy.accept(str(Note(note.text, (*note.signatures, *lines))).encode()) == log.at()
    with pytest.raises(Unsigned):
        policy.accept(str(Note(note.text, (*note.signatures, *lines[:2]))).encode())
    with pytest.raises(Unsigned):
        policy.accept(str(Note(note.text, (*note.signatures, *lines[:2], lines[0], lines[1]))).encode())
    with pytest.raises(Unsigned):
        policy.accept(str(Note(note.text, tuple(lines))).encode())  # witnesses do not stand in for the log
    elsewhere = cosign(log.at(8).text, keys["auditor"], now=now)
    with pytest.raises(Unsigned):
        policy.accept(str(Note(note.text, (*note.signatures, *lines[:2], elsewhere))).encode())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "no quorum"),
        ("quorum w9", "no witness or group"),
        ("quorum none\nquorum none", "second quorum"),
        (f"log {LOG.verifier}\nlog {LOG.verifier}\nquorum none", "same log twice"),
        (f"log {WITNESS.verifier}\nquorum none", "kind 4"),
        (f"witness w {LOG.verifier}\nquorum w", "kind 1"),
        (f"witness none {WITNESS.verifier}\nquorum none", "taken"),
        (f"witness w {WITNESS.verifier}\nwitness v {WITNESS.verifier}\nquorum w", "same witness twice"),
        (f"witness w {WITNESS.verifier}\ngroup g 2 w\nquorum g", "from 1 to 1"),
        (f"witness w {WITNESS.verifier}\ngroup g 0 w\nquorum g", "from 1 to 1"),
        (f"witness w {WITNESS.verifier}\ngroup g all w\ngroup h all w\nquorum h", "member twice"),
        (f"witness w {WITNESS.verifier}\ngroup g all g w\nquorum g", "no witness or group"),
        ("group g all\nquorum g", "not a line"),
        ("quorum none\r", "control"),
        ("trust me\nquorum none", "not a line"),
        ("quorum\u00a0none", "not a line"),
    ],
)
def test_a_policy_that_can_not_be_read_says_where(line: str, why: str) -> None:
    with pytest.raises(BadPolicy, match=why):
        Policy.parse(line.encode())


def test_a_policy_of_thirty_two_of_everything_is_read() -> None:
    lines = [f"log {Signer(f'l{n}', bytes([n] * 32)).verifier}" for n in range(32)]
    lines += [f"witness w{n} {Signer(f'w{n}', bytes([n] * 32), COSIGNATURE).verifier}" for n in range(32)]
    lines += ["group g0 any w0", *[f"group g{n} all g{n - 1} w{n}" for n in range(1, 32)], "quorum g31"]
    policy = Policy.parse("\n".join(lines).encode())
    assert policy.reached({f"w{n}" for n in range(32)})
    assert not policy.reached({f"w{n}" for n in range(31)})


def test_cosignatures_are_told_from_what_only_looks_like_them() -> None:
    text = Log.of(4).at().text
    good = cosign(text, WITNESS, now=1_700_000_000)
    assert cosigned_at(good) == 1_700_000_000
    later = Signature(good.name, good.key_id, (1_700_000_001).to_bytes(8, "big") + good.value[8:])
    stranger = cosign(text, Signer("witness.example/w1", b"9" * 32, COSIGNATURE))
    plain = Signature(good.name, good.key_id, good.value[8:])
    lines = signature_lines("".join(map(str, (later, stranger, plain, good))).encode())
    assert accepted(text, lines, [WITNESS.verifier]) == [(WITNESS.verifier, good)]
    assert accepted(text, lines, [LOG.verifier]) == []
    with pytest.raises(ValueError, match="kind 4"):
        cosign(text, LOG)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=400), st.text(alphabet="old index0123456789\n— +/=ab", max_size=300).map(str.encode)))
def test_bytes_from_anywhere_are_refused_and_never_break_anything(raw: bytes) -> None:
    for read in (TlogProof.parse, AddCheckpoint.parse, Note.parse, Policy.parse, lambda r: Verifier.parse(r.decode("latin-1"))):
        try:
            read(raw)
        except NotProved:
            continue
