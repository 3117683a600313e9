"""What can be set from outside, read once at start. Names are those of the documentation: CHANCERY_…

A secret may stand in a file instead of the environment: CHANCERY_NEO4J_PASSWORD_FILE names the file that holds CHANCERY_NEO4J_PASSWORD.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]{0,200})?")


PREFIX = "CHANCERY_"
LARGEST = 100_000  # bytes of a file that holds one secret


@dataclass(frozen=True, slots=True)
class _Unusable:
    """Stands where a secret should; `why` is said when the settings are read."""

    why: str


class SecretFiles(PydanticBaseSettingsSource):
    """Secrets out of the files that CHANCERY_…_FILE name."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        named = f"{PREFIX}{field_name.upper()}"
        file = os.environ.get(f"{named}_FILE")
        if not file or not is_secret(field):
            return None, field_name, False
        if os.environ.get(named):
            return _Unusable(f"it is set, and so is {named}_FILE; keep one of them"), field_name, False
        try:
            with Path(file).open(encoding="utf-8") as f:
                text = f.read(LARGEST).strip()
        except (OSError, ValueError) as e:
            why = e.strerror if isinstance(e, OSError) else "it is not UTF-8"
            return _Unusable(f"{named}_FILE names {file}, which can't be read: {why}"), field_name, False
        return text or _Unusable(f"{named}_FILE names {file}, which is empty"), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


def is_secret(field: FieldInfo) -> bool:
    """Whether its value is never shown, and may stand in a file."""
    return "SecretStr" in str(field.annotation)


class Settings(BaseSettings):
    """Every setting of Chancery. An unset engine means its embedded stand-in in PostgreSQL; an empty variable is an unset one."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    data: Path = Field(Path(".chancery"), description="The data folder: the embedded database, keys and documents.")
    database_url: SecretStr | None = Field(
        None, description="A PostgreSQL 17 or later. Unset: an embedded PostgreSQL 18 in the data folder."
    )
    keys: Path | None = Field(
        None, description="The folder of wrapping keys, kept apart from the database. Unset: keys/ in the data folder."
    )
    blobs: str | None = Field(
        None, description="Where document contents are: a folder, or s3://bucket/prefix. Unset: blobs/ in the data folder."
    )
    s3_endpoint: str | None = Field(
        None,
        description="The URL of the S3 server, when it is not Amazon's. Region and credentials are read from the usual AWS_ variables.",
    )
    kafka_bootstrap: str | None = Field(None, description="Kafka's bootstrap servers, host:port with commas. Unset: the log alone.")
    kafka_user: str | None = Field(None, description="The user at Kafka (SASL SCRAM-SHA-512). Unset: no sign-in.")
    kafka_password: SecretStr | None = Field(None, description="That user's password.")
    kafka_ca: Path | None = Field(None, description="The certificates that sign Kafka's; set, the connection is TLS.")
    kafka_prefix: str = Field(
        "chancery",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="What the names of topics and groups begin with. Two Chanceries on one Kafka need different ones.",
    )
    kafka_partitions: int = Field(
        12, ge=1, le=1_000, description="Partitions of the topic of events, when it is made; one firm has one of them."
    )
    kafka_replication: int | None = Field(
        None, ge=1, le=9, description="Copies Kafka keeps of each topic. Unset: three, or as many as there are brokers."
    )
    kafka_retention_days: int | None = Field(
        None, ge=1, le=36_500, description="How long Kafka keeps events, by the time they were recorded. Unset: for ever."
    )
    elasticsearch_url: SecretStr | None = Field(
        None, description="An Elasticsearch 9, with user and password in the URL if it wants any. Unset: search in PostgreSQL."
    )
    elasticsearch_ca: Path | None = Field(
        None, description="The certificates that sign Elasticsearch's, for https:// and a certificate the system does not know."
    )
    elasticsearch_prefix: str = Field(
        "chancery",
        pattern=r"^[a-z][a-z0-9_]{0,60}$",
        description="What the names of its indices begin with: another for each installation that shares the Elasticsearch.",
    )
    neo4j_url: SecretStr | None = Field(
        None,
        description="A Neo4j 5, bolt:// or neo4j+s://, with user and password in the URL or beside it. Unset: the graph in PostgreSQL.",
    )
    neo4j_user: str | None = Field(None, description="The user at Neo4j, when the URL names none.")
    neo4j_password: SecretStr | None = Field(None, description="That user's password.")
    signing_key: Path | None = Field(
        None, description="The file of the secrets that logs are signed with, a line each. Unset: signing.keys in the keys folder."
    )
    log_origin: str = Field(
        "chancery",
        pattern=r"^[^\s+]{1,200}$",
        description="What the names of the firms' logs begin with: an address of yours without https://, such as log.example.com.",
    )
    witnesses: Path | None = Field(
        None, description="The policy (C2SP tlog-policy) that names the witnesses whose cosignatures are taken. Unset: none are."
    )
    tsa_url: str | None = Field(
        None, description="An RFC 3161 time-stamping authority, https://… Unset: checkpoints are not timestamped."
    )
    tsa_certificates: Path | None = Field(
        None, description="The certificates (PEM) that a timestamp must lead to. Needed where CHANCERY_TSA_URL is set."
    )
    public_url: str = Field(
        "http://127.0.0.1:8000",
        description="Where people reach this server: what links in mail and on paper begin with. Unset: where `serve` listens.",
    )
    origins: str | None = Field(
        None,
        max_length=4_000,
        description="Origins of web pages that may call from a browser (CORS), such as https://app.example.com, with commas between. Unset: none.",
    )
    smtp_url: SecretStr | None = Field(
        None,
        description="The mail server, smtp:// or smtps://, with user and password in it if it wants any. Unset: no mail is sent.",
    )
    mail_from: str | None = Field(None, description="The sender of mail, `Name <address>`.")
    log_format: Literal["auto", "console", "json"] = Field("auto", description="console in a terminal, json elsewhere.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least level that is logged. When it is not set, in a terminal: warning."
    )
    rate_per_second: float = Field(200.0, gt=0, le=1_000_000, description="Requests per second one API key may make on average.")
    rate_burst: float = Field(400.0, gt=0, le=10_000_000, description="Requests one API key may make at once.")
    requests_per_day: int = Field(
        0, ge=0, description="Requests one firm may make in a day (UTC), counted across processes; 0 means as many as it likes."
    )
    max_streams: int = Field(2_000, gt=0, le=100_000, description="Streams of live changes one process keeps open.")
    max_streams_per_key: int = Field(20, gt=0, le=100_000, description="Streams of live changes one API key may keep open.")
    max_in_flight: int = Field(64, gt=0, le=100_000, description="Requests one process serves at once; more are answered 503.")
    max_body_bytes: int = Field(1_000_000, gt=0, le=100_000_000, description="The largest JSON body, in bytes.")
    max_upload_bytes: int = Field(10_000_000_000, gt=0, description="The largest document, in bytes.")
    statement_timeout_ms: int = Field(10_000, gt=0, description="How long one read of the database may take.")
    projector: bool = Field(True, description="Whether `serve` runs the projections beside itself.")
    followers: bool = Field(
        True, description="Whether `serve` runs what else follows the record (search, graph, relay, log) beside itself."
    )
    projectors: int = Field(1, ge=1, le=16, description="Processes `serve` divides the views among.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not a source of ours
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, SecretFiles(settings_cls), env_settings

    @property
    def keys_folder(self) -> Path:
        return self.keys or self.data / "keys"

    @property
    def blobs_folder(self) -> Path:
        return Path(self.blobs) if self.blobs else self.data / "blobs"

    @property
    def bucket(self) -> tuple[str, str] | None:
        """Bucket and prefix of the contents, when a bucket holds them."""
        if self.blobs is None or not self.blobs.startswith("s3://"):
            return None
        bucket, _, prefix = self.blobs.removeprefix("s3://").partition("/")
        return bucket, prefix.strip("/")

    @field_validator("*", mode="before")
    @classmethod
    def _was_read(cls, given: object) -> object:
        if isinstance(given, _Unusable):
            raise ValueError(given.why)  # noqa: TRY004 - said of the setting, as every other mistake
        return given

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, given: str | None) -> str | None:
        for origin in (given or "").split(",") if given else ():
            if not re.fullmatch(r"\s*https?://[A-Za-z0-9.\[\]:-]{1,300}/?\s*", origin):
                raise ValueError("not origins: https://host or http://host:port each, with commas between, without paths")
        return given

    @field_validator("blobs")
    @classmethod
    def _is_a_place(cls, given: str | None) -> str | None:
        if given is not None and "://" in given and not _BUCKET.fullmatch(given):
            raise ValueError(
                "neither a folder nor s3://bucket/prefix (a bucket's name has 3 to 63 letters, digits, dots and hyphens)"
            )
        return given

    @field_validator("s3_endpoint")
    @classmethod
    def _is_a_server(cls, given: str | None) -> str | None:
        if given is not None and not re.fullmatch(r"https?://[^/?#@\s]+/?", given):
            raise ValueError("not a server's URL: https://host or http://host:port, without path or password")
        return given
