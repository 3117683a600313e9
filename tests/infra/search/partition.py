"""An engine behind a network that can be cut: packets vanish and nobody is told.

Where network namespaces are permitted, a relay in one of its own stands between: cut, it answers nothing, not even a closed door, because
its packet filter (nft) drops what comes, or, without nft, because it has no way back. Elsewhere the engine's processes are stopped (SIGSTOP),
which a client can't tell from it.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

_RELAY = """
import os, socket, sys, threading
def pump(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    for s in (a, b):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
def serve(listening, connect):
    while True:
        try:
            a, _ = listening.accept()
            b = connect()
        except OSError:
            continue
        for x, y in ((a, b), (b, a)):
            threading.Thread(target=pump, args=(x, y), daemon=True).start()
def unix(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    return s
how, where, path = sys.argv[1:4]
if how == "inside":
    host, port = where.split(":")
    listening = socket.create_server((host, int(port)))
    print("ready", flush=True)
    serve(listening, lambda: unix(path))
else:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(64)
    print("ready", flush=True)
    host, port = where.split(":")
    serve(listening, lambda: socket.create_connection((host, int(port))))
"""


@dataclass(frozen=True, slots=True)
class Network:
    """Where the engine is found, and how it is cut off and let back. `how` says by what means."""

    host: str
    port: int
    cut: Callable[[], None]
    mend: Callable[[], None]
    how: str


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=120)


def _filters(name: str) -> bool:
    """Whether the namespace can be given a packet filter: nft is installed, and the kernel has what it needs."""
    if shutil.which("nft") is None:
        return False
    try:
        _ip("netns", "exec", name, "nft", "add table inet cut; delete table inet cut")
    except subprocess.SubprocessError:
        return False
    return True


def _cut(name: str, here: str) -> tuple[Callable[[], None], Callable[[], None], str]:
    """How the namespace is cut off and let back, and by what means."""

    def within(*words: str) -> Callable[[], None]:
        return lambda: _ip("netns", "exec", name, *words)

    if _filters(name):
        drop = "add table inet cut; add chain inet cut in { type filter hook input priority 0; policy drop; }"
        return within("nft", drop), within("nft", "delete table inet cut"), "nft in a network namespace"
    route = ("blackhole", f"{here}/32")
    return within("ip", "route", "add", *route), within("ip", "route", "del", *route), "a route in a network namespace"


def permitted() -> bool:
    """Whether this process may make network namespaces."""
    name = f"chy{uuid4().hex[:8]}"
    try:
        _ip("netns", "add", name)
        _ip("netns", "del", name)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


@contextlib.contextmanager
def network(port: int, pids: Sequence[int], folder: Path) -> Iterator[Network]:
    """The engine at this port of this machine, through a network that can be cut."""
    if not permitted():

        def send(what: signal.Signals) -> None:
            for pid in pids:
                os.kill(pid, what)

        try:
            yield Network("127.0.0.1", port, lambda: send(signal.SIGSTOP), lambda: send(signal.SIGCONT), "SIGSTOP")
        finally:
            send(signal.SIGCONT)
        return
    name, number = f"chy{uuid4().hex[:8]}", os.getpid() % 250
    here, there = f"10.213.{number}.1", f"10.213.{number}.2"
    outer, inner = f"v{name[3:]}a", f"v{name[3:]}b"
    path = str(folder / "relay")
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> None:
        process = subprocess.Popen([*words, path], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"

    _ip("netns", "add", name)
    try:
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner)
        _ip("link", "set", inner, "netns", name)
        _ip("addr", "add", f"{here}/30", "dev", outer)
        _ip("link", "set", outer, "up")
        for words in (("addr", "add", f"{there}/30", "dev", inner), ("link", "set", inner, "up"), ("link", "set", "lo", "up")):
            _ip("netns", "exec", name, "ip", *words)
        start(sys.executable, "-c", _RELAY, "outside", f"127.0.0.1:{port}")
        start("ip", "netns", "exec", name, sys.executable, "-c", _RELAY, "inside", f"{there}:9200")
        _answers(there, 9200)
        yield Network(there, 9200, *_cut(name, here))
    finally:
        for process in started:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        with contextlib.suppress(subprocess.SubprocessError):
            _ip("netns", "del", name)
        with contextlib.suppress(subprocess.SubprocessError):
            _ip("link", "del", outer)


def _answers(host: str, port: int) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection((host, port), 1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return
