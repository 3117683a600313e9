"""Where a log stands in PostgreSQL, and proofs out of it: a proof takes one round trip for the tiles it needs.

LG9  A proof is given out only after it was verified with the leaf as the record has it now: an event that was altered is found by the
     next proof of it.

What is needed is planned first (`Plan`), then fetched, then computed, so that the same code serves a connection that waits
(`LogStore`: command line, sequencer, bundles) and one that does not (`AsyncLogStore`: HTTP).
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import psycopg

from infra.proofs.checkpoints import Checkpoint
from infra.proofs.errors import NotProved
from infra.proofs.notes import Note, Signature
from infra.proofs.tiles import FULL, Coordinate, bundle, node_from, tiles_of
from infra.proofs.tlogproof import TlogProof
from infra.proofs.tree import (
    Span,
    consistency_spans,
    inclusion_spans,
    leaf_hash,
    nodes_of,
    root_of_inclusion,
    span_hash,
)
from infra.proofs.witness import AddCheckpoint

TILES_KEPT = 512

LOG = "SELECT firm_id, origin, generation, size, position, vkey, note, signed_at, stopped FROM chancery.logs WHERE firm_id = %s"
TILES = (
    "SELECT t.level::int, t.place, t.hashes FROM unnest(%s::smallint[], %s::bigint[]) u(l, n), LATERAL (SELECT t.level, t.place, t.hashes"
    " FROM chancery.log_tiles t WHERE t.firm_id = %s AND t.level = u.l AND t.place = u.n OFFSET 0) t"
)
LEAVES = (
    "SELECT e.firm_position, e.public FROM unnest(%s::bigint[]) u(n), LATERAL (SELECT e.firm_position, e.public FROM record.events e"
    " WHERE e.firm_id = %s AND e.firm_position = u.n OFFSET 0) e"
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


class Spans:
    """What to fetch for some spans of a tree, and their hashes out of what was fetched."""

    __slots__ = ("spans", "tiles")

    def __init__(self, spans: Iterable[Span]) -> None:
        self.spans = list(spans)
        self.tiles = tiles_of(nodes_of(self.spans))

    def hashes(self, tiles: Mapping[Coordinate, bytes]) -> tuple[bytes, ...]:
        node = node_from(lambda level, place: tiles[level, place])
        try:
            return tuple(span_hash(s, node) for s in self.spans)
        except LookupError as e:
            raise RecordAltered("a tile of the log is missing or too short; run `chancery doctor`") from e


class TileCache:
    """Full tiles never change, so they may be kept: those above the leaves serve every proof."""

    def __init__(self, most: int = TILES_KEPT) -> None:
        self._most = most
        self._tiles: OrderedDict[tuple[UUID, str, int, int], bytes] = OrderedDict()

    def split(self, log: Log, wanted: Iterable[Coordinate]) -> tuple[dict[Coordinate, bytes], list[Coordinate]]:
        """Those that are kept, and those that must be fetched."""
        kept: dict[Coordinate, bytes] = {}
        missing = []
        for level, place in wanted:
            tile = self._tiles.get((log.firm, log.origin, level, place))
            if tile is None:
                missing.append((level, place))
            else:
                kept[level, place] = tile
        return kept, missing

    def keep(self, log: Log, tiles: Mapping[Coordinate, bytes]) -> None:
        for (level, place), tile in tiles.items():
            if level and len(tile) == FULL:
                self._tiles[log.firm, log.origin, level, place] = tile
        while len(self._tiles) > self._most:
            self._tiles.popitem(last=False)


def _inclusion(
    index: int, size: int, spans: Spans, tiles: Mapping[Coordinate, bytes], leaf: bytes | None, root: bytes
) -> tuple[bytes, ...]:
    """The proof, verified with the leaf as the record has it."""
    if leaf is None:
        raise RecordAltered(f"event {index} of the firm is gone from the record")
    proof = spans.hashes(tiles)
    if root_of_inclusion(index, size, leaf_hash(leaf), proof) != root:
        raise RecordAltered(f"event {index} of the firm is not what the log was built over, or its tiles were altered")
    return proof


class LogStore:
    """One firm's log over a connection that waits."""

    def __init__(self, c: psycopg.Connection[Any], firm: UUID, cache: TileCache | None = None) -> None:
        self._c = c
        self._firm = firm
        self._cache = cache or TileCache()

    def log(self) -> Log:
        row = self._c.execute(LOG, (self._firm,), binary=True).fetchone()
        if row is None:
            raise NoLog("the firm has no log yet")
        return Log(*row)

    def tiles(self, log: Log, wanted: Iterable[Coordinate]) -> dict[Coordinate, bytes]:
        kept, missing = self._cache.split(log, wanted)
        if missing:
            parameters = ([level for level, _ in missing], [place for _, place in missing], self._firm)
            fetched = {(level, place): tile for level, place, tile in self._c.execute(TILES, parameters, binary=True).fetchall()}
            self._cache.keep(log, fetched)
            kept |= fetched
        return kept

    def leaves(self, indexes: Sequence[int]) -> dict[int, bytes]:
        return dict(self._c.execute(LEAVES, (list(indexes), self._firm), binary=True).fetchall())

    def entries(self, begin: int, end: int) -> list[bytes]:
        """The leaves of a range, in order; RecordAltered when one is missing."""
        rows = self._c.execute(ENTRIES, (self._firm, begin, end), binary=True).fetchall()
        return whole(rows, begin, end)

    def root(self, log: Log, size: int) -> bytes:
        """The root of the log's tree at a size it has had."""
        spans = _root_spans(log, size)
        return spans.hashes(self.tiles(log, spans.tiles))[0]

    def checkpoint_at(self, log: Log, size: int) -> Checkpoint:
        return Checkpoint(log.origin, size, self.root(log, size))

    def inclusions(self, log: Log, indexes: Sequence[int], size: int, root: bytes) -> list[tuple[bytes, ...]]:
        """Proofs for some leaves in the tree of that size and root, each verified with the record."""
        spans = [Spans(inclusion_spans(_within(n, size, log), size)) for n in indexes]
        tiles = self.tiles(log, set().union(*(s.tiles for s in spans)))
        leaves = self.leaves(indexes)
        return [_inclusion(n, size, s, tiles, leaves.get(n), root) for n, s in zip(indexes, spans, strict=True)]

    def proof(self, index: int) -> TlogProof:
        """The proof of a leaf that leads to the newest checkpoint."""
        log = self.log()
        checkpoint = log.checkpoint
        (hashes,) = self.inclusions(log, [index], checkpoint.size, checkpoint.root)
        return TlogProof(index, hashes, str(log.note))

    def consistency(self, log: Log, old: int, new: int) -> tuple[bytes, ...]:
        spans = _consistency_spans(log, old, new)
        return spans.hashes(self.tiles(log, spans.tiles))

    def add_checkpoint(self, old: int) -> AddCheckpoint:
        """The body that shows a witness, or anybody with an older checkpoint, that the newest goes on from there."""
        log = self.log()
        hashes = self.consistency(log, old, log.checkpoint.size) if old else ()
        return AddCheckpoint(old, hashes, str(log.note))


class Reads(Protocol):
    """What an asynchronous read has: a connection inside one firm's fence."""

    @property
    def connection(self) -> psycopg.AsyncConnection[Any]: ...


class AsyncLogStore:
    """One firm's log over a connection that does not block; the same answers as `LogStore`."""

    def __init__(self, c: psycopg.AsyncConnection[Any], firm: UUID, cache: TileCache) -> None:
        self._c = c
        self._firm = firm
        self._cache = cache

    async def _all(self, sql: str, parameters: Sequence[object]) -> list[Any]:
        async with self._c.cursor(binary=True) as cursor:
            await cursor.execute(sql, parameters)
            return await cursor.fetchall()

    async def log(self) -> Log:
        rows = await self._all(LOG, (self._firm,))
        if not rows:
            raise NoLog("the firm has no log yet")
        return Log(*rows[0])

    async def tiles(self, log: Log, wanted: Iterable[Coordinate]) -> dict[Coordinate, bytes]:
        kept, missing = self._cache.split(log, wanted)
        if missing:
            rows = await self._all(TILES, ([level for level, _ in missing], [place for _, place in missing], self._firm))
            fetched = {(level, place): tile for level, place, tile in rows}
            self._cache.keep(log, fetched)
            kept |= fetched
        return kept

    async def leaves(self, indexes: Sequence[int]) -> dict[int, bytes]:
        return dict(await self._all(LEAVES, (list(indexes), self._firm)))

    async def index_at(self, position: int) -> int | None:
        """Where the event at a position of the record stands in the firm's log; None when the firm has none there."""
        rows = await self._all(AT_POSITION, (position, self._firm))
        return int(rows[0][0]) if rows else None

    async def bundle(self, begin: int, end: int) -> bytes:
        return bundle(whole(await self._all(ENTRIES, (self._firm, begin, end)), begin, end))

    async def root(self, log: Log, size: int) -> bytes:
        spans = _root_spans(log, size)
        return spans.hashes(await self.tiles(log, spans.tiles))[0]

    async def inclusions(self, log: Log, indexes: Sequence[int], size: int, root: bytes) -> list[tuple[bytes, ...]]:
        spans = [Spans(inclusion_spans(_within(n, size, log), size)) for n in indexes]
        tiles = await self.tiles(log, set().union(*(s.tiles for s in spans)))
        leaves = await self.leaves(indexes)
        return [_inclusion(n, size, s, tiles, leaves.get(n), root) for n, s in zip(indexes, spans, strict=True)]

    async def proof(self, index: int, note: str | None = None) -> TlogProof:
        """The proof of a leaf that leads to the newest checkpoint, or to the one of `note`."""
        log = await self.log()
        note = note or log.note
        checkpoint = log.checkpoint if note == log.note else Checkpoint.parse(Note.parse(str(note).encode()).text)
        (hashes,) = await self.inclusions(log, [index], checkpoint.size, checkpoint.root)
        return TlogProof(index, hashes, await self.with_cosignatures(log, checkpoint.size, str(note)))

    async def consistency(self, log: Log, old: int, new: int) -> tuple[bytes, ...]:
        spans = _consistency_spans(log, old, new)
        return spans.hashes(await self.tiles(log, spans.tiles))

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


def _root_spans(log: Log, size: int) -> Spans:
    if not 0 <= size <= log.size:
        raise Beyond(size, log.size)
    return Spans([(0, size)])


def _consistency_spans(log: Log, old: int, new: int) -> Spans:
    if new > log.size:
        raise Beyond(new, log.size)
    if not 0 < old <= new:
        raise NotProved("consistency is proved from a size of at least 1 to one that is not smaller")
    return Spans(consistency_spans(old, new))


def note_with(note: str, lines: Iterable[Signature]) -> str:
    return note + "".join(map(str, lines))
