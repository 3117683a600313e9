"""What consumers count, for Prometheus. Labels are groups and fixed words, never anything of a firm or person."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """`registry` is yours to serve: `prometheus_client.start_http_server(port, registry=metrics.registry)`."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._seconds = Histogram(
            "chancery_bus_handling_seconds",
            "Time a handler took, by where the event came from.",
            ["group", "source"],
            registry=self.registry,
        )
        self._noticed = Counter(
            "chancery_bus_noticed_events",
            "Events sent again (duplicate), missing from the topic and read from the store (gap), or altered on the way (mangled).",
            ["group", "what"],
            registry=self.registry,
        )
        self._retries = Counter(
            "chancery_bus_retries", "Attempts that failed and are made again.", ["group"], registry=self.registry
        )
        self._dead = Counter("chancery_bus_died", "Events that became dead letters.", ["group"], registry=self.registry)
        self._waiting = Gauge(
            "chancery_bus_waiting_events", "Events fetched and not handled yet.", ["group"], registry=self.registry
        )
        self._waiting_bytes = Gauge("chancery_bus_waiting_bytes", "Their size.", ["group"], registry=self.registry)
        self._paused = Gauge(
            "chancery_bus_paused_partitions", "Partitions paused by back-pressure.", ["group"], registry=self.registry
        )
        self._lag = Gauge("chancery_bus_lag_events", "Events the group is behind the record.", ["group"], registry=self.registry)
        self._lag_seconds = Gauge(
            "chancery_bus_lag_seconds", "Age of the oldest event the group has not been past.", ["group"], registry=self.registry
        )
        self._letters = Gauge(
            "chancery_bus_dead_letters", "Dead letters that wait for somebody.", ["group"], registry=self.registry
        )
        self._stopped = Gauge("chancery_bus_stopped", "1 when the group can't go on.", ["group"], registry=self.registry)

    def handled(self, group: str, source: str, seconds: float) -> None:
        self._seconds.labels(group, source).observe(seconds)

    def noticed(self, group: str, what: str, count: int) -> None:
        self._noticed.labels(group, what).inc(count)

    def retried(self, group: str) -> None:
        self._retries.labels(group).inc()

    def died(self, group: str) -> None:
        self._dead.labels(group).inc()

    def waits(self, group: str, events: int, size: int, paused: int) -> None:
        self._waiting.labels(group).set(events)
        self._waiting_bytes.labels(group).set(size)
        self._paused.labels(group).set(paused)

    def stands(self, group: str, *, lag: int, seconds: float, dead_letters: int, stopped: bool) -> None:
        self._lag.labels(group).set(lag)
        self._lag_seconds.labels(group).set(seconds)
        self._letters.labels(group).set(dead_letters)
        self._stopped.labels(group).set(int(stopped))
