"""Feeds a build of the graph from the record: events folded into rows as for the views, rows into statements, a batch a transaction."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import psycopg
import structlog
from neo4j import Driver
from neo4j.exceptions import DriverError, Neo4jError

from infra.graph.neo4j.client import too_much
from infra.graph.neo4j.rows import Sealer
from infra.graph.neo4j.statements import Statement
from infra.graph.neo4j.store import EDGES, VIEWS, Outrun, Store
from infra.projector.filling import uncollected
from infra.projector.folding import Folding, Poisoned
from infra.projector.routing import CannotSay, Router
from infra.projector.tables import Key, Slice
from infra.projector.written import WrittenOut
from infra.record.reader import EventRow, decode, fetch_keys, read_after
from infra.record.vault import Vault
from projections.kernel import Recorded

log = structlog.get_logger()

NAME = "graph"
BATCH = 1_000
LEAST = 20  # events of a batch where more are too much for Neo4j
LINES = 30_000  # rows of one view in memory
ENSURED = 100_000  # ends of edges of which it is remembered that they are there
LOOK_SECONDS = 1.0  # after so long it is asked where the build stands, though nobody else should move it


def let_go(written: Sequence[Statement]) -> None:
    """Drop rows that stand: the driver's results are cycles that hold what they were asked with until somebody looks for cycles."""
    for s in written:
        s.rows.clear()


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
        self._out = WrittenOut()  # rows that were let go of since

    def serves(self) -> bool:
        """Whether the build that is fed is still the one that serves."""
        return bool(self.store.rows("MATCH (b:ChanceryBuild {build: $build, live: true}) RETURN 1", build=self.store.build))

    def forget(self) -> None:
        """What is remembered may not be so any more."""
        self._at = None
        self._complete = False
        self._out = WrittenOut()
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
                let_go(statements)
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
        with uncollected() as swept, ThreadPoolExecutor(1, "neo4j") as writer:
            before: Future[None] | None = None
            written: Sequence[Statement] = ()
            reached = position

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
                let_go(written)
                reached, written = upto, statements
                self._trim()
                rows = read_after(c, reached, self._batch)
                swept()
            settled()
            let_go(written)
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
        if len(self.store.ensured) > ENSURED:
            self.store.ensured.clear()

    def _folded(
        self, c: psycopg.Connection[Any], rows: Sequence[EventRow], settled: Callable[[], None] = lambda: None
    ) -> tuple[Sequence[Statement], int, Poisoned | None]:
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

    def _statements(self, events: Sequence[Recorded], settled: Callable[[], None]) -> Sequence[Statement]:
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
