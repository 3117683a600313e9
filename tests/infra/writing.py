"""Commands for the writer without a domain behind them, and a process that writes until it is killed.

`python -m tests.infra.writing CONNINFO JOB…` prints a JSON line for each acknowledged command.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import psycopg
import structlog

from commands.kernel import Made
from infra.database import Database
from infra.ids import uuid7
from infra.record.appender import APPEND_LOCK, Append, Appended, Appender

FIRM = UUID(int=0xF1)
OTHER = UUID(int=0xF2)
MAC = b"m" * 32
TYPE = "tests.Written.v1"


def an_append(
    events: int = 1,
    *,
    firm: UUID = FIRM,
    stream: UUID | None = None,
    at: int = 0,
    command_id: UUID | None = None,
    mac: bytes = MAC,
    sealed: bytes | None = None,
    type: str = TYPE,
) -> Append:
    """A command that adds `events` events to a stream that stands at version `at`; its answer names its own event ids."""
    stream = stream or uuid7()
    now = datetime.now(UTC)
    made = [
        Made(
            stream_type="test",
            stream_id=stream,
            stream_version=at + n,
            event_id=uuid7(),
            type=type,
            occurred_at=now,
            public=b'{"data":{}}',
            disclosures=(),
            leaf_hash="",
        )
        for n in range(1, events + 1)
    ]
    return Append(
        firm=firm,
        command_id=command_id or uuid7(),
        body_mac=mac,
        expected={("test", stream): at},
        events=made,
        sealed=[sealed] * events,
        recorded_at=now,
        answer=json.dumps([str(m.event_id) for m in made]).encode(),
    )


def together(appender: Appender, batch: list[Append]) -> list[Appended | BaseException]:
    """Submit all; the results in order."""
    results: dict[int, Appended | BaseException] = {}
    landed = threading.Semaphore(0)
    for n, append in enumerate(batch):

        def done(result: Appended | BaseException, n: int = n) -> None:
            results[n] = result
            landed.release()

        append.done = done
        appender.submit(append)
    for _ in batch:
        assert landed.acquire(timeout=120)
    return [results[n] for n in range(len(batch))]


def until_they_wait(c: psycopg.Connection[Any], many: int = 1) -> None:
    """Return when so many writers of this database stand before the append lock."""
    until = time.monotonic() + 120
    sql = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    while (c.execute(sql).fetchone() or (0,))[0] < many:
        assert time.monotonic() < until, "they never came"
        time.sleep(0.01)


@contextmanager
def no_one_appends(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """Hold the append lock, so that commands pile up behind it."""
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        c.execute("SELECT pg_advisory_lock(%s)", (APPEND_LOCK,))
        yield c


def scalar(database: Database, sql: str, *parameters: object) -> Any:
    with psycopg.connect(database.admin_conninfo(), autocommit=True) as c:
        row = c.execute(sql.encode(), parameters).fetchone()
        return None if row is None else row[0]


class Writer:
    """This module as a process."""

    def __init__(self, database: Database, *job: object) -> None:
        self._said = tempfile.NamedTemporaryFile("w")  # noqa: SIM115 - a pipe would fill up and stop it
        command = [sys.executable, "-m", "tests.infra.writing", database.admin_conninfo(), *map(str, job)]
        self.process = subprocess.Popen(command, stdout=self._said, text=True, cwd=Path(__file__).parents[2])

    def said(self) -> list[dict[str, Any]]:
        """What it has acknowledged so far; a line that was cut off by a kill is no acknowledgement."""
        lines = Path(self._said.name).read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def finish(self, timeout: float = 300) -> list[dict[str, Any]]:
        with self:
            assert self.process.wait(timeout) == 0
            return self.said()

    def kill(self) -> list[dict[str, Any]]:
        with self:
            self.process.kill()
            self.process.wait()
            return self.said()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._said.close()


def _say(command_id: UUID, result: Appended | BaseException) -> None:
    if isinstance(result, Appended):
        said: dict[str, Any] = {"position": result.position, "answer": result.answer.decode(), "replayed": result.replayed}
    else:
        said = {"error": type(result).__name__}
    sys.stdout.write(json.dumps({"command_id": str(command_id)} | said) + "\n")
    sys.stdout.flush()


def _write(appender: Appender, size: int, count: int | None) -> None:
    n = 0
    while count is None or n < count:
        append = an_append(size, firm=(FIRM, OTHER)[n % 2])
        try:
            result: Appended | BaseException = appender.append_now(append)
        except Exception as e:
            result = e
        _say(append.command_id, result)
        n += 1


def main() -> None:
    """`many SIZE COUNT…` for one thread each, `for ever THREADS`, `one COMMAND_ID MAC`."""
    _, conninfo, job, *more = sys.argv
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    appender = Appender(Database(conninfo), patience=120)
    if job == "one":
        command_id = UUID(more[0])
        _say(command_id, together(appender, [an_append(command_id=command_id, mac=bytes.fromhex(more[1]))])[0])
        return
    if job == "many":
        jobs = [(int(more[n]), int(more[n + 1])) for n in range(0, len(more), 2)]
    threads = [
        threading.Thread(target=_write, args=(appender, size, count))
        for size, count in (jobs if job == "many" else [(1 if n % 2 else 5, None) for n in range(int(more[0]))])
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    appender.close()


if __name__ == "__main__":
    main()
