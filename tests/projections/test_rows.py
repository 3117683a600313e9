"""What is done fast is done right: changed rows and derived ids are those of the standard library."""

import dataclasses
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.kernel import VIEWS
from projections.rows import derived, remembered, replace


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    count: int = 0
    words: tuple[str, ...] = ()


@given(namespace=st.uuids(), name=st.text(max_size=40))
def test_a_derived_id_is_that_of_the_standard(namespace: UUID, name: str) -> None:
    assert derived(namespace, name) == uuid5(namespace, name)
    assert derived(namespace, name).version == 5
    assert hash(derived(namespace, name)) == hash(uuid5(namespace, name))


@given(changes=st.fixed_dictionaries({}, optional={"name": st.text(), "count": st.integers(), "words": st.just(("a",))}))
def test_a_changed_row_is_that_of_the_standard_and_the_old_one_stays(changes: dict[str, object]) -> None:
    row = Row(name="one")
    assert replace(row, **changes) == dataclasses.replace(row, **changes)  # type: ignore[arg-type]
    assert row == Row(name="one")


def test_every_view_has_rows_that_can_be_copied_field_by_field() -> None:
    for view in VIEWS.values():
        assert not hasattr(view.row, "__post_init__"), view.name


def test_a_field_that_is_none_is_refused() -> None:
    with pytest.raises(KeyError):
        replace(Row(name="one"), nmae="two")  # type: ignore[call-arg]


def test_what_was_said_of_an_event_is_said_of_no_other() -> None:
    asked: list[object] = []

    @remembered
    def said(r: object) -> int:
        asked.append(r)
        return len(asked)

    one, other = object(), object()
    assert [said(one), said(one), said(other), said(one)] == [1, 1, 2, 1]  # type: ignore[arg-type]


def test_what_is_copied_is_frozen_like_the_row_it_came_from() -> None:
    copied = replace(Row(name="one"), count=2)
    assert type(copied) is Row
    assert hash(copied) == hash(Row(name="one", count=2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        copied.count = 3  # type: ignore[misc]
