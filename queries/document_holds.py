"""Legal holds on documents: lists and by id."""

from projections.document_holds import DOCUMENT_HOLDS
from queries.kernel import Collection, collection
from queries.listing.relations import Relation, relation

collection(
    Collection(
        name="document_holds",
        view=DOCUMENT_HOLDS,
        stream=None,
        permission="documents:read",
        title="Legal holds on documents",
        order="-created_at",
        search=("name", "reason"),
    )
)
relation("document_holds", Relation("document", "documents", "document"))
