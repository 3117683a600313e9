"""Reads of sendings."""

from domain.sendings import SENDING
from projections.sendings import SENDINGS
from queries.kernel import Collection, collection

collection(
    Collection(
        name="sendings",
        view=SENDINGS,
        stream=SENDING,
        permission="consent:read",
        title="Sendings, with whom they went to and why",
        order="-decided_at",
        search=("message", "purpose"),
    )
)
