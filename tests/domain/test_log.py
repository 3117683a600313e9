import pytest

from domain.log import (
    HeadsSealed,
    KeyRotated,
    KeyWasReplaced,
    Log,
    LogRestarted,
    SameLog,
    SealGoesBack,
    evolve,
    restart,
    rotate,
    seal,
)
from tests.story import Story

log = Story(Log(), evolve)
TO_B = KeyRotated(old_vkey="a", new_vkey="b", reason="scheduled")
SEALED = HeadsSealed(heads_root="r", heads_count=3, as_of_size=10)
NEW = LogRestarted(old_origin="x", new_origin="x/2", old_size=5, old_root="r", reason="restored")


def test_another_key_takes_over() -> None:
    log.given().when(rotate, old_vkey="a", new_vkey="b", reason="scheduled").then(TO_B)


def test_the_key_that_signs_already_is_not_recorded_again() -> None:
    log.given(TO_B).when(rotate, old_vkey="a", new_vkey="b", reason="scheduled").then_nothing()
    log.given().when(rotate, old_vkey="a", new_vkey="a", reason="lost").then_nothing()


@pytest.mark.invariant("LO1")
def test_a_key_that_was_replaced_never_signs_again() -> None:
    log.given(TO_B).when(rotate, old_vkey="b", new_vkey="a", reason="scheduled").then_refused(KeyWasReplaced)


@pytest.mark.invariant("LO2")
def test_heads_are_sealed_as_of_ever_larger_sizes() -> None:
    log.given().when(seal, root="r", count=3, as_of_size=10).then(SEALED)
    log.given(SEALED).when(seal, root="r", count=3, as_of_size=10).then_nothing()
    log.given(SEALED).when(seal, root="r", count=3, as_of_size=9).then_refused(SealGoesBack)


@pytest.mark.invariant("LO3")
def test_a_new_log_names_the_one_it_replaces() -> None:
    how = {"old_origin": "x", "old_size": 5, "old_root": "r", "reason": "restored"}
    log.given().when(restart, new_origin="x/2", **how).then(NEW)
    log.given(NEW).when(restart, new_origin="x/2", **how).then_nothing()
    log.given().when(restart, new_origin="x", **how).then_refused(SameLog)


def test_a_new_log_may_be_sealed_from_the_start() -> None:
    log.given(SEALED, NEW).when(seal, root="r", count=1, as_of_size=11).then(
        HeadsSealed(heads_root="r", heads_count=1, as_of_size=11)
    )
