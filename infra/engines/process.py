"""Processes that outlive the program that started them, told from others that later got their number.

A record holds a process's id, when it started as the system counts it, and words of its command. Only a process of which all
three hold is the one that was started; the system gives ids away again, after a restart of the machine all of them.
"""

import atexit
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from infra.engines.errors import EnginesUnusable

BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A started process. `mark` is a word of its command that no other process has: the folder it works in."""

    pid: int
    began: str
    mark: str

    @classmethod
    def of(cls, pid: int, mark: str) -> "Record":
        return cls(pid=pid, began=began(pid) or "", mark=mark)

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "Record":
        return cls(pid=int(stored["pid"]), began=str(stored["began"]), mark=str(stored["mark"]))

    def alive(self) -> bool:
        """Whether this very process runs."""
        return bool(self.began) and began(self.pid) == self.began and _marked(self.pid, self.mark)

    def group(self) -> list[int]:
        """This process and what it started, as far as it runs: also when it is gone itself and its children are not."""
        if not self.began:
            return []
        leader = self.alive()
        members = []
        for pid in psutil.pids():
            with contextlib.suppress(OSError, psutil.Error):
                # a group's id is given to no new process while a member lives, so a group of ours is told by the mark of its members
                if os.getpgid(pid) == self.pid and (leader or _marked(pid, self.mark)) and began(pid):
                    members.append(pid)
        return sorted(members)

    def stop(self, patience: float) -> bool:
        """End it and what it started: asked first, then not asked. False when nothing of it ran."""
        group = self.group()
        if not group:
            return False
        asked: set[int] = set()
        until = time.monotonic() + patience
        while group and time.monotonic() < until:
            # the process itself ends its children in good order; those that outlive it are asked each
            for pid in {self.pid} & set(group) or set(group):
                if pid not in asked:
                    _send(pid, signal.SIGTERM)
                    _send(pid, signal.SIGCONT)  # one that was stopped hears nothing else
                    asked.add(pid)
            time.sleep(0.05)
            group = self.group()
        for pid in self.group():
            _send(pid, signal.SIGKILL)
        until = time.monotonic() + 10
        while self.group():
            if time.monotonic() > until:
                raise EnginesUnusable(
                    f"Process {self.pid} does not end, though it was killed. The system may be waiting for a disk."
                )
            time.sleep(0.1)
        return True


def began(pid: int) -> str | None:
    """When a process started, comparable while the machine runs; None when there is none, or only what is left of one."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, *rest = text.rpartition(")")[2].split()
        return None if state in {"Z", "X"} else f"{BOOT.read_text(encoding='ascii').strip()}:{rest[18]}"
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except (ProcessLookupError, PermissionError):
        return None
    try:  # a system without /proc
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.0f}"
    except psutil.Error:
        return None


def _marked(pid: int, mark: str) -> bool:
    try:
        return any(mark in word for word in psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def _send(pid: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What is to be started: a command, its environment beside the usual one, the user it runs as, a word of its command."""

    command: Sequence[str]
    mark: str
    environment: Mapping[str, str]
    user: int | None = None
    group: int | None = None


KEPT: Final = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")


def launch(what: Launch, folder: Path, log: Path) -> Record:
    """Start a process of its own session that writes to a file; the file of the last start is kept beside it."""
    if log.exists() and log.stat().st_size:
        log.replace(log.with_suffix(".log.1"))
    # an engine gets none of our variables: they hold secrets that are not for it
    environment = {k: os.environ[k] for k in KEPT if k in os.environ} | dict(what.environment)
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603 - a pinned engine
            what.command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=what.user,
            group=what.group,
            extra_groups=None if what.user is None else [],
            umask=0o077,
        )
    until = time.monotonic() + 5  # a process that has just become another program shows no command for a moment, as if it were gone
    while process.poll() is None and not _marked(process.pid, what.mark) and time.monotonic() < until:
        time.sleep(0.002)
    record = Record.of(process.pid, what.mark)
    _keep(process)
    return record


_started: list["subprocess.Popen[bytes]"] = []


def _keep(process: "subprocess.Popen[bytes]") -> None:
    """Hold on to the handle: letting go of a running child is a warning, and an ended one is reaped by the next start."""
    _started[:] = [p for p in _started if p.poll() is None]
    _started.append(process)


@atexit.register
def _leave() -> None:
    """Engines outlive the program that started them, which is nothing to warn of."""
    for process in _started:
        if process.poll() is None:
            process.returncode = 0


def reap() -> None:
    """Let the system forget children of this process that have ended."""
    _started[:] = [p for p in _started if p.poll() is None]


def ending(log: Path, lines: int = 12) -> str:
    """The last lines of a log, for a message."""
    try:
        with log.open("rb") as f:
            f.seek(max(0, log.stat().st_size - 20_000))
            return "\n".join(f.read().decode("utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"
