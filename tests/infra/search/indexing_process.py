"""An indexer in a process of its own, for tests that kill or stop it: conninfo, folder; the engine in ENGINE, INDEX and ROW.

It writes each position it has reached, and goes on when it is sent a line.
"""

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import structlog

from infra import registry
from infra.blobs import FolderBlobs
from infra.database import Database
from infra.record.vault import Vault
from infra.search.elastic.builds import ElasticIndex
from infra.search.elastic.client import Elastic
from infra.search.elastic.store import ElasticStore
from infra.search.indexer import Indexer
from infra.search.pgstore import Key
from projections.search import Entry


def main() -> None:
    conninfo, folder = sys.argv[1:3]
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    registry.load()
    index = ElasticIndex(Elastic(os.environ["ENGINE"]), os.environ["INDEX"], "a test", name=os.environ["ROW"])
    data = Path(folder)
    apply = ElasticStore.apply

    def told(self: ElasticStore, position: int, reached: int, changes: Mapping[Key, Entry | None]) -> None:
        apply(self, position, reached, changes)
        self.settle()
        print(reached, flush=True)
        sys.stdin.readline()

    ElasticStore.apply = told  # type: ignore[method-assign]
    Indexer(Database(conninfo), Vault(data / "keys"), FolderBlobs(data / "blobs"), batch=20, index=index).run(threading.Event())


if __name__ == "__main__":
    main()
