"""A whole list in one statement, without pages: for downloads."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from queries.filtering import parse
from queries.kernel import Collection
from queries.listing import _columns, _order
from queries.listing.fields import fields_of
from queries.listing.projection import Tree, selection
from queries.listing.resolve import Resolver
from queries.listing.sql import Compiler, current


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """Run `sql` with `params` and the firm; each row is shown by `one_as_seen` with `tree`."""

    sql: str
    params: Mapping[str, object]
    tree: Tree


def compile_whole(
    c: Collection, *, permissions: frozenset[str], now: datetime, filter: str = "", order_by: str = "", fields: str = ""
) -> Whole:
    """Compile a list of every row that passes the filter, or refuse it with a reason."""
    known = fields_of(c.view.row)
    node = parse(filter)
    order = _order(c, known, order_by, permissions)
    tree = selection(known, fields)
    compiler = Compiler()
    matching = compiler.where(Resolver(c, permissions, now).resolve(node), "t")
    sql = (
        f"SELECT {_columns(tree)} FROM {current(c)} AS t WHERE t.firm_id = %(firm)s AND {matching}"
        f" ORDER BY {', '.join(s.sql('t') for s in order)}"
    )
    return Whole(sql=sql, params=compiler.params, tree=tree)
