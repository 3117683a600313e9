"""The published document says what stands in Kafka, and nothing that consumers rest on is ever taken out of it."""

import copy
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from domain.kernel import EVENTS
from infra import spec
from infra.bus import asyncapi
from infra.bus.messages import encode
from infra.record.codec import canonical, timestamp
from infra.record.reader import EventRow


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(asyncapi.FILE.read_text())
    return found


def described() -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in spec.FOLDER.glob("*.json")}


def test_the_document_is_the_one_that_is_generated() -> None:
    assert asyncapi.FILE.read_text() == spec.published(spec.files()), "run `python -m infra.spec` and commit what it writes"


def test_every_event_that_may_be_on_the_record_is_published(document: dict[str, Any]) -> None:
    listed = set(document["channels"]["events"]["messages"])
    assert set(EVENTS) <= listed == set(described())


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    broken = []
    for reference in set(references(document)):
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            found = found.get(part) if isinstance(found, dict) else None
        if found is None:
            broken.append(reference)
    assert broken == []


@pytest.mark.parametrize("name", sorted(described()))
def test_what_the_relay_sends_of_an_event_is_what_the_document_says(name: str, document: dict[str, Any]) -> None:
    stream, now = uuid4(), datetime.now(UTC)
    message = document["components"]["messages"][name]
    schemas = document["components"]["schemas"]
    assert message["payload"] == {"$ref": f"#/components/schemas/{name}"}
    for example in message["examples"]:
        leaf = {
            "actor": "system/1",
            "commandid": str(uuid4()),
            "data": example["payload"],
            "id": str(uuid4()),
            "recordedtime": timestamp(now),
            "source": f"/firms/{uuid4()}",
            "specversion": "1.0",
            "streamversion": 1,
            "subject": f"stream/{stream}",
            "time": timestamp(now),
            "type": name,
        }
        row = EventRow(1, uuid4(), 0, "stream", stream, 1, uuid4(), name, now, now, uuid4(), canonical(leaf), b"[]")
        made = encode(row)
        Draft202012Validator(schemas[name], format_checker=FormatChecker()).validate(json.loads(made.value))
        headers = {n: v.decode() for n, v in made.headers}
        Draft202012Validator(schemas["headers"], format_checker=FormatChecker()).validate(headers)
        assert set(headers) <= set(schemas["headers"]["properties"])


def changed(change: Callable[[dict[str, Any]], object]) -> list[str]:
    before = {"tests.Made.v1": an_event()}
    after = copy.deepcopy(before)
    change(after["tests.Made.v1"])
    return asyncapi.incompatible(asyncapi.document(before), asyncapi.document(after))


def an_event() -> dict[str, Any]:
    return {
        "type": "tests.Made.v1",
        "schema": {
            "type": "object",
            "properties": {
                "title": {"type": "string"},
                "kind": {"enum": ["a", "b"]},
                "lines": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
                },
                "_sd": {"type": "array"},
            },
            "required": ["title"],
            "additionalProperties": False,
        },
        "personal": {"name": {"subject": "(the stream)", "purpose": "relationship", "value": {"type": "string"}}},
        "samples": [{"data": {"title": "x"}, "disclosures": []}],
    }


@pytest.mark.invariant("BUS13")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: e["schema"]["properties"].pop("title"), "title is gone"),
        (lambda e: e["schema"]["properties"].update(title={"type": "integer"}), 'was "string", is "integer"'),
        (lambda e: e["schema"]["properties"].update(title={"type": "string", "format": "uuid"}), "format"),
        (lambda e: e["schema"].update(required=[]), "was always there"),
        (lambda e: e["schema"].update(required=["title", "kind"]), "must be optional"),
        (lambda e: e["schema"]["properties"]["kind"].update(enum=["a"]), "b is no value any more"),
        (lambda e: e["schema"]["properties"]["title"].update(enum=["a"]), "has a list of values"),
        (lambda e: e["schema"]["properties"]["lines"]["items"].update(required=[]), "n was always there"),
        (lambda e: e["personal"].clear(), "name was sealed"),
        (lambda e: e["personal"]["name"].update(purpose="marketing"), "another subject or purpose"),
        (lambda e: e["personal"]["name"].update(value={"type": "integer"}), "name"),
    ],
)
def test_a_change_that_consumers_would_miss_is_refused(change: Callable[[dict[str, Any]], object], said: str) -> None:
    found = changed(change)
    assert any(said in line for line in found), found


@pytest.mark.invariant("BUS13")
@pytest.mark.parametrize(
    "change",
    [
        lambda e: e["schema"]["properties"].update(more={"type": "string"}),
        lambda e: e["schema"]["properties"]["kind"].update(enum=["a", "b", "c"]),
        lambda e: e["personal"].update(phone={"subject": "(the stream)", "purpose": "relationship", "value": {"type": "string"}}),
        lambda e: e["samples"].append({"data": {"title": "y"}, "disclosures": []}),
        lambda e: e["schema"]["properties"]["title"].update(description="What it is called."),
    ],
)
def test_a_change_that_consumers_pass_over_is_let_through(change: Callable[[dict[str, Any]], object]) -> None:
    assert changed(change) == []


@pytest.mark.invariant("BUS13")
def test_an_event_that_goes_away_is_refused_and_one_that_comes_is_not(document: dict[str, Any]) -> None:
    one, two = {"tests.Made.v1": an_event()}, {"tests.Made.v1": an_event(), "tests.Unmade.v1": an_event()}
    assert asyncapi.incompatible(asyncapi.document(one), asyncapi.document(two)) == []
    assert asyncapi.incompatible(asyncapi.document(two), asyncapi.document(one)) == ["tests.Unmade.v1 is gone"]


def test_the_writer_refuses_a_document_that_takes_something_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    wider = described()
    wider["tests.Made.v1"] = an_event()
    stored = tmp_path / "asyncapi.json"
    stored.write_text(asyncapi.text(wider))
    monkeypatch.setattr(asyncapi, "FILE", stored)
    with pytest.raises(spec.Changed, match=r"tests\.Made\.v1 is gone"):
        spec.published({})
