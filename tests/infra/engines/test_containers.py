"""docker-compose.yml, Dockerfile and .dockerignore: read as rules, by docker itself where its compose is there, by us everywhere."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from infra import registry
from infra.cli.serve import share
from infra.database import Database
from infra.engines import compose, pins
from infra.followers import followers, parts
from infra.graph.neo4j.client import Address
from infra.settings import Settings, is_secret
from projections.kernel import VIEWS

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = ROOT / "docker-compose.yml"
UNITS = {"m": 1 << 20, "g": 1 << 30}
FOLLOWING = ("views-1", "views-2", "search", "log", "erasures", "consent", "graph", "relay")
OURS = ("api", *FOLLOWING)
SERVERS = ("postgres", "kafka", "elasticsearch", "neo4j")
STANDING = (*OURS, *SERVERS)
FULL = {"graph", "relay", "kafka", "elasticsearch", "neo4j"}
SECRET = re.compile(r"password|passwd|secret|token|api_?key|credential|auth(?!or)", re.IGNORECASE)


VIEWS_FILE = ROOT / "docker-compose.views.yml"


def composer() -> list[str] | None:
    """The command that is Docker Compose here: docker's plugin, or the program by itself."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is not None:
            said = subprocess.run([*command, "version", "--short"], capture_output=True, text=True, check=False)
            if said.returncode == 0 and not said.stdout.lstrip("v").startswith("1."):
                return command
    return None


def configured(*files: Path, profiles: str = "engines", every: bool = True) -> dict[str, Any]:
    """What Docker Compose makes of these files, one over the other; with the services of every profile or of those given alone."""
    command = composer()
    assert command is not None
    said = subprocess.run(
        [
            *command,
            *(["--profile", "*"] if every else []),
            *(w for f in files for w in ("--file", str(f))),
            "config",
            "--format",
            "json",
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COMPOSE_PROFILES": profiles},
    )
    assert said.returncode == 0, said.stderr
    return dict(json.loads(said.stdout.replace("$$", "$")))  # told as it stands in a file


def rendered(profiles: str = "engines") -> dict[str, Any]:
    """The file as Docker Compose reads it; where it is not, as YAML says it, with anchors, merges and variables resolved."""
    if composer() is not None:
        return configured(COMPOSE, profiles=profiles)
    return by_hand(profiles)


def by_hand(profiles: str) -> dict[str, Any]:
    return dict(interpolated(yaml.safe_load(COMPOSE.read_text(encoding="utf-8")), {"COMPOSE_PROFILES": profiles}))


def interpolated(node: Any, variables: dict[str, str]) -> Any:
    """`${A:-b}`, `${A:+b}`, one within the other, and `$$` as compose replaces them."""
    if isinstance(node, dict):
        return {k: interpolated(v, variables) for k, v in node.items()}
    if isinstance(node, list):
        return [interpolated(v, variables) for v in node]
    if not isinstance(node, str):
        return node

    def value(match: re.Match[str]) -> str:
        given = variables.get(match["name"], "")
        return {"-": given or match["other"], "+": match["other"] if given else ""}[match["how"]]

    within = re.compile(r"\$\{(?P<name>\w+):(?P<how>[-+])(?P<other>[^${}]*)\}")
    while within.search(node):
        node = within.sub(value, node)
    return node.replace("$$", "$")


@pytest.fixture
def real() -> None:
    """Docker Compose itself: continuous integration has it, a person who does without containers need not."""
    if composer() is None:
        assert not os.environ.get("CI"), "Docker Compose 2 or later is missing: .ci/run installs it where it can"
        pytest.skip("no Docker Compose here")


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    return rendered()


@pytest.fixture(scope="module")
def services(stack: dict[str, Any]) -> dict[str, Any]:
    return dict(stack["services"])


def mounts(service: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """Where each volume of a service is mounted, and whether read-only."""
    found = {}
    for volume in service.get("volumes", []):
        if isinstance(volume, str):
            source, target, *mode = volume.split(":")
            found[source] = (target, mode == ["ro"])
        else:
            found[volume["source"]] = (volume["target"], bool(volume.get("read_only")))
    return found


def size(text: str | int) -> int:
    match = re.fullmatch(r"(\d+)([mg])", str(text))
    return int(match[1]) * UNITS[match[2]] if match else int(text)


def test_the_services_are_those_of_the_system_and_engines_start_only_when_asked_for(services: dict[str, Any]) -> None:
    assert set(services) == {"secrets", *STANDING}
    assert {n for n, s in services.items() if s.get("profiles") == ["engines"]} == FULL
    assert {n for n, s in services.items() if s.get("profiles")} == FULL


@pytest.mark.parametrize("profiles", ["", "engines"])
@pytest.mark.usefixtures("real")
def test_docker_compose_accepts_the_file_and_starts_what_the_profile_says(profiles: str) -> None:
    asked = configured(COMPOSE, profiles=profiles, every=False)
    assert set(asked["services"]) == {"secrets", *STANDING} - (set() if profiles else FULL)
    for name, how in by_hand(profiles)["services"].items():
        if name in asked["services"]:
            read = asked["services"][name]
            assert read["image"] == how["image"]
            assert (read.get("command") or []) == how.get("command", []), name
            assert read["healthcheck"].get("test") == how["healthcheck"].get("test"), name
            assert {k: str(v) for k, v in (read.get("environment") or {}).items()} == how.get("environment", {}), name


@pytest.mark.usefixtures("real")
def test_docker_compose_accepts_every_override_of_the_manual(tmp_path: Path) -> None:
    for n, block in enumerate(manual_blocks()):
        over = tmp_path / f"{n}.yml"
        over.write_text(block, encoding="utf-8")
        found = configured(COMPOSE, over)["services"]
        assert set(found) >= {"secrets", *STANDING}
        if "!reset" in block:
            assert not found["api"].get("ports"), "the API's own port is taken away"


def test_a_process_for_each_view_is_a_line_in_env() -> None:
    registry.load()
    over = yaml.safe_load(VIEWS_FILE.read_text(encoding="utf-8"))["services"]
    named = {n: s for n, s in over.items() if n.startswith("view-")}
    assert [s["command"] for s in named.values()] == [["project", "--views", v] for v in sorted(VIEWS)]
    for s in named.values():
        assert s["extends"] == {"file": COMPOSE.name, "service": "views-1"}
        assert s["healthcheck"]["test"] == ["CMD", "python", "-m", "infra.watch", s["command"][-1]]
    shared = [n for n in FOLLOWING if n.startswith("views-")]
    assert [over[n] for n in shared] == [{"scale": 0}] * len(shared), "nothing is folded twice"
    assert set(over) - set(named) - set(shared) == {"postgres"}
    line = "COMPOSE_FILE=docker-compose.yml:docker-compose.views.yml"
    assert line in (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("real")
def test_docker_compose_gives_each_view_all_that_the_shared_processes_have() -> None:
    asked = configured(COMPOSE, VIEWS_FILE)["services"]
    for name in (n for n in asked if n.startswith("view-")):
        changed = {k for k in asked["views-1"].keys() | asked[name].keys() if asked["views-1"].get(k) != asked[name].get(k)}
        assert changed <= {"command", "mem_limit", "healthcheck", "scale", "deploy"}, name


def test_every_service_has_a_health_check_a_limit_a_user_and_no_more_rights_than_it_needs(services: dict[str, Any]) -> None:
    for name, s in services.items():
        assert s["user"].split(":")[0] not in {"", "0", "root"}, name
        assert s["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in s["security_opt"], name
        assert not s.get("privileged"), name
        assert s["pids_limit"], name
        assert s["logging"]["options"]["max-size"], name
    for name in STANDING:
        check = services[name]["healthcheck"]
        assert check["test"][0] in {"CMD", "CMD-SHELL"}, name
        assert {"interval", "timeout", "retries", "start_period"} <= check.keys(), name
        assert services[name]["restart"] == "unless-stopped", name
    assert services["secrets"]["restart"] in {"no", False}


def test_all_together_fit_a_laptop_of_8_gb_and_each_heap_fits_its_limit(services: dict[str, Any]) -> None:
    limits = {n: size(s["mem_limit"]) for n, s in services.items() if n != "secrets"}
    assert sum(limits.values()) <= 6 * UNITS["g"]
    assert sum(limit for n, limit in limits.items() if n not in FULL) <= 3 * UNITS["g"]
    assert size(services["secrets"]["mem_limit"]) <= 256 * UNITS["m"]
    heaps = {
        "kafka": services["kafka"]["environment"]["KAFKA_HEAP_OPTS"],
        "elasticsearch": services["elasticsearch"]["environment"]["ES_JAVA_OPTS"],
        "neo4j": "-Xmx" + services["neo4j"]["environment"]["NEO4J_server_memory_heap_max__size"],
    }
    for name, options in heaps.items():
        heap = re.search(r"-Xmx(\w+)", options)
        assert heap is not None
        assert size(heap[1]) <= limits[name] * 0.55, f"{name}: a JVM holds much beside its heap"


def test_images_are_pinned_and_engines_are_those_that_start_without_containers(services: dict[str, Any]) -> None:
    for name, s in services.items():
        tag = s["image"].partition("@")[0].rpartition(":")[2]
        assert re.match(r"\d+\.\d+", tag), f"{name}: {s['image']}"
    for engine in pins.ROOTS:
        assert re.search(rf":{re.escape(pins.version(engine))}(-|@|$)", services[engine]["image"]), engine
    assert services["postgres"]["image"].startswith("postgres:18")


def test_no_secret_stands_in_the_file_and_none_has_a_default(services: dict[str, Any]) -> None:
    for name, s in services.items():
        for variable, value in s.get("environment", {}).items():
            if SECRET.search(variable) and not variable.startswith("xpack."):
                assert variable.endswith("_FILE"), f"{name}: {variable} must be read from a file"
                place = "chancery" if name in OURS else name
                assert not value or str(value).startswith(f"/secrets/{place}/"), f"{name}: {variable}"
            url = re.match(r"\w+://([^/@]*)@", str(value))
            assert url is None or ":" not in url[1], f"{name}: {variable} has a password in it"
    text = COMPOSE.read_text(encoding="utf-8")
    outside = {"CHANCERY_PORT", "CHANCERY_PUBLIC_URL", "CHANCERY_SMTP_URL_FILE", "CHANCERY_MAIL_FROM", "COMPOSE_PROFILES"}
    assert set(re.findall(r"\$\{(\w+)[^}]*\}", text)) == outside, "nothing secret is taken from outside"


def test_each_server_sees_its_own_password_alone_and_can_not_change_it(services: dict[str, Any]) -> None:
    for name in STANDING:
        seen = {source: how for source, how in mounts(services[name]).items() if source.rpartition("_")[2].startswith("secrets-")}
        own = "chancery" if name in OURS else name
        expected = {f"secrets-{own}": (f"/secrets/{own}", True)}
        assert {source.rpartition("_")[2]: how for source, how in seen.items()} == expected, name
    makes = mounts(services["secrets"])
    assert {target for target, _ in makes.values()} == {f"/secrets/{f}" for f in compose.FOLDERS}
    assert services["secrets"]["network_mode"] == "none"


def test_only_the_api_is_published_and_only_to_this_machine(services: dict[str, Any]) -> None:
    published = {n: s["ports"] for n, s in services.items() if s.get("ports")}
    assert set(published) == {"api"}
    for port in published["api"]:
        assert (port if isinstance(port, str) else port["host_ip"]).startswith("127.0.0.1")


def test_servers_stand_on_a_network_without_a_way_out(stack: dict[str, Any], services: dict[str, Any]) -> None:
    assert stack["networks"]["inside"]["internal"] is True
    for name in set(STANDING) - {"api"}:
        assert list(services[name]["networks"]) == ["inside"], name


def test_every_volume_that_is_used_is_declared_and_the_other_way_round(stack: dict[str, Any], services: dict[str, Any]) -> None:
    used = {v for s in services.values() for v in mounts(s)}
    assert used == set(stack["volumes"])
    stored = {"postgres": "postgres", "kafka": "kafka", "elasticsearch": "elasticsearch", "neo4j": "neo4j"}
    for service, volume in stored.items():
        assert volume in mounts(services[service])
    for name in OURS:
        assert {"data", "keys", "documents"} <= mounts(services[name]).keys(), name


def test_what_is_started_waits_for_what_it_needs(services: dict[str, Any]) -> None:
    def waits(name: str) -> dict[str, str]:
        return {on: how["condition"] for on, how in services[name].get("depends_on", {}).items()}

    assert waits("postgres") == {"secrets": "service_completed_successfully"}
    assert waits("api") == {
        "secrets": "service_completed_successfully",
        "postgres": "service_healthy",
        "elasticsearch": "service_healthy",
        "neo4j": "service_healthy",
    }
    assert {on for on, how in services["api"]["depends_on"].items() if how.get("required") is False} == {"elasticsearch", "neo4j"}
    for name in FOLLOWING:
        assert waits(name) == {"api": "service_healthy"}
    for name in ("elasticsearch", "neo4j", "kafka"):
        assert waits(name) == {"secrets": "service_completed_successfully"}


def test_the_settings_of_the_containers_are_settings_there_are(services: dict[str, Any]) -> None:
    secret = {f"{n}_file" for n, field in Settings.model_fields.items() if is_secret(field)}
    for name in OURS:
        given = services[name]["environment"]
        assert {k.removeprefix("CHANCERY_").lower() for k in given} <= set(Settings.model_fields) | secret, name
        ours = {k: v for k, v in given.items() if name != "api" or k not in {"CHANCERY_PROJECTOR", "CHANCERY_FOLLOWERS"}}
        assert ours == services["relay"]["environment"], f"{name}: all have the same settings"
    assert services["api"]["environment"]["CHANCERY_PROJECTOR"] == "false"
    assert services["api"]["environment"]["CHANCERY_FOLLOWERS"] == "false"


def test_every_view_and_every_follower_has_one_process_that_a_check_watches(services: dict[str, Any]) -> None:
    registry.load()
    shared: list[str] = []
    followed = set()
    for name in FOLLOWING:
        command, check = services[name]["command"], services[name]["healthcheck"]["test"]
        if command[0] == "project":
            shared += share(command[2])
            assert command[1] == "--shard"
        else:
            followed.add(command[1])
        assert command[0] in {"project", "follow"}
        assert check == ["CMD", "python", "-m", "infra.watch", command[-1]]
    assert sorted(shared) == sorted(VIEWS)
    with_all = Settings(
        kafka_bootstrap="127.0.0.1:1",
        elasticsearch_url="http://127.0.0.1:1",
        neo4j_url="bolt://neo4j:x@127.0.0.1:1",
    )
    named = {f.name for f in followers(parts(with_all, Database("")))}
    assert followed == named
    alone = {f.name for f in followers(parts(Settings(), Database("")))}
    assert {n for n in FULL if n in followed} == named - alone, "what runs without the engines is what there is without them"


def test_without_the_profile_postgresql_stands_in_and_with_it_the_engines_are_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder in compose.FOLDERS:
        (tmp_path / "secrets" / folder).mkdir(parents=True)
    compose.issue(tmp_path / "secrets")

    def settings(profiles: str) -> Settings:
        given = rendered(profiles)["services"]["api"]["environment"]
        with monkeypatch.context() as m:
            for name, value in given.items():
                m.setenv(name, str(value).replace("/secrets/", f"{tmp_path}/secrets/"))
            return Settings()

    alone, full = settings(""), settings("engines")
    assert (alone.kafka_bootstrap, alone.elasticsearch_url, alone.neo4j_url, alone.smtp_url) == (None, None, None, None)
    assert alone.public_url == "http://127.0.0.1:8000"
    password = (tmp_path / "secrets" / "chancery" / "kafka_password").read_text()
    assert full.kafka_bootstrap == "kafka:9092"
    assert full.kafka_user == "chancery"
    assert full.kafka_password is not None
    assert full.kafka_password.get_secret_value() == password
    elastic = (tmp_path / "secrets" / "elasticsearch" / "password").read_text()
    assert full.elasticsearch_url is not None
    assert full.elasticsearch_url.get_secret_value() == f"http://elastic:{elastic}@elasticsearch:9200"
    address = Address.of(full)
    assert address is not None
    assert address.uri == "bolt://neo4j:7687"
    assert "/".join(address.auth or ()) == (tmp_path / "secrets" / "neo4j" / "auth").read_text()


def test_the_database_is_reached_with_a_password_that_only_a_file_holds(services: dict[str, Any]) -> None:
    url = services["api"]["environment"]["CHANCERY_DATABASE_URL"]
    for role in ("owner", "record", "app"):
        known = conninfo_to_dict(Database(url).conninfo(role))
        assert (known["host"], known["user"], known["passfile"]) == ("postgres", "chancery", "/secrets/chancery/pgpass")
        assert "password" not in known


# -- what the manual puts over it --


def manual_blocks() -> list[str]:
    """The override files that the manual shows."""
    manual = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
    return re.findall(r"^```yaml\n(.*?)^```$", manual, re.MULTILINE | re.DOTALL)


def overrides() -> list[dict[str, Any]]:
    return [yaml.safe_load(block.replace("!reset []", "null")) for block in manual_blocks()]  # compose's own word for taking away


def test_the_overrides_of_the_manual_fit_the_file(stack: dict[str, Any], services: dict[str, Any]) -> None:
    found = overrides()
    assert len(found) == 2, "TLS before the API, and mail"
    for override in found:
        assert set(override) <= {"services", "volumes"}
        for name, service in override["services"].items():
            if name in services:
                settings = {k.removeprefix("CHANCERY_").lower() for k in service.get("environment", {})}
                assert settings <= set(Settings.model_fields) | {
                    f"{n}_file" for n, f in Settings.model_fields.items() if is_secret(f)
                }
            else:
                assert set(service["networks"]) <= set(stack["networks"])
                assert {v.partition(":")[0] for v in service["volumes"]} <= set(override["volumes"])
                assert service["mem_limit"]
    tls = found[0]["services"]
    assert (tls["api"], tls["proxy"]["ports"]) == ({"ports": None}, ["80:80", "443:443"]), "the API's own port is taken away"
    assert tls["proxy"]["command"][-1] == "api:8000"


# -- the passwords --


def test_passwords_are_made_once_each_another_and_readable_by_whom_they_are_for(tmp_path: Path) -> None:
    for folder in compose.FOLDERS:
        (tmp_path / folder).mkdir()
    assert compose.issue(tmp_path) == [
        *("postgres/password", "neo4j/auth", "elasticsearch/password", "chancery/kafka_password", "kafka/scram", "kafka/cluster"),
        *("chancery/pgpass", "chancery/elasticsearch_url", "chancery/neo4j_url"),
    ]
    first = {p.relative_to(tmp_path): p.read_text() for p in tmp_path.rglob("*") if p.is_file()}
    assert compose.issue(tmp_path) == []
    assert {p.relative_to(tmp_path): p.read_text() for p in tmp_path.rglob("*") if p.is_file()} == first
    postgres, elastic = first[Path("postgres/password")], first[Path("elasticsearch/password")]
    user, _, neo4j = first[Path("neo4j/auth")].partition("/")
    assert user == "neo4j"
    assert "/" not in neo4j
    assert len({postgres, elastic, neo4j}) == 3
    assert min(map(len, (postgres, elastic, neo4j))) >= 40
    assert first[Path("chancery/pgpass")] == f"postgres:5432:*:chancery:{postgres}\n"
    for_others = {Path("postgres/password"), Path("neo4j/auth")}
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in first.keys() - for_others} == {0o600}
    kafka = first[Path("chancery/kafka_password")]
    assert kafka not in first[Path("kafka/scram")]
    assert kafka not in {postgres, elastic, neo4j}


def test_a_start_that_was_interrupted_leaves_no_half_password(tmp_path: Path) -> None:
    for folder in compose.FOLDERS:
        (tmp_path / folder).mkdir()
    (tmp_path / "postgres" / ".password.new").touch()
    compose.issue(tmp_path)
    assert len((tmp_path / "postgres" / "password").read_text()) >= 40
    assert not (tmp_path / "postgres" / ".password.new").exists()


# -- the image --


def instructions() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(word.upper(), rest.strip()) for word, _, rest in (line.strip().partition(" ") for line in lines) if word]


def test_the_image_is_built_in_stages_on_a_pinned_base() -> None:
    steps = instructions()
    assert len([1 for word, _ in steps if word == "FROM"]) >= 2
    base = dict(rest.split("=", 1) for word, rest in steps if word == "ARG")["PYTHON"]
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?", base)
    assert all(rest.split(" ")[0] == "${PYTHON}" for word, rest in steps if word == "FROM")


def test_the_image_runs_as_the_user_its_files_are_for_and_tells_its_health() -> None:
    last = instructions()[max(n for n, (word, _) in enumerate(instructions()) if word == "FROM") :]
    words = dict(last)
    assert words["USER"] == "1000:1000"
    assert "/healthz" in words["HEALTHCHECK"]
    assert json.loads(words["ENTRYPOINT"]) == ["chancery"]
    assert json.loads(words["CMD"])[0] == "serve"
    order = [word for word, _ in last]
    assert "RUN" not in order[order.index("USER") :], "nothing is installed by the user it runs as"
    assert all(json.loads(words[w]) for w in ("ENTRYPOINT", "CMD")), "a list, so that signals arrive"


def test_what_is_installed_is_pinned_by_hash_and_leaves_no_cache() -> None:
    steps = instructions()
    installs = [rest for word, rest in steps if word == "RUN" and re.search(r"\bpip\b.*\binstall\b", rest)]
    assert len(installs) == 1
    assert "--require-hashes" in installs[0]
    assert "--only-binary :all:" in installs[0]
    assert "--no-compile" in installs[0], "compiled files carry times"
    compiled = [rest for word, rest in steps if word == "RUN" and "compileall" in rest]
    assert len(compiled) == 1
    assert "--invalidation-mode unchecked-hash" in compiled[0], "by content, so that two builds agree"
    environment = " ".join(rest for word, rest in steps if word == "ENV")
    assert "PIP_NO_CACHE_DIR=1" in environment
    assert "SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH}" in environment
    everything = " ".join(rest for _, rest in steps)
    assert not re.search(r"apt-get|curl |wget |https?://(?!127\.0\.0\.1)", everything), "nothing comes from elsewhere"
    assert "ADD" not in [word for word, _ in steps]


def test_the_program_in_the_image_knows_its_version(tmp_path: Path) -> None:
    (step,) = [rest for word, rest in instructions() if word == "RUN" and "dist-info" in rest]
    (tmp_path / "src").mkdir()
    here = step.replace("/build/pyproject.toml", str(ROOT / "pyproject.toml")).replace("/opt/chancery/src", str(tmp_path / "src"))
    subprocess.run(["sh", "-c", here], check=True, env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"})
    (made,) = metadata.distributions(path=[str(tmp_path / "src")])
    assert (made.name, made.version) == ("chancery", tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def test_no_secret_is_built_in() -> None:
    named = [rest for word, rest in instructions() if word in {"ENV", "ARG"}]
    assert [n for n in named if SECRET.search(n)] == []


def test_only_what_the_image_is_made_of_goes_to_the_builder() -> None:
    lines = [
        line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")
    ]
    assert lines[0] == "*"
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {rest.split(" ")[0] for word, rest in instructions() if word == "COPY" and "--from=" not in rest}
    assert copied == allowed
    assert [name for name in copied if not (ROOT / name).exists()] == []
    packages = {p.parent.name for p in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert packages <= copied, "a package of the program that is not in the image"


def test_every_secret_folder_of_the_compose_file_stands_in_the_image_with_its_owner() -> None:
    made = " ".join(rest for word, rest in instructions() if word == "RUN" and "install -d" in rest)
    assert [f for f in compose.FOLDERS if f"/secrets/{f}" not in made] == []
    assert made.count("-o 1000 -g 1000") == made.count("install -d")
