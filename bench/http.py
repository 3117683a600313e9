"""One command over HTTP, as `chancery serve` serves it, against a bare FastAPI route; and twice as many clients as the peak takes."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import psutil

from bench.harness import Broken, Figure, check_record, figure, interleaved
from bench.place import ACTOR, Place, a_firm, bare_table, served_from
from commands.deals import OpenDeal
from commands.pipelines import DefinePipeline, NewStage
from infra.record.bulk import Bulk, command_task
from infra.record.vault import Vault

SECONDS = 3.0
CONNECTIONS = 48
CROWD = 600  # connections of the overload, so that a free one is always there
OVERLOAD_SECONDS = float(os.environ.get("CHANCERY_BENCH_OVERLOAD_SECONDS", "60"))


def _port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def _started(command: list[str], port: int, environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    child = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if child.poll() is not None or time.monotonic() > until:
                raise Broken(f"{command[2]} did not start")
            time.sleep(0.2)
        yield child
    finally:
        child.terminate()
        child.wait(30)


def hammer(port: int, key: str, paths: list[str], connections: int, seconds: float, rate: float = 0.0) -> dict[str, Any]:
    """What a process of clients saw."""
    command = [sys.executable, "-m", "bench.clients", f"127.0.0.1:{port}", key, str(connections), str(seconds), str(rate), *paths]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def good(seen: dict[str, Any]) -> int:
    return sum(n for status, n in seen["seen"].items() if status.startswith("2"))


def measure(p: Place) -> list[Figure]:
    port, plain_port = _port(), _port()
    bare_table(p, "bare_http")
    p.run("CREATE SEQUENCE IF NOT EXISTS bare_http_position CACHE 100")
    data = p.folder / "served"
    environment = served_from(p, data)
    p.run(
        "TRUNCATE record.events, record.streams, record.commands, record.firm_heads, vault.data_keys; UPDATE record.head SET position = 0"
    )
    firm, key = a_firm(environment)
    with Bulk(p.database, Vault(data / "keys"), firm=firm, actor=ACTOR) as bulk:
        assert all(o.answer for o in bulk.run([command_task(DefinePipeline(name="P", stages=[NewStage(name="S")]), actor=ACTOR)]))
        opening = (command_task(OpenDeal(title=f"Mandate {n}"), actor=ACTOR) for n in range(256))
        deals = [str(o.answer["id"]) for o in bulk.run(opening)]
    paths = [f"/v1/deals/{d}:note" for d in deals]
    serve = [sys.executable, "-m", "infra.cli", "serve", "--port", str(port)]
    plain = [sys.executable, "-m", "bench.plain", p.conninfo, str(plain_port)]
    with _started(serve, port, environment) as served, _started(plain, plain_port, {}):
        _until_ready(port, key, paths)

        def ours() -> float:
            return good(hammer(port, key, paths, CONNECTIONS, SECONDS)) / SECONDS

        def theirs() -> float:
            return good(hammer(plain_port, key, paths, CONNECTIONS, SECONDS)) / SECONDS

        pairs = interleaved(ours, theirs)
        overload = _overload(port, key, paths, served.pid)
    check_record(p.conninfo)
    return [figure("one command over HTTP", "FastAPI route with the same raw statements", pairs, goal=0.7), *overload]


def _until_ready(port: int, key: str, paths: list[str]) -> None:
    for _ in range(60):
        seen = hammer(port, key, paths, 2, 0.5)
        if good(seen):
            return
        time.sleep(0.5)
    raise Broken(f"the server does not take commands: {seen}")


def _lateness(port: int, key: str) -> float:
    """How late the server's event loop was at worst lately."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=30) as said:  # noqa: S310
        found = re.search(r"^chancery_loop_lateness_seconds (\S+)", said.read().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def _overload(port: int, key: str, paths: list[str], pid: int) -> list[Figure]:
    """A minute of twice as many requests as the peak, begun at their rate whatever becomes of them."""
    process = psutil.Process(pid)
    peak = good(hammer(port, key, paths, CONNECTIONS, 10.0)) / 10.0
    before = process.memory_info().rss
    seen = hammer(port, key, paths, CROWD, OVERLOAD_SECONDS, 2 * peak)
    growth = process.memory_info().rss / before
    lateness = _lateness(port, key)
    print(f"at a peak of {peak:.0f}/s: {seen}; the server's loop was late by {lateness * 1000:.0f} ms at most", flush=True)
    after = good(hammer(port, key, paths, CONNECTIONS, 10.0)) / 10.0
    print(f"peak afterwards: {after:.0f}/s", flush=True)
    if not set(seen["seen"]) <= {"200", "201", "429", "503"}:
        raise Broken(f"under overload came {sorted(seen['seen'])}")
    goodput = good(seen) / OVERLOAD_SECONDS
    offered = (sum(seen["seen"].values()) + seen["missed"]) / OVERLOAD_SECONDS
    return [
        figure("requests begun under overload", "peak", [(offered, peak)], goal=None),
        figure("goodput at twice the peak load", "peak before", [(goodput, peak)], goal=0.9),
        figure("goodput at twice the peak load", "peak afterwards", [(goodput, after)], goal=None),
        figure(
            "p99 of a refusal under overload",
            "100 ms",
            [(seen["refused_p99"] * 1000, 100.0)],
            goal=1.0,
            direction="at most",
            unit="ms",
        ),
        figure(
            "p99 of a refusal under overload",
            "how late its client began, p99",
            [(seen["refused_p99"] * 1000, max(seen["late_p99"] * 1000, 0.001))],
            goal=None,
            unit="ms",
        ),
        figure("memory after the overload", "before", [(growth, 1.0)], goal=1.2, direction="at most", unit="times"),
    ]
