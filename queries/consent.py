"""Reads of consent: how a contact stands by purpose and channel, who is suppressed, and the chain of events behind it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from domain.consent.words import DPV, STATUS_DPV, VALID, Status
from domain.kernel import NotFound
from projections.consent import CONSENT_EVENTS, CONSENTS, SUPPRESSIONS
from queries.kernel import Collection, Query, Reader, collection, query
from queries.listing.derived import derived
from queries.listing.relations import Relation, relation
from queries.standing import DERIVED, VIEWS, stood

_HERE = Path(__file__).parent
STANDING_SQL = stood((_HERE / "consent_standing.sql").read_text())
SUPPRESSIONS_SQL = (_HERE / "consent_suppressions.sql").read_text()
CHAIN_SQL = (_HERE / "consent_chain.sql").read_text()
CONTACT_SQL = "SELECT id FROM views.contacts WHERE firm_id = %(firm)s AND id = %(contact)s"

collection(
    Collection(
        name="consents",
        view=CONSENTS,
        stream=None,
        permission="consent:read",
        title="Consents by contact, purpose and channel",
        order="-updated_at",
        search=("purpose",),
    )
)
collection(
    Collection(
        name="suppressions",
        view=SUPPRESSIONS,
        stream=None,
        permission="consent:read",
        title="Suppressions",
        order="-updated_at",
        search=("reason",),
    )
)
collection(
    Collection(
        name="consent_events",
        view=CONSENT_EVENTS,
        stream=None,
        permission="consent:read",
        title="Events of consent, link by link",
        order="-recorded_at",
        search=("type", "capture_source"),
    )
)

for _of in ("consents", "suppressions", "consent_events"):
    relation(_of, Relation("contact", "contacts", "contact"))
    relation("contacts", Relation(_of, _of, "id", "contact", many=True))
for _of in ("consents", "consent_events"):
    relation(_of, Relation("notice", "notices", "notice"))
relation("consents", Relation("definition", "purposes", "purpose", "key"))
derived("consents", DERIVED)


class ContactConsent(Query):
    id: UUID
    after_seq: Annotated[int, Field(ge=0, le=2**53 - 1)] = 0
    page_size: Annotated[int, Field(ge=1, le=500)] = 200


@query(
    "consent.contact",
    "GET /contacts/{id}/consent",
    permission="consent:read",
    title="A contact's consent",
    views=("contacts", *VIEWS, "suppressions", "consent_events"),
)
async def contact_consent(q: ContactConsent, reader: Reader) -> object:
    """How a contact stands now, by purpose and channel, what suppresses them, and the chain of events: `page_size` of them after
    `after_seq`; `next_after_seq` is there when more follow. A status that time has ended reads `expired`, and one that a newer notice has
    ended `superseded`, noted or not."""
    personal = "personal:read" in reader.permissions
    stands = await reader.all(STANDING_SQL, contact=q.id, personal=personal)
    silences = await reader.all(SUPPRESSIONS_SQL, contact=q.id, personal=personal, now=reader.now)
    links = await reader.all(CHAIN_SQL, contact=q.id, personal=personal, after=q.after_seq, limit=q.page_size + 1)
    if not stands and not silences and not links and await reader.one(CONTACT_SQL, contact=q.id) is None:
        raise NotFound(kind="contact", id=str(q.id))
    purposes: dict[str, dict[str, Any]] = {}
    for row in stands:
        branch = purposes.setdefault(row["purpose"], {"purpose": row["purpose"], "dpv": row["dpv"], "channels": []})
        status = Status(row["status"])
        reasons = suppressed_by(row, silences)
        branch["channels"].append(
            {
                **{name: value for name, value in row.items() if name not in {"purpose", "dpv"}},
                "status_dpv": DPV + STATUS_DPV[status],
                "valid": status in VALID and not reasons,
                "suppressed_by": reasons,
            }
        )
    page = links[: q.page_size]
    answer: dict[str, object] = {
        "contact": q.id,
        "at": reader.now,
        "purposes": list(purposes.values()),
        "suppressions": list(silences),
        "events": list(page),
    }
    if len(links) > q.page_size:
        answer["next_after_seq"] = page[-1]["seq"]
    return answer


def suppressed_by(row: Mapping[str, Any], silences: Sequence[Mapping[str, Any]]) -> list[str]:
    """The reasons why nothing goes out over the row's channel to its address."""
    return sorted(
        {
            s["reason"]
            for s in silences
            if s["channel"] in {None, row["channel"]} and s["contact_point_ref"] in {None, row["contact_point_ref"]}
        }
    )
