"""Documents: lists, by id, history."""

from domain.documents import DOCUMENT
from projections.documents import DOCUMENTS
from queries.kernel import Collection, collection

collection(
    Collection(
        name="documents",
        view=DOCUMENTS,
        stream=DOCUMENT,
        permission="documents:read",
        title="Documents",
        order="-created_at",
        search=("title", "description", "file_name"),
    )
)
