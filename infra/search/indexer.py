"""Keeps the search index up to date with the record: folds streams to entries, reads the text of documents, hands both to a store.

I1  What the index holds depends on the record and the contents alone: kept live, killed, doubled or rebuilt, it is the same.
I2  A poisoned event stops the index, loudly and with its position, and no view and no write.
I3  A rebuild fills another build while this one serves, and swaps in one step.
I4  A content that can't be read costs its own text and nothing else.

It reads no view: an entry is folded from its own stream, taken up in memory where it was left less than a minute ago.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import Any, Protocol
from uuid import UUID

import psycopg
import structlog

from domain.kernel import FirmId
from infra.database import Database
from infra.record import wire
from infra.record.appender import CHANNEL
from infra.record.reader import COLUMNS, EventRow, decode, fetch_keys
from infra.record.vault import Vault
from infra.search.contents import Blobs, Contents
from infra.search.pgstore import NAME, Key, Outrun, PgStore, Stuck
from projections import search
from projections.kernel import Recorded
from projections.search import STREAMS, Entry, Standing
from queries import analysis

log = structlog.get_logger()

VERSION = search.VERSION * 1_000 + analysis.VERSION
BATCH = 500
REMEMBERED = 20_000  # streams, for as long as a data key may be held in memory
SECONDS = 60.0

_AFTER = f"SELECT {COLUMNS} FROM record.events WHERE position > %s AND position <= %s AND stream_type = ANY(%s) ORDER BY position LIMIT %s"
_EARLIER = (
    f"SELECT {', '.join('e.' + c for c in COLUMNS.split(', '))}"
    " FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::bigint[]) k(f, i, t, v)"
    " JOIN record.events e ON e.firm_id = k.f AND e.stream_id = k.i AND e.stream_type = k.t AND e.stream_version < k.v"
    " ORDER BY e.firm_id, e.stream_id, e.stream_version"
)


class Store(Protocol):
    """Where entries go. `apply` is all or nothing, and refuses with Outrun when the index is not at `position`."""

    def position(self) -> int | None: ...

    def apply(self, position: int, reached: int, changes: Mapping[Key, Entry | None]) -> None: ...

    def stop(self, position: int, poison: int, error: Exception) -> None: ...


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


class Indexer:
    """Follows the record. One thread or process runs it; a second one by mistake does no harm."""

    def __init__(
        self, database: Database, vault: Vault, blobs: Blobs, *, batch: int = BATCH, contents: Contents | None = None
    ) -> None:
        self._database = database
        self._vault = vault
        self._contents = contents or Contents(blobs)
        self._batch = batch
        self._kept: dict[Id, _Kept] = {}

    def run(self, stop: Event) -> None:
        """Catch up and follow until told to stop; the database may go away and come back."""
        pause = 0.1
        while not stop.is_set():
            try:
                with self._database.connect("record") as c, self._database.connect("record") as listening:
                    wire.register(c)
                    c.execute("SET synchronous_commit = off")  # a lost batch is applied again: entries and position go together
                    listening.execute(f"LISTEN {CHANNEL}")
                    self.prepare(c, stop)
                    pause = 0.1
                    while not stop.is_set():
                        self.catch_up(c, stop)
                        for _ in listening.notifies(timeout=0.5, stop_after=1):
                            pass
            except psycopg.Error as e:
                log.warning("search.interrupted", error=type(e).__name__)
                stop.wait(pause)
                pause = min(pause * 2, 5.0)

    def prepare(self, c: psycopg.Connection[Any], stop: Event | None = None) -> None:
        """Give the index a position. One made by another version is rebuilt beside, and serves until then."""
        c.execute("INSERT INTO chancery.projections (name, version) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING", (NAME, VERSION))
        row = c.execute("SELECT version, position, stopped_at FROM chancery.projections WHERE name = %s", (NAME,)).fetchone()
        if row is not None and row[0] != VERSION and self.rebuild(c, stop):
            c.execute("UPDATE chancery.projections SET version = %s WHERE name = %s", (VERSION, NAME))
            log.info("search.renewed", version=VERSION)
        ahead = c.execute(
            "UPDATE chancery.projections SET stopped_at = position, error = 'AheadOfRecord' WHERE name = %s AND stopped_at IS NULL"
            " AND position > (SELECT position FROM record.head) RETURNING position",
            (NAME,),
        )
        for (position,) in ahead.fetchall():
            log.error("projection.stopped", view=NAME, position=position, error="AheadOfRecord")

    def catch_up(self, c: psycopg.Connection[Any], stop: Event | None = None, store: Store | None = None) -> int:
        """Index everything there is; answers the position reached."""
        into: Store = store or PgStore.live(c)
        while True:
            position = into.position()
            if position is None or (stop is not None and stop.is_set()):
                return position or 0
            try:
                reached = self._once(c, into, position)
            except Outrun:
                self._kept.clear()
                if store is None:
                    into = PgStore.live(c)
                time.sleep(0.01)
                continue
            if reached is None:
                self._forget_old()
                return position

    def rebuild(
        self, c: psycopg.Connection[Any], stop: Event | None = None, *, progress: Callable[[int], None] | None = None
    ) -> bool:
        """Index the whole record anew while the present index serves; then swap. False when told to stop before: it goes on from there."""
        self._kept.clear()
        store = PgStore.fill(c)
        while stop is None or not stop.is_set():
            before = store.position()
            try:
                reached = self.catch_up(c, stop, store)
            except Stuck:
                store.give_up()
                return False
            if progress is not None:
                progress(reached)
            if store.swap():
                log.info("search.rebuilt", position=reached)
                return True
            if before is None:
                return False
            time.sleep(0.01)
        return False

    def again(self, c: psycopg.Connection[Any], things: Sequence[Id]) -> None:
        """Make the entries of these (firm, stream type, id) anew from what the record holds of them now: after an erasure."""
        for thing in things:
            self._kept.pop(thing, None)
        wanted = [t for t in things if t[1] in STREAMS]
        with c.transaction():
            c.execute("SELECT FROM chancery.projections WHERE name = %s FOR UPDATE", (NAME,))
            store = PgStore.live(c)
            position = store.position() or 0
            found = self._earlier(c, [(*t, 1 << 62) for t in wanted], until=position)
            changes: dict[Key, Entry | None] = {}
            for thing in wanted:
                standing, entry = Standing(), None
                kind = STREAMS[thing[1]]
                for r in found.get(thing, ()):
                    standing = search.step(kind, standing, r)
                entry = search.entry(kind, FirmId(thing[0]), thing[2], standing)
                changes[Key(thing[0], kind.name, thing[2])] = None if entry is None else self._with_body(c, entry)
            store.write(changes)

    # --- one batch

    def _once(self, c: psycopg.Connection[Any], store: Store, position: int) -> int | None:
        """Index the next events; the position reached, or None when there are none or the index has stopped."""
        head = int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])
        if head <= position:
            return None
        cursor = c.cursor(binary=True)
        cursor.execute(_AFTER, (position, head, list(STREAMS), self._batch))
        rows = [EventRow(*row) for row in cursor.fetchall()]
        reached = rows[-1].position if len(rows) == self._batch else head
        while True:
            try:
                store.apply(position, reached, self._changes(c, rows))
                return reached
            except _Poison as e:
                self._kept.clear()
                if not rows or e.position <= rows[0].position:
                    self._stop(store, position, e.position, e.error)
                    return None
                rows = [r for r in rows if r.position < e.position]
            except (psycopg.OperationalError, psycopg.InterfaceError):
                raise
            except psycopg.Error as e:  # the database refuses the batch: halve it until the event that is to blame stands alone
                self._kept.clear()
                if len(rows) <= 1:
                    self._stop(store, position, rows[0].position if rows else reached, e)
                    return None
                rows = rows[: len(rows) // 2]
            reached = rows[-1].position

    def _stop(self, store: Store, position: int, poison: int, error: Exception) -> None:
        log.error("projection.stopped", view=NAME, position=poison, error=type(error).__name__)
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
        """Let go of what was not used for a minute, and of the oldest when there is much."""
        limit = time.monotonic() - SECONDS
        kept = {thing: k for thing, k in self._kept.items() if k.used > limit}
        self._kept = dict(list(kept.items())[-REMEMBERED:])
