"""The index in PostgreSQL, as the indexer fills it: entries, the words that occur, the beginnings of titles, one transaction a batch.

X1  Entries and the position of the index change together, the position by compare-and-set: a rival's batch is undone whole.
X2  The count of entries that hold a word is exact, and a word that no entry holds is gone.
X3  A build is filled while another serves, and takes its place in one step.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import psycopg

from infra.database import BRIEFLY
from infra.projector.engine import VIEWS_CHANNEL
from infra.search.lexemes import Lexemes, firm_in_build, lexemes
from projections.search import Entry, Made
from queries import analysis

NAME = "search"


class Outrun(Exception):
    """Another indexer moved this build on; its batch stands and ours is undone."""


class Stuck(Exception):
    """An event can't be put into the build being filled; it is given up, and the live one goes on serving."""


class Key(NamedTuple):
    firm: UUID
    kind: str
    id: UUID


def tag(firm: UUID, build: int) -> str:
    """Six digits before each word, so that one firm's words stand together and apart from others'."""
    return f"{zlib.crc32(firm_in_build(firm, build)) & 0xFFFFFF:06x}"


def typo_keys(firm: UUID, build: int, word: str) -> list[int]:
    """The typo keys of a word as the index has them: numbers, with the firm in them."""
    seed = zlib.crc32(firm_in_build(firm, build))
    return [zlib.crc32(k.encode(), seed) - (1 << 31) for k in analysis.typo_keys(word)]


def _vector(words: Lexemes, tagged: str) -> str:
    return " ".join(
        f"'{tagged}{word}':" + ",".join(f"{place}{'' if weight == 'D' else weight}" for place, weight in places)
        for word, places in words.places.items()
    )


def _made(m: Made) -> list[str]:
    return [str(m.event_id), m.type, m.occurred_at.isoformat(), m.recorded_at.isoformat()]


_COLUMNS = (
    ("firm_id", "uuid"), ("build", "int"), ("kind", "text"), ("id", "uuid"), ("version", "bigint"), ("position", "bigint"),
    ("changed_at", "timestamptz"), ("archived", "boolean"), ("title", "text"), ("title_key", "text"), ("title_open", "boolean"),
    ("texts", "jsonb"), ("facts", "jsonb"), ("open_facts", "jsonb"), ("made", "jsonb"), ("body", "text"), ("unread", "text"),
    ("words", "tsvector"), ("open_words", "tsvector"),
)  # fmt: skip
_NAMES = ", ".join(n for n, _ in _COLUMNS)
_UPSERT = (
    f"INSERT INTO chancery.search_entries ({_NAMES}) SELECT {', '.join(f'u.{n}::{t}' for n, t in _COLUMNS)}"
    f" FROM unnest({', '.join('%s::text[]' if t in {'jsonb', 'tsvector'} else f'%s::{t}[]' for _, t in _COLUMNS)}) u({_NAMES})"
    f" ON CONFLICT (firm_id, build, kind, id) DO UPDATE SET {', '.join(f'{n} = excluded.{n}' for n, _ in _COLUMNS[4:])}"
)
_KEYS = "unnest(%s::uuid[], %s::text[], %s::uuid[]) k(f, n, i)"
_BEFORE = (
    "SELECT k.f, tsvector_to_array(e.words), tsvector_to_array(e.open_words)"
    f" FROM {_KEYS} JOIN chancery.search_entries e ON e.firm_id = k.f AND e.build = %s AND e.kind = k.n AND e.id = k.i"
)
_GONE = (
    f"DELETE FROM chancery.search_entries e USING {_KEYS} WHERE e.firm_id = k.f AND e.build = %s AND e.kind = k.n AND e.id = k.i"
)
_HEADS_GONE = (
    f"DELETE FROM chancery.search_heads h USING {_KEYS} WHERE h.firm_id = k.f AND h.build = %s AND h.kind = k.n AND h.id = k.i"
)
_HEADS = (
    "INSERT INTO chancery.search_heads (firm_id, build, kind, id, head, open) SELECT u.f, %s, u.k, u.i, u.h, u.o"
    " FROM unnest(%s::uuid[], %s::text[], %s::uuid[], %s::text[], %s::boolean[]) u(f, k, i, h, o)"
)
_WORDS = (
    "UPDATE chancery.search_words w SET entries = w.entries + u.n, open = w.open + u.o"
    " FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::bigint[]) u(f, w, n, o)"
    " WHERE w.firm_id = u.f AND w.build = %s AND w.word = u.w RETURNING w.firm_id, w.word"
)
_NEW_WORDS = (
    "INSERT INTO chancery.search_words (firm_id, build, word, entries, open, keys)"
    " SELECT u.f, %s, u.w, u.n, u.o, u.k::int[]"
    " FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::bigint[], %s::text[]) u(f, w, n, o, k)"
)
_WORDS_GONE = (
    "DELETE FROM chancery.search_words w USING unnest(%s::uuid[], %s::text[]) u(f, w)"
    " WHERE w.firm_id = u.f AND w.build = %s AND w.word = u.w AND w.entries <= 0"
)


class PgStore:
    """One build of the index. `filling` is one that is not yet served."""

    def __init__(self, c: psycopg.Connection[Any], build: int, *, filling: bool = False) -> None:
        self._c = c
        self.build = build
        self.filling = filling

    @classmethod
    def live(cls, c: psycopg.Connection[Any]) -> "PgStore":
        found = c.execute("SELECT live FROM chancery.search_builds").fetchone()
        return cls(c, int(found[0]) if found else 1)

    @classmethod
    def fill(cls, c: psycopg.Connection[Any]) -> "PgStore":
        """The build being filled: taken up where it was left, or begun."""
        with c.transaction():
            found = c.execute("SELECT live, filling FROM chancery.search_builds FOR UPDATE").fetchone()
            live, filling = found or (1, None)
            if filling is None:
                filling = live + 1
                c.execute("UPDATE chancery.search_builds SET filling = %s, position = 0", (filling,))
        return cls(c, filling, filling=True)

    def position(self) -> int | None:
        """How far this build is; None when an event has stopped it, or when it is not this build's turn any more."""
        if self.filling:
            found = self._c.execute("SELECT position FROM chancery.search_builds WHERE filling = %s", (self.build,)).fetchone()
        else:
            found = self._c.execute(
                "SELECT position FROM chancery.projections WHERE name = %s AND stopped_at IS NULL"
                " AND (SELECT live FROM chancery.search_builds) = %s",
                (NAME, self.build),
            ).fetchone()
        return int(found[0]) if found else None

    def apply(self, position: int, reached: int, changes: Mapping[Key, Entry | None]) -> None:
        """Move on from one position to another with what changed between; Outrun when the build is elsewhere."""
        with self._c.transaction():
            self._c.execute(BRIEFLY)
            if self.filling:
                moved = self._c.execute(
                    "UPDATE chancery.search_builds SET position = %s WHERE filling = %s AND position = %s",
                    (reached, self.build, position),
                )
            else:
                moved = self._c.execute(
                    "UPDATE chancery.projections SET position = %s, updated_at = now() WHERE name = %s AND position = %s"
                    " AND stopped_at IS NULL AND (SELECT live FROM chancery.search_builds) = %s",
                    (reached, NAME, position, self.build),
                )
            if moved.rowcount != 1:
                raise Outrun
            self.write(changes)
            if not self.filling:
                self._c.execute("SELECT pg_notify(%s, %s)", (VIEWS_CHANNEL, f"{reached} {NAME}:postgres"))

    def write(self, changes: Mapping[Key, Entry | None]) -> None:
        """Put entries in the place of those before, or take them away, inside the caller's transaction."""
        if not changes:
            return
        keys = list(changes)
        named = _arrays(keys)
        count: Counter[tuple[UUID, str]] = Counter()
        open_count: Counter[tuple[UUID, str]] = Counter()
        for firm, words, open_words in self._c.execute(_BEFORE, [*named, self.build]).fetchall():
            count.subtract((firm, w[7:]) for w in words if w[6] == "." and analysis.edits(w[7:]))
            open_count.subtract((firm, w[7:]) for w in open_words if w[6] == "." and analysis.edits(w[7:]))
        self._c.execute(_HEADS_GONE, [*named, self.build])
        gone = [k for k, e in changes.items() if e is None]
        if gone:
            self._c.execute(_GONE, [*_arrays(gone), self.build])
        rows: list[tuple[Any, ...]] = []
        heads: list[tuple[Any, ...]] = []
        for key, entry in changes.items():
            if entry is None:
                continue
            every, open_ = lexemes(entry)
            count.update((key.firm, w) for w in every.vocabulary())
            open_count.update((key.firm, w) for w in open_.vocabulary())
            rows.append(self._row(entry, every, open_))
            if not entry.archived:
                heads += [(key.firm, key.kind, key.id, h, not entry.title_personal) for h in analysis.heads(entry.title)]
        if rows:
            self._c.execute(_UPSERT, [list(column) for column in zip(*rows, strict=True)])
        if heads:
            self._c.execute(_HEADS, [self.build, *(list(column) for column in zip(*heads, strict=True))])
        self._count(count, open_count)

    def _count(self, count: Counter[tuple[UUID, str]], open_count: Counter[tuple[UUID, str]]) -> None:
        changed = sorted(w for w in {*count, *open_count} if count[w] or open_count[w])
        if not changed:
            return
        firms, words = [f for f, _ in changed], [w for _, w in changed]
        moved = self._c.execute(_WORDS, [firms, words, [count[w] for w in changed], [open_count[w] for w in changed], self.build])
        known = set(moved.fetchall())
        new = [w for w in changed if w not in known]  # the typo keys of a word are made once, when it is new
        if new:
            keys = ["{" + ",".join(map(str, typo_keys(f, self.build, w))) + "}" for f, w in new]
            columns = [f for f, _ in new], [w for _, w in new], [count[w] for w in new], [open_count[w] for w in new]
            self._c.execute(_NEW_WORDS, [self.build, *columns, keys])
        if any(count[w] < 0 for w in changed):
            self._c.execute(_WORDS_GONE, [firms, words, self.build])

    def _row(self, e: Entry, every: Lexemes, open_: Lexemes) -> tuple[Any, ...]:
        tagged = tag(e.firm, self.build)
        made = {str(m.position): _made(m) for m in (e.made, *(t.made for t in e.texts), *((e.content.made,) if e.content else ()))}
        texts = [[t.name, t.text, not t.personal, t.made.position] for t in e.texts]
        if e.content is not None:
            texts.append(["content", None, False, e.content.made.position])
        return (
            e.firm,
            self.build,
            e.kind,
            e.id,
            e.version,
            e.made.position,
            e.made.occurred_at,
            e.archived,
            e.title,
            analysis.key(e.title),
            not e.title_personal,
            orjson.dumps(texts).decode(),
            orjson.dumps(e.facts).decode(),
            orjson.dumps(e.open_facts).decode(),
            orjson.dumps(made).decode(),
            e.body or None,
            e.unread,
            _vector(every, tagged),
            _vector(open_, tagged),
        )

    def stop(self, position: int, poison: int, error: Exception) -> None:
        """Say where an event can't be applied; nothing is applied until that is mended."""
        if self.filling:
            raise Stuck(poison) from error
        self._c.execute(
            "UPDATE chancery.projections SET stopped_at = %s, error = %s WHERE name = %s AND position = %s",
            (poison, type(error).__name__, NAME, position),
        )

    def swap(self) -> bool:
        """Let this build serve in the place of the live one, once it is exactly as far; what the other held is then taken away."""
        with self._c.transaction():
            live = self._c.execute(
                "SELECT CASE WHEN stopped_at IS NULL THEN position ELSE 0 END FROM chancery.projections WHERE name = %s FOR UPDATE",
                (NAME,),
            ).fetchone()
            mine = self._c.execute(
                "SELECT live, position FROM chancery.search_builds WHERE filling = %s FOR UPDATE", (self.build,)
            ).fetchone()
            if live is None or mine is None or live[0] > mine[1]:
                return False
            self._c.execute("UPDATE chancery.search_builds SET live = filling, filling = NULL, position = 0")
            self._c.execute(
                "UPDATE chancery.projections SET position = %s, stopped_at = NULL, error = NULL, updated_at = now() WHERE name = %s",
                (mine[1], NAME),
            )
            self._c.execute("SELECT pg_notify(%s, %s)", (VIEWS_CHANNEL, str(mine[1])))
        self.filling = False
        self.clear(mine[0])
        return True

    def give_up(self) -> None:
        """Leave off filling this build."""
        self._c.execute("UPDATE chancery.search_builds SET filling = NULL, position = 0 WHERE filling = %s", (self.build,))
        self.clear(self.build)

    def clear(self, build: int) -> None:
        """Take away what a build held."""
        for table in ("entries", "heads", "words"):
            self._c.execute(f"DELETE FROM chancery.search_{table} WHERE build = %s", (build,))

    def digest(self) -> str:
        """Depends on the contents alone, whatever build they are in."""
        import hashlib

        digest = hashlib.sha256()
        for sql in (
            "SELECT firm_id, kind, id, version, position, changed_at, archived, title, title_key, texts, facts, open_facts, made, body,"
            " (SELECT array_agg(substr(l, 7) ORDER BY substr(l, 7)) FROM unnest(tsvector_to_array(words)) l),"
            " (SELECT array_agg(substr(l, 7) ORDER BY substr(l, 7)) FROM unnest(tsvector_to_array(open_words)) l)"
            " FROM chancery.search_entries WHERE build = %s ORDER BY firm_id, kind, id",
            "SELECT firm_id, kind, head, id, open FROM chancery.search_heads WHERE build = %s ORDER BY firm_id, kind, head, id",
            "SELECT firm_id, word, entries, open FROM chancery.search_words WHERE build = %s ORDER BY firm_id, word",
        ):
            for row in self._c.execute(sql, (self.build,)):
                digest.update(repr(row).encode())
        return digest.hexdigest()


def _arrays(keys: Iterable[Key]) -> Sequence[Any]:
    every = list(keys)
    return [[k.firm for k in every], [k.kind for k in every], [k.id for k in every]]
