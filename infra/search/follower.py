"""The search index as a follower of the record, in the engine that is set."""

from threading import Event

from infra.followers import Follower, Parts, Progress
from infra.record import wire
from infra.search.indexer import VERSION, Indexer
from infra.search.pgstore import NAME, PgStore


class PostgresSearchFollower:
    """The index in PostgreSQL."""

    name = NAME

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._indexer = Indexer(parts.database, parts.vault, parts.blobs)

    def run(self, stop: Event) -> None:
        self._indexer.run(stop)

    def rebuild(self, *, progress: Progress | None = None) -> int:
        with self._parts.database.connect("record") as c:
            wire.register(c)
            c.execute(
                "INSERT INTO chancery.projections (name, version) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING", (NAME, VERSION)
            )
            head = int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])
            reached = 0

            def told(done: int) -> None:
                nonlocal reached
                reached = done
                if progress is not None:
                    progress(done, max(head, done))

            Indexer(self._parts.database, self._parts.vault, self._parts.blobs).rebuild(c, progress=told)
            return reached

    def digest(self) -> str:
        with self._parts.database.connect("record") as c:
            return str(PgStore.live(c).digest())


def follower(parts: Parts) -> Follower:
    """The index where the settings say."""
    return PostgresSearchFollower(parts)
