"""The Kafka of docker-compose.yml, by its own commands, with the jars of this machine: who has no password gets nothing, and Chancery has it."""

import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from pydantic import SecretStr

from infra.bus.connection import client
from infra.engines import compose, java, pins
from infra.engines.fetch import fetched, silent
from infra.engines.run import any_free
from infra.engines.servers import SERVERS, listening
from infra.settings import Settings
from tests.engines import CACHE
from tests.processes import PATIENCE

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """Its port and its password; started a second time on the same volume, as after `docker compose restart`."""
    folder = tmp_path_factory.mktemp("broker")
    for name in compose.FOLDERS:
        (folder / "secrets" / name).mkdir(parents=True)
    compose.issue(folder / "secrets")
    (command,) = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["kafka"]["command"]
    clients, inner, controller = any_free(), any_free(), any_free()
    lib = fetched("kafka", pins.read()["kafka"], CACHE, silent)
    run = f"{shlex.quote(str(java.fitting('Kafka', SERVERS['kafka'].needs, java.installed()).java))} -Xmx384m -cp {shlex.quote(f'{lib}/*')}"
    for there, here in (
        ("/opt/kafka/bin/kafka-storage.sh", f"{run} kafka.tools.StorageTool"),
        ("/opt/kafka/bin/kafka-server-start.sh", f"{run} kafka.Kafka"),
        ("/tmp/server.properties", f"{folder}/server.properties"),  # noqa: S108 - of the container
        ("/secrets/", f"{folder}/secrets/"),
        ("/var/lib/kafka/data", f"{folder}/data"),
        ("CLIENTS://:9092", f"CLIENTS://127.0.0.1:{clients}"),
        ("CLIENTS://kafka:9092", f"CLIENTS://127.0.0.1:{clients}"),
        ("9094", str(inner)),
        ("9093", str(controller)),
        ("$$", "$"),
    ):
        assert there in command
        command = command.replace(there, here)
    assert not re.search(r"/opt/kafka|:909\d", command)
    bash = shutil.which("bash")
    assert bash is not None
    for _ in range(2):
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen([bash, "-euc", command], stdout=log, stderr=log, env={"PATH": os.environ["PATH"]})
        limit = time.monotonic() + PATIENCE
        while not listening(clients):
            assert process.poll() is None, (folder / "log").read_text()[-2_000:]
            assert time.monotonic() < limit
            time.sleep(0.2)
        if (folder / "again").exists():
            break
        (folder / "again").touch()
        process.terminate()
        process.wait(PATIENCE)
    try:
        yield clients, (folder / "secrets" / "chancery" / "kafka_password").read_text()
    finally:
        process.kill()
        process.wait()


def topics(settings: Settings, seconds: float) -> set[str]:
    return set(AdminClient(client(settings)).list_topics(timeout=seconds).topics)


def test_chancery_signs_in_with_the_password_that_was_made_and_nobody_else_does(broker: tuple[int, str]) -> None:
    port, password = broker
    known = Settings(kafka_bootstrap=f"127.0.0.1:{port}", kafka_user="chancery", kafka_password=SecretStr(password))
    assert topics(known, PATIENCE) == set()
    for stranger in (
        known.model_copy(update={"kafka_password": SecretStr("another")}),
        known.model_copy(update={"kafka_user": None, "kafka_password": None}),
    ):
        with pytest.raises(KafkaException):
            topics(stranger, 5)
