"""Links of documents: by document or by what they are linked to."""

from projections.document_links import DOCUMENT_LINKS
from queries.kernel import Collection, collection
from queries.listing.relations import Relation, relation

collection(
    Collection(
        name="document_links",
        view=DOCUMENT_LINKS,
        stream=None,
        permission="documents:read",
        title="Links of documents",
        order="-created_at",
    )
)
relation("document_links", Relation("document", "documents", "document"))
