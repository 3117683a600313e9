"""The rules of what a person may ask about their data."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from domain import privacy
from domain.kernel import fold
from domain.privacy import (
    AlreadyExtended,
    ByPeople,
    ByTheSystem,
    HoldId,
    KeysFirst,
    NoSuchHold,
    NoSuchRequest,
    NotApproved,
    Privacy,
    RequestId,
    RequestIsClosed,
    StoresLeft,
    UnderLegalHold,
)

T0 = datetime(2026, 3, 1, tzinfo=UTC)
DUE = datetime(2026, 4, 1, tzinfo=UTC)
ONE, TWO = RequestId(UUID(int=1)), RequestId(UUID(int=2))
HOLD = HoldId(UUID(int=9))


def after(state: Privacy, events: list[Any]) -> Privacy:
    return fold(state, privacy.evolve, events)


def asked(kind: Any = "erase", state: Privacy | None = None, id: RequestId = ONE) -> Privacy:
    state = state or Privacy()
    return after(state, privacy.request(state, id=id, kind=kind, ground="gdpr", received_at=T0, due_by=DUE, suppress=True))


def approved() -> Privacy:
    state = asked()
    return after(state, privacy.approve(state, id=ONE))


@pytest.mark.invariant("PY1")
def test_a_hold_refuses_an_approval_until_it_is_lifted() -> None:
    state = after(asked(), privacy.place_hold(asked(), hold=HOLD, reason="A dispute"))
    with pytest.raises(UnderLegalHold) as refused:
        privacy.approve(state, id=ONE)
    assert refused.value.about["holds"] == [str(HOLD)]
    state = after(state, privacy.lift_hold(state, hold=HOLD, reason="Settled"))
    assert privacy.approve(state, id=ONE)


def test_a_refusal_for_a_hold_names_the_holds() -> None:
    state = after(asked(), privacy.place_hold(asked(), hold=HOLD, reason="A dispute"))
    (refusal,) = privacy.refuse(state, id=ONE, because="legal_hold")
    assert refusal == privacy.RequestRefused(request=ONE, because="legal_hold", holds=(HOLD,))


@pytest.mark.invariant("PY2")
def test_nothing_is_destroyed_before_the_approval_and_what_is_decided_is_not_decided_again() -> None:
    with pytest.raises(NotApproved):
        privacy.destroyed(asked(), id=ONE, keys=1, subjects=[])
    with pytest.raises(RequestIsClosed):
        privacy.approve(approved(), id=ONE)
    with pytest.raises(RequestIsClosed):
        privacy.refuse(approved(), id=ONE, because="withdrawn_by_person")


@pytest.mark.invariant("PY3")
def test_asking_again_for_what_is_asked_records_nothing_and_another_right_is_another_request() -> None:
    state = asked()
    assert privacy.request(state, id=TWO, kind="erase", ground="gdpr", received_at=T0, due_by=DUE, suppress=True) == []
    assert privacy.request(state, id=TWO, kind="export", ground="gdpr", received_at=T0, due_by=DUE, suppress=True)


@pytest.mark.invariant("PY4")
def test_keys_come_before_stores_and_stores_before_the_end() -> None:
    state = approved()
    with pytest.raises(KeysFirst):
        privacy.purged(state, id=ONE, store="views", things=3)
    state = after(state, privacy.destroyed(state, id=ONE, keys=2, subjects=[UUID(int=5)]))
    assert privacy.destroyed(state, id=ONE, keys=2, subjects=[UUID(int=5)]) == []
    with pytest.raises(StoresLeft) as left:
        privacy.complete(state, id=ONE, stores=["views", "search"], certificate="c")
    assert left.value.about["stores"] == ["search", "views"]
    for store in ("views", "search"):
        state = after(state, privacy.purged(state, id=ONE, store=store, things=3))
        assert privacy.purged(state, id=ONE, store=store, things=3) == []
    state = after(state, privacy.complete(state, id=ONE, stores=["views", "search"], certificate="c"))
    assert state.requests[ONE].status == "completed"
    assert privacy.complete(state, id=ONE, stores=["views"], certificate="c") == []


@pytest.mark.invariant("PY9")
def test_a_store_that_is_awaited_is_recorded_once_for_each_reason_until_it_answers() -> None:
    state = approved()
    assert privacy.await_store(state, id=ONE, store="kafka", because="It is away.") == []
    state = after(state, privacy.destroyed(state, id=ONE, keys=1, subjects=[]))
    state = after(state, privacy.await_store(state, id=ONE, store="kafka", because="It is away."))
    assert state.requests[ONE].awaited == {"kafka": "It is away."}
    assert privacy.await_store(state, id=ONE, store="kafka", because="It is away.") == []
    assert privacy.await_store(state, id=ONE, store="kafka", because="It refuses.")
    state = after(state, privacy.purged(state, id=ONE, store="kafka", things=2, left="unreadable"))
    assert (state.requests[ONE].awaited, state.requests[ONE].unreadable) == ({}, ("kafka",))
    assert privacy.await_store(state, id=ONE, store="kafka", because="It refuses.") == []


@pytest.mark.invariant("PY6")
def test_the_time_to_answer_is_extended_once() -> None:
    state = asked()
    later = datetime(2026, 6, 1, tzinfo=UTC)
    state = after(state, privacy.extend(state, id=ONE, due_by=later, because="complexity"))
    assert state.requests[ONE].due_by == later
    with pytest.raises(AlreadyExtended):
        privacy.extend(state, id=ONE, due_by=later, because="complexity")


def test_people_answer_what_people_carry_out_and_the_system_what_it_does() -> None:
    with pytest.raises(ByTheSystem):
        privacy.answer(asked("erase"), id=ONE)
    with pytest.raises(ByPeople):
        privacy.approve(asked("access"), id=ONE)
    state = asked("access")
    assert after(state, privacy.answer(state, id=ONE)).requests[ONE].status == "completed"


@pytest.mark.invariant("PY8")
def test_a_hold_that_is_lifted_is_not_lifted_again_and_one_that_is_not_there_is_not_found() -> None:
    state = after(Privacy(), privacy.place_hold(Privacy(), hold=HOLD, reason="A dispute"))
    assert privacy.place_hold(state, hold=HOLD, reason="A dispute") == []
    state = after(state, privacy.lift_hold(state, hold=HOLD, reason="Settled"))
    assert privacy.lift_hold(state, hold=HOLD, reason="Settled") == []
    with pytest.raises(NoSuchHold):
        privacy.lift_hold(state, hold=HoldId(UUID(int=8)), reason="Settled")
    with pytest.raises(NoSuchRequest):
        privacy.approve(state, id=TWO)
