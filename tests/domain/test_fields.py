import contextlib
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.fields import (
    BoundsCrossed,
    ChoicesWanted,
    Field,
    FieldAmended,
    FieldDefined,
    FieldExists,
    FieldIsRetired,
    FieldReinstated,
    FieldRetired,
    NoSuchField,
    Settings,
    WrongValue,
    accept,
    amend,
    define,
    evolve,
    reinstate,
    retire,
)
from domain.kernel import Refused
from domain.people import FieldValue
from tests.story import Story

field = Story(Field(), evolve)


def defined(kind, **settings) -> FieldDefined:
    return FieldDefined(applies_to="contact", key="k", kind=kind, settings=Settings(**settings))


@pytest.mark.invariant("CF1")
def test_a_key_is_taken_once() -> None:
    field.given(defined("text")).when(define, applies_to="contact", key="k", kind="date", settings=Settings()).then_refused(
        FieldExists
    )


def value_of(kind, value, **settings) -> FieldValue:
    return accept(evolve(Field(), defined(kind, **settings)), value=value)


@pytest.mark.invariant("CF2")
def test_a_value_is_kept_in_the_form_of_its_field() -> None:
    assert value_of("text", "blue") == FieldValue(kind="text", text="blue")
    assert value_of("number", "12.50") == FieldValue(kind="number", number=Decimal("12.50"))
    assert value_of("number", 7) == FieldValue(kind="number", number=Decimal(7))
    assert value_of("date", "2026-02-28") == FieldValue(kind="date", day=date(2026, 2, 28))
    assert value_of("boolean", True) == value_of("boolean", "TRUE") == FieldValue(kind="boolean", flag=True)
    assert value_of("choice", "a", choices=("a", "b")) == FieldValue(kind="choice", text="a")
    assert value_of("multi_choice", ("b", "a", "b"), choices=("a", "b")) == FieldValue(kind="multi_choice", choices=("b", "a"))
    assert value_of("url", "https://a.example/x") == FieldValue(kind="url", text="https://a.example/x")


@pytest.mark.invariant("CF2")
@pytest.mark.parametrize(
    ("kind", "value", "settings"),
    [
        ("text", 7, {}),
        ("text", "x" * 4001, {}),
        ("number", "1,5", {}),
        ("number", "NaN", {}),
        ("number", "1e999", {}),
        ("number", True, {}),
        ("number", "11", {"maximum": Decimal(10)}),
        ("number", "-1", {"minimum": Decimal(0)}),
        ("date", "2026-02-30", {}),
        ("boolean", "maybe", {}),
        ("boolean", 1, {}),
        ("choice", "c", {"choices": ("a",)}),
        ("multi_choice", ("a", "c"), {"choices": ("a",)}),
        ("url", "javascript:alert(1)", {}),
        ("url", "http://[", {}),
    ],
)
def test_a_value_that_does_not_fit_is_refused(kind, value, settings) -> None:
    with pytest.raises(WrongValue):
        value_of(kind, value, **settings)


@pytest.mark.invariant("CF2")
def test_a_field_that_is_not_defined_takes_no_value() -> None:
    with pytest.raises(NoSuchField):
        accept(Field(), value="x")


@given(st.sampled_from(["text", "number", "date", "boolean", "url"]), st.text() | st.integers() | st.booleans() | st.decimals())
def test_any_value_is_taken_or_refused_by_name(kind, value) -> None:
    with contextlib.suppress(Refused):
        assert value_of(kind, value).kind == kind


@pytest.mark.invariant("CF3")
def test_a_retired_field_takes_no_values_until_it_is_reinstated() -> None:
    retired = evolve(evolve(Field(), defined("text")), FieldRetired())
    with pytest.raises(FieldIsRetired):
        accept(retired, value="x")
    field.given(defined("text"), FieldRetired()).when(reinstate).then(FieldReinstated())
    assert accept(evolve(retired, FieldReinstated()), value="x").text == "x"


@pytest.mark.invariant("CF4")
def test_choices_and_bounds_belong_to_their_kinds() -> None:
    for settings in (Settings(), Settings(choices=("a", "a"))):
        field.given().when(define, applies_to="contact", key="k", kind="choice", settings=settings).then_refused(ChoicesWanted)
    field.given(defined("text")).when(amend, changes={"choices": ("a",)}).then_refused(ChoicesWanted)
    field.given(defined("number", minimum=Decimal(5))).when(amend, changes={"maximum": Decimal(4)}).then_refused(BoundsCrossed)
    field.given(defined("text")).when(amend, changes={"maximum": Decimal(4)}).then_refused(BoundsCrossed)


@pytest.mark.invariant("CF5")
def test_nothing_is_recorded_when_nothing_changes() -> None:
    field.given(defined("text", label="Colour")).when(amend, changes={"label": "Colour", "description": None}).then_nothing()
    field.given(defined("text", label="Colour")).when(amend, changes={"label": None}).then(FieldAmended(cleared=("label",)))
    field.given(defined("text")).when(reinstate).then_nothing()
    field.given(defined("text"), FieldRetired()).when(retire).then_nothing()
