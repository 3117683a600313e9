"""Durable commands of one event through the whole handler, against bare inserts and against the stock recorder."""

import asyncio
import gc
import itertools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import uvloop
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool

from bench.harness import Figure, check_record, figure, interleaved
from bench.place import ACTOR, NOTE, Place
from bench.raw import Many, Raw, rows_of
from commands.deals import NoteOnDeal
from infra.record.appender import Appender
from infra.record.execute import Executor

SECONDS = 1.0


class Ours:
    """An executor on an event loop of its own, as `chancery serve` has one."""

    def __init__(self, p: Place) -> None:
        self.place = p
        self.acknowledged = int(str(p.query("SELECT count(*) FROM record.events")[0][0]))
        gc.freeze()  # as the server does
        gc.set_threshold(50_000, 20, 100)
        self.loop = uvloop.new_event_loop()
        self._appender = Appender(p.database)
        self.loop.run_until_complete(self._open())

    async def _open(self) -> None:
        self.pool = AsyncConnectionPool(
            self.place.database.conninfo("record"),
            min_size=2,
            max_size=8,
            open=False,
            kwargs={"autocommit": True, "prepare_threshold": 1},
        )
        await self.pool.open()
        self.executor = Executor(self.pool, self._appender, self.place.vault)

    def commands(self, in_flight: int, seconds: float = SECONDS) -> float:
        """Notes on deals, each under a caller's key, `in_flight` at a time; acknowledged commands per second."""
        return self.loop.run_until_complete(self._commands(in_flight, seconds))

    async def _commands(self, in_flight: int, seconds: float) -> float:
        done = 0
        keys = fresh_keys()
        until = time.perf_counter() + seconds

        async def client(deal: UUID) -> None:
            nonlocal done
            while time.perf_counter() < until:
                command = NoteOnDeal(id=deal, note=NOTE)
                await self.executor.execute(command, firm=self.place.firm, actor=ACTOR, target=deal, idempotency_key=next(keys))
                done += 1

        started = time.perf_counter()
        await asyncio.gather(*(client(deal) for deal in self.place.deals[:in_flight]))
        self.acknowledged += done
        return done / (time.perf_counter() - started)

    def close(self) -> None:
        self.loop.run_until_complete(self.pool.close())
        self._appender.close()
        self.loop.close()


def fresh_keys() -> Iterator[str]:
    """Idempotency keys: random in their first half, counting on, because the clients' own work is not what is measured."""
    begun = str(uuid4())[:-8]
    return (f"{begun}{n:08x}" for n in itertools.count())


def stock(p: Place) -> Callable[[], float]:
    """The library's own recorder with 16 writing threads."""
    from eventsourcing.persistence import StoredEvent
    from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

    info = conninfo_to_dict(p.conninfo)
    p.run("CREATE SCHEMA IF NOT EXISTS stock")
    datastore = PostgresDatastore(
        dbname=str(info.get("dbname", "postgres")),
        host=str(info.get("host", "")),
        port=str(info.get("port", "5432")),
        user=str(info.get("user", "postgres")),
        password=str(info.get("password", "")),
        pool_size=16,
        max_overflow=4,
        schema="stock",
    )
    recorder = PostgresApplicationRecorder(datastore, events_table_name="stock_events")
    recorder.create_table()
    state = os.urandom(560)

    def run() -> float:
        counts = [0] * 16
        until = time.perf_counter() + SECONDS

        def write(n: int) -> None:
            stream, version = uuid4(), 0
            while time.perf_counter() < until:
                version += 1
                recorder.insert_events([StoredEvent(stream, version, "deals.Noted.v1", state)])
                counts[n] += 1

        started = time.perf_counter()
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(write, range(16)))
        return sum(counts) / (time.perf_counter() - started)

    return run


def measure(p: Place) -> list[Figure]:
    ours = Ours(p)
    try:
        ours.commands(64)
        figures = []
        raw = Raw(p, rows_of(p, 500))
        way, connections = raw.best
        against = f"raw autocommit INSERT by psycopg in one process, {connections} connections ({way})"
        for in_flight, goal in ((64, 1.3), (256, 2.0)):
            pairs = interleaved(lambda: ours.commands(in_flight), lambda: raw.run(SECONDS))  # noqa: B023 - used at once
            figures.append(figure(f"durable commands, {in_flight} in flight", against, pairs, goal=goal))
        raw.close()
        many = Many(p, rows_of(p, 500, packed=True))
        pairs = interleaved(lambda: ours.commands(64), lambda: many.run(SECONDS))
        many.close()
        against = f"libpq clients in {many.best[0]} processes, {many.best[0] * many.best[1]} connections"
        figures.append(figure("durable commands, 64 in flight", against, pairs, goal=None))
        run_stock = stock(p)
        pairs = interleaved(lambda: ours.commands(64), run_stock)
        figures.append(figure("durable commands, 64 in flight", "stock recorder, 16 writers", pairs, goal=12))
        check_record(p.conninfo, ours.acknowledged)
        return figures
    finally:
        ours.close()
