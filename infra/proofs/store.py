"""Where a log stands in PostgreSQL, and proofs out of it: a proof takes one round trip for the tiles it needs.

LG9  A proof is given out only after it was verified with the leaf as the record has it now: an event that was altered is found by the
     next proof of it.

What is needed is planned first (`Plan`), then fetched, then computed, so that the same code serves a connection that waits
(`LogStore`: command line, sequencer, bundles) and one that does not (`AsyncLogStore`: HTTP).
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from infra.proofs.checkpoints import Checkpoint
from infra.proofs.errors import NotProved
from infra.proofs.notes import Note
from infra.proofs.tiles import HEIGHT, Coordinate, bundle, node_from, tiles_of
from infra.proofs.tlogproof import TlogProof
from infra.proofs.tree import (
    Span,
    Subtree,
    consistency_spans,
    inclusion_spans,
    leaf_hash,
    nodes_of,
    root_of_inclusion,
    span_hash,
)
from infra.record import wire

NODES_KEPT = 100_000

LOG = "SELECT firm_id, origin, generation, size, position, vkey, note, signed_at, stopped FROM chancery.logs WHERE firm_id = %s"
TILES = (
    "SELECT t.level::int, t.place, t.hashes FROM unnest(%s::smallint[], %s::bigint[]) u(l, n), LATERAL (SELECT t.level, t.place, t.hashes"
    " FROM chancery.log_tiles t WHERE t.firm_id = %s AND t.level = u.l AND t.place = u.n OFFSET 0) t"
)
LEAVES = (
    "SELECT e.firm_position, e.public FROM unnest(%s::bigint[]) u(n), LATERAL (SELECT e.firm_position, e.public FROM record.events e"
    " WHERE e.firm_id = %s AND e.firm_position = u.n OFFSET 0) e"
)
BOTH = f"{TILES} UNION ALL SELECT -1, l.* FROM ({LEAVES}) l"  # one round trip for a proof
UUID_TYPE = 2950
BOTH_PREPARED = wire.Statement(
    b"log_both",
    b"SELECT t.level::bigint, t.place, t.hashes FROM unnest($1, $2) u(l, n), LATERAL (SELECT t.level, t.place, t.hashes"
    b" FROM chancery.log_tiles t WHERE t.firm_id = $3 AND t.level = u.l::smallint AND t.place = u.n OFFSET 0) t"
    b" UNION ALL SELECT -1, e.firm_position, e.public FROM unnest($4) u(n), LATERAL (SELECT e.firm_position, e.public"
    b" FROM record.events e WHERE e.firm_id = $3 AND e.firm_position = u.n OFFSET 0) e",
    (wire.INT8S, wire.INT8S, UUID_TYPE, wire.INT8S),
)
ENTRIES = "SELECT firm_position, public FROM record.events WHERE firm_id = %s AND firm_position >= %s AND firm_position < %s ORDER BY firm_position"
AT_POSITION = "SELECT firm_position FROM record.events WHERE position = %s AND firm_id = %s"
KEPT = "SELECT note FROM chancery.log_checkpoints WHERE firm_id = %s AND origin = %s AND size = %s"
LINES = "SELECT line FROM chancery.log_cosignatures WHERE firm_id = %s AND origin = %s AND size = %s ORDER BY cosigned_at, witness"
COSIGNED = (
    "SELECT c.size, c.note, array_agg(s.line ORDER BY s.cosigned_at, s.witness), array_agg(s.witness) FROM chancery.log_checkpoints c"
    " JOIN chancery.log_cosignatures s USING (firm_id, origin, size) WHERE c.firm_id = %s AND c.origin = %s"
    " GROUP BY c.size, c.note ORDER BY c.size DESC LIMIT %s"
)


class NoLog(NotProved):
    """The firm has no log yet: nothing of its record has been sequenced."""


class Beyond(NotProved):
    """The log has not got so far yet."""

    def __init__(self, asked: int, size: int) -> None:
        super().__init__(f"the log has {size} leaves, not {asked}")
        self.asked = asked
        self.size = size


class RecordAltered(NotProved):
    """The record does not hold what the log was built over: an event or a tile was altered or removed. Run `chancery doctor`."""


@dataclass(frozen=True, slots=True)
class Log:
    """A firm's log as it stands. `note` is its newest checkpoint, signed; None before the first leaf."""

    firm: UUID
    origin: str
    generation: int
    size: int
    position: int
    vkey: str
    note: str | None
    signed_at: datetime | None
    stopped: str | None

    @property
    def checkpoint(self) -> Checkpoint:
        if self.note is None:
            raise NoLog("the log has no checkpoint yet")
        return Checkpoint.parse(Note.parse(self.note.encode()).text)


class NodeCache:
    """The hashes of complete subtrees never change, so they may be kept: those above a tile of leaves serve every proof."""

    def __init__(self, most: int = NODES_KEPT) -> None:
        self._most = most
        self._nodes: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()

    def get(self, origin: str, subtree: Subtree) -> bytes | None:
        return self._nodes.get((origin, *subtree))

    def keep(self, origin: str, subtree: Subtree, hash: bytes) -> None:
        if subtree[0] >= HEIGHT:
            self._nodes[origin, *subtree] = hash
            if len(self._nodes) > self._most:
                self._nodes.popitem(last=False)


class Plan:
    """What to fetch for some spans of a log's tree, and their hashes out of what was fetched."""

    __slots__ = ("_cache", "_known", "_missing", "_origin", "_spans", "tiles")

    def __init__(self, log: Log, spans: Iterable[Span], cache: NodeCache) -> None:
        self._origin = log.origin
        self._cache = cache
        self._spans = list(spans)
        self._known: dict[Subtree, bytes] = {}
        self._missing: list[Subtree] = []
        for s in nodes_of(self._spans):
            hash = cache.get(log.origin, s)
            if hash is None:
                self._missing.append(s)
            else:
                self._known[s] = hash
        self.tiles = tiles_of(self._missing)

    def hashes(self, tiles: Mapping[Coordinate, bytes]) -> tuple[bytes, ...]:
        """RecordAltered when a tile is missing or too narrow."""
        node = node_from(lambda level, place: tiles[level, place])
        try:
            for s in self._missing:
                self._known[s] = hash = node(*s)
                self._cache.keep(self._origin, s, hash)
        except LookupError as e:
            raise RecordAltered("a tile of the log is missing or too short; run `chancery doctor`") from e
        return tuple(span_hash(s, lambda level, place: self._known[level, place]) for s in self._spans)


def _both(plans: Sequence[Plan], indexes: Sequence[int], firm: UUID) -> tuple[object, ...]:
    tiles = set().union(*(p.tiles for p in plans))
    return [level for level, _ in tiles], [place for _, place in tiles], firm, list(indexes), firm


def _inclusion(index: int, size: int, plan: Plan, found: Mapping[Coordinate, bytes], root: bytes) -> tuple[bytes, ...]:
    """The proof, verified with the leaf as the record has it."""
    leaf = found.get((-1, index))
    if leaf is None:
        raise RecordAltered(f"event {index} of the firm is gone from the record")
    proof = plan.hashes(found)
    if root_of_inclusion(index, size, leaf_hash(leaf), proof) != root:
        raise RecordAltered(f"event {index} of the firm is not what the log was built over, or its tiles were altered")
    return proof


class LogStore:
    """One firm's log over a connection that waits."""

    def __init__(self, c: psycopg.Connection[Any], firm: UUID, cache: NodeCache | None = None) -> None:
        self._c = c
        self._firm = firm
        self._cache = cache or NodeCache()

    def log(self) -> Log:
        row = self._c.execute(LOG, (self._firm,), binary=True).fetchone()
        if row is None:
            raise NoLog("the firm has no log yet")
        return Log(*row)

    def tiles(self, wanted: Collection[Coordinate]) -> dict[Coordinate, bytes]:
        if not wanted:
            return {}
        parameters = ([level for level, _ in wanted], [place for _, place in wanted], self._firm)
        return {(level, place): tile for level, place, tile in self._c.execute(TILES, parameters, binary=True).fetchall()}

    def leaves(self, indexes: Sequence[int]) -> dict[int, bytes]:
        return dict(self._c.execute(LEAVES, (list(indexes), self._firm), binary=True).fetchall())

    def entries(self, begin: int, end: int) -> list[bytes]:
        """The leaves of a range, in order; RecordAltered when one is missing."""
        rows = self._c.execute(ENTRIES, (self._firm, begin, end), binary=True).fetchall()
        return whole(rows, begin, end)

    def root(self, log: Log, size: int) -> bytes:
        """The root of the log's tree at a size it has had."""
        plan = Plan(log, _root_spans(log, size), self._cache)
        return plan.hashes(self.tiles(plan.tiles))[0]

    def inclusions(self, log: Log, indexes: Sequence[int], size: int, root: bytes) -> list[tuple[bytes, ...]]:
        """Proofs for some leaves in the tree of that size and root, each verified with the record."""
        plans = [Plan(log, inclusion_spans(_within(n, size, log), size), self._cache) for n in indexes]
        found = self._both(plans, indexes)
        return [_inclusion(n, size, p, found, root) for n, p in zip(indexes, plans, strict=True)]

    def _both(self, plans: Sequence[Plan], indexes: Sequence[int]) -> dict[Coordinate, bytes]:
        """The plans' tiles, and the leaves as if they stood at level -1: what thousands of proofs a second are made of."""
        tiles = set().union(*(p.tiles for p in plans))
        result = wire.pipe(self._c).ask(
            BOTH_PREPARED,
            wire.int8s([level for level, _ in tiles]),
            wire.int8s([place for _, place in tiles]),
            self._firm.bytes,
            wire.int8s(indexes),
        )
        value, number = result.get_value, wire.read_int8
        return {(number(value(r, 0)), number(value(r, 1))): value(r, 2) or b"" for r in range(result.ntuples)}

    def proof(self, index: int) -> TlogProof:
        """The proof of a leaf that leads to the newest checkpoint."""
        log = self.log()
        checkpoint = log.checkpoint
        (hashes,) = self.inclusions(log, [index], checkpoint.size, checkpoint.root)
        return TlogProof(index, hashes, str(log.note))

    def consistency(self, log: Log, old: int, new: int) -> tuple[bytes, ...]:
        plan = Plan(log, _consistency_spans(log, old, new), self._cache)
        return plan.hashes(self.tiles(plan.tiles))


class AsyncLogStore:
    """One firm's log over a connection that does not block; the same answers as `LogStore`."""

    def __init__(self, c: psycopg.AsyncConnection[Any], firm: UUID, cache: NodeCache) -> None:
        self._c = c
        self._firm = firm
        self._cache = cache

    @property
    def connection(self) -> psycopg.AsyncConnection[Any]:
        """For reads of what stands beside the log."""
        return self._c

    async def _all(self, sql: str, parameters: Sequence[object]) -> list[Any]:
        async with self._c.cursor(binary=True) as cursor:
            await cursor.execute(sql, parameters)
            return await cursor.fetchall()

    async def log(self) -> Log:
        rows = await self._all(LOG, (self._firm,))
        if not rows:
            raise NoLog("the firm has no log yet")
        return Log(*rows[0])

    async def tiles(self, wanted: Collection[Coordinate]) -> dict[Coordinate, bytes]:
        if not wanted:
            return {}
        rows = await self._all(TILES, ([level for level, _ in wanted], [place for _, place in wanted], self._firm))
        return {(level, place): tile for level, place, tile in rows}

    async def leaves(self, indexes: Sequence[int]) -> dict[int, bytes]:
        return dict(await self._all(LEAVES, (list(indexes), self._firm)))

    async def index_at(self, position: int) -> int | None:
        """Where the event at a position of the record stands in the firm's log; None when the firm has none there."""
        rows = await self._all(AT_POSITION, (position, self._firm))
        return int(rows[0][0]) if rows else None

    async def bundle(self, begin: int, end: int) -> bytes:
        return bundle(whole(await self._all(ENTRIES, (self._firm, begin, end)), begin, end))

    async def root(self, log: Log, size: int) -> bytes:
        plan = Plan(log, _root_spans(log, size), self._cache)
        return plan.hashes(await self.tiles(plan.tiles))[0]

    async def inclusions(self, log: Log, indexes: Sequence[int], size: int, root: bytes) -> list[tuple[bytes, ...]]:
        plans = [Plan(log, inclusion_spans(_within(n, size, log), size), self._cache) for n in indexes]
        found = {(level, place): value for level, place, value in await self._all(BOTH, _both(plans, indexes, self._firm))}
        return [_inclusion(n, size, p, found, root) for n, p in zip(indexes, plans, strict=True)]

    async def proof(self, index: int, note: str | None = None) -> TlogProof:
        """The proof of a leaf that leads to the newest checkpoint, or to the one of `note`."""
        log = await self.log()
        note = note or log.note
        checkpoint = log.checkpoint if note == log.note else Checkpoint.parse(Note.parse(str(note).encode()).text)
        (hashes,) = await self.inclusions(log, [index], checkpoint.size, checkpoint.root)
        return TlogProof(index, hashes, await self.with_cosignatures(log, checkpoint.size, str(note)))

    async def consistency(self, log: Log, old: int, new: int) -> tuple[bytes, ...]:
        plan = Plan(log, _consistency_spans(log, old, new), self._cache)
        return plan.hashes(await self.tiles(plan.tiles))

    async def kept(self, log: Log, size: int) -> str | None:
        """The checkpoint of a size, as it was signed; None when it is not kept."""
        if size == log.size:
            return log.note
        rows = await self._all(KEPT, (self._firm, log.origin, size))
        return str(rows[0][0]) if rows else None

    async def with_cosignatures(self, log: Log, size: int, note: str) -> str:
        return note + "".join(line for (line,) in await self._all(LINES, (self._firm, log.origin, size)))

    async def cosigned(self, log: Log, most: int = 20) -> list[tuple[int, str, list[str]]]:
        """The newest checkpoints that witnesses have cosigned: size, note with their lines, their vkeys."""
        rows = await self._all(COSIGNED, (self._firm, log.origin, most))
        return [(size, note + "".join(lines), list(witnesses)) for size, note, lines, witnesses in rows]


def whole(rows: Sequence[tuple[int, bytes]], begin: int, end: int) -> list[bytes]:
    """The leaves of rows that must be dense."""
    if [n for n, _ in rows] != list(range(begin, end)):
        raise RecordAltered(f"the record does not have the firm's events {begin} to {end - 1}, each once")
    return [leaf for _, leaf in rows]


def _within(index: int, size: int, log: Log) -> int:
    if size > log.size:
        raise Beyond(size, log.size)
    if not 0 <= index < size:
        raise Beyond(index + 1, size)
    return index


def _root_spans(log: Log, size: int) -> list[Span]:
    if not 0 <= size <= log.size:
        raise Beyond(size, log.size)
    return [(0, size)]


def _consistency_spans(log: Log, old: int, new: int) -> list[Span]:
    if new > log.size:
        raise Beyond(new, log.size)
    if not 0 < old <= new:
        raise NotProved("consistency is proved from a size of at least 1 to one that is not smaller")
    return consistency_spans(old, new)
