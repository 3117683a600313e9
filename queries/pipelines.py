"""Lists of pipelines and of their stages, each with its own history."""

from domain.pipelines import PIPELINE
from projections.pipelines import PIPELINES, STAGES
from queries.kernel import Collection, collection
from queries.listing import Relation, relation

collection(
    Collection(
        name="pipelines",
        view=PIPELINES,
        stream=PIPELINE,
        permission="deals:read",
        title="Pipelines",
        order="name",
        search=("name", "description"),
    )
)
collection(
    Collection(
        name="stages",
        view=STAGES,
        stream=None,
        permission="deals:read",
        title="Stages of pipelines",
        order="place",
        search=("name",),
    )
)

relation("pipelines", Relation("deals", "deals", "id", "pipeline_id", many=True))
relation("pipelines", Relation("stage_list", "stages", "id", "pipeline_id", many=True))
relation("stages", Relation("pipeline", "pipelines", "pipeline_id"))
relation("stages", Relation("deals", "deals", "id", "stage_id", many=True))
