"""The stores that may hold something of a person, each with what it lets go of. One that is not set does not exist here."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from domain.kernel import FirmId
from domain.privacy import Left
from infra.away import NotForgotten
from infra.database import Database
from infra.erasure import rows
from infra.erasure.keys import null
from infra.erasure.pages import sweep
from infra.erasure.subjects import ELSEWHERE as _ELSEWHERE
from infra.erasure.subjects import Subjects
from infra.followers import Parts
from infra.projector.rebuild import REBUILD_LOCK

RECORD, PAGES = "record", "pages"
_ABOUT = "firm_id = %s AND (position = ANY(%s) OR stream_id = ANY(%s))"
_STREAMS = "SELECT DISTINCT stream_type, stream_id FROM record.events WHERE position = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Task:
    """What a store is told: whose data goes, and the events that were sealed under their keys, with the sealed parts."""

    parts: Parts
    subjects: Subjects
    found: Sequence[tuple[int, bytes]]

    @property
    def positions(self) -> list[int]:
        return [p for p, _ in self.found]

    @property
    def database(self) -> Database:
        return self.parts.database


@dataclass(frozen=True, slots=True)
class Store:
    """`purge` lets go and answers how many things that were; it may be called again. `what` is what a person reads of it, `left` what
    becomes of what can't be taken out of it."""

    name: str
    what: str
    purge: Callable[[Task], Awaitable[int]]
    left: Left | None = None


def _on_record(work: Callable[[psycopg.Connection[Any], Task], int]) -> Callable[[Task], Awaitable[int]]:
    def run(task: Task) -> int:
        with task.database.connect("record") as c:
            return work(c, task)

    async def purge(task: Task) -> int:
        return await asyncio.to_thread(run, task)

    return purge


def _record(c: psycopg.Connection[Any], task: Task) -> int:
    return null(c, task.parts.vault, task.subjects.firm, task.found)


def _views(c: psycopg.Connection[Any], task: Task) -> int:
    c.execute("SELECT pg_advisory_lock(%s)", (REBUILD_LOCK,))  # a rebuild that began before may hold what it read: it ends first
    try:
        return rows.anew(c, task.parts.vault, task.subjects.firm, task.positions)
    finally:
        c.execute("SELECT pg_advisory_unlock(%s)", (REBUILD_LOCK,))


def _search(c: psycopg.Connection[Any], task: Task) -> int:
    from infra.search.follower import erased

    firm = task.subjects.firm
    streams = c.execute(_STREAMS, (task.positions,)).fetchall()
    things = {(firm, type, id) for type, id in streams} | {(firm, "document", id) for id in task.subjects.documents}
    c.execute("DELETE FROM chancery.search_contents WHERE firm_id = %s AND sha256 = ANY(%s)", (firm, list(task.subjects.contents)))
    if task.parts.settings.elasticsearch_url is None:
        erased(task.parts, sorted(things))
    else:
        from infra.search.elastic.client import Unreachable

        with _in_words("Elasticsearch", Unreachable):
            erased(task.parts, sorted(things))
    return len(things)


def _graph(_c: psycopg.Connection[Any], task: Task) -> int:
    from neo4j.exceptions import DriverError, Neo4jError

    from infra.graph.neo4j.follower import follower

    graph = follower(task.parts)
    if graph is None:
        return 0
    with _in_words("Neo4j", DriverError, Neo4jError, OSError):
        return sum(graph.purge(task.subjects.firm, subject) for subject in task.subjects.ids)


@contextmanager
def _in_words(engine: str, *lost: type[Exception]) -> Iterator[None]:
    """Say that an engine does not answer; its own text might quote a value."""
    try:
        yield
    except lost as e:
        raise NotForgotten(f"{engine} does not answer, or can't now ({type(e).__name__}).") from e


def _imports(c: psycopg.Connection[Any], task: Task) -> int:
    firm, ids = task.subjects.firm, list(task.subjects.ids)
    done = c.execute(
        "UPDATE chancery.import_rows r SET sealed = NULL WHERE firm_id = %(firm)s AND sealed IS NOT NULL AND (subject_id = ANY(%(ids)s)"
        " OR outcome = 'rejected' AND source_key IN (SELECT o.source_key FROM chancery.import_rows o WHERE o.firm_id = %(firm)s"
        " AND o.subject_id = ANY(%(ids)s) AND o.source_key IS NOT NULL))",
        {"firm": firm, "ids": ids},
    ).rowcount
    return done + c.execute("DELETE FROM chancery.import_names WHERE firm_id = %s AND stream_id = ANY(%s)", (firm, ids)).rowcount


def _bus(c: psycopg.Connection[Any], task: Task) -> int:
    """Letters go. With Kafka what they said goes, and that they are gone stays until the topic says so too."""
    told = (task.subjects.firm, task.positions, list(task.subjects.ids))
    if task.parts.settings.kafka_bootstrap is None:
        return c.execute(f"DELETE FROM chancery.bus_dead_letters WHERE {_ABOUT}", told).rowcount
    return c.execute(
        f"UPDATE chancery.bus_dead_letters SET state = 'gone', published = false, reason = NULL, trace = '{{}}' WHERE {_ABOUT}",
        told,
    ).rowcount


def _kafka(c: psycopg.Connection[Any], task: Task) -> int:
    """Letters about these events leave the topic. Events stay in theirs: what is sealed there was sealed under keys that are destroyed."""
    from infra.bus.forgetting import forget

    told = (task.subjects.firm, task.positions, list(task.subjects.ids))
    events = c.execute(f"SELECT event_id FROM record.events WHERE {_ABOUT}", told).fetchall()
    gone = forget(task.parts.settings, {id for (id,) in events})
    c.execute(f"DELETE FROM chancery.bus_dead_letters WHERE {_ABOUT} AND state = 'gone'", told)
    return gone


async def _files(task: Task) -> int:
    firm = FirmId(task.subjects.firm)
    used = await asyncio.to_thread(_used, task)  # the same bytes may have been added to a document of somebody else since
    gone = [await task.parts.blobs.delete(firm, sha256) for sha256 in task.subjects.contents if sha256 not in used]
    return sum(gone)


def _used(task: Task) -> set[str]:
    with task.database.connect("record") as c:
        rows = c.execute(_ELSEWHERE, (task.subjects.firm, list(task.subjects.contents), list(task.subjects.ids))).fetchall()
        return {sha256 for (sha256,) in rows}


async def _pages(task: Task) -> int:
    return await asyncio.to_thread(sweep, task.database)


def stores(parts: Parts) -> list[Store]:
    """Every store of this installation, in the order in which they are purged: the record itself when all that follows it has let go,
    because its sealed parts say which events were about the person; at last what PostgreSQL keeps of rows that went."""
    found = [
        Store("views", "rows of views and their history", _on_record(_views)),
        Store("files", "contents of documents", _files),
        Store("search", "entries of the search index", _on_record(_search)),
        Store("imports", "rows as they were imported", _on_record(_imports)),
        Store("bus", "dead letters", _on_record(_bus)),
    ]
    if parts.settings.neo4j_url is not None:
        found.append(Store("graph", "nodes and edges of the graph", _on_record(_graph)))
    if parts.settings.kafka_bootstrap is not None:
        found.append(Store("kafka", "dead letters in Kafka", _on_record(_kafka), left="unreadable"))
    found.append(Store(RECORD, "sealed values of events", _on_record(_record)))
    found.append(Store(PAGES, "dead rows, statistics and the write-ahead log of PostgreSQL", _pages))
    return found
