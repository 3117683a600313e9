"""The events of a contact's chain of consent.

Every event carries `seq` (1, 2, …) and `prev` (base64 leaf hash of the event before it in the same chain; absent at 1), and
`effective_from`, the instant the act took place, which is also the event's occurred_at.

What is personal here is evidence: the controller must be able to show that consent was given (GDPR Article 7(1)) and that a no was
obeyed. It is sealed under the statutory class, so that shredding a person's marketing data leaves the proof readable; erasing the
person destroys it too.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from domain.consent.words import (
    ActorKind,
    Channel,
    CollectionMethod,
    ConsentType,
    DoubleOptIn,
    Evidence,
    ImpliedBy,
    Notice,
    PurposeRef,
    RecordId,
    Suppression,
)
from domain.kernel import Personal, event

EVIDENCE = Personal(purpose="statutory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """One link of the chain, whatever it says."""

    record_id: RecordId
    seq: int
    prev: str | None = None
    controller: UUID
    actor: ActorKind
    effective_from: datetime
    collection_method: CollectionMethod | None = None
    capture_source: str | None = None
    evidence: tuple[Evidence, ...] = ()
    import_batch: str | None = None
    ip_address: Annotated[str | None, EVIDENCE] = None
    user_agent: Annotated[str | None, EVIDENCE] = None
    contact_point: Annotated[str | None, EVIDENCE] = None
    display_name: Annotated[str | None, EVIDENCE] = None
    remark: Annotated[str | None, EVIDENCE] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AboutPurposes(Linked):
    purposes: tuple[PurposeRef, ...]
    channel: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class OnTerms(AboutPurposes):
    consent_type: ConsentType
    legal_basis: str
    jurisdiction: str | None = None
    notice: Notice | None = None
    contact_point_ref: UUID | None = None
    implied_by: ImpliedBy | None = None
    effective_to: datetime | None = None
    expires_at: datetime | None = None


@event("consent.Requested.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRequested(OnTerms):
    """`answer_by` ends the request itself; `token_sha256` is the digest of the single-use token of a double opt-in."""

    status: Literal["requested"] = "requested"
    answer_by: datetime
    token_sha256: str | None = None


@event("consent.Confirmed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentConfirmed(OnTerms):
    status: Literal["given", "renewed"]
    double_opt_in: DoubleOptIn


@event("consent.Given.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentGiven(OnTerms):
    status: Literal["given", "renewed"]


@event("consent.Refused.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRefused(AboutPurposes):
    status: Literal["refused"] = "refused"


@event("consent.Deferred.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentDeferred(AboutPurposes):
    status: Literal["deferred"] = "deferred"


@event("consent.Withdrawn.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentWithdrawn(AboutPurposes):
    """By the person. `purposes` are those named and all below them."""

    status: Literal["withdrawn"] = "withdrawn"


@event("consent.Revoked.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRevoked(AboutPurposes):
    """By the controller."""

    status: Literal["revoked"] = "revoked"


@event("consent.Expired.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentExpired(AboutPurposes):
    status: Literal["expired"] = "expired"


@event("consent.Superseded.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentSuperseded(AboutPurposes):
    """`notice_id` and `notice_version` name the newer text that gave these purposes another meaning."""

    status: Literal["superseded"] = "superseded"
    notice_id: UUID
    notice_version: int


@event("consent.Invalidated.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentInvalidated(AboutPurposes):
    """It never was valid: `effective_from` is when it was given."""

    status: Literal["invalidated"] = "invalidated"


@event("consent.Suppressed.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class ContactSuppressed(Linked):
    """Without a channel: all of them. Without a contact point: every address of the channel."""

    reason: Suppression
    channel: Channel | None = None
    contact_point_ref: UUID | None = None


@event("consent.SuppressionLifted.v1")
@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionLifted(Linked):
    reason: Suppression
    channel: Channel | None = None
    contact_point_ref: UUID | None = None


Granting = ConsentConfirmed | ConsentGiven
Plain = (
    ConsentRefused | ConsentDeferred | ConsentWithdrawn | ConsentRevoked | ConsentExpired | ConsentSuperseded | ConsentInvalidated
)
Event = ConsentRequested | Granting | Plain | ContactSuppressed | SuppressionLifted
