"""Keeps the graph in Neo4j up to date with the record: the folds of the views, fed from the log, written in guarded batches.

GN2  A batch and the position it leads to are one transaction, which refuses when the graph is not where the batch begins.
GN5  A poisoned event stops the graph, loudly and with its position, and nothing else.
GN6  A graph that is ahead of the record (a restore lost events it has seen) stops, loudly; it is rebuilt, never trusted.

Neo4j says where the graph stands; `chancery.projections` shows it to `status`, `/readyz` and the reads that wait for a position.
"""

import gc
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any
from uuid import UUID

import psycopg
import structlog
from neo4j import Driver
from neo4j.exceptions import DriverError, Neo4jError

from infra.database import Database, interrupted
from infra.followers import Parts, Progress
from infra.graph.neo4j import store as st
from infra.graph.neo4j.client import Address, driver, too_much
from infra.graph.neo4j.rows import Sealer, canonical, digest
from infra.graph.neo4j.store import EDGES, NODES, VERSION, VIEWS, Outrun, Store
from infra.projector.engine import VIEWS_CHANNEL
from infra.projector.filling import uncollected
from infra.projector.folding import Folding, Poisoned
from infra.projector.routing import CannotSay, Router
from infra.projector.tables import FOREVER, Key, Slice, Table
from infra.record import wire
from infra.record.appender import CHANNEL
from infra.record.reader import EventRow, decode, fetch_keys, read_after
from infra.record.vault import Vault
from projections.kernel import Recorded

log = structlog.get_logger()

NAME = "graph"
BATCH = 1_000
LEAST = 20  # events of a batch where more are too much for Neo4j
LINES = 100_000  # rows of one view in memory
GRACE = 15.0  # seconds an old build stays after a rebuild, for questions that began with it
REBUILD_LOCK = 7_020_240_031
LOOK_SECONDS = 1.0  # after so long it is asked where the build stands, though nobody else should move it
COLLECT = 100  # batches of a long way between two collections of garbage
TOLD = 5.0  # seconds between two words of progress in the log

_OF = (
    "SELECT position, firm_id, firm_position, stream_type, stream_id, stream_version, event_id, type, recorded_at, occurred_at,"
    " command_id, public, sealed FROM record.events WHERE firm_id = %s AND stream_id = ANY(%s) AND position <= %s ORDER BY position"
)


class AlreadyRebuilding(Exception):
    """Another process rebuilds the graph, or clears up after one. Wait until it is done."""


def sealer(vault: Vault) -> Sealer:
    return Sealer(vault.installation_key("graph-names"))


class Filler:
    """Feeds one build from the record. One thread uses it."""

    def __init__(self, neo4j: Driver, vault: Vault, build: int, *, live: bool, batch: int = BATCH) -> None:
        self.store = Store(neo4j, sealer(vault), build)
        self._live = live
        self._vault = vault
        self._most = self._batch = batch
        self._router = Router(VIEWS)
        self._foldings: dict[str, Folding[Any]] = {v.name: self.store.folding(v) for v in VIEWS}
        self._at: int | None = None  # the position at which what is remembered is good
        self._looked = 0.0
        self._complete = False  # whether every row there is came through here
        self._out: set[Key] = set()  # rows that were let go of since

    def serves(self) -> bool:
        """Whether the build that is fed is still the one that serves."""
        return bool(self.store.rows("MATCH (b:ChanceryBuild {build: $build, live: true}) RETURN 1", build=self.store.build))

    def forget(self) -> None:
        """What is remembered may not be so any more."""
        self._at = None
        self._complete = False
        self._out.clear()
        self.store.forget()
        for folding in self._foldings.values():
            folding.forget()

    def catch_up(self, c: psycopg.Connection[Any], stop: Event | None = None, *, told: Callable[[int], None] | None = None) -> int:
        """Apply everything there is; answers the position reached. Poisoned at an event that can't be applied, Outrun beside another writer.

        What is too much for Neo4j at once, in memory or in time, is cut into smaller batches.
        """
        self._batch = min(self._most, 2 * self._batch)
        while True:
            try:
                return self._applied(c, stop, told or (lambda _: None))
            except Neo4jError as e:
                if not too_much(e) or self._batch <= LEAST:
                    raise
                self._batch = max(self._batch // 2, LEAST)
                log.warning("graph.smaller_batches", events=self._batch, code=e.code)

    def _applied(self, c: psycopg.Connection[Any], stop: Event | None, told: Callable[[int], None]) -> int:
        try:
            return self._catch_up(c, stop, told)
        except Poisoned:
            begun = self._at
            self.forget()
            if (
                self.store.position() != begun
            ):  # rows of another position were folded: it may be that nothing is wrong with the event
                raise Outrun from None
            raise
        except BaseException:
            self.forget()
            raise

    def _catch_up(self, c: psycopg.Connection[Any], stop: Event | None, told: Callable[[int], None]) -> int:
        position = self._standing()
        while stop is None or not stop.is_set():
            rows = read_after(c, position, self._batch)
            if not rows:
                break
            if len(rows) == self._batch:
                position = self._stream(c, position, rows, stop, told)
                continue
            statements, reached, poison = self._folded(c, rows)
            if reached > position:
                self.store.apply(position, reached, statements, live=self._live)
                position = self._at = reached
                self._trim()
                told(position)
            if poison is not None:
                raise poison
        return position

    def _standing(self) -> int:
        """Where the build stands, asked now and then: if another moved it meanwhile, our next batch is refused."""
        if self._at is not None and time.monotonic() - self._looked < LOOK_SECONDS:
            return self._at
        position = self.store.position()
        if position is None:
            raise Outrun
        self._looked = time.monotonic()
        if position != self._at:
            self.forget()
            self._at, self._complete = position, position == 0
        return position

    def _stream(
        self, c: psycopg.Connection[Any], position: int, rows: list[EventRow], stop: Event | None, told: Callable[[int], None]
    ) -> int:
        """Far behind: one batch is folded while the one before is written."""
        with uncollected(), ThreadPoolExecutor(1, "neo4j") as writer:
            before: Future[None] | None = None
            reached = position
            batches = 0

            def settled() -> None:
                if before is not None:
                    before.result()

            poison: Poisoned | None = None
            while rows and poison is None and (stop is None or not stop.is_set()):
                statements, upto, poison = self._folded(c, rows, settled)
                settled()
                if reached > position:
                    self._at = position = reached
                    told(position)
                if upto == position:
                    break
                before = writer.submit(self.store.apply, position, upto, statements, live=self._live)
                reached = upto
                self._trim()
                rows = read_after(c, reached, self._batch)
                batches += 1
                if not batches % COLLECT:
                    gc.collect()
            settled()
            self._at = reached
            told(reached)
        if poison is not None:
            raise poison
        return reached

    def _trim(self) -> None:
        for name, folding in self._foldings.items():
            for line in folding.trim(LINES):
                if name == EDGES:
                    self.store.stored.pop(line.key, None)
                self._out.add(line.key)
        if len(self.store.ensured) > 500_000:
            self.store.ensured.clear()
        if len(self._out) > 5_000_000:
            self._complete = False
            self._out.clear()

    def _folded(
        self, c: psycopg.Connection[Any], rows: Sequence[EventRow], settled: Callable[[], None] = lambda: None
    ) -> tuple[Sequence[Any], int, Poisoned | None]:
        """The statements of these events, the position they lead to, and what kept it from being the last."""
        wanted = [row for row in rows if self._router.wanted(row)]
        keys = fetch_keys(c, self._vault, wanted)
        events: list[Recorded] = []
        poison: Poisoned | None = None
        for row in wanted:
            try:
                events.append(decode(row, self._vault, keys))
            except Exception as e:
                poison = Poisoned(NAME, row.position, e)
                break
        try:
            statements = self._statements(events, settled)
        except Poisoned as e:
            if e.position is None:
                raise
            self.forget()  # nothing of this batch stands: up to the event before it goes on, alone
            self._at = rows[0].position - 1
            events = [r for r in events if r.position < (e.position or 0)]
            settled()
            statements, poison = self._statements(events, settled), e
        reached = rows[-1].position if poison is None or poison.position is None else poison.position - 1
        return statements, reached, poison

    def _statements(self, events: Sequence[Recorded], settled: Callable[[], None]) -> Sequence[Any]:
        try:
            routed = self._router.route(events)
        except CannotSay as e:
            raise Poisoned(e.view, e.position, e.error) from e
        said = []
        for view in VIEWS:
            touched = routed.get(view.name)
            if not touched:
                continue
            folding = self._foldings[view.name]

            def fetch(keys: Sequence[Key], gone: Sequence[Key], view: Any = view) -> dict[Key, Slice[Any]]:
                there = [k for k in keys if k in self._out] if self._complete else list(keys)
                if not there:
                    return {}
                settled()
                return self.store.load(view, there, [k for k in gone if not self._complete or k in self._out])

            def believed(key: Key, view: Any = view) -> list[Slice[Any]]:
                settled()
                return self.store.believed(view, key)

            try:
                said.append((view, folding.writing(folding.fold(touched, fetch, believed))))
            except Poisoned as e:
                if isinstance(e.error, DriverError | Neo4jError | OSError | Outrun):
                    raise e.error from e  # the engine failed, not the event
                raise
        return self.store.batch(said)


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
        with self._database.connect("record") as c:
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
                    self._again(c, store, build.position, firm, concerned)
                except Outrun:
                    continue
                return sum(len(ids) for ids in concerned.values())

    def _again(self, c: psycopg.Connection[Any], store: Store, position: int, firm: UUID, concerned: dict[str, set[UUID]]) -> None:
        ids = [*concerned[NODES], *concerned[EDGES]]
        cursor = c.cursor(binary=True)
        streams = [*ids, *self._streams_of(store, firm, concerned[NODES])]
        cursor.execute(_OF, (firm, streams, position))
        rows = [EventRow(*row) for row in cursor.fetchall()]
        router = Router(VIEWS)
        wanted = [row for row in rows if router.wanted(row)]
        keys = fetch_keys(c, self._vault, wanted)
        routed = router.route([decode(row, self._vault, keys) for row in wanted])
        said = []
        gone: dict[str, list[Key]] = {}
        for view in VIEWS:
            mine = concerned[view.name]
            gone[view.name] = [(firm, id) for id in mine]
            touched = [(r, [k for k in named if k in mine]) for r, named in routed.get(view.name, [])]
            folding = store.folding(view)
            lines = folding.fold([t for t in touched if t[1]], lambda _keys, _gone: {}, lambda _key: [])
            said.append((view, folding.writing(lines)))
        store.load(VIEWS[1], gone[EDGES], [])  # so that it is known what stands there
        store.replace(position, gone, store.batch(said))

    @staticmethod
    def _streams_of(store: Store, firm: UUID, nodes: set[UUID]) -> list[UUID]:
        """An offer's events lie in the stream of its deal."""
        found = store.rows(
            f"UNWIND $ids AS id MATCH (n:ChanceryNode{store.build} {{firm: $firm, id: id}})<-[e:CHANCERY_EDGE_{store.build}]-()"
            " WHERE n.kind = 'offer' AND e.kind = 'offers' RETURN DISTINCT e.source",
            firm=str(firm),
            ids=[str(i) for i in nodes],
        )
        return [UUID(id) for id in found]


def postgres_digest(database: Database) -> str:
    """The digest of the views in PostgreSQL, in the same canonical form."""
    rows: list[bytes] = []
    with database.connect("record") as c, c.transaction():
        wire.register(c)
        c.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for view in VIEWS:
            table: Table[Any] = Table(view)
            names = ", ".join(f't."{n}"' for n in ("version", "created_at", "updated_at", "position", *table.names))
            for firm, id, version, created, updated, position, *values in c.execute(
                f"SELECT t.firm_id, t.id, {names} FROM {table.table} t".encode(), binary=True
            ):
                s: Slice[Any] = Slice(table.row(values), version, created, updated, position, position)
                rows.append(canonical(view, (firm, id), s, superseded=False))
            until = (
                f"t._known_from, CASE WHEN t._valid_to = 'infinity' THEN {FOREVER} ELSE (extract(epoch FROM t._valid_to"
                " - timestamptz '2000-01-01 00:00:00+00') * 1000000)::bigint END, t._known_to, t._known_end, t._gone"
            )
            for (
                firm,
                id,
                version,
                created,
                updated,
                position,
                *values,
                known_from,
                valid_to,
                known_to,
                known_end,
                gone,
            ) in c.execute(f"SELECT t.firm_id, t.id, {names}, {until} FROM {table.history} t".encode(), binary=True):
                row = None if gone else table.row(values)
                s = Slice(row, version, created, updated, position, known_from, valid_to, known_to, known_end)
                rows.append(canonical(view, (firm, id), s, superseded=True))
    return digest(rows)


def follower(parts: Parts) -> Neo4jFollower | None:
    """The follower where the settings name a Neo4j."""
    address = Address.of(parts.settings)
    return None if address is None else Neo4jFollower(parts.database, parts.vault, address)
