"""Keeps the search index up to date with the record: folds streams to entries, reads the text of documents, hands both to a store.

I1  What the index holds depends on the record and the contents alone: kept live, killed, doubled or rebuilt, it is the same.
I2  A poisoned event stops the index, loudly and with its position, and no view and no write.
I3  A rebuild fills another build while this one serves, and swaps in one step.
I4  A content that can't be read costs its own text and nothing else.

It reads no view: an entry is folded from its own stream, taken up in memory where it was left less than a minute ago.
"""

import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import Any
from uuid import UUID

import psycopg
import structlog

from domain.kernel import FirmId
from infra.blobs import BlobStore
from infra.database import Database, interrupted
from infra.record import wire
from infra.record.appender import CHANNEL
from infra.record.reader import COLUMNS, EventRow, decode, fetch_keys
from infra.record.vault import Vault
from infra.search.contents import Contents
from infra.search.pgindex import PgIndex
from infra.search.pgstore import NAME, Key, Outrun, Stuck
from infra.search.port import Index, Remade, Store
from projections import search
from projections.kernel import Recorded
from projections.search import Entry, Standing
from projections.search.kinds import STREAMS
from queries import analysis

log = structlog.get_logger()

VERSION = search.VERSION * 1_000 + analysis.VERSION
BATCH = 500
REMEMBERED = 10_000  # streams, for as long as a data key may be held in memory
SECONDS = 60.0

GATHER_SECONDS = (
    0.02  # what is recorded one by one is indexed a few at a time: nobody finds sooner than they can type, and views come first
)
TOLD_SECONDS = 5.0
_HEAD = "SELECT h.position, e.again, e.engine FROM record.head h, chancery.search_engine e"
_AFTER = f"SELECT {COLUMNS} FROM record.events WHERE position > %s AND position <= %s AND stream_type = ANY(%s) ORDER BY position LIMIT %s"
_EARLIER = (
    f"SELECT {', '.join('e.' + c for c in COLUMNS.split(', '))}"
    " FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::bigint[]) k(f, i, t, v)"
    " JOIN record.events e ON e.firm_id = k.f AND e.stream_id = k.i AND e.stream_type = k.t AND e.stream_version < k.v"
    " ORDER BY e.firm_id, e.stream_id, e.stream_version"
)


@dataclass(slots=True)
class _Kept:
    standing: Standing
    used: float


class _Poison(Exception):
    def __init__(self, position: int, error: Exception) -> None:
        super().__init__(position)
        self.position = position
        self.error = error


Id = tuple[UUID, str, UUID]


def _never() -> bool:
    return False


def _why(e: Exception) -> str:
    """What may be logged of an interruption: ours say what happened; the database's may quote values."""
    return "" if isinstance(e, psycopg.Error) else str(e)


class Indexer:
    """Follows the record. One thread or process runs it; a second one by mistake does no harm."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        blobs: BlobStore,
        *,
        batch: int = BATCH,
        contents: Contents | None = None,
        index: Index | None = None,
    ) -> None:
        self._database = database
        self._vault = vault
        self._contents = contents or Contents(blobs)
        self._batch = batch
        self._index: Index = index or PgIndex()
        self._kept: OrderedDict[Id, _Kept] = OrderedDict()  # those used last at the end
        self._again = -1
        self._told = time.monotonic()

    def run(self, stop: Event) -> None:
        """Catch up and follow until told to stop; the database and the engine may go away and come back."""
        pause = 0.1
        lost = self._index.lost
        losses: tuple[type[Exception], ...] = (psycopg.Error, *lost)
        while not stop.is_set():
            try:
                with self._database.connect("record") as c, self._database.connect("record") as listening:
                    wire.register(c)
                    c.execute("SET synchronous_commit = off")  # a lost batch is applied again: entries and position go together
                    listening.execute(f"LISTEN {CHANNEL}")
                    try:
                        self.prepare(c, stop)
                        self.catch_up(c, stop)
                        self._well(c)
                        pause = 0.1
                        while not stop.is_set():
                            for _ in listening.notifies(timeout=0.5, stop_after=1):
                                stop.wait(GATHER_SECONDS)
                            self.catch_up(c, stop)
                    except lost as e:
                        self._index.away(c, e)
                        raise
            except losses as e:
                self._kept.clear()
                interrupted(log, "search.interrupted", e, engine=self._index.engine, why=_why(e))
                stop.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 # nosec B311 - spreads retries; not a secret
                pause = min(pause * 2, 5.0)

    def _well(self, c: psycopg.Connection[Any]) -> None:
        """It has been everywhere it needs to be: what was wrong is over, although nothing new may have come that would show it."""
        c.execute(
            "UPDATE chancery.projections SET error = NULL WHERE name = %s AND stopped_at IS NULL AND error IS NOT NULL",
            (self._index.name,),
        )

    def prepare(self, c: psycopg.Connection[Any], stop: Event | None = None) -> None:
        """Give the index a position. One made by another version is rebuilt beside, and serves until then."""
        name = self._index.name
        c.execute("INSERT INTO chancery.projections (name, version) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING", (name, VERSION))
        self._index.open(c)
        if not self._index.current(c, VERSION) and self.rebuild(c, stop):
            self._index.renewed(c, VERSION)
            log.info("search.renewed", engine=self._index.engine, version=VERSION)
        ahead = c.execute(
            "UPDATE chancery.projections SET stopped_at = position, error = 'AheadOfRecord' WHERE name = %s AND stopped_at IS NULL"
            " AND position > (SELECT position FROM record.head) RETURNING position",
            (name,),
        )
        for (position,) in ahead.fetchall():
            log.error("projection.stopped", view=name, position=position, error="AheadOfRecord")

    def catch_up(self, c: psycopg.Connection[Any], stop: Event | None = None, store: Store | None = None) -> int:
        """Index everything there is; answers the position reached."""
        stopping = stop.is_set if stop is not None else _never
        while True:
            try:
                into: Store = store or self._index.live(c, stopping)
                position = into.position()
                if position is None or stopping():
                    into.settle()
                    return position or 0
                while True:
                    reached = self._once(c, into, position)
                    self._forget_old()
                    if reached is None:
                        into.settle()
                        return position
                    if stopping():
                        into.settle()
                        return reached
                    position = reached
                    self._tell(c, position)
            except Outrun:
                self._kept.clear()
                if store is not None and store.position() is None:
                    return 0
                time.sleep(0.01)

    def rebuild(
        self, c: psycopg.Connection[Any], stop: Event | None = None, *, progress: Callable[[int], None] | None = None
    ) -> bool:
        """Index the whole record anew while the present index serves; then swap. False when told to stop before: it goes on from there."""
        self._kept.clear()
        store = self._index.fill(c, VERSION, stop.is_set if stop is not None else _never)
        while stop is None or not stop.is_set():
            before = store.position()
            if before is None:
                return False
            try:
                reached = self.catch_up(c, stop, store)
            except Stuck:
                store.give_up()
                return False
            if progress is not None:
                progress(reached)
            if stop is not None and stop.is_set():
                return False
            if store.swap():
                log.info("search.rebuilt", engine=self._index.engine, position=reached)
                return True
            time.sleep(0.01)
        return False

    def again(self, c: psycopg.Connection[Any], things: Sequence[Id]) -> None:
        """Make the entries of these (firm, stream type, id) anew from what the record holds of them now: after an erasure.

        Every indexer, wherever it runs, then forgets what it remembers."""
        for thing in things:
            self._kept.pop(thing, None)
        wanted = [t for t in things if t[1] in STREAMS]
        c.execute("UPDATE chancery.search_engine SET again = again + 1")

        def fold(until: int | None) -> Remade:
            found = self._earlier(c, [(*t, 1 << 62) for t in wanted], until=1 << 62 if until is None else until)
            changes: dict[Key, tuple[int, Entry | None]] = {}
            for thing in wanted:
                standing = Standing()
                kind = STREAMS[thing[1]]
                for r in found.get(thing, ()):
                    standing = search.step(kind, standing, r)
                entry = search.entry(kind, FirmId(thing[0]), thing[2], standing)
                at = standing.last.position if standing.last is not None else 0
                changes[Key(thing[0], kind.name, thing[2])] = (at, None if entry is None else self._with_body(c, entry))
            return changes

        if wanted:
            self._index.again(c, fold)

    # --- one batch

    def _once(self, c: psycopg.Connection[Any], store: Store, position: int) -> int | None:
        """Index the next events; the position reached, or None when there are none, the index has stopped, or another engine's turn it is."""
        head, again, engine = c.execute(_HEAD).fetchone() or (0, 0, self._index.engine)
        if engine != self._index.engine and self._index.name == NAME:
            log.warning("search.not_my_turn", engine=self._index.engine, set=engine)
            return None
        if again != self._again:
            self._kept.clear()
            self._again = again
        if head <= position:
            return None
        cursor = c.cursor(binary=True)
        cursor.execute(_AFTER, (position, head, list(STREAMS), self._batch))
        rows = [EventRow(*row) for row in cursor.fetchall()]
        reached = rows[-1].position if len(rows) == self._batch else int(head)
        refuses = self._index.refuses
        while True:
            try:
                store.apply(position, reached, self._changes(c, rows))
                self._made_again_meanwhile(c, rows)
                return reached
            except _Poison as e:
                self._kept.clear()
                if not rows or e.position <= rows[0].position:
                    self._stop(store, position, e.position, e.error)
                    return None
                rows = [r for r in rows if r.position < e.position]
            except (psycopg.OperationalError, psycopg.InterfaceError):
                raise
            except refuses as e:  # the engine refuses the batch: halve it until the event that is to blame stands alone
                self._kept.clear()
                if len(rows) <= 1:
                    self._stop(store, position, rows[0].position if rows else reached, e)
                    return None
                rows = rows[: len(rows) // 2]
            reached = rows[-1].position

    def _made_again_meanwhile(self, c: psycopg.Connection[Any], rows: Sequence[EventRow]) -> None:
        """What was erased while this batch was made may stand in it: make its entries again."""
        (again,) = c.execute("SELECT again FROM chancery.search_engine").fetchone() or (self._again,)
        if again != self._again:
            self._kept.clear()
            self.again(c, list({(r.firm_id, r.stream_type, r.stream_id) for r in rows}))
            self._again = -1

    def _tell(self, c: psycopg.Connection[Any], position: int) -> None:
        """How far it is, every few seconds of a long way; to keep up with what comes in is none."""
        now = time.monotonic()
        if now - self._told < TOLD_SECONDS:
            return
        self._told = now
        (head,) = c.execute("SELECT position FROM record.head").fetchone() or (position,)
        if head - position >= self._batch:
            log.info("search.catching_up", engine=self._index.engine, position=position, of=head)

    def _stop(self, store: Store, position: int, poison: int, error: Exception) -> None:
        log.error("projection.stopped", view=self._index.name, position=poison, error=type(error).__name__)
        store.stop(position, poison, error)

    def _changes(self, c: psycopg.Connection[Any], rows: Sequence[EventRow]) -> dict[Key, Entry | None]:
        """The entries these events change, as they then stand; None where nothing is found any more."""
        events = self._decoded(c, rows)
        first: dict[Id, int] = {}
        for r in events:
            first.setdefault((r.firm, r.stream_type, r.stream_id), r.version)
        now = time.monotonic()
        standing: dict[Id, Standing] = {}
        missing: list[tuple[UUID, str, UUID, int]] = []
        for thing, version in first.items():
            kept = self._kept.get(thing)
            if kept is not None and kept.standing.version == version - 1 and now - kept.used < SECONDS:
                standing[thing] = kept.standing
            elif version > 1:
                missing.append((*thing, version))
        for thing, earlier in self._earlier(c, missing).items():
            before = Standing()
            for r in earlier:
                before = self._step(before, r)
            standing[thing] = before
        for r in events:
            thing = (r.firm, r.stream_type, r.stream_id)
            standing[thing] = self._step(standing.get(thing, Standing()), r)
        changes: dict[Key, Entry | None] = {}
        for thing in first:
            firm, stream, id = thing
            after = standing[thing]
            kind = STREAMS[stream]
            try:
                entry = search.entry(kind, FirmId(firm), id, after)
            except Exception as e:
                raise _Poison(after.last.position if after.last else 0, e) from e
            changes[Key(firm, kind.name, id)] = None if entry is None else self._with_body(c, entry)
            self._kept[thing] = _Kept(after, now)
            self._kept.move_to_end(thing)
        return changes

    def _step(self, before: Standing, r: Recorded) -> Standing:
        try:
            return search.step(STREAMS[r.stream_type], before, r)
        except Exception as e:
            raise _Poison(r.position, e) from e

    def _decoded(self, c: psycopg.Connection[Any], rows: Sequence[EventRow]) -> list[Recorded]:
        keys = fetch_keys(c, self._vault, rows)
        events: list[Recorded] = []
        for row in rows:
            try:
                events.append(decode(row, self._vault, keys))
            except Exception as e:
                raise _Poison(row.position, e) from e
        return events

    def _earlier(
        self, c: psycopg.Connection[Any], wanted: Sequence[tuple[UUID, str, UUID, int]], until: int = 1 << 62
    ) -> dict[Id, list[Recorded]]:
        """The events of each stream before a version, in order."""
        found: dict[Id, list[Recorded]] = {}
        if not wanted:
            return found
        cursor = c.cursor(binary=True)
        cursor.execute(_EARLIER, ([w[0] for w in wanted], [w[2] for w in wanted], [w[1] for w in wanted], [w[3] for w in wanted]))
        while batch := cursor.fetchmany(2_000):
            for r in self._decoded(c, [row for row in (EventRow(*b) for b in batch) if row.position <= until]):
                found.setdefault((r.firm, r.stream_type, r.stream_id), []).append(r)
        return found

    def _with_body(self, c: psycopg.Connection[Any], entry: Entry) -> Entry:
        if entry.content is None:
            return entry
        name = next((t.text for t in entry.texts if t.name == "file_name"), None)
        read = self._contents.text(c, entry.firm, entry.content.sha256, entry.content.media_type, name)
        return replace(entry, body=read.text, unread=read.unread)

    def _forget_old(self) -> None:
        """Let go of what was not used for a minute, and of what was used longest ago when there is much."""
        limit = time.monotonic() - SECONDS
        while self._kept and (len(self._kept) > REMEMBERED or next(iter(self._kept.values())).used < limit):
            self._kept.popitem(last=False)
