"""What happens to a deal and to the offers made in it, as it is stored.

Titles, free text and custom attributes may name people, and the public record is for ever, so they are sealed under the key of the
deal's first contact; `contact` in the same event says who that was.
`performer` is the member who did it, where that is not the one who recorded it.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal, NewType
from uuid import UUID

from domain.kernel import Personal, event

DealId = NewType("DealId", UUID)
OfferId = NewType("OfferId", UUID)
StageKind = Literal["open", "won", "lost"]
PartyKind = Literal["contact", "organisation"]
Text = Annotated[str | None, Personal(subject="contact")]
Texts = Annotated[dict[str, str], Personal(subject="contact")]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageAt:
    """A stage as its pipeline defined it when the deal came to it. `probability` is per cent."""

    pipeline: UUID
    id: UUID
    name: str
    kind: StageKind = "open"
    probability: int | None = None
    time_limit_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A contact or an organisation and what it is to the deal: client, borrower, guarantor, counterparty, introducer …"""

    kind: PartyKind
    id: UUID
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """So much of a product, at a price in the deal's currency."""

    product: str
    quantity: Decimal = Decimal(1)
    unit_price: Decimal | None = None


# --- the deal


@event("deals.Opened.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DealOpened:
    stage: StageAt
    contact: UUID | None = None
    title: Text = None
    amount: Decimal | None = None
    currency: str | None = None
    expected_close: date | None = None
    source: str | None = None
    owner: UUID | None = None
    parties: tuple[Party, ...] = ()
    lines: tuple[Line, ...] = ()
    attributes: Texts = field(default_factory=dict)
    performer: UUID | None = None


@event("deals.Moved.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DealMoved:
    origin: UUID
    target: StageAt
    contact: UUID | None = None
    reason: Text = None
    performer: UUID | None = None


@event("deals.Transferred.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DealTransferred:
    """Into another pipeline."""

    origin_pipeline: UUID
    origin: UUID
    target: StageAt
    contact: UUID | None = None
    reason: Text = None


@event("deals.Amended.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DealAmended:
    """Only what changed: new values, and in `cleared` and `attributes_removed` the names of those that have none any more."""

    contact: UUID | None = None
    title: Text = None
    amount: Decimal | None = None
    currency: str | None = None
    expected_close: date | None = None
    source: str | None = None
    attributes: Texts = field(default_factory=dict)
    attributes_removed: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()


@event("deals.Itemised.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DealItemised:
    lines: tuple[Line, ...]


@event("deals.Assigned.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DealAssigned:
    """An owner of None means that nobody has it."""

    owner: UUID | None = None
    previous: UUID | None = None


@event("deals.PartyAdded.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class PartyAdded:
    party: Party


@event("deals.PartyRemoved.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class PartyRemoved:
    party: Party


@event("deals.Noted.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DealNoted:
    contact: UUID | None = None
    note: Text = None
    performer: UUID | None = None


@event("deals.NoteTakenBack.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class NoteTakenBack:
    """A note was written by mistake. `note` is the id of the event that told it, `last` the note that is now the deal's last."""

    note: UUID
    contact: UUID | None = None
    last: Text = None


@event("deals.ActivityTakenBack.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityTakenBack:
    """What was said to be done was not. `activity` is the id of the event that told it; the rest is the deal's last activity now."""

    activity: UUID
    contact: UUID | None = None
    name: str | None = None
    details: Texts = field(default_factory=dict)


@event("deals.ActivityRecorded.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityRecorded:
    """Something was done for the deal that neither moved it nor touched an offer."""

    name: str
    contact: UUID | None = None
    details: Texts = field(default_factory=dict)
    performer: UUID | None = None


@event("deals.Won.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DealWon:
    """`stage` is where it went by being won, `amount` the final one; absent when neither changed."""

    closed_on: date
    stage: StageAt | None = None
    amount: Decimal | None = None
    currency: str | None = None
    performer: UUID | None = None


@event("deals.Lost.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DealLost:
    closed_on: date
    reason_code: str
    contact: UUID | None = None
    reason: Text = None
    stage: StageAt | None = None
    performer: UUID | None = None


@event("deals.Reopened.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DealReopened:
    target: StageAt
    contact: UUID | None = None
    reason: Text = None
    performer: UUID | None = None


@event("deals.Archived.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DealArchived:
    contact: UUID | None = None
    reason: Text = None


@event("deals.Restored.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class DealRestored:
    pass


# --- offers of a deal


@event("deals.OfferSelected.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OfferSelected:
    """An offer was chosen to be made. `rate` is per cent a year."""

    offer: OfferId
    contact: UUID | None = None
    amount: Decimal | None = None
    currency: str | None = None
    rate: Decimal | None = None
    term_months: int | None = None
    terms: Text = None
    valid_until: date | None = None
    performer: UUID | None = None


@event("deals.OfferCreated.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OfferCreated:
    """The offer was drawn up."""

    offer: OfferId
    performer: UUID | None = None


@event("deals.OfferSent.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OfferSent:
    offer: OfferId
    valid_until: date | None = None
    performer: UUID | None = None


@event("deals.OfferReturned.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OfferReturned:
    """The client sent it back: signed, with documents, or with questions."""

    offer: OfferId
    contact: UUID | None = None
    remark: Text = None
    performer: UUID | None = None


@event("deals.OfferAccepted.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OfferAccepted:
    offer: OfferId
    performer: UUID | None = None


@event("deals.OfferDeclined.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OfferDeclined:
    offer: OfferId
    reason_code: str | None = None
    contact: UUID | None = None
    reason: Text = None
    performer: UUID | None = None


@event("deals.OfferCancelled.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OfferCancelled:
    offer: OfferId
    reason_code: str | None = None
    contact: UUID | None = None
    reason: Text = None
    performer: UUID | None = None


@event("deals.OfferExpired.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OfferExpired:
    offer: OfferId
    performer: UUID | None = None


@event("deals.OfferSetBack.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class OfferSetBack:
    """The last step of an offer was recorded by mistake: it stands again where it stood since `since`, good until the day it was.

    The other times are those of the steps that stand.
    """

    offer: OfferId
    status: Literal["selected", "created", "sent", "returned", "accepted", "declined", "cancelled", "expired"]
    since: datetime
    valid_until: date | None = None
    drawn_up_at: datetime | None = None
    sent_at: datetime | None = None
    returned_at: datetime | None = None
    performer: UUID | None = None


OfferEvent = (
    OfferSelected | OfferCreated | OfferSent | OfferReturned | OfferAccepted | OfferDeclined | OfferCancelled | OfferExpired
)
Event = (
    DealOpened
    | DealMoved
    | DealTransferred
    | DealAmended
    | DealItemised
    | DealAssigned
    | PartyAdded
    | PartyRemoved
    | DealNoted
    | ActivityRecorded
    | DealWon
    | DealLost
    | DealReopened
    | DealArchived
    | DealRestored
    | NoteTakenBack
    | ActivityTakenBack
    | OfferSetBack
    | OfferEvent
)
