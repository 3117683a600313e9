"""What may happen to a contact's consent. Each decision adds at most one link, because the next one needs its hash."""

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from domain.consent.events import (
    ConsentConfirmed,
    ConsentDeferred,
    ConsentExpired,
    ConsentGiven,
    ConsentInvalidated,
    ConsentRefused,
    ConsentRequested,
    ConsentRevoked,
    ConsentSuperseded,
    ConsentWithdrawn,
    ContactSuppressed,
    Event,
    SuppressionLifted,
)
from domain.consent.refusals import (
    ConsentStands,
    EndsBeforeItBegins,
    ImpliedIsNoConsent,
    ImpliedIsUndated,
    ImportNeverOverwrites,
    IsSuppressed,
    MustBeExplicit,
    NoLiveRequest,
    NotGiven,
    NothingAsked,
    NothingToWithdraw,
    NoticeMissing,
    NotImplied,
    PersonMustAsk,
    RequestHasExpired,
    RequestIsPending,
    TokenNeedsAddress,
    TokenUnknown,
    TokenUsed,
)
from domain.consent.state import Consent, Request, Standing, muted, standing
from domain.consent.words import (
    BY_THE_PERSON,
    CONSENT_BASES,
    EXPLICIT_BASES,
    SAID_NO,
    Capture,
    Channel,
    ConsentType,
    DoubleOptIn,
    Link,
    PurposeRef,
    Status,
    Suppression,
    Terms,
    add_months,
    token_digest,
)


def request(
    consent: Consent,
    link: Link,
    *,
    purposes: Sequence[PurposeRef],
    channel: Channel,
    terms: Terms,
    answer_by: datetime,
    token: str | None,
    resend: bool,
) -> list[Event]:
    terms = _sound(terms, link.at, link.capture)
    if answer_by <= link.at:
        raise EndsBeforeItBegins
    if token is not None and terms.contact_point_ref is None:
        raise TokenNeedsAddress
    _no_import_over_a_no(consent, link, purposes, channel)
    reasons = consent.suppressed(channel, terms.contact_point_ref, link.at)
    if reasons:
        raise IsSuppressed(reasons=list(reasons))
    pending = [r for p in purposes if (r := consent.at(p.key, channel, link.at).request) is not None]
    if pending and not resend:
        raise RequestIsPending(answer_by=max(r.until for r in pending if r.until is not None).isoformat())
    digest = token_digest(token, terms.contact_point_ref) if token is not None and terms.contact_point_ref is not None else None
    return [
        ConsentRequested(
            **_members(consent, link),
            **_terms(terms),
            purposes=tuple(purposes),
            channel=channel,
            answer_by=answer_by,
            token_sha256=digest,
        )
    ]


def confirm(consent: Consent, link: Link, *, token: str) -> list[Event]:
    asked = requested_with(consent, token)
    if asked is None:
        raise TokenUnknown
    if asked.confirmed:
        raise TokenUsed
    if asked.answer_by <= link.at:
        raise RequestHasExpired(answer_by=asked.answer_by.isoformat())
    stands = {p: consent.at(p.key, asked.channel, link.at) for p in asked.purposes}
    live = tuple(p for p, s in stands.items() if s.request is not None and s.request.record_id == asked.record_id)
    if not live:
        raise NoLiveRequest
    terms = _sound(asked.terms, link.at, link.capture)
    return [
        ConsentConfirmed(
            **_members(consent, link),
            **_terms(terms),
            purposes=live,
            channel=asked.channel,
            status="renewed" if all(stands[p].valid for p in live) else "given",
            double_opt_in=DoubleOptIn(requested_event=asked.record_id, confirmed_at=link.at),
        )
    ]


def give(
    consent: Consent, link: Link, *, purposes: Sequence[PurposeRef], channel: Channel, terms: Terms, renew: bool
) -> list[Event]:
    terms = _sound(terms, link.at, link.capture)
    _no_import_over_a_no(consent, link, purposes, channel)
    stands = {p: consent.at(p.key, channel, link.at) for p in purposes}
    if renew and not all(s.valid for s in stands.values()):
        raise NotGiven(purposes=[p.key for p, s in stands.items() if not s.valid])
    fresh = tuple(p for p, s in stands.items() if _adds(p, s, terms, link.at, renew=renew, imported=link.capture.imported))
    if not fresh:
        return []
    return [
        ConsentGiven(
            **_members(consent, link),
            **_terms(terms),
            purposes=fresh,
            channel=channel,
            status="renewed" if all(stands[p].valid for p in fresh) else "given",
        )
    ]


def refuse(consent: Consent, link: Link, *, purposes: Sequence[PurposeRef], channel: Channel) -> list[Event]:
    stands = {p: consent.at(p.key, channel, link.at) for p in purposes}
    given = [p.key for p, s in stands.items() if s.valid]
    if given:
        raise ConsentStands(purposes=given)
    fresh = tuple(p for p, s in stands.items() if s.status not in SAID_NO or s.request is not None)
    if not fresh:
        return []
    return [ConsentRefused(**_members(consent, link), purposes=fresh, channel=channel)]


def defer(consent: Consent, link: Link, *, purposes: Sequence[PurposeRef], channel: Channel) -> list[Event]:
    stands = {p: consent.at(p.key, channel, link.at) for p in purposes}
    unasked = [p.key for p, s in stands.items() if s.request is None]
    if unasked:
        raise NothingAsked(purposes=unasked)
    fresh = tuple(p for p, s in stands.items() if s.status is Status.REQUESTED)
    if not fresh:
        return []
    return [ConsentDeferred(**_members(consent, link), purposes=fresh, channel=channel)]


def withdraw(consent: Consent, link: Link, *, purposes: Sequence[PurposeRef], channel: Channel) -> list[Event]:
    """`purposes` are those the person named and all below them."""
    stands = {p: consent.at(p.key, channel, link.at) for p in purposes}
    fresh = tuple(p for p, s in stands.items() if s.status not in SAID_NO or s.request is not None)
    if not fresh:
        return []
    return [ConsentWithdrawn(**_members(consent, link), purposes=fresh, channel=channel)]


def channels_known(consent: Consent, purposes: Iterable[PurposeRef]) -> tuple[Channel, ...]:
    """The channels over which anything was ever asked, given or refused for these purposes: where "everywhere" is."""
    keys = {p.key for p in purposes}
    found = tuple(sorted({channel for key, channel in consent.marks if key in keys}))
    if not found:
        raise NothingToWithdraw
    return found


def revoke(consent: Consent, link: Link, *, purposes: Sequence[PurposeRef], channel: Channel) -> list[Event]:
    stands = {p: consent.at(p.key, channel, link.at) for p in purposes}
    fresh = tuple(p for p, s in stands.items() if s.valid or s.request is not None)
    if not fresh and not any(s.status is Status.REVOKED for s in stands.values()):
        raise NotGiven(purposes=[p.key for p in purposes])
    if not fresh:
        return []
    return [ConsentRevoked(**_members(consent, link), purposes=fresh, channel=channel)]


def invalidate(consent: Consent, link: Link, *, purposes: Sequence[PurposeRef], channel: Channel) -> list[Event]:
    """Ends, from its beginning, the earliest grant among those that stand at the link's time; call again until nothing is left."""
    stands = {p: consent.at(p.key, channel, link.at) for p in purposes}
    began = [s.since for s in stands.values() if s.valid and s.since is not None]
    if not began:
        if any(s.status is Status.INVALIDATED for s in stands.values()):
            return []
        raise NotGiven(purposes=[p.key for p in purposes])
    since = min(began)
    fresh = tuple(p for p, s in stands.items() if s.valid and s.since == since)
    return [ConsentInvalidated(**_members(consent, replace(link, at=since)), purposes=fresh, channel=channel)]


def expire(consent: Consent, link: Link) -> list[Event]:
    """Notes the earliest expiry that no event says yet, at the time it took place; call again until nothing is left."""
    due = [
        (s.since, channel, marks[-1].purpose)
        for (_, channel), marks in consent.marks.items()
        if not (s := standing(marks, link.at)).noted and s.since is not None
    ]
    if not due:
        return []
    since, channel = min((since, channel) for since, channel, _ in due)
    purposes = tuple(p for s, c, p in due if (s, c) == (since, channel))
    return [ConsentExpired(**_members(consent, replace(link, at=since)), purposes=purposes, channel=channel)]


def supersede(consent: Consent, link: Link, *, notice_id: UUID, version: int, new_purposes: frozenset[str]) -> list[Event]:
    """Ends what was given on an earlier version of a notice, for the purposes to which version `version` (material, published at the
    link's time) gives another meaning, over the first channel where it stands; call again until nothing is left."""
    due = [
        (channel, grant.purpose)
        for (key, channel), marks in consent.marks.items()
        if key in new_purposes
        and (s := standing(marks, link.at)).valid
        and (grant := s.grant) is not None
        and grant.terms is not None
        and (notice := grant.terms.notice) is not None
        and notice.id == notice_id
        and notice.version < version
    ]
    if not due:
        return []
    channel = min(c for c, _ in due)
    return [
        ConsentSuperseded(
            **_members(consent, link),
            purposes=tuple(p for c, p in due if c == channel),
            channel=channel,
            notice_id=notice_id,
            notice_version=version,
        )
    ]


def suppress(
    consent: Consent, link: Link, *, reason: Suppression, channel: Channel | None, contact_point_ref: UUID | None
) -> list[Event]:
    if muted(consent.mutings.get((reason, channel, contact_point_ref), ()), link.at):
        return []
    return [ContactSuppressed(**_members(consent, link), reason=reason, channel=channel, contact_point_ref=contact_point_ref)]


def lift(
    consent: Consent, link: Link, *, reason: Suppression, channel: Channel | None, contact_point_ref: UUID | None
) -> list[Event]:
    if not muted(consent.mutings.get((reason, channel, contact_point_ref), ()), link.at):
        return []
    asked_for = link.capture.actor == "person" or bool(link.capture.evidence)
    if reason in BY_THE_PERSON and (link.capture.imported or not asked_for):
        raise PersonMustAsk
    return [SuppressionLifted(**_members(consent, link), reason=reason, channel=channel, contact_point_ref=contact_point_ref)]


def requested_with(consent: Consent, token: str) -> Request | None:
    """The request whose token this is, compared in constant time, or None."""
    for asked in consent.requests.values():
        bound_to = asked.terms.contact_point_ref
        if asked.token_sha256 is None or bound_to is None:
            continue
        if hmac.compare_digest(asked.token_sha256, token_digest(token, bound_to)):
            return asked
    return None


def _sound(terms: Terms, at: datetime, capture: Capture) -> Terms:
    """The terms with the date that CASL gives implied consent, or a refusal of what no law would call consent."""
    if terms.implied_by is not None and terms.consent_type is not ConsentType.IMPLIED:
        raise NotImplied
    if terms.consent_type is ConsentType.IMPLIED:
        if terms.legal_basis in CONSENT_BASES:
            raise ImpliedIsNoConsent
        if terms.implied_by is not None:
            latest = add_months(at, 6 if terms.implied_by == "inquiry" else 24)
            terms = replace(terms, expires_at=min(terms.expires_at or latest, latest))
        elif terms.expires_at is None:
            raise ImpliedIsUndated
    if terms.legal_basis in EXPLICIT_BASES and terms.consent_type is not ConsentType.EXPLICIT:
        raise MustBeExplicit
    if terms.legal_basis in CONSENT_BASES and terms.notice is None and not capture.imported:
        raise NoticeMissing
    if terms.until is not None and terms.until <= at:
        raise EndsBeforeItBegins
    return terms


def _no_import_over_a_no(consent: Consent, link: Link, purposes: Sequence[PurposeRef], channel: Channel) -> None:
    if link.capture.imported:
        said_no = [p.key for p in purposes if consent.at(p.key, channel, link.at).status in SAID_NO]
        if said_no:
            raise ImportNeverOverwrites(purposes=said_no)


def _adds(purpose: PurposeRef, now: Standing, terms: Terms, at: datetime, *, renew: bool, imported: bool) -> bool:
    """Whether a grant says anything that does not stand already. An import adds to what is missing and alters nothing."""
    if not now.valid or now.grant is None:
        return True
    if imported:
        return False
    return (now.grant.terms, now.grant.purpose) != (terms, purpose) or (renew and now.since != at)


def _members(consent: Consent, link: Link) -> dict[str, Any]:
    """The members every event of the chain has, by name: the one place where `seq` and `prev` are set."""
    capture = link.capture
    return {
        "record_id": link.record_id,
        "seq": consent.seq + 1,
        "prev": link.prev if consent.seq else None,
        "effective_from": link.at,
        "controller": capture.controller,
        "actor": capture.actor,
        "collection_method": capture.collection_method,
        "capture_source": capture.capture_source,
        "evidence": capture.evidence,
        "import_batch": capture.import_batch,
        "ip_address": capture.ip_address,
        "user_agent": capture.user_agent,
        "contact_point": capture.contact_point,
        "display_name": capture.display_name,
        "remark": capture.remark,
    }


def _terms(terms: Terms) -> dict[str, Any]:
    return {
        "consent_type": terms.consent_type,
        "legal_basis": terms.legal_basis,
        "jurisdiction": terms.jurisdiction,
        "notice": terms.notice,
        "contact_point_ref": terms.contact_point_ref,
        "implied_by": terms.implied_by,
        "effective_to": terms.effective_to,
        "expires_at": terms.expires_at,
    }
