"""How much happened when: counts of events per hour, day, week or month, over business or recorded time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from domain.kernel import Invalid
from queries.figures import MOST_FILTER, Answer, PeriodEndsBeforeItBegins, Time, TimeZone, matching, month, sql, zone
from queries.kernel import COLLECTIONS, Query, Reader, query
from queries.timeline import Names, names_of, streams_for

COUNTS = sql("activity_counts")
MOST_BUCKETS = 400
MOST_STREAMS = 2_000
Bucket = Literal["hour", "day", "week", "month"]
CLOCKS = {"business": "created_at", "recorded": "recorded_at"}
GROUPS = {"none": "NULL::text", "type": "t.name", "stream": "t.stream_type", "actor": "left(t.actor, 100)"}
MOST_KEYS = 20
OTHERS = "others"


class TooManyBuckets(Invalid):
    """The period holds too many buckets. Ask for a shorter period or for a longer bucket."""


class UnknownStreamKind(Invalid):
    """There are no streams of this kind, or you may not read them."""


class UnknownList(Invalid):
    """There is no such list of records, or you may not read it. Name the list whose records the filter chooses."""


class ReadActivity(Query):
    since: Time
    until: Annotated[Time | None, Field(description="The end, which is not in it; without it, the moment asked.")] = None
    bucket: Annotated[Bucket, Field(description="Buckets begin at the full hour, at midnight, on Monday, on the first.")] = "day"
    clock: Annotated[Literal["business", "recorded"], Field(description="When it happened, or when it was recorded.")] = "business"
    by: Annotated[
        Literal["none", "type", "stream", "actor"], Field(description="Tell the counts apart by this, the twenty most frequent.")
    ] = "none"
    event: Names = ""
    stream: Annotated[str, Field(max_length=MOST_STREAMS, description="Only streams of these kinds, with commas between them.")] = (
        ""
    )
    member: UUID | None = None
    origin: Annotated[UUID | None, Field(description="Only what this import recorded.")] = None
    of: Annotated[str, Field(max_length=60, description="Only what happened to records of this list, such as `deals`.")] = ""
    filter: Annotated[
        str,
        Field(max_length=MOST_FILTER, description="Which records of that list, in its grammar, as they stand at the moment asked."),
    ] = ""
    time_zone: TimeZone = None


def floor(moment: datetime, bucket: Bucket, tz: tzinfo = UTC) -> datetime:
    """The beginning of the bucket a moment lies in."""
    at = moment.astimezone(tz).replace(minute=0, second=0, microsecond=0)
    if bucket == "hour":
        return at
    at = at.replace(hour=0)
    if bucket == "day":
        return at
    return at - timedelta(days=at.weekday()) if bucket == "week" else at.replace(day=1)


def buckets(since: datetime, until: datetime, bucket: Bucket, tz: tzinfo = UTC) -> Iterator[datetime]:
    """The beginnings of all buckets of a period, that of its first moment first. Days may have 23 or 25 hours."""
    at = floor(since, bucket, tz)
    while at < until:
        yield at
        match bucket:
            case "hour":
                at = (at.astimezone(UTC) + timedelta(hours=1)).astimezone(tz)
            case "day":
                at += timedelta(days=1)
            case "week":
                at += timedelta(weeks=1)
            case "month":
                following = month(at.date(), 1)
                at = datetime(following.year, following.month, 1, tzinfo=tz)


def _bounded(since: datetime, until: datetime, bucket: Bucket, tz: tzinfo) -> list[datetime]:
    """All buckets of a period; TooManyBuckets when they are more than 400."""
    if until <= since:
        raise PeriodEndsBeforeItBegins
    found: list[datetime] = []
    for at in buckets(since, until, bucket, tz):
        if len(found) == MOST_BUCKETS:
            raise TooManyBuckets(most=MOST_BUCKETS, bucket=bucket)
        found.append(at)
    return found


def _of(q: ReadActivity, r: Reader) -> tuple[str, dict[str, object]]:
    """The condition that an event is of a record the filter lets through, and its parameters."""
    if not q.of and not q.filter.strip():
        return "true", {}
    listed = {n: c for n, c in COLLECTIONS.items() if c.stream is not None and not c.own and c.permission in r.permissions}
    if q.of not in listed:
        raise UnknownList(of=q.of, known=sorted(listed))
    c = listed[q.of]
    records = f"SELECT o.id FROM {c.view.table} o WHERE o.firm_id = %(firm)s AND {{matching}}"
    condition, params = matching(records, r, q.filter, q.of, "o")
    return f"t.stream_type = %(kind)s AND t.stream_id IN ({condition})", {**params, "kind": c.stream.type if c.stream else ""}


@query("activity", "GET /activity", permission="history:read", title="How much happened when", views=("timeline", "firms"))
async def activity(q: ReadActivity, r: Reader) -> Answer:
    """Counts of events per bucket, empty ones included, at most 400 of them; of streams the caller may read. With `of` and `filter` only those
    of the records that a list shows under that filter. For finding one's way, not for counting business: an event may say much or little."""
    until = q.until or r.now + timedelta(microseconds=1)
    tz = await zone(r, q.time_zone)
    starts = _bounded(q.since, until, q.bucket, tz)
    allowed = streams_for(r.permissions)
    streams = [s.strip() for s in q.stream.split(",") if s.strip()] or allowed
    for s in streams:
        if s not in allowed:
            raise UnknownStreamKind(stream=s[:80], known=allowed)
    condition, params = _of(q, r)
    rows = await r.all(
        COUNTS.replace("{clock}", CLOCKS[q.clock]).replace("{group}", GROUPS[q.by]).replace("{records}", condition),
        **params,
        bucket=q.bucket,
        zone=tz.key,
        since=q.since,
        until=until,
        streams=streams,
        names=names_of(q.event),
        actor=f"member/{q.member}" if q.member is not None else None,
        origin=f"import/{q.origin}" if q.origin is not None else None,
    )
    totals: dict[str, int] = {}
    for row in rows:
        totals[row["key"]] = totals.get(row["key"], 0) + row["events"]
    told = sorted(totals, key=lambda k: (-totals[k], str(k)))[:MOST_KEYS]
    counts: dict[datetime, dict[str, int]] = {}
    for row in rows:
        of = counts.setdefault(row["start"].astimezone(UTC), {})
        key = row["key"] if row["key"] in told else OTHERS
        of[key] = of.get(key, 0) + row["events"]
    items: list[Answer] = []
    for at in starts:
        of = counts.get(at.astimezone(UTC), {})
        items.append({"start": at, "events": sum(of.values()), **({} if q.by == "none" else {"by": of})})
    return {
        "since": q.since,
        "until": until,
        "bucket": q.bucket,
        "clock": q.clock,
        "time_zone": tz.key,
        "events": sum(totals.values()),
        "buckets": items,
    }
