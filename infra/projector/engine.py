"""Applying the record to the views, exactly once, whoever else runs.

J1  A view's rows and its position change in one transaction, the position by compare-and-set: a rival's batch is undone whole.
J2  A poisoned event stops its view, loudly and with the event's position, and no other view.
J3  Redelivery changes nothing: what is at or before the position is never applied again.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from threading import Event
from typing import Any
from uuid import UUID

import psycopg
import structlog

from infra.database import Database
from infra.projector.tables import Stored, Table
from infra.record import wire
from infra.record.appender import CHANNEL
from infra.record.reader import decode, fetch_keys, read_after
from infra.record.vault import Vault
from projections.kernel import VIEWS, Recorded, View

log = structlog.get_logger()

VIEWS_CHANNEL = "chancery_views"
BATCH = 1_000


class Outrun(Exception):
    """Another projector moved this view on; its batch stands and ours is undone."""


class Poisoned(Exception):
    """An event could not be applied to a view."""

    def __init__(self, view: str, position: int, error: Exception) -> None:
        super().__init__(f"{view} at {position}: {type(error).__name__}")
        self.view = view
        self.position = position
        self.error = error


def fold_batch(view: View[Any], table: Table[Any], c: psycopg.Connection[Any], events: Iterable[Recorded]) -> None:
    """Apply events to a view's rows: each key's row is read once, folded in memory and written once."""
    touched: list[tuple[Recorded, list[UUID]]] = []
    wanted: dict[tuple[UUID, UUID], None] = {}
    for r in events:
        try:
            keys = list(view.keys(r))
        except Exception as e:
            raise Poisoned(view.name, r.position, e) from e
        if keys:
            touched.append((r, keys))
            for key in keys:
                wanted[(r.firm, key)] = None
    if not touched:
        return
    rows = table.load(c, list(wanted))
    before = set(rows)
    for r, keys in touched:
        for key in keys:
            stored = rows.get((r.firm, key)) or Stored(None)
            try:
                row = view.fold(stored.row, key, r)
            except Exception as e:
                raise Poisoned(view.name, r.position, e) from e
            if row is None:
                rows[(r.firm, key)] = Stored(None)
                continue
            rows[(r.firm, key)] = Stored(
                row,
                r.version if r.stream_id == key else stored.version,
                stored.created_at or r.occurred_at,
                r.occurred_at,
                r.position,
            )
    table.save(
        c,
        {k: s for k, s in rows.items() if s.row is not None and k in wanted},
        [k for k, s in rows.items() if s.row is None and k in before],
    )


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
            except psycopg.OperationalError as e:
                log.warning("projector.interrupted", error=type(e).__name__)
                stop.wait(pause)
                pause = min(pause * 2, 5.0)

    def prepare(self, c: psycopg.Connection[Any]) -> None:
        """Give every view a position; a view whose version rose starts anew."""
        for name, v in self._views.items():
            with c.transaction():
                c.execute(
                    "INSERT INTO chancery.projections (name, version) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING",
                    (name, v.version),
                )
                found = c.execute("SELECT version FROM chancery.projections WHERE name = %s FOR UPDATE", (name,)).fetchone()
                if found is not None and found[0] != v.version:
                    c.execute(self._tables[name].truncate)
                    c.execute(
                        "UPDATE chancery.projections SET version = %s, position = 0, stopped_at = NULL, error = NULL WHERE name = %s",
                        (v.version, name),
                    )
                    log.info("projection.renewed", view=name, version=v.version)

    def positions(self, c: psycopg.Connection[Any]) -> dict[str, int]:
        """Where each view of ours stands that has not stopped."""
        found = c.execute(
            "SELECT name, position FROM chancery.projections WHERE name = ANY(%s) AND stopped_at IS NULL", (list(self._views),)
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
            events = [decode(row, self._vault, keys) for row in rows]
            self.apply(c, {name: p for name, p in positions.items() if p < events[-1].position}, events)
        return 0

    def apply(self, c: psycopg.Connection[Any], positions: dict[str, int], events: Sequence[Recorded]) -> None:
        """Apply a batch to these views: all in one transaction, or each in its own when one of them fails."""
        try:
            with c.transaction():
                for name, position in positions.items():
                    self._apply_one(c, name, position, events)
                c.execute("SELECT pg_notify(%s, %s)", (VIEWS_CHANNEL, str(events[-1].position)))
        except Outrun:
            time.sleep(0.01)
        except Poisoned:
            for name, position in positions.items():
                self._apply_alone(c, name, position, events)

    def _apply_one(self, c: psycopg.Connection[Any], name: str, position: int, events: Sequence[Recorded]) -> None:
        moved = c.execute(
            "UPDATE chancery.projections SET position = %s, updated_at = now() WHERE name = %s AND position = %s AND stopped_at IS NULL",
            (events[-1].position, name, position),
        )
        if moved.rowcount != 1:
            raise Outrun
        fold_batch(self._views[name], self._tables[name], c, (e for e in events if e.position > position))

    def _apply_alone(self, c: psycopg.Connection[Any], name: str, position: int, events: Sequence[Recorded]) -> None:
        batch = [e for e in events if e.position > position]
        while batch:
            try:
                with c.transaction():
                    self._apply_one(c, name, position, batch)
                    c.execute("SELECT pg_notify(%s, %s)", (VIEWS_CHANNEL, str(batch[-1].position)))
                return
            except Outrun:
                return
            except Poisoned as e:
                good = [r for r in batch if r.position < e.position]
                if good:
                    batch = good  # what came before the poison is applied; then it stands alone at the front
                    continue
                log.error("projection.stopped", view=name, position=e.position, error=type(e.error).__name__)
                c.execute(
                    "UPDATE chancery.projections SET stopped_at = %s, error = %s WHERE name = %s AND position = %s",
                    (e.position, type(e.error).__name__, name, position),
                )
                return
