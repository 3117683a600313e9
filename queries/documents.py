"""Documents: lists, by id, history."""

from domain.documents import DOCUMENT
from projections.documents import DOCUMENTS
from queries.kernel import Collection, collection
from queries.listing.relations import Relation, relation

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
relation("documents", Relation("folder", "folders", "folder"))
relation("documents", Relation("contacts", "contacts", "contacts", many=True))
relation("documents", Relation("organisations", "organisations", "organisations", many=True))
relation("documents", Relation("deals", "deals", "deals", many=True))
relation("documents", Relation("tasks", "tasks", "tasks", many=True))
relation("documents", Relation("projects", "projects", "projects", many=True))
relation("documents", Relation("versions", "document_versions", "id", "document", many=True))
relation("documents", Relation("holds", "document_holds", "id", "document", many=True))
