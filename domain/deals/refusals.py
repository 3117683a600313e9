"""Why a deal can't be what somebody wants it to be."""

from domain.kernel import Invalid, NotFound, Refused


class DealIsClosed(Refused):
    """The deal is closed. Reopen it first."""


class DealIsArchived(Refused):
    """The deal is archived. Restore it first."""


class StageInAnotherPipeline(Refused):
    """The stage belongs to another pipeline. Move the deal to that pipeline explicitly, or name a stage of its own."""


class StageCloses(Refused):
    """This stage closes a deal. Win or lose the deal instead, and name the stage there if it matters which."""


class StageHasAnotherOutcome(Refused):
    """The stage does not stand for this outcome. A won deal stands in a won stage or where it was; a lost one likewise."""


class StageIsClosing(Invalid):
    """A deal begins, and begins again, in an open stage. Name an open stage."""


class AlreadyInPipeline(Refused):
    """The deal is in this pipeline already. Move it to the stage instead."""


class ClosedInTheFuture(Invalid):
    """The date of closing lies in the future. Use expected_close for what is hoped, and close the deal when it closes."""


class HappenedInTheFuture(Invalid):
    """occurred_at lies more than a day in the future. It says when something happened; leave it out for now."""


class TooManyParties(Refused):
    """A deal has at most fifty parties. Remove one first."""


class TooManyLines(Invalid):
    """A deal has at most fifty lines. Combine some of them."""


class TooManyAttributes(Refused):
    """A deal has at most fifty attributes, in all 16,000 bytes. Remove some first."""


class TooManyOffers(Refused):
    """A deal has at most two hundred offers in its whole life. Open another deal."""


class OwnerIsInactive(Refused):
    """The member is deactivated and can't be given a deal. Choose another owner."""


class NoSuchParty(NotFound):
    """The deal has no such party in that role."""


class NoSuchOffer(NotFound):
    """The deal has no such offer."""


class OfferIsSettled(Refused):
    """The offer is accepted, declined, cancelled or expired already. Make a new one."""


class OfferNotSent(Refused):
    """The client has not been sent the offer, so it can't come back, be accepted or be declined. Send it first."""


class AnotherOfferAccepted(Refused):
    """Another offer of the deal is accepted. A deal has one accepted offer at most."""


class DealIsLost(Refused):
    """The deal is lost; its offers can only be declined, cancelled or expire. Reopen it first."""
