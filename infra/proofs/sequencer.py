"""The sequencer: builds each firm's tree from its record, in order, and signs what it has built.

LG10  Each event is one leaf, once, at its place in the firm's order; a place that is missing or differs stops the firm's log, loudly.
LG11  Tiles, size and checkpoint move in one transaction, by compare-and-set on the size: whoever else runs, a log never forks.
LG12  Two checkpoints of one log are always consistent, through crash, restore and failover: before anything is signed, the store is
      compared with what was signed last, which stands outside it.

A firm whose log is stopped stops nobody else. Every start examines stopped logs anew.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import psycopg
import structlog

from infra.database import BRIEFLY, Database, interrupted
from infra.followers import Progress
from infra.projector.engine import VIEWS_CHANNEL
from infra.proofs.checkpoints import Checkpoint, opened
from infra.proofs.examining import ALTERED, BEHIND, HASHES, ROTATED, LogStopped, State, examine, leaf_hashes, logs_of
from infra.proofs.notes import Signer
from infra.proofs.signing import Signed, SigningKeys
from infra.proofs.store import Log
from infra.proofs.tiles import WIDTH, Coordinate, Growing
from infra.proofs.tree import root
from infra.record.appender import CHANNEL

log = structlog.get_logger()

NAME = "log"
VERSION = 1
BATCH = 20_000  # leaves of one transaction
FIRMS = 500  # logs of one transaction
STATES = 2_000
GATHER_SECONDS = 0.2  # between two rounds: what comes meanwhile shares a checkpoint
KEEP = timedelta(hours=1)  # between two checkpoints that are kept

_BEHIND = (
    "SELECT h.firm_id, h.firm_position FROM record.firm_heads h LEFT JOIN chancery.logs l USING (firm_id)"
    " WHERE h.firm_position <> coalesce(l.size, 0) AND l.stopped IS NULL ORDER BY l.signed_at NULLS FIRST, h.firm_id"
)
_BEGIN_LOG = "INSERT INTO chancery.logs (firm_id, origin, vkey) SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[]) ON CONFLICT DO NOTHING"
_TILES = (
    "INSERT INTO chancery.log_tiles AS t (firm_id, level, place, hashes)"
    " SELECT * FROM unnest(%s::uuid[], %s::smallint[], %s::bigint[], %s::bytea[])"
    " ON CONFLICT (firm_id, level, place) DO UPDATE SET hashes = excluded.hashes"
)
_MOVE = (
    "UPDATE chancery.logs l SET size = n.size, position = n.position, vkey = n.vkey, note = n.note, signed_at = %s"
    " FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::text[], %s::text[]) n(firm, size, position, vkey, note)"
    " WHERE l.firm_id = n.firm"
)
_KEEP = (
    "INSERT INTO chancery.log_checkpoints (firm_id, origin, size, note, signed_at)"
    " SELECT *, %s FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::text[]) ON CONFLICT DO NOTHING"
)
_KEY = (
    "INSERT INTO chancery.log_keys (firm_id, vkey, from_size, note, since)"
    " SELECT *, %s FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::text[]) ON CONFLICT DO NOTHING"
)
_ALL_TILES = (
    "SELECT l.origin, t.level::int, t.place, t.hashes FROM chancery.log_tiles t JOIN chancery.logs l USING (firm_id)"
    " ORDER BY l.origin, t.level, t.place"
)
_FIRST_UNSEQUENCED = (
    "SELECT min(e.position) AS first FROM record.firm_heads h LEFT JOIN chancery.logs l USING (firm_id), LATERAL (SELECT e.position"
    " FROM record.events e WHERE e.firm_id = h.firm_id AND e.firm_position = coalesce(l.size, 0) OFFSET 0) e"
    " WHERE h.firm_position > coalesce(l.size, 0) AND l.stopped IS NULL"
)


@dataclass(slots=True)
class _Step:
    """What a batch adds to one log."""

    state: State
    before: int
    position: int
    tiles: dict[Coordinate, bytes]
    checkpoint: Checkpoint
    note: str
    signer: Signer
    handed_over: bool = False


@dataclass(slots=True)
class _Leaves:
    hashes: list[bytes] = field(default_factory=list)
    position: int = 0
    rotation: dict[str, str] | None = None


@contextmanager
def _snapshot(c: psycopg.Connection[Any]) -> Iterator[None]:
    """One moment of the store for several reads."""
    with c.transaction():
        c.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


class Sequencer:
    """A follower of the record. One process runs it; a second one, by mistake, finds its work done and does no harm."""

    name = NAME

    def __init__(
        self,
        database: Database,
        keys: SigningKeys,
        signed: Signed,
        *,
        origin: str = "chancery",
        batch: int = BATCH,
        gather: float = GATHER_SECONDS,
    ) -> None:
        self._database = database
        self._keys = keys
        self._signed = signed
        self._origin = origin
        self._batch = batch
        self._gather = gather
        self._states: OrderedDict[UUID, State] = OrderedDict()

    # --- following

    def run(self, stop: threading.Event) -> None:
        """Catch up and follow until told to stop; the database may go away and come back."""
        pause = 0.1
        while not stop.is_set():
            try:
                with self._database.connect("record") as c, self._database.connect("record") as listening:
                    listening.execute(f"LISTEN {CHANNEL}")
                    self.prepare(c)
                    pause = 0.1
                    while not stop.is_set():
                        done = self.catch_up(c, stop, paced=True)
                        if done:
                            stop.wait(self._gather)
                        for _ in listening.notifies(timeout=0 if done else 0.5, stop_after=1):
                            pass
            except psycopg.Error as e:
                self._states.clear()
                interrupted(log, "log.interrupted", e)
                stop.wait(pause)
                pause = min(pause * 2, 5.0)

    def prepare(self, c: psycopg.Connection[Any]) -> None:
        """Examine every log before anything is signed; those that were stopped go on when nothing is wrong with them any more."""
        self._states.clear()
        self._keys.reload()
        c.execute("INSERT INTO chancery.projections (name, version) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING", (NAME, VERSION))
        firms = [firm for (firm,) in c.execute("SELECT firm_id FROM chancery.logs ORDER BY firm_id").fetchall()]
        for at in range(0, len(firms), FIRMS):
            good = list(self._load(c, firms[at : at + FIRMS], again=True))
            c.execute("UPDATE chancery.logs SET stopped = NULL WHERE firm_id = ANY(%s) AND stopped IS NOT NULL", (good,))
        self._tell(c, 0)

    def catch_up(self, c: psycopg.Connection[Any], stop: threading.Event | None = None, *, paced: bool = False) -> int:
        """Sequence everything there is; answers how many leaves that were. `paced` leaves what came meanwhile to the next call."""
        done = 0
        while stop is None or not stop.is_set():
            head = int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])
            behind: list[tuple[UUID, int]] = c.execute(_BEHIND, binary=True).fetchall()
            if not behind:
                if done or self._stands_at(c) != head:
                    self._tell(c, head)
                return done
            leaves = self._round(c, behind)
            done += leaves
            lost = leaves == 0 and all(f not in self._states for f, _ in behind)  # stopped, or another sequencer was faster
            if lost or (paced and leaves < self._batch and len(behind) <= FIRMS):
                self._tell(c, head)
                return done
        return done

    def _stands_at(self, c: psycopg.Connection[Any]) -> int:
        row = c.execute("SELECT position FROM chancery.projections WHERE name = %s", (NAME,)).fetchone()
        return int(row[0]) if row else -1

    def _tell(self, c: psycopg.Connection[Any], head: int) -> None:
        """Show how far all logs are, up to a position at which there was nothing more, and whether one has stopped."""
        stopped = c.execute("SELECT firm_id FROM chancery.logs WHERE stopped IS NOT NULL LIMIT 1").fetchone()
        c.execute(
            "UPDATE chancery.projections SET position = greatest(position, least(%s, (SELECT coalesce(first - 1, %s) FROM"
            f" ({_FIRST_UNSEQUENCED}) f))), error = %s, updated_at = now(), version = %s WHERE name = %s",
            (
                head,
                head,
                None if stopped is None else f"the log of firm {stopped[0]} has stopped: chancery log status",
                VERSION,
                NAME,
            ),
        )
        c.execute("SELECT pg_notify(%s, %s)", (VIEWS_CHANNEL, str(head)))

    # --- one batch

    def _round(self, c: psycopg.Connection[Any], behind: Sequence[tuple[UUID, int]]) -> int:
        """One transaction's worth of leaves; how many there were."""
        chosen = behind[:FIRMS]
        heads = dict(chosen)
        states = self._load(c, list(heads))
        for firm in [f for f, state in states.items() if heads[f] <= state.growing.size]:
            # Another sequencer was faster, or events are gone: if they are, the log is found out when it is read again.
            del states[firm]
            self._states.pop(firm, None)
        share = max(self._batch // max(len(states), 1), WIDTH)
        steps = []
        for firm, found in self._leaves(c, states, heads, share).items():
            try:
                steps.append(self._step(states[firm], found, heads[firm]))
            except LogStopped as e:
                self._stop(c, firm, str(e))
        try:
            return self._write(c, steps)
        except psycopg.IntegrityError as e:
            for s in steps:
                self._states.pop(s.state.log.firm, None)
            if len(steps) == 1:
                self._stop(
                    c, steps[0].state.log.firm, "its tiles in the store differ from what its record makes; run `chancery doctor`"
                )
                log.error("log.not_written", error=type(e).__name__)
                return 0
            return sum(self._round(c, [(s.state.log.firm, heads[s.state.log.firm])]) for s in steps)
        except psycopg.Error:
            self._states.clear()
            raise

    def _leaves(
        self, c: psycopg.Connection[Any], states: Mapping[UUID, State], heads: Mapping[UUID, int], share: int
    ) -> dict[UUID, _Leaves]:
        """The next leaves' hashes of each log. A place that is missing cuts them short."""
        found = {firm: _Leaves(position=s.log.position) for firm, s in states.items()}
        if not found:
            return found
        firms = list(found)
        sizes = [states[f].growing.size for f in firms]
        cursor = c.cursor(binary=True)
        until = [min(size + share, heads[f]) for size, f in zip(sizes, firms, strict=True)]
        cursor.execute(HASHES, (ROTATED, firms, sizes, until, [states[f].log.position for f in firms]))
        expected = dict(zip(firms, sizes, strict=True))
        for firm, place, position, hash, rotation in cursor:
            leaves = found[firm]
            if place != expected[firm]:
                expected[firm] = -1  # a gap, or one twice: nothing after it counts
                continue
            expected[firm] = place + 1
            leaves.hashes.append(hash)
            leaves.position = position
            if rotation is not None:
                data = orjson.loads(rotation)["data"]
                if data["new_vkey"].partition("+")[0] == states[firm].log.origin:  # one of a log before this one is history
                    leaves.rotation = data
        return found

    def _step(self, state: State, found: _Leaves, head: int) -> _Step:
        """Grow the tree in memory and sign it."""
        entry, growing = state.log, state.growing
        before = growing.size
        if not found.hashes:
            raise LogStopped(f"event {before} of the firm is missing from the record, though there are {head}: {ALTERED}")
        hashes = found.hashes
        tiles: dict[Coordinate, bytes] = {}
        if state.signed is not None and state.signed[0] <= before + len(hashes):
            size, wanted = state.signed
            tiles |= growing.extend(hashes[: size - before])
            if root(size, growing.node) != wanted:
                raise LogStopped(f"another history was signed at size {size}: {BEHIND}")
            hashes = hashes[size - before :]
            state.signed = None
        tiles |= growing.extend(hashes)
        signer, also = state.signer, []
        handed_over = entry.note is None
        if found.rotation is not None:
            signer = self._key(entry.origin, found.rotation["new_vkey"])
            handed_over = handed_over or signer != state.signer
            if found.rotation["reason"] == "scheduled" and signer != state.signer:
                also = [state.signer]
        checkpoint = Checkpoint(entry.origin, growing.size, root(growing.size, growing.node))
        note = str(checkpoint.signed([signer, *also]))
        return _Step(state, before, found.position, tiles, checkpoint, note, signer, handed_over)

    def _key(self, origin: str, vkey: str) -> Signer:
        signer = self._keys.named(origin, vkey)
        if signer is None:
            self._keys.reload()
            signer = self._keys.named(origin, vkey)
        if signer is None:
            raise LogStopped(
                f"the key {vkey} that signs it is not in {self._keys.path.name}: restore that file from your backup of keys"
            )
        return signer

    def _write(self, c: psycopg.Connection[Any], steps: Sequence[_Step]) -> int:
        """Write tiles, checkpoints and sizes, all or none; those logs are left out that another sequencer has moved."""
        if not steps:
            return 0
        now = datetime.now(UTC)
        with c.transaction():
            c.execute(BRIEFLY)
            rows = c.execute(
                "SELECT firm_id, size, origin FROM chancery.logs WHERE firm_id = ANY(%s) AND stopped IS NULL ORDER BY firm_id FOR UPDATE",
                ([s.state.log.firm for s in steps],),
                binary=True,
            ).fetchall()
            stand = {firm: (size, origin) for firm, size, origin in rows}
            mine = [s for s in steps if stand.get(s.state.log.firm) == (s.before, s.state.log.origin)]
            for s in steps:
                if s not in mine:
                    self._states.pop(s.state.log.firm, None)
                    log.debug("log.outrun", firm=str(s.state.log.firm), size=s.before)
            if not mine:
                return 0
            self._signed.remember((s.checkpoint.origin, s.checkpoint.size, s.checkpoint.root) for s in mine)
            tiles = [(s.state.log.firm, level, place, tile) for s in mine for (level, place), tile in s.tiles.items()]
            c.execute(_TILES, tuple(map(list, zip(*tiles, strict=True))))
            firms = [s.state.log.firm for s in mine]
            sizes = [s.checkpoint.size for s in mine]
            notes = [s.note for s in mine]
            vkeys = [str(s.signer.verifier) for s in mine]
            c.execute(_MOVE, (now, firms, sizes, [s.position for s in mine], vkeys, notes))
            keep = [s for s in mine if s.handed_over or now - s.state.kept_at >= KEEP]
            if keep:
                c.execute(
                    _KEEP,
                    (now, [s.state.log.firm for s in keep], [s.checkpoint.origin for s in keep], [s.checkpoint.size for s in keep],
                     [s.note for s in keep]),
                )  # fmt: skip
            fresh = [s for s in mine if s.handed_over]
            if fresh:
                c.execute(
                    _KEY,
                    (now, [s.state.log.firm for s in fresh], [str(s.signer.verifier) for s in fresh],
                     [s.checkpoint.size for s in fresh], [s.note for s in fresh]),
                )  # fmt: skip
        for s in mine:
            old = s.state.log
            s.state.log = Log(
                old.firm, old.origin, old.generation, s.checkpoint.size, s.position, str(s.signer.verifier), s.note, now, None
            )
            s.state.signer = s.signer
            if s in keep:
                s.state.kept_at = now
        return sum(s.checkpoint.size - s.before for s in mine)

    def _stop(self, c: psycopg.Connection[Any], firm: UUID, why: str) -> None:
        self._states.pop(firm, None)
        log.error("log.stopped", firm=str(firm), why=why)
        c.execute("UPDATE chancery.logs SET stopped = %s WHERE firm_id = %s", (why[:1_000], firm))

    # --- a log as the store has it

    def _load(self, c: psycopg.Connection[Any], firms: Sequence[UUID], *, again: bool = False) -> dict[UUID, State]:
        """The logs' states, read from the store and examined where they are not in memory; logs that can't go on are stopped."""
        missing = [f for f in firms if f not in self._states]
        if missing:
            born = {f for (f,) in c.execute("SELECT firm_id FROM chancery.logs WHERE firm_id = ANY(%s)", (missing,)).fetchall()}
            unborn = [f for f in missing if f not in born]
            if unborn:
                origins = [self.origin_of(f) for f in unborn]
                c.execute(_BEGIN_LOG, (unborn, origins, [str(self._keys.newest(o).verifier) for o in origins]))
            wrong: dict[UUID, str] = {}
            signed = self._signed.all()  # before the snapshot: all that is written there was committed before
            with _snapshot(c):
                for firm, entry in logs_of(c, missing).items():
                    if entry.stopped is None or again:
                        try:
                            self._states[firm] = examine(c, entry, self._key(entry.origin, entry.vkey), signed.get(entry.origin))
                        except LogStopped as e:
                            wrong[firm] = str(e)
            for firm, why in wrong.items():
                self._stop(c, firm, why)
            while len(self._states) > max(STATES, len(firms)):
                self._states.popitem(last=False)
        for f in firms:
            if f in self._states:
                self._states.move_to_end(f)
        return {f: self._states[f] for f in firms if f in self._states}

    def origin_of(self, firm: UUID, generation: int = 1) -> str:
        return f"{self._origin}/firms/{firm}" + (f"/{generation}" if generation > 1 else "")

    def restart(self, c: psycopg.Connection[Any], old: Log) -> None:
        """Begin the firm's next log, empty, in place of one that can't go on. Its checkpoints, cosignatures and timestamps are kept."""
        origin = self.origin_of(old.firm, old.generation + 1)
        with c.transaction():
            moved = c.execute(
                "UPDATE chancery.logs SET origin = %s, generation = generation + 1, size = 0, position = 0, vkey = %s, note = NULL,"
                " signed_at = NULL, stopped = NULL WHERE firm_id = %s AND origin = %s",
                (origin, str(self._keys.newest(origin).verifier), old.firm, old.origin),
            )
            if moved.rowcount == 1:
                for table in ("log_tiles", "log_seals", "log_heads", "log_head_tiles"):
                    c.execute(f"DELETE FROM chancery.{table} WHERE firm_id = %s".encode(), (old.firm,))
        self._states.pop(old.firm, None)
        log.warning("log.restarted", firm=str(old.firm), origin=origin)

    # --- all anew

    def rebuild(self, *, progress: Progress | None = None) -> int:
        """Make all tiles anew from the record. They take the old ones' place only if they lead to the same signed checkpoint."""
        with self._database.connect("record") as c:
            total = int((c.execute("SELECT coalesce(sum(size), 0) FROM chancery.logs").fetchone() or (0,))[0])
            done = 0
            for (firm,) in c.execute("SELECT firm_id FROM chancery.logs ORDER BY firm_id").fetchall():
                done += self._rebuild(c, firm, lambda more, done=done: progress(done + more, total) if progress else None)
            return int((c.execute("SELECT position FROM chancery.projections WHERE name = %s", (NAME,)).fetchone() or (0,))[0])

    def _rebuild(self, c: psycopg.Connection[Any], firm: UUID, told: Any) -> int:
        with c.transaction():
            c.execute("SELECT FROM chancery.logs WHERE firm_id = %s FOR UPDATE", (firm,))
            entry = logs_of(c, [firm])[firm]
            c.execute("DELETE FROM chancery.log_tiles WHERE firm_id = %s", (firm,))
            growing = Growing()
            for hashes in leaf_hashes(c, firm, entry.size):
                tiles = [(firm, level, place, tile) for (level, place), tile in growing.extend(hashes).items()]
                c.execute(_TILES, tuple(map(list, zip(*tiles, strict=True))))
                told(growing.size)
            if entry.note is not None:
                checkpoint = opened(entry.note.encode(), [self._key(entry.origin, entry.vkey).verifier])
                if (growing.size, root(growing.size, growing.node)) != (checkpoint.size, checkpoint.root):
                    raise LogStopped(f"the record of firm {firm} does not make the tree that was signed: {ALTERED}")
        return entry.size

    def digest(self) -> str:
        """SHA-256 over every log's origin, size and root, and over all tiles."""
        digest = hashlib.sha256()
        with self._database.connect("record") as c:
            for row in c.execute("SELECT origin, size FROM chancery.logs ORDER BY origin").fetchall():
                digest.update(f"{row[0]} {row[1]}\n".encode())
            with c.transaction(), c.cursor("tiles", binary=True) as cursor:
                cursor.execute(_ALL_TILES)
                for origin, level, place, tile in cursor:
                    digest.update(f"{origin} {level} {place}\n".encode() + tile)
        return digest.hexdigest()
