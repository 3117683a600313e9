"""Importing in bulk, from commands to durable rows, against COPY of the same rows made ready beforehand."""

import itertools
import time
from uuid import UUID

import psycopg

from bench.harness import Figure, check_record, figure, interleaved
from bench.place import ACTOR, NOTE, Place, bare_table
from bench.raw import COLUMNS
from commands.kernel import Answer, Work
from domain import deals
from domain.deals import DEAL
from infra.record.bulk import HELPERS, Bulk, Task, paced

EVENTS = 20_000
OF_A_CASE = 20  # events of one command: an importer tells a case's history in one


def tell(deal: UUID, key: str) -> Task:
    async def run(w: Work) -> Answer:
        entity = await w.load(DEAL, deal)
        for _ in range(OF_A_CASE):
            w.record(entity, deals.note(entity.state, text=NOTE))
        return None

    return Task(run=run, key=key, said=key.encode())


def measure(p: Place) -> list[Figure]:
    bulk = Bulk(p.database, p.vault, firm=p.firm, actor=ACTOR, helpers=HELPERS)
    numbers = itertools.count()
    before = int(str(p.query("SELECT count(*) FROM record.events")[0][0]))
    written = 0

    def ours() -> float:
        nonlocal written
        tasks = (tell(d, f"bench-{next(numbers)}") for d in itertools.islice(itertools.cycle(p.deals), EVENTS // OF_A_CASE))
        started = time.perf_counter()
        done = sum(len(o.answer["events"]) for o in bulk.run(tasks))
        written += done
        return done / (time.perf_counter() - started)

    ours()
    bare_table(p, "bare_copies")
    with psycopg.connect(p.conninfo, autocommit=True) as c:
        copy_out = (
            f"COPY (SELECT position, {COLUMNS} FROM record.events ORDER BY position DESC LIMIT {EVENTS}) TO STDOUT (FORMAT binary)"
        )
        with c.cursor().copy(copy_out.encode()) as copy:
            ready = b"".join(bytes(b) for b in copy)

        def theirs() -> float:
            c.execute("TRUNCATE bare_copies")
            started = time.perf_counter()
            with c.cursor().copy(f"COPY bare_copies (position, {COLUMNS}) FROM STDIN (FORMAT binary)".encode()) as copy:
                copy.write(ready)
            return EVENTS / (time.perf_counter() - started)

        with paced():  # as an import does
            pairs = interleaved(ours, theirs)
    bulk.close()
    check_record(p.conninfo, before + written)
    return [figure("bulk import of events, sealed", "binary COPY of the ready rows", pairs, goal=0.6)]
