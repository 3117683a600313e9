"""What is particular to each engine: its files of settings, its command, its question "are you there?", what a client must know.

Heaps are for a laptop of 8 GB that has other things to do. Nothing here is a way to run a firm's production.
"""

import base64
import contextlib
import hashlib
import os
import pwd
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote
from uuid import uuid4

from infra.engines.errors import EnginesUnusable
from infra.engines.java import Jdk, Needs
from infra.engines.process import Launch, ending

HOST: Final = "127.0.0.1"
QUIET: Final = ("-XX:+UseG1GC", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true", "-Dfile.encoding=UTF-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where one engine lives: its folder, its ports by name (the first is that of clients), the password it has, if it can have one."""

    folder: Path
    ports: Mapping[str, int]
    password: str | None = field(default=None, repr=False)

    @property
    def port(self) -> int:
        return next(iter(self.ports.values()))


class Server(Protocol):
    """An engine that can be started."""

    name: str
    title: str
    ports: tuple[str, ...]
    needs: Needs
    guarded: bool  # whether it asks for a password
    open: str  # what is not protected, in a sentence

    def prepare(self, site: Site, lib: Path, jdk: Jdk) -> Launch:
        """Write what it needs and say how it is started; may be called again for what has been started before."""
        ...

    def answers(self, site: Site) -> bool:
        """Whether it answers a question of its own protocol, within about two seconds."""
        ...

    def variables(self, site: Site) -> dict[str, str]:
        """What to export for Chancery to use it."""
        ...

    def home(self, site: Site) -> Path:
        """The folder its process works in: the word of its command that no other process has."""
        ...


def listening(port: int) -> bool:
    """Whether anything listens there: asked before a client is made, because clients are slow to give up."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


class Kafka(Server):
    name = "kafka"
    title = "Kafka"
    ports = ("clients", "controller")
    needs = Needs(minimum=17, preferred=(17, 21))
    guarded = False
    open = "Kafka asks for no password: any program on this machine can read and write it."

    def home(self, site: Site) -> Path:
        return site.folder

    def prepare(self, site: Site, lib: Path, jdk: Jdk) -> Launch:
        settings, logging = site.folder / "server.properties", site.folder / "log4j2.properties"
        settings.write_text(self.settings(site), encoding="utf-8")
        logging.write_text(
            "status = error\nappender.out.type = Console\nappender.out.name = out\nappender.out.layout.type = PatternLayout\n"
            "appender.out.layout.pattern = %d %p %c{1} %m%n\nrootLogger.level = info\nrootLogger.appenderRef.out.ref = out\n",
            encoding="utf-8",
        )
        java = [str(jdk.java), f"-Dlog4j2.configurationFile={logging}", "-cp", f"{lib}/*"]
        self._format(site, java)
        command = [java[0], "-Xms128m", "-Xmx384m", *QUIET, *java[1:], "kafka.Kafka", str(settings)]
        return Launch(command=command, mark=str(settings), environment={})

    def settings(self, site: Site) -> str:
        clients, controller = site.ports["clients"], site.ports["controller"]
        values = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "listeners": f"PLAINTEXT://{HOST}:{clients},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{clients}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(site.folder / "log"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "8",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "8",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
        }
        return "".join(f"{k}={v}\n" for k, v in values.items())

    def _format(self, site: Site, java: Sequence[str]) -> None:
        """Give the log its identity, once."""
        formatted = site.folder / "formatted"
        if formatted.exists():
            return
        identity = site.folder / "cluster.id"
        if not identity.exists():
            identity.write_text(base64.urlsafe_b64encode(uuid4().bytes).decode().rstrip("=").replace("-", "A"), encoding="ascii")
        run(
            [
                *java,
                *("kafka.tools.StorageTool", "format", "--ignore-formatted"),
                *("-t", identity.read_text(encoding="ascii"), "-c", str(site.folder / "server.properties")),
            ],
            "Kafka's log could not be formatted",
        )
        formatted.touch()

    def answers(self, site: Site) -> bool:
        if not listening(site.port):
            return False
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        client = AdminClient({"bootstrap.servers": f"{HOST}:{site.port}", "log_level": 0, "socket.timeout.ms": 2000})
        try:
            return len(client.list_topics(timeout=2).brokers) > 0
        except KafkaException:
            return False

    def variables(self, site: Site) -> dict[str, str]:
        return {"CHANCERY_KAFKA_BOOTSTRAP": f"{HOST}:{site.port}"}


class Neo4j(Server):
    name = "neo4j"
    title = "Neo4j"
    ports = ("bolt",)
    needs = Needs(minimum=17, preferred=(21, 17))
    guarded = True
    open = "Neo4j asks for a password; the connection is not encrypted, and does not leave this machine."
    user: Final = "neo4j"
    OPENS: Final = ("java.nio", "java.io", "sun.nio.ch", "java.util.concurrent")

    def home(self, site: Site) -> Path:
        return site.folder

    def prepare(self, site: Site, lib: Path, jdk: Jdk) -> Launch:
        conf = site.folder / "conf"
        conf.mkdir(exist_ok=True)
        (conf / "neo4j.conf").write_text(self.settings(site), encoding="utf-8")
        self._first_password(site)
        opens = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in self.OPENS]
        command = [str(jdk.java), "-Xms192m", "-Xmx384m", *QUIET, *opens, "-cp", f"{lib}/*"]
        command += ["org.neo4j.server.CommunityEntryPoint", f"--home-dir={site.folder}", f"--config-dir={conf}"]
        return Launch(command=command, mark=f"--home-dir={site.folder}", environment={})

    def settings(self, site: Site) -> str:
        values = {
            "server.default_listen_address": HOST,
            "server.bolt.listen_address": f"{HOST}:{site.port}",
            "server.bolt.advertised_address": f"{HOST}:{site.port}",
            "server.http.enabled": "false",
            "server.https.enabled": "false",
            "server.memory.pagecache.size": "64m",
            "db.memory.transaction.max": "192m",
            "dbms.security.auth_enabled": "true",
            "dbms.usage_report.enabled": "false",
            "db.tx_log.rotation.retention_policy": "2 files",
        }
        return "".join(f"{k}={v}\n" for k, v in values.items())

    def _first_password(self, site: Site) -> None:
        """Leave the password where the server reads it at its very first start: a digest, and on no command line."""
        if (site.folder / "data" / "databases").exists():
            return
        dbms = site.folder / "data" / "dbms"
        dbms.mkdir(parents=True, exist_ok=True)
        salt = secrets.token_bytes(32)
        digest = hashlib.sha256(salt + (site.password or "").encode()).digest()
        written = dbms / "auth.ini"
        written.write_text(f"{self.user}:SHA-256,{digest.hex().upper()},{salt.hex().upper()}:\n", encoding="ascii")
        written.chmod(0o600)

    def answers(self, site: Site) -> bool:
        if not listening(site.port):
            return False
        from neo4j import GraphDatabase
        from neo4j.exceptions import AuthError, DriverError, Neo4jError

        auth = (self.user, site.password or "")
        try:
            with GraphDatabase.driver(
                f"bolt://{HOST}:{site.port}", auth=auth, connection_timeout=2, max_transaction_retry_time=0
            ) as driver:
                return bool(driver.execute_query("RETURN 1 AS one").records[0]["one"] == 1)
        except AuthError as e:
            raise EnginesUnusable(
                f"Neo4j at {HOST}:{site.port} refuses the password that was made for it. If it was changed by hand, put it into"
                f" {site.folder / 'password'}; or remove {site.folder} to begin with an empty one."
            ) from e
        except (DriverError, Neo4jError, OSError):
            return False

    def variables(self, site: Site) -> dict[str, str]:
        return {"CHANCERY_NEO4J_URL": f"bolt://{self.user}:{quote(site.password or '', safe='')}@{HOST}:{site.port}"}


class Elasticsearch(Server):
    name = "elasticsearch"
    title = "Elasticsearch"
    ports = ("http", "transport")
    needs = Needs(minimum=21, preferred=(25, 24, 21), module="jdk.incubator.vector")
    guarded = True
    open = "Elasticsearch asks for a password; the connection is not encrypted, and does not leave this machine."
    user: Final = "elastic"

    def home(self, site: Site) -> Path:
        """Beside its data; elsewhere when the user it runs as can't come there."""
        place = site.folder / "place"
        return Path(place.read_text(encoding="utf-8")) if place.exists() else site.folder / "home"

    def prepare(self, site: Site, lib: Path, jdk: Jdk) -> Launch:
        (archive,) = lib.glob("*.zip")
        runs_as = someone_else() if os.geteuid() == 0 else None
        if runs_as is not None and not reachable(site.folder) and not (site.folder / "place").exists():
            made = tempfile.mkdtemp(prefix="chancery-elasticsearch-", dir="/var/tmp")  # nosec B108 - made anew, by name unknown before
            (site.folder / "place").write_text(made, encoding="utf-8")
        home = self.home(site)
        self._unpack(archive, home)
        (home / "config" / "elasticsearch.yml").write_text(self.settings(site), encoding="utf-8")
        (home / "tmp").mkdir(exist_ok=True)
        environment = {
            "ES_JAVA_HOME": str(jdk.home),
            "ES_JAVA_OPTS": "-Xms512m -Xmx512m -Xlog:disable -Xlog:all=warning:stderr",
            "ES_TMPDIR": str(home / "tmp"),
            "CLI_JAVA_OPTS": "-Xmx64m",
            "HOME": str(home),
        }
        self._first_password(site, home, environment)
        user, group = (runs_as.pw_uid, runs_as.pw_gid) if runs_as else (None, None)
        if runs_as is not None:
            own(home, runs_as.pw_uid, runs_as.pw_gid)
        return Launch(
            command=[str(home / "bin" / "elasticsearch")], mark=f"{home}/", environment=environment, user=user, group=group
        )

    def settings(self, site: Site) -> str:
        home = self.home(site)
        values = {
            "cluster.name": "chancery",
            "node.name": "one",
            "discovery.type": "single-node",
            "network.host": HOST,
            "http.port": str(site.ports["http"]),
            "transport.port": str(site.ports["transport"]),
            "path.data": str(home / "data"),
            "path.logs": str(home / "logs"),
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            "xpack.security.enabled": "true",
            "xpack.security.enrollment.enabled": "false",
            "xpack.security.http.ssl.enabled": "false",
            "xpack.security.transport.ssl.enabled": "false",
        }
        return "".join(f'{k}: "{v}"\n' for k, v in values.items())

    def _unpack(self, archive: Path, home: Path) -> None:
        """The pinned archive, unpacked; anew when it is another one than lies there."""
        unpacked = home / "unpacked"
        if unpacked.exists() and unpacked.read_text(encoding="utf-8") == archive.name:
            return
        home.mkdir(exist_ok=True, mode=0o755)
        with zipfile.ZipFile(archive) as z, tempfile.TemporaryDirectory(prefix="unpacking-", dir=home) as beside:
            for entry in z.infolist():
                made = Path(z.extract(entry, beside))
                mode = entry.external_attr >> 16
                if made.is_file() and mode:
                    made.chmod(stat.S_IMODE(mode) & 0o755 | 0o600)
            (inside,) = Path(beside).iterdir()
            for part in inside.iterdir():
                there = home / part.name
                if there.is_dir():
                    shutil.rmtree(there)
                part.replace(there)
        unpacked.write_text(archive.name, encoding="utf-8")

    def _first_password(self, site: Site, home: Path, environment: Mapping[str, str]) -> None:
        """Put the password into the server's keystore, over a pipe; it holds as long as nobody changes it in the server."""
        keystore = home / "config" / "elasticsearch.keystore"
        if keystore.exists() and (home / "password-set").exists():
            return
        tool = str(home / "bin" / "elasticsearch-keystore")
        if not keystore.exists():
            run([tool, "create"], "Elasticsearch's keystore could not be made", environment=environment)
        run(
            [tool, "add", "--force", "--stdin", "bootstrap.password"],
            "Elasticsearch's password could not be set",
            environment=environment,
            typed=site.password or "",
        )
        (home / "password-set").touch()

    def answers(self, site: Site) -> bool:
        if not listening(site.port):
            return False
        from elasticsearch import ApiError, AuthenticationException, TransportError
        from elasticsearch import Elasticsearch as Client

        with (
            warnings.catch_warnings(),
            Client(
                f"http://{HOST}:{site.port}", basic_auth=(self.user, site.password or ""), request_timeout=3, max_retries=0
            ) as client,
        ):
            try:
                return client.cluster.health()["status"] in {"yellow", "green"}
            except AuthenticationException as e:
                raise EnginesUnusable(
                    f"Elasticsearch at {HOST}:{site.port} refuses the password that was made for it. If it was changed by hand, put it"
                    f" into {site.folder / 'password'}; or remove {site.folder} and {self.home(site)} to begin with an empty one."
                ) from e
            except (ApiError, TransportError):
                return False

    def variables(self, site: Site) -> dict[str, str]:
        return {"CHANCERY_ELASTICSEARCH_URL": f"http://{self.user}:{quote(site.password or '', safe='')}@{HOST}:{site.port}"}


_ALL: Final[tuple[Server, ...]] = (Kafka(), Elasticsearch(), Neo4j())
SERVERS: Final = {s.name: s for s in _ALL}


def run(command: Sequence[str], what: str, *, environment: Mapping[str, str] | None = None, typed: str | None = None) -> None:
    """Carry out a tool of an engine; what it says becomes the reason when it fails."""
    usual = {k: os.environ[k] for k in ("PATH", "LANG") if k in os.environ}
    with tempfile.NamedTemporaryFile(prefix="chancery-engine-") as said:
        try:
            code = subprocess.run(  # noqa: S603 - a pinned engine's own tool
                command,
                input=None if typed is None else (typed + "\n").encode(),
                stdin=subprocess.DEVNULL if typed is None else None,
                stdout=said,
                stderr=subprocess.STDOUT,
                env={**usual, **(environment or {})},
                timeout=120,
                check=False,
            ).returncode
        except (OSError, subprocess.TimeoutExpired) as e:
            raise EnginesUnusable(f"{what}: {e}.") from e
        if code:
            raise EnginesUnusable(f"{what}. It said:\n{ending(Path(said.name))}")


def someone_else() -> pwd.struct_passwd:
    """Whom to run as when we are root and a server refuses that."""
    for name in ("elasticsearch", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise EnginesUnusable("Elasticsearch does not run as root, and there is no user elasticsearch or nobody to run it as. Add one.")


def reachable(path: Path) -> bool:
    """Whether anybody may walk to this folder and into it."""
    return all(p.stat().st_mode & stat.S_IXOTH for p in (path.resolve(), *path.resolve().parents))


def own(folder: Path, user: int, group: int) -> None:
    """Give a folder and everything in it to a user; links are not followed."""
    for at, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            os.chown(Path(at) / name, user, group, follow_symlinks=False)
