"""Lists of deals, of the offers made in them, and of what was noted and done."""

from domain.deals import DEAL
from projections.deal_activities import DEAL_ACTIVITIES
from projections.deals import DEALS
from projections.offers import OFFERS
from queries.kernel import Collection, collection

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
