"""Settings: secrets out of files, empty variables, and mistakes that are named without being shown."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from infra.settings import Settings, is_secret


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"CHANCERY_{name.upper()}", raising=False)
        monkeypatch.delenv(f"CHANCERY_{name.upper()}_FILE", raising=False)


def test_every_secret_can_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = [name for name, field in Settings.model_fields.items() if is_secret(field)]
    assert {"database_url", "kafka_password", "elasticsearch_url", "neo4j_url", "neo4j_password", "smtp_url"} <= set(secret)
    for name in secret:
        (tmp_path / name).write_text(f" of {name}\n", encoding="utf-8")
        monkeypatch.setenv(f"CHANCERY_{name.upper()}_FILE", str(tmp_path / name))
    read = Settings()
    assert {name: getattr(read, name).get_secret_value() for name in secret} == {name: f"of {name}" for name in secret}
    assert "of neo4j_url" not in repr(read)


def test_what_is_given_wins_over_a_file_and_what_is_no_secret_is_not_read_from_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "f").write_text("from a file", encoding="utf-8")
    monkeypatch.setenv("CHANCERY_NEO4J_URL_FILE", str(tmp_path / "f"))
    monkeypatch.setenv("CHANCERY_KAFKA_BOOTSTRAP_FILE", str(tmp_path / "f"))
    given = Settings(neo4j_url="given")
    assert given.neo4j_url is not None
    assert given.neo4j_url.get_secret_value() == "given"
    assert given.kafka_bootstrap is None


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BOOTSTRAP", "NEO4J_URL", "NEO4J_URL_FILE", "KAFKA_PARTITIONS"):
        monkeypatch.setenv(f"CHANCERY_{name}", "")
    read = Settings()
    assert (read.kafka_bootstrap, read.neo4j_url, read.kafka_partitions) == (None, None, 12)


@pytest.mark.parametrize(
    ("content", "why"), [(None, "can't be read: No such file"), ("", "which is empty"), (b"\xff\xfe", "it is not UTF-8")]
)
def test_a_file_that_can_not_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | bytes | None, why: str
) -> None:
    file = tmp_path / "f"
    if content is not None:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    monkeypatch.setenv("CHANCERY_NEO4J_PASSWORD_FILE", str(file))
    with pytest.raises(ValidationError, match=why) as refused:
        Settings()
    assert refused.value.errors()[0]["loc"] == ("neo4j_password",)


def test_a_secret_that_is_set_twice_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("one", encoding="utf-8")
    monkeypatch.setenv("CHANCERY_NEO4J_PASSWORD_FILE", str(tmp_path / "f"))
    monkeypatch.setenv("CHANCERY_NEO4J_PASSWORD", "another")
    with pytest.raises(ValidationError, match="keep one of them") as refused:
        Settings()
    assert "another" not in str(refused.value)
