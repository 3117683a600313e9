"""A deal as its decisions need it, and how each event changes it."""

from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Literal, assert_never
from uuid import UUID

from domain.deals.events import (
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
    Event,
    Line,
    NoteTakenBack,
    OfferAccepted,
    OfferCancelled,
    OfferCreated,
    OfferDeclined,
    OfferEvent,
    OfferExpired,
    OfferId,
    OfferReturned,
    OfferSelected,
    OfferSent,
    OfferSetBack,
    Party,
    PartyAdded,
    PartyRemoved,
    StageAt,
)
from domain.kernel import Stream

Status = Literal["open", "won", "lost"]
OfferStatus = Literal["selected", "created", "sent", "returned", "accepted", "declined", "cancelled", "expired"]
LIVE: frozenset[OfferStatus] = frozenset({"selected", "created", "sent", "returned"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    id: OfferId
    status: OfferStatus = "selected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal:
    """`open_stage` is the last open stage it stood in: where it comes back to when it is reopened."""

    stage: StageAt | None = None
    open_stage: UUID | None = None
    status: Status = "open"
    archived: bool = False
    title: str | None = None
    amount: Decimal | None = None
    currency: str | None = None
    expected_close: date | None = None
    source: str | None = None
    owner: UUID | None = None
    parties: tuple[Party, ...] = ()
    lines: tuple[Line, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)
    offers: tuple[Offer, ...] = ()

    @property
    def contact(self) -> UUID | None:
        """The first contact among the parties: the person whom free text about the deal concerns."""
        return first_contact(self.parties)


def first_contact(parties: tuple[Party, ...]) -> UUID | None:
    return next((p.id for p in parties if p.kind == "contact"), None)


def came_to(deal: Deal, stage: StageAt) -> Deal:
    return replace(deal, stage=stage, open_stage=stage.id if stage.kind == "open" else deal.open_stage)


def amended(attributes: dict[str, str], e: DealAmended) -> dict[str, str]:
    """The custom attributes after an amendment."""
    return {k: v for k, v in {**attributes, **e.attributes}.items() if k not in e.attributes_removed}


def offer_status(e: OfferEvent) -> OfferStatus:
    """What an offer is after this event."""
    match e:
        case OfferSelected():
            return "selected"
        case OfferCreated():
            return "created"
        case OfferSent():
            return "sent"
        case OfferReturned():
            return "returned"
        case OfferAccepted():
            return "accepted"
        case OfferDeclined():
            return "declined"
        case OfferCancelled():
            return "cancelled"
        case OfferExpired():
            return "expired"
        case _:
            assert_never(e)


def evolve(deal: Deal, e: Event) -> Deal:
    match e:
        case DealOpened():
            return replace(
                came_to(deal, e.stage),
                title=e.title,
                amount=e.amount,
                currency=e.currency,
                expected_close=e.expected_close,
                source=e.source,
                owner=e.owner,
                parties=e.parties,
                lines=e.lines,
                attributes=e.attributes,
            )
        case DealMoved() | DealTransferred():
            return came_to(deal, e.target)
        case DealAmended():
            return replace(
                deal,
                title=deal.title if e.title is None else e.title,
                amount=None if "amount" in e.cleared else deal.amount if e.amount is None else e.amount,
                currency=None if "amount" in e.cleared else deal.currency if e.currency is None else e.currency,
                expected_close=None if "expected_close" in e.cleared else e.expected_close or deal.expected_close,
                source=None if "source" in e.cleared else e.source or deal.source,
                attributes=amended(deal.attributes, e),
            )
        case DealItemised():
            return replace(deal, lines=e.lines)
        case DealAssigned():
            return replace(deal, owner=e.owner)
        case PartyAdded():
            return replace(deal, parties=(*deal.parties, e.party))
        case PartyRemoved():
            return replace(deal, parties=tuple(p for p in deal.parties if p != e.party))
        case DealWon():
            won = came_to(deal, e.stage) if e.stage else deal
            return replace(
                won,
                status="won",
                amount=deal.amount if e.amount is None else e.amount,
                currency=deal.currency if e.currency is None else e.currency,
            )
        case DealLost():
            return replace(came_to(deal, e.stage) if e.stage else deal, status="lost")
        case DealReopened():
            return replace(came_to(deal, e.target), status="open")
        case DealArchived():
            return replace(deal, archived=True)
        case DealRestored():
            return replace(deal, archived=False)
        case DealNoted() | ActivityRecorded() | NoteTakenBack() | ActivityTakenBack():
            return deal
        case OfferSetBack():
            return replace(deal, offers=tuple(replace(o, status=e.status) if o.id == e.offer else o for o in deal.offers))
        case OfferSelected():
            return replace(deal, offers=(*deal.offers, Offer(id=e.offer)))
        case OfferCreated() | OfferSent() | OfferReturned() | OfferAccepted() | OfferDeclined() | OfferCancelled() | OfferExpired():
            status = offer_status(e)
            return replace(deal, offers=tuple(replace(o, status=status) if o.id == e.offer else o for o in deal.offers))
        case _:
            assert_never(e)


DEAL: Stream[Deal, Event] = Stream("deal", Deal(), evolve)
