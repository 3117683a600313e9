"""What is exchanged with witnesses (C2SP tlog-witness, tlog-cosignature): the add-checkpoint body, which proves consistency, and cosignatures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.proofs.checkpoints import Checkpoint
from infra.proofs.encoding import b64, decimal, unb64_hash
from infra.proofs.errors import Malformed
from infra.proofs.notes import COSIGNATURE, Signature, Verifier
from infra.proofs.tree import verify_consistency

LARGEST = 1_000_000
MOST_HASHES = 63


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """The claim that the log of `checkpoint` (a signed note, verbatim) begins with its own tree of size `old`."""

    old: int
    hashes: tuple[bytes, ...]
    checkpoint: str

    def __str__(self) -> str:
        return f"old {self.old}\n{''.join(b64(h) + chr(10) for h in self.hashes)}\n{self.checkpoint}"

    @classmethod
    def parse(cls, raw: bytes) -> "AddCheckpoint":
        if len(raw) > LARGEST:
            raise Malformed("the body is larger than a megabyte")
        try:
            head, gap, checkpoint = raw.decode().partition("\n\n")
        except UnicodeDecodeError as e:
            raise Malformed("the body is not UTF-8") from e
        first, *lines = head.split("\n")
        if not first.startswith("old ") or not gap:
            raise Malformed("the body begins with the line `old N`, and has an empty line before the checkpoint")
        if len(lines) > MOST_HASHES:
            raise Malformed(f"the body has more than {MOST_HASHES} hashes")
        return cls(decimal(first.removeprefix("old ")), tuple(unb64_hash(line) for line in lines), checkpoint)

    def verify(self, old: Checkpoint, accept: Callable[[bytes], Checkpoint]) -> Checkpoint:
        """The checkpoint, if its log begins with `old`, which is trusted already. `accept` opens a note by keys that are trusted."""
        checkpoint = accept(self.checkpoint.encode())
        if old.origin != checkpoint.origin:
            raise Malformed(f"these are two logs: {old.origin} and {checkpoint.origin}")
        if old.size != self.old:
            raise Malformed(f"the body goes on from {self.old}, the checkpoint at hand is of size {old.size}")
        verify_consistency(old.size, checkpoint.size, self.hashes, old.root, checkpoint.root)
        return checkpoint


def accepted(text: str, lines: Sequence[Signature], witnesses: Sequence[Verifier]) -> list[tuple[Verifier, Signature]]:
    """Those of the lines that are cosignatures over the text by witnesses that are known; the others are ignored, wrong ones too."""
    found: dict[Verifier, Signature] = {}
    for s in lines:
        for w in witnesses:
            if w.algorithm == COSIGNATURE and (w.name, w.key_id) == (s.name, s.key_id) and w.signed(text, s):
                found[w] = s
    return list(found.items())


def cosigned_at(s: Signature) -> int:
    """When a cosignature says it was made, in seconds since 1970."""
    return int.from_bytes(s.value[:8], "big")
