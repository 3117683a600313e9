"""A person is asked, and answers: yes, no, or later."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from commands.consent.acts import Act, OverChannel, answer, chain_of, link, over_channel, point, record, refs, tree
from commands.kernel import Answer, Work, command
from commands.notices import Language
from domain import consent, notices, purposes
from domain.consent import CONSENT
from domain.consent.words import ConsentType, ImpliedBy, Notice, Terms, moment
from domain.notices import NOTICE


class NoticeSeen(BaseModel):
    """The notice the person saw: the version in force at the time, in its first language, unless said otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: UUID
    version: Annotated[int, Field(ge=1, le=notices.VERSIONS)] | None = None
    language: Language | None = None


class Conditions(OverChannel):
    consent_type: ConsentType = ConsentType.EXPRESSED
    legal_basis: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,19}:[A-Za-z0-9.-]{1,40}$")] = "eu-gdpr:A6-1-a"
    jurisdiction: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")] | None = None
    notice: NoticeSeen | None = None
    implied_by: ImpliedBy | None = None
    effective_to: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None


async def _terms(c: Conditions, w: Work, at: datetime) -> Terms:
    seen = None
    if c.notice is not None:
        notice = await w.load(NOTICE, c.notice.id)
        shown = notices.show(notice.state, version=c.notice.version, language=c.notice.language, purposes=c.purposes, at=at)
        seen = Notice(id=notice.id, version=shown.version, language=shown.language, sha256=shown.sha256)
    return Terms(
        consent_type=c.consent_type,
        legal_basis=c.legal_basis,
        jurisdiction=c.jurisdiction,
        notice=seen,
        contact_point_ref=point(c, w, c.channel),
        implied_by=c.implied_by,
        effective_to=c.effective_to,
        expires_at=c.expires_at,
    )


class RequestConsent(Conditions):
    double_opt_in: bool = True
    answer_within_hours: Annotated[int, Field(ge=1, le=8760)] = 168
    resend: bool = False


@command(
    "consent.request",
    "POST /contacts/{id}/consent:request",
    permission="consent:write",
    title="Ask for consent",
    target=CONSENT,
    undoable=False,
)
async def request(c: RequestConsent, w: Work) -> Answer:
    """Record that a person is asked for consent. With double opt-in the answer holds a single-use token, shown once: put it into the
    message to the contact point it is bound to. `resend` replaces a request that is still open."""
    chain = await chain_of(c, w)
    at = moment(w.now, c.occurred_at)
    asked = refs(purposes.pick(await tree(w), c.purposes))
    token = w.new_secret() if c.double_opt_in else None
    asking = link(c, w, chain, at)
    events = consent.request(
        chain.state,
        asking,
        purposes=asked,
        channel=c.channel,
        terms=await _terms(c, w, at),
        answer_by=at + timedelta(hours=c.answer_within_hours),
        token=token,
        resend=c.resend,
    )
    record(w, chain, events)
    if token is not None:
        w.shown_once["token"] = token
    return {**(answer(chain) or {}), "request": str(asking.record_id)}


class ConfirmConsent(Act):
    token: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{20,200}$")]


@command(
    "consent.confirm",
    "POST /contacts/{id}/consent:confirm",
    permission="consent:write",
    title="Confirm consent (double opt-in)",
    target=CONSENT,
    undoable=False,
)
async def confirm(c: ConfirmConsent, w: Work) -> Answer:
    """Give the consent that was asked for, by the token sent to the person's address. A token works once, while its request is open."""
    chain = await chain_of(c, w)
    events = consent.confirm(chain.state, link(c, w, chain, w.now), token=c.token)
    asked = consent.requested_with(chain.state, c.token)
    keys = tuple(p.key for p in asked.purposes) if asked is not None else ()
    purposes.pick(await tree(w), keys)
    if asked is not None and asked.terms.notice is not None:
        seen = asked.terms.notice
        notice = await w.load(NOTICE, seen.id)
        notices.show(notice.state, version=seen.version, language=seen.language, purposes=keys, at=w.now)
    record(w, chain, events)
    return answer(chain)


async def _give(c: Conditions, w: Work, *, renew: bool) -> Answer:
    chain = await chain_of(c, w)
    at = moment(w.now, c.occurred_at)
    given = refs(purposes.pick(await tree(w), c.purposes))
    terms = await _terms(c, w, at)
    events = consent.give(chain.state, link(c, w, chain, at), purposes=given, channel=c.channel, terms=terms, renew=renew)
    record(w, chain, events)
    return answer(chain)


class GiveConsent(Conditions):
    pass


@command(
    "consent.give",
    "POST /contacts/{id}/consent:give",
    permission="consent:write",
    title="Record a consent",
    target=CONSENT,
    undoable=False,
)
async def give(c: GiveConsent, w: Work) -> Answer:
    """Record that a person consented to these purposes over this channel, and to no others. Other terms than those that stand are
    recorded as a renewal; the same terms record nothing."""
    return await _give(c, w, renew=False)


class RenewConsent(Conditions):
    pass


@command(
    "consent.renew",
    "POST /contacts/{id}/consent:renew",
    permission="consent:write",
    title="Renew a consent",
    target=CONSENT,
    undoable=False,
)
async def renew(c: RenewConsent, w: Work) -> Answer:
    """Record that a person said yes again to what stands, even on the same terms."""
    return await _give(c, w, renew=True)


class RefuseConsent(OverChannel):
    pass


@command(
    "consent.refuse",
    "POST /contacts/{id}/consent:refuse",
    permission="consent:write",
    title="Record a refusal",
    target=CONSENT,
    undoable=False,
)
async def refuse(c: RefuseConsent, w: Work) -> Answer:
    """Record that the person said no to these purposes, asked or not."""
    return await over_channel(c, w, consent.refuse)


class DeferConsent(OverChannel):
    pass


@command(
    "consent.defer",
    "POST /contacts/{id}/consent:defer",
    permission="consent:write",
    title="Record that the person decides later",
    target=CONSENT,
    undoable=False,
)
async def defer(c: DeferConsent, w: Work) -> Answer:
    """Record that the person put off the answer. The request stays open until its time is over."""
    return await over_channel(c, w, consent.defer)
