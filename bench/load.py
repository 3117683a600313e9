"""One command at a time on a stream of ten events that is not in memory, against its two statements alone."""

import statistics
import time
from uuid import UUID

import psycopg

from bench.append import Ours, fresh_keys
from bench.harness import Figure, check_record, figure, interleaved
from bench.place import ACTOR, NOTE, Place, bare_table
from bench.raw import insert, rows_of
from commands.deals import NoteOnDeal, OpenDeal
from infra.record.bulk import Bulk, command_task

COMMANDS = 150
LENGTH = 10


def _deals(p: Place, count: int) -> list[UUID]:
    """Fresh deals of ten events each."""
    with Bulk(p.database, p.vault, firm=p.firm, actor=ACTOR) as bulk:
        opened = [UUID(o.answer["id"]) for o in bulk.run(command_task(OpenDeal(title=f"L{n}"), actor=ACTOR) for n in range(count))]
        notes = (command_task(NoteOnDeal(id=d, note=NOTE), actor=ACTOR) for d in opened for _ in range(LENGTH - 1))
        assert all(o.answer for o in bulk.run(notes))
    return opened


def measure(p: Place) -> list[Figure]:
    rounds = 8
    rows = rows_of(p, 100)  # of other streams
    deals = _deals(p, COMMANDS * rounds)
    ours = Ours(p)
    fresh, again = iter(deals), iter(deals)
    bare_table(p, "bare_loads")
    p.run("INSERT INTO bare_loads SELECT * FROM record.events; ANALYZE bare_loads; ANALYZE record.events")
    position = int(str(p.query("SELECT max(position) FROM record.events")[0][0])) + 1_000_000
    percentiles: dict[str, list[tuple[float, ...]]] = {"ours": [], "theirs": []}

    async def commands() -> list[float]:
        times = []
        keys = fresh_keys()
        for _ in range(COMMANDS):
            deal = next(fresh)
            command = NoteOnDeal(id=deal, note=NOTE)
            started = time.perf_counter()
            await ours.executor.execute(command, firm=p.firm, actor=ACTOR, target=deal, idempotency_key=next(keys))
            times.append(time.perf_counter() - started)
        ours.acknowledged += COMMANDS
        return times

    with psycopg.connect(p.conninfo, autocommit=True) as c:
        into = insert("bare_loads")
        select = b"SELECT * FROM bare_loads WHERE firm_id = %b AND stream_id = %b AND stream_type = %b ORDER BY stream_version"

        def statements() -> list[float]:
            nonlocal position
            times = []
            for n in range(COMMANDS):
                deal = next(again)
                started = time.perf_counter()
                found = c.execute(select, (p.firm, deal, "deal"), prepare=True, binary=True).fetchall()
                c.execute(into, (position, *rows[n % len(rows)]), prepare=True)
                times.append(time.perf_counter() - started)
                assert len(found) == LENGTH
                position += 1
            return times

        def mine() -> float:
            percentiles["ours"].append(_percentiles(ours.loop.run_until_complete(commands())))
            return percentiles["ours"][-1][0]

        def raw() -> float:
            percentiles["theirs"].append(_percentiles(statements()))
            return percentiles["theirs"][-1][0]

        try:
            p50 = interleaved(mine, raw)
            p99 = [(a[1], b[1]) for a, b in zip(percentiles["ours"], percentiles["theirs"], strict=True)][1:]
            check_record(p.conninfo, ours.acknowledged)
        finally:
            ours.close()
    against = "the same two statements"
    return [
        figure("p50 of load ten events and append", against, p50, goal=1.5, direction="at most", unit="ms"),
        figure("p99 of load ten events and append", against, p99, goal=2.0, direction="at most", unit="ms"),
    ]


def _percentiles(times: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(times, n=100)
    return cuts[49] * 1000, cuts[98] * 1000
