"""Starting, watching and stopping the engines of one data folder.

What was started stands in `state.json` of the folder, readable by its owner alone. Each engine has a folder beside it for its
files, its password and what it stores; stopping keeps them, so starting again finds everything as it was.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import platformdirs
import psutil

from infra.engines import java, pins
from infra.engines.errors import EnginesUnusable
from infra.engines.fetch import Tell, fetched, silent
from infra.engines.process import Record, ending, launch, reap
from infra.engines.servers import HOST, SERVERS, Server, Site

PATIENCE: Final = 180.0  # seconds from the start of a process to its first answer
GRACE: Final = 30.0  # seconds an engine has to end by itself
LOWEST: Final = 20_000  # of ports that are chosen


def default_cache() -> Path:
    return Path(platformdirs.user_cache_dir("chancery")) / "engines"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What is known of one engine. state: running (it answers), silent (its process runs, it does not answer), dead (its process is
    gone), stopped (nobody started it)."""

    engine: str
    state: str
    version: str
    port: int | None = None
    pids: tuple[int, ...] = ()
    memory_mb: int | None = None
    log: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


class Engines:
    """The engines of a folder. Several programs may hold one; starting and stopping waits for whoever does it now."""

    def __init__(self, folder: Path, cache: Path | None = None) -> None:
        self.folder = folder.resolve()
        self.cache = (cache or default_cache()).resolve()
        self._state = self.folder / "state.json"

    # -- up --

    def up(
        self, only: Sequence[str] = tuple(SERVERS), *, ports: Mapping[str, int] | None = None, tell: Tell = silent
    ) -> dict[str, str]:
        """Start what does not run yet; answers the variables to export once each engine has answered.

        `ports` gives the client port of an engine by its name; else the port it had last, when that is free, else any that is.
        """
        chosen = [named(name) for name in only]
        jdks = java.installed()
        fit = {s.name: java.fitting(s.title, s.needs, jdks) for s in chosen}
        with self._alone():
            state = self._read()
            begun: list[Server] = []
            for server in chosen:
                given = (ports or {}).get(server.name)
                if self._runs(state.get(server.name)):
                    self._same_port(server, state[server.name], given)
                else:
                    self._begin(server, state, fit[server.name], given, tell)
                    begun.append(server)
            waited = time.monotonic()
            variables: dict[str, str] = {}
            for server in chosen:
                self._wait(server, state, tell, begun=server in begun, since=waited)
                variables |= server.variables(self._site(server, state[server.name]))
        return variables

    def _same_port(self, server: Server, stored: Mapping[str, Any], given: int | None) -> None:
        has = self._site(server, stored).port
        if given is not None and given != has:
            raise EnginesUnusable(
                f"{server.title} runs already, at port {has}. Stop it first to give it port {given}: chancery engines down."
            )

    def _begin(self, server: Server, state: dict[str, Any], jdk: java.Jdk, given: int | None, tell: Tell) -> None:
        lib = fetched(server.name, pins.read()[server.name], self._cache(), tell)
        stored = state.get(server.name)
        if stored is not None:
            Record.read(stored).stop(GRACE)  # children of one that was killed may still hold its files
        before = stored["ports"] if stored else {}
        taken: set[int] = set()
        chosen_ports = {}
        for number, name in enumerate(server.ports):
            port = self._port(server, given if number == 0 else None, before.get(name), taken)
            taken.add(port)
            chosen_ports[name] = port
        folder = self.folder / server.name
        folder.mkdir(exist_ok=True, mode=0o700)
        site = Site(folder=folder, ports=chosen_ports, password=self._password(folder) if server.guarded else None)
        tell(f"{server.name}: starting", 0, 0)
        record = launch(server.prepare(site, lib, jdk), self._working(server, site), self._log(server))
        state[server.name] = {
            **asdict(record),
            "ports": chosen_ports,
            "version": pins.version(server.name),
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._write(state)

    @staticmethod
    def _working(server: Server, site: Site) -> Path:
        home = server.home(site)
        return home if home.is_dir() else site.folder

    def _wait(self, server: Server, state: dict[str, Any], tell: Tell, *, begun: bool, since: float) -> None:
        stored = state[server.name]
        record, site = Record.read(stored), self._site(server, stored)
        while not server.answers(site):
            tell(f"{server.name}: waiting for its answer", 0, 0)
            reap()
            gone = not record.alive()
            if gone or time.monotonic() - since > PATIENCE:
                why = "ended before it answered" if gone else f"did not answer in {PATIENCE:.0f} seconds"
                if begun:
                    record.stop(GRACE)
                    reap()
                raise EnginesUnusable(f"{server.title} {why}. Its log, {self._log(server)}, ends so:\n{ending(self._log(server))}")
            time.sleep(0.2)

    def _port(self, server: Server, given: int | None, before: int | None, taken: set[int]) -> int:
        if given is not None:
            if not free(given):
                raise EnginesUnusable(
                    f"Port {given} for {server.title} is taken by another program. Give another, or none for any free one."
                )
            return given
        if before is not None and before not in taken and free(before):
            return before
        while (port := any_free()) in taken:
            continue
        return port

    # -- down --

    def down(self, only: Sequence[str] = tuple(SERVERS)) -> dict[str, bool]:
        """Stop what was started here; answers for each engine known whether anything of it ran. What it stored stays."""
        if not self._state.exists():
            return {}
        found: dict[str, bool] = {}
        with self._alone():
            state = self._read()
            records = {name: Record.read(state[name]) for name in (named(n).name for n in only) if name in state}
            for name, record in records.items():
                found[name] = record.stop(GRACE)
                reap()
                state[name] = {**state[name], "pid": 0, "began": ""}  # its ports are remembered
                self._write(state)
        return found

    def forget(self) -> None:
        """Stop everything and remove what was stored."""
        self.down()
        state = self._read()
        for server in SERVERS.values():
            if server.name in state:
                shutil.rmtree(server.home(self._site(server, state[server.name])), ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- status --

    def status(self) -> list[Status]:
        """Each engine as it is now: asked on its own protocol."""
        state = self._read()
        return [self._status(server, state.get(server.name)) for server in SERVERS.values()]

    def _status(self, server: Server, stored: Mapping[str, Any] | None) -> Status:
        version = pins.version(server.name)
        if stored is None or not stored["pid"]:
            return Status(engine=server.name, state="stopped", version=version)
        reap()
        record, site = Record.read(stored), self._site(server, stored)
        pids = record.group()
        state = "dead"
        if record.alive():
            state = "silent"
            with contextlib.suppress(EnginesUnusable):
                state = "running" if server.answers(site) else "silent"
        return Status(
            engine=server.name,
            state=state,
            version=str(stored["version"]),
            port=site.port,
            pids=tuple(pids),
            memory_mb=memory_mb(pids),
            log=str(self._log(server)),
            variables=server.variables(site) if state == "running" else {},
        )

    # -- parts --

    @staticmethod
    def _runs(stored: Mapping[str, Any] | None) -> bool:
        reap()
        return stored is not None and bool(stored["pid"]) and Record.read(stored).alive()

    def _site(self, server: Server, stored: Mapping[str, Any]) -> Site:
        folder = self.folder / server.name
        return Site(folder=folder, ports=stored["ports"], password=self._password(folder) if server.guarded else None)

    @staticmethod
    def _password(folder: Path) -> str:
        """The engine's password: made at its first start, in a file that its owner alone can read."""
        file = folder / "password"
        if not file.exists():
            beside = file.with_suffix(".new")  # whole or not at all
            beside.unlink(missing_ok=True)
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as f:
                f.write(secrets.token_urlsafe(24))
            beside.rename(file)
        return file.read_text(encoding="utf-8").strip()

    def _log(self, server: Server) -> Path:
        return self.folder / f"{server.name}.log"

    def _cache(self) -> Path:
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise EnginesUnusable(
                f"The cache folder {self.cache} can't be made: {e.strerror}. Name another with --cache or CHANCERY_ENGINES_CACHE."
            ) from e
        return self.cache

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.chmod(0o700)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self) -> dict[str, Any]:
        try:
            stored = json.loads(self._state.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as e:
            raise EnginesUnusable(
                f"{self._state} can't be read, so it is not known what was started. See with ps whether a java of {self.folder} still runs,"
                " end it, and remove the file."
            ) from e
        return {name: stored[name] for name in SERVERS if name in stored}

    def _write(self, state: Mapping[str, Any]) -> None:
        beside = self._state.with_suffix(".new")
        beside.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
        beside.chmod(0o600)
        beside.replace(self._state)


def named(name: str) -> Server:
    if name not in SERVERS:
        raise EnginesUnusable(f"There is no engine {name!r}. There are {', '.join(SERVERS)}.")
    return SERVERS[name]


def free(port: int) -> bool:
    """Whether a server could listen there now. One that has just ended there does not count as taken."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((HOST, port))
        except OSError:
            return False
    return True


def any_free() -> int:
    """A port where nobody listens, if there is one outside the range from which the system gives ports to connections: one that is
    inside may be given away while its engine is being started again."""
    first = ephemeral()
    for _ in range(50):
        if first > LOWEST and free(port := LOWEST + secrets.randbelow(first - LOWEST)):
            return port
    with socket.socket() as s:
        s.bind((HOST, 0))
        return int(s.getsockname()[1])


def ephemeral() -> int:
    """The first port that the system may give to a connection."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):  # a system without /proc: what most of them have
        return 32_768


def memory_mb(pids: Sequence[int]) -> int:
    """What processes hold in memory together."""
    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            total += psutil.Process(pid).memory_info().rss
    return total // 1_000_000
