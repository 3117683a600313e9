"""A list at two moments: which rows came, went or changed, with their values before.

W1  A row belongs to the comparison when it passes the filter at either moment; each moment's filter sees that moment's related rows.
W2  It was added when it did not exist before, removed when it does not exist any more, and changed when a field differs: one of those
    selected, or any of its own when none is selected. How often and when it was written is no difference.
W3  The order is that of the values it has now, or had before where it was removed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from domain.kernel import FirmId
from queries.filtering import parse, show
from queries.kernel import Collection, Reader
from queries.listing import MAX_PAGE_SIZE, PAGE_SIZE, _order, one_as_seen
from queries.listing.derived import DERIVED
from queries.listing.fields import EVERY_ROW, fields_of
from queries.listing.pages import Mark, Sort, after, binding, seal, unseal
from queries.listing.projection import Tree, selection
from queries.listing.resolve import Resolver
from queries.listing.sql import Compiler, current
from queries.unusable import Unusable, printable

Kind = Literal["added", "removed", "changed", "unchanged"]
KINDS: tuple[Kind, ...] = get_args(Kind)
USUAL = "added,removed,changed"


class KindsUnusable(Unusable):
    """The kinds of change can't be used."""


def kinds_of(text: str) -> tuple[Kind, ...]:
    """`added,changed` as kinds; the three that say something when none is named."""
    asked = [k.strip() for k in (text.strip() or USUAL).split(",", 4)]
    wrong = next((k for k in asked if k not in KINDS), None)
    if wrong is not None:
        raise KindsUnusable(f"“{printable(wrong)}” is none. Name some of {', '.join(KINDS)}, with commas between them.")
    return tuple(k for k in KINDS if k in asked)


def before(c: Collection) -> str:
    """The rows as of the moment a read compares with."""
    return current(c).replace("views.", "before.").replace("chancery.present()", "chancery.vs_present()")


def _touched(c: Collection, *, every: bool) -> str:
    """The ids of rows that may differ between the moments, from the current table: a row that is visible there at both is the
    same, but for what is derived of it."""
    name = c.view.table.removeprefix("views.")
    drifting = DERIVED.get(c.name)
    since = (
        ""
        if every
        else " AND (n.updated_at > (SELECT least(chancery.as_of(), chancery.vs_as_of()))"
        f" OR n.position > (SELECT least(chancery.known_at(), chancery.vs_known_at())){f' OR {drifting.drifts}' if drifting else ''})"
    )
    # the quotation marks keep the current table the current one, whatever moment is read
    return (
        f'SELECT n.id FROM "views".{name} AS n WHERE n.firm_id = %(firm)s{since}'
        f" UNION SELECT g.id FROM history.{name} AS g WHERE g.firm_id = %(firm)s AND g._gone"
    )


def _one_of(source: str) -> str:
    """The row of a touched id, looked up by it: LIMIT keeps the planner from reading the whole history to join it."""
    return f"SELECT r.* FROM {source} AS r WHERE r.firm_id = %(firm)s AND r.id = i.id LIMIT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A compiled comparison; `total_sql` counts each kind."""

    collection: Collection
    sql: str
    params: Mapping[str, object]
    total_sql: str
    total_params: Mapping[str, object]
    size: int
    order: tuple[Sort, ...]
    tree: Tree
    compared: tuple[str, ...]
    permissions: frozenset[str]
    now: datetime
    key: bytes = field(repr=False)
    bound: bytes = field(repr=False)

    def item(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """One row of the answer as this caller may see it."""
        sides: dict[str, dict[str, Any] | None] = {}
        for side in ("before", "after"):
            there = row[f"{side}.id"] is not None
            values = {name: row[f"{side}.{name}"] for name in self.tree}
            sides[side] = one_as_seen(self.collection, values, self.tree, self.permissions) if there else None
        differ = [n for n in self.compared if row["_kind"] == "changed" and row[f"before.{n}"] != row[f"after.{n}"]]
        return {
            "id": row["id"],
            "change": row["_kind"],
            "changed": differ,
            "passes": {"before": row["_before"], "after": row["_after"]},
            "before": sides["before"],
            "after": sides["after"],
        }

    def page(self, rows: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], str]:
        token = ""
        if len(rows) > self.size:
            rows = rows[: self.size]
            token = seal(Mark(tuple(rows[-1][f"_{s.name}"] for s in self.order), self.now), self.key, self.bound)
        return [self.item(row) for row in rows], token


def compile_comparison(
    c: Collection,
    *,
    firm: FirmId,
    permissions: frozenset[str],
    now: datetime,
    key: bytes = b"",
    kinds: tuple[Kind, ...] = ("added", "removed", "changed"),
    filter: str = "",
    order_by: str = "",
    page_size: int | None = None,
    page_token: str = "",
    fields: str = "",
    scope: tuple[str, ...] = (),
    one: bool = False,
) -> Comparison:
    """Compile one page of a comparison, or with `one` that of the row `%(id)s`; refuse it with a reason."""
    known = fields_of(c.view.row)
    node = parse(filter)
    order = _order(c, known, order_by, permissions)
    tree = selection(known, fields)
    size = min(page_size or PAGE_SIZE, MAX_PAGE_SIZE)
    own = tuple(n for n in known if n not in EVERY_ROW)
    compared = tuple(n for n in own if n in tree) or own
    ordered = ", ".join(f"{s.name}{' desc' if s.descending else ''}" for s in order)
    bound = binding("comparison", c.name, str(firm), show(node), ordered, ",".join(compared), ",".join(kinds), *scope)
    mark = unseal(page_token, order, key, bound) if page_token else None
    now = mark.now if mark else now

    condition = Resolver(c, permissions, now).resolve(node)
    compiler = Compiler(current)
    passes_after = f"(a.id IS NOT NULL AND ({compiler.where(condition, 'a')}) IS TRUE)"
    passes_before = f"(b.id IS NOT NULL AND ({Compiler(before, compiler.params).where(condition, 'b')}) IS TRUE)"
    columns = dict.fromkeys(["id", *tree, *compared])
    theirs, ours = (", ".join(f'{side}."{n}"' for n in compared) for side in "ab")
    differs = f"ROW({theirs}) IS DISTINCT FROM ROW({ours})"
    every = "unchanged" in kinds
    touched = "SELECT %(id)s::uuid AS id" if one else _touched(c, every=every)
    selected = ", ".join(
        [
            "i.id",
            f"CASE WHEN b.id IS NULL THEN 'added' WHEN a.id IS NULL THEN 'removed' WHEN {differs} THEN 'changed' ELSE 'unchanged' END AS _kind",
            f"{passes_after} AS _after",
            f"{passes_before} AS _before",
            *(f'a."{n}" AS "after.{n}"' for n in columns),
            *(f'b."{n}" AS "before.{n}"' for n in columns),
            *(f'CASE WHEN a.id IS NULL THEN b."{s.name}" ELSE a."{s.name}" END AS "_{s.name}"' for s in order),
        ]
    )
    both = (
        f"(SELECT {selected} FROM ({touched}) AS i"
        f" LEFT JOIN LATERAL ({_one_of(current(c))}) AS a ON true LEFT JOIN LATERAL ({_one_of(before(c))}) AS b ON true"
        " WHERE a.id IS NOT NULL OR b.id IS NOT NULL) AS t WHERE (t._after OR t._before)"
    )
    total_params = dict(compiler.params)
    counted = ", ".join(f"'{k}'" for k in (KINDS if every else KINDS[:3]))
    total_sql = f"SELECT t._kind AS kind, count(*) AS total FROM {both} AND t._kind IN ({counted}) GROUP BY t._kind"
    sql = f"SELECT t.* FROM {both} AND t._kind = ANY (%(kinds)s::text[])"
    sorts = tuple(Sort(f"_{s.name}", s.field, s.descending) for s in order)
    if mark:
        sql += f" AND {after(sorts, mark.last, 't', compiler)}"
    return Comparison(
        collection=c,
        sql=f"{sql} ORDER BY {', '.join(s.sql('t') for s in sorts)} LIMIT {size + 1}",
        params={**compiler.params, "kinds": list(kinds)},
        total_sql=total_sql,
        total_params=total_params,
        size=size,
        order=order,
        tree=tree,
        compared=compared,
        permissions=permissions,
        now=now,
        key=key,
        bound=bound,
    )


async def read_comparison(
    reader: Reader, c: Collection, *, key: bytes, include_total: bool = False, **asked: Any
) -> dict[str, Any]:
    """Compile and run one page of a comparison for the caller a reader stands for."""
    comparison = compile_comparison(c, firm=reader.firm, permissions=reader.permissions, now=reader.now, key=key, **asked)
    items, token = comparison.page(await reader.all(comparison.sql, **comparison.params))
    body: dict[str, Any] = {"items": items, "next_page_token": token}
    if include_total:
        counts = {row["kind"]: int(row["total"]) for row in await reader.all(comparison.total_sql, **comparison.total_params)}
        counted = KINDS if "unchanged" in asked["kinds"] else KINDS[:3]
        body["totals"] = {k: counts.get(k, 0) for k in counted}
        body["total"] = sum(counts.get(k, 0) for k in asked["kinds"])
    return body


async def read_one_comparison(reader: Reader, c: Collection, *, id: object, fields: str = "") -> dict[str, Any] | None:
    """One record at two moments; None when it exists at neither."""
    comparison = compile_comparison(
        c, firm=reader.firm, permissions=reader.permissions, now=reader.now, kinds=KINDS, fields=fields, one=True
    )
    row = await reader.one(comparison.sql, id=id, **comparison.params)
    return None if row is None else comparison.item(row)
