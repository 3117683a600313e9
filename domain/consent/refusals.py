"""Why a person's consent can't be what somebody wants it to be."""

from domain.kernel import Invalid, Refused


class ImportNeverOverwrites(Refused):
    """The person refused or withdrew this consent, and an import never overwrites a no. Ask the person again instead."""


class IsSuppressed(Refused):
    """Nothing may be sent to this person over this channel, not even a request for consent. Lift the suppression first."""


class RequestIsPending(Refused):
    """The person has been asked and has not answered yet. Wait, or ask again with `resend`, which voids the first request."""


class TokenUnknown(Refused):
    """This confirmation link is not known for this contact. Check that it was copied whole, or ask for a new one."""


class TokenUsed(Refused):
    """This confirmation link has been used, and it works once. Nothing needs to be done if the consent still stands."""


class RequestHasExpired(Refused):
    """The time to confirm has run out. Ask for a new confirmation link."""


class NoLiveRequest(Refused):
    """The request was answered or replaced by a newer one, so there is nothing left to confirm. Use the newest link."""


class NothingAsked(Refused):
    """No request for these purposes is open over this channel, so there is nothing to defer."""


class ConsentStands(Refused):
    """The person has given this consent. Someone who changes their mind withdraws it; a refusal answers a request."""


class NotGiven(Refused):
    """This consent is not given at that time, so it can't be renewed, revoked or invalidated."""


class NothingToWithdraw(Refused):
    """Nothing was ever asked or given for these purposes. Name a channel to record the objection, or suppress the contact."""


class ImpliedIsNoConsent(Invalid):
    """Implied consent is no consent under the GDPR. Name the basis it really rests on, or record expressed consent."""


class MustBeExplicit(Invalid):
    """This legal basis needs explicit consent (dpv:ExplicitlyExpressedConsent)."""


class ImpliedIsUndated(Invalid):
    """Implied consent ends on a date. Say what implied it (an inquiry: 6 months, a purchase: 2 years) or when it expires."""


class NotImplied(Invalid):
    """`implied_by` belongs to implied consent only."""


class NoticeMissing(Invalid):
    """Consent under the GDPR is informed: name the notice the person saw. Only an import may lack one."""


class EndsBeforeItBegins(Invalid):
    """The end lies before the beginning. Give a later end or an earlier time of the act."""


class TokenNeedsAddress(Invalid):
    """A double opt-in is bound to the address its link is sent to. Give the contact point."""


class PersonMustAsk(Refused):
    """A complaint or an opt-out is the person's own: it is lifted by them, or with evidence that they asked; never by an import."""
