"""The graph in Neo4j over HTTP: the same questions, read-only Cypher and what it refuses, and a Neo4j that goes away."""

# ruff: noqa: ASYNC110 - what is waited for lies outside and sends no event

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import orjson
import psutil
import pytest
import pytest_asyncio
import uvloop

from commands.contacts import CreateContact
from commands.deals import AddParty, OpenDeal, WinDeal
from commands.organisations import CreateOrganisation
from commands.pipelines import DefinePipeline, NewStage
from commands.relations import RelateParties
from domain.members import Role
from infra.bootstrap import opened
from infra.database import Database
from infra.engines.run import Engines
from infra.graph.neo4j import store
from infra.graph.neo4j.client import driver
from infra.graph.neo4j.cypher import _Worker
from infra.graph.neo4j.digests import postgres_digest
from infra.graph.neo4j.follower import Neo4jFollower
from infra.reading import NOW
from infra.settings import Settings
from queries.graph.cypher import FUNCTIONS, OPERATORS, checked
from tests.engines import CACHE
from tests.house import House, a_house
from tests.queries.graph_engines import address_of


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """A Neo4j of its own, which these tests stop and wake."""
    made = Engines(tmp_path_factory.mktemp("engines"), CACHE)
    yield made
    made.forget()


@pytest.fixture(scope="module")
def url(engines: Engines) -> str:
    return engines.up(("neo4j",))["CHANCERY_NEO4J_URL"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(settings: Settings, database: Database, url: str) -> AsyncIterator[House]:
    """A firm with two people, an organisation and a deal that was won."""
    async with a_house(
        settings.model_copy(update={"neo4j_url": Settings.model_validate({"neo4j_url": url}).neo4j_url}), database
    ) as h:
        pipeline = await h.do(DefinePipeline(name="Mandates", stages=[NewStage(name="Enquiry"), NewStage(name="Offer")]))
        anna = (await h.do(CreateContact(display_name="Anna Secretname"))).body["id"]
        otto = (await h.do(CreateContact(display_name="Otto Hidden"))).body["id"]
        acme = (await h.do(CreateOrganisation(name="Acme"))).body["id"]
        deal = (
            await h.do(
                OpenDeal(title="The Secretname house", pipeline=UUID(str(pipeline.body["id"])), amount="1200.50", currency="EUR")
            )
        ).body["id"]
        for other, kind in ((otto, "friend_of"), (acme, "works_at")):
            await h.do(
                RelateParties.model_validate(
                    {
                        "kind": kind,
                        "source_type": "contact",
                        "source": str(anna),
                        "target_type": "organisation" if other == acme else "contact",
                        "target": str(other),
                        "label": "Director of secrets",
                    }
                )
            )
        await h.do(AddParty(id=UUID(str(deal)), kind="contact", party_id=UUID(str(anna)), role="client"))
        await h.do(WinDeal(id=UUID(str(deal))))
        h.ids = {"anna": str(anna), "otto": str(otto), "acme": str(acme), "deal": str(deal)}  # type: ignore[attr-defined]
        await h.settle()
        yield h


async def ask(client: Any, query: str, **more: Any) -> tuple[int, Any]:
    done = await client.post("/v1/graph:cypher", json={"query": query, **more})
    return done.status_code, done.json()


async def test_the_questions_of_the_graph_are_answered_by_neo4j_as_by_postgresql(
    house: House, settings: Settings, url: str
) -> None:
    ids: dict[str, str] = house.ids  # type: ignore[attr-defined]
    asked = [
        f"contact/{ids['anna']}/neighbourhood?depth=2",
        f"contact/{ids['anna']}/neighbourhood?depth=2&format=graphml",
        f"contact/{ids['anna']}/paths?to=deal/{ids['deal']}&format=csv",
        f"contact/{ids['anna']}/paths?to=contact/{ids['otto']}&which=simple",
        f"contact/{ids['anna']}/common?to=organisation/{ids['acme']}",
        f"deal/{ids['deal']}/timeline",
        "referrals",
        "co-working",
        "central?by=degree",
        "central?by=pagerank",
        "communities",
    ]
    follower = Neo4jFollower(house.chancery.database, house.chancery.vault, address_of(url))
    assert await asyncio.to_thread(follower.digest) == postgres_digest(house.chancery.database)
    position = house.chancery.feed.head
    others = await house.as_role(Role.ANALYST)
    await house.settle()
    async with opened(settings) as postgres:
        for path in asked:
            for client in (house.client, others):
                for moment in ("", f"known_at={position}"):
                    address = f"/v1/graph/{path}{'&' if '?' in path else '?'}{moment}".rstrip("?&")
                    ours = await client.get(address)
                    assert ours.status_code == 200, (address, ours.text)
                    ports = house.chancery.readers._ports
                    house.chancery.readers._ports = postgres.readers._ports
                    try:
                        theirs = await client.get(address)
                    finally:
                        house.chancery.readers._ports = ports
                    assert ours.text == theirs.text, address


async def test_a_read_that_sends_its_position_waits_for_neo4j(house: House) -> None:
    made = await house.client.post("/v1/contacts", json={"display_name": "Nadja Newly"})
    position = made.headers["chancery-position"]
    found = await house.client.get(f"/v1/graph/contact/{made.json()['id']}/neighbourhood", headers={"Chancery-Position": position})
    assert (found.status_code, found.json()["nodes"][0]["label"]) == (200, "Nadja Newly")
    assert int(found.headers["chancery-position"]) >= int(position)


async def test_an_analyst_asks_in_cypher_with_parameters_and_sees_no_name(house: House) -> None:
    ids: dict[str, str] = house.ids  # type: ignore[attr-defined]
    analyst = await house.as_role(Role.ANALYST)
    status, told = await ask(
        analyst,
        "MATCH (c:Contact)-[p:PARTY_TO]->(d:Deal) WHERE d.status = $status RETURN c, p, d.amount AS amount, d.currency, d.closed_on",
        parameters={"status": "won"},
    )
    assert status == 200, told
    ((c, p, amount, currency, _),) = told["rows"]
    assert c == {"kind": "contact", "id": ids["anna"], "status": "active", "archived": False}
    assert (p["kind"], p["role"], p["source"], p["target"]) == ("party_to", "client", ids["anna"], ids["deal"])
    assert (amount, currency) == (1200.5, "EUR")
    for query in (
        "MATCH (c:Contact) RETURN c, properties(c), labels(c), keys(c)",
        "MATCH p = (c:Contact)-[*1..3]-(x) RETURN p, nodes(p), relationships(p)",
        "MATCH (c:Contact) RETURN c {.*}",
        "MATCH (c:Contact)-[r]-(o) RETURN type(r), properties(r), o, [c.id, r.id, $x, 1, null] AS l, {a: c.id, b: true} AS m",
        "UNWIND $ids AS i MATCH (c:Contact {id: i}) RETURN c, [(c)-->(d:Deal) | d.id] AS deals, any(x IN $ids WHERE x = c.id) AS one",
        "MATCH (d:Deal) RETURN d",
    ):
        for client in (analyst, house.client):
            status, told = await ask(client, query, parameters={"x": 1, "ids": [ids["anna"]]})
            assert status == 200, told
            text = str(told)
            assert "Secretname" not in text
            assert "Hidden" not in text
            assert "Director" not in text
            assert "WORKS_AT" not in text.upper()
            assert "Chancery" not in text
    assert (await ask(analyst, "MATCH (o:Organisation) RETURN o.name"))[1]["rows"] == [["Acme"]]
    assert (await ask(analyst, "MATCH (c:Contact) RETURN c.id", max_rows=1))[1]["truncated"] is True
    assert (await ask(analyst, "MATCH (c:Contact {id: $id}) RETURN count(*) AS n", parameters={"id": ids["anna"]}))[1]["rows"] == [
        [1]
    ]
    assert (await ask(analyst, "MATCH ()-[r:RELATED_TO]->() RETURN count(r) AS n"))[1]["rows"] == [[2]]
    assert (await ask(analyst, "MATCH (c:Contact) WHERE NOT EXISTS { (c)-[:PARTY_TO]->(:Deal) } RETURN count(c)"))[0] == 200
    assert (await ask(analyst, "MATCH (c:Contact) CALL (c) { MATCH (c)--(x) RETURN count(x) AS k } RETURN c.id, k ORDER BY k"))[
        0
    ] == 200
    assert (await ask(analyst, "MATCH p = shortestPath((a:Contact)-[*..4]-(b:Deal)) RETURN length(p)"))[0] == 200


def test_what_runs_a_query_starts_under_the_loop_that_serves(url: str) -> None:
    address = address_of(url)

    async def work() -> dict[str, Any] | None:
        worker = await _Worker.start(address)
        try:
            return await worker.ask({"text": "RETURN 1 AS one", "parameters": {}, "rows": 5, "seconds": 5.0, "by": "a test"})
        finally:
            await worker.end()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(work()) is not None


async def test_a_graph_that_is_filled_for_the_first_time_says_so_and_answers_nothing_yet(house: House, url: str) -> None:
    address = address_of(url)
    asked = f"/v1/graph/contact/{house.ids['anna']}/neighbourhood"  # type: ignore[attr-defined]
    with driver(address) as neo4j, neo4j.session() as session:
        session.run("MATCH (b:ChanceryBuild {live: true}) SET b.filling = true").consume()
        try:
            away = await house.client.get(asked)
            assert (away.status_code, away.json()["type"]) == (503, "urn:chancery:problem:engine-filling"), away.text
            status, told = await ask(house.client, "MATCH (c:Contact) RETURN count(c) AS n")  # a part would pass for the whole
            assert (status, told["type"]) == (503, "urn:chancery:problem:engine-filling"), told
        finally:
            live = store.live(neo4j)
            assert live is not None
            store.filled(neo4j, live.number)
    assert (await house.client.get(asked)).status_code == 200


async def test_cypher_needs_its_permission(house: House) -> None:
    for role in (Role.ADVISER, Role.AUDITOR, Role.READ_ONLY):
        status, told = await ask(await house.as_role(role), "MATCH (c:Contact) RETURN count(c)")
        assert (status, told["type"]) == (403, "urn:chancery:problem:permission-missing")


ATTACKS = [
    ("LOAD CSV FROM $f AS l RETURN l", "reads files"),
    ("load csv from $f as l return l", "reads files"),
    ("CALL dbms.listConfig()", "can't be called"),
    ("CALL dbms.listConfig() YIELD name RETURN name", "can't be called"),
    ("CALL db.labels()", "can't be called"),
    ("CALL apoc.load.json($u)", "can't be called"),
    ("CALL dbms.security.listUsers", "can't be called"),
    ("MATCH (c:Contact) RETURN apoc.text.join([], $x)", "is not among"),
    ("MATCH (c:Contact) RETURN file()", "is not among"),
    ("RETURN graph.names()", "is not among"),
    ("SHOW DATABASES", "SHOW tells"),
    ("SHOW TRANSACTIONS YIELD *", "SHOW tells"),
    ("TERMINATE TRANSACTION $x", "changes something"),
    ("CREATE (n:Contact) RETURN n", "changes something"),
    ("MERGE (n:Contact) RETURN n", "changes something"),
    ("MATCH (n:Contact) DELETE n", "changes something"),
    ("MATCH (n:Contact) DETACH DELETE n", "changes something"),
    ("MATCH (n:Contact) SET n.x = 1", "changes something"),
    ("MATCH (n:Contact) REMOVE n.status", "changes something"),
    ("MATCH (n:Contact) FOREACH (x IN [1] | SET n.x = x)", "changes something"),
    ("INSERT (:Contact)", "changes something"),
    ("DROP INDEX chancery_node_1", "changes something"),
    ("MATCH (n:Contact) CALL (n) { RETURN 1 AS x } IN TRANSACTIONS RETURN x", "IN TRANSACTIONS"),
    ("USE system MATCH (n:Contact) RETURN n", "another database"),
    ("PROFILE MATCH (n:Contact) RETURN n", "explained before"),
    ("EXPLAIN MATCH (n:Contact) RETURN n", "explained before"),
    ("CYPHER runtime=interpreted MATCH (n:Contact) RETURN n", "choose"),
    ("CYPHER 25 MATCH (n:Contact) RETURN n", "choose"),
    ("/* a */ CREATE (n)", "comment"),
    ("MATCH (n:Contact) RETURN n // and more\n DELETE n", "comment"),
    ("MATCH (n:Contact) RETURN n; MATCH (m:Deal) RETURN m", "more than one"),
    ("\\u0043REATE (n:Contact)", "backslash"),
    ("MATCH (n:Contact) WHERE n.status = 'x' RETURN n", "quotes"),
    ('MATCH (n:Contact) WHERE n.status = "x" RETURN n', "quotes"),
    ("MATCH (n:`Contact`) RETURN n", "backticks"),
    ("MATCH (n:Con\u0442act) RETURN n", "plain ASCII"),
    ("MATCH\u00a0(n:Contact) RETURN n", "plain ASCII"),
    ("MATCH (n) RETURN n", "every node"),
    ("MATCH (n) RETURN count(n)", "every node"),
    ("MATCH ()-[r]->() RETURN r", "every node or edge"),
    ("MATCH ()-[r]->() RETURN count(r)", "every node or edge"),
    ("MATCH (n) WHERE elementId(n) = $f RETURN n", "internal id"),
    ("MATCH (n) WHERE id(n) = 1 RETURN n", "internal id"),
    ("MATCH ()-[r]->() WHERE elementId(r) = $f RETURN r", "internal id"),
    ("MATCH (n:ChanceryNode1) RETURN n", "how the graph is kept"),
    ("MATCH (n:ChanceryBuild) RETURN n", "how the graph is kept"),
    ("MATCH (n:Contact) WHERE n:chanceryOpen1 RETURN n", "how the graph is kept"),
    ("MATCH ()-[r:CHANCERY_EDGE_1]->() RETURN r", "how the graph is kept"),
    ("MATCH (n:$($f)) RETURN n", "as parameters"),
    ("MATCH (n:!Contact) RETURN n", "every node"),
    ("MATCH (n:%) RETURN n", "every node"),
    ("RETURN [x IN [1] | COLLECT { MATCH (n) RETURN n }] AS y", "list comprehension"),
    ("RETURN any(x IN [1] WHERE EXISTS { MATCH (n) WHERE n.label IS NOT NULL }) AS y", "can't be looked at"),
    ("RETURN [x IN [1] | [(a)-[r]->(b) | b]] AS y", "list comprehension"),
    ("RETURN any(x IN [1] WHERE size([(a)-[r]->(b) | b.id]) > 0) AS y", "can't be looked at"),
    ("MATCH (c:Contact) RETURN CASE WHEN c.archived THEN COUNT { MATCH (n) } ELSE 0 END AS k", "can't be looked at"),
    ("MATCH (c:Contact) RETURN COUNT { MATCH (n) } AS k", "every node"),
    ("MATCH (c:Contact) WHERE COUNT { MATCH (n) WHERE n.names IS NOT NULL } > 1 RETURN c", "every node"),
    ("RETURN " + "(" * 60 + "1" + ")" * 60, "brackets deep"),
    ("RETURN " + "+".join("1" for _ in range(3_000)), "words and signs"),
    ("RETURN (1", "does not understand"),
    ("RETURN 1)", "do not match"),
    ("MATCH (c:Contact) RETURN c.id = $not_given", "was not given"),
    ("MATCH (c:Contact RETURN", "does not understand"),
    (";", "is empty"),
    ("WITH $f AS s " + "WITH s + s AS s " * 30 + "RETURN s", "may double"),
    ("RETURN reduce(s = $f, x IN $f | s + s) AS s", "is not among"),
    ("RETURN replace($f, $f, $f) AS s", "is not among"),
    ("RETURN range(1, 100000000) AS s", "is not among"),
    ("RETURN [x IN $f | x] AS s", "list comprehension"),
    ("WITH $f AS l " + "WITH [l, l] AS l " * 30 + "RETURN l", "in a list or a map"),
    ("WITH $f AS l " + "WITH [coalesce(l), (l)] AS l " * 30 + "RETURN l", "in a list or a map"),
    ("WITH $f AS l " + "WITH {a: l, b: l} AS l " * 30 + "RETURN l", "in a list or a map"),
    ("MATCH (c:Contact) RETURN c {.*, me: c}", "in a list or a map"),
]


@pytest.mark.parametrize(("query", "why"), ATTACKS, ids=[q[:40] for q, _ in ATTACKS])
@pytest.mark.invariant("GC1")
@pytest.mark.invariant("GC2")
@pytest.mark.invariant("GC3")
async def test_what_may_do_more_than_read_the_open_graph_is_refused_with_the_reason(house: House, query: str, why: str) -> None:
    status, told = await ask(house.client, query, parameters={"f": "file:///etc/passwd"})
    assert status == 422, told
    assert why in told.get("detail", "") + told["title"], told
    assert "not run" in told.get("detail", told["title"])


@pytest.mark.invariant("GC1")
@pytest.mark.parametrize(
    "query", [q for q, w in ATTACKS if "chang" in w or "TRANSACTIONS" in w or "files" in w or "SHOW" in w or "called" in w]
)
async def test_without_looking_at_words_the_plan_alone_refuses_what_changes_or_leaves_the_graph(
    house: House, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.graph.neo4j.cypher.checked", lambda text: text)
    status, told = await ask(house.client, query, parameters={"f": "file:///etc/passwd", "x": "y", "u": "z"})
    assert status == 422, told
    assert "Contact" in str((await ask(house.client, "MATCH (c:Contact) RETURN DISTINCT labels(c) AS l"))[1])


async def test_a_query_is_ended_when_it_takes_too_long_or_too_much(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    many = {"l": list(range(10_000))}
    with monkeypatch.context() as m:
        m.setattr("infra.graph.neo4j.cypher.SECONDS", 1.0)
        status, told = await ask(  # which would take hours
            house.client, "UNWIND $l AS a UNWIND $l AS b UNWIND $l AS c WITH a WHERE a > c RETURN count(*) AS n", parameters=many
        )
        assert (status, told["type"]) == (422, "urn:chancery:problem:cypher-took-too-long"), told
        status, told = await ask(house.client, "UNWIND $l AS a UNWIND $l AS b WITH collect(a) AS l RETURN size(l)", parameters=many)
        assert (status, told["type"].rpartition(":")[2] in {"cypher-too-large", "cypher-took-too-long"}) == (422, True), told
    monkeypatch.setattr("infra.graph.neo4j.cypher.SECONDS", 60.0)
    status, told = await ask(house.client, "UNWIND $l AS a UNWIND $l AS b RETURN a, b", max_rows=10_000, parameters=many)
    assert (status, len(told["rows"]), told["truncated"]) == (200, 10_000, True)
    status, told = await ask(house.client, "WITH $l AS l UNWIND $l AS a RETURN a, l", max_rows=10_000, parameters=many)
    assert told.get("truncated") or told["type"] == "urn:chancery:problem:cypher-took-too-long", told
    assert len(told.get("rows", ())) < 1_000
    assert (await ask(house.client, "MATCH (c:Contact) RETURN count(c) AS n"))[0] == 200


@pytest.mark.invariant("GC4")
@pytest.mark.invariant("GC5")
async def test_every_run_is_on_the_record(house: House) -> None:
    async def runs() -> list[dict[str, Any]]:
        async with house.chancery.readers.reading(house.firm, frozenset(), NOW) as r:
            rows = await r.all(
                "SELECT public FROM record.events WHERE firm_id = %(firm)s AND type = 'graph.CypherRun.v1' ORDER BY position"
            )
        return [orjson.loads(row["public"]) for row in rows]

    before = len(await runs())
    analyst = await house.as_role(Role.ANALYST)
    await ask(analyst, "MATCH (c:Contact) WHERE c.status = $s RETURN c", parameters={"s": "active"})
    await ask(analyst, "MATCH (c:Contact) WHERE c.name = 'Anna Secretname' RETURN c")
    await ask(analyst, "MATCH (n) RETURN n")
    one, two, three = (await runs())[before:]
    assert one["actor"].startswith("key/")
    said = one["data"]
    assert (said["outcome"], said["query"], said["parameters"], said["rows"] >= 2) == (
        "answered",
        "MATCH (c:Contact) WHERE c.status = $s RETURN c",
        ["s"],
        True,
    )
    assert (two["data"]["outcome"], "query" in two["data"], two["data"]["refusal"]) == ("refused", False, "cypher-refused")
    assert (three["data"]["outcome"], three["data"]["query"]) == ("refused", "MATCH (n) RETURN n")
    assert "Secretname" not in str(two)
    assert len(two["data"]["query_sha256"]) == 64


def test_the_words_that_are_let_through_are_none_that_change_anything() -> None:
    assert not {
        o
        for o in OPERATORS
        if any(w in o for w in ("Create", "Delete", "Set", "Merge", "Load", "Show", "Call", "Foreach", "Remove"))
    }
    assert not {f for f in FUNCTIONS if f.startswith(("apoc", "db", "graph", "file", "linenumber"))}
    assert checked("  MATCH (c:Contact) RETURN c ; ") == "MATCH (c:Contact) RETURN c"


async def test_cypher_is_refused_while_the_graph_is_made_anew(house: House, url: str) -> None:
    follower = Neo4jFollower(house.chancery.database, house.chancery.vault, address_of(url), grace=1.5)
    rebuilding = asyncio.create_task(asyncio.to_thread(follower.rebuild))
    seen = set()
    while not rebuilding.done():
        status, told = await ask(house.client, "MATCH (c:Contact) RETURN count(c) AS n")
        seen.add(told.get("detail", "rows") if status != 200 else "rows")
        near = await house.client.get(f"/v1/graph/contact/{house.ids['anna']}/neighbourhood")  # type: ignore[attr-defined]
        assert (near.status_code, len(near.json()["nodes"])) == (200, 4)
        await asyncio.sleep(0.05)
    await rebuilding
    assert any("made anew" in s for s in seen)
    assert (await ask(house.client, "MATCH (c:Contact) RETURN count(c) AS n"))[0] == 200


@pytest.mark.filterwarnings(  # the driver leaves a socket to the collector where it is told to stop while it connects
    "ignore::pytest.PytestUnraisableExceptionWarning"
)
async def test_a_neo4j_that_is_down_costs_the_graph_alone_and_it_catches_up(house: House, engines: Engines, url: str) -> None:
    (status,) = [s for s in engines.status() if s.engine == "neo4j"]
    process = psutil.Process(status.pids[0])
    address = f"/v1/graph/contact/{house.ids['anna']}/neighbourhood"  # type: ignore[attr-defined]
    began = time.monotonic()
    assert (await house.client.get(address)).status_code == 200
    usual = time.monotonic() - began
    os.kill(process.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        asked = await house.client.get(address)
        waited = time.monotonic() - began
        assert asked.status_code == 503, asked.text
        assert waited < 9 + 20 * usual
        assert (asked.json()["type"], asked.headers["retry-after"] != "") == ("urn:chancery:problem:engine-away", True)
        took: list[float] = []
        for _ in range(5):  # whatever else the machine has to do, one of these goes undisturbed
            began = time.monotonic()
            made = await house.client.post("/v1/contacts", json={"display_name": "While it was away"})
            assert made.status_code == 201
            assert (await house.client.get("/v1/contacts")).status_code == 200
            assert (await house.client.get(address)).status_code == 503
            took.append(time.monotonic() - began)
        assert min(took) < waited / 2, "nobody waits for what is known to be away"
        told = (await house.client.get(address)).json()
        assert "behind" in told["detail"], told
        status_, told = await ask(house.client, "MATCH (c:Contact) RETURN count(c) AS n")
        assert status_ == 503, told
    finally:
        os.kill(process.pid, signal.SIGCONT)
    async with asyncio.timeout(120):
        while (await house.client.get(address)).status_code != 200:
            await asyncio.sleep(0.05)
    found = await house.client.get(
        f"/v1/graph/contact/{made.json()['id']}/neighbourhood", headers={"Chancery-Position": made.headers["chancery-position"]}
    )
    assert found.status_code == 200, found.text
    await house.settle()
    follower = Neo4jFollower(house.chancery.database, house.chancery.vault, address_of(url))
    assert await asyncio.to_thread(follower.digest) == postgres_digest(house.chancery.database)


async def test_cypher_is_refused_where_the_database_holds_several_firms(house: House) -> None:
    await house.another_firm()
    status, told = await ask(house.client, "MATCH (c:Contact) RETURN count(c)")
    assert (status, told["type"]) == (422, "urn:chancery:problem:cypher-unavailable")
    assert "several firms" in told["detail"]
