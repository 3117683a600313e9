"""Where it is measured: a PostgreSQL of its own with a firm and open deals in it, and a bare table like the record's."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg

from commands.deals import OpenDeal
from commands.kernel import Actor
from commands.pipelines import DefinePipeline, NewStage
from domain.kernel import FirmId
from infra import registry
from infra.database import Database, migrate
from infra.embedded import start
from infra.ids import uuid7
from infra.record.bulk import Bulk, command_task
from infra.record.vault import Vault

ACTOR = Actor("member", "0192f0c1-2d3e-7f00-8000-000000000001")
NOTE = "Called about the valuation; the client asks for a second opinion and will send the survey by Friday. "
DEALS = 256


@dataclass(frozen=True, slots=True)
class Place:
    conninfo: str
    database: Database
    vault: Vault
    folder: Path
    firm: FirmId
    deals: list[UUID]

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.conninfo, autocommit=True) as c:
            return c.execute(sql.encode()).fetchall()

    def run(self, sql: str) -> None:
        with psycopg.connect(self.conninfo, autocommit=True) as c:
            c.execute(sql.encode())


def served_from(p: Place, data: Path) -> dict[str, str]:
    """The settings under which this place is served with the keys of a folder, whoever asks how often."""
    return {
        "CHANCERY_DATABASE_URL": p.conninfo,
        "CHANCERY_DATA": str(data),
        "CHANCERY_RATE_PER_SECOND": "1000000",
        "CHANCERY_RATE_BURST": "1000000",
    }


def a_firm(environment: dict[str, str]) -> tuple[FirmId, str]:
    """A new firm and the key of its first member."""
    words = [sys.executable, "-m", "infra.cli", "firm", "create", "Bench", "--json"]
    made = subprocess.run(words, env={**os.environ, **environment}, capture_output=True, text=True, check=True).stdout
    found = json.loads(made[made.index("{") :])
    return FirmId(UUID(found["firm_id"])), found["api_key"]


@contextlib.contextmanager
def place() -> Iterator[Place]:
    """A fresh embedded server in a temporary folder, its settings as they come; gone afterwards."""
    registry.load()
    folder = Path(tempfile.mkdtemp(prefix="chancery-bench-"))
    server = start(folder / "postgres")
    try:
        database = Database(server.get_uri())
        migrate(database)
        vault = Vault(folder / "keys")
        firm = FirmId(uuid7())
        with Bulk(database, vault, firm=firm, actor=ACTOR) as bulk:
            stages = [NewStage(name=n) for n in ("Enquiry", "Offer", "Contract")]
            (defined,) = bulk.run([command_task(DefinePipeline(name="Mandates", stages=stages), actor=ACTOR)])
            pipeline = UUID(defined.answer["id"])
            opening = (command_task(OpenDeal(title=f"Mandate {n}", pipeline=pipeline), actor=ACTOR) for n in range(DEALS))
            deals = [UUID(o.answer["id"]) for o in bulk.run(opening)]
        yield Place(server.get_uri(), database, vault, folder, firm, deals)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def bare_table(p: Place, name: str) -> None:
    """An empty table with the columns, partitions and indexes of the record's, and nothing else."""
    p.run(
        f"DROP TABLE IF EXISTS {name}; CREATE TABLE {name} (LIKE record.events INCLUDING ALL) PARTITION BY RANGE (position);"
        f" CREATE TABLE {name}_0 PARTITION OF {name} FOR VALUES FROM (0) TO (5000000);"
        f" CREATE TABLE {name}_1 PARTITION OF {name} FOR VALUES FROM (5000000) TO (10000000)"
    )
