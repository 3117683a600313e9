"""The sequencer against PostgreSQL: every event once and in order, whoever else runs, and nothing signed over another history."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from infra.database import Database
from infra.proofs.checkpoints import Checkpoint, opened
from infra.proofs.notes import Note
from infra.proofs.policy import Policy
from infra.proofs.sequencer import Sequencer, wait_for
from infra.proofs.signing import Signed, SigningKeys
from infra.proofs.store import LogStore
from infra.proofs.tiles import addresses
from infra.proofs.tree import Frontier, leaf_hash, verify_consistency
from infra.record.appender import Appended, Appender
from tests.infra.writing import an_append, scalar, together


class Bench:
    """A database with its sequencer and the files beside it."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.keys = SigningKeys(folder)
        self.signed = Signed(folder)
        self.firm = uuid4()

    def sequencer(self, **how: Any) -> Sequencer:
        return Sequencer(self.database, SigningKeys(self.folder), Signed(self.folder), **how)

    def write(self, events: int, firm: UUID | None = None) -> None:
        """Events whose leaves all differ."""
        appender = Appender(self.database)
        batch = [an_append(min(50, events - n), firm=firm or self.firm) for n in range(0, events, 50)]
        for a in batch:
            for made in a.events:
                object.__setattr__(made, "public", b'{"data":{},"id":"%s"}' % str(made.event_id).encode())
        assert all(isinstance(r, Appended) for r in together(appender, batch))
        appender.close()

    def catch_up(self, sequencer: Sequencer | None = None) -> int:
        s = sequencer or self.sequencer()
        with self.database.connect("record") as c:
            s.prepare(c)
            return s.catch_up(c)

    @contextmanager
    def running(self, count: int = 1, **how: Any) -> Iterator[list[Sequencer]]:
        stop = threading.Event()
        made = [self.sequencer(**how) for _ in range(count)]
        threads = [threading.Thread(target=s.run, args=(stop,), daemon=True) for s in made]
        for t in threads:
            t.start()
        try:
            yield made
        finally:
            stop.set()
            for t in threads:
                t.join(20)
                assert not t.is_alive()

    def policy(self, firm: UUID | None = None) -> Policy:
        origin = f"chancery/firms/{firm or self.firm}"
        return Policy.of_keys([s.verifier for s in self.keys.signers(origin)][:1])

    def checkpoint(self, firm: UUID | None = None) -> Checkpoint:
        with self.database.connect("record") as c:
            note = LogStore(c, firm or self.firm).log().note
        assert note is not None
        return self.policy(firm).accept(note.encode())

    def note(self) -> bytes:
        return str(scalar(self.database, "SELECT note FROM chancery.logs WHERE firm_id = %s", self.firm)).encode()

    def stopped(self, firm: UUID | None = None) -> str | None:
        return scalar(self.database, "SELECT stopped FROM chancery.logs WHERE firm_id = %s", firm or self.firm)

    def root_of_record(self, size: int, firm: UUID | None = None) -> bytes:
        with self.database.connect("record") as c:
            leaves = LogStore(c, firm or self.firm).entries(0, size)
        frontier = Frontier()
        frontier.extend(leaves)
        return frontier.root()

    def run(self, sql: str, *parameters: object) -> None:
        """As a DBA would."""
        with psycopg.connect(self.database.admin_conninfo(), autocommit=True) as c:
            c.execute("SET session_replication_role = replica")
            c.execute(sql.encode(), parameters)

    def check(self, firm: UUID | None = None) -> int:
        """The log is what the record makes; every leaf is proved. Answers its size."""
        checkpoint = self.checkpoint(firm)
        assert checkpoint.root == self.root_of_record(checkpoint.size, firm)
        with self.database.connect("record") as c:
            store = LogStore(c, firm or self.firm)
            log = store.log()
            assert log.size == checkpoint.size
            wanted = {(a.level, a.place): a.width * 32 for a in addresses(log.size)}
            found = c.execute(
                "SELECT level::int, place, length(hashes) FROM chancery.log_tiles WHERE firm_id = %s", (firm or self.firm,)
            ).fetchall()
            assert {(level, place): length for level, place, length in found} == wanted
            some = sorted({0, log.size // 3, log.size // 2, log.size - 1})
            for index in some:
                proof = store.proof(index)
                leaf = leaf_hash(store.leaves([index])[index])
                assert proof.verify(leaf, self.policy(firm).accept) == checkpoint
        return checkpoint.size


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Iterator[Bench]:
    yield Bench(database, tmp_path / "keys")
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:  # firms of other tests have keys of their own
        c.execute(
            "TRUNCATE chancery.logs, chancery.log_tiles, chancery.log_keys, chancery.log_checkpoints, chancery.log_cosignatures,"
            " chancery.log_timestamps, chancery.log_seals, chancery.log_heads, chancery.log_head_tiles, record.events, record.streams,"
            " record.commands, record.firm_heads"
        )
        c.execute("UPDATE record.head SET position = 0")
        c.execute("DELETE FROM chancery.projections")


@pytest.mark.invariant("LG10")
def test_each_event_is_one_leaf_in_the_firms_order(bench: Bench) -> None:
    other = uuid4()
    for count in (1, 255, 1, 300, 700):
        bench.write(count)
        bench.write(3, other)
        bench.catch_up()
    assert bench.check() == 1257
    assert bench.check(other) == 15
    assert bench.catch_up() == 0
    head = scalar(bench.database, "SELECT position FROM record.head")
    assert scalar(bench.database, "SELECT position FROM chancery.projections WHERE name = 'log'") == head


@pytest.mark.invariant("LG11")
def test_four_sequencers_at_once_make_one_log(bench: Bench) -> None:
    other = uuid4()
    with bench.running(4, batch=100, gather=0.0):
        writers = [threading.Thread(target=bench.write, args=(300, f)) for f in (bench.firm, other) for _ in range(3)]
        for w in writers:
            w.start()
        for w in writers:
            w.join()
        for firm in (bench.firm, other):
            wait_for(bench.database, firm, 900)
    assert bench.check() == bench.check(other) == 900
    assert bench.stopped() is None


@pytest.mark.invariant("LG12")
def test_checkpoints_of_every_moment_are_consistent(bench: Bench) -> None:
    seen = []
    for count in (3, 60, 255, 256, 900):
        bench.write(count)
        bench.catch_up()
        seen.append(bench.checkpoint())
    with bench.database.connect("record") as c:
        store = LogStore(c, bench.firm)
        log = store.log()
        for old in seen:
            for new in seen:
                if old.size <= new.size:
                    verify_consistency(old.size, new.size, store.consistency(log, old.size, new.size), old.root, new.root)
            body = store.add_checkpoint(old.size)
            assert body.verify(old, bench.policy().accept) == seen[-1]
            assert store.checkpoint_at(log, old.size) == old


def test_a_checkpoint_is_a_note_that_others_read(bench: Bench) -> None:
    bench.write(5)
    bench.catch_up()
    note = Note.parse(bench.note())
    assert note.text.split("\n")[:2] == [f"chancery/firms/{bench.firm}", "5"]
    assert len(note.signatures) == 1
    assert opened(bench.note(), bench.policy().logs).size == 5
