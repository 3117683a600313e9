"""What Neo4j holds of the graph: builds, their positions, rows by key; written in transactions that a position guards."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import structlog
from neo4j import Driver, ManagedTransaction, Query, Session, unit_of_work
from neo4j.exceptions import TransientError

from infra.graph.neo4j.client import TOO_LARGE
from infra.graph.neo4j.migrations import BUILDS, migrate
from infra.graph.neo4j.rows import SEALED, EdgeForm, Form, Plain, Sealer, canonical
from infra.graph.neo4j.statements import Batch, End, Statement, Stored, edge_sought, node_sought, stored_of
from infra.projector.folding import Folding
from infra.projector.tables import FOREVER, Key, Slice
from infra.record import wire
from projections.graph_edges import GRAPH_EDGES
from projections.graph_nodes import GRAPH_NODES
from projections.kernel import View

log = structlog.get_logger()

VIEWS: tuple[View[Any], ...] = (GRAPH_NODES, GRAPH_EDGES)
LAYOUT = 2  # rises when the same rows are to be stored otherwise
VERSION = (LAYOUT * 1_000 + GRAPH_NODES.version) * 1_000 + GRAPH_EDGES.version
WRITE_SECONDS = 15.0  # after which the server itself ends a transaction: one of a stopped writer keeps nobody out for longer
ATTEMPTS = 12
SWEEP = 10_000
NODES, EDGES = GRAPH_NODES.name, GRAPH_EDGES.name
_KEY = ("k[0]", "k[1]")  # a pair of `_pairs`


class Outrun(Exception):
    """The graph is not where this batch begins: another writer was faster, or a rebuild has taken its place. The batch is undone."""


@dataclass(frozen=True, slots=True)
class Build:
    """One whole graph."""

    number: int
    position: int
    version: int
    live: bool


class Rows:
    """Takes the place of a table for the folding of one view: says what is to be written instead of writing it."""

    def __init__(self, view: View[Any]) -> None:
        self.view = view

    def pack(self, _s: Slice[Any], _like: Slice[Any] | None = None) -> None:
        """Properties are made when they are written."""

    def saving(self, current: Sequence[tuple[Key, Slice[Any]]], gone: Sequence[Key]) -> list[Any]:
        return [("saved", list(current), list(gone))]

    def keeping(self, slices: Sequence[tuple[Key, Slice[Any]]]) -> list[Any]:
        return [("kept", [(k, s) for k, s in slices if not s.kept], [(k, s) for k, s in slices if s.kept])]


class Store:
    """One build. Used by one thread at a time."""

    def __init__(self, driver: Driver, sealer: Sealer, build: int) -> None:
        self._driver = driver
        self.build = build
        self.forms: Mapping[str, Form[Any]] = {
            NODES: Form(GRAPH_NODES, sealer, SEALED),
            EDGES: EdgeForm(GRAPH_EDGES, sealer),
        }
        self.stored: dict[Key, Stored] = {}
        self.ensured: set[End] = set()

    def forget(self) -> None:
        """What was remembered of what is stored may not be so."""
        self.stored.clear()
        self.ensured.clear()

    def folding(self, view: View[Any]) -> Folding[Any]:
        return Folding(view, cast(Any, Rows(view)))

    # --- reading

    def rows(self, cypher: str, **params: Any) -> list[Any]:
        with self._driver.session() as session:
            return [r[0] for r in session.run(Query(cypher, timeout=WRITE_SECONDS), params)]

    def load(self, view: View[Any], keys: Sequence[Key], gone: Sequence[Key]) -> dict[Key, Slice[Any]]:
        """The current slice of each key; of those in `gone` also the one that took the row away."""
        form = self.forms[view.name]
        found = [form.slice(p) for p in self.rows(self._one(view), keys=_pairs(keys)) if "version" in p]
        out = dict(found)
        if view.name == EDGES:
            self.stored |= stored_of(found)
        lost = [k for k in gone if k not in out]
        if lost:
            ended = self.rows(
                f"UNWIND $keys AS k {node_sought('n', f'ChanceryGone{self.build}', *_KEY)}"
                " WHERE n.view = $view AND n.valid_to = $forever AND n.known_end = $forever RETURN properties(n)",
                keys=_pairs(lost),
                view=view.name,
                forever=FOREVER,
            )
            out |= dict(form.slice(p, gone=True) for p in ended)
        return out

    def _one(self, view: View[Any]) -> str:
        n = self.build
        if view.name == EDGES:
            return f"UNWIND $keys AS k {edge_sought('e', f'CHANCERY_EDGE_{n}', *_KEY)} RETURN properties(e)"
        return f"UNWIND $keys AS k {node_sought('n', f'ChanceryNode{n}', *_KEY)} RETURN properties(n)"

    def believed(self, view: View[Any], key: Key) -> list[Slice[Any]]:
        """The superseded slices of a key that no late event has ended."""
        n = self.build
        asked = ("$firm", "$id")
        past = (
            edge_sought("x", f"CHANCERY_PAST_{n}", *asked)
            if view.name == EDGES
            else node_sought("x", f"ChanceryNodePast{n}", *asked)
        )
        params = {"firm": str(key[0]), "id": str(key[1]), "forever": FOREVER, "view": view.name}
        form = self.forms[view.name]
        kept = self.rows(f"{past} WHERE x.known_end = $forever RETURN properties(x)", **params)
        gone = self.rows(
            f"{node_sought('x', f'ChanceryGone{n}', *asked)} WHERE x.view = $view AND x.known_end = $forever RETURN properties(x)",
            **params,
        )
        return [form.slice(p)[1] for p in kept] + [form.slice(p, gone=True)[1] for p in gone]

    def position(self) -> int | None:
        """Where this build stands; None when it is there no more."""
        found = self.rows("MATCH (b:ChanceryBuild {build: $build}) RETURN b.position", build=self.build)
        return found[0] if found else None

    # --- writing

    def batch(self, written: Iterable[tuple[View[Any], Sequence[Any]]]) -> list[Statement]:
        """The statements of what foldings say."""
        b = Batch(self.build, self.stored, self.ensured)
        for view, said in written:
            form = self.forms[view.name]
            for what, some, others in said:
                if what == "saved":
                    for key in others:
                        (b.no_edge if view.name == EDGES else b.no_node)(key)
                    for key, s in some:
                        p = form.properties(key, s)
                        if view.name == EDGES:
                            b.edge(key, s.row, p)
                        else:
                            b.node(s.row, p)
                else:
                    for key, s in some:
                        b.superseded(view.name, s, form.properties(key, s, corner=True))
                    for key, s in others:
                        b.amended(view.name, key, s, _corner(key, s))
        return b.statements()

    def apply(self, position: int, reached: int, statements: Sequence[Statement], *, live: bool) -> None:
        """All of it and the position, or nothing. Outrun when the build is not at `position`, or not (or no more) the one that serves."""
        self._carefully(lambda tx: self._move(tx, position, reached, statements, live=live))

    def _carefully(self, work: Callable[[ManagedTransaction], None]) -> None:
        """In one transaction, again when it met another (a deadlock, a lock that was not to be had). What is too large stays so."""
        for attempt in range(ATTEMPTS):
            try:
                with self._driver.session(max_transaction_retry_time=0) as session:
                    session.execute_write(unit_of_work({"app": "chancery"}, WRITE_SECONDS)(work))
                return
            except TransientError as e:
                if attempt == ATTEMPTS - 1 or TOO_LARGE.fullmatch(e.code or ""):
                    raise
                log.info("neo4j.again", error=e.code)
                time.sleep(random.uniform(0.01, 0.05) * 1.6**attempt)  # noqa: S311 # nosec B311 - so that two do not meet again

    def _move(self, tx: ManagedTransaction, position: int, reached: int, statements: Sequence[Statement], *, live: bool) -> None:
        self._advance(tx, position, reached, live=live)
        for s in statements:
            tx.run(s.cypher, rows=s.rows).consume()

    def _advance(self, tx: ManagedTransaction, position: int, reached: int, *, live: bool) -> None:
        """Lock the build, then see that it is where it should be, and move it: what is read before a lock is had may be out of date."""
        moved = tx.run(
            "MATCH (b:ChanceryBuild {build: $build}) SET b.held = timestamp()"
            " WITH b MATCH (now:ChanceryBuild {build: $build}) WHERE now.position = $position AND now.live = $live"
            " SET now.position = $reached RETURN now.position",
            build=self.build,
            position=position,
            reached=reached,
            live=live,
        ).single()
        if moved is None:
            raise Outrun

    # --- one person's rows, made anew

    def concerning(self, firm: UUID, subject: UUID) -> dict[str, set[UUID]]:
        """The rows, by view, in which anything is or was sealed for a person."""
        n, asked = self.build, ("$firm", "$subject")
        nodes = [node_sought("x", label, *asked, by="subject") for label in (f"ChanceryNode{n}", f"ChanceryNodePast{n}")]
        edges = [edge_sought("x", kind, *asked, by="person") for kind in (f"CHANCERY_EDGE_{n}", f"CHANCERY_PAST_{n}")]

        def ids(sought: Sequence[str]) -> set[UUID]:
            each = (self.rows(f"{s} RETURN DISTINCT x.id", firm=str(firm), subject=str(subject)) for s in sought)
            return {UUID(id) for found in each for id in found}

        return {NODES: ids(nodes), EDGES: ids(edges)}

    def replace(self, position: int, gone: Mapping[str, Sequence[Key]], statements: Sequence[Statement]) -> None:
        """Take out everything stored under these keys and write what is said instead, at this position. Outrun as `apply`."""
        n = self.build

        def work(tx: ManagedTransaction) -> None:
            self._advance(tx, position, position, live=True)
            for cypher, keys in (
                (f"{node_sought('x', f'ChanceryNodePast{n}', *_KEY)} DELETE x", gone.get(NODES, ())),
                (f"{node_sought('x', f'ChanceryNode{n}', *_KEY)} SET x = {{firm: k[0], id: k[1]}}", gone.get(NODES, ())),
                (f"{edge_sought('x', f'CHANCERY_PAST_{n}', *_KEY)} DELETE x", gone.get(EDGES, ())),
            ):
                tx.run(f"UNWIND $keys AS k {cypher}", keys=_pairs(keys)).consume()
            for view, keys in gone.items():
                tx.run(
                    f"UNWIND $keys AS k {node_sought('x', f'ChanceryGone{n}', *_KEY)} WHERE x.view = $view DELETE x",
                    keys=_pairs(keys),
                    view=view,
                ).consume()
            for s in statements:
                tx.run(s.cypher, rows=s.rows).consume()

        self._carefully(work)

    # --- all of it

    def everything(self) -> Iterator[bytes]:
        """Every row in canonical form, in no order."""
        n = self.build
        for view, cypher, superseded, gone in (
            (GRAPH_NODES, f"MATCH (x:ChanceryNode{n}) WHERE x.version IS NOT NULL", False, False),
            (GRAPH_EDGES, f"MATCH ()-[x:CHANCERY_EDGE_{n}]->()", False, False),
            (GRAPH_NODES, f"MATCH (x:ChanceryNodePast{n})", True, False),
            (GRAPH_EDGES, f"MATCH ()-[x:CHANCERY_PAST_{n}]->()", True, False),
            (GRAPH_NODES, f"MATCH (x:ChanceryGone{n}) WHERE x.view = '{NODES}'", True, True),
            (GRAPH_EDGES, f"MATCH (x:ChanceryGone{n}) WHERE x.view = '{EDGES}'", True, True),
        ):
            form = self.forms[view.name]
            with self._driver.session(fetch_size=2_000) as session:
                for (p,) in session.run(f"{cypher} RETURN properties(x)"):
                    yield canonical(view, *form.slice(p, gone=gone), superseded=superseded)


def _pairs(keys: Iterable[Key]) -> list[list[str]]:
    return [[str(f), str(i)] for f, i in keys]


def _corner(key: Key, s: Slice[Any]) -> Plain:
    return {
        "firm": str(key[0]),
        "id": str(key[1]),
        "updated_at": wire.micros(s.updated_at),
        "known_from": s.known_from,
        "valid_to": s.valid_to,
        "known_to": s.known_to,
        "known_end": s.known_end,
    }


# --- builds


def prepare(driver: Driver) -> Build:
    """Migrate, and see that there is a build that serves; answers it."""
    migrate(driver)
    with driver.session() as session:
        session.execute_write(_first)
    found = live(driver)
    if found is None:
        raise RuntimeError("a build was made and is gone")
    return found


def _first(tx: Any) -> None:
    tx.run("MERGE (g:ChanceryGraph {one: 1}) SET g.held = timestamp()").consume()
    if tx.run("MATCH (b:ChanceryBuild {live: true}) RETURN count(b)").single()[0] == 0:
        tx.run(
            "MERGE (b:ChanceryBuild {build: $build}) SET b.position = 0, b.version = $version, b.live = true, b.filling = true",
            build=BUILDS[0],
            version=VERSION,
        ).consume()


def filled(driver: Driver, number: int) -> None:
    """Let the first build answer: it has been to the end of the record."""
    with driver.session() as session:
        session.run("MATCH (b:ChanceryBuild {build: $build, filling: true}) REMOVE b.filling", build=number).consume()


def builds(driver: Driver) -> list[Build]:
    with driver.session() as session:
        found = session.run(
            "MATCH (b:ChanceryBuild) RETURN b.build AS number, b.position AS position, b.version AS version, b.live AS live ORDER BY number"
        )
        return [Build(**r.data()) for r in found]


def live(driver: Driver) -> Build | None:
    """The build that serves; None where nothing was ever prepared."""
    return next((b for b in builds(driver) if b.live), None)


def begin(driver: Driver, serving: Build) -> int:
    """An empty build beside the one that serves; answers its number."""
    number = next(n for n in BUILDS if n != serving.number)
    sweep(driver, number)
    with driver.session() as session:
        session.run(
            "MERGE (b:ChanceryBuild {build: $build}) SET b.position = 0, b.version = $version, b.live = false",
            build=number,
            version=VERSION,
        ).consume()
    return number


def swap(driver: Driver, number: int, *, backwards: bool = False) -> int | None:
    """Let this build serve instead of the other, in one transaction; None when the other is further, so that nobody reads backwards."""

    def work(tx: Any) -> int | None:
        tx.run("MATCH (b:ChanceryBuild) WITH b ORDER BY b.build SET b.held = timestamp()").consume()
        standing = {
            r["build"]: r for r in tx.run("MATCH (b:ChanceryBuild) RETURN b.build AS build, b.position AS position, b.live AS live")
        }
        ours = standing.get(number)
        if ours is None:
            raise Outrun
        if not backwards and any(r["live"] and r["position"] > ours["position"] for b, r in standing.items() if b != number):
            return None
        tx.run("MATCH (b:ChanceryBuild) SET b.live = b.build = $number, b.filling = null", number=number).consume()
        return int(ours["position"])

    with driver.session() as session:
        return session.execute_write(work)


def sweep(driver: Driver, number: int) -> None:
    """Take a build out that does not serve, in batches."""
    with driver.session() as session:
        session.execute_write(lambda tx: _not_live(tx, number))
        for cypher in (
            f"MATCH ()-[x:CHANCERY_PAST_{number}]->()",
            f"MATCH ()-[x:CHANCERY_EDGE_{number}]->()",
            f"MATCH (x:ChanceryOpen{number})-[y]->()",
            f"MATCH (x:ChanceryOpen{number})",
            f"MATCH (x:ChanceryNode{number})",
            f"MATCH (x:ChanceryNodePast{number})",
            f"MATCH (x:ChanceryGone{number})",
        ):
            what = "y" if "[y]" in cypher else "x"
            _until_none(session, f"{cypher} WITH {what} LIMIT {SWEEP} DELETE {what} RETURN count(*) AS done")
        session.run("MATCH (b:ChanceryBuild {build: $build, live: false}) DELETE b", build=number).consume()


def _not_live(tx: Any, number: int) -> None:
    found = tx.run("MATCH (b:ChanceryBuild {build: $build}) SET b.held = timestamp() RETURN b.live AS live", build=number).single()
    if found is not None and found["live"]:
        raise Outrun


def _until_none(session: Session, cypher: str) -> None:
    while True:
        with suppress(TransientError):
            done = session.run(cypher).single()
            if done is None or not done["done"]:
                return
