"""What commands may ask of lists: whether a filter, an order and fields can be used."""

from datetime import UTC, datetime

from queries.kernel import COLLECTIONS
from queries.listing import NotAllowed
from queries.listing.values import near, suggestion
from queries.listing.whole import compile_whole
from queries.unusable import Unusable, printable


class NoSuchList(Unusable):
    """There is no list of this name."""


class Lists:
    """The port `commands.saved_views.Lists`."""

    def check(self, collection: str, *, filter: str, order_by: str, fields: str, permissions: frozenset[str]) -> None:
        """Refused with the reason a list would give."""
        c = COLLECTIONS.get(collection)
        if c is None:
            known = sorted(n for n, c in COLLECTIONS.items() if c.permission in permissions)
            alike = near(collection, known)
            raise NoSuchList(
                f"“{printable(collection)}”. {suggestion(alike, known)}", collection=printable(collection), near=list(alike)
            )
        if c.permission not in permissions:
            raise NotAllowed(f"The list needs the permission {c.permission}.", permission=c.permission)
        compile_whole(c, permissions=permissions, now=datetime.now(UTC), filter=filter, order_by=order_by, fields=fields)
