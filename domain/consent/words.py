"""The words of consent: channels, statuses, types, bases, and what they are called in the W3C Data Privacy Vocabulary (2.3)."""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, NewType
from uuid import UUID

from domain.kernel import Invalid

DPV = "https://w3id.org/dpv#"

RecordId = NewType("RecordId", UUID)


class Channel(StrEnum):
    EMAIL = "email"
    SMS = "sms"
    PHONE = "phone"
    POST = "post"
    PUSH = "push"
    WEB = "web"


class Status(StrEnum):
    UNKNOWN = "unknown"
    REQUESTED = "requested"
    DEFERRED = "deferred"
    GIVEN = "given"
    RENEWED = "renewed"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    REVOKED = "revoked"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    INVALIDATED = "invalidated"


STATUS_DPV: dict[Status, str] = {
    Status.UNKNOWN: "ConsentUnknown",
    Status.REQUESTED: "ConsentRequested",
    Status.DEFERRED: "ConsentRequestDeferred",
    Status.GIVEN: "ConsentGiven",
    Status.RENEWED: "RenewedConsentGiven",
    Status.REFUSED: "ConsentRefused",
    Status.WITHDRAWN: "ConsentWithdrawn",
    Status.REVOKED: "ConsentRevoked",
    Status.EXPIRED: "ConsentExpired",
    Status.SUPERSEDED: "ConsentInvalidated",  # DPV has no narrower word: a newer notice ended its validity
    Status.INVALIDATED: "ConsentInvalidated",
}

VALID = frozenset({Status.GIVEN, Status.RENEWED})
"""Consent stands: what DPV calls ConsentStatusValidForProcessing."""

SAID_NO = frozenset({Status.REFUSED, Status.WITHDRAWN})
"""The person's own no, which no import and no controller's act may cover up."""


class ConsentType(StrEnum):
    EXPLICIT = "dpv:ExplicitlyExpressedConsent"
    EXPRESSED = "dpv:ExpressedConsent"
    IMPLIED = "dpv:ImpliedConsent"


class Suppression(StrEnum):
    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    GLOBAL_OPT_OUT = "global_opt_out"
    INVALID_ADDRESS = "invalid_address"
    LEGAL = "legal"


BY_THE_PERSON = frozenset({Suppression.COMPLAINT, Suppression.GLOBAL_OPT_OUT})

CollectionMethod = Literal[
    "web_form",
    "preference_centre",
    "double_opt_in",
    "one_click_unsubscribe",
    "gpc_signal",
    "email",
    "sms",
    "phone_call",
    "in_person",
    "paper",
    "letter",
    "api",
    "import",
    "provider_feedback",
]

ImpliedBy = Literal["inquiry", "purchase"]
ActorKind = Literal["member", "key", "person", "system"]

CONSENT_BASES = frozenset({"eu-gdpr:A6-1-a", "eu-gdpr:A9-2-a", "uk-gdpr:A6-1-a", "uk-gdpr:A9-2-a"})
"""Bases that are consent itself, which under the GDPR is never implied (recital 32)."""

EXPLICIT_BASES = frozenset({"eu-gdpr:A9-2-a", "uk-gdpr:A9-2-a"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PurposeRef:
    """A purpose as it stood: the firm's own key, the DPV IRI, and the version of the firm's definition."""

    key: str
    dpv: str
    purpose_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """The text the person saw. `sha256` is lower-case hex over its bytes."""

    id: UUID
    version: int
    language: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    sha256: str
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubleOptIn:
    """`requested_event` is the `record_id` of the request that was confirmed."""

    requested_event: RecordId
    confirmed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms consent is asked or given. The earlier of `effective_to` (the person's own limit) and `expires_at` ends it."""

    consent_type: ConsentType
    legal_basis: str
    jurisdiction: str | None = None
    notice: Notice | None = None
    contact_point_ref: UUID | None = None
    implied_by: ImpliedBy | None = None
    effective_to: datetime | None = None
    expires_at: datetime | None = None

    @property
    def until(self) -> datetime | None:
        ends = [t for t in (self.effective_to, self.expires_at) if t is not None]
        return min(ends) if ends else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """How an act of consent came to us: what every event of the chain says beside the act itself."""

    controller: UUID
    actor: ActorKind
    collection_method: CollectionMethod | None = None
    capture_source: str | None = None
    evidence: tuple[Evidence, ...] = ()
    import_batch: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    contact_point: str | None = None
    display_name: str | None = None
    remark: str | None = None

    @property
    def imported(self) -> bool:
        return self.import_batch is not None or self.collection_method == "import"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Where an act joins the chain: when it took place, how it came to us, its id, and the leaf hash of the event before it."""

    at: datetime
    capture: Capture
    record_id: RecordId
    prev: str | None


class InTheFuture(Invalid):
    """This is said to happen more than a day from now. Consent is recorded when it is known, not in advance."""


class NoContactPoint(Invalid):
    """The contact point is empty once spaces and punctuation are taken away. Give the address or number that was used."""


def moment(now: datetime, occurred_at: datetime | None) -> datetime:
    """When an act took place: as stated, or now."""
    if occurred_at is None:
        return now
    if occurred_at > now + timedelta(days=1):
        raise InTheFuture(latest=(now + timedelta(days=1)).isoformat())
    return occurred_at


def add_months(start: datetime, months: int) -> datetime:
    """The same day so many months later, or the last day of a shorter month."""
    year, month = divmod(start.month - 1 + months, 12)
    year, month = start.year + year, month + 1
    first_after = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=start.tzinfo)
    return start.replace(year=year, month=month, day=min(start.day, (first_after - timedelta(days=1)).day))


def same_point(channel: Channel, written: str) -> str:
    """One spelling of an address or number, so that two spellings of it bind to the same reference."""
    if channel in {Channel.SMS, Channel.PHONE}:
        digits = re.sub(r"[^0-9]", "", written)
        plain = ("+" if written.strip().startswith("+") else "") + digits if digits else ""
    else:
        plain = " ".join(written.split()).casefold()
    if not plain:
        raise NoContactPoint
    return plain


def token_digest(token: str, bound_to: UUID) -> str:
    """What is kept of a confirmation token: SHA-256 over the reference of the address it was sent to, a colon, and the token."""
    return hashlib.sha256(f"{bound_to}:{token}".encode()).hexdigest()
