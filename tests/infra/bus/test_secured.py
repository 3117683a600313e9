"""A Kafka that asks for a user and speaks TLS alone: the relay signs in, and whoever is not who they should be is told so."""

import datetime as dt
import os
import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from infra.database import Database
from infra.engines import java, pins
from infra.engines.fetch import fetched, silent
from infra.engines.run import any_free
from infra.engines.servers import SERVERS, listening
from infra.record.appender import Appender
from infra.settings import Settings
from tests.engines import CACHE
from tests.infra.bus.relaying import assert_published_once_and_in_order, shown, until, write
from tests.infra.bus.test_relay import relayed, relaying

USER, PASSWORD = "chancery", "a-password-for-tests"


def certificates(folder: Path) -> tuple[Path, str, str]:
    """A file of the authority that signs, and the broker's certificate and key as PEM."""
    key, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority for tests")])
    now = dt.datetime.now(dt.UTC)

    def made(
        subject: x509.Name, public: ec.EllipticCurvePublicKey, extension: x509.ExtensionType, *, critical: bool
    ) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(extension, critical=critical)
            .sign(key, hashes.SHA256())
        )

    authority = made(name, key.public_key(), x509.BasicConstraints(ca=True, path_length=0), critical=True)
    names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    broker = made(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")]), own.public_key(), names, critical=False)
    pem = serialization.Encoding.PEM
    file = folder / "ca.pem"
    file.write_bytes(authority.public_bytes(pem))
    private = own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return file, (broker.public_bytes(pem) + authority.public_bytes(pem)).decode(), private.decode()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The bootstrap address of such a Kafka and the file of its authority."""
    folder = tmp_path_factory.mktemp("secured")
    ca, chain, key = certificates(folder)
    keystore = folder / "broker.pem"
    keystore.write_text(key + chain)
    clients, inner, controller = any_free(), any_free(), any_free()
    values = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"CLIENTS://127.0.0.1:{clients},INNER://127.0.0.1:{inner},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"CLIENTS://127.0.0.1:{clients},INNER://127.0.0.1:{inner}",
        "listener.security.protocol.map": "CLIENTS:SASL_SSL,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "INNER",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.clients.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "log.dirs": str(folder / "log"),
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "2",
    }
    properties = folder / "server.properties"
    properties.write_text("".join(f"{k}={v}\n" for k, v in values.items()))
    lib = fetched("kafka", pins.read()["kafka"], CACHE, silent)
    command = [str(java.fitting("Kafka", SERVERS["kafka"].needs, java.installed()).java), "-Xmx384m", "-cp", f"{lib}/*"]
    scram = f'SCRAM-SHA-512=[name={USER},password="{PASSWORD}"]'
    tool = ["kafka.tools.StorageTool", "format", "-t", "AAAAAAAAQACAAAAAAAAAAQ", "-c", str(properties), "--add-scram", scram]
    subprocess.run([*command, *tool], check=True, capture_output=True, timeout=60)
    with (folder / "kafka.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "kafka.Kafka", str(properties)],
            stdout=log,
            stderr=log,
            env={"PATH": os.environ["PATH"]},
            start_new_session=True,
        )
        try:
            limit = time.monotonic() + 60
            while not listening(clients):
                assert process.poll() is None, (folder / "kafka.log").read_text()[-2_000:]
                assert time.monotonic() < limit
                time.sleep(0.2)
            yield f"127.0.0.1:{clients}", ca
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def settings(secured: tuple[str, Path], tmp_path: Path) -> Settings:
    bootstrap, ca = secured
    return Settings(
        data=tmp_path,
        kafka_bootstrap=bootstrap,
        kafka_user=USER,
        kafka_password=SecretStr(PASSWORD),
        kafka_ca=ca,
        kafka_partitions=2,
        kafka_prefix=f"s{time.time_ns()}",
    )


def test_the_relay_signs_in_over_tls(settings: Settings, fresh: Database, appender: Appender) -> None:
    write(appender, 50)
    relayed(settings, fresh)
    assert assert_published_once_and_in_order(settings, fresh) == 50


@pytest.mark.parametrize(
    ("wrong", "why"), [("password", "invalid credentials"), ("authority", "certificate verify failed"), ("nothing", "Kafka: _")]
)
def test_a_wrong_password_and_a_broker_of_another_authority_are_named(
    settings: Settings, fresh: Database, appender: Appender, tmp_path: Path, wrong: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.bus.topics.PATIENCE", 3.0)
    write(appender, 5)
    other, _, _ = certificates(tmp_path)
    changes: dict[str, dict[str, Any]] = {
        "password": {"kafka_password": SecretStr("of-another")},
        "authority": {"kafka_ca": other},
        "nothing": {"kafka_user": None, "kafka_password": None, "kafka_ca": None},
    }
    with relaying(settings.model_copy(update=changes[wrong]), fresh, patience=3.0):
        until(lambda: shown(fresh)["error"] is not None)
    said = shown(fresh)["error"]
    assert said.startswith("Kafka:")
    assert why in said
    assert PASSWORD not in said
