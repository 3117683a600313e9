"""Events to publish, a relay as a process to be killed or stopped, and a look at what stands in Kafka.

`python -m tests.infra.bus.relaying CONNINFO SETTINGS HOW`, the last two as JSON, runs a relay, or a rebuild.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import structlog

from commands.kernel import Made
from infra import ids
from infra.bus.messages import Message, decode
from infra.bus.relay import Relay
from infra.bus.standing import bounds, live_topic, read_all, reading
from infra.database import Database
from infra.engines.run import Engines
from infra.record.appender import Append, Appender
from infra.record.codec import canonical, leaf_hash, timestamp
from infra.settings import Settings

FIRMS = tuple(UUID(int=0xF0 + n) for n in range(7))
SEALED = b'[["00000000000000000000000000000001","c2VhbGVk"]]'
TYPE = "deals.Noted.v1"


def an_append(firm: UUID, events: int = 1, *, origin: str | None = None, sealed: bytes | None = None) -> Append:
    """A command that adds events with whole leaves to a new stream."""
    stream, now, command = ids.uuid7(), datetime.now(UTC), ids.uuid7()
    made = []
    for version in range(1, events + 1):
        event = ids.uuid7()
        leaf = {
            "actor": "member/0192f0c1-2d3e-7f00-8000-000000000001",
            "commandid": str(command),
            "data": {"note": f"number {version} of {stream}"},
            "id": str(event),
            "recordedtime": timestamp(now),
            "source": f"/firms/{firm}",
            "specversion": "1.0",
            "streamversion": version,
            "subject": f"deal/{stream}",
            "time": timestamp(now),
            "type": TYPE,
            **({"origin": origin} if origin else {}),
        }
        public = canonical(leaf)
        made.append(
            Made(
                stream_type="deal",
                stream_id=stream,
                stream_version=version,
                event_id=event,
                type=TYPE,
                occurred_at=now,
                public=public,
                disclosures=(),
                leaf_hash=leaf_hash(public),
            )
        )
    return Append(
        firm=firm,
        command_id=command,
        body_mac=b"m" * 32,
        expected={("deal", stream): 0},
        events=made,
        sealed=[sealed] * events,
        recorded_at=now,
        answer=b"{}",
    )


def write(appender: Appender, events: int, *, each: int = 50, **how: Any) -> int:
    """So many events, spread over the firms; answers the position of the last."""
    position = 0
    for n in range(0, events, each):
        position = appender.append_now(an_append(FIRMS[n // each % len(FIRMS)], min(each, events - n), **how)).position
    return position


@contextmanager
def writing(database: Database, *, each: int = 3, pause: float = 0.01) -> Iterator[Callable[[], int]]:
    """Write all the time beside what is tried; answers how many events there are. Whatever becomes of Kafka, writing goes on."""
    stop, appender, count, errors = threading.Event(), Appender(database), [0], list[Exception]()

    def work() -> None:
        try:
            while not stop.wait(pause):
                count[0] = appender.append_now(an_append(FIRMS[count[0] % len(FIRMS)], each)).position
        except Exception as e:
            errors.append(e)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield lambda: count[0]
    finally:
        stop.set()
        thread.join()
        appender.close()
    assert errors == []


def head(database: Database) -> int:
    with database.connect("record") as c:
        return int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])


def shown(database: Database) -> dict[str, Any]:
    with database.connect("record") as c:
        row = c.execute("SELECT position, stopped_at, error FROM chancery.projections WHERE name = 'relay'").fetchone()
    return (
        {"position": 0, "stopped_at": None, "error": None}
        if row is None
        else dict(zip(("position", "stopped_at", "error"), row, strict=True))
    )


def until(done: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for what other processes bring about."""
    limit = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < limit, "it did not come to that"
        time.sleep(0.02)


def beyond(database: Database, position: int) -> Callable[[], bool]:
    """Whether the relay shows that it passed the position, asked at each call."""
    return lambda: bool(shown(database)["position"] > position)


def caught_up(database: Database, seconds: float = 90.0) -> None:
    until(lambda: shown(database)["position"] == head(database), seconds)


def published(settings: Settings, topic: str | None = None) -> list[tuple[int, Message]]:
    """Every committed message of a topic of events with its partition, in the order of each partition."""
    topic = topic or live_topic(settings)
    assert topic is not None
    with reading(settings) as consumer:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        parts = {(topic, p): bounds(consumer, topic, p) for p in partitions}
        return [(m.partition(), decode(m.headers(), m.value())) for m in read_all(consumer, parts)]


def assert_published_once_and_in_order(settings: Settings, database: Database) -> int:
    """What stands in Kafka is the record: each event once, whole, in its firm's order, in its firm's partition."""
    last = head(database)
    found = published(settings)
    positions = [m.position for _, m in found]
    assert sorted(positions) == list(range(1, last + 1))
    partition_of: dict[UUID, int] = {}
    places: Counter[UUID] = Counter()
    before: dict[int, int] = {}
    for partition, message in found:
        assert message.whole
        assert partition_of.setdefault(message.firm, partition) == partition
        assert message.firm_position == places[message.firm]
        places[message.firm] += 1
        assert message.position > before.get(partition, 0)
        before[partition] = message.position
    relay = Relay(settings, database)
    assert relay.digest() == relay.record_digest()
    return last


class Process:
    """A relay in a process of its own."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        batch: int = 20,
        lease: float = 3.0,
        transaction: float = 10.0,
        **more: float,
    ) -> None:
        self._said = tempfile.NamedTemporaryFile("w", prefix="relay-")  # noqa: SIM115 - a pipe would fill up and stop it
        how = {"batch": batch, "lease": lease, "transaction": transaction, "again": 1.0, **more}
        where = settings.model_dump_json(include={"kafka_bootstrap", "kafka_prefix", "kafka_partitions"})
        given = [database.admin_conninfo(), where, json.dumps(how)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.infra.bus.relaying", *given], stdout=self._said, cwd=Path(__file__).parents[3]
        )

    def said(self, event: str) -> list[dict[str, Any]]:
        """What it has logged under a name."""
        lines = Path(self._said.name).read_text().splitlines(keepends=True)
        return [said for line in lines if line.endswith("\n") and (said := json.loads(line))["event"] == event]

    def send(self, what: signal.Signals) -> None:
        os.kill(self.process.pid, what)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Ask it to end, and see that it does."""
        self.process.terminate()
        assert self.process.wait(20) == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._said.close()


def broker(engines: Engines) -> int:
    """The process of the broker that was started there."""
    return next(s for s in engines.status() if s.engine == "kafka").pids[0]


def main() -> None:
    _, conninfo, settings, how = sys.argv
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
    )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    chosen = json.loads(how)
    rebuild = chosen.pop("rebuild", None)
    relay = Relay(Settings(**json.loads(settings)), Database(conninfo), **chosen)
    if rebuild:
        relay.rebuild(progress=lambda done, whole: structlog.get_logger().info("progress", done=done, whole=whole))
    else:
        relay.run(stop)


if __name__ == "__main__":
    main()
