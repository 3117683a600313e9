"""An import that stops itself in the middle of the first rows it sends, as SIGSTOP or a suspended machine would stop it.

`python -m tests.infra.stopping CONNINFO KEYS FIRM TASKS` prints a line before it stops, and another when all is written.
"""

import os
import signal
import sys
from pathlib import Path
from uuid import UUID

from domain.kernel import FirmId
from infra import registry
from infra.database import Database
from infra.record import wire
from infra.record.bulk import Bulk
from infra.record.vault import Vault
from tests.infra.test_bulk import ACTOR, create


def main(conninfo: str, keys: str, firm: str, tasks: str) -> None:
    registry.load()
    written = wire._written

    def stops(fd: int, buffers: list[memoryview]) -> None:
        wire._written = written
        rows = memoryview(b"".join(buffers))
        half = len(rows) // 2
        written(fd, [rows[:half]])
        print("half", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        written(fd, [rows[half:]])

    wire._written = stops
    with Bulk(Database(conninfo), Vault(Path(keys)), firm=FirmId(UUID(firm)), actor=ACTOR) as bulk:
        outcomes = list(bulk.run(create(n) for n in range(int(tasks))))
    print(sum(bool(o.answer) and not o.replayed for o in outcomes), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
