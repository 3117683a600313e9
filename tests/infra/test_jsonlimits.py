import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.jsonlimits import (
    BodyTooDeep,
    BodyTooLarge,
    BodyUnusable,
    NameTwice,
    NotJson,
    NumberUnusable,
    TextUnusable,
    decode,
)


@pytest.mark.parametrize(
    ("body", "why", "says"),
    [
        (b"", NotJson, "empty"),
        (b"  ", NotJson, "empty"),
        (b"{", NotJson, "line 1"),
        (b'{"a":1,}', NotJson, "line 1"),
        (b"{'a':1}", NotJson, "line 1"),
        (b'\n\n{"a": nope}', NotJson, "line 3"),
        (b"NaN", NotJson, "line 1"),
        (b'{"a":Infinity}', NotJson, "column 6"),
        (b'{"a":-Infinity}', NotJson, "line 1"),
        (b'{"a":1e400}', NumberUnusable, "too large"),
        (b'{"a":-1e400}', NumberUnusable, "too large"),
        (b'{"a":18446744073709551616}', NumberUnusable, "64 bits"),
        (b'{"a":-9223372036854775809}', NumberUnusable, "64 bits"),
        (b"[" + b"1" * 5000 + b"]", NumberUnusable, "64 bits"),
        (b'{"a":"\\ud800"}', TextUnusable, "surrogate"),
        (b'{"a":"\\udc00"}', TextUnusable, "surrogate"),
        (b'{"a":"\xed\xa0\x80"}', NotJson, "UTF-8"),
        (b'{"a":"\xff"}', NotJson, "UTF-8"),
        (b'\xef\xbb\xbf{"a":1}', NotJson, "BOM"),
        ('{"a":1}'.encode("utf-16"), NotJson, "UTF-8"),
        (b'{"a":["x",{"b":"y\\u0000"}]}', TextUnusable, "$.a[1].b holds"),
        (b'{"a\\u0000":1}', TextUnusable, "$ (a name)"),
        (b'{"a":"\0"}', NotJson, "control character"),
        (b'{"a":1,"a":2}', NameTwice, "byte 8"),
        (b'{"a":1,"\\u0061":2}', NameTwice, "byte 8"),
        (b'[{"b":{"x":1,"y":[],"x" :1}}]', NameTwice, "byte 21"),
        (b'{"a":1} {"a":1}', NotJson, "line 1"),
        (b'{"a":01}', NotJson, "line 1"),
        (b"[1 2]", NotJson, "line 1"),
        (b"]", NotJson, "line 1"),
    ],
)
def test_a_hostile_body_is_refused_with_its_place(body: bytes, why: type[BodyUnusable], says: str) -> None:
    with pytest.raises(BodyUnusable) as refused:
        decode(body)
    assert type(refused.value) is why
    assert says in refused.value.why


def test_refusals_repeat_no_value() -> None:
    for body in (b'{"a":"Secret\\u0000"}', b'{"a":"Secret","a":1}', b'{"a":"Secret"', b'{"a":"Secret\\ud800"}', b'{"a":Secret}'):
        with pytest.raises(BodyUnusable) as refused:
            decode(body)
        assert "Secret" not in refused.value.why + str(refused.value.about)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"\\\\u0000"}',
        b'{"a":"\\ud83d\\ude00"}',
        b'{"a":"x:y","b":"[[[[[["}',
        b'{"a":{"a":{"a":1}}}',
        b"18446744073709551615",
        b"-9223372036854775808",
        b"1.23456789012345678901234567890",
        b"1e-400",
        b"123456789012345678901e2",
        b'"' + b"[" * 5000 + b'"',
        b'"' + b'\\"[' * 5000 + b'"',
        b'"1234567890123456789012345"',
    ],
)
def test_what_only_looks_hostile_is_taken(body: bytes) -> None:
    assert decode(body) == json.loads(body)


def test_depth_is_exact() -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")):
        levels = len(opening.replace('"a":', ""))
        body = (opening * (32 // levels) + "1" + closing * (32 // levels)).encode()
        assert decode(body) == json.loads(body)
        with pytest.raises(BodyTooDeep):
            decode(b"[" + body + b"]")
    assert decode(b"[" + b"[[]]," * 100 + b"{}]")


def test_size_is_checked_before_anything_else() -> None:
    assert decode(b'"123"', max_bytes=5) == "123"
    with pytest.raises(BodyTooLarge):
        decode(b'"1234"', max_bytes=5)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1_000_000,
        b"[]" * 500_000,
        b"[" + b"[]," * 330_000 + b"[]]",
        b'"' + b"\\" * 1_000_001,
        b'"' * 1_000_001,
        b'{"a":' * 200_000,
        b"]" * 1_000_000,
        b"1" * 1_000_000,
        b"-" * 1_000_000,
        b'{"":1,' * 160_000,
        b"[" + b"1111111111111111111," * 50_000 + b"1]",
    ],
)
def test_no_megabyte_takes_long(body: bytes) -> None:
    start = time.thread_time()
    try:
        decode(body)
    except BodyUnusable as refused:
        assert refused.why  # noqa: PT017  # either is right; only its cost is tried
    assert time.thread_time() - start < 2


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=10)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda v: st.lists(v, max_size=4) | st.dictionaries(texts, v, max_size=4),
    max_leaves=20,
)


@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_every_storable_value_is_taken_as_it_is(value: Any, ascii_only: bool, indent: int | None) -> None:
    assert decode(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()) == value


@given(st.binary(max_size=60) | st.text('{}[]":,\\u0eE-1.a ', max_size=60).map(str.encode))
def test_any_bytes_are_taken_or_refused(body: bytes) -> None:
    try:
        taken = decode(body)
    except BodyUnusable as refused:
        assert refused.why  # noqa: PT017  # either is right; only a crash is not
        return
    assert taken == json.loads(body)
