"""The limit of a key, met over real sockets: many calls at once, none of them waited for."""

import collections
import os
import re
import signal
import socket
import subprocess
from functools import partial
from pathlib import Path

from infra.engines.run import any_free
from tests.processes import PATIENCE
from tests.system.test_serve import SERVE

CALLS, SOCKETS = 1_500, 30
RATE, BURST = 4, 200  # a machine that serves no more than five a second still has to say no


def all_at_once(port: int, key: str) -> list[tuple[int, bytes]]:
    """Status and head of each answer to calls that were all sent before any answer was read."""
    head = f"GET /v1/me HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n".encode()
    mine = (head + b"\r\n") * (CALLS // SOCKETS - 1) + head + b"Connection: close\r\n\r\n"
    sockets = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in range(SOCKETS)]
    for s in sockets:
        s.sendall(mine)
    answers: list[tuple[int, bytes]] = []
    for s in sockets:
        with s:
            said = b"".join(iter(partial(s.recv, 65_536), b""))
        heads = re.split(rb"(?=HTTP/1\.1 \d{3} )", said)[1:]
        answers += [(int(h[9:12]), h.partition(b"\r\n\r\n")[0].lower()) for h in heads]
    return answers


def test_many_calls_at_once_on_one_key_are_told_when_to_come_again(folder: Path) -> None:
    port = any_free()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CHANCERY_")}
    environment |= {"CHANCERY_RATE_PER_SECOND": str(RATE), "CHANCERY_RATE_BURST": str(BURST), "PYTHONUNBUFFERED": "1"}
    command = [*SERVE, "--port", str(port), "--data", str(folder / "data")]
    with (
        (folder / "complaints").open("w+") as complaints,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True, env=environment) as server,
    ):
        try:
            said = []
            for line in server.stdout or ():
                said.append(line)
                if line.startswith("Health"):
                    break
            found = re.search(r"chy_\w+", "".join(said))
            assert found is not None, "".join(said) + (folder / "complaints").read_text()
            answers = all_at_once(port, found[0])
            server.send_signal(signal.SIGINT)
            server.wait(timeout=PATIENCE)
        finally:
            server.kill()
    statuses = collections.Counter(status for status, _ in answers)
    assert set(statuses) <= {200, 429, 503}, statuses  # 503: more than it serves at once
    assert statuses[200] >= BURST / 2
    assert statuses[429] >= 100, statuses
    for status, head in answers:
        if status == 429:
            assert re.search(rb"\r\nretry-after: [1-9]\d*\r\n", head + b"\r\n")
            assert b"application/problem+json" in head
