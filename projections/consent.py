"""Views of consent: how each (contact, purpose, channel) stands, who is suppressed, and every link of every chain.

A row of `consents` says how things stood when its last event was recorded; what time has ended since then shows in `expires_at` and
`request_expires_at`, and readers compare them with their own moment.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid5

from domain.consent.events import (
    AboutPurposes,
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
    Linked,
    OnTerms,
    SuppressionLifted,
)
from domain.consent.state import Mark, Muting, mark_of, muted, muting_of, standing, with_mark, with_muting
from domain.consent.words import Channel, Evidence, PurposeRef, Suppression
from domain.kernel import Personal
from projections.kernel import Recorded, View, view

EVIDENCE = Personal(subject="contact", purpose="statutory")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRow:
    """`marks` are all acts upon this purpose and channel, in the order in which they happened; `decided_by` and `decided_seq` are the record
    id and the number of the one that made the status what it is."""

    contact: UUID
    purpose: str
    dpv: str
    purpose_version: int
    channel: Channel
    status: str
    since: datetime | None = None
    expires_at: datetime | None = None
    request_expires_at: datetime | None = None
    double_opt_in: bool = False
    consent_type: str | None = None
    legal_basis: str | None = None
    jurisdiction: str | None = None
    notice: UUID | None = None
    notice_version: int | None = None
    notice_language: str | None = None
    notice_sha256: str | None = None
    contact_point_ref: UUID | None = None
    contact_point: Annotated[str | None, EVIDENCE] = None
    last_event: str
    last_record: UUID
    last_seq: int
    decided_by: UUID | None = None
    decided_seq: int | None = None
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionRow:
    """No channel means every one, no contact point every address. A lifted suppression stays, inactive."""

    contact: UUID
    reason: Suppression
    channel: Channel | None = None
    contact_point_ref: UUID | None = None
    contact_point: Annotated[str | None, EVIDENCE] = None
    active: bool
    since: datetime
    last_record: UUID
    last_seq: int
    changes: tuple[Muting, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentEventRow:
    """One link of a chain, with everything it says but the digest of a confirmation token."""

    contact: UUID
    seq: int
    prev: str | None = None
    type: str
    record_id: UUID
    status: str | None = None
    reason: str | None = None
    channel: Channel | None = None
    purposes: tuple[str, ...] = ()
    purpose_refs: tuple[PurposeRef, ...] = ()
    effective_from: datetime
    recorded_at: datetime
    recorded_by: str
    actor: str
    controller: UUID
    collection_method: str | None = None
    capture_source: str | None = None
    evidence: tuple[Evidence, ...] = ()
    import_batch: str | None = None
    consent_type: str | None = None
    legal_basis: str | None = None
    jurisdiction: str | None = None
    notice: UUID | None = None
    notice_version: int | None = None
    notice_language: str | None = None
    notice_sha256: str | None = None
    contact_point_ref: UUID | None = None
    implied_by: str | None = None
    effective_to: datetime | None = None
    expires_at: datetime | None = None
    answer_by: datetime | None = None
    requested_event: UUID | None = None
    confirmed_at: datetime | None = None
    contact_point: Annotated[str | None, EVIDENCE] = None
    display_name: Annotated[str | None, EVIDENCE] = None
    ip_address: Annotated[str | None, EVIDENCE] = None
    user_agent: Annotated[str | None, EVIDENCE] = None
    remark: Annotated[str | None, EVIDENCE] = None


# --- how each purpose stands


def consent_key(contact: UUID, purpose: str, channel: Channel) -> UUID:
    """The row of a contact's purpose over a channel."""
    return uuid5(contact, f"{purpose}/{channel}")


def _consent_keys(r: Recorded) -> Iterable[UUID]:
    if isinstance(r.event, AboutPurposes):
        return [consent_key(r.stream_id, p.key, r.event.channel) for p in r.event.purposes]
    return ()


def _fold_consent(row: ConsentRow | None, key: UUID, r: Recorded) -> ConsentRow | None:
    match r.event:
        case (
            ConsentRequested()
            | ConsentConfirmed()
            | ConsentGiven()
            | ConsentRefused()
            | ConsentDeferred()
            | ConsentWithdrawn()
            | ConsentRevoked()
            | ConsentExpired()
            | ConsentSuperseded()
            | ConsentInvalidated()
        ) as e:
            purpose = next((p for p in e.purposes if consent_key(r.stream_id, p.key, e.channel) == key), None)
            if purpose is None:
                return row
            marks = with_mark(row.marks if row is not None else (), mark_of(e, purpose))
            stands = standing(marks, marks[-1].since)  # what time ends after that is for readers to see, at their moment
            basis = stands.grant or stands.request
            terms = basis.terms if basis is not None else None
            notice = terms.notice if terms is not None else None
            point = row.contact_point if row is not None else None
            if isinstance(e, OnTerms) and basis is not None and basis.seq == e.seq:
                same = row is not None and row.contact_point_ref == e.contact_point_ref
                point = e.contact_point or (point if same else None)  # a confirmation need not repeat the address it was sent to
            return ConsentRow(
                contact=r.stream_id,
                purpose=purpose.key,
                dpv=marks[-1].purpose.dpv,
                purpose_version=(basis or marks[-1]).purpose.purpose_version,
                channel=e.channel,
                status=stands.status,
                since=stands.since,
                expires_at=stands.until if stands.valid else None,
                request_expires_at=stands.request.until if stands.request is not None else None,
                double_opt_in=basis is not None and basis.confirmed,
                consent_type=terms.consent_type if terms is not None else None,
                legal_basis=terms.legal_basis if terms is not None else None,
                jurisdiction=terms.jurisdiction if terms is not None else None,
                notice=notice.id if notice is not None else None,
                notice_version=notice.version if notice is not None else None,
                notice_language=notice.language if notice is not None else None,
                notice_sha256=notice.sha256 if notice is not None else None,
                contact_point_ref=terms.contact_point_ref if terms is not None else None,
                contact_point=point,
                last_event=r.name,
                last_record=e.record_id,
                last_seq=e.seq,
                decided_by=stands.by.record_id if stands.by is not None else None,
                decided_seq=stands.by.seq if stands.by is not None else None,
                marks=marks,
            )
        case _:
            return row


# --- who is suppressed


def suppression_key(contact: UUID, reason: Suppression, channel: Channel | None, contact_point_ref: UUID | None) -> UUID:
    """The row of a contact's suppression for a reason, over a channel or all, of an address or all."""
    return uuid5(contact, f"{reason}/{channel or '*'}/{contact_point_ref or '*'}")


def _suppression_keys(r: Recorded) -> Iterable[UUID]:
    match r.event:
        case ContactSuppressed() | SuppressionLifted() as e:
            return (suppression_key(r.stream_id, e.reason, e.channel, e.contact_point_ref),)
        case _:
            return ()


def _fold_suppression(row: SuppressionRow | None, _key: UUID, r: Recorded) -> SuppressionRow | None:
    match r.event:
        case ContactSuppressed() | SuppressionLifted() as e:
            changes = with_muting(row.changes if row is not None else (), muting_of(e))
            return SuppressionRow(
                contact=r.stream_id,
                reason=e.reason,
                channel=e.channel,
                contact_point_ref=e.contact_point_ref,
                contact_point=e.contact_point or (row.contact_point if row is not None else None),
                active=muted(changes, changes[-1].at),
                since=changes[-1].at,
                last_record=e.record_id,
                last_seq=e.seq,
                changes=changes,
            )
        case _:
            return row


# --- the chain, link by link


def _event_keys(r: Recorded) -> Iterable[UUID]:
    return (r.event_id,) if isinstance(r.event, Linked) else ()


def _fold_event(row: ConsentEventRow | None, _key: UUID, r: Recorded) -> ConsentEventRow | None:
    e = r.event
    if not isinstance(e, Linked):
        return row
    link = ConsentEventRow(
        contact=r.stream_id,
        seq=e.seq,
        prev=e.prev,
        type=r.name,
        record_id=e.record_id,
        effective_from=e.effective_from,
        recorded_at=r.recorded_at,
        recorded_by=r.actor,
        actor=e.actor,
        controller=e.controller,
        collection_method=e.collection_method,
        capture_source=e.capture_source,
        evidence=e.evidence,
        import_batch=e.import_batch,
        contact_point=e.contact_point,
        display_name=e.display_name,
        ip_address=e.ip_address,
        user_agent=e.user_agent,
        remark=e.remark,
    )
    if isinstance(e, ContactSuppressed | SuppressionLifted):
        return replace(link, reason=e.reason, channel=e.channel, contact_point_ref=e.contact_point_ref)
    if isinstance(e, AboutPurposes):
        link = replace(link, channel=e.channel, purposes=tuple(p.key for p in e.purposes), purpose_refs=e.purposes)
    if isinstance(e, OnTerms):
        link = replace(
            link,
            consent_type=e.consent_type,
            legal_basis=e.legal_basis,
            jurisdiction=e.jurisdiction,
            notice=e.notice.id if e.notice is not None else None,
            notice_version=e.notice.version if e.notice is not None else None,
            notice_language=e.notice.language if e.notice is not None else None,
            notice_sha256=e.notice.sha256 if e.notice is not None else None,
            contact_point_ref=e.contact_point_ref,
            implied_by=e.implied_by,
            effective_to=e.effective_to,
            expires_at=e.expires_at,
        )
    match e:
        case ConsentRequested():
            return replace(link, status=e.status, answer_by=e.answer_by)
        case ConsentConfirmed():
            asked = e.double_opt_in
            return replace(link, status=e.status, requested_event=asked.requested_event, confirmed_at=asked.confirmed_at)
        case ConsentSuperseded():
            return replace(link, status=e.status, notice=e.notice_id, notice_version=e.notice_version)
        case (
            ConsentGiven()
            | ConsentRefused()
            | ConsentDeferred()
            | ConsentWithdrawn()
            | ConsentRevoked()
            | ConsentExpired()
            | ConsentInvalidated()
        ):
            return replace(link, status=e.status)
        case _:
            return link


CONSENTS = view(View(name="consents", version=1, table="views.consents", row=ConsentRow, keys=_consent_keys, fold=_fold_consent))
SUPPRESSIONS = view(
    View(
        name="suppressions",
        version=1,
        table="views.suppressions",
        row=SuppressionRow,
        keys=_suppression_keys,
        fold=_fold_suppression,
    )
)
CONSENT_EVENTS = view(
    View(
        name="consent_events",
        version=1,
        table="views.consent_events",
        row=ConsentEventRow,
        keys=_event_keys,
        fold=_fold_event,
    )
)
