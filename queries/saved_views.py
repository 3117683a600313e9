"""Lists of saved views."""

from domain.saved_views import SAVED_VIEW
from projections.saved_views import SAVED_VIEWS
from queries.kernel import Collection, collection

collection(
    Collection(
        name="saved_views",
        view=SAVED_VIEWS,
        stream=SAVED_VIEW,
        permission="firm:read",
        title="Saved views of lists",
        order="collection",
        search=("name",),
        own=True,
    )
)
