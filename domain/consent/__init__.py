"""Consent: what a person lets a firm use their data for, over which channel, and every act that changed it: one chain a contact.

CN1   Every event carries the next `seq`, without a gap, and in `prev` the hash of the event before it; the first has no `prev`.
CN2   A confirmation needs a live request, made with the same token for the same address, and works once.
CN3   A request ends when its time is over, when it is answered, or when a newer one replaces it.
CN4   A withdrawal covers the purposes named and all below them; a grant covers those named only.
CN5   Withdrawn (by the person) and revoked (by the controller) stay apart, and a revocation never covers up the person's no.
CN6   An import never overwrites a refusal or a withdrawal, even one that becomes known after the import.
CN7   Acts count in the order in which they happened; a late one keeps its own time and changes what stood from then on, no more.
CN8   Time alone ends a dated consent and a request, whether or not it has been noted; noting it gives it its own time.
CN9   Implied consent ends: under CASL six months after an inquiry, two years after a purchase; and it is no consent under the GDPR.
CN10  A material new version of a notice ends what was given on an earlier one, for the purposes it gives a new meaning only.
CN11  A suppression overrides any grant and forbids asking; a complaint or an opt-out is lifted only when the person asks.
CN12  Invalid from the beginning is not the same as ended: an invalidation takes effect when the consent was given.
CN13  Nothing is recorded when nothing changes.
CN14  The confirmation token and the address it was sent to are never on the public record: a digest of both is.
CN15  Consent under the GDPR names the notice the person saw, unless it is imported.

The language is that of ISO/IEC TS 27560 and the W3C Data Privacy Vocabulary. `contact_point_ref` is a keyed reference, made of the
firm's key, the contact and the address: it finds no one without both, and two contacts who share an address share no reference.
"""

from domain.consent.decisions import (
    channels_known,
    confirm,
    defer,
    expire,
    give,
    invalidate,
    lift,
    refuse,
    request,
    requested_with,
    revoke,
    supersede,
    suppress,
    withdraw,
)
from domain.consent.state import CONSENT, Consent, Standing, standing

__all__ = [
    "CONSENT",
    "Consent",
    "Standing",
    "channels_known",
    "confirm",
    "defer",
    "expire",
    "give",
    "invalidate",
    "lift",
    "refuse",
    "request",
    "requested_with",
    "revoke",
    "standing",
    "supersede",
    "suppress",
    "withdraw",
]
