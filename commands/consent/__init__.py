"""Commands of a contact's consent. Each adds to the contact's chain; a late act is recorded with its own time (`occurred_at`)."""

from commands.consent.acts import EvidenceOf
from commands.consent.asking import (
    ConfirmConsent,
    DeferConsent,
    GiveConsent,
    NoticeSeen,
    RefuseConsent,
    RenewConsent,
    RequestConsent,
    give,
    refuse,
)
from commands.consent.ending import (
    ExpireConsent,
    InvalidateConsent,
    OptOutOfSale,
    RevokeConsent,
    SupersedeConsent,
    WithdrawConsent,
    withdraw,
)
from commands.consent.silencing import LiftSuppression, SuppressContact

__all__ = [
    "ConfirmConsent",
    "DeferConsent",
    "EvidenceOf",
    "ExpireConsent",
    "GiveConsent",
    "InvalidateConsent",
    "LiftSuppression",
    "NoticeSeen",
    "OptOutOfSale",
    "RefuseConsent",
    "RenewConsent",
    "RequestConsent",
    "RevokeConsent",
    "SupersedeConsent",
    "SuppressContact",
    "WithdrawConsent",
    "give",
    "refuse",
    "withdraw",
]
