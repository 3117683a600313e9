"""An import in a process of its own, for tests that kill it or measure it: conninfo, data folder, firm, file, kind."""

import json
import sys
from pathlib import Path
from uuid import UUID

import psutil
import structlog

from commands.kernel import Actor
from domain.kernel import FirmId
from infra import registry
from infra.blobs import FolderBlobs
from infra.database import Database
from infra.imports.reports import Progress as Far
from infra.imports.run import Importer
from infra.record.vault import Vault


def main() -> None:
    conninfo, folder, firm, file, kind = sys.argv[1:6]
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    registry.load()
    me = psutil.Process()
    sizes: list[tuple[int, int]] = []

    def tell(far: Far) -> None:
        sizes.append((far.rows, me.memory_info().rss))

    data = Path(folder)
    with Importer(
        Database(conninfo),
        Vault(data / "keys"),
        FolderBlobs(data / "blobs"),
        firm=FirmId(UUID(firm)),
        actor=Actor("system", "operator"),
    ) as importer:
        report = importer.carry(Path(file), kind, progress=tell)  # type: ignore[arg-type]
    print(json.dumps({"sizes": sizes, "created": report.created, "rejected": report.rejected, "seconds": report.seconds}))


if __name__ == "__main__":
    main()
