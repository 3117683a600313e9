"""Lists of deals, of the offers made in them, and of what was noted and done."""

from domain.deals import DEAL
from projections.deal_activities import DEAL_ACTIVITIES
from projections.deals import DEALS
from projections.offers import OFFERS
from queries.kernel import Collection, collection
from queries.listing import Relation, relation

collection(
    Collection(
        name="deals",
        view=DEALS,
        stream=DEAL,
        permission="deals:read",
        title="Deals",
        order="-created_at",
        search=("title", "source", "last_note"),
    )
)
collection(
    Collection(
        name="offers",
        view=OFFERS,
        stream=None,
        permission="deals:read",
        title="Offers made in deals",
        order="-created_at",
        search=("terms",),
    )
)
collection(
    Collection(
        name="deal_activities",
        view=DEAL_ACTIVITIES,
        stream=None,
        permission="deals:read",
        title="Notes on deals and what was done for them",
        order="-created_at",
        search=("name", "note"),
    )
)

relation("deals", Relation("pipeline", "pipelines", "pipeline_id"))
relation("deals", Relation("stage", "stages", "stage_id"))
relation("deals", Relation("owner", "members", "owner_id"))
relation("deals", Relation("contact", "contacts", "contact_id"))
relation("deals", Relation("contacts", "contacts", "contact_ids", many=True))
relation("deals", Relation("organisations", "organisations", "organisation_ids", many=True))
relation("deals", Relation("tasks", "tasks", "id", "deal", many=True))
relation("deals", Relation("documents", "documents", "id", "deals", many=True))
relation("deals", Relation("activities", "deal_activities", "id", "deal_id", many=True))
relation("offers", Relation("deal", "deals", "deal_id"))
relation("offers", Relation("contact", "contacts", "contact_id"))
relation("deal_activities", Relation("deal", "deals", "deal_id"))
relation("deal_activities", Relation("contact", "contacts", "contact_id"))
relation("deal_activities", Relation("performer", "members", "performer_id"))
