"""Rebuilding views from the record: a shadow is filled while the old view serves, then put in its place in one step.

B1  A reader sees the old view or the new one, whole; never neither, never a mixture.
B2  A rebuild that is stopped at any moment leaves the old view as it was; what it made is dropped by the next one.
B3  The shadow is filled by the same folding as the live view, so their digests are equal.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import orjson
import psycopg
import structlog

from infra.database import Database, letting_go
from infra.projector import shadows
from infra.projector.filling import FILL_LOCK, fill
from infra.projector.folding import Folding, fold_lines
from infra.projector.routing import Router
from infra.projector.tables import Table
from infra.record import wire
from infra.record.reader import COLUMNS, FOREIGN, EventRow, decode, fetch_keys, read_after
from infra.record.vault import Vault
from projections.kernel import VIEWS, View

log = structlog.get_logger()

BATCH = 5_000
ALONE = 20_000  # up to so many events one process fills everything
REBUILD_LOCK = 7_020_240_003
ATTEMPTS = 10
SAMPLE = 3_000  # events
MOST_PROCESSES = 6  # beyond that all wait for the largest view


class AlreadyRebuilding(Exception):
    """Another process is rebuilding views of this database. Wait until it is done."""


class RebuildFailed(Exception):
    """An event could not be applied, so the old view stays. `chancery projection list` shows where it stands."""


def rebuild(
    database: Database,
    vault: Vault,
    views: Sequence[View[Any]],
    *,
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Rebuild these views from the first event; answers the position they reached. The old ones serve until the last moment.

    As many processes fill them as are asked for; by itself one where the record is short, else nearly as many as there are cores.
    """
    with alone(database) as owner, database.connect("record") as record:
        wire.register(owner)
        names = {v.name: v.table.removeprefix("views.") for v in views}
        head = _head(record)
        groups: Sequence[Sequence[View[Any]]] = [views]
        if processes is None:
            processes = _processes() if head > ALONE else 1
        if processes > 1 and all(_declared(v) for v in views):
            groups = divided(record, vault, views, processes)
        for name in names.values():
            shadows.make(owner, name)
        if len(groups) == 1:
            say = None if progress is None else lambda position: progress(position, head)
            fill(database, vault, views, head, batch=BATCH, progress=say)
        else:
            _fill_beside(database, vault, groups, head, progress)
        late = _Late(owner, record, vault, views)
        position = late.catch_up(head)
        for _ in range(ATTEMPTS):
            with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                return _swap(owner, late, views, names, position)
            late.forget()
        raise RebuildFailed


def _processes() -> int:
    """As many as there are cores but one, which is for the database and for who reads meanwhile."""
    return max(1, min(MOST_PROCESSES, (os.cpu_count() or 1) - 1))


def _declared(view: View[Any]) -> bool:
    """Whether another process knows this view by its name."""
    known = VIEWS.get(view.name)
    return known is not None and (known.keys, known.fold, known.row, known.table) == (view.keys, view.fold, view.row, view.table)


def divided(c: psycopg.Connection[Any], vault: Vault, views: Sequence[View[Any]], parts: int) -> list[list[View[Any]]]:
    """The views in so many groups of about equal work: the rows that a sample of the record touches."""
    if parts == 1:
        return [list(views)]
    share = min(100.0, 100.0 * SAMPLE / max(_head(c), 1))
    sample = f"SELECT {COLUMNS} FROM record.events TABLESAMPLE SYSTEM (%s) LIMIT %s"
    rows = [EventRow(*row) for row in c.cursor(binary=True).execute(sample, (share, SAMPLE * 2)).fetchall()]
    rows = [row for row in rows if row.stream_type != FOREIGN]
    try:
        keys = fetch_keys(c, vault, rows)
    except psycopg.Error:
        raise
    except Exception:
        keys = {}  # whoever fills will say what is wrong with them
    weights = dict.fromkeys((v.name for v in views), 1)
    router = Router(views)
    for row in rows:
        with suppress(Exception):  # what can't be read or placed is for the filling to stop at
            for name, touched in router.route([decode(row, vault, keys)]).items():
                weights[name] += sum(len(of) for _, of in touched)
    groups: list[list[View[Any]]] = [[] for _ in range(min(parts, len(views)))]
    for v in sorted(views, key=lambda v: (-weights[v.name], v.name)):
        min(groups, key=lambda g: sum(weights[other.name] for other in g)).append(v)
    return groups


def _fill_beside(
    database: Database,
    vault: Vault,
    groups: Sequence[Sequence[View[Any]]],
    head: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Fill each group in a process of its own. They end with this one, however it ends."""
    at = [0] * len(groups)
    done = [False] * len(groups)
    children: list[subprocess.Popen[bytes]] = []
    guard = threading.Lock()

    def follow(n: int, child: "subprocess.Popen[bytes]") -> None:
        for line in child.stdout or ():
            if line.strip() == b"done":
                done[n] = True
            elif line.strip().isdigit():
                at[n] = int(line)
                with guard:
                    if progress is not None:
                        progress(min(at), head)

    try:
        followers = []
        for n, group in enumerate(groups):
            child = subprocess.Popen(
                [sys.executable, "-m", "infra.projector.filling"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                process_group=0,
            )
            children.append(child)
            order = {
                "conninfo": database.admin_conninfo(),
                "keys": str(vault.folder),
                "views": [v.name for v in group],
                "until": head,
                "batch": BATCH,
            }
            if child.stdin is not None:
                child.stdin.write(orjson.dumps(order) + b"\n")
                child.stdin.flush()
            followers.append(threading.Thread(target=follow, args=(n, child), daemon=True))
            followers[-1].start()
        for follower in followers:
            follower.join()
        if not all(done):
            raise RebuildFailed
    finally:
        for child in children:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()


class _Late:
    """Applies to the filled shadows what has come since."""

    def __init__(
        self, owner: psycopg.Connection[Any], record: psycopg.Connection[Any], vault: Vault, views: Sequence[View[Any]]
    ) -> None:
        self._owner = owner
        self._record = record
        self._vault = vault
        self._router = Router(views)
        self._foldings: dict[str, Folding[Any]] = {
            v.name: Folding(
                v, Table(v, table=v.table + shadows.SHADOW, history=v.table.replace("views.", "history.", 1) + shadows.SHADOW)
            )
            for v in views
        }

    def forget(self) -> None:
        for folding in self._foldings.values():
            folding.forget()

    def catch_up(self, position: int) -> int:
        """Everything after `position`, each batch in a transaction; answers where that leads."""
        while (after := self.apply(position)) != position:
            position = after
        return position

    def apply(self, position: int) -> int:
        """One batch after `position`; answers where that leads, `position` when nothing follows."""
        rows = read_after(self._record, position, BATCH)
        if not rows:
            return position
        wanted = [row for row in rows if self._router.wanted(row)]
        keys = fetch_keys(self._record, self._vault, wanted)
        routed = self._router.route([decode(row, self._vault, keys) for row in wanted])
        with self._owner.transaction():
            for name, touched in routed.items():
                fold_lines(self._foldings[name], self._owner, touched)
        return rows[-1].position


@contextmanager
def alone(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A connection as the owner of the tables, the only one that has shadows."""
    with psycopg.connect(database.conninfo("owner"), autocommit=True) as owner, letting_go(owner):
        # nobody else rebuilds, and nobody fills any more for a rebuild that is gone
        row = owner.execute(
            "SELECT pg_try_advisory_lock(%s) AND pg_try_advisory_lock(%s) AND pg_advisory_unlock(%s)",
            (REBUILD_LOCK, FILL_LOCK, FILL_LOCK),
        ).fetchone()
        if row is None or not row[0]:
            raise AlreadyRebuilding
        owner.execute("SET lock_timeout = '2s'")
        owner.execute("SET synchronous_commit = off")
        yield owner


def _head(c: psycopg.Connection[Any]) -> int:
    return int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])


def _swap(owner: psycopg.Connection[Any], late: _Late, views: Sequence[View[Any]], names: dict[str, str], position: int) -> int:
    """Apply what has come since, and put the shadows in the places of the views, in one transaction that holds their positions."""
    with owner.transaction():
        owner.execute("SELECT name FROM chancery.projections WHERE name = ANY(%s) ORDER BY name FOR UPDATE", (list(names),))
        reached = late.catch_up(position)
        for v in views:
            shadows.take_over(owner, names[v.name])
            owner.execute(
                "INSERT INTO chancery.projections (name, version, position) VALUES (%s, %s, %s) ON CONFLICT (name) DO UPDATE"
                " SET version = excluded.version, position = excluded.position, stopped_at = NULL, error = NULL, updated_at = now()",
                (v.name, v.version, reached),
            )
        owner.execute("SELECT pg_notify('chancery_views', %s)", (str(reached),))
    log.info("projection.rebuilt", views=sorted(names), position=reached)
    return reached
