"""A firm's log as the store has it, and whether that is what was signed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import structlog

from infra.proofs.checkpoints import opened
from infra.proofs.encoding import HASH_SIZE
from infra.proofs.errors import NotProved
from infra.proofs.notes import Signer
from infra.proofs.store import Log, LogStore
from infra.proofs.tiles import Growing, widths
from infra.proofs.tree import root

log = structlog.get_logger()

ROTATED = "log.KeyRotated.v1"
_LOGS = (
    "SELECT firm_id, origin, generation, size, position, vkey, note, signed_at, stopped FROM chancery.logs WHERE firm_id = ANY(%s)"
)
_EDGES = (
    "SELECT level::int, place, hashes FROM chancery.log_tiles WHERE firm_id = %s"
    " AND (level, place) IN (SELECT * FROM unnest(%s::smallint[], %s::bigint[]))"
)
HASHES = (
    "SELECT u.f, e.firm_position, e.position, sha256('\\x00'::bytea || e.public), CASE WHEN e.type = %s THEN e.public END"
    " FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[]) u(f, low, high, after), LATERAL ("
    "SELECT * FROM record.events e WHERE e.firm_id = u.f AND e.firm_position >= u.low AND e.firm_position < u.high"
    " AND e.position > u.after ORDER BY e.firm_position OFFSET 0) e"
)
ALTERED = "something was altered or lost. Run `chancery doctor`; do not go on before it is known what"
BEHIND = (
    "the store is older than what was signed, or another one. Restore the newer store; if it is lost, declare a new log with"
    " `chancery log restart`"
)


class LogStopped(Exception):
    """A firm's log can't go on; the message says why and what to do."""


@dataclass(slots=True)
class State:
    """A log in memory. `signed` is what was signed beyond the store's size, until the tree has grown over it."""

    log: Log
    growing: Growing
    signed: tuple[int, bytes] | None
    kept_at: datetime
    signer: Signer


def logs_of(c: psycopg.Connection[Any], firms: Sequence[UUID]) -> dict[UUID, Log]:
    return {row[0]: Log(*row) for row in c.execute(_LOGS, (list(firms),), binary=True).fetchall()}


def examine(c: psycopg.Connection[Any], entry: Log, signer: Signer, signed: tuple[int, bytes] | None) -> State:
    """The log, if the store holds what was signed; LogStopped says what it does not."""
    head = int((c.execute("SELECT firm_position FROM record.firm_heads WHERE firm_id = %s", (entry.firm,)).fetchone() or (0,))[0])
    if (entry.note is None) != (entry.size == 0):
        raise LogStopped(f"its checkpoint does not fit its size: {ALTERED}")
    if head < entry.size:
        raise LogStopped(f"the record has {head} events of the firm, and {entry.size} are signed: {BEHIND}")
    try:
        growing = _edges(c, entry)
        top = root(entry.size, growing.node)
        if entry.note is not None:
            checkpoint = opened(entry.note.encode(), [signer.verifier])
            if (checkpoint.size, checkpoint.root, checkpoint.origin) != (entry.size, top, entry.origin):
                raise LogStopped(f"its tiles do not lead to its checkpoint: {ALTERED}")
    except NotProved as e:
        raise LogStopped(f"{e}: {ALTERED}") from e
    _last_leaves(c, entry, growing)
    if signed is not None:
        size, wanted = signed
        if size > head:
            raise LogStopped(f"the record has {head} events of the firm, and {size} were signed: {BEHIND}")
        if size <= entry.size:
            if LogStore(c, entry.firm).root(entry, size) != wanted:
                raise LogStopped(f"another history was signed at size {size}: {BEHIND}")
            signed = None
    elif entry.size:
        log.warning("log.memory_lost", origin=entry.origin, size=entry.size)
    return State(entry, growing, signed, entry.signed_at or datetime.min.replace(tzinfo=UTC), signer)


def _edges(c: psycopg.Connection[Any], entry: Log) -> Growing:
    wanted = {(level, full): partial for level, full, partial in widths(entry.size)}
    rows = c.execute(
        _EDGES, (entry.firm, [level for (level, _), w in wanted.items() if w], [place for (_, place), w in wanted.items() if w])
    ).fetchall()
    tiles = {(level, place): tile for level, place, tile in rows}
    edges = [tiles.get(where, b"") if width else b"" for where, width in wanted.items()]
    if [len(e) for e in edges] != [w * HASH_SIZE for w in wanted.values()]:
        raise LogStopped(f"tiles at its end are missing or not as wide as its size says: {ALTERED}")
    return Growing(entry.size, edges)


def _last_leaves(c: psycopg.Connection[Any], entry: Log, growing: Growing) -> None:
    """Compare the last leaves with the record."""
    edge = bytes(growing.edges[0]) if growing.edges else b""
    low = entry.size - len(edge) // HASH_SIZE
    rows = c.execute(HASHES, (ROTATED, [entry.firm], [low], [entry.size], [0]), binary=True).fetchall()
    if b"".join(row[3] for row in rows) != edge:
        raise LogStopped(f"the record's last events are not those that were signed: {ALTERED}")


def leaf_hashes(c: psycopg.Connection[Any], firm: UUID, size: int, *, since: int = 0, step: int = 65_536) -> Iterable[list[bytes]]:
    """The hashes of a firm's leaves as the record has them now, in pieces; LogStopped where a place is missing."""
    for low in range(since, size, step):
        high = min(low + step, size)
        rows = c.execute(HASHES, (ROTATED, [firm], [low], [high], [0]), binary=True).fetchall()
        if [row[1] for row in rows] != list(range(low, high)):
            raise LogStopped(f"the record does not have events {low} to {high - 1} of firm {firm}, each once: {ALTERED}")
        yield [row[3] for row in rows]
