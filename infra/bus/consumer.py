"""A consumer: a subscription at work over whichever bus there is, until it is told to stop.

    consume(billing)      # the whole life of a process: settings from the environment, a graceful end on SIGTERM

Consumers of one group share its work: start as many as are needed, on as many machines.
"""

import contextlib
import signal
import threading
import time
from threading import Event
from typing import Any

import psycopg
import structlog
from prometheus_client import start_http_server
from psycopg.errors import IdleInTransactionSessionTimeout

from infra.bus import dead_letters, positions
from infra.bus.dead_letters import Publisher, Unpublished
from infra.bus.embedded import Embedded
from infra.bus.handling import Handling
from infra.bus.metrics import Metrics
from infra.bus.positions import CHANNEL, Halted
from infra.bus.subscription import BadSubscription, Subscription
from infra.bus.transport import Transport
from infra.database import Database, interrupted
from infra.record.vault import Vault
from infra.settings import Settings

log = structlog.get_logger()

DRAIN = 25.0  # seconds that handlers have to end when the consumer stops
AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    IdleInTransactionSessionTimeout,
)  # the connection is gone; another is made
KEEP = 5.0  # seconds between reports of where the group stands


class Consumer:
    """One process's share of a group. `run` works until told to stop, or raises what stops the group for good."""

    def __init__(
        self,
        subscription: Subscription,
        settings: Settings,
        database: Database,
        vault: Vault | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        if not subscription.routes:
            raise BadSubscription(f"The group {subscription.group} handles nothing: declare a handler with `on`.")
        self._subscription = subscription
        self._settings = settings
        self._database = database
        self.metrics = metrics or Metrics()
        self._stop = Event()
        self._handling = Handling(subscription, vault, self.metrics, self._stop)
        self._transport = transport(subscription, settings, database, self.metrics)
        self._fatal: BaseException | None = None

    def run(self, stop: Event) -> None:
        """Handle events until told to stop; the database and Kafka may go away and come back. In-flight work is finished first."""
        if not self._open(stop):
            return
        ended = threading.Thread(target=self._end, args=(stop,), daemon=True)
        workers = [
            threading.Thread(target=self._guarded, args=(self._work,), name=f"{self._subscription.group}-{n}", daemon=True)
            for n in range(self._subscription.workers)
        ]
        keeper = threading.Thread(target=self._guarded, args=(self._keep,), daemon=True)
        for thread in (ended, keeper, *workers):
            thread.start()
        log.info("bus.consuming", group=self._subscription.group, transport=self._transport.name, workers=len(workers))
        self._guarded(lambda: self._transport.follow(self._stop))
        until = time.monotonic() + DRAIN
        for thread in (*workers, keeper):
            thread.join(max(0.0, until - time.monotonic()))
        if any(w.is_alive() for w in workers):
            log.error("bus.handler_does_not_end", group=self._subscription.group, seconds=DRAIN)
        self._transport.close()
        log.info("bus.stopped", group=self._subscription.group)
        if self._fatal is not None:
            self._tell(self._fatal)
            raise self._fatal

    def _open(self, stop: Event) -> bool:
        """Make the group known once the database answers; False when told to stop before."""
        pause = 0.1
        while not stop.is_set():
            try:
                with self._database.connect("record") as c:
                    positions.open_group(c, self._subscription)
                    return True
            except Halted as e:
                self._tell(e)
                raise
            except psycopg.OperationalError as e:
                interrupted(log, "bus.interrupted", e, group=self._subscription.group)
                stop.wait(pause)
                pause = min(pause * 2, 5.0)
        return False

    def _end(self, stop: Event) -> None:
        while not self._stop.is_set():
            if stop.wait(0.2):
                self._halt(None)

    def _halt(self, error: BaseException | None) -> None:
        self._fatal = self._fatal or error
        self._stop.set()

    def _tell(self, error: BaseException) -> None:
        log.error("bus.halted", group=self._subscription.group, error=type(error).__name__, about=str(error))
        with contextlib.suppress(psycopg.Error), self._database.connect("record") as c:
            positions.halt(c, self._subscription.group, error)

    def _guarded(self, work: Any) -> None:
        """A defect of the consumer itself ends it: a process that lives and does nothing is worse."""
        try:
            work()
        except BaseException as e:
            self._halt(e)

    def _work(self) -> None:
        pause = 0.1
        while not self._stop.is_set():
            try:
                with self._handling.connect(lambda: self._database.connect("record")) as c:
                    pause = 0.1
                    self._tasks(c)
            except AWAY as e:
                interrupted(log, "bus.interrupted", e, group=self._subscription.group)
                self._stop.wait(pause)
                pause = min(pause * 2, 5.0)

    def _tasks(self, c: psycopg.Connection[Any]) -> None:
        while not self._stop.is_set():
            task = self._transport.take(c, 0.5)
            if task is None:
                continue
            outcome = None
            try:
                outcome = self._handling.work(c, task.firm, task.sent)
            finally:
                self._transport.done(task, outcome)

    # --- beside the work

    def _keep(self) -> None:
        pause = 0.1
        topic = publisher(self._settings)
        while not self._stop.is_set():
            try:
                with (
                    self._handling.connect(lambda: self._database.connect("record")) as c,
                    self._database.connect("record") as listening,
                ):
                    listening.execute(f"LISTEN {CHANNEL}")
                    pause = 0.1
                    self._keeping(c, listening, topic)
            except (*AWAY, Unpublished) as e:
                about = str(e) if isinstance(e, Unpublished) else ""
                interrupted(log, "bus.interrupted", e, group=self._subscription.group, about=about)
                self._stop.wait(pause)
                pause = min(pause * 2, 5.0)

    def _keeping(self, c: psycopg.Connection[Any], listening: psycopg.Connection[Any], topic: Publisher | None) -> None:
        """Replay letters that operators chose, tell the topic of letters, report where the group stands."""
        group, reported = self._subscription.group, 0.0
        while not self._stop.is_set():
            busy = False
            for firm, event in dead_letters.waiting(c, group, self._subscription.firms):
                if self._stop.is_set():
                    return
                busy = not self._handling.replay(c, firm, event) or busy
            if time.monotonic() - reported >= KEEP:
                reported = time.monotonic()
                positions.seen(c, group)
                positions.check_not_ahead(c, group)
                self._report(c)
            dead_letters.publish(c, group, topic)
            for told in listening.notifies(timeout=0.05 if busy else 0.5, stop_after=1):
                if told.payload in {group, ""}:
                    self._transport.look()

    def _report(self, c: psycopg.Connection[Any]) -> None:
        found = next((g for g in positions.groups(c, self._subscription.group)), None)
        if found is not None:
            self.metrics.stands(
                found["group"],
                lag=found["lag"],
                seconds=found["seconds"],
                dead_letters=found["dead_letters"],
                stopped=found["stopped"] is not None,
            )


def publisher(settings: Settings) -> Publisher | None:
    """What puts letters into the dead-letter topic; None without Kafka."""
    if not settings.kafka_bootstrap:
        return None
    from infra.bus.letters import TopicPublisher

    return TopicPublisher(settings)


def transport(subscription: Subscription, settings: Settings, database: Database, metrics: Metrics) -> Transport:
    """Kafka when it is set; else the log itself."""
    if settings.kafka_bootstrap:
        from infra.bus.kafka import KafkaBus

        return KafkaBus(subscription, settings, metrics)
    return Embedded(subscription, database)


def consume(subscription: Subscription, settings: Settings | None = None, *, metrics_port: int | None = None) -> None:
    """Consume until SIGTERM or SIGINT: what is in flight is finished and committed, the group is left, then this returns.

    With a `metrics_port`, Prometheus finds /metrics there, at 127.0.0.1.
    """
    from infra import registry
    from infra.bootstrap import settings as from_environment

    stop = Event()
    for sent in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sent, lambda *_: stop.set())
    registry.load()
    chosen = settings or from_environment()
    database = Database.open(chosen)
    try:
        vault = Vault(chosen.keys_folder) if subscription.personal else None
        consumer = Consumer(subscription, chosen, database, vault)
        if metrics_port is not None:
            start_http_server(metrics_port, "127.0.0.1", registry=consumer.metrics.registry)
        consumer.run(stop)
    finally:
        database.close()
