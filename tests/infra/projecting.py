"""A projector as a process, to be killed: `python -m tests.infra.projecting CONNINFO KEYS BATCH`."""

import sys
import threading
from pathlib import Path

import structlog

from infra import registry
from infra.database import Database
from infra.projector.engine import Projector
from infra.record.vault import Vault


def main() -> None:
    _, conninfo, keys, batch = sys.argv
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    registry.load()
    Projector(Database(conninfo), Vault(Path(keys)), batch=int(batch)).run(threading.Event())


if __name__ == "__main__":
    main()
