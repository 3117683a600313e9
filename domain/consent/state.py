"""What a chain of consent amounts to, at any moment.

Acts count in the order in which they happened, not in which they became known: each (purpose, channel) keeps its marks in that
order, and its standing at a moment is the walk over the marks up to it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import assert_never
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
    Granting,
    Plain,
    SuppressionLifted,
)
from domain.consent.words import SAID_NO, VALID, Channel, PurposeRef, RecordId, Status, Suppression, Terms
from domain.kernel import Stream

Pair = tuple[str, Channel]
"""A purpose's key and a channel."""

Silence = tuple[Suppression, Channel | None, UUID | None]
"""Why nothing is sent, over which channel (None: any), to which address (None: any)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One act upon one (purpose, channel)."""

    status: Status
    since: datetime
    seq: int
    record_id: RecordId
    purpose: PurposeRef
    until: datetime | None = None
    terms: Terms | None = None
    imported: bool = False
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How things stand at a moment. `grant` is the last grant that took effect, `request` the one still open, `by` the act that made the
    status what it is (for one that time ended: the act whose time it was); `noted` is False when a time has run out and no event says so
    yet."""

    status: Status = Status.UNKNOWN
    since: datetime | None = None
    until: datetime | None = None
    grant: Mark | None = None
    request: Mark | None = None
    by: Mark | None = None
    noted: bool = True

    @property
    def valid(self) -> bool:
        return self.status in VALID


NOTHING = Standing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    record_id: RecordId
    channel: Channel
    purposes: tuple[PurposeRef, ...]
    terms: Terms
    answer_by: datetime
    token_sha256: str | None
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Muting:
    at: datetime
    seq: int
    on: bool
    record_id: RecordId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    seq: int = 0
    marks: Mapping[Pair, tuple[Mark, ...]] = field(default_factory=dict)
    requests: Mapping[RecordId, Request] = field(default_factory=dict)
    mutings: Mapping[Silence, tuple[Muting, ...]] = field(default_factory=dict)

    def at(self, purpose: str, channel: Channel, moment: datetime) -> Standing:
        """How one purpose stands over one channel at a moment, by what is known here."""
        return standing(self.marks.get((purpose, channel), ()), moment)

    def suppressed(self, channel: Channel, contact_point_ref: UUID | None, moment: datetime) -> tuple[Suppression, ...]:
        """The reasons why nothing may be sent over this channel to this address, whatever was given."""
        return tuple(
            sorted(
                {
                    reason
                    for (reason, over, to), mutings in self.mutings.items()
                    if over in {None, channel} and (to is None or to == contact_point_ref) and muted(mutings, moment)
                }
            )
        )


def standing(marks: Iterable[Mark], moment: datetime) -> Standing:
    """Walk over the marks of one (purpose, channel), given in order, up to and including a moment."""
    now = NOTHING
    for mark in marks:
        if mark.since > moment:
            break
        now = _step(_lapse(now, mark.since), mark)
    return _lapse(now, moment)


def muted(mutings: Iterable[Muting], moment: datetime) -> bool:
    on = False
    for m in mutings:
        if m.at > moment:
            break
        on = m.on
    return on


def _lapse(now: Standing, moment: datetime) -> Standing:
    """Time alone ends a dated grant and a request, the earlier one first."""
    asked_until = now.request.until if now.request is not None else None
    grant_ends = now.until if now.valid else None
    if grant_ends is not None and grant_ends <= moment and (asked_until is None or grant_ends <= asked_until):
        status = Status.EXPIRED if now.request is None else Status.REQUESTED
        now = replace(now, status=status, since=grant_ends, until=asked_until, by=now.request or now.by, noted=False)
    if asked_until is not None and asked_until <= moment:
        now = replace(now, request=None)
        if now.status in {Status.REQUESTED, Status.DEFERRED}:
            now = replace(now, status=Status.EXPIRED, since=asked_until, until=None, noted=False)
    if now.valid and grant_ends is not None and grant_ends <= moment:
        now = replace(now, status=Status.EXPIRED, since=grant_ends, until=None, noted=False)
    return now


def _step(now: Standing, mark: Mark) -> Standing:
    """What one act does to how things stood when it happened. An act that finds nothing to act upon leaves things as they were."""
    after = replace(now, status=mark.status, since=mark.since, until=mark.until, request=None, by=mark, noted=True)
    match mark.status:
        case Status.REQUESTED:
            if now.valid or now.status in SAID_NO:
                return replace(now, request=mark)
            return replace(after, request=mark)
        case Status.GIVEN | Status.RENEWED:
            if mark.imported and now.status in SAID_NO:
                return now
            return replace(after, grant=mark)
        case Status.REFUSED | Status.WITHDRAWN:
            return replace(now, request=None) if now.status in SAID_NO else after
        case Status.DEFERRED:
            if now.request is None or now.status is not Status.REQUESTED:
                return now
            return replace(after, request=now.request, until=now.request.until)
        case Status.REVOKED:
            if now.valid or now.status in {Status.REQUESTED, Status.DEFERRED}:
                return after
            return replace(now, request=None)
        case Status.EXPIRED:
            return replace(now, noted=True)
        case Status.SUPERSEDED | Status.INVALIDATED:
            return replace(after, request=now.request) if now.valid else now
        case Status.UNKNOWN:
            return now
        case _:
            assert_never(mark.status)


# --- evolve


def evolve(consent: Consent, e: Event) -> Consent:
    consent = replace(consent, seq=e.seq)
    match e:
        case ConsentRequested():
            request = Request(
                record_id=e.record_id,
                channel=e.channel,
                purposes=e.purposes,
                terms=terms_of(e),
                answer_by=e.answer_by,
                token_sha256=e.token_sha256,
            )
            return replace(_marked(consent, e), requests={**consent.requests, e.record_id: request})
        case ConsentConfirmed():
            asked = e.double_opt_in.requested_event
            requests = {k: replace(r, confirmed=True) if k == asked else r for k, r in consent.requests.items()}
            return replace(_marked(consent, e), requests=requests)
        case (
            ConsentGiven()
            | ConsentRefused()
            | ConsentDeferred()
            | ConsentWithdrawn()
            | ConsentRevoked()
            | ConsentExpired()
            | ConsentSuperseded()
            | ConsentInvalidated()
        ):
            return _marked(consent, e)
        case ContactSuppressed() | SuppressionLifted():
            silence = (e.reason, e.channel, e.contact_point_ref)
            return replace(
                consent, mutings={**consent.mutings, silence: with_muting(consent.mutings.get(silence, ()), muting_of(e))}
            )
        case _:
            assert_never(e)


def terms_of(e: ConsentRequested | Granting) -> Terms:
    return Terms(
        consent_type=e.consent_type,
        legal_basis=e.legal_basis,
        jurisdiction=e.jurisdiction,
        notice=e.notice,
        contact_point_ref=e.contact_point_ref,
        implied_by=e.implied_by,
        effective_to=e.effective_to,
        expires_at=e.expires_at,
    )


def mark_of(e: ConsentRequested | Granting | Plain, purpose: PurposeRef) -> Mark:
    """What an event does to one of its purposes."""
    until, terms, confirmed = None, None, False
    if isinstance(e, ConsentRequested):
        until, terms = e.answer_by, terms_of(e)
    elif isinstance(e, ConsentConfirmed | ConsentGiven):
        terms, confirmed = terms_of(e), isinstance(e, ConsentConfirmed)
        until = terms.until
    return Mark(
        status=Status(e.status),
        since=e.effective_from,
        seq=e.seq,
        record_id=e.record_id,
        purpose=purpose,
        until=until,
        terms=terms,
        imported=e.import_batch is not None or e.collection_method == "import",
        confirmed=confirmed,
    )


def with_mark(marks: Iterable[Mark], mark: Mark) -> tuple[Mark, ...]:
    """The marks in the order in which they happened; of those at one instant, in the order in which they became known."""
    return tuple(sorted((*marks, mark), key=lambda m: (m.since, m.seq)))


def muting_of(e: ContactSuppressed | SuppressionLifted) -> Muting:
    return Muting(at=e.effective_from, seq=e.seq, on=isinstance(e, ContactSuppressed), record_id=e.record_id)


def with_muting(mutings: Iterable[Muting], muting: Muting) -> tuple[Muting, ...]:
    return tuple(sorted((*mutings, muting), key=lambda m: (m.at, m.seq)))


def _marked(consent: Consent, e: ConsentRequested | Granting | Plain) -> Consent:
    marks = dict(consent.marks)
    for purpose in e.purposes:
        pair = (purpose.key, e.channel)
        marks[pair] = with_mark(marks.get(pair, ()), mark_of(e, purpose))
    return replace(consent, marks=marks)


CONSENT = Stream("consent", Consent(), evolve)
