"""A small log held in memory, to make true proofs from and to tamper with."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from infra.proofs.checkpoints import Checkpoint
from infra.proofs.errors import Malformed
from infra.proofs.notes import COSIGNATURE, Note, Signature, Signer
from infra.proofs.tiles import Growing, node_from, tiles_of
from infra.proofs.tlogproof import TlogProof
from infra.proofs.tree import EMPTY, Node, consistency_spans, inclusion_spans, leaf_hash, node_hash, root, span_hash
from infra.proofs.witness import AddCheckpoint

LOG = Signer("log.example/firms/1", bytes(31) + b"\x01")
OTHER = Signer("log.example/firms/2", bytes(31) + b"\x02")
WITNESS = Signer("witness.example/w1", bytes(31) + b"\x03", COSIGNATURE)


@dataclass
class Log:
    """Leaves under one origin."""

    signer: Signer = LOG
    leaves: list[bytes] = field(default_factory=list)
    growing: Growing = field(default_factory=Growing)
    tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, count: int, signer: Signer = LOG, prefix: bytes = b"leaf ") -> "Log":
        log = cls(signer)
        log.append(*[prefix + str(n).encode() for n in range(count)])
        return log

    def append(self, *leaves: bytes) -> None:
        self.leaves += leaves
        self.tiles |= self.growing.extend([leaf_hash(leaf) for leaf in leaves])

    def node(self, level: int, place: int) -> bytes:
        assert tiles_of([(level, place)])
        return node_from(lambda above, n: self.tiles[above, n])(level, place)

    def at(self, size: int | None = None) -> Checkpoint:
        size = len(self.leaves) if size is None else size
        return Checkpoint(self.signer.name, size, root(size, self.node))

    def note(self, size: int | None = None, *more: Signer) -> str:
        return str(self.at(size).signed([self.signer, *more]))

    def proof(self, index: int, size: int | None = None) -> TlogProof:
        size = len(self.leaves) if size is None else size
        return TlogProof(index, tuple(inclusion_proof(index, size, self.node)), self.note(size))

    def since(self, old: int, size: int | None = None) -> AddCheckpoint:
        size = len(self.leaves) if size is None else size
        return AddCheckpoint(old, tuple(consistency_proof(old, size, self.node)), self.note(size))


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    return [span_hash(s, node) for s in inclusion_spans(index, size)]


def consistency_proof(old: int, new: int, node: Node) -> list[bytes]:
    return [span_hash(s, node) for s in consistency_spans(old, new)]


def cosign(text: str, witness: Signer, *, now: int | None = None) -> Signature:
    """A witness's cosignature over a checkpoint's text."""
    if witness.algorithm != COSIGNATURE:
        raise ValueError("a witness signs with a key of kind 4")
    return witness.sign(text, timestamp=int(time.time()) if now is None else now)


def signature_lines(raw: bytes) -> tuple[Signature, ...]:
    """The signature lines of a witness's answer."""
    return Note.parse(b"answer\n\n" + raw).signatures


def unbundle(raw: bytes) -> list[bytes]:
    entries = []
    at = 0
    while at < len(raw):
        length = int.from_bytes(raw[at : at + 2], "big")
        entry = raw[at + 2 : at + 2 + length]
        if at + 2 > len(raw) or len(entry) != length:
            raise Malformed("the bundle of entries ends within an entry")
        entries.append(entry)
        at += 2 + length
    return entries


class Frontier:
    """A tree that only grows, by what is needed to go on: one hash for each bit of its size."""

    __slots__ = ("hashes", "size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.hashes = list(hashes)
        if len(self.hashes) != size.bit_count():
            raise ValueError(f"a tree of {size} is carried on by {size.bit_count()} hashes, not {len(self.hashes)}")

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Append leaves."""
        hashes, size = self.hashes, self.size
        push, pop = hashes.append, hashes.pop
        for leaf in leaves:
            hash = leaf_hash(leaf)
            carry = size
            while carry & 1:
                hash = node_hash(pop(), hash)
                carry >>= 1
            push(hash)
            size += 1
        self.size = size

    def root(self) -> bytes:
        if not self.hashes:
            return EMPTY
        parts = self.hashes.copy()
        hash = parts.pop()
        while parts:
            hash = node_hash(parts.pop(), hash)
        return hash
