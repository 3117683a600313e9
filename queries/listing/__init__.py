"""Lists: a collection, a filter, an order, a page and a selection of fields become one SQL statement with parameters.

L1  Every table in the statement is asked for rows of the firm only, related ones too.
L2  What a caller may not see, they may neither filter, search nor sort by.
L3  A page holds at most 1,000 rows and is asked for with one row more, which tells whether another follows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from domain.kernel import FirmId
from queries.filtering import parse, show
from queries.kernel import Collection, Reader
from queries.listing import moments
from queries.listing.fields import Field, Kind, fields_of, personal_fields
from queries.listing.pages import Mark, OrderUnusable, PageTokenUnusable, Sort, after, binding, seal, sorts, unseal
from queries.listing.projection import FieldsUnusable, Tree, mask, prune, selection
from queries.listing.relations import RELATIONS, Relation, check_relations, relation, relations_of
from queries.listing.resolve import SEES_PERSONAL, NotAllowed, NothingToSearch, Resolver
from queries.listing.sql import Compiler, Source, current
from queries.listing.values import NeedsPersonal, UnknownField, WrongComparison, WrongValue
from queries.unusable import Unusable

PAGE_SIZE = 50
MAX_PAGE_SIZE = 1_000


class PageSizeUnusable(Unusable):
    """The page size can't be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some members of a collection; an empty `next_page_token` says that no more follow."""

    items: list[dict[str, Any]]
    next_page_token: str
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A compiled list. Run `sql` with `params` and the firm, and hand the rows to `page`; `total_sql` counts all that match."""

    collection: Collection
    sql: str
    params: Mapping[str, object]
    total_sql: str | None
    total_params: Mapping[str, object]
    size: int
    order: tuple[Sort, ...]
    tree: Tree
    permissions: frozenset[str]
    now: datetime
    key: bytes = field(repr=False)
    bound: bytes = field(repr=False)

    def page(self, rows: Sequence[Mapping[str, Any]], total: int | None = None) -> Page:
        """The page these rows make: fields selected, personal values masked, and the token of the next page."""
        token = ""
        if len(rows) > self.size:
            rows = rows[: self.size]
            token = seal(Mark(tuple(rows[-1][s.name] for s in self.order), self.now), self.key, self.bound)
        personal = personal_fields(self.collection.view.row)
        items = [mask(prune(row, self.tree), personal, self.permissions) for row in rows]
        return Page(items=items, next_page_token=token, total=total)


def compile_list(
    c: Collection,
    *,
    firm: FirmId,
    permissions: frozenset[str],
    now: datetime,
    key: bytes,
    filter: str = "",
    order_by: str = "",
    page_size: int | None = None,
    page_token: str = "",
    fields: str = "",
    include_total: bool = False,
    source: Source = current,
    scope: tuple[str, ...] = (),
    moment: moments.Moment | None = None,
) -> Listing:
    """Compile one page of a list, or refuse it with a reason.

    `source` gives the table expression a collection is read from, the listed one and related ones alike; with `as_of` and
    `known_at` it is another than the current table. `scope` is whatever else chose the rows (those two, say): page tokens are
    bound to it.
    `moment` is what the reader that runs it sees, where that is not the present.
    `key` seals page tokens. `firm` binds them; its rows are chosen by the reader's parameter `firm`.
    """
    known = fields_of(c.view.row)
    node = parse(filter)
    order = _order(c, known, order_by, permissions)
    tree = selection(known, fields)
    if page_size is not None and page_size < 0:
        raise PageSizeUnusable(f"Ask for 1 to {MAX_PAGE_SIZE} rows, or leave page_size out for {PAGE_SIZE}.", limit=MAX_PAGE_SIZE)
    size = min(page_size or PAGE_SIZE, MAX_PAGE_SIZE)
    ordered = ", ".join(f"{s.name}{' desc' if s.descending else ''}" for s in order)
    bound = binding(c.name, str(firm), show(node), ordered, *scope)
    mark = unseal(page_token, order, key, bound) if page_token else None
    now = mark.now if mark else now

    compiler = Compiler(source)
    matching = compiler.where(Resolver(c, permissions, now).resolve(node), "t")
    body = f"FROM {source(c)} AS t WHERE t.firm_id = %(firm)s AND {matching}"
    total_sql = f"SELECT count(*) AS total {body}" if include_total else None
    total_params = dict(compiler.params)
    behind = [after(order, mark.last, "t", compiler)] if mark else []
    columns = dict.fromkeys([*tree, *(s.name for s in order)])
    if moment:
        sql = moments.page_of_moment(c, columns, [matching, *behind], order, size + 1, moment, compiler)
    else:
        body = " AND ".join([body, *behind])
        sql = f"SELECT {_columns(columns)} {body} ORDER BY {', '.join(s.sql('t') for s in order)} LIMIT {size + 1}"
    return Listing(
        collection=c,
        sql=sql,
        params=compiler.params,
        total_sql=total_sql,
        total_params=total_params,
        size=size,
        order=order,
        tree=tree,
        permissions=permissions,
        now=now,
        key=key,
        bound=bound,
    )


def _order(c: Collection, known: Mapping[str, Field], asked: str, permissions: frozenset[str]) -> tuple[Sort, ...]:
    """The order asked for; else the collection's own, or the id where that one is personal and hidden."""
    if asked.strip():
        return sorts(known, asked, permissions)
    try:
        return sorts(known, c.order, permissions)
    except NeedsPersonal:
        return sorts(known, "id", permissions)


def _columns(names: Mapping[str, Any]) -> str:
    return ", ".join(f't."{name}"' for name in names)


def compile_one(c: Collection, *, fields: str = "", source: Source = current) -> tuple[str, Tree]:
    """The statement that reads one member by `%(id)s`, and the selection for `one_as_seen`."""
    tree = selection(fields_of(c.view.row), fields)
    return f"SELECT {_columns(tree)} FROM {source(c)} AS t WHERE t.firm_id = %(firm)s AND t.id = %(id)s", tree


def one_as_seen(c: Collection, row: Mapping[str, Any], tree: Tree, permissions: frozenset[str]) -> dict[str, Any]:
    """One row with fields selected and personal values masked."""
    return mask(prune(row, tree), personal_fields(c.view.row), permissions)


async def read_page(reader: Reader, c: Collection, *, key: bytes, **asked: Any) -> Page:
    """Compile and run one page for the caller a reader stands for."""
    asked.setdefault("moment", moments.of(reader))
    listing = compile_list(c, firm=reader.firm, permissions=reader.permissions, now=reader.now, key=key, **asked)
    rows = await reader.all(listing.sql, **listing.params)
    total = None
    if listing.total_sql:
        counted = await reader.one(listing.total_sql, **listing.total_params)
        total = int(counted["total"]) if counted else 0
    return listing.page(rows, total)


__all__ = [
    "MAX_PAGE_SIZE",
    "PAGE_SIZE",
    "RELATIONS",
    "SEES_PERSONAL",
    "Field",
    "FieldsUnusable",
    "Kind",
    "Listing",
    "NeedsPersonal",
    "NotAllowed",
    "NothingToSearch",
    "OrderUnusable",
    "Page",
    "PageSizeUnusable",
    "PageTokenUnusable",
    "Relation",
    "Source",
    "UnknownField",
    "WrongComparison",
    "WrongValue",
    "check_relations",
    "compile_list",
    "compile_one",
    "current",
    "fields_of",
    "mask",
    "one_as_seen",
    "personal_fields",
    "read_page",
    "relation",
    "relations_of",
]
