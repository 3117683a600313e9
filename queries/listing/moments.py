"""A list as of another moment: rows that stand now and rows that were superseded, each read in the list's order, then made one.

M1  Where an index gives the order, the moment is asked only after the two were merged: a page reads what lies between its first row and
    its last, however many rows were superseded. Each of the two alone would look on for rows of its own, far behind the end of the page.
M2  In another order all rows have to be looked at anyway: each of the two is asked for the moment, and for as many rows as a page needs.
M3  A row is never older than its creation: what was created after the business time is not even looked at.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from queries.kernel import Collection
from queries.listing.derived import OF_HISTORY, rows_of
from queries.listing.pages import Sort
from queries.listing.sql import Compiler, quoted

FOREVER = 2**63 - 1  # what is believed, or stands, has no end (spec/decisions/0007)

_AS_OF, _KNOWN_AT = (
    "(SELECT chancery.as_of())",
    "(SELECT chancery.known_at())",
)  # in parentheses they are asked once, not for each row
_STOOD = f"t.updated_at <= {_AS_OF} AND t.position <= {_KNOWN_AT}"
_HELD = f"t._known_from <= {_KNOWN_AT} AND t._known_end > {_KNOWN_AT} AND (t._valid_to > {_AS_OF} OR t._known_to > {_KNOWN_AT})"
# Keeps conditions that stand outside from being asked inside; and tells the planner that the first rows count, which come from an index.
_ENDLESS = f"LIMIT {FOREVER}"


class Moment(Protocol):
    """A business time and what was known; None means now and all, and false that both are."""

    @property
    def as_of(self) -> datetime | None: ...

    def __bool__(self) -> bool: ...


@runtime_checkable
class OfMoment(Protocol):
    """A reader that may see another moment than the present."""

    @property
    def moment(self) -> Moment: ...


def of(reader: object) -> Moment | None:
    """The moment a reader sees; None when that is the present."""
    return reader.moment if isinstance(reader, OfMoment) and reader.moment else None


def page_of_moment(
    c: Collection,
    columns: Iterable[str],
    conditions: Sequence[str],
    order: Sequence[Sort],
    limit: int,
    moment: Moment,
    compiler: Compiler,
) -> str:
    """The statement that reads rows of a collection, aliased `t`, that meet the conditions, as of the reader's moment."""
    name = c.view.table.removeprefix("views.")
    selected = ", ".join(quoted("t", column) for column in columns)
    ordered = f"ORDER BY {', '.join(s.sql('t') for s in order)}"
    met = ["t.firm_id = %(firm)s", *conditions]
    if moment.as_of is not None:
        met.append(f"t.created_at <= {compiler.param(moment.as_of, 'timestamptz')}")
    # the quotation marks keep the current table the current one, whatever moment is read
    current, history = rows_of(c, f'"views".{name}'), rows_of(c, f"history.{name}", OF_HISTORY)
    stands = f"FROM {current} AS t WHERE {' AND '.join(met)}"
    superseded = f"FROM {history} AS t WHERE {' AND '.join(met)} AND NOT t._gone"
    if order[0].name not in {"id", "created_at", c.order.lstrip("-")}:
        stands = f"SELECT {selected} {stands} AND {_STOOD} {ordered} LIMIT {limit}"
        superseded = f"SELECT {selected} {superseded} AND t.updated_at <= {_AS_OF} AND {_HELD} {ordered} LIMIT {limit}"
        return f"SELECT t.* FROM (({stands}) UNION ALL ({superseded})) AS t {ordered} LIMIT {limit}"
    stands = (
        f"SELECT {selected}, t.updated_at AS _from, t.position AS _known_from, {FOREVER}::bigint AS _known_end,"
        f" 'infinity'::timestamptz AS _valid_to, {FOREVER}::bigint AS _known_to {stands} {ordered} {_ENDLESS}"
    )
    superseded = (
        f"SELECT {selected}, t.updated_at, t._known_from, t._known_end, t._valid_to, t._known_to {superseded} {ordered} {_ENDLESS}"
    )
    merged = f"SELECT t.* FROM (({stands}) UNION ALL ({superseded})) AS t {ordered} {_ENDLESS}"
    return f"SELECT {selected} FROM ({merged}) AS t WHERE t._from <= {_AS_OF} AND {_HELD} LIMIT {limit}"
