from datetime import date
from typing import get_args
from uuid import UUID, uuid4

import pytest

from commands.relations import Kind
from domain.relations import (
    INVERSES,
    KINDS,
    MEANINGS,
    DoesNotJoin,
    End,
    EndsBeforeItBegins,
    LabelWanted,
    Particulars,
    RelatedToItself,
    Relation,
    RelationAmended,
    RelationEnded,
    RelationExists,
    RelationIsRemoved,
    RelationRecorded,
    RelationRemoved,
    UnknownKind,
    amend,
    directed,
    end,
    evolve,
    record,
    remove,
    seen_from_target,
)
from tests.story import Story

ANNA, EVA = End(type="contact", id=UUID(int=1)), End(type="contact", id=UUID(int=2))
ACME = End(type="organisation", id=UUID(int=3))
WORKS = RelationRecorded(
    source_type="contact",
    source=ANNA.id,
    target_type="organisation",
    target=ACME.id,
    person=ANNA.id,
    particulars=Particulars(kind="works_at", valid_from=date(2020, 1, 1)),
)
relation = Story(Relation(), evolve)


def test_the_vocabulary_offered_is_the_one_that_is_known() -> None:
    assert set(get_args(Kind)) == set(KINDS)
    assert len(KINDS) == len(set(KINDS))


@pytest.mark.invariant("R1")
def test_people_work_at_organisations_only() -> None:
    with pytest.raises(DoesNotJoin):
        directed("works_at", ANNA, EVA)
    with pytest.raises(DoesNotJoin):
        directed("spouse_of", ANNA, ACME)
    with pytest.raises(UnknownKind):
        directed("nemesis_of", ANNA, EVA)


@pytest.mark.invariant("R2")
@pytest.mark.parametrize("inverse", sorted(INVERSES))
def test_a_relation_said_from_the_other_side_is_the_same_relation(inverse) -> None:
    kind = INVERSES[inverse]
    source, target = (End(type=t, id=uuid4()) for t in MEANINGS[kind].joins[0])
    assert directed(inverse, target, source) == directed(kind, source, target) == (kind, source, target)
    assert seen_from_target(kind) == inverse


@pytest.mark.invariant("R2")
def test_spouses_are_each_others() -> None:
    assert directed("spouse_of", EVA, ANNA) == directed("spouse_of", ANNA, EVA)
    assert seen_from_target("spouse_of") == "spouse_of"


@pytest.mark.invariant("R3")
def test_nobody_is_related_to_themselves() -> None:
    with pytest.raises(RelatedToItself):
        directed("parent_of", ANNA, ANNA)


@pytest.mark.invariant("R4")
def test_a_relation_does_not_end_before_it_begins() -> None:
    relation.given(WORKS).when(end, on=date(2019, 12, 31)).then_refused(EndsBeforeItBegins)
    relation.given(WORKS).when(amend, changes={"valid_to": date(2019, 1, 1)}).then_refused(EndsBeforeItBegins)
    relation.given(WORKS).when(end, on=date(2021, 1, 1), reason="Left").then(
        RelationEnded(person=ANNA.id, on=date(2021, 1, 1), reason="Left")
    )


@pytest.mark.invariant("R5")
def test_another_relation_says_what_it_is() -> None:
    relation.given().when(record, source=ANNA, target=EVA, particulars=Particulars(kind="other")).then_refused(LabelWanted)


@pytest.mark.invariant("R6")
def test_what_is_on_record_is_not_recorded_twice() -> None:
    same = {"source": ANNA, "target": ACME}
    relation.given(WORKS).when(record, **same, particulars=WORKS.particulars).then_nothing()
    relation.given(WORKS).when(record, **same, particulars=Particulars(kind="works_at")).then_refused(RelationExists)
    relation.given(WORKS, RelationRemoved(person=ANNA.id)).when(record, **same, particulars=WORKS.particulars).then(WORKS)
    relation.given(WORKS).when(amend, changes={"label": None}).then_nothing()
    relation.given(WORKS).when(amend, changes={"label": "Director"}).then(
        RelationAmended(person=ANNA.id, particulars=Particulars(label="Director"))
    )


def test_a_removed_relation_is_not_changed() -> None:
    gone = RelationRemoved(person=ANNA.id)
    relation.given(WORKS).when(remove).then(gone)
    relation.given(WORKS, gone).when(remove).then_nothing()
    relation.given(WORKS, gone).when(amend, changes={"label": "x"}).then_refused(RelationIsRemoved)
    relation.given(WORKS, gone).when(end, on=date(2022, 1, 1)).then_refused(RelationIsRemoved)


def test_what_a_relation_tells_is_sealed_for_the_person_in_it() -> None:
    (event,) = record(Relation(), source=ACME, target=ANNA, particulars=Particulars(kind="referred_by"))
    assert isinstance(event, RelationRecorded)
    assert event.person == ANNA.id
