"""The bare baseline of an append: clients that do nothing but INSERT rows made beforehand, each in its own commit.

As fast as Python's client can be: prepared statements, parameters packed beforehand, libpq called without psycopg's adaptation,
clients in processes of their own. `python -m bench.raw` is one such process, driven over its standard input.
"""

import contextlib
import os
import pickle
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg.pq import ExecStatus

from bench.harness import Broken
from bench.place import Place, bare_table

COLUMNS = "firm_id, firm_position, stream_type, stream_id, stream_version, event_id, type, recorded_at, occurred_at, command_id, public, sealed"
TYPES = (20, 2950, 20, 25, 2950, 20, 2950, 25, 1184, 1184, 2950, 17, 17)
ROUND = 200_000  # positions that one measurement may use

Rows = list[tuple[Any, ...]]


def rows_of(p: Place, count: int) -> Rows:
    """The last events of the record as binary parameters, but for their positions."""
    with psycopg.connect(p.conninfo, autocommit=True) as c:
        result = c.pgconn.exec_params(
            f"SELECT {COLUMNS} FROM record.events ORDER BY position DESC LIMIT {count}".encode(), None, result_format=1
        )
        return [tuple(result.get_value(r, f) for f in range(result.nfields)) for r in range(result.ntuples)]


def insert(table: str) -> bytes:
    places = ", ".join(f"${n}" for n in range(1, 14))
    return f"INSERT INTO {table} (position, {COLUMNS}) VALUES ({places})".encode()


class Clients:
    """Processes with `threads` connections each."""

    def __init__(self, p: Place, table: str, rows: Rows, *, processes: int, threads: int) -> None:
        self.connections = processes * threads
        self._next = 0
        self._children = []
        folder = p.folder / "raw"
        folder.mkdir(exist_ok=True)
        path = folder / f"{table}-{processes}-{threads}"
        path.write_bytes(pickle.dumps((p.conninfo, table, threads, rows)))
        for _ in range(processes):
            self._children.append(
                subprocess.Popen(
                    [sys.executable, "-m", "bench.raw", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
        for child in self._children:
            _line(child)

    def run(self, seconds: float, base: int) -> float:
        """Insert for so long, from position `base` on; commits per second."""
        width = ROUND // len(self._children)
        for n, child in enumerate(self._children):
            assert child.stdin is not None
            child.stdin.write(f"{seconds} {base + n * width} {width}\n")
            child.stdin.flush()
        return sum(float(_line(child)) for child in self._children)

    def close(self) -> None:
        for child in self._children:
            assert child.stdin is not None
            child.stdin.close()
            child.wait()


def _line(child: "subprocess.Popen[str]") -> str:
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise Broken("a bare client ended early")
    return line


class Raw:
    """The fastest of several ways to run 8 and 16 clients, found by trying."""

    def __init__(self, p: Place, rows: Rows) -> None:
        self._p = p
        self._rows = rows
        self._rounds = 0
        ways = [(8, 1), (16, 1), (4, 2), (4, 4), (2, 8)]
        bare_table(p, "bare_inserts")
        tried = {}
        for processes, threads in ways:
            clients = Clients(p, "bare_inserts", rows, processes=processes, threads=threads)
            tried[(processes, threads)] = statistics.median(self._once(clients, 1.0) for _ in range(2))
            clients.close()
        self.tried = tried
        self.best = max(tried, key=lambda way: tried[way])
        self._clients = Clients(p, "bare_inserts", rows, processes=self.best[0], threads=self.best[1])

    def _once(self, clients: Clients, seconds: float) -> float:
        if self._rounds * ROUND >= 9_000_000:
            self._p.run("TRUNCATE bare_inserts")
            self._rounds = 0
        self._rounds += 1
        return clients.run(seconds, self._rounds * ROUND)

    def run(self, seconds: float) -> float:
        return self._once(self._clients, seconds)

    def close(self) -> None:
        self._clients.close()


@contextlib.contextmanager
def raw_clients(p: Place, rows: Rows) -> Iterator[Raw]:
    raw = Raw(p, rows)
    try:
        yield raw
    finally:
        raw.close()


def _client(
    conninfo: str, table: str, rows: Rows, orders: "list[Any]", done: "list[int]", n: int, barrier: threading.Barrier
) -> None:
    c = psycopg.connect(conninfo, autocommit=True)
    c.pgconn.prepare(b"i", insert(table), TYPES)
    formats = [1] * 13
    run = c.pgconn.exec_prepared
    while True:
        barrier.wait()
        if orders[0] is None:
            return
        seconds, base = orders[0][0], orders[0][1][n]
        until = time.perf_counter() + seconds
        count = 0
        while time.perf_counter() < until:
            result = run(b"i", (struct.pack(">q", base + count), *rows[count % len(rows)]), formats)
            if result.status != ExecStatus.COMMAND_OK:
                sys.stderr.buffer.write(result.error_message)
                os._exit(1)
            count += 1
        done[n] = count
        barrier.wait()


def main() -> None:
    conninfo, table, threads, rows = pickle.loads(Path(sys.argv[1]).read_bytes())  # noqa: S301 - written by our own parent
    orders: list[Any] = [None]
    done = [0] * threads
    barrier = threading.Barrier(threads + 1)
    for n in range(threads):
        threading.Thread(target=_client, args=(conninfo, table, rows, orders, done, n, barrier), daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        seconds, base, width = line.split()
        orders[0] = (float(seconds), [int(base) + n * (int(width) // threads) for n in range(threads)])
        started = time.perf_counter()
        barrier.wait()
        barrier.wait()
        print(sum(done) / (time.perf_counter() - started), flush=True)
    orders[0] = None
    barrier.wait()


if __name__ == "__main__":
    main()
