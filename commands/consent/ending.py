"""A consent ends: by the person, by the firm, by time, or by a new notice."""

from functools import partial
from typing import Annotated
from uuid import UUID

from pydantic import Field

from commands.consent.acts import (
    Act,
    Keys,
    OverChannel,
    TimedAct,
    answer,
    chain_of,
    link,
    over_channel,
    record,
    record_all,
    refs,
    tree,
)
from commands.kernel import Answer, Work, command
from commands.purposes import Key
from domain import consent, notices, purposes
from domain.consent import CONSENT
from domain.consent.words import Channel, moment
from domain.notices import NOTICE


class WithdrawConsent(TimedAct):
    purposes: Annotated[tuple[Key, ...], Field(max_length=100)] = ()
    channel: Channel | None = None


@command(
    "consent.withdraw",
    "POST /contacts/{id}/consent:withdraw",
    permission="consent:write",
    title="Record a withdrawal",
    target=CONSENT,
    undoable=False,
)
async def withdraw(c: WithdrawConsent, w: Work) -> Answer:
    """Record that the person withdrew. It covers the purposes named and all below them; without purposes, all of them; without a
    channel, every channel on which anything was asked or given. Over a named channel it binds even where nothing was given."""
    chain = await chain_of(c, w)
    covered = refs(purposes.below(await tree(w), c.purposes))
    at = moment(w.now, c.occurred_at)
    channels = (c.channel,) if c.channel is not None else consent.channels_known(chain.state, covered)
    for channel in channels:
        record(w, chain, consent.withdraw(chain.state, link(c, w, chain, at), purposes=covered, channel=channel))
    return answer(chain)


class OptOutOfSale(TimedAct):
    """What a browser says with `Sec-GPC: 1`."""


@command(
    "consent.opt_out_of_sale",
    "POST /contacts/{id}/consent:opt-out-of-sale",
    permission="consent:write",
    title="Opt out of sale and sharing",
    target=CONSENT,
    undoable=False,
)
async def opt_out_of_sale(c: OptOutOfSale, w: Work) -> Answer:
    """Record that the person opted out of the sale and the sharing of their data, as a Global Privacy Control signal does
    (`collection_method` says `gpc_signal` then). It covers the purposes that sell or share, and all below them, over every channel, and no
    other: a consent to email stands."""
    chain = await chain_of(c, w)
    covered = refs(purposes.sold(await tree(w)))
    at = moment(w.now, c.occurred_at)
    for channel in Channel if covered else ():
        record(w, chain, consent.withdraw(chain.state, link(c, w, chain, at), purposes=covered, channel=channel))
    return answer(chain)


class RevokeConsent(OverChannel):
    pass


@command(
    "consent.revoke",
    "POST /contacts/{id}/consent:revoke",
    permission="consent:write",
    title="Revoke a consent",
    target=CONSENT,
    undoable=False,
)
async def revoke(c: RevokeConsent, w: Work) -> Answer:
    """End a consent, or take back a request, by the firm's own decision. It is not the person's withdrawal and never reads as one."""
    return await over_channel(c, w, consent.revoke)


class InvalidateConsent(Act):
    purposes: Keys
    channel: Channel


@command(
    "consent.invalidate",
    "POST /contacts/{id}/consent:invalidate",
    permission="consent:write",
    title="Declare a consent invalid",
    target=CONSENT,
    undoable=False,
)
async def invalidate(c: InvalidateConsent, w: Work) -> Answer:
    """Record that a consent that seemed to stand never was valid (a minor, a forgery, a wrong address): from the time it was given."""
    chain = await chain_of(c, w)
    named = refs(purposes.known(await tree(w), c.purposes))
    record_all(c, w, chain, w.now, partial(consent.invalidate, purposes=named, channel=c.channel))
    return answer(chain)


class ExpireConsent(Act):
    pass


@command(
    "consent.expire",
    "POST /contacts/{id}/consent:expire",
    permission="consent:write",
    title="Note what has expired",
    target=CONSENT,
    undoable=False,
)
async def expire(c: ExpireConsent, w: Work) -> Answer:
    """Record the consents and requests whose time is over, each at its own time. They count as expired without this, too."""
    chain = await chain_of(c, w)
    record_all(c, w, chain, w.now, consent.expire)
    return answer(chain)


class SupersedeConsent(Act):
    notice: UUID


@command(
    "consent.supersede",
    "POST /contacts/{id}/consent:supersede",
    permission="consent:write",
    title="Note what a new notice has ended",
    target=CONSENT,
    undoable=False,
)
async def supersede(c: SupersedeConsent, w: Work) -> Answer:
    """Record which of the contact's consents a material new version of a notice has ended: those to its new purposes, given on an
    earlier version, from the time the new one was published."""
    chain = await chain_of(c, w)
    notice = await w.load(NOTICE, c.notice)
    for version in notices.material_versions(notice.state):
        decide = partial(
            consent.supersede, notice_id=notice.id, version=version.number, new_purposes=frozenset(version.new_purposes)
        )
        record_all(c, w, chain, version.published_at, decide)
    return answer(chain)
