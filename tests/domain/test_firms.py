from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import firms
from domain.firms import (
    CURRENCIES,
    Firm,
    FirmCreated,
    FirmExists,
    FirmIsSuspended,
    FirmReactivated,
    FirmRenamed,
    FirmSettingsChanged,
    FirmSuspended,
    LastOwner,
    OwnerAdded,
    OwnerRemoved,
    Region,
    Settings,
    TooManyOwners,
    evolve,
)
from domain.kernel import fold
from tests.story import Story

CREATED = FirmCreated(name="Ash & Elm", region=Region.EU, settings=Settings(time_zone="Europe/Vienna"))
SUSPENDED = FirmSuspended(reason="Unpaid")
ANN, BEN = uuid4(), uuid4()
firm = Story(Firm(), evolve)


def test_a_firm_is_created_with_its_region_and_settings() -> None:
    firm.given().when(firms.create, name="Ash & Elm", region=Region.EU, settings=Settings(time_zone="Europe/Vienna")).then(CREATED)


@pytest.mark.invariant("F1")
def test_a_firm_is_not_created_twice() -> None:
    firm.given(CREATED).when(firms.create, name="Other", region=Region.US, settings=Settings()).then_refused(FirmExists)


def test_a_firm_takes_a_new_name() -> None:
    firm.given(CREATED).when(firms.rename, name="Ash").then(FirmRenamed(name="Ash"))


@pytest.mark.invariant("F4")
def test_the_name_a_firm_has_is_not_recorded_again() -> None:
    firm.given(CREATED).when(firms.rename, name="Ash & Elm").then_nothing()


def test_settings_are_recorded_as_they_stand_after_the_change() -> None:
    after = Settings(time_zone="Europe/Vienna", retention_months=84)
    firm.given(CREATED).when(firms.change_settings, settings=after).then(FirmSettingsChanged(settings=after))


@pytest.mark.invariant("F4")
def test_the_settings_a_firm_has_are_not_recorded_again() -> None:
    firm.given(CREATED).when(firms.change_settings, settings=CREATED.settings).then_nothing()


@pytest.mark.invariant("F2")
def test_a_suspended_firm_is_not_renamed() -> None:
    firm.given(CREATED, SUSPENDED).when(firms.rename, name="Ash").then_refused(FirmIsSuspended)


@pytest.mark.invariant("F2")
def test_a_suspended_firm_keeps_its_settings_until_it_is_reactivated() -> None:
    after = Settings(currency="CHF")
    firm.given(CREATED, SUSPENDED).when(firms.change_settings, settings=after).then_refused(FirmIsSuspended)
    firm.given(CREATED, SUSPENDED, FirmReactivated()).when(firms.change_settings, settings=after).then(
        FirmSettingsChanged(settings=after)
    )


@pytest.mark.invariant("F4")
def test_suspending_and_reactivating_twice_record_once() -> None:
    firm.given(CREATED).when(firms.suspend, reason="Unpaid").then(SUSPENDED)
    firm.given(CREATED, SUSPENDED).when(firms.suspend, reason="Unpaid").then_nothing()
    firm.given(CREATED, SUSPENDED).when(firms.reactivate).then(FirmReactivated())
    firm.given(CREATED).when(firms.reactivate).then_nothing()


@pytest.mark.invariant("F3")
def test_the_last_owner_is_not_removed() -> None:
    firm.given(CREATED, OwnerAdded(member=ANN)).when(firms.remove_owner, member=ANN).then_refused(LastOwner)


def test_an_owner_is_removed_while_another_remains() -> None:
    both = (CREATED, OwnerAdded(member=ANN), OwnerAdded(member=BEN))
    firm.given(*both).when(firms.remove_owner, member=ANN).then(OwnerRemoved(member=ANN))
    firm.given(*both, OwnerRemoved(member=ANN)).when(firms.remove_owner, member=BEN).then_refused(LastOwner)


@pytest.mark.invariant("F4")
def test_an_owner_is_counted_once() -> None:
    firm.given(CREATED, OwnerAdded(member=ANN)).when(firms.add_owner, member=ANN).then_nothing()
    firm.given(CREATED, OwnerAdded(member=ANN)).when(firms.remove_owner, member=BEN).then_nothing()


def test_the_owners_of_a_firm_have_a_limit() -> None:
    many = [OwnerAdded(member=uuid4()) for _ in range(firms.MAX_OWNERS)]
    firm.given(CREATED, *many).when(firms.add_owner, member=ANN).then_refused(TooManyOwners)


@pytest.mark.invariant("F3")
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=40))
def test_a_firm_that_has_had_an_owner_always_has_one(steps: list[tuple[bool, int]]) -> None:
    people = [uuid4() for _ in range(5)]
    state, had_one = evolve(Firm(), CREATED), False
    for add, who in steps:
        try:
            events = (firms.add_owner if add else firms.remove_owner)(state, member=people[who])
        except LastOwner:
            assert state.owners == (people[who],)
            continue
        state = fold(state, evolve, events)
        had_one = had_one or bool(state.owners)
        assert bool(state.owners) == had_one
        assert len(set(state.owners)) == len(state.owners)


def test_currencies_are_three_letters_and_not_withdrawn() -> None:
    assert {"EUR", "USD", "GBP", "CHF", "JPY"} <= CURRENCIES
    assert all(len(c) == 3 and c.isupper() for c in CURRENCIES)
    assert not {"DEM", "HRK", "XXX", "XAU"} & CURRENCIES
