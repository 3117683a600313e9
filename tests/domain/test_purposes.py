import gzip
import json
from uuid import UUID

import pytest

from domain.purposes import (
    DEEPEST,
    DPV,
    DPV_PURPOSES,
    MOST,
    PURPOSES,
    HasPurposesBelow,
    KeyTaken,
    NoSuchPurpose,
    NotInVocabulary,
    PurposeAmended,
    PurposeCycle,
    PurposeDefined,
    PurposeId,
    PurposeIsRetired,
    PurposeMoved,
    PurposeRetired,
    TooManyPurposes,
    TreeTooDeep,
    amend,
    below,
    define,
    known,
    move,
    pick,
    retire,
)
from tests.shared import shared
from tests.story import Story

MARKETING, NEWS, EVENTS, ADVICE = (PurposeId(UUID(int=n)) for n in range(1, 5))


def defined(id: PurposeId, key: str, parent: PurposeId | None = None) -> PurposeDefined:
    return PurposeDefined(purpose=id, key=key, name=key.title(), dpv=DPV + "Marketing", parent=parent)


TREE = (
    defined(MARKETING, "marketing"),
    defined(NEWS, "news", MARKETING),
    defined(EVENTS, "events", MARKETING),
    defined(ADVICE, "advice"),
)
tree = Story(PURPOSES.initial, PURPOSES.evolve)
planted = tree.given(*TREE)


def test_a_purpose_is_defined_below_another() -> None:
    how = {"id": NEWS, "key": "news", "name": "News", "dpv": DPV + "Marketing", "parent": MARKETING}
    tree.given(TREE[0]).when(define, **how).then(defined(NEWS, "news", MARKETING))


@pytest.mark.invariant("PU1")
def test_a_key_is_never_given_again() -> None:
    how = {"id": PurposeId(UUID(int=9)), "key": "advice", "name": "Other", "dpv": DPV + "Marketing"}
    planted.when(define, **how).then_refused(KeyTaken)
    tree.given(*TREE, PurposeRetired(purpose=ADVICE)).when(define, **how).then_refused(KeyTaken)


@pytest.mark.invariant("PU2")
def test_a_purpose_never_stands_below_itself() -> None:
    planted.when(move, id=MARKETING, parent=NEWS).then_refused(PurposeCycle)
    planted.when(move, id=MARKETING, parent=MARKETING).then_refused(PurposeCycle)


@pytest.mark.invariant("PU2")
def test_the_tree_has_a_limit_in_depth_and_in_number() -> None:
    ids = [PurposeId(UUID(int=100 + n)) for n in range(DEEPEST)]
    branch = [defined(id, f"p{n}", ids[n - 1] if n else None) for n, id in enumerate(ids)]
    deep = tree.given(*branch, *TREE)
    how = {"id": PurposeId(UUID(int=9)), "key": "deeper", "name": "D", "dpv": DPV + "Marketing"}
    deep.when(define, **how, parent=ids[-1]).then_refused(TreeTooDeep)
    deep.when(move, id=MARKETING, parent=ids[-2]).then_refused(TreeTooDeep)
    deep.when(move, id=MARKETING, parent=ids[-3]).then(PurposeMoved(purpose=MARKETING, parent=ids[-3]))
    many = [defined(PurposeId(UUID(int=1000 + n)), f"m{n}") for n in range(MOST)]
    tree.given(*many).when(define, **how).then_refused(TooManyPurposes)


@pytest.mark.invariant("PU3")
def test_every_purpose_names_one_of_the_vocabulary() -> None:
    for wrong in (DPV + "Spam", "Marketing", "https://example.org/dpv#Marketing"):
        tree.when(define, id=NEWS, key="news", name="News", dpv=wrong).then_refused(NotInVocabulary)
        planted.when(amend, id=NEWS, name="News", dpv=wrong, description=None).then_refused(NotInVocabulary)


@pytest.mark.invariant("PU3")
def test_the_known_purposes_are_exactly_those_of_the_published_vocabulary() -> None:
    with gzip.open(shared("data/consent-vocabulary-dpv/purposes.jsonld.gz"), "rt", encoding="utf-8") as f:
        published = {x["@id"] for x in json.load(f) if DPV + "Purpose" in x.get("@type", ())}
    assert {DPV + name for name in DPV_PURPOSES} == published


@pytest.mark.invariant("PU4")
def test_what_a_purpose_says_changes_by_a_new_version() -> None:
    how = {"id": NEWS, "name": "Newsletter", "dpv": DPV + "DirectMarketing", "description": "Monthly"}
    amended = PurposeAmended(purpose=NEWS, purpose_version=2, name="Newsletter", dpv=DPV + "DirectMarketing", description="Monthly")
    planted.when(amend, **how).then(amended)
    (found,) = pick(planted.given(*TREE, amended).state(), ["news"])
    assert (found.version, found.name) == (2, "Newsletter")


@pytest.mark.invariant("PU5")
def test_a_retired_purpose_is_not_picked_or_changed_but_can_be_withdrawn() -> None:
    planted.when(retire, id=MARKETING).then_refused(HasPurposesBelow)
    gone = tree.given(*TREE, PurposeRetired(purpose=NEWS))
    state = gone.state()
    with pytest.raises(PurposeIsRetired):
        pick(state, ["news"])
    gone.when(amend, id=NEWS, name="X", dpv=DPV + "Marketing", description=None).then_refused(PurposeIsRetired)
    gone.when(move, id=NEWS, parent=ADVICE).then_refused(PurposeIsRetired)
    gone.when(define, id=PurposeId(UUID(int=9)), key="x", name="X", dpv=DPV + "Marketing", parent=NEWS).then_refused(
        PurposeIsRetired
    )
    assert [p.key for p in known(state, ["news"])] == ["news"]
    assert "news" in {p.key for p in below(state, ["marketing"])}


@pytest.mark.invariant("PU6")
def test_nothing_is_recorded_when_nothing_changes() -> None:
    planted.when(amend, id=NEWS, name="News", dpv=DPV + "Marketing", description=None).then_nothing()
    planted.when(move, id=NEWS, parent=MARKETING).then_nothing()
    tree.given(*TREE, PurposeRetired(purpose=NEWS)).when(retire, id=NEWS).then_nothing()


def test_a_withdrawal_reaches_all_below_the_purposes_named() -> None:
    state = planted.state()
    assert [p.key for p in below(state, ["marketing"])] == ["marketing", "news", "events"]
    assert [p.key for p in below(state, ["news", "advice"])] == ["news", "advice"]
    assert len(below(state, [])) == 4


def test_an_unknown_purpose_is_refused_by_name() -> None:
    state = planted.state()
    for ask in (pick, below, known):
        with pytest.raises(NoSuchPurpose):
            ask(state, ["nothing"])
    planted.when(retire, id=PurposeId(UUID(int=77))).then_refused(NoSuchPurpose)
