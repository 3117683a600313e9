"""A log of a forger who has the key of the log: what even they can't have proved, and what must not break the verifier."""

import base64
import hashlib
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from infra.proofs.notes import Signer, sign
from verifier import chancery_verify
from verifier.chancery_verify import NotProved, leaf_hash, node_hash, of_keys, verify

FIRM = "0192f0c1-2d3e-7f00-8000-000000000001"
ORIGIN = f"chancery.example/firms/{FIRM}"
SIGNER = Signer(ORIGIN, hashlib.sha256(b"the log's").digest())
SUBJECT = "consent/0192f0c1-2d3e-7f00-8000-00000000000a"


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def root(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, as it is written there."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(root(leaves[:k]), root(leaves[k:]))


def path(n: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return [*path(n, leaves[:k]), root(leaves[k:])] if n < k else [*path(n - k, leaves[k:]), root(leaves[:k])]


class Forge:
    """Leaves of the forger's choice, signed rightly."""

    def __init__(self, source: Any = f"/firms/{FIRM}", subject: Any = SUBJECT) -> None:
        self.source = source
        self.subject = subject
        self.leaves: list[bytes] = [b'{"type":"firms.Created.v1"}']
        self.chain: list[int] = []
        self.extra = ""

    def link(self, **data: Any) -> None:
        seq = len(self.chain) + 1
        prev = {"prev": b64(leaf_hash(self.leaves[self.chain[-1]]))} if self.chain else {}
        said = {"seq": seq, **prev, "purposes": [{"key": "news"}], "channel": "email", **data}
        self.put({"type": "consent.Given.v1", "subject": self.subject, "source": self.source, "data": said}, chain=True)

    def put(self, event: Any, *, chain: bool = False) -> None:
        if chain:
            self.chain.append(len(self.leaves))
        self.leaves.append(json.dumps(event).encode())

    def seal(self, **how: Any) -> dict[str, Any]:
        """Seal the chain's head; answers the member `heads` for an entry that is added last."""
        line = f"{self.subject} {len(self.chain)} {b64(leaf_hash(self.leaves[self.chain[-1]]))}\n"
        data = {
            "heads_root": b64(leaf_hash(line.encode())),
            "heads_count": 1,
            "as_of_size": len(self.leaves),
            **how.pop("data", {}),
        }
        self.put({"type": "consent.HeadsSealed.v1", "subject": "firm", "source": self.source, "data": data, **how})
        return {"seal_entry": len(self.chain), "index": 0, "head": line, "inclusion": []}

    def bundle(self, *, heads: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        hashes = [leaf_hash(leaf) for leaf in self.leaves]
        note = str(sign(f"{ORIGIN}\n{len(hashes)}\n{b64(root(hashes))}\n{self.extra}", [SIGNER]))
        places = [*self.chain, *([len(hashes) - 1] if heads else [])]
        entries = [
            {"index": n, "leaf": b64(self.leaves[n]), "inclusion": [b64(h) for h in path(n, hashes)], "disclosures": []}
            for n in places
        ]
        return {
            "format": chancery_verify.FORMAT,
            "checkpoint": note,
            "entries": entries,
            **({"heads": heads} if heads else {}),
            **more,
        }


def checked(bundle: Any, **how: Any) -> chancery_verify.Verified:
    raw = bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()
    return verify(raw, of_keys(str(SIGNER.verifier)), **how)


def forge(links: int = 2, **how: Any) -> Forge:
    made = Forge(**how)
    for _ in range(links):
        made.link()
    return made


def test_an_honest_bundle_of_the_forge_is_proved() -> None:
    made = forge(3)
    heads = made.seal()
    assert checked(made.bundle(heads=heads), complete=True).complete_as_of == 4


@pytest.mark.parametrize(
    "source",
    [
        "",
        "/",
        "firms",
        "/firms/",
        None,
        7,
        f"/firms/{FIRM[:8]}",
        f"irms/{FIRM}",
        f"/firms/{FIRM}\n",
        "chancery.example",
        "/firms/.*",
        ["x"],
    ],
)
def test_entries_of_a_source_that_is_not_the_logs_own_are_refused(source: Any) -> None:
    with pytest.raises(NotProved, match=r"another firm than the log|does not say whose"):
        checked(forge(source=source).bundle())


@pytest.mark.parametrize("subject", ["", None, 3, f"{SUBJECT} 3 AAAA", f"{SUBJECT}\nconsent/x", "consent/\u202eevil", ["a"]])
def test_a_subject_that_could_be_read_as_two_is_refused(subject: Any) -> None:
    with pytest.raises(NotProved, match="no subject"):
        checked(forge(subject=subject).bundle())


def test_a_seal_of_another_firm_and_two_seals_are_refused() -> None:
    made = forge()
    heads = made.seal(source="/firms/0192f0c1-2d3e-7f00-8000-000000000002")
    with pytest.raises(NotProved, match="the seal is another firm's"):
        checked(made.bundle(heads=heads))
    made = forge()
    heads = made.seal()
    made.seal()
    bundle = made.bundle(heads=heads)
    hashes = [leaf_hash(leaf) for leaf in made.leaves]
    n = len(hashes) - 2
    bundle["entries"].insert(
        2, {"index": n, "leaf": b64(made.leaves[n]), "inclusion": [b64(h) for h in path(n, hashes)], "disclosures": []}
    )
    with pytest.raises(NotProved, match="the one seal"):
        checked(bundle)


@pytest.mark.parametrize(
    "data",
    [{"as_of_size": 9}, {"as_of_size": 0}, {"as_of_size": True}, {"as_of_size": 1}, {"heads_root": ""}, {"heads_count": 2**53}],
)
def test_a_seal_that_speaks_of_what_comes_after_it_or_of_nothing_is_refused(data: dict[str, Any]) -> None:
    made = forge()
    heads = made.seal(data=data)
    with pytest.raises(NotProved):
        checked(made.bundle(heads=heads))


def test_entries_after_the_seal_are_counted_and_spoil_completeness_when_it_is_asked_for() -> None:
    made = forge()
    line = f"{made.subject} 2 {b64(leaf_hash(made.leaves[made.chain[-1]]))}\n"
    made.put({
        "type": "consent.HeadsSealed.v1", "subject": "firm", "source": made.source,
        "data": {"heads_root": b64(leaf_hash(line.encode())), "heads_count": 1, "as_of_size": len(made.leaves)},
    })  # fmt: skip
    place = len(made.leaves) - 1
    made.link()
    bundle = made.bundle()
    hashes = [leaf_hash(leaf) for leaf in made.leaves]
    bundle["entries"].append(
        {"index": place, "leaf": b64(made.leaves[place]), "inclusion": [b64(h) for h in path(place, hashes)], "disclosures": []}
    )
    bundle["heads"] = {"seal_entry": 3, "index": 0, "head": line, "inclusion": []}
    assert checked(bundle).after == 1
    with pytest.raises(NotProved, match="1 entries came after"):
        checked(bundle, complete=True)


def test_an_entry_after_the_checkpoint_is_refused() -> None:
    made = forge()
    early = made.bundle()["checkpoint"]
    made.link()
    with pytest.raises(NotProved):
        checked({**made.bundle(), "checkpoint": early})


def test_a_proof_that_is_too_long_or_too_short_is_refused() -> None:
    for change in (lambda p: p.append(b64(bytes(32))), lambda p: p.pop(), lambda p: p.extend([b64(bytes(32))] * 100)):
        bundle = forge().bundle()
        change(bundle["entries"][0]["inclusion"])
        with pytest.raises(NotProved):
            checked(bundle)


@pytest.mark.parametrize("number", ["9" * 5_000, "9007199254740993", "-1", "-0", "1e0", "1.0", "true", '"1"', "01"])
def test_a_number_that_readers_could_take_differently_is_refused(number: str) -> None:
    text = json.dumps(forge().bundle())
    assert '"index": 1,' in text
    with pytest.raises(NotProved):
        checked(text.replace('"index": 1,', f'"index": {number},', 1).encode())


@pytest.mark.parametrize(
    "change",
    [
        ('"disclosures": []', '"disclosures": [], "disclosures": []'),
        ('"disclosures": []', '"disclosures": [], "disclosure\\u0073": []'),
        ('"index": 1,', '"index": 1, "іndex": 1,'),  # a Cyrillic letter
        ('"format"', '"form\\u0430t"'),
        ('{"index"', '{"__proto__": {}, "index"'),
    ],
    ids=["twice", "twice-spelled", "look-alike", "look-alike-escaped", "foreign"],
)
def test_members_twice_in_any_spelling_and_look_alikes_are_refused(change: tuple[str, str]) -> None:
    text = json.dumps(forge().bundle())
    assert change[0] in text
    with pytest.raises(NotProved):
        checked(text.replace(*change, 1).encode())


def test_a_member_twice_within_a_leaf_is_refused() -> None:
    made = Forge()
    leaf = json.dumps(
        {"type": "consent.Given.v1", "subject": SUBJECT, "source": made.source, "data": {"seq": 1, "status": "given"}}
    )
    made.chain.append(len(made.leaves))
    made.leaves.append(leaf.replace('"status": "given"', '"status": "given", "status": "withdrawn"').encode())
    with pytest.raises(NotProved, match="twice"):
        checked(made.bundle())


@pytest.mark.parametrize(
    "notice",
    [
        {"id": ["x"], "version": 1, "language": "en", "sha256": "0"},
        {"id": {}, "version": 1, "language": "en", "sha256": "0"},
        {"id": "x", "version": True, "language": "en", "sha256": hashlib.sha256(b"t").hexdigest()},
        {"id": "x", "version": 1, "language": "en", "sha256": hashlib.sha256(b"t").hexdigest(), "title": "Privacy"},
        {"id": "x", "version": 1, "language": "en", "sha256": hashlib.sha256(b"t").hexdigest(), "media_type": "text/plain"},
    ],
)
def test_a_notice_of_odd_kinds_and_what_nothing_binds_is_refused_and_breaks_nothing(notice: dict[str, Any]) -> None:
    made = Forge()
    made.link(notice={"id": "x", "version": 1, "language": "en", "sha256": hashlib.sha256(b"t").hexdigest()})
    with pytest.raises(NotProved):
        checked(made.bundle(notices=[{**notice, "content": b64(b"t")}]))


def test_half_a_character_breaks_nothing() -> None:
    text = json.dumps(forge().bundle())
    for place in ('"checkpoint": "', '"leaf": "', '"format": "'):
        with pytest.raises(NotProved):
            checked(text.replace(place, place + "\\ud800", 1).encode())
    with pytest.raises(NotProved):
        checked(json.dumps({**forge().bundle(), "summary": {"log": "\ud800"}}).encode())
    made = Forge()
    made.link(channel="\ud800")
    with pytest.raises(NotProved, match="half a character"):
        checked(made.bundle())


@pytest.mark.parametrize("stamps", ["x", [1], [""], ["AAAA"] * 1001, {"0": "AAAA"}])
def test_timestamps_are_a_list_of_tokens_or_nothing(stamps: Any) -> None:
    with pytest.raises(NotProved):
        checked({**forge().bundle(), "timestamps": stamps})


def test_lines_that_others_added_to_a_checkpoint_are_signed_and_passed_over_and_empty_ones_refused() -> None:
    made = forge()
    made.extra = "an extension\nanother\n"
    assert checked(made.bundle()).size == 3
    forged = made.bundle()
    forged["checkpoint"] = forged["checkpoint"].replace("another\n", "")
    with pytest.raises(NotProved, match="signature"):
        checked(forged)


def test_a_checkpoint_with_a_thousand_signatures_is_refused() -> None:
    bundle = forge().bundle()
    bundle["checkpoint"] += "\N{EM DASH} other AAAAAAAAAAA=\n" * 1000
    with pytest.raises(NotProved, match="more than 100 signatures"):
        checked(bundle)


def test_what_a_leaf_says_can_neither_end_a_line_of_the_report_nor_steer_the_terminal(tmp_path: Path, capsys: Any) -> None:
    made = Forge()
    evil = "news\nComplete   as of size 999 of the log\x1b[2K\u202e\x9b31m"
    made.link(purposes=[{"key": evil}], effective_from=evil, channel=evil, notice={"id": evil, "version": 1, "language": evil})
    made.link(purposes=7)
    (tmp_path / "proof").write_text(json.dumps(made.bundle()))
    (tmp_path / "key").write_text(str(SIGNER.verifier))
    assert chancery_verify.main([str(tmp_path / "proof"), "--vkey", str(tmp_path / "key")]) == 0
    shown = capsys.readouterr().out
    assert "\nComplete   as of" not in shown
    assert "Complete   UNPROVEN" in shown
    assert not {"\x1b", "\u202e", "\x9b"} & set(shown)


def test_a_disclosure_can_neither_repeat_nor_replace_what_the_entry_says() -> None:
    def disclosure(name: Any) -> tuple[str, str]:
        text = base64.urlsafe_b64encode(json.dumps(["AAAAAAAAAAAAAAAAAAAAAA", name, "x"]).encode()).rstrip(b"=").decode()
        return text, base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()

    for name in ("seq", "_sd", "channel", 7, None):
        text, digest = disclosure(name)
        made = Forge()
        made.link(_sd=[digest])
        bundle = made.bundle()
        bundle["entries"][0]["disclosures"] = [text]
        with pytest.raises(NotProved):
            checked(bundle)
    text, digest = disclosure("remark")
    made = Forge()
    made.link(_sd=[digest])
    bundle = made.bundle()
    bundle["entries"][0]["disclosures"] = [text]
    assert checked(bundle).entries[0].disclosed == {"remark": "x"}
    for bad in ([text, text], [text + "="], [f" {text}"], ["é" + text]):
        twice = deepcopy(bundle)
        twice["entries"][0]["disclosures"] = bad
        with pytest.raises(NotProved):
            checked(twice)


def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path, capsys: Any) -> None:
    key = tmp_path / "key"
    key.write_text(str(SIGNER.verifier))
    assert chancery_verify.main(["/dev/zero", "--vkey", str(key)]) == 1
    assert "larger than 20 MB" in capsys.readouterr().err
