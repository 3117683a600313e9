"""What the figures of pipelines share: the pipeline and its stages as they stood, a filter over its deals, months and periods."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, AwareDatetime, Field

from domain.kernel import Invalid, NotFound
from queries.filtering import parse
from queries.kernel import COLLECTIONS, Query, Reader
from queries.listing.resolve import Resolver
from queries.listing.sql import Compiler

Row = Mapping[str, Any]
Answer = dict[str, object]

MOST_FILTER = 8_000
BEGINNING = datetime(1, 1, 2, tzinfo=UTC)
END = datetime(9999, 12, 30, tzinfo=UTC)

EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def _of_our_times(moment: datetime) -> datetime:
    if not EARLIEST <= moment <= LATEST:
        raise ValueError("a time from 1900 to 2200 is expected")
    return moment


Time = Annotated[AwareDatetime, AfterValidator(_of_our_times)]
Filter = Annotated[str, Field(max_length=MOST_FILTER, description="Which deals are counted, in the grammar of the list of deals.")]
Since = Annotated[Time | None, Field(description="The beginning of the period; without it, the beginning of the record.")]
Until = Annotated[
    AwareDatetime | None, Field(description="The end of the period, which is not in it; without it, the moment asked.")
]

_PIPELINE = "SELECT id, name, archived FROM views.pipelines WHERE firm_id = %(firm)s AND id = %(id)s"
_STANDING = "SELECT current_setting('chancery.as_of', true) AS moment"
_LOOK = "SELECT set_config('chancery.as_of', %(moment)s, true)"
_STAGES = (
    "SELECT id, name, kind, place, probability, time_limit_days, retired FROM views.stages"
    " WHERE firm_id = %(firm)s AND pipeline_id = %(id)s ORDER BY place, id"
)


def sql(name: str) -> str:
    """The named statement beside the queries."""
    return (Path(__file__).parent / f"{name}.sql").read_text(encoding="utf-8")


@asynccontextmanager
async def looking(r: Reader) -> AsyncIterator[Callable[[datetime | None], Awaitable[None]]]:
    """Lets a query look at other business times than the one asked for: what it is called with is the time that the rows of `at.…` are of
    from then on (None: any), and `known_at` stays as asked. Afterwards all is as before."""
    row = await r.one(_STANDING)
    standing = (row["moment"] if row is not None else None) or ""

    async def look(moment: datetime | None) -> None:
        await r.one(_LOOK, moment=moment.isoformat() if moment is not None else "")

    yield look
    await r.one(_LOOK, moment=standing)


async def pipeline(r: Reader, id: object) -> tuple[Row, Sequence[Row]]:
    """A pipeline and its stages in their order, retired ones last; NotFound.

    At a time before it was defined it is taken as it was defined later: deals carried over from elsewhere are older than the pipeline
    they were put into.
    """
    found = await r.one(_PIPELINE, id=id)
    if found is not None:
        return found, await r.all(_STAGES, id=id)
    async with looking(r) as look:
        await look(None)
        found = await r.one(_at(_PIPELINE), id=id)
        if found is None:
            raise NotFound(kind="pipeline", id=str(id))
        return found, await r.all(_at(_STAGES), id=id)


async def stages_at(r: Reader, id: object, otherwise: Sequence[Row]) -> Sequence[Row]:
    """The stages of a pipeline at the business time looked at; the others where it had none."""
    return await r.all(_at(_STAGES), id=id) or otherwise


def _at(statement: str) -> str:
    return statement.replace("views.", "at.")


def staged(stages: Sequence[Row]) -> dict[str, object]:
    """Stages as the parameters of a statement."""
    return {f"stage_{name}": [s[name] for s in stages] for name in ("id", "kind", "place", "probability", "time_limit_days")}


def matching(statement: str, r: Reader, filter: str, collection: str = "deals", row: str = "t") -> tuple[str, dict[str, object]]:
    """The statement with `{matching}` replaced by a filter over the rows of a collection, and the filter's parameters."""
    compiler = Compiler()
    condition = compiler.where(Resolver(COLLECTIONS[collection], r.permissions, r.now).resolve(parse(filter)), row)
    return statement.replace("{matching}", condition), dict(compiler.params)


class PeriodEndsBeforeItBegins(Invalid):
    """The period ends before it begins. Give an end that is after its beginning."""


class Period(Query):
    since: Since = None
    until: Until = None

    def bounds(self) -> tuple[datetime, datetime]:
        """From when (in it) until when (not in it). What happens at the very moment asked is in it."""
        since, until = self.since or BEGINNING, self.until or END
        if until <= since:
            raise PeriodEndsBeforeItBegins
        return since, until

    def told(self, r: Reader) -> Answer:
        return {"since": self.since, "until": self.until or r.now}


class UnknownTimeZone(Invalid):
    """There is no time zone of this name. Give one of the IANA list, such as Europe/Berlin."""


TimeZone = Annotated[
    str | None,
    Field(max_length=60, description="Of which days, weeks and months are meant, by its IANA name; that of the firm when absent."),
]
# quoted, because it is asked as it is now, whatever moment is read
_OF_THE_FIRM = 'SELECT time_zone FROM "views".firms WHERE firm_id = %(firm)s AND id = %(firm)s'


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


async def zone(r: Reader, name: str | None) -> ZoneInfo:
    """The time zone of this name, else that of the firm's settings; UnknownTimeZone."""
    if name is None:
        row = await r.one(_OF_THE_FIRM)
        of_the_firm = row["time_zone"] if row is not None else "UTC"
        name = of_the_firm if of_the_firm in _zones() else "UTC"
    if name not in _zones():
        raise UnknownTimeZone(time_zone=name)
    return ZoneInfo(name)


def today(r: Reader, tz: ZoneInfo) -> date:
    """The day of the moment asked in a time zone, no earlier than 1900 and no later than 2200."""
    return min(max(r.now, EARLIEST), LATEST).astimezone(tz).date()


def start(day: date, tz: ZoneInfo) -> datetime:
    """When a day begins in a time zone."""
    return datetime.combine(day, time(), tz)


def month(day: date, after: int = 0) -> date:
    """The first day of a day's month, or of one so many months after it."""
    n = day.year * 12 + day.month - 1 + after
    return date(n // 12, n % 12 + 1, 1)


def share(part: int, whole: int) -> Decimal | None:
    """A share of one to four places; None of nothing."""
    return None if whole == 0 else (Decimal(part) / Decimal(whole)).quantize(Decimal("0.0001"), rounding=ROUND_HALF_EVEN)


def expected(amount: Decimal, probability: int | None) -> Decimal:
    """An amount weighed by a probability per cent, to the hundredth; nothing where none is given."""
    return (amount * (probability or 0) / 100).quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN)


def seconds(since: datetime, until: datetime) -> int:
    return max(0, int((until - since).total_seconds()))
