"""The log: how fast a tree grows, how fast the record is sequenced and proved, how soon an event is signed, and what it costs writers."""

import asyncio
import gc
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from uuid import UUID, uuid4

import psycopg

from bench.append import Ours
from bench.harness import Broken, Figure, figure, interleaved
from bench.place import ACTOR, NOTE, Place
from commands.deals import NoteOnDeal
from infra.database import Database
from infra.proofs import heads
from infra.proofs.notes import Verifier
from infra.proofs.policy import Policy
from infra.proofs.sequencer import Sequencer
from infra.proofs.signing import Signed, SigningKeys
from infra.proofs.store import LogStore
from infra.proofs.tlogproof import TlogProof
from infra.proofs.tree import leaf_hash
from tests.infra.proofs.logs import Frontier

RUNS = 7
LEAVES = 300_000
MILLION = 1_000_000
EVENTS = 1_000_000
RATE = 2_000  # events a second, while latency is measured
SECONDS = 5.0
PROOFS = 1_000
BURST = 3.0
PAIRS = 9

FILL = """
INSERT INTO record.events (position, firm_id, firm_position, stream_type, stream_id, stream_version, event_id, type, recorded_at,
    occurred_at, command_id, public)
SELECT %(before)s + n + 1, %(firm)s, n, 'consent', md5(n::text)::uuid, 1, gen_random_uuid(), 'consent.Given.v1', now(), now(),
    gen_random_uuid(), convert_to('{"actor":"member/0192f0c1-2d3e-7f00-8000-000000000001","commandid":"' || gen_random_uuid()
    || '","data":{"channel":"email","controller":"' || gen_random_uuid() || '","note":"'
    || repeat('abcdef', 60) || '","seq":1,"status":"given"},"id":"' || gen_random_uuid() || '"}', 'UTF8') FROM generate_series(0, %(count)s - 1) n
"""


def _tree() -> float:
    leaves = [n.to_bytes(8, "big") * 50 for n in range(LEAVES)]
    gc.collect()
    started = time.perf_counter()
    frontier = Frontier()
    frontier.extend(leaves)
    took = time.perf_counter() - started
    if frontier.size != LEAVES:
        raise Broken("the tree lost leaves")
    return LEAVES / took


def _sequencer(p: Place, folder: Path) -> Sequencer:
    return Sequencer(p.database, SigningKeys(folder), Signed(folder))


def _fill(p: Place, firm: UUID, count: int) -> None:
    before = int(str(p.query("SELECT position FROM record.head")[0][0]))
    with psycopg.connect(p.conninfo, autocommit=True) as c:
        c.execute("SELECT record.extend(%s)", (before + count,))
        c.execute(FILL, {"firm": firm, "count": count, "before": before})
        c.execute("INSERT INTO record.firm_heads VALUES (%s, %s)", (firm, count))
        c.execute("UPDATE record.head SET position = %s", (before + count,))
        c.execute("VACUUM ANALYZE record.events")
        c.execute("CHECKPOINT")


def _sequenced(p: Place, folder: Path) -> tuple[UUID, float]:
    """A firm of a million contacts, each with one event of consent; leaves a second into tiles and a signed checkpoint."""
    firm = uuid4()
    _fill(p, firm, EVENTS)
    s = _sequencer(p, folder)
    with p.database.connect("record") as c:
        s.prepare(c)
        started = time.perf_counter()
        done = s.catch_up(c)
        took = time.perf_counter() - started
    if done < EVENTS:
        raise Broken("not every event was sequenced")
    return firm, done / took


def _again(p: Place, firm: UUID, folder: Path) -> float:
    """The same once more, from the beginning."""
    for table in ("logs", "log_tiles"):
        p.run(f"DELETE FROM chancery.{table} WHERE firm_id = '{firm}'")
    s = _sequencer(p, folder)
    with p.database.connect("record") as c:
        s.prepare(c)
        started = time.perf_counter()
        done = s.catch_up(c)
        return done / (time.perf_counter() - started)


def _proofs(p: Place, firm: UUID) -> tuple[float, float, float, int]:
    """Proofs a second of our processor time and of the clock, on one connection that waits, each verified with the record; milliseconds
    at the 99th percentile; bytes of one file."""
    times = []
    with p.database.connect("record") as c:
        store = LogStore(c, firm)
        log = store.log()
        checkpoint = log.checkpoint
        trust = Policy.of_keys([Verifier.parse(log.vkey)])
        largest = 0
        started = time.perf_counter()
        busy = time.process_time()
        for _ in range(PROOFS):
            index = random.randrange(log.size)
            at = time.perf_counter()
            (hashes,) = store.inclusions(log, [index], checkpoint.size, checkpoint.root)
            text = str(TlogProof(index, hashes, str(log.note)))
            times.append(time.perf_counter() - at)
            largest = max(largest, len(text.encode()))
        took = time.perf_counter() - started
        busy = time.process_time() - busy
        index = log.size - 1
        store.proof(index).verify(leaf_hash(store.leaves([index])[index]), trust.accept)
    times.sort()
    return PROOFS / busy, PROOFS / took, times[len(times) * 99 // 100] * 1000, largest


def _seal(p: Place, firm: UUID) -> float:
    with p.database.connect("record") as c:
        log = LogStore(c, firm).log()
    started = time.perf_counter()
    made = heads.seal(p.database, log)
    took = time.perf_counter() - started
    if made.count != MILLION:
        raise Broken("not every chain was sealed")
    with p.database.connect("record") as c:
        row = c.execute("SELECT first FROM chancery.log_heads WHERE firm_id = %s AND place = 77", (firm,)).fetchone()
        heads.prove(c, firm, str(row[0] if row else ""), made)
    return took


class Following:
    """The sequencer at work in a process of its own, which can be held."""

    def __init__(self, p: Place, folder: Path) -> None:
        self._place = p
        command = [sys.executable, "-m", "bench.proofs", p.conninfo, str(folder)]
        before = p.query("SELECT clock_timestamp()")[0][0]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while not p.query(
            f"SELECT FROM chancery.projections WHERE name = 'log' AND updated_at > '{before}'"
        ):  # it has examined the logs
            if time.monotonic() > until or self.process.poll() is not None:
                raise Broken("the sequencer does not start")
            time.sleep(0.1)
        self.goes_on()

    def held(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def goes_on(self) -> None:
        """Let it go on, and wait until it has caught up."""
        self.process.send_signal(signal.SIGCONT)
        until = time.monotonic() + 60
        behind = (
            "SELECT FROM record.firm_heads h LEFT JOIN chancery.logs l USING (firm_id) WHERE coalesce(l.size, 0) <> h.firm_position"
        )
        while self._place.query(behind):
            if time.monotonic() > until or self.process.poll() is not None:
                raise Broken("the sequencer does not catch up")
            time.sleep(0.05)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def _latency(p: Place, ours: Ours) -> float:
    """Seconds from the acknowledgement of an event to a signed checkpoint that covers it, at the 99th percentile, at a steady rate."""
    acknowledged: list[tuple[int, float]] = []
    signed: list[tuple[int, float]] = []
    stop = threading.Event()

    def watch() -> None:
        with psycopg.connect(p.conninfo, autocommit=True) as c:
            while not stop.is_set():
                row = c.execute("SELECT position FROM chancery.logs WHERE firm_id = %s", (p.firm,)).fetchone()
                if row and (not signed or row[0] > signed[-1][0]):
                    signed.append((row[0], time.perf_counter()))
                time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    ours.loop.run_until_complete(_steadily(ours, acknowledged))
    until = time.monotonic() + 10
    while (not signed or signed[-1][0] < acknowledged[-1][0]) and time.monotonic() < until:
        time.sleep(0.01)
    stop.set()
    watcher.join()
    waits = []
    n = 0
    for position, at in sorted(acknowledged):
        while n < len(signed) and signed[n][0] < position:
            n += 1
        if n == len(signed):
            raise Broken("an event was never signed")
        waits.append(max(0.0, signed[n][1] - at))
    waits.sort()
    rate, median, last = len(acknowledged) / SECONDS, statistics.median(waits) * 1000, waits[len(waits) * 99 // 100] * 1000
    print(f"  at {rate:,.0f} events/s: signed after {median:.0f} ms, p99 {last:.0f} ms", flush=True)
    return waits[len(waits) * 99 // 100]


async def _steadily(ours: Ours, acknowledged: list[tuple[int, float]]) -> None:
    started = time.perf_counter()
    tasks = set()
    for n in range(int(RATE * SECONDS)):
        due = started + n / RATE
        if due > time.perf_counter():
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

        async def one(n: int = n) -> None:
            deal = ours.place.deals[n % len(ours.place.deals)]
            done = await ours.executor.execute(NoteOnDeal(id=deal, note=NOTE), firm=ours.place.firm, actor=ACTOR, target=deal)
            acknowledged.append((done.position, time.perf_counter()))

        tasks.add(asyncio.create_task(one()))
        if len(tasks) > 512:
            _, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait(tasks)


def measure(p: Place) -> list[Figure]:
    folder = p.folder / "log-keys"
    figures = [figure("leaves into the pure tree", "300,000/s", [(_tree(), 300_000.0) for _ in range(RUNS)], goal=1.0)]
    firm, first = _sequenced(p, folder)
    rates = [first] + [_again(p, firm, folder) for _ in range(RUNS - 1)]
    figures.append(figure("leaves sequenced, signed and durable", "10,000/s", [(r, 10_000.0) for r in rates], goal=1.0))
    proofs = [_proofs(p, firm) for _ in range(RUNS)]
    figures += [
        figure("proofs from storage a second of a core", "2,000/s", [(r, 2_000.0) for r, *_ in proofs], goal=1.0),
        figure("proofs from storage on one connection that waits", "2,000/s", [(r, 2_000.0) for _, r, *_ in proofs], goal=None),
        figure("p99 of a proof from storage", "10 ms", [(t, 10.0) for _, _, t, _ in proofs], goal=1.0, direction="at most", unit="ms"),
        figure(
            "a .tlog-proof at a million leaves", "1,500 bytes", [(float(b), 1_500.0) for *_, b in proofs], goal=1.0,
            direction="at most", unit="bytes",
        ),
        figure(
            "sealing a million heads", "10 s", [(_seal(p, firm), 10.0) for _ in range(RUNS)], goal=1.0, direction="at most", unit="s"
        ),
    ]  # fmt: skip
    ours = Ours(p)
    following = Following(p, folder)

    def alone() -> float:
        following.held()
        return ours.commands(64, BURST)

    def beside() -> float:
        following.goes_on()
        return ours.commands(64, BURST)

    try:
        waits = [(_latency(p, ours), 1.0) for _ in range(RUNS)]
        figures.append(
            figure("p99 from event to checkpoint at 2,000 events/s", "1 s", waits, goal=1.0, direction="at most", unit="s")
        )
        figures.append(
            figure("commands, 64 in flight, while the sequencer runs", "without it", interleaved(beside, alone, PAIRS), goal=0.97)
        )
    finally:
        following.close()
        ours.close()
    return figures


if __name__ == "__main__":
    _sequencer_folder = Path(sys.argv[2])
    Sequencer(Database(sys.argv[1]), SigningKeys(_sequencer_folder), Signed(_sequencer_folder)).run(threading.Event())
