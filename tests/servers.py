"""Servers that tests alone need, of pinned files: an S3 server, and the oldest PostgreSQL that Chancery works on."""

import lzma
import os
import pwd
import socket
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.engines import java, pins
from infra.engines.fetch import fetched
from infra.engines.run import any_free, default_cache
from infra.engines.servers import own

PATIENCE = 60.0


@dataclass(frozen=True)
class S3:
    """A running S3 server with one bucket."""

    endpoint: str
    bucket: str
    folder: Path
    pid: int

    ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "chancery", "AWS_SECRET_ACCESS_KEY": "of-the-tests", "AWS_REGION": "us-east-1"}


def files(name: str) -> Path:
    """The folder of a server's pinned files."""
    cache = Path(os.environ.get("CHANCERY_ENGINES_CACHE") or default_cache())
    cache.mkdir(parents=True, exist_ok=True)
    return fetched(name, pins.read(roots=pins.BESIDE)[name], cache)


@contextmanager
def s3_server(folder: Path, port: int | None = None) -> Iterator[S3]:
    """S3Proxy, keeping its buckets in a folder: what it kept is found when it is started there again."""
    lib = files("s3proxy")
    jdk = java.fitting("S3Proxy", java.Needs(minimum=11, preferred=(17, 21)), java.installed())
    port = port or any_free()
    (folder / "data" / "contents").mkdir(parents=True, exist_ok=True)
    (folder / "s3proxy.properties").write_text(
        "s3proxy.authorization=aws-v2-or-v4\n"
        f"s3proxy.identity={S3.ENVIRONMENT['AWS_ACCESS_KEY_ID']}\ns3proxy.credential={S3.ENVIRONMENT['AWS_SECRET_ACCESS_KEY']}\n"
        f"s3proxy.endpoint=http://127.0.0.1:{port}\njclouds.provider=filesystem\njclouds.filesystem.basedir={folder / 'data'}\n",
        encoding="utf-8",
    )
    command = [str(jdk.java), "-Xmx160m", "-XX:+UseSerialGC", "-cp", f"{lib}/*", "org.gaul.s3proxy.Main"]
    with (folder / "s3proxy.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "--properties", str(folder / "s3proxy.properties")], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        until = time.monotonic() + PATIENCE
        while not _listening(port):
            assert process.poll() is None, (folder / "s3proxy.log").read_text(errors="replace")[-2000:]
            assert time.monotonic() < until, "S3Proxy does not answer"
            time.sleep(0.05)
        yield S3(f"http://127.0.0.1:{port}", "contents", folder / "data" / "contents", process.pid)
    finally:
        process.kill()
        process.wait()


def _listening(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


@contextmanager
def postgres_17(folder: Path) -> Iterator[str]:
    """PostgreSQL 17 in a folder of its own; gives the URL of a superuser over a socket. As root it runs as nobody, as it must."""
    (jar,) = files("postgres17").glob("*.jar")
    home, data, sockets = folder / "home", folder / "data", folder / "run"
    for made in (home, sockets):
        made.mkdir(parents=True)
    with zipfile.ZipFile(jar) as z:
        (packed,) = (n for n in z.namelist() if n.endswith(".txz"))
        with lzma.open(z.open(packed)) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
            archive.extractall(home, filter="data")
    runs_as = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    if runs_as is not None:
        own(folder, runs_as, pwd.getpwnam("nobody").pw_gid)
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "LD_LIBRARY_PATH": str(home / "lib")}

    def ran(*command: str) -> None:
        done = subprocess.run(command, user=runs_as, env=environment, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    ran(f"{home}/bin/initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories={sockets} -c fsync=off -c max_connections=200"
    ran(f"{home}/bin/pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql://postgres@/postgres?host={sockets}"
    finally:
        ran(f"{home}/bin/pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")
