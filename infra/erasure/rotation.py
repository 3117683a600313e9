"""A new wrapping key for all data keys, and the end of the old one.

RT1  While keys are wrapped anew everything serves: who meets an epoch that is new to him reads its file.
RT2  An old wrapping key is destroyed only when no data key needs it, and none can be stored under it any more.
RT3  Killed at any moment, it is taken up again by running it again, and nothing is lost.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import structlog

from infra.database import Database, letting_go
from infra.record.vault import Vault

log = structlog.get_logger()

LOCK = 7_020_240_331
BATCH = 2_000
GRACE = 5.0  # seconds for what others have in their hands under the old key
_OLD = (
    "SELECT firm_id, key_id, subject_id, purpose, epoch, wrapped FROM vault.data_keys"
    " WHERE epoch < %s AND (firm_id, key_id) > (%s, %s) ORDER BY firm_id, key_id LIMIT %s FOR UPDATE"
)
_NEW = (
    "UPDATE vault.data_keys k SET epoch = %s, wrapped = n.wrapped FROM unnest(%s::uuid[], %s::uuid[], %s::bytea[]) n(firm, key, wrapped)"
    " WHERE k.firm_id = n.firm AND k.key_id = n.key"
)
_CLOSE = (
    "ALTER TABLE vault.data_keys DROP CONSTRAINT IF EXISTS data_keys_open_epoch,"
    " ADD CONSTRAINT data_keys_open_epoch CHECK (epoch >= {epoch}) NOT VALID"
)
_FIRST = UUID(int=0)


class RotationRefused(Exception):
    """The wrapping key can't be rotated now; the message says why."""


class RotationStopped(Exception):
    """It was told to stop; the message says how things stand."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation did."""

    epoch: int
    rewrapped: int
    destroyed: tuple[int, ...]


def rotate(
    database: Database,
    vault: Vault,
    *,
    grace: float = GRACE,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
    stop: threading.Event | None = None,
) -> Rotated:
    """Begin an epoch, or go on with one whose beginning was broken off; wrap all data keys under it, and end the epochs before.

    RotationStopped when `stop` is set before the old key is destroyed.
    """
    told = stop or threading.Event()
    with database.connect("record") as c, letting_go(c):
        if not (c.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone() or (False,))[0]:
            raise RotationRefused("The wrapping key is being rotated by another process. Wait for its end.")
        vault.reload()
        if len(vault.epochs) < 2:  # two stand there while a rotation is under way
            vault.begin_epoch(vault.epoch + 1)
        epoch = vault.epoch
        total = _left(c, epoch)
        try:
            done = _rewrap(c, vault, epoch, lambda n: progress(n, max(total, n)), told)
            _wait(told, grace)  # those who wrapped a key just before they met the new epoch have stored it by now
            _close(database, epoch, told)
            done += _rewrap(c, vault, epoch, lambda n: progress(done + n, max(total, done + n)), told)
            left = _left(c, epoch)
            if left:
                raise RotationRefused(f"{left} data keys are still under an older key, which was kept. Run this again.")
            _wait(told, grace)  # those who read a row just before it was wrapped anew have opened it by now
        except _Told:
            raise RotationStopped(_standing(_left(c, epoch), epoch)) from None
        destroyed = vault.end_epochs(epoch)
        progress(max(total, done), max(total, done))
    log.info("keys.rotated", epoch=epoch, rewrapped=done, destroyed=list(destroyed))
    return Rotated(epoch, done, destroyed)


class _Told(Exception):
    """To stop."""


def _wait(told: threading.Event, seconds: float) -> None:
    if told.wait(seconds):
        raise _Told


def _left(c: psycopg.Connection[Any], epoch: int) -> int:
    """How many data keys are wrapped under an older epoch."""
    return int((c.execute("SELECT count(*) FROM vault.data_keys WHERE epoch < %s", (epoch,)).fetchone() or (0,))[0])


def _standing(left: int, epoch: int) -> str:
    under = f"{left} data keys are still under the old one" if left else "no data key is under the old one any more"
    return (
        f"Stopped. New data keys are wrapped under the new key (epoch {epoch}), and {under}, which is kept: everything opens as before, and what"
        " was deleted can still be opened in older copies. Run this again: it goes on from here, and then destroys the old key."
    )


def _rewrap(c: psycopg.Connection[Any], vault: Vault, epoch: int, told: Callable[[int], None], stop: threading.Event) -> int:
    """Wrap every key of an older epoch anew, a batch in a transaction."""
    done = 0
    at = (_FIRST, _FIRST)
    while True:
        _wait(stop, 0)
        with c.transaction():
            rows = c.execute(_OLD, (epoch, *at, BATCH)).fetchall()
            c.execute(_NEW, (epoch, [r[0] for r in rows], [r[1] for r in rows], [vault.rewrap(*r) for r in rows]))
        if not rows:
            return done
        at = (rows[-1][0], rows[-1][1])
        done += len(rows)
        told(done)


def _close(database: Database, epoch: int, stop: threading.Event) -> None:
    """Have the database refuse data keys of older epochs from now on."""
    for _ in range(60):
        try:
            with database.connect("owner") as c:
                c.execute("SET lock_timeout = '500ms'")
                c.execute(_CLOSE.format(epoch=epoch).encode())
                return
        except psycopg.errors.LockNotAvailable:
            _wait(stop, 0.5)
    raise RotationRefused("The table of data keys was busy for half a minute, and the old key was kept. Run this again.")
