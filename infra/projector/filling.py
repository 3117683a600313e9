"""Filling the shadows of some views from the record: each row is packed once and copied once.

Rows stay in memory until others push them out; only then are they written, so that a row that changes a hundred times is copied a
hundred times to its history and once to its table. One batch is folded while the one before is copied.

`python -m infra.projector.filling` fills for a rebuild that has given it its views over standard input; it ends when that closes.
"""

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psycopg

from infra.database import Database, letting_go
from infra.projector import shadows
from infra.projector.folding import Folding, Line
from infra.projector.routing import Router
from infra.projector.tables import Key, Shadow, Slice, Write, run
from infra.projector.written import WrittenOut
from infra.record import wire
from infra.record.reader import replay_batches
from infra.record.vault import Vault
from projections.kernel import VIEWS, View

FILL_LOCK = 7_020_240_004  # shared by everyone who fills; a rebuild starts when nobody does
LINES = 200_000  # rows in memory, of all views
SWEEP = 50  # batches between two collections of what is new
SWEEP_ALL = 200  # and of everything


class _Filling:
    """One view."""

    def __init__(self, view: View[Any]) -> None:
        self.name = view.table.removeprefix("views.")
        self.table: Shadow[Any] = Shadow(
            view, table=f"views.{self.name}{shadows.SHADOW}", history=f"history.{self.name}{shadows.SHADOW}"
        )
        self.folding: Folding[Any] = Folding(view, self.table)
        self.out = WrittenOut()
        self.keyed = False

    def superseded(self, lines: Sequence[Line[Any]]) -> tuple[list[bytes], list[Write]]:
        """What a batch adds to the history, and what it changes there."""
        rows: list[bytes] = []
        kept: list[tuple[Key, Slice[Any]]] = []
        for line in lines:
            like: Slice[Any] | None = None
            for s in line.closed:
                if s.kept:
                    kept.append((line.key, s))
                else:
                    self.table.pack(s, like)
                    rows.append(self.table.copied(line.key, s, superseded=True))
                    like = s
            if like is not None and line.current is not None:
                self.table.pack(line.current, like)  # what it shares need not be packed again
        writes = self.table.amending(kept)
        for line in lines:
            line.written()
        return rows, writes

    def pushed_out(self, lines: Sequence[Line[Any]], *, last: bool = False) -> tuple[list[bytes], list[bytes]]:
        """The rows of lines that leave memory, for the table and for the history; the last ones nobody will ask for again."""
        current: list[bytes] = []
        gone: list[bytes] = []
        for line in lines:
            if not last and not self.folding.view.once:
                self.out.add(line.key)
            if line.current is not None:
                to = gone if line.current.row is None else current
                to.append(self.table.copied(line.key, line.current, superseded=line.current.row is None))
        return current, gone


Copy = tuple[str, list[bytes]]


@contextmanager
def uncollected() -> Iterator[Callable[[], None]]:
    """Rows and slices make no cycles: looking for some among hundreds of thousands of them takes a third of the time.

    What else makes some, as clients of databases do, is looked for among what is new when the function given is called: after each batch.
    """
    was = gc.isenabled()
    batches = 0

    def swept() -> None:
        nonlocal batches
        batches += 1
        if not batches % SWEEP:
            gc.collect(0 if batches % SWEEP_ALL else 2)

    gc.disable()
    try:
        yield swept
    finally:
        if was:
            # All there is counts as old from here, what a process froze at its start too: looking through it now would take long.
            gc.freeze()
            gc.unfreeze()
            gc.enable()


@contextmanager
def _writing(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A connection as the owner of the tables, that keeps others from making new ones."""
    with psycopg.connect(database.conninfo("owner"), autocommit=True) as c, letting_go(c):
        c.execute("SELECT pg_advisory_lock_shared(%s)", (FILL_LOCK,))
        c.execute("SET synchronous_commit = off")
        c.execute("SET maintenance_work_mem = '256MB'")
        wire.register(c)
        yield c


def fill(
    database: Database,
    vault: Vault,
    views: Sequence[View[Any]],
    until: int,
    *,
    batch: int,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Fill the empty shadows of these views with the record up to a position, and index them."""
    fillings = {v.name: _Filling(v) for v in views}
    router = Router(views)
    with (
        uncollected() as swept,
        _writing(database) as writing,
        database.connect("record") as record,
        ThreadPoolExecutor(1, "copy") as writer,
    ):
        before: Future[None] | None = None

        def settled() -> None:
            if before is not None:
                before.result()

        for events, position in replay_batches(record, vault, 0, until, batch, wanted=router.wants):
            routed = router.route(events)
            copies: list[Copy] = []
            writes: list[Write] = []
            superseded: list[bytes] = []
            amended: list[Write] = []
            active = sum(1 for f in fillings.values() if f.folding.lines) or 1
            for name, touched in routed.items():
                f = fillings[name]
                lines = f.folding.fold(touched, *_reads(f, writing, settled))
                if f.folding.view.once:
                    superseded, amended = [], []
                    current, gone = f.pushed_out(lines)
                else:
                    superseded, amended = f.superseded(lines)
                    current, gone = f.pushed_out(f.folding.trim(LINES // active))
                copies += [(f.table.copy_current, current), (f.table.copy_history, superseded + gone)]
                writes += amended
            settled()
            before = writer.submit(_write, writing, copies, writes)
            swept()
            if progress is not None:
                progress(position)
        settled()
        for f in fillings.values():
            current, gone = f.pushed_out(list(f.folding.lines.values()), last=True)
            f.folding.forget()
            _write(writing, [(f.table.copy_current, current), (f.table.copy_history, gone)], [])
            for schema in shadows.SCHEMAS:
                shadows.add_key(writing, schema, f.name)
                shadows.add_indexes(writing, schema, f.name)


def _reads(f: _Filling, writing: psycopg.Connection[Any], settled: Callable[[], None]) -> Any:
    """How folding reads what is no longer in memory: after everything has been written, by keys that are made when first needed."""

    def keyed() -> None:
        settled()
        if not f.keyed:
            for schema in shadows.SCHEMAS:
                shadows.add_key(writing, schema, f.name)
            f.keyed = True

    def fetch(keys: Sequence[Key], _gone: Sequence[Key]) -> Mapping[Key, Slice[Any]]:
        there = [k for k in keys if k in f.out]
        if not there:
            return {}
        keyed()
        return f.table.take(writing, there)

    def believed(key: Key) -> list[Slice[Any]]:
        keyed()
        return f.table.believed(writing, key)

    return fetch, believed


def _write(c: psycopg.Connection[Any], copies: Sequence[Copy], writes: Sequence[Write]) -> None:
    for copy_sql, rows in copies:
        if rows:
            with c.cursor().copy(copy_sql) as copy:
                copy.write(b"".join((wire.COPY_HEADER, *rows, wire.COPY_END)))
    if writes:
        run(c, writes)


def main() -> None:
    """Fill as told by one line of JSON on standard input; say each position reached, and `done`."""
    order = orjson.loads(sys.stdin.buffer.readline())

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        os._exit(1)

    from infra import registry

    registry.load()
    threading.Thread(target=end_with_parent, daemon=True).start()
    fill(
        Database(order["conninfo"]),
        Vault(Path(order["keys"])),
        [VIEWS[name] for name in order["views"]],
        order["until"],
        batch=order["batch"],
        progress=lambda position: print(position, flush=True),  # noqa: T201 - the parent reads it
    )
    print("done", flush=True)  # noqa: T201
    os._exit(0)


if __name__ == "__main__":
    main()
