"""Reads of what people ask about their data, and of the holds that keep it."""

from projections.privacy import CONTACT_HOLDS, PRIVACY_REQUESTS
from queries.kernel import Collection, collection
from queries.listing.relations import Relation, relation

collection(
    Collection(
        name="privacy_requests",
        view=PRIVACY_REQUESTS,
        stream=None,
        permission="privacy:read",
        title="What people ask about their data",
        order="due_by",
        search=("kind", "status"),
    )
)
collection(
    Collection(
        name="contact_holds",
        view=CONTACT_HOLDS,
        stream=None,
        permission="privacy:read",
        title="Legal holds on people's data",
        order="-updated_at",
    )
)
for _of in ("privacy_requests", "contact_holds"):
    relation(_of, Relation("contact", "contacts", "contact"))
    relation("contacts", Relation(_of, _of, "id", "contact", many=True))
