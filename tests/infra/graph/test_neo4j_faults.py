"""Neo4j and its followers are killed, stopped and woken in the middle of their work: the graph ends as the views have it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import psutil
import pytest
import structlog
from neo4j.exceptions import TransientError

from infra.database import Database
from infra.engines import servers
from infra.engines.run import Engines
from infra.engines.servers import SERVERS, Site
from infra.graph.neo4j import store as st
from infra.graph.neo4j.digests import postgres_digest
from infra.graph.neo4j.filling import Filler
from infra.record import wire
from tests.engines import CACHE
from tests.infra.graph.places import Place
from tests.processes import PATIENCE, gone
from tests.queries.graph_engines import address_of

BATCH = 25


class Narrow(servers.Neo4j):
    """A server that lets a transaction take a twelfth of the memory it usually lets it take."""

    def settings(self, site: Site) -> str:
        values = super().settings(site)
        assert "db.memory.transaction.max=192m" in values
        return values.replace("db.memory.transaction.max=192m", "db.memory.transaction.max=16m")


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """A Neo4j of its own, whose transactions may take little memory."""
    with pytest.MonkeyPatch.context() as m:
        m.setitem(SERVERS, "neo4j", Narrow())
        made = Engines(tmp_path_factory.mktemp("engines"), CACHE)
        yield made
        made.forget()


@pytest.fixture(scope="module")
def place(database: Database, engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Place:
    url = engines.up(("neo4j",))["CHANCERY_NEO4J_URL"]
    made = Place(database, tmp_path_factory.mktemp("place"), address_of(url))
    made.write(120)
    return made


@pytest.fixture
def empty(place: Place) -> Place:
    """Neo4j has nothing yet."""
    with place.neo4j() as d, d.session() as session:
        session.run("MATCH (n) WHERE NOT n:ChanceryMigration CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 500 ROWS").consume()
    with place.database.connect("record") as c:
        c.execute("DELETE FROM chancery.projections WHERE name = 'graph'")
    return place


@contextmanager
def follower(place: Place, *, rebuild: bool = False) -> Iterator["subprocess.Popen[bytes]"]:
    """A follower, or a rebuild, in a process of its own."""
    order = {
        "conninfo": place.database.admin_conninfo(),
        "keys": str(place.vault.folder),
        "uri": place.address.uri,
        "auth": place.address.auth,
        "batch": BATCH,
        "rebuild": rebuild,
    }
    child = subprocess.Popen([sys.executable, "-m", "tests.infra.graph.follow", orjson.dumps(order).decode()])
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def position(place: Place) -> int:
    with place.neo4j() as d:
        live = st.live(d)
    return 0 if live is None else live.position


def halfway(place: Place, share: float = 0.3) -> None:
    """Wait until a part of the record is in the graph, and not all."""
    more, goal, until = 120, place.head() * share, time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            at = position(place)
        except TransientError:
            continue
        if at >= place.head():  # it was at the end before this was seen
            place.write(more)
            more, goal = more * 2, at + 1
        elif at >= goal:
            return
        time.sleep(0.01)
    raise AssertionError("the graph did not come halfway")


def whole(place: Place) -> None:
    """Neo4j holds what the views do, once each."""
    place.project()
    assert place.follower().digest() == postgres_digest(place.database)
    assert position(place) == place.head()
    with place.neo4j() as d, d.session() as session:
        twice = session.run(
            "MATCH ()-[e:CHANCERY_PAST_1]->() WITH e.id AS i, e.updated_at AS u, e.known_from AS k, count(*) AS n WHERE n > 1 RETURN count(*)"
        ).single()
        private, open_ = (
            session.run(f"MATCH ()-[e:{kind}]->() RETURN count(e)").single()
            for kind in ("CHANCERY_EDGE_1", "!(CHANCERY_EDGE_1|CHANCERY_PAST_1)")
        )
    assert twice is not None
    assert private is not None
    assert open_ is not None
    assert (twice[0], private[0]) == (0, open_[0])


def neo4j_process(engines: Engines) -> psutil.Process:
    (status,) = [s for s in engines.status() if s.engine == "neo4j"]
    return psutil.Process(status.pids[0])


@pytest.mark.invariant("GN1")
def test_a_follower_killed_in_the_middle_of_a_batch_leaves_nothing_half_done(empty: Place) -> None:
    for share in (0.2, 0.5):
        with follower(empty) as child:
            halfway(empty, share)
            child.send_signal(signal.SIGKILL)
            child.wait()
    with empty.following():
        empty.until(empty.head())
    whole(empty)


@pytest.mark.invariant("GN1")
def test_a_neo4j_killed_in_the_middle_of_a_batch_comes_back_with_all_or_nothing_of_it(empty: Place, engines: Engines) -> None:
    with empty.following(batch=BATCH):
        halfway(empty)
        killed = neo4j_process(engines)
        killed.kill()
        gone([killed])
        empty.write(4)
        engines.up(("neo4j",))
        empty.until(empty.head())
    whole(empty)


@pytest.mark.invariant("GN2")
def test_a_follower_stopped_in_its_batch_and_woken_beside_its_replacement_changes_nothing(empty: Place) -> None:
    with follower(empty) as stale:
        halfway(empty)
        os.kill(stale.pid, signal.SIGSTOP)
        with empty.following(batch=BATCH):
            empty.until(empty.head())
            whole(empty)
            os.kill(stale.pid, signal.SIGCONT)
            empty.write(6)
            empty.until(empty.head())
            threading.Event().wait(1.0)
        assert stale.poll() is None
    whole(empty)


def test_a_neo4j_that_was_stopped_and_woken_is_caught_up_with(empty: Place, engines: Engines) -> None:
    with empty.following(batch=BATCH):
        halfway(empty)
        process = neo4j_process(engines)
        process.suspend()
        try:
            before = empty.head()
            assert empty.write(4) > before  # the record goes on
            threading.Event().wait(3.0)
        finally:
            process.resume()
        empty.until(empty.head())
    whole(empty)


@pytest.mark.invariant("GN3")
def test_a_rebuild_killed_in_the_middle_leaves_the_graph_that_serves_and_is_cleared_up(empty: Place) -> None:
    with empty.following():
        empty.until(empty.head())
    with empty.neo4j() as d:
        more, until = 120, time.monotonic() + PATIENCE
        while len(st.builds(d)) < 2:
            assert time.monotonic() < until, "too fast to be killed on the way"
            with follower(empty, rebuild=True) as child:
                while not any(b.position > 100 and not b.live for b in st.builds(d)) and child.poll() is None:
                    time.sleep(0.02)
            if len(st.builds(d)) < 2:  # it was at the end before this was seen
                empty.write(more)
                more *= 2
        with empty.following():
            empty.until(empty.write(2))
        assert len(st.builds(d)) == 1
    whole(empty)


def test_what_is_too_much_for_neo4j_at_once_is_cut_into_smaller_batches(empty: Place) -> None:
    empty.write(900)
    empty.project()
    f = empty.follower(batch=8_000)
    with structlog.testing.capture_logs() as said, empty.neo4j() as d, empty.database.connect("record") as c:
        wire.register(c)
        build = f.prepare(d, c)
        Filler(d, empty.vault, build.number, live=True, batch=8_000).catch_up(c)
    assert [s["events"] for s in said if s["event"] == "graph.smaller_batches"][:1] == [4_000]
    whole(empty)
