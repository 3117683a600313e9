"""The neighbourhood of a node to depth 3 among 100,000 nodes and 1,000,000 edges, as the query answers it by default
(the nearest 300 nodes and at most 2,000 edges between them), written as JSON.

Ends of edges are drawn unevenly, as in a firm's record: half of the edges begin anywhere, all lead to a node the more often the lower
its number, so that the busiest have thousands of edges.
"""

import asyncio
import random
import time
from uuid import UUID

import orjson
import psycopg

from bench.harness import Figure, figure
from bench.place import Place
from domain.members import ALL_PERMISSIONS
from infra.graph.postgres import PostgresGraph
from infra.http.reads import JSON_OPTIONS
from infra.http.service import json_default
from infra.reading import Readers
from queries.graph.questions import AskNeighbourhood, neighbourhood

NODES, EDGES = 100_000, 1_000_000
STARTS = 200
GOAL = 100.0  # ms

_KIND = "(ARRAY['contact','organisation','deal','document','task','project','member'])[1 + {n} %% 7]"
_ID = "('00000000-0000-7000-8000-' || lpad(to_hex({n}), 12, '0'))::uuid"
_NODES = f"""
INSERT INTO views.graph_nodes (firm_id, id, version, created_at, updated_at, position, kind, label, status, archived)
SELECT %(firm)s, {_ID.format(n="n")}, 1, now(), now(), n, {_KIND.format(n="n")}, 'Node ' || n, 'active', false
  FROM generate_series(1, %(nodes)s) n
"""
_EDGES = f"""
INSERT INTO views.graph_edges (firm_id, id, version, created_at, updated_at, position, source_kind, source, target_kind, target, kind,
                               sealed, since, count, last_at, last_event, last_event_id)
SELECT %(firm)s, gen_random_uuid(), 1, now(), now(), n, {_KIND.format(n="a")}, {_ID.format(n="a")}, {_KIND.format(n="b")},
       {_ID.format(n="b")}, (ARRAY['acted_on','about','party_to','part_of'])[1 + n %% 4], false, now() - n * interval '1 second', 1,
       now() - n * interval '1 second', 'deals.Noted.v1', gen_random_uuid()
  FROM (SELECT n, 1 + floor(random() * %(nodes)s)::int AS a, 1 + floor(random() ^ 1.5 * %(nodes)s)::int AS b
          FROM generate_series(1, %(edges)s) n) x
"""


def fill(p: Place) -> None:
    """The rows, straight into the tables."""
    with psycopg.connect(p.conninfo, autocommit=True) as c:
        c.execute("SET ROLE chancery_record")
        c.execute("SELECT setseed(0.5)")
        values = {"firm": p.firm, "nodes": NODES, "edges": EDGES}
        c.execute(_NODES.encode(), values)
        c.execute(_EDGES.encode(), values)
        c.execute("RESET ROLE")
        c.execute("VACUUM ANALYZE views.graph_nodes")
        c.execute("VACUUM ANALYZE views.graph_edges")


async def _times(p: Place) -> list[float]:
    readers = Readers(p.database, size=2, ports={"graph": PostgresGraph})
    await readers.open()
    chosen = random.Random(7)
    times = []
    try:
        for n in range(STARTS + 20):
            number = chosen.randint(1, NODES)
            kind = ("contact", "organisation", "deal", "document", "task", "project", "member")[number % 7]
            asked = AskNeighbourhood.model_validate(
                {"kind": kind, "id": UUID(f"00000000-0000-7000-8000-{number:012x}"), "depth": 3}
            )
            started = time.perf_counter()
            async with readers.reading(p.firm, ALL_PERMISSIONS) as r:
                answer = await neighbourhood(asked, r)
            body = orjson.dumps(answer, default=json_default, option=JSON_OPTIONS)
            if n >= 20:
                times.append((time.perf_counter() - started) * 1000)
            assert len(body) > 1_000
    finally:
        await readers.close()
    return sorted(times)


def measure(p: Place) -> list[Figure]:
    fill(p)
    p95s = []
    for _ in range(3):
        times = asyncio.run(_times(p))
        p95s.append((times[len(times) * 95 // 100], GOAL))
    return [figure("p95 of a neighbourhood to depth 3", "100 ms", p95s, goal=1.0, direction="at most", unit="ms")]
