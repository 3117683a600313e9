"""What may happen to a contact's consent. Each decision adds at most one link, because the next one needs its hash.

`prev` is the leaf hash of the chain's last event and `record_id` a fresh id; `at` is when the act took place.
"""

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
    PurposeRef,
    RecordId,
    Status,
    Suppression,
    Terms,
    add_months,
    token_digest,
)
from domain.kernel import Invalid, Refused

# --- refusals


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


# --- decisions


def request(
    consent: Consent,
    *,
    purposes: Sequence[PurposeRef],
    channel: Channel,
    terms: Terms,
    at: datetime,
    answer_by: datetime,
    token: str | None,
    resend: bool,
    capture: Capture,
    record_id: RecordId,
    prev: str | None,
) -> list[Event]:
    terms = _sound(terms, at, capture)
    if answer_by <= at:
        raise EndsBeforeItBegins
    if token is not None and terms.contact_point_ref is None:
        raise TokenNeedsAddress
    _no_import_over_a_no(consent, purposes, channel, at, capture)
    reasons = consent.suppressed(channel, terms.contact_point_ref, at)
    if reasons:
        raise IsSuppressed(reasons=list(reasons))
    pending = [r for p in purposes if (r := consent.at(p.key, channel, at).request) is not None]
    if pending and not resend:
        raise RequestIsPending(answer_by=max(r.until for r in pending if r.until is not None).isoformat())
    digest = token_digest(token, terms.contact_point_ref) if token is not None and terms.contact_point_ref is not None else None
    return [
        ConsentRequested(
            **_link(consent, capture, record_id, prev, at),
            **_terms(terms),
            purposes=tuple(purposes),
            channel=channel,
            answer_by=answer_by,
            token_sha256=digest,
        )
    ]


def confirm(consent: Consent, *, token: str, at: datetime, capture: Capture, record_id: RecordId, prev: str | None) -> list[Event]:
    asked = requested_with(consent, token)
    if asked is None:
        raise TokenUnknown
    if asked.confirmed:
        raise TokenUsed
    if asked.answer_by <= at:
        raise RequestHasExpired(answer_by=asked.answer_by.isoformat())
    stands = {p: consent.at(p.key, asked.channel, at) for p in asked.purposes}
    live = tuple(p for p, s in stands.items() if s.request is not None and s.request.record_id == asked.record_id)
    if not live:
        raise NoLiveRequest
    terms = _sound(asked.terms, at, capture)
    return [
        ConsentConfirmed(
            **_link(consent, capture, record_id, prev, at),
            **_terms(terms),
            purposes=live,
            channel=asked.channel,
            status="renewed" if all(stands[p].valid for p in live) else "given",
            double_opt_in=DoubleOptIn(requested_event=asked.record_id, confirmed_at=at),
        )
    ]


def give(
    consent: Consent,
    *,
    purposes: Sequence[PurposeRef],
    channel: Channel,
    terms: Terms,
    at: datetime,
    renew: bool,
    capture: Capture,
    record_id: RecordId,
    prev: str | None,
) -> list[Event]:
    terms = _sound(terms, at, capture)
    _no_import_over_a_no(consent, purposes, channel, at, capture)
    stands = {p: consent.at(p.key, channel, at) for p in purposes}
    if renew and not all(s.valid for s in stands.values()):
        raise NotGiven(purposes=[p.key for p, s in stands.items() if not s.valid])
    fresh = tuple(p for p, s in stands.items() if _adds(p, s, terms, at, renew=renew, imported=capture.imported))
    if not fresh:
        return []
    return [
        ConsentGiven(
            **_link(consent, capture, record_id, prev, at),
            **_terms(terms),
            purposes=fresh,
            channel=channel,
            status="renewed" if all(stands[p].valid for p in fresh) else "given",
        )
    ]


def refuse(
    consent: Consent,
    *,
    purposes: Sequence[PurposeRef],
    channel: Channel,
    at: datetime,
    capture: Capture,
    record_id: RecordId,
    prev: str | None,
) -> list[Event]:
    stands = {p: consent.at(p.key, channel, at) for p in purposes}
    given = [p.key for p, s in stands.items() if s.valid]
    if given:
        raise ConsentStands(purposes=given)
    fresh = tuple(p for p, s in stands.items() if s.status not in SAID_NO or s.request is not None)
    if not fresh:
        return []
    return [ConsentRefused(**_link(consent, capture, record_id, prev, at), purposes=fresh, channel=channel)]


def defer(
    consent: Consent,
    *,
    purposes: Sequence[PurposeRef],
    channel: Channel,
    at: datetime,
    capture: Capture,
    record_id: RecordId,
    prev: str | None,
) -> list[Event]:
    stands = {p: consent.at(p.key, channel, at) for p in purposes}
    unasked = [p.key for p, s in stands.items() if s.request is None]
    if unasked:
        raise NothingAsked(purposes=unasked)
    fresh = tuple(p for p, s in stands.items() if s.status is Status.REQUESTED)
    if not fresh:
        return []
    return [ConsentDeferred(**_link(consent, capture, record_id, prev, at), purposes=fresh, channel=channel)]


def withdraw(
    consent: Consent,
    *,
    purposes: Sequence[PurposeRef],
    channel: Channel,
    at: datetime,
    capture: Capture,
    record_id: RecordId,
    prev: str | None,
) -> list[Event]:
    """`purposes` are those the person named and all below them."""
    stands = {p: consent.at(p.key, channel, at) for p in purposes}
    fresh = tuple(p for p, s in stands.items() if s.status not in SAID_NO or s.request is not None)
    if not fresh:
        return []
    return [ConsentWithdrawn(**_link(consent, capture, record_id, prev, at), purposes=fresh, channel=channel)]


def channels_known(consent: Consent, purposes: Iterable[PurposeRef]) -> tuple[Channel, ...]:
    """The channels over which anything was ever asked, given or refused for these purposes: where "everywhere" is."""
    keys = {p.key for p in purposes}
    found = tuple(sorted({channel for key, channel in consent.marks if key in keys}))
    if not found:
        raise NothingToWithdraw
    return found


def revoke(
    consent: Consent,
    *,
    purposes: Sequence[PurposeRef],
    channel: Channel,
    at: datetime,
    capture: Capture,
    record_id: RecordId,
    prev: str | None,
) -> list[Event]:
    stands = {p: consent.at(p.key, channel, at) for p in purposes}
    fresh = tuple(p for p, s in stands.items() if s.valid or s.request is not None)
    if not fresh and not any(s.status is Status.REVOKED for s in stands.values()):
        raise NotGiven(purposes=[p.key for p in purposes])
    if not fresh:
        return []
    return [ConsentRevoked(**_link(consent, capture, record_id, prev, at), purposes=fresh, channel=channel)]


def invalidate(
    consent: Consent,
    *,
    purposes: Sequence[PurposeRef],
    channel: Channel,
    at: datetime,
    capture: Capture,
    record_id: RecordId,
    prev: str | None,
) -> list[Event]:
    """Ends, from its beginning, the earliest grant among those that stand at `at`; call again until nothing is left."""
    stands = {p: consent.at(p.key, channel, at) for p in purposes}
    began = [s.since for s in stands.values() if s.valid and s.since is not None]
    if not began:
        if any(s.status is Status.INVALIDATED for s in stands.values()):
            return []
        raise NotGiven(purposes=[p.key for p in purposes])
    since = min(began)
    fresh = tuple(p for p, s in stands.items() if s.valid and s.since == since)
    return [ConsentInvalidated(**_link(consent, capture, record_id, prev, since), purposes=fresh, channel=channel)]


def expire(consent: Consent, *, at: datetime, capture: Capture, record_id: RecordId, prev: str | None) -> list[Event]:
    """Notes the earliest expiry that no event says yet, at the time it took place; call again until nothing is left."""
    due = [
        (s.since, channel, marks[-1].purpose)
        for (_, channel), marks in consent.marks.items()
        if not (s := standing(marks, at)).noted and s.since is not None
    ]
    if not due:
        return []
    since, channel = min((since, channel) for since, channel, _ in due)
    purposes = tuple(p for s, c, p in due if (s, c) == (since, channel))
    return [ConsentExpired(**_link(consent, capture, record_id, prev, since), purposes=purposes, channel=channel)]


def supersede(
    consent: Consent,
    *,
    notice_id: UUID,
    version: int,
    new_purposes: frozenset[str],
    at: datetime,
    capture: Capture,
    record_id: RecordId,
    prev: str | None,
) -> list[Event]:
    """Ends what was given on an earlier version of a notice, for the purposes to which version `version` (material, published at
    `at`) gives another meaning, over the first channel where it stands; call again until nothing is left."""
    due = [
        (channel, grant.purpose)
        for (key, channel), marks in consent.marks.items()
        if key in new_purposes
        and (s := standing(marks, at)).valid
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
            **_link(consent, capture, record_id, prev, at),
            purposes=tuple(p for c, p in due if c == channel),
            channel=channel,
            notice_id=notice_id,
            notice_version=version,
        )
    ]


def suppress(
    consent: Consent,
    *,
    reason: Suppression,
    channel: Channel | None,
    contact_point_ref: UUID | None,
    at: datetime,
    capture: Capture,
    record_id: RecordId,
    prev: str | None,
) -> list[Event]:
    if muted(consent.mutings.get((reason, channel, contact_point_ref), ()), at):
        return []
    return [
        ContactSuppressed(
            **_link(consent, capture, record_id, prev, at), reason=reason, channel=channel, contact_point_ref=contact_point_ref
        )
    ]


def lift(
    consent: Consent,
    *,
    reason: Suppression,
    channel: Channel | None,
    contact_point_ref: UUID | None,
    at: datetime,
    capture: Capture,
    record_id: RecordId,
    prev: str | None,
) -> list[Event]:
    if not muted(consent.mutings.get((reason, channel, contact_point_ref), ()), at):
        return []
    asked_for = capture.actor == "person" or bool(capture.evidence)
    if reason in BY_THE_PERSON and (capture.imported or not asked_for):
        raise PersonMustAsk
    return [
        SuppressionLifted(
            **_link(consent, capture, record_id, prev, at), reason=reason, channel=channel, contact_point_ref=contact_point_ref
        )
    ]


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


def _no_import_over_a_no(
    consent: Consent, purposes: Sequence[PurposeRef], channel: Channel, at: datetime, capture: Capture
) -> None:
    if capture.imported:
        said_no = [p.key for p in purposes if consent.at(p.key, channel, at).status in SAID_NO]
        if said_no:
            raise ImportNeverOverwrites(purposes=said_no)


def _adds(purpose: PurposeRef, now: Standing, terms: Terms, at: datetime, *, renew: bool, imported: bool) -> bool:
    """Whether a grant says anything that does not stand already. An import adds to what is missing and alters nothing."""
    if not now.valid or now.grant is None:
        return True
    if imported:
        return False
    return (now.grant.terms, now.grant.purpose) != (terms, purpose) or (renew and now.since != at)


def _link(consent: Consent, capture: Capture, record_id: RecordId, prev: str | None, at: datetime) -> dict[str, Any]:
    """The members every event of the chain has, by name: the one place where `seq` and `prev` are set."""
    return {
        "record_id": record_id,
        "seq": consent.seq + 1,
        "prev": prev if consent.seq else None,
        "effective_from": at,
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
