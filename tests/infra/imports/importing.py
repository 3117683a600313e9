"""A firm in a real database to import into, and a look at what became of it."""

from pathlib import Path
from typing import Any
from uuid import UUID

from commands.kernel import Actor
from domain.kernel import FirmId, Stream
from domain.members import ALL_PERMISSIONS
from infra.blobs import FolderBlobs
from infra.database import Database
from infra.ids import uuid7
from infra.imports import load_map
from infra.imports.reports import Plan, Report
from infra.imports.run import Importer
from infra.imports.undo import UndoReport, undo
from infra.projector.engine import Projector
from infra.record import wire
from infra.record.bulk import Bulk, Task, command_task
from infra.record.vault import Vault
from projections.kernel import VIEWS

MAPS = Path(__file__).resolve().parents[3] / "docs" / "maps"
OPERATOR = Actor("system", "operator")
OWNER = Actor("member", "an owner")


class Firm:
    """Imports, reads and changes of one firm."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.vault = Vault(folder / "keys")
        self.blobs = FolderBlobs(folder / "blobs")
        self.id = FirmId(uuid7())
        self.folder = folder

    def another(self) -> "Firm":
        other = Firm(self.database, self.folder)
        other.blobs = self.blobs
        return other

    def carry(self, path: Path, kind: Any, map: str | Path | None = None, **how: Any) -> Report:
        with Importer(self.database, self.vault, self.blobs, firm=self.id, actor=OPERATOR) as importer:
            return importer.carry(path, kind, map=self._map(map), **how)

    def look(self, path: Path, kind: Any, map: str | Path | None = None) -> Plan:
        with Importer(self.database, self.vault, self.blobs, firm=self.id, actor=OPERATOR) as importer:
            return importer.look(path, kind, map=self._map(map))

    def _map(self, map: str | Path | None) -> Any:
        return None if map is None else load_map(MAPS / map if isinstance(map, str) else map)

    def undo(self, import_id: UUID, *, preview: bool = False) -> UndoReport:
        return undo(self.database, self.vault, firm=self.id, actor=OPERATOR, import_id=import_id, preview=preview)

    def do(self, command: Any) -> Any:
        """Carry out a command as somebody else than an import."""
        with Bulk(
            self.database, self.vault, firm=self.id, actor=OWNER, permissions=ALL_PERMISSIONS, ports={"blobs": self.blobs}
        ) as bulk:
            (outcome,) = bulk.run([command_task(command, actor=OWNER)])
        if outcome.refused:
            raise outcome.refused
        assert outcome.failed is None
        return outcome.answer

    def state(self, stream: Stream[Any, Any], id: UUID) -> Any:
        found: list[Any] = []

        async def read(w: Any) -> Any:
            found.append((await w.find(stream, id)).state)

        with Bulk(self.database, self.vault, firm=self.id, actor=OWNER) as bulk:
            list(bulk.run([Task(run=read)]))
        return found[-1]

    def all(self, sql: str, *params: Any) -> list[Any]:
        with self.database.connect("record") as c:
            return c.execute(sql, params).fetchall()

    def one(self, sql: str, *params: Any) -> Any:
        return self.all(sql, *params)[0][0]

    @property
    def head(self) -> int:
        return self.one("SELECT count(*) FROM record.events WHERE firm_id = %s", self.id)

    def see(self, *views: str) -> None:
        """Bring these views up to date."""
        with self.database.connect("record") as c:
            wire.register(c)
            projector = Projector(self.database, self.vault, [VIEWS[v] for v in views])
            projector.prepare(c)
            projector.catch_up(c)
            assert not c.execute("SELECT 1 FROM chancery.projections WHERE stopped_at IS NOT NULL").fetchall()

    def types(self, import_id: UUID) -> dict[str, int]:
        """How often each kind of event was recorded by an import."""
        return dict(
            self.all(
                "SELECT type, count(*) FROM record.events WHERE firm_id = %s AND convert_from(public, 'UTF8')::jsonb ->> 'origin' = %s"
                " GROUP BY type",
                self.id,
                f"import/{import_id}",
            )
        )
