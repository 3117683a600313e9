"""What Neo4j holds: what the views hold, live, rebuilt, doubled and purged; and nothing personal that anybody could read there."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
import structlog
from neo4j.exceptions import DriverError, Neo4jError, TransientError

from infra.away import EngineUnusable
from infra.database import Database
from infra.graph.neo4j import filling, migrations
from infra.graph.neo4j import store as st
from infra.graph.neo4j.client import Address, check
from infra.graph.neo4j.digests import postgres_digest
from infra.graph.neo4j.engine import CYPHER
from infra.graph.neo4j.filling import Filler
from infra.graph.neo4j.follower import Neo4jFollower
from infra.graph.neo4j.migrations import MIGRATIONS, MigrationChanged, migrate
from infra.graph.neo4j.rows import Sealer, moment
from infra.graph.neo4j.statements import Statement
from infra.graph.neo4j.store import Outrun
from infra.record import wire
from infra.settings import Settings
from tests.infra.graph.places import Place
from tests.processes import PATIENCE
from tests.queries.graph_engines import a_neo4j, address_of, wipe


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with a_neo4j() as url:
        yield address_of(url)


@pytest.fixture(scope="module")
def place(database: Database, address: Address, tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = Place(database, tmp_path_factory.mktemp("place"), address)
    made.write(40)
    made.project()
    return made


@pytest.fixture
def empty(place: Place) -> Place:
    place.project()
    with place.neo4j() as d:
        migrate(d)
        wipe(d)
    with place.database.connect("record") as c:
        c.execute("DELETE FROM chancery.projections WHERE name = 'graph'")
    return place


def fill(place: Place, *, batch: int = 1_000) -> Neo4jFollower:
    """Follow until the end of the record, in this thread."""
    f = place.follower(batch=batch)
    with place.neo4j() as d, place.database.connect("record") as c:
        wire.register(c)
        build = f.prepare(d, c)
        Filler(d, place.vault, build.number, live=True, batch=batch).catch_up(c)
    return f


@pytest.mark.invariant("GN1")
@pytest.mark.parametrize("batch", [7, 64, 1_000])
def test_the_graph_in_neo4j_is_that_of_the_views_the_past_included_however_it_was_cut_into_batches(
    empty: Place, batch: int
) -> None:
    f = fill(empty, batch=batch)
    assert f.digest() == postgres_digest(empty.database)


@pytest.mark.invariant("GN1")
def test_a_long_way_is_gone_with_few_rows_in_memory_and_leads_to_the_same_graph(
    empty: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "LINES", 5)
    monkeypatch.setattr(filling, "ENSURED", 5)
    held: list[int] = []
    trim = Filler._trim

    def trimmed(self: Filler) -> None:
        trim(self)
        held.append(max(len(f.lines) for f in self._foldings.values()))

    monkeypatch.setattr(Filler, "_trim", trimmed)
    f = fill(empty, batch=10)
    assert len(held) > 10
    assert max(held) < 100, "those of two batches stay, whatever the limit is"
    assert f.digest() == postgres_digest(empty.database)


@pytest.mark.invariant("GN1")
def test_a_follower_that_begins_in_the_middle_reads_what_it_needs(empty: Place) -> None:
    f = fill(empty, batch=50)
    empty.write(6)
    fill(empty, batch=10)
    empty.project()
    assert f.digest() == postgres_digest(empty.database)


def _operators(plan: dict[str, Any]) -> Iterator[str]:
    yield plan["operatorType"].split("@")[0]
    for child in plan.get("children", []):
        yield from _operators(child)


@pytest.mark.invariant("GN8")
def test_a_graph_that_is_filled_for_the_first_time_is_never_looked_through_for_one_row(
    empty: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, dict[str, Any]] = {}
    looked_through: set[tuple[str, str]] = set()
    apply = st.Store.apply

    def planned(self: st.Store, position: int, reached: int, statements: list[Statement], *, live: bool) -> None:
        seen.update((s.cypher, {"rows": s.rows[:1]}) for s in statements)
        apply(self, position, reached, statements, live=live)
        with self._driver.session() as session:
            for query, given in seen.items():
                plan = session.run(f"EXPLAIN CYPHER replan=force {query}", given).consume().plan or {}
                looked_through.update((o, query) for o in _operators(plan) if "Scan" in o or "Join" in o)

    monkeypatch.setattr(st.Store, "apply", planned)
    empty.write(60)
    fill(empty, batch=200)
    assert len(seen) > 10
    assert not looked_through


def test_what_is_written_is_held_no_longer(empty: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Statement] = []
    batch = st.Store.batch

    def kept(self: st.Store, said: Any) -> list[Statement]:
        made = batch(self, said)
        assert all(s.rows for s in made)
        written.extend(made)
        return made

    monkeypatch.setattr(st.Store, "batch", kept)
    fill(empty, batch=50)
    assert len(written) > 20
    assert not any(s.rows for s in written)


def test_a_follower_shows_where_it_is_and_follows(empty: Place) -> None:
    with empty.following() as f:
        empty.until(empty.head())
        empty.until(empty.write(4))
        empty.project()
        assert f.digest() == postgres_digest(empty.database)


@pytest.mark.invariant("GN2")
def test_two_followers_at_once_do_no_harm(empty: Place) -> None:
    with empty.following(batch=20) as f, empty.following(batch=33):
        empty.until(empty.head())
        empty.until(empty.write(10))
        empty.project()
        assert f.digest() == postgres_digest(empty.database)


@pytest.mark.invariant("GN2")
def test_a_batch_that_does_not_begin_where_the_graph_is_changes_nothing(empty: Place) -> None:
    f = fill(empty)
    before = f.digest()
    with empty.neo4j() as d:
        live = st.live(d)
        assert live is not None
        store = st.Store(d, Sealer(bytes(32)), live.number)
        made = [Statement("UNWIND $rows AS row CREATE (n:ChanceryNodePast1) SET n = row", [{"firm": "x"}])]
        for position, serving in ((live.position - 1, True), (live.position + 1, True), (live.position, False)):
            with pytest.raises(Outrun):
                store.apply(position, live.position + 9, made, live=serving)
        assert store.position() == live.position
    assert f.digest() == before


@pytest.mark.invariant("GN2")
@pytest.mark.invariant("GN2")
def test_a_batch_that_waits_for_another_writer_is_refused_for_what_that_one_wrote(empty: Place) -> None:
    fill(empty)
    with empty.neo4j() as d:
        live = st.live(d)
        assert live is not None
        store = st.Store(d, Sealer(bytes(32)), live.number)
        made = [Statement("UNWIND $rows AS row CREATE (n:ChanceryNodePast1) SET n = row", [{"firm": "x"}])]
        with ThreadPoolExecutor(1) as other, d.session() as session, session.begin_transaction(timeout=2 * PATIENCE) as tx:
            tx.run("MATCH (b:ChanceryBuild {build: $n}) SET b.position = b.position + 1", n=live.number).consume()
            waiting = other.submit(store.apply, live.position, live.position + 9, made, live=True)
            with pytest.raises(TimeoutError):
                waiting.result(1)
            tx.commit()
            with pytest.raises(Outrun):
                waiting.result(PATIENCE)
        assert store.position() == live.position + 1
        with d.session() as session:
            assert session.run("MATCH (n:ChanceryNodePast1 {firm: 'x'}) RETURN count(n)").single(strict=True)[0] == 0


def test_writers_that_meet_in_a_deadlock_try_again(empty: Place) -> None:
    """Another program holds a node and wants the build, while the follower holds the build and wants the node."""
    fill(empty)
    empty.write(6)
    empty.project()
    met = threading.Event()
    go = threading.Event()

    def other() -> None:
        with (
            suppress(DriverError, Neo4jError),
            empty.neo4j() as d,
            d.session() as session,
            session.begin_transaction(timeout=2 * PATIENCE) as tx,
            d.session() as looking,
        ):
            tx.run("MATCH (n:ChanceryNode1 {id: $id}) SET n.seen = 1 REMOVE n.seen", id=str(empty.deals[-1])).consume()
            go.set()
            for _ in range(round(PATIENCE / 0.05)):  # until the follower stands before that node
                if looking.run("SHOW TRANSACTIONS YIELD status WHERE status STARTS WITH 'Blocked' RETURN count(*) AS n").single(
                    strict=True
                )["n"]:
                    break
                threading.Event().wait(0.05)
            try:
                tx.run("MATCH (b:ChanceryBuild) SET b.seen = 1 REMOVE b.seen").consume()
            except TransientError:
                met.set()

    thread = threading.Thread(target=other)
    with structlog.testing.capture_logs() as logs:
        with empty.database.connect("record") as c:
            wire.register(c)
            f = empty.follower()
            with empty.neo4j() as d:
                with d.session() as session:  # so that there is a node to hold
                    session.run(
                        "MERGE (n:ChanceryNode1 {firm: $firm, id: $id})", firm=str(empty.firm), id=str(empty.deals[-1])
                    ).consume()
                thread.start()
                assert go.wait(PATIENCE)
                build = f.prepare(d, c)
                Filler(d, empty.vault, build.number, live=True).catch_up(c)
        thread.join()
    assert met.is_set() or any(e["event"] == "neo4j.again" for e in logs)
    assert f.digest() == postgres_digest(empty.database)


@pytest.mark.invariant("GN3")
def test_a_rebuild_fills_another_build_and_takes_its_place(empty: Place) -> None:
    f = fill(empty)
    before, told = f.digest(), list[tuple[int, int]]()
    with empty.neo4j() as d:
        was = st.live(d)
        assert f.rebuild(progress=lambda done, of: told.append((done, of))) == empty.head()
        now = st.live(d)
        assert was is not None
        assert now is not None
        assert (now.number, [b.number for b in st.builds(d)]) == (3 - was.number, [now.number])
        with d.session() as session:
            left = session.run(f"MATCH (n:ChanceryNode{was.number}|ChanceryOpen{was.number}) RETURN count(n)").single()
        assert (left and left[0]) == 0
    assert told[-1] == (empty.head(), empty.head())
    assert f.digest() == before == postgres_digest(empty.database)


@pytest.mark.invariant("GN3")
def test_a_rebuild_beside_a_follower_loses_nothing_that_comes_meanwhile(empty: Place) -> None:
    with empty.following(batch=25) as f:
        empty.until(empty.head())
        rebuilding = threading.Thread(target=empty.follower(batch=25).rebuild)
        rebuilding.start()
        empty.write(8)
        rebuilding.join()
        empty.until(empty.write(4))
        empty.project()
        assert f.digest() == postgres_digest(empty.database)


def test_what_an_interrupted_rebuild_left_is_cleared_up(empty: Place) -> None:
    f = fill(empty)
    with empty.neo4j() as d, empty.database.connect("record") as c:
        wire.register(c)
        serving = st.live(d)
        assert serving is not None
        Filler(d, empty.vault, st.begin(d, serving), live=False).catch_up(c)
        assert len(st.builds(d)) == 2
        f.prepare(d, c)
        assert len(st.builds(d)) == 1
    assert f.digest() == postgres_digest(empty.database)


@pytest.mark.invariant("GN6")
def test_a_graph_ahead_of_the_record_stops_and_a_rebuild_mends_it(empty: Place) -> None:
    f = fill(empty)
    with empty.neo4j() as d, empty.database.connect("record") as c:
        wire.register(c)
        with d.session() as session:
            session.run("MATCH (b:ChanceryBuild) SET b.position = b.position + 1000").consume()
        f.prepare(d, c)
        row = c.execute("SELECT stopped_at, error FROM chancery.projections WHERE name = 'graph'").fetchone()
        assert row == (empty.head() + 1000, "AheadOfRecord")
        assert f.rebuild() == empty.head()
        assert c.execute("SELECT stopped_at, position FROM chancery.projections WHERE name = 'graph'").fetchone() == (
            None,
            empty.head(),
        )
    assert f.digest() == postgres_digest(empty.database)


@pytest.mark.invariant("GN5")
def test_an_event_that_cannot_be_read_stops_the_graph_before_it_and_nothing_else(empty: Place) -> None:
    with psycopg.connect(empty.database.admin_conninfo(), autocommit=True) as admin:
        admin.execute("SET session_replication_role = replica")
        found = admin.execute(
            "SELECT position, public FROM record.events WHERE type = 'deals.Opened.v1' ORDER BY position OFFSET 3 LIMIT 1"
        ).fetchone()
        assert found is not None
        position, public = found
        for batch in (1_000, 10):
            admin.execute("UPDATE record.events SET public = 'nonsense' WHERE position = %s", (position,))
            try:
                with empty.following(batch=batch) as f:
                    empty.until(position - 1)
                    until = threading.Event()
                    for _ in range(round(PATIENCE / 0.05)):
                        row = admin.execute("SELECT position, stopped_at FROM chancery.projections WHERE name = 'graph'").fetchone()
                        if row is not None and row[1] is not None:
                            break
                        until.wait(0.05)
                    assert row == (position - 1, position)
            finally:
                admin.execute("UPDATE record.events SET public = %s WHERE position = %s", (public, position))
            admin.execute("UPDATE chancery.projections SET stopped_at = NULL, error = NULL WHERE name = 'graph'")
            with empty.following() as f:
                empty.until(empty.head())
            assert f.digest() == postgres_digest(empty.database)
            with empty.neo4j() as d:
                wipe(d)
            admin.execute("DELETE FROM chancery.projections WHERE name = 'graph'")


@pytest.mark.invariant("GN4")
def test_no_name_of_a_person_can_be_read_in_neo4j(empty: Place) -> None:
    fill(empty)
    with empty.neo4j() as d, d.session() as session:
        found = session.run(
            "MATCH (n) UNWIND keys(n) AS k WITH n, k WHERE n[k] IS :: STRING"
            " AND (n[k] CONTAINS 'Person' OR n[k] CONTAINS 'Mandate') RETURN count(*)"
        ).single()
        named = session.run("MATCH (n:ChanceryNode1) WHERE n.label IS NOT NULL RETURN count(*)").single()
    assert (found and found[0]) == 0
    assert ((named and named[0]) or 0) > 40


def test_what_cypher_sees_of_an_edge_is_what_the_views_hold_but_for_what_is_sealed(empty: Place) -> None:
    empty.noted(datetime(1987, 5, 4, 3, 2, 1, 765_432, tzinfo=UTC))
    fill(empty)
    with empty.neo4j() as d, d.session() as session:
        edges = [
            (r["e"], r["o"])
            for r in session.run(
                "MATCH ()-[e:CHANCERY_EDGE_1]->() MATCH (:ChanceryOpen1)-[o]->() WHERE o.id = e.id"
                " RETURN properties(e) AS e, properties(o) AS o"
            )
        ]
    assert len(edges) > 20
    for e, o in edges:
        times = {n: moment(e[n]) for n in ("last_at", "since", "until") if n in e and (n == "last_at" or not e["sealed"])}
        others = {n: e[n] for n in ("id", "source", "target", "count", "last_event")}
        role = {"role": e["role"]} if "role" in e and not e["sealed"] else {}
        assert {n: v.to_native() if n in times else v for n, v in o.items()} == times | others | role
    assert any(e["sealed"] for e, _ in edges)
    assert any("role" in o for _, o in edges)
    assert any(o["last_at"].year == 1987 or o["since"].year == 1987 for _, o in edges if "since" in o)


@pytest.mark.invariant("GN7")
def test_what_was_sealed_for_a_person_is_gone_from_the_graph_and_its_past_when_their_key_is(empty: Place) -> None:
    empty.write(6)
    f = fill(empty)
    subject, other = empty.contacts[-6], empty.contacts[-5]
    with empty.neo4j() as d, empty.database.connect("record") as c:
        kept = c.execute(
            "DELETE FROM vault.data_keys WHERE firm_id = %s AND subject_id = %s RETURNING firm_id, key_id", (empty.firm, subject)
        ).fetchall()
        assert kept
        empty.vault.forget(empty.firm, subject) if hasattr(empty.vault, "forget") else empty.vault._by_id.clear()
        assert f.purge(empty.firm, subject) >= 2
        with d.session() as session:
            rows = session.run(
                "MATCH (n:ChanceryNode1|ChanceryNodePast1 {firm: $firm, id: $id}) RETURN n.label, n.names",
                firm=str(empty.firm),
                id=str(subject),
            ).values()
            (mine,) = session.run(
                "MATCH (n:ChanceryNode1 {firm: $f, id: $i}) RETURN n.label", f=str(empty.firm), i=str(other)
            ).values()
        assert mine[0] is not None
        sealer = Sealer(empty.vault.installation_key("graph-names"))
        assert not any(text and "Person" in text for row in rows for text in map(sealer.open, row))
    live = f.digest()
    assert f.rebuild() == empty.head()
    assert f.digest() == live  # as a rebuild would have it


def test_constraints_and_indexes_are_migrated_once_and_a_changed_migration_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with place.neo4j() as d:
        migrate(d)
        assert migrate(d) == []
        with d.session() as session:
            names = {r["name"] for r in session.run("SHOW INDEXES YIELD name")}
            assert {"chancery_node_1", "chancery_edge_2", "chancery_past_1", "chancery_open_contact"} <= names
            session.run("MATCH (m:ChanceryMigration {number: 1}) SET m.digest = 'other'").consume()
        with pytest.raises(MigrationChanged):
            migrate(d)
        with d.session() as session:
            session.run("MATCH (m:ChanceryMigration {number: 1}) SET m.digest = $d", d=MIGRATIONS[0].digest).consume()
        one = migrations.Migration(99, "again", MIGRATIONS[0].statements)
        monkeypatch.setattr(migrations, "MIGRATIONS", [*MIGRATIONS, one])
        assert migrate(d) == [99]
        with d.session() as session:
            session.run("MATCH (m:ChanceryMigration {number: 99}) DELETE m").consume()


def test_no_statement_of_the_port_can_be_asked_without_its_scope() -> None:
    assert len(CYPHER) == 10
    for name, text in CYPHER.items():
        assert "{scope}" in text, name
        assert "$firm" in text, name


def test_a_neo4j_that_does_not_answer_or_lets_nobody_in_is_said_at_start(address: Address) -> None:
    with pytest.raises(EngineUnusable, match="does not answer"):
        check(Address("bolt://127.0.0.1:1", None))
    with pytest.raises(EngineUnusable, match="lets nobody in") as refused:
        check(Address(address.uri, ("neo4j", "a wrong password")))
    assert "a wrong password" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "uri", "auth"),
    [
        ({"neo4j_url": "bolt://u:p%40ss@h:1"}, "bolt://h:1", ("u", "p@ss")),
        ({"neo4j_url": "neo4j+s://h", "neo4j_user": "u", "neo4j_password": "p"}, "neo4j+s://h:7687", ("u", "p")),
        ({"neo4j_url": "bolt://h", "neo4j_password": "p"}, "bolt://h:7687", ("neo4j", "p")),
        ({"neo4j_url": "bolt://[::1]:9"}, "bolt://[::1]:9", None),
    ],
)
def test_the_address_is_read_from_the_settings(settings: dict[str, str], uri: str, auth: tuple[str, str] | None) -> None:
    found = Address.of(Settings.model_validate(settings))
    assert found is not None
    assert (found.uri, found.auth) == (uri, auth)
    assert auth is None or auth[1] not in repr(found)


@pytest.mark.parametrize("url", ["http://h", "bolt://", "bolt://h:x", "bolt://h/db", "nonsense", "bolt://h?said=twice"])
def test_an_address_that_cannot_be_read_is_said(url: str) -> None:
    with pytest.raises(EngineUnusable, match="can't be read"):
        Address.of(Settings.model_validate({"neo4j_url": url}))
