"""The bare baselines of an append: clients that do nothing but INSERT rows made beforehand, each in its own commit.

The one that figures are judged by has what ours has: one process, psycopg, prepared statements, binary parameters; 8 or 16
connections, each in a thread or all on one event loop, whichever of the four is fastest. `Many` is for comparison only: libpq called
without psycopg's adaptation, in as many processes as are fastest. `python -m bench.raw FILE` is one such process, driven over its
standard input.
"""

import asyncio
import pickle
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import uvloop
from psycopg.pq import ExecStatus

from bench.harness import Broken
from bench.place import Place, bare_table

COLUMNS = "firm_id, firm_position, stream_type, stream_id, stream_version, event_id, type, recorded_at, occurred_at, command_id, public, sealed"
TYPES = (20, 2950, 20, 25, 2950, 20, 2950, 25, 1184, 1184, 2950, 17, 17)
ROUND = 200_000  # positions that one measurement may use

Rows = list[tuple[Any, ...]]


def rows_of(p: Place, count: int, *, packed: bool = False) -> Rows:
    """The last events of the record but for their positions: as psycopg's values, or packed as binary parameters."""
    sql = f"SELECT {COLUMNS} FROM record.events ORDER BY position DESC LIMIT {count}".encode()
    with psycopg.connect(p.conninfo, autocommit=True) as c:
        if not packed:
            return c.execute(sql, binary=True).fetchall()
        result = c.pgconn.exec_params(sql, None, result_format=1)
        return [tuple(result.get_value(r, f) for f in range(result.nfields)) for r in range(result.ntuples)]


def insert(table: str) -> bytes:
    """With psycopg's places, each parameter in binary."""
    return f"INSERT INTO {table} (position, {COLUMNS}) VALUES ({', '.join(['%b'] * 13)})".encode()


def numbered(table: str) -> bytes:
    """With PostgreSQL's own places."""
    return f"INSERT INTO {table} (position, {COLUMNS}) VALUES ({', '.join(f'${n}' for n in range(1, 14))})".encode()


class Raw:
    """The best of 8 and 16 psycopg connections in one process; `run` measures, in a process of its own that is asked over a pipe."""

    def __init__(self, p: Place, rows: Rows) -> None:
        self._p = p
        self._rounds = 0
        bare_table(p, "bare_inserts")
        self._children = {
            (kind, count): _Child(p, "bare_inserts", kind, count, rows) for kind in ("threads", "async") for count in (8, 16)
        }
        self.tried = {way: statistics.median(self._once(way, 1.0) for _ in range(2)) for way in self._children}
        self.best = max(self.tried, key=lambda way: self.tried[way])
        for way, child in self._children.items():
            if way != self.best:
                child.close()

    def _once(self, way: tuple[str, int], seconds: float) -> float:
        if self._rounds * ROUND >= 9_000_000:
            self._p.run("TRUNCATE bare_inserts")
            self._rounds = 0
        self._rounds += 1
        return self._children[way].run(seconds, self._rounds * ROUND)

    def run(self, seconds: float) -> float:
        return self._once(self.best, seconds)

    def close(self) -> None:
        self._children[self.best].close()


class Many:
    """Several processes of libpq clients; the fastest of some ways."""

    def __init__(self, p: Place, rows: Rows) -> None:
        self._rounds = 0
        self._p = p
        bare_table(p, "bare_many")
        tried = {}
        for processes, threads in ((8, 1), (16, 1), (4, 4)):
            self._children = [_Child(p, "bare_many", "libpq", threads, rows) for _ in range(processes)]
            tried[processes, threads] = self.run(1.0)
            self.close()
        self.best = max(tried, key=lambda way: tried[way])
        self._children = [_Child(p, "bare_many", "libpq", self.best[1], rows) for _ in range(self.best[0])]

    def run(self, seconds: float) -> float:
        if self._rounds * ROUND >= 9_000_000:
            self._p.run("TRUNCATE bare_many")
            self._rounds = 0
        self._rounds += 1
        width = ROUND // len(self._children)
        for n, child in enumerate(self._children):
            child.ask(seconds, self._rounds * ROUND + n * width)
        return sum(child.answer() for child in self._children)

    def close(self) -> None:
        for child in self._children:
            child.close()


class _Child:
    def __init__(self, p: Place, table: str, kind: str, connections: int, rows: Rows) -> None:
        folder = p.folder / "raw"
        folder.mkdir(exist_ok=True)
        path = folder / f"{table}-{kind}-{connections}"
        path.write_bytes(pickle.dumps((p.conninfo, table, kind, connections, rows)))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.raw", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._line()

    def run(self, seconds: float, base: int) -> float:
        """Insert for so long, from position `base` on; commits per second."""
        self.ask(seconds, base)
        return self.answer()

    def ask(self, seconds: float, base: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds} {base}\n")
        self._process.stdin.flush()

    def answer(self) -> float:
        return float(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Broken("a bare client ended early")
        return line

    def close(self) -> None:
        if self._process.poll() is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()


# --- the process


def _by_libpq(c: "psycopg.Connection[Any]", table: str, rows: Rows) -> Callable[[int], None]:
    c.pgconn.prepare(b"i", numbered(table), TYPES)
    formats = [1] * 13
    run = c.pgconn.exec_prepared

    def one(position: int) -> None:
        result = run(b"i", (struct.pack(">q", position), *rows[position % len(rows)]), formats)
        if result.status != ExecStatus.COMMAND_OK:
            raise Broken(result.error_message.decode())

    return one


def _by_psycopg(c: "psycopg.Connection[Any]", table: str, rows: Rows) -> Callable[[int], None]:
    sql = insert(table)

    def one(position: int) -> None:
        c.execute(sql, (position, *rows[position % len(rows)]), prepare=True)

    return one


def _threads(clients: list[Callable[[int], None]], pool: "list[threading.Thread]", seconds: float, base: int) -> int:
    counts = [0] * len(clients)
    until = time.perf_counter() + seconds

    def client(n: int) -> None:
        one, position = clients[n], base + n * (ROUND // 16)
        while time.perf_counter() < until:
            one(position + counts[n])
            counts[n] += 1

    pool[:] = [threading.Thread(target=client, args=(n,)) for n in range(len(clients))]
    for t in pool:
        t.start()
    for t in pool:
        t.join()
    return sum(counts)


async def _async(connections: "list[psycopg.AsyncConnection[Any]]", table: str, rows: Rows, seconds: float, base: int) -> int:
    sql = insert(table)
    until = time.perf_counter() + seconds

    async def client(n: int) -> int:
        c, position, count = connections[n], base + n * (ROUND // 16), 0
        while time.perf_counter() < until:
            await c.execute(sql, (position + count, *rows[count % len(rows)]), prepare=True)
            count += 1
        return count

    return sum(await asyncio.gather(*(client(n) for n in range(len(connections)))))


def main() -> None:
    conninfo, table, kind, count, rows = pickle.loads(Path(sys.argv[1]).read_bytes())  # noqa: S301 - written by our own parent
    run: Callable[[float, int], int]
    if kind == "async":
        loop = uvloop.new_event_loop()

        async def connect() -> "list[psycopg.AsyncConnection[Any]]":
            return [await psycopg.AsyncConnection.connect(conninfo, autocommit=True) for _ in range(count)]

        connected = loop.run_until_complete(connect())

        def run(seconds: float, base: int) -> int:
            return loop.run_until_complete(_async(connected, table, rows, seconds, base))
    else:
        way = _by_libpq if kind == "libpq" else _by_psycopg
        clients = [way(psycopg.connect(conninfo, autocommit=True), table, rows) for _ in range(count)]
        threads: list[threading.Thread] = []

        def run(seconds: float, base: int) -> int:
            return _threads(clients, threads, seconds, base)

    print("ready", flush=True)
    for line in sys.stdin:
        seconds, base = line.split()
        started = time.perf_counter()
        done = run(float(seconds), int(base))
        print(done / (time.perf_counter() - started), flush=True)


if __name__ == "__main__":
    main()
