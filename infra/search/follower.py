"""The search index as a follower of the record, in the engine that is set.

Only one engine follows at a time: whoever starts takes the turn, and the row `search` of the projections then shows where it stands. The
index in PostgreSQL keeps its place meanwhile and catches up when its turn comes again; that in Elasticsearch keeps its own.
"""

from collections.abc import Sequence
from threading import Event
from typing import Any

import psycopg
import structlog

from infra.database import interrupted
from infra.followers import Follower, Parts, Progress
from infra.record import wire
from infra.search.indexer import Id, Indexer
from infra.search.pgindex import PgIndex
from infra.search.pgstore import NAME
from infra.search.port import Index
from infra.search.wiring import index as elastic_index

log = structlog.get_logger()


def take_turn(c: psycopg.Connection[Any], engine: str) -> bool:
    """Make this engine the one that follows; True when it was another before."""
    with c.transaction():
        before = c.execute("SELECT engine, position, version FROM chancery.search_engine FOR UPDATE").fetchone()
        if before is None or before[0] == engine:
            return False
        if before[0] == "postgres":  # it keeps its place
            c.execute(
                "UPDATE chancery.search_engine SET engine = %s, position = coalesce(p.position, 0), version = coalesce(p.version, 0)"
                " FROM (SELECT 1) one LEFT JOIN chancery.projections p ON p.name = %s",
                (engine, NAME),
            )
            c.execute("UPDATE chancery.projections SET position = 0, stopped_at = NULL, error = NULL WHERE name = %s", (NAME,))
        else:
            c.execute("UPDATE chancery.search_engine SET engine = %s", (engine,))
            c.execute(
                "UPDATE chancery.projections SET position = %s, version = %s, stopped_at = NULL, error = NULL WHERE name = %s",
                (before[1], before[2], NAME),
            )
    log.info("search.engine_changed", engine=engine, before=before[0])
    return True


class SearchFollower:
    """One engine's index."""

    name = NAME

    def __init__(self, parts: Parts, index: Index) -> None:
        self._parts = parts
        self._index = index
        self._indexer = self._new()

    def _new(self) -> Indexer:
        return Indexer(self._parts.database, self._parts.vault, self._parts.blobs, index=self._index)

    def run(self, stop: Event) -> None:
        pause = 0.1
        while not stop.is_set():
            try:
                with self._parts.database.connect("record") as c:
                    take_turn(c, self._index.engine)
                break
            except psycopg.Error as e:
                interrupted(log, "search.interrupted", e, engine=self._index.engine)
                stop.wait(pause)
                pause = min(pause * 2, 5.0)
        self._indexer.run(stop)

    def rebuild(self, *, progress: Progress | None = None) -> int:
        with self._parts.database.connect("record") as c:
            wire.register(c)
            take_turn(c, self._index.engine)
            head = int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])
            reached = 0

            def told(done: int) -> None:
                nonlocal reached
                reached = done
                if progress is not None:
                    progress(done, max(head, done))

            indexer = self._new()
            self._index.open(c)
            indexer.rebuild(c, progress=told)
            return reached

    def digest(self) -> str:
        """Of the entries alone: equal in whatever engine they are."""
        with self._parts.database.connect("record") as c:
            return self._index.digest(c)

    def again(self, things: Sequence[Id]) -> None:
        """Make the entries of these anew from what the record holds of them now."""
        with self._parts.database.connect("record") as c:
            wire.register(c)
            self._new().again(c, things)

    def purge(self) -> None:
        """Take what was replaced off the disk."""
        with self._parts.database.connect("record") as c:
            self._index.purge(c)


def follower(parts: Parts) -> Follower:
    """The index where the settings say."""
    if parts.settings.elasticsearch_url is not None:
        return SearchFollower(parts, elastic_index(parts.settings, parts.vault))
    return SearchFollower(parts, PgIndex())


def erased(parts: Parts, things: Sequence[Id]) -> None:
    """After an erasure: make the entries of these (firm, stream type, id) anew in every index there is, and take what they held off the
    disk. The index in PostgreSQL is there always, whichever engine serves."""
    kept = [SearchFollower(parts, PgIndex())]
    if parts.settings.elasticsearch_url is not None:
        kept.append(SearchFollower(parts, elastic_index(parts.settings, parts.vault)))
    for each in kept:
        each.again(things)
        each.purge()
