"""Commands of a contact's consent. Each adds to the contact's chain; a late act is recorded with its own time (`occurred_at`)."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Annotated, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, IPvAnyAddress, StringConstraints, model_validator

from commands.kernel import Answer, Command, Entity, Work, command
from commands.notices import Language, Sha256
from commands.purposes import Key
from domain import consent, notices, purposes
from domain.consent import CONSENT, Consent
from domain.consent.events import Event
from domain.consent.words import (
    Capture,
    Channel,
    CollectionMethod,
    ConsentType,
    Evidence,
    ImpliedBy,
    Notice,
    PurposeRef,
    RecordId,
    Suppression,
    Terms,
    moment,
    same_point,
)
from domain.contacts import CONTACT
from domain.notices import NOTICE
from domain.purposes import PURPOSES, Purpose, Tree

Chain = Entity[Consent, Event]

Line = r"^[^\x00-\x1f\x7f]+$"
Keys = Annotated[tuple[Key, ...], Field(min_length=1, max_length=100)]


class EvidenceOf(BaseModel):
    """A file that shows it, by the SHA-256 of its bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: Sha256
    media_type: Annotated[str, StringConstraints(pattern=r"^[a-z]+/[A-Za-z0-9][A-Za-z0-9.+_-]{0,100}$")]


class NoticeSeen(BaseModel):
    """The notice the person saw: the version in force at the time, in its first language, unless said otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: UUID
    version: Annotated[int, Field(ge=1, le=notices.VERSIONS)] | None = None
    language: Language | None = None


class Act(Command):
    """`id` is the contact's. What is personal here (address, browser, contact point, name, remark) is sealed as evidence."""

    id: UUID
    collection_method: CollectionMethod | None = None
    capture_source: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=Line)] | None = None
    evidence: Annotated[tuple[EvidenceOf, ...], Field(max_length=20)] = ()
    import_batch: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:/-]{1,100}$")] | None = None
    ip_address: IPvAnyAddress | None = None
    user_agent: Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=Line)] | None = None
    contact_point: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00]+$")] | None = None
    display_name: Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=Line)] | None = None
    remark: Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=r"^[^\x00]+$")] | None = None


class TimedAct(Act):
    occurred_at: AwareDatetime | None = None


class OverChannel(TimedAct):
    purposes: Keys
    channel: Channel


class Conditions(OverChannel):
    consent_type: ConsentType = ConsentType.EXPRESSED
    legal_basis: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,19}:[A-Za-z0-9.-]{1,40}$")] = "eu-gdpr:A6-1-a"
    jurisdiction: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")] | None = None
    notice: NoticeSeen | None = None
    implied_by: ImpliedBy | None = None
    effective_to: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None


async def _chain(c: Act, w: Work) -> Chain:
    """The contact's chain. The contact is looked up only while there is no chain: a chain proves that it exists."""
    chain = await w.find(CONSENT, c.id)
    if chain.version == 0:
        await w.load(CONTACT, c.id)
    return chain


async def _tree(w: Work) -> Tree:
    return (await w.find(PURPOSES, w.firm)).state


def _refs(found: Iterable[Purpose]) -> tuple[PurposeRef, ...]:
    return tuple(PurposeRef(key=p.key, dpv=p.dpv, purpose_version=p.version) for p in found)


def _capture(c: Act, w: Work) -> Capture:
    batch = c.import_batch
    if batch is None and w.origin is not None and w.origin.startswith("import"):
        batch = w.origin
    return Capture(
        controller=w.firm,
        actor=w.actor.kind,
        collection_method=c.collection_method,
        capture_source=c.capture_source,
        evidence=tuple(Evidence(sha256=e.sha256, media_type=e.media_type) for e in c.evidence),
        import_batch=batch,
        ip_address=str(c.ip_address) if c.ip_address is not None else None,
        user_agent=c.user_agent,
        contact_point=c.contact_point,
        display_name=c.display_name,
        remark=c.remark,
    )


def _point(c: Act, w: Work, channel: Channel) -> UUID | None:
    """The keyed reference of the contact point, the same for every spelling of it; it means nothing beyond this contact."""
    if c.contact_point is None:
        return None
    return w.derive_id("consent-contact-point", str(c.id), channel, same_point(channel, c.contact_point))


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
        contact_point_ref=_point(c, w, c.channel),
        implied_by=c.implied_by,
        effective_to=c.effective_to,
        expires_at=c.expires_at,
    )


def _record(w: Work, chain: Chain, events: list[Event]) -> bool:
    for e in events:
        w.record(chain, [e], occurred_at=e.effective_from)
    return bool(events)


def _record_all(w: Work, chain: Chain, decide: Callable[[RecordId, str | None], list[Event]]) -> None:
    """Decide again until nothing is left: each event needs the hash of the one before."""
    while _record(w, chain, decide(_new(w), chain.leaf_hash)):
        pass


def _new(w: Work) -> RecordId:
    return RecordId(w.new_id())


def _answer(chain: Chain) -> Answer:
    return {"id": str(chain.id), "seq": chain.state.seq, "head": chain.leaf_hash}


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
    chain = await _chain(c, w)
    at = moment(w.now, c.occurred_at)
    asked = _refs(purposes.pick(await _tree(w), c.purposes))
    token = w.new_secret() if c.double_opt_in else None
    record_id = _new(w)
    events = consent.request(
        chain.state,
        purposes=asked,
        channel=c.channel,
        terms=await _terms(c, w, at),
        at=at,
        answer_by=at + timedelta(hours=c.answer_within_hours),
        token=token,
        resend=c.resend,
        capture=_capture(c, w),
        record_id=record_id,
        prev=chain.leaf_hash,
    )
    _record(w, chain, events)
    if token is not None:
        w.shown_once["token"] = token
    return {**(_answer(chain) or {}), "request": str(record_id)}


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
    chain = await _chain(c, w)
    events = consent.confirm(chain.state, token=c.token, at=w.now, capture=_capture(c, w), record_id=_new(w), prev=chain.leaf_hash)
    asked = consent.requested_with(chain.state, c.token)
    keys = tuple(p.key for p in asked.purposes) if asked is not None else ()
    purposes.pick(await _tree(w), keys)
    if asked is not None and asked.terms.notice is not None:
        seen = asked.terms.notice
        notice = await w.load(NOTICE, seen.id)
        notices.show(notice.state, version=seen.version, language=seen.language, purposes=keys, at=w.now)
    _record(w, chain, events)
    return _answer(chain)


async def _give(c: Conditions, w: Work, *, renew: bool) -> Answer:
    chain = await _chain(c, w)
    at = moment(w.now, c.occurred_at)
    events = consent.give(
        chain.state,
        purposes=_refs(purposes.pick(await _tree(w), c.purposes)),
        channel=c.channel,
        terms=await _terms(c, w, at),
        at=at,
        renew=renew,
        capture=_capture(c, w),
        record_id=_new(w),
        prev=chain.leaf_hash,
    )
    _record(w, chain, events)
    return _answer(chain)


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
    chain = await _chain(c, w)
    events = consent.refuse(
        chain.state,
        purposes=_refs(purposes.known(await _tree(w), c.purposes)),
        channel=c.channel,
        at=moment(w.now, c.occurred_at),
        capture=_capture(c, w),
        record_id=_new(w),
        prev=chain.leaf_hash,
    )
    _record(w, chain, events)
    return _answer(chain)


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
    chain = await _chain(c, w)
    events = consent.defer(
        chain.state,
        purposes=_refs(purposes.known(await _tree(w), c.purposes)),
        channel=c.channel,
        at=moment(w.now, c.occurred_at),
        capture=_capture(c, w),
        record_id=_new(w),
        prev=chain.leaf_hash,
    )
    _record(w, chain, events)
    return _answer(chain)


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
    chain = await _chain(c, w)
    covered = _refs(purposes.below(await _tree(w), c.purposes))
    at = moment(w.now, c.occurred_at)
    channels = (c.channel,) if c.channel is not None else consent.channels_known(chain.state, covered)
    for channel in channels:
        events = consent.withdraw(
            chain.state,
            purposes=covered,
            channel=channel,
            at=at,
            capture=_capture(c, w),
            record_id=_new(w),
            prev=chain.leaf_hash,
        )
        _record(w, chain, events)
    return _answer(chain)


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
    chain = await _chain(c, w)
    covered = _refs(purposes.sold(await _tree(w)))
    at = moment(w.now, c.occurred_at)
    for channel in Channel if covered else ():
        events = consent.withdraw(
            chain.state,
            purposes=covered,
            channel=channel,
            at=at,
            capture=_capture(c, w),
            record_id=_new(w),
            prev=chain.leaf_hash,
        )
        _record(w, chain, events)
    return _answer(chain)


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
    chain = await _chain(c, w)
    events = consent.revoke(
        chain.state,
        purposes=_refs(purposes.known(await _tree(w), c.purposes)),
        channel=c.channel,
        at=moment(w.now, c.occurred_at),
        capture=_capture(c, w),
        record_id=_new(w),
        prev=chain.leaf_hash,
    )
    _record(w, chain, events)
    return _answer(chain)


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
    chain = await _chain(c, w)
    named, capture = _refs(purposes.known(await _tree(w), c.purposes)), _capture(c, w)
    _record_all(
        w,
        chain,
        lambda record_id, prev: consent.invalidate(
            chain.state, purposes=named, channel=c.channel, at=w.now, capture=capture, record_id=record_id, prev=prev
        ),
    )
    return _answer(chain)


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
    chain = await _chain(c, w)
    capture = _capture(c, w)
    _record_all(
        w,
        chain,
        lambda record_id, prev: consent.expire(chain.state, at=w.now, capture=capture, record_id=record_id, prev=prev),
    )
    return _answer(chain)


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
    chain = await _chain(c, w)
    notice = await w.load(NOTICE, c.notice)
    capture = _capture(c, w)
    for version in notices.material_versions(notice.state):

        def decide(record_id: RecordId, prev: str | None, version: notices.Version = version) -> list[Event]:
            return consent.supersede(
                chain.state,
                notice_id=notice.id,
                version=version.number,
                new_purposes=frozenset(version.new_purposes),
                at=version.published_at,
                capture=capture,
                record_id=record_id,
                prev=prev,
            )

        _record_all(w, chain, decide)
    return _answer(chain)


class Silencing(TimedAct):
    reason: Suppression
    channel: Channel | None = None

    @model_validator(mode="after")
    def _point_needs_channel(self) -> Self:
        if self.contact_point is not None and self.channel is None:
            raise ValueError("a contact point belongs to a channel; name the channel too")
        return self


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
    chain = await _chain(c, w)
    events = consent.suppress(
        chain.state,
        reason=c.reason,
        channel=c.channel,
        contact_point_ref=_point(c, w, c.channel) if c.channel is not None else None,
        at=moment(w.now, c.occurred_at),
        capture=_capture(c, w),
        record_id=_new(w),
        prev=chain.leaf_hash,
    )
    _record(w, chain, events)
    return _answer(chain)


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
    chain = await _chain(c, w)
    events = consent.lift(
        chain.state,
        reason=c.reason,
        channel=c.channel,
        contact_point_ref=_point(c, w, c.channel) if c.channel is not None else None,
        at=moment(w.now, c.occurred_at),
        capture=_capture(c, w),
        record_id=_new(w),
        prev=chain.leaf_hash,
    )
    _record(w, chain, events)
    return _answer(chain)
