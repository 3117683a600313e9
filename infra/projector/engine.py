"""Applying the record to the views, exactly once, whoever else runs.

J1  A view's rows and its position change in one transaction, the position by compare-and-set: a rival's batch is undone whole.
J2  A poisoned event stops its view, loudly and with the event's position, and no other view.
J3  Redelivery changes nothing: what is at or before the position is never applied again.
J4  A view that is ahead of the record (a restore lost events it has seen) stops, loudly; it is rebuilt, never trusted.
"""

import time
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any

import psycopg
import structlog

from infra.database import Database
from infra.projector.folding import Poisoned, fold_batch
from infra.projector.rebuild import rebuild
from infra.projector.tables import Table
from infra.record import wire
from infra.record.appender import CHANNEL
from infra.record.reader import FOREIGN, decode, fetch_keys, read_after
from infra.record.vault import Vault
from projections.kernel import VIEWS, Recorded, View

log = structlog.get_logger()

VIEWS_CHANNEL = "chancery_views"
BATCH = 1_000


class Outrun(Exception):
    """Another projector moved this view on; its batch stands and ours is undone."""


class Projector:
    """Keeps a set of views up to date. One thread or process runs it; a second one by mistake does no harm."""

    def __init__(self, database: Database, vault: Vault, views: Sequence[View[Any]] | None = None, batch: int = BATCH) -> None:
        self._database = database
        self._vault = vault
        self._views = {v.name: v for v in (views if views is not None else VIEWS.values())}
        self._tables = {name: Table(v) for name, v in self._views.items()}
        self._batch = batch

    def run(self, stop: Event, *, progress: Callable[[int], None] | None = None) -> None:
        """Catch up and follow the record until told to stop; the database may go away and come back."""
        pause = 0.1
        while not stop.is_set():
            try:
                with self._database.connect("record") as c, self._database.connect("record") as listening:
                    wire.register(c)
                    c.execute("SET synchronous_commit = off")  # a lost batch is applied again: rows and position go together
                    listening.execute(f"LISTEN {CHANNEL}")
                    self.prepare(c)
                    pause = 0.1
                    while not stop.is_set():
                        reached = self.catch_up(c, stop)
                        if progress is not None:
                            progress(reached)
                        for _ in listening.notifies(timeout=0.5, stop_after=1):
                            pass
            except psycopg.Error as e:  # what an event causes is Poisoned; this is the connection or the server
                log.warning("projector.interrupted", error=type(e).__name__)
                stop.wait(pause)
                pause = min(pause * 2, 5.0)

    def prepare(self, c: psycopg.Connection[Any]) -> None:
        """Give every view a position; a view whose version rose is rebuilt while the old one serves."""
        renewed: list[View[Any]] = []
        for name, v in self._views.items():
            with c.transaction():
                c.execute(
                    "INSERT INTO chancery.projections (name, version) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING",
                    (name, v.version),
                )
                found = c.execute("SELECT version FROM chancery.projections WHERE name = %s", (name,)).fetchone()
                if found is not None and found[0] != v.version:
                    renewed.append(v)
        if renewed:
            rebuild(self._database, self._vault, renewed)
        ahead = c.execute(
            "UPDATE chancery.projections SET stopped_at = position, error = 'AheadOfRecord' WHERE name = ANY(%s)"
            " AND stopped_at IS NULL AND position > (SELECT position FROM record.head) RETURNING name, position",
            (list(self._views),),
        )
        for name, position in ahead.fetchall():
            log.error("projection.stopped", view=name, position=position, error="AheadOfRecord")

    def positions(self, c: psycopg.Connection[Any]) -> dict[str, int]:
        """Where each view of ours stands that has not stopped, in one order for all projectors, so that they never deadlock."""
        found = c.execute(
            "SELECT name, position FROM chancery.projections WHERE name = ANY(%s) AND stopped_at IS NULL ORDER BY name",
            (list(self._views),),
        )
        return dict(found.fetchall())

    def catch_up(self, c: psycopg.Connection[Any], stop: Event | None = None) -> int:
        """Apply everything there is; answers the lowest position reached."""
        while stop is None or not stop.is_set():
            positions = self.positions(c)
            if not positions:
                return 0
            lowest = min(positions.values())
            rows = read_after(c, lowest, self._batch)
            if not rows:
                return lowest
            keys = fetch_keys(c, self._vault, rows)
            events: list[Recorded] = []
            reached = rows[-1].position
            for row in rows:
                if row.stream_type == FOREIGN:
                    continue
                try:
                    events.append(decode(row, self._vault, keys))
                except Exception as e:  # nobody can read it: what came before is applied, then every view stops at it
                    if row is rows[0]:
                        for name, position in positions.items():
                            if position < row.position:
                                self._stop(c, name, position, row.position, e)
                    reached = row.position - 1
                    break
            self.apply(c, {name: p for name, p in positions.items() if p < reached}, events, reached)
        return 0

    def apply(self, c: psycopg.Connection[Any], positions: dict[str, int], events: Sequence[Recorded], reached: int) -> None:
        """Apply a batch that ends at `reached` to these views: all in one transaction, or each in its own when one of them fails."""
        if not positions:
            return
        try:
            with c.transaction():
                for name, position in positions.items():
                    self._apply_one(c, name, position, events, reached)
                c.execute("SELECT pg_notify(%s, %s)", (VIEWS_CHANNEL, str(reached)))
        except Outrun:
            time.sleep(0.01)
        except Poisoned:
            for name, position in positions.items():
                self._apply_alone(c, name, position, events, reached)

    def _apply_one(self, c: psycopg.Connection[Any], name: str, position: int, events: Sequence[Recorded], reached: int) -> None:
        moved = c.execute(
            "UPDATE chancery.projections SET position = %s, updated_at = now() WHERE name = %s AND position = %s AND stopped_at IS NULL",
            (reached, name, position),
        )
        if moved.rowcount != 1:
            raise Outrun
        fold_batch(self._views[name], self._tables[name], c, (e for e in events if e.position > position))

    def _apply_alone(self, c: psycopg.Connection[Any], name: str, position: int, events: Sequence[Recorded], reached: int) -> None:
        """Apply as much of the batch as goes; when its first event is the one that does not, the view stops."""
        batch = [e for e in events if e.position > position]
        while True:
            try:
                with c.transaction():
                    self._apply_one(c, name, position, batch, reached)
                    c.execute("SELECT pg_notify(%s, %s)", (VIEWS_CHANNEL, str(reached)))
                return
            except Outrun:
                return
            except Poisoned as e:
                if e.position is not None and e.position > batch[0].position:
                    batch = [r for r in batch if r.position < e.position]
                elif e.position is None and len(batch) > 1:
                    batch = batch[: len(batch) // 2]
                else:
                    self._stop(c, name, position, batch[0].position, e.error)
                    return
                reached = batch[-1].position

    def _stop(self, c: psycopg.Connection[Any], name: str, position: int, poison: int, error: Exception) -> None:
        log.error("projection.stopped", view=name, position=poison, error=type(error).__name__)
        c.execute(
            "UPDATE chancery.projections SET stopped_at = %s, error = %s WHERE name = %s AND position = %s",
            (poison, type(error).__name__, name, position),
        )
