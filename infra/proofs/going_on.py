"""That a log goes on from a checkpoint which somebody else has kept: for a bundle, whose own checkpoints are one an hour.

PB6  Whoever kept any checkpoint of a log, of whatever size, gets a bundle that shows that the log goes on from it; or learns that it does not.
"""

from collections.abc import Iterable
from typing import Any

from infra.proofs.checkpoints import opened, read
from infra.proofs.encoding import b64
from infra.proofs.errors import NotProved
from infra.proofs.notes import Verifier
from infra.proofs.store import AsyncLogStore
from verifier import chancery_verify

MOST_BYTES = 4_000


class AnotherLog(NotProved):
    """The checkpoint is of another log, or not signed by a key of this one."""


class Forked(NotProved):
    """The log's key has signed the checkpoint, and the log does not have it: it was set back, or tells different things to different people."""


async def going_on(store: AsyncLogStore, made: dict[str, Any], note: bytes, keys: Iterable[Verifier]) -> dict[str, Any]:
    """The bundle, with the proof that its checkpoint goes on from this one."""
    newest, _ = read(made["checkpoint"].encode())
    log = await store.log()
    try:
        old = opened(note, keys)
    except NotProved as e:
        raise AnotherLog(str(e)) from e
    if old.origin != newest.origin:
        raise AnotherLog(f"it is of {old.origin}, and the bundle's is of {newest.origin}")
    if old.size > log.size or (old.size and await store.root(log, old.size) != old.root):
        raise Forked(f"the log of {log.size} entries does not have what was signed at {old.size}")
    if old.size == 0 or old.size >= newest.size:
        return made  # there is nothing to prove: it is the same, or newer than the chain needs
    proof = await store.consistency(log, old.size, newest.size)
    chancery_verify.check_consistency(
        chancery_verify.Checkpoint(old.origin, old.size, old.root),
        chancery_verify.Checkpoint(newest.origin, newest.size, newest.root),
        proof,
    )
    item = {"checkpoint": note.decode(), "proof": [b64(h) for h in proof]}
    return {**made, "consistency": [*made["consistency"], item]}
