"""A person is sent nothing, whatever they have consented to, and again something."""

from typing import Protocol, Self
from uuid import UUID

from pydantic import model_validator

from commands.consent.acts import TimedAct, answer, chain_of, link, point, record
from commands.kernel import Answer, Work, command
from domain import consent
from domain.consent import CONSENT, Consent
from domain.consent.events import Event
from domain.consent.words import Channel, Link, Suppression, moment


class Silencing(TimedAct):
    reason: Suppression
    channel: Channel | None = None

    @model_validator(mode="after")
    def _point_needs_channel(self) -> Self:
        if self.contact_point is not None and self.channel is None:
            raise ValueError("a contact point belongs to a channel; name the channel too")
        return self


class _Decided(Protocol):
    def __call__(
        self, consent: Consent, link: Link, *, reason: Suppression, channel: Channel | None, contact_point_ref: UUID | None
    ) -> list[Event]: ...


async def _silence(c: Silencing, w: Work, decide: _Decided) -> Answer:
    chain = await chain_of(c, w)
    to = point(c, w, c.channel) if c.channel is not None else None
    at = moment(w.now, c.occurred_at)
    record(w, chain, decide(chain.state, link(c, w, chain, at), reason=c.reason, channel=c.channel, contact_point_ref=to))
    return answer(chain)


class SuppressContact(Silencing):
    pass


@command(
    "consent.suppress",
    "POST /contacts/{id}/consent:suppress",
    permission="consent:write",
    title="Suppress a contact",
    target=CONSENT,
)
async def suppress(c: SuppressContact, w: Work) -> Answer:
    """Send this person nothing, whatever they have consented to: everywhere, over one channel, or to one contact point of it."""
    return await _silence(c, w, consent.suppress)


class LiftSuppression(Silencing):
    pass


@command(
    "consent.unsuppress",
    "POST /contacts/{id}/consent:unsuppress",
    permission="consent:write",
    title="Lift a suppression",
    target=CONSENT,
)
async def unsuppress(c: LiftSuppression, w: Work) -> Answer:
    """Lift the suppression of this reason and reach. A complaint or a global opt-out is lifted by the person only, or with evidence that
    they asked for it."""
    return await _silence(c, w, consent.lift)
