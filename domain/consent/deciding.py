"""May this person be contacted for a purpose over a channel? One rule, for whoever asks: the screens, the campaigns, the record.

CD1  Closed when unknown: no consent on record, no such purpose, no such contact, another address than the one consented for.
CD2  Time ends consent whether or not that was noted; so does a newer notice that gives the purpose another meaning.
CD3  A suppression overrides any grant. One that names an address counts unless another address is asked for.
CD4  Consent to a purpose is consent to no other: neither to one above it nor to one below it.
CD5  Of people who were found to be one and merged, the latest word counts, and at one instant the no.
CD6  Nothing is sent for a retired purpose, nor to an archived contact, nor to one that was erased.
CD7  Every answer gives all its reasons, and names the event that decided it.
CD8  Whoever lists, counts or reports consents reads of each the status that a decision goes by at that moment.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.consent.state import Consent, Standing, muted
from domain.consent.words import SAID_NO, VALID, Channel, RecordId, Status, Suppression

CONSENT_GIVEN = "consent_given"
REASONS: Mapping[str, str] = {
    "consent_given": "The person consented, and the consent stands.",
    "consent_unknown": "Nothing is on record for this purpose and channel.",
    "consent_requested": "The person was asked and has not answered.",
    "consent_deferred": "The person put off the answer.",
    "consent_refused": "The person said no.",
    "consent_withdrawn": "The person took the consent back.",
    "consent_revoked": "The firm ended the consent.",
    "consent_expired": "The time of the consent, or of the request for it, is over.",
    "consent_superseded": "A newer notice gives the purpose another meaning, and the person has not consented on it.",
    "consent_invalidated": "The consent never was valid.",
    "other_contact_point": "The consent was given for another address or number.",
    "suppressed_bounce": "Messages to this address came back.",
    "suppressed_complaint": "The person complained.",
    "suppressed_global_opt_out": "The person opted out of everything.",
    "suppressed_invalid_address": "The address is not one.",
    "suppressed_legal": "A law or an order forbids it.",
    "purpose_unknown": "The firm has no such purpose.",
    "purpose_retired": "The purpose is retired.",
    "contact_unknown": "There is no such contact.",
    "contact_archived": "The contact is archived.",
    "contact_erased": "The contact was erased.",
}
"""What each reason says. `consent_given` alone lets a message go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """How one chain stands for a purpose over a channel as it was last recorded; times that ran out since are compared here.

    `decided_by` and `decided_seq` are the record id and the number of the event that made it so.
    """

    status: Status
    since: datetime | None = None
    expires_at: datetime | None = None
    request_expires_at: datetime | None = None
    legal_basis: str | None = None
    consent_type: str | None = None
    notice: UUID | None = None
    notice_version: int | None = None
    contact_point_ref: UUID | None = None
    decided_by: UUID | None = None
    decided_seq: int | None = None
    contact: UUID | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """A suppression in force: over every channel when `channel` is None, to every address when `contact_point_ref` is None."""

    reason: Suppression
    channel: Channel | None
    contact_point_ref: UUID | None
    record_id: UUID | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Material:
    """A version of a notice that gives purposes a new meaning."""

    number: int
    published_at: datetime
    new_purposes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`purpose_state` and `contact_state` are None when there was none at that moment: consent on record may be older than their first day
    here, and then they count as there. `contact_point_ref` is None when any address will do."""

    purpose: str
    channel: Channel
    at: datetime
    contact_point_ref: UUID | None = None
    purpose_state: str | None = "active"
    contact_state: str | None = "active"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`decided_by` is the record id of the event that decided, `decided_seq` its number in the chain of `chain`."""

    allowed: bool
    status: Status
    reasons: tuple[str, ...]
    legal_basis: str | None = None
    consent_type: str | None = None
    notice: UUID | None = None
    notice_version: int | None = None
    expires_at: datetime | None = None
    since: datetime | None = None
    decided_by: UUID | None = None
    decided_seq: int | None = None
    chain: UUID | None = None


NOTHING_KNOWN = Known(status=Status.UNKNOWN)


def lapsed(status: Status, expires_at: datetime | None, request_expires_at: datetime | None, at: datetime) -> Status:
    """What time has made of a status since it was recorded."""
    open_request = request_expires_at is not None and request_expires_at > at
    if status in VALID and expires_at is not None and expires_at <= at:
        return Status.REQUESTED if open_request else Status.EXPIRED
    if status in {Status.REQUESTED, Status.DEFERRED} and not open_request:
        return Status.EXPIRED
    return status


def decide(
    q: Question,
    known: Sequence[Known],
    silences: Iterable[Silence] = (),
    materials: Mapping[UUID, Sequence[Material]] | None = None,
) -> Decision:
    """The answer from what is known: one `Known` for each chain of the person, the suppressions in force, and the material versions of
    the notices that the consents rest on."""
    status, deciding = _latest(q, known, materials or {})
    reasons = [] if status in VALID else [f"consent_{status}"]
    if q.contact_state in {"archived", "erased"} or (q.contact_state is None and not known):
        reasons.append(f"contact_{q.contact_state or 'unknown'}")
    if q.purpose_state == "retired" or (q.purpose_state is None and not known):
        reasons.append("purpose_unknown" if q.purpose_state is None else "purpose_retired")
    bound_to = deciding.contact_point_ref
    if status in VALID and bound_to is not None and q.contact_point_ref not in {None, bound_to}:
        reasons.append("other_contact_point")
    address = q.contact_point_ref or bound_to
    muting = [
        s
        for s in silences
        if s.channel in {None, q.channel} and (s.contact_point_ref is None or address in {None, s.contact_point_ref})
    ]
    reasons += sorted({f"suppressed_{s.reason}" for s in muting})
    decided_by, decided_seq = deciding.decided_by, deciding.decided_seq
    if status in VALID and muting:
        decided_by, decided_seq = muting[0].record_id, muting[0].seq
    return Decision(
        allowed=not reasons,
        status=status,
        reasons=tuple(reasons) or (CONSENT_GIVEN,),
        legal_basis=deciding.legal_basis,
        consent_type=deciding.consent_type,
        notice=deciding.notice,
        notice_version=deciding.notice_version,
        expires_at=deciding.expires_at if status in VALID else None,
        since=deciding.since,
        decided_by=decided_by,
        decided_seq=decided_seq,
        chain=deciding.contact,
    )


def _latest(q: Question, known: Sequence[Known], materials: Mapping[UUID, Sequence[Material]]) -> tuple[Status, Known]:
    """The status that counts, and the chain it stands in: a grant that no later no of another chain overrides, else the latest no,
    else the latest word."""
    if not known:
        return Status.UNKNOWN, NOTHING_KNOWN
    now = [(_now(q, k, materials), k) for k in known]
    if len(now) == 1:
        return now[0]

    def when(pair: tuple[Status, Known]) -> tuple[bool, datetime]:
        since = pair[1].since
        return since is not None, since or q.at

    noes = [p for p in now if p[0] in SAID_NO]
    grants = [p for p in now if p[0] in VALID]
    last_no, last_grant = max(noes, key=when, default=None), max(grants, key=when, default=None)
    if last_grant is not None and (last_no is None or when(last_grant) > when(last_no)):
        return last_grant
    return last_no or max(now, key=when)


def _now(q: Question, k: Known, materials: Mapping[UUID, Sequence[Material]]) -> Status:
    status = lapsed(k.status, k.expires_at, k.request_expires_at, q.at)
    if status in VALID and k.notice is not None and k.notice_version is not None:
        for m in materials.get(k.notice, ()):
            if m.number > k.notice_version and m.published_at <= q.at and q.purpose in m.new_purposes:
                return Status.SUPERSEDED
    return status


# --- from a chain in hand, as commands have it


def known_of(consent: Consent, contact: UUID, purpose: str, channel: Channel, at: datetime) -> Known:
    """How a chain stands at a moment."""
    return known_from(consent.at(purpose, channel, at), contact)


def known_from(stands: Standing, contact: UUID) -> Known:
    basis = stands.grant or stands.request
    terms = basis.terms if basis is not None else None
    notice = terms.notice if terms is not None else None
    by = stands.by
    return Known(
        status=stands.status,
        since=stands.since,
        expires_at=stands.until if stands.valid else None,
        request_expires_at=stands.request.until if stands.request is not None else None,
        legal_basis=terms.legal_basis if terms is not None else None,
        consent_type=terms.consent_type if terms is not None else None,
        notice=notice.id if notice is not None else None,
        notice_version=notice.version if notice is not None else None,
        contact_point_ref=terms.contact_point_ref if terms is not None else None,
        decided_by=by.record_id if by is not None else None,
        decided_seq=by.seq if by is not None else None,
        contact=contact,
    )


def silences_of(consent: Consent, at: datetime) -> tuple[Silence, ...]:
    """The suppressions of a chain that are in force at a moment, each with the event that began it."""
    found = []
    for (reason, channel, ref), mutings in consent.mutings.items():
        if muted(mutings, at):
            began = max((m for m in mutings if m.on and m.at <= at), key=lambda m: (m.at, m.seq))
            found.append(Silence(reason, channel, ref, began.record_id, began.seq))
    return tuple(found)


__all__ = [
    "CONSENT_GIVEN",
    "REASONS",
    "Decision",
    "Known",
    "Material",
    "Question",
    "RecordId",
    "Silence",
    "decide",
    "known_of",
    "lapsed",
    "silences_of",
]
