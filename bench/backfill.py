"""A bank's whole log, imported, then turned on in Kafka, Elasticsearch and Neo4j one after the other: how fast each is filled from the record.

What each then holds is counted and digested: equal to the record, to the search index and to the graph in PostgreSQL, or there is no figure.
"""

import os
import threading
import time
from pathlib import Path

from bench.harness import Broken, Figure, check_record, figure
from bench.place import ACTOR, Place
from domain.kernel import FirmId
from infra.blobs import FolderBlobs
from infra.bus.messages import decode
from infra.bus.relay import Relay
from infra.bus.standing import bounds, live_topic, read_all, reading
from infra.engines.run import Engines
from infra.followers import Follower, followers, parts
from infra.graph.neo4j.client import Address, driver
from infra.graph.neo4j.digests import postgres_digest
from infra.ids import uuid7
from infra.imports import load_map
from infra.imports.run import Importer
from infra.projector.engine import Projector
from infra.record import wire
from infra.search.digest import in_postgres
from infra.search.elastic.client import Elastic
from infra.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
LOG = Path(os.environ.get("CHANCERY_SHARED", ROOT.parent / "shared")) / "data/bpic2012-loan/split/dev.xes.gz"
LINES = 105_364  # events of the log
PREFIX = "backfill"
PATIENCE = 1_200.0  # seconds
ENGINES = {"relay": "kafka", "search": "elasticsearch", "graph": "neo4j"}


def measure(p: Place) -> list[Figure]:
    if not LOG.exists():
        raise Broken(f"the log is not at {LOG}; CHANCERY_SHARED names the folder that holds data/bpic2012-loan")
    rates = {"record": _imported(p), "views": _projected(p)}
    settings = Settings.model_validate({"data": p.folder, "database_url": p.conninfo})
    rates["search in PostgreSQL"] = _followed(p, settings, "search")
    expected = _of_postgres(p)
    for name, engine in ENGINES.items():
        engines = Engines(p.folder / engine)
        try:
            full = _full(p, engines.up([engine]))
            rates[engine] = _followed(p, full, name)
            found = _of_engine(p, full, name)
        finally:
            engines.forget()
        if found != expected[name]:
            raise Broken(f"{engine} holds {found}, and the record makes {expected[name]}")
    check_record(p.conninfo)
    whole = f"{_head(p):,} events of the whole bpic2012 log"
    return [figure(f"{whole} into {name}", "events/s", [(rate, 1.0)], goal=None, unit="events/s") for name, rate in rates.items()]


def _head(p: Place) -> int:
    return int(str(p.query("SELECT position FROM record.head")[0][0]))


def _imported(p: Place) -> float:
    """Events a second of the import."""
    before, firm = _head(p), FirmId(uuid7())
    started = time.perf_counter()
    blobs = FolderBlobs(p.folder / "blobs", max_bytes=10**9)
    with Importer(p.database, p.vault, blobs, firm=firm, actor=ACTOR) as importer:
        importer.carry(LOG, "deals", map=load_map(ROOT / "docs/maps/bpic2012.toml"))
    took = time.perf_counter() - started
    made = _head(p) - before
    if made < LINES:
        raise Broken(f"{LINES} events were imported as {made}")
    return made / took


def _projected(p: Place) -> float:
    """Events a second into all views."""
    with p.database.connect("record") as c:
        wire.register(c)
        projector = Projector(p.database, p.vault)
        projector.prepare(c)
        started = time.perf_counter()
        reached = projector.catch_up(c)
        return reached / (time.perf_counter() - started)


def _full(p: Place, named: dict[str, str]) -> Settings:
    """With the engine that was started."""
    said = {name.removeprefix("CHANCERY_").lower(): value for name, value in named.items()}
    return Settings.model_validate(
        {"data": p.folder, "database_url": p.conninfo, "kafka_prefix": PREFIX, "elasticsearch_prefix": PREFIX, **said}
    )


def _follower(p: Place, settings: Settings, name: str) -> Follower:
    return next(f for f in followers(parts(settings, p.database)) if f.name == name)


def _followed(p: Place, settings: Settings, name: str) -> float:
    """Events a second of a follower, from its start to its showing the end of the record."""
    follower, stop, last = _follower(p, settings, name), threading.Event(), _head(p)
    thread = threading.Thread(target=follower.run, args=(stop,), daemon=True)
    started = time.perf_counter()
    before = _shown(p, name)  # search in the one engine shows where it is until that in the other has its turn
    thread.start()
    try:
        fallen = before == 0
        while True:
            time.sleep(0.05)
            at = _shown(p, name)
            fallen = fallen or at < before
            if fallen and at == last:
                return last / (time.perf_counter() - started)
            if time.perf_counter() - started > PATIENCE or not thread.is_alive():
                raise Broken(f"{name} stands at {at} of {last}")
    finally:
        stop.set()
        thread.join(60)


def _shown(p: Place, name: str) -> int:
    found = p.query(f"SELECT coalesce(max(position), 0) FROM chancery.projections WHERE name = '{name}'")
    return int(str(found[0][0]))


Held = tuple[tuple[int, ...], str]
"""How many things of each kind an engine holds, and their digest."""


def _of_postgres(p: Place) -> dict[str, Held]:
    settings = Settings.model_validate({"data": p.folder, "database_url": p.conninfo, "kafka_prefix": PREFIX})
    head = _head(p)
    counts = p.query(
        "SELECT (SELECT count(*) FROM views.graph_nodes), (SELECT count(*) FROM views.graph_edges), (SELECT count(*) FROM history.graph_nodes"
        " WHERE NOT _gone), (SELECT count(*) FROM history.graph_edges WHERE NOT _gone), (SELECT count(*) FROM chancery.search_entries"
        " WHERE build = (SELECT live FROM chancery.search_builds))"
    )[0]
    *graph, entries = (int(str(n)) for n in counts)
    with p.database.connect("record") as c:
        searched = in_postgres(c)
    return {
        "relay": ((head, head), Relay(settings, p.database).record_digest()),
        "search": ((entries,), searched),
        "graph": (tuple(graph), postgres_digest(p.database)),
    }


def _of_engine(p: Place, settings: Settings, name: str) -> Held:
    counts = {"relay": _messages, "search": _documents, "graph": _graph}[name](settings)
    return counts, _follower(p, settings, name).digest()


def _messages(settings: Settings) -> tuple[int, ...]:
    """Messages, and different events among them."""
    topic = live_topic(settings)
    if topic is None:
        raise Broken("there is no topic of events")
    with reading(settings) as consumer:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        every = {(topic, n): bounds(consumer, topic, n) for n in partitions}
        seen = [decode(m.headers(), m.value()).event_id for m in read_all(consumer, every)]
    return len(seen), len(set(seen))


def _documents(settings: Settings) -> tuple[int, ...]:
    """Entries of what serves that are not tombstones."""
    if settings.elasticsearch_url is None:
        raise Broken("no Elasticsearch")
    elastic = Elastic(settings.elasticsearch_url.get_secret_value())
    asked = {"query": {"term": {"gone": False}}}
    try:
        return (int(elastic.ask("POST", f"/{PREFIX}-*/_count", asked)["count"]),)
    finally:
        elastic.close()


def _graph(settings: Settings) -> tuple[int, ...]:
    """Nodes, edges, past nodes, past edges of the build that serves, which is the first."""
    address = Address.of(settings)
    if address is None:
        raise Broken("no Neo4j")
    counted = (
        "MATCH (x:ChanceryNode1) WHERE x.version IS NOT NULL",
        "MATCH ()-[x:CHANCERY_EDGE_1]->()",
        "MATCH (x:ChanceryNodePast1)",
        "MATCH ()-[x:CHANCERY_PAST_1]->()",
    )
    with driver(address) as neo4j, neo4j.session() as session:
        return tuple(session.run(f"{cypher} RETURN count(x)").single(strict=True)[0] for cypher in counted)
