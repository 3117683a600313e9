"""Keeps the graph in Neo4j up to date with the record: the folds of the views, fed from the log, written in guarded batches.

GN2  A batch and the position it leads to are one transaction, which refuses when the graph is not where the batch begins.
GN5  A poisoned event stops the graph, loudly and with its position, and nothing else.
GN6  A graph that is ahead of the record (a restore lost events it has seen) stops, loudly; it is rebuilt, never trusted.

Neo4j says where the graph stands; `chancery.projections` shows it to `status`, `/readyz` and the reads that wait for a position.
"""

import random
import time
from contextlib import contextmanager
from threading import Event
from typing import Any
from uuid import UUID

import psycopg
import structlog
from neo4j import Driver
from neo4j.exceptions import DriverError, Neo4jError

from infra.database import Database, interrupted, letting_go
from infra.followers import Parts, Progress
from infra.graph.neo4j import store as st
from infra.graph.neo4j.client import Address, driver
from infra.graph.neo4j.filling import BATCH, NAME, Filler, sealer
from infra.graph.neo4j.purging import made_anew
from infra.graph.neo4j.rows import digest
from infra.graph.neo4j.store import VERSION, Outrun, Store
from infra.projector.engine import VIEWS_CHANNEL
from infra.projector.folding import Poisoned
from infra.record import wire
from infra.record.appender import CHANNEL
from infra.record.vault import Vault

log = structlog.get_logger()

GRACE = 15.0  # seconds an old build stays after a rebuild, for questions that began with it
REBUILD_LOCK = 7_020_240_031
TOLD = 5.0  # seconds between two words of progress in the log


class AlreadyRebuilding(Exception):
    """Another process rebuilds the graph, or clears up after one. Wait until it is done."""


class Neo4jFollower:
    """The graph as a follower of the record. A second one by mistake, or one that was stopped for long, does no harm."""

    name = NAME

    def __init__(self, database: Database, vault: Vault, address: Address, *, batch: int = BATCH, grace: float = GRACE) -> None:
        self._database = database
        self._vault = vault
        self._address = address
        self._batch = batch
        self._grace = grace

    def run(self, stop: Event) -> None:
        """Catch up and follow the record until told to stop. Neo4j and the database may go away and come back."""
        pause = 0.1
        while not stop.is_set():
            try:
                with (
                    driver(self._address) as neo4j,
                    self._database.connect("record") as c,
                    self._database.connect("record") as listening,
                ):
                    wire.register(c)
                    listening.execute(f"LISTEN {CHANNEL}")
                    build = self.prepare(neo4j, c, stop)
                    filler = Filler(neo4j, self._vault, build.number, live=True, batch=self._batch)
                    pause, filled = 0.1, False
                    while not stop.is_set():
                        if not self._stopped(c):
                            reached = self._follow(c, filler, stop)
                            if reached and not filled:
                                st.filled(neo4j, build.number)
                            filled = filled or reached
                        for _ in listening.notifies(timeout=0.5, stop_after=1):
                            pass
            except Outrun:
                stop.wait(0.05)
            except (psycopg.Error, DriverError, Neo4jError, OSError) as e:
                interrupted(log, "graph.interrupted", e, code=getattr(e, "code", None))
                stop.wait(pause)
                pause = min(pause * 2, 2.0)

    def prepare(self, neo4j: Driver, c: psycopg.Connection[Any], stop: Event | None = None) -> st.Build:
        """See to constraints, to a build of this version, and that what is shown is so; answers the build that serves."""
        build = st.prepare(neo4j)
        c.execute(
            "INSERT INTO chancery.projections (name, version, position) VALUES (%s, %s, 0) ON CONFLICT (name) DO NOTHING",
            (NAME, VERSION),
        )
        if build.version != VERSION:
            log.info("graph.renewing", before=build.version, now=VERSION)
            self._rebuild(neo4j, c, stop, None)
            build = st.live(neo4j) or build
        elif len(st.builds(neo4j)) > 1:
            self._clear(neo4j)
        (head,) = c.execute("SELECT position FROM record.head").fetchone() or (0,)
        if build.position > head:
            self._stop(c, build.position, "AheadOfRecord")
        self._show(c, build.position, exactly=True)
        return build

    def _clear(self, neo4j: Driver) -> None:
        """Take out what a rebuild left that did not come to its end."""
        try:
            with self._alone():
                for b in st.builds(neo4j):
                    if not b.live:
                        st.sweep(neo4j, b.number)
        except AlreadyRebuilding:
            pass

    def _follow(self, c: psycopg.Connection[Any], filler: Filler, stop: Event) -> bool:
        """Whether it came to the end of the record."""
        (head,) = c.execute("SELECT position FROM record.head").fetchone() or (0,)
        said = time.monotonic()

        def told(position: int) -> None:
            nonlocal said
            self._show(c, position)
            if position < head and time.monotonic() - said > TOLD:
                said = time.monotonic()
                log.info("graph.filling", position=position, of=head)

        try:
            filler.catch_up(c, stop, told=told)
        except Outrun:
            if filler.store.position() is None or not filler.serves():
                raise
            stop.wait(random.uniform(0.01, 0.1))  # noqa: S311 # nosec B311 - so that two do not go on meeting
        except Poisoned as e:
            self._stop(c, e.position or 0, type(e.error).__name__)
        else:
            return not stop.is_set()
        return False

    # --- what is shown

    def _show(self, c: psycopg.Connection[Any], position: int, *, exactly: bool = False) -> None:
        """A position that is behind what is shown is an old writer's, unless it was just read from Neo4j."""
        c.execute(
            "UPDATE chancery.projections SET position = %(p)s, version = %(v)s, updated_at = now()"
            " WHERE name = %(n)s AND (%(x)s OR position < %(p)s)",
            {"p": position, "v": VERSION, "n": NAME, "x": exactly},
        )
        c.execute("SELECT pg_notify(%s, %s)", (VIEWS_CHANNEL, str(position)))

    def _stopped(self, c: psycopg.Connection[Any]) -> bool:
        found = c.execute("SELECT stopped_at FROM chancery.projections WHERE name = %s", (NAME,)).fetchone()
        return found is not None and found[0] is not None

    def _stop(self, c: psycopg.Connection[Any], position: int, error: str) -> None:
        c.execute(
            "UPDATE chancery.projections SET stopped_at = %s, error = %s WHERE name = %s AND stopped_at IS NULL",
            (position, error, NAME),
        )
        log.error("projection.stopped", view=NAME, position=position, error=error)

    # --- rebuilding

    @contextmanager
    def _alone(self) -> Any:
        """Nobody else rebuilds or clears up meanwhile."""
        with self._database.connect("record") as c, letting_go(c):
            if not (c.execute("SELECT pg_try_advisory_lock(%s)", (REBUILD_LOCK,)).fetchone() or (False,))[0]:
                raise AlreadyRebuilding
            yield

    def rebuild(self, *, progress: Progress | None = None) -> int:
        """Make anew, from the record, what Neo4j holds, while the old serves; answers the position reached."""
        with driver(self._address) as neo4j, self._database.connect("record") as c:
            wire.register(c)
            st.prepare(neo4j)
            c.execute(
                "INSERT INTO chancery.projections (name, version, position) VALUES (%s, %s, 0) ON CONFLICT (name) DO NOTHING",
                (NAME, VERSION),
            )
            return self._rebuild(neo4j, c, None, progress)

    def _rebuild(self, neo4j: Driver, c: psycopg.Connection[Any], stop: Event | None, progress: Progress | None) -> int:
        (head,) = c.execute("SELECT position FROM record.head").fetchone() or (0,)
        said = time.monotonic()

        def told(position: int) -> None:
            nonlocal said
            if progress is not None:
                progress(position, max(head, position))
            elif time.monotonic() - said > TOLD:
                said = time.monotonic()
                log.info("graph.filling", position=position, of=head)

        with self._alone():
            serving = st.live(neo4j)
            if serving is None:
                raise Outrun
            number = st.begin(neo4j, serving)
            filler = Filler(neo4j, self._vault, number, live=False, batch=self._batch)
            try:
                while True:
                    filler.catch_up(c, stop, told=told)
                    reached = st.swap(neo4j, number)
                    if reached is not None:
                        break
                    if stop is not None and stop.is_set():
                        raise Outrun
                    if serving.position > head:  # what serves is ahead of the record: nothing it says is to be trusted
                        reached = st.swap(neo4j, number, backwards=True)
                        break
                    time.sleep(0.01)
            except Poisoned as e:
                st.sweep(neo4j, number)
                self._stop(c, e.position or 0, type(e.error).__name__)
                raise
            c.execute("UPDATE chancery.projections SET stopped_at = NULL, error = NULL WHERE name = %s", (NAME,))
            self._show(c, reached or 0, exactly=True)
            log.info("graph.rebuilt", position=reached)
            (stop or Event()).wait(self._grace)
            st.sweep(neo4j, serving.number)
        return reached or 0

    # --- what it holds

    def digest(self) -> str:
        """SHA-256 of what Neo4j holds, the past included: equal to `postgres_digest` of the same record."""
        with driver(self._address) as neo4j:
            build = st.live(neo4j)
            return digest([] if build is None else Store(neo4j, sealer(self._vault), build.number).everything())

    # --- what concerns one person

    def purge(self, firm: UUID, subject: UUID) -> int:
        """Make anew, from what the record holds now, every row in which anything was sealed for a person; answers how many.

        Called when the person's key is destroyed: what the record can't open any more is in no row afterwards, the past included. It may
        be called again; Neo4j keeps the old pages in its transaction logs until it rotates them, sealed as everything there is.
        """
        with driver(self._address) as neo4j, self._database.connect("record") as c:
            wire.register(c)
            while True:
                build = st.live(neo4j)
                if build is None:
                    return 0
                store = Store(neo4j, sealer(self._vault), build.number)
                concerned = store.concerning(firm, subject)
                if not any(concerned.values()):
                    return 0
                try:
                    made_anew(c, self._vault, store, build.position, firm, concerned)
                except Outrun:
                    continue
                return sum(len(ids) for ids in concerned.values())


def follower(parts: Parts) -> Neo4jFollower | None:
    """The follower where the settings name a Neo4j."""
    address = Address.of(parts.settings)
    return None if address is None else Neo4jFollower(parts.database, parts.vault, address)
