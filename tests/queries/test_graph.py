"""The contract of the graph: every engine answers every question in the same way, at any moment, for one firm and what may be read."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import networkx as nx
import psycopg
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.contacts import ContactCreated, Profile
from domain.deals import DealNoted, DealOpened, Party, PartyAdded, PartyRemoved, StageAt
from domain.kernel import FirmId
from domain.members import MemberAdded, Role
from domain.relations import Particulars, RelationEnded, RelationRecorded, RelationRemoved
from infra.database import Database
from infra.graph import postgres
from infra.reading import Moment
from projections.graph_edges import GRAPH_EDGES, GraphEdgeRow
from projections.kernel import Recorded
from queries.graph.port import PERMISSION_OF, CoWork, Degree, Graph, GraphTookTooLong, Scope
from tests.queries.graph_engines import ENGINES, Engine

START = datetime(2026, 1, 1, tzinfo=UTC)
FIRM, OTHER_FIRM = FirmId(UUID(int=0xF1)), FirmId(UUID(int=0xF2))
CONTACTS = [UUID(int=0xC0 + n) for n in range(5)]
DEALS = [UUID(int=0xD0 + n) for n in range(3)]
MEMBERS = [UUID(int=0xE0 + n) for n in range(3)]
ALL = tuple(PERMISSION_OF)
STAGE = StageAt(pipeline=UUID(int=1), id=UUID(int=2), name="Enquiry")


class History:
    """Events of a firm, as the record holds them."""

    def __init__(self, firm: FirmId = FIRM, first: int = 1) -> None:
        self.firm = firm
        self.events: list[Recorded] = []
        self._first = first

    def happened(self, stream: str, id: UUID, event: object, day: int = 0, actor: str = "system/test") -> UUID:
        position = self._first + len(self.events)
        self.events.append(
            Recorded(
                position=position,
                firm=self.firm,
                firm_position=position - 1,
                stream_type=stream,
                stream_id=id,
                version=1 + sum(r.stream_id == id for r in self.events),
                event_id=UUID(int=0xE0000 + position),
                name=f"tests.{type(event).__name__}.v1",
                event=event,
                occurred_at=START + timedelta(days=day),
                recorded_at=START,
                actor=actor,
                origin=None,
                command_id="",
            )
        )
        return id

    def contact(self, n: int, name: str | None = None) -> UUID:
        return self.happened("contact", CONTACTS[n], ContactCreated(profile=Profile(display_name=name or f"Contact {n}")))

    def deal(self, n: int) -> UUID:
        return self.happened("deal", DEALS[n], DealOpened(stage=STAGE, title=f"Deal {n}"))

    def member(self, n: int) -> UUID:
        return self.happened("member", MEMBERS[n], MemberAdded(roles=(Role.ADVISER,), name=f"Member {n}"))

    def related(self, n: int, a: UUID, b: UUID, kind: str = "friend_of", day: int = 0, **dates: Any) -> UUID:
        said = Particulars(kind=kind, **dates)
        id = UUID(int=0xB000 + n)
        self.happened(
            "relation",
            id,
            RelationRecorded(source_type="contact", source=a, target_type="contact", target=b, person=a, particulars=said),
            day,
        )
        return id

    def party(self, contact: UUID, deal: UUID, role: str = "client", day: int = 0) -> None:
        self.happened("deal", deal, PartyAdded(party=Party(kind="contact", id=contact, role=role)), day)

    def act(self, member: UUID, deal: UUID, day: int = 0) -> None:
        self.happened("deal", deal, DealNoted(note="x"), day, actor=f"member/{member}")


def scope(**how: Any) -> Scope:
    return Scope(**{"node_kinds": ALL, "personal": True, "now": START + timedelta(days=50), **how})


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=sorted(ENGINES))
async def engine(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Engine]:
    async with ENGINES[request.param](database) as opened:
        yield opened


def village() -> History:
    """A chain of contacts 0-1-2-3, a shortcut 0-4-3 by way of a deal, and two members who work on deals."""
    h = History()
    for n in range(5):
        h.contact(n)
    for n in range(3):
        h.deal(n)
        h.member(n)
    for n in range(3):
        h.related(n, CONTACTS[n], CONTACTS[n + 1], day=n + 1)
    h.party(CONTACTS[0], DEALS[0], day=4)
    h.party(CONTACTS[3], DEALS[0], day=5)
    h.party(CONTACTS[3], DEALS[0], "guarantor", day=6)
    for member, deal, day in ((0, 0, 7), (0, 0, 8), (1, 0, 9), (0, 1, 10), (1, 1, 11), (2, 2, 12)):
        h.act(MEMBERS[member], DEALS[deal], day)
    return h


def shown(edges: Iterable[Any]) -> list[tuple[UUID, str, UUID]]:
    return [(e.source, e.kind, e.target) for e in edges]


async def test_a_neighbourhood_is_told_level_by_level(engine: Engine) -> None:
    engine.take(village().events)
    async with engine.at(FIRM) as g:
        near = await g.neighbourhood(CONTACTS[0], scope(), depth=1, nodes=100, edges=100)
        assert list(near.nodes) == [CONTACTS[0], DEALS[0], CONTACTS[1]]
        assert shown(near.edges) == [(CONTACTS[0], "party_to", DEALS[0]), (CONTACTS[0], "friend_of", CONTACTS[1])]
        further = await g.neighbourhood(CONTACTS[0], scope(), depth=2, nodes=100, edges=100)
        assert further.distances == {
            **dict.fromkeys((DEALS[0], CONTACTS[1]), 1),
            **dict.fromkeys((MEMBERS[0], MEMBERS[1], CONTACTS[3], CONTACTS[2]), 2),
            CONTACTS[0]: 0,
        }
        assert not further.truncated
        assert further.kinds[MEMBERS[1]] == "member"


@pytest.mark.invariant("G7")
async def test_what_a_limit_cuts_off_is_told(engine: Engine) -> None:
    engine.take(village().events)
    async with engine.at(FIRM) as g:
        few = await g.neighbourhood(DEALS[0], scope(), depth=3, nodes=3, edges=100)
        assert (len(few.nodes), few.truncated) == (3, True)
        assert all(e.source in few.nodes and e.target in few.nodes for e in few.edges)
        thin = await g.neighbourhood(DEALS[0], scope(), depth=3, nodes=100, edges=2)
        assert (shown(thin.edges), thin.truncated) == (
            [(MEMBERS[1], "acted_on", DEALS[0]), (MEMBERS[0], "acted_on", DEALS[0])],
            True,
        )
        paths = await g.simple_paths(CONTACTS[0], CONTACTS[3], scope(), depth=4, paths=1)
        assert (len(paths.paths), paths.truncated) == (1, True)


async def test_paths_are_told_shortest_first_with_every_edge_between_their_steps(engine: Engine) -> None:
    engine.take(village().events)
    a, b = CONTACTS[0], CONTACTS[3]
    async with engine.at(FIRM) as g:
        shortest = await g.shortest_paths(a, b, scope(), depth=4, paths=10)
        assert shortest.paths == [(a, DEALS[0], b)]
        assert sorted(e.role or "" for e in shortest.edges) == ["client", "client", "guarantor"]
        simple = await g.simple_paths(a, b, scope(), depth=3, paths=10)
        assert simple.paths == [(a, DEALS[0], b), (a, CONTACTS[1], CONTACTS[2], b)]
        assert (await g.shortest_paths(a, CONTACTS[4], scope(), depth=6, paths=10)).paths == ()
        assert (await g.shortest_paths(a, b, scope(edge_kinds=("friend_of",)), depth=2, paths=10)).paths == ()
        assert len((await g.shortest_paths(a, b, scope(edge_kinds=("friend_of",)), depth=3, paths=10)).paths) == 1


async def test_degrees_pairs_and_co_working_count(engine: Engine) -> None:
    engine.take(village().events)
    async with engine.at(FIRM) as g:
        degrees = await g.degrees(scope(), limit=2, offset=0)
        assert degrees == [Degree(DEALS[0], "deal", 5, 4, 6), Degree(CONTACTS[3], "contact", 3, 2, 3)]
        assert (await g.degrees(scope(), limit=1, offset=1))[0] == degrees[1]
        pairs = {(a, b): weight for a, _, b, _, weight in await g.pairs(scope(), limit=100)}
        assert (pairs[(CONTACTS[3], DEALS[0])], pairs[(DEALS[0], MEMBERS[0])]) == (2, 2)
        work = scope(edge_kinds=("acted_on",))
        day = [START + timedelta(days=n) for n in range(13)]
        assert await g.co_working(work, member=None, limit=10) == [CoWork(MEMBERS[0], MEMBERS[1], "deal", 2, day[9], day[11])]
        assert await g.co_working(work, member=MEMBERS[2], limit=10) == []


async def test_members_have_not_last_worked_together_before_both_had_begun(engine: Engine) -> None:
    h = History()
    h.deal(0)
    h.member(0)
    h.member(1)
    for member, day in ((0, 1), (0, 2), (1, 9)):  # the second came when the first was done
        h.act(MEMBERS[member], DEALS[0], day)
    engine.take(h.events)
    async with engine.at(FIRM) as g:
        (pair,) = await g.co_working(scope(edge_kinds=("acted_on",)), member=None, limit=10)
        assert (pair.since, pair.last_at) == (START + timedelta(days=9), START + timedelta(days=9))


async def test_a_timeline_tells_every_act_and_what_was_superseded(engine: Engine) -> None:
    h = village()
    engine.take(h.events)
    async with engine.at(FIRM) as g:
        told = await g.timeline([DEALS[0], MEMBERS[0]], scope(ended=True), limit=10, offset=0)
        assert [(t.at.day, t.edge.count) for t in told] == [(9, 2), (8, 1)]
        assert [t.event_id for t in told] == [r.event_id for r in reversed(h.events) if r.actor == f"member/{MEMBERS[0]}"][1:]
        assert (await g.timeline([DEALS[0], MEMBERS[0]], scope(ended=True), limit=1, offset=1))[0] == told[1]
    async with engine.at(FIRM, Moment(as_of=START + timedelta(days=7))) as g:
        then = await g.timeline([DEALS[0], MEMBERS[0]], scope(ended=True), limit=10, offset=0)
        assert [t.event_id for t in then] == [told[1].event_id]


@pytest.mark.invariant("G5")
async def test_a_kind_that_may_not_be_read_is_not_walked_through(engine: Engine) -> None:
    engine.take(village().events)
    no_deals = scope(node_kinds=("contact", "member"))
    async with engine.at(FIRM) as g:
        assert (await g.shortest_paths(CONTACTS[0], CONTACTS[3], no_deals, depth=6, paths=10)).paths == [tuple(CONTACTS[:4])]
        assert DEALS[0] not in (await g.neighbourhood(CONTACTS[0], no_deals, depth=3, nodes=99, edges=99)).nodes
        assert await g.nodes([DEALS[0], CONTACTS[0]], no_deals) == {
            CONTACTS[0]: (await g.nodes([CONTACTS[0]], no_deals))[CONTACTS[0]]
        }
        assert all(d.kind != "deal" for d in await g.degrees(no_deals, limit=99, offset=0))
        assert await g.co_working(no_deals, member=None, limit=9) == []
        assert await g.timeline([DEALS[0], MEMBERS[0]], no_deals, limit=9, offset=0) == []


async def test_without_personal_read_labels_and_the_particulars_of_relations_are_hidden_and_not_asked_for(engine: Engine) -> None:
    h = village()
    h.related(9, CONTACTS[3], CONTACTS[4], "spouse_of", valid_from=date(2025, 1, 1))
    engine.take(h.events)
    masked = scope(personal=False)
    async with engine.at(FIRM) as g:
        assert (await g.nodes([CONTACTS[0]], masked))[CONTACTS[0]].label is None
        assert (await g.nodes([CONTACTS[0]], scope()))[CONTACTS[0]].label == "Contact 0"
        (e,) = await g.between(CONTACTS[3:], masked, limit=9)
        assert (e.kind, e.role, e.since, e.until) == ("related_to", None, None, None)
        assert await g.between(CONTACTS[3:], replace(masked, edge_kinds=("spouse_of",)), limit=9) == []
        assert await g.between(CONTACTS[3:], replace(masked, before=datetime(2020, 1, 1, tzinfo=UTC)), limit=9) == [e]
        assert len(await g.between(CONTACTS[3:], replace(masked, edge_kinds=("related_to",)), limit=9)) == 1


async def test_an_edge_stands_from_its_first_day_through_its_last(engine: Engine) -> None:
    h = History()
    for n in range(2):
        h.contact(n)
    h.related(0, CONTACTS[0], CONTACTS[1], valid_from=date(2026, 1, 10), valid_to=date(2026, 1, 20))
    engine.take(h.events)
    async with engine.at(FIRM) as g:
        for day, stands in ((9, False), (10, True), (20, True), (21, False)):
            now = datetime(2026, 1, day, 12, tzinfo=UTC)
            assert bool(await g.edges(scope(now=now), limit=9)) is stands
            assert len(await g.edges(scope(now=now, ended=True), limit=9)) == 1
        within = scope(ended=True, after=datetime(2026, 1, 15, tzinfo=UTC), before=datetime(2026, 1, 16, tzinfo=UTC))
        assert len(await g.edges(within, limit=9)) == 1
        assert await g.edges(scope(ended=True, after=datetime(2026, 2, 1, tzinfo=UTC)), limit=9) == []


async def test_no_firm_sees_a_node_of_another(engine: Engine) -> None:
    ours = village()
    theirs = History(OTHER_FIRM, first=1 + len(ours.events))
    theirs.contact(0, "Theirs")
    theirs.related(7, CONTACTS[0], CONTACTS[4])  # even under the same ids
    engine.take([*ours.events, *theirs.events])
    async with engine.at(OTHER_FIRM) as g:
        assert [n.label for n in (await g.nodes(CONTACTS, scope())).values()] == ["Theirs"]
        assert shown(await g.edges(scope(), limit=99)) == [(CONTACTS[0], "friend_of", CONTACTS[4])]
        assert list((await g.neighbourhood(CONTACTS[0], scope(), depth=6, nodes=99, edges=99)).nodes) == [CONTACTS[0], CONTACTS[4]]
        assert [d.id for d in await g.degrees(scope(), limit=99, offset=0)] == [CONTACTS[0], CONTACTS[4]]
        assert await g.co_working(scope(), member=None, limit=9) == []
        assert len(await g.timeline([*CONTACTS, *DEALS, *MEMBERS], scope(ended=True), limit=99, offset=0)) == 1
    async with engine.at(FIRM) as g:
        assert CONTACTS[4] not in (await g.neighbourhood(CONTACTS[0], scope(), depth=6, nodes=99, edges=99)).nodes


# --- against a plain model

steps = st.one_of(
    st.tuples(st.just("related"), st.integers(0, 5), st.permutations(range(5)).map(lambda p: p[:2])),
    st.tuples(st.just("ended"), st.integers(0, 5), st.none()),
    st.tuples(st.just("removed"), st.integers(0, 5), st.none()),
    st.tuples(st.just("party"), st.integers(0, 4), st.integers(0, 2)),
    st.tuples(st.just("leaves"), st.integers(0, 4), st.integers(0, 2)),
    st.tuples(st.just("act"), st.integers(0, 2), st.integers(0, 2)),
)
histories = st.lists(st.tuples(steps, st.integers(0, 8)), max_size=25)


def written(steps: Sequence[tuple[tuple[str, int, Any], int]]) -> History:
    h = History()
    joined: dict[int, tuple[UUID, UUID]] = {}
    for (what, n, more), day in steps:
        relation = UUID(int=0xB000 + n)
        match what:
            case "related":
                joined.setdefault(n, (CONTACTS[more[0]], CONTACTS[more[1]]))
                h.related(n, *joined[n], day=day)
            case "ended":
                h.happened("relation", relation, RelationEnded(person=CONTACTS[0], on=(START + timedelta(days=day)).date()), day)
            case "removed":
                h.happened("relation", relation, RelationRemoved(person=CONTACTS[0]), day)
            case "party":
                h.party(CONTACTS[n], DEALS[more], day=day)
            case "leaves":
                h.happened("deal", DEALS[more], PartyRemoved(party=Party(kind="contact", id=CONTACTS[n], role="client")), day)
            case _:
                h.act(MEMBERS[n], DEALS[more], day)
    return h


def model(events: Iterable[Recorded], as_of: datetime, known_at: int) -> dict[UUID, GraphEdgeRow]:
    """The edges that stand at a moment, by folding what was true and known."""
    rows: dict[UUID, GraphEdgeRow] = {}
    for r in events:
        if r.occurred_at <= as_of and r.position <= known_at:
            for key in GRAPH_EDGES.keys(r):
                after = GRAPH_EDGES.fold(rows.get(key), key, r)
                rows.pop(key, None)
                if after is not None:
                    rows[key] = after
    return {id: e for id, e in rows.items() if (e.since is None or e.since <= as_of) and (e.until is None or e.until > as_of)}


def plain(edges: dict[UUID, GraphEdgeRow]) -> "nx.MultiGraph[UUID]":
    graph: nx.MultiGraph[UUID] = nx.MultiGraph()
    for id, e in edges.items():
        graph.add_edge(e.source, e.target, key=id)
    return graph


@pytest.mark.invariant("G6")
@given(history=histories, day=st.integers(-1, 9), share=st.floats(0, 1), depth=st.integers(1, 4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_neighbourhoods_paths_and_degrees_are_those_of_a_plain_graph_at_any_moment(
    engine: Engine, history: list[Any], day: int, share: float, depth: int
) -> None:
    h = written(history)
    engine.take(h.events, batch=5)
    as_of, known_at = START + timedelta(days=day), round(share * len(h.events))
    edges = model(h.events, as_of, known_at)
    graph = plain(edges)
    asked = scope(now=as_of)
    async with engine.at(FIRM, Moment(as_of, known_at)) as g:
        assert {e.id for e in await g.edges(asked, limit=999)} == set(edges)
        for start in (CONTACTS[0], DEALS[0]):
            await same_neighbourhood(g, graph, asked, start, depth)
        await same_paths(g, graph, asked, CONTACTS[0], CONTACTS[1], depth)
        degrees = {d.id: (d.degree, d.neighbours) for d in await g.degrees(asked, limit=99, offset=0)}
        assert degrees == {n: (graph.degree(n), len(set(graph[n]))) for n in graph}
        counted = Counter[tuple[UUID, ...]]()
        for e in edges.values():
            counted[tuple(sorted((e.source, e.target)))] += e.count
        assert {(a, b): w for a, _, b, _, w in await g.pairs(asked, limit=999)} == counted


async def same_neighbourhood(g: Graph, graph: Any, asked: Scope, start: UUID, depth: int) -> None:
    near = await g.neighbourhood(start, asked, depth=depth, nodes=999, edges=999)
    distances = nx.single_source_shortest_path_length(graph, start, cutoff=depth) if start in graph else {start: 0}
    assert near.distances == distances
    walked = {k for a, b, k in graph.edges(keys=True) if min(distances.get(a, 99), distances.get(b, 99)) < depth}
    assert {e.id for e in near.edges} == walked


async def same_paths(g: Graph, graph: Any, asked: Scope, a: UUID, b: UUID, depth: int) -> None:
    simple, shortest = [], []
    if a in graph and b in graph:
        simple = sorted({tuple(p) for p in nx.all_simple_paths(nx.Graph(graph), a, b, cutoff=depth)}, key=lambda p: (len(p), p))
        shortest = [p for p in simple if len(p) == len(simple[0])]
    found = await g.simple_paths(a, b, asked, depth=depth, paths=999)
    assert list(found.paths) == simple
    steps = {frozenset(s) for p in simple for s in pairwise(p)}
    assert {e.id for e in found.edges} == {k for x, y, k in graph.edges(keys=True) if frozenset((x, y)) in steps}
    assert list((await g.shortest_paths(a, b, asked, depth=depth, paths=999)).paths) == shortest


# --- PostgreSQL alone


async def test_a_question_that_takes_too_long_is_refused_with_advice(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(postgres.SQL, "edges", "SELECT pg_sleep(60)")
    async with ENGINES["postgres"](database) as engine:
        with monkeypatch.context() as hasty:
            hasty.setattr(postgres, "SECONDS", 0.05)
            with pytest.raises(GraphTookTooLong):
                async with engine.at(FIRM) as g:
                    await g.edges(scope(), limit=1)
        async with engine.at(FIRM) as g:
            assert await g.nodes([], scope()) == {}


PLANNED = """
SET session_replication_role = replica;
INSERT INTO views.graph_edges (firm_id, id, version, created_at, updated_at, position, source_kind, source, target_kind, target, kind,
                               sealed, since, count, last_at, last_event, last_event_id)
SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n % 4), 12, '0'))::uuid, gen_random_uuid(), 1, now(), now(), n, 'member',
       ('00000000-0000-7000-9000-' || lpad(to_hex(n % 2000), 12, '0'))::uuid, 'deal',
       ('00000000-0000-7000-a000-' || lpad(to_hex(n % 1999), 12, '0'))::uuid, 'acted_on', false, now(), 1, now(), 'x.Y.v1', gen_random_uuid()
  FROM generate_series(1, 20000) n
"""


async def test_the_hot_questions_use_their_indexes_and_read_no_table_from_end_to_end(database: Database) -> None:
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute("ALTER TABLE views.graph_edges SET (autovacuum_enabled = false)")  # nobody else counts rows here meanwhile
        c.execute(PLANNED)
        c.execute("ANALYZE views.graph_edges")
        c.execute("UPDATE pg_class SET reltuples = 1e6, relpages = 30000 WHERE oid = 'views.graph_edges'::regclass")
    ids = [UUID(f"00000000-0000-7000-9000-{n:012x}") for n in range(20)]
    asked: dict[str, dict[str, object]] = {
        "touching": {"ids": ids, "limit": 100},
        "nearby": {"ids": ids, "known": ids, "limit": 100},
        "between": {"ids": ids, "limit": 100},
        "walked": {"ids": ids, "distances": [1] * 20, "depth": 3, "limit": 100},
        "timeline": {"ids": ids, "limit": 100, "offset": 0},
        "nodes": {"ids": ids},
    }
    with psycopg.connect(database.conninfo("app")) as c:
        firm = UUID("00000000-0000-7000-8000-000000000001")
        c.execute("SELECT set_config('chancery.firm', %s, true)", (str(firm),))
        c.execute("SET enable_seqscan = off")  # the history is small here: what remains is read so because no index fits
        for name, more in asked.items():
            sql = postgres.SQL[name].replace("/* in_scope */", postgres.SQL["in_scope"])
            params = {**postgres._params(scope()), "firm": firm, **more}
            plan = "\n".join(row[0] for row in c.execute(f"EXPLAIN {sql}".encode(), params))
            assert "Seq Scan on graph_edges" not in plan, (name, plan)
            assert "graph_nodes_pkey" in plan if name == "nodes" else "graph_edges_by_" in plan, (name, plan)
