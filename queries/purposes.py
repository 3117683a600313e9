"""Reads of a firm's purposes."""

from projections.purposes import PURPOSES
from queries.kernel import Collection, collection
from queries.listing.relations import Relation, relation

collection(
    Collection(
        name="purposes",
        view=PURPOSES,
        stream=None,
        permission="consent:read",
        title="Purposes",
        order="key",
        search=("key", "name", "description"),
    )
)
relation("purposes", Relation("parent", "purposes", "parent"))
