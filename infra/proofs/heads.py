"""Heads: the last event of each contact's chain of consent, sealed in a tree of their own whose root stands in the log.

LG14  A seal has one line for each chain of consent that has an event among the leaves it speaks of, sorted, and no other: a chain that
      was shown without its last event does not fit it.

A line is `tag seq base64(leafhash)\\n`: the tag is the `subject` of the chain's leaves, verbatim, the hash that of the chain's last leaf.
The tree is RFC 6962 over the lines' bytes in their order. The contents of the newest seals are kept, to prove lines in them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import psycopg

from infra.database import Database
from infra.proofs.errors import NotProved
from infra.proofs.store import Log, RecordAltered
from infra.proofs.tiles import WIDTH, Coordinate, Growing, node_from, split, tiles_of
from infra.proofs.tree import inclusion_spans, leaf_hash, nodes_of, root, root_of_inclusion, span_hash

STREAM = "consent"
SEALED = "consent.HeadsSealed.v1"
KEPT = 3
ROWS = 200

# Lines, their leaf hashes, and pieces as wide as a tile are made where several processes of the database can do it: a cursor takes one.
_PIECES = (
    "SELECT n / 256, string_agg(line, '' ORDER BY n), string_agg(sha256('\\x00'::bytea || convert_to(line, 'UTF8')), ''::bytea ORDER BY n),"
    " bool_and(good) FROM (SELECT row_number() OVER (ORDER BY stream) - 1 AS n, line, good FROM (SELECT DISTINCT ON (stream_id)"
    " stream_id AS stream, position(convert_to('\"seq\":' || stream_version || ',', 'UTF8') in public) > 0"
    " OR position(convert_to('\"seq\":' || stream_version || '}', 'UTF8') in public) > 0 AS good,"
    " 'consent/' || stream_id || ' ' || stream_version || ' ' || encode(sha256('\\x00'::bytea || public), 'base64') || E'\\n' AS line"
    " FROM record.events WHERE firm_id = %s AND stream_type = 'consent' AND firm_position < %s"
    " ORDER BY stream_id, stream_version DESC) last) numbered GROUP BY 1 ORDER BY 1"
)
_WHILE_SEALING = (
    ("work_mem", "256MB"),
    ("max_parallel_workers_per_gather", "4"),
    ("parallel_setup_cost", "0"),
    ("parallel_tuple_cost", "0"),
)
_HEADS = (
    "INSERT INTO chancery.log_heads (firm_id, as_of_size, place, first, lines)"
    " SELECT %s, %s, * FROM unnest(%s::bigint[], %s::text[], %s::text[])"
)
_TILES = (
    "INSERT INTO chancery.log_head_tiles (firm_id, as_of_size, level, place, hashes)"
    " SELECT %s, %s, * FROM unnest(%s::smallint[], %s::bigint[], %s::bytea[])"
)
_FORGET_THIS = [
    f"DELETE FROM chancery.{table} WHERE firm_id = %(firm)s AND as_of_size = %(size)s"
    for table in ("log_seals", "log_heads", "log_head_tiles")
]
_FORGET_OLD = [
    f"DELETE FROM chancery.{table} WHERE firm_id = %(firm)s AND as_of_size < (SELECT min(as_of_size) FROM (SELECT as_of_size"
    " FROM chancery.log_seals WHERE firm_id = %(firm)s ORDER BY as_of_size DESC LIMIT %(kept)s) newest)"
    for table in ("log_heads", "log_head_tiles")
]
SEAL = "SELECT as_of_size, root, count, made_at FROM chancery.log_seals WHERE firm_id = %s ORDER BY as_of_size DESC LIMIT %s"
EVENTS = (
    "SELECT firm_position, public FROM record.events WHERE firm_id = %s AND stream_id = %s AND stream_type = 'log' AND type = %s"
    " ORDER BY stream_version DESC LIMIT %s"
)
LINES = (
    "SELECT place, lines FROM chancery.log_heads WHERE firm_id = %s AND as_of_size = %s AND first <= %s ORDER BY first DESC LIMIT 1"
)
HEAD_LINES = "SELECT place, lines FROM chancery.log_heads WHERE firm_id = %s AND as_of_size = %s AND place = ANY(%s)"
HEAD_TILES = "SELECT level::int, place, hashes FROM chancery.log_head_tiles WHERE firm_id = %s AND as_of_size = %s"


class NoHead(NotProved):
    """No seal that is kept has a line of this chain: it began after the last seal, or nothing was sealed yet."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A seal of heads. `event` is the leaf index of the event that holds its root; None while that is not recorded."""

    as_of_size: int
    root: bytes
    count: int
    made_at: datetime
    event: int | None = None


@dataclass(frozen=True, slots=True)
class HeadProof:
    """That a line stands in a seal."""

    seal: Seal
    index: int
    head: str
    inclusion: tuple[bytes, ...]


def seal(database: Database, log: Log) -> Seal:
    """Seal the heads as of the log's size, and keep the lines. The event that says so is the caller's to record (`commands.log.SealHeads`)."""
    growing = Growing()
    above: dict[Coordinate, bytes] = {}
    made_at = datetime.now(UTC)
    about = {"firm": log.firm, "size": log.size, "kept": KEPT}
    with database.connect("record") as reading, database.connect("record") as c, c.transaction():
        c.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"seal {log.firm}",))
        for sql in _FORGET_THIS:
            c.execute(sql, about)
        for pieces in _pieces(reading, log):
            for _, _, hashes in pieces:
                above |= {where: tile for where, tile in growing.extend(split(hashes)).items() if where[0]}
            places, texts, _ = zip(*pieces, strict=True)
            c.execute(_HEADS, (log.firm, log.size, list(places), [tag_of(t) for t in texts], list(texts)))
        if above:
            c.execute(
                _TILES, (log.firm, log.size, [level for level, _ in above], [place for _, place in above], list(above.values()))
            )
        top = root(growing.size, growing.node)
        c.execute(
            "INSERT INTO chancery.log_seals (firm_id, as_of_size, root, count, made_at) VALUES (%s, %s, %s, %s, %s)",
            (log.firm, log.size, top, growing.size, made_at),
        )
        for sql in _FORGET_OLD:
            c.execute(sql, about)
    return Seal(log.size, top, growing.size, made_at)


def _pieces(c: psycopg.Connection[Any], log: Log) -> Iterator[list[tuple[int, str, bytes]]]:
    """The lines as of the log's size with their hashes, sorted, in pieces as wide as a tile, some of them at a time.

    Streams come in the order of their ids, which is that of their text.
    """
    pieces = []
    with c.transaction(), c.cursor(binary=True) as cursor:
        for name, value in _WHILE_SEALING:
            c.execute("SELECT set_config(%s, %s, true)", (name, value))
        for place, lines, hashes, good in cursor.stream(_PIECES, (log.firm, log.size), binary=True):
            if not good:
                raise RecordAltered(
                    "the last event of a chain of consent does not have the seq its place has; run `chancery doctor`"
                )
            pieces.append((place, lines, hashes))
            if len(pieces) == ROWS:
                yield pieces
                pieces = []
    if pieces:
        yield pieces


def tag_of(line: str) -> str:
    return line.partition(" ")[0]


# --- proofs


def _sealing(rows: Sequence[tuple[int, bytes]]) -> dict[int, int]:
    """Of the events that seal heads: by size, where they stand in the log."""
    return {orjson.loads(public)["data"]["as_of_size"]: index for index, public in rows}


def seals(c: psycopg.Connection[Any], firm: UUID, most: int = KEPT) -> list[Seal]:
    """The newest seals whose contents are kept, newest first, those included whose event is not recorded yet."""
    rows = c.execute(SEAL, (firm, most), binary=True).fetchall()
    events = _sealing(c.execute(EVENTS, (firm, firm, SEALED, most), binary=True).fetchall())
    return [Seal(size, root, count, made_at, events.get(size)) for size, root, count, made_at in rows]


async def seals_async(c: psycopg.AsyncConnection[Any], firm: UUID, most: int = KEPT) -> list[Seal]:
    async with c.cursor(binary=True) as cursor:
        rows = await (await cursor.execute(SEAL, (firm, most))).fetchall()
        events = _sealing(await (await cursor.execute(EVENTS, (firm, firm, SEALED, most))).fetchall())
    return [Seal(size, root, count, made_at, events.get(size)) for size, root, count, made_at in rows]


def prove(c: psycopg.Connection[Any], firm: UUID, tag: str, within: Seal | None = None) -> HeadProof:
    """That the chain of this tag has its head in the newest seal that the log's checkpoint covers, or in the one given."""
    chosen = within or _newest(seals(c, firm), c.execute("SELECT size FROM chancery.logs WHERE firm_id = %s", (firm,)).fetchone())
    row = c.execute(LINES, (firm, chosen.as_of_size, tag), binary=True).fetchone()
    index, head = _find(row, tag)
    wanted, spans = _wanted(index, chosen.count)
    lines = c.execute(HEAD_LINES, (firm, chosen.as_of_size, sorted(wanted)), binary=True).fetchall()
    tiles = c.execute(HEAD_TILES, (firm, chosen.as_of_size), binary=True).fetchall()
    return _proof(chosen, index, head, spans, lines, tiles)


async def prove_async(c: psycopg.AsyncConnection[Any], firm: UUID, tag: str) -> HeadProof:
    """As `prove`, over a connection that does not block."""
    async with c.cursor(binary=True) as cursor:
        size = await (await cursor.execute("SELECT size FROM chancery.logs WHERE firm_id = %s", (firm,))).fetchone()
        chosen = _newest(await seals_async(c, firm), size)
        row = await (await cursor.execute(LINES, (firm, chosen.as_of_size, tag))).fetchone()
        index, head = _find(row, tag)
        wanted, spans = _wanted(index, chosen.count)
        lines = await (await cursor.execute(HEAD_LINES, (firm, chosen.as_of_size, sorted(wanted)))).fetchall()
        tiles = await (await cursor.execute(HEAD_TILES, (firm, chosen.as_of_size))).fetchall()
    return _proof(chosen, index, head, spans, lines, tiles)


def _newest(found: Sequence[Seal], size: tuple[int] | None) -> Seal:
    covered = [s for s in found if s.event is not None and size is not None and s.event < size[0]]
    if not covered:
        raise NoHead("no heads have been sealed yet")
    return covered[0]


def _find(row: tuple[int, str] | None, tag: str) -> tuple[int, str]:
    for n, line in enumerate(row[1].splitlines(keepends=True) if row else ()):
        if row is not None and tag_of(line) == tag:
            return row[0] * WIDTH + n, line
    raise NoHead("the newest seal names no chain of this contact: there is none, or it began later")


def _wanted(index: int, count: int) -> tuple[set[int], list[tuple[int, int]]]:
    """The pieces of lines whose hashes the proof needs, and what it consists of."""
    spans = inclusion_spans(index, count)
    return {place for level, place in tiles_of(nodes_of(spans)) if level == 0} | {index // WIDTH}, spans


def _proof(
    chosen: Seal,
    index: int,
    head: str,
    spans: Sequence[tuple[int, int]],
    lines: Sequence[tuple[int, str]],
    tiles: Sequence[tuple[int, int, bytes]],
) -> HeadProof:
    found: dict[Coordinate, bytes] = {(level, place): tile for level, place, tile in tiles}
    for place, text in lines:
        found[0, place] = b"".join(leaf_hash(line.encode()) for line in text.splitlines(keepends=True))
    node = node_from(lambda level, place: found[level, place])
    try:
        inclusion = tuple(span_hash(s, node) for s in spans)
    except LookupError as e:
        raise RecordAltered("lines of the seal are missing; run `chancery doctor`") from e
    if root_of_inclusion(index, chosen.count, leaf_hash(head.encode()), inclusion) != chosen.root:
        raise RecordAltered("the lines of the seal were altered; run `chancery doctor`")
    return HeadProof(chosen, index, head, inclusion)
