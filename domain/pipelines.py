"""Pipelines: the stages a firm's business passes through, and which pipeline is used when none is named.

P1  A pipeline always has at least one open stage in use, and at most fifty stages in use.
P2  Names of the stages in use differ, whatever their case.
P3  A stage keeps its id and its kind for ever; left out of a redefinition it is retired, never removed, and can be brought back.
P4  A won stage is certain and a lost one is impossible: their probabilities are 100 and 0.
P5  An archived pipeline takes no new business and is not redefined; what is under way in it goes on.
P6  A firm has one default pipeline at most. The first it defines becomes the default; archiving the default leaves it without one.
P7  Nothing is recorded when nothing changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NewType, assert_never
from uuid import UUID

from domain.kernel import Invalid, NotFound, Refused, Stream, event

PipelineId = NewType("PipelineId", UUID)
StageId = NewType("StageId", UUID)
StageKind = Literal["open", "won", "lost"]

MOST_STAGES = 50
MOST_STAGES_EVER = 100

# --- events


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step; its place in the pipeline is its place in the tuple.

    `probability` is per cent; `time_limit_days` is how long a deal may rest there.
    """

    id: StageId
    name: str
    kind: StageKind = "open"
    probability: int | None = None
    time_limit_days: int | None = None
    retired: bool = False


@event("pipelines.Defined.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineDefined:
    name: str
    stages: tuple[Stage, ...]
    description: str | None = None


@event("pipelines.Renamed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRenamed:
    name: str
    description: str | None = None


@event("pipelines.Redefined.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRedefined:
    """`stages` are all of them, the retired ones last."""

    stages: tuple[Stage, ...]
    reason: str | None = None


@event("pipelines.MadeDefault.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineMadeDefault:
    previous: PipelineId | None = None


@event("pipelines.DefaultGivenUp.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineDefaultGivenUp:
    successor: PipelineId | None = None


@event("pipelines.Archived.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineArchived:
    reason: str | None = None


@event("pipelines.Restored.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRestored:
    pass


Event = (
    PipelineDefined
    | PipelineRenamed
    | PipelineRedefined
    | PipelineMadeDefault
    | PipelineDefaultGivenUp
    | PipelineArchived
    | PipelineRestored
)


@event("pipelines.DefaultChosen.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultChosen:
    """On a stream of the firm's own, so that two choices at once can't both stand."""

    pipeline: PipelineId | None = None


# --- state


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    name: str = ""
    description: str | None = None
    stages: tuple[Stage, ...] = ()
    is_default: bool = False
    archived: bool = False

    @property
    def in_use(self) -> tuple[Stage, ...]:
        return tuple(s for s in self.stages if not s.retired)


@dataclass(frozen=True, slots=True, kw_only=True)
class Default:
    pipeline: PipelineId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageDraft:
    """A stage as somebody wishes it; `id` is a known stage's or a fresh one."""

    id: StageId
    name: str
    kind: StageKind = "open"
    probability: int | None = None
    time_limit_days: int | None = None


# --- refusals


class PipelineIsArchived(Refused):
    """The pipeline is archived. Restore it, or use another one."""


class NoOpenStage(Invalid):
    """A pipeline needs at least one open stage, or no deal could begin in it. Add a stage of the kind open."""


class TooManyStages(Invalid):
    """A pipeline has at most fifty stages in use and a hundred in its whole life. Retire some, or define another pipeline."""


class StageNameUsedTwice(Invalid):
    """Two stages in use have the same name. Rename one of them."""


class StageNamedTwice(Invalid):
    """The same stage stands twice in the list. Name each stage once."""


class StageKindIsFixed(Refused):
    """The kind of a stage never changes, because deals were won or lost there. Retire the stage and add one of the other kind."""


class ProbabilityContradictsKind(Invalid):
    """A won stage has the probability 100 and a lost stage 0. Leave the probability out, or change the kind."""


class StageNotInPipeline(NotFound):
    """The pipeline has no such stage. Name a stage of this pipeline."""


class StageIsRetired(Refused):
    """The stage is retired: deals in it stay, none comes to it. Name a stage in use."""


class NoDefaultPipeline(Refused):
    """No pipeline is named and the firm has no default one. Name a pipeline, or choose a default."""


# --- decisions


def define(_pipeline: Pipeline, *, name: str, stages: Sequence[StageDraft], description: str | None = None) -> list[Event]:
    return [PipelineDefined(name=name, stages=_arranged((), stages), description=description)]


def rename(pipeline: Pipeline, *, name: str, description: str | None = None) -> list[Event]:
    """A description of None is left as it is; an empty one is removed."""
    wanted = pipeline.description if description is None else (description or None)
    if (name, wanted) == (pipeline.name, pipeline.description):
        return []
    return [PipelineRenamed(name=name, description=wanted)]


def redefine(pipeline: Pipeline, *, stages: Sequence[StageDraft], reason: str | None = None) -> list[Event]:
    if pipeline.archived:
        raise PipelineIsArchived
    arranged = _arranged(pipeline.stages, stages)
    return [] if arranged == pipeline.stages else [PipelineRedefined(stages=arranged, reason=reason)]


def archive(pipeline: Pipeline, *, reason: str | None = None) -> list[Event]:
    if pipeline.archived:
        return []
    gives_up: list[Event] = [PipelineDefaultGivenUp()] if pipeline.is_default else []
    return [*gives_up, PipelineArchived(reason=reason)]


def restore(pipeline: Pipeline) -> list[Event]:
    return [PipelineRestored()] if pipeline.archived else []


def choose_default(default: Default, *, pipeline: PipelineId | None) -> list[DefaultChosen]:
    return [] if default.pipeline == pipeline else [DefaultChosen(pipeline=pipeline)]


def make_default(pipeline: Pipeline, *, previous: PipelineId | None) -> list[Event]:
    if pipeline.archived:
        raise PipelineIsArchived
    return [] if pipeline.is_default else [PipelineMadeDefault(previous=previous)]


def give_up_default(pipeline: Pipeline, *, successor: PipelineId | None) -> list[Event]:
    return [PipelineDefaultGivenUp(successor=successor)] if pipeline.is_default else []


def default_pipeline(default: Default) -> PipelineId:
    if default.pipeline is None:
        raise NoDefaultPipeline
    return default.pipeline


def first_stage(pipeline: Pipeline) -> Stage:
    """Where new business begins: the first open stage in use."""
    return next(s for s in pipeline.in_use if s.kind == "open")


def entry_stage(pipeline: Pipeline, id: StageId | None) -> Stage:
    """The stage at which business from outside enters: the one named, or the first."""
    if pipeline.archived:
        raise PipelineIsArchived
    return first_stage(pipeline) if id is None else stage_in_use(pipeline, id)


def stage_in_use(pipeline: Pipeline, id: StageId) -> Stage:
    """The stage of this id, to which a deal may come."""
    stage = known_stage(pipeline, id)
    if stage.retired:
        raise StageIsRetired(stage=str(id))
    return stage


def known_stage(pipeline: Pipeline, id: StageId) -> Stage:
    """The stage of this id, retired or not: for what happened long ago."""
    for stage in pipeline.stages:
        if stage.id == id:
            return stage
    raise StageNotInPipeline(stage=str(id))


def closing_stage(pipeline: Pipeline, kind: Literal["won", "lost"]) -> Stage | None:
    """Where a deal goes when it closes and nobody says where: the first stage of the kind, if the pipeline has one."""
    return next((s for s in pipeline.in_use if s.kind == kind), None)


def _arranged(known: tuple[Stage, ...], drafts: Sequence[StageDraft]) -> tuple[Stage, ...]:
    before = {s.id: s for s in known}
    stages = tuple(
        Stage(id=d.id, name=d.name, kind=d.kind, probability=_probability(d), time_limit_days=d.time_limit_days) for d in drafts
    )
    for stage in stages:
        if stage.id in before and before[stage.id].kind != stage.kind:
            raise StageKindIsFixed(stage=str(stage.id))
    wanted = {s.id for s in stages}
    if len(wanted) != len(stages):
        raise StageNamedTwice
    if len({s.name.casefold() for s in stages}) != len(stages):
        raise StageNameUsedTwice
    if not any(s.kind == "open" for s in stages):
        raise NoOpenStage
    retired = tuple(replace(s, retired=True) for s in known if s.id not in wanted)
    if len(stages) > MOST_STAGES or len(stages) + len(retired) > MOST_STAGES_EVER:
        raise TooManyStages(stages=len(stages), retired=len(retired))
    return stages + retired


def _probability(draft: StageDraft) -> int | None:
    match draft.kind:
        case "open":
            return draft.probability
        case "won" | "lost":
            certain = 100 if draft.kind == "won" else 0
            if draft.probability not in {None, certain}:
                raise ProbabilityContradictsKind(stage=str(draft.id), probability=draft.probability)
            return certain
        case _:
            assert_never(draft.kind)


# --- evolve


def evolve(pipeline: Pipeline, e: Event) -> Pipeline:
    match e:
        case PipelineDefined():
            return replace(pipeline, name=e.name, description=e.description, stages=e.stages)
        case PipelineRenamed():
            return replace(pipeline, name=e.name, description=e.description)
        case PipelineRedefined():
            return replace(pipeline, stages=e.stages)
        case PipelineMadeDefault():
            return replace(pipeline, is_default=True)
        case PipelineDefaultGivenUp():
            return replace(pipeline, is_default=False)
        case PipelineArchived():
            return replace(pipeline, archived=True)
        case PipelineRestored():
            return replace(pipeline, archived=False)
        case _:
            assert_never(e)


def evolve_default(default: Default, e: DefaultChosen) -> Default:
    return replace(default, pipeline=e.pipeline)


PIPELINE: Stream[Pipeline, Event] = Stream("pipeline", Pipeline(), evolve)
DEFAULT: Stream[Default, DefaultChosen] = Stream("pipeline_default", Default(), evolve_default)
