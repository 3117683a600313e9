"""Commands of pipelines: define, rename, redefine, choose the default, archive and restore."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from commands.kernel import Answer, Command, Work, command
from domain import pipelines
from domain.pipelines import DEFAULT, MOST_STAGES, PIPELINE, PipelineId, StageDraft, StageId, StageKind

Label = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f]+$")]
Description = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")]
Reason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]+$")
]
Probability = Annotated[int, Field(ge=0, le=100, description="Per cent. Won stages have 100 and lost ones 0 by themselves.")]
Days = Annotated[int, Field(ge=1, le=3650, description="How many days a deal may rest in the stage.")]


class NewStage(Command):
    name: Label
    kind: StageKind = "open"
    probability: Probability | None = None
    time_limit_days: Days | None = None


class StageAsWished(NewStage):
    stage_id: UUID | None = Field(default=None, description="The stage that is meant; leave it out for a new one.")


class DefinePipeline(Command):
    name: Label
    description: Description | None = None
    stages: Annotated[list[NewStage], Field(min_length=1, max_length=MOST_STAGES)]


@command(
    "pipelines.define", "POST /pipelines", permission="pipelines:write", title="Define a pipeline", target=PIPELINE, creates=True
)
async def define(c: DefinePipeline, w: Work) -> Answer:
    """Define a pipeline by its stages, in order. The firm's first pipeline becomes its default."""
    id = PipelineId(w.new_id())
    default = await w.find(DEFAULT, w.derive_id(DEFAULT.type))
    entity = w.create(PIPELINE, id)
    stages = [_draft(s, StageId(w.new_id())) for s in c.stages]
    w.record(entity, pipelines.define(entity.state, name=c.name, stages=stages, description=c.description or None))
    if default.version == 0:
        w.record(default, pipelines.choose_default(default.state, pipeline=id))
        w.record(entity, pipelines.make_default(entity.state, previous=None))
    return {"id": str(id), "stages": [str(s.id) for s in stages]}


class RenamePipeline(Command):
    id: UUID
    name: Label
    description: Description | None = Field(default=None, description="Left as it is when absent; removed when empty.")


@command(
    "pipelines.rename", "POST /pipelines/{id}:rename", permission="pipelines:write", title="Rename a pipeline", target=PIPELINE
)
async def rename(c: RenamePipeline, w: Work) -> Answer:
    entity = await w.load(PIPELINE, c.id)
    w.record(entity, pipelines.rename(entity.state, name=c.name, description=c.description))
    return None


class RedefinePipeline(Command):
    id: UUID
    stages: Annotated[list[StageAsWished], Field(min_length=1, max_length=MOST_STAGES)]
    reason: Reason | None = None


@command(
    "pipelines.redefine",
    "POST /pipelines/{id}:redefine",
    permission="pipelines:write",
    title="Add, rename, reorder and retire stages",
    target=PIPELINE,
)
async def redefine(c: RedefinePipeline, w: Work) -> Answer:
    """Say which stages the pipeline has from now on, in order.

    A stage with a known `stage_id` is kept and takes the new name, probability and time limit; one without is added; one left out
    is retired: deals that stand in it stay there, and its name stays in every history.
    """
    entity = await w.load(PIPELINE, c.id)
    for stage in c.stages:
        if stage.stage_id is not None:
            pipelines.known_stage(entity.state, StageId(stage.stage_id))
    stages = [_draft(s, StageId(s.stage_id or w.new_id())) for s in c.stages]
    w.record(entity, pipelines.redefine(entity.state, stages=stages, reason=c.reason))
    return {"stages": [str(s.id) for s in stages]}


class MakePipelineDefault(Command):
    id: UUID


@command(
    "pipelines.make_default",
    "POST /pipelines/{id}:make-default",
    permission="pipelines:write",
    title="Make a pipeline the firm's default",
    target=PIPELINE,
)
async def make_default(c: MakePipelineDefault, w: Work) -> Answer:
    """Deals that are opened without naming a pipeline begin here from now on."""
    id = PipelineId(c.id)
    entity = await w.load(PIPELINE, id)
    default = await w.find(DEFAULT, w.derive_id(DEFAULT.type))
    previous = default.state.pipeline
    w.record(entity, pipelines.make_default(entity.state, previous=previous))
    w.record(default, pipelines.choose_default(default.state, pipeline=id))
    if previous is not None and previous != id:
        before = await w.load(PIPELINE, previous)
        w.record(before, pipelines.give_up_default(before.state, successor=id))
    return None


class ArchivePipeline(Command):
    id: UUID
    reason: Reason | None = None


@command(
    "pipelines.archive", "POST /pipelines/{id}:archive", permission="pipelines:write", title="Archive a pipeline", target=PIPELINE
)
async def archive(c: ArchivePipeline, w: Work) -> Answer:
    """No deal is opened in the pipeline or brought into it any more. Those under way in it go on."""
    entity = await w.load(PIPELINE, c.id)
    if entity.state.is_default:
        default = await w.find(DEFAULT, w.derive_id(DEFAULT.type))
        w.record(default, pipelines.choose_default(default.state, pipeline=None))
    w.record(entity, pipelines.archive(entity.state, reason=c.reason))
    return None


class RestorePipeline(Command):
    id: UUID


@command(
    "pipelines.restore", "POST /pipelines/{id}:restore", permission="pipelines:write", title="Restore a pipeline", target=PIPELINE
)
async def restore(c: RestorePipeline, w: Work) -> Answer:
    entity = await w.load(PIPELINE, c.id)
    w.record(entity, pipelines.restore(entity.state))
    return None


def _draft(stage: NewStage, id: StageId) -> StageDraft:
    return StageDraft(id=id, name=stage.name, kind=stage.kind, probability=stage.probability, time_limit_days=stage.time_limit_days)
