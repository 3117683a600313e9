"""How every client of Kafka is set up here: where the brokers are, who signs in, over what."""

import logging
from typing import Any

from infra.settings import Settings

_SILENT = logging.getLogger("chancery.kafka")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False  # what matters is raised to the caller, who logs it in words and without addresses


class NoKafka(Exception):
    """No Kafka is set. Set CHANCERY_KAFKA_BOOTSTRAP to its bootstrap servers; until then the log alone is the bus."""


class WrongKafkaSettings(Exception):
    """The settings of Kafka contradict each other; the message says which."""


def client(settings: Settings, **more: Any) -> dict[str, Any]:
    """librdkafka's settings for a client of the Kafka that is set, with what is given beside."""
    if not settings.kafka_bootstrap:
        raise NoKafka(NoKafka.__doc__)
    if (settings.kafka_user is None) != (settings.kafka_password is None):
        raise WrongKafkaSettings("CHANCERY_KAFKA_USER and CHANCERY_KAFKA_PASSWORD go together: set both or neither.")
    signed, encrypted = settings.kafka_user is not None, settings.kafka_ca is not None
    if settings.kafka_ca is not None and not settings.kafka_ca.is_file():
        raise WrongKafkaSettings(f"CHANCERY_KAFKA_CA names {settings.kafka_ca}, where there is no file of certificates.")
    chosen: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_bootstrap,
        "client.id": "chancery",
        "security.protocol": f"{'sasl_' if signed else ''}{'ssl' if encrypted else 'plaintext'}",
        "socket.keepalive.enable": True,
        "reconnect.backoff.max.ms": 2_000,
        "log_level": 0,
        "logger": _SILENT,
    }
    if settings.kafka_password is not None:
        chosen |= {
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": settings.kafka_user,
            "sasl.password": settings.kafka_password.get_secret_value(),
        }
    if encrypted:
        chosen |= {"ssl.ca.location": str(settings.kafka_ca), "ssl.endpoint.identification.algorithm": "https"}
    return chosen | more
