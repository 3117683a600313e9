"""A small log held in memory, to make true proofs from and to tamper with."""

from dataclasses import dataclass, field

from infra.proofs.checkpoints import Checkpoint
from infra.proofs.notes import COSIGNATURE, Signer
from infra.proofs.tiles import Growing, node_from, tiles_of
from infra.proofs.tlogproof import TlogProof
from infra.proofs.tree import consistency_proof, inclusion_proof, leaf_hash, root
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
