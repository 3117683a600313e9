"""What commands may ask of lists: whether a filter, an order and fields can be used."""

from datetime import UTC, datetime

from domain.kernel import NotFound
from queries.kernel import COLLECTIONS
from queries.listing import NotAllowed
from queries.listing.whole import compile_whole


class Lists:
    """The port `commands.saved_views.Lists`."""

    def check(self, collection: str, *, filter: str, order_by: str, fields: str, permissions: frozenset[str]) -> None:
        """Refused with the reason a list would give."""
        c = COLLECTIONS.get(collection)
        if c is None:
            raise NotFound(kind="collection")
        if c.permission not in permissions:
            raise NotAllowed(f"The list needs the permission {c.permission}.", permission=c.permission)
        compile_whole(c, permissions=permissions, now=datetime.now(UTC), filter=filter, order_by=order_by, fields=fields)
