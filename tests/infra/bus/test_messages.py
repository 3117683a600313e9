"""An event keeps everything on its way through a Kafka message: its leaf byte for byte, its sealed values sealed."""

import json
from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, FormatChecker

from infra.bus.messages import CONTENT_TYPE, IN_LEAF, OPTIONAL, NotAnEvent, decode, encode
from infra.record.codec import canonical, leaf_hash, timestamp
from infra.record.reader import EventRow
from tests.shared import shared

FIRM, STREAM, EVENT, COMMAND = (UUID(int=n) for n in (0xF1, 0x51, 0xE1, 0xC1))
NOW = datetime(2026, 1, 5, 9, 0, 0, 123456, tzinfo=UTC)


def a_row(data: dict[str, object] | None = None, *, sealed: bytes | None = None, **more: str) -> EventRow:
    leaf = {
        "actor": "member/0192f0c1-2d3e-7f00-8000-000000000001",
        "commandid": str(COMMAND),
        "data": data or {},
        "id": str(EVENT),
        "recordedtime": timestamp(NOW),
        "source": f"/firms/{FIRM}",
        "specversion": "1.0",
        "streamversion": 3,
        "subject": f"contact/{STREAM}",
        "time": timestamp(NOW.replace(year=2020)),
        "type": "contacts.Amended.v1",
        **more,
    }
    return EventRow(
        position=77,
        firm_id=FIRM,
        firm_position=41,
        stream_type="contact",
        stream_id=STREAM,
        stream_version=3,
        event_id=EVENT,
        type="contacts.Amended.v1",
        recorded_at=NOW,
        occurred_at=NOW.replace(year=2020),
        command_id=COMMAND,
        public=canonical(leaf),
        sealed=sealed,
    )


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
treacherous = st.sampled_from(['","id":"', '},"id":"x', ',"data":{', '"}', "\\", '\\"},"id":"', "\N{PILE OF POO}", "\u2028"])
keys = st.text('abcxyz_"\\,:{}', min_size=1, max_size=8) | st.sampled_from(["id", "data", "origin", "_sd"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | texts | treacherous,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.invariant("BUS1")
@given(
    data=st.dictionaries(keys, values, max_size=5),
    more=st.dictionaries(st.sampled_from(sorted(OPTIONAL)), texts | treacherous),
    actor=texts | treacherous,
    sealed=st.none() | st.just(b'[["00000000000000000000000000000001","AAAA"]]'),
)
def test_a_message_gives_back_the_row_and_the_leaf_byte_for_byte(
    data: dict[str, object], more: dict[str, str], actor: str, sealed: bytes | None
) -> None:
    row = a_row(data, sealed=sealed, **more, actor=actor)
    made = encode(row)
    message = decode(made.headers, made.value)
    assert message.leaf == row.public
    assert message.whole
    assert message.row == row
    assert message.content == data
    assert made.value == canonical(data)


def test_headers_are_those_of_the_kafka_binding_and_carry_the_names_of_the_leaf() -> None:
    made = encode(a_row({"about": "x"}, sealed=b"[]", origin="import/7", correlationid="a", causationid="b"))
    names = [name for name, _ in made.headers]
    assert sorted(names) == sorted(
        [f"ce_{n}" for n in (*IN_LEAF, "position", "firmposition", "leafhash", "sealed")] + ["content-type"]
    )
    assert all(
        n.removeprefix("ce_").isalnum() and n.islower() and len(n.removeprefix("ce_")) <= 20 for n in names if n != "content-type"
    )
    headers = {name: value.decode() for name, value in made.headers}
    assert headers["content-type"] == "application/json"
    assert (headers["ce_specversion"], headers["ce_id"], headers["ce_type"]) == ("1.0", str(EVENT), "contacts.Amended.v1")
    assert (headers["ce_position"], headers["ce_firmposition"], headers["ce_streamversion"]) == ("77", "41", "3")
    assert made.key == str(FIRM).encode()
    assert made.timestamp == int(NOW.timestamp() * 1000)


def test_a_message_is_a_cloudevent_by_the_published_schema() -> None:
    schema = json.loads(shared("vectors/cloudevents/cloudevents.schema.json").read_text())
    made = encode(a_row({"about": "x"}, sealed=b"[]", origin="import/7"))
    read = decode(made.headers, made.value)
    event = {**read.attributes, "datacontenttype": CONTENT_TYPE, "data": read.content}  # as the JSON format has it
    Draft7Validator(schema, format_checker=FormatChecker()).validate(event)
    assert event["data"] == {"about": "x"}
    assert event["datacontenttype"] == "application/json"


@pytest.mark.invariant("BUS1")
@pytest.mark.parametrize("header", ["ce_actor", "ce_time", "ce_type", "ce_streamversion"])
def test_a_message_that_was_altered_is_not_whole(header: str) -> None:
    made = encode(a_row({"about": "x"}))
    other = {"ce_time": timestamp(NOW), "ce_streamversion": "4"}.get(header, "another")
    altered = [(n, other.encode() if n == header else v) for n, v in made.headers]
    assert not decode(altered, made.value).whole
    assert not decode(made.headers, made.value.replace(b"x", b"y")).whole


@pytest.mark.invariant("BUS2")
def test_sealed_values_travel_sealed_and_apart_from_the_data() -> None:
    sealed = orjson.dumps([["0" * 32, "c2VhbGVk"]])
    made = encode(a_row({"_sd": ["digest"]}, sealed=sealed))
    assert dict(made.headers)["ce_sealed"] == sealed
    assert made.value == b'{"_sd":["digest"]}'
    assert decode(made.headers, made.value).row.sealed == sealed


@pytest.mark.parametrize("gone", ["ce_id", "ce_position", "ce_leafhash", "ce_subject"])
def test_a_message_without_what_an_event_needs_is_none(gone: str) -> None:
    made = encode(a_row())
    with pytest.raises(NotAnEvent, match=gone):
        decode([h for h in made.headers if h[0] != gone], made.value)


@pytest.mark.parametrize(
    ("header", "value"),
    [("ce_position", b"x"), ("ce_time", b"soon"), ("ce_id", b"7"), ("ce_subject", b"contact"), ("ce_type", b"\xff")],
)
def test_a_message_with_a_header_that_cannot_be_read_is_no_event(header: str, value: bytes) -> None:
    made = encode(a_row())
    with pytest.raises(NotAnEvent, match="can't be read"):
        decode([(n, value if n == header else v) for n, v in made.headers], made.value)


def test_a_message_without_headers_or_value_is_no_event() -> None:
    made = encode(a_row())
    for headers, value in ((None, b"{}"), ([], b"{}"), (made.headers, None)):
        with pytest.raises(NotAnEvent):
            decode(headers, value)


@pytest.mark.parametrize(
    "public",
    [
        b"\x80\x04",
        b"{}",
        b'{"actor":"x","data":{},"id":"y"}',
        b'{"actor":"x","extra":"y","data":{},"id":"y","type":"z"}',
        b'[,"data":{},"id":"\\',
    ],
)
def test_a_row_whose_public_part_is_no_leaf_is_refused(public: bytes) -> None:
    with pytest.raises(ValueError, match=r"no leaf|not found|expected"):
        encode(a_row()._replace(public=public))


def test_the_hash_in_a_message_is_the_leaf_hash_of_the_log() -> None:
    row = a_row({"about": "x"})
    assert dict(encode(row).headers)["ce_leafhash"].decode() == leaf_hash(row.public)
