"""The views: catching up, rebuilding, and lists as they are and as they were, each against the least that PostgreSQL must do for it."""

import asyncio
import os
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from bench.harness import Broken, Figure, figure, interleaved
from bench.place import ACTOR, NOTE, Place
from bench.stock import runner
from commands.deals import NoteOnDeal
from domain.kernel import FirmId
from domain.members import ALL_PERMISSIONS
from infra.blobs import FolderBlobs
from infra.ids import uuid7
from infra.imports.maps import load_map
from infra.imports.run import Importer
from infra.projector.engine import Projector
from infra.projector.rebuild import rebuild
from infra.projector.tables import Write, run
from infra.reading import NOW, Moment, Readers
from infra.record import wire
from infra.record.bulk import Bulk, command_task
from projections.deals import DEALS
from projections.kernel import VIEWS, View
from queries.kernel import COLLECTIONS
from queries.listing import read_page

EVENTS = int(os.environ.get("CHANCERY_BENCH_REBUILD_EVENTS", "1000000"))
CATCH_UP = 20_000
LISTED, SUPERSEDED = 100_000, 10
ROOT = Path(__file__).resolve().parents[1]
LOG = Path(os.environ.get("CHANCERY_SHARED", ROOT.parent / "shared")) / "data/bpic2012-loan/split/dev.xes.gz"


def measure(p: Place) -> list[Figure]:
    figures = [*_catch_up(p), *_lists(p)]
    return [*figures, _rebuild(p)]


def _notes(p: Place, count: int) -> None:
    with Bulk(p.database, p.vault, firm=p.firm, actor=ACTOR) as bulk:
        for _ in bulk.run(
            command_task(NoteOnDeal(id=p.deals[n % len(p.deals)], note=f"{NOTE} {n}"), actor=ACTOR) for n in range(count)
        ):
            pass


# --- catching up


def _catch_up(p: Place) -> list[Figure]:
    """The deals view from nothing, against its own statements with every parameter packed beforehand."""
    _notes(p, CATCH_UP)
    batches: list[list[Write]] = []

    class Kept(Projector):
        def _write(self, c: psycopg.Connection[Any], positions: dict[str, int], reached: int, folded: Any) -> None:
            batches.append([write for writes in folded.values() for write in writes])
            super()._write(c, positions, reached, folded)

    with p.database.connect("record") as c:
        wire.register(c)

        def anew() -> None:
            c.execute("TRUNCATE views.deals, history.deals")
            c.execute("DELETE FROM chancery.projections")

        def ours(kind: type[Projector] = Projector) -> float:
            anew()
            projector = kind(p.database, p.vault, [DEALS])
            projector.prepare(c)
            started = time.perf_counter()
            reached = projector.catch_up(c)
            return reached / (time.perf_counter() - started)

        ours(Kept)
        (whole,) = c.execute("SELECT (SELECT count(*) FROM views.deals) + (SELECT count(*) FROM history.deals)").fetchone() or (0,)
        head = int(str(p.query("SELECT position FROM record.head")[0][0]))

        def theirs() -> float:
            anew()
            started = time.perf_counter()
            for writes in batches:
                with c.transaction():
                    run(c, writes)
            took = time.perf_counter() - started
            found = c.execute("SELECT (SELECT count(*) FROM views.deals) + (SELECT count(*) FROM history.deals)").fetchone()
            if found != (whole,):
                raise Broken(f"{found} of {whole} rows were written")
            return head / took

        pairs = interleaved(ours, theirs)
        stock = interleaved(ours, runner(p))
    return [
        figure("catch-up of the deals view", "the same rows by unnest, packed beforehand", pairs, goal=0.6, unit="events/s"),
        figure("catch-up of the deals view", "stock projection runner", stock, goal=50, unit="events/s"),
    ]


# --- rebuilding


def _rebuild(p: Place) -> Figure:
    """All views from a real log, imported as often as it takes, by firms of their own."""
    while int(str(p.query("SELECT position FROM record.head")[0][0])) < EVENTS:
        if LOG.exists():
            blobs = FolderBlobs(p.folder / "blobs", max_bytes=10**9)
            with Importer(p.database, p.vault, blobs, firm=FirmId(uuid7()), actor=ACTOR) as importer:
                importer.carry(LOG, "deals", map=load_map(ROOT / "docs/maps/bpic2012.toml"))
        else:
            _notes(p, min(100_000, EVENTS))
    with p.database.connect("record") as c:
        Projector(p.database, p.vault).prepare(c)
    head = 0

    def ours() -> float:
        nonlocal head
        started = time.perf_counter()
        head = rebuild(p.database, p.vault, list(VIEWS.values()))
        return head / (time.perf_counter() - started)

    once = ours()
    tables = [t for v in VIEWS.values() for t in _tables(v)]
    folder = p.folder / "rows"
    folder.mkdir()
    with psycopg.connect(p.conninfo, autocommit=True) as c:
        c.execute("SET maintenance_work_mem = '256MB'")
        c.execute("SET synchronous_commit = off")
        for table in tables:
            with (folder / table).open("wb") as file, c.cursor().copy(f"COPY {table} TO STDOUT (FORMAT binary)".encode()) as copy:
                for piece in copy:
                    file.write(piece)
        c.execute("CREATE SCHEMA bare")

        def theirs() -> float:
            took = 0.0
            for table in tables:
                schema, _, name = table.partition(".")
                bare = f"bare.{schema}_{name}"
                c.execute(f"DROP TABLE IF EXISTS {bare}".encode())
                started = time.perf_counter()
                c.execute(f"CREATE TABLE {bare} (LIKE {table} INCLUDING ALL EXCLUDING INDEXES)".encode())
                with (
                    (folder / table).open("rb") as file,
                    c.cursor().copy(f"COPY {bare} FROM STDIN (FORMAT binary)".encode()) as copy,
                ):
                    while piece := file.read(1_000_000):
                        copy.write(piece)
                for (definition,) in c.execute(
                    "SELECT indexdef FROM pg_indexes WHERE schemaname = %s AND tablename = %s", (schema, name)
                ):
                    head_, _, rest = definition.partition(" ON ")
                    kind = "CREATE UNIQUE INDEX" if "UNIQUE" in head_ else "CREATE INDEX"
                    c.execute(f"{kind} ON {bare} {rest[rest.index('USING') :]}".encode())
                took += time.perf_counter() - started
                c.execute(f"DROP TABLE {bare}".encode())
            started = time.perf_counter()
            out = b"COPY (SELECT * FROM record.events ORDER BY position) TO STDOUT (FORMAT binary)"
            with c.cursor().copy(out) as copy:
                for _ in copy:
                    pass
            return head / (took + time.perf_counter() - started)

        pairs = [(once, theirs())]
        if EVENTS <= 250_000:
            pairs += [(ours(), theirs()) for _ in range(6)]
    return figure("rebuild of all views", "COPY out of events and in of rows, with indexes", pairs, goal=0.3, unit="events/s")


def _tables(view: View[Any]) -> tuple[str, str]:
    return view.table, view.table.replace("views.", "history.", 1)


# --- lists


def _lists(p: Place) -> list[Figure]:
    """A page of 50 of 100,000 deals, each changed ten times, as a reader sees it."""
    with psycopg.connect(p.conninfo, autocommit=True) as c:
        columns = [str(n) for (n,) in c.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'views.deals'::regclass AND attnum > 0 AND NOT attisdropped"
        )]  # fmt: skip
        (one,) = c.execute("SELECT id FROM views.deals LIMIT 1").fetchone() or (None,)
        if one is None:
            raise Broken("no deal was caught up with")
        given = {
            "firm_id": f"'{p.firm}'::uuid",
            "id": "md5(n::text)::uuid",
            "created_at": "timestamptz '2026-01-01' + n * interval '1 second'",
            "position": "n",
        }

        def selected(extra: dict[str, str]) -> str:
            return ", ".join({**given, **extra}.get(n, f'd."{n}"') for n in columns)

        names = ", ".join(f'"{n}"' for n in columns)
        at = "timestamptz '2026-01-01' + n * interval '1 second' + {} * interval '1 hour'"
        c.execute("CREATE TEMP TABLE one AS SELECT * FROM views.deals WHERE id = %s", (one,))
        c.execute("TRUNCATE views.deals, history.deals")
        c.execute(
            f"INSERT INTO history.deals ({names}, _known_from, _valid_to, _known_to, _known_end, _gone)"
            f" SELECT {selected({'updated_at': at.format('k')})}, n, {at.format('(k + 1)')}, 9223372036854775806, 9223372036854775807, false"
            f" FROM one d, generate_series(1, {LISTED}) n, generate_series(0, {SUPERSEDED - 1}) k".encode()
        )
        c.execute(
            f"INSERT INTO views.deals ({names}) SELECT {selected({'updated_at': at.format(SUPERSEDED)})}"
            f" FROM one d, generate_series(1, {LISTED}) n".encode()
        )
        c.execute("VACUUM ANALYZE views.deals, history.deals")

    async def asked(moment: Moment) -> float:
        """Milliseconds of a page as the HTTP interface reads it, the median of many."""
        readers = Readers(p.database, size=2)
        await readers.open()
        times = []
        try:
            for _ in range(100):
                started = time.perf_counter()
                async with readers.reading(p.firm, ALL_PERMISSIONS, moment) as r:
                    found = await read_page(r, COLLECTIONS["deals"], key=b"0" * 32, scope=moment.scope)
                times.append((time.perf_counter() - started) * 1000)
                if len(found.items) != 50:
                    raise Broken(f"{len(found.items)} of 50 rows")
        finally:
            await readers.close()
        return statistics.median(times)

    then = Moment(as_of=datetime(2026, 1, 2, 5, 30, tzinfo=UTC))
    pairs = interleaved(lambda: asyncio.run(asked(then)), lambda: asyncio.run(asked(NOW)))
    return [
        figure(
            "as_of list of 50 of 100,000 rows, 1M superseded", "the current list", pairs, goal=2.0, direction="at most", unit="ms"
        )
    ]
