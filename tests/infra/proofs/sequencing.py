"""A database with its sequencer and the files beside it, for tests; and the sequencer as a process that may be killed.

`python -m tests.infra.proofs.sequencing CONNINFO FOLDER` sequences until it is killed.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg

from infra.database import Database
from infra.proofs.checkpoints import Checkpoint
from infra.proofs.policy import Policy
from infra.proofs.sequencer import Sequencer
from infra.proofs.signing import Signed, SigningKeys
from infra.proofs.store import LogStore
from infra.proofs.tiles import addresses
from infra.proofs.tree import leaf_hash
from infra.record.appender import Appended, Appender
from tests.infra.proofs.logs import Frontier
from tests.infra.writing import an_append, scalar, together
from tests.processes import PATIENCE

TABLES = (
    "chancery.logs, chancery.log_tiles, chancery.log_keys, chancery.log_checkpoints, chancery.log_cosignatures, chancery.log_timestamps,"
    " chancery.log_seals, chancery.log_heads, chancery.log_head_tiles, record.events, record.streams, record.commands, record.firm_heads"
)


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
            a.events = [made._replace(public=b'{"data":{},"id":"%s"}' % str(made.event_id).encode()) for made in a.events]
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
                t.join(PATIENCE)
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

    def sweep(self) -> None:
        """Leave an empty record to the next test."""
        self.run(f"TRUNCATE {TABLES}")
        self.run("UPDATE record.head SET position = 0")
        self.run("DELETE FROM chancery.projections")

    @contextmanager
    def a_process(self) -> Iterator[subprocess.Popen[bytes]]:
        """The sequencer as a process of its own."""
        command = [sys.executable, "-m", "tests.infra.proofs.sequencing", self.database.admin_conninfo(), str(self.folder)]
        process = subprocess.Popen(command, cwd=Path(__file__).parents[3], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def main() -> None:
    _, conninfo, folder = sys.argv
    keys = Path(folder)
    Sequencer(Database(conninfo), SigningKeys(keys), Signed(keys), gather=0.0, batch=300).run(threading.Event())


def wait_for(database: Database, firm: UUID, size: int, seconds: float = PATIENCE) -> None:
    """Return once the firm's log has that size; TimeoutError when it does not get there."""
    until = time.monotonic() + seconds
    with database.connect("record") as c:
        while True:
            row = c.execute("SELECT size, stopped FROM chancery.logs WHERE firm_id = %s", (firm,)).fetchone()
            if row is not None and row[0] >= size:
                return
            if time.monotonic() > until:
                raise TimeoutError(f"the log stands at {row[0] if row else 'nothing'}, before {size}")
            time.sleep(0.02)


if __name__ == "__main__":
    main()
