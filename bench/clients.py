"""Clients of HTTP on connections that stay open, in a process of their own.

`python -m bench.clients HOST:PORT KEY CONNECTIONS SECONDS RATE PATH…` prints what came back as JSON. With a rate of 0 each connection
sends again as soon as it is answered; else requests are begun at that rate whatever becomes of them, on connections that are free.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter, deque
from typing import cast
from uuid import UUID, uuid4

import uvloop

from bench.place import NOTE

BODY = json.dumps({"note": NOTE}).encode()
TICK = 0.002


class Clients:
    def __init__(self, address: str, key: str, paths: list[str]) -> None:
        self.until = 0.0
        self.seen: Counter[str] = Counter()
        self.times: list[tuple[int, float]] = []
        self.free: deque[Client] = deque()
        self.paced = False
        self._begun = uuid4().int & ~0xFFFF_FFFF
        self._count = 0
        rest = (
            f"Host: {address}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n"
        )
        self._heads = [f"POST {path} HTTP/1.1\r\n{rest}Idempotency-Key: ".encode() for path in paths]

    def request(self) -> bytes:
        self._count += 1
        key = str(UUID(int=self._begun + self._count)).encode()
        return random.choice(self._heads) + key + b"\r\n\r\n" + BODY


class Client(asyncio.Protocol):
    """One connection."""

    transport: asyncio.Transport

    def __init__(self, all: Clients) -> None:
        self._all = all
        self._got = b""
        self._started = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._all.free.append(self)

    def send(self) -> None:
        self._started = time.perf_counter()
        self.transport.write(self._all.request())

    def data_received(self, data: bytes) -> None:
        self._got += data
        end = self._got.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._got[:end].lower() + b"\r\n"
        at = head.find(b"content-length: ")
        if len(self._got) < end + 4 + int(head[at + 16 : head.index(b"\r\n", at)]):
            return
        now = time.perf_counter()
        status = int(head[9:12])
        self._got = b""
        all, took = self._all, now - self._started
        self._started = 0.0
        all.seen[str(status)] += 1
        all.times.append((status, took))
        if b"connection: close" in head:
            all.seen["closed"] += 1
            self.transport.close()
        elif all.paced:
            all.free.append(self)
        elif now < all.until:
            self.send()

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._started:
            self._all.seen["broken"] += 1


async def _hammer(address: str, key: str, connections: int, seconds: float, rate: float, paths: list[str]) -> None:
    host, _, port = address.partition(":")
    loop = asyncio.get_running_loop()
    clients = Clients(address, key, paths)
    opened = [await loop.create_connection(lambda: Client(clients), host, int(port)) for _ in range(connections)]
    started = time.perf_counter()
    cpu = time.process_time()
    clients.until = started + seconds
    clients.paced = rate > 0
    if not clients.paced:
        while clients.free:
            clients.free.popleft().send()
    missed = due = 0
    late: list[float] = []
    while (now := time.perf_counter()) < clients.until:
        if clients.paced:
            while due < (now - started) * rate:
                late.append(now - started - due / rate)
                due += 1
                if clients.free:
                    clients.free.popleft().send()
                else:
                    missed += 1
        await asyncio.sleep(TICK if clients.paced else clients.until - now)
    busy = (time.process_time() - cpu) / (time.perf_counter() - started)
    waited = time.perf_counter() + 5
    while any(c._started for _, c in opened) and time.perf_counter() < waited:  # noqa: ASYNC110, SLF001 - a plain wait at the end
        await asyncio.sleep(0.05)
    late.sort()
    refused = sorted(t for status, t in clients.times if status in {429, 503})
    good = sorted(t for status, t in clients.times if status < 300)
    print(
        json.dumps(
            {
                "seen": clients.seen,
                "missed": missed,
                "busy": round(busy, 2),
                # how much later than due requests were begun: what this process waited for a core, and as much may be in the times below
                "late_p99": late[len(late) * 99 // 100] if late else 0,
                "late_most": late[-1] if late else 0,
                "good_p50": good[len(good) // 2] if good else 0,
                "good_p99": good[len(good) * 99 // 100] if good else 0,
                "refused_p50": refused[len(refused) // 2] if refused else 0,
                "refused_p99": refused[len(refused) * 99 // 100] if refused else 0,
            }
        )
    )


if __name__ == "__main__":
    uvloop.run(_hammer(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]), sys.argv[6:]))
