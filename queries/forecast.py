"""What a pipeline brought, month by month: outcomes and win rates, and the forecast as it was seen against what happened.

Months are those of the time zone asked for, else of the firm's; the month of a closing is that of the date it was given.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import Field

from queries.figures import (
    Answer,
    Filter,
    Row,
    TimeZone,
    expected,
    looking,
    matching,
    month,
    pipeline,
    share,
    sql,
    staged,
    stages_at,
    start,
    today,
    zone,
)
from queries.kernel import Query, Reader, query

OUTCOMES, REASONS, OPENED, SEEN = sql("outcomes"), sql("outcomes_reasons"), sql("outcomes_opened"), sql("forecast_seen")


class ReadOutcomes(Query):
    id: UUID
    months: Annotated[int, Field(ge=1, le=120, description="How many months, the one of the moment asked the last.")] = 12
    filter: Filter = ""
    time_zone: TimeZone = None


class ReadForecast(Query):
    id: UUID
    months: Annotated[int, Field(ge=0, le=36, description="How many months before the one of the moment asked.")] = 12
    ahead: Annotated[int, Field(ge=0, le=24, description="How many months after it.")] = 3
    filter: Filter = ""
    time_zone: TimeZone = None


def _sums(rows: Sequence[Row]) -> list[Answer]:
    return [
        {"currency": row["currency"], "deals": row["deals"], "amount": row["amount"]} for row in rows if row["amount"] is not None
    ]


@query(
    "pipelines.outcomes",
    "GET /pipelines/{id}/outcomes",
    permission="deals:read",
    title="What was won and lost month by month",
    views=("pipelines", "stages", "deals", "stage_entries", "firms"),
)
async def outcomes(q: ReadOutcomes, r: Reader) -> Answer:
    """For each month: deals opened, won and lost, the sums won and lost by currency, the win rate (won of those won or lost), and the mean
    time from opening to closing; for all of them together the reasons of losses, the commonest first."""
    found, _ = await pipeline(r, q.id)
    tz = await zone(r, q.time_zone)
    this = month(today(r, tz))
    first, end = month(this, 1 - q.months), month(this, 1)
    asked: dict[str, object] = {"id": q.id, "first": first, "end": end}
    statement, params = matching(OUTCOMES, r, q.filter)
    closed: dict[tuple[date, str], list[Row]] = {}
    for row in await r.all(statement, **asked, **params):
        closed.setdefault((row["month"], row["status"]), []).append(row)
    statement, _ = matching(OPENED, r, q.filter)
    rows = await r.all(statement, id=q.id, first_at=start(first, tz), end_at=start(end, tz), zone=tz.key, **params)
    opened = {row["month"].astimezone(tz).date(): row["deals"] for row in rows}
    statement, _ = matching(REASONS, r, q.filter)
    reasons = await r.all(statement, **asked, **params)
    return {
        "pipeline": dict(found),
        "at": r.now,
        "months": [
            _outcome(m, opened.get(m, 0), closed.get((m, "won"), []), closed.get((m, "lost"), []))
            for m in (month(first, n) for n in range(q.months))
        ],
        "lost_because": [dict(row) for row in reasons],
    }


def _outcome(m: date, opened: int, won: Sequence[Row], lost: Sequence[Row]) -> Answer:
    n_won, n_lost = sum(row["deals"] for row in won), sum(row["deals"] for row in lost)
    return {
        "month": m,
        "opened": opened,
        "won": n_won,
        "lost": n_lost,
        "win_rate": share(n_won, n_won + n_lost),
        "won_sums": _sums(won),
        "lost_sums": _sums(lost),
        "seconds_to_win": _mean(won, n_won),
        "seconds_to_lose": _mean(lost, n_lost),
    }


def _mean(rows: Sequence[Row], deals: int) -> int | None:
    return int(sum((row["seconds"] for row in rows), Decimal(0)) / deals) if deals else None


@query(
    "pipelines.forecast",
    "GET /pipelines/{id}/forecast",
    permission="deals:read",
    title="The forecast as it was seen, and what happened",
    views=("pipelines", "stages", "deals", "firms"),
)
async def forecast(q: ReadForecast, r: Reader) -> Answer:
    """For each month: what was expected when it began, from the deals open at that time which were to close within it (amounts, and amounts
    weighed by the stages' probabilities as they were), and what was won in it as of the moment asked. The month under way also says what is
    still expected; overdue deals stand in it. Months ahead are as seen now. With `known_at` the past is seen with what was known then."""
    found, stages = await pipeline(r, q.id)
    tz = await zone(r, q.time_zone)
    this = month(today(r, tz))
    months = [month(this, n) for n in range(-q.months, q.ahead + 1)]
    statement, params = matching(OUTCOMES, r, q.filter)
    won: dict[date, list[Row]] = {}
    for row in await r.all(statement, id=q.id, first=months[0], end=month(this, 1), **params):
        if row["status"] == "won":
            won.setdefault(row["month"], []).append(row)
    statement, params = matching(SEEN, r, q.filter)
    statement = statement.replace("views.", "at.")  # a filter across relations is of the same moment
    told = []
    async with looking(r) as look:

        async def seen(at: datetime, first: date, *, overdue: bool) -> Sequence[Row]:
            # a hair before a month begins: what happened as it began belongs to it
            await look(at if at == r.now else at - timedelta(microseconds=1))
            then = staged(await stages_at(r, q.id, stages))
            return await r.all(statement, id=q.id, first=first, end=month(first, 1), overdue=overdue, **then, **params)

        for m in months:
            at = min(start(m, tz), r.now)
            now = await seen(r.now, m, overdue=True) if m == this else None
            told.append(_month(m, at, await seen(at, m, overdue=False), won.get(m, []), now, over=m < this, begun=m <= this))
    return {"pipeline": dict(found), "at": r.now, "months": told}


def _expected(rows: Sequence[Row]) -> list[Answer]:
    return [
        {
            "currency": row["currency"],
            "deals": row["deals"],
            "amount": row["amount"],
            "weighted": expected(row["weighted"], 100),
            "without_amount": row["without_amount"],
        }
        for row in rows
    ]


def _month(m: date, seen_at: datetime, seen: Sequence[Row], won: Sequence[Row], now: Sequence[Row] | None, **when: bool) -> Answer:
    in_full = {row["currency"]: row["amount"] for row in won if row["amount"] is not None}
    return {
        "month": m,
        "seen_at": seen_at,
        "over": when["over"],
        "expected": _expected(seen),
        "won": {"deals": sum(row["deals"] for row in won), "sums": _sums(won)} if when["begun"] else None,
        "difference": [
            {"currency": c, "amount": in_full.get(c, Decimal(0)) - expected(weighted, 100)}
            for c, weighted in _weights(seen, in_full)
        ]
        if when["over"]
        else None,
        "still_expected": _expected(now) if now is not None else None,
        "overdue": sum(row["overdue"] for row in now) if now is not None else None,
    }


def _weights(seen: Sequence[Row], won: Mapping[str | None, Decimal]) -> list[tuple[str | None, Decimal]]:
    weights = {row["currency"]: row["weighted"] for row in seen if row["currency"] is not None}
    return [(c, weights.get(c, Decimal(0))) for c in sorted({*weights, *(c for c in won if c is not None)})]
