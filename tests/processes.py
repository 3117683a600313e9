"""Processes that tests kill: when they are gone."""

import time
from collections.abc import Iterable

import psutil

PATIENCE = 120.0  # seconds for what comes to pass in any case, on a machine whose cores are all taken


def alive(process: psutil.Process) -> bool:
    """Whether it still runs: one that has ended does not, whether or not anybody has asked how it ended."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it went between the two questions
        return False


def gone(processes: Iterable[psutil.Process], seconds: float = PATIENCE) -> None:
    """Return when none of them runs any more."""
    left, until = list(processes), time.monotonic() + seconds
    while left := [p for p in left if alive(p)]:
        assert time.monotonic() < until, f"{left} never ended"
        time.sleep(0.01)


def killed_with_children(process: psutil.Process) -> None:
    """Kill a process whose children end by themselves when it is gone; return when all are."""
    process.suspend()  # so that it has no more children than these
    family = [process, *process.children()]
    process.kill()
    gone(family)
