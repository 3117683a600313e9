"""What the installation itself says in a firm's record of the firm's log: keys, seals, new logs. No caller of the API says it."""

from typing import Annotated

from pydantic import Field, StringConstraints

from commands.kernel import Answer, Command, Work, command
from domain import log
from domain.log import LOG, RestartReason, RotationReason

VerifierKey = Annotated[str, StringConstraints(pattern=r"^[^\s+]{1,300}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}$")]
Origin = Annotated[str, StringConstraints(pattern=r"^[^\s+]{1,300}$")]
Root = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{43}=$")]
Size = Annotated[int, Field(ge=0, le=2**53 - 1)]


class RotateLogKey(Command):
    old_vkey: VerifierKey
    new_vkey: VerifierKey
    reason: RotationReason = "scheduled"


class SealHeads(Command):
    heads_root: Root
    heads_count: Size
    as_of_size: Size


class RestartLog(Command):
    old_origin: Origin
    new_origin: Origin
    old_size: Size
    old_root: Root
    reason: RestartReason


@command("log.rotate_key", "POST /log:rotate-key", permission="operator", title="Sign a log with another key", undoable=False)
async def rotate_key(c: RotateLogKey, w: Work) -> Answer:
    """From the checkpoint that holds this on, the new key signs."""
    entity = await w.find(LOG, w.firm)
    w.record(entity, log.rotate(entity.state, old_vkey=c.old_vkey, new_vkey=c.new_vkey, reason=c.reason))
    return None


@command(
    "log.seal_heads", "POST /log:seal-heads", permission="operator", title="Seal the heads of the chains of consent", undoable=False
)
async def seal_heads(c: SealHeads, w: Work) -> Answer:
    """Say in the log what the last event of each chain was, so that nobody can leave out a later one."""
    entity = await w.find(LOG, w.firm)
    w.record(entity, log.seal(entity.state, root=c.heads_root, count=c.heads_count, as_of_size=c.as_of_size))
    return None


@command(
    "log.restart",
    "POST /log:restart",
    permission="operator",
    title="Begin a new log in place of one that can't go on",
    undoable=False,
)
async def restart(c: RestartLog, w: Work) -> Answer:
    """Name the log that is replaced, and how far it had been signed."""
    entity = await w.find(LOG, w.firm)
    w.record(
        entity,
        log.restart(
            entity.state,
            old_origin=c.old_origin,
            new_origin=c.new_origin,
            old_size=c.old_size,
            old_root=c.old_root,
            reason=c.reason,
        ),
    )
    return None
