#!/usr/bin/env python3
"""Verify a proof of consent, offline, with nothing but Python 3.9 and the package `cryptography`.

    python chancery_verify.py FILE --vkey KEYS [--policy FILE] [--complete] [--old CHECKPOINT] [--document FILE]

FILE is a one-file bundle (`consent-chain-proof/v1`), the certificate of a document (`chancery-document-proof/v1`), with the document itself under
--document, or another certificate (a signed statement). KEYS is a file with the log's verifier key (C2SP vkey), one a line, which you got
from somewhere else than the bundle: a key inside a bundle proves nothing and is refused. POLICY is a C2SP tlog-policy instead.
Exit status: 0 proved, 1 not proved, 2 used wrongly. What is proved is printed; what is not is said.

What is checked
1  The checkpoint is signed by a key you trust, under the origin it names (C2SP signed-note and tlog-checkpoint, Ed25519).
2  Every entry's exact bytes are a leaf at their index of that checkpoint (RFC 6962, SHA-256). Leaves are hashed as they stand.
3  The entries are one contact's chain: one log, one subject, seq 1, 2, … without a gap, each naming the hash of the one before.
4  Every disclosure is one that its leaf committed to (`_sd`, as in SD-JWT, RFC 9901).
5  The sealed heads name the chain's last entry as of a size (completeness); without them the verifier says it is unproven.
6  Older checkpoints, signed too, are of the same log, and it only grew (consistency from size 0 is refused).
7  Notices have the digests that the entries name. What the summary says is what the entries say.
8  Of a document: its certificate is signed by a key of the log; the entry it names is in the log and names the same SHA-256; the file has it.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import os
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, NoReturn, Optional, Sequence, Set, Tuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "consent-chain-proof/v1"
DOCUMENT_FORMAT = "chancery-document-proof/v1"
DOCUMENT_KIND = "chancery.document/v1"
PROOF_HEADER = "c2sp.org/tlog-proof@v1"
LARGEST = 20_000_000
MOST_ENTRIES = 20_000
MOST_HASHES = 63
MOST_SIGNATURES = 100
MOST_STAMPS = 1_000
LARGEST_LEAF = 65_535
SAFE = 2**53 - 1
ED25519, COSIGNATURE = 1, 4
SEALED = "consent.HeadsSealed.v1"
MEMBERS = {"format", "checkpoint", "entries", "consistency", "heads", "timestamps", "notices", "summary"}
SUMMARY = {"log", "contact", "size", "events", "last_seq", "complete_as_of"}


class NotProved(Exception):
    """Something is not as it claims; the message says what."""


class Key(NamedTuple):
    """A verifier key: `name+hash+base64(type, key)`."""

    name: str
    id: bytes
    kind: int
    key: bytes


class Note(NamedTuple):
    text: str
    signatures: List[Tuple[str, bytes, bytes]]


class Checkpoint(NamedTuple):
    origin: str
    size: int
    root: bytes


class Trust(NamedTuple):
    """Logs that are trusted, witnesses by name, groups of names with how many are needed, and what must have cosigned ("none": nobody)."""

    logs: List[Key]
    witnesses: Dict[str, Key]
    groups: Dict[str, Tuple[int, List[str]]]
    quorum: str


class Entry(NamedTuple):
    place: int
    leaf: bytes
    hash: bytes
    event: Dict[str, Any]
    disclosed: Dict[str, Any]


class Verified(NamedTuple):
    """What was proved. `complete_as_of` is None when completeness is unproven; `after` counts entries beyond that size."""

    log: str
    size: int
    contact: str
    entries: List[Entry]
    complete_as_of: Optional[int]
    after: int
    older: List[int]
    timestamps: int
    notices: int
    root: bytes = b""


def fail(message: str) -> NoReturn:
    raise NotProved(message)


# --- encodings, strict: one spelling for one value


def unb64(text: Any, what: str, url: bool = False) -> bytes:
    if not isinstance(text, str):
        fail(f"{what} is not a text")
    try:
        if url:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            again = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        else:
            raw = base64.b64decode(text, validate=True)
            again = base64.b64encode(raw).decode()
    except (ValueError, binascii.Error):
        fail(f"{what} is not base64")
    if again != text:
        fail(f"{what} is base64 in another spelling than the only one allowed")
    return raw


def hashes(found: Any, what: str) -> List[bytes]:
    if not isinstance(found, list) or len(found) > MOST_HASHES:
        fail(f"{what} is not a list of at most {MOST_HASHES} hashes")
    out = [unb64(h, what) for h in found]
    if any(len(h) != 32 for h in out):
        fail(f"{what} holds a hash that is not 32 bytes long")
    return out


def whole(value: Any, what: str, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= SAFE:
        fail(f"{what} is not a whole number from {least}")
    return value


def parsed(raw: bytes, what: str) -> Any:
    """JSON without double members, floats or numbers that others would read differently."""

    def members(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            fail(f"{what} has a member twice")
        return dict(pairs)

    def number(text: str) -> NoReturn:
        fail(f"{what} holds the number {text[:40]}, and only whole numbers are allowed")

    def integer(text: str) -> int:
        if len(text) > 17 or text == "-0" or abs(int(text)) > SAFE:
            number(text)
        return int(text)

    try:
        text = raw.decode("utf-8")
        value = json.loads(text, object_pairs_hook=members, parse_float=number, parse_constant=number, parse_int=integer)
    except (UnicodeDecodeError, ValueError, RecursionError):
        fail(f"{what} is not JSON")
    if "\\u" in text and re.search(r"\\u[dD][89a-fA-F]", text):
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            fail(f"{what} holds half a character, which is no text")
    return value


# --- RFC 6962


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof leads to (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        fail(f"there is no entry {index} in a log of {size}")
    at, last, found = index, size - 1, leaf
    for p in proof:
        if last == 0:
            fail("an inclusion proof is too long")
        if at & 1 or at == last:
            found = node_hash(p, found)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            found = node_hash(found, p)
        at >>= 1
        last >>= 1
    if last:
        fail("an inclusion proof is too short")
    return found


def check_consistency(old: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> None:
    """That the newer tree begins with the older one (RFC 9162, 2.1.4.2)."""
    if old.size == 0:
        fail("consistency from size 0 proves nothing and is refused")
    if old.size > new.size:
        fail(f"the older checkpoint has {old.size} entries, more than the {new.size} of the checkpoint")
    if old.size == new.size:
        if proof or old.root != new.root:
            fail(f"two checkpoints of {new.size} entries have different roots: the log was forked")
        return
    path = list(proof)
    if old.size & (old.size - 1) == 0:
        path.insert(0, old.root)
    if not path:
        fail("a consistency proof is empty")
    at, last = old.size - 1, new.size - 1
    while at & 1:
        at >>= 1
        last >>= 1
    was = now = path[0]
    for p in path[1:]:
        if last == 0:
            fail("a consistency proof is too long")
        if at & 1 or at == last:
            was, now = node_hash(p, was), node_hash(p, now)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            now = node_hash(now, p)
        at >>= 1
        last >>= 1
    if last or was != old.root or now != new.root:
        fail(f"the log of {new.size} entries does not go on from the older checkpoint of {old.size}: it was rewritten")


# --- signed notes, keys, policies


def read_key(text: str) -> Key:
    name, _, rest = text.strip().partition("+")
    id, _, coded = rest.partition("+")
    if not name or not re.fullmatch(r"[0-9a-f]{8}", id) or not re.fullmatch(r"[^\s+]+", name):
        fail("a verifier key looks like name+8 hex digits+base64")
    raw = unb64(coded, "a verifier key")
    if len(raw) != 33 or raw[0] not in (ED25519, COSIGNATURE):
        fail("a verifier key is not of a kind that is known here (Ed25519)")
    digest = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    if digest != bytes.fromhex(id):
        fail("a verifier key has the hash of another key")
    return Key(name, digest, raw[0], raw[1:])


def read_note(raw: str, what: str) -> Note:
    if not isinstance(raw, str) or len(raw) > 1_000_000 or any((ord(c) < 32 and c != "\n") for c in raw):
        fail(f"{what} is not a signed note")
    if any(0xD800 <= ord(c) < 0xE000 for c in raw):
        fail(f"{what} is not a signed note: it is no text")
    text, gap, lines = raw.rpartition("\n\n")
    if not gap or not lines.endswith("\n"):
        fail(f"{what} is not a signed note: it has no signatures")
    if lines.count("\n") > MOST_SIGNATURES:
        fail(f"{what} has more than {MOST_SIGNATURES} signatures")
    signatures = []
    for line in lines[:-1].split("\n"):
        found = re.fullmatch("\N{EM DASH} ([^\\s+]+) ([A-Za-z0-9+/=]+)", line)
        if not found:
            fail(f"{what} has a line among its signatures that is none")
        value = unb64(found.group(2), "a signature")
        if len(value) < 5:
            fail(f"{what} has a signature that is too short")
        signatures.append((found.group(1), value[:4], value[4:]))
    return Note(text + "\n", signatures)


def signed_by(note: Note, keys: Sequence[Key]) -> Set[Key]:
    """Which of these keys have signed; a signature by one of them that is wrong spoils the note. Others' lines are passed over."""
    good = set()
    for name, id, value in note.signatures:
        for key in keys:
            if (key.name, key.id) != (name, id):
                continue
            message = note.text.encode()
            if key.kind == COSIGNATURE:
                if len(value) != 72:
                    fail(f"the cosignature of {name} is malformed")
                message = b"cosignature/v1\ntime " + str(int.from_bytes(value[:8], "big")).encode() + b"\n" + message
                value = value[8:]
            try:
                Ed25519PublicKey.from_public_bytes(key.key).verify(value, message)
            except (InvalidSignature, ValueError):
                fail(f"the signature of {name} is wrong: the note was altered, or the key is another one")
            good.add(key)
    return good


def read_checkpoint(raw: Any, trust: Trust, what: str) -> Checkpoint:
    note = read_note(raw, what)
    lines = note.text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]) or not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
        fail(f"{what} is not a checkpoint: origin, size and root, a line each")
    root = unb64(lines[2], what)
    if len(root) != 32:
        fail(f"{what} has a root that is not 32 bytes long")
    found = Checkpoint(lines[0], int(lines[1]), root)
    own = [k for k in trust.logs if k.name == found.origin and k.kind == ED25519]
    if not own:
        fail(f"{what} is of the log {found.origin}, for which you gave no key")
    if not signed_by(note, own):
        fail(f"{what} is not signed by a key you trust")
    if trust.quorum != "none":
        by = signed_by(note, list(trust.witnesses.values()))
        seen = {name for name, key in trust.witnesses.items() if key in by}
        for name, (needed, group) in trust.groups.items():
            if sum(m in seen for m in group) >= needed:
                seen.add(name)
        if trust.quorum not in seen:
            fail(f"{what} was cosigned by too few witnesses for your policy")
    return found


def of_keys(text: str) -> Trust:
    """Trust in the keys of a file, one a line."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        fail("the file of keys holds none")
    return Trust([read_key(line) for line in lines], {}, {}, "none")


def of_policy(text: str) -> Trust:
    """Trust as a C2SP tlog-policy says."""
    logs: List[Key] = []
    witnesses: Dict[str, Key] = {}
    groups: Dict[str, Tuple[int, List[str]]] = {}
    quorum = None
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        kind, rest = words[0], words[1:]
        if kind == "log" and rest:
            logs.append(read_key(rest[0]))
        elif kind == "witness" and len(rest) >= 2 and rest[0] not in {*witnesses, *groups, "none"}:
            witnesses[rest[0]] = read_key(rest[1])
        elif kind == "group" and len(rest) >= 3 and rest[0] not in {*witnesses, *groups, "none"}:
            members = rest[2:]
            if len(set(members)) != len(members) or any(m not in {*witnesses, *groups} for m in members):
                fail(f"line {number} of the policy names a member twice, or one that was not named before")
            needed = {"all": len(members), "any": 1}.get(rest[1]) or (
                int(rest[1]) if re.fullmatch(r"[1-9][0-9]{0,5}", rest[1]) else 0
            )
            if not 1 <= needed <= len(members):
                fail(f"line {number} of the policy asks for more members than there are")
            groups[rest[0]] = (needed, members)
        elif kind == "quorum" and len(rest) == 1 and quorum is None and rest[0] in {*witnesses, *groups, "none"}:
            quorum = rest[0]
        else:
            fail(f"line {number} of the policy can't be read")
    if quorum is None or not logs:
        fail("a policy has a quorum line and at least one log")
    return Trust(logs, witnesses, groups, quorum)


# --- the bundle


def verify(raw: bytes, trust: Trust, complete: bool = False, old: Optional[str] = None) -> Verified:
    """Verify a bundle. `complete` asks for completeness to be proved; `old` is a checkpoint you kept, which the log must go on from."""
    if len(raw) > LARGEST:
        fail("the file is larger than 20 MB")
    bundle = parsed(raw, "the bundle")
    if not isinstance(bundle, dict) or bundle.get("format") != FORMAT:
        fail(f"this is no bundle of the format {FORMAT}")
    unknown = sorted(set(bundle) - MEMBERS)
    if unknown:
        fail(f"the bundle has a member that does not belong there: {unknown[0][:100]}")
    checkpoint = read_checkpoint(bundle.get("checkpoint"), trust, "the checkpoint")
    entries = _entries(bundle.get("entries"), checkpoint)
    chain = [e for e in entries if e.event["type"] != SEALED]
    subject = _chain(chain, checkpoint)
    as_of, after = _heads(bundle.get("heads"), entries, chain, subject)
    if complete and as_of is None:
        fail("completeness is unproven: the bundle has no sealed heads")
    if complete and after:
        fail(f"completeness is proved as of size {as_of} only: {after} entries came after the last seal")
    older = _older(bundle.get("consistency", []), checkpoint, trust, old)
    notices = _notices(bundle.get("notices", []), chain)
    stamps = bundle.get("timestamps", [])
    if (
        not isinstance(stamps, list)
        or len(stamps) > MOST_STAMPS
        or any(not isinstance(s, str) or not unb64(s, "a timestamp") for s in stamps)
    ):
        fail(f"timestamps is not a list of at most {MOST_STAMPS} tokens in base64")
    found = Verified(checkpoint.origin, checkpoint.size, subject, chain, as_of, after, older, len(stamps), notices, checkpoint.root)
    _summary(bundle.get("summary"), found)
    return found


def _members(value: Any, wanted: Set[str], optional: Set[str], what: str) -> Dict[str, Any]:
    if not isinstance(value, dict) or not wanted <= set(value) <= wanted | optional:
        fail(f"{what} does not have the members it must have, and those alone: {', '.join(sorted(wanted))}")
    return value


def _entries(found: Any, checkpoint: Checkpoint) -> List[Entry]:
    if not isinstance(found, list) or not 1 <= len(found) <= MOST_ENTRIES:
        fail(f"entries is not a list of 1 to {MOST_ENTRIES}")
    out: List[Entry] = []
    for place, item in enumerate(found):
        what = f"entry {place}"
        item = _members(item, {"index", "leaf", "inclusion", "disclosures"}, set(), what)
        index = whole(item["index"], f"the index of {what}")
        leaf = unb64(item["leaf"], f"the leaf of {what}")
        if len(leaf) > LARGEST_LEAF:
            fail(f"the leaf of {what} is larger than a leaf can be")
        hash = leaf_hash(leaf)
        if root_of(index, checkpoint.size, hash, hashes(item["inclusion"], f"the proof of {what}")) != checkpoint.root:
            fail(f"{what} does not stand at {index} of the log that the checkpoint signs: it was altered, or is of another log")
        event = parsed(leaf, f"the leaf of {what}")
        if not isinstance(event, dict) or not isinstance(event.get("data"), dict) or not isinstance(event.get("type"), str):
            fail(f"the leaf of {what} is no event")
        out.append(Entry(index, leaf, hash, event, _disclosed(item["disclosures"], event["data"], what)))
    if len({e.place for e in out}) != len(out):
        fail("an entry stands twice in the bundle")
    return out


def _disclosed(found: Any, data: Dict[str, Any], what: str) -> Dict[str, Any]:
    if not isinstance(found, list):
        fail(f"the disclosures of {what} are not a list")
    committed = data.get("_sd", [])
    if not isinstance(committed, list):
        fail(f"the digests of {what} are not a list")
    out: Dict[str, Any] = {}
    for text in found:
        raw = unb64(text, f"a disclosure of {what}", url=True)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        if digest not in committed:
            fail(f"a disclosure of {what} is not one that the entry committed to")
        value = parsed(raw, f"a disclosure of {what}")
        if not isinstance(value, list) or len(value) != 3 or not isinstance(value[1], str):
            fail(f"a disclosure of {what} is not salt, name and value")
        if value[1] in out or value[1] in data or value[1] == "_sd":
            fail(f"{what} says {value[1][:100]} twice")
        out[value[1]] = value[2]
    return out


def _chain(chain: Sequence[Entry], checkpoint: Checkpoint) -> str:
    """One contact's chain, from its first link, in order; answers its subject."""
    if not chain:
        fail("the bundle has no entry of a chain of consent")
    subject, source = chain[0].event.get("subject"), chain[0].event.get("source")
    if not isinstance(subject, str) or not re.fullmatch(r"[!-~]{1,200}", subject):
        fail("the chain has no subject")
    _same_firm(source, checkpoint.origin)
    before: Optional[Entry] = None
    for number, e in enumerate(chain, 1):
        data = e.event["data"]
        if not e.event["type"].startswith("consent."):
            fail(f"the entry at {e.place} is no event of consent")
        if e.event.get("subject") != subject:
            fail(f"the entry at {e.place} is another contact's")
        if e.event.get("source") != source:
            fail(f"the entry at {e.place} is another firm's")
        if whole(data.get("seq"), f"the seq of the entry at {e.place}", 1) != number:
            fail(f"the chain has a gap or is out of order: link {number} says it is {data.get('seq')}")
        if before is None:
            if "prev" in data:
                fail("the first link names one before it")
        elif data.get("prev") != base64.b64encode(before.hash).decode() or before.place >= e.place:
            fail(f"link {number} does not follow link {number - 1}")
        before = e
    return subject


def _same_firm(source: Any, origin: str) -> None:
    """A log is called as the source of its events, `…/firms/ID`; one that was begun anew has a number behind that."""
    if not isinstance(source, str) or not source.strip("/"):
        fail("an entry does not say whose it is")
    if not re.search(r"(?:^|/)" + re.escape(source.lstrip("/")) + r"(?:/[1-9][0-9]{0,3})?$", origin) or origin.endswith("\n"):
        fail("the entries are of another firm than the log")


def _heads(found: Any, entries: Sequence[Entry], chain: Sequence[Entry], subject: str) -> Tuple[Optional[int], int]:
    seals = [e for e in entries if e.event["type"] == SEALED]
    if found is None:
        if seals:
            fail("the bundle has a seal of heads among its entries and no proof of the head in it")
        return None, 0
    found = _members(found, {"seal_entry", "index", "head", "inclusion"}, set(), "heads")
    place = whole(found["seal_entry"], "heads.seal_entry")
    if place >= len(entries) or entries[place].event["type"] != SEALED or len(seals) != 1:
        fail("heads.seal_entry does not name the one seal among the entries")
    if entries[place].event.get("source") != chain[0].event.get("source"):
        fail("the seal is another firm's")
    data = entries[place].event["data"]
    root = unb64(data.get("heads_root"), "the seal's root")
    if len(root) != 32:
        fail("the seal's root is not 32 bytes long")
    count = whole(data.get("heads_count"), "the seal's count", 1)
    as_of = whole(data.get("as_of_size"), "the seal's size", 1)
    if as_of > entries[place].place:
        fail("the seal speaks of entries that come after it")
    head = found["head"]
    if not isinstance(head, str):
        fail("heads.head is not a line")
    sealed = [e for e in chain if e.place < as_of]
    if not sealed:
        fail("the chain begins after the seal, which so says nothing of it")
    last = sealed[-1]
    line = f"{subject} {last.event['data']['seq']} {base64.b64encode(last.hash).decode()}\n"
    if head != line:
        fail(
            "the sealed head is another than the chain's last link as of the seal: a change was left out, or the head is another's"
        )
    index = whole(found["index"], "heads.index")
    if root_of(index, count, leaf_hash(head.encode()), hashes(found["inclusion"], "the proof of the head")) != root:
        fail("the head does not stand in the seal")
    return as_of, len(chain) - len(sealed)


def _older(found: Any, checkpoint: Checkpoint, trust: Trust, old: Optional[str]) -> List[int]:
    if not isinstance(found, list) or len(found) > 1000:
        fail("consistency is not a list of at most 1000")
    alone = trust._replace(quorum="none")  # witnesses have seen the newest; an older one needs the log's signature
    proved = {checkpoint}
    sizes = []
    for item in found:
        item = _members(item, {"checkpoint", "proof"}, set(), "an item of consistency")
        older = read_checkpoint(item["checkpoint"], alone, "an older checkpoint")
        if older.origin != checkpoint.origin:
            fail("an older checkpoint is of another log")
        check_consistency(older, checkpoint, hashes(item["proof"], "a consistency proof"))
        proved.add(older)
        sizes.append(older.size)
    if old is not None:
        mine = read_checkpoint(old, alone, "the checkpoint you kept")
        if mine.origin != checkpoint.origin:
            fail("the checkpoint you kept is of another log")
        if mine.size > checkpoint.size:
            fail(
                f"the checkpoint you kept has {mine.size} entries, more than the bundle's {checkpoint.size}: the log was rolled back"
            )
        if mine not in proved:
            if any(p.size == mine.size for p in proved):
                fail(f"the log shows another root for {mine.size} entries than the checkpoint you kept: it was rewritten")
            fail(
                f"the bundle does not prove that the log goes on from the checkpoint you kept (size {mine.size}): ask for one that does"
            )
    return sizes


def _notices(found: Any, chain: Sequence[Entry]) -> int:
    if not isinstance(found, list) or len(found) > 1000:
        fail("notices is not a list of at most 1000")
    named = [e.event["data"]["notice"] for e in chain if isinstance(e.event["data"].get("notice"), dict)]
    known = {_name_of(n) for n in named}
    for item in found:
        item = _members(item, {"id", "version", "language", "sha256", "content"}, set(), "a notice")
        if _name_of(item) not in known:
            fail("the bundle has a notice that no entry names")
        if hashlib.sha256(unb64(item["content"], "a notice")).hexdigest() != item["sha256"]:
            fail("a notice is not the text that the entry names: its digest differs")
    return len(found)


def _name_of(notice: Dict[str, Any]) -> str:
    """What names a notice, so that 1 and true, or a text and a list, are never one."""
    return json.dumps([notice.get(k) for k in ("id", "version", "language", "sha256")])


def _summary(found: Any, v: Verified) -> None:
    if found is None:
        return
    found = _members(found, SUMMARY, set(), "the summary")
    last = v.entries[-1].event["data"]["seq"]
    said = {
        "log": v.log, "contact": v.contact, "size": v.size, "events": len(v.entries), "last_seq": last, "complete_as_of": v.complete_as_of,
    }  # fmt: skip
    for name, value in said.items():
        if found[name] != value or isinstance(found[name], bool):
            fail(f"the summary says {name} is {json.dumps(found[name])[:100]}, and what is proved is {value}")


# --- certificates


class Certified(NamedTuple):
    """A statement that a key of the log has signed. `place` and `size` are the entry's that proves a document's; `compared` says whether the
    document itself was there to be compared."""

    kind: str
    statement: Dict[str, Any]
    log: str
    place: Optional[int]
    size: Optional[int]
    compared: bool


def certified(raw: bytes, trust: Trust, digest: Optional[str] = None) -> Certified:
    """Verify a certificate: of a document, with its proof, or a signed statement by itself. `digest` is the SHA-256 of the document in hex."""
    if len(raw) > LARGEST:
        fail("the file is larger than 20 MB")
    if not raw.lstrip().startswith(b"{"):
        try:
            kind, statement = _statement(raw.decode(), trust)
        except UnicodeDecodeError:
            fail("the certificate is no text")
        if kind == DOCUMENT_KIND or digest is not None:
            fail("the certificate of a document comes with its proof, in one JSON file")
        return Certified(kind, statement, statement["log"], None, None, False)
    sent = _members(parsed(raw, "the certificate"), {"format", "certificate", "leaf", "proof"}, set(), "the certificate")
    if sent["format"] != DOCUMENT_FORMAT:
        fail(f"this is no certificate of the format {DOCUMENT_FORMAT}")
    kind, statement = _statement(sent["certificate"], trust)
    leaf = unb64(sent["leaf"], "the leaf")
    if kind != DOCUMENT_KIND or len(leaf) > LARGEST_LEAF:
        fail("the certificate is not that of a document")
    index, hashes_, checkpoint = _proof(sent["proof"], trust)
    if root_of(index, checkpoint.size, leaf_hash(leaf), hashes_) != checkpoint.root:
        fail(f"entry {index} is not in the log: its proof leads to another root")
    event = parsed(leaf, "the leaf")
    data = event.get("data") if isinstance(event, dict) else None
    if not isinstance(data, dict):
        fail("the leaf is not an event")
    _same_firm(event.get("source"), checkpoint.origin)
    said = (statement.get("sha256"), statement.get("leaf_index"), statement["log"], f"document/{statement.get('document')}")
    if said != (data.get("sha256"), index, checkpoint.origin, event.get("subject")):
        fail("the certificate speaks of another document than the entry of the log")
    if digest is not None and digest != statement["sha256"]:
        fail("the document is another one: its SHA-256 is not that of the certificate")
    return Certified(kind, statement, checkpoint.origin, index, checkpoint.size, digest is not None)


def _statement(raw: Any, trust: Trust) -> Tuple[str, Dict[str, Any]]:
    """The kind and the statement of a note: two lines, signed by a key of the log that the statement names."""
    note = read_note(raw, "the certificate")
    lines = note.text.split("\n")
    if len(lines) != 3 or lines[2]:
        fail("a certificate has two lines: its kind and its statement")
    statement = parsed(lines[1].encode(), "the statement")
    if not isinstance(statement, dict) or not isinstance(statement.get("log"), str):
        fail("the statement of the certificate names no log")
    own = [k for k in trust.logs if k.name == statement["log"] and k.kind == ED25519]
    if not own:
        fail(f"the certificate is of the log {statement['log']}, for which you gave no key")
    if not signed_by(note, own):
        fail("the certificate is not signed by a key you trust")
    return lines[0], statement


def _proof(raw: Any, trust: Trust) -> Tuple[int, List[bytes], Checkpoint]:
    """Index, hashes and checkpoint of a C2SP tlog-proof."""
    if not isinstance(raw, str) or len(raw) > 1_000_000:
        fail("the proof is not a tlog-proof")
    head, gap, note = raw.partition("\n\n")
    lines = head.split("\n")
    if not gap or lines.pop(0) != PROOF_HEADER:
        fail(f"the proof does not begin with {PROOF_HEADER}, or has no checkpoint")
    if lines and lines[0].startswith("extra "):
        lines.pop(0)  # nobody's word: it is not signed
    found = re.fullmatch(r"index (0|[1-9][0-9]{0,15})", lines.pop(0)) if lines else None
    if not found:
        fail("the proof has no index")
    return int(found.group(1)), hashes(lines, "the proof"), read_checkpoint(note, trust, "the checkpoint")


# --- for a person


def said_of(c: Certified) -> str:
    """What was certified, in lines that a person reads."""
    lines = ["PROVED", f"Log        {plain(c.log)}, signed by a key you trust", f"Kind       {plain(c.kind)}"]
    if c.place is not None:
        lines.append(f"Entry      {c.place} of {c.size}")
        lines.append(
            "Document   the file is the one that was recorded, unchanged"
            if c.compared
            else "Document   NOT COMPARED: give the file with --document, or compare its SHA-256 yourself"
        )
    lines += [plain(f"  {name}: {json.dumps(value, ensure_ascii=False)}") for name, value in sorted(c.statement.items())]
    return "\n".join(lines)


def plain(value: Any) -> str:
    """Text as it is safe to show in a terminal: nothing in it ends the line, hides, or turns what follows around."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))


def dated(e: Entry) -> Tuple[str, Optional[str]]:
    """When an act was, as its entry says; and when it was recorded, where that is more than a minute away: the first is then the word of
    whoever recorded it, and no log proves that."""
    when = str(e.event["data"].get("effective_from") or e.event.get("time"))
    recorded = str(e.event.get("recordedtime") or when)
    try:
        apart = abs((_instant(recorded) - _instant(when)).total_seconds())
    except (TypeError, ValueError):
        return when, recorded if recorded != when else None
    return when, recorded if apart > 60 else None


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def told(v: Verified) -> str:
    """What was proved, in lines that a person reads."""
    lines = [
        "PROVED",
        f"Log        {plain(v.log)}, {v.size} entries, signed by a key you trust",
        f"Contact    {v.contact}",
        "Chain",
    ]
    for e in v.entries:
        data = e.event["data"]
        what = e.event["type"].split(".")[1]
        named = data.get("purposes")
        purposes = ", ".join(str(p.get("key")) for p in (named if isinstance(named, list) else []) if isinstance(p, dict))
        about = " ".join(
            x for x in (f"for {purposes}" if purposes else "", f"over {data['channel']}" if "channel" in data else "") if x
        )
        when, recorded = dated(e)
        lines.append(plain(f"  {data['seq']:>4}  {when}  {what:<12} {about}  (entry {e.place})"))
        if recorded is not None:
            lines.append(plain(f"        recorded {recorded}; the time above is what whoever recorded it said"))
        notice = data.get("notice")
        if isinstance(notice, dict):
            lines.append(plain(f"        on notice {notice.get('id')} version {notice.get('version')} ({notice.get('language')})"))
            lines.append(plain(f"        whose text has the SHA-256 {notice.get('sha256')}"))
        lines += [plain(f"        {name}: {json.dumps(value, ensure_ascii=False)}") for name, value in sorted(e.disclosed.items())]
    if v.complete_as_of is None:
        lines.append("Complete   UNPROVEN: no sealed heads. Later changes may have been left out.")
    else:
        rest = f"; {v.after} later entries are shown, and others after them may not be" if v.after else ""
        lines.append(f"Complete   as of size {v.complete_as_of} of the log: no change up to there was left out{rest}")
    if v.older:
        lines.append(f"History    the log goes on from the checkpoints of {', '.join(map(str, v.older))} entries")
    if v.notices:
        lines.append(f"Notices    {v.notices}, with the digests the chain names")
    if v.timestamps:
        lines.append(f"Time       {v.timestamps} RFC 3161 timestamps are there; check them with openssl ts -verify")
    return "\n".join(lines)


def main(arguments: Optional[Sequence[str]] = None, called: Optional[str] = None) -> int:
    parser = argparse.ArgumentParser(prog=called, description="Verify a proof of consent, offline.")
    parser.add_argument("file", help="the bundle, or the certificate")
    parser.add_argument("--vkey", help="a file with the log's verifier key, from elsewhere than the bundle")
    parser.add_argument("--policy", help="a C2SP tlog-policy file instead of a key")
    parser.add_argument("--complete", action="store_true", help="ask for completeness to be proved")
    parser.add_argument("--old", help="a checkpoint you kept, which the log must go on from")
    parser.add_argument("--document", help="the document that a certificate is about")
    given = parser.parse_args(arguments)
    if (given.vkey is None) == (given.policy is None):
        parser.error("give --vkey or --policy, one of them")
    try:
        trust = of_policy(Path(given.policy).read_text("utf-8")) if given.policy else of_keys(Path(given.vkey).read_text("utf-8"))
        old = Path(given.old).read_text("utf-8") if given.old else None
        with Path(given.file).open("rb") as file:
            raw = file.read(LARGEST + 1)
        digest = _digest(Path(given.document)) if given.document else None
    except OSError as e:
        parser.error(f"{e.filename} can't be read: {e.strerror}")
    except UnicodeDecodeError:
        parser.error("a key, a policy and a checkpoint are text in UTF-8")
    except NotProved as e:
        parser.error(str(e))
    try:
        if _is_certificate(raw) or digest is not None:
            said = said_of(certified(raw, trust, digest))
        else:
            said = told(verify(raw, trust, complete=given.complete, old=old))
    except NotProved as e:
        print(f"NOT PROVED: {plain(e)}", file=sys.stderr)
        return 1
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        print(said, flush=True)
    except BrokenPipeError:  # whoever reads has seen enough; what was found stays as it is
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _is_certificate(raw: bytes) -> bool:
    """Whether the file is a certificate and no bundle; what it is worth is judged after."""
    if raw.startswith(b"chancery."):
        return True
    found = parsed(raw, "the file") if DOCUMENT_FORMAT.encode() in raw and len(raw) <= LARGEST else None
    return isinstance(found, dict) and found.get("format") == DOCUMENT_FORMAT


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while True:
            piece = file.read(1_000_000)
            if not piece:
                return found.hexdigest()
            found.update(piece)


if __name__ == "__main__":
    sys.exit(main())
