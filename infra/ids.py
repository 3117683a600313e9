"""Identifiers: UUIDv7 (RFC 9562) that rise within a process, and secrets."""

import os
import secrets
import threading
import time
from uuid import UUID

_lock = threading.Lock()
_last = 0
_POOL = 8_192

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class _Pool(threading.local):
    """Random bytes of the operating system, fetched some thousands at a time: a system call for each salt costs more than the salt."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.bytes = b""
        self.used = 0


_pool = _Pool()
os.register_at_fork(after_in_child=_pool.forget)  # a child must not repeat its parent's bytes


def random_bytes(count: int) -> bytes:
    """`count` (at most 64) bytes from the operating system's generator; each is handed out once."""
    pool = _pool
    end = pool.used + count
    if end > len(pool.bytes):
        pool.bytes, pool.used, end = os.urandom(_POOL), 0, count
    out = pool.bytes[pool.used : end]
    pool.used = end
    return out


def uuid7() -> UUID:
    """A UUIDv7: milliseconds since 1970, then 12 bits of a rising fraction, then 62 random bits."""
    global _last  # noqa: PLW0603 - the one counter that keeps ids rising within a process
    with _lock:
        ticks = time.time_ns() * 4096 // 1_000_000
        if ticks <= _last:
            ticks = _last + 1
        _last = ticks
    milliseconds, fraction = divmod(ticks, 4096)
    tail = int.from_bytes(random_bytes(8), "big") & 0x3FFF_FFFF_FFFF_FFFF
    return UUID(int=(milliseconds & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62 | tail)


def secret(length: int = 32) -> str:
    """Letters and digits; 32 of them hold 190 bits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
