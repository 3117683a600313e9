"""Pipelines and their stages as they are defined now."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from uuid import UUID

from domain.pipelines import (
    PipelineArchived,
    PipelineDefaultGivenUp,
    PipelineDefined,
    PipelineMadeDefault,
    PipelineRedefined,
    PipelineRenamed,
    PipelineRestored,
    Stage,
    StageKind,
)
from projections.kernel import Recorded, View, of_stream, view


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRow:
    """`stages` in their order, the retired ones last; `reason` is why it was last redefined or archived."""

    name: str
    description: str | None = None
    stages: tuple[Stage, ...] = ()
    is_default: bool = False
    archived: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRow:
    """`place` counts from 1; retired stages come after those in use."""

    pipeline_id: UUID
    name: str
    kind: StageKind
    place: int
    probability: int | None = None
    time_limit_days: int | None = None
    retired: bool = False


def fold_pipeline(row: PipelineRow | None, _id: UUID, r: Recorded) -> PipelineRow | None:
    e = r.event
    if isinstance(e, PipelineDefined):
        return PipelineRow(name=e.name, description=e.description, stages=e.stages)
    if row is None:
        return None
    match e:
        case PipelineRenamed():
            return replace(row, name=e.name, description=e.description)
        case PipelineRedefined():
            return replace(row, stages=e.stages, reason=e.reason)
        case PipelineMadeDefault():
            return replace(row, is_default=True)
        case PipelineDefaultGivenUp():
            return replace(row, is_default=False)
        case PipelineArchived():
            return replace(row, archived=True, reason=e.reason)
        case PipelineRestored():
            return replace(row, archived=False, reason=None)
        case _:
            return row


def stages_of(r: Recorded) -> Iterable[UUID]:
    match r.event:
        case PipelineDefined() | PipelineRedefined():
            return tuple(s.id for s in r.event.stages)
        case _:
            return ()


def fold_stage(row: StageRow | None, id: UUID, r: Recorded) -> StageRow | None:
    match r.event:
        case PipelineDefined() | PipelineRedefined():
            for place, s in enumerate(r.event.stages, 1):
                if s.id == id:
                    return StageRow(
                        pipeline_id=r.stream_id,
                        name=s.name,
                        kind=s.kind,
                        place=place,
                        probability=s.probability,
                        time_limit_days=s.time_limit_days,
                        retired=s.retired,
                    )
            return row
        case _:
            return row


PIPELINES = view(
    View(
        name="pipelines",
        version=1,
        table="views.pipelines",
        row=PipelineRow,
        keys=of_stream("pipeline"),
        fold=fold_pipeline,
    )
)
STAGES = view(View(name="stages", version=1, table="views.stages", row=StageRow, keys=stages_of, fold=fold_stage))
