"""How deals went through a pipeline: the funnel of its stages, how long they stayed, and the stays of one deal.

F1  The deals that entered a stage in the period either went on, were lost or rest there; a deal counts once for each stage.
F2  A stay ends with the deal's next move or closing; one that goes on is counted until the moment asked, and not at all in a stage in
    which deals are closed.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from domain.kernel import NotFound
from projections.deal_parties import DEAL_PARTIES
from projections.stage_entries import STAGE_ENTRIES
from queries.figures import Answer, Filter, Period, Row, matching, pipeline, seconds, share, sql, staged
from queries.kernel import Collection, Query, Reader, collection, query
from queries.listing import Relation, relation

STAGES, DEALS, MOVES, DURATIONS = sql("funnel_stages"), sql("funnel_deals"), sql("funnel_moves"), sql("funnel_durations")
STAYS = sql("deal_stays")
DEAL = "SELECT id FROM views.deals WHERE firm_id = %(firm)s AND id = %(id)s"
MOST_MOVES = 500
VIEWS = ("pipelines", "stages", "deals", "stage_entries")

collection(
    Collection(
        name="stage_entries",
        view=STAGE_ENTRIES,
        stream=None,
        permission="deals:read",
        title="Comings of deals to stages, and closings",
        order="-created_at",
        search=("stage_name",),
    )
)
collection(
    Collection(
        name="deal_parties", view=DEAL_PARTIES, stream=None, permission="deals:read", title="Parties of deals", search=("role",)
    )
)
relation("stage_entries", Relation("deal", "deals", "deal_id"))
relation("stage_entries", Relation("stage", "stages", "stage_id"))
relation("stage_entries", Relation("pipeline", "pipelines", "pipeline_id"))
relation("stage_entries", Relation("performer", "members", "performer_id"))
relation("deals", Relation("entries", "stage_entries", "id", "deal_id", many=True))
relation("deal_parties", Relation("deal", "deals", "deal_id"))
relation("deal_parties", Relation("contact", "contacts", "party_id"))
relation("deal_parties", Relation("organisation", "organisations", "party_id"))
relation("contacts", Relation("deal_parties", "deal_parties", "id", "party_id", many=True))
relation("organisations", Relation("deal_parties", "deal_parties", "id", "party_id", many=True))


class ReadFunnel(Period):
    id: UUID
    filter: Filter = ""


class ReadDurations(Period):
    id: UUID
    filter: Filter = ""


def _by_stage(rows: Sequence[Row], stages: Sequence[Row]) -> list[tuple[Row, Mapping[str, Any]]]:
    """Each stage with its row; retired ones only where they have one."""
    found = {row["stage"]: row for row in rows}
    return [(s, found.get(s["id"], {})) for s in stages if s["id"] in found or not s["retired"]]


def _stage(s: Row) -> Answer:
    return {name: s[name] for name in ("id", "name", "kind", "place", "retired")}


@query("pipelines.funnel", "GET /pipelines/{id}/funnel", permission="deals:read", title="The funnel of a pipeline", views=VIEWS)
async def funnel(q: ReadFunnel, r: Reader) -> Answer:
    """For each stage: how many deals entered it in the period, how many of these went on to a later stage or were won, were lost from
    there, or rest there, as of the moment asked; and the moves of the period from stage to stage. Archived deals are left out."""
    found, stages = await pipeline(r, q.id)
    since, until = q.bounds()
    asked: dict[str, object] = {"id": q.id, "since": since, "until": until}
    statement, params = matching(STAGES, r, q.filter)
    rows = await r.all(statement, **asked, **staged(stages), **params)
    statement, _ = matching(DEALS, r, q.filter)
    counted = await r.one(statement, **asked, **params)
    deals = int(counted["deals"]) if counted is not None else 0
    statement, _ = matching(MOVES, r, q.filter)
    moves = await r.all(statement, **asked, **params, limit=MOST_MOVES)
    return {
        "pipeline": dict(found),
        "at": r.now,
        **q.told(r),
        "deals": deals,
        "stages": [
            {
                **_stage(s),
                **{name: row.get(name, 0) for name in ("entered", "went_on", "won", "lost", "resting")},
                "conversion": share(row.get("went_on", 0), row.get("entered", 0)) if s["kind"] == "open" else None,
                "share_of_deals": share(row.get("entered", 0), deals),
            }
            for s, row in _by_stage(rows, stages)
        ],
        "moves": [dict(m) for m in moves],
    }


@query(
    "pipelines.durations",
    "GET /pipelines/{id}/durations",
    permission="deals:read",
    title="How long deals stay in the stages of a pipeline",
    views=VIEWS,
)
async def durations(q: ReadDurations, r: Reader) -> Answer:
    """For each stage the stays that began in the period: how many, how many of them go on, and their mean, median and ninetieth
    percentile in whole seconds, those that go on counted until the moment asked. Deals at rest in the stage in which they were closed
    are counted apart and have no duration."""
    found, stages = await pipeline(r, q.id)
    since, until = q.bounds()
    statement, params = matching(DURATIONS, r, q.filter)
    rows = await r.all(statement, id=q.id, since=since, until=until, now=r.now, **staged(stages), **params)
    figures = ("mean_seconds", "median_seconds", "p90_seconds", "longest_seconds")
    return {
        "pipeline": dict(found),
        "at": r.now,
        **q.told(r),
        "stages": [
            {
                **_stage(s),
                "time_limit_days": s["time_limit_days"],
                **{name: row.get(name, 0) for name in ("stays", "open", "at_rest")},
                **{name: row.get(name) for name in figures},
            }
            for s, row in _by_stage(rows, stages)
        ],
    }


class ReadStays(Query):
    id: UUID
    limit: Annotated[int, Field(ge=1, le=1000)] = 200


@query(
    "deals.stays",
    "GET /deals/{id}/stays",
    permission="deals:read",
    title="The stays of a deal in stages",
    views=("deals", "stage_entries"),
)
async def stays(q: ReadStays, r: Reader) -> Answer:
    """Each stay of a deal in a stage, the first one first: when it entered, when it left, how long it was there, who brought it there and
    how it ended. A stay that goes on is counted until the moment asked."""
    if await r.one(DEAL, id=q.id) is None:
        raise NotFound(kind="deal", id=str(q.id))
    rows = await r.all(STAYS, id=q.id, limit=q.limit + 2)  # the entry behind the last shown tells when it was left
    return {"at": r.now, "items": stays_of(rows, r)[: q.limit], "more": sum(row["stage_id"] is not None for row in rows) > q.limit}


def stays_of(rows: Sequence[Row], r: Reader) -> list[Answer]:
    """Entries of one deal in their order as stays."""
    told: list[Answer] = []
    for n, row in enumerate(rows):
        if row["stage_id"] is None:
            continue
        left = rows[n + 1] if n + 1 < len(rows) else None
        at_rest = left is None and row["stage_kind"] != "open"
        until = row["left_at"] or r.now
        told.append(
            {
                **{name: value for name, value in row.items() if name != "number"},
                "seconds": None if at_rest else seconds(row["entered_at"], until),
                "left_by": left["how"] if left is not None else None,
            }
        )
    return told
