from uuid import UUID, uuid4

import pytest

from domain.kernel import fold
from domain.organisations import (
    DEPTH,
    NameWanted,
    Organisation,
    OrganisationAbsorbed,
    OrganisationAmended,
    OrganisationArchived,
    OrganisationCorrected,
    OrganisationCreated,
    OrganisationIntoItself,
    OrganisationIsArchived,
    OrganisationIsMerged,
    OrganisationMergedInto,
    OrganisationNotMerged,
    OrganisationPlaced,
    OrganisationUnmerged,
    ParentCycle,
    Profile,
    StandsBelowIt,
    TreeTooDeep,
    absorb,
    amend,
    correct,
    create,
    evolve,
    merge_into,
    place,
    release,
    tag,
    unmerge,
)
from domain.people import Email, Phone
from tests.story import Story

ACME, GROUP, ROOT = uuid4(), uuid4(), uuid4()
CREATED = OrganisationCreated(profile=Profile(name="Acme"))
organisation = Story(Organisation(), evolve)


def made(**said) -> Organisation:
    events = create(id=uuid4(), profile=Profile(**said), tags=(), custom={}, owner=None, parent=None, path=())
    return fold(Organisation(), evolve, events)


@pytest.mark.invariant("O1")
def test_an_organisation_has_a_name_and_keeps_one() -> None:
    with pytest.raises(NameWanted):
        made(legal_name="Acme AG")
    organisation.given(CREATED).when(amend, changes={"name": None}).then_refused(NameWanted)


def test_what_may_tell_of_a_person_is_kept_apart_from_public_names() -> None:
    phones = (Phone(raw="1"),)
    organisation.given(CREATED).when(amend, changes={"legal_name": "Acme AG", "phones": phones}).then(
        OrganisationAmended(profile=Profile(legal_name="Acme AG"), reach=Profile(phones=phones))
    )


@pytest.mark.invariant("O2")
def test_a_parent_that_closes_a_circle_is_refused_and_the_circle_named() -> None:
    with pytest.raises(ParentCycle) as refused:
        place(made(name="Acme"), id=ACME, parent=GROUP, path=[GROUP, ROOT, ACME])
    assert refused.value.about == {"cycle": [str(i) for i in (ACME, GROUP, ROOT, ACME)]}
    organisation.given(CREATED).when(place, id=ACME, parent=ACME, path=[ACME]).then_refused(ParentCycle)


@pytest.mark.invariant("O3")
def test_a_tree_has_a_limited_depth() -> None:
    organisation.given(CREATED).when(place, id=ACME, parent=GROUP, path=[UUID(int=i) for i in range(DEPTH)]).then_refused(
        TreeTooDeep
    )


def test_placing_where_it_stands_records_nothing() -> None:
    organisation.given(CREATED, OrganisationPlaced(parent=GROUP)).when(place, id=ACME, parent=GROUP, path=[GROUP]).then_nothing()
    organisation.given(CREATED, OrganisationPlaced(parent=GROUP)).when(place, id=ACME, parent=None, path=[]).then(
        OrganisationPlaced()
    )


@pytest.mark.invariant("O4")
def test_amending_records_only_what_changes() -> None:
    organisation.given(CREATED).when(amend, changes={"name": "Acme", "employees": 12}).then(
        OrganisationAmended(profile=Profile(employees=12))
    )
    organisation.given(CREATED).when(amend, changes={"name": "Acme", "emails": ()}).then_nothing()


@pytest.mark.invariant("O5")
def test_a_correction_keeps_its_reason() -> None:
    organisation.given(CREATED).when(correct, field="name", value="Acme AG", reason="Register").then(
        OrganisationCorrected(field="name", profile=Profile(name="Acme AG"), reason="Register")
    )


@pytest.mark.invariant("O6")
def test_an_archived_or_merged_organisation_is_not_changed() -> None:
    organisation.given(CREATED, OrganisationArchived()).when(tag, tags=("x",)).then_refused(OrganisationIsArchived)
    organisation.given(CREATED, OrganisationMergedInto(survivor=GROUP)).when(tag, tags=("x",)).then_refused(OrganisationIsMerged)


@pytest.mark.invariant("O7")
def test_unmerging_leaves_both_as_they_were() -> None:
    survivor, other = made(name="Acme"), made(name="ACME", industry="Toys", emails=(Email(address="info@acme.example"),))
    events = absorb(survivor, other, id=ACME, other_id=GROUP, path=[])
    both = fold(survivor, evolve, events)
    assert both.profile == Profile(name="Acme", industry="Toys", emails=(Email(address="info@acme.example"),))
    assert fold(both, evolve, release(both, other_id=GROUP)) == survivor
    merged = fold(other, evolve, merge_into(other, survivor=ACME))
    assert fold(merged, evolve, unmerge(merged, id=GROUP, path=[])) == other


@pytest.mark.invariant("O7")
def test_what_can_not_be_merged_or_parted_is_refused() -> None:
    other = made(name="B")
    organisation.given(CREATED).when(absorb, other=other, id=ACME, other_id=ACME, path=[]).then_refused(OrganisationIntoItself)
    organisation.given(CREATED).when(absorb, other=other, id=ACME, other_id=GROUP, path=[ROOT, GROUP]).then_refused(StandsBelowIt)
    organisation.given(CREATED, OrganisationAbsorbed(other=GROUP)).when(
        absorb, other=other, id=ACME, other_id=GROUP, path=[]
    ).then_nothing()
    organisation.given(CREATED).when(release, other_id=GROUP).then_refused(OrganisationNotMerged)


@pytest.mark.invariant("O2")
def test_an_unmerged_organisation_whose_parent_now_stands_below_it_stands_by_itself() -> None:
    organisation.given(CREATED, OrganisationPlaced(parent=ROOT), OrganisationMergedInto(survivor=GROUP)).when(
        unmerge, id=ACME, path=[ROOT, ACME]
    ).then(OrganisationUnmerged(survivor=GROUP), OrganisationPlaced(parent=None))
