"""One build of the index in Elasticsearch, as the indexer fills it.

E1  An entry is written under an external version made of the position that changed it last: no older one ever takes its place,
    however late it comes and whatever the server has forgotten. What is gone stays as a tombstone.
E2  A build's position moves by compare-and-set, after what it stands for is durable; what readers wait for moves when it can be found.
E4  What was made again after an erasure is newer than anything an indexer held before.
E5  An indexer that was overtaken takes the words it has just added away again, unless an entry holds them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg

from infra.projector.engine import VIEWS_CHANNEL
from infra.search.elastic.bulk import Item, Outcome, item, refused
from infra.search.elastic.client import Refused
from infra.search.elastic.documents import document_id, mark, tombstone, written
from infra.search.elastic.mappings import INDICES, WORDS
from infra.search.pgstore import Key, Outrun, Stuck
from projections.search import Entry
from projections.search.kinds import KINDS
from queries import analysis

if TYPE_CHECKING:
    from infra.search.elastic.builds import ElasticIndex

ROOM = 1 << 20  # how often an entry can be made again at one position
REMEMBERED = 500_000  # words known to be there
SETTLE_SECONDS = 0.5  # between refreshes while there is more to do


class EntryRefused(Exception):
    """Elasticsearch refuses an entry for what it is."""


Words = set[tuple[UUID, str, bool]]


class ElasticStore:
    """One build. `filling` is one that is not yet served. Positions are mirrored to the row `name` of chancery.projections."""

    def __init__(
        self,
        index: "ElasticIndex",
        c: psycopg.Connection[Any],
        build: int,
        *,
        filling: bool = False,
        shown: bool = False,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._index = index
        self._c = c
        self.build = build
        self.filling = filling
        self._shown = shown or not filling
        self._stopping = stopping
        self._seq: tuple[int, int] | None = None
        self._state: dict[str, Any] = {}
        self._at = 0
        self._touched: set[str] = set()
        self._unsettled: int | None = None
        self._settle_next = 0.0

    # --- where it stands

    def position(self) -> int | None:
        """How far this build is; None when an event has stopped it. Outrun when it is not this build's turn any more."""
        if not self.filling:
            row = self._c.execute(
                "SELECT stopped_at IS NULL FROM chancery.projections WHERE name = %s", (self._index.name,)
            ).fetchone()
            if row is None or not row[0]:
                return None
        state = self._index.state(self.build)
        if self.filling and (state is None or self._index.live_build() == self.build):
            return None  # somebody else has brought it to its end
        if state is None or "next" in state["_source"]:
            raise Outrun
        self._seq = (state["_seq_no"], state["_primary_term"])
        self._state = state["_source"]
        self._at = int(self._state["position"])
        return self._at

    def apply(self, position: int, reached: int, changes: Mapping[Key, Entry | None]) -> None:
        """Write what changed between two positions, then move on; Outrun when the build is elsewhere."""
        if self._seq is None or self._at != position:
            raise Outrun
        try:
            worded = self._write(changes, lambda e: (e.made.position if e is not None else reached) * ROOM)
            try:
                self._moved(reached)
            except Outrun:  # meanwhile somebody may have been erased, words and all
                for firm in worded:
                    self._index.sweep(self, firm)
                raise
        except Refused as e:
            if e.status == 404:  # what it writes to has become another's, or is gone
                raise Outrun from None
            raise

    def put(self, items: Sequence[Item], position: int, reached: int) -> None:
        """The same for documents that are ready."""
        if self._seq is None or self._at != position:
            raise Outrun
        self._sent(items)
        self._touched.update(KINDS)
        self._moved(reached)

    def _moved(self, reached: int) -> None:
        self._move(reached)
        self._unsettled = reached
        if time.monotonic() > self._settle_next:
            self.settle()

    def _move(self, reached: int) -> None:
        self._seq = self._index.put_state(self.build, {**self._state, "position": reached}, self._seq)
        self._at = reached

    def settle(self) -> None:
        """Let what was written be found, and then say so. What does not serve yet is found by nobody: of it only how far it is is said."""
        begun = time.monotonic()
        if self._touched and not self.filling:
            self._index.refresh(self.alias(kind) for kind in sorted(self._touched))
            self._touched.clear()
        if self._unsettled is not None and self._shown:
            self._c.execute(
                "UPDATE chancery.projections SET position = %s, error = NULL, updated_at = now()"
                " WHERE name = %s AND stopped_at IS NULL AND (position < %s OR error IS NOT NULL)",
                (self._unsettled, self._index.name, self._unsettled),
            )
            self._c.execute("SELECT pg_notify(%s, %s)", (VIEWS_CHANNEL, str(self._unsettled)))
        self._unsettled = None
        now = time.monotonic()
        self._settle_next = now + max(SETTLE_SECONDS, 4 * (now - begun))  # on a long way it takes a fifth of the time at most

    def stop(self, _position: int, poison: int, error: Exception) -> None:
        """Say where an event can't be applied; nothing is applied until that is mended."""
        if self.filling:
            raise Stuck(poison) from error
        self.settle()
        self._c.execute(
            "UPDATE chancery.projections SET stopped_at = %s, error = %s WHERE name = %s AND stopped_at IS NULL",
            (poison, type(error).__name__, self._index.name),
        )

    # --- writing

    def alias(self, kind: str) -> str:
        names = self._index.names
        return names.filling(kind, self.build) if self.filling else names.write(kind)

    def _write(self, changes: Mapping[Key, Entry | None], version: Callable[[Entry | None], int]) -> set[UUID]:
        """Write entries and the words they hold; the firms for which words were added."""
        items: list[Item] = []
        words: list[tuple[frozenset[str], frozenset[str]]] = []
        keys = list(changes)
        for key in keys:
            e = changes[key]
            if e is None:
                document, found = tombstone(key.firm, key.kind, key.id), (frozenset[str](), frozenset[str]())
            else:
                made = written(e)
                document, found = made.document, (made.words, made.open_words)
            id = document_id(key.firm, key.id)
            items.append(item("index", self.alias(key.kind), id, document, version=version(e)))
            words.append(found)
        outcome = self._sent(items)
        self._touched.update(k.kind for k in keys)
        stale = self._stale(keys, outcome, [version(changes[k]) for k in keys]) if outcome.older else set()
        new: Words = set()
        for n, key in enumerate(keys):
            if n not in stale:
                new.update((key.firm, w, False) for w in words[n][0])
                new.update((key.firm, w, True) for w in words[n][1])
        return self._add_words(new)

    def _sent(self, items: Sequence[Item]) -> Outcome:
        outcome = self._index.bulk.write(items, stopping=self._stopping)
        no = refused(outcome)
        if no is not None:
            if no.status == 404:  # the alias is gone: another build serves
                raise Outrun
            raise EntryRefused(no.kind)
        return outcome

    def _stale(self, keys: Sequence[Key], outcome: Outcome, versions: Sequence[int]) -> set[int]:
        """Of those that were there already the ones that were there in a newer version: nothing of ours is to be added for them."""
        asked = [
            {"_index": self.alias(keys[n].kind), "_id": document_id(keys[n].firm, keys[n].id), "_source": False}
            for n in outcome.older
        ]
        found = self._index.elastic.ask("POST", "/_mget?filter_path=docs._version", {"docs": asked})["docs"]
        return {n for n, d in zip(outcome.older, found, strict=True) if int(d.get("_version", 0)) != versions[n]}

    def _add_words(self, new: Words) -> set[UUID]:
        known = self._index.known(self.build)
        unknown = sorted(new - known, key=lambda w: (w[0].bytes, w[1], w[2]))
        if not unknown:
            return set()
        alias = self.alias(WORDS)
        items = [
            item(
                "create",
                alias,
                f"{firm}:{'o' if open_ else 'p'}:{word}",
                {
                    "firm": str(firm),
                    "key": f"{word}:{'o' if open_ else 'p'}",
                    "word": word,
                    "keys": [mark(firm) + k for k in analysis.typo_keys(word)],
                    "length": len(word),
                    "open": open_,
                },
            )
            for firm, word, open_ in unknown
        ]
        self._sent(items)
        self._touched.add(WORDS)
        if len(known) > REMEMBERED:
            known.clear()
        known.update(unknown)
        return {firm for firm, _, _ in unknown}

    def revise(self, changes: Mapping[Key, tuple[int, Entry | None]]) -> bool:
        """Put entries that were made again in the place of whatever is there; False when one of them has moved on meanwhile."""
        keys = list(changes)
        asked = [{"_index": self.alias(k.kind), "_id": document_id(k.firm, k.id), "_source": ["gone"]} for k in keys]
        paths = "docs._id,docs._version,docs._source.gone"
        found = self._index.elastic.ask("POST", f"/_mget?filter_path={paths}", {"docs": asked})["docs"] if keys else []
        versions: dict[Key, int] = {}
        for key, d in zip(keys, found, strict=True):
            now, made = int(d.get("_version", 0)), changes[key][0]
            if changes[key][1] is None and d.get("_source", {}).get("gone"):
                made = now // ROOM  # a tombstone bears the position its batch reached, which is beyond its own last event
            if now // ROOM > made:
                return False
            versions[key] = max(now, made * ROOM) + 1
        items, words = [], set[tuple[UUID, str, bool]]()
        for key in keys:
            e = changes[key][1]
            document = tombstone(key.firm, key.kind, key.id)
            if e is not None:
                made_of = written(e)
                document = made_of.document
                words.update((key.firm, w, False) for w in made_of.words)
                words.update((key.firm, w, True) for w in made_of.open_words)
            id = document_id(key.firm, key.id)
            items.append(item("index", self.alias(key.kind), id, document, version=versions[key]))
        outcome = self._sent(items)
        self._touched.update(k.kind for k in keys)
        self._add_words(words)
        self.settle()
        return not outcome.older

    # --- taking the place of the live build

    def swap(self) -> bool:
        """Let this build serve in the place of the live one, once it is as far: one request moves every name and drops the old."""
        self.settle()
        self._index.refresh(self.alias(kind) for kind in INDICES)
        live = self._index.live_build()
        if live is not None:
            state = self._index.state(live)
            if state is not None and "next" not in state["_source"]:
                if int(state["_source"]["position"]) > self._at:
                    return False
                try:  # nothing moves the old one any more
                    self._index.put_state(
                        live, {**state["_source"], "next": self.build}, (state["_seq_no"], state["_primary_term"])
                    )
                except Outrun:
                    return False
        self._index.finish(live, self.build)
        self.filling = False
        self._shown = True
        self._c.execute(
            "UPDATE chancery.projections SET position = %s, stopped_at = NULL, error = NULL, updated_at = now() WHERE name = %s",
            (self._at, self._index.name),
        )
        self._c.execute("SELECT pg_notify(%s, %s)", (VIEWS_CHANNEL, str(self._at)))
        return True

    def give_up(self) -> None:
        """Leave off filling this build."""
        self._index.drop(self.build)
