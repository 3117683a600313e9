"""The builds of the index in Elasticsearch: which there are, which one serves, how one takes another's place.

E3  A build is filled while another serves, and takes its place in one request. Which one serves is what the server's names say, and
    nothing else; the steps before and after can be taken again by whoever comes next.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
import structlog

from infra.projector.engine import VIEWS_CHANNEL
from infra.search import digest
from infra.search.elastic.bulk import Bulk, item
from infra.search.elastic.client import TITLE, Elastic, Refused, Unreachable
from infra.search.elastic.documents import held
from infra.search.elastic.fence import holding
from infra.search.elastic.mappings import FORM, INDICES, KEPT_SETTINGS, MAPPINGS, SETTINGS, STATE_MAPPING, WORDS, Names
from infra.search.elastic.store import ElasticStore, EntryRefused, Words
from infra.search.pgstore import NAME, Key, Outrun
from projections.search import Entry
from projections.search.kinds import KINDS

log = structlog.get_logger()

PAGE = 500
PURGE_SECONDS = 90.0


class OthersIndex(Exception):
    """The indices under this prefix are filled by another installation. Give each its own CHANCERY_ELASTICSEARCH_PREFIX."""


class NoBuild(Unreachable):
    """No build serves: whoever follows begins again."""


class ElasticIndex:
    """The builds under one prefix. `installation` names whose they are."""

    title = TITLE
    engine = "elasticsearch"
    lost: tuple[type[Exception], ...] = (Unreachable, Refused)
    refuses: tuple[type[Exception], ...] = (EntryRefused,)

    def __init__(self, elastic: Elastic, prefix: str, installation: str, *, name: str = NAME, bulk: Bulk | None = None) -> None:
        self.elastic = elastic
        self.names = Names(prefix)
        self.name = name
        self.bulk = bulk or Bulk(elastic)
        self._installation = installation
        self._known: dict[int, Words] = {}

    # --- what the indexer asks

    def open(self, c: psycopg.Connection[Any]) -> None:
        """Make what has to be there, end what was left half done, put settings back, and show how far the live build is."""
        self._make(self.names.state, {"mappings": STATE_MAPPING, "settings": {**SETTINGS, "index.translog.durability": "REQUEST"}})
        live = self.live_build()
        if live is not None:
            state = self.state(live)
            following: int | None = state["_source"].get("next") if state else None
            if following is not None and self.state(following) is not None:
                self.finish(live, following)
                live = following
        for build in self._builds():
            if live is not None and build < live:
                self.drop(build)
        if live is None:
            return
        self._check_settings(live)
        self.refresh(self.names.read(kind) for kind in INDICES)
        state = self.state(live)
        if state is not None:
            self._mine(state)
            c.execute(
                "UPDATE chancery.projections SET position = %s, version = %s, updated_at = now() WHERE name = %s",
                (state["_source"]["position"], state["_source"]["version"], self.name),
            )
            c.execute("SELECT pg_notify(%s, '')", (VIEWS_CHANNEL,))

    def current(self, c: psycopg.Connection[Any], version: int) -> bool:
        """Whether what serves is of this version and form, and holds what was made again since."""
        live = self.live_build()
        state = None if live is None else self.state(live)
        if state is None:
            return False
        self._mine(state)
        s = state["_source"]
        again = c.execute("SELECT again FROM chancery.search_engine").fetchone()
        return s["version"] == version and s["form"] == FORM and (again is None or s["again"] == again[0])

    def renewed(self, c: psycopg.Connection[Any], version: int) -> None:
        c.execute("UPDATE chancery.projections SET version = %s WHERE name = %s", (version, self.name))

    def live(self, c: psycopg.Connection[Any], stopping: Callable[[], bool] = lambda: False) -> ElasticStore:
        build = self.live_build()
        if build is None:
            raise NoBuild("there is no build yet, or none any more")
        return ElasticStore(self, c, build, stopping=stopping)

    def fill(self, c: psycopg.Connection[Any], version: int, stopping: Callable[[], bool] = lambda: False) -> ElasticStore:
        """The build being filled: taken up where it was left if it is of this form, or begun."""
        live = self.live_build()
        again = int((c.execute("SELECT again FROM chancery.search_engine").fetchone() or (0,))[0])
        for build in sorted(self._builds(), reverse=True):
            if live is None or build > live:
                state = self.state(build)
                s = state and state["_source"]
                if s and s["form"] == FORM and s["version"] == version and s["again"] == again and self._whole(build):
                    return ElasticStore(self, c, build, filling=True, shown=live is None, stopping=stopping)
                self.drop(build)
        build = max([live or 0, *self._builds()]) + 1

        def make(kind: str) -> None:
            aliases: dict[str, Any] = {self.names.filling(kind, build): {}}
            body = {"mappings": MAPPINGS[kind], "settings": {**SETTINGS, **KEPT_SETTINGS}, "aliases": aliases}
            self._make(self.names.index(kind, build), body)

        with ThreadPoolExecutor(len(INDICES)) as threads:  # the server takes those that come together in one step
            list(threads.map(make, INDICES))
        about = {
            "build": build, "form": FORM, "version": version, "position": 0, "again": again, "installation": self._installation
        }  # fmt: skip
        self.elastic.ask("PUT", f"/{self.names.state}/_create/build-{build}?refresh=true", about, fine=(409,))
        return ElasticStore(self, c, build, filling=True, shown=live is None, stopping=stopping)

    def again(self, c: psycopg.Connection[Any], fold: Callable[[int | None], Mapping[Key, tuple[int, Entry | None]]]) -> None:
        """Put entries made again by `fold` in the place of what is there, in every build; then forget the words nobody holds any more."""
        counted = c.execute("SELECT again FROM chancery.search_engine").fetchone()
        live = self.live_build()
        for build in self._builds():
            store = ElasticStore(self, c, build, filling=build != live)
            for _ in range(20):
                changes = fold(None)
                if store.revise(changes):
                    break
                time.sleep(0.05)
            else:
                raise Unreachable("entries move on faster than they are made again")
            for firm in {k.firm for k in changes}:
                self.sweep(store, firm)
            state = self.state(build)
            if counted is not None and state is not None:
                for _ in range(20):
                    try:
                        self.put_state(build, {**state["_source"], "again": counted[0]}, (state["_seq_no"], state["_primary_term"]))
                        break
                    except Outrun:
                        state = self.state(build)
                        if state is None:
                            break

    def purge(self, _c: psycopg.Connection[Any]) -> None:
        """Take what was replaced or deleted off the disk, with its words. Unreachable when the server keeps some of it for too long."""
        until = time.monotonic() + PURGE_SECONDS
        left = [self.names.read(kind) for kind in INDICES]
        while left:
            for name in left:
                self.elastic.ask("POST", f"/{name}/_flush?force=true", timeout=60.0, fine=(404,))
                self.elastic.ask("POST", f"/{name}/_forcemerge?only_expunge_deletes=true", timeout=600.0, fine=(404,))
                self.elastic.ask("POST", f"/{name}/_refresh", timeout=60.0, fine=(404,))
            left = [name for name in left if self._deleted(name)]
            if left and time.monotonic() > until:
                raise Unreachable("what was deleted is still kept")
            if left:
                time.sleep(1.0)  # it is kept for replicas until they are known to have it: the server asks every half minute

    def _deleted(self, name: str) -> int:
        found = self.elastic.ask("GET", f"/{name}/_stats/docs?filter_path=_all.total.docs.deleted", fine=(404,))
        return int(found.get("_all", {}).get("total", {}).get("docs", {}).get("deleted", 0))

    def away(self, c: psycopg.Connection[Any], e: Exception) -> None:
        """Show that the engine can't now, and why."""
        c.execute(
            "UPDATE chancery.projections SET error = %s WHERE name = %s AND stopped_at IS NULL",
            (self.elastic.why(e), self.name),
        )

    def digest(self, _c: psycopg.Connection[Any]) -> str:
        """Depends on the contents alone, whatever engine they are in."""
        return digest.digest(held(s) for s in self.entries())

    def entries(self) -> Iterator[dict[str, Any]]:
        """Every entry that is found, as it is stored."""
        for kind in KINDS:
            pit = self.elastic.ask("POST", f"/{self.names.read(kind)}/_pit?keep_alive=2m")["id"]
            after: Any = None
            try:
                while True:
                    body: dict[str, Any] = {
                        "size": PAGE, "pit": {"id": pit, "keep_alive": "2m"}, "sort": [{"_shard_doc": "asc"}],
                        "query": {"bool": {"filter": [{"term": {"gone": False}}]}}, "track_total_hits": False,
                    }  # fmt: skip
                    if after is not None:
                        body["search_after"] = after
                    hits = self.elastic.ask("POST", "/_search", body)["hits"]["hits"]
                    for hit in hits:
                        yield hit["_source"]
                    if len(hits) < PAGE:
                        break
                    after = hits[-1]["sort"]
            finally:
                self.elastic.ask("DELETE", "/_pit", {"id": pit}, fine=(404,))

    # --- builds

    def live_build(self) -> int | None:
        """The build that the name of reads stands for; the server's own table of names is what counts."""
        found = self.elastic.ask("GET", f"/_alias/{self.names.read(WORDS)}", fine=(404,))
        indices = [i for i in found if i.startswith(self.names.prefix)] if "error" not in found else []
        return self.names.build(indices[0]) if indices else None

    def _builds(self) -> list[int]:
        query = {"size": 100, "sort": ["build"], "query": {"match_all": {}}, "_source": ["build"]}
        self.refresh([self.names.state])
        found = self.elastic.ask("POST", f"/{self.names.state}/_search", query, fine=(404,))
        hits = found["hits"]["hits"] if "hits" in found else []
        return [int(h["_source"]["build"]) for h in hits]

    def state(self, build: int) -> dict[str, Any] | None:
        """What is known of a build, with what a compare-and-set needs."""
        found = self.elastic.ask("GET", f"/{self.names.state}/_doc/build-{build}", fine=(404,))
        return dict(found) if found.get("found") else None

    def put_state(self, build: int, about: Mapping[str, Any], seq: tuple[int, int] | None) -> tuple[int, int]:
        """Say what is known of a build, if nobody else has since it was read; Outrun if somebody has."""
        if seq is None:
            raise Outrun
        path = f"/{self.names.state}/_doc/build-{build}?if_seq_no={seq[0]}&if_primary_term={seq[1]}"
        done = self.elastic.ask("PUT", path, about, fine=(409,))
        if "error" in done:
            raise Outrun
        return int(done["_seq_no"]), int(done["_primary_term"])

    def finish(self, live: int | None, build: int) -> None:
        """Move every name to a build and drop the one that had them, in one request."""
        actions: list[dict[str, Any]] = []
        for kind in INDICES:
            index = self.names.index(kind, build)
            actions += [
                {"add": {"index": index, "alias": self.names.read(kind)}},
                {"add": {"index": index, "alias": self.names.write(kind)}},
                {"remove": {"index": index, "alias": self.names.filling(kind, build), "must_exist": False}},
            ]
        if live is not None:
            actions += [{"remove_index": {"index": i}} for i in self._indices(live)]
        self.elastic.ask("POST", "/_aliases", {"actions": actions})
        if live is not None:
            self.elastic.ask("DELETE", f"/{self.names.state}/_doc/build-{live}?refresh=true", fine=(404,))
            self._known.pop(live, None)

    def drop(self, build: int) -> None:
        """Take a build away that nobody reads."""
        indices = self._indices(build)
        if indices:
            self.elastic.ask("DELETE", f"/{','.join(indices)}", fine=(404,))
        self.elastic.ask("DELETE", f"/{self.names.state}/_doc/build-{build}?refresh=true", fine=(404,))
        self._known.pop(build, None)

    def known(self, build: int) -> Words:
        return self._known.setdefault(build, set())

    def forget_words(self) -> None:
        """Others may have taken words away: remember none."""
        self._known.clear()

    def refresh(self, names: Any) -> None:
        self.elastic.ask("POST", f"/{','.join(names)}/_refresh", timeout=60.0, fine=(404,))

    def _indices(self, build: int) -> list[str]:
        found = self.elastic.ask("GET", f"/{self.names.prefix}-*-v*-{build}/_alias", fine=(404,))
        return sorted(i for i in found if self.names.build(i) == build) if "error" not in found else []

    def _whole(self, build: int) -> bool:
        return self._indices(build) == sorted(self.names.index(kind, build) for kind in INDICES)

    def _make(self, index: str, body: Mapping[str, Any]) -> None:
        try:
            self.elastic.ask("PUT", f"/{index}", body)
        except Refused as e:
            if e.kind != "resource_already_exists_exception":
                raise

    def _mine(self, state: Mapping[str, Any]) -> None:
        if state["_source"]["installation"] != self._installation:
            raise OthersIndex

    def _check_settings(self, build: int) -> None:
        """Settings that somebody has changed are put back; the server says what they are."""
        for index in self._indices(build):
            found = self.elastic.ask("GET", f"/{index}/_settings?flat_settings=true")[index]["settings"]
            wrong = {n: v for n, v in KEPT_SETTINGS.items() if str(found.get(n, "")).lower() != v.lower()}
            if wrong:
                log.warning("search.settings_put_back", index=index, settings=sorted(wrong))
                self.elastic.ask("PUT", f"/{index}/_settings", wrong)

    def sweep(self, store: ElasticStore, firm: UUID) -> None:
        """Delete the words of a firm that no entry holds any more."""
        alias, names = store.alias(WORDS), [store.alias(k) for k in KINDS]
        self.refresh([alias, *names])
        after: Any = None
        while True:
            body: dict[str, Any] = {
                "size": PAGE, "sort": ["key"], "_source": ["word", "open"], "track_total_hits": False,
                "query": {"bool": {"filter": [{"term": {"firm": str(firm)}}]}},
            }  # fmt: skip
            if after is not None:
                body["search_after"] = after
            hits = self.elastic.ask("POST", f"/{alias}/_search", body)["hits"]["hits"]
            if not hits:
                break
            after = hits[-1]["sort"]
            filters = {h["_id"]: holding(firm, h["_source"]["word"], open_=h["_source"]["open"]) for h in hits}
            counted = self.elastic.ask(
                "POST",
                f"/{','.join(names)}/_search",
                {
                    "size": 0, "track_total_hits": False, "query": {"bool": {"filter": [{"term": {"firm": str(firm)}}]}},
                    "aggs": {"held": {"filters": {"filters": filters}}},
                },
            )["aggregations"]["held"]["buckets"]  # fmt: skip
            gone = [id for id, found in counted.items() if not found["doc_count"]]
            if gone:
                self.bulk.write([item("delete", alias, id, None) for id in gone])
            if len(hits) < PAGE:
                break
        self.refresh([alias])
        self.forget_words()
