"""The stored form: canonical bytes, digests as in SD-JWT, every event there and back, and every sample for ever."""

import base64
import dataclasses
import hashlib
import json
import typing
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args, get_origin
from uuid import UUID, uuid4

import orjson
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import kernel
from domain.hints import bare, personal_mark
from domain.kernel import EVENTS, Personal
from infra import registry, spec
from infra.record import codec
from infra.record.codec import (
    CODECS,
    MAX_INTEGER,
    Codecs,
    EventCodec,
    NotRecordable,
    TooLargeToRecord,
    UnknownEvent,
    canonical,
    checked,
)
from tests.shared import shared

registry.load()

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
KEYS = st.text(st.characters(max_codepoint=126, exclude_characters="\x00"), max_size=10)
INTEGERS = st.integers(-MAX_INTEGER, MAX_INTEGER)
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


# --- canonical bytes


@given(JSON)
@settings(max_examples=500, deadline=None)
def test_canonical_bytes_are_those_of_rfc_8785(value: Any) -> None:
    assert canonical(checked(value)) == rfc8785.dumps(value)


@pytest.mark.parametrize("name", ["arrays", "french", "structures", "unicode"])
def test_the_vectors_of_rfc_8785_hold_or_are_refused_for_what_we_refuse(name: str) -> None:
    text = shared(f"vectors/jcs/input/{name}.json").read_text()
    wanted = shared(f"vectors/jcs/output/{name}.json").read_bytes()
    if name == "french":
        with pytest.raises(NotRecordable) as refused:
            checked(json.loads(text))
        assert refused.value.about == {"value": "a key that is not ASCII"}
        return
    if name == "structures":
        with pytest.raises(NotRecordable) as refused:
            checked(json.loads(text))
        assert refused.value.about == {"value": "float"}
    assert canonical(checked(json.loads(text, parse_float=lambda number: int(float(number))))) == wanted


@pytest.mark.parametrize(
    "value",
    [
        1.0, float("nan"), MAX_INTEGER + 1, -MAX_INTEGER - 1, "a\x00b", {"é": 1}, {1: 2}, {"a": [1.5]}, {1, 2}, b"bytes", UUID(int=5),
        datetime(2026, 1, 5, tzinfo=UTC),
    ],
    ids=repr,
)  # fmt: skip
def test_what_has_no_canonical_bytes_is_refused(value: Any) -> None:
    with pytest.raises(NotRecordable):
        checked(value)


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(NotRecordable):
        canonical({"text": "\ud800"})


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (str, "a\x00b"),
        (str, 5),
        (int, True),
        (int, 2**53),
        (int, 1.0),
        (bool, 1),
        (Decimal, Decimal("NaN")),
        (Decimal, Decimal("Infinity")),
        (Decimal, Decimal("1E+2000")),
        (Decimal, 1.5),
        (datetime, datetime(2026, 1, 1)),  # noqa: DTZ001
        (datetime, datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))),
        (dict[str, str], {"é": "x"}),
    ],
    ids=repr,
)
def test_a_value_that_could_not_be_read_back_is_refused(hint: Any, value: Any) -> None:
    encode, _ = codec.json_codec(hint)
    with pytest.raises(NotRecordable):
        encode(value)


def test_equal_instants_have_one_form() -> None:
    moment = datetime(2026, 3, 29, 3, 30, 0, 5, tzinfo=timezone(timedelta(hours=2)))
    assert codec.timestamp(moment) == codec.timestamp(moment.astimezone(UTC)) == "2026-03-29T01:30:00.000005Z"


# --- events


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Instances of any hint an event may have."""
    while hasattr(hint, "__supertype__"):
        hint = hint.__supertype__
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: TEXT,
        int: INTEGERS,
        bool: st.booleans(),
        UUID: st.uuids(),
        Decimal: st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**12), max_value=10**12),
        datetime: st.datetimes(min_value=datetime(1900, 1, 2), max_value=datetime(9000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
        date: st.dates(),
        type(None): st.none(),
    }
    if hint in simple:
        return simple[hint]
    if get_origin(hint) is Annotated:
        return values(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(list(hint))
    if get_origin(hint) is tuple:
        return st.lists(values(get_args(hint)[0]), max_size=3).map(tuple)
    if get_origin(hint) in (dict, Mapping):
        return st.dictionaries(KEYS, values(get_args(hint)[1]), max_size=3)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = typing.get_type_hints(hint, include_extras=True)
        return st.builds(hint, **{f.name: values(hints[f.name]) for f in dataclasses.fields(hint)})
    return st.one_of([values(a) for a in get_args(hint)])


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_every_event_comes_back_from_its_public_data_and_its_disclosures(name: str) -> None:
    event_codec = CODECS.named(name)

    @given(values(EVENTS[name]), st.uuids())
    @settings(max_examples=8, deadline=None)
    def there_and_back(event: Any, stream: UUID) -> None:
        data, disclosures = event_codec.encode(event, stream)
        public = canonical(data)
        assert public == rfc8785.dumps(data)
        digests = []
        salts = []
        for d in disclosures:
            salt, field, _ = json.loads(base64.urlsafe_b64decode(d.text + "=="))
            salts.append(base64.urlsafe_b64decode(salt + "=="))
            assert field in {f.name for f in dataclasses.fields(event_codec.cls)}
            assert field not in data
            digests.append(base64.urlsafe_b64encode(hashlib.sha256(d.text.encode("ascii")).digest()).decode().rstrip("="))
        assert data.get("_sd", []) == sorted(digests)
        assert all(len(salt) == 16 for salt in salts)
        assert len(set(salts)) == len(salts)
        assert CODECS.decode(name, orjson.loads(public), codec.disclose([d.text for d in disclosures])) == event
        CODECS.decode(name, orjson.loads(public), {})  # every key destroyed

    there_and_back()


def test_digests_are_those_of_the_example_in_rfc_9901() -> None:
    disclosure = "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0"
    assert codec.b64url(hashlib.sha256(disclosure.encode()).digest()) == "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"
    assert codec.disclose([disclosure]) == {"family_name": "Möbius"}


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_every_personal_field_can_be_empty_and_names_a_subject_that_is_there(name: str) -> None:
    cls = EVENTS[name]
    hints = typing.get_type_hints(cls, include_extras=True)
    for f in dataclasses.fields(cls):
        mark = personal_mark(hints[f.name])
        if mark is not None:
            (empty,) = [known.empty for known in CODECS.named(name)._fields if known.name == f.name]
            assert not empty
            assert empty is not None or spec._optional(hints[f.name]), f"{name}.{f.name} has no value for when its key is gone"
            if mark.subject:
                assert bare(hints[mark.subject]) is UUID, f"{name}.{f.name}"


def test_a_mark_that_would_be_passed_over_is_an_error() -> None:
    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Nested:
        email: Annotated[str | None, Personal()] = None

    for hint in (Nested, tuple[Nested, ...], dict[str, Nested], tuple[Annotated[str, Personal()], ...], Nested | None):
        made = dataclasses.make_dataclass("Made", [("field", hint, None)], frozen=True, kw_only=True)
        with pytest.raises(TypeError, match="hides a personal mark"):
            EventCodec("tests.Made.v1", made)


def test_what_is_larger_than_a_leaf_is_refused_also_when_it_is_sealed() -> None:
    made = dataclasses.make_dataclass("Made", [("text", Annotated[str | None, Personal()], None)], frozen=True, kw_only=True)
    with pytest.raises(TooLargeToRecord):
        EventCodec("tests.Made.v1", made).encode(made(text="x" * 70_000), uuid4())


# --- versions


def test_a_retired_version_is_read_through_its_upcasters(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Renamed:
        title: str
        person: UUID
        remark: Annotated[str | None, Personal(subject="person")] = None

    monkeypatch.setitem(EVENTS, "tests.Renamed.v3", Renamed)
    monkeypatch.setitem(kernel.UPCASTERS, "tests.Renamed.v1", ("tests.Renamed.v2", lambda d: {**d, "person": str(UUID(int=7))}))
    monkeypatch.setitem(
        kernel.UPCASTERS, "tests.Renamed.v2", ("tests.Renamed.v3", lambda d: {**d, "title": d["name"], "remark": d.get("note")})
    )
    codecs = Codecs()
    old = {"name": "A", "_sd": ["x"]}
    assert codecs.decode("tests.Renamed.v1", old, {"note": "said"}) == Renamed(title="A", person=UUID(int=7), remark="said")
    assert codecs.decode("tests.Renamed.v2", {"name": "B", "person": str(UUID(int=8))}, {}) == Renamed(
        title="B", person=UUID(int=8)
    )
    with pytest.raises(UnknownEvent):
        codecs.decode("tests.Unheard.v1", {}, {})


SAMPLES = [
    (path.name.removesuffix(".json"), n)
    for path in sorted(spec.FOLDER.glob("*.json"))
    for n in range(len(json.loads(path.read_text())["samples"]))
]


@pytest.mark.parametrize(("name", "n"), SAMPLES)
def test_every_committed_sample_decodes_for_ever(name: str, n: int) -> None:
    stored = json.loads((spec.FOLDER / f"{name}.json").read_text())["samples"][n]
    event = spec.decode(name, stored)
    if name in EVENTS:
        data, disclosures = CODECS.named(name).encode(event, uuid4())
        assert {k: v for k, v in data.items() if k != "_sd"} == {k: v for k, v in stored["data"].items() if k != "_sd"}
        assert codec.disclose([d.text for d in disclosures]) == codec.disclose(stored["disclosures"])


def test_the_files_of_events_are_those_that_are_generated() -> None:
    wanted = spec.files()
    differing = [path.name for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    assert not differing, "run `python -m infra.spec` and commit what it writes"


def test_an_event_that_was_changed_is_refused_and_one_that_grew_keeps_its_samples() -> None:
    before = dataclasses.make_dataclass(
        "Was", [("a", str), ("b", Annotated[str | None, Personal()], None)], frozen=True, kw_only=True
    )
    grown = dataclasses.make_dataclass(
        "Is", [("a", str), ("b", Annotated[str | None, Personal()], None), ("c", int | None, None)], frozen=True, kw_only=True
    )
    others = [
        dataclasses.make_dataclass("Is", [("b", Annotated[str | None, Personal()], None)], frozen=True, kw_only=True),
        dataclasses.make_dataclass("Is", [("a", int), ("b", Annotated[str | None, Personal()], None)], frozen=True, kw_only=True),
        dataclasses.make_dataclass("Is", [("a", str), ("b", str | None, None)], frozen=True, kw_only=True),
        dataclasses.make_dataclass(
            "Is", [("a", str), ("b", Annotated[str | None, Personal()], None), ("c", int)], frozen=True, kw_only=True
        ),
        dataclasses.make_dataclass(
            "Is", [("a", str), ("b", Annotated[str | None, Personal(purpose="marketing")], None)], frozen=True, kw_only=True
        ),
    ]

    def described(cls: type) -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(spec, "CODECS", _Only(cls))
            return spec.describe("tests.Made.v1", cls)

    was = described(before)
    assert spec.merged(was, described(before)) == was
    assert len(spec.merged(was, described(grown))["samples"]) == 2
    for other in others:
        with pytest.raises(spec.Changed):
            spec.merged(was, described(other))


@dataclasses.dataclass
class _Only:
    cls: type

    def named(self, name: str) -> EventCodec:
        return EventCodec(name, self.cls)
