"""Whether the record still is what its logs were built over, and the logs what was signed.

LG15  An event that was edited, deleted or swapped is named, with what was found; a history that was rebuilt and signed anew is found with
      any older checkpoint.

The leaves are hashed anew from the record and compared with the tiles, the tiles with each other and with the signed checkpoint, that
with what was signed last (outside the database) and with the checkpoints that are shown.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg

from infra.proofs.checkpoints import Checkpoint, opened
from infra.proofs.encoding import HASH_SIZE, unb64_hash
from infra.proofs.errors import NotProved
from infra.proofs.heads import SEALED
from infra.proofs.notes import Verifier
from infra.proofs.signing import Signed, SigningKeys
from infra.proofs.store import Log, LogStore, RecordAltered
from infra.proofs.tiles import FULL, WIDTH, Growing, split, widths
from infra.proofs.tree import EMPTY, fold, root

AUDITED = "audited.log"
STEP = 65_536
MOST = 20
MOMENT = 1.0  # seconds

Told = Callable[[int, int], None]

_HASHES = (
    "SELECT firm_position, position, type, sha256('\\x00'::bytea || public) FROM record.events"
    " WHERE firm_id = %s AND firm_position >= %s AND firm_position < %s ORDER BY firm_position, position"
)
_TILES = (
    "SELECT place, hashes FROM chancery.log_tiles WHERE firm_id = %s AND level = %s AND place >= %s AND place < %s ORDER BY place"
)
_LOGS = "SELECT firm_id, origin, generation, size, position, vkey, note, signed_at, stopped FROM chancery.logs ORDER BY firm_id"
_SEALS = (
    "SELECT firm_position, public FROM record.events WHERE firm_id = %s AND stream_id = %s AND stream_type = 'log' AND type = %s"
    " ORDER BY stream_version"
)
_HEADS = (
    "SELECT sha256('\\x00'::bytea || convert_to(line, 'UTF8')) FROM (SELECT DISTINCT ON (stream_id) stream_id AS stream,"
    " 'consent/' || stream_id || ' ' || stream_version || ' ' || encode(sha256('\\x00'::bytea || public), 'base64') || E'\\n' AS line"
    " FROM record.events WHERE firm_id = %s AND stream_type = 'consent' AND firm_position < %s"
    " ORDER BY stream_id, stream_version DESC) last ORDER BY stream"
)
_WITHOUT = "SELECT firm_id FROM record.firm_heads WHERE firm_position > 0 AND position('/firms/' || firm_id IN %s) > 0"


@dataclass(frozen=True, slots=True)
class Trust:
    """What an examination is held against, besides the database itself."""

    keys: SigningKeys | None = None
    signed: Signed | None = None
    old: Sequence[bytes] = ()


def logs(c: psycopg.Connection[Any]) -> list[Log]:
    return [Log(*row) for row in c.execute(_LOGS, binary=True).fetchall()]


def examine(c: psycopg.Connection[Any], log: Log, trust: Trust, *, since: int = 0, told: Told | None = None) -> Iterator[str]:
    """What is wrong with a log, in sentences; nothing when all is well. Events before `since` are not hashed anew."""
    head = int((c.execute("SELECT firm_position FROM record.firm_heads WHERE firm_id = %s", (log.firm,)).fetchone() or (0,))[0])
    name = f"firm {log.firm}"
    if log.stopped:
        yield f"{name}: its log has stopped: {log.stopped}"
    if head < log.size:
        yield f"{name}: the record counts {head} events, the log has {log.size} leaves"
    yield from (f"{name}: {wrong}" for wrong in _leaves(c, log, since, told))
    try:
        top = _tree(c, log)
    except NotProved as e:
        yield f"{name}: {e}"
        return
    yield from (f"{name}: {wrong}" for wrong in _checkpoints(c, log, top, trust))
    if since == 0:
        yield from (f"{name}: {wrong}" for wrong in _seals(c, log))


def _leaves(c: psycopg.Connection[Any], log: Log, since: int, told: Told | None) -> Iterator[str]:
    """Each leaf of the record against the tiles."""
    found = 0
    for low in range(since - since % WIDTH, log.size, STEP):
        high = min(low + STEP, log.size)
        tiles = dict(c.execute(_TILES, (log.firm, 0, low // WIDTH, -(-high // WIDTH)), binary=True).fetchall())
        signed = {place * WIDTH + n: hash for place, tile in tiles.items() for n, hash in enumerate(split(tile))}
        seen: set[int] = set()
        for index, position, type, hash in c.execute(_HASHES, (log.firm, low, high), binary=True).fetchall():
            if index in seen:
                found += 1
                yield f"event {index} stands in the record twice, again at position {position}"
            elif signed.get(index) != hash:
                found += 1
                at = next((n for n, h in signed.items() if h == hash), None)
                moved = f"; it is event {at} that stands there" if at is not None else ""
                yield f"event {index} (position {position}, {type}) is not what was signed{moved}"
            seen.add(index)
        for index in range(low, high):
            if index not in seen:
                found += 1
                yield f"event {index} is gone from the record"
            if found >= MOST:
                yield f"and more: the examination of events ended at {index}"
                return
        if told is not None:
            told(high, log.size)


def _tree(c: psycopg.Connection[Any], log: Log) -> bytes:
    """The root that the tiles lead to, each full tile compared with its hash above; RecordAltered names a wrong one."""
    edges: list[bytes] = []
    for level, full, partial in widths(log.size):
        for low in range(0, full + 1, 1_024):
            tiles = dict(c.execute(_TILES, (log.firm, level, low, low + 1_024), binary=True).fetchall())
            above: dict[int, bytes] = {}
            if low < full:
                above = dict(
                    c.execute(
                        _TILES, (log.firm, level + 1, low // WIDTH, -(-min(low + 1_024, full) // WIDTH)), binary=True
                    ).fetchall()
                )
            for place in range(low, min(low + 1_024, full)):
                tile = tiles.get(place, b"")
                at = place % WIDTH * HASH_SIZE
                if len(tile) != FULL:
                    raise RecordAltered(f"tile {level}/{place} is missing or not whole")
                if above.get(place // WIDTH, b"")[at : at + HASH_SIZE] != fold(split(tile)):
                    raise RecordAltered(f"tile {level}/{place} is not what the tile above it was made of")
            if low <= full < low + 1_024:
                edge = tiles.get(full, b"")[: partial * HASH_SIZE]
                if len(edge) != partial * HASH_SIZE:
                    raise RecordAltered(f"tile {level}/{full} is missing or too narrow")
                edges.append(edge)
    return root(log.size, Growing(log.size, edges).node) if log.size else EMPTY


def _checkpoints(c: psycopg.Connection[Any], log: Log, top: bytes, trust: Trust) -> Iterator[str]:
    """The root against everything that was signed."""
    ours = [s.verifier for s in trust.keys.signers(log.origin)] if trust.keys else []
    keys = ours or [Verifier.parse(log.vkey)]
    if log.note is not None:
        try:
            newest = opened(log.note.encode(), keys)
            if (newest.size, newest.root) != (log.size, top):
                yield "the tiles do not lead to the signed checkpoint"
        except NotProved as e:
            yield f"its checkpoint does not hold: {e}"
    elif log.size:
        yield "it has leaves and no checkpoint"
    # what older keys have signed, a lost one too, is held against the log
    rows = c.execute("SELECT vkey FROM chancery.log_keys WHERE firm_id = %s", (log.firm,)).fetchall()
    keys = [*keys, *(Verifier.parse(vkey) for (vkey,) in rows)]
    kept = c.execute(
        "SELECT note FROM chancery.log_checkpoints WHERE firm_id = %s AND origin = %s ORDER BY size", (log.firm, log.origin)
    ).fetchall()
    for (note,) in kept:
        yield from _older(c, log, str(note).encode(), keys, "a checkpoint that is kept")
    for note in trust.old:
        yield from _older(c, log, note, keys, "the checkpoint shown")
    signed = trust.signed.last(log.origin) if trust.signed else None
    if signed is not None:
        yield from _same(c, _reaching(c, log, signed[0]), Checkpoint(log.origin, *signed), "what was signed last")


def _reaching(c: psycopg.Connection[Any], log: Log, size: int) -> Log:
    """The log when it has this size, or as it is a moment later: what is signed is noted before the log shows it."""
    until = time.monotonic() + MOMENT
    while log.size < size and time.monotonic() < until:
        time.sleep(0.05)
        log = LogStore(c, log.firm).log()
    return log


def _older(c: psycopg.Connection[Any], log: Log, note: bytes, keys: Iterable[Verifier], what: str) -> Iterator[str]:
    try:
        checkpoint = opened(note, keys)
    except NotProved as e:
        yield f"{what} does not hold, or another key signs now: {e}"
        return
    yield from _same(c, log, checkpoint, what)


def _same(c: psycopg.Connection[Any], log: Log, old: Checkpoint, what: str) -> Iterator[str]:
    if old.size > log.size:
        yield f"{what} is of size {old.size}; the log has been set back to {log.size}"
        return
    try:
        there = LogStore(c, log.firm).root(log, old.size)
    except NotProved as e:
        yield f"{what} can't be compared: {e}"
        return
    if there != old.root:
        yield f"{what} is of another history: at size {old.size} the roots differ"


def _seals(c: psycopg.Connection[Any], log: Log) -> Iterator[str]:
    """The newest seal of heads against the record."""
    rows = c.execute(_SEALS, (log.firm, log.firm, SEALED), binary=True).fetchall()
    if not rows:
        return
    data = orjson.loads(rows[-1][1])["data"]
    hashes = [hash for (hash,) in c.execute(_HEADS, (log.firm, data["as_of_size"]), binary=True).fetchall()]
    growing = Growing()
    growing.extend(hashes)
    if (len(hashes), root(len(hashes), growing.node)) != (data["heads_count"], unb64_hash(data["heads_root"])):
        yield f"the heads as of size {data['as_of_size']} are not those that were sealed"


def first_finding(c: psycopg.Connection[Any], trust: Trust) -> str | None:
    """As a check of `chancery doctor`: the first thing that is wrong with any log, or that one which was signed is gone."""
    kept = logs(c)
    known = {log.firm for log in kept}
    for origin, (size, _) in trust.signed.all().items() if trust.signed else ():
        for (firm,) in c.execute(_WITHOUT, (origin,)).fetchall():
            if firm not in known:
                return f"firm {firm}: the database has no log of it, and one was signed up to {size} events ({origin})"
    for log in kept:
        for wrong in examine(c, log, trust):
            return wrong
    return None


class Audited(Signed):
    """How far each log was examined, and its root then: an examination may go on from there."""

    def __init__(self, folder: Any) -> None:
        super().__init__(folder)
        self._path = folder / AUDITED
