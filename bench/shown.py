"""Reads over HTTP as `chancery serve` serves them: a list, and how soon what was written is shown; each against a bare FastAPI route."""

import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psycopg

from bench.harness import PAIRS, Broken, Figure, figure, interleaved
from bench.http import _port, _started
from bench.place import ACTOR, NOTE, Place, a_firm, served_from
from bench.plain_views import TABLES
from commands.deals import OpenDeal
from commands.pipelines import DefinePipeline, NewStage
from domain.kernel import FirmId
from infra.record.bulk import Bulk, command_task
from projections.kernel import VIEWS

LISTED = 100_000
LISTS, WRITES = 200, 300


class Client:
    """One connection, that stays open during a run."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: bytes | None = None, position: str = "") -> tuple[bytes, str]:
        """The body, and the position it came with."""
        asked = {"Chancery-Position": position} if position else {}
        self._connection.request(method, path, body, {**self._headers, **asked})
        answer = self._connection.getresponse()
        found = answer.read()
        if answer.status >= 300:
            raise Broken(f"{method} {path}: {answer.status} {found[:300]!r}")
        return found, answer.headers.get("Chancery-Position", "")

    def listed(self) -> float:
        """Milliseconds of a page, the median of many."""
        self._connection.close()  # an idle one is closed by the server after a while
        times = []
        for _ in range(LISTS):
            started = time.perf_counter()
            body, _ = self.ask("GET", "/v1/deals")
            times.append((time.perf_counter() - started) * 1000)
        if len(json.loads(body)["items"]) != 50:
            raise Broken("not a page of 50")
        return statistics.median(times)

    def shown(self, deals: list[str]) -> list[float]:
        """Milliseconds from the answer of a write to that of a read that shows it, sorted."""
        self._connection.close()
        times = []
        for n in range(WRITES):
            deal = deals[n % len(deals)]
            _, position = self.ask("POST", f"/v1/deals/{deal}:note", json.dumps({"note": NOTE}).encode())
            started = time.perf_counter()
            self.ask("GET", f"/v1/deals/{deal}", position=position)
            times.append((time.perf_counter() - started) * 1000)
        return sorted(times)


@contextlib.contextmanager
def _looping(command: list[str]) -> Iterator[None]:
    child = subprocess.Popen(command)
    try:
        yield
    finally:
        child.kill()
        child.wait()


def measure(p: Place) -> list[Figure]:
    environment = served_from(p, p.folder)
    firm, key = a_firm(environment)
    with Bulk(p.database, p.vault, firm=firm, actor=ACTOR) as bulk:
        assert all(o.answer for o in bulk.run([command_task(DefinePipeline(name="P", stages=[NewStage(name="S")]), actor=ACTOR)]))
        deals = [
            str(o.answer["id"]) for o in bulk.run(command_task(OpenDeal(title=f"Mandate {n}"), actor=ACTOR) for n in range(64))
        ]
    p.run(TABLES)
    port, plain_port = _port(), _port()
    serve = [sys.executable, "-m", "infra.cli", "serve", "--port", str(port)]
    plain = [sys.executable, "-m", "bench.plain_views", p.conninfo]
    with (
        _started(serve, port, environment),
        _started([*plain, str(plain_port), str(firm)], plain_port, {}),
        _looping([*plain, "project"]),
    ):
        ours, theirs = Client(port, key), Client(plain_port, key)
        _caught_up(p)
        shown = _shown(ours, theirs, deals)
        _fill(p, firm)
        lists = interleaved(ours.listed, theirs.listed)
    return [
        *shown,
        figure(
            "current list of 50 among 100,000", "the same SQL in a FastAPI route", lists, goal=1.5, direction="at most", unit="ms"
        ),
    ]


def _caught_up(p: Place) -> None:
    for _ in range(600):
        standing = {str(name): position for name, position in p.query("SELECT name, position FROM chancery.projections")}
        ((head,),) = p.query("SELECT position FROM record.head")
        if all(standing.get(name) == head for name in VIEWS):
            return
        time.sleep(0.1)
    raise Broken("the projections do not catch up")


def _shown(ours: Client, theirs: Client, deals: list[str]) -> list[Figure]:
    """Runs in turn; each gives a median and a 99th percentile."""
    runs: list[tuple[list[float], list[float]]] = []

    def run(client: Client) -> Callable[[], list[float]]:
        return lambda: client.shown(deals)

    one, other = run(ours), run(theirs)
    for n in range(PAIRS + 1):
        a, b = (one(), other()) if n % 2 else reversed((other(), one()))
        runs.append((a, b))
    figures = []
    for name, share in (("p50", 50), ("p99", 99)):
        pairs = [(a[len(a) * share // 100], b[len(b) * share // 100]) for a, b in runs[1:]]
        figures.append(
            figure(
                f"append to visible over HTTP, {name}", "hand-written LISTEN loop", pairs, goal=2.0, direction="at most", unit="ms"
            )
        )
    return figures


def _fill(p: Place, firm: FirmId) -> None:
    """A hundred thousand deals beside those there are, straight into the table."""
    with psycopg.connect(p.conninfo, autocommit=True) as c:
        columns = [str(n) for (n,) in c.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'views.deals'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        )]  # fmt: skip
        made = {"id": "gen_random_uuid()", "created_at": "d.created_at - n * interval '1 minute'"}
        selected = ", ".join(made.get(n, f'd."{n}"') for n in columns)
        c.execute(
            f"INSERT INTO views.deals SELECT {selected} FROM (SELECT * FROM views.deals WHERE firm_id = %s LIMIT 1) d,"
            f" generate_series(1, {LISTED}) n".encode(),
            (firm,),
        )
        c.execute("VACUUM ANALYZE views.deals")
