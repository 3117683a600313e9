"""A private database on disk, deleted by closing it, that groups more rows than memory holds."""

import sqlite3
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import orjson

BATCH = 2_000


class Spill:
    """Rows put in one by one, taken out by group: groups in order of first appearance, rows in the order they came."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("")
        for line in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-32768", "temp_store=FILE"):
            self._db.execute(f"PRAGMA {line}")
        self._db.execute("CREATE TABLE rows (seq INTEGER PRIMARY KEY, name TEXT, line INTEGER, data BLOB)")
        self._batch: list[tuple[str, int, bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._db.close()

    def add(self, name: str, line: int, *data: Any) -> None:
        self._batch.append((name, line, orjson.dumps(data)))
        if len(self._batch) >= BATCH:
            self._flush()

    def groups(self, most: int) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
        """(name, [(line, *data), …]); of a group at most `most` rows."""
        self._flush()
        rows = self._db.execute(
            "SELECT r.name, r.line, r.data FROM rows r JOIN (SELECT name, min(seq) AS first FROM rows GROUP BY name) g USING (name) "
            "ORDER BY g.first, r.seq"
        )
        current: str | None = None
        group: list[tuple[Any, ...]] = []
        for name, line, data in rows:
            if name != current:
                if current is not None:
                    yield current, group
                current, group = name, []
            if len(group) < most:
                group.append((line, *orjson.loads(data)))
        if current is not None:
            yield current, group

    def _flush(self) -> None:
        self._db.executemany("INSERT INTO rows (name, line, data) VALUES (?, ?, ?)", self._batch)
        self._batch = []
