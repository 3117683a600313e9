"""What a compliance officer looks at: consents by purpose, gaps in what can be proved, what is about to end, requests and their deadlines.

The counts by purpose are those of `consent.status`; here stands what has to be done about them.
"""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from pydantic import Field

from queries import cursors
from queries.figures import Answer, sql
from queries.kernel import Query, Reader, query
from queries.listing import SEES_PERSONAL
from queries.standing import VIEWS, stood

OVERVIEW = stood(sql("compliance_overview"))
GAPS, EXPIRING = stood(sql("compliance_gaps")), stood(sql("compliance_expiring"))
RECONSENT = sql("compliance_reconsent")
NOBODY = UUID(int=0)
Days = Annotated[int, Field(ge=1, le=3660)]
Size = Annotated[int, Field(ge=1, le=1000)]
Token = Annotated[str, Field(max_length=cursors.LONGEST)]


class ReadCompliance(Query):
    days: Days = 30


@query(
    "compliance.overview",
    "GET /compliance/overview",
    permission="consent:read",
    title="Where consent and people's requests stand",
    views=(*VIEWS, "suppressions", "privacy_requests"),
)
async def overview(q: ReadCompliance, r: Reader) -> Answer:
    """How many consents stand on which legal basis (GDPR, CASL, CCPA …), how many can't be proved (no notice, no evidence of how), how many end
    within `days`, and how many requests of people are open, due within `days` and overdue, by the law they rest on."""
    rows = await r.all(OVERVIEW, now=r.now, until=r.now + timedelta(days=q.days))
    found: dict[str, list[dict[str, object]]] = {"consents": [], "requests": []}
    for row in rows:
        found[row["what"]].append({k: v for k, v in row.items() if k != "what" and v is not None})
    return {"at": r.now, "days": q.days, **found}


class ListGaps(Query):
    page_size: Size = 100
    page_token: Token = ""


@query(
    "compliance.gaps",
    "GET /compliance/gaps",
    permission="consent:read",
    title="Consents that can't be proved",
    views=(*VIEWS, "consent_events", "contacts"),
)
async def gaps(q: ListGaps, r: Reader) -> Answer:
    """Consents that stand and lack something of a proof: the notice, how it was collected, the contact point it is bound to, or evidence where
    it was imported. Each row names what is missing, in the order of their ids."""
    return await _paged(r, GAPS, q.page_size, q.page_token)


class ListExpiring(Query):
    days: Days = 30
    page_size: Size = 100
    page_token: Token = ""


@query(
    "compliance.expiring",
    "GET /compliance/expiring",
    permission="consent:read",
    title="Consents that are about to end",
    views=(*VIEWS, "contacts"),
)
async def expiring(q: ListExpiring, r: Reader) -> Answer:
    """Consents that stand now and end within `days`, in the order of their ids, with the time."""
    return await _paged(r, EXPIRING, q.page_size, q.page_token, until=r.now + timedelta(days=q.days))


class ListReconsent(Query):
    notice: UUID
    page_size: Size = 100
    page_token: Token = ""


@query(
    "compliance.reconsent",
    "GET /compliance/reconsent",
    permission="consent:read",
    title="Whom to ask again after a notice changed",
    views=(*VIEWS, "suppressions", "contacts"),
)
async def reconsent(q: ListReconsent, r: Reader) -> Answer:
    """The campaign that a material version of a notice calls for: everyone whose consent it ended, noted or not, who was not asked since and
    whom nothing suppresses."""
    return await _paged(r, RECONSENT, q.page_size, q.page_token, now=r.now, notice=q.notice)


async def _paged(r: Reader, text: str, size: int, token: str, **more: object) -> Answer:
    after = cursors.read(token, UUID)[0] if token else NOBODY
    rows = await r.all(text, after=after, limit=size + 1, personal=SEES_PERSONAL in r.permissions, **more)
    page = [dict(row) for row in rows[:size]]
    return {"items": page, "next_page_token": cursors.write((page[-1]["id"],)) if len(rows) > size else ""}
