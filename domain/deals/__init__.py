"""Deals: a piece of business on its way through the stages of a pipeline, and the offers made in it.

D1   A closed deal moves only among stages of its own outcome (won: contract signed, paid out); for any other it is reopened first.
D2   A deal moves within its own pipeline; into another one it is transferred, while it is open.
D3   Nothing is recorded when nothing changes, and an amendment says only what changed.
D4   A deal begins, and begins again, in an open stage. It comes to a won or lost stage by being won or lost.
D5   An archived deal changes only by being restored.
D6   An amount and its currency, a code of ISO 4217, go together.
D7   A party stands in a role once; an owner is an active member. Free text is sealed for the first contact among the parties.
D8   A deal is closed on a day that has come, and lost for a reason.
D9   What another system says happened is recorded as one event each, whatever these rules would have said.
D10  A deal has many offers, and one accepted offer at most.
D11  Offers are selected, drawn up and sent while the deal is open; those made are still settled after it closed, but none is
     accepted for a lost deal.
D12  An offer comes back, is accepted or is declined only after it was sent, and is settled once.
D13  Every list is bounded: parties, lines, attributes and their bytes, offers.
"""

from domain.deals import offers
from domain.deals.decisions import (
    NOT_STATED,
    Clearable,
    add_party,
    amend,
    archive,
    arrive,
    assign,
    happened,
    itemise,
    lose,
    move,
    note,
    open_deal,
    record_activity,
    remove_party,
    reopen,
    restore,
    transfer,
    win,
)
from domain.deals.events import (
    ActivityRecorded,
    DealAmended,
    DealArchived,
    DealAssigned,
    DealId,
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
    OfferAccepted,
    OfferCancelled,
    OfferCreated,
    OfferDeclined,
    OfferExpired,
    OfferId,
    OfferReturned,
    OfferSelected,
    OfferSent,
    Party,
    PartyAdded,
    PartyRemoved,
    StageAt,
)
from domain.deals.state import DEAL, Deal, Offer, OfferStatus, Status, evolve

__all__ = [
    "DEAL",
    "NOT_STATED",
    "ActivityRecorded",
    "Clearable",
    "Deal",
    "DealAmended",
    "DealArchived",
    "DealAssigned",
    "DealId",
    "DealItemised",
    "DealLost",
    "DealMoved",
    "DealNoted",
    "DealOpened",
    "DealReopened",
    "DealRestored",
    "DealTransferred",
    "DealWon",
    "Event",
    "Line",
    "Offer",
    "OfferAccepted",
    "OfferCancelled",
    "OfferCreated",
    "OfferDeclined",
    "OfferExpired",
    "OfferId",
    "OfferReturned",
    "OfferSelected",
    "OfferSent",
    "OfferStatus",
    "Party",
    "PartyAdded",
    "PartyRemoved",
    "StageAt",
    "Status",
    "add_party",
    "amend",
    "archive",
    "arrive",
    "assign",
    "evolve",
    "happened",
    "itemise",
    "lose",
    "move",
    "note",
    "offers",
    "open_deal",
    "record_activity",
    "remove_party",
    "reopen",
    "restore",
    "transfer",
    "win",
]
