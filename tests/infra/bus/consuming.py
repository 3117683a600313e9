"""Events, subscriptions that write down what they handled, topics to publish to, and a consumer as a process to be killed.

`python -m tests.infra.bus.consuming JSON` consumes until SIGTERM.
"""

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from uuid import UUID, uuid4

import psycopg
import structlog
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from infra.bus.consumer import Consumer, consume
from infra.bus.messages import Encoded, encode
from infra.bus.metrics import Metrics
from infra.bus.standing import LIVE
from infra.bus.subscription import Delivered, Retry, Subscription
from infra.bus.topics import Names, partition_of
from infra.database import Database
from infra.ids import uuid7
from infra.record import codec
from infra.record.appender import Append, Appended, Appender
from infra.record.reader import EventRow, read_after
from infra.record.vault import Vault
from infra.settings import Settings
from tests.infra.writing import an_append, scalar, together

ROOT = Path(__file__).parents[3]
TABLE = """
CREATE TABLE IF NOT EXISTS views.tests_handled (
    n bigint GENERATED ALWAYS AS IDENTITY, group_name text, firm_id uuid, firm_position bigint, event_id uuid, by int, source text
);
GRANT ALL ON views.tests_handled TO chancery_record;
CREATE TABLE IF NOT EXISTS views.tests_poison (type text PRIMARY KEY);
GRANT ALL ON views.tests_poison TO chancery_record;
"""


def tables(database: Database) -> None:
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute(TABLE.encode())


# --- events


def events(firm: UUID, count: int, *, type: str = "tests.Counted.v1", stream: UUID | None = None, at: int = 0) -> Append:
    """A command with so many events, leaves as they are stored."""
    append = an_append(count, firm=firm, stream=stream, at=at, type=type)
    made = []
    for m in append.events:
        moment = codec.timestamp(append.recorded_at)
        leaf = {
            "actor": "system:tests",
            "commandid": str(append.command_id),
            "data": {"n": m.stream_version},
            "id": str(m.event_id),
            "recordedtime": moment,
            "source": f"/firms/{firm}",
            "specversion": "1.0",
            "streamversion": m.stream_version,
            "subject": f"test/{m.stream_id}",
            "time": moment,
            "type": m.type,
        }
        made.append(m._replace(public=codec.canonical(leaf)))
    return dataclasses.replace(append, events=made)


def write(database: Database, firms: Sequence[UUID], each: int, *, size: int = 5, type: str = "tests.Counted.v1") -> None:
    """`each` events of every firm, firms in turn, in commands of `size`."""
    appender = Appender(database)
    try:
        batch = [events(f, min(size, each - n), type=type) for n in range(0, each, size) for f in firms]
        for at in range(0, len(batch), 500):
            assert all(isinstance(r, Appended) for r in together(appender, batch[at : at + 500]))
    finally:
        appender.close()


# --- subscriptions


def poisoned(database: Database, *types: str) -> None:
    """The handler fails for these types, from now on."""
    with database.connect("record") as c:
        c.execute("DELETE FROM views.tests_poison")
        for t in types:
            c.execute("INSERT INTO views.tests_poison VALUES (%s)", (t,))


class Poisoned(Exception):
    """The handler can't."""


def writing(group: str, *, slow: float = 0.0, batch: int = 20, workers: int = 3, **more: Any) -> Subscription:
    """A subscription that writes a row for each event it is handed, and fails where it is poisoned."""
    retry = more.pop("retry", Retry(tries=3, first=0.01, most=0.05))
    subscription = Subscription(group, batch=batch, workers=workers, retry=retry, **more)

    @subscription.on("tests.*")
    def handle(c: psycopg.Connection[Any], event: Delivered) -> None:
        c.execute(
            "INSERT INTO views.tests_handled (group_name, firm_id, firm_position, event_id, by, source) VALUES (%s, %s, %s, %s, %s, %s)",
            (group, event.firm, event.firm_position, event.id, os.getpid(), event.source),
        )
        if c.execute("SELECT FROM views.tests_poison WHERE type = %s", (event.type,)).fetchone() is not None:
            raise Poisoned(event.type)
        if slow:
            time.sleep(slow)

    return subscription


@contextmanager
def consuming(
    subscription: Subscription, settings: Settings, database: Database, vault: Vault | None = None, metrics: Metrics | None = None
) -> Iterator[Consumer]:
    """The subscription at work in threads of this process."""
    stop = threading.Event()
    consumer = Consumer(subscription, settings, database, vault, metrics)
    raised: list[BaseException] = []

    def work() -> None:
        try:
            consumer.run(stop)
        except BaseException as e:
            raised.append(e)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield consumer
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()
    if raised:
        raise raised[0]


class Process:
    """A consumer as a process of its own."""

    def __init__(self, database: Database, settings: Settings, group: str, **how: Any) -> None:
        told = {
            "database": database.admin_conninfo(),
            "group": group,
            "kafka": settings.kafka_bootstrap,
            "prefix": settings.kafka_prefix,
            "data": str(settings.data),
            "how": how,
        }
        self.log = tempfile.NamedTemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.infra.bus.consuming", json.dumps(told)], cwd=ROOT, stderr=self.log, stdout=self.log
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, what: signal.Signals) -> None:
        self.process.send_signal(what)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """SIGTERM; its exit code."""
        self.process.terminate()
        return self.process.wait(60)

    def said(self) -> str:
        return Path(self.log.name).read_text()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


# --- what was handled


def handled(database: Database, group: str) -> int:
    try:
        return int(scalar(database, "SELECT count(*) FROM views.tests_handled WHERE group_name = %s", group))
    except psycopg.OperationalError:
        return -1


def digest(rows: list[tuple[Any, ...]]) -> str:
    return hashlib.sha256("\n".join(" ".join(map(str, r)) for r in rows).encode()).hexdigest()


def handled_digest(database: Database, group: str) -> str:
    """Of what was handled, in the order in which each firm's was: a lost, doubled or misplaced event changes it."""
    with psycopg.connect(database.admin_conninfo()) as c:
        return digest(
            c.execute(
                "SELECT firm_id, firm_position, event_id FROM views.tests_handled WHERE group_name = %s ORDER BY firm_id, n",
                (group,),
            ).fetchall()
        )


def record_digest(database: Database, firms: Sequence[UUID] | None = None) -> str:
    """The same of what is on the record for such subscriptions."""
    with psycopg.connect(database.admin_conninfo()) as c:
        return digest(
            c.execute(
                "SELECT firm_id, firm_position, event_id FROM record.events"
                " WHERE (%(f)s::uuid[] IS NULL OR firm_id = ANY(%(f)s)) AND starts_with(type, 'tests.')"
                " ORDER BY firm_id, firm_position",
                {"f": None if firms is None else list(firms)},
            ).fetchall()
        )


def count(database: Database) -> int:
    return int(scalar(database, "SELECT count(*) FROM record.events"))


def until(condition: Callable[[], Any], seconds: float = 40) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)
    return found


# --- Kafka


class Topic:
    """A topic of events of its own prefix, written by the test as a relay would, or as none should."""

    def __init__(self, bootstrap: str, prefix: str, partitions: int = 6, generation: int = 1) -> None:
        self.bootstrap = bootstrap
        self.name = Names(prefix).events(generation)
        self.partitions = partitions
        admin = AdminClient({"bootstrap.servers": bootstrap})
        admin.create_topics([NewTopic(self.name, partitions, 1)])[self.name].result(20)
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "enable.idempotence": True, "log_level": 0})
        self.position = 0

    def delete(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.delete_topics([self.name])[self.name].result(20)

    def live(self) -> None:
        """Say in the control topic, as the relay does, that this topic is the live one."""
        names = Names(self.name.partition(".events.")[0])
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_topics([NewTopic(names.control, 1, 1)])[names.control].result(20)
        self._producer.produce(names.control, json.dumps({"generation": names.generation(self.name)}), LIVE)
        assert self._producer.flush(20) == 0

    def send(self, messages: Sequence[Encoded]) -> None:
        for m in messages:
            while True:
                try:
                    self._producer.produce(
                        self.name,
                        m.value,
                        m.key,
                        partition_of(m.key, self.partitions),
                        headers=dict(m.headers),
                        timestamp=m.timestamp,
                    )
                    break
                except BufferError:
                    self._producer.poll(0.1)
        assert self._producer.flush(60) == 0

    def rows(self, database: Database) -> list[EventRow]:
        """What is on the record and was not asked for yet."""
        found: list[EventRow] = []
        with database.connect("record") as c:
            while more := read_after(c, self.position, 2_000):
                found += more
                self.position = more[-1].position
        return found

    def publish(self, database: Database) -> None:
        self.send([encode(r) for r in self.rows(database)])


def a_prefix() -> str:
    return f"t{uuid4().hex[:10]}"


def with_kafka(settings: Settings, bootstrap: str, prefix: str) -> Settings:
    return settings.model_copy(update={"kafka_bootstrap": bootstrap, "kafka_prefix": prefix})


def firms(count: int) -> list[UUID]:
    return [uuid7() for _ in range(count)]


def main() -> None:
    told = json.loads(sys.argv[1])
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    settings = Settings(
        data=Path(told["data"]), database_url=told["database"], kafka_bootstrap=told["kafka"], kafka_prefix=told["prefix"]
    )
    how = told["how"]
    chosen = frozenset(UUID(f) for f in how.pop("firms", ())) or None
    consume(writing(told["group"], firms=chosen, **how), settings)


if __name__ == "__main__":
    main()
