"""Pins, JDKs, fetching, process records, ports and messages: without starting an engine."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.cli.main import app
from infra.engines import fetch, java, pins
from infra.engines.errors import EnginesUnusable
from infra.engines.pins import Pin
from infra.engines.process import Launch, Record, began, launch
from infra.engines.run import Engines, any_free, ephemeral, free
from infra.engines.servers import SERVERS, Elasticsearch, Kafka, Neo4j, Site, reachable

# -- pins --


def test_every_engine_is_pinned_in_the_version_that_is_named_and_every_file_has_a_checksum() -> None:
    stored = pins.read()
    assert {e: pins.version(e) for e in stored} == {"kafka": "4.1.0", "elasticsearch": "9.5.0", "neo4j": "5.26.0"}
    assert stored.keys() == SERVERS.keys()
    for engine, files in (stored | pins.read(roots=pins.BESIDE)).items():
        assert set({**pins.ROOTS, **pins.BESIDE}[engine]) <= {p.coordinate for p in files}
        assert [p.coordinate for p in files if not re.fullmatch(r"[0-9a-f]{64}", p.sha256)] == []
        assert len({p.name for p in files}) == len(files), "two files of one name would hide each other"
        assert not any("SNAPSHOT" in p.coordinate or "LATEST" in p.coordinate for p in files)


def test_the_pins_name_no_address_and_are_written_as_they_are_read() -> None:
    text = pins.FILE.read_text(encoding="utf-8")
    assert "://" not in text
    assert pins.written(pins.read() | pins.read(roots=pins.BESIDE)) == text
    assert {e: t["version"] for e, t in tomllib.loads(text).items()} == {e: pins.version(e) for e in (*pins.ROOTS, *pins.BESIDE)}


@pytest.mark.parametrize(
    ("coordinate", "name", "path"),
    [
        ("a.b:c:jar:1.0", "c-1.0.jar", "a/b/c/1.0/c-1.0.jar"),
        ("a.b:c:jar:linux-x86_64:1.0", "c-1.0-linux-x86_64.jar", "a/b/c/1.0/c-1.0-linux-x86_64.jar"),
        ("e:f:zip:2", "f-2.zip", "e/f/2/f-2.zip"),
    ],
)
def test_a_coordinate_names_its_file_as_maven_does(coordinate: str, name: str, path: str) -> None:
    pin = Pin(coordinate=coordinate, sha256="")
    assert (pin.name, pin.path) == (name, path)


# -- fetching: a Maven of ours that hands out what lies in a folder --

MAVEN = """#!{python}
import os, pathlib, re, shutil, sys
pom = pathlib.Path(sys.argv[sys.argv.index("--file") + 1]).read_text()
said = [a.partition("=")[2] for a in sys.argv if a.startswith("-DoutputDirectory=")]
lib = pathlib.Path(said[0])
with open(r"{calls}", "a") as f:
    f.write("called\\n")
offered = pathlib.Path(r"{offered}")
if not offered.exists():
    print("[ERROR] Could not reach the repository")
    sys.exit(1)
lib.mkdir(parents=True, exist_ok=True)
for artifact, version in re.findall("<artifactId>([^<*]+)</artifactId><version>([^<]+)</version><type>", pom):
    name = artifact + "-" + version + ".jar"
    if (offered / name).exists():
        shutil.copy(offered / name, lib / name)
"""


class Shop:
    """A place that offers files by the name of Maven."""

    def __init__(self, root: Path) -> None:
        self.offered, self.calls, self.cache = root / "offered", root / "calls", root / "cache"
        self.offered.mkdir()
        self.cache.mkdir()
        (root / "bin").mkdir()
        program = root / "bin" / "mvn"
        program.write_text(MAVEN.format(python=sys.executable, calls=self.calls, offered=self.offered), encoding="utf-8")
        program.chmod(0o755)
        self.path = str(root / "bin")

    def offer(self, name: str, content: bytes) -> Pin:
        file = self.offered / f"{name}-1.jar"
        file.write_bytes(content)
        return Pin(coordinate=f"g:{name}:jar:1", sha256=pins.sha256(file))

    def called(self) -> int:
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = Shop(tmp_path)
    monkeypatch.setenv("PATH", made.path)
    return made


def test_files_are_fetched_once_and_a_second_time_nothing_is_downloaded(shop: Shop) -> None:
    wanted = [shop.offer("one", b"1"), shop.offer("two", b"2")]
    folder = fetch.fetched("kafka", wanted, shop.cache)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {"one-1.jar": b"1", "two-1.jar": b"2"}
    assert fetch.fetched("kafka", wanted, shop.cache) == folder
    assert shop.called() == 1


def test_a_file_that_was_changed_in_the_cache_is_fetched_anew_and_a_stray_one_is_removed(shop: Shop) -> None:
    wanted = [shop.offer("one", b"1"), shop.offer("two", b"2")]
    folder = fetch.fetched("kafka", wanted, shop.cache)
    (folder / "one-1.jar").write_bytes(b"changed")
    (folder / "evil.jar").write_bytes(b"would be on the class path")
    fetch.fetched("kafka", wanted, shop.cache)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {"one-1.jar": b"1", "two-1.jar": b"2"}


def test_a_file_with_another_checksum_than_its_pin_is_refused_and_not_kept(shop: Shop) -> None:
    pin = shop.offer("one", b"1")
    (shop.offered / "one-1.jar").write_bytes(b"another")
    with pytest.raises(EnginesUnusable, match=rf"g:one:jar:1, of kafka, is not the file that was pinned.*{pin.sha256}"):
        fetch.fetched("kafka", [pin], shop.cache)
    assert list((shop.cache / "kafka-4.1.0").iterdir()) == []


def test_a_file_that_maven_does_not_bring_is_named(shop: Shop) -> None:
    with pytest.raises(EnginesUnusable, match="did not bring g:absent:jar:1"):
        fetch.fetched("kafka", [Pin(coordinate="g:absent:jar:1", sha256="0" * 64)], shop.cache)


def test_an_unreachable_repository_is_tried_twice_and_told_in_a_sentence(shop: Shop) -> None:
    pin = shop.offer("one", b"1")
    shutil.rmtree(shop.offered)
    with pytest.raises(EnginesUnusable, match=r"Maven could not fetch.*Could not reach the repository.*what has arrived is kept"):
        fetch.fetched("kafka", [pin], shop.cache)
    assert shop.called() == 2


def test_without_maven_the_message_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnginesUnusable, match=r"apt install maven.*docker compose --profile engines up"):
        fetch.fetched("kafka", [Pin(coordinate="g:a:jar:1", sha256="0" * 64)], tmp_path)


def test_the_project_wants_each_file_and_nothing_that_it_would_bring_along() -> None:
    text = fetch.project("neo4j", pins.read()["neo4j"])
    count = len(pins.read()["neo4j"])
    assert text.count("<dependency>") == text.count("<exclusion><groupId>*</groupId>") == count
    assert "<classifier>linux-x86_64</classifier>" in text


# -- JDKs --


def jdk(folder: Path, version: str, modules: str = "java.base") -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "java").touch(mode=0o755)
    (folder / "release").write_text(f'IMPLEMENTOR="X"\nJAVA_VERSION="{version}"\nMODULES="{modules}"\n', encoding="utf-8")
    return folder


def test_the_java_that_suits_an_engine_is_chosen_among_those_installed(tmp_path: Path) -> None:
    vector = "java.base jdk.incubator.vector"
    homes = [
        jdk(tmp_path / "8", "1.8.0_401"),
        jdk(tmp_path / "17", "17.0.15", vector),
        jdk(tmp_path / "23", "23.0.1"),
        jdk(tmp_path / "25", "25.0.1", vector),
    ]
    known = java.installed([*homes, homes[0], tmp_path / "absent"])
    assert [j.feature for j in known] == [8, 17, 23, 25]
    chosen = {name: java.fitting(s.title, s.needs, known).feature for name, s in SERVERS.items()}
    assert chosen == {"kafka": 17, "elasticsearch": 25, "neo4j": 17}


def test_a_missing_java_is_told_with_what_was_found_and_what_to_install(tmp_path: Path) -> None:
    known = java.installed([jdk(tmp_path / "17", "17.0.15"), jdk(tmp_path / "25", "25")])
    with pytest.raises(
        EnginesUnusable,
        match=r"Elasticsearch needs a JDK 21 or later with the module jdk\.incubator\.vector; found: 17 in .*openjdk-25-jdk",
    ):
        java.fitting("Elasticsearch", SERVERS["elasticsearch"].needs, known)
    with pytest.raises(EnginesUnusable, match="Kafka needs a JDK 17 or later; found: none"):
        java.fitting("Kafka", SERVERS["kafka"].needs, [])


# -- processes --


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Record]:
    code = "import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', sys.argv[1]])\ntime.sleep(600)"
    mark = str(tmp_path / "a-mark")
    record = launch(
        Launch(command=[sys.executable, "-c", code, mark], mark=mark, environment={}), tmp_path, tmp_path / "sleeper.log"
    )
    until = time.monotonic() + 120
    while len(record.group()) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    yield record
    record.stop(1)


def test_a_process_and_its_children_are_known_and_stopped_together(sleeper: Record) -> None:
    assert sleeper.alive()
    group = sleeper.group()
    assert len(group) == 2
    assert sleeper.stop(1)
    assert [p for p in group if began(p)] == []
    assert not sleeper.stop(1)


def test_a_process_that_was_stopped_by_a_signal_is_ended_all_the_same(sleeper: Record) -> None:
    os.kill(sleeper.pid, signal.SIGSTOP)
    assert sleeper.stop(1)
    assert not sleeper.alive()


def test_children_left_behind_by_a_killed_process_are_found_and_ended(sleeper: Record) -> None:
    os.kill(sleeper.pid, signal.SIGKILL)
    until = time.monotonic() + 120
    while sleeper.alive() and time.monotonic() < until:
        time.sleep(0.05)
    assert not sleeper.alive()
    assert len(sleeper.group()) == 1
    assert sleeper.stop(1)
    assert sleeper.group() == []


@pytest.mark.parametrize("differs", ["began", "mark"])
def test_a_process_that_only_got_the_number_is_never_touched(sleeper: Record, differs: str) -> None:
    other = {"began": "an-earlier-boot:17", "mark": "/another/place"}[differs]
    stale = Record.read({"pid": sleeper.pid, "began": sleeper.began, "mark": sleeper.mark, differs: other})
    assert not stale.alive()
    if differs == "mark":
        assert not stale.stop(1)
    assert sleeper.alive()


def test_a_process_gets_none_of_our_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANCERY_DATABASE_URL", "postgresql://u:secret@h/d")
    log = tmp_path / "env.log"
    code = "import os; print(sorted(os.environ)); print(os.getcwd())"
    record = launch(Launch(command=[sys.executable, "-c", code], mark="x", environment={"GIVEN": "1"}), tmp_path, log)
    until = time.monotonic() + 120
    while began(record.pid) and time.monotonic() < until:
        time.sleep(0.05)
    said = log.read_text()
    assert "GIVEN" in said
    assert "CHANCERY" not in said


# -- a folder of engines --


def stored(folder: Path, **fields: object) -> Engines:
    folder.mkdir()
    kafka = {"pid": 0, "began": "", "mark": "m", "ports": {"clients": 9092, "controller": 9093}, "version": "4.1.0", **fields}
    (folder / "state.json").write_text(json.dumps({"kafka": kafka}), encoding="utf-8")
    return Engines(folder, folder / "cache")


def test_a_stale_pid_is_a_dead_engine_and_down_leaves_the_other_process_alone(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        engines = stored(tmp_path / "e", pid=other.pid, began="an-earlier-boot:17", mark=str(tmp_path))
        kafka = next(s for s in engines.status() if s.engine == "kafka")
        assert (kafka.state, kafka.pids, kafka.variables) == ("dead", (), {})
        assert engines.down() == {"kafka": False}
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_running_process_that_does_not_answer_is_silent(tmp_path: Path, sleeper: Record) -> None:
    port = any_free()
    engines = stored(
        tmp_path / "e", pid=sleeper.pid, began=sleeper.began, mark=sleeper.mark, ports={"clients": port, "controller": 1}
    )
    kafka = next(s for s in engines.status() if s.engine == "kafka")
    assert (kafka.state, kafka.port, len(kafka.pids)) == ("silent", port, 2)
    assert engines.down() == {"kafka": True}
    assert not sleeper.alive()


def test_a_state_that_can_not_be_read_is_told_and_not_guessed_at(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{", encoding="utf-8")
    with pytest.raises(EnginesUnusable, match="it is not known what was started"):
        Engines(tmp_path).down()


def test_ports_are_the_given_one_the_last_one_or_any_that_is_free(tmp_path: Path) -> None:
    engines = Engines(tmp_path)
    kafka = SERVERS["kafka"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not free(port)
        with pytest.raises(EnginesUnusable, match=f"Port {port} for Kafka is taken by another program"):
            engines._port(kafka, port, None, set())
        assert engines._port(kafka, None, port, set()) != port
    assert engines._port(kafka, None, port, set()) == port
    assert engines._port(kafka, port, None, set()) == port
    assert engines._port(kafka, None, port, {port}) != port


def test_everything_listens_on_loopback_and_passwords_are_on_no_command_line(tmp_path: Path) -> None:
    java_ = java.installed([jdk(tmp_path / "jdk", "17")])[0]
    site = Site(folder=tmp_path, ports={"a": 1, "b": 2}, password="a-secret-word")
    lines = Kafka().settings(Site(folder=tmp_path, ports={"clients": 1, "controller": 2})).splitlines()
    assert [line for line in lines if "listeners=" in line and line.count("://") != line.count("://127.0.0.1:")] == []
    neo4j = Neo4j().prepare(site, tmp_path, java_)
    conf = (tmp_path / "conf" / "neo4j.conf").read_text()
    assert "server.default_listen_address=127.0.0.1\n" in conf
    assert "server.http.enabled=false\n" in conf
    assert "a-secret-word" not in " ".join(neo4j.command) + conf
    auth = tmp_path / "data" / "dbms" / "auth.ini"
    assert "a-secret-word" not in auth.read_text()
    assert stat.S_IMODE(auth.stat().st_mode) == 0o600
    settings = Elasticsearch().settings(Site(folder=tmp_path, ports={"http": 1, "transport": 2}))
    assert 'network.host: "127.0.0.1"' in settings
    assert 'xpack.security.enabled: "true"' in settings
    assert "a-secret-word" not in repr(site)


def test_a_password_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    first = Engines._password(tmp_path)
    assert Engines._password(tmp_path) == first
    assert len(first) >= 32
    assert stat.S_IMODE((tmp_path / "password").stat().st_mode) == 0o600


def test_a_folder_under_a_private_one_is_not_reachable_by_others(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    tmp_path.chmod(0o700)
    assert not reachable(tmp_path / "inside")
    assert reachable(Path("/usr"))


# -- the command line --


def test_the_command_line_refuses_what_it_does_not_know_and_says_what_there_is(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["engines", "up", "--only", "kafka,redis", "--data", str(tmp_path)])
    assert found.exit_code == 2
    assert "There is no engine redis. There are kafka, elasticsearch, neo4j." in found.stderr


def test_status_of_a_folder_where_nothing_was_started_exits_1_and_down_0(tmp_path: Path) -> None:
    status = CliRunner().invoke(app, ["engines", "status", "--json", "--data", str(tmp_path)])
    assert status.exit_code == 1
    assert {s["engine"]: s["state"] for s in json.loads(status.stdout)} == dict.fromkeys(SERVERS, "stopped")
    down = CliRunner().invoke(app, ["engines", "down", "--data", str(tmp_path)])
    assert (down.exit_code, down.stdout) == (0, "Nothing was started here.\n")


def test_up_without_maven_is_a_sentence_and_exit_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("JAVA_HOME", str(jdk(tmp_path / "jdk", "17")))
    words = ["engines", "up", "--only", "kafka", "--cache", str(tmp_path / "cache"), "--data", str(tmp_path / "data")]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 1
    assert "Maven is not on the PATH" in found.stderr


def test_ports_are_chosen_where_the_system_gives_none_to_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(20):
        assert 20_000 <= any_free() < ephemeral()
    monkeypatch.setattr("infra.engines.run.ephemeral", lambda: 1024)
    assert any_free() >= 1024, "where there are no others, one of those will do"
