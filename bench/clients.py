"""Clients of HTTP over plain sockets. `python -m bench.clients HOST:PORT KEY CONNECTIONS SECONDS PATH…` prints what came back as JSON."""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from uuid import uuid4

import uvloop

from bench.place import NOTE

BODY = json.dumps({"note": NOTE}).encode()
SLOW = 30.0


async def _client(
    host: str, port: int, key: str, paths: list[str], until: float, seen: Counter[str], times: list[tuple[int, float]]
) -> None:
    reader = writer = None
    while time.perf_counter() < until:
        started = time.perf_counter()
        try:
            if reader is None or writer is None:
                reader, writer = await asyncio.open_connection(host, port)
            head = (
                f"POST {random.choice(paths)} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
                f"Idempotency-Key: {uuid4()}\r\nContent-Length: {len(BODY)}\r\n\r\n"
            )
            writer.write(head.encode() + BODY)
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SLOW)
            status = int(answer[9:12])
            fields = answer.lower()
            at = fields.find(b"content-length: ")
            if at >= 0:
                await reader.readexactly(int(fields[at + 16 : fields.index(b"\r\n", at)]))
            seen[str(status)] += 1
            times.append((status, time.perf_counter() - started))
            if at < 0 or b"connection: close" in fields:
                writer.close()
                reader = writer = None
            if status >= 400:
                await asyncio.sleep(0.05)  # a client that was refused does not come back at once
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            seen["broken"] += 1
            reader = writer = None
            await asyncio.sleep(0.05)


async def _hammer(address: str, key: str, connections: int, seconds: float, paths: list[str]) -> None:
    host, _, port = address.partition(":")
    seen: Counter[str] = Counter()
    times: list[tuple[int, float]] = []
    until = time.perf_counter() + seconds
    await asyncio.gather(*(_client(host, int(port), key, paths, until, seen, times) for _ in range(connections)))
    refused = sorted(t for status, t in times if status in {429, 503})
    good = sorted(t for status, t in times if status < 300)
    print(
        json.dumps(
            {
                "seen": seen,
                "good_p50": good[len(good) // 2] if good else 0,
                "good_p99": good[len(good) * 99 // 100] if good else 0,
                "refused_p99": refused[len(refused) * 99 // 100] if refused else 0,
            }
        )
    )


if __name__ == "__main__":
    uvloop.run(_hammer(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), sys.argv[5:]))
