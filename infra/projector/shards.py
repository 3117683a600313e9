"""The views divided among processes, and one for what else follows the record; each is started again when it dies.

The division is made once, by the starter, and told to each process: no two disagree about it, so every view is in somebody's hands. A
view that is in two hands by mistake comes to no harm (infra.projector.engine, J1).
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import psycopg
import structlog

from infra.database import Database
from infra.projector.rebuild import divided
from infra.record.vault import Vault
from infra.settings import Settings
from projections.kernel import VIEWS

log = structlog.get_logger()

HEALTHY_SECONDS = 30.0


def shards(database: Database, vault: Vault, count: int) -> list[list[str]]:
    """The names of the views of each process, of about equal work."""
    with database.connect("record") as c:
        return [sorted(v.name for v in group) for group in divided(c, vault, list(VIEWS.values()), count)]


@contextlib.contextmanager
def projecting(settings: Settings) -> Iterator[None]:
    """The projections and the followers in child processes, each started again when it dies."""
    database = Database.open(settings)
    try:
        groups = shards(database, Vault(settings.keys_folder), settings.projectors)
    except psycopg.OperationalError:  # it went away just now; by name will do
        groups = [sorted(VIEWS)[n :: settings.projectors] for n in range(settings.projectors)]
    finally:
        database.close()
    stop = threading.Event()
    children: dict[int, subprocess.Popen[bytes]] = {}
    lines: list[tuple[str, ...]] = [
        ("project", "--shard", f"{n + 1}/{len(groups)}", "--views", ",".join(views), "--parent", str(os.getpid()))
        for n, views in enumerate(groups)
    ]
    if settings.followers:
        lines.append(("follow", "--parent", str(os.getpid())))
    keepers = [
        threading.Thread(target=_keep, args=(settings, n, line, stop, children), daemon=True) for n, line in enumerate(lines)
    ]
    for keeper in keepers:
        keeper.start()
    try:
        yield
    finally:
        stop.set()
        for child in list(children.values()):
            child.terminate()
        for keeper in keepers:
            keeper.join(timeout=10)


def _keep(
    settings: Settings, n: int, line: Sequence[str], stop: threading.Event, children: "dict[int, subprocess.Popen[bytes]]"
) -> None:
    pause = 0.2
    while not stop.is_set():
        environment = {**os.environ, "CHANCERY_DATA": str(settings.data)}
        started = time.monotonic()
        # a group of its own: Ctrl-C is for this process, which then stops the child
        child = subprocess.Popen([sys.executable, "-m", "infra.cli", *line], env=environment, process_group=0)  # noqa: S603 - our own program
        children[n] = child
        if stop.is_set():
            child.terminate()
        code = child.wait()
        if not stop.is_set():
            if time.monotonic() - started > HEALTHY_SECONDS:
                pause = 0.2
            log.error("projector.died", process=" ".join(line[:3]), code=code)
            stop.wait(pause)
            pause = min(pause * 2, 10.0)
