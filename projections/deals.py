"""Deals as they stand: stage, money, parties, offers, and the times from which rest in a stage and in all is worked out."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from domain.deals import (
    ActivityRecorded,
    ActivityTakenBack,
    DealAmended,
    DealArchived,
    DealAssigned,
    DealItemised,
    DealLost,
    DealMoved,
    DealNoted,
    DealOpened,
    DealReopened,
    DealRestored,
    DealTransferred,
    DealWon,
    Line,
    NoteTakenBack,
    OfferAccepted,
    OfferCancelled,
    OfferCreated,
    OfferDeclined,
    OfferExpired,
    OfferReturned,
    OfferSelected,
    OfferSent,
    OfferSetBack,
    OfferStatus,
    Party,
    PartyAdded,
    PartyRemoved,
    StageAt,
    Status,
)
from domain.deals.state import amended, first_contact, offer_status
from domain.kernel import Personal
from projections.kernel import Recorded, View, of_stream, view
from projections.rows import replace

Text = Annotated[str | None, Personal(subject="contact_id")]
Texts = Annotated[dict[str, str], Personal(subject="contact_id")]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferOfDeal:
    """`number` counts the deal's offers from 1; `since` is when it came to this status."""

    id: UUID
    number: int
    status: OfferStatus
    since: datetime
    amount: Decimal | None = None
    currency: str | None = None
    rate: Decimal | None = None
    term_months: int | None = None
    valid_until: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DealRow:
    """What a deal is now.

    `stage_name`, `probability` and `stage_due` are as the pipeline had them when the deal came to the stage. The stay in the stage
    began at `stage_since` and goes on, unless the deal was closed where it stood: then it ended at `stage_until`. `stage_seconds`
    adds up the whole seconds of all stays before it, by stage id. `reason` is the one given for the last move, closing, reopening
    or archiving; `performer_id` is who did what happened last, where that was said.
    """

    title: Text = None
    pipeline_id: UUID
    stage_id: UUID
    stage_name: str
    probability: int | None = None
    status: Status = "open"
    archived: bool = False
    amount: Decimal | None = None
    currency: str | None = None
    expected_close: date | None = None
    source: str | None = None
    owner_id: UUID | None = None
    contact_id: UUID | None = None
    contact_ids: tuple[UUID, ...] = ()
    organisation_ids: tuple[UUID, ...] = ()
    parties: tuple[Party, ...] = ()
    products: tuple[str, ...] = ()
    lines: tuple[Line, ...] = ()
    attributes: Texts = field(default_factory=dict)
    offers: tuple[OfferOfDeal, ...] = ()
    opened_at: datetime
    stage_since: datetime
    stage_until: datetime | None = None
    stage_due: datetime | None = None
    stage_seconds: dict[str, int] = field(default_factory=dict)
    moves: int = 0
    closed_at: datetime | None = None
    closed_on: date | None = None
    lost_code: str | None = None
    reason: Text = None
    notes: int = 0
    last_note: Text = None
    activities: int = 0
    last_activity: str | None = None
    last_activity_details: Texts = field(default_factory=dict)
    last_touched_at: datetime
    performer_id: UUID | None = None


def fold_deal(row: DealRow | None, _id: UUID, r: Recorded) -> DealRow | None:
    e, at = r.event, r.occurred_at
    if isinstance(e, DealOpened):
        return opened(e, at)
    if row is None:
        return None
    row = replace(row, last_touched_at=at, performer_id=getattr(e, "performer", None))
    match e:
        case DealMoved() | DealTransferred():
            return replace(came_to(row, e.target, at), moves=row.moves + 1, reason=e.reason)
        case DealAmended():
            return replace(
                row,
                title=row.title if e.title is None else e.title,
                amount=None if "amount" in e.cleared else row.amount if e.amount is None else e.amount,
                currency=None if "amount" in e.cleared else row.currency if e.currency is None else e.currency,
                expected_close=None if "expected_close" in e.cleared else e.expected_close or row.expected_close,
                source=None if "source" in e.cleared else e.source or row.source,
                attributes=amended(row.attributes, e),
            )
        case DealItemised():
            return replace(row, lines=e.lines, products=products(e.lines))
        case DealAssigned():
            return replace(row, owner_id=e.owner)
        case PartyAdded():
            return between(row, (*row.parties, e.party))
        case PartyRemoved():
            return between(row, tuple(p for p in row.parties if p != e.party))
        case DealNoted():
            return replace(row, notes=row.notes + 1, last_note=e.note)
        case ActivityRecorded():
            return replace(row, activities=row.activities + 1, last_activity=e.name, last_activity_details=e.details)
        case NoteTakenBack():
            return replace(row, notes=max(0, row.notes - 1), last_note=e.last)
        case ActivityTakenBack():
            return replace(row, activities=max(0, row.activities - 1), last_activity=e.name, last_activity_details=e.details)
        case DealWon():
            return replace(
                closed(row, e.stage, at),
                status="won",
                closed_on=e.closed_on,
                amount=row.amount if e.amount is None else e.amount,
                currency=row.currency if e.currency is None else e.currency,
                lost_code=None,
                reason=None,
            )
        case DealLost():
            return replace(closed(row, e.stage, at), status="lost", closed_on=e.closed_on, lost_code=e.reason_code, reason=e.reason)
        case DealReopened():
            again = came_to(row, e.target, at)
            return replace(again, status="open", closed_at=None, closed_on=None, lost_code=None, reason=e.reason)
        case DealArchived():
            return replace(row, archived=True, reason=e.reason)
        case DealRestored():
            return replace(row, archived=False, reason=None)
        case OfferSelected():
            made = OfferOfDeal(
                id=e.offer,
                number=len(row.offers) + 1,
                status="selected",
                since=at,
                amount=e.amount,
                currency=e.currency,
                rate=e.rate,
                term_months=e.term_months,
                valid_until=e.valid_until,
            )
            return replace(row, offers=(*row.offers, made))
        case OfferSetBack():
            return replace(
                row,
                offers=tuple(
                    replace(o, status=e.status, since=e.since, valid_until=e.valid_until) if o.id == e.offer else o
                    for o in row.offers
                ),
            )
        case OfferCreated() | OfferSent() | OfferReturned() | OfferAccepted() | OfferDeclined() | OfferCancelled() | OfferExpired():
            valid_until = getattr(e, "valid_until", None)
            return replace(
                row,
                offers=tuple(
                    replace(o, status=offer_status(e), since=at, valid_until=valid_until or o.valid_until) if o.id == e.offer else o
                    for o in row.offers
                ),
            )
        case _:
            return row


def opened(e: DealOpened, at: datetime) -> DealRow:
    row = DealRow(
        title=e.title,
        pipeline_id=e.stage.pipeline,
        stage_id=e.stage.id,
        stage_name=e.stage.name,
        probability=e.stage.probability,
        amount=e.amount,
        currency=e.currency,
        expected_close=e.expected_close,
        source=e.source,
        owner_id=e.owner,
        products=products(e.lines),
        lines=e.lines,
        attributes=e.attributes,
        opened_at=at,
        stage_since=at,
        stage_due=due(e.stage, at),
        last_touched_at=at,
        performer_id=e.performer,
    )
    return between(row, e.parties)


def came_to(row: DealRow, stage: StageAt, at: datetime) -> DealRow:
    return replace(
        row,
        pipeline_id=stage.pipeline,
        stage_id=stage.id,
        stage_name=stage.name,
        probability=stage.probability,
        stage_since=at,
        stage_until=None,
        stage_due=due(stage, at),
        stage_seconds=stayed(row, at),
    )


def closed(row: DealRow, stage: StageAt | None, at: datetime) -> DealRow:
    row = came_to(row, stage, at) if stage else replace(row, stage_until=at, stage_due=None)
    return replace(row, closed_at=at)


def due(stage: StageAt, at: datetime) -> datetime | None:
    return None if stage.time_limit_days is None else at + timedelta(days=stage.time_limit_days)


def stayed(row: DealRow, until: datetime) -> dict[str, int]:
    """Whole seconds in each stage, once the stay under way ends."""
    seconds = max(0, int(((row.stage_until or until) - row.stage_since).total_seconds()))
    key = str(row.stage_id)
    return {**row.stage_seconds, key: row.stage_seconds.get(key, 0) + seconds}


def products(lines: tuple[Line, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line.product for line in lines))


def between(row: DealRow, parties: tuple[Party, ...]) -> DealRow:
    return replace(
        row,
        parties=parties,
        contact_id=first_contact(parties),
        contact_ids=tuple(dict.fromkeys(p.id for p in parties if p.kind == "contact")),
        organisation_ids=tuple(dict.fromkeys(p.id for p in parties if p.kind == "organisation")),
    )


DEALS = view(View(name="deals", version=1, table="views.deals", row=DealRow, keys=of_stream("deal"), fold=fold_deal))
