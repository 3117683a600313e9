"""A Neo4j beside a recorded firm, for tests: what follows, what writes, what compares."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from uuid import UUID

from neo4j import Driver

from commands.contacts import AmendContact, CreateContact
from commands.deals import AddParty, NoteOnDeal, OpenDeal
from commands.kernel import Actor, Command
from commands.pipelines import DefinePipeline, NewStage
from commands.relations import RelateParties
from domain.kernel import FirmId
from infra.database import Database
from infra.graph.neo4j.client import Address, driver
from infra.graph.neo4j.follower import Neo4jFollower
from infra.ids import uuid7
from infra.projector.engine import Projector
from infra.record import wire
from infra.record.bulk import Bulk, command_task
from infra.record.vault import Vault
from tests.processes import PATIENCE

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Place:
    """A database, a Neo4j, and a firm that writes."""

    def __init__(self, database: Database, folder: Path, address: Address) -> None:
        self.database = database
        self.vault = Vault(folder / "keys")
        self.address = address
        self.firm = FirmId(uuid7())
        self.actor = Actor("member", str(uuid7()))
        self.contacts: list[UUID] = []
        self.deals: list[UUID] = []
        self.pipeline: UUID | None = None

    def follower(self, **how: float) -> Neo4jFollower:
        return Neo4jFollower(self.database, self.vault, self.address, **{"grace": 0.0, **how})  # type: ignore[arg-type]

    @contextmanager
    def neo4j(self) -> Iterator[Driver]:
        with driver(self.address) as d:
            yield d

    def write(self, many: int) -> int:
        """Contacts, relations, deals, parties and notes; answers the position of the record."""
        with Bulk(self.database, self.vault, firm=self.firm, actor=self.actor) as bulk:

            def run(commands: Iterable[Command]) -> list[UUID]:
                done = [o.answer for o in bulk.run([command_task(c, actor=self.actor) for c in commands])]
                return [UUID(a["id"]) for a in done if a and "id" in a]

            if self.pipeline is None:
                (self.pipeline,) = run([DefinePipeline(name="Mandates", stages=[NewStage(name="Enquiry"), NewStage(name="Offer")])])
            first = len(self.contacts)
            mine = run([CreateContact(display_name=f"Person {first + n}") for n in range(many)])
            deals = run([OpenDeal(title=f"Mandate of {n}", pipeline=self.pipeline) for n in range(many // 2)])
            run(
                RelateParties(kind="friend_of", source_type="contact", source=a, target_type="contact", target=b)
                for a, b in pairwise(mine)
            )
            run(AddParty(id=deal, kind="contact", party_id=mine[n], role="client") for n, deal in enumerate(deals))
            for n in range(3):
                run(NoteOnDeal(id=deal, note=f"Called {n}") for deal in deals)
            run(AmendContact(id=c, nickname=f"No {n}") for n, c in enumerate(mine[::3]))
            run(NoteOnDeal(id=deal, note="Long ago", occurred_at=LONG_AGO) for deal in deals[::4])
            self.contacts += mine
            self.deals += deals
        return self.head()

    def noted(self, at: datetime) -> None:
        """A note on the first deal, of a time that was."""
        with Bulk(self.database, self.vault, firm=self.firm, actor=self.actor) as bulk:
            said = command_task(NoteOnDeal(id=self.deals[0], note="Said then", occurred_at=at), actor=self.actor)
            assert [o.refused or o.failed for o in bulk.run([said])] == [None]

    def head(self) -> int:
        with self.database.connect("record") as c:
            return int((c.execute("SELECT position FROM record.head").fetchone() or (0,))[0])

    def project(self) -> None:
        """Bring the views in PostgreSQL to the end of the record."""
        with self.database.connect("record") as c:
            wire.register(c)
            p = Projector(self.database, self.vault)
            p.prepare(c)
            p.catch_up(c)

    def until(self, position: int, seconds: float = PATIENCE) -> None:
        """Wait until the graph is shown to be there."""
        waited = threading.Event()
        for _ in range(round(seconds / 0.05)):
            with self.database.connect("record") as c:
                row = c.execute("SELECT position FROM chancery.projections WHERE name = 'graph'").fetchone()
            if row is not None and row[0] >= position:
                return
            waited.wait(0.05)
        raise AssertionError(f"the graph did not come to {position}: {row}")

    @contextmanager
    def following(self, **how: float) -> Iterator[Neo4jFollower]:
        stop, f = threading.Event(), self.follower(**how)
        thread = threading.Thread(target=f.run, args=(stop,), daemon=True)
        thread.start()
        try:
            yield f
        finally:
            stop.set()
            thread.join(PATIENCE)
            assert not thread.is_alive()
