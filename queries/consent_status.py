"""How consent stands in the whole firm: counts by purpose, channel and status, and the contacts behind a count.

A status is that of the moment asked: what time or a newer notice has ended reads `expired` or `superseded`, noted or not.
"""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from domain.consent.words import VALID, Channel, Status
from queries import cursors
from queries.figures import Answer, sql
from queries.kernel import Query, Reader, query
from queries.listing import SEES_PERSONAL
from queries.standing import VIEWS, stood

SUPPRESSED = sql("consent_suppressed")
"""Whether something suppresses a row `t` of the consents."""
COUNTS, LIST = (stood(sql(name)).replace("{suppressed}", SUPPRESSED) for name in ("consent_status", "consent_status_list"))
NOBODY = UUID(int=0)
Purpose = Annotated[str, Field(min_length=1, max_length=200)]


class ReadConsentStatus(Query):
    purpose: Purpose | None = None
    channel: Channel | None = None


@query(
    "consent.status",
    "GET /consent/status",
    permission="consent:read",
    title="How consent stands by purpose and channel",
    views=(*VIEWS, "suppressions"),
)
async def status(q: ReadConsentStatus, r: Reader) -> Answer:
    """For each purpose and channel: how many contacts stand at which status, for how many of them consent is valid, and how many of these
    may be contacted because nothing suppresses them."""
    branches: dict[tuple[str, str], dict[str, object]] = {}
    valid: dict[tuple[str, str], tuple[int, int]] = {}
    statuses: dict[tuple[str, str], dict[str, int]] = {}
    for row in await r.all(COUNTS, now=r.now, purpose=q.purpose, channel=q.channel):
        key = (row["purpose"], row["channel"])
        branches.setdefault(key, {"purpose": row["purpose"], "dpv": row["dpv"], "channel": row["channel"]})
        of = statuses.setdefault(key, {})
        of[row["status"]] = of.get(row["status"], 0) + row["contacts"]
        if Status(row["status"]) in VALID:
            count, reachable = valid.get(key, (0, 0))
            valid[key] = (count + row["contacts"], reachable + row["contacts"] - row["suppressed"])
    items = []
    for key, branch in branches.items():
        count, reachable = valid.get(key, (0, 0))
        items.append(
            {**branch, "contacts": sum(statuses[key].values()), "valid": count, "reachable": reachable, "statuses": statuses[key]}
        )
    return {"at": r.now, "items": items}


class ListConsentStatus(Query):
    purpose: Purpose
    channel: Channel
    status: Status | None = None
    suppressed: bool | None = None
    page_size: Annotated[int, Field(ge=1, le=1000)] = 100
    page_token: Annotated[str, Field(max_length=cursors.LONGEST)] = ""


@query(
    "consent.contacts",
    "GET /consent/contacts",
    permission="consent:read",
    title="The contacts by how their consent stands",
    views=(*VIEWS, "suppressions", "contacts"),
)
async def contacts(q: ListConsentStatus, r: Reader) -> Answer:
    """The contacts who stand at a status for a purpose over a channel, in the order of their ids."""
    after = cursors.read(q.page_token, UUID)[0] if q.page_token else NOBODY
    rows = await r.all(
        LIST,
        now=r.now,
        purpose=q.purpose,
        channel=q.channel,
        status=q.status,
        suppressed=q.suppressed,
        after=after,
        personal=SEES_PERSONAL in r.permissions,
        limit=q.page_size + 1,
    )
    page = [dict(row) for row in rows[: q.page_size]]
    return {"items": page, "next_page_token": cursors.write((page[-1]["contact"],)) if len(rows) > q.page_size else ""}
