"""Lists of pipelines and of their stages, each with its own history."""

from domain.pipelines import PIPELINE
from projections.pipelines import PIPELINES, STAGES
from queries.kernel import Collection, collection

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
