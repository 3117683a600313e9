"""Checkpoints (C2SP tlog-checkpoint): the signed size and root of a log."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from infra.proofs.encoding import b64, decimal, unb64_hash
from infra.proofs.errors import Malformed, Unsigned
from infra.proofs.notes import Note, Signer, Verifier, sign, verified


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says. `extensions` are others' lines: opaque, never written by us."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in (self.origin, self.size, b64(self.root), *self.extensions))

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() != "" or not all(lines):
            raise Malformed("a checkpoint has at least three lines, none of them empty: origin, size, root")
        return cls(lines[0], decimal(lines[1]), unb64_hash(lines[2]), tuple(lines[3:]))

    def signed(self, signers: Sequence[Signer]) -> Note:
        return sign(self.text, signers)


def read(raw: bytes) -> tuple[Checkpoint, Note]:
    """The checkpoint of a note, without asking who signed it."""
    note = Note.parse(raw)
    return Checkpoint.parse(note.text), note


def opened(raw: bytes, logs: Iterable[Verifier]) -> Checkpoint:
    """The checkpoint of a note that one of these logs has signed under its own origin."""
    checkpoint, note = read(raw)
    own = [v for v in logs if v.name == checkpoint.origin]
    if not own:
        raise Unsigned(f"the checkpoint is of the log {checkpoint.origin}, for which no key is trusted")
    verified(note, own)
    return checkpoint
