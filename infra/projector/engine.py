"""Applying the record to the views, exactly once, whoever else runs.

J1  A view's rows and its position change in one transaction, the position by compare-and-set: a rival's batch is undone whole.
J2  A poisoned event stops its view, loudly and with the event's position, and no other view.
J3  Redelivery changes nothing: what is at or before the position is never applied again.
J4  A view that is ahead of the record (a restore lost events it has seen) stops, loudly; it is rebuilt, never trusted.
"""

import functools
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Event
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import structlog

from infra.database import Database, interrupted
from infra.projector.filling import uncollected
from infra.projector.folding import MOST_LINES, MOST_LINES_IN_ALL, Folding, Poisoned
from infra.projector.rebuild import rebuild
from infra.projector.routing import CannotSay, Router
from infra.projector.tables import Key, Slice, Table, Write
from infra.record import wire
from infra.record.appender import CHANNEL
from infra.record.reader import COLUMNS, EventRow, decode, fetch_keys, replay_batches
from infra.record.vault import Vault
from projections.kernel import VIEWS, Recorded, View

log = structlog.get_logger()

VIEWS_CHANNEL = "chancery_views"
BATCH = 1_000
FEW = 50  # events that are written while they are folded; views are held for so long
LOOK_SECONDS = 1.0  # after so long it is asked whether a view has been stopped, resumed or made anew

BEGIN = wire.Statement(b"projector_begin", b"BEGIN")
COMMIT = wire.Statement(b"projector_commit", b"COMMIT")
AFTER = wire.Statement(
    b"projector_after", f"SELECT {COLUMNS} FROM record.events WHERE position > $1 ORDER BY position LIMIT $2".encode(), (20, 20)
)
ROLLBACK = wire.Statement(b"projector_rollback", b"ROLLBACK")  # psycopg's own would drop all prepared statements
NOTIFY = wire.Statement(b"projector_notify", b"SELECT pg_notify($1, $2)", (25, 25))
MOVE = wire.Statement(
    b"projector_move",
    b"WITH moved AS (UPDATE chancery.projections p SET position = $4, updated_at = now()"
    b" FROM unnest($1::text[], $2::bigint[], $3::bigint[], $5::bigint[]) u(name, position, version, edition)"
    b" WHERE p.name = u.name AND p.position = u.position AND p.version = u.version AND p.edition = u.edition AND p.stopped_at IS NULL"
    b" AND (SELECT pg_advisory_xact_lock($6) IS NOT NULL) RETURNING 1)"  # first of all: two that have the same views go one by one
    b" SELECT 1 / (count(*) = cardinality($1))::int FROM moved",  # fails unless all were moved: then nothing behind it is done
    (1009, 1016, 1016, 20, 1016, 20),
)


@functools.lru_cache(maxsize=1_000)
def _named(names: tuple[str, ...]) -> tuple[bytes, bytes]:
    """The names of views, and the lock of whoever moves just these. Two of other divisions may wait for each other in a ring: then the
    server lets one of them begin again."""
    return wire.texts(names), hashlib.sha256(" ".join(names).encode()).digest()[:8]


class Outrun(Exception):
    """Another projector moved this view on; its batch stands and ours is undone."""


class _Moves(NamedTuple):
    """Views that move from their positions to one, each of a version and an edition."""

    names: tuple[str, ...]
    positions: Sequence[int]
    versions: Sequence[int]
    editions: Sequence[int]
    reached: int


class _Moving:
    """A transaction that moves views on and writes their rows; the server begins at once where nothing else is asked meanwhile."""

    def __init__(self, pipe: wire.Pipe, moves: _Moves, *, at_once: bool) -> None:
        self._pipe = pipe
        self._moves = moves
        self._at_once = at_once
        self._touched: list[str] = []
        self._unsent = 0
        names, lock = _named(moves.names)
        pipe.add(BEGIN)
        pipe.add(
            MOVE,
            names,
            wire.int8s(moves.positions),
            wire.int8s(moves.versions),
            wire.int8(moves.reached),
            wire.int8s(moves.editions),
            lock,
        )
        if at_once:
            pipe.push()

    def write(self, name: str, writes: Sequence[Write]) -> None:
        """Rows of one view."""
        self._touched.append(name)
        for statement, values in writes:
            self._pipe.add(statement, *values)
        self._unsent += len(writes)
        if self._at_once and self._unsent > 2:  # to hand over costs as much as it takes to fold a row
            self._pipe.push()
            self._unsent = 0

    def commit(self) -> None:
        """Let it stand, and say so with the views whose rows changed before the others. Outrun or Poisoned when it can't."""
        others = set(self._moves.names).difference(self._touched)
        said = f"{self._moves.reached} {' '.join(self._touched)} | {' '.join(sorted(others))}"
        self._pipe.add(NOTIFY, VIEWS_CHANNEL.encode(), said.encode())
        self._pipe.add(COMMIT)
        try:
            self._pipe.send()
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise
        except psycopg.errors.DivisionByZero:
            raise Outrun from None
        except Exception as e:
            raise Poisoned(self._moves.names[0], None, e) from e

    def give_up(self) -> None:
        """Undo it, whatever became of it."""
        with suppress(psycopg.DatabaseError):
            self._pipe.send()  # what was put in and not yet answered
        self._pipe.ask(ROLLBACK)


class Projector:
    """Keeps a set of views up to date. One thread or process runs it; a second one by mistake does no harm."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        views: Sequence[View[Any]] | None = None,
        batch: int = BATCH,
        process: str = "",
    ) -> None:
        """`process` is what `status` calls whoever runs this."""
        self._database = database
        self._vault = vault
        self._views = {v.name: v for v in (views if views is not None else VIEWS.values())}
        self._foldings: dict[str, Folding[Any]] = {name: Folding(v, Table(v)) for name, v in self._views.items()}
        self._editions: dict[str, int] = {}
        self._held: dict[str, int] = {}  # the position at which a view's rows in memory are good
        self._router = Router(self._views.values())
        self._batch = batch
        self._process = process
        self._stands: dict[str, int] | None = None  # where the views stood last, by our own doing
        self._looked = 0.0
        self._beside: psycopg.Connection[Any] | None = None  # where few events are written while `c` reads

    def run(self, stop: Event, *, progress: Callable[[int], None] | None = None) -> None:
        """Catch up and follow the record until told to stop; the database may go away and come back."""
        pause = 0.1
        while not stop.is_set():
            try:
                with (
                    self._database.connect("record", writing=True) as c,
                    self._database.connect("record", writing=True) as beside,
                    self._database.connect("record") as listening,
                ):
                    wire.register(c)
                    for writing in (c, beside):  # a lost batch is applied again: rows and position go together
                        writing.execute("SET synchronous_commit = off")
                    listening.execute(f"LISTEN {CHANNEL}")
                    self._beside = beside
                    self.forget()
                    self.prepare(c)
                    pause = 0.1
                    woken = False
                    while not stop.is_set():
                        reached = self.catch_up(c, stop, fresh=not woken)
                        if progress is not None:
                            progress(reached)
                        woken = _woken(listening, reached, stop)
            except psycopg.Error as e:  # what an event causes is Poisoned; this is the connection or the server
                self._beside = None
                interrupted(log, "projector.interrupted", e)
                stop.wait(pause)
                pause = min(pause * 2, 5.0)

    def prepare(self, c: psycopg.Connection[Any]) -> None:
        """Give every view a position; a view whose version rose is rebuilt while the old one serves."""
        renewed: list[View[Any]] = []
        for name, v in self._views.items():
            with c.transaction():
                c.execute(
                    "INSERT INTO chancery.projections (name, version) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING",
                    (name, v.version),
                )
                found = c.execute("SELECT version FROM chancery.projections WHERE name = %s", (name,)).fetchone()
                if found is not None and found[0] != v.version:
                    renewed.append(v)
        if renewed:
            rebuild(self._database, self._vault, renewed)
        c.execute("UPDATE chancery.projections SET process = %s WHERE name = ANY(%s)", (self._process, list(self._views)))
        ahead = c.execute(
            "UPDATE chancery.projections SET stopped_at = position, error = 'AheadOfRecord' WHERE name = ANY(%s)"
            " AND stopped_at IS NULL AND position > (SELECT position FROM record.head) RETURNING name, position",
            (list(self._views),),
        )
        for name, position in ahead.fetchall():
            log.error("projection.stopped", view=name, position=position, error="AheadOfRecord")
        c.execute("SELECT pg_notify(%s, '')", (VIEWS_CHANNEL,))  # there may be views nobody has heard of

    def positions(self, c: psycopg.Connection[Any]) -> dict[str, int]:
        """Where each view of ours stands that has not stopped, in one order for all projectors, so that they never deadlock."""
        found = c.execute(
            "SELECT name, position, edition FROM chancery.projections WHERE name = ANY(%s) AND stopped_at IS NULL ORDER BY name",
            (list(self._views),),
        ).fetchall()
        for name, _, edition in found:
            if (
                self._editions.get(name) != edition
            ):  # rows were made anew behind our back (an erasure): those in memory are worth nothing
                self._foldings[name].forget()
                self._held.pop(name, None)
                self._editions[name] = edition
        return {name: position for name, position, _ in found}

    def forget(self) -> None:
        """Drop the rows in memory: it is not known any more that they are those of the database."""
        self._stands = None
        self._held.clear()
        for folding in self._foldings.values():
            folding.forget()

    def _standing(self, c: psycopg.Connection[Any]) -> dict[str, int]:
        """Where the views stand, without asking when we moved them last: if another did since, our next move fails."""
        if self._stands is None or time.monotonic() - self._looked > LOOK_SECONDS:
            self._stands = self.positions(c)
            self._looked = time.monotonic()
        return dict(self._stands)

    def catch_up(self, c: psycopg.Connection[Any], stop: Event | None = None, *, fresh: bool = True) -> int:
        """Apply everything there is; answers the lowest position reached. Unless `fresh`, where the views stand may be known, and what was
        recorded since the last batch was read is left to the next call: a notice of it is on its way."""
        smooth = True
        if fresh:
            self._stands = None
        while stop is None or not stop.is_set():
            positions = self._standing(c)
            if not positions:
                return 0
            lowest = min(positions.values())
            rows = _next(c, lowest, self._batch)
            if not rows:
                return lowest
            if smooth and len(rows) == self._batch and lowest == max(positions.values()):
                smooth = self._stream(c, positions, stop)
                self._stands = None
                continue
            smooth = True
            events, unreadable = self._decode(c, rows)
            reached = rows[-1].position
            if unreadable is not None:  # nobody can read it: what came before is applied, then every view stops at it
                at, e = unreadable
                if at == rows[0].position:
                    for name, position in positions.items():
                        if position < at:
                            self._stop(c, name, position, at, e)
                reached = at - 1
            self.apply(c, {name: p for name, p in positions.items() if p < reached}, events, reached)
            if not fresh and len(rows) < self._batch and self._stands and min(self._stands.values()) == reached:
                return reached
        return 0

    def _decode(self, c: psycopg.Connection[Any], rows: Sequence[EventRow]) -> tuple[list[Recorded], tuple[int, Exception] | None]:
        """The events that any of our views may want, up to the first that can't be read; its position and why."""
        wanted = [row for row in rows if self._router.wanted(row)]
        keys = fetch_keys(c, self._vault, wanted)
        events: list[Recorded] = []
        for row in wanted:
            try:
                events.append(decode(row, self._vault, keys))
            except Exception as e:
                return events, (row.position, e)
        return events, None

    def _stream(self, c: psycopg.Connection[Any], positions: dict[str, int], stop: Event | None) -> bool:
        """Far behind: fold one batch while the one before is written. Answers whether it came to the end without trouble.

        In trouble it stops where the last whole batch was written; going on step by step finds out what the trouble is.
        """
        before: Future[None] | None = None

        def settled() -> None:
            if before is not None:
                before.result()

        with (
            uncollected() as swept,
            self._database.connect("record", writing=True) as writing,
            ThreadPoolExecutor(1, "writer") as writer,
        ):
            batches = replay_batches(c, self._vault, min(positions.values()), 2**62, self._batch, wanted=self._router.wants)
            try:
                for events, reached in batches:
                    folded = dict(self._folded(c, positions, events, reached, settled))
                    settled()
                    before = writer.submit(self._write, writing, positions, reached, folded)
                    positions = dict.fromkeys(positions, reached)
                    swept()
                    if stop is not None and stop.is_set():
                        break
                settled()
                return True
            except psycopg.Error:
                self.forget()
                raise
            except Exception:  # an event that can't be read or applied, or another projector: step by step it shows which
                self.forget()
                with suppress(Outrun, Poisoned):
                    settled()
                return False
            except BaseException:
                self.forget()
                raise

    def apply(self, c: psycopg.Connection[Any], positions: dict[str, int], events: Sequence[Recorded], reached: int) -> None:
        """Apply a batch that ends at `reached` to these views: all in one transaction, or each in its own when one of them fails."""
        if not positions:
            return
        try:
            self._apply(c, positions, events, reached)
        except Outrun:
            time.sleep(0.01)
        except Poisoned:
            for name, position in positions.items():
                self._apply_alone(c, name, position, events, reached)

    def _apply(self, c: psycopg.Connection[Any], positions: dict[str, int], events: Sequence[Recorded], reached: int) -> None:
        """All or nothing. Of a few events the server writes one view's rows while the next view's are folded."""
        beside = self._beside if len(events) <= FEW else None
        moving = _Moving(wire.pipe(beside or c), self._moves(positions, reached), at_once=beside is not None)
        try:
            for name, writes in self._folded(c, positions, events, reached):
                moving.write(name, writes)
            moving.commit()
        except BaseException as e:
            self.forget()
            if not isinstance(e, (psycopg.OperationalError, psycopg.InterfaceError)):
                moving.give_up()
            raise
        if self._stands is not None:
            self._stands.update(dict.fromkeys(positions, reached))

    def _folded(
        self,
        c: psycopg.Connection[Any],
        positions: dict[str, int],
        events: Sequence[Recorded],
        reached: int,
        settled: Callable[[], None] = lambda: None,
    ) -> Iterator[tuple[str, list[Write]]]:
        """What events make of views that stand at these positions, as statements. `settled` waits for what is being written.

        Rows are read before the positions are known to be true: when another projector has moved a view on meanwhile, what comes of it
        is worth nothing, and the transaction refuses it.
        """
        try:
            router = self._router if len(positions) > 1 else Router([self._views[name] for name in positions])
            routed = router.route(events)
        except CannotSay as e:
            raise Poisoned(e.view, e.position, e.error) from e
        active = sum(1 for f in self._foldings.values() if f.lines) or 1
        most = min(MOST_LINES, MOST_LINES_IN_ALL // active)
        for name, position in positions.items():
            folding = self._foldings[name]
            if self._held.get(name) != position:
                folding.forget()
            self._held[name] = reached
            touched = routed.get(name)
            if touched and touched[0][0].position <= position:
                touched = [t for t in touched if t[0].position > position]
            if not touched:
                continue
            table = folding.table

            def believed(key: Key, table: Table[Any] = table) -> list[Slice[Any]]:
                settled()
                return table.believed(c, key)

            def fetch(keys: Sequence[Key], gone: Sequence[Key], table: Table[Any] = table) -> dict[Key, Slice[Any]]:
                return table.load(c, keys, gone=gone)

            yield name, folding.writing(folding.fold(touched, fetch, believed))
            folding.trim(most)

    def _moves(self, positions: dict[str, int], reached: int) -> "_Moves":
        names = tuple(sorted(positions))
        editions, versions = self._editions, self._views
        return _Moves(
            names, [positions[n] for n in names], [versions[n].version for n in names], [editions.get(n, 0) for n in names], reached
        )

    def _write(
        self, c: psycopg.Connection[Any], positions: dict[str, int], reached: int, folded: Mapping[str, Sequence[Write]]
    ) -> None:
        """Move the views from these positions and write their rows, in one transaction."""
        moving = _Moving(wire.pipe(c), self._moves(positions, reached), at_once=False)
        try:
            for name, writes in folded.items():
                moving.write(name, writes)
            moving.commit()
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise
        except Exception:
            moving.give_up()
            raise

    def _apply_alone(self, c: psycopg.Connection[Any], name: str, position: int, events: Sequence[Recorded], reached: int) -> None:
        """Apply as much of the batch as goes; when its first event is the one that does not, the view stops."""
        batch = [e for e in events if e.position > position]
        while True:
            try:
                self._apply(c, {name: position}, batch, reached)
            except Outrun:
                pass
            except Poisoned as e:
                if e.position is not None and e.position > batch[0].position:
                    batch = [r for r in batch if r.position < e.position]
                elif e.position is None and len(batch) > 1:
                    batch = batch[: len(batch) // 2]
                else:
                    self._stop(c, name, position, batch[0].position, e.error)
                    return
                reached = batch[-1].position
                continue
            return

    def _stop(self, c: psycopg.Connection[Any], name: str, position: int, poison: int, error: Exception) -> None:
        stopped = c.execute(
            "UPDATE chancery.projections SET stopped_at = %s, error = %s WHERE name = %s AND position = %s AND stopped_at IS NULL",
            (poison, type(error).__name__, name, position),
        )
        self._stands = None
        if stopped.rowcount:
            log.error("projection.stopped", view=name, position=poison, error=type(error).__name__)


def _woken(listening: psycopg.Connection[Any], reached: int, stop: Event) -> bool:
    """Wait for a notice of something beyond `reached`; whether one came before it was time to look anyway."""
    while not stop.is_set():
        told = [n.payload for n in listening.notifies(timeout=LOOK_SECONDS / 2, stop_after=1)]
        if not told:
            return False
        if any(not at.isdigit() or int(at) > reached for at in told):
            return True
    return False


def _next(c: psycopg.Connection[Any], position: int, limit: int) -> list[EventRow]:
    """The rows that follow on the record. What `read_after` answers, in half the time where it is a single one."""
    found = wire.drive(wire.pipe(c).asking(AFTER, wire.int8(position), wire.int8(limit)), c.pgconn.socket)
    get, out = found.get_value, []
    for n in range(found.ntuples):
        at, firm, firm_at, kind, stream, version, event, type, recorded, occurred, command, public, sealed = [
            get(n, i) or b"" for i in range(13)
        ]
        out.append(
            EventRow(
                wire.read_int8(at), UUID(bytes=firm), wire.read_int8(firm_at), kind.decode(), UUID(bytes=stream), wire.read_int8(version),
                UUID(bytes=event), type.decode(), wire.moment(recorded), wire.moment(occurred), UUID(bytes=command), public, sealed or None,
            )
        )  # fmt: skip
    return out
