from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.kernel import Invalid, Refused
from domain.pipelines import (
    Default,
    DefaultChosen,
    NoDefaultPipeline,
    NoOpenStage,
    Pipeline,
    PipelineArchived,
    PipelineDefaultGivenUp,
    PipelineDefined,
    PipelineId,
    PipelineIsArchived,
    PipelineMadeDefault,
    PipelineRedefined,
    PipelineRenamed,
    PipelineRestored,
    ProbabilityContradictsKind,
    Stage,
    StageDraft,
    StageId,
    StageIsRetired,
    StageKindIsFixed,
    StageNamedTwice,
    StageNameUsedTwice,
    StageNotInPipeline,
    TooManyStages,
    archive,
    choose_default,
    closing_stage,
    default_pipeline,
    define,
    entry_stage,
    evolve,
    evolve_default,
    give_up_default,
    known_stage,
    make_default,
    redefine,
    rename,
    restore,
    stage_in_use,
)
from tests.story import Story

ENQUIRY = Stage(id=StageId(uuid4()), name="Enquiry", probability=10, time_limit_days=14)
OFFER = Stage(id=StageId(uuid4()), name="Offer", probability=60)
WON = Stage(id=StageId(uuid4()), name="Won", kind="won", probability=100)
DEFINED = PipelineDefined(name="Mortgages", stages=(ENQUIRY, OFFER, WON))
pipeline = Story(Pipeline(), evolve)
default = Story(Default(), evolve_default)


def draft(stage: Stage, **changed: object) -> StageDraft:
    known = {
        "id": stage.id,
        "name": stage.name,
        "kind": stage.kind,
        "probability": stage.probability,
        "time_limit_days": stage.time_limit_days,
    }
    return StageDraft(**(known | changed))  # type: ignore[arg-type]


@pytest.mark.invariant("P4")
def test_a_pipeline_is_defined_with_its_stages_in_order_and_a_won_stage_is_certain() -> None:
    drafts = [draft(ENQUIRY), draft(OFFER), draft(WON, probability=None)]
    pipeline.when(define, name="Mortgages", stages=drafts).then(DEFINED)


@pytest.mark.invariant("P4")
@pytest.mark.parametrize(("kind", "probability"), [("won", 90), ("lost", 1)])
def test_a_closing_stage_has_no_probability_of_its_own(kind: str, probability: int) -> None:
    odd = draft(OFFER, kind=kind, probability=probability)
    pipeline.when(define, name="M", stages=[draft(ENQUIRY), odd]).then_refused(ProbabilityContradictsKind)


@pytest.mark.invariant("P1")
def test_a_pipeline_without_an_open_stage_is_refused() -> None:
    pipeline.when(define, name="M", stages=[draft(WON)]).then_refused(NoOpenStage)
    pipeline.given(DEFINED).when(redefine, stages=[draft(WON)]).then_refused(NoOpenStage)


@pytest.mark.invariant("P1")
def test_fifty_stages_are_in_use_at_most_and_a_hundred_ever() -> None:
    many = [StageDraft(id=StageId(uuid4()), name=f"S{n}") for n in range(51)]
    pipeline.when(define, name="M", stages=many).then_refused(TooManyStages)
    ever = tuple(Stage(id=StageId(uuid4()), name=f"R{n}", retired=True) for n in range(99))
    pipeline.given(PipelineDefined(name="M", stages=(ENQUIRY, *ever))).when(
        redefine, stages=[draft(ENQUIRY), draft(OFFER)]
    ).then_refused(TooManyStages)


@pytest.mark.invariant("P2")
def test_two_stages_in_use_do_not_share_a_name_but_a_retired_one_gives_its_name_free() -> None:
    pipeline.when(define, name="M", stages=[draft(ENQUIRY), draft(OFFER, name="ENQUIRY")]).then_refused(StageNameUsedTwice)
    successor = Stage(id=StageId(uuid4()), name="Offer")
    pipeline.given(DEFINED).when(redefine, stages=[draft(ENQUIRY), draft(successor), draft(WON)]).then(
        PipelineRedefined(stages=(ENQUIRY, successor, WON, Stage(id=OFFER.id, name="Offer", probability=60, retired=True)))
    )


@pytest.mark.invariant("P3")
def test_a_stage_left_out_is_retired_and_can_be_brought_back() -> None:
    retired = Stage(id=OFFER.id, name="Offer", probability=60, retired=True)
    without = PipelineRedefined(stages=(ENQUIRY, WON, retired), reason="we answer at once")
    pipeline.given(DEFINED).when(redefine, stages=[draft(ENQUIRY), draft(WON)], reason="we answer at once").then(without)
    pipeline.given(DEFINED, without).when(redefine, stages=[draft(ENQUIRY), draft(OFFER), draft(WON)]).then(
        PipelineRedefined(stages=(ENQUIRY, OFFER, WON))
    )


@pytest.mark.invariant("P3")
def test_the_kind_of_a_stage_never_changes() -> None:
    changed = draft(WON, kind="lost", probability=None)
    pipeline.given(DEFINED).when(redefine, stages=[draft(ENQUIRY), changed]).then_refused(StageKindIsFixed)


def test_a_stage_is_named_once() -> None:
    pipeline.given(DEFINED).when(redefine, stages=[draft(ENQUIRY), draft(ENQUIRY, name="Again")]).then_refused(StageNamedTwice)


@pytest.mark.invariant("P7")
def test_the_same_definition_or_name_again_records_nothing() -> None:
    pipeline.given(DEFINED).when(redefine, stages=[draft(ENQUIRY), draft(OFFER), draft(WON)]).then_nothing()
    pipeline.given(DEFINED).when(rename, name="Mortgages").then_nothing()
    pipeline.given(DEFINED).when(restore).then_nothing()
    pipeline.given(DEFINED, PipelineArchived()).when(archive).then_nothing()


def test_a_new_order_is_a_redefinition() -> None:
    pipeline.given(DEFINED).when(redefine, stages=[draft(OFFER), draft(ENQUIRY), draft(WON)]).then(
        PipelineRedefined(stages=(OFFER, ENQUIRY, WON))
    )


def test_a_pipeline_is_renamed_and_keeps_its_description_unless_told() -> None:
    described = PipelineRenamed(name="Loans", description="All of them")
    pipeline.given(DEFINED).when(rename, name="Loans", description="All of them").then(described)
    pipeline.given(DEFINED, described).when(rename, name="Credit").then(PipelineRenamed(name="Credit", description="All of them"))
    pipeline.given(DEFINED, described).when(rename, name="Loans", description="").then(PipelineRenamed(name="Loans"))


@pytest.mark.invariant("P5")
def test_an_archived_pipeline_takes_no_new_business_until_it_is_restored() -> None:
    gone = evolve(evolve(Pipeline(), DEFINED), PipelineArchived())
    for named in (None, ENQUIRY.id):
        with pytest.raises(PipelineIsArchived):
            entry_stage(gone, named)
    with pytest.raises(PipelineIsArchived):
        redefine(gone, stages=[draft(ENQUIRY)])
    assert stage_in_use(gone, OFFER.id) == OFFER
    assert entry_stage(evolve(gone, PipelineRestored()), None) == ENQUIRY


@pytest.mark.invariant("P6")
def test_one_pipeline_is_the_default_and_archiving_it_leaves_none() -> None:
    first, second = PipelineId(uuid4()), PipelineId(uuid4())
    default.when(choose_default, pipeline=first).then(DefaultChosen(pipeline=first))
    default.given(DefaultChosen(pipeline=first)).when(choose_default, pipeline=first).then_nothing()
    pipeline.given(DEFINED).when(make_default, previous=second).then(PipelineMadeDefault(previous=second))
    pipeline.given(DEFINED, PipelineMadeDefault()).when(make_default, previous=None).then_nothing()
    pipeline.given(DEFINED, PipelineMadeDefault()).when(give_up_default, successor=second).then(
        PipelineDefaultGivenUp(successor=second)
    )
    pipeline.given(DEFINED).when(give_up_default, successor=second).then_nothing()
    pipeline.given(DEFINED, PipelineMadeDefault()).when(archive).then(PipelineDefaultGivenUp(), PipelineArchived())
    pipeline.given(DEFINED, PipelineArchived()).when(make_default, previous=None).then_refused(PipelineIsArchived)
    with pytest.raises(NoDefaultPipeline):
        default_pipeline(Default())


def test_a_foreign_or_retired_stage_is_no_place_to_go_but_a_retired_one_is_still_known() -> None:
    defined = evolve(Pipeline(), DEFINED)
    with pytest.raises(StageNotInPipeline):
        stage_in_use(defined, StageId(uuid4()))
    without = evolve(defined, redefine(defined, stages=[draft(ENQUIRY)])[0])
    with pytest.raises(StageIsRetired):
        stage_in_use(without, WON.id)
    assert known_stage(without, WON.id).name == "Won"
    assert closing_stage(defined, "won") == WON
    assert closing_stage(without, "won") is None
    assert closing_stage(defined, "lost") is None


ids = [StageId(uuid4()) for _ in range(6)]
drafts = st.lists(
    st.builds(StageDraft, id=st.sampled_from(ids), name=st.sampled_from("abcDEF"), kind=st.sampled_from(["open", "won", "lost"])),
    max_size=6,
)


@pytest.mark.invariant("P3")
@given(st.lists(drafts, min_size=1, max_size=5))
def test_no_redefinition_loses_a_stage_or_changes_its_kind(wishes: list[list[StageDraft]]) -> None:
    state = Pipeline()
    for wish in wishes:
        try:
            decided = define(state, name="M", stages=wish) if not state.stages else redefine(state, stages=wish)
        except (Invalid, Refused):
            continue
        before = {s.id: s.kind for s in state.stages}
        for e in decided:
            state = evolve(state, e)
        assert before.items() <= {s.id: s.kind for s in state.stages}.items()
        assert [s.id for s in state.in_use] == [d.id for d in wish]
        assert any(s.kind == "open" for s in state.in_use)
        assert redefine(state, stages=wish) == []
