"""Signed notes (C2SP signed-note): text, an empty line, and signature lines of named keys.

LG4  Signature lines of keys that are not known are ignored, whatever they hold.
LG5  A line of a known key whose signature is wrong condemns the whole note.
LG6  A note counts only for keys that were given; none is ever taken from what is being verified.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from infra.proofs.encoding import b64, unb64
from infra.proofs.errors import Malformed, Unsigned

ED25519 = 1
COSIGNATURE = 4  # timestamped, Ed25519: C2SP tlog-cosignature

DASH = "\N{EM DASH} "
LARGEST = 1_000_000
MOST_SIGNATURES = 100
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_HEX = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: whose it says it is, and the bytes."""

    name: str
    key_id: bytes
    value: bytes

    def __str__(self) -> str:
        return f"{DASH}{self.name} {b64(self.key_id + self.value)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A note as it was read. Its text means nothing before a signature was verified."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"

    @classmethod
    def parse(cls, raw: bytes) -> "Note":
        if len(raw) > LARGEST:
            raise Malformed("the note is larger than a megabyte")
        try:
            whole = raw.decode()
        except UnicodeDecodeError as e:
            raise Malformed("the note is not UTF-8") from e
        if _CONTROL.search(whole):
            raise Malformed("the note holds control characters")
        text, gap, lines = whole.rpartition("\n\n")
        if not gap or not lines.endswith("\n"):
            raise Malformed("the note has no signatures")
        signatures = tuple(_signature(line) for line in lines[:-1].split("\n"))
        if len(signatures) > MOST_SIGNATURES:
            raise Malformed(f"the note has more than {MOST_SIGNATURES} signatures")
        return cls(text + "\n", signatures)


def good_name(name: str) -> bool:
    """Whether a key may have this name: not empty, no white space, no plus."""
    return bool(name) and "+" not in name and not any(c.isspace() for c in name) and not _CONTROL.search(name)


def _signature(line: str) -> Signature:
    if not line.startswith(DASH):
        raise Malformed("a signature line begins with an em dash and a space")
    name, _, encoded = line[len(DASH) :].partition(" ")
    raw = unb64(encoded)
    if not good_name(name) or len(raw) < 5:
        raise Malformed("a signature line names its key and has at least five bytes")
    return Signature(name, raw[:4], raw[4:])


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key with its name and what it is used for; as text a vkey."""

    name: str
    algorithm: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64(bytes([self.algorithm]) + self.public)}"

    @classmethod
    def parse(cls, vkey: str) -> "Verifier":
        name, _, rest = vkey.strip().partition("+")
        id, _, encoded = rest.partition("+")
        raw = unb64(encoded)
        if not good_name(name) or not _HEX.fullmatch(id):
            raise Malformed("a verifier key is name+id+key: the id eight hex digits, the key base64")
        if len(raw) != 33 or raw[0] not in {ED25519, COSIGNATURE}:
            raise Malformed("the verifier key is of a kind that is not known here; Ed25519 and its cosignatures are")
        key = cls(name, raw[0], raw[1:])
        if key.key_id.hex() != id:
            raise Malformed("the verifier key's id does not fit its name and key: was it copied whole?")
        return key

    def signed(self, text: str, signature: Signature) -> bool:
        """Whether the signature is this key's over that text."""
        message, value = text.encode(), signature.value
        if self.algorithm == COSIGNATURE:
            if len(value) != 72 or value[0] & 0x80:
                return False
            message = cosigned(text, int.from_bytes(value[:8], "big"))
            value = value[8:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(value, message)
        except (InvalidSignature, ValueError):
            return False
        return True


def cosigned(text: str, timestamp: int) -> bytes:
    """What a witness signs: the checkpoint's text as it saw it at that time (seconds since 1970)."""
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key, of a log or (with a time of signing) of a witness."""

    name: str
    seed: bytes
    algorithm: int = ED25519

    def __repr__(self) -> str:
        return f"Signer({self.name!r})"

    @property
    def verifier(self) -> Verifier:
        return Verifier(self.name, self.algorithm, Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw())

    def sign(self, text: str, *, timestamp: int = 0) -> Signature:
        key = Ed25519PrivateKey.from_private_bytes(self.seed)
        stamped = self.algorithm == COSIGNATURE
        value = timestamp.to_bytes(8, "big") + key.sign(cosigned(text, timestamp)) if stamped else key.sign(text.encode())
        return Signature(self.name, self.verifier.key_id, value)


def sign(text: str, signers: Sequence[Signer]) -> Note:
    """The note of a text (which ends in a newline) and these signers."""
    if not text.endswith("\n") or _CONTROL.search(text):
        raise ValueError("the text of a note ends in a newline and has no other control characters")
    return Note(text, tuple(s.sign(text) for s in signers))


def verified(note: Note, verifiers: Iterable[Verifier]) -> list[Verifier]:
    """The keys of these that have signed the note, each once, in the order of the lines.

    Raises `Unsigned` when none has, or when a line that bears the name and id of one is not its signature.
    """
    known: dict[tuple[str, bytes], list[Verifier]] = {}
    for v in verifiers:
        known.setdefault((v.name, v.key_id), []).append(v)
    found: dict[Verifier, None] = {}
    for s in note.signatures:
        keys = known.get((s.name, s.key_id))
        if keys is None:
            continue
        if len(keys) > 1 and len(set(keys)) > 1:
            raise Unsigned(f"two keys named {s.name} have the same id")
        if not keys[0].signed(note.text, s):
            raise Unsigned(f"the signature of {s.name} is wrong")
        found[keys[0]] = None
    if not found:
        raise Unsigned("no key that is trusted has signed this note")
    return list(found)
