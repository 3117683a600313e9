"""Inclusion proofs as files (C2SP tlog-proof@v1, `.tlog-proof`): index, hashes and the signed checkpoint they lead to."""

from collections.abc import Callable
from dataclasses import dataclass

from infra.proofs.checkpoints import Checkpoint, read
from infra.proofs.encoding import b64, decimal, unb64, unb64_hash
from infra.proofs.errors import Malformed
from infra.proofs.tree import verify_inclusion

HEADER = "c2sp.org/tlog-proof@v1"
LARGEST = 1_000_000
MOST_HASHES = 63


@dataclass(frozen=True, slots=True)
class TlogProof:
    """`checkpoint` is the signed note, verbatim. `extra` is nobody's word: it is not signed."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None

    def __str__(self) -> str:
        extra = "" if self.extra is None else f"extra {b64(self.extra)}\n"
        return f"{HEADER}\n{extra}index {self.index}\n{''.join(b64(h) + chr(10) for h in self.hashes)}\n{self.checkpoint}"

    @classmethod
    def parse(cls, raw: bytes) -> "TlogProof":
        if len(raw) > LARGEST:
            raise Malformed("the proof is larger than a megabyte")
        try:
            head, gap, checkpoint = raw.decode().partition("\n\n")
        except UnicodeDecodeError as e:
            raise Malformed("the proof is not UTF-8") from e
        lines = head.split("\n")
        if lines.pop(0) != HEADER or not gap:
            raise Malformed(f"the proof does not begin with {HEADER}, or has no checkpoint")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = unb64(lines.pop(0).removeprefix("extra "))
        if not lines or not lines[0].startswith("index "):
            raise Malformed("the proof has no index")
        index = decimal(lines.pop(0).removeprefix("index "))
        if len(lines) > MOST_HASHES:
            raise Malformed(f"the proof has more than {MOST_HASHES} hashes")
        return cls(index, tuple(unb64_hash(line) for line in lines), checkpoint, extra)

    def verify(self, leaf: bytes, accept: Callable[[bytes], Checkpoint]) -> Checkpoint:
        """The checkpoint in which the leaf (its hash) stands at `index`. `accept` opens a checkpoint's note by keys that are trusted."""
        checkpoint = accept(self.checkpoint.encode())
        verify_inclusion(self.index, checkpoint.size, leaf, self.hashes, checkpoint.root)
        return checkpoint


def claimed(proof: TlogProof) -> Checkpoint:
    """The checkpoint a proof carries, without asking who signed it."""
    return read(proof.checkpoint.encode())[0]
