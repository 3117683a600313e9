"""Collections of which a column says something else as time goes by, or as rows of another view change, though their rows are not written.

Such a column reads the same wherever the collection is read: in a list, by id, in a filter of its own or of another, at any moment.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from queries.kernel import Collection

OF_HISTORY = ("_known_from", "_known_end", "_valid_to", "_known_to", "_gone")
"""What a superseded row has beside the columns of the view."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """`column` is worked out when it is read. `rows` makes of a table of the view, and of columns it has beside the view's, the SELECT
    that reads it so; it says `chancery.present()` for the moment read. `drifts` is the condition over a row `n` under which its column may
    change without being written, `becomes` says what a stored value may become in that way, and `views` are the other views that are read.
    `rows` also gives the stored value, as `_stored`."""

    column: str
    rows: Callable[[str, tuple[str, ...]], str]
    drifts: str
    becomes: Mapping[str, tuple[str, ...]]
    views: tuple[str, ...] = ()

    def stored(self, value: str) -> tuple[str, ...]:
        """What may be stored where the column reads so."""
        return (value, *(before for before, after in self.becomes.items() if value in after))


STORED = "_stored"
DERIVED: dict[str, Derived] = {}


def derived(collection: str, d: Derived) -> Derived:
    """Register that a collection has a derived column."""
    if collection in DERIVED:
        raise ValueError(f"derived twice: {collection}")
    DERIVED[collection] = d
    return d


def rows_of(c: Collection, table: str, more: tuple[str, ...] = ()) -> str:
    """What the rows of a table of the collection are read from: the table itself, or the SELECT that derives a column of it."""
    d = DERIVED.get(c.name)
    return table if d is None else f"({d.rows(table, more)})"


def views_of(c: Collection) -> tuple[str, ...]:
    """The views that reading the collection reads."""
    d = DERIVED.get(c.name)
    return (c.view.name,) if d is None else (c.view.name, *d.views)
