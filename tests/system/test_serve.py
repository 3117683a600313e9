"""`chancery serve` as a person meets it: what it says first, what it says the second time, and when it can't."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from infra.embedded import running
from infra.engines.run import any_free
from tests.processes import PATIENCE, gone

SERVE = [sys.executable, "-m", "infra.cli", "serve"]


def until(done: Callable[[], bool], what: str = "it did not come to that") -> None:
    """Wait for what other processes bring about."""
    limit = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < limit, what
        time.sleep(0.05)


def complaints(data: Path) -> Path:
    return data.with_name("complaints")


@contextmanager
def serving(data: Path, port: int) -> Iterator[tuple[list[str], "subprocess.Popen[str]"]]:
    """A server, and the lines it printed before it had said where its health can be seen. It complains to a file beside its data."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CHANCERY_")}
    command = [*SERVE, "--demo", "--port", str(port), "--data", str(data)]
    environment["PYTHONUNBUFFERED"] = "1"
    with (
        complaints(data).open("w") as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True, env=environment) as server,
    ):
        lines: list[str] = []
        try:
            for line in server.stdout or ():
                lines.append(line.rstrip())
                if line.startswith("Health"):
                    break
            assert lines, complaints(data).read_text()
            yield lines, server
            server.send_signal(signal.SIGINT)
            server.wait(timeout=PATIENCE)
        finally:
            server.kill()


def test_the_first_start_shows_the_key_once_and_what_to_do_with_it(folder: Path) -> None:
    port = any_free()
    with serving(folder / "data", port) as (lines, server):
        said = "\n".join(lines)
        assert lines[0] == f"Chancery runs at http://127.0.0.1:{port}. Stop it with Ctrl-C."
        key = re.search(r"^Key +(chy_\w+)$", said, re.MULTILINE)
        address = re.search(r'curl -H "Authorization: Bearer \$KEY" "([^"]+)"', said)
        assert key is not None
        assert address is not None
        answer = httpx.get(address[1], headers={"Authorization": f"Bearer {key[1]}"}, timeout=PATIENCE)
        assert answer.status_code == 200
    assert server.returncode == 0
    stored = b"".join(p.read_bytes() for p in (folder / "data" / "keys").rglob("*") if p.is_file())
    assert key[1].encode() not in stored
    with serving(folder / "data", port) as (lines, server):
        assert "chy_" not in "\n".join(lines)
        assert httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=PATIENCE).status_code == 200
        server.send_signal(signal.SIGINT)
        rest = "\n".join([*lines, *(server.stdout or ()), complaints(folder / "data").read_text()])
    assert "key create --firm ID --role owner" in rest
    assert "Traceback" not in rest


def test_a_port_that_is_taken_is_said_before_anything_is_made(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*SERVE, "--port", str(port), "--data", str(folder / "data")],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 1
    assert f"port {port}: another program listens there. Choose another" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "data").exists()


def test_a_server_that_is_told_to_end_as_soon_as_it_answers_leaves_nobody_behind(folder: Path) -> None:
    port = any_free()
    with serving(folder / "data", port) as (_lines, server):
        assert (
            httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=PATIENCE).status_code == 200
        )  # the port waits before it answers
        children = psutil.Process(server.pid).children()
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=PATIENCE)
        gone(children)
        until(lambda: not running(folder / "data" / "postgres"), "the database was left running")
