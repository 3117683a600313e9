"""The board of a pipeline: a column for each stage with its counts, sums and first cards, and the further cards of one column.

B1  A column of an open stage holds the open deals in it; a column of a won or lost stage holds the deals that were closed in it.
B2  Every deal of the pipeline that is not archived is in one column, or is counted as closed in the stage where it stood.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from domain.kernel import NotFound
from queries import cursors
from queries.figures import Answer, Filter, Row, expected, matching, pipeline, seconds, sql, staged
from queries.kernel import Query, Reader, query
from queries.listing import SEES_PERSONAL

TOTALS, CARDS, CLOSED = sql("board_totals"), sql("board_cards"), sql("board_closed")
VIEWS = ("pipelines", "stages", "deals")

Order = Literal["resting", "newest", "amount", "expected_close", "touched"]
Cards = Annotated[int, Field(ge=0, le=100, description="Cards of each column; more follow by its page token.")]

# each: what is compared, its type, whether the largest comes first; where it is missing the deal stands last
ORDERS: dict[Order, tuple[str, str, bool]] = {
    "resting": ("t.stage_since", "timestamptz", False),
    "newest": ("t.stage_since", "timestamptz", True),
    "amount": ("coalesce(t.amount, -1)", "numeric", True),
    "expected_close": ("coalesce(t.expected_close, date '9999-12-31')", "date", False),
    "touched": ("t.last_touched_at", "timestamptz", True),
}
KINDS: dict[str, Any] = {"timestamptz": datetime.fromisoformat, "numeric": Decimal, "date": date.fromisoformat}


class ReadBoard(Query):
    id: UUID
    cards: Cards = 20
    order: Annotated[Order, Field(description="Which cards come first; `resting` are those longest in their stage.")] = "resting"
    columns: Annotated[Literal["open", "all"], Field(description="`all` has the stages in which deals are closed besides.")] = "all"
    filter: Filter = ""


class ReadColumn(Query):
    id: UUID
    stage: UUID
    page_size: Annotated[int, Field(ge=1, le=200)] = 50
    page_token: Annotated[str, Field(max_length=cursors.LONGEST)] = ""
    order: Order = "resting"
    filter: Filter = ""


async def _cards(
    r: Reader, id: UUID, stages: Sequence[Row], order: Order, limit: int, filter: str, token: str = ""
) -> dict[UUID, list[Mapping[str, Any]]]:
    key, kind, largest = ORDERS[order]
    params: dict[str, object] = {}
    after = "true"
    if token:
        value, last = cursors.read(token, KINDS[kind], UUID)
        params = {"after_key": value, "after_id": last}
        after = f"({key}, t.id) {'<' if largest else '>'} (%(after_key)s::{kind}, %(after_id)s::uuid)"
    statement, given = matching(CARDS, r, filter)
    direction = " DESC" if largest else ""
    statement = statement.replace("{key}", key).replace("{after}", after)
    statement = statement.replace("{order}", f"{key}{direction}, t.id{direction}")
    found: dict[UUID, list[Mapping[str, Any]]] = {}
    rows = await r.all(
        statement,
        id=id,
        stages=[s["id"] for s in stages],
        statuses=[s["kind"] for s in stages],
        limit=limit + 1,
        **params,
        **given,
    )
    for row in rows:
        found.setdefault(row["stage"], []).append(row)
    return found


def _card(row: Row, stage: Row, now: datetime, *, personal: bool) -> Answer:
    due = due_at(row["stage_since"], stage["time_limit_days"]) if stage["kind"] == "open" else None
    return {
        **{name: value for name, value in row.items() if name not in {"stage", "_key", "title"}},
        "title": row["title"] if personal else None,
        "seconds_in_stage": seconds(row["stage_since"], now),
        "stage_due": due,
        "rotting": due is not None and due < now,
    }


def due_at(since: datetime, limit: int | None) -> datetime | None:
    """Until when a deal may rest in a stage."""
    return None if limit is None else since.astimezone(UTC) + timedelta(days=limit)


def _page(rows: Sequence[Row], size: int, stage: Row, r: Reader) -> tuple[list[Answer], str]:
    shown = rows[:size]
    token = cursors.write((shown[-1]["_key"], shown[-1]["id"])) if len(rows) > size and shown else ""
    personal = SEES_PERSONAL in r.permissions
    return [_card(row, stage, r.now, personal=personal) for row in shown], token


@query("pipelines.board", "GET /pipelines/{id}/board", permission="deals:read", title="The board of a pipeline", views=VIEWS)
async def board(q: ReadBoard, r: Reader) -> Answer:
    """A column for each stage in its order: how many deals, their sums by currency, the sums weighed by the stage's probability, how
    many rest there longer than the stage allows, and the first cards. Retired stages are there while they hold deals. The further cards
    of a column are read by its `next_page_token` from `/pipelines/{id}/column`."""
    found, stages = await pipeline(r, q.id)
    every = staged(stages)
    if q.columns == "open":
        stages = [s for s in stages if s["kind"] == "open"]
    statement, params = matching(TOTALS, r, q.filter)
    totals: dict[UUID, list[Row]] = {}
    for row in await r.all(statement, id=q.id, now=r.now, **staged(stages), **params):
        totals.setdefault(row["stage"], []).append(row)
    stages = [s for s in stages if not s["retired"] or s["id"] in totals]
    cards = await _cards(r, q.id, stages, q.order, q.cards, q.filter) if q.cards else {}
    statement, params = matching(CLOSED, r, q.filter)
    columns = []
    for s in stages:
        sums = totals.get(s["id"], [])
        shown, token = _page(cards.get(s["id"], []), q.cards, s, r)
        columns.append(
            {
                "stage": dict(s),
                "deals": sum(t["deals"] for t in sums),
                "without_amount": sum(t["deals"] - t["with_amount"] for t in sums),
                "rotting": sum(t["rotting"] for t in sums),
                "sums": [
                    {
                        "currency": t["currency"],
                        "deals": t["with_amount"],
                        "amount": t["amount"],
                        "weighted": expected(t["amount"], s["probability"]),
                    }
                    for t in sums
                    if t["with_amount"]
                ],
                "cards": shown,
                "next_page_token": token,
            }
        )
    closed = {row["status"]: row["deals"] for row in await r.all(statement, id=q.id, **every, **params)}
    return {"pipeline": dict(found), "at": r.now, "columns": columns, "closed_where_they_stood": closed}


@query(
    "pipelines.column",
    "GET /pipelines/{id}/column",
    permission="deals:read",
    title="The cards of one column of a board",
    views=VIEWS,
)
async def column(q: ReadColumn, r: Reader) -> Answer:
    """The cards of one stage, page by page, in the order asked for; the same order and filter from page to page."""
    _, stages = await pipeline(r, q.id)
    stage = next((s for s in stages if s["id"] == q.stage), None)
    if stage is None:
        raise NotFound(kind="stage", id=str(q.stage))
    rows = (await _cards(r, q.id, [stage], q.order, q.page_size, q.filter, q.page_token)).get(q.stage, [])
    items, token = _page(rows, q.page_size, stage, r)
    return {"items": items, "next_page_token": token}
